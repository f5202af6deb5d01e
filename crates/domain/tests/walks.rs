//! Random walks of `apply`, and random but lawful worlds around `due` and `apply`.
// hazard: A1, A2, B3, B10, B17

mod common;

use common::world::{Answer, World};
use common::{CLOSED, absence, bps, coins, contest, cursor, done, line, receipt, series_terms};
use common::{contest_id, signup_id, totals, user, weight};
use domain::{
    contest::{ContestFact, LegOutcome, Phase, PhaseKind},
    digest::Digest,
    due::{Step, due},
    money::Coins,
    order::{Account, Leg, OwnLeg},
    payout::Rule,
    settlement::Leftover,
    signup::{Claimant, Fact, FeeTry, Paid, PayTry, Payee, Share, Signup, State, StateKind},
    terms::{ClaimMode, NoWinner, Remainder, Terms, Unclaimed},
    time::UnixMillis,
    transfer::{CreditsClosed, Position, Refusal, Transfer},
};
use proptest::{prelude::*, sample::select};

fn facts() -> impl Strategy<Value = Fact> {
    let receipts = || (1..4u64).prop_map(receipt);
    let reasons = || select(Refusal::ALL);
    let shares = prop_oneof![
        Just(Share::Provisional),
        (1..3u64).prop_map(|number| Share::Fixed(weight(number)))
    ];
    let lines = (1..3u64, 1..3u64, 0..3u64).prop_map(|(id, weight, prize)| line(id, weight, prize));
    let paid =
        (select(Payee::ALL), receipts()).prop_map(|(payee, receipt)| Paid { payee, receipt });
    prop_oneof![
        select(vec![
            Fact::SignUpAsked,
            Fact::FeeNotSent,
            Fact::FeeUnknown,
            Fact::FeeNotFound,
            Fact::FeeCannotArrive(absence()),
            Fact::FeeReturned,
            Fact::ClaimsEnded,
        ]),
        select(vec![
            Fact::TaskAssigned,
            Fact::TaskUnanswered,
            Fact::TaskOpen,
            Fact::TaskMissed(1),
            Fact::NothingToPay,
            Fact::PaymentNotSent,
            Fact::PaymentUnknown,
            Fact::PaymentNotFound,
            Fact::RetryAsked,
            Fact::RedirectAsked,
        ]),
        receipts().prop_map(Fact::FeeApplied),
        reasons().prop_map(Fact::FeeRefused),
        reasons().prop_map(Fact::PaymentRefused),
        paid.prop_map(Fact::PaymentApplied),
        (1..9u64, shares).prop_map(|(quantity, share)| Fact::TaskMet(done(quantity), share)),
        lines.prop_map(|line| Fact::PrizeDrawn(line, Claimant::House)),
    ]
}

/// What is known stays known: `after` is `before` or nothing was known yet.
fn kept<T: PartialEq>(before: Option<T>, after: Option<T>) -> bool {
    before.is_none() || before == after
}

fn contest_facts() -> impl Strategy<Value = ContestFact> {
    let own = || select(OwnLeg::ALL.to_vec());
    let legs = (own(), 1..4u64).prop_map(|(leg, at)| ContestFact::LegApplied(leg, receipt(at)));
    let close = |at| {
        ContestFact::CreditsClosed(CreditsClosed {
            position: Position(at),
        })
    };
    let left = |sweep, rollover| {
        ContestFact::LeftoverFixed(Leftover {
            sweep: coins(sweep),
            rollover: coins(rollover),
        })
    };
    prop_oneof![
        4 => legs,
        2 => own().prop_map(|leg| ContestFact::LegCannotArrive(leg, absence())),
        1 => Just(ContestFact::CancelAsked),
        8 => select(vec![
            ContestFact::AccountOpened,
            ContestFact::Funded,
            ContestFact::SettlingDue,
            ContestFact::ReturnsFixed,
            ContestFact::Emptied,
        ]),
        3 => (48..52u64).prop_map(close),
        3 => (0..4u64).prop_map(|n| ContestFact::Frozen(totals(30, n, u128::from(n) * 2))),
        3 => (0..4u64).prop_map(|lines| ContestFact::SheetAdvanced(cursor(lines))),
        2 => (0..4u8).prop_map(|byte| ContestFact::SheetSealed(Digest::new([byte; 32]))),
        2 => (0..3u64, 0..3u64).prop_map(move |(sweep, rollover)| left(sweep, rollover)),
    ]
}

proptest! {
    // hazard: B9
    #[test]
    fn a_signup_moves_forward_only_and_forgets_nothing(walk in prop::collection::vec(facts(), 1..120)) {
        let now = UnixMillis(1_200);
        let mut signup = Signup::new(signup_id(1), contest_id(), user(1), coins(10), now);
        let mut unanswered = 0;
        for fact in walk {
            unanswered += u32::from(fact.is_unanswered());
            let Ok(after) = signup.clone().apply(fact.clone()) else { continue };
            let (from, to) = (signup.state.kind(), after.state.kind());
            prop_assert!(from == to || from.may_become(to), "{from:?} became {to:?}");
            prop_assert!(kept(signup.state.fee_receipt(), after.state.fee_receipt()), "{fact:?}");
            let refunded = matches!(to, StateKind::Refunding | StateKind::Refunded);
            let weights = (signup.state.weight(), after.state.weight());
            prop_assert!(refunded || kept(weights.0, weights.1), "{fact:?}");
            prop_assert!(kept(signup.state.prize(), after.state.prize()), "{fact:?}");
            prop_assert!(after.tries <= unanswered, "{} tries", after.tries);
            let unchanged = Signup { state: signup.state, tries: signup.tries, ..after.clone() };
            prop_assert_eq!(&unchanged.fee, &after.fee);
            prop_assert_eq!((unchanged.id, unchanged.version), (signup.id, signup.version));
            signup = after;
        }
    }

    // hazard: B7, B9, B14
    #[test]
    fn a_contest_moves_forward_only_and_fixes_everything_once(
        walk in prop::collection::vec(contest_facts(), 1..200), no_winner in select(NoWinner::ALL),
    ) {
        let terms = Terms { guaranteed_pool: coins(9), no_winner, ..series_terms(3) };
        let mut contest = contest(terms, Phase::Preparing);
        for fact in walk {
            let before = contest.clone();
            let Ok(after) = contest.clone().apply(fact, UnixMillis(3_200)) else { continue };
            let (from, to) = (before.phase.kind(), after.phase.kind());
            prop_assert!(from == to || from.may_become(to), "{from:?} became {to:?}");
            prop_assert_eq!(&after.terms, &before.terms);
            prop_assert!(kept(before.phase.credits_closed(), after.phase.credits_closed()));
            prop_assert!(kept(before.phase.frozen(), after.phase.frozen()));
            prop_assert!(kept(before.claims_end_at(), after.claims_end_at()));
            for (leg, state) in &before.legs {
                prop_assert_eq!(after.legs[leg].amount, state.amount);
                let known = state.outcome != LegOutcome::Pending;
                prop_assert!(!known || after.legs[leg].outcome == state.outcome, "{leg:?}");
            }
            let pending = |leg: &OwnLeg| after.legs[leg].outcome == LegOutcome::Pending;
            prop_assert!(!to.is_terminal() || !after.legs.keys().any(pending));
            contest = after;
        }
    }
}

fn terms() -> impl Strategy<Value = Terms> {
    let payout = (
        select(Rule::ALL),
        select(Remainder::ALL),
        select(ClaimMode::ALL),
    );
    let ends = (select(NoWinner::ALL), select(Unclaimed::ALL));
    let money = (0..=10_000u16, 0..100u64, 0..20u64);
    (payout, ends, money).prop_map(
        |(payout, (no_winner, unclaimed), (rake, guaranteed, carry))| {
            let (rule, remainder, claim_mode) = payout;
            Terms {
                rule,
                remainder,
                claim_mode,
                no_winner,
                unclaimed,
                rake_bps: bps(rake),
                guaranteed_pool: coins(guaranteed),
                ..series_terms(carry)
            }
        },
    )
}

fn players() -> impl Strategy<Value = Vec<(u64, Option<i64>)>> {
    let player = prop_oneof![
        (0..1u64, Just(None)),
        (1..30u64, (1_500..3_000i64).prop_map(Some)),
    ];
    prop::collection::vec(player, 0..7)
}

fn answers() -> impl Strategy<Value = Vec<Answer>> {
    let answer = select(vec![
        Answer::Honest,
        Answer::NotSent,
        Answer::LostBefore,
        Answer::LostAfter,
        Answer::Refused,
    ]);
    prop::collection::vec(answer, 0..30)
}

/// After an honest drive nothing is due, or the task is still open.
fn assert_at_rest(world: &World) {
    for signup in &world.signups {
        let step = due(signup, &world.contest, world.now);
        let waits = matches!(step, Step::Rest | Step::ReadProgress);
        assert!(waits, "{:?} has {step:?} due", signup.state);
    }
}

proptest! {
    /// The loop around `due` and `apply` ends wherever answers are lost or refused, and once the
    /// world answers honestly the contest ends, every coin in its place.
    #[test]
    fn whole_contests_end_with_clean_books(
        terms in terms(),
        players in players(),
        answers in answers(),
        page in 1usize..4,
        forgetful: bool,
        cancel in prop::option::of(select(vec![
            PhaseKind::Preparing, PhaseKind::Funding, PhaseKind::Draft, PhaseKind::Running,
            PhaseKind::Judging,
        ])),
    ) {
        let early = [Some(PhaseKind::Preparing), Some(PhaseKind::Funding)].contains(&cancel);
        let mut world =
            if early { World::new(terms) } else { World::signed_up(terms, &players) };
        (world.answers, world.page, world.forgetful) = (answers, page, forgetful);
        world.drive_all();
        if let Some(at) = cancel {
            world.drive_contest_until(|contest| contest.phase.kind() == at);
            world.apply(ContestFact::CancelAsked);
        } else {
            world.drive_contest_until(|contest| contest.phase.kind().is_past_events());
        }
        world.drive_all();
        world.answers.clear();
        world.drive_all();
        world.run();
        world.drive_all();
        assert_at_rest(&world);
        prop_assert_eq!(world.violations(), []);
        prop_assert_eq!(world.held(), Coins::ZERO);
        for signup in &world.signups {
            prop_assert!(ended(signup.state.kind()), "{:?}", signup.state);
        }
    }
}

/// What a viewer can ask for, and what happens around it. Nobody can withdraw: a fee comes back only
/// where the contest gives it back to all.
#[derive(Clone, Copy, Debug)]
enum Word {
    SignUp,
    /// Her row is lost in a failover, and she signs up as if for the first time.
    SignUpAnew,
    Claim,
    Cancel,
    Wait,
}

fn words() -> impl Strategy<Value = Vec<Word>> {
    let word = prop_oneof![
        5 => Just(Word::SignUp),
        2 => Just(Word::SignUpAnew),
        3 => Just(Word::Claim),
        1 => Just(Word::Cancel),
        3 => Just(Word::Wait),
    ];
    prop::collection::vec(word, 0..40)
}

/// One viewer says so; the number is that of her next row.
fn say(world: &mut World, word: Word, row: u64) {
    let phase = world.contest.phase.kind();
    let signup = world.signups[0].clone();
    match word {
        Word::SignUp => {
            let answer = signup.clone().apply(Fact::SignUpAsked);
            world.signups[0] = answer.unwrap_or(signup);
        }
        Word::SignUpAnew => {
            let closes_at = world.contest.terms.signup_closes_at;
            // The store inserts no row of hers at any other time, nor a second one.
            if phase == PhaseKind::Draft && world.now < closes_at {
                let (id, fee) = (signup_id(row), world.contest.terms.fee);
                let progress = world.progress[&signup.id];
                world.progress.insert(id, progress);
                world.signups[0] = Signup::new(id, signup.contest_id, user(1), fee, world.now);
            }
        }
        Word::Claim => {
            let is_winner = signup.state.kind() == StateKind::Completed;
            if phase == PhaseKind::Claimable && is_winner {
                world.claim(0);
            }
        }
        Word::Cancel => {
            let now = world.now;
            let cancelled = world.contest.clone().apply(ContestFact::CancelAsked, now);
            world.contest = cancelled.unwrap_or(world.contest.clone());
        }
        Word::Wait if phase.is_terminal() => {}
        Word::Wait => world.drive_contest_until(|contest| contest.phase.kind() != phase),
    }
    world.drive(0);
}

proptest! {
    // hazard: B16
    #[test]
    fn nothing_that_a_viewer_asks_for_leads_to_a_second_entry(
        terms in terms(),
        words in words(),
        answers in answers(),
        finishes: bool,
    ) {
        let mut world = World::signed_up(terms, &[(3, finishes.then_some(1_500))]);
        world.answers = answers;
        let mut fee = None;
        for (row, word) in (2..).zip(words) {
            // Lost answers are for what she asks for; the contest's own way has tests of its own.
            let answers = match word {
                Word::Wait => std::mem::take(&mut world.answers),
                _ => Vec::new(),
            };
            let before = world.signups[0].clone();
            say(&mut world, word, row);
            world.answers.extend(answers);
            let after = &world.signups[0];
            let is_over =
                ended(before.state.kind()) || before.state.kind() == StateKind::Refunding;
            let asked = matches!(word, Word::SignUp | Word::Claim);
            prop_assert!(!(is_over && asked) || ended(after.state.kind())
                || after.state.kind() == StateKind::Refunding, "{before:?} became {after:?}");
            prop_assert_eq!(after.fee_order(), before.fee_order());
            // Also where her row was lost: the new one is paid by the fee that was.
            let paid = after.state.fee_receipt();
            fee = fee.or(paid);
            prop_assert!(paid.is_none() || paid == fee, "{fee:?} became {paid:?}");
        }
        world.answers.clear();
        world.run();
        world.drive(0);
        prop_assert_eq!(world.violations(), []);
        let (her, pool) = (Account::User(user(1)), world.contest.pool_account());
        let moved = |from: &Account, to: &Account| {
            let of = |it: &&Transfer| it.content.from == *from && it.content.to == *to;
            world.transfers.iter().filter(of).count()
        };
        prop_assert!(moved(&her, &pool) <= 1, "{:?}", world.transfers);
        prop_assert!(moved(&pool, &her) <= moved(&her, &pool), "{:?}", world.transfers);
    }
}

fn ended(kind: StateKind) -> bool {
    use StateKind::{Expired, Forfeited, Missed, Refunded, Shared};
    [Expired, Forfeited, Missed, Refunded, Shared].contains(&kind)
}

// hazard: A1
#[test]
fn a_fee_whose_answer_was_lost_is_not_charged_again() {
    for (lost, fees) in [
        (Answer::LostAfter, 1),
        (Answer::LostBefore, 0),
        (Answer::NotSent, 0),
    ] {
        for forgetful in [false, true] {
            let mut world = World::signed_up(common::terms(), &[(0, None)]);
            world.answers = vec![lost];
            world.drive(0);
            assert_eq!(world.transfers.len(), fees, "{lost:?}");
            let unknown = lost != Answer::NotSent;
            let wanted = if unknown {
                FeeTry::Unknown
            } else {
                FeeTry::NotSent
            };
            assert_eq!(
                world.signups[0].state,
                State::Initialized(wanted),
                "{lost:?}"
            );
            world.forgetful = forgetful;
            for _ in 0..3 {
                let asked = world.signups[0].clone().apply(Fact::SignUpAsked);
                world.signups[0] = asked.unwrap_or_else(|_| world.signups[0].clone());
                world.drive(0);
            }
            assert_eq!(
                world.signups[0].state.kind(),
                StateKind::InProgress,
                "{lost:?}"
            );
            let order = Leg::Fee(contest_id(), user(1)).order_id();
            let fees = world
                .transfers
                .iter()
                .filter(|transfer| transfer.order_id == order);
            assert_eq!(fees.count(), 1, "{lost:?}");
        }
    }
}

/// A part that stays provisional, because the task system is not complete yet, is no reason to
/// ask again at once.
// hazard: B4
#[test]
fn the_loop_waits_for_a_task_system_that_is_behind() {
    let terms = Terms {
        rule: Rule::ByScore,
        ..common::terms()
    };
    let mut world = World::signed_up(terms, &[(3, Some(1_500))]);
    world.drive_all();
    world.contest.phase = Phase::Judging(CLOSED);
    world.now = UnixMillis(2_999);
    for _ in 0..3 {
        world.drive(0);
        let share = |state: &State| matches!(state, State::Completed(_, _, Share::Provisional));
        assert!(
            share(&world.signups[0].state),
            "{:?}",
            world.signups[0].state
        );
    }
    world.now = UnixMillis(3_000);
    world.drive(0);
    assert_eq!(world.signups[0].state.weight(), Some(weight(3)));
}

#[test]
fn a_parked_payment_waits_for_an_operator_and_goes_where_they_say() {
    for redirect in [false, true] {
        let mut world = World::signed_up(common::terms(), &[(1, Some(1_500))]);
        world.drive_all();
        world.drive_contest_until(|contest| contest.phase.kind() == PhaseKind::Claimable);
        world.answers = vec![Answer::Refused];
        world.claim(0);
        for _ in 0..3 {
            world.drive(0);
            let State::Claiming(.., payment) = &world.signups[0].state else {
                panic!("not parked: {:?}", world.signups[0].state)
            };
            assert_eq!(
                payment.last_try,
                PayTry::Parked(Refusal::InsufficientBalance)
            );
        }
        let word = if redirect {
            Fact::RedirectAsked
        } else {
            Fact::RetryAsked
        };
        world.signups[0] = world.signups[0].clone().apply(word).expect("it is parked");
        world.drive(0);
        let payee = if redirect {
            Payee::Holding
        } else {
            Payee::Viewer
        };
        let State::Shared(.., Some(paid)) = &world.signups[0].state else {
            panic!("not shared: {:?}", world.signups[0].state)
        };
        assert_eq!(paid.payee, payee);
        world.run();
        assert_eq!(world.violations(), []);
    }
}

#[test]
fn every_kind_of_contest_ends_with_clean_books_and_an_empty_pool() {
    let base = series_terms(5);
    let base = Terms {
        rake_bps: bps(1_000),
        guaranteed_pool: coins(20),
        ..base
    };
    let played: &[_] = &[
        (1, Some(1_500)),
        (4, Some(2_000)),
        (9, Some(2_999)),
        (0, None),
    ];
    let nobody: &[(u64, Option<i64>)] = &[(0, None), (0, None)];
    for players in [played, nobody, &[]] {
        for remainder in Remainder::ALL {
            for unclaimed in Unclaimed::ALL {
                for no_winner in NoWinner::ALL {
                    for claim_mode in ClaimMode::ALL {
                        let (remainder, unclaimed) = (*remainder, *unclaimed);
                        let (no_winner, claim_mode) = (*no_winner, *claim_mode);
                        let terms = Terms {
                            remainder,
                            unclaimed,
                            no_winner,
                            claim_mode,
                            ..base.clone()
                        };
                        let mut world = World::signed_up(terms, players);
                        world.drive_all();
                        world.run();
                        assert_eq!(world.violations(), [], "{:?}", world.contest.terms);
                        assert_eq!(world.held(), Coins::ZERO);
                    }
                }
            }
        }
    }
}
