//! What a comparison of a large contest costs: the memory of the real program, and its time beside
//! reading both tables once, in order.
//!
//! `GUAFEN_TEST_SIGNUPS` says how large (default 20,000; with 1,000,000, use a release build). Memory is
//! asserted; time is told.

#![allow(clippy::expect_used, reason = "these are tests")]

#[path = "../../production/tests/common/mod.rs"]
mod common;

use common::{Bed, user};
use domain::{ids::ContestId, order::Leg};
use serde_json::Value;
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// What a small contest is compared with, in signups.
const SMALL: usize = 10_000;
/// The most that a large one may take more than a small one, in KiB.
const MORE_KIB: u64 = 64 * 1_024;
/// Rows of one statement.
const CHUNK: usize = 5_000;
/// Rounds whose times are told.
const ROUNDS: usize = 3;

fn signups() -> usize {
    let asked = std::env::var("GUAFEN_TEST_SIGNUPS");
    asked.map_or(20_000, |number| number.parse().expect("a number"))
}

/// A contest with so many viewers who have all paid: rows in the store, transfers and balances in the
/// ledger.
async fn filled(bed: &Bed, name: &str, size: usize) -> ContestId {
    let node = bed.node().await;
    let contest = common::open(&node).await.id;
    let pool = "SELECT account_id FROM account WHERE name = 'pool/";
    let pool = bed.ledger.number(&format!("{pool}{contest}'")).await;
    let pool = pool.expect("the pool account");
    let accounts = bed
        .ledger
        .number("SELECT COALESCE(MAX(account_id), 0) FROM account");
    let first_account = accounts.await.expect("an id") + 1;
    let position = bed.ledger.number("SELECT position FROM progress").await;
    let first_position = position.expect("a position") + 1;
    let numbers: Vec<usize> = (0..size).collect();
    for some in numbers.chunks(CHUNK) {
        let (mut rows, mut people, mut transfers) = (Vec::new(), Vec::new(), Vec::new());
        for number in some {
            let viewer = format!("{name}-{number}");
            let order = Leg::Fee(contest, user(&viewer)).order_id();
            let place = i64::try_from(*number).expect("a number");
            let (account, position) = (first_account + place, first_position + place);
            rows.push(format!(
                "(UNHEX(REPLACE('{contest}', '-', '')), UNHEX(LEFT(SHA2('{viewer}', 256), 32)), '{viewer}', 10, UNHEX('{order}'), \
                 'in_progress', 0, {position}, 1, 2, 1, 1)"
            ));
            people.push(format!("({account}, 'user/{viewer}', 90)"));
            transfers.push(format!(
                "({position}, UNHEX('{order}'), {account}, {pool}, 10, '', 1)"
            ));
        }
        for (database, head, values) in [
            (
                &bed.store,
                "signup (contest_id, signup_id, user_id, fee, fee_order_id, state, tries, fee_position, paid_at, \
                 version, created_at, updated_at)",
                &rows,
            ),
            (&bed.ledger, "account (account_id, name, balance)", &people),
            (
                &bed.ledger,
                "transfer (position, order_id, debit, credit, amount, memo, applied_at)",
                &transfers,
            ),
        ] {
            let statement = format!("INSERT INTO {head} VALUES {}", values.join(", "));
            database.change(&statement).await.expect("rows");
        }
    }
    for statement in [
        format!("UPDATE progress SET position = position + {size}"),
        format!(
            "UPDATE account SET balance = {} WHERE account_id = {pool}",
            size * 10
        ),
    ] {
        bed.ledger.change(&statement).await.expect("a change");
    }
    contest
}

/// What the program said, the most memory that it held, and how long it took.
async fn compared(config: &TempDir, contest: ContestId) -> (Value, u64, Duration) {
    let file = config.path().join("guafen.toml");
    tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_app-reconciler"))
            .args(["once", "--dry-run", "--format", "json", "--contest"])
            .arg(contest.to_string())
            .arg("--config")
            .arg(file)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let status = format!("/proc/{}/status", child.id());
        let mut most = 0;
        while child.try_wait().expect("a child").is_none() {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            most = most.max(kib.unwrap_or(0));
            // The pace of a look, not a wait for something.
            std::thread::park_timeout(Duration::from_millis(5));
        }
        let took = begun.elapsed();
        let output = child.wait_with_output().expect("an output");
        let text = String::from_utf8(output.stdout).expect("text");
        (serde_json::from_str(&text).expect("JSON"), most, took)
    })
    .await
    .expect("an answer")
}

/// Both tables once, in the order in which a comparison reads them.
async fn read_once(bed: &Bed, contest: ContestId) -> Duration {
    let begun = Instant::now();
    let rows = format!(
        "SELECT * FROM signup WHERE contest_id = UNHEX(REPLACE('{contest}', '-', '')) ORDER BY signup_id"
    );
    let transfers = format!(
        "SELECT transfer.*, payer.name AS payer FROM transfer JOIN account AS payer ON payer.account_id = debit \
         WHERE credit = (SELECT account_id FROM account WHERE name = 'pool/{contest}') ORDER BY position"
    );
    let (rows, transfers) = (
        bed.store.read(&rows).await,
        bed.ledger.read(&transfers).await,
    );
    assert_eq!(rows.expect("rows"), transfers.expect("transfers"));
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_streams_in_memory_that_does_not_grow_with_the_contest() {
    let bed = Bed::new().await;
    let places = bed.places();
    let config = TempDir::new().expect("a directory");
    let text = format!(
        "[store]\nurl = \"{}\"\nprofile = \"test\"\n[funds]\nurl = \"{}\"\n",
        places.store, places.funds
    );
    std::fs::write(config.path().join("guafen.toml"), text).expect("a file");
    let large = signups();
    let mut memory = Vec::new();
    for (name, size) in [("small", SMALL), ("large", large)] {
        let contest = filled(&bed, name, size).await;
        for _ in 0..ROUNDS {
            let plain = read_once(&bed, contest).await;
            let (said, kib, took) = compared(&config, contest).await;
            assert_eq!(said["totals"]["signups"], size);
            assert_eq!(said["totals"]["transfers"], size);
            assert_eq!(said["totals"]["differences"], 0, "{said}");
            let hundredths = took.as_micros() * 100 / plain.as_micros().max(1);
            println!(
                "{size} signups: {} ms, {}.{:02} of reading both tables once in order ({} ms); {} MiB",
                took.as_millis(),
                hundredths / 100,
                hundredths % 100,
                plain.as_millis(),
                kib / 1_024
            );
            memory.push(kib);
        }
    }
    let most = |rounds: &[u64]| rounds.iter().copied().max().unwrap_or(0);
    let (small, large) = memory.split_at(ROUNDS);
    assert!(
        most(large) <= most(small) + MORE_KIB,
        "{small:?} and {large:?} KiB"
    );
}
