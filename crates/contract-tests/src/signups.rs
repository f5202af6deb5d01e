//! The suite of [`ports::signups::SignupRepository`]: rows read back as they were
//! written. Inserting, guarded writes and lists have files of their own.
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

pub mod commits;
pub mod enrolling;
pub mod paging;

use crate::{
    fixture::{
        StoreFixture, apply, apply_all, at_once, decision, new_signup, now, open_contest, put_all,
        row,
    },
    samples::{HOUR, all_states, coins, signup_in, state, user},
};
use domain::{
    contest::Contest,
    ids::UserId,
    signup::{FeeTry, PayTry, Payment, Signup, State, StateKind},
};
use ports::{signups::Enrolled, store::PAGE_MAX};

crate::suite::suite! { signups_suite in signups:
    an_enrolled_row_reads_back_whole,
    a_restored_row_reads_back_whole_in_every_state,
    a_committed_row_reads_back_whole_in_every_state,
    what_was_not_sent_reads_back_as_unknown,
    what_was_written_survives_a_crash,
}

/// Field by field, and without `..`: a new field has to be compared here too.
fn assert_same(read: Signup, written: &Signup) {
    let Signup {
        id,
        contest_id,
        user_id,
        fee,
        variants,
        state,
        tries,
        version,
        created_at,
        updated_at,
    } = read;
    assert_eq!(id, written.id);
    assert_eq!(contest_id, written.contest_id, "contest of {id}");
    assert_eq!(user_id, written.user_id, "user of {id}");
    assert_eq!(fee, written.fee, "fee of {id}");
    assert_eq!(variants, written.variants, "variants of {id}");
    assert_eq!(state, written.state, "state of {id}");
    assert_eq!(tries, written.tries, "tries of {id}");
    assert_eq!(version, written.version, "version of {id}");
    assert_eq!(created_at, written.created_at, "created_at of {id}");
    assert_eq!(updated_at, written.updated_at, "updated_at of {id}");
}

/// Asserts that both reads answer the signup as it was written, recalled.
async fn assert_reads<F: StoreFixture>(store: &F, written: &Signup) {
    let recalled = written.clone().recalled();
    assert_same(row(store, written).await, &recalled);
    assert_same(
        found(store, written.contest_id, &written.user_id)
            .await
            .expect("a row"),
        &recalled,
    );
}

async fn found<F: StoreFixture>(
    store: &F,
    contest: domain::ids::ContestId,
    user: &UserId,
) -> Option<Signup> {
    store.signups().find(contest, user).await.expect("read")
}

async fn enroll<F: StoreFixture>(store: &F, signup: &Signup) -> Enrolled {
    store
        .signups()
        .enroll(signup, None)
        .await
        .expect("an answer")
}

async fn restore<F: StoreFixture>(store: &F, signup: &Signup) -> Enrolled {
    store.signups().restore(signup).await.expect("an answer")
}

/// Every row of a contest.
async fn rows<F: StoreFixture>(store: &F, contest: &Contest) -> Vec<Signup> {
    let page = store
        .signups()
        .page(contest.id, &[], None, PAGE_MAX)
        .await
        .expect("read");
    assert_eq!(page.next, None);
    page.items
}

// clauses 2, 5
// hazard: F8
async fn an_enrolled_row_reads_back_whole<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let nobody = new_signup(&contest, user("nobody"), time);
    assert_eq!(store.signups().get(nobody.id).await.expect("read"), None);
    assert_eq!(found(&store, contest.id, &nobody.user_id).await, None);
    for (number, name) in ["a", "A.b_c-9", &"x".repeat(64)].into_iter().enumerate() {
        let made = new_signup(&contest, user(name), time.plus(-(number as i64)));
        let signup = Signup {
            fee: coins(1 + number as u64),
            updated_at: time.plus(7),
            ..made
        };
        let wake_at = (number == 1).then(|| time.plus(HOUR));
        let answer = store
            .signups()
            .enroll(&signup, wake_at)
            .await
            .expect("an answer");
        assert_eq!(answer, Enrolled::Inserted);
        assert_reads(&store, &signup).await;
    }
    assert_eq!(found(&store, contest.id, &nobody.user_id).await, None);
}

// clauses 5, 11
async fn a_restored_row_reads_back_whole_in_every_state<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let made: Vec<Signup> = all_states(time)
        .into_iter()
        .enumerate()
        .map(|(number, state)| Signup {
            fee: coins(1_000_000_000 - number as u64),
            tries: [0, 1, u32::MAX][number % 3],
            version: 1 + number as u64,
            updated_at: time.plus(number as i64),
            ..signup_in(
                state,
                &contest,
                user(&format!("viewer-{number}")),
                time.plus(-HOUR),
            )
        })
        .collect();
    let calls = made.clone().into_iter().map(|signup| {
        let signups = store.signups();
        async move { signups.restore(&signup).await.expect("an answer") }
    });
    let answers = at_once(calls).await;
    assert_eq!(answers, vec![Enrolled::Inserted; made.len()]);
    for signup in &made {
        assert_reads(&store, signup).await;
    }
}

// clauses 5, 6
async fn a_committed_row_reads_back_whole_in_every_state<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let states = all_states(time);
    let viewer = |number| user(&format!("viewer-{number}"));
    let wanted = states.iter().cloned().enumerate();
    let mut rows = put_all(
        &store,
        wanted.map(|(number, state)| (&contest, viewer(number), state)),
    )
    .await;
    // Every row takes three states one after the other, every state follows three others: nothing
    // of the one before may be left over.
    for (round, stride) in [5, 7, 11].into_iter().enumerate() {
        let decided = rows.iter().enumerate().map(|(number, signup)| {
            let state = states[(number * stride + round) % states.len()].clone();
            let mut commit = decision(signup, state);
            commit.signup.tries = [0, 7, u32::MAX][number % 3];
            commit.wake_at = (number % 2 == 0).then_some(time);
            commit
        });
        let decided: Vec<_> = decided.collect();
        let read = apply_all(&store, decided.clone()).await;
        for (read, commit) in read.iter().zip(decided) {
            assert_eq!(read.updated_at, commit.signup.updated_at);
            let version = commit.expected + 1;
            assert_reads(
                &store,
                &Signup {
                    version,
                    ..commit.signup
                },
            )
            .await;
        }
        rows = read;
    }
}

// clause 5
// hazard: A5
async fn what_was_not_sent_reads_back_as_unknown<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let signup = new_signup(&contest, user("ann"), time);
    assert_eq!(signup.state, State::Initialized(FeeTry::NotSent));
    assert_eq!(enroll(&store, &signup).await, Enrolled::Inserted);
    let unknown = Signup {
        state: State::Initialized(FeeTry::Unknown),
        ..signup.clone()
    };
    let again = new_signup(&contest, user("ann"), time);
    let reads = [
        row(&store, &signup).await,
        found(&store, contest.id, &signup.user_id)
            .await
            .expect("a row"),
        rows(&store, &contest).await.remove(0),
        store
            .signups()
            .of_user(&signup.user_id, None, 1)
            .await
            .expect("read")
            .items
            .remove(0),
    ];
    for read in reads {
        assert_same(read, &unknown);
    }
    assert_eq!(
        enroll(&store, &again).await,
        Enrolled::Existing(unknown.clone())
    );
    assert_eq!(restore(&store, &again).await, Enrolled::Existing(unknown));
    // A refund or prize likewise, also in the queue.
    let State::Refunding(fee, amount, _) = state(StateKind::Refunding, time) else {
        panic!("refunding")
    };
    let mut commit = decision(&signup, State::Refunding(fee, amount, Payment::DUE));
    commit.wake_at = Some(time);
    let refunding = apply(&store, commit).await;
    let looked_up = Payment {
        last_try: PayTry::Unknown,
        ..Payment::DUE
    };
    assert_eq!(refunding.state, State::Refunding(fee, amount, looked_up));
    assert_eq!(store.signups().awake(9).await.expect("read"), [refunding]);
}

// clause 1
async fn what_was_written_survives_a_crash<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let enrolled = new_signup(&contest, user("enrolled"), time);
    let answer = store
        .signups()
        .enroll(&enrolled, Some(time))
        .await
        .expect("an answer");
    assert_eq!(answer, Enrolled::Inserted);
    let viewer = |number| user(&format!("viewer-{number}"));
    let wanted = all_states(time).into_iter().enumerate();
    let rows = put_all(
        &store,
        wanted.map(|(number, state)| (&contest, viewer(number), state)),
    );
    let commits = rows.await.into_iter().enumerate().map(|(number, signup)| {
        let mut commit = decision(&signup, signup.state.clone());
        commit.wake_at = (number == 3).then(|| time.plus(-1));
        commit
    });
    let mut written = apply_all(&store, commits).await;
    written.push(enrolled.recalled());
    let awake = store.signups().awake(PAGE_MAX).await.expect("read");
    assert_eq!(awake.len(), 2);

    let store = store.reopen().await;
    for signup in &written {
        assert_reads(&store, signup).await;
    }
    assert_eq!(store.signups().awake(PAGE_MAX).await.expect("read"), awake);
}
