//! A reconciler that stands still in the middle of paying, past its lease, and goes on.
//!
//! `xtask/patches/without-fence.patch` takes the check away that this test is about; `cargo xtask
//! without-fence` shows that the test is red then.

#![allow(clippy::expect_used, reason = "these are tests")]

#[path = "../../production/tests/common/mod.rs"]
mod common;

use common::{Bed, HOUR, create, now, reach, terms, until, user};
use domain::{contest::PhaseKind, ids::ContestId, terms::ClaimMode};
use futures_util::{StreamExt, stream};
use ports::tasks::TaskEvent;
use std::{path::Path, sync::Arc};
use tempfile::TempDir;
use test_support::{Guarded, Signal};
use usecases::Contests;

/// Enough that paying them takes a while, when every answer of the funds system comes late.
const VIEWERS: usize = 2_000;
/// How late.
const LATE_MS: u64 = 150;

fn viewer(number: usize) -> String {
    format!("viewer-{number}")
}

/// A contest that pays everybody by itself, and that everybody has finished.
async fn finished(bed: &Bed, node: &Arc<Contests>) -> ContestId {
    let from = now(node).await;
    let window = 5_000 + 8 * i64::try_from(VIEWERS).expect("a number");
    let mut terms = terms(from, [window, window + 500, HOUR]);
    terms.claim_mode = ClaimMode::Automatic;
    let contest = create(node, terms, None).await;
    let names: Vec<_> = (0..VIEWERS)
        .map(|number| format!("('user/{}', 100)", viewer(number)))
        .collect();
    let accounts = format!(
        "INSERT INTO account (name, balance) VALUES {}",
        names.join(", ")
    );
    bed.ledger.change(&accounts).await.expect("accounts");
    let mut calls = stream::iter(0..VIEWERS)
        .map(|number| {
            let (node, id) = (Arc::clone(node), contest.id);
            tokio::spawn(async move { common::sign_up(&node, id, &viewer(number)).await })
        })
        .buffer_unordered(64);
    while let Some(done) = calls.next().await {
        done.expect("a signup");
    }
    let at = now(node).await;
    let sender = "game".parse().expect("a sender id");
    let numbers: Vec<usize> = (0..VIEWERS).collect();
    for some in numbers.chunks(1_000) {
        let events: Vec<TaskEvent> = some
            .iter()
            .map(|number| TaskEvent {
                event_id: format!("event-{number}").parse().expect("an id"),
                user_id: user(&viewer(*number)),
                room_id: contest.terms.room_id.clone(),
                kind: contest.terms.task.kind.clone(),
                quantity: 1,
                occurred_at: at,
            })
            .collect();
        let recorded = node.ports().events.record(&sender, &events).await;
        recorded.expect("an answer");
    }
    contest.id
}

/// A reconciler of its own.
fn reconciler(bed: &Bed, dir: &Path, name: &str) -> Guarded {
    let places = bed.places();
    let config = format!(
        "[store]\nurl = \"{}\"\nprofile = \"test\"\n[redis]\nurl = \"{}\"\nbudget_ms = 1000\n[funds]\nurl = \"{}\"\n",
        places.store, places.redis, places.funds
    );
    let file = dir.join(format!("{name}.toml"));
    std::fs::write(&file, config).expect("a file");
    let command = [env!("CARGO_BIN_EXE_app-reconciler"), "run", "--config"];
    let mut command: Vec<String> = command.iter().map(ToString::to_string).collect();
    command.push(file.display().to_string());
    Guarded::spawn(&command, dir, &dir.join(format!("{name}.log"))).expect("it starts")
}

async fn count(bed: &Bed, of: &str) -> i64 {
    let count = bed
        .store
        .number(&format!("SELECT COUNT(*) FROM {of}"))
        .await;
    count.expect("a count")
}

// hazard: H3 H4
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconciler_that_wakes_past_its_lease_writes_nothing_and_everybody_is_paid_once() {
    let bed = Bed::new().await;
    let node = bed.node().await;
    let dir = TempDir::new().expect("a directory");
    let paused = reconciler(&bed, dir.path(), "paused");
    let contest = finished(&bed, &node).await;
    reach(&node, contest, PhaseKind::Claimable).await;
    bed.funds.delay(LATE_MS);
    let paid = "signup WHERE state = 'shared'";
    until("some are paid, and not all", async || {
        let paid = count(&bed, paid).await;
        (paid > 0).then_some(())
    })
    .await;
    paused.signal(Signal::Stop).expect("stopped");
    assert!(count(&bed, paid).await < i64::try_from(VIEWERS).expect("a number"));
    // Its time has passed, and somebody else is at it, slowly.
    for name in [format!("contest/{contest}"), format!("signups/{contest}")] {
        bed.store
            .change(&format!(
                "INSERT INTO lease (name, owner, fence, ends_at) \
                 VALUES ('{name}', UNHEX(REPEAT('9', 32)), 1, 9000000000000) \
                 ON DUPLICATE KEY UPDATE owner = VALUES(owner), fence = fence + 1, ends_at = VALUES(ends_at)"
            ))
            .await
            .expect("a lease");
    }
    let stood = count(&bed, "signup_history").await;
    paused.signal(Signal::Continue).expect("it goes on");
    let log = paused.log().to_owned();
    until("it is refused, or writes what it must not", async || {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let is_refused = text.contains("another node has taken it over");
        (is_refused || count(&bed, "signup_history").await != stood).then_some(())
    })
    .await;
    assert_eq!(
        count(&bed, "signup_history").await,
        stood,
        "nothing is written under a lease that another has"
    );
    // Whoever had it is gone, and a second one comes: between the two everybody is paid, once.
    bed.funds.pass();
    let over = "UPDATE lease SET ends_at = 0 WHERE ends_at = 9000000000000";
    bed.store.change(over).await.expect("a change");
    let second = reconciler(&bed, dir.path(), "second");
    reach(&node, contest, PhaseKind::Closed).await;
    let prizes = format!(
        "SELECT COUNT(*) FROM transfer WHERE debit = \
         (SELECT account_id FROM account WHERE name = 'pool/{contest}')"
    );
    let prizes = bed.ledger.number(&prizes).await.expect("a count");
    assert_eq!(prizes, i64::try_from(VIEWERS).expect("a number"));
    let report = node.report(contest).await.expect("a report");
    let report = report.expect("the contest");
    assert_eq!(report.violations.expect("it is over"), []);
    assert!(paused.is_running() && second.is_running());
}
