//! What the server keeps, for how long, and what it refuses.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use adapters_redis::{RedisShown, Settings};
use common::{
    answers, build, build_ranking, contest, finishers, now, place, ranking, shown, tallies,
};
use contract_tests::samples::{HOUR, all_states, coins, signup_in, user};
use domain::{contest::Contest, signup::Signup};
use ports::shown::{
    ABSENT_MS_MAX, Cached, FILL_MS_MAX, Filled, PastPool, PastPools, Ranking, RecordCache, Tallies,
};
use std::sync::Arc;
use test_support::{Redis, Reply, private_redis};

const DAY: i64 = 24 * HOUR;

async fn number(redis: &Redis, parts: &[&str]) -> i64 {
    match redis.command(parts).await.expect("an answer") {
        Reply::Number(number) => number,
        other => panic!("no number: {other:?}"),
    }
}

async fn keys(redis: &Redis) -> Vec<String> {
    match redis.command(&["KEYS", "*"]).await.expect("an answer") {
        Reply::List(keys) => keys
            .iter()
            .map(|key| key.text().expect("a name").to_owned())
            .collect(),
        other => panic!("no list: {other:?}"),
    }
}

/// When each key ends, for the keys whose name has this part.
async fn ends(redis: &Redis, part: &str) -> Vec<i64> {
    let mut ends = Vec::new();
    for key in keys(redis).await {
        if key.contains(part) {
            let end = number(redis, &["PEXPIRETIME", &key]).await;
            assert!(end > 0, "{key} has no end: {end}");
            ends.push(end);
        }
    }
    assert!(!ends.is_empty(), "no key has {part}");
    ends
}

fn signup(contest: &Contest, name: &str) -> Signup {
    let state = all_states(now()).swap_remove(0);
    signup_in(state, contest, user(name), now())
}

async fn opened() -> (Redis, Arc<RedisShown>, Contest) {
    let redis = private_redis().await.expect("a Redis");
    let (shown, contest) = (shown(redis.url()), contest());
    answers(&shown, &contest).await;
    (redis, shown, contest)
}

// hazard: D4, E10, E11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_ends_when_its_kind_does() {
    let (redis, shown, contest) = opened().await;
    let end = contest.terms.claim_closes_at.0;
    // While it is built, and if that is given up, it ends soon.
    let ann = place("ann", 3, now());
    Tallies::begin(shown.as_ref(), &contest)
        .await
        .expect("begun");
    let epoch = Ranking::begin(shown.as_ref(), &contest)
        .await
        .expect("begun");
    shown
        .count(&contest, &finishers(50))
        .await
        .expect("an answer");
    let places = std::slice::from_ref(&ann);
    Ranking::put(shown.as_ref(), &contest, places)
        .await
        .expect("an answer");
    for end in ends(&redis, ":building").await {
        assert!(end <= now().0 + 600_000, "{end}");
    }
    shown.build(&contest, epoch, places).await.expect("built");
    for end in ends(&redis, ":building").await {
        assert!(end <= now().0 + 600_000, "{end}");
    }
    build(&tallies(&shown), &contest, &finishers(50)).await;
    build_ranking(&ranking(&shown), &contest, &[ann]).await;
    for _ in 0..2 {
        let of = ends(&redis, "guafen:tally").await;
        assert_eq!(
            of.len(),
            8,
            "four parts of two keys, and nothing of the building"
        );
        for end_of in ends(&redis, ":numbers").await {
            assert_eq!(end_of, end + 12 * DAY);
        }
        for end_of in ends(&redis, ":unique").await {
            assert_eq!(end_of, end + 2 * DAY);
        }
        for end_of in ends(&redis, "guafen:ranking").await {
            assert_eq!(end_of, end + 12 * DAY);
        }
        // The same after counting and entering.
        shown
            .count(&contest, &finishers(50))
            .await
            .expect("counted");
        let bob = [place("bob", 4, now())];
        Ranking::put(shown.as_ref(), &contest, &bob)
            .await
            .expect("entered");
    }
    let pool = PastPool {
        amount: coins(7),
        finishers: 1,
        prize: coins(7),
        as_of: now(),
    };
    PastPools::put(shown.as_ref(), &contest, pool)
        .await
        .expect("kept");
    assert_eq!(ends(&redis, "guafen:pool").await, [end + 12 * DAY]);
    // Records, spread by a tenth.
    for number in 0..300 {
        let signup = signup(&contest, &format!("viewer-{number}"));
        let filled = shown.fill(&contest, &signup.user_id, Some(&signup)).await;
        assert_eq!(filled.expect("an answer"), Filled::Stored);
    }
    let mut of = ends(&redis, ":value").await;
    of.sort_unstable();
    let (first, last) = (of[0], of[of.len() - 1]);
    assert!(first >= end + 3 * DAY - 3 * DAY / 10, "{first}");
    assert!(last <= end + 3 * DAY + 3 * DAY / 10, "{last}");
    assert!(
        last - first > DAY / 2,
        "they end together: {first} to {last}"
    );
    // A dropped version is remembered for longer than a fill takes, an absence is short.
    shown
        .drop_record(&contest, &user("ann"), 3)
        .await
        .expect("dropped");
    let left = ends(&redis, ":dropped").await[0] - now().0;
    assert!((FILL_MS_MAX + 1..=60_000).contains(&left), "{left}");
    shown
        .fill(&contest, &user("absent"), None)
        .await
        .expect("stored");
    let left = ends(&redis, ":absent}:value").await[0] - now().0;
    assert!(left <= ABSENT_MS_MAX, "{left}");
    for key in keys(&redis).await {
        assert!(
            number(&redis, &["PTTL", &key]).await > 0,
            "{key} has no end"
        );
    }
}

// hazard: E1, E3, E6
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_that_lay_somewhere_is_refused_by_the_servers_clock() {
    let redis = private_redis().await.expect("a Redis");
    let script = include_str!("../scripts/fill.lua");
    let end = (now().0 + DAY).to_string();
    for (late_by, wanted) in [(-5_000, 1), (1, 2), (60_000, 2)] {
        let not_after = (now().0 - late_by).to_string();
        let parts = [
            "EVAL",
            script,
            "2",
            "{t}:value",
            "{t}:dropped",
            "1",
            "x",
            "at",
            &end,
            &not_after,
        ];
        assert_eq!(number(&redis, &parts).await, wanted, "late by {late_by} ms");
    }
    redis.command(&["DEL", "{t}:value"]).await.expect("gone");
    let not_after = (now().0 - 1).to_string();
    let parts = [
        "EVAL",
        script,
        "2",
        "{t}:value",
        "{t}:dropped",
        "1",
        "x",
        "at",
        &end,
        &not_after,
    ];
    assert_eq!(number(&redis, &parts).await, 2);
    assert_eq!(
        keys(&redis).await,
        Vec::<String>::new(),
        "and nothing is stored"
    );
}

// hazard: E14, J12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_record_of_that_viewer_is_a_miss_and_is_filled_again() {
    let (redis, shown, contest) = opened().await;
    let ann = signup(&contest, "ann");
    shown
        .fill(&contest, &ann.user_id, Some(&ann))
        .await
        .expect("stored");
    let keys = keys(&redis).await;
    let key = &keys[0];
    let good = redis.command(&["HGET", key, "d"]).await.expect("read");
    let good = good.text().expect("a text").to_owned();
    let bob = good.replace("ann", "bob");
    let elsewhere = good.replace(
        &contest.id.to_string(),
        "0198c9f2-0000-7000-8000-000000000001",
    );
    assert!(bob != good && elsewhere != good);
    for bad in [
        "{}",
        "null",
        "[",
        "\u{fffd}",
        "{\"version\":1}",
        &good[..good.len() / 2],
        &bob,
        &elsewhere,
    ] {
        redis
            .command(&["HSET", key, "d", bad])
            .await
            .expect("spoilt");
        let found = RecordCache::get(shown.as_ref(), contest.id, &ann.user_id)
            .await
            .expect("no error");
        assert_eq!(found, None, "{bad}");
        let filled = shown.fill(&contest, &ann.user_id, Some(&ann)).await;
        assert_eq!(filled.expect("an answer"), Filled::Stored, "{bad}");
        let found = RecordCache::get(shown.as_ref(), contest.id, &ann.user_id)
            .await
            .expect("no error");
        assert!(matches!(found, Some(Cached::Record(_))), "{bad}");
    }
}

// hazard: J12
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_names_are_names() {
    let (_redis, shown, contest) = opened().await;
    let long = "x".repeat(64);
    let names = [
        "-1",
        "0",
        "1e309",
        ".",
        "..",
        "_",
        "nan",
        "nil",
        "false",
        "return",
        "e",
        "f",
        "rebuild",
        "value",
        "KEYS.1.",
        "redis.call",
        "--",
        "9007199254740993",
        "9007199254740992",
        &long,
    ];
    let places: Vec<_> = (1..)
        .zip(names)
        .map(|(quantity, name)| place(name, quantity, now()))
        .collect();
    build_ranking(&ranking(&shown), &contest, &[]).await;
    let entered = Ranking::put(shown.as_ref(), &contest, &places).await;
    assert!(entered.expect("an answer"));
    let top = shown
        .top(&contest, 100)
        .await
        .expect("an answer")
        .expect("a ranking");
    assert_eq!(top.len(), names.len());
    for (number, name) in names.iter().enumerate() {
        let found = shown.place_of(&contest, &user(name), 0).await;
        let found = found
            .expect("an answer")
            .expect("a ranking")
            .expect("a place");
        assert_eq!(found.place.rank as usize, names.len() - number, "{name}");
        let record = signup(&contest, name);
        shown
            .fill(&contest, &record.user_id, Some(&record))
            .await
            .expect("stored");
    }
    for name in names {
        let found = RecordCache::get(shown.as_ref(), contest.id, &user(name))
            .await
            .expect("an answer");
        assert!(
            matches!(&found, Some(Cached::Record(record)) if record.user_id == user(name)),
            "{name}: {found:?}"
        );
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_without_their_password() {
    for url in [
        "",
        "localhost",
        "http://127.0.0.1",
        "redis://u:secret@",
        "redis://:secret@h:99999",
    ] {
        let error = RedisShown::connect(&Settings::new(url)).err();
        if let Some(error) = error {
            assert!(!format!("{error:?} {error}").contains("secret"));
        } else {
            panic!("{url} is no address");
        }
    }
    for shards in [0, 65] {
        let settings = Settings {
            shards,
            ..Settings::new("redis://127.0.0.1:1")
        };
        assert!(RedisShown::connect(&settings).is_err());
    }
}

// hazard: J8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_with_tls_is_never_spoken_to_in_clear_text() {
    for scheme in ["rediss", "rediss-cluster"] {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let addr = listener.local_addr().expect("an address");
        let url = format!("{scheme}://user:secret@localhost:{}", addr.port());
        let _shown = RedisShown::connect(&Settings::new(url)).expect("settings");
        let taken = tokio::time::timeout(common::PATIENCE, listener.accept()).await;
        let (stream, _) = taken.expect("in time").expect("a connection");
        let mut first = [0; 1];
        let peeked = tokio::time::timeout(common::PATIENCE, stream.peek(&mut first)).await;
        assert_eq!(peeked.expect("in time").expect("a byte"), 1);
        // A record of a TLS handshake.
        assert_eq!(first[0], 0x16, "{scheme}");
    }
}
