//! The due step of a contest in every phase, by who is in it, by its legs and by the clock.
// hazard: B3, B13

mod common;

use common::{CLAIMS_END, CLOSED, coins, contest, phases_of, receipt, series_terms, settlement};
use domain::{
    contest::{Contest, ContestFact, LegOutcome, LegState, Phase, PhaseKind},
    lifecycle::{ContestStep, Presence, due},
    order::OwnLeg,
    signup::StateKind,
    terms::{ClaimMode, Terms, Unclaimed},
    time::UnixMillis,
};

use StateKind::{Completed, Initialized, Missed, Paid};

const OVER: &[StateKind] = &[
    StateKind::Shared,
    StateKind::Forfeited,
    StateKind::Expired,
    StateKind::Refunded,
];
const UNCHARGED: &[StateKind] = &[Initialized, Paid];
const UNDECIDED: &[StateKind] = &[Initialized, Paid, StateKind::InProgress, Completed];
const REFUNDABLE: &[StateKind] = &[Initialized, Paid, StateKind::InProgress, Completed, Missed];

fn with_legs(mut contest: Contest, legs: &[(OwnLeg, LegOutcome)]) -> Contest {
    contest.legs.clear();
    for (leg, outcome) in legs {
        contest.legs.insert(
            *leg,
            LegState {
                amount: coins(5),
                outcome: *outcome,
            },
        );
    }
    contest
}

fn check(contest: &Contest, present: &[StateKind], now: i64, wanted: ContestStep) {
    let found = due(
        contest,
        Presence::of(present.iter().copied(), false),
        UnixMillis(now),
    );
    assert_eq!(
        found, wanted,
        "{:?} with {present:?} at {now}",
        contest.phase
    );
}

#[test]
fn presence_is_exactly_what_was_put_in() {
    for kind in StateKind::ALL {
        let presence = Presence::of([*kind], false);
        for other in StateKind::ALL {
            assert_eq!(presence.any(&[*other]), kind == other, "{kind:?} {other:?}");
        }
        let all_but = StateKind::ALL.iter().copied().filter(|other| other != kind);
        assert!(!Presence::of(all_but, true).any(&[*kind]), "{kind:?}");
    }
    assert!(!Presence::default().any(StateKind::ALL));
}

/// The phases whose step does not hang on who is in the contest.
#[test]
fn phases_that_do_not_wait_for_signups() {
    let rest = |millis| ContestStep::Rest(Some(UnixMillis(millis)));
    for kind in PhaseKind::ALL {
        let steps: Vec<(i64, ContestStep)> = match kind {
            PhaseKind::Preparing => vec![(0, ContestStep::OpenAccount)],
            PhaseKind::Funding => vec![(0, ContestStep::Decide(ContestFact::Funded))],
            PhaseKind::Draft => vec![
                (0, rest(2_000)),
                (1_999, rest(2_000)),
                (2_000, ContestStep::CloseCredits),
                (2_001, ContestStep::CloseCredits),
            ],
            PhaseKind::Running => vec![
                (3_100, ContestStep::Decide(ContestFact::SettlingDue)),
                (3_101, ContestStep::Decide(ContestFact::SettlingDue)),
            ],
            PhaseKind::Listing => vec![],
            PhaseKind::Closed | PhaseKind::Cancelled => vec![(0, ContestStep::Rest(None))],
            // These depend on the signups or the sheet and have tests of their own.
            PhaseKind::Judging | PhaseKind::Claimable | PhaseKind::Cancelling => vec![],
        };
        for phase in phases_of(*kind) {
            let contest = contest(common::terms(), phase);
            for (now, step) in &steps {
                check(&contest, &[], *now, *step);
                check(&contest, StateKind::ALL, *now, *step);
            }
        }
    }
    for phase in phases_of(PhaseKind::Listing) {
        let is_complete = matches!(&phase, Phase::Listing(.., cursor) if cursor.lines == 3);
        let step = match is_complete {
            true => ContestStep::SealSheet,
            false => ContestStep::WriteSheet,
        };
        check(&contest(common::terms(), phase), StateKind::ALL, 0, step);
    }
    let funding = contest(series_terms(0), Phase::Funding);
    let (guarantee, carry) = (OwnLeg::Guarantee, OwnLeg::Carry);
    let (pending, applied) = (LegOutcome::Pending, LegOutcome::Applied(receipt(1)));
    for (legs, wanted) in [
        (
            [(guarantee, pending), (carry, pending)],
            ContestStep::SendLeg(guarantee),
        ),
        (
            [(guarantee, applied), (carry, pending)],
            ContestStep::SendLeg(carry),
        ),
        (
            [(guarantee, applied), (carry, applied)],
            ContestStep::Decide(ContestFact::Funded),
        ),
    ] {
        check(&with_legs(funding.clone(), &legs), &[], 0, wanted);
    }
}

#[test]
fn a_running_contest_charges_nobody_and_gives_the_charged_their_task() {
    let running = contest(common::terms(), Phase::Running(CLOSED));
    for kind in StateKind::ALL {
        let sweep = ContestStep::Sweep(UNCHARGED);
        let rest = ContestStep::Rest(Some(UnixMillis(3_100)));
        let wanted = if UNCHARGED.contains(kind) {
            sweep
        } else {
            rest
        };
        check(&running, &[*kind], 2_000, wanted);
        check(&running, &[*kind], 3_099, wanted);
        check(
            &running,
            &[*kind],
            3_100,
            ContestStep::Decide(ContestFact::SettlingDue),
        );
    }
}

#[test]
fn judging_freezes_when_nobody_is_undecided() {
    let judging = contest(common::terms(), Phase::Judging(CLOSED));
    let sweep = ContestStep::Sweep(UNDECIDED);
    for kind in StateKind::ALL {
        let undecided = UNDECIDED.contains(kind) && *kind != Completed;
        let wanted = if undecided {
            sweep
        } else {
            ContestStep::Freeze
        };
        check(&judging, &[*kind], 3_100, wanted);
    }
    let provisional = Presence::of([Completed], true);
    assert_eq!(due(&judging, provisional, UnixMillis(3_100)), sweep);
    check(&judging, &[], 3_100, ContestStep::Freeze);
}

#[test]
fn a_claimable_contest_closes_when_nothing_is_open() {
    let end = CLAIMS_END;
    for (claim_mode, unclaimed, before) in [
        (
            ClaimMode::Automatic,
            Unclaimed::Pay,
            ContestStep::Sweep(&[Completed]),
        ),
        (
            ClaimMode::Manual,
            Unclaimed::Pay,
            ContestStep::Rest(Some(end)),
        ),
        (
            ClaimMode::Manual,
            Unclaimed::Platform,
            ContestStep::Rest(Some(end)),
        ),
        (
            ClaimMode::Manual,
            Unclaimed::Rollover,
            ContestStep::Rest(Some(end)),
        ),
    ] {
        let terms = Terms {
            claim_mode,
            unclaimed,
            ..series_terms(0)
        };
        let claimable = contest(terms, Phase::Claimable(settlement()));
        let rake = with_legs(claimable.clone(), &[(OwnLeg::Rake, LegOutcome::Pending)]);
        let claimable = with_legs(
            claimable,
            &[(OwnLeg::Carry, LegOutcome::Applied(receipt(1)))],
        );
        for (now, wanted) in [
            (end.0 - 1, before),
            (end.0, ContestStep::Sweep(&[Completed])),
            (end.0 + 1, ContestStep::Sweep(&[Completed])),
        ] {
            check(&claimable, &[Completed], now, wanted);
            let leg = ContestStep::SendLeg(OwnLeg::Rake);
            let people_first = if wanted == before && claim_mode == ClaimMode::Manual {
                leg
            } else {
                wanted
            };
            check(&rake, &[Completed], now, people_first);
        }
        for open in [StateKind::Claiming, StateKind::Refunding] {
            for (now, wanted) in [(end.0 - 1, Some(end)), (end.0, None), (end.0 + 1, None)] {
                check(&claimable, &[open], now, ContestStep::Rest(wanted));
                check(&rake, &[open], now, ContestStep::SendLeg(OwnLeg::Rake));
            }
        }
        for kind in OVER
            .iter()
            .chain(&[Initialized, Paid, StateKind::InProgress, Missed])
        {
            check(&claimable, &[*kind], 3_200, ContestStep::Close);
        }
        check(&claimable, &[], 3_200, ContestStep::Close);
        check(&rake, &[], 3_200, ContestStep::SendLeg(OwnLeg::Rake));
    }
}

#[test]
fn cancelling_closes_credits_then_refunds_then_returns_then_ends() {
    let cancelling = |closed, legs: &[(OwnLeg, LegOutcome)]| {
        let phase = phases_of(PhaseKind::Cancelling).remove(usize::from(closed));
        with_legs(contest(series_terms(0), phase), legs)
    };
    let (pending, applied) = (LegOutcome::Pending, LegOutcome::Applied(receipt(1)));
    let (guarantee, carry) = (OwnLeg::Guarantee, OwnLeg::Carry);
    let (back, rollover) = (OwnLeg::GuaranteeReturn, OwnLeg::Rollover);
    check(
        &cancelling(false, &[]),
        StateKind::ALL,
        0,
        ContestStep::CloseCredits,
    );
    check(
        &cancelling(false, &[(guarantee, pending)]),
        &[],
        0,
        ContestStep::CloseCredits,
    );
    for leg in [guarantee, carry] {
        let step = ContestStep::LookUpLeg(leg);
        check(
            &cancelling(true, &[(leg, pending)]),
            StateKind::ALL,
            0,
            step,
        );
    }
    let funded = [(guarantee, applied), (carry, applied)];
    for kind in StateKind::ALL {
        let wanted = match kind {
            kind if REFUNDABLE.contains(kind) => ContestStep::Sweep(REFUNDABLE),
            StateKind::Refunding => ContestStep::Rest(None),
            _ => ContestStep::Decide(ContestFact::ReturnsFixed),
        };
        check(&cancelling(true, &funded), &[*kind], 0, wanted);
    }
    let returns = ContestStep::Decide(ContestFact::ReturnsFixed);
    for (legs, wanted) in [
        (vec![], ContestStep::Close),
        (
            vec![(guarantee, LegOutcome::Void), (carry, LegOutcome::Void)],
            ContestStep::Close,
        ),
        (vec![(guarantee, applied)], returns),
        (vec![(carry, applied)], returns),
        (
            vec![(guarantee, applied), (back, pending)],
            ContestStep::SendLeg(back),
        ),
        (
            vec![(carry, applied), (rollover, pending)],
            ContestStep::SendLeg(rollover),
        ),
        (
            vec![(guarantee, applied), (carry, applied), (back, applied)],
            returns,
        ),
        (
            vec![(guarantee, applied), (back, applied)],
            ContestStep::Close,
        ),
        (
            vec![(carry, applied), (rollover, applied)],
            ContestStep::Close,
        ),
    ] {
        check(&cancelling(true, &legs), OVER, 0, wanted);
        check(&cancelling(true, &legs), &[], 0, wanted);
    }
}
