//! How fast the tally counts beside plain `SET`, through the same client, in rounds that alternate.
//!
//! `cargo run --release -p adapters-redis --example count_beside_set [redis://127.0.0.1:6379]`; the
//! server's database is emptied of nothing, what is written ends by itself.
#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a bench"
)]

use adapters_redis::{RedisShown, Settings};
use contract_tests::samples::{contest_in, signup_id};
use domain::contest::{Contest, PhaseKind};
use fred::{
    clients::Pool,
    interfaces::{ClientLike, KeysInterface, LuaInterface},
    types::{Builder, Expiration, config::Config},
};
use ports::shown::{Count, Counted, Tallies};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

const CALLERS: usize = 50;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(1_500);

/// Calls a second.
async fn rate<F, Fut>(call: F) -> f64
where
    F: Fn() -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send,
{
    let done = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (call, done) = (call.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                while began.elapsed() < ROUND {
                    call().await;
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no caller panics");
    }
    done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

async fn opened(url: &str, shards: u16) -> (Arc<RedisShown>, Contest) {
    let settings = Settings {
        shards,
        budget: Duration::from_secs(2),
        ..Settings::new(url)
    };
    let shown = Arc::new(RedisShown::connect(&settings).expect("settings"));
    let contest = contest_in(PhaseKind::Running, contract_tests::shown::now());
    while shown.read(&contest).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let epoch = shown.begin(&contest).await.expect("begun");
    assert!(shown.finish(&contest, epoch).await.expect("finished"));
    (shown, contest)
}

async fn by_port(shown: &Arc<RedisShown>, contest: &Contest) -> f64 {
    let (shown, contest) = (Arc::clone(shown), Arc::new(contest.clone()));
    rate(move || {
        let (shown, contest) = (Arc::clone(&shown), Arc::clone(&contest));
        async move {
            let finisher = [Count::Finisher(signup_id(), 1_000)];
            let counted = shown.count(&contest, &finisher).await;
            assert!(matches!(counted, Ok(Counted::Now(_, 1))), "{counted:?}");
        }
    })
    .await
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| "redis://127.0.0.1:6379".to_owned());
    let config = Config::from_url(&url).expect("an address");
    let pool: Pool = Builder::from_config(config).build_pool(4).expect("a pool");
    pool.init().await.expect("connected");
    let sha: String = pool
        .next()
        .script_load(include_str!("../scripts/count.lua"))
        .await
        .expect("loaded");
    let (whole, contest) = opened(&url, 1).await;
    let (parted, parted_contest) = opened(&url, 4).await;
    let tag = format!("guafen:tally:1:{{{}:0}}", contest.id);
    let keys: Vec<String> = [
        "numbers",
        "unique",
        "building",
        "building-numbers",
        "building-unique",
    ]
    .iter()
    .map(|part| format!("{tag}:{part}"))
    .collect();
    let names = ["SET", "count script", "count, 1 part", "count, 4 parts"];
    let mut rates: [Vec<f64>; 4] = Default::default();
    for round in 0..=ROUNDS {
        let client = pool.clone();
        let set = rate(move || {
            let client = client.clone();
            async move {
                let key = format!("bench:{}", signup_id());
                let ends = Some(Expiration::EX(600));
                let _: () = client
                    .set(key, "1000", ends, None, false)
                    .await
                    .expect("set");
            }
        })
        .await;
        let (client, keys, sha) = (pool.clone(), keys.clone(), sha.clone());
        let script = rate(move || {
            let (client, keys, sha) = (client.clone(), keys.clone(), sha.clone());
            async move {
                let id = format!("f:{}", signup_id());
                let arguments = vec!["f".into(), "w".into(), id, "1000".into()];
                let answer: Vec<String> = client
                    .next()
                    .evalsha(sha, keys, arguments)
                    .await
                    .expect("counted");
                assert_eq!(answer[0], "1");
            }
        })
        .await;
        let measured = [
            set,
            script,
            by_port(&whole, &contest).await,
            by_port(&parted, &parted_contest).await,
        ];
        // The first warms up.
        if round > 0 {
            for (rates, rate) in rates.iter_mut().zip(measured) {
                rates.push(rate);
            }
        }
    }
    let set = rates[0].clone();
    println!("{CALLERS} callers, {ROUNDS} rounds of {ROUND:?} each, medians");
    for (name, rates) in names.iter().zip(rates) {
        let ratios: Vec<f64> = rates
            .iter()
            .zip(&set)
            .map(|(rate, set)| rate / set)
            .collect();
        let (low, high) = (
            ratios.iter().copied().fold(f64::INFINITY, f64::min),
            ratios.iter().copied().fold(0.0, f64::max),
        );
        println!(
            "{name:>16}: {:>8.0}/s, ÷ SET {:.2} ({low:.2} to {high:.2})",
            median(rates),
            median(ratios)
        );
    }
}
