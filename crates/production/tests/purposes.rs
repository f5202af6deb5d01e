//! What Redis is for, each alone, on the whole stack: MySQL, Redis and the ledger behind gRPC.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use common::paused::{PausedFills, with_records};
use common::{
    Bed, DAY, HOUR, Places, chests, claim, claimable, create, grant, node, now, open, reach,
    sign_up, terms, until, user,
};
use domain::{
    contest::{Contest, PhaseKind},
    ids::{ContestId, SignupId},
    signup::StateKind,
};
use ports::{
    leaderboard::{Leaderboard, Place},
    shown::{ABSENT_MS_MAX, Cached, FILL_MS_MAX, Filled},
};
use std::{
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};
use test_support::Reply;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};
use usecases::{Claimed, Contests, Created, Failure, Own, Shown};

const READS: u32 = 10_000;
const READERS: u32 = 16;

fn shown(node: &Contests) -> &Shown {
    node.ports().shown.as_ref().expect("it is shown")
}

/// What Redis holds of a viewer.
async fn cached(node: &Contests, contest: ContestId, name: &str) -> Option<Cached> {
    let cached = shown(node).records.get(contest, &user(name)).await;
    cached.expect("an answer")
}

/// The state of a record in Redis.
async fn state(node: &Contests, contest: ContestId, name: &str) -> Option<StateKind> {
    match cached(node, contest, name).await {
        Some(Cached::Record(signup)) => Some(signup.state.kind()),
        Some(Cached::Absent) | None => None,
    }
}

/// The state that a viewer is told.
async fn told(node: &Contests, contest: ContestId, name: &str) -> Option<StateKind> {
    match node.own(contest, &user(name)).await.expect("an answer") {
        Own::Yes(seen) => Some(seen.signup.state.kind()),
        Own::NotSignedUp => None,
        Own::NoContest => panic!("there is no such contest"),
    }
}

/// Many reads of somebody who is not signed up, and how long they took.
async fn reads(node: &Arc<Contests>, contest: ContestId, name: &str) -> Duration {
    let begun = Instant::now();
    let readers: Vec<_> = (0..READERS)
        .map(|_| {
            let (node, name) = (Arc::clone(node), name.to_owned());
            tokio::spawn(async move {
                for _ in 0..READS / READERS {
                    assert_eq!(told(&node, contest, &name).await, None);
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.expect("a reader");
    }
    begun.elapsed()
}

// hazard: E7, E9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_reads_of_who_is_not_signed_up_cost_mysql_one_look_a_lifetime() {
    let bed = Bed::new().await;
    let nodes = [bed.node().await, bed.node().await];
    let contest = open(&nodes[0]).await.id;
    // What one look is: a statement for the row and one for the contest.
    let before = bed.statements().await;
    assert_eq!(told(&nodes[0], contest, "bob").await, None);
    let look = bed.statements().await - before;
    assert_eq!(look, 2);
    for round in 0..2 {
        for (number, node) in nodes.iter().enumerate() {
            let name = format!("viewer-{round}-{number}");
            let before = bed.statements().await;
            let took = reads(node, contest, &name).await;
            let statements = bed.statements().await - before;
            let lifetimes = i64::try_from(took.as_millis()).expect("a time") / ABSENT_MS_MAX + 1;
            println!(
                "{READS} reads in {} ms, {lifetimes} lifetimes: {statements} statements",
                took.as_millis()
            );
            assert!(
                (look..=look * lifetimes).contains(&statements),
                "{statements} statements in {lifetimes} lifetimes"
            );
        }
    }
    // Once its lifetime is over, the next read looks, and once.
    until("the absence ends", async || {
        cached(&nodes[0], contest, "bob")
            .await
            .is_none()
            .then_some(())
    })
    .await;
    let before = bed.statements().await;
    assert_eq!(told(&nodes[1], contest, "bob").await, None);
    assert_eq!(bed.statements().await, before + look);
}

// hazard: E1, E2, E4, E8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_that_was_paused_across_an_update_is_refused() {
    let bed = Bed::new().await;
    let writer = bed.node().await;
    let paused = async || {
        let ports = bed.ports().await;
        let fills = PausedFills::of(&ports);
        (node(with_records(ports, Arc::clone(&fills) as _)), fills)
    };
    // Of somebody who signs up meanwhile.
    let contest = open(&writer).await.id;
    grant(&writer, "ann").await;
    let (reader, fills) = paused().await;
    assert_eq!(told(&reader, contest, "ann").await, None);
    fills.reached().await;
    sign_up(&writer, contest, "ann").await;
    assert_eq!(fills.go_on().await, Filled::Stale);
    assert_eq!(cached(&writer, contest, "ann").await, None);
    assert_eq!(
        told(&reader, contest, "ann").await,
        Some(StateKind::InProgress)
    );
    // Of somebody who claims meanwhile: what would be old for days.
    let contest = claimable(&writer).await.id;
    let (reader, fills) = paused().await;
    assert_eq!(
        told(&reader, contest, "ann").await,
        Some(StateKind::Completed)
    );
    fills.reached().await;
    let claimed = claim(&writer, contest, "ann").await;
    assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
    assert_eq!(fills.go_on().await, Filled::Stale);
    assert_eq!(state(&writer, contest, "ann").await, None);
    assert_eq!(told(&reader, contest, "ann").await, Some(StateKind::Shared));
    // And what was read after it is stored.
    until("the new record is stored", async || {
        let state = state(&writer, contest, "ann").await;
        (state == Some(StateKind::Shared)).then_some(())
    })
    .await;
}

const CHILD: &str = "GUAFEN_TEST_CHILD";

/// The process that is killed below: claims, tells, and waits for its end. Without the variable it
/// has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_claims_and_waits_to_be_killed() {
    let Ok(told) = std::env::var(CHILD) else {
        return;
    };
    let [store, redis, funds, contest] = told.split('|').collect::<Vec<_>>()[..] else {
        panic!("{told}")
    };
    let places = Places {
        store: store.to_owned(),
        redis: redis.to_owned(),
        funds: funds.to_owned(),
        webhook: None,
    };
    let node = node(places.ports().await);
    let contest = contest.parse().expect("a contest id");
    let claimed = claim(&node, contest, "ann").await;
    println!("\nclaimed: {}", matches!(claimed, Claimed::Yes(_)));
    std::future::pending().await
}

// hazard: E1, E2, E6, G3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_delete_happens_though_its_process_was_killed_between() {
    let bed = Bed::new().await;
    let other = bed.node().await;
    let contest = claimable(&other).await.id;
    bed.relay_all(&other).await;
    let ports = bed.ports().await;
    let fills = PausedFills::of(&ports);
    let reader = node(with_records(ports, Arc::clone(&fills) as _));
    assert_eq!(
        told(&reader, contest, "ann").await,
        Some(StateKind::Completed)
    );
    fills.reached().await;

    let Places {
        store,
        redis,
        funds,
        webhook: _,
    } = bed.places();
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "--nocapture"])
        .arg("a_process_that_claims_and_waits_to_be_killed")
        .env(CHILD, format!("{store}|{redis}|{funds}|{contest}"))
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    until("the claim", async || {
        let line = lines.next_line().await.expect("a line").expect("a line");
        assert_ne!(line, "claimed: false");
        (line == "claimed: true").then_some(())
    })
    .await;
    child.kill().await.expect("killed");

    // What was remembered of the first delete is lost, and the reader goes on.
    let dropped = format!("guafen:record:{{{contest}:ann}}:dropped");
    let gone = bed.redis.command(&["DEL", &dropped]).await;
    assert_eq!(
        gone.expect("an answer"),
        Reply::Number(1),
        "the first delete"
    );
    assert_eq!(fills.go_on().await, Filled::Stored);
    let old = Some(StateKind::Completed);
    assert_eq!(
        state(&other, contest, "ann").await,
        old,
        "what is cached is old"
    );
    let saved = "SELECT COUNT(*) FROM outbox WHERE effect = 'drop_cached_again'";
    assert!(bed.store.number(saved).await.expect("a count") > 0);

    bed.relay_all(&other).await;
    assert_eq!(state(&other, contest, "ann").await, None);
    assert_eq!(told(&other, contest, "ann").await, Some(StateKind::Shared));
}

// hazard: E12, E13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_past_pool_is_answered_with_the_funds_system_off() {
    let bed = Bed::new().await;
    let node = bed.node().await;
    let frozen = claimable(&node).await.id;
    let still_open = open(&node).await.id;
    let cancelled = open(&node).await.id;
    node.cancel(cancelled).await.expect("an answer");
    bed.funds.cut_requests();
    bed.funds.cut_now();
    let live = node.pool_of(still_open).await;
    assert!(
        matches!(live, Err(Failure::Funds(_))),
        "it is off: {live:?}"
    );
    for (contest, amount) in [(frozen, 20), (cancelled, 0)] {
        let pool = async || {
            let pool = node.pool_of(contest).await;
            pool.expect("an answer").expect("a pool")
        };
        for _ in 0..2 {
            // Lost, it is made again from MySQL.
            bed.flush().await;
            let first = pool().await;
            assert_eq!((first.amount.get(), first.is_from_funds), (amount, false));
            until("it is kept", async || {
                let kept = shown(&node).past_pools.get(contest).await;
                kept.expect("an answer").map(drop)
            })
            .await;
            // Kept, it costs MySQL nothing either.
            let before = bed.statements().await;
            for _ in 0..1_000 {
                assert_eq!(pool().await, first);
            }
            assert_eq!(bed.statements().await, before);
        }
    }
}

fn place(place: &Place) -> (u64, String, u64, i64, SignupId) {
    let Place {
        rank,
        user_id,
        quantity,
        reached_at,
        signup_id,
    } = place;
    (
        *rank,
        user_id.to_string(),
        *quantity,
        reached_at.0,
        *signup_id,
    )
}

/// Leaderboard, and everybody's own rank.
async fn ranks(
    of: &dyn Leaderboard,
    contest: &Contest,
    names: &[String],
) -> Vec<(u64, String, u64, i64, SignupId)> {
    let mut ranks = Vec::new();
    for limit in [1, 10, 100] {
        let top = of.top(contest, limit).await.expect("an answer");
        ranks.extend(top.iter().map(place));
    }
    for name in names.iter().map(String::as_str).chain(["nobody"]) {
        let own = of.place_of(contest, &user(name)).await;
        ranks.extend(own.expect("an answer").iter().map(place));
    }
    ranks
}

// hazard: D3, D13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaderboard_and_own_rank_equal_sql_after_flushall() {
    let bed = Bed::new().await;
    let node = bed.node().await;
    let contest = open(&node).await;
    let names: Vec<String> = (0..40).map(|number| format!("viewer-{number}")).collect();
    for name in &names {
        grant(&node, name).await;
        sign_up(&node, contest.id, name).await;
    }
    let (ranking, sql) = (&shown(&node).ranking, &node.ports().leaderboard);
    let is_there = async || {
        until("the ranking is there", async || {
            // Who looks has it built.
            node.top(&contest, 1).await.expect("an answer");
            let top = ranking.top(&contest, 1).await.expect("an answer");
            top.map(drop)
        })
        .await;
    };
    is_there().await;
    for round in 0..4_i64 {
        let at = now(&node).await;
        for (number, name) in (0_i64..).zip(&names) {
            // Many do as much, some of them at the same moment; some do nothing.
            if (number + round) % 7 != 0 {
                let count = 1 + (number * 5 + round) % 3;
                let at = at.plus(-(number % 4));
                chests(&node, &contest, name, count.unsigned_abs(), at).await;
            }
        }
        bed.relay_all(&node).await;
        for is_lost in [false, true] {
            if is_lost {
                bed.flush().await;
                // At once, before it is built anew.
                let own = ranks(&*node, &contest, &names).await;
                assert_eq!(
                    own,
                    ranks(&**sql, &contest, &names).await,
                    "round {round}, lost"
                );
                is_there().await;
            }
            let before = bed.statements().await;
            let own = ranks(&*node, &contest, &names).await;
            assert_eq!(bed.statements().await, before, "Redis answered");
            let sqls = ranks(&**sql, &contest, &names).await;
            assert!(bed.statements().await > before, "MySQL answered");
            assert_eq!(own, sqls, "round {round}, {is_lost}");
            assert!(own.len() > 60, "{}", own.len());
        }
    }
}

/// When a key ends.
async fn end(bed: &Bed, key: &str) -> i64 {
    match bed.redis.command(&["PEXPIRETIME", key]).await {
        Ok(Reply::Number(end)) => end,
        other => panic!("{key}: {other:?}"),
    }
}

// hazard: D4, E10, E11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_of_a_contest_that_was_played_ends_as_documented() {
    let bed = Bed::new().await;
    let node = bed.node().await;
    let contest = claimable(&node).await;
    until("numbers and ranking are built", async || {
        node.top(&contest, 1).await.expect("an answer");
        let (tally, ranking) = (&shown(&node).tallies, &shown(&node).ranking);
        let tally = tally.read(&contest).await.expect("an answer");
        let top = ranking.top(&contest, 1).await.expect("an answer");
        tally.and(top).map(drop)
    })
    .await;
    let claimed = claim(&node, contest.id, "ann").await;
    assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
    bed.relay_all(&node).await;
    for name in ["ann", "bob"] {
        told(&node, contest.id, name).await.expect("a signup");
    }
    node.pool_of(contest.id).await.expect("an answer");
    let after = contest.terms.claim_closes_at.0;
    let soon = now(&node).await.0 + 600_000;
    let tenth = 3 * DAY / 10;
    let kinds = [
        (
            ":value",
            after + 3 * DAY - tenth,
            after + 3 * DAY + tenth,
            2,
        ),
        (":numbers", after + 12 * DAY, after + 12 * DAY, 4),
        ("guafen:ranking", after + 12 * DAY, after + 12 * DAY, 3),
        ("guafen:pool", after + 12 * DAY, after + 12 * DAY, 1),
        (":unique", after + 2 * DAY, after + 2 * DAY, 4),
        // Versions that were dropped: longer than any fill takes, and no longer than needed.
        (":dropped", soon - 600_000 + FILL_MS_MAX, soon, 2),
    ];
    until("everything is stored", async || {
        let keys = keys(&bed).await;
        let is_there = |part: &str| keys.iter().any(|key| key.contains(part));
        kinds.iter().all(|kind| is_there(kind.0)).then_some(())
    })
    .await;
    let mut counts = [0; 6];
    for key in keys(&bed).await {
        let end = end(&bed, &key).await;
        let of = kinds.iter().position(|(part, ..)| key.contains(part));
        let of = of.unwrap_or_else(|| panic!("{key} is of no kind"));
        let (_, first, last, _) = kinds[of];
        assert!((first..=last).contains(&end), "{key} ends at {end}");
        counts[of] += 1;
    }
    let wanted = kinds.map(|(.., count)| count);
    println!("{counts:?} keys of {:?}", kinds.map(|kind| kind.0));
    assert_eq!(counts, wanted);
}

async fn keys(bed: &Bed) -> Vec<String> {
    match bed.redis.command(&["KEYS", "*"]).await {
        Ok(Reply::List(keys)) => keys
            .iter()
            .map(|key| key.text().expect("a name").to_owned())
            .collect(),
        other => panic!("{other:?}"),
    }
}

// hazard: E11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contest_that_outlives_what_is_shown_of_it_is_refused_when_it_is_created() {
    let bed = Bed::new().await;
    let node = bed.node().await;
    let opens_at = now(&node).await.plus(10 * DAY);
    let mut terms = terms(opens_at, [HOUR, 2 * HOUR, 366 * DAY - 2_000]);
    let refused = node.create("long".to_owned(), terms.clone(), None).await;
    assert!(matches!(refused, Ok(Created::TooLong(366))), "{refused:?}");
    let rows = bed.store.number("SELECT COUNT(*) FROM contest").await;
    assert_eq!(rows.expect("a count"), 0, "nothing is left of it");
    terms.claim_closes_at = opens_at.plus(356 * DAY);
    let contest = create(&node, terms, None).await;
    reach(&node, contest.id, PhaseKind::Draft).await;
}
