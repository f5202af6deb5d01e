//! How many transfers a second go through gRPC on loopback, with 64 callers, each waiting for its
//! answer, against the funds system in memory in the same process:
//!
//! ```text
//! cargo run --release -p adapters-funds --example crowd [seconds]
//! ```
//!
//! The processor time is that of client and server together.
#![allow(clippy::expect_used, reason = "a measurement")]

use adapters_funds::{GrpcFunds, Settings, serve};
use adapters_memory::{funds::MemoryFunds, system::ManualClock};
use domain::{
    money::Coins,
    order::{Account, OrderId, Platform},
    time::UnixMillis,
    transfer::Content,
};
use ports::funds::{Funds, TransferOutcome, TransferRequest};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::net::TcpListener;

const CALLERS: u64 = 64;

/// Processor time of this process, in clock ticks of 10 ms.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let field = |index: usize| after_name.split_whitespace().nth(index);
    let ticks = |index| field(index).and_then(|text| text.parse::<u64>().ok());
    ticks(11).unwrap_or(0) + ticks(12).unwrap_or(0)
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(5));
    let clock = Arc::new(ManualClock::new(UnixMillis(1_000)));
    let memory: Arc<dyn Funds> = Arc::new(MemoryFunds::new(clock));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(serve(memory, listener, None, std::future::pending()));
    let settings = Settings::new("funds", url);
    let client = Arc::new(GrpcFunds::connect(&settings).await.expect("a client"));
    let pool = Account::Pool(
        "0198c9f2-0000-7000-8000-00000000000a"
            .parse()
            .expect("an id"),
    );
    client.open_account(&pool).await.expect("an account");
    let next = Arc::new(AtomicU64::new(1));
    let (begun, before) = (Instant::now(), ticks());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (client, pool, next) = (Arc::clone(&client), pool.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                let mut done = 0_u64;
                while begun.elapsed() < time {
                    let order = next.fetch_add(1, Ordering::Relaxed);
                    let request = TransferRequest {
                        order_id: OrderId(u128::from(order).to_be_bytes()),
                        content: Content {
                            from: Account::Platform(Platform::Issuing),
                            to: pool.clone(),
                            amount: Coins::new(1).expect("a coin"),
                        },
                        not_after: Some(UnixMillis(2_000)),
                        memo: format!("guafen/1/fee/{pool}/user-{order}/0"),
                    };
                    let outcome = client.transfer(&request).await;
                    assert!(
                        matches!(outcome, TransferOutcome::Applied(_)),
                        "{outcome:?}"
                    );
                    done += 1;
                }
                done
            })
        })
        .collect();
    let mut done = 0;
    for caller in callers {
        done += caller.await.expect("a caller that ends");
    }
    let millis = u64::try_from(begun.elapsed().as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let spent = (ticks() - before) * 10_000;
    println!(
        "{done} transfers in {millis} ms: {} a second, {} µs of processor each",
        done * 1_000 / millis,
        spent / done.max(1)
    );
    let balance = client.balance(&pool).await.expect("a balance").amount;
    assert_eq!(balance, i64::try_from(done).expect("a small number"));
}
