//! What counting a finisher costs beside the plainest write: our script ÷ SET, through the same
//! settings of the same client, in turns. `cargo run --release -p adapters-redis --example ratio
//! redis://127.0.0.1:6379`; it leaves the keys of one contest and one key of its own behind.
#![allow(
    clippy::expect_used,
    clippy::float_arithmetic,
    reason = "an example that prints ratios"
)]

use adapters_redis::{RedisShown, Settings};
use contract_tests::samples::{contest_in, signup_id};
use domain::{contest::PhaseKind, time::UnixMillis};
use fred::{
    interfaces::{ClientLike, KeysInterface},
    prelude::{Builder, Config},
};
use ports::shown::{Count, Counted, Tallies};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const ROUNDS: usize = 7;
/// Calls of a round, one after the other by each of so many callers.
const CALLS: usize = 500;
const CALLERS: usize = 32;
/// How many finishers one call of the batch has.
const BATCH: usize = 500;

/// Every caller makes its calls, one after the other; the calls of all in a second.
async fn rate<T: Future<Output = ()> + Send + 'static>(
    call: impl Fn() -> T + Clone + Send + 'static,
) -> f64 {
    let began = Instant::now();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let call = call.clone();
            tokio::spawn(async move {
                for _ in 0..CALLS {
                    call().await;
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("no panic");
    }
    (CALLERS * CALLS) as f64 / began.elapsed().as_secs_f64()
}

fn finishers(count: usize) -> Vec<Count> {
    (0..count)
        .map(|_| Count::Finisher(signup_id(), 1))
        .collect()
}

#[tokio::main]
async fn main() {
    let url = std::env::args().nth(1).expect("the address of a Redis");
    // Generous: a late call would count as a fast failure.
    let settings = Settings {
        budget: Duration::from_secs(5),
        ..Settings::new(&url)
    };
    let shown = RedisShown::connect(&settings).expect("settings that work");
    let config = Config::from_url(&url).expect("an address");
    let plain = Builder::from_config(config)
        .with_performance_config(|performance| {
            performance.default_command_timeout = Duration::from_secs(5);
        })
        .build_pool(4)
        .expect("a pool");
    plain.init().await.expect("connected");
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let now = UnixMillis(i64::try_from(since.as_millis()).expect("it fits"));
    let contest = contest_in(PhaseKind::Running, now);
    while shown.read(&contest).await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let epoch = Tallies::begin(&shown, &contest).await.expect("begun");
    assert!(
        Tallies::finish(&shown, &contest, epoch)
            .await
            .expect("built")
    );
    let mut ratios = Vec::new();
    println!("round  SET/s  count/s  count÷SET  finishers/s in calls of {BATCH}");
    for round in 1..=ROUNDS {
        let client = plain.clone();
        let set = rate(move || {
            let client = client.clone();
            async move {
                let key = format!("guafen:ratio:{}", signup_id());
                let done: Result<(), _> = client
                    .set(key, "1", Some(fred::types::Expiration::EX(60)), None, false)
                    .await;
                done.expect("set");
            }
        })
        .await;
        let (counting, of) = (shown.clone(), contest.clone());
        let count = rate(move || {
            let (counting, of) = (counting.clone(), of.clone());
            async move {
                let counted = counting.count(&of, &finishers(1)).await;
                assert!(matches!(counted, Ok(Counted::Now(_, 1))), "{counted:?}");
            }
        })
        .await;
        let began = Instant::now();
        for _ in 0..20 {
            let counted = shown.count(&contest, &finishers(BATCH)).await;
            assert!(matches!(counted, Ok(Counted::Now(..))), "{counted:?}");
        }
        let batched = (20 * BATCH) as f64 / began.elapsed().as_secs_f64();
        println!(
            "{round}  {set:.0}  {count:.0}  {:.2}  {batched:.0}",
            count / set
        );
        ratios.push(count / set);
    }
    ratios.sort_by(f64::total_cmp);
    println!(
        "count ÷ SET: median {:.2}, from {:.2} to {:.2}",
        ratios[ROUNDS / 2],
        ratios[0],
        ratios[ROUNDS - 1]
    );
}
