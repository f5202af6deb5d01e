//! Whatever is asked, in whatever order and however it is batched, the ledger and the funds system
//! in memory answer the same. Times are left out: the ledger's clock is its own.

mod common;

use adapters_ledger::Ledger;
use adapters_memory::{funds::MemoryFunds, system::ManualClock};
use common::{Schema, Scratch};
use domain::{
    money::Coins,
    order::{Account, OrderId, Platform},
    time::UnixMillis,
    transfer::{Content, CreditsClosed, Position, Transfer},
};
use futures_util::future::{BoxFuture, join_all};
use ports::funds::{Funds, FundsError, TransferOutcome, TransferRequest};
use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence},
};
use std::sync::Arc;

/// What is asked; accounts and orders are drawn from a few, so that they meet.
#[derive(Clone, Debug)]
enum Ask {
    Open(Account),
    Transfer(TransferRequest),
    CloseCredits(Account),
    Close(Account),
}

/// An answer without its times.
#[derive(Debug, PartialEq)]
enum Answer {
    Done,
    Applied(OrderId, Content, Position),
    Otherwise(TransferOutcome),
    Closed(CreditsClosed),
    Unknown(Account),
}

fn accounts() -> Vec<Account> {
    let user = |name: &str| Account::User(name.parse().expect("a user id"));
    let pool = "0198c9f2-0000-7000-8000-00000000000a"
        .parse()
        .expect("a contest id");
    let mut accounts = vec![user("ann"), user("Ann"), user("bob"), Account::Pool(pool)];
    accounts.extend(Platform::ALL.map(Account::Platform));
    accounts
}

fn account() -> impl Strategy<Value = Account> {
    proptest::sample::select(accounts())
}

/// Payers are mostly the issuing account, or nobody would have anything to pay with.
fn payer() -> impl Strategy<Value = Account> {
    prop_oneof![Just(Account::Platform(Platform::Issuing)), account()]
}

fn request() -> impl Strategy<Value = TransferRequest> {
    let amount = prop_oneof![
        1 => Just(0),
        8 => 1..20_u64,
        1 => (Coins::MAX.get() - 20)..=Coins::MAX.get(),
    ];
    let not_after = prop_oneof![
        6 => Just(None),
        1 => Just(Some(UnixMillis(1))),
        1 => Just(Some(UnixMillis(i64::MAX))),
    ];
    (0..40_u8, payer(), account(), amount, not_after, "\\PC{0,8}").prop_map(
        |(order, from, to, amount, not_after, memo)| TransferRequest {
            order_id: OrderId([order; 16]),
            content: Content {
                from,
                to,
                amount: Coins::new(amount).expect("coins"),
            },
            not_after,
            memo,
        },
    )
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        4 => account().prop_map(Ask::Open),
        20 => request().prop_map(Ask::Transfer),
        1 => account().prop_map(Ask::CloseCredits),
        1 => account().prop_map(Ask::Close),
    ]
}

fn timeless(transfer: Transfer) -> Answer {
    Answer::Applied(
        transfer.order_id,
        transfer.content,
        transfer.receipt.position,
    )
}

fn answer<T>(result: Result<T, FundsError>, known: impl FnOnce(T) -> Answer) -> Answer {
    match result {
        Ok(value) => known(value),
        Err(FundsError::UnknownAccount(account)) => Answer::Unknown(account),
        Err(error) => panic!("{error:?}"),
    }
}

/// Asks either of the two; only an operator's close is not part of the port.
async fn put<'a>(
    funds: &'a dyn Funds,
    ask: &'a Ask,
    close: impl FnOnce(&'a Account) -> BoxFuture<'a, Result<(), FundsError>>,
) -> Answer {
    match ask {
        Ask::Open(account) => answer(funds.open_account(account).await, |()| Answer::Done),
        Ask::CloseCredits(account) => answer(funds.close_credits(account).await, Answer::Closed),
        Ask::Close(account) => answer(close(account).await, |()| Answer::Done),
        Ask::Transfer(request) => match funds.transfer(request).await {
            TransferOutcome::Applied(transfer) => timeless(transfer),
            outcome => Answer::Otherwise(outcome),
        },
    }
}

/// Everything that can be read, in the order of the accounts and orders.
async fn reading(funds: &dyn Funds) -> (Vec<Option<Answer>>, Vec<Answer>, Vec<Option<i64>>) {
    let orders: Vec<_> = (0..40_u8).map(|order| OrderId([order; 16])).collect();
    let lookup = funds.lookup(&orders).await.expect("an answer");
    let found = lookup
        .found
        .into_iter()
        .map(|found| found.map(timeless))
        .collect();
    let (mut listed, mut balances) = (Vec::new(), Vec::new());
    for account in accounts() {
        let balance = funds.balance(&account).await;
        if let Ok(balance) = &balance {
            assert_eq!(balance.position, lookup.position);
        }
        balances.push(balance.ok().map(|balance| balance.amount));
        if let Ok(page) = funds.list(&account, Position(3), 5).await {
            assert_eq!(page.closed_position, lookup.position);
            listed.extend(page.transfers.into_iter().map(timeless));
        }
    }
    (found, listed, balances)
}

/// Sends each batch at once to the ledger, one after the other to the memory.
async fn compare(ledger: Ledger, batches: Vec<Vec<Ask>>) -> Result<(), TestCaseError> {
    let memory = MemoryFunds::new(Arc::new(ManualClock::new(UnixMillis(1_000))));
    for batch in &batches {
        let put_ledger = |ask| {
            put(&ledger, ask, |account| {
                Box::pin(ledger.close_account(account))
            })
        };
        let together = join_all(batch.iter().map(put_ledger)).await;
        for (ask, got) in batch.iter().zip(together) {
            let closed = |account| {
                let closed = memory.close_account(account);
                Box::pin(async move { closed }) as BoxFuture<'_, _>
            };
            let expected = put(&memory, ask, closed).await;
            prop_assert_eq!(got, expected, "{:?}", ask);
        }
        prop_assert_eq!(reading(&ledger).await, reading(&memory).await);
    }
    let balances = reading(&ledger).await.2;
    prop_assert_eq!(balances.into_iter().flatten().sum::<i64>(), 0);
    ledger.close().await;
    Ok(())
}

/// A failure is written, with its seed, to a file beside this one, and tried first ever after.
fn config(cases: u32) -> Config {
    Config {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..Config::default()
    }
}

/// One thread: a batch is queued whole before the writer takes it.
fn alone<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

/// The same on a server.
fn compare_on(variable: &str, batches: Vec<Vec<Ask>>) -> Result<(), TestCaseError> {
    alone(async {
        let schema = Schema::new(variable).await;
        compare(schema.ledger().await, batches).await
    })
}

proptest! {
    #![proptest_config(config(12))]

    #[test]
    fn ledger_on_mysql_and_memory_answer_alike(
        batches in proptest::collection::vec(proptest::collection::vec(ask(), 1..40), 1..8)
    ) {
        compare_on("GUAFEN_TEST_MYSQL_URL", batches)?;
    }

    #[test]
    fn ledger_on_mariadb_and_memory_answer_alike(
        batches in proptest::collection::vec(proptest::collection::vec(ask(), 1..40), 1..8)
    ) {
        compare_on("GUAFEN_TEST_MARIADB_URL", batches)?;
    }
}

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn ledger_and_memory_answer_alike(
        batches in proptest::collection::vec(proptest::collection::vec(ask(), 1..40), 1..8)
    ) {
        alone(async {
            let scratch = Scratch::new();
            let ledger = Ledger::open(&scratch.ledger()).await.expect("a ledger");
            compare(ledger, batches).await
        })?;
    }
}
