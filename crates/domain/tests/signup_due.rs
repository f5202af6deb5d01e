//! The due step of every state of a signup in every phase of its contest, and when it may be
//! written and is taken up again.
// hazard: B5, B6, B11, B12

mod common;

use common::{CLAIMS_END, CLOSED, coins, contest, done, line, phases_of, receipt, series_terms};
use common::{contest_id, signup_id, user, weight};
use domain::{
    contest::{Contest, Phase, PhaseKind},
    due::{HousePayout, Step, due, house_payout, wake_at, window},
    signup::{Claimant, Fact, FeeTry, Paid, PayTry, Payee, Payment, Share, Signup, State},
    stops::Stops,
    terms::{ClaimMode, Terms, Unclaimed},
    time::{UnixMillis, Window},
    transfer::Refusal,
};

const PARKED: PayTry = PayTry::Parked(Refusal::AccountClosed);

fn signup(state: State) -> Signup {
    let new = Signup::new(
        signup_id(1),
        contest_id(),
        user(1),
        coins(10),
        UnixMillis(1_200),
    );
    Signup { state, ..new }
}

fn claiming(prize: u64, last_try: PayTry) -> State {
    let payment = Payment {
        payee: Payee::Viewer,
        last_try,
    };
    State::Claiming(receipt(1), done(1), weight(2), coins(prize), payment)
}

fn refunding(payee: Payee, last_try: PayTry) -> State {
    State::Refunding(receipt(1), coins(10), Payment { payee, last_try })
}

fn completed(share: Share) -> State {
    State::Completed(receipt(1), done(1), share)
}

fn shared(prize: u64, paid: Option<Paid>) -> State {
    State::Shared(receipt(1), done(1), weight(2), coins(prize), paid)
}

/// The columns of the table: a phase, and times that must not make a difference in it.
fn columns(kind: PhaseKind) -> Vec<(Phase, Vec<i64>)> {
    let any = vec![
        0,
        999,
        1_000,
        1_999,
        2_000,
        3_000,
        3_100,
        4_199,
        4_200,
        i64::MAX,
    ];
    let mut phases = phases_of(kind).into_iter();
    match kind {
        PhaseKind::Draft => vec![
            (Phase::Draft, vec![i64::MIN, 0, 999, 1_000, 1_999]),
            (Phase::Draft, vec![2_000, 2_001, i64::MAX]),
        ],
        PhaseKind::Preparing
        | PhaseKind::Funding
        | PhaseKind::Running
        | PhaseKind::Judging
        | PhaseKind::Listing
        | PhaseKind::Claimable
        | PhaseKind::Closed
        | PhaseKind::Cancelled => vec![(phases.next().expect("a sample"), any)],
        // Before and after credits were closed.
        PhaseKind::Cancelling => phases.take(2).map(|phase| (phase, any.clone())).collect(),
    }
}

/// `.` rest, `C` charge the fee, `L` look it up, `A` assign the task, `R` read the progress,
/// `F` give the fee back, `0` nothing to pay, `P` pay, `?` look the payment up, and `H` what the
/// house does with an unclaimed prize, which has a table of its own.
fn step(letter: char) -> Step {
    match letter {
        '.' => Step::Rest,
        'C' => Step::ChargeFee,
        'L' => Step::LookUpFee,
        'A' => Step::AssignTask,
        'R' => Step::ReadProgress,
        'F' => Step::Decide(Fact::FeeReturned),
        '0' => Step::Decide(Fact::NothingToPay),
        'P' => Step::Pay,
        '?' => Step::LookUpPayment,
        _ => unreachable!("no such step"),
    }
}

fn check(state: &State, expected: &str) {
    let columns: Vec<_> = PhaseKind::ALL
        .iter()
        .flat_map(|kind| columns(*kind))
        .collect();
    let letters: Vec<char> = expected.chars().filter(|letter| *letter != ' ').collect();
    assert_eq!(letters.len(), columns.len(), "{state:?}");
    for (letter, (phase, times)) in letters.into_iter().zip(columns) {
        for terms in policies().into_iter().filter(|_| letter != 'H') {
            let contest = contest(terms, phase.clone());
            for now in &times {
                let found = due(&signup(state.clone()), &contest, UnixMillis(*now));
                assert_eq!(found, step(letter), "{state:?} in {phase:?} at {now}");
                // While payouts are stopped nothing is sent; what was sent is still asked about.
                let stopped = Contest {
                    stops: Stops {
                        since: Some(UnixMillis(*now)),
                        ..Stops::default()
                    },
                    ..contest.clone()
                };
                let found = due(&signup(state.clone()), &stopped, UnixMillis(*now));
                let letter = if letter == 'P' { '.' } else { letter };
                assert_eq!(found, step(letter), "{state:?} in {phase:?}, stopped");
            }
        }
    }
}

fn policies() -> Vec<Terms> {
    let modes = ClaimMode::ALL.iter();
    modes
        .flat_map(|claim_mode| {
            Unclaimed::ALL.iter().map(|unclaimed| Terms {
                claim_mode: *claim_mode,
                unclaimed: *unclaimed,
                ..series_terms(0)
            })
        })
        .collect()
}

#[test]
fn every_state_in_every_phase_has_its_step() {
    let paid = |payee| {
        Some(Paid {
            payee,
            receipt: receipt(9),
        })
    };
    let refused = FeeTry::Refused(Refusal::InsufficientBalance);
    let (viewer, holding) = (Payee::Viewer, Payee::Holding);
    // Preparing, Funding; Draft before and from the close of signups; Running, Judging, Listing;
    // Claimable, Closed; Cancelling before and after the close of credits, Cancelled.
    for (state, expected) in [
        (State::Initialized(FeeTry::NotSent), ".. C. LLL LL .LL"),
        (State::Initialized(FeeTry::Unknown), "LL LL LLL LL LLL"),
        (State::Initialized(refused), ".. .. LLL LL .LL"),
        (State::Paid(receipt(1)), ".. AA AAF FF .FF"),
        (State::InProgress(receipt(1)), ".. RR RRF FF .FF"),
        (completed(Share::Provisional), ".. .. .R. .. .FF"),
        (completed(Share::Fixed(weight(2))), ".. .. ... H. .FF"),
        (claiming(7, PayTry::NotSent), "PP PP PPP PP PPP"),
        (claiming(7, PayTry::Unknown), "?? ?? ??? ?? ???"),
        (claiming(7, PARKED), ".. .. ... .. ..."),
        (claiming(0, PayTry::NotSent), "00 00 000 00 000"),
        (claiming(0, PayTry::Unknown), "00 00 000 00 000"),
        (claiming(0, PARKED), "00 00 000 00 000"),
        (shared(7, paid(viewer)), ".. .. ... .. ..."),
        (shared(7, paid(holding)), ".. .. ... .. ..."),
        (shared(0, None), ".. .. ... .. ..."),
        (State::Missed(receipt(1), 0), ".. .. ... .. .FF"),
        (
            State::Forfeited(receipt(1), done(1), weight(2)),
            ".. .. ... .. ...",
        ),
        (State::Expired, ".. .. ... .. ..."),
        (refunding(viewer, PayTry::NotSent), "PP PP PPP PP PPP"),
        (refunding(holding, PayTry::NotSent), "PP PP PPP PP PPP"),
        (refunding(viewer, PayTry::Unknown), "?? ?? ??? ?? ???"),
        (refunding(holding, PayTry::Unknown), "?? ?? ??? ?? ???"),
        (refunding(viewer, PARKED), ".. .. ... .. ..."),
        (refunding(holding, PARKED), ".. .. ... .. ..."),
        (
            State::Refunded(receipt(1), coins(10), paid(viewer).expect("a payment")),
            ".. .. ... .. ...",
        ),
    ] {
        check(&state, expected);
    }
}

#[test]
fn the_house_pays_or_takes_back_what_was_not_claimed_by_the_terms() {
    let (pay, forfeit) = (Step::DrawPrize, Step::Decide(Fact::ClaimsEnded));
    for (claim_mode, unclaimed, before, after) in [
        (ClaimMode::Automatic, Unclaimed::Pay, &pay, &pay),
        (ClaimMode::Automatic, Unclaimed::Platform, &pay, &pay),
        (ClaimMode::Automatic, Unclaimed::Rollover, &pay, &pay),
        (ClaimMode::Manual, Unclaimed::Pay, &Step::Rest, &pay),
        (
            ClaimMode::Manual,
            Unclaimed::Platform,
            &Step::Rest,
            &forfeit,
        ),
        (
            ClaimMode::Manual,
            Unclaimed::Rollover,
            &Step::Rest,
            &forfeit,
        ),
    ] {
        let terms = Terms {
            claim_mode,
            unclaimed,
            ..series_terms(0)
        };
        let contest = contest(terms, Phase::Claimable(common::settlement()));
        let signup = signup(completed(Share::Fixed(weight(2))));
        for (millis, expected) in [(-1_000, before), (-1, before), (0, after), (1, after)] {
            let now = CLAIMS_END.plus(millis);
            assert_eq!(
                &due(&signup, &contest, now),
                expected,
                "{claim_mode:?} {unclaimed:?}"
            );
            let house = match expected {
                Step::DrawPrize => HousePayout::Pay,
                Step::Decide(_) => HousePayout::Forfeit,
                _ => HousePayout::Wait,
            };
            assert_eq!(
                house_payout(&contest, now),
                house,
                "{claim_mode:?} {unclaimed:?}"
            );
        }
    }
}

fn claimable(claim_mode: ClaimMode) -> Contest {
    let terms = Terms {
        claim_mode,
        ..common::terms()
    };
    contest(terms, Phase::Claimable(common::settlement()))
}

#[test]
fn viewers_claim_before_the_end_and_the_house_from_it_on() {
    let viewer = Fact::PrizeDrawn(line(1, 2, 7), Claimant::Viewer);
    let house = Fact::PrizeDrawn(line(1, 2, 7), Claimant::House);
    let (manual, automatic) = (ClaimMode::Manual, ClaimMode::Automatic);
    for (fact, mode, before, after) in [
        (&viewer, manual, true, false),
        (&viewer, automatic, true, false),
        (&house, manual, false, true),
        (&house, automatic, true, true),
        (&Fact::ClaimsEnded, manual, false, true),
        (&Fact::NothingToPay, manual, true, true),
        (&Fact::FeeReturned, manual, true, true),
    ] {
        let window = window(fact, &claimable(mode));
        for (millis, expected) in [(-1, before), (0, after), (1, after)] {
            assert_eq!(
                window.allows(CLAIMS_END.plus(millis)),
                expected,
                "{fact:?} {mode:?}"
            );
        }
    }
    for fact in [viewer, house, Fact::ClaimsEnded] {
        let judging = contest(common::terms(), Phase::Judging(CLOSED));
        assert_eq!(
            domain::due::window(&fact, &judging),
            Window::ALWAYS,
            "{fact:?}"
        );
    }
}

#[test]
fn a_window_begins_with_its_first_moment_and_ends_before_its_last() {
    let at = UnixMillis(100);
    for (window, expected) in [
        (Window::ALWAYS, [true, true, true]),
        (Window::from(at), [false, true, true]),
        (Window::until(at), [true, false, false]),
        (
            Window {
                not_before: Some(at),
                before: Some(at.plus(1)),
            },
            [false, true, false],
        ),
    ] {
        let found = [-1, 0, 1].map(|millis| window.allows(at.plus(millis)));
        assert_eq!(found, expected, "{window:?}");
    }
}

#[test]
fn only_charging_and_paying_move_money() {
    for letter in ".CLARF0P?".chars() {
        assert_eq!(
            step(letter).moves_money(),
            matches!(letter, 'C' | 'P'),
            "{letter}"
        );
    }
    assert!(!Step::DrawPrize.moves_money());
}

#[test]
fn the_compensation_takes_up_what_it_can_move_by_itself() {
    let refused = FeeTry::Refused(Refusal::InsufficientBalance);
    let now = UnixMillis(10_000);
    for (state, wakes) in [
        (State::Initialized(FeeTry::NotSent), true),
        (State::Initialized(FeeTry::Unknown), true),
        (State::Initialized(refused), false),
        (State::Paid(receipt(1)), true),
        (State::InProgress(receipt(1)), false),
        (completed(Share::Provisional), false),
        (completed(Share::Fixed(weight(2))), false),
        (claiming(7, PayTry::NotSent), true),
        (claiming(7, PayTry::Unknown), true),
        (claiming(7, PARKED), false),
        (shared(0, None), false),
        (State::Missed(receipt(1), 0), false),
        (State::Forfeited(receipt(1), done(1), weight(2)), false),
        (State::Expired, false),
        (refunding(Payee::Viewer, PayTry::NotSent), true),
        (refunding(Payee::Viewer, PayTry::Unknown), true),
        (refunding(Payee::Viewer, PARKED), false),
    ] {
        assert_eq!(
            wake_at(&signup(state.clone()), now).is_some(),
            wakes,
            "{state:?}"
        );
    }
}

// hazard: H13
#[test]
fn waits_double_up_to_a_minute_and_are_spread_by_id() {
    for (tries, last_byte, wait) in [
        (0, 0x00, 2_000),
        (1, 0x00, 4_000),
        (2, 0x00, 8_000),
        (3, 0x00, 16_000),
        (4, 0x00, 32_000),
        (5, 0x00, 60_000),
        (6, 0x00, 60_000),
        (u32::MAX, 0x00, 60_000),
        (0, 0x80, 2_250),
        (0, 0xff, 2_498),
        (5, 0xff, 74_941),
    ] {
        let id = signup_id(last_byte);
        let state = State::Initialized(FeeTry::Unknown);
        let signup = Signup {
            id,
            tries,
            ..signup(state)
        };
        let woken = wake_at(&signup, UnixMillis(10_000));
        assert_eq!(
            woken,
            Some(UnixMillis(10_000 + wait)),
            "{tries} {last_byte}"
        );
    }
}
