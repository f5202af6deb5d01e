//! However large a contest is, no command keeps the server from the others for long. What is looked
//! at is how much each command brings and how many a step takes, not how long they last: the server
//! tells every command that a client sent, and how often each ran, in scripts too.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use adapters_redis::RedisShown;
use common::{answers, contest, finishers, now, place, read, shown};
use domain::{contest::Contest, settlement::Advisory};
use ports::{
    leaderboard::Place,
    shown::{Count, Counted, Ranking, Tallies},
};
use std::{collections::BTreeMap, sync::Arc};
use test_support::{Redis, Reply, private_redis};

/// The most rows of one command.
const ROWS_MAX: usize = 500;
/// The texts of a count: two fields, a unique id and an amount.
const COUNT: usize = 4;
/// The texts of a place: the viewer and the member.
const PLACE: usize = 2;
/// What else there may be in a command: its name, the script's, keys, the epoch, times.
const REST: usize = 16;
/// Commands that walk over all of a value, and `del`, which frees it before it answers.
const SLOW: [&str; 14] = [
    "del",
    "flushall",
    "flushdb",
    "hgetall",
    "hkeys",
    "hvals",
    "keys",
    "scan",
    "sinter",
    "smembers",
    "sort",
    "sunion",
    "zunionstore",
    "zinterstore",
];

/// A server that tells everything, and a contest.
async fn opened() -> (Redis, Arc<RedisShown>, Contest) {
    let redis = private_redis().await.expect("a Redis");
    for (setting, value) in [
        ("slowlog-log-slower-than", "0"),
        ("slowlog-max-len", "100000"),
    ] {
        let set = redis.command(&["CONFIG", "SET", setting, value]).await;
        set.expect("set");
    }
    let (shown, contest) = (shown(redis.url()), contest());
    answers(&shown, &contest).await;
    (redis, shown, contest)
}

fn list(reply: &Reply) -> &[Reply] {
    match reply {
        Reply::List(items) => items,
        other => panic!("no list: {other:?}"),
    }
}

/// Of how many texts each script's command was, since the last look. The server keeps 32 texts of
/// a command at most; the last of them then says how many more there were.
async fn sizes(redis: &Redis) -> Vec<usize> {
    let log = redis.command(&["SLOWLOG", "GET", "-1"]).await;
    redis.command(&["SLOWLOG", "RESET"]).await.expect("reset");
    let log = log.expect("the log");
    let commands = list(&log).iter().map(|entry| list(&list(entry)[3]));
    let scripts = commands.filter(|parts| {
        let name = parts[0].text().expect("a name").to_lowercase();
        name.starts_with("eval")
    });
    let size = |parts: &[Reply]| {
        let last = parts[parts.len() - 1].text().expect("a text");
        let more = last.strip_prefix("... (").and_then(|text| {
            let number = text.strip_suffix(" more arguments)")?;
            number.parse::<usize>().ok()
        });
        more.map_or(parts.len(), |more| parts.len() - 1 + more)
    };
    scripts.map(size).collect()
}

/// How often each command ran, since the last look.
async fn ran(redis: &Redis) -> BTreeMap<String, usize> {
    let info = redis.command(&["INFO", "commandstats"]).await;
    let reset = redis.command(&["CONFIG", "RESETSTAT"]).await;
    reset.expect("reset");
    let info = info.expect("the numbers");
    let line = |line: &str| {
        let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let calls = numbers.strip_prefix("calls=")?.split(',').next()?;
        Some((name.to_lowercase(), calls.parse().expect("a number")))
    };
    let ours = [
        "config|", "info", "ping", "slowlog|", "auth", "hello", "client|",
    ];
    let all = info.text().expect("a text").lines().filter_map(line);
    all.filter(|(name, _)| !ours.iter().any(|our| name.starts_with(our)))
        .collect()
}

fn assert_none_is_slow(ran: &BTreeMap<String, usize>) {
    let slow: Vec<_> = SLOW
        .iter()
        .filter(|name| ran.contains_key(**name))
        .collect();
    assert!(slow.is_empty(), "{slow:?} of {ran:?}");
}

fn places(count: usize) -> Vec<Place> {
    let name = |number| format!("viewer-{number}");
    let place = |number| place(&name(number), number as u64 + 1, now());
    (0..count).map(place).collect()
}

/// Each script since the last look brings at most 500 rows of so many texts, and all of them
/// together bring every row. How many scripts there were.
async fn assert_in_chunks(redis: &Redis, rows: usize, texts: usize) -> usize {
    let sizes = sizes(redis).await;
    let largest = sizes.iter().max().copied().unwrap_or_default();
    let max = ROWS_MAX * texts + REST;
    assert!(largest <= max, "{largest} texts in one command, not {max}");
    let sum: usize = sizes.iter().sum();
    assert!(sum >= rows * texts, "{sum} texts were seen of {rows} rows");
    sizes.len()
}

async fn rebuild(shown: &Arc<RedisShown>, contest: &Contest, rows: &[Count]) {
    let epoch = Tallies::begin(shown.as_ref(), contest).await;
    let epoch = epoch.expect("begun");
    // All at once: whoever calls may not know how much is too much.
    let put = Tallies::put(shown.as_ref(), contest, epoch, rows).await;
    assert!(put.expect("an answer"));
    let finished = Tallies::finish(shown.as_ref(), contest, epoch).await;
    assert!(finished.expect("an answer"));
}

async fn rebuild_ranking(shown: &Arc<RedisShown>, contest: &Contest, entered: &[Place]) {
    let epoch = Ranking::begin(shown.as_ref(), contest).await;
    let epoch = epoch.expect("begun");
    let built = shown.build(contest, epoch, entered).await;
    assert!(built.expect("an answer"));
    let finished = Ranking::finish(shown.as_ref(), contest, epoch).await;
    assert!(finished.expect("an answer"));
}

// hazard: D11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_rebuild_comes_in_chunks_and_frees_what_was_there_beside_the_commands() {
    const ROWS: usize = 10_000;
    let (redis, shown, contest) = opened().await;
    let (rows, entered) = (finishers(ROWS), places(ROWS));
    // The second time there is a large one in its place, and half of one that was given up.
    for round in 0..2 {
        if round == 1 {
            let epoch = Tallies::begin(shown.as_ref(), &contest).await;
            let epoch = epoch.expect("begun");
            let put = Tallies::put(shown.as_ref(), &contest, epoch, &rows).await;
            assert!(put.expect("an answer"));
        }
        sizes(&redis).await;
        ran(&redis).await;
        rebuild(&shown, &contest, &rows).await;
        let scripts = assert_in_chunks(&redis, ROWS, COUNT).await;
        rebuild_ranking(&shown, &contest, &entered).await;
        let scripts = scripts + assert_in_chunks(&redis, ROWS, PLACE).await;
        let ran = ran(&redis).await;
        assert_none_is_slow(&ran);
        assert!(ran["unlink"] > 0, "{ran:?}");
        // What the scripts do is so much for each row and each script, whatever is there already.
        let within: usize = ran.values().sum();
        let bound = 6 * ROWS + 20 * scripts;
        assert!(within <= bound, "{within} commands, not {bound}: {ran:?}");
    }
    let tally = read(&shown, &contest).await.expect("a tally");
    assert_eq!(tally.finishers, ROWS as u64);
}

// hazard: D11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_counts_and_places_at_once_come_in_chunks() {
    const ROWS: usize = 5_000;
    let (redis, shown, contest) = opened().await;
    rebuild(&shown, &contest, &[]).await;
    rebuild_ranking(&shown, &contest, &[]).await;
    sizes(&redis).await;
    ran(&redis).await;
    let counted = shown.count(&contest, &finishers(ROWS)).await;
    let counted = counted.expect("an answer");
    assert!(
        matches!(counted, Counted::Now(Advisory(tally), _) if tally.finishers == ROWS as u64),
        "{counted:?}"
    );
    assert_in_chunks(&redis, ROWS, COUNT).await;
    let put = Ranking::put(shown.as_ref(), &contest, &places(ROWS)).await;
    assert!(put.expect("an answer"));
    assert_in_chunks(&redis, ROWS, PLACE).await;
    assert_none_is_slow(&ran(&redis).await);
}

// hazard: D11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_takes_as_many_commands_in_a_large_contest_as_in_a_small_one() {
    let (redis, shown, contest) = opened().await;
    let mut taken = Vec::new();
    // The first time the server does not know all of the scripts yet.
    for rows in [20, 20, 10_000] {
        let entered = places(rows);
        rebuild(&shown, &contest, &finishers(rows)).await;
        rebuild_ranking(&shown, &contest, &entered).await;
        ran(&redis).await;
        let top = Ranking::top(shown.as_ref(), &contest, 10).await;
        assert_eq!(top.expect("an answer").expect("a ranking").len(), 10);
        let middle = &entered[rows / 2].user_id;
        let around = shown.place_of(&contest, middle, 3).await;
        let around = around.expect("an answer").expect("a ranking");
        assert_eq!(around.expect("a place").around.len(), 7);
        assert!(read(&shown, &contest).await.is_some());
        let one = finishers(1);
        let counted = shown.count(&contest, &one).await.expect("an answer");
        assert!(matches!(counted, Counted::Now(_, 1)), "{counted:?}");
        let new = [place("a-new-one", 7, now())];
        let put = Ranking::put(shown.as_ref(), &contest, &new).await;
        assert!(put.expect("an answer"));
        let ran = ran(&redis).await;
        assert_none_is_slow(&ran);
        taken.push(ran);
    }
    assert_eq!(taken[1], taken[2]);
}
