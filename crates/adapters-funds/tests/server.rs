//! The server: what it refuses, what goes on without its caller, and its faults.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use adapters_funds::{
    FaultPlan, Faulty,
    proto::{self, funds_client::FundsClient, transfer_outcome::Outcome},
};
use async_trait::async_trait;
use common::{Served, ask, connect, memory, settings, until, user};
use domain::{
    order::{Account, OrderId},
    transfer::{CreditsClosed, Position},
};
use ports::funds::{
    Balance, Capabilities, Funds, FundsError, Lookup, TransferOutcome, TransferPage,
    TransferRequest,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Semaphore;
use tonic::{Code, Request, transport::Channel};

async fn raw(served: &Served) -> FundsClient<Channel> {
    let endpoint = Channel::from_shared(served.url()).expect("a url");
    FundsClient::new(endpoint.connect().await.expect("a channel"))
}

fn order(number: u64) -> proto::TransferOrder {
    proto::TransferOrder {
        order_id: OrderId(u128::from(number).to_be_bytes()).to_string(),
        from: "platform/issuing".to_owned(),
        to: "user/ann".to_owned(),
        amount: 5,
        not_after_unix_ms: None,
        memo: String::new(),
    }
}

#[tokio::test]
async fn a_request_that_breaks_a_rule_is_told_field_and_rule() {
    let served = Served::new(memory()).await;
    let mut client = raw(&served).await;
    let mut said = Vec::new();
    let account = "user/ann/b".to_owned();
    let open = proto::OpenAccountRequest {
        account: account.clone(),
    };
    said.push(client.open_account(open).await.err());
    let close = proto::CloseCreditsRequest {
        account: account.clone(),
    };
    said.push(client.close_credits(close).await.err());
    let balance = proto::BalanceRequest {
        account: account.clone(),
    };
    said.push(client.balance(balance).await.err());
    let list = proto::ListRequest {
        account,
        after: 0,
        limit: 1,
    };
    said.push(client.list(list).await.err());
    for status in said {
        let status = status.expect("a refusal");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(
            status.message().starts_with("account: must be user/"),
            "{status}"
        );
    }
    let list = proto::ListRequest {
        account: "user/ann".to_owned(),
        after: 0,
        limit: 1_001,
    };
    let status = client.list(list).await.expect_err("a refusal");
    assert_eq!(status.message(), "limit: must be at most 1000");
    let lookup = |order_ids| proto::LookupRequest { order_ids };
    let many = client.lookup(lookup(vec!["0".repeat(32); 1_001])).await;
    assert_eq!(
        many.expect_err("a refusal").message(),
        "order_ids: must be at most 1000"
    );
    let bad = client
        .lookup(lookup(vec!["0".repeat(32), "F".repeat(32)]))
        .await;
    assert_eq!(
        bad.expect_err("a refusal").message(),
        "order_ids[1]: must be 32 lower-case hexadecimal digits"
    );
    for count in [0, 257] {
        let orders = vec![order(1); count];
        let status = client.transfer(proto::TransferRequest { orders }).await;
        assert_eq!(
            status.expect_err("a refusal").message(),
            "orders: must be 1 to 256"
        );
    }
}

#[tokio::test]
async fn a_malformed_order_is_told_so_and_the_others_of_its_batch_apply() {
    let served = Served::new(memory()).await;
    let mut client = raw(&served).await;
    let ann = proto::OpenAccountRequest {
        account: "user/ann".to_owned(),
    };
    client.open_account(ann).await.expect("an account");
    type Bend = fn(&mut proto::TransferOrder);
    let bends: [(&str, Bend); 7] = [
        ("order_id", |order| order.order_id.clear()),
        ("from", |order| order.from = "platform/other".to_owned()),
        ("to", |order| order.to = "user/".to_owned()),
        ("amount", |order| order.amount = 1 << 53),
        ("amount", |order| order.amount = 0),
        ("amount", |order| order.to.clone_from(&order.from)),
        ("memo", |order| order.memo = "m".repeat(8_193)),
    ];
    let mut orders = vec![order(1)];
    for (number, (_, bend)) in (10..).zip(&bends) {
        let mut bad = order(number);
        bend(&mut bad);
        orders.push(bad);
    }
    orders.push(order(2));
    let told = client.transfer(proto::TransferRequest { orders }).await;
    let told = told.expect("an answer").into_inner().outcomes;
    assert_eq!(told.len(), bends.len() + 2);
    let outcomes: Vec<_> = told.into_iter().map(|told| told.outcome).collect();
    for (outcome, (field, _)) in outcomes[1..].iter().zip(&bends) {
        match outcome {
            Some(Outcome::Invalid(invalid)) => assert_eq!(invalid.field, *field),
            other => panic!("{field}: {other:?}"),
        }
    }
    for number in [0, bends.len() + 1] {
        assert!(
            matches!(outcomes[number], Some(Outcome::Applied(_))),
            "{number}"
        );
    }
}

// hazard: G1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transfer_goes_on_when_its_callers_deadline_passes() {
    let plan = FaultPlan {
        slow_per_mille: 1_000,
        slow_ms: 300,
        ..FaultPlan::default()
    };
    let memory = memory();
    memory.open_account(&user("ann")).await.expect("an account");
    let faulty = Faulty::new(Arc::clone(&memory) as Arc<dyn Funds>, 1, plan);
    let served = Served::new(Arc::new(faulty)).await;
    let mut client = raw(&served).await;
    let mut request = Request::new(proto::TransferRequest {
        orders: vec![order(1)],
    });
    request.set_timeout(Duration::from_millis(50));
    assert!(client.transfer(request).await.is_err());
    assert_eq!(memory.transfers().len(), 0, "not yet");
    until(async || !memory.transfers().is_empty()).await;
}

/// Answers questions when it is told to, and counts how many it has answered.
struct Gated {
    inner: Arc<dyn Funds>,
    gate: Semaphore,
    asked: AtomicUsize,
    answered: AtomicUsize,
}

impl Gated {
    async fn pass(&self) {
        self.asked.fetch_add(1, Ordering::SeqCst);
        // It is closed when everybody may pass.
        assert!(self.gate.acquire().await.is_err());
        self.answered.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Funds for Gated {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn open_account(&self, account: &Account) -> Result<(), FundsError> {
        self.inner.open_account(account).await
    }

    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome {
        self.inner.transfer(request).await
    }

    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> {
        self.pass().await;
        self.inner.lookup(orders).await
    }

    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError> {
        self.inner.close_credits(account).await
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        self.pass().await;
        self.inner.balance(account).await
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError> {
        self.pass().await;
        self.inner.list(account, after, limit).await
    }
}

/// A ledger whose read is broken off in the middle loses the connection that it was read on.
// hazard: G1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_goes_on_when_its_callers_deadline_passes() {
    let gated = Arc::new(Gated {
        inner: memory(),
        gate: Semaphore::new(0),
        asked: AtomicUsize::new(0),
        answered: AtomicUsize::new(0),
    });
    let served = Served::new(Arc::clone(&gated) as Arc<dyn Funds>).await;
    let mut client = raw(&served).await;
    let account = "user/ann".to_owned();
    let order_ids = vec!["0".repeat(32)];
    let mut lookup = Request::new(proto::LookupRequest { order_ids });
    let mut balance = Request::new(proto::BalanceRequest {
        account: account.clone(),
    });
    let (after, limit) = (0, 1);
    let mut list = Request::new(proto::ListRequest {
        account,
        after,
        limit,
    });
    let soon = Duration::from_millis(300);
    lookup.set_timeout(soon);
    balance.set_timeout(soon);
    list.set_timeout(soon);
    assert!(client.lookup(lookup).await.is_err());
    assert!(client.balance(balance).await.is_err());
    assert!(client.list(list).await.is_err());
    let asked = gated.asked.load(Ordering::SeqCst);
    assert_eq!((asked, gated.answered.load(Ordering::SeqCst)), (3, 0));
    gated.gate.close();
    until(async || gated.answered.load(Ordering::SeqCst) == 3).await;
}

async fn with(plan: FaultPlan) -> (Served, Arc<Faulty>, adapters_funds::GrpcFunds) {
    let memory = memory();
    memory.open_account(&user("ann")).await.expect("an account");
    let faulty = Arc::new(Faulty::new(memory, 7, FaultPlan::default()));
    let served = Served::new(Arc::clone(&faulty) as Arc<dyn Funds>).await;
    let client = connect(&settings(&served.url())).await;
    faulty.follow(plan);
    (served, faulty, client)
}

// hazard: A1, A3
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_is_what_it_says() {
    let ann = user("ann");
    let request = ask(1, &ann, 5);
    let always = FaultPlan::default();
    for (plan, applies) in [
        (
            FaultPlan {
                error_per_mille: 1_000,
                ..always
            },
            false,
        ),
        (
            FaultPlan {
                lost_per_mille: 1_000,
                ..always
            },
            true,
        ),
    ] {
        let (_served, faulty, client) = with(plan).await;
        assert_eq!(client.transfer(&request).await, TransferOutcome::Unknown);
        assert!(client.balance(&ann).await.is_err());
        faulty.follow(always);
        let found = client.lookup(&[request.order_id]).await.expect("an answer");
        assert_eq!(found.found[0].is_some(), applies);
    }
    let (_served, _, client) = with(FaultPlan {
        twice_per_mille: 1_000,
        ..always
    })
    .await;
    let outcome = client.transfer(&request).await;
    assert!(
        matches!(outcome, TransferOutcome::Applied(_)),
        "{outcome:?}"
    );
    assert_eq!(client.balance(&ann).await.expect("a balance").amount, 5);
    // A stale look-up is from before what was seen, and is not believed.
    let (_served, faulty, client) = with(always).await;
    client.lookup(&[]).await.expect("an answer");
    client.balance(&ann).await.expect("a balance");
    client.transfer(&request).await;
    faulty.follow(FaultPlan {
        stale_per_mille: 1_000,
        ..always
    });
    assert!(client.lookup(&[request.order_id]).await.is_err());
    assert!(client.balance(&ann).await.is_err());
    faulty.follow(always);
    assert!(client.lookup(&[request.order_id]).await.is_ok());
}

#[test]
fn dice_hit_as_often_as_they_are_told_and_alike_for_one_seed() {
    let throws = |seed| {
        let dice = adapters_funds::Dice::new(seed);
        (0..10_000).map(|_| dice.hit(100)).collect::<Vec<_>>()
    };
    assert_eq!(throws(3), throws(3));
    assert_ne!(throws(3), throws(4));
    let hits = throws(3).into_iter().filter(|hit| *hit).count();
    assert!((900..1_100).contains(&hits), "{hits}");
    let dice = adapters_funds::Dice::new(5);
    assert!((0..1_000).all(|_| dice.hit(1_000) && !dice.hit(0)));
}
