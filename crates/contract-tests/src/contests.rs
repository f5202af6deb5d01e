//! The suite of [`ports::contests::ContestRepository`]: rows and guarded writes. What is counted
//! and listed has files of its own.
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

pub mod counting;
pub mod listing;

use crate::{
    fixture::{
        StoreFixture, at_once, decided, enter, insert, insert_all, now, open_contest, row, stored,
    },
    samples::{CROWD, HOUR, all_contests, all_legs, contest_in, sheet_line, state, user},
};
use domain::{
    contest::{Contest, PhaseKind},
    money::Coins,
    signup::StateKind,
    time::{UnixMillis, Window},
};
use ports::{
    contests::{ContestCommit, CreationKey, Inserted},
    leases::{Fence, Lease},
    store::Committed,
};
use std::sync::Arc;

crate::suite::suite! { contests_suite in contests:
    an_inserted_contest_reads_back_whole_in_every_phase,
    a_committed_contest_reads_back_whole_in_every_phase,
    legs_read_back_with_their_outcome_as_it_changes,
    inserting_an_id_that_exists_changes_nothing,
    of_many_inserts_of_one_id_one_is_new,
    a_key_stands_for_one_contest_for_ever,
    of_many_inserts_under_one_key_one_is_new,
    a_contest_that_is_not_there_is_missing,
    a_commit_on_another_version_writes_nothing,
    a_commit_outside_its_window_writes_nothing,
    a_commit_never_changes_terms_id_or_creation,
    of_many_commits_of_one_version_one_applies,
    a_commit_under_an_older_fence_writes_nothing,
    a_read_sees_every_write_that_was_answered,
    what_was_written_survives_a_crash,
}

/// Field by field, and without `..`: a new field has to be compared here too.
fn assert_same(read: Contest, written: &Contest) {
    let Contest {
        id,
        title,
        terms,
        variants,
        secret,
        phase,
        legs,
        stops,
        version,
        created_at,
        updated_at,
    } = read;
    assert_eq!(id, written.id);
    assert_eq!(title, written.title, "title of {id}");
    assert_eq!(terms, written.terms, "terms of {id}");
    assert_eq!(variants, written.variants, "variants of {id}");
    assert_eq!(secret, written.secret, "secret of {id}");
    assert_eq!(phase, written.phase, "phase of {id}");
    assert_eq!(legs, written.legs, "legs of {id}");
    assert_eq!(stops, written.stops, "stops of {id}");
    assert_eq!(version, written.version, "version of {id}");
    assert_eq!(created_at, written.created_at, "created_at of {id}");
    assert_eq!(updated_at, written.updated_at, "updated_at of {id}");
}

// clauses 2, 4
async fn an_inserted_contest_reads_back_whole_in_every_phase<F: StoreFixture>(store: F) {
    let contests = all_contests(now(&store).await);
    insert_all(&store, &contests).await;
    for contest in &contests {
        assert_same(stored(&store, contest).await, contest);
    }
}

// clauses 4, 6
async fn a_committed_contest_reads_back_whole_in_every_phase<F: StoreFixture>(store: F) {
    let store = Arc::new(store);
    let time = now(&*store).await;
    let calls = all_contests(time).into_iter().map(|sample| {
        let store = Arc::clone(&store);
        async move {
            let terms = sample.terms.clone();
            let fresh = Contest {
                terms,
                secret: sample.secret,
                ..contest_in(PhaseKind::Preparing, time)
            };
            insert(&*store, &fresh).await;
            let (phase, legs, title) = (sample.phase, sample.legs, sample.title);
            let decision = Contest {
                phase,
                legs,
                title,
                ..fresh
            };
            let answer = store.contests().commit(decided(&decision)).await;
            assert_eq!(answer.expect("committed"), Committed::Applied);
            let read = stored(&*store, &decision).await;
            assert_same(
                read,
                &Contest {
                    version: 2,
                    ..decision
                },
            );
        }
    });
    at_once(calls).await;
}

// clause 4: the same row takes every set of legs in turn
async fn legs_read_back_with_their_outcome_as_it_changes<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let mut version = contest.version;
    // From none to all of them, then each from outcome to outcome. An amount never changes.
    for mut legs in all_legs(now(&store).await) {
        for (leg, amount) in legs.values_mut().zip(1..) {
            leg.amount = crate::samples::coins(amount);
        }
        let decision = Contest {
            legs: legs.clone(),
            version,
            ..contest.clone()
        };
        let answer = store.contests().commit(decided(&decision)).await;
        assert_eq!(answer.expect("committed"), Committed::Applied);
        version += 1;
        let read = stored(&store, &contest).await;
        assert_eq!((read.legs, read.version), (legs, version));
    }
}

// clause 3
async fn inserting_an_id_that_exists_changes_nothing<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    assert!(!store.contests().insert(&contest).await.expect("a repeat"));
    for other in all_contests(now(&store).await).into_iter().take(3) {
        let other = Contest {
            id: contest.id,
            ..other
        };
        assert!(
            !store
                .contests()
                .insert(&other)
                .await
                .expect("another of that id")
        );
    }
    assert_same(stored(&store, &contest).await, &contest);
    let later = enter(&store, &contest, PhaseKind::Running).await;
    assert!(
        !store
            .contests()
            .insert(&contest)
            .await
            .expect("a late repeat")
    );
    assert_same(stored(&store, &contest).await, &later);
}

// clause 3
async fn of_many_inserts_of_one_id_one_is_new<F: StoreFixture>(store: F) {
    let sample = contest_in(PhaseKind::Preparing, now(&store).await);
    let calls = (0..CROWD).map(|number| {
        let contest = Contest {
            title: format!("number {number}"),
            ..sample.clone()
        };
        let contests = store.contests();
        async move { contests.insert(&contest).await.expect("an answer") }
    });
    let answers = at_once(calls).await;
    assert_eq!(answers.iter().filter(|is_new| **is_new).count(), 1);
    let winner = answers
        .iter()
        .position(|is_new| *is_new)
        .expect("one of them");
    assert_eq!(
        stored(&store, &sample).await.title,
        format!("number {winner}")
    );
}

fn key_of(operator: &str, key: &str) -> CreationKey {
    CreationKey {
        operator: user(operator),
        key: key.parse().expect("a key"),
    }
}

// clause 3
// hazard: J4
async fn a_key_stands_for_one_contest_for_ever<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let fresh = || contest_in(PhaseKind::Preparing, time);
    let (first, key) = (fresh(), key_of("boss", "Friday/1"));
    let insert = async |store: &F, contest: &Contest, key: &CreationKey| {
        let answer = store.contests().insert_once(contest, key).await;
        answer.expect("an answer")
    };
    assert_eq!(insert(&store, &first, &key).await, Inserted::New);
    assert_same(stored(&store, &first).await, &first);
    let known = Inserted::Known(first.id);
    assert_eq!(insert(&store, &first, &key).await, known, "a repeat");
    let second = fresh();
    assert_eq!(insert(&store, &second, &key).await, known);
    let read = store.contests().get(second.id).await.expect("read");
    assert_eq!(read, None, "nothing was inserted");
    // Another operator's key of that name, and another spelling, are other keys.
    for other in [key_of("ann", "Friday/1"), key_of("boss", "friday/1")] {
        assert_eq!(insert(&store, &fresh(), &other).await, Inserted::New);
    }
    // An id that exists is not taken over, and the key stays free.
    let (taken, free) = (first.clone(), key_of("boss", "free"));
    assert_eq!(insert(&store, &taken, &free).await, known);
    let store = store.reopen().await;
    assert_eq!(insert(&store, &fresh(), &key).await, known);
    // Once its signups have closed a contest is not begun any more, but a repeat is answered.
    let mut over = fresh();
    over.terms.signup_closes_at = time;
    assert_eq!(insert(&store, &over, &free).await, Inserted::TooLate);
    assert_eq!(insert(&store, &over, &key).await, known);
    assert_eq!(insert(&store, &fresh(), &free).await, Inserted::New);
}

// clause 3
async fn of_many_inserts_under_one_key_one_is_new<F: StoreFixture>(store: F) {
    let (time, key) = (now(&store).await, key_of("boss", "one"));
    let calls = (0..CROWD).map(|_| {
        let (contests, key) = (store.contests(), key.clone());
        let contest = contest_in(PhaseKind::Preparing, time);
        async move {
            let answer = contests.insert_once(&contest, &key).await;
            (contest.id, answer.expect("an answer"))
        }
    });
    let answers = at_once(calls).await;
    let new: Vec<_> = answers
        .iter()
        .filter(|(_, inserted)| *inserted == Inserted::New)
        .collect();
    assert_eq!(new.len(), 1);
    let winner = new[0].0;
    let others = answers.iter().filter(|(id, _)| *id != winner);
    for (id, inserted) in others {
        assert_eq!(*inserted, Inserted::Known(winner));
        assert_eq!(store.contests().get(*id).await.expect("read"), None);
    }
}

// clause 5
async fn a_contest_that_is_not_there_is_missing<F: StoreFixture>(store: F) {
    let contest = contest_in(PhaseKind::Draft, now(&store).await);
    assert_eq!(store.contests().get(contest.id).await.expect("read"), None);
    let answer = store
        .contests()
        .commit(decided(&contest))
        .await
        .expect("an answer");
    assert_eq!(answer, Committed::Missing);
    // Missing comes before the guards.
    let shut = ContestCommit {
        window: Window::until(UnixMillis(0)),
        ..decided(&contest)
    };
    assert_eq!(
        store.contests().commit(shut).await.expect("an answer"),
        Committed::Missing
    );
    assert_eq!(store.contests().get(contest.id).await.expect("read"), None);
}

/// A commit that would change everything that can change.
fn sweeping(contest: &Contest) -> ContestCommit {
    let phase = contest_in(PhaseKind::Running, contest.created_at).phase;
    let legs = all_legs(contest.created_at).pop().expect("some legs");
    let signup = crate::samples::signup_in(
        state(StateKind::Completed, contest.created_at),
        contest,
        crate::samples::user("ann"),
        contest.created_at,
    );
    let lines = vec![sheet_line(&signup, 0, Coins::ZERO)];
    let title = "changed".to_owned();
    ContestCommit {
        lines,
        ..decided(&Contest {
            title,
            phase,
            legs,
            ..contest.clone()
        })
    }
}

/// Asserts that the commit fails by its guard and leaves neither row nor line.
async fn assert_refused<F: StoreFixture>(store: &F, commit: ContestCommit) {
    let before = stored(store, &commit.contest).await;
    let line = commit.lines[0].finisher.signup_id;
    let answer = store.contests().commit(commit).await.expect("an answer");
    assert_eq!(answer, Committed::GuardFailed);
    let after = stored(store, &before).await;
    assert_same(after, &before);
    let written = store
        .contests()
        .sheet_line(before.id, line)
        .await
        .expect("read");
    assert_eq!(written, None, "all or nothing");
}

// clause 5
// hazard: F5
// hazard: B8
async fn a_commit_on_another_version_writes_nothing<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    for expected in [0, 2, 3, u64::MAX >> 1] {
        assert_refused(
            &store,
            ContestCommit {
                expected,
                ..sweeping(&contest)
            },
        )
        .await;
    }
    let first = store
        .contests()
        .commit(sweeping(&contest))
        .await
        .expect("an answer");
    assert_eq!(first, Committed::Applied);
    // The very same write again: it would change nothing but the version, and is refused.
    let again = store
        .contests()
        .commit(sweeping(&contest))
        .await
        .expect("an answer");
    assert_eq!(again, Committed::GuardFailed);
    assert_eq!(stored(&store, &contest).await.version, 2);
}

// clause 5
// hazard: B6
async fn a_commit_outside_its_window_writes_nothing<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
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
            ContestCommit {
                window,
                ..sweeping(&contest)
            },
        )
        .await;
    }
    let open = [
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
        let contest = stored(&store, &contest).await;
        let answer = store
            .contests()
            .commit(ContestCommit {
                window,
                ..decided(&contest)
            })
            .await;
        assert_eq!(answer.expect("an answer"), Committed::Applied, "{window:?}");
    }
}

// clause 6
// hazard: B14
async fn a_commit_never_changes_terms_id_or_creation<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    for other in all_contests(now(&store).await) {
        let before = stored(&store, &contest).await;
        let edited = Contest {
            id: contest.id,
            version: before.version + 41,
            phase: before.phase.clone(),
            legs: before.legs.clone(),
            stops: before.stops,
            ..other
        };
        let commit = ContestCommit {
            expected: before.version,
            ..decided(&edited)
        };
        assert_eq!(
            store.contests().commit(commit).await.expect("an answer"),
            Committed::Applied
        );
        let after = stored(&store, &contest).await;
        let (title, updated_at) = (edited.title, edited.updated_at);
        let version = before.version + 1;
        assert_same(
            after,
            &Contest {
                title,
                version,
                updated_at,
                ..before
            },
        );
    }
}

// clause 5
// hazard: F1
async fn of_many_commits_of_one_version_one_applies<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let calls = (0..CROWD).map(|number| {
        let edited = Contest {
            title: format!("number {number}"),
            ..contest.clone()
        };
        let contests = store.contests();
        async move { contests.commit(decided(&edited)).await.expect("an answer") }
    });
    let answers = at_once(calls).await;
    let winner = answers
        .iter()
        .position(|answer| *answer == Committed::Applied);
    let winner = winner.expect("one of them");
    let others = answers
        .iter()
        .filter(|answer| **answer == Committed::GuardFailed);
    assert_eq!(others.count(), CROWD - 1);
    let after = stored(&store, &contest).await;
    assert_eq!(
        (after.title, after.version),
        (format!("number {winner}"), 2)
    );
}

// clause 5
// hazard: H4
/// A lease of a name that the store does not know.
fn lease(fence: u64) -> Lease {
    Lease {
        name: "elsewhere".to_owned(),
        owner: uuid::Uuid::nil(),
        fence: Fence(fence),
    }
}

async fn a_commit_under_an_older_fence_writes_nothing<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    // Without a fence, at one as high as before, or higher; never below.
    let steps = [
        (Some(5), Committed::Applied),
        (Some(4), Committed::Fenced),
        (Some(5), Committed::Applied),
        (None, Committed::Applied),
        (Some(4), Committed::Fenced),
        (Some(9), Committed::Applied),
        (Some(8), Committed::Fenced),
    ];
    for (number, (fence, expected)) in steps.into_iter().enumerate() {
        let before = stored(&store, &contest).await;
        let commit = ContestCommit {
            under: fence.map(lease),
            ..decided(&Contest {
                title: format!("number {number}"),
                ..before.clone()
            })
        };
        let answer = store.contests().commit(commit).await.expect("an answer");
        assert_eq!(answer, expected, "step {number} under {fence:?}");
        let after = stored(&store, &contest).await;
        assert_eq!(
            after.version,
            before.version + u64::from(expected == Committed::Applied)
        );
        assert_eq!(after.title != before.title, expected == Committed::Applied);
    }
    // A fence is kept through a crash.
    let store = store.reopen().await;
    let stale = ContestCommit {
        under: Some(lease(8)),
        ..decided(&stored(&store, &contest).await)
    };
    let answer = store.contests().commit(stale).await.expect("an answer");
    assert_eq!(answer, Committed::Fenced);
}

// clause 2
async fn a_read_sees_every_write_that_was_answered<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let store = Arc::new(store);
    let calls = (0..CROWD).map(|_| {
        let store = Arc::clone(&store);
        async move {
            let contest = contest_in(PhaseKind::Draft, time);
            insert(&*store, &contest).await;
            assert_same(stored(&*store, &contest).await, &contest);
            let running = enter(&*store, &contest, PhaseKind::Running).await;
            assert_eq!(
                (running.phase.kind(), running.version),
                (PhaseKind::Running, 2)
            );
        }
    });
    at_once(calls).await;
}

// clause 1
async fn what_was_written_survives_a_crash<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let draft = open_contest(&store).await;
    let ann = crate::samples::user("ann");
    let done = crate::fixture::put(&store, &draft, ann, state(StateKind::Completed, time)).await;
    let line = sheet_line(&done, 1 << 70, crate::samples::coins(5));
    let listing = contest_in(PhaseKind::Listing, time).phase;
    let decision = Contest {
        phase: listing,
        ..draft.clone()
    };
    let commit = ContestCommit {
        lines: vec![line.clone()],
        ..decided(&decision)
    };
    assert_eq!(
        store.contests().commit(commit).await.expect("an answer"),
        Committed::Applied
    );
    let others = all_contests(time);
    insert_all(&store, &others).await;
    let written = stored(&store, &draft).await;

    let store = store.reopen().await;
    assert_same(stored(&store, &draft).await, &written);
    for contest in &others {
        assert_same(stored(&store, contest).await, contest);
    }
    let read = store
        .contests()
        .sheet_line(draft.id, done.id)
        .await
        .expect("read");
    assert_eq!(read, Some(line));
    assert_eq!(row(&store, &done).await, done);
}
