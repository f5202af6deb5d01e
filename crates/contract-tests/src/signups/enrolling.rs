//! Inserting signups: one row for a viewer in a contest, in time or not at all.
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use super::{assert_reads, enroll, found, restore, rows};
use crate::{
    fixture::{
        StoreFixture, apply, at_once, decided, decision, enter, insert, new_signup, now,
        open_contest, put,
    },
    samples::{CROWD, HOUR, all_states, coins, contest_in, signup_in, state, user},
};
use domain::{
    contest::{Contest, PhaseKind},
    signup::{Signup, StateKind},
};
use ports::{signups::Enrolled, store::Committed};
use std::sync::Arc;

crate::suite::suite! { signups_enrolling_suite in signups::enrolling:
    of_many_enrolls_of_one_viewer_one_inserts,
    enrolling_again_answers_the_row_as_it_is,
    nobody_enrolls_before_signups_open_or_after_they_close,
    nobody_enrolls_while_the_contest_is_not_a_draft,
    no_row_appears_once_the_contest_is_in_a_later_phase,
    without_a_contest_there_is_no_row,
    viewers_and_contests_are_told_apart_byte_for_byte,
    many_viewers_enroll_at_once,
    a_lost_row_is_restored_in_any_phase,
    restoring_a_row_that_exists_changes_nothing,
    of_many_restores_of_one_viewer_one_inserts,
}

/// Of many calls of one viewer, exactly one inserts, and every other answers its row.
fn assert_one_inserted(answers: &[Enrolled], made: &[Signup]) {
    let inserted = |answer: &Enrolled| *answer == Enrolled::Inserted;
    assert_eq!(answers.iter().filter(|answer| inserted(answer)).count(), 1);
    let winner = made[answers.iter().position(inserted).expect("one of them")]
        .clone()
        .recalled();
    let others = answers.iter().filter(|answer| !inserted(answer));
    for answer in others {
        assert_eq!(*answer, Enrolled::Existing(winner.clone()));
    }
}

// clause 3
// hazard: B15
// hazard: F2
async fn of_many_enrolls_of_one_viewer_one_inserts<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let made: Vec<Signup> = (0..CROWD)
        .map(|_| new_signup(&contest, user("ann"), time))
        .collect();
    let calls = made.clone().into_iter().map(|signup| {
        let signups = store.signups();
        async move {
            signups
                .enroll(&signup, Some(time))
                .await
                .expect("an answer")
        }
    });
    let answers = at_once(calls).await;
    assert_one_inserted(&answers, &made);
    assert_eq!(rows(&store, &contest).await.len(), 1);
}

// clauses 3, 4
// hazard: A10, B16
// hazard: B17
async fn enrolling_again_answers_the_row_as_it_is<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let first = new_signup(&contest, user("ann"), time);
    assert_eq!(enroll(&store, &first).await, Enrolled::Inserted);
    // With another id and another fee: the row stays what it is, whatever became of it and of the
    // contest. Who was given the fee back, or never paid it, has had the one entry that there is.
    let repeat = Signup {
        fee: coins(999),
        ..new_signup(&contest, user("ann"), time.plus(9))
    };
    let mut stored = first.clone().recalled();
    assert_eq!(
        enroll(&store, &first).await,
        Enrolled::Existing(stored.clone())
    );
    for &kind in StateKind::ALL {
        stored = apply(&store, decision(&stored, state(kind, time))).await;
        assert_eq!(
            enroll(&store, &repeat).await,
            Enrolled::Existing(stored.clone())
        );
    }
    for &phase in PhaseKind::ALL {
        enter(&store, &contest, phase).await;
        assert_eq!(
            enroll(&store, &repeat).await,
            Enrolled::Existing(stored.clone())
        );
    }
    assert_eq!(rows(&store, &contest).await, [stored]);
}

// clause 4
// hazard: B6
async fn nobody_enrolls_before_signups_open_or_after_they_close<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    for (opens_at, closes_at) in [(HOUR, 2 * HOUR), (-HOUR, -1_000), (-HOUR, 0)] {
        let mut contest = contest_in(PhaseKind::Draft, time);
        contest.terms.signup_opens_at = time.plus(opens_at);
        contest.terms.signup_closes_at = time.plus(closes_at);
        insert(&store, &contest).await;
        // The caller's own clock does not matter.
        let signup = new_signup(&contest, user("ann"), time.plus((opens_at + closes_at) / 2));
        assert_eq!(enroll(&store, &signup).await, Enrolled::NotOpen);
        assert_eq!(store.signups().get(signup.id).await.expect("read"), None);
        assert_eq!(rows(&store, &contest).await, []);
        // Who has a row is answered with it.
        let ann = put(&store, &contest, user("ann"), state(StateKind::Paid, time)).await;
        assert_eq!(enroll(&store, &signup).await, Enrolled::Existing(ann));
    }
    // From the very moment on at which they open.
    let mut contest = contest_in(PhaseKind::Draft, time);
    contest.terms.signup_opens_at = now(&store).await;
    insert(&store, &contest).await;
    let signup = new_signup(&contest, user("ann"), time);
    assert_eq!(enroll(&store, &signup).await, Enrolled::Inserted);
}

// clause 4
// hazard: B1
// hazard: B7
async fn nobody_enrolls_while_the_contest_is_not_a_draft<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    for &phase in PhaseKind::ALL {
        // The clock alone would still say open.
        let inserted = contest_in(phase, time);
        insert(&store, &inserted).await;
        let entered = open_contest(&store).await;
        enter(&store, &entered, phase).await;
        for contest in [inserted, entered] {
            let answer = enroll(&store, &new_signup(&contest, user("ann"), time)).await;
            let expected = match phase {
                PhaseKind::Draft => Enrolled::Inserted,
                _ => Enrolled::NotOpen,
            };
            assert_eq!(answer, expected, "{}", phase.name());
            let count = usize::from(phase == PhaseKind::Draft);
            assert_eq!(rows(&store, &contest).await.len(), count);
        }
    }
}

// clause 4
// hazard: B1
async fn no_row_appears_once_the_contest_is_in_a_later_phase<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let store = Arc::new(store);
    let phase = contest_in(PhaseKind::Running, time).phase;
    let closing = decided(&Contest {
        phase,
        ..contest.clone()
    });
    let close = {
        let (store, contest) = (Arc::clone(&store), contest.clone());
        async move {
            // Some get in before it, some come too late.
            while rows(&*store, &contest).await.len() < CROWD / 4 {
                tokio::task::yield_now().await;
            }
            let answer = store.contests().commit(closing).await.expect("an answer");
            assert_eq!(answer, Committed::Applied);
            rows(&*store, &contest).await
        }
    };
    let closed = tokio::spawn(close);
    let calls = (0..CROWD).map(|number| {
        let signups = store.signups();
        let signup = new_signup(&contest, user(&format!("viewer-{number}")), time);
        async move { signups.enroll(&signup, None).await.expect("an answer") }
    });
    let answers = at_once(calls).await;
    let at_close = closed.await.expect("closed");
    let inserted = answers
        .iter()
        .filter(|answer| **answer == Enrolled::Inserted)
        .count();
    let refused = answers
        .iter()
        .filter(|answer| **answer == Enrolled::NotOpen)
        .count();
    assert_eq!(inserted + refused, CROWD);
    assert_eq!(
        at_close.len(),
        inserted,
        "what was there at the close is all there ever is"
    );
    assert_eq!(rows(&*store, &contest).await, at_close);
}

async fn without_a_contest_there_is_no_row<F: StoreFixture>(store: F) {
    let nowhere = contest_in(PhaseKind::Draft, now(&store).await);
    let signup = new_signup(&nowhere, user("ann"), nowhere.created_at);
    assert_eq!(enroll(&store, &signup).await, Enrolled::NoContest);
    assert_eq!(restore(&store, &signup).await, Enrolled::NoContest);
    assert_eq!(store.signups().get(signup.id).await.expect("read"), None);
    assert_eq!(found(&store, nowhere.id, &signup.user_id).await, None);
}

// clause 3
// hazard: F12
async fn viewers_and_contests_are_told_apart_byte_for_byte<F: StoreFixture>(store: F) {
    let contests = [open_contest(&store).await, open_contest(&store).await];
    let time = now(&store).await;
    let names = [
        "ann", "Ann", "ANN", "ann.", "ann_", "ann-", "a", "an", "anna",
    ];
    let mut made = Vec::new();
    for contest in &contests {
        for name in names {
            let signup = new_signup(contest, user(name), time);
            assert_eq!(enroll(&store, &signup).await, Enrolled::Inserted, "{name}");
            made.push(signup);
        }
    }
    for signup in &made {
        assert_reads(&store, signup).await;
    }
    for contest in &contests {
        assert_eq!(rows(&store, contest).await.len(), names.len());
    }
}

// clause 3
async fn many_viewers_enroll_at_once<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let store = Arc::new(store);
    let calls = (0..CROWD).map(|number| {
        let signup = new_signup(&contest, user(&format!("viewer-{number}")), time);
        let store = Arc::clone(&store);
        async move {
            assert_eq!(enroll(&*store, &signup).await, Enrolled::Inserted);
            assert_reads(&*store, &signup).await;
        }
    });
    at_once(calls).await;
    assert_eq!(rows(&*store, &contest).await.len(), CROWD);
}

// clause 11
// hazard: F9
async fn a_lost_row_is_restored_in_any_phase<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    for &phase in PhaseKind::ALL {
        let contest = contest_in(phase, time);
        insert(&store, &contest).await;
        let signup = signup_in(state(StateKind::Paid, time), &contest, user("ann"), time);
        assert_eq!(
            restore(&store, &signup).await,
            Enrolled::Inserted,
            "{}",
            phase.name()
        );
        assert_reads(&store, &signup).await;
    }
}

// clause 11
async fn restoring_a_row_that_exists_changes_nothing<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let signup = new_signup(&contest, user("ann"), time);
    assert_eq!(enroll(&store, &signup).await, Enrolled::Inserted);
    let paid = apply(&store, decision(&signup, state(StateKind::Paid, time))).await;
    for state in all_states(time) {
        let other = signup_in(state, &contest, user("ann"), time);
        assert_eq!(
            restore(&store, &other).await,
            Enrolled::Existing(paid.clone())
        );
    }
    assert_eq!(
        restore(&store, &signup).await,
        Enrolled::Existing(paid.clone())
    );
    assert_eq!(rows(&store, &contest).await, [paid]);
}

// clauses 3, 11
async fn of_many_restores_of_one_viewer_one_inserts<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let made: Vec<Signup> = (0..CROWD)
        .map(|_| signup_in(state(StateKind::Paid, time), &contest, user("ann"), time))
        .collect();
    // Every other one enrolls instead: both ways meet the same row.
    let calls = made
        .clone()
        .into_iter()
        .enumerate()
        .map(|(number, signup)| {
            let signups = store.signups();
            async move {
                let answer = if number % 2 == 0 {
                    signups.restore(&signup).await
                } else {
                    signups.enroll(&signup, None).await
                };
                answer.expect("an answer")
            }
        });
    assert_one_inserted(&at_once(calls).await, &made);
    assert_eq!(rows(&store, &contest).await.len(), 1);
}
