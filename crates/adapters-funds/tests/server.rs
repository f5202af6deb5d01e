//! The server: what it refuses, what goes on without its caller, and its faults.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use adapters_funds::{
    FaultPlan, Faulty,
    proto::{self, funds_client::FundsClient, transfer_outcome::Outcome},
};
use common::{Served, ask, connect, memory, settings, until, user};
use domain::order::OrderId;
use ports::funds::{Funds, TransferOutcome};
use std::{sync::Arc, time::Duration};
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
