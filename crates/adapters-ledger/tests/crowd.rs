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
use futures_util::future::join_all;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeat_among_new_orders_is_answered_as_the_first_time() {
    let scratch = Scratch::new();
    let (one, other) = (scratch.ledger(), Scratch::new());
    repeats(Ledger::open(&one).await.expect("a ledger"), 0).await;
    repeats(
        Ledger::open(&other.ledger()).await.expect("a ledger"),
        1_000,
    )
    .await;
    for server in ["GUAFEN_TEST_MYSQL_URL", "GUAFEN_TEST_MARIADB_URL"] {
        for spare in [0, 1_000] {
            repeats(Schema::new(server).await.ledger().await, spare).await;
        }
    }
}

/// Rounds of new orders at once, in every other round with all orders so far beside them and one of
/// them with another amount: batches that expect repeats and meet none, and batches that expect none
/// and meet some. The payer has what the next round costs and `spare`: without, a repeat that was
/// judged anew would be refused; with, it would be paid again.
async fn repeats(ledger: Ledger, spare: u64) {
    const ROUNDS: u64 = 8;
    const ORDERS: u64 = 8;
    let [payer, payee] = ["ann", "bob"].map(|name| Account::User(name.parse().expect("a user id")));
    for account in [&payer, &payee] {
        ledger.open_account(account).await.expect("an open account");
    }
    let issuing = Account::Platform(Platform::Issuing);
    let mut first: Vec<(TransferRequest, TransferOutcome)> = Vec::new();
    for round in 0..ROUNDS {
        let coins = if round == 0 { ORDERS + spare } else { ORDERS };
        let granted = ledger.transfer(&ask(round, &issuing, &payer, coins)).await;
        assert!(
            matches!(granted, TransferOutcome::Applied(_)),
            "{granted:?}"
        );
        let new = (0..ORDERS).map(|number| {
            let order = 1_000 + round * ORDERS + number;
            (ask(order, &payer, &payee, 1), None)
        });
        let mut asked = Vec::new();
        if round % 2 == 0 && round > 0 {
            let again = first.iter().cloned();
            asked.extend(again.map(|(request, answer)| (request, Some(answer))));
            let other = ask(1_000, &payer, &payee, 2);
            asked.push((other, Some(TransferOutcome::Conflict)));
        }
        asked.extend(new);
        let answers = join_all(asked.iter().map(|(request, _)| ledger.transfer(request))).await;
        for ((request, expected), answer) in asked.into_iter().zip(answers) {
            if let Some(expected) = expected {
                assert_eq!(answer, expected, "{request:?}");
            } else {
                assert!(matches!(answer, TransferOutcome::Applied(_)), "{answer:?}");
                first.push((request, answer));
            }
        }
    }
    let balance = ledger.balance(&payee).await.expect("a balance");
    assert_eq!(balance.amount, i64::try_from(ROUNDS * ORDERS).expect("few"));
    assert_eq!(balance.position.0, ROUNDS + ROUNDS * ORDERS);
}
