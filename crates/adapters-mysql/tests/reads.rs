//! A hot contest is read whole once for a version; nobody is answered with an older one for that.
//! A read ends, whatever became of its connection, and of who asked.
#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use adapters_mysql::MysqlStore;
use domain::contest::{Contest, PhaseKind};
use ports::{
    contests::ContestRepository,
    outbox::Outbox,
    store::{Committed, StoreError},
};
use sqlx::AssertSqlSafe;
use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    time::{Duration, Instant},
};
use support::{Engine, Nodes, at_once, connections, open_at, phase, until};
use test_support::Proxy;

/// In what time something must come.
const BOUND: Duration = Duration::from_secs(30);

type Read = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

async fn run(nodes: &Nodes, statement: String) {
    let mut connection = nodes.schema.connect().await;
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(&mut connection)
        .await
        .expect("a statement");
}

async fn retitled(nodes: &Nodes, contest: &Contest, title: &str) {
    let id = contest.id.0.simple();
    run(
        nodes,
        format!("UPDATE contest SET title = '{title}' WHERE contest_id = UNHEX('{id}')"),
    )
    .await;
}

async fn what_one_node_decides_the_other_reads_at_once<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let mut contest = nodes.contest().await;
    let kinds = [
        PhaseKind::Running,
        PhaseKind::Judging,
        PhaseKind::Claimable,
        PhaseKind::Closed,
    ];
    for (round, kind) in kinds.into_iter().enumerate() {
        for node in [0, 1] {
            let read = nodes.of(node).get(contest.id).await.expect("an answer");
            assert_eq!(read.as_ref(), Some(&contest), "before round {round}");
        }
        let decided = phase(&contest, kind);
        let committed = nodes.of(round).commit(decided.clone()).await;
        assert_eq!(committed.expect("an answer"), Committed::Applied);
        for node in [0, 1] {
            let read = nodes.of(node).get(contest.id).await.expect("an answer");
            let read = read.expect("a contest");
            assert_eq!(read.phase, decided.contest.phase, "round {round}");
            assert_eq!(read.version, contest.version + 1);
            contest = Contest {
                version: contest.version,
                ..read
            };
        }
        contest.version += 1;
    }
}

async fn what_is_changed_by_hand_is_read_soon<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let store = nodes.of(0);
    assert!(store.get(contest.id).await.expect("an answer").is_some());
    retitled(&nodes, &contest, "by hand").await;
    until(BOUND, "the new title", async || {
        let read = store.get(contest.id).await.expect("an answer");
        read.filter(|read| read.title.as_str() == "by hand")
    })
    .await;
    let id = contest.id.0.simple();
    run(
        &nodes,
        format!("DELETE FROM contest WHERE contest_id = UNHEX('{id}')"),
    )
    .await;
    assert_eq!(store.get(contest.id).await.expect("an answer"), None);
}

async fn behind_a_proxy(nodes: &Nodes) -> (Proxy, MysqlStore) {
    let url = nodes.schema.url();
    let address = url.rsplit('@').next().expect("an address");
    let address = address.split('/').next().expect("IP and port");
    let address: SocketAddr = address.parse().expect("IP and port");
    let proxy = Proxy::start(address).await.expect("a proxy");
    let store = open_at(proxy.through(&url), &[]).await;
    (proxy, store)
}

/// Behind the address there is another server now, which never heard of what the first had answered
/// under the same version.
// hazard: F9
async fn nothing_is_known_of_a_server_that_was_lost<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let (proxy, store) = behind_a_proxy(&nodes).await;
    for round in 0..5 {
        assert!(store.get(contest.id).await.expect("an answer").is_some());
        let title = format!("server {round}");
        retitled(&nodes, &contest, &title).await;
        proxy.cut_now();
        let read = until(BOUND, "it is reached again", async || {
            store.get(contest.id).await.ok()
        })
        .await;
        assert_eq!(read.expect("a contest").title.as_str(), title);
    }
}

/// More reads than there are connections, each of another kind.
fn some_reads(store: &MysqlStore, contest: &Contest) -> Vec<Read> {
    let reads: [fn(MysqlStore, Contest) -> Read; 7] = [
        |s, _| Box::pin(async move { s.now().await.map(drop) }),
        |s, c| Box::pin(async move { s.presence(c.id).await.map(drop) }),
        |s, c| Box::pin(async move { s.finishers(c.id, None, 10).await.map(drop) }),
        |s, c| Box::pin(async move { s.sheet(c.id, None, 10).await.map(drop) }),
        |s, _| Box::pin(async move { ContestRepository::awake(&s, 10).await.map(drop) }),
        |s, _| {
            Box::pin(async move {
                ports::signups::SignupRepository::parked(&s, None, 10)
                    .await
                    .map(drop)
            })
        },
        |s, _| Box::pin(async move { Outbox::take(&s, None, 10).await.map(drop) }),
    ];
    let made = reads.map(|read| read(store.clone(), contest.clone()));
    made.into()
}

/// The host is gone without a word: nobody waits for it for ever, and what it kept is given back.
// hazard: G4
async fn reads_that_are_never_answered_end<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let (proxy, store) = behind_a_proxy(&nodes).await;
    for answer in at_once(some_reads(&store, &contest)).await {
        answer.expect("an answer");
    }
    proxy.stall();
    let given_up: Vec<_> = some_reads(&store, &contest)
        .into_iter()
        .map(tokio::spawn)
        .collect();
    let began = Instant::now();
    for answer in at_once(some_reads(&store, &contest)).await {
        answer.expect_err("nothing is answered");
    }
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
    for read in given_up {
        read.abort();
    }
    proxy.pass();
    let began = Instant::now();
    for answer in at_once(some_reads(&store, &contest)).await {
        answer.expect("an answer");
    }
    assert!(began.elapsed() < BOUND, "{:?}", began.elapsed());
}

/// As after a restart of the server: every connection has ended, and nobody notices.
// hazard: G1
async fn connections_that_were_ended_are_replaced<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let store = nodes.of(0);
    for round in 0..5 {
        for answer in at_once(some_reads(&store, &contest)).await {
            answer.unwrap_or_else(|error| panic!("round {round}: {error:?}"));
        }
        let name = nodes.schema.name();
        let mut connection = nodes.schema.connect().await;
        let others = format!("db = '{name}' AND id <> CONNECTION_ID()");
        let ids = connections(&mut connection, &others).await;
        assert!(!ids.is_empty());
        for id in ids {
            // One that has ended by itself meanwhile is as good.
            let _ = sqlx::raw_sql(AssertSqlSafe(format!("KILL {id}")))
                .execute(&mut connection)
                .await;
        }
    }
}

on_both!(
    what_one_node_decides_the_other_reads_at_once,
    what_is_changed_by_hand_is_read_soon,
    nothing_is_known_of_a_server_that_was_lost,
    reads_that_are_never_answered_end,
    connections_that_were_ended_are_replaced,
);
