//! What is lost, sent twice or answered by nobody harms no number, and costs no caller much.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use adapters_redis::{BreakerState, RedisShown, Settings};
use common::{
    answers, build, build_ranking, contest, count_at_last, finishers, is_refusal, place, ranking,
    read, rebuild, shown, tallies, until,
};
use domain::{contest::Contest, settlement::Advisory};
use ports::shown::{Count, Counted, Ranking as _, ShownError, Tallies, Tally};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use test_support::{Proxy, Redis, private_redis};

async fn keys(redis: &Redis, pattern: &str) -> Vec<String> {
    let reply = redis.command(&["KEYS", pattern]).await.expect("keys");
    let test_support::Reply::List(keys) = reply else {
        panic!("no list: {reply:?}")
    };
    keys.iter()
        .map(|key| key.text().expect("a name").to_owned())
        .collect()
}

/// How often the server was asked to run a script.
async fn scripts_run(redis: &Redis) -> u64 {
    let info = redis
        .command(&["INFO", "commandstats"])
        .await
        .expect("info");
    let text = info.text().expect("a text");
    text.lines()
        .filter(|line| line.starts_with("cmdstat_eval"))
        .filter_map(|line| {
            line.split("calls=")
                .nth(1)?
                .split(',')
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

fn all(count: usize) -> Tally {
    Tally {
        finishers: count as u64,
        weight: 1_000 * count as u64,
        ..Tally::ZERO
    }
}

/// Four callers send every row five times, ten at a time, while `harm` happens.
async fn under_load(
    shown: &Arc<RedisShown>,
    contest: &Contest,
    rows: &[Count],
    harm: impl Future<Output = ()>,
) {
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let (shown, contest, rows) = (Arc::clone(shown), contest.clone(), rows.to_vec());
            tokio::spawn(async move {
                for round in 0..5 {
                    for chunk in rows.chunks(10).skip((caller + round) % 3) {
                        count_at_last(&shown, &contest, chunk, &rows).await;
                    }
                }
            })
        })
        .collect();
    harm.await;
    for caller in callers {
        caller.await.expect("no caller panics");
    }
    // What was void, or skipped above, comes in the end.
    count_at_last(shown, contest, rows, rows).await;
}

/// The tally, rebuilt if it is not there.
async fn settled(shown: &Arc<RedisShown>, contest: &Contest, rows: &[Count]) -> Tally {
    until("a tally", async || {
        let found = read(shown, contest).await;
        if found.is_none() {
            rebuild(shown, contest, rows).await.ok();
        }
        found
    })
    .await
}

// hazard: D3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flushed_in_the_middle_of_the_load_it_is_rebuilt_and_equal() {
    let redis = private_redis().await.expect("a Redis");
    let (shown, contest, rows) = (shown(redis.url()), contest(), finishers(400));
    answers(&shown, &contest).await;
    build(&tallies(&shown), &contest, &[]).await;
    let harm = async {
        for _ in 0..3 {
            test_support::later(Duration::from_millis(60)).await;
            redis.flush().await.expect("flushed");
        }
    };
    under_load(&shown, &contest, &rows, harm).await;
    assert_eq!(settled(&shown, &contest, &rows).await, all(400));
    // Right after a loss it says so, and counts nothing.
    redis.flush().await.expect("flushed");
    let counted = shown.count(&contest, &rows[..1]).await;
    assert!(matches!(counted, Ok(Counted::Rebuild)), "{counted:?}");
    assert_eq!(read(&shown, &contest).await, None);
    rebuild(&shown, &contest, &rows).await.expect("rebuilt");
    assert_eq!(read(&shown, &contest).await, Some(all(400)));
}

// hazard: D3, E5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_and_started_empty_in_the_middle_of_the_load_it_is_rebuilt_and_equal() {
    let redis = private_redis().await.expect("a Redis");
    let (shown, contest, rows) = (shown(redis.url()), contest(), finishers(200));
    answers(&shown, &contest).await;
    build(&tallies(&shown), &contest, &[]).await;
    let harm = async {
        test_support::later(Duration::from_millis(60)).await;
        redis.stop().expect("killed");
        redis.start().await.expect("started");
    };
    under_load(&shown, &contest, &rows, harm).await;
    assert_eq!(settled(&shown, &contest, &rows).await, all(200));
}

// hazard: D9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scripts_that_the_server_forgot_are_sent_again_and_no_call_fails() {
    let redis = private_redis().await.expect("a Redis");
    let (shown, contest, rows) = (shown(redis.url()), contest(), finishers(100));
    answers(&shown, &contest).await;
    build(&tallies(&shown), &contest, &[]).await;
    let mut added = 0;
    for (number, chunk) in rows.chunks(2).enumerate() {
        if number % 5 == 0 {
            redis
                .command(&["SCRIPT", "FLUSH"])
                .await
                .expect("forgotten");
        }
        match shown.count(&contest, chunk).await.expect("an answer") {
            Counted::Now(_, new) => added += new,
            Counted::Rebuild => panic!("nothing was lost"),
        }
    }
    assert_eq!(added, 100);
    assert_eq!(read(&shown, &contest).await, Some(all(100)));
}

// hazard: D2, D3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tally_of_which_one_key_is_lost_counts_nothing() {
    let redis = private_redis().await.expect("a Redis");
    let settings = Settings {
        shards: 1,
        ..common::settings(redis.url())
    };
    let shown = Arc::new(RedisShown::connect(&settings).expect("settings"));
    let rows = finishers(5);
    for lost in ["numbers", "unique"] {
        let contest = contest();
        answers(&shown, &contest).await;
        build(&tallies(&shown), &contest, &rows).await;
        let of = keys(&redis, &format!("guafen:tally:*{}*:{lost}", contest.id)).await;
        assert_eq!(of.len(), 1, "{of:?}");
        redis.command(&["DEL", &of[0]]).await.expect("lost");
        for _ in 0..2 {
            let counted = shown.count(&contest, &rows).await;
            assert!(
                matches!(counted, Ok(Counted::Rebuild)),
                "{lost}: {counted:?}"
            );
        }
        build(&tallies(&shown), &contest, &rows).await;
        let counted = shown.count(&contest, &rows).await;
        assert!(
            matches!(counted, Ok(Counted::Now(Advisory(tally), 0)) if tally == all(5)),
            "{lost}: {counted:?}"
        );
    }
    // And an attempt that has lost some of what it built is void.
    for lost in ["building", "building-numbers", "building-unique"] {
        let contest = contest();
        let epoch = Tallies::begin(shown.as_ref(), &contest)
            .await
            .expect("begun");
        let put = async || Tallies::put(shown.as_ref(), &contest, epoch, &rows).await;
        assert!(put().await.expect("an answer"));
        let of = keys(&redis, &format!("guafen:tally:*{}*:{lost}", contest.id)).await;
        redis.command(&["DEL", &of[0]]).await.expect("lost");
        let counted = shown.count(&contest, &rows).await;
        assert!(
            matches!(counted, Ok(Counted::Rebuild)),
            "{lost}: {counted:?}"
        );
        assert!(!put().await.expect("an answer"), "{lost}");
        let finished = Tallies::finish(shown.as_ref(), &contest, epoch).await;
        assert!(!finished.expect("an answer"), "{lost}");
        assert_eq!(read(&shown, &contest).await, None, "{lost}");
    }
}

// hazard: D2, D13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ranking_of_which_one_key_is_lost_shows_nothing() {
    let redis = private_redis().await.expect("a Redis");
    let shown = shown(redis.url());
    let places: Vec<_> = (0..5)
        .map(|number| place(&format!("viewer-{number}"), number + 1, common::now()))
        .collect();
    for lost in ["marker", "places", "members"] {
        let contest = contest();
        answers(&shown, &contest).await;
        build_ranking(&ranking(&shown), &contest, &places).await;
        let of = keys(&redis, &format!("guafen:ranking:*{}*:{lost}", contest.id)).await;
        redis.command(&["DEL", &of[0]]).await.expect("lost");
        for _ in 0..2 {
            let entered = shown.as_ref().put_places(&contest, &places[..1]).await;
            assert!(!entered.expect("an answer"), "{lost}");
            let top = shown.top(&contest, 9).await.expect("an answer");
            assert_eq!(top, None, "{lost}");
            let found = shown.place_of(&contest, &places[0].user_id, 1).await;
            assert_eq!(found.expect("an answer"), None, "{lost}");
        }
    }
    for lost in ["building", "building-places", "building-members"] {
        let contest = contest();
        let ranking = ranking(&shown);
        let epoch = ranking.begin(&contest).await.expect("begun");
        let built = ranking.build(&contest, epoch, &places[..3]).await;
        assert!(built.expect("an answer"));
        let of = keys(&redis, &format!("guafen:ranking:*{}*:{lost}", contest.id)).await;
        redis.command(&["DEL", &of[0]]).await.expect("lost");
        let built = ranking.build(&contest, epoch, &places[3..]).await;
        assert!(!built.expect("an answer"), "{lost}");
        let finished = ranking.finish(&contest, epoch).await;
        assert!(!finished.expect("an answer"), "{lost}");
        let top = shown.top(&contest, 9).await.expect("an answer");
        assert_eq!(top, None, "{lost}");
    }
}

/// Entering places, by a name that no other port has.
trait PutPlaces {
    async fn put_places(
        &self,
        contest: &Contest,
        places: &[ports::leaderboard::Place],
    ) -> Result<bool, ShownError>;
}

impl PutPlaces for RedisShown {
    async fn put_places(
        &self,
        contest: &Contest,
        places: &[ports::leaderboard::Place],
    ) -> Result<bool, ShownError> {
        ports::shown::Ranking::put(self, contest, places).await
    }
}

// hazard: D1, G9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_whose_answer_is_lost_is_sent_once_and_counted_once() {
    let redis = private_redis().await.expect("a Redis");
    let proxy = Proxy::start(redis.addr()).await.expect("a proxy");
    let settings = Settings {
        shards: 1,
        ..common::settings(&proxy.through(redis.url()))
    };
    let shown = Arc::new(RedisShown::connect(&settings).expect("settings"));
    let contest = contest();
    answers(&shown, &contest).await;
    build(&tallies(&shown), &contest, &[]).await;
    // Known to the server from here on, so that a count is one script.
    shown.count(&contest, &finishers(1)).await.expect("counted");
    let before = scripts_run(&redis).await;
    let rows = finishers(1);
    proxy.cut_answers();
    let lost = shown.count(&contest, &rows).await;
    assert!(matches!(lost, Err(ShownError::Unavailable(_))), "{lost:?}");
    assert_eq!(scripts_run(&redis).await, before + 1, "it was carried out");
    proxy.pass();
    answers(&shown, &contest).await;
    assert_eq!(scripts_run(&redis).await, before + 1, "and not sent again");
    let counted = until("an answer", async || {
        shown.count(&contest, &rows).await.ok()
    })
    .await;
    assert!(
        matches!(counted, Counted::Now(Advisory(tally), 0) if tally == all(2)),
        "{counted:?}"
    );
}

// hazard: D12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_starts_without_a_server_and_sends_nothing_late_once_there_is_one() {
    let redis = private_redis().await.expect("a Redis");
    redis.stop().expect("stopped");
    let shown = Arc::new(RedisShown::connect(&Settings::new(redis.url())).expect("settings"));
    let contest = contest();
    let began = Instant::now();
    for _ in 0..20 {
        assert!(Tallies::begin(shown.as_ref(), &contest).await.is_err());
    }
    assert!(
        began.elapsed() < Duration::from_secs(3),
        "{:?}",
        began.elapsed()
    );
    redis.start().await.expect("started");
    // What nobody waits for any more is not done: a fill that is this late could be stale.
    answers(&shown, &contest).await;
    assert_eq!(scripts_run(&redis).await, 0);
    assert_eq!(keys(&redis, "*").await, Vec::<String>::new());
    build(&tallies(&shown), &contest, &[]).await;
    assert_eq!(read(&shown, &contest).await, Some(Tally::ZERO));
}

// hazard: D12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_costs_a_few_waits_and_then_nothing() {
    let redis = private_redis().await.expect("a Redis");
    let shown = Arc::new(RedisShown::connect(&Settings::new(redis.url())).expect("settings"));
    let contest = contest();
    answers(&shown, &contest).await;
    until("a tally", async || {
        rebuild(&shown, &contest, &[]).await.ok()
    })
    .await;
    assert_eq!(shown.breaker(), BreakerState::Closed);
    redis.pause().expect("paused");
    let began = Instant::now();
    let (mut open, mut waited) = (0, 0);
    for _ in 0..1_000 {
        match shown.count(&contest, &finishers(1)).await {
            Err(ShownError::Open) => open += 1,
            Err(ShownError::Unavailable(_)) => waited += 1,
            Ok(counted) => panic!("nobody is there to answer {counted:?}"),
        }
    }
    let took = began.elapsed();
    println!("1,000 calls of a server that hangs took {took:?}: {waited} waited, {open} did not");
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!((1..=12).contains(&waited), "{waited}");
    assert_ne!(shown.breaker(), BreakerState::Closed);
    // A crowd at once waits for one budget, not for a thousand.
    let began = Instant::now();
    let crowd: Vec<_> = (0..1_000)
        .map(|_| {
            let (shown, contest) = (Arc::clone(&shown), contest.clone());
            tokio::spawn(async move { shown.read(&contest).await.is_err() })
        })
        .collect();
    for caller in crowd {
        assert!(caller.await.expect("no caller panics"));
    }
    assert!(
        began.elapsed() < Duration::from_secs(1),
        "{:?}",
        began.elapsed()
    );
    redis.resume().expect("resumed");
    answers(&shown, &contest).await;
    until("a closed breaker", async || {
        let _ = shown.read(&contest).await;
        (shown.breaker() == BreakerState::Closed).then_some(())
    })
    .await;
}

// hazard: D12, G9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_line_is_as_a_server_that_hangs_and_comes_back() {
    let redis = private_redis().await.expect("a Redis");
    let proxy = Proxy::start(redis.addr()).await.expect("a proxy");
    let url = proxy.through(redis.url());
    let shown = Arc::new(RedisShown::connect(&Settings::new(url)).expect("settings"));
    let contest = contest();
    answers(&shown, &contest).await;
    for _ in 0..2 {
        proxy.stall();
        let began = Instant::now();
        for _ in 0..200 {
            assert!(shown.read(&contest).await.is_err());
        }
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        proxy.pass();
        proxy.cut_now();
        answers(&shown, &contest).await;
    }
}

// hazard: D1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_count_the_same_thousand_five_times_and_each_once() {
    let redis = private_redis().await.expect("a Redis");
    // As two processes: nothing is shared but the server.
    let nodes = [shown(redis.url()), shown(redis.url())];
    let (contest, rows) = (contest(), finishers(1_000));
    for node in &nodes {
        answers(node, &contest).await;
    }
    build(&tallies(&nodes[0]), &contest, &[]).await;
    let callers: Vec<_> = (0..10)
        .map(|caller| {
            let node = Arc::clone(&nodes[caller % 2]);
            let (contest, rows) = (contest.clone(), rows.clone());
            tokio::spawn(async move {
                let mut added = 0;
                for chunk in rows.chunks(1 + caller * 7) {
                    match node.count(&contest, chunk).await {
                        Ok(Counted::Now(_, new)) => added += new,
                        other => panic!("{other:?}"),
                    }
                }
                added
            })
        })
        .collect();
    let mut added = 0;
    for caller in callers {
        added += caller.await.expect("no caller panics");
    }
    assert_eq!(added, 1_000);
    for node in &nodes {
        assert_eq!(read(node, &contest).await, Some(all(1_000)));
    }
}

#[test]
fn a_refusal_is_seen() {
    let error = ShownError::unavailable("CROSSSLOT Keys in request don't hash to the same slot");
    assert!(is_refusal(&error).is_some());
    assert!(is_refusal(&ShownError::Open).is_none());
}
