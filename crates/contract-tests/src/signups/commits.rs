//! Guarded writes of signups, and the queue of those that are to be taken up.
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{
        StoreFixture, apply, at_once, decision, new_signup, now, open_contest, put, put_all, row,
    },
    samples::{CROWD, Dice, HOUR, coins, contest_id, signup_id, signup_in, state, user},
};
use domain::{
    effects::Effect,
    signup::{Signup, State, StateKind},
    time::{UnixMillis, Window},
};
use ports::{
    signups::{Enrolled, SignupCommit},
    store::Committed,
};
use std::sync::Arc;

crate::suite::suite! { signups_commits_suite in signups::commits:
    a_signup_that_is_not_there_is_missing,
    a_commit_on_another_version_writes_nothing,
    a_commit_outside_its_window_writes_nothing,
    a_commit_never_changes_whose_row_it_is_or_its_fee,
    a_trail_of_several_states_is_one_commit,
    of_many_commits_of_one_version_one_applies,
    one_bad_commit_among_many_fails_alone,
    a_read_sees_every_write_that_was_answered,
    signups_wake_when_their_time_has_come_the_longest_waiting_first,
    a_commit_moves_or_ends_the_wait,
    a_refused_commit_leaves_the_wait_alone,
}

async fn commit<F: StoreFixture>(store: &F, commit: SignupCommit) -> Committed {
    store.signups().commit(commit).await.expect("an answer")
}

/// A paid signup in a contest of its own.
async fn paid<F: StoreFixture>(store: &F) -> Signup {
    let contest = open_contest(store).await;
    put(
        store,
        &contest,
        user("ann"),
        state(StateKind::Paid, contest.created_at),
    )
    .await
}

/// A decision that would change everything that can change.
fn sweeping(signup: &Signup) -> SignupCommit {
    let next = state(StateKind::InProgress, signup.created_at);
    let mut commit = decision(signup, next);
    commit.signup.tries = 5;
    commit.wake_at = Some(signup.created_at);
    commit.effects = Effect::ALL.to_vec();
    commit
}

/// Asserts that the commit fails by its guard and leaves row, queue and outbox as they were.
async fn assert_refused<F: StoreFixture>(store: &F, refused: SignupCommit) {
    let before = row(store, &refused.signup).await;
    let queue = store.signups().awake(9).await.expect("read");
    let outbox = store.outbox().take(None, 99).await.expect("read");
    assert_eq!(commit(store, refused).await, Committed::GuardFailed);
    assert_eq!(row(store, &before).await, before);
    assert_eq!(store.signups().awake(9).await.expect("read"), queue);
    assert_eq!(store.outbox().take(None, 99).await.expect("read"), outbox);
}

// clause 6
async fn a_signup_that_is_not_there_is_missing<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let nobody = new_signup(&contest, user("ann"), now(&store).await);
    assert_eq!(commit(&store, sweeping(&nobody)).await, Committed::Missing);
    // Missing comes before the guards.
    let shut = SignupCommit {
        window: Window::until(UnixMillis(0)),
        ..sweeping(&nobody)
    };
    assert_eq!(commit(&store, shut).await, Committed::Missing);
    assert_eq!(store.signups().get(nobody.id).await.expect("read"), None);
    assert_eq!(store.signups().awake(9).await.expect("read"), []);
    assert_eq!(store.outbox().take(None, 9).await.expect("read"), []);
    // A row of the same viewer under another id is not meant.
    let ann = put(
        &store,
        &contest,
        user("ann"),
        state(StateKind::Paid, nobody.created_at),
    )
    .await;
    assert_eq!(commit(&store, sweeping(&nobody)).await, Committed::Missing);
    assert_eq!(row(&store, &ann).await, ann);
}

// clause 6
// hazard: F5
async fn a_commit_on_another_version_writes_nothing<F: StoreFixture>(store: F) {
    let signup = paid(&store).await;
    for expected in [0, 2, 3, u64::MAX >> 1] {
        assert_refused(
            &store,
            SignupCommit {
                expected,
                ..sweeping(&signup)
            },
        )
        .await;
    }
    assert_eq!(commit(&store, sweeping(&signup)).await, Committed::Applied);
    // The very same write again: it would change nothing but the version, and is refused.
    assert_refused(&store, sweeping(&signup)).await;
    assert_eq!(row(&store, &signup).await.version, 2);
    // It is `expected` that counts, not what the signup in hand says.
    let current = row(&store, &signup).await;
    let mut stale = sweeping(&current);
    stale.expected = 1;
    assert_refused(&store, stale).await;
    let mut fresh = sweeping(&signup);
    fresh.expected = 2;
    assert_eq!(commit(&store, fresh).await, Committed::Applied);
    assert_eq!(row(&store, &signup).await.version, 3);
}

// clause 6
// hazard: B6
// hazard: B11
async fn a_commit_outside_its_window_writes_nothing<F: StoreFixture>(store: F) {
    let signup = paid(&store).await;
    let time = now(&store).await;
    let (past, future) = (time.plus(-HOUR), time.plus(HOUR));
    let shut = [
        Window::from(future),
        Window::until(past),
        // The first moment that is too late is outside.
        Window::until(time),
        Window {
            not_before: Some(past),
            before: Some(past.plus(1)),
        },
        Window {
            not_before: Some(future),
            before: Some(past),
        },
    ];
    for window in shut {
        assert_refused(
            &store,
            SignupCommit {
                window,
                ..sweeping(&signup)
            },
        )
        .await;
    }
    let open = [
        Window::ALWAYS,
        Window::until(future),
        Window::from(past),
        // The first moment is inside.
        Window::from(time),
        Window {
            not_before: Some(past),
            before: Some(future),
        },
    ];
    for window in open {
        let current = row(&store, &signup).await;
        let answer = commit(
            &store,
            SignupCommit {
                window,
                ..sweeping(&current)
            },
        )
        .await;
        assert_eq!(answer, Committed::Applied, "{window:?}");
    }
}

// clause 7
// hazard: A10
async fn a_commit_never_changes_whose_row_it_is_or_its_fee<F: StoreFixture>(store: F) {
    let signup = paid(&store).await;
    let other = paid(&store).await;
    let forged = Signup {
        id: signup.id,
        contest_id: signup.contest_id,
        user_id: user("mallory"),
        fee: coins(1_000_000),
        variants: "forged:yes".parse().expect("variants"),
        state: state(StateKind::InProgress, signup.created_at),
        tries: 3,
        version: 77,
        created_at: signup.created_at.plus(HOUR),
        updated_at: signup.created_at.plus(HOUR),
    };
    let mut forgery = decision(&forged, forged.state.clone());
    forgery.expected = signup.version;
    assert_eq!(commit(&store, forgery).await, Committed::Applied);
    let after = row(&store, &signup).await;
    let (state, updated_at) = (forged.state.clone(), forged.updated_at);
    assert_eq!(
        after,
        Signup {
            state,
            tries: 3,
            version: 2,
            updated_at,
            ..signup.clone()
        }
    );
    // Under another contest's id it is the same row, or none.
    for contest_id in [contest_id(), other.contest_id] {
        let before = row(&store, &signup).await;
        let mut forgery = decision(&before, forged.state.clone());
        forgery.signup.contest_id = contest_id;
        let is_applied = commit(&store, forgery).await == Committed::Applied;
        let after = row(&store, &signup).await;
        let version = before.version + u64::from(is_applied);
        let updated_at = after.updated_at;
        assert_eq!(
            after,
            Signup {
                version,
                updated_at,
                ..before
            }
        );
        let found = store
            .signups()
            .find(signup.contest_id, &signup.user_id)
            .await;
        assert_eq!(found.expect("read"), Some(after));
    }
    assert_eq!(row(&store, &other).await, other);
}

// clause 6
async fn a_trail_of_several_states_is_one_commit<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let signup = new_signup(&contest, user("ann"), time);
    let answer = store
        .signups()
        .enroll(&signup, None)
        .await
        .expect("an answer");
    assert_eq!(answer, Enrolled::Inserted);
    let mut jump = decision(&signup, state(StateKind::InProgress, time));
    jump.trail = vec![StateKind::Paid, StateKind::InProgress];
    let after = apply(&store, jump).await;
    assert_eq!(
        (after.version, after.state.kind()),
        (2, StateKind::InProgress)
    );
    // A write that stays in its state has a trail of that state, or none.
    for trail in [vec![StateKind::InProgress], Vec::new()] {
        let current = row(&store, &signup).await;
        let mut stay = decision(&current, current.state.clone());
        stay.trail = trail;
        apply(&store, stay).await;
    }
    assert_eq!(row(&store, &signup).await.version, 4);
}

// clause 6
// hazard: F1
async fn of_many_commits_of_one_version_one_applies<F: StoreFixture>(store: F) {
    let signup = paid(&store).await;
    let calls = (0..CROWD).map(|number| {
        let signups = store.signups();
        let mut commit = decision(&signup, signup.state.clone());
        commit.signup.tries = 100 + number as u32;
        commit.effects = vec![Effect::Announce];
        async move { signups.commit(commit).await.expect("an answer") }
    });
    let answers = at_once(calls).await;
    let winner = answers
        .iter()
        .position(|answer| *answer == Committed::Applied);
    let winner = winner.expect("one of them");
    let refused = answers
        .iter()
        .filter(|answer| **answer == Committed::GuardFailed);
    assert_eq!(refused.count(), CROWD - 1);
    let after = row(&store, &signup).await;
    assert_eq!((after.tries, after.version), (100 + winner as u32, 2));
    assert_eq!(store.outbox().take(None, 99).await.expect("read").len(), 1);
}

// clause 8
// hazard: F4
// hazard: H12
async fn one_bad_commit_among_many_fails_alone<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let mut calls = Vec::new();
    let mut expected = Vec::new();
    let viewer = |number| user(&format!("viewer-{number}"));
    let paid = (0..CROWD).map(|number| (&contest, viewer(number), state(StateKind::Paid, time)));
    for (number, signup) in put_all(&store, paid).await.into_iter().enumerate() {
        let mut commit = sweeping(&signup);
        expected.push(match number % 8 {
            1 => {
                commit.expected = 9;
                Committed::GuardFailed
            }
            3 => {
                commit.window = Window::until(time);
                Committed::GuardFailed
            }
            5 => {
                commit.signup.id = signup_id();
                Committed::Missing
            }
            _ => Committed::Applied,
        });
        let signups = store.signups();
        let call = async move { signups.commit(commit).await.expect("an answer") };
        calls.push((signup, call));
    }
    let (rows, calls): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    assert_eq!(at_once(calls).await, expected);
    for (signup, answer) in rows.iter().zip(expected) {
        let after = row(&store, signup).await;
        match answer {
            Committed::Applied => assert_eq!(after.state.kind(), StateKind::InProgress),
            Committed::GuardFailed | Committed::Missing | Committed::Fenced => {
                assert_eq!(after, *signup);
            }
        }
    }
}

// clause 2
async fn a_read_sees_every_write_that_was_answered<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let store = Arc::new(store);
    let calls = (0..CROWD / 4).map(|number| {
        let store = Arc::clone(&store);
        let contest = contest.clone();
        async move {
            let viewer = user(&format!("viewer-{number}"));
            let mut signup = put(&*store, &contest, viewer, state(StateKind::Paid, time)).await;
            for kind in [
                StateKind::InProgress,
                StateKind::Completed,
                StateKind::Claiming,
            ] {
                let next = state(kind, time);
                let version = signup.version + 1;
                signup = apply(&*store, decision(&signup, next)).await;
                assert_eq!((signup.version, signup.state.kind()), (version, kind));
                let of_kind = store.signups().page(contest.id, &[kind], None, 99).await;
                assert!(of_kind.expect("read").items.contains(&signup));
            }
        }
    });
    at_once(calls).await;
}

fn ids(signups: &[Signup]) -> Vec<domain::ids::SignupId> {
    signups.iter().map(|signup| signup.id).collect()
}

// clause 9
// hazard: H13
async fn signups_wake_when_their_time_has_come_the_longest_waiting_first<F: StoreFixture>(
    store: F,
) {
    let mut dice = Dice::cast();
    let contests = [open_contest(&store).await, open_contest(&store).await];
    let time = now(&store).await;
    let mut waits: Vec<i64> = (0..20).map(|number| -1_000 * number).collect();
    waits.extend([60_000, HOUR]);
    dice.shuffle(&mut waits);
    let mut waiting = Vec::new();
    let mut calls = Vec::new();
    for (number, wait) in waits.into_iter().enumerate() {
        let contest = &contests[number % 2];
        let signup = new_signup(contest, user(&format!("viewer-{number}")), time);
        if wait <= 0 {
            waiting.push((wait, signup.clone().recalled()));
        }
        let asleep = new_signup(contest, user(&format!("asleep-{number}")), time);
        for (signup, wake_at) in [(signup, Some(time.plus(wait))), (asleep, None)] {
            let signups = store.signups();
            calls.push(async move { signups.enroll(&signup, wake_at).await.expect("an answer") });
        }
    }
    let answers = at_once(calls).await;
    assert!(answers.iter().all(|answer| *answer == Enrolled::Inserted));
    waiting.sort_by_key(|(wait, _)| *wait);
    let expected: Vec<Signup> = waiting.into_iter().map(|(_, signup)| signup).collect();
    for limit in [1, 7, expected.len(), expected.len() + 1, usize::MAX] {
        let awake = store.signups().awake(limit).await.expect("read");
        assert_eq!(
            awake,
            expected[..limit.min(expected.len())],
            "limit {limit}"
        );
    }
}

// clauses 6, 9
async fn a_commit_moves_or_ends_the_wait<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let mut signups = Vec::new();
    for (number, name) in ["ann", "bob", "cid"].into_iter().enumerate() {
        let signup = new_signup(&contest, user(name), time);
        let wake_at = Some(time.plus(number as i64 - 10));
        store
            .signups()
            .enroll(&signup, wake_at)
            .await
            .expect("an answer");
        signups.push(signup);
    }
    let all = ids(&signups);
    assert_eq!(ids(&store.signups().awake(9).await.expect("read")), all);
    // Ann has to wait longer than the others from now on, Bob for an hour, Cid for nothing.
    for (signup, wake_at) in signups
        .iter()
        .zip([Some(time), Some(time.plus(HOUR)), None])
    {
        let next = State::Initialized(domain::signup::FeeTry::Unknown);
        let mut commit = decision(signup, next);
        commit.wake_at = wake_at;
        apply(&store, commit).await;
    }
    assert_eq!(
        ids(&store.signups().awake(9).await.expect("read")),
        all[..1]
    );
    // A row that does not wait can be made to.
    let mut commit = decision(
        &row(&store, &signups[2]).await,
        state(StateKind::Paid, time),
    );
    commit.wake_at = Some(time.plus(-HOUR));
    apply(&store, commit).await;
    assert_eq!(
        ids(&store.signups().awake(9).await.expect("read")),
        [all[2], all[0]]
    );
}

// clauses 6, 9
async fn a_refused_commit_leaves_the_wait_alone<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let made = signup_in(state(StateKind::Paid, time), &contest, user("ann"), time);
    let answer = store
        .signups()
        .enroll(&made, Some(time))
        .await
        .expect("an answer");
    assert_eq!(answer, Enrolled::Inserted);
    let mut stale = sweeping(&made);
    (stale.expected, stale.wake_at) = (9, None);
    assert_refused(&store, stale).await;
    let mut late = sweeping(&made);
    (late.window, late.wake_at) = (Window::until(time), Some(time.plus(HOUR)));
    assert_refused(&store, late).await;
    assert_eq!(
        ids(&store.signups().awake(9).await.expect("read")),
        [made.id]
    );
}
