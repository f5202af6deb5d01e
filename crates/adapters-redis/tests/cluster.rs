//! A cluster whose masters die or give way under load: numbers are right again, and no script ever
//! has its keys in two slots.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use adapters_redis::{RedisShown, Settings};
use common::{
    answers, build, contest, finishers, is_refusal, now, place, read, rebuild, tallies, until,
};
use contract_tests::samples::{all_states, signup_in, user};
use domain::contest::Contest;
use ports::shown::{Count, Counted, Ranking, RecordCache, ShownError, Tallies, Tally};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};
use test_support::{Cluster, private_redis_cluster};

/// What one caller saw of the load.
#[derive(Debug, Default)]
struct Seen {
    answered: u64,
    failed: u64,
    longest: Duration,
}

/// Uses every operation, again and again, until it is told to stop.
async fn load(
    shown: Arc<RedisShown>,
    contest: Contest,
    rows: Vec<Count>,
    stop: Arc<AtomicBool>,
) -> Seen {
    let mut seen = Seen::default();
    let mut number = 0_usize;
    while !stop.load(Ordering::SeqCst) {
        let chunk = &rows[number % rows.len()..=number % rows.len()];
        let name = user(&format!("viewer-{}", number % 97));
        let signup = signup_in(
            all_states(now()).swap_remove(0),
            &contest,
            name.clone(),
            now(),
        );
        let places = [place(name.as_str(), 1 + number as u64, now())];
        let began = Instant::now();
        let outcome: Result<(), ShownError> = async {
            match number % 5 {
                0 => shown.fill(&contest, &name, Some(&signup)).await.map(drop),
                1 => shown.get(contest.id, &name).await.map(drop),
                2 => Ranking::put(shown.as_ref(), &contest, &places)
                    .await
                    .map(drop),
                3 => shown.drop_record(&contest, &name, 1).await,
                _ => match shown.count(&contest, chunk).await? {
                    Counted::Now(..) => Ok(()),
                    Counted::Rebuild => rebuild(&shown, &contest, &rows).await,
                },
            }
        }
        .await;
        seen.longest = seen.longest.max(began.elapsed());
        match outcome {
            Ok(()) => seen.answered += 1,
            Err(error) => {
                assert_eq!(is_refusal(&error), None);
                seen.failed += 1;
                // As the relay: not at once again.
                test_support::later(Duration::from_millis(5)).await;
            }
        }
        number += 1;
    }
    seen
}

async fn under_failover(harm: impl AsyncFnOnce(&Cluster)) {
    let cluster = private_redis_cluster().await.expect("a cluster");
    let settings = Settings {
        shards: 16,
        budget: Duration::from_millis(250),
        ..Settings::new(cluster.url())
    };
    let shown = Arc::new(RedisShown::connect(&settings).expect("settings"));
    let (contest, rows) = (contest(), finishers(300));
    answers(&shown, &contest).await;
    until("a tally", async || {
        rebuild(&shown, &contest, &[]).await.ok()
    })
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (shown, contest, rows) = (Arc::clone(&shown), contest.clone(), rows.clone());
            tokio::spawn(load(shown, contest, rows, Arc::clone(&stop)))
        })
        .collect();
    test_support::later(Duration::from_millis(500)).await;
    let began = Instant::now();
    harm(&cluster).await;
    // Every part and every kind of key is used again.
    until("every part of the tally", async || {
        shown.count(&contest, &rows).await.ok()
    })
    .await;
    println!("whole again after {:?}", began.elapsed());
    stop.store(true, Ordering::SeqCst);
    for caller in callers {
        let seen = caller.await.expect("no caller is refused");
        println!("{seen:?}");
        assert!(seen.answered > 0);
        // 16 parts and a rebuild, each call within its budget.
        assert!(seen.longest < Duration::from_secs(20), "{seen:?}");
    }
    let wanted = Tally {
        finishers: 300,
        weight: 300_000,
        ..Tally::ZERO
    };
    let found = until("a tally", async || {
        match shown.count(&contest, &rows).await {
            Ok(Counted::Now(tally, _)) => Some(tally.0),
            Ok(Counted::Rebuild) => {
                rebuild(&shown, &contest, &rows).await.ok();
                None
            }
            Err(_) => None,
        }
    })
    .await;
    assert_eq!(found, wanted);
    build(&tallies(&shown), &contest, &rows).await;
    assert_eq!(read(&shown, &contest).await, Some(wanted));
}

// hazard: D3, D6, D9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_killed_is_followed_by_its_replica() {
    under_failover(async |cluster| {
        let masters = cluster.masters().await.expect("masters");
        cluster.kill(masters[0]).expect("killed");
        until("a new master", async || {
            let now = cluster.masters().await.ok()?;
            (now.len() == masters.len() && !now.contains(&masters[0])).then_some(())
        })
        .await;
    })
    .await;
}

// hazard: D6, D9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_master_gives_way_to_its_replica() {
    under_failover(async |cluster| cluster.fail_over().await.expect("failed over")).await;
}
