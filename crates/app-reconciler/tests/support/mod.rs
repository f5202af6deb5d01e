//! Reconcilers as processes of their own, and contests for them to settle.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    reason = "these are tests, and each file uses some of it"
)]

#[path = "../../../production/tests/common/mod.rs"]
pub mod common;

use common::{Bed, now, user};
use domain::{
    contest::{Contest, PhaseKind},
    ids::ContestId,
};
use futures_util::{StreamExt, stream};
use ports::tasks::TaskEvent;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use test_support::Guarded;
use usecases::Contests;

/// The configuration of a reconciler, with some more lines; the file.
pub fn configured(bed: &Bed, dir: &Path, name: &str, funds: &str, more: &str) -> PathBuf {
    let places = bed.places();
    let config = format!(
        "[store]\nurl = \"{}\"\nprofile = \"test\"\n[redis]\nurl = \"{}\"\nbudget_ms = 1000\n\
         [funds]\nurl = \"{}\"\n{funds}\n{more}\n",
        places.store, places.redis, places.funds
    );
    let file = dir.join(format!("{name}.toml"));
    std::fs::write(&file, config).expect("a file");
    file
}

/// A reconciler of its own.
pub fn reconciler(dir: &Path, name: &str, config: &Path, more: &[&str]) -> Guarded {
    let mut command = vec![env!("CARGO_BIN_EXE_app-reconciler").to_owned()];
    command.extend(["run", "--config"].map(str::to_owned));
    command.push(config.display().to_string());
    command.extend(more.iter().map(ToString::to_string));
    Guarded::spawn(&command, dir, &dir.join(format!("{name}.log"))).expect("it starts")
}

/// So many accounts with 100 coins, made in the ledger at once.
pub async fn accounts(bed: &Bed, names: &[String]) {
    for some in names.chunks(5_000) {
        let rows: Vec<_> = some
            .iter()
            .map(|name| format!("('user/{name}', 100)"))
            .collect();
        let statement = format!(
            "INSERT INTO account (name, balance) VALUES {}",
            rows.join(", ")
        );
        bed.ledger.change(&statement).await.expect("accounts");
    }
    // Whatever they hold was issued.
    let issued = format!(
        "UPDATE account SET balance = balance - {} WHERE name = 'platform/issuing'",
        names.len() * 100
    );
    bed.ledger.change(&issued).await.expect("a change");
}

/// Signs everybody up, many at once.
pub async fn all_sign_up(node: &Arc<Contests>, contest: ContestId, names: &[String]) {
    let mut calls = stream::iter(names.to_vec())
        .map(|name| {
            let node = Arc::clone(node);
            tokio::spawn(async move { common::sign_up(&node, contest, &name).await })
        })
        .buffer_unordered(64);
    while let Some(done) = calls.next().await {
        done.expect("a signup");
    }
}

/// Everybody opens a chest, now.
pub async fn all_finish(node: &Contests, contest: &Contest, names: &[String]) {
    let at = now(node).await;
    let sender = "game".parse().expect("a sender id");
    for some in names.chunks(1_000) {
        let events: Vec<TaskEvent> = some
            .iter()
            .map(|name| TaskEvent {
                event_id: format!("chest-of-{name}").parse().expect("an id"),
                user_id: user(name),
                room_id: contest.terms.room_id.clone(),
                kind: contest.terms.task.kind.clone(),
                quantity: 1,
                occurred_at: at,
            })
            .collect();
        let recorded = node.ports().events.record(&sender, &events).await;
        recorded.expect("an answer");
    }
}

pub async fn phase(node: &Contests, contest: ContestId) -> PhaseKind {
    common::contest(node, contest).await.phase.kind()
}

/// That every invariant of a contest that is over holds.
pub async fn is_exact(node: &Contests, contest: ContestId) {
    let report = node.report(contest).await.expect("a report");
    let report = report.expect("the contest");
    assert_eq!(report.violations.expect("it is over"), []);
}
