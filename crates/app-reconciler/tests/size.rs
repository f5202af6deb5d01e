//! What a large contest costs: the memory of the real program and its time for a comparison, and for the results of
//! an experiment, beside reading both tables once, in order; and how many signups a second two reconcilers judge
//! and pay.
//!
//! `GUAFEN_TEST_SIGNUPS` says how large (default 20,000, and 2,000 to be settled; with 1,000,000, use a
//! release build). Memory is asserted; time is told.

#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use domain::{
    contest::PhaseKind,
    experiment::{Changes, Definition, Metric, Unit, Variant},
    ids::ContestId,
    order::Leg,
    terms::{BasisPoints, ClaimMode, Terms},
};
use serde_json::Value;
use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use support::common::{Bed, HOUR, create, now, terms, user};
use tempfile::TempDir;
use usecases::experiments::Made;

/// What a small contest is compared with, in signups.
const SMALL: usize = 10_000;
/// The most that a large one may take more than a small one, in KiB.
const MORE_KIB: u64 = 64 * 1_024;
/// Rows of one statement.
const CHUNK: usize = 5_000;
/// The longest that a contest may take to be settled and paid.
const PATIENCE: Duration = Duration::from_secs(3_600);
/// Rounds whose times are told.
const ROUNDS: usize = 3;

fn signups(by_default: usize) -> usize {
    let asked = std::env::var("GUAFEN_TEST_SIGNUPS");
    asked.map_or(by_default, |number| number.parse().expect("a number"))
}

fn hour(from: domain::time::UnixMillis) -> Terms {
    terms(from, [HOUR, HOUR, 2 * HOUR])
}

/// A contest with so many viewers who have all paid: rows in the store, transfers and balances in the
/// ledger.
async fn filled(bed: &Bed, name: &str, size: usize, terms: Terms) -> ContestId {
    let node = bed.node().await;
    let contest = create(&node, terms, None).await.id;
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
async fn told(config: &TempDir, asked: &[&str]) -> (Value, u64, Duration) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app-reconciler"));
    command
        .args(asked)
        .args(["--format", "json", "--config"])
        .arg(config.path().join("guafen.toml"))
        .stdout(Stdio::piped());
    tokio::task::spawn_blocking(move || {
        let begun = Instant::now();
        let mut child = command.spawn().expect("the program runs");
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

/// A store and a funds system, and a directory with the program's configuration for them.
async fn configured() -> (Bed, TempDir) {
    let bed = Bed::new().await;
    let places = bed.places();
    let config = TempDir::new().expect("a directory");
    let text = format!(
        "[store]\nurl = \"{}\"\nprofile = \"test\"\n[funds]\nurl = \"{}\"\n",
        places.store, places.funds
    );
    std::fs::write(config.path().join("guafen.toml"), text).expect("a file");
    (bed, config)
}

/// Tells how long something took beside a plain reading of the same rows.
fn tell(what: &str, took: Duration, plain: Duration, kib: u64) {
    let hundredths = took.as_micros() * 100 / plain.as_micros().max(1);
    println!(
        "{what}: {} ms, {}.{:02} of reading both tables once in order ({} ms); {} MiB",
        took.as_millis(),
        hundredths / 100,
        hundredths % 100,
        plain.as_millis(),
        kib / 1_024
    );
}

/// Holds the memory for the large one against that for the small one, each in the same number of rounds.
fn assert_flat(memory: &[u64]) {
    let most = |rounds: &[u64]| rounds.iter().copied().max().unwrap_or(0);
    let (small, large) = memory.split_at(ROUNDS);
    assert!(
        most(large) <= most(small) + MORE_KIB,
        "{small:?} and {large:?} KiB"
    );
}

/// Both tables once, in the order in which a comparison reads them.
async fn read_once(bed: &Bed, contest: &str) -> Duration {
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
    let (bed, config) = configured().await;
    let large = signups(20_000);
    let mut memory = Vec::new();
    for (name, size) in [("small", SMALL), ("large", large)] {
        let node = bed.node().await;
        let terms = hour(now(&node).await);
        let contest = filled(&bed, name, size, terms).await.to_string();
        for _ in 0..ROUNDS {
            let plain = read_once(&bed, &contest).await;
            let asked = ["once", "--dry-run", "--contest", &contest];
            let (said, kib, took) = told(&config, &asked).await;
            assert_eq!(said["totals"]["signups"], size);
            assert_eq!(said["totals"]["transfers"], size);
            assert_eq!(said["totals"]["differences"], 0, "{said}");
            tell(&format!("{size} signups"), took, plain, kib);
            memory.push(kib);
        }
    }
    assert_flat(&memory);
}

/// An experiment that half of a contest's viewers met with each variant, and whether they signed up is all that
/// differs: of the treated every second one is not there.
async fn met(bed: &Bed, name: &str, contest: ContestId) {
    let node = bed.node().await;
    let variant = |name: &str| Variant {
        name: name.parse().expect("a name"),
        share: BasisPoints::new(5_000).expect("basis points"),
        changes: Changes::default(),
        display: None,
    };
    let definition = Definition {
        hypothesis: "it is large".to_owned(),
        unit: Unit::User,
        variants: vec![variant("control"), variant("treated")],
        rooms: Vec::new(),
        task_kinds: Vec::new(),
        starts_at: None,
        ends_at: now(&node).await.plus(24 * HOUR),
        primary: Metric::Paid,
        guardrails: Vec::new(),
        planned_units: 1_000_000,
        min_units: 100,
        alpha: BasisPoints::new(500).expect("basis points"),
    };
    let made = node
        .make_experiment(name.parse().expect("a name"), definition, user("olga"))
        .await;
    assert!(matches!(made, Ok(Made::Yes(_))), "{made:?}");
    let contest = format!("UNHEX(REPLACE('{contest}', '-', ''))");
    let number = "CAST(SUBSTRING_INDEX(user_id, '-', -1) AS UNSIGNED)";
    // In parts, because a statement has to end in time.
    for digit in "0123456789ABCDEF".chars() {
        let part = format!("contest_id = {contest} AND LEFT(HEX(signup_id), 1) = '{digit}'");
        for statement in [
            format!(
                "INSERT INTO exposure (experiment, unit, contest_id, user_id, variant, met_at) \
                 SELECT '{name}', user_id, contest_id, user_id, IF({number} % 2 = 0, 'control', 'treated'), 1 \
                 FROM signup WHERE {part}"
            ),
            format!(
                "UPDATE signup SET variants = IF({number} % 2 = 0, '{name}:control', '{name}:treated') WHERE {part}"
            ),
            format!("DELETE FROM signup WHERE {part} AND {number} % 4 = 1"),
        ] {
            bed.store.change(&statement).await.expect("a change");
        }
    }
}

/// Whoever met an experiment and what they did once, in order.
async fn read_met_once(bed: &Bed, name: &str, contest: ContestId) -> Duration {
    let begun = Instant::now();
    for statement in [
        format!(
            "SELECT * FROM exposure WHERE experiment = '{name}' ORDER BY unit, contest_id, user_id"
        ),
        format!(
            "SELECT * FROM signup WHERE contest_id = UNHEX(REPLACE('{contest}', '-', '')) ORDER BY signup_id"
        ),
    ] {
        bed.store.read(&statement).await.expect("rows");
    }
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn results_stream_in_memory_that_does_not_grow_with_who_met_the_experiment() {
    let (bed, config) = configured().await;
    let large = signups(20_000);
    let mut memory = Vec::new();
    for (name, size) in [("small", SMALL), ("large", large)] {
        let node = bed.node().await;
        let terms = hour(now(&node).await);
        let contest = filled(&bed, name, size, terms).await;
        met(&bed, name, contest).await;
        for _ in 0..ROUNDS {
            let plain = read_met_once(&bed, name, contest).await;
            let (said, kib, took) = told(&config, &["experiment", "report", name]).await;
            let (control, treated) = (&said["arms"][0], &said["arms"][1]);
            assert_eq!(control["units"], size.div_ceil(2), "{said}");
            assert_eq!(control["paid"], control["units"]);
            assert_eq!(treated["units"], size / 2);
            assert_eq!(treated["paid"], size / 4);
            assert_eq!(said["crossed_units"], 0);
            assert_eq!(said["comparisons"][0]["verdict"], "worse");
            tell(&format!("{size} met it"), took, plain, kib);
            memory.push(kib);
        }
    }
    assert_flat(&memory);
}

/// Every second viewer has finished, in SQL.
async fn half_finish(bed: &Bed, contest: ContestId, name: &str, size: usize) {
    let numbers: Vec<usize> = (0..size).step_by(2).collect();
    for some in numbers.chunks(CHUNK) {
        let rows: Vec<String> = some
            .iter()
            .map(|number| {
                format!(
                    "(UNHEX(REPLACE('{contest}', '-', '')), '{name}-{number}', 2, 'game', 'event-{number}', 1)"
                )
            })
            .collect();
        let statement = format!(
            "INSERT INTO task_progress (contest_id, user_id, occurred_at, sender_id, event_id, quantity) \
             VALUES {}",
            rows.join(", ")
        );
        bed.store.change(&statement).await.expect("rows");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_contest_is_settled_and_paid_by_two_reconcilers() {
    let size = signups(2_000);
    let bed = Bed::new().await;
    let node = bed.node().await;
    let dir = TempDir::new().expect("a directory");
    let config = support::configured(&bed, dir.path(), "guafen", "", "");
    let mut terms = hour(now(&node).await);
    terms.claim_mode = ClaimMode::Automatic;
    let contest = filled(&bed, "viewer", size, terms).await;
    half_finish(&bed, contest, "viewer", size).await;
    let over = "UPDATE contest SET signup_closes_at = signup_opens_at + 1, tasks_end_at = signup_opens_at + 2, \
                claim_closes_at = signup_opens_at + 3, wake_at = 0, version = version + 1";
    bed.store.change(over).await.expect("a change");
    let begun = Instant::now();
    let reconcilers =
        ["first", "second"].map(|name| support::reconciler(dir.path(), name, &config, &[]));
    let mut reached: Vec<(PhaseKind, Duration)> = Vec::new();
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    while reached
        .last()
        .is_none_or(|(phase, _)| *phase != PhaseKind::Closed)
    {
        ticks.tick().await;
        let phase = support::phase(&node, contest).await;
        if reached.last().is_none_or(|(last, _)| *last != phase) {
            reached.push((phase, begun.elapsed()));
        }
        assert!(reconcilers.iter().all(test_support::Guarded::is_running));
        assert!(begun.elapsed() < PATIENCE, "{reached:?}");
    }
    let at = |wanted: PhaseKind| {
        let found = reached.iter().find(|(phase, _)| *phase >= wanted);
        found.map_or(Duration::ZERO, |(_, at)| *at)
    };
    let rate = |count: usize, from: PhaseKind, to: PhaseKind| {
        let took = at(to).saturating_sub(at(from));
        let per_s = count as u128 * 1_000 / took.as_millis().max(1);
        (took.as_millis(), per_s)
    };
    let (judging, listing) = (PhaseKind::Judging, PhaseKind::Listing);
    let (claimable, closed) = (PhaseKind::Claimable, PhaseKind::Closed);
    let finishers = size.div_ceil(2);
    for (what, count, from, to) in [
        ("judged", size, judging, listing),
        (
            "written to the sheet and read back",
            finishers,
            listing,
            claimable,
        ),
        ("paid", finishers, claimable, closed),
    ] {
        let (took, per_s) = rate(count, from, to);
        println!("{size} signups: {count} {what} in {took} ms, {per_s} a second");
    }
    let pool = format!("(SELECT account_id FROM account WHERE name = 'pool/{contest}')");
    let left = format!("SELECT balance FROM account WHERE account_id = {pool}");
    assert_eq!(bed.ledger.number(&left).await.expect("a balance"), 0);
    let paid = format!("SELECT COUNT(*) FROM transfer WHERE debit = {pool}");
    let paid = bed.ledger.number(&paid).await.expect("a count");
    assert_eq!(usize::try_from(paid).expect("a count"), finishers);
    // Fees of 10 from everybody, split by half of them.
    let amounts =
        format!("SELECT COUNT(DISTINCT amount) FROM transfer WHERE debit = {pool} AND amount = 20");
    assert_eq!(bed.ledger.number(&amounts).await.expect("a count"), 1);
}
