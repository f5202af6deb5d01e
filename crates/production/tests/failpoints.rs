//! A node that crashes at a failpoint, its store being MySQL: everybody repeats what they asked for,
//! another node goes on, and the books are exact.
//!
//! `GUAFEN_FAILPOINT_PASSES` (`1,2,5`) says at which passes; with `GUAFEN_FAILPOINT_ALL=1` every
//! point crashes, not only those of the store.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use checker::{Books, Scope, Source, check_books};
use common::{Bed, Loops, Places, claim, create, grant, node, reach, until, user};
use domain::{
    contest::{Contest, PhaseKind},
    ids::ContestId,
    order::Account,
    signup::{Signup, StateKind},
    time::UnixMillis,
};
use futures_util::{StreamExt, future::join_all, stream};
use ports::{
    failpoint::Failpoint,
    tasks::{EventOutcome, TaskEvent},
};
use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    process::{Output, Stdio},
    sync::Arc,
};
use tokio::{
    process::Command,
    time::{Duration, timeout},
};
use usecases::{Claimed, Contests, SignedUp};

const CHILD: &str = "GUAFEN_TEST_CHILD";
/// Those who finish, then those who do not.
const NAMES: [&str; 6] = ["ann", "bob", "cai", "dan", "eve", "fay"];
const FINISHERS: usize = 4;
/// How many runs there are at a time. They mostly wait for their windows.
const AT_ONCE: usize = 6;
/// The longest that one node plays.
const PLAY_MAX: Duration = Duration::from_secs(120);
const SIGABRT: i32 = 6;

/// The same one for whoever asks: its key stands for one contest.
async fn the_contest(node: &Contests, from: UnixMillis) -> Contest {
    let terms = common::terms(from, [6_000, 6_500, 9_000]);
    create(node, terms, Some("the-contest")).await
}

/// What is told to callers of the node that crashes.
fn tell(kind: &str, name: &str) {
    if std::env::var(CHILD).is_ok() {
        println!("\nacknowledged: {kind} {name}");
    }
}

async fn sign_up_at_last(node: &Contests, id: ContestId, name: &str) {
    until("the signup", async || {
        match node.sign_up(id, &user(name), None).await {
            Ok(SignedUp::Yes(_)) => Some(()),
            Ok(SignedUp::Pending(_)) | Err(_) => None,
            Ok(other) => panic!("{name}: {other:?}"),
        }
    })
    .await;
    tell("signup", name);
}

async fn finish(node: &Contests, contest: &Contest, name: &str) {
    let event = TaskEvent {
        event_id: format!("chest-of-{name}").parse().expect("an event id"),
        user_id: user(name),
        room_id: contest.terms.room_id.clone(),
        kind: contest.terms.task.kind.clone(),
        quantity: 1,
        // After every signup, and the same whoever sends it again.
        occurred_at: contest.terms.tasks_end_at.plus(-1),
    };
    let sender = "game".parse().expect("a sender id");
    until("the event", async || {
        let outcomes = node
            .ports()
            .events
            .record(&sender, std::slice::from_ref(&event))
            .await;
        let outcome = outcomes.ok()?[0];
        matches!(outcome, EventOutcome::Accepted | EventOutcome::Duplicate).then_some(())
    })
    .await;
}

/// A contest from its creation to its end, by a node that may crash anywhere, or by one that does
/// all of it again.
async fn play(node: &Arc<Contests>, from: UnixMillis) -> ContestId {
    let _loops = Loops::of(node);
    let contest = the_contest(node, from).await;
    let id = contest.id;
    join_all(NAMES.map(|name| sign_up_at_last(node, id, name))).await;
    for name in &NAMES[..FINISHERS] {
        finish(node, &contest, name).await;
    }
    until("prizes", async || {
        let phase = common::contest(node, id).await.phase.kind();
        matches!(phase, PhaseKind::Claimable | PhaseKind::Closed).then_some(())
    })
    .await;
    join_all(NAMES[..FINISHERS].iter().map(async |name| {
        // Who comes too late is paid at the close.
        if let Claimed::Yes(_) = claim(node, id, name).await {
            tell("claim", name);
        }
    }))
    .await;
    reach(node, id, PhaseKind::Closed).await;
    id
}

/// The node that crashes. Without the variable it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_may_crash() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let [store, redis, funds, from] = told.split('|').collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    let places = Places {
        store: store.to_owned(),
        redis: redis.to_owned(),
        funds: funds.to_owned(),
        webhook: None,
    };
    let from = UnixMillis(from.parse().expect("a time"));
    play(&node(places.ports().await), from).await;
}

async fn crash(bed: &Bed, from: UnixMillis, point: &str, pass: u32) -> Output {
    let Places {
        store,
        redis,
        funds,
        webhook: _,
    } = bed.places();
    let child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "a_node_that_may_crash", "--nocapture"])
        .env(CHILD, format!("{store}|{redis}|{funds}|{}", from.0))
        .env("GUAFEN_FAILPOINT", format!("{point}:{pass}"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(PLAY_MAX, child).await.expect("an end in time");
    output.expect("a process")
}

async fn row(node: &Contests, id: ContestId, name: &str) -> Option<Signup> {
    let found = node.ports().signups.find(id, &user(name)).await;
    found.expect("an answer")
}

/// One crash and what comes after it; true if the node got to the point.
async fn crash_and_go_on(point: &'static str, pass: u32) -> bool {
    let what = format!("{point}:{pass}");
    let bed = Bed::new().await;
    let other = bed.node().await;
    for name in NAMES {
        grant(&other, name).await;
    }
    let from = common::now(&other).await;
    let output = crash(&bed, from, point, pass).await;
    let said = String::from_utf8_lossy(&output.stdout);
    let is_reached = output.status.signal() == Some(SIGABRT);
    assert!(
        is_reached || output.status.success(),
        "{what}: {said}{}",
        String::from_utf8_lossy(&output.stderr)
    );

    // What was acknowledged is there before anybody repeats anything.
    let acknowledged = |kind: &str| -> Vec<&str> {
        let prefix = format!("acknowledged: {kind} ");
        let lines = said.lines();
        NAMES
            .into_iter()
            .filter(|name| lines.clone().any(|line| line == format!("{prefix}{name}")))
            .collect()
    };
    let (signups, claims) = (acknowledged("signup"), acknowledged("claim"));
    if !signups.is_empty() {
        let id = the_contest(&other, from).await.id;
        for name in &signups {
            let row = row(&other, id, name).await;
            let state = row.expect("an acknowledged row").state.kind();
            assert!(state != StateKind::Initialized, "{what}: {name} {state:?}");
        }
        for name in &claims {
            let row = row(&other, id, name).await.expect("a row");
            assert_eq!(row.state.kind(), StateKind::Shared, "{what}: {name}");
        }
    }

    let id = play(&other, from).await;
    for (number, name) in NAMES.into_iter().enumerate() {
        let (state, coins) = if number < FINISHERS {
            (StateKind::Shared, 105)
        } else {
            (StateKind::Missed, 90)
        };
        let row = row(&other, id, name).await.expect("a row");
        assert_eq!(row.state.kind(), state, "{what}: {name}");
        let held = other
            .ports()
            .funds
            .balance(&Account::User(user(name)))
            .await;
        assert_eq!(held.expect("a balance").amount, coins, "{what}: {name}");
    }
    let number = async |query: &str| bed.ledger.number(query).await.expect("a number");
    // Grants, fees and prizes.
    let transfers = number("SELECT COUNT(*) FROM transfer").await;
    assert_eq!(transfers, 6 + 6 + 4, "{what}");
    let rows = bed.store.number("SELECT COUNT(*) FROM signup").await;
    assert_eq!(rows.expect("a number"), 6, "{what}");
    let contests = bed.store.number("SELECT COUNT(*) FROM contest").await;
    assert_eq!(contests.expect("a number"), 1, "{what}");
    let source = |url: &str| Source::parse(url).expect("an address");
    let books = Books {
        store: source(bed.store.url()),
        ledger: source(bed.ledger.url()),
    };
    let scope = Scope {
        contest: None,
        at_rest: true,
    };
    let report = check_books(&books, scope).await.expect("the books");
    assert!(report.is_green(), "{what}: {report}");
    println!(
        "{what}: {}, {} signups and {} claims acknowledged before; exact",
        if is_reached { "crashed" } else { "not reached" },
        signups.len(),
        claims.len()
    );
    is_reached
}

fn passes() -> Vec<u32> {
    let asked = std::env::var("GUAFEN_FAILPOINT_PASSES");
    asked
        .as_deref()
        .unwrap_or("1,8,20,40,150")
        .split(',')
        .map(|pass| pass.parse().expect("GUAFEN_FAILPOINT_PASSES are numbers"))
        .collect()
}

// hazard: A8, F2
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_crashes_around_a_commit_on_mysql_leaves_exact_books() {
    const STORE: [Failpoint; 2] = [Failpoint::StoreBeforeCommit, Failpoint::StoreCommitted];
    let is_all = std::env::var("GUAFEN_FAILPOINT_ALL").is_ok();
    // The ledger is no part of the node that crashes.
    let points = Failpoint::ALL
        .iter()
        .copied()
        .filter(|point| STORE.contains(point) || is_all && !point.name().starts_with("ledger_"));
    let mut reached: BTreeMap<_, Vec<u32>> = BTreeMap::new();
    let mut runs = Vec::new();
    for point in points.map(Failpoint::name) {
        reached.insert(point, Vec::new());
        for pass in passes() {
            runs.push(async move { (point, pass, crash_and_go_on(point, pass).await) });
        }
    }
    let all = runs.len();
    let mut runs = stream::iter(runs).buffer_unordered(AT_ONCE);
    while let Some((point, pass, is_reached)) = runs.next().await {
        if is_reached {
            reached.get_mut(point).expect("a point").push(pass);
        }
    }
    reached
        .values_mut()
        .for_each(|passes| passes.sort_unstable());
    let crashed: usize = reached.values().map(Vec::len).sum();
    println!("{all} runs, {crashed} of them crashed and recovered: {reached:?}");
    for point in STORE {
        assert!(
            !reached[point.name()].is_empty(),
            "{} was never reached",
            point.name()
        );
    }
}
