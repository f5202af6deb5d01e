//! The funds system in memory passes the suite of its port, and its faults are what they say.

use adapters_memory::{
    faults::{Fault, Faults},
    funds::{FaultyFunds, MemoryFunds},
    system::ManualClock,
};
use async_trait::async_trait;
use contract_tests::funds::FundsFixture;
use domain::{
    ids::UserId,
    money::Coins,
    order::{Account, OrderId, Platform},
    time::UnixMillis,
    transfer::{Content, Position, Refusal},
};
use ports::funds::{Funds, FundsError, LOOKUP_MAX, TransferOutcome, TransferRequest};
use std::{sync::Arc, time::Duration};

struct Fixture(Arc<MemoryFunds>);

impl Fixture {
    fn new() -> Self {
        Self(memory(1_000).1)
    }
}

#[async_trait]
impl FundsFixture for Fixture {
    fn funds(&self) -> Arc<dyn Funds> {
        Arc::clone(&self.0) as Arc<dyn Funds>
    }

    async fn close_account(&self, account: &Account) {
        self.0.close_account(account).expect("a known account");
    }
}

contract_tests::funds_suite!(Fixture::new());

fn memory(now: i64) -> (Arc<ManualClock>, Arc<MemoryFunds>) {
    let clock = Arc::new(ManualClock::new(UnixMillis(now)));
    (Arc::clone(&clock), Arc::new(MemoryFunds::new(clock)))
}

fn ann() -> UserId {
    "ann".parse().expect("a user id")
}

fn coins(amount: u64) -> Coins {
    Coins::new(amount).expect("coins")
}

fn request(not_after: Option<i64>) -> TransferRequest {
    TransferRequest {
        order_id: OrderId([1; 16]),
        content: Content {
            from: Account::User(ann()),
            to: Account::Platform(Platform::Revenue),
            amount: coins(3),
        },
        not_after: not_after.map(UnixMillis),
        memo: String::new(),
    }
}

#[tokio::test]
async fn not_after_is_the_last_moment_that_counts() {
    let (clock, funds) = memory(1_000);
    funds.grant(&ann(), coins(5));
    clock.set(UnixMillis(2_001));
    let late = funds.transfer(&request(Some(2_000))).await;
    assert_eq!(late, TransferOutcome::Refused(Refusal::PastNotAfter));
    let just = funds.transfer(&request(Some(2_001))).await;
    assert!(matches!(just, TransferOutcome::Applied(_)), "{just:?}");
}

// hazard: B7
#[tokio::test]
async fn time_never_goes_back() {
    let (clock, funds) = memory(1_000);
    funds.grant(&ann(), coins(5));
    clock.set(UnixMillis(10));
    let late = funds.transfer(&request(Some(999))).await;
    assert_eq!(late, TransferOutcome::Refused(Refusal::PastNotAfter));
    match funds.transfer(&request(Some(1_000))).await {
        TransferOutcome::Applied(transfer) => {
            assert_eq!(transfer.receipt.applied_at, UnixMillis(1_000));
        }
        outcome => panic!("{outcome:?}"),
    }
    assert_eq!(
        funds.lookup(&[]).await.expect("an answer").at,
        UnixMillis(1_000)
    );
}

#[tokio::test]
async fn grants_are_transfers_like_any_other() {
    let (_, funds) = memory(1_000);
    for _ in 0..2 {
        assert!(matches!(
            funds.grant(&ann(), coins(5)),
            TransferOutcome::Applied(_)
        ));
    }
    let balances = funds.balances();
    assert_eq!(balances.get(&Account::User(ann())), Some(&10));
    assert_eq!(balances.values().sum::<i64>(), 0);
    let listed = funds
        .list(&Account::User(ann()), Position(0), 9)
        .await
        .expect("a list");
    assert_eq!(funds.transfers(), listed.transfers);
}

#[tokio::test]
async fn a_lookup_of_too_many_orders_is_not_answered() {
    let (_, funds) = memory(1_000);
    let orders = vec![OrderId([0; 16]); LOOKUP_MAX + 1];
    assert!(matches!(
        funds.lookup(&orders).await,
        Err(FundsError::Unavailable(_))
    ));
}

/// A funds system whose next call goes wrong.
fn faulty(fault: Fault) -> (Arc<MemoryFunds>, Arc<Faults>, FaultyFunds<MemoryFunds>) {
    let (_, inner) = memory(1_000);
    inner.grant(&ann(), coins(5));
    let faults = Arc::new(Faults::default());
    faults.arm(0, fault);
    let funds = FaultyFunds::new(Arc::clone(&inner), Arc::clone(&faults));
    (inner, faults, funds)
}

// hazard: A1
#[tokio::test]
async fn a_transfer_without_an_answer_is_unknown_whether_or_not_it_was_done() {
    for (fault, done) in [(Fault::Before, 1), (Fault::After, 2)] {
        let (inner, _, funds) = faulty(fault);
        assert_eq!(
            funds.transfer(&request(None)).await,
            TransferOutcome::Unknown,
            "{fault:?}"
        );
        assert_eq!(inner.transfers().len(), done, "{fault:?}");
        let again = funds.transfer(&request(None)).await;
        assert!(
            matches!(again, TransferOutcome::Applied(_)),
            "{fault:?}: {again:?}"
        );
        assert_eq!(inner.transfers().len(), 2, "{fault:?}");
    }
    let (inner, _, funds) = faulty(Fault::Twice);
    let answer = funds.transfer(&request(None)).await;
    assert!(matches!(answer, TransferOutcome::Applied(_)), "{answer:?}");
    assert_eq!(inner.transfers().len(), 2);
}

// hazard: A6
#[tokio::test]
async fn a_crash_and_a_hang_never_answer() {
    for (fault, done) in [
        (Fault::Hang, 2),
        (Fault::CrashBefore, 1),
        (Fault::CrashAfter, 2),
    ] {
        let (inner, faults, funds) = faulty(fault);
        let sent = request(None);
        let mut call = std::pin::pin!(funds.transfer(&sent));
        // Memory answers at once if it answers at all: one poll is enough.
        let answer = tokio::time::timeout(Duration::ZERO, &mut call).await;
        assert!(answer.is_err(), "{fault:?}");
        assert_eq!(inner.transfers().len(), done, "{fault:?}");
        if fault != Fault::Hang {
            faults.crashed().await;
        }
    }
}

#[tokio::test]
async fn every_other_call_without_an_answer_is_unavailable() {
    let (_, faults, funds) = faulty(Fault::After);
    let account = Account::User(ann());
    let lost = |error: Option<FundsError>| matches!(error, Some(FundsError::Unavailable(_)));
    assert!(lost(funds.open_account(&account).await.err()));
    faults.arm(0, Fault::After);
    assert!(lost(funds.lookup(&[]).await.err()));
    faults.arm(0, Fault::After);
    assert!(lost(funds.balance(&account).await.err()));
    faults.arm(0, Fault::After);
    assert!(lost(funds.list(&account, Position(0), 1).await.err()));
    faults.arm(0, Fault::After);
    assert!(lost(funds.close_credits(&account).await.err()));
    faults.disarm();
    assert_eq!(funds.balance(&account).await.expect("a balance").amount, 5);
    assert_eq!(faults.calls(), 6);
    assert_eq!(
        funds
            .close_credits(&account)
            .await
            .expect("a close")
            .position,
        Position(1)
    );
}
