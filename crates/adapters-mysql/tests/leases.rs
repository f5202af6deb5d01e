//! The leases keep their contract, for owners on two nodes.
#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use domain::contest::PhaseKind;
use ports::{
    contests::{ContestCommit, ContestRepository},
    leases::{Fence, LEASE_NAME_MAX, Lease, Leases},
    store::Committed,
};
use std::time::Duration;
use support::{Engine, Nodes, at_once, phase, until};
use uuid::Uuid;

const LONG: i64 = 60_000;
const BOUND: Duration = Duration::from_secs(20);

async fn take(nodes: &Nodes, node: usize, name: &str, owner: Uuid, for_ms: i64) -> Option<Lease> {
    nodes
        .of(node)
        .take(name, owner, for_ms)
        .await
        .expect("an answer")
}

async fn held(nodes: &Nodes, name: &str, owner: Uuid, for_ms: i64) -> Lease {
    let lease = take(nodes, 0, name, owner, for_ms).await;
    lease.expect("nobody else holds it")
}

// hazard: H3
async fn one_of_sixteen_holds_it<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let mut before = Fence(0);
    for round in 0..10 {
        let calls = (0..16).map(|number| {
            let store = nodes.of(number);
            async move {
                let owner = Uuid::now_v7();
                let lease = store.take("work", owner, LONG).await.expect("an answer");
                if let Some(lease) = &lease {
                    assert_eq!(lease.owner, owner);
                    assert_eq!(lease.name, "work");
                }
                lease
            }
        });
        let holders: Vec<_> = at_once(calls).await.into_iter().flatten().collect();
        let [lease] = &holders[..] else {
            panic!("round {round}: {holders:?}")
        };
        assert!(lease.fence > before, "round {round}: {lease:?}");
        before = lease.fence;
        nodes.of(round).release(lease).await.expect("released");
    }
}

// hazard: H3
async fn it_ends_by_the_databases_clock<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    let asked_at = nodes.stores[0].now().await.expect("the clock");
    let first = held(&nodes, "work", one, 700).await;
    let next = until(BOUND, "the lease ends", async || {
        take(&nodes, 1, "work", other, LONG).await
    })
    .await;
    let taken_at = nodes.stores[0].now().await.expect("the clock");
    assert!(
        taken_at >= asked_at.plus(700),
        "it was held as long as was said"
    );
    assert!(next.fence > first.fence);
    assert_eq!(take(&nodes, 0, "work", one, LONG).await, None);
}

// hazard: H3, H4
async fn its_holder_extends_it_under_the_same_fence<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    let first = held(&nodes, "work", one, 5_000).await;
    assert_eq!(
        take(&nodes, 1, "work", one, LONG).await,
        Some(first.clone())
    );
    let ends_at = nodes
        .count("SELECT ends_at FROM lease WHERE name = 'work'")
        .await;
    let now = nodes.stores[0].now().await.expect("the clock");
    assert!(ends_at > now.0 + LONG / 2, "it is extended");
    assert_eq!(
        take(&nodes, 0, "work", other, LONG).await,
        None,
        "others are kept out"
    );
    assert_eq!(
        ends_at,
        nodes
            .count("SELECT ends_at FROM lease WHERE name = 'work'")
            .await,
        "who does not hold it does not extend it"
    );
    // Once it is over, the same owner is like anybody else.
    assert_eq!(take(&nodes, 0, "work", one, 1).await, Some(first.clone()));
    let again = until(BOUND, "a higher fence", async || {
        take(&nodes, 1, "work", one, 1)
            .await
            .filter(|lease| lease.fence > first.fence)
    })
    .await;
    assert_eq!(again.owner, one);
}

// hazard: H4
async fn a_release_frees_that_very_lease<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    let first = held(&nodes, "work", one, LONG).await;
    let not_theirs = Lease {
        owner: other,
        ..first.clone()
    };
    nodes.of(1).release(&not_theirs).await.expect("done");
    assert_eq!(
        take(&nodes, 1, "work", other, LONG).await,
        None,
        "it is still held"
    );
    nodes.of(1).release(&first).await.expect("released");
    let second = held(&nodes, "work", one, LONG).await;
    assert!(second.fence > first.fence);
    // The same owner's older lease, and a release twice.
    nodes.of(1).release(&first).await.expect("done");
    assert_eq!(
        take(&nodes, 1, "work", other, LONG).await,
        None,
        "it is still held"
    );
    nodes.of(0).release(&second).await.expect("released");
    let third = take(&nodes, 1, "work", other, LONG)
        .await
        .expect("free at once");
    assert!(third.fence > second.fence);
    let unknown = Lease {
        name: "unknown".to_owned(),
        ..third
    };
    nodes.of(0).release(&unknown).await.expect("nothing to do");
}

async fn names_are_different_where_any_byte_is<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let longest = "n".repeat(LEASE_NAME_MAX);
    let almost = "n".repeat(LEASE_NAME_MAX - 1);
    let names = [
        "work", "Work", "work ", "work\0", "wor", "wörk", &longest, &almost,
    ];
    for name in names {
        let lease = take(&nodes, 0, name, Uuid::now_v7(), LONG).await;
        let lease = lease.unwrap_or_else(|| panic!("{name:?} is nobody's"));
        assert_eq!(lease.name, name);
        assert_eq!(
            take(&nodes, 1, name, Uuid::now_v7(), LONG).await,
            None,
            "{name:?}"
        );
    }
    let too_long = "ö".repeat(LEASE_NAME_MAX / 2) + "n";
    for name in ["", too_long.as_str()] {
        let answer = nodes.of(0).take(name, Uuid::now_v7(), LONG).await;
        let error = answer.expect_err("a name that is none");
        let error = format!("{error:?}");
        assert!(error.contains("1 to 100 bytes"), "{error}");
    }
}

// hazard: H4
async fn a_write_under_an_older_fence_is_refused<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let mut contest = nodes.contest().await;
    let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
    let slept = held(&nodes, "work", one, LONG).await;
    nodes.of(0).release(&slept).await.expect("released");
    let holder = held(&nodes, "work", other, LONG).await;
    let under = |lease: &Lease, commit: ContestCommit| ContestCommit {
        under: Some(lease.clone()),
        ..commit
    };
    let running = phase(&contest, PhaseKind::Running);
    let answer = nodes.of(0).commit(under(&holder, running)).await;
    assert_eq!(answer.expect("an answer"), Committed::Applied);
    contest.version += 1;
    let judging = phase(&contest, PhaseKind::Judging);
    let answer = nodes.of(1).commit(under(&slept, judging.clone())).await;
    assert_eq!(
        answer.expect("an answer"),
        Committed::Fenced,
        "the right version"
    );
    let row = nodes
        .of(0)
        .get(contest.id)
        .await
        .expect("read")
        .expect("there");
    assert_eq!(
        (row.phase.kind(), row.version),
        (PhaseKind::Running, contest.version)
    );
    // A call without a lease is not fenced, and does not lower the fence.
    let answer = nodes.of(1).commit(judging).await;
    assert_eq!(answer.expect("an answer"), Committed::Applied);
    contest.version += 1;
    let closed = phase(&contest, PhaseKind::Cancelled);
    let answer = nodes.of(0).commit(under(&slept, closed.clone())).await;
    assert_eq!(answer.expect("an answer"), Committed::Fenced);
    let answer = nodes.of(0).commit(under(&holder, closed)).await;
    assert_eq!(
        answer.expect("an answer"),
        Committed::Applied,
        "the same fence goes on"
    );
}

on_both!(
    one_of_sixteen_holds_it,
    it_ends_by_the_databases_clock,
    its_holder_extends_it_under_the_same_fence,
    a_release_frees_that_very_lease,
    names_are_different_where_any_byte_is,
    a_write_under_an_older_fence_is_refused,
);
