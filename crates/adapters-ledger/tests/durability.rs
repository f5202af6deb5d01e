//! What the ledger answered is there when its file is opened again.

mod common;

use adapters_ledger::Ledger;
use common::Scratch;
use domain::{
    ids::GrantId,
    money::Coins,
    order::{Account, Leg, Platform},
    transfer::{Content, Position, Transfer},
};
use futures_util::{FutureExt, future::join_all};
use ports::funds::{Funds, FundsError, LOOKUP_MAX, TransferOutcome, TransferRequest};

fn ann() -> Account {
    Account::User("ann".parse().expect("a user id"))
}

fn grant(number: u64) -> TransferRequest {
    let leg = Leg::Grant(
        format!("grant-{number}")
            .parse::<GrantId>()
            .expect("a grant id"),
    );
    let amount = Coins::new(number).expect("coins");
    TransferRequest {
        order_id: leg.order_id(),
        content: Content {
            from: Account::Platform(Platform::Issuing),
            to: ann(),
            amount,
        },
        not_after: None,
        memo: leg.memo(),
    }
}

fn applied(outcome: TransferOutcome) -> Transfer {
    match outcome {
        TransferOutcome::Applied(transfer) => transfer,
        outcome => panic!("not applied: {outcome:?}"),
    }
}

// hazard: A8
#[tokio::test]
async fn a_ledger_that_is_dropped_and_opened_again_gives_the_same_answers() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(&scratch.ledger()).await.expect("a ledger");
    ledger.open_account(&ann()).await.expect("an open account");
    let requests: Vec<_> = (1..=100).map(grant).collect();
    let first: Vec<_> = join_all(requests.iter().map(|request| ledger.transfer(request)))
        .await
        .into_iter()
        .map(applied)
        .collect();
    let orders: Vec<_> = requests.iter().map(|request| request.order_id).collect();
    let before = ledger.lookup(&orders).await.expect("an answer");
    drop(ledger);

    let ledger = Ledger::open(&scratch.ledger()).await.expect("a ledger");
    let after = ledger.lookup(&orders).await.expect("an answer");
    assert_eq!(
        (&after.found, after.position),
        (&before.found, before.position)
    );
    assert!(after.at >= before.at);
    for (request, first) in requests.iter().zip(&first) {
        assert_eq!(applied(ledger.transfer(request).await), *first);
    }
    let page = ledger
        .list(&ann(), Position(0), 1_000)
        .await
        .expect("a list");
    assert_eq!(
        (page.transfers, page.closed_position),
        (first, Position(100))
    );
    assert_eq!(
        ledger.balance(&ann()).await.expect("a balance").amount,
        5_050
    );
}

// hazard: G3
#[tokio::test]
async fn closing_carries_out_what_was_sent_and_folds_the_log_into_the_file() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(&scratch.ledger()).await.expect("a ledger");
    ledger.open_account(&ann()).await.expect("an open account");
    applied(ledger.transfer(&grant(1)).await);
    ledger.close().await;
    // SQLite's connection ends in a thread of its own, shortly after the writer let go of it.
    let log = scratch.ledger().with_extension("db-wal");
    while log.exists() {
        tokio::task::yield_now().await;
    }
    let ledger = Ledger::open(&scratch.ledger()).await.expect("a ledger");
    assert_eq!(ledger.balance(&ann()).await.expect("a balance").amount, 1);
}

#[tokio::test]
async fn a_transfer_whose_caller_went_away_is_carried_out() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(&scratch.ledger()).await.expect("a ledger");
    ledger.open_account(&ann()).await.expect("an open account");
    let request = grant(7);
    // One poll hands the command over; then the caller gives up.
    assert!(ledger.transfer(&request).now_or_never().is_none());
    // Commands are carried out in the order in which they were sent.
    ledger.open_account(&ann()).await.expect("an open account");
    assert_eq!(ledger.balance(&ann()).await.expect("a balance").amount, 7);
}

#[tokio::test]
async fn a_file_that_is_no_ledger_is_named_and_left_alone() {
    let scratch = Scratch::new();
    let text = "not a database, but long enough to be looked at as one";
    std::fs::write(scratch.ledger(), text).expect("a file");
    let error = Ledger::open(&scratch.ledger())
        .await
        .err()
        .expect("an error");
    assert!(error.to_string().contains("ledger.db"), "{error}");
    assert_eq!(
        std::fs::read_to_string(scratch.ledger()).expect("a file"),
        text
    );
}

#[tokio::test]
async fn a_lookup_of_too_many_orders_is_not_answered() {
    let scratch = Scratch::new();
    let ledger = Ledger::open(&scratch.ledger()).await.expect("a ledger");
    let orders = vec![grant(1).order_id; LOOKUP_MAX + 1];
    assert!(matches!(
        ledger.lookup(&orders).await,
        Err(FundsError::Unavailable(_))
    ));
}
