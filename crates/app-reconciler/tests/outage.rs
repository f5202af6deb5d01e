//! The funds system goes away in the middle of signups, settling and payouts, and comes back: everything
//! ends by itself, and nobody is met by a herd.
//!
//! `GUAFEN_TEST_OUTAGE_S` says for how long (default 12; the proof takes 300).

#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use domain::{
    contest::{Contest, PhaseKind},
    ids::ContestId,
    signup::StateKind,
    terms::ClaimMode,
    time::UnixMillis,
};
use futures_util::future::join_all;
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use support::common::{self, Bed, HOUR, create, now, terms, until, user};
use tempfile::TempDir;
use test_support::{Guarded, Mode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::interval,
};
use usecases::Contests;

/// The bound of each reconciler.
const CALLS_PER_S: u64 = 40;
/// Who is being paid when it goes away: enough that it takes a while when every answer is late.
const PAID: usize = 1_500;
const LATE_MS: u64 = 150;
/// Who is judged meanwhile.
const JUDGED: usize = 200;
/// Who has signed up before, and who tries meanwhile.
const EARLY: usize = 50;
const LATE: usize = 100;
/// What a wait may take at most beyond what it waits for.
const PATIENCE: Duration = Duration::from_secs(120);

fn outage() -> Duration {
    let asked = std::env::var("GUAFEN_TEST_OUTAGE_S");
    let seconds = asked.map_or(12, |text| text.parse().expect("a number of seconds"));
    Duration::from_secs(seconds)
}

/// How many calls had left a reconciler, between two moments.
#[derive(Clone, Copy, Debug)]
struct Sample {
    before: Instant,
    after: Instant,
    calls: u64,
}

/// A reconciler, and how often it called.
struct Watched {
    process: Guarded,
    metrics: String,
    samples: Vec<Sample>,
}

impl Watched {
    async fn start(dir: &Path, name: &str, config: &Path) -> Self {
        let more = ["--metrics-listen", "127.0.0.1:0"];
        let process = support::reconciler(dir, name, config, &more);
        let metrics = until("it says where its metrics are", async || {
            let said = std::fs::read_to_string(process.log()).unwrap_or_default();
            let line = said
                .lines()
                .find_map(|line| line.strip_prefix("metrics on http://"))?;
            line.strip_suffix("/metrics").map(str::to_owned)
        })
        .await;
        Self {
            process,
            metrics,
            samples: Vec::new(),
        }
    }

    async fn sample(&mut self) {
        let before = Instant::now();
        let text = get(&self.metrics, "/metrics").await;
        // What its breaker kept, and what nobody listened to, was no call.
        let calls = text
            .lines()
            .filter(|line| line.starts_with("guafen_funds_rpc_calls_total{"))
            .filter(|line| line.contains("\"answered\"") || line.contains("\"unknown\""))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum();
        self.samples.push(Sample {
            before,
            after: Instant::now(),
            calls,
        });
    }

    /// The most calls that can have left in some stretch, for one second of it.
    fn busiest(&self) -> u64 {
        let mut most = 0;
        for (index, first) in self.samples.iter().enumerate() {
            for last in &self.samples[index + 1..] {
                let took = last.after - first.before;
                let seconds = took.as_millis().div_ceil(1_000).max(1);
                let calls = u128::from(last.calls - first.calls);
                most = most.max(calls.div_ceil(seconds));
            }
        }
        u64::try_from(most).expect("a number")
    }
}

/// An answer over HTTP, head and all.
async fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let ask = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(ask.as_bytes()).await.expect("asked");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("an answer");
    text
}

fn names(of: &str, count: usize) -> Vec<String> {
    (0..count).map(|number| format!("{of}-{number}")).collect()
}

async fn contest(node: &Contests, from: UnixMillis, close_s: i64, tasks_s: i64) -> Contest {
    let mut terms = terms(from, [close_s * 1_000, tasks_s * 1_000, 24 * HOUR]);
    terms.claim_mode = ClaimMode::Automatic;
    create(node, terms, None).await
}

async fn count(bed: &Bed, contest: ContestId, what: &str) -> usize {
    let query = format!(
        "SELECT COUNT(*) FROM signup WHERE contest_id = UNHEX(REPLACE('{contest}', '-', '')) AND {what}"
    );
    let count = bed.store.number(&query).await.expect("a count");
    usize::try_from(count).expect("a count")
}

/// Looks at the reconcilers until something is so, or for a time.
async fn watching(
    reconcilers: &mut [Watched],
    at_most: Duration,
    mut is_so: impl AsyncFnMut() -> bool,
) -> bool {
    let begun = Instant::now();
    let mut ticks = interval(Duration::from_millis(250));
    while begun.elapsed() < at_most {
        ticks.tick().await;
        join_all(reconcilers.iter_mut().map(Watched::sample)).await;
        if is_so().await {
            return true;
        }
    }
    false
}

// hazard: H13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_outage_everything_ends_by_itself_and_nobody_is_met_by_a_herd() {
    let outage = outage();
    let bed = Bed::new().await;
    let node = bed.node().await;
    let dir = TempDir::new().expect("a directory");
    let bound = format!("calls_per_s = {CALLS_PER_S}");
    let config = support::configured(&bed, dir.path(), "guafen", &bound, "");
    let mut reconcilers = [
        Watched::start(dir.path(), "first", &config).await,
        Watched::start(dir.path(), "second", &config).await,
    ];
    let (paid, judged) = (names("paid", PAID), names("judged", JUDGED));
    let (early, late) = (names("early", EARLY), names("late", LATE));
    let all = [paid.clone(), judged.clone(), early.clone(), late.clone()].concat();
    support::accounts(&bed, &all).await;

    let from = now(&node).await;
    let signup_s = 20;
    let payouts = contest(&node, from, signup_s, signup_s).await;
    let settling = contest(&node, from, signup_s + 3, signup_s + 3).await;
    // A row that has found no answer for long comes back after twice as long at most, or a minute.
    let outage_s = i64::try_from(outage.as_secs()).expect("seconds");
    let back_s = (2 * outage_s).min(80) + 25;
    let end_s = signup_s + 5 + outage_s + back_s;
    let signups = contest(&node, from, end_s, end_s + 1).await;
    support::all_sign_up(&node, payouts.id, &paid).await;
    support::all_finish(&node, &payouts, &paid).await;
    support::all_sign_up(&node, settling.id, &judged).await;
    support::all_finish(&node, &settling, &judged).await;
    support::all_sign_up(&node, signups.id, &early).await;
    assert_eq!(
        support::phase(&node, payouts.id).await,
        PhaseKind::Draft,
        "too slow: more seconds"
    );

    bed.funds.delay(LATE_MS);
    let is_paying = async || count(&bed, payouts.id, "state = 'shared'").await > 0;
    assert!(watching(&mut reconcilers, PATIENCE, is_paying).await);
    bed.funds.set(Mode::CutRequests);
    bed.funds.cut_now();
    let begun = Instant::now();
    let left = PAID - count(&bed, payouts.id, "state = 'shared'").await;
    assert!(left > 0, "it went away too late");
    let tries = late.iter().map(|name| {
        let (node, id, name) = (Arc::clone(&node), signups.id, user(name));
        async move { node.sign_up(id, &name, None).await }
    });
    // Nobody knows, and nobody comes back to ask.
    join_all(tries).await;
    watching(
        &mut reconcilers,
        outage.saturating_sub(begun.elapsed()),
        async || false,
    )
    .await;
    assert_eq!(count(&bed, signups.id, "state = 'initialized'").await, LATE);
    assert!(support::phase(&node, settling.id).await != PhaseKind::Closed);

    bed.funds.pass();
    let back = Instant::now();
    let is_paid = async || count(&bed, signups.id, "state = 'in_progress'").await == EARLY + LATE;
    assert!(watching(&mut reconcilers, PATIENCE, is_paid).await);
    println!(
        "all who had signed up meanwhile were in after {} s",
        back.elapsed().as_secs()
    );
    let all = [early, late].concat();
    support::all_finish(&node, &signups, &all).await;
    for id in [payouts.id, settling.id, signups.id] {
        let is_over = async || support::phase(&node, id).await == PhaseKind::Closed;
        assert!(watching(&mut reconcilers, PATIENCE, is_over).await);
        println!("{id} was over {} s after", back.elapsed().as_secs());
        support::is_exact(&node, id).await;
        let all = count(&bed, id, "TRUE").await;
        let shared = format!("state = '{}'", StateKind::Shared.name());
        assert_eq!(count(&bed, id, &shared).await, all);
    }
    // Whoever was called because of it need not look any more.
    let is_settled = async || {
        let open = node.ports().findings.open().await;
        open.is_ok_and(|open| open.is_empty())
    };
    assert!(watching(&mut reconcilers, PATIENCE, is_settled).await);
    for watched in &reconcilers {
        assert!(watched.process.is_running());
        let busiest = watched.busiest();
        println!(
            "at most {busiest} calls in a second of any stretch; {CALLS_PER_S} are allowed; {} in all",
            watched.samples.last().map_or(0, |sample| sample.calls)
        );
        assert!(busiest <= CALLS_PER_S, "{busiest}");
    }
    assert_eq!(
        get(&reconcilers[0].metrics, "/readyz").await.lines().next(),
        Some("HTTP/1.1 200 OK")
    );
    common::until("nothing is left to be told", async || {
        let left = bed.store.number("SELECT COUNT(*) FROM outbox").await;
        (left.expect("a count") == 0).then_some(())
    })
    .await;
}
