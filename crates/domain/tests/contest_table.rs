//! Every pair of a contest's phase and a fact, with its outcome spelled out, and its windows.
// hazard: B7, B9

mod common;

use common::{CLAIMS_END, CLOSED, SHEET, absence, coins, contest, cursor, phases_of, receipt};
use common::{series_terms, settlement, terms, totals};
use domain::{
    contest::{Contest, ContestFact, Phase, PhaseError, PhaseKind, PublicPhase, Settlement},
    due::{HousePayout, house_payout},
    lifecycle::{wake_at, window},
    money::Coins,
    order::OwnLeg,
    settlement::Leftover,
    switch::Stretch,
    terms::{NoWinner, Terms},
    time::{UnixMillis, Window},
    transfer::{CreditsClosed, Position},
};
use std::collections::BTreeSet;

const NOW: UnixMillis = UnixMillis(3_200);

/// The label of a fact. Exhaustive on purpose: a new fact must be labelled here, sampled in
/// [`facts`] and counted in the test below.
fn label(fact: &ContestFact) -> String {
    match fact {
        ContestFact::AccountOpened => "account_opened".to_owned(),
        ContestFact::LegApplied(leg, _) => format!("leg_applied {}", leg.name()),
        ContestFact::LegCannotArrive(leg, _) => format!("leg_cannot_arrive {}", leg.name()),
        ContestFact::Funded => "funded".to_owned(),
        ContestFact::CreditsClosed(_) => "credits_closed".to_owned(),
        ContestFact::SettlingDue => "settling_due".to_owned(),
        ContestFact::Frozen(totals) => format!("frozen {}", totals.get().finishers),
        ContestFact::SheetAdvanced(cursor) => format!("sheet_advanced {}", cursor.lines),
        ContestFact::SheetSealed(_) => "sheet_sealed".to_owned(),
        ContestFact::LeftoverFixed(_) => "leftover_fixed".to_owned(),
        ContestFact::ReturnsFixed => "returns_fixed".to_owned(),
        ContestFact::Emptied => "emptied".to_owned(),
        ContestFact::CancelAsked => "cancel_asked".to_owned(),
        // They change no phase: see `payouts_stop_in_every_phase_that_has_something_to_pay`.
        ContestFact::PayoutsStopped => "payouts_stopped".to_owned(),
        ContestFact::PayoutsResumed => "payouts_resumed".to_owned(),
        // Nor this: see `the_time_to_claim_is_longer_by_what_claims_were_switched_off`.
        ContestFact::ClaimsOff(_) => "claims_off".to_owned(),
        // Nor this: see `a_gap_is_accepted_before_anything_is_decided_by_it`.
        ContestFact::GapAccepted(_) => "gap_accepted".to_owned(),
    }
}

fn facts() -> Vec<ContestFact> {
    vec![
        ContestFact::AccountOpened,
        ContestFact::LegApplied(OwnLeg::Guarantee, receipt(5)),
        ContestFact::LegApplied(OwnLeg::Sweep, receipt(5)),
        ContestFact::LegCannotArrive(OwnLeg::Guarantee, absence()),
        ContestFact::Funded,
        ContestFact::CreditsClosed(CLOSED),
        ContestFact::SettlingDue,
        ContestFact::Frozen(totals(30, 3, 6)),
        ContestFact::Frozen(totals(30, 0, 0)),
        ContestFact::SheetAdvanced(cursor(2)),
        ContestFact::SheetAdvanced(cursor(3)),
        ContestFact::SheetSealed(SHEET),
        ContestFact::LeftoverFixed(Leftover {
            sweep: coins(1),
            rollover: coins(2),
        }),
        ContestFact::ReturnsFixed,
        ContestFact::Emptied,
        ContestFact::CancelAsked,
    ]
}

/// What the table calls a phase.
fn phase_label(phase: &Phase) -> String {
    let name = phase.kind().name();
    match phase {
        Phase::Listing(.., cursor) => format!("{name} {}", cursor.lines),
        Phase::Cancelling(reason, closed) => {
            let closed = if closed.is_some() { "closed" } else { "open" };
            format!("{name} {} {closed}", reason.name())
        }
        Phase::Cancelled(reason, _) => format!("{name} {}", reason.name()),
        _ => name.to_owned(),
    }
}

/// The allowed facts with no leg pending, no winners being refunded; the rest is refused.
const ALLOWED: &[(&str, &[(&str, &str)])] = &[
    (
        "preparing",
        &[
            ("account_opened", "funding"),
            ("cancel_asked", "cancelling operator open"),
        ],
    ),
    (
        "funding",
        &[
            ("funded", "draft"),
            ("cancel_asked", "cancelling operator open"),
        ],
    ),
    (
        "draft",
        &[
            ("credits_closed", "running"),
            ("cancel_asked", "cancelling operator open"),
        ],
    ),
    (
        "running",
        &[
            ("settling_due", "judging"),
            ("cancel_asked", "cancelling operator closed"),
        ],
    ),
    (
        "judging",
        &[
            ("frozen 3", "listing 0"),
            ("frozen 0", "cancelling no_winners closed"),
            ("cancel_asked", "cancelling operator closed"),
        ],
    ),
    (
        "listing 0",
        &[
            ("sheet_advanced 2", "listing 2"),
            ("sheet_advanced 3", "listing 3"),
        ],
    ),
    (
        "listing 2",
        &[
            ("sheet_advanced 2", "listing 2"),
            ("sheet_advanced 3", "listing 3"),
        ],
    ),
    (
        "listing 3",
        &[
            ("sheet_advanced 2", "listing 2"),
            ("sheet_advanced 3", "listing 3"),
            ("sheet_sealed", "claimable"),
        ],
    ),
    (
        "claimable",
        &[("leftover_fixed", "claimable"), ("emptied", "closed")],
    ),
    ("closed", &[]),
    (
        "cancelling operator open",
        &[("credits_closed", "cancelling operator closed")],
    ),
    (
        "cancelling operator closed",
        &[
            ("returns_fixed", "cancelling operator closed"),
            ("emptied", "cancelled operator"),
        ],
    ),
    (
        "cancelling no_winners open",
        &[("credits_closed", "cancelling no_winners closed")],
    ),
    (
        "cancelling no_winners closed",
        &[
            ("returns_fixed", "cancelling no_winners closed"),
            ("emptied", "cancelled no_winners"),
        ],
    ),
    ("cancelled operator", &[]),
    ("cancelled no_winners", &[]),
];

fn check(phase: &Phase, fact: ContestFact, moves: &mut BTreeSet<(PhaseKind, PhaseKind)>) {
    let (from, by) = (phase_label(phase), label(&fact));
    let row = ALLOWED
        .iter()
        .find(|(state, _)| *state == from)
        .expect("a row of the table");
    let before = contest(terms(), phase.clone());
    let outcome = before.clone().apply(fact, NOW);
    match row.1.iter().find(|(wanted, _)| *wanted == by) {
        Some((_, wanted)) => {
            let after = outcome.unwrap_or_else(|error| panic!("{from} + {by}: {error}"));
            assert_eq!(phase_label(&after.phase), *wanted, "{from} + {by}");
            let closed = after.phase.credits_closed();
            let is_open = ["funding", "draft"].contains(wanted) || wanted.ends_with("open");
            assert_eq!(closed, (!is_open).then_some(CLOSED), "{from} + {by}");
            moves.insert((phase.kind(), after.phase.kind()));
            assert_eq!(after.updated_at, NOW, "{from} + {by}");
            let unchanged = Contest {
                phase: phase.clone(),
                legs: before.legs.clone(),
                updated_at: before.updated_at,
                ..after
            };
            assert_eq!(
                unchanged, before,
                "{from} + {by}: nothing but phase, legs and time changes"
            );
        }
        None => {
            let name = by.split(' ').next().expect("a name");
            let error = outcome.expect_err("a refusal");
            assert_eq!((error.phase, error.fact), (phase.kind(), name), "{from}");
        }
    }
}

#[test]
fn every_pair_of_phase_and_fact_has_its_outcome() {
    let names: BTreeSet<_> = facts()
        .iter()
        .map(|fact| label(fact).split(' ').next().map(str::to_owned))
        .collect();
    assert_eq!(names.len(), 13, "each fact has a sample");
    let mut moves = BTreeSet::new();
    let phases: Vec<_> = PhaseKind::ALL
        .iter()
        .flat_map(|kind| phases_of(*kind))
        .collect();
    for phase in &phases {
        for fact in facts() {
            check(phase, fact, &mut moves);
        }
    }
    assert_eq!(phases.len(), ALLOWED.len());
    for from in PhaseKind::ALL {
        for to in PhaseKind::ALL {
            let made = from != to && moves.contains(&(*from, *to));
            assert_eq!(from.may_become(*to), made, "{from:?} -> {to:?}");
        }
        let terminal = [PhaseKind::Closed, PhaseKind::Cancelled].contains(from);
        assert_eq!(from.is_terminal(), terminal, "{from:?}");
    }
}

#[test]
fn errors_name_the_phase_and_the_fact() {
    let closed = contest(terms(), Phase::Closed(settlement()));
    let error = closed
        .apply(ContestFact::CancelAsked, NOW)
        .expect_err("too late");
    assert_eq!(
        error,
        PhaseError {
            phase: PhaseKind::Closed,
            fact: "cancel_asked"
        }
    );
    assert_eq!(
        error.to_string(),
        "cancel_asked is not possible while the contest is closed"
    );
}

#[test]
fn an_event_can_count_until_judging_begins() {
    use PhaseKind::{Draft, Funding, Preparing, Running};
    for kind in PhaseKind::ALL {
        let open = [Preparing, Funding, Draft, Running].contains(kind);
        assert_eq!(kind.is_past_events(), !open, "{kind:?}");
    }
}

#[test]
fn the_freeze_without_winners_goes_where_the_terms_say() {
    for (no_winner, wanted) in [
        (NoWinner::Refund, "cancelling no_winners closed"),
        (NoWinner::Rollover, "listing 0"),
        (NoWinner::Platform, "listing 0"),
    ] {
        let judging = contest(
            Terms {
                no_winner,
                ..series_terms(0)
            },
            Phase::Judging(CLOSED),
        );
        let none = judging
            .clone()
            .apply(ContestFact::Frozen(totals(30, 0, 0)), NOW);
        let none = none.expect("an allowed fact");
        assert_eq!(phase_label(&none.phase), wanted, "{no_winner:?}");
        if none.phase.kind() == PhaseKind::Listing {
            // A sheet without a line is complete at once.
            let sealed = none.apply(ContestFact::SheetSealed(SHEET), NOW);
            let sealed = sealed.expect("an allowed fact").phase;
            let totals = totals(30, 0, 0);
            let (frozen_at, claimable_at, prizes) = (NOW, NOW, coins(0));
            let wanted = Settlement {
                closed: CLOSED,
                totals,
                frozen_at,
                claimable_at,
                prizes,
                sheet: Some(SHEET),
            };
            assert_eq!(sealed, Phase::Claimable(wanted), "{no_winner:?}");
        }
        let some = judging.apply(ContestFact::Frozen(totals(30, 3, 6)), NOW);
        assert_eq!(
            phase_label(&some.expect("allowed").phase),
            "listing 0",
            "{no_winner:?}"
        );
    }
}

// hazard: B2, C7
#[test]
fn the_frozen_numbers_are_handed_on_unchanged() {
    let judging = contest(terms(), Phase::Judging(CLOSED));
    assert_eq!(judging.phase.frozen(), None);
    let frozen = judging.apply(ContestFact::Frozen(totals(30, 3, 6)), UnixMillis(3_100));
    let frozen = frozen.expect("allowed");
    assert_eq!(
        frozen.phase.frozen(),
        Some((&totals(30, 3, 6), UnixMillis(3_100)))
    );
    let page = frozen.apply(ContestFact::SheetAdvanced(cursor(2)), UnixMillis(3_150));
    let listed = page
        .expect("allowed")
        .apply(ContestFact::SheetAdvanced(cursor(3)), UnixMillis(3_160));
    let listed = listed
        .expect("allowed")
        .apply(ContestFact::SheetSealed(SHEET), NOW);
    let listed = listed.expect("allowed");
    assert_eq!(listed.phase, Phase::Claimable(settlement()));
    assert_eq!(
        listed.phase.frozen(),
        Some((&totals(30, 3, 6), UnixMillis(3_100)))
    );
    let closed = listed.apply(ContestFact::Emptied, NOW).expect("allowed");
    assert_eq!(
        closed.phase.frozen(),
        Some((&totals(30, 3, 6), UnixMillis(3_100)))
    );
}

#[test]
fn the_claim_window_is_never_shortened_by_a_late_settling() {
    for (claimable_at, end) in [
        (2_999, 4_000),
        (3_000, 4_000),
        (3_001, 4_001),
        (3_200, 4_200),
        (9_000, 10_000),
        (i64::MAX, i64::MAX),
    ] {
        let settlement = Settlement {
            claimable_at: UnixMillis(claimable_at),
            ..settlement()
        };
        for phase in [Phase::Claimable(settlement), Phase::Closed(settlement)] {
            let contest = contest(terms(), phase);
            assert_eq!(
                contest.claims_end_at(),
                Some(UnixMillis(end)),
                "{claimable_at}"
            );
        }
    }
    for kind in PhaseKind::ALL {
        let open = [PhaseKind::Claimable, PhaseKind::Closed].contains(kind);
        for phase in phases_of(*kind) {
            let found = contest(terms(), phase).claims_end_at();
            assert_eq!(found, open.then_some(CLAIMS_END), "{kind:?}");
        }
    }
}

#[test]
fn a_gap_is_accepted_before_anything_is_decided_by_it() {
    for kind in PhaseKind::ALL {
        for phase in phases_of(*kind) {
            let may = matches!(phase, Phase::Judging(_) | Phase::Cancelling(_, Some(_)));
            let before = contest(terms(), phase);
            let accepted = before.clone().apply(ContestFact::GapAccepted(-7), NOW);
            if !may {
                assert_eq!(
                    accepted.expect_err("too early or too late").fact,
                    "gap_accepted"
                );
                continue;
            }
            let accepted = accepted.expect("accepted");
            assert_eq!(accepted.stops.accepted, -7);
            assert_eq!(accepted.stops.excess(), Coins::ZERO);
            let other = accepted.clone().apply(ContestFact::GapAccepted(9), NOW);
            assert_eq!(other.expect("another").stops.excess(), coins(9));
            let unchanged = Contest {
                stops: before.stops,
                updated_at: before.updated_at,
                ..accepted
            };
            assert_eq!(unchanged, before, "{kind:?}");
        }
    }
}

#[test]
fn what_a_cancelled_pool_holds_too_much_leaves_with_the_sweep() {
    let phase = Phase::Cancelling(domain::contest::CancelReason::Operator, Some(CLOSED));
    let cancelling = contest(terms(), phase);
    let accepted = cancelling.apply(ContestFact::GapAccepted(9), NOW);
    let fixed = accepted
        .expect("accepted")
        .apply(ContestFact::ReturnsFixed, NOW);
    let legs = fixed.expect("fixed").legs;
    assert_eq!(
        legs.get(&OwnLeg::Sweep).map(|leg| leg.amount),
        Some(coins(9))
    );
}

#[test]
fn payouts_stop_in_every_phase_that_has_something_to_pay_and_go_on() {
    for kind in PhaseKind::ALL {
        for phase in phases_of(*kind) {
            let before = contest(terms(), phase);
            let resumed = before.clone().apply(ContestFact::PayoutsResumed, NOW);
            assert_eq!(
                resumed.expect_err("they go on").fact,
                "payouts_resumed",
                "{kind:?}"
            );
            let stopped = before.clone().apply(ContestFact::PayoutsStopped, NOW);
            if kind.is_terminal() {
                assert_eq!(stopped.expect_err("all is paid").fact, "payouts_stopped");
                continue;
            }
            let stopped = stopped.expect("stopped");
            assert_eq!(stopped.stops.since, Some(NOW), "{kind:?}");
            let again = stopped.clone().apply(ContestFact::PayoutsStopped, NOW);
            again.expect_err("they are stopped");
            let unchanged = Contest {
                stops: before.stops,
                updated_at: before.updated_at,
                ..stopped.clone()
            };
            assert_eq!(unchanged, before, "{kind:?}");
            let resumed = stopped.apply(ContestFact::PayoutsResumed, NOW.plus(7));
            let resumed = resumed.expect("resumed");
            assert_eq!(resumed.stops.since, None, "{kind:?}");
            // Only who could have claimed has lost time.
            let lost = if *kind == PhaseKind::Claimable { 7 } else { 0 };
            assert_eq!(resumed.stops.total_ms, lost, "{kind:?}");
        }
    }
}

#[test]
fn the_time_to_claim_is_longer_by_what_payouts_were_stopped() {
    let open = settlement().claimable_at;
    let claimable = || contest(terms(), Phase::Claimable(settlement()));
    let stop = |at: UnixMillis| {
        let stopped = claimable().apply(ContestFact::PayoutsStopped, at);
        stopped.expect("stopped")
    };
    let resume = |contest: Contest, at: UnixMillis| {
        let resumed = contest.apply(ContestFact::PayoutsResumed, at);
        resumed.expect("resumed")
    };
    // While it lasts nobody knows the end, and nobody forfeits anything.
    let stopped = stop(open.plus(100));
    assert_eq!(stopped.claims_end_at(), None);
    assert_eq!(
        house_payout(&stopped, CLAIMS_END.plus(1)),
        HousePayout::Wait
    );
    let resumed = resume(stopped, CLAIMS_END.plus(1_000));
    let kept = CLAIMS_END.plus(1_000).since(open.plus(100));
    assert_eq!(resumed.claims_end_at(), Some(CLAIMS_END.plus(kept)));
    // A second stop adds to the first.
    let again = resumed.apply(ContestFact::PayoutsStopped, CLAIMS_END.plus(1_001));
    let again = resume(again.expect("stopped"), CLAIMS_END.plus(1_006));
    assert_eq!(again.claims_end_at(), Some(CLAIMS_END.plus(kept + 5)));
    // One that began when claims had ended changes nothing.
    let late = stop(CLAIMS_END);
    assert_eq!(late.claims_end_at(), Some(CLAIMS_END));
    assert_eq!(house_payout(&late, CLAIMS_END), HousePayout::Wait);
    let late = resume(late, CLAIMS_END.plus(50));
    assert_eq!(late.claims_end_at(), Some(CLAIMS_END));
    // One that began before claims opened counts from then on.
    let mut early = claimable();
    early.stops.since = Some(open.plus(-500));
    assert_eq!(
        resume(early, open.plus(3)).claims_end_at(),
        Some(CLAIMS_END.plus(3))
    );
}

#[test]
fn the_time_to_claim_is_longer_by_what_claims_were_switched_off() {
    let open = settlement().claimable_at;
    let off = |from: i64, to: Option<i64>| Stretch {
        from: open.plus(from),
        to: to.map(|to| open.plus(to)),
    };
    // Takes account of what is news, as often as there is any.
    let held = |mut contest: Contest, stretches: &[Stretch]| {
        while let Some(fact) = contest.claims_off(stretches) {
            contest = contest.apply(fact, NOW).expect("it is claimable");
        }
        contest
    };
    let longer = |contest: &Contest| contest.claims_end_at().map(|end| end.since(CLAIMS_END));
    let claimable = || contest(terms(), Phase::Claimable(settlement()));
    assert_eq!(longer(&held(claimable(), &[])), Some(0));
    // While it lasts nobody knows the end, and nobody forfeits anything.
    let lasting = held(claimable(), &[off(10, None)]);
    assert_eq!(lasting.claims_end_at(), None);
    assert!(!lasting.stops.is_stopped(), "what has begun is paid");
    assert_eq!(
        house_payout(&lasting, CLAIMS_END.plus(1)),
        HousePayout::Wait
    );
    // It counts once, whether it was seen while it lasted or not, and however often it is looked at.
    let list = [
        off(-50, Some(-40)),
        off(-5, Some(3)),
        off(10, Some(17)),
        off(30, None),
    ];
    assert_eq!(held(lasting, &list).claims_end_at(), None);
    let list = [list[0], list[1], list[2], off(30, Some(31))];
    let twice = held(held(claimable(), &list[..3]), &list);
    assert_eq!(longer(&twice), Some(3 + 7 + 1));
    assert_eq!(held(twice.clone(), &list), twice);
    // What overlaps with a stop of payouts counts once.
    for (stop, resume, from, to, sum) in [
        (0, 20, 10, 30, 30),
        (10, 30, 0, 20, 30),
        (0, 30, 10, 20, 30),
    ] {
        let both = |contest: Contest, at: i64| {
            let contest = match at {
                at if at == stop => contest.apply(ContestFact::PayoutsStopped, open.plus(at)),
                at if at == resume => contest.apply(ContestFact::PayoutsResumed, open.plus(at)),
                _ => Ok(contest),
            }
            .expect("it is claimable");
            let to = (at >= to).then_some(to);
            let stretches = (at >= from).then(|| off(from, to));
            held(contest, stretches.as_slice())
        };
        let both = (0..=30).fold(claimable(), both);
        assert_eq!(longer(&both), Some(sum), "{stop} {resume} {from} {to}");
    }
    // Seen as it began, and its end only after payouts that were stopped meanwhile went on: it has ended.
    let began = held(claimable(), &[off(0, None)]);
    let stop = began
        .apply(ContestFact::PayoutsStopped, open.plus(5))
        .expect("stopped");
    let resume = stop
        .apply(ContestFact::PayoutsResumed, open.plus(30))
        .expect("resumed");
    assert_eq!(resume.claims_end_at(), None);
    let over = held(resume.clone(), &[off(0, Some(20))]);
    assert_eq!(longer(&over), Some(30));
    assert_eq!(held(over.clone(), &[off(0, Some(20))]), over);
    // Nor does one last for ever whose beginning has left the history.
    assert_eq!(longer(&held(resume, &[])), Some(30));
    // What began when claims had ended changes nothing.
    let end = CLAIMS_END.since(open);
    let late = held(claimable(), &[off(end, None)]);
    assert_eq!(longer(&late), Some(0));
    assert_eq!(longer(&held(late, &[off(end, Some(end + 9))])), Some(0));
    // Nor does it where nobody can claim.
    for kind in PhaseKind::ALL
        .iter()
        .filter(|kind| **kind != PhaseKind::Claimable)
    {
        for phase in phases_of(*kind) {
            let before = contest(terms(), phase);
            assert_eq!(before.claims_off(&[off(0, None)]), None, "{kind:?}");
            let fact = ContestFact::ClaimsOff(off(0, None));
            let refused = before.apply(fact, NOW).expect_err("nobody can claim");
            assert_eq!(refused.fact, "claims_off");
        }
    }
}

#[test]
fn people_see_the_phase_by_the_clock_until_signups_are_over() {
    use PublicPhase as P;
    for kind in PhaseKind::ALL {
        let (before, after) = match kind {
            PhaseKind::Preparing | PhaseKind::Funding => (P::Draft, P::Draft),
            PhaseKind::Draft => (P::Draft, P::Open),
            PhaseKind::Running => (P::Running, P::Running),
            PhaseKind::Judging | PhaseKind::Listing => (P::Settling, P::Settling),
            PhaseKind::Claimable => (P::Claimable, P::Claimable),
            PhaseKind::Closed => (P::Closed, P::Closed),
            PhaseKind::Cancelling => (P::Cancelling, P::Cancelling),
            PhaseKind::Cancelled => (P::Cancelled, P::Cancelled),
        };
        for phase in phases_of(*kind) {
            let contest = contest(terms(), phase);
            for (now, wanted) in [
                (999, before),
                (1_000, after),
                (1_001, after),
                (9_999, after),
            ] {
                assert_eq!(
                    contest.public_phase(UnixMillis(now)),
                    wanted,
                    "{kind:?} at {now}"
                );
            }
        }
    }
}

#[test]
fn credits_are_closed_and_settling_begins_in_their_windows() {
    let closing = ContestFact::CreditsClosed(CreditsClosed {
        position: Position(9),
    });
    for kind in PhaseKind::ALL {
        for phase in phases_of(*kind) {
            let contest = contest(terms(), phase);
            for fact in facts().into_iter().chain([closing]) {
                let wanted = match fact {
                    ContestFact::CreditsClosed(_) if *kind == PhaseKind::Draft => {
                        Window::from(UnixMillis(2_000))
                    }
                    ContestFact::SettlingDue => Window::from(UnixMillis(3_100)),
                    _ => Window::ALWAYS,
                };
                assert_eq!(window(&fact, &contest), wanted, "{kind:?} {fact:?}");
            }
            let looked_at = match kind {
                PhaseKind::Draft => Some(UnixMillis(2_000)),
                PhaseKind::Closed | PhaseKind::Cancelled => None,
                _ => Some(UnixMillis(500)),
            };
            assert_eq!(wake_at(&contest), looked_at, "{kind:?}");
        }
    }
}
