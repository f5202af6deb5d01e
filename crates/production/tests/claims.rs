//! Claims of one prize at once, through two nodes on MySQL and Redis, against a funds system that is
//! idempotent by a Lua script: the coins move once.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use async_trait::async_trait;
use common::{Bed, claim, claimable, node};
use domain::{
    order::{Account, OrderId},
    transfer::{Content, CreditsClosed, Position, Receipt},
};
use ports::funds::{
    Balance, Capabilities, Funds, FundsError, Lookup, TransferOutcome, TransferPage,
    TransferRequest, applied,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use test_support::{Redis, Reply, private_redis};
use usecases::{Claimed, Ports};

const TRANSFER: &str = include_str!("../../adapters-redis/tests/transfer.lua");
const ORDERS: &str = "{funds}:orders";
const BALANCES: &str = "{funds}:balances";

/// Pays out of pools by the script; all else is the ledger's.
struct LuaFunds {
    redis: Redis,
    ledger: Arc<dyn Funds>,
    asked: AtomicUsize,
}

impl LuaFunds {
    async fn held(&self, account: &Account) -> i64 {
        let parts = ["HGET", BALANCES, &account.to_string()];
        match self.redis.command(&parts).await.expect("an answer") {
            Reply::Text(held) => held.parse().expect("a number"),
            Reply::Nothing => 0,
            other => panic!("{other:?}"),
        }
    }
}

#[async_trait]
impl Funds for LuaFunds {
    fn capabilities(&self) -> Capabilities {
        self.ledger.capabilities()
    }

    async fn open_account(&self, account: &Account) -> Result<(), FundsError> {
        self.ledger.open_account(account).await
    }

    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome {
        let Content { from, to, amount } = &request.content;
        if !matches!(from, Account::Pool(_)) {
            return self.ledger.transfer(request).await;
        }
        self.asked.fetch_add(1, SeqCst);
        // It takes its time, so that the claims meet at the script.
        test_support::later(Duration::from_millis(150)).await;
        let order = request.order_id.to_string();
        let (from, to, amount) = (from.to_string(), to.to_string(), amount.get().to_string());
        let parts = [
            "EVAL", TRANSFER, "2", ORDERS, BALANCES, &order, &from, &to, &amount,
        ];
        let Ok(Reply::List(answer)) = self.redis.command(&parts).await else {
            return TransferOutcome::Unknown;
        };
        match answer.iter().map(Reply::text).collect::<Vec<_>>()[..] {
            [Some("applied"), Some(position)] => {
                let receipt = Receipt {
                    position: Position(position.parse().expect("a position")),
                    applied_at: domain::time::UnixMillis(1_800_000_000_000),
                };
                TransferOutcome::Applied(applied(request, receipt))
            }
            [Some("conflict"), _] => TransferOutcome::Conflict,
            _ => TransferOutcome::Unknown,
        }
    }

    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> {
        self.ledger.lookup(orders).await
    }

    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError> {
        self.ledger.close_credits(account).await
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        self.ledger.balance(account).await
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError> {
        self.ledger.list(account, after, limit).await
    }
}

async fn claims_at_once(count: usize) {
    let bed = Bed::new().await;
    let contest = claimable(&bed.node().await).await;
    let (pool, ann) = (contest.pool_account(), Account::User(common::user("ann")));
    let ports = [bed.ports().await, bed.ports().await];
    let funds = Arc::new(LuaFunds {
        redis: private_redis().await.expect("a Redis"),
        ledger: Arc::clone(&ports[0].funds),
        asked: AtomicUsize::new(0),
    });
    let holding = ["HSET", BALANCES, &pool.to_string(), "20"];
    funds.redis.command(&holding).await.expect("credited");
    let nodes = ports.map(|ports| {
        node(Ports {
            funds: Arc::clone(&funds) as _,
            ..ports
        })
    });
    let claims: Vec<_> = (0..count)
        .map(|number| {
            let (node, id) = (Arc::clone(&nodes[number % 2]), contest.id);
            tokio::spawn(async move { claim(&node, id, "ann").await })
        })
        .collect();
    for claimed in claims {
        match claimed.await.expect("no claim panics") {
            Claimed::Yes(seen) => assert_eq!(seen.signup.state.prize(), Some(common::coins(20))),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((funds.held(&pool).await, funds.held(&ann).await), (0, 20));
    let orders = funds.redis.command(&["HLEN", ORDERS]).await;
    assert_eq!(orders.expect("an answer"), Reply::Number(1));
    let shared = "SELECT COUNT(*) FROM signup_history WHERE state = 'shared'";
    assert_eq!(bed.store.number(shared).await.expect("a count"), 1);
    let asked = funds.asked.load(SeqCst);
    println!("{count} claims at once: the fake was asked {asked} times, and moved the coins once");
    assert!(asked > 1, "no two claims met there");
}

// hazard: A10, B10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_claims_at_once_on_two_nodes_move_the_coins_once() {
    claims_at_once(5).await;
}

// hazard: A10, B10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_claims_at_once_on_two_nodes_move_the_coins_once() {
    claims_at_once(1_000).await;
}
