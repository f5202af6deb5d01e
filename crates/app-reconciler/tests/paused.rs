//! A reconciler that stands still in the middle of paying, past its lease, and goes on.
//!
//! `xtask/patches/without-fence.patch` takes the check away that this test is about; `cargo xtask
//! without-fence` shows that the test is red then.

#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use domain::{contest::PhaseKind, ids::ContestId, terms::ClaimMode};
use std::sync::Arc;
use support::common::{Bed, HOUR, create, now, reach, terms, until};
use tempfile::TempDir;
use test_support::Signal;
use usecases::Contests;

/// Enough that paying them takes a while, when every answer of the funds system comes late.
const VIEWERS: usize = 2_000;
/// How late.
const LATE_MS: u64 = 150;

/// A contest that pays everybody by itself, and that everybody has finished.
async fn finished(bed: &Bed, node: &Arc<Contests>) -> ContestId {
    let from = now(node).await;
    let window = 5_000 + 8 * i64::try_from(VIEWERS).expect("a number");
    let mut terms = terms(from, [window, window + 500, HOUR]);
    terms.claim_mode = ClaimMode::Automatic;
    let contest = create(node, terms, None).await;
    let names: Vec<String> = (0..VIEWERS)
        .map(|number| format!("viewer-{number}"))
        .collect();
    support::accounts(bed, &names).await;
    support::all_sign_up(node, contest.id, &names).await;
    support::all_finish(node, &contest, &names).await;
    contest.id
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
    let config = support::configured(&bed, dir.path(), "guafen", "", "");
    let paused = support::reconciler(dir.path(), "paused", &config, &[]);
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
    let first_range = format!("sweep/{contest}/{}", uuid::Uuid::nil());
    let parts = (0..4).map(|part| format!("signups/{contest}/{part}"));
    for name in parts.chain([format!("contest/{contest}"), first_range]) {
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
    let second = support::reconciler(dir.path(), "second", &config, &[]);
    reach(&node, contest, PhaseKind::Closed).await;
    let prizes = format!(
        "SELECT COUNT(*) FROM transfer WHERE debit = \
         (SELECT account_id FROM account WHERE name = 'pool/{contest}')"
    );
    let prizes = bed.ledger.number(&prizes).await.expect("a count");
    assert_eq!(prizes, i64::try_from(VIEWERS).expect("a number"));
    support::is_exact(&node, contest).await;
    assert!(paused.is_running() && second.is_running());
}
