//! What was acknowledged before a door closed is in what is counted after it, and nothing comes in
//! later. As often as `GUAFEN_FREEZE_TIMES` says.
#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use contract_tests::samples::{self, Dice, HOUR};
use domain::{
    contest::PhaseKind,
    payout::Achievement,
    signup::{Share, Signup, State, StateKind},
};
use ports::{
    contests::ContestRepository,
    signups::{Enrolled, SignupRepository},
    store::Committed,
    tasks::{EventOutcome, TaskEvents, Tasks},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use support::{Engine, Nodes, at_once, decision, event, phase, signup, until};

const WRITERS: usize = 32;
const BOUND: Duration = Duration::from_secs(60);

fn times() -> usize {
    let asked = std::env::var("GUAFEN_FREEZE_TIMES").ok();
    asked.map_or(10, |times| {
        times.parse().expect("GUAFEN_FREEZE_TIMES is a number")
    })
}

/// Counts what was acknowledged, and tells when enough was.
#[derive(Clone, Default)]
struct Acknowledged(Arc<AtomicUsize>);

impl Acknowledged {
    fn add(&self) {
        self.0.fetch_add(1, SeqCst);
    }

    fn number(&self) -> usize {
        self.0.load(SeqCst)
    }

    async fn reach(&self, number: usize) {
        until(BOUND, "enough is acknowledged", async || {
            (self.number() >= number).then_some(())
        })
        .await;
    }
}

/// One freeze; how many events were acknowledged before it.
async fn freeze_once(nodes: &Nodes, enough: usize) -> usize {
    let contest = nodes.contest().await;
    let now = nodes.stores[0].now().await.expect("the clock");
    let paid = samples::receipt(5, now.plus(-HOUR / 2));
    let mut playing = Vec::new();
    for number in 0..WRITERS {
        let new = Signup {
            state: State::InProgress(paid),
            ..signup(&contest, &format!("user-{number}"))
        };
        let answer = nodes.of(number).restore(&new).await.expect("restored");
        assert_eq!(answer, Enrolled::Inserted);
        playing.push(new);
    }
    let answer = ContestRepository::commit(&nodes.of(0), phase(&contest, PhaseKind::Running)).await;
    assert_eq!(answer.expect("running"), Committed::Applied);
    let running = ContestRepository::get(&nodes.of(0), contest.id).await;
    let running = running.expect("read").expect("the contest is there");

    let (events, completed) = (Acknowledged::default(), Acknowledged::default());
    let calls = playing.iter().cloned().enumerate().map(|(number, signup)| {
        let (store, contest) = (nodes.of(number), contest.clone());
        let (events, completed) = (events.clone(), completed.clone());
        async move {
            // Events until there is no more taking.
            let sender = format!("game-{number}").parse().expect("a sender");
            let mut mine = 0_u64;
            loop {
                let id = format!("{}-{mine}", contest.id);
                let at = store.now().await.expect("the clock");
                let event = event(&contest, &id, signup.user_id.as_str(), at);
                let outcome = store.record(&sender, &[event]).await.expect("an answer")[0];
                match outcome {
                    EventOutcome::Accepted => {
                        mine += 1;
                        events.add();
                    }
                    EventOutcome::TooLate => break,
                    other => panic!("{other:?}"),
                }
            }
            // Then what every node does with a signup that has its numbers.
            let progress = store
                .progress(&contest, std::slice::from_ref(&signup))
                .await;
            let progress = progress.expect("progress")[0];
            assert_eq!(
                progress.quantity, mine,
                "every accepted event counts, and no other"
            );
            let weight = samples::weight(mine + 1);
            let done = Achievement {
                quantity: mine,
                met_at: progress.complete_until,
            };
            let State::InProgress(fee) = signup.state else {
                panic!("a signup that plays")
            };
            let state = State::Completed(fee, done, Share::Fixed(weight));
            let answer = SignupRepository::commit(&store, decision(&signup, state)).await;
            assert_eq!(answer.expect("an answer"), Committed::Applied);
            completed.add();
            mine + 1
        }
    });
    let writers = tokio::spawn(at_once(calls.collect::<Vec<_>>()));

    events.reach(enough).await;
    let judging = phase(&running, PhaseKind::Judging);
    let settler = nodes.of(1);
    let answer = ContestRepository::commit(&settler, judging).await;
    assert_eq!(answer.expect("judging"), Committed::Applied);
    // From here on no event is taken, whoever is asked.
    let at = settler.now().await.expect("the clock");
    let late = event(&contest, &format!("late-{}", contest.id), "user-0", at);
    let sender = "game-late".parse().expect("a sender");
    let outcomes = nodes
        .of(0)
        .record(&sender, &[late])
        .await
        .expect("an answer");
    assert_eq!(outcomes, [EventOutcome::TooLate]);

    let undecided = [
        StateKind::Initialized,
        StateKind::Paid,
        StateKind::InProgress,
    ];
    until(BOUND, "all signups are decided", async || {
        let presence = settler.presence(contest.id).await.expect("presence");
        let is_open = presence.provisional || presence.any(&undecided);
        (!is_open).then_some(())
    })
    .await;
    let frozen = settler.census(contest.id).await.expect("census");
    let weights: u64 = writers.await.expect("the writers end").iter().sum();
    let last = nodes.of(0).census(contest.id).await.expect("census");
    assert_eq!(frozen, last, "nothing changed after the freeze");
    assert_eq!(frozen.undecided, 0);
    assert_eq!(frozen.finishers, WRITERS as u64);
    assert_eq!(completed.number(), WRITERS);
    assert_eq!(frozen.weight_sum, u128::from(weights));
    // The door may have closed before the first event came.
    let taken = format!(
        "SELECT CAST(COALESCE(SUM(quantity), 0) AS SIGNED) FROM task_progress WHERE contest_id = UNHEX('{}')",
        contest.id.0.simple()
    );
    assert_eq!(nodes.count(&taken).await, events.number() as i64);
    events.number()
}

// hazard: B1, B2, F1
async fn what_is_frozen_is_what_was_acknowledged<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let mut dice = Dice::cast();
    let (times, mut events) = (times(), 0);
    for _ in 0..times {
        events += freeze_once(&nodes, dice.roll(400)).await;
    }
    println!(
        "{times} freezes among {WRITERS} writers: {events} events and {} completions, each frozen as acknowledged",
        times * WRITERS
    );
}

/// One end of signups; how many were acknowledged before it.
async fn close_once(nodes: &Nodes, enough: usize) -> usize {
    let contest = nodes.contest().await;
    let acknowledged = Acknowledged::default();
    let calls = (0..WRITERS).map(|number| {
        let (store, contest) = (nodes.of(number), contest.clone());
        let acknowledged = acknowledged.clone();
        async move {
            for turn in 0.. {
                let new = signup(&contest, &format!("user-{number}-{turn}"));
                match store.enroll(&new, None).await.expect("an answer") {
                    Enrolled::Inserted => acknowledged.add(),
                    Enrolled::NotOpen => return,
                    other => panic!("{other:?}"),
                }
            }
        }
    });
    let writers = tokio::spawn(at_once(calls.collect::<Vec<_>>()));
    acknowledged.reach(enough).await;
    let closer = nodes.of(1);
    let answer = ContestRepository::commit(&closer, phase(&contest, PhaseKind::Running)).await;
    assert_eq!(answer.expect("running"), Committed::Applied);
    // The commit was answered: what is there now is all there ever is.
    let counted = closer.census(contest.id).await.expect("census");
    writers.await.expect("the writers end");
    let last = nodes.of(0).census(contest.id).await.expect("census");
    assert_eq!(counted, last, "no row after the commit was answered");
    assert_eq!(last.undecided, acknowledged.number() as u64);
    acknowledged.number()
}

// hazard: B1, B4
async fn no_signup_appears_after_signups_ended<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let mut dice = Dice::cast();
    let (times, mut signups) = (times(), 0);
    for _ in 0..times {
        signups += close_once(&nodes, dice.roll(400)).await;
    }
    println!(
        "{times} ends of signups among {WRITERS} writers: {signups} signups, each counted as acknowledged"
    );
}

on_both!(
    what_is_frozen_is_what_was_acknowledged,
    no_signup_appears_after_signups_ended
);
