//! The network fails while something is written: the caller is told the truth or that nobody knows,
//! and asking again tells the truth.
#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use contract_tests::samples;
use domain::{effects::Effect, signup::State};
use ports::{
    contests::ContestRepository,
    signups::{Enrolled, SignupRepository},
    store::Committed,
    tasks::{EventOutcome, TaskEvents},
};
use std::{net::SocketAddr, time::Duration};
use support::{Engine, Nodes, at_once, decision, event, open_at, signup, until};
use test_support::Proxy;

/// In what time a store works again whose connections were cut.
const BOUND: Duration = Duration::from_secs(15);
const EFFECTS: &[Effect] = &[Effect::DropCachedAgain];

/// A proxy in front of the server, and a store behind it.
async fn behind_proxy(nodes: &Nodes) -> (Proxy, adapters_mysql::MysqlStore) {
    let server = nodes.schema.url();
    let address = server.rsplit('@').next().expect("an address");
    let address = address.split('/').next().expect("IP and port");
    let address: SocketAddr = address.parse().expect("IP and port");
    let proxy = Proxy::start(address).await.expect("a proxy");
    let store = open_at(proxy.through(&nodes.schema.url()), EFFECTS).await;
    (proxy, store)
}

/// The store's writers have connections, so that what is cut is a statement, not a greeting.
async fn warm(store: &adapters_mysql::MysqlStore, nodes: &Nodes) {
    let contest = nodes.contest().await;
    for number in 0..8 {
        let new = signup(&contest, &format!("warm-{number}"));
        let answer = store.enroll(&new, None).await.expect("an answer");
        assert_eq!(answer, Enrolled::Inserted);
    }
    store.probe().await.expect("it writes");
}

// hazard: A8
async fn a_lost_answer_never_makes_two_of_anything<E: Engine>() {
    let nodes = Nodes::open::<E>(EFFECTS).await;
    let (proxy, store) = behind_proxy(&nodes).await;
    let contest = nodes.contest().await;
    let now = nodes.of(0).now().await.expect("the clock");
    let fee = samples::receipt(5, now);
    let mut unknown = 0;
    // The answers are cut after ever more bytes: in the first statement, the second, … the COMMIT.
    for turn in 0..40_u64 {
        warm_again(&store).await;
        let name = format!("user-{turn}");
        let new = signup(&contest, &name);
        let before = proxy.counters().answers;
        let (calling, cutting) = (store.clone(), turn * 23);
        let asked = new.clone();
        let call = tokio::spawn(async move { calling.enroll(&asked, None).await });
        // Cut as soon as that much has been answered, or at the end.
        let mut spins = 0_u32;
        while proxy.counters().answers < before + cutting && !call.is_finished() && spins < 200_000
        {
            spins += 1;
            tokio::task::yield_now().await;
        }
        proxy.cut_answers();
        let told = call.await.expect("no panic");
        proxy.pass();
        let found = nodes
            .of(0)
            .find(contest.id, &new.user_id)
            .await
            .expect("read");
        match &told {
            Ok(answer) => {
                assert_eq!(*answer, Enrolled::Inserted);
                assert!(found.is_some(), "{name}: what was acknowledged is there");
            }
            Err(_) => unknown += 1,
        }
        // A repeat, with an id of its own as a caller makes it, tells the truth.
        let again = signup(&contest, &name);
        let answer = until(BOUND, "the store works again", async || {
            store.enroll(&again, None).await.ok()
        })
        .await;
        let row = match answer {
            Enrolled::Inserted => {
                assert!(told.is_err(), "{name}: inserted twice");
                again
            }
            Enrolled::Existing(row) => {
                assert_eq!(row.id, new.id);
                row
            }
            other => panic!("{other:?}"),
        };
        // The same with a decision: at most one version more.
        let mut commit = decision(&row, State::InProgress(fee));
        commit.effects = EFFECTS.to_vec();
        let before = proxy.counters().answers;
        let (calling, asked) = (store.clone(), commit.clone());
        let call = tokio::spawn(async move { SignupRepository::commit(&calling, asked).await });
        let mut spins = 0_u32;
        while proxy.counters().answers < before + cutting && !call.is_finished() && spins < 200_000
        {
            spins += 1;
            tokio::task::yield_now().await;
        }
        proxy.cut_answers();
        let told = call.await.expect("no panic");
        proxy.pass();
        unknown += u32::from(told.is_err());
        let answer = until(BOUND, "the store works again", async || {
            SignupRepository::commit(&store, commit.clone()).await.ok()
        })
        .await;
        match told {
            Ok(told) => {
                assert_eq!((told, answer), (Committed::Applied, Committed::GuardFailed));
            }
            Err(_) => assert!(matches!(
                answer,
                Committed::Applied | Committed::GuardFailed
            )),
        }
        let after = SignupRepository::get(&nodes.of(1), row.id)
            .await
            .expect("read");
        let after = after.expect("the row is there");
        assert_eq!(after.version, row.version + 1, "{name}: once");
        assert_eq!(after.state.kind(), commit.signup.state.kind());
    }
    assert!(unknown >= 10, "answers were lost: {unknown}");
    println!("{unknown} of 80 answers were lost");
    assert_eq!(
        nodes
            .count("SELECT COUNT(DISTINCT user_id) FROM signup WHERE user_id LIKE 'user-%'")
            .await,
        40
    );
    assert_eq!(
        nodes
            .count("SELECT COUNT(*) FROM signup WHERE user_id LIKE 'user-%'")
            .await,
        40
    );
    assert_eq!(
        nodes.count("SELECT COUNT(*) FROM outbox").await,
        40,
        "effects once"
    );
    let history = "SELECT COUNT(*) FROM signup_history h JOIN signup s ON s.signup_id = h.signup_id \
                   WHERE s.user_id LIKE 'user-%'";
    assert_eq!(nodes.count(history).await, 80);
}

async fn warm_again(store: &adapters_mysql::MysqlStore) {
    until(BOUND, "the store works", async || store.probe().await.ok()).await;
}

// hazard: A8, F2
async fn connections_cut_in_the_middle_of_batches<E: Engine>() {
    let nodes = Nodes::open::<E>(EFFECTS).await;
    let (proxy, store) = behind_proxy(&nodes).await;
    warm(&store, &nodes).await;
    let contest = nodes.contest().await;
    let at = nodes.of(0).now().await.expect("the clock");
    for round in 0..6 {
        let calls = (0..48).map(|number| {
            let (store, contest) = (store.clone(), contest.clone());
            async move {
                let name = format!("user-{round}-{number}");
                let enrolled = store.enroll(&signup(&contest, &name), None).await;
                let event = event(&contest, &format!("event-{round}-{number}"), &name, at);
                let sender = "game".parse().expect("a sender");
                let recorded = store.record(&sender, std::slice::from_ref(&event)).await;
                (name, enrolled.ok(), event, recorded.ok())
            }
        });
        let calls: Vec<_> = calls.collect();
        let crowd = tokio::spawn(at_once(calls));
        let before = proxy.counters().requests;
        until(BOUND, "a batch is under way", async || {
            (proxy.counters().requests > before + 2_000 || crowd.is_finished()).then_some(())
        })
        .await;
        proxy.cut_now();
        let told = crowd.await.expect("every call is answered");
        until(BOUND, "the store works again", async || {
            store.probe().await.ok()
        })
        .await;
        for (name, enrolled, event, recorded) in told {
            let user = name.parse().expect("a user id");
            let row = nodes.of(0).find(contest.id, &user).await.expect("read");
            if let Some(answer) = enrolled {
                assert_eq!(answer, Enrolled::Inserted);
                assert!(row.is_some(), "{name}: acknowledged and not there");
            }
            let again = until(BOUND, "the store works again", async || {
                store.enroll(&signup(&contest, &name), None).await.ok()
            })
            .await;
            let is_existing = matches!(again, Enrolled::Existing(_));
            assert_eq!(is_existing, row.is_some(), "{name}: {again:?}");
            let sender = "game".parse().expect("a sender");
            let again = until(BOUND, "the store works again", async || {
                store
                    .record(&sender, std::slice::from_ref(&event))
                    .await
                    .ok()
            })
            .await;
            if let Some(outcomes) = recorded {
                assert_eq!(outcomes, [EventOutcome::Accepted]);
                assert_eq!(again, [EventOutcome::Duplicate]);
            }
        }
        let rows = 48 * (round + 1);
        let mine = "user_id LIKE 'user-%'";
        let signups = format!("SELECT COUNT(*) FROM signup WHERE {mine}");
        assert_eq!(nodes.count(&signups).await, rows);
        let events = nodes.count("SELECT COUNT(*) FROM task_event").await;
        assert_eq!(events, rows);
        // Two contests of the room are open: each event counts once for each.
        let progress = nodes.count("SELECT COUNT(*) FROM task_progress").await;
        assert_eq!(progress, 2 * rows);
    }
}

on_both!(
    a_lost_answer_never_makes_two_of_anything,
    connections_cut_in_the_middle_of_batches
);
