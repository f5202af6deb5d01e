//! A crowd that credits one pool account: every fee is in it exactly once. Prints how fast it went
//! (`cargo test --release -p adapters-ledger --test crowd -- --nocapture`); asserts no time.

mod common;

use adapters_ledger::Ledger;
use common::{Schema, Scratch};
use domain::{
    money::Coins,
    order::{Account, OrderId, Platform},
    transfer::Content,
};
use ports::funds::{Funds, TransferOutcome, TransferRequest};
use std::{sync::Arc, time::Instant};

const CALLERS: u64 = 64;
/// Fees of one caller.
const FEES: u64 = if cfg!(debug_assertions) { 20 } else { 2_000 };

fn ask(order: u64, from: &Account, to: &Account, amount: u64) -> TransferRequest {
    TransferRequest {
        order_id: OrderId(u128::from(order).to_be_bytes()),
        content: Content {
            from: from.clone(),
            to: to.clone(),
            amount: Coins::new(amount).expect("coins"),
        },
        not_after: None,
        memo: format!("guafen/1/fee/0198c9f2-0000-7000-8000-00000000000a/user-{order}/0"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_credits_one_pool() {
    let scratch = Scratch::new();
    crowd(Ledger::open(&scratch.ledger()).await.expect("a ledger")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_credits_one_pool_on_mysql() {
    let schema = Schema::new("GUAFEN_TEST_MYSQL_URL").await;
    crowd(schema.ledger().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_credits_one_pool_on_mariadb() {
    let schema = Schema::new("GUAFEN_TEST_MARIADB_URL").await;
    crowd(schema.ledger().await).await;
}

async fn crowd(ledger: Ledger) {
    let ledger = Arc::new(ledger);
    let pool = "0198c9f2-0000-7000-8000-00000000000a"
        .parse()
        .expect("a contest id");
    let pool = Account::Pool(pool);
    ledger.open_account(&pool).await.expect("an open account");
    let mut users = Vec::new();
    for number in 0..CALLERS {
        let user = Account::User(format!("user-{number}").parse().expect("a user id"));
        ledger.open_account(&user).await.expect("an open account");
        let grant = ask(number, &Account::Platform(Platform::Issuing), &user, FEES);
        assert!(matches!(
            ledger.transfer(&grant).await,
            TransferOutcome::Applied(_)
        ));
        users.push(user);
    }
    let start = Instant::now();
    let callers: Vec<_> = users
        .into_iter()
        .zip(1..)
        .map(|(user, caller)| {
            let (ledger, pool) = (Arc::clone(&ledger), pool.clone());
            tokio::spawn(async move {
                for fee in 0..FEES {
                    let outcome = ledger
                        .transfer(&ask(caller << 32 | fee, &user, &pool, 1))
                        .await;
                    assert!(
                        matches!(outcome, TransferOutcome::Applied(_)),
                        "{outcome:?}"
                    );
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.expect("a task that ends");
    }
    let millis = start.elapsed().as_millis().max(1);
    let fees = CALLERS * FEES;
    println!(
        "{fees} fees in {millis} ms: {} a second",
        u128::from(fees) * 1_000 / millis
    );
    let balance = ledger.balance(&pool).await.expect("a balance");
    assert_eq!(balance.amount, i64::try_from(fees).expect("a small number"));
    assert_eq!(balance.position.0, CALLERS + fees);
}
