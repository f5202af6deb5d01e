//! A reconciler that is killed between any two writes of a contest's settling: another one finishes, and
//! the numbers and prizes are those of a contest whose reconciler lived.
//!
//! A point is passed once, twice, … until the contest is over before the reconciler gets there, so no
//! write of the whole settling is left out. By default the points are those around the store's commits
//! and around calls of the funds system, at every thirty-second of their passes; with `GUAFEN_TEST_KILLED=all` every
//! pass of every point of the code.

#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use domain::{
    contest::PhaseKind,
    ids::ContestId,
    order::Account,
    payout::Rule,
    settlement::Totals,
    signup::StateKind,
    terms::{BasisPoints, ClaimMode, Remainder},
};
use futures_util::{StreamExt, stream};
use ports::failpoint::Failpoint;
use std::{
    collections::BTreeMap,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU32, Ordering::SeqCst},
};
use support::common::{self, Bed, coins, create, now, terms, until, user};
use tempfile::TempDir;
use tokio::process::{Child, Command};

/// Those who finish, one after the other in this order, then those who do not.
const NAMES: [&str; 5] = ["ann", "bob", "cai", "dan", "eve"];
const FINISHERS: usize = 3;
/// Runs at a time: they mostly wait for their windows.
const AT_ONCE: usize = 5;
/// More passes of one point than a settling has.
const PASSES_MAX: u32 = 200;
/// Of so many passes one is taken by default.
const SOME: usize = 32;
const SIGABRT: i32 = 6;

/// What must be the same, whatever was killed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Settled {
    phase: PhaseKind,
    totals: Option<Totals>,
    /// Each viewer's state, prize and coins.
    viewers: Vec<(StateKind, Option<u64>, i64)>,
    /// Transfers from and to the pool.
    transfers: i64,
}

fn spawn(config: &Path, failpoint: Option<(&str, u32)>) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app-reconciler"));
    command.args(["run", "--config"]).arg(config);
    if let Some((point, pass)) = failpoint {
        command.env("GUAFEN_FAILPOINT", format!("{point}:{pass}"));
    }
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts")
}

/// One contest of a bed of its own; true if the first reconciler was killed at the point.
async fn settle(point: Option<(&'static str, u32)>) -> (bool, Settled) {
    let bed = Bed::new().await;
    let node = bed.node().await;
    let dir = TempDir::new().expect("a directory");
    let config = support::configured(&bed, dir.path(), "guafen", "", "");
    let mut terms = terms(now(&node).await, [5_000, 5_200, 5_400]);
    terms.claim_mode = ClaimMode::Automatic;
    terms.rule = Rule::Equal;
    // 50 coins of fees less 5, and 3 finishers of the 47 that are guaranteed: nothing divides evenly.
    terms.rake_bps = BasisPoints::new(1_000).expect("a rake");
    terms.guaranteed_pool = coins(47);
    terms.remainder = Remainder::Spread;
    let contest = create(&node, terms, None).await;
    let names: Vec<String> = NAMES.map(str::to_owned).to_vec();
    support::accounts(&bed, &names).await;
    for name in NAMES {
        common::sign_up(&node, contest.id, name).await;
    }
    support::all_finish(&node, &contest, &names[..FINISHERS]).await;
    // From here on nobody works but reconcilers.
    let mut first = spawn(&config, point);
    let mut is_killed = false;
    until("it is killed, or the contest is over", async || {
        if let Some(ended) = first.try_wait().expect("a process") {
            is_killed = ended.signal() == Some(SIGABRT);
            assert!(is_killed, "{point:?}: {ended}");
            return Some(());
        }
        (support::phase(&node, contest.id).await == PhaseKind::Closed).then_some(())
    })
    .await;
    let second = is_killed.then(|| spawn(&config, None));
    common::reach(&node, contest.id, PhaseKind::Closed).await;
    let settled = look(&bed, &node, contest.id).await;
    support::is_exact(&node, contest.id).await;
    drop(second);
    (is_killed, settled)
}

async fn look(bed: &Bed, node: &usecases::Contests, id: ContestId) -> Settled {
    let contest = common::contest(node, id).await;
    let mut viewers = Vec::new();
    for name in NAMES {
        let row = node.ports().signups.find(id, &user(name)).await;
        let row = row.expect("an answer").expect("a row");
        let balance = node.ports().funds.balance(&Account::User(user(name))).await;
        let prize = row.state.prize().map(|prize| prize.get());
        viewers.push((row.state.kind(), prize, balance.expect("one").amount));
    }
    let pool = format!("(SELECT account_id FROM account WHERE name = 'pool/{id}')");
    let transfers =
        format!("SELECT COUNT(*) FROM transfer WHERE debit = {pool} OR credit = {pool}");
    Settled {
        phase: contest.phase.kind(),
        totals: contest.phase.frozen().map(|(totals, _)| *totals.get()),
        viewers,
        transfers: bed.ledger.number(&transfers).await.expect("a count"),
    }
}

fn is_all() -> bool {
    std::env::var("GUAFEN_TEST_KILLED").is_ok_and(|asked| asked == "all")
}

fn points() -> Vec<Failpoint> {
    const AROUND_WRITES: [Failpoint; 7] = [
        Failpoint::StoreBeforeCommit,
        Failpoint::StoreCommitted,
        Failpoint::CreditsClosed,
        Failpoint::BooksBalanced,
        Failpoint::SheetRead,
        Failpoint::LegAnswered,
        Failpoint::PaymentAnswered,
    ];
    let every = Failpoint::ALL.iter().copied();
    // The ledger is another process.
    let chosen = every.filter(|point| {
        AROUND_WRITES.contains(point) || is_all() && !point.name().starts_with("ledger_")
    });
    chosen.collect()
}

// hazard: A8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reconciler_that_is_killed_between_any_two_writes_is_replaced_and_the_numbers_are_the_same()
 {
    let (_, expected) = settle(None).await;
    println!("undisturbed: {expected:?}");
    let prizes: Vec<_> = expected
        .viewers
        .iter()
        .map(|(_, prize, _)| *prize)
        .collect();
    // 47 over three, and nothing for the others.
    assert_eq!(prizes, [Some(15), Some(16), Some(16), None, None]);
    let mut killed: BTreeMap<&str, u32> = BTreeMap::new();
    for point in points().into_iter().map(Failpoint::name) {
        // The first pass that was not reached: those after it are not either.
        let end = AtomicU32::new(PASSES_MAX);
        let end = &end;
        let expected = &expected;
        let every = if is_all() { 1 } else { SOME };
        let reached = stream::iter((1..=PASSES_MAX).step_by(every))
            .map(|pass| async move {
                if pass >= end.load(SeqCst) {
                    return false;
                }
                let (is_killed, settled) = settle(Some((point, pass))).await;
                assert_eq!(&settled, expected, "{point}:{pass}");
                if !is_killed {
                    end.fetch_min(pass, SeqCst);
                }
                is_killed
            })
            .buffered(AT_ONCE)
            .take_while(|is_killed| std::future::ready(*is_killed))
            .count()
            .await;
        println!(
            "{point}: killed {reached} times, at every {every}. pass; the numbers are the same"
        );
        killed.insert(point, u32::try_from(reached).expect("a number"));
    }
    for point in [Failpoint::StoreBeforeCommit, Failpoint::StoreCommitted] {
        assert!(killed[point.name()] > 2, "{killed:?}");
    }
}
