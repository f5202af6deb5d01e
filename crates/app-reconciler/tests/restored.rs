//! MySQL restored from a backup that is older than the funds system (hazard I7): by the procedure of
//! docs/operating.md nothing is charged or paid twice, and every contest goes on.

#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use domain::{contest::PhaseKind, ids::ContestId, order::Account, signup::StateKind};
use serde_json::Value;
use std::{path::Path, sync::Arc};
use support::common::{
    self, Bed, HOUR, claim, create, grant, now, reach, sign_up, terms, until, user,
};
use tempfile::TempDir;
use test_support::{Database, Mode};
use tokio::process::Command;
use usecases::{Claimed, Contests, SignedUp};

/// Copies every row beside the schema, as a dump would.
async fn back_up(store: &Database) -> Vec<String> {
    let names = store.tables().await.expect("names");
    for name in &names {
        for statement in [
            format!("CREATE TABLE backup_of_{name} LIKE {name}"),
            format!("INSERT INTO backup_of_{name} SELECT * FROM {name}"),
        ] {
            store.change(&statement).await.expect("a copy");
        }
    }
    names
}

async fn restore(store: &Database, names: &[String]) {
    for name in names {
        for statement in [
            format!("DELETE FROM {name}"),
            format!("INSERT INTO {name} SELECT * FROM backup_of_{name}"),
            format!("DROP TABLE backup_of_{name}"),
        ] {
            store.change(&statement).await.expect("restored");
        }
    }
}

async fn reconcile_all(config: &Path) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_app-reconciler"))
        .args(["once", "--all", "--format", "json", "--config"])
        .arg(config)
        .output()
        .await
        .expect("the program runs");
    let said = String::from_utf8(output.stdout).expect("text");
    let why = String::from_utf8_lossy(&output.stderr);
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said}{why}"))
}

async fn state(node: &Contests, contest: ContestId, name: &str) -> Option<StateKind> {
    let row = node.ports().signups.find(contest, &user(name)).await;
    row.expect("an answer").map(|row| row.state.kind())
}

async fn holds(node: &Contests, name: &str) -> i64 {
    let balance = node.ports().funds.balance(&Account::User(user(name))).await;
    balance.expect("a balance").amount
}

/// A contest whose prizes can be claimed for a second hour; eve and fay have finished.
async fn claimable(node: &Arc<Contests>) -> ContestId {
    let _loops = common::Loops::of(node);
    let from = now(node).await;
    let contest = create(node, terms(from, [2_000, 2_500, HOUR]), None).await;
    let names = ["eve".to_owned(), "fay".to_owned()];
    for name in &names {
        sign_up(node, contest.id, name).await;
    }
    support::all_finish(node, &contest, &names).await;
    reach(node, contest.id, PhaseKind::Claimable).await;
    contest.id
}

// hazard: I7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_from_before_the_funds_system_is_brought_up_to_it() {
    let bed = Bed::new().await;
    let dir = TempDir::new().expect("a directory");
    let config = support::configured(
        &bed,
        dir.path(),
        "guafen",
        "",
        "[reconcile]\nrecorded_within_s = 5",
    );
    let node = bed.node().await;
    for name in ["ann", "bob", "cai", "eve", "fay"] {
        grant(&node, name).await;
    }
    let settled = claimable(&node).await;
    assert!(matches!(
        claim(&node, settled, "fay").await,
        Claimed::Yes(_)
    ));
    let from = now(&node).await;
    let open = create(&node, terms(from, [50_000, 51_000, 52_000]), None).await;
    sign_up(&node, open.id, "ann").await;
    bed.funds.set(Mode::CutAnswers);
    let unknown = node.sign_up(open.id, &user("cai"), None).await;
    assert!(matches!(unknown, Ok(SignedUp::Pending(_))), "{unknown:?}");
    bed.funds.pass();

    let backup = back_up(&bed.store).await;
    sign_up(&node, open.id, "bob").await;
    sign_up(&node, open.id, "cai").await;
    assert!(matches!(
        claim(&node, settled, "eve").await,
        Claimed::Yes(_)
    ));
    let before: Vec<i64> = [
        holds(&node, "bob").await,
        holds(&node, "cai").await,
        holds(&node, "eve").await,
    ]
    .into();
    assert_eq!(before, [90, 90, 100]);
    // Everybody stops, the database is lost, an old one is put in its place, and Redis is emptied.
    drop(node);
    restore(&bed.store, &backup).await;
    bed.flush().await;
    let node = bed.node().await;
    assert_eq!(state(&node, open.id, "bob").await, None);
    assert_eq!(
        state(&node, open.id, "cai").await,
        Some(StateKind::Initialized)
    );
    assert_eq!(
        state(&node, settled, "eve").await,
        Some(StateKind::Completed)
    );

    // Before anybody else runs, until nothing more is repaired: what applied less than five seconds ago
    // may be under way.
    let run = until("cai's fee is recorded", async || {
        let run = reconcile_all(&config).await;
        let is_recorded = state(&node, open.id, "cai").await != Some(StateKind::Initialized);
        is_recorded.then_some(run)
    })
    .await;
    let found = |run: &Value, class: &str, name: &str| {
        let findings = run["findings"].as_array().expect("findings");
        findings
            .iter()
            .any(|one| one["class"] == class && one["user_id"] == name)
    };
    assert!(found(&run, "ORPHAN_TRANSFER", "bob"), "{run}");
    assert!(found(&run, "ORPHAN_TRANSFER", "eve"), "{run}");

    // Then traffic: who repeats gets what they had, and pays and is paid no second time.
    let _loops = common::Loops::of(&node);
    sign_up(&node, open.id, "bob").await;
    let claimed = claim(&node, settled, "eve").await;
    assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
    let after: Vec<i64> = [
        holds(&node, "bob").await,
        holds(&node, "cai").await,
        holds(&node, "eve").await,
    ]
    .into();
    assert_eq!(after, before);
    assert_eq!(state(&node, settled, "eve").await, Some(StateKind::Shared));
    let names = ["ann", "bob", "cai"].map(str::to_owned);
    until("everybody has the task", async || {
        for name in &names {
            if state(&node, open.id, name).await != Some(StateKind::InProgress) {
                return None;
            }
        }
        Some(())
    })
    .await;
    support::all_finish(&node, &open, &names).await;
    reach(&node, open.id, PhaseKind::Closed).await;
    for name in &names {
        assert_eq!(holds(&node, name).await, 100);
    }
    support::is_exact(&node, open.id).await;
    // The last comparison finds nothing any more, and settles what was found.
    let run = reconcile_all(&config).await;
    assert_eq!(run["totals"]["differences"], 0, "{run}");
    let open = node.ports().findings.open().await.expect("an answer");
    assert!(open.is_empty(), "{open:?}");
}
