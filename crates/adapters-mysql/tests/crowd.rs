//! Two nodes on one schema, and everybody at once: no caller sees an error, and what was answered
//! is there. Each writer goes as many rounds as `GUAFEN_CROWD_ROUNDS` says.
#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use contract_tests::samples::{self, Dice};
use domain::{effects::Effect, signup::State, time::UnixMillis};
use ports::{
    contests::ContestRepository,
    signups::{Enrolled, SignupRepository},
    store::Committed,
    tasks::{EventOutcome, TaskEvents},
};
use std::collections::BTreeSet;
use support::{Engine, Nodes, at_once, decision, event, signup};

const WRITERS: usize = 64;
/// Fewer than there are writers, so that they meet.
const USERS: usize = 40;
/// Also those of others, where the server is shared: it is told, and nothing hangs on it.
const DEADLOCKS: &str = "SELECT CAST(count AS SIGNED) FROM information_schema.innodb_metrics \
                         WHERE name = 'lock_deadlocks'";
const EFFECTS: &[Effect] = &[Effect::DropCachedAgain, Effect::CountFinisher, Effect::Rank];

fn rounds() -> usize {
    let asked = std::env::var("GUAFEN_CROWD_ROUNDS").ok();
    asked.map_or(12, |rounds| {
        rounds.parse().expect("GUAFEN_CROWD_ROUNDS is a number")
    })
}

/// What one writer was told.
#[derive(Default)]
struct Told {
    inserted: Vec<String>,
    /// Versions that its decisions made.
    applied: Vec<(String, u64)>,
    accepted: Vec<String>,
}

// hazard: B15, F2, F6
async fn a_crowd_on_two_nodes_sees_no_error<E: Engine>() {
    let nodes = Nodes::open::<E>(EFFECTS).await;
    let contest = nodes.contest().await;
    let now = nodes.stores[0].now().await.expect("the clock");
    let deadlocks = nodes.count(DEADLOCKS).await;
    let mut dice = Dice::cast();
    let writers = (0..WRITERS).map(|number| {
        let (store, contest) = (nodes.of(number), contest.clone());
        let picks: Vec<(usize, usize)> = (0..rounds())
            .map(|_| (dice.roll(USERS), dice.roll(USERS)))
            .collect();
        async move {
            let mut told = Told::default();
            for (user, other) in picks {
                let name = format!("user-{user}");
                let new = signup(&contest, &name);
                let row = match store.enroll(&new, None).await.expect("an answer") {
                    Enrolled::Inserted => {
                        told.inserted.push(name.clone());
                        new
                    }
                    Enrolled::Existing(row) => row,
                    answer => panic!("{answer:?}"),
                };
                let fee = samples::receipt(5, UnixMillis(now.0 - 60_000));
                let mut commit = decision(&row, State::InProgress(fee));
                commit.effects = EFFECTS.to_vec();
                match SignupRepository::commit(&store, commit)
                    .await
                    .expect("an answer")
                {
                    Committed::Applied => told.applied.push((name, row.version + 1)),
                    Committed::GuardFailed | Committed::Fenced => {}
                    Committed::Missing => panic!("an enrolled row is missing"),
                }
                // Not in the order of the keys, and the same ones as others send.
                let events: Vec<_> = [other, user]
                    .map(|user| {
                        let id = format!("event-{user}-{}", number % 8);
                        event(&contest, &id, &format!("user-{user}"), now)
                    })
                    .to_vec();
                let sender = "game".parse().expect("a sender");
                let outcomes = store.record(&sender, &events).await.expect("an answer");
                for (event, outcome) in events.iter().zip(outcomes) {
                    match outcome {
                        EventOutcome::Accepted => told.accepted.push(event.event_id.to_string()),
                        EventOutcome::Duplicate => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            told
        }
    });
    let told = at_once(writers).await;
    let deadlocks = nodes.count(DEADLOCKS).await - deadlocks;

    let unique = |all: Vec<String>, what: &str| {
        let set: BTreeSet<_> = all.iter().cloned().collect();
        assert_eq!(set.len(), all.len(), "{what}: one caller was told so");
        set
    };
    let inserted: Vec<_> = told.iter().flat_map(|told| told.inserted.clone()).collect();
    let inserted = unique(inserted, "inserted");
    let accepted: Vec<_> = told.iter().flat_map(|told| told.accepted.clone()).collect();
    let accepted = unique(accepted, "accepted");
    let applied: Vec<_> = told.iter().flat_map(|told| told.applied.clone()).collect();
    let versions: BTreeSet<_> = applied.iter().cloned().collect();
    assert_eq!(versions.len(), applied.len(), "no version was made twice");

    for name in &inserted {
        let user = name.parse().expect("a user id");
        let row = nodes.of(1).find(contest.id, &user).await.expect("read");
        let row = row.expect("an acknowledged row is there");
        let made = applied.iter().filter(|(user, _)| user == name).count() as u64;
        assert_eq!(row.version, 1 + made, "{name}: every decision once");
    }
    let rows = nodes.count("SELECT COUNT(*) FROM signup").await;
    assert_eq!(rows, inserted.len() as i64, "one row a viewer");
    let events = nodes.count("SELECT COUNT(*) FROM task_event").await;
    assert_eq!(events, accepted.len() as i64);
    let progress = nodes.count("SELECT COUNT(*) FROM task_progress").await;
    assert_eq!(progress, events, "each event counts once");
    let history = nodes.count("SELECT COUNT(*) FROM signup_history").await;
    assert_eq!(history, (inserted.len() + applied.len()) as i64);
    let effects = "SELECT COUNT(*) FROM outbox WHERE signup_id IS NOT NULL";
    let effects = nodes.count(effects).await;
    assert_eq!(effects, (2 * applied.len()) as i64 + applied.len() as i64);
    println!(
        "{WRITERS} writers on one contest: {} calls, {} decisions and {} events taken; no error to a caller, {deadlocks} deadlocks on the server",
        3 * WRITERS * rounds(),
        applied.len(),
        accepted.len()
    );
}

// hazard: B15
async fn of_fifty_signups_of_one_viewer_one_is_inserted<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let calls = (0..50).map(|number| {
        let (store, signup) = (nodes.of(number), signup(&contest, "ann"));
        async move {
            let answer = store.enroll(&signup, None).await.expect("an answer");
            (signup.id, answer)
        }
    });
    let answers = at_once(calls).await;
    let inserted: Vec<_> = answers
        .iter()
        .filter(|(_, answer)| *answer == Enrolled::Inserted)
        .map(|(id, _)| *id)
        .collect();
    let [winner] = inserted[..] else {
        panic!("inserted {} times", inserted.len())
    };
    let existing = answers
        .iter()
        .filter(|(_, answer)| matches!(answer, Enrolled::Existing(row) if row.id == winner))
        .count();
    assert_eq!(existing, 49, "all others get the row of the first");
    assert_eq!(nodes.count("SELECT COUNT(*) FROM signup").await, 1);
    assert_eq!(nodes.count("SELECT COUNT(*) FROM signup_history").await, 1);
}

/// More at once than one statement takes, and some of them again, the last of all too.
async fn whoever_is_new_among_repeats_is_inserted_with_history<E: Engine>() {
    const CROWD: usize = 90;
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let is_there = |number: usize| number % 17 == 16 || number == CROWD - 1;
    let enroll = |number: usize| {
        let signup = signup(&contest, &format!("viewer-{number:03}"));
        let store = nodes.of(number);
        async move { store.enroll(&signup, None).await.expect("an answer") }
    };
    at_once((0..CROWD).filter(|number| is_there(*number)).map(enroll)).await;
    let answers = at_once((0..CROWD).map(enroll)).await;
    for (number, answer) in answers.iter().enumerate() {
        let is_inserted = *answer == Enrolled::Inserted;
        assert_eq!(is_inserted, !is_there(number), "{number}: {answer:?}");
    }
    let rows = nodes.count("SELECT COUNT(*) FROM signup").await;
    assert_eq!(usize::try_from(rows).expect("a count"), CROWD);
    let lines = "SELECT COUNT(DISTINCT signup_id) FROM signup_history WHERE version = 1";
    assert_eq!(nodes.count(lines).await, rows);
}

on_both!(
    a_crowd_on_two_nodes_sees_no_error,
    of_fifty_signups_of_one_viewer_one_is_inserted,
    whoever_is_new_among_repeats_is_inserted_with_history
);
