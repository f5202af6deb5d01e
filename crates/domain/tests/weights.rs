//! Weights by every rule, at their ends, and the published vectors of the draw.

mod common;

use common::{coins, contest, contest_id, signup_id, terms, user};
use domain::{
    contest::PhaseKind,
    draw::{Draw, Secret},
    ids::UserId,
    judge::{Progress, progress},
    payout::{Achievement, Rule, Weight, weight},
    signup::{Fact, Share, Signup, State},
    terms::{Task, Terms},
    time::UnixMillis,
    transfer::Position,
};
use proptest::prelude::*;

fn ruled(rule: Rule, target: u64) -> Terms {
    let kind = "open_chest".parse().expect("a task kind");
    Terms {
        rule,
        task: Task { kind, target },
        ..terms()
    }
    .check()
    .expect("lawful terms")
}

fn check(terms: &Terms, fee: u64, quantity: u64, met_at: i64, wanted: u64) {
    let done = Achievement {
        quantity,
        met_at: UnixMillis(met_at),
    };
    let found = weight(terms, contest_id(), &user(1), coins(fee), done, None);
    assert_eq!(
        found.map(Weight::get),
        Some(wanted),
        "{:?} {fee} {done:?}",
        terms.rule
    );
}

#[test]
fn weights_that_are_fixed_at_completion() {
    for (fee, quantity, met_at) in [(1, 1, 1_000), (7, 99, 2_999), (1_000_000_000, 1, 0)] {
        check(&ruled(Rule::Equal, 1), fee, quantity, met_at, 1);
        check(&ruled(Rule::ByFee, 1), fee, quantity, met_at, fee);
    }
    for rule in Rule::ALL {
        let fixed = [Rule::Equal, Rule::ByFee].contains(rule);
        assert_eq!(rule.is_fixed_at_completion(), fixed, "{rule:?}");
    }
}

#[test]
fn a_score_counts_up_to_ten_targets() {
    for (target, quantity, wanted) in [
        (1, 1, 1),
        (1, 9, 9),
        (1, 10, 10),
        (1, 11, 10),
        (5, 5, 5),
        (5, 49, 49),
        (5, 50, 50),
        (5, 51, 50),
        (5, u64::MAX, 50),
        (1_000_000_000, u64::MAX, 10_000_000_000),
    ] {
        check(&ruled(Rule::ByScore, target), 10, quantity, 2_500, wanted);
    }
}

#[test]
fn the_early_bird_is_1000_at_the_opening_and_1_at_the_end() {
    let terms = ruled(Rule::EarlyBird, 1);
    for (met_at, wanted) in [
        (i64::MIN, 1_000),
        (0, 1_000),
        (999, 1_000),
        (1_000, 1_000),
        (1_001, 999),
        (2_000, 500),
        (2_001, 500),
        (2_002, 499),
        (2_997, 2),
        (2_998, 1),
        (2_999, 1),
        (3_000, 1),
        (3_001, 1),
        (i64::MAX, 1),
    ] {
        check(&terms, 10, 1, met_at, wanted);
    }
    let (opens, closes) = (UnixMillis(0), UnixMillis(1));
    let year = UnixMillis(366 * 86_400_000 - 1);
    let longest = Terms {
        signup_opens_at: opens,
        signup_closes_at: closes,
        tasks_end_at: year,
        claim_closes_at: year.plus(1),
        ..terms
    };
    let longest = longest.check().expect("lawful terms");
    check(&longest, 10, 1, 0, 1_000);
    check(&longest, 10, 1, 1, 999);
    check(&longest, 10, 1, year.0 - 1, 1);
}

/// Terms that were never checked are no reason to divide by zero.
#[test]
fn the_early_bird_needs_a_contest_that_lasts() {
    let checked = ruled(Rule::EarlyBird, 1);
    let done = common::done(1);
    for (length, exists) in [(-1, false), (0, false), (1, true)] {
        let tasks_end_at = checked.signup_opens_at.plus(length);
        let terms = Terms {
            tasks_end_at,
            ..checked.clone()
        };
        let found = weight(&terms, contest_id(), &user(1), coins(10), done, None);
        assert_eq!(found.is_some(), exists, "{length}");
    }
}

fn lucky(secret: [u8; 32], user: &UserId, position: u64) -> u64 {
    let draw = Draw {
        secret: Secret::new(secret),
        position: Position(position),
    };
    let done = Achievement {
        quantity: 1,
        met_at: UnixMillis(2_500),
    };
    let terms = ruled(Rule::Lucky, 1);
    let found = weight(&terms, contest_id(), user, coins(10), done, Some(&draw));
    found.expect("a drawn weight").get()
}

/// Computed apart from this code, with Python's `hmac` and `hashlib`:
/// `1 + int.from_bytes(hmac.new(secret, f"{contest}\n{user}\n{position}\n".encode(),
/// sha256).digest()[:8], "big") % 100`. They let anyone check a draw; they must never change.
#[test]
fn the_draw_is_the_published_vectors() {
    let counting = std::array::from_fn(|index| u8::try_from(index).expect("below 32"));
    let longest = "x".repeat(64);
    for (secret, user, position, wanted) in [
        ([0; 32], "ann", 0, 20),
        ([0; 32], "ann", 50, 51),
        ([0; 32], "bob", 50, 64),
        ([0xff; 32], "ann", 50, 20),
        (counting, "A.b_c-9", u64::MAX, 66),
        ([7; 32], &longest, 1, 63),
        // The ends of the range.
        ([0; 32], "user-184", 50, 1),
        ([0; 32], "user-325", 50, 1),
        ([0; 32], "user-237", 50, 100),
        ([0; 32], "user-318", 50, 100),
    ] {
        let id = user.parse().expect("a user id");
        assert_eq!(lucky(secret, &id, position), wanted, "{user} at {position}");
    }
    let done = Achievement {
        quantity: 1,
        met_at: UnixMillis(2_500),
    };
    let none = weight(
        &ruled(Rule::Lucky, 1),
        contest_id(),
        &user(1),
        coins(10),
        done,
        None,
    );
    assert_eq!(none, None, "not before the draw");
}

proptest! {
    #[test]
    fn every_draw_is_from_1_to_100(secret: [u8; 32], number in 0u64..1_000_000, position: u64) {
        prop_assert!((1..=100).contains(&lucky(secret, &user(number), position)));
    }
}

#[test]
fn a_weight_is_at_least_1() {
    assert_eq!(Weight::new(0), None);
    assert_eq!(Weight::new(1), Some(Weight::ONE));
    assert_eq!(Weight::ONE.get(), 1);
}

/// Met is met at any time. The rest is decided by judging alone, and only when the task system is
/// complete up to `tasks_end_at`.
// hazard: B4
#[test]
fn progress_is_judged_only_when_nothing_can_still_arrive() {
    let met = Some(UnixMillis(2_500));
    for kind in PhaseKind::ALL {
        for phase in common::phases_of(*kind) {
            for complete_until in [0, 2_999, 3_000, 3_001] {
                let last = *kind == PhaseKind::Judging && complete_until >= 3_000;
                let judge = |rule, met_at| {
                    let contest = contest(ruled(rule, 1), phase.clone());
                    let complete_until = UnixMillis(complete_until);
                    let known = Progress {
                        quantity: 4,
                        met_at,
                        complete_until,
                    };
                    progress(&contest, &signup(), known)
                };
                let done = Achievement {
                    quantity: 4,
                    met_at: UnixMillis(2_500),
                };
                let score = Share::Fixed(common::weight(4));
                let score = if last { score } else { Share::Provisional };
                let missed = if last {
                    Fact::TaskMissed(4)
                } else {
                    Fact::TaskOpen
                };
                let equal = Fact::TaskMet(done, Share::Fixed(Weight::ONE));
                assert_eq!(judge(Rule::Equal, met), equal, "{kind:?} {complete_until}");
                let by_score = Fact::TaskMet(done, score);
                assert_eq!(
                    judge(Rule::ByScore, met),
                    by_score,
                    "{kind:?} {complete_until}"
                );
                let drawn = lucky([7; 32], &user(1), common::CLOSED.position.0);
                let drawn = Share::Fixed(common::weight(drawn));
                let drawn = if last { drawn } else { Share::Provisional };
                assert_eq!(
                    judge(Rule::Lucky, met),
                    Fact::TaskMet(done, drawn),
                    "{kind:?} {complete_until}"
                );
                for rule in Rule::ALL {
                    assert_eq!(judge(*rule, None), missed, "{kind:?} {complete_until}");
                }
            }
        }
    }
}

fn signup() -> Signup {
    let new = Signup::new(
        signup_id(1),
        contest_id(),
        user(1),
        coins(10),
        UnixMillis(1_200),
    );
    Signup {
        state: State::InProgress(common::receipt(1)),
        ..new
    }
}
