//! A hot contest is read whole once for a version; nobody is answered with an older one for that.
#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use domain::contest::{Contest, PhaseKind};
use ports::{contests::ContestRepository, store::Committed};
use sqlx::AssertSqlSafe;
use std::{net::SocketAddr, time::Duration};
use support::{Engine, Nodes, open_at, phase, until};
use test_support::Proxy;

/// In what time something must come.
const BOUND: Duration = Duration::from_secs(30);

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

/// Behind the address there is another server now, which never heard of what the first had answered
/// under the same version.
// hazard: F9
async fn nothing_is_known_of_a_server_that_was_lost<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    let url = nodes.schema.url();
    let address = url.rsplit('@').next().expect("an address");
    let address = address.split('/').next().expect("IP and port");
    let address: SocketAddr = address.parse().expect("IP and port");
    let proxy = Proxy::start(address).await.expect("a proxy");
    let store = open_at(proxy.through(&url), &[]).await;
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

on_both!(
    what_one_node_decides_the_other_reads_at_once,
    what_is_changed_by_hand_is_read_soon,
    nothing_is_known_of_a_server_that_was_lost,
);
