//! Claims of one prize, all at once, against a funds system that is idempotent by a Lua script: the
//! coins move once.
#![allow(clippy::expect_used, reason = "these are tests")]

use async_trait::async_trait;
use contract_tests::samples::{coins, contest_id, user};
use domain::{
    money::Coins,
    order::{Account, Leg, OrderId},
    time::UnixMillis,
    transfer::{Content, CreditsClosed, Position, Receipt, Refusal},
};
use fred::{
    clients::Client,
    interfaces::{ClientLike, HashesInterface, LuaInterface},
    types::Builder,
};
use ports::funds::{
    Balance, Capabilities, Funds, FundsError, Lookup, TransferOutcome, TransferPage,
    TransferRequest, applied,
};
use std::sync::Arc;
use test_support::{Redis, private_redis};

const TRANSFER: &str = include_str!("transfer.lua");
const ORDERS: &str = "{funds}:orders";
const BALANCES: &str = "{funds}:balances";
const AT: UnixMillis = UnixMillis(1_800_000_000_000);

/// A funds system for claims alone, in Redis.
struct LuaFunds {
    client: Client,
    _redis: Redis,
}

impl LuaFunds {
    /// One in which the account holds that much.
    async fn holding(account: &Account, amount: Coins) -> Self {
        let redis = private_redis().await.expect("a Redis");
        let config = fred::types::config::Config::from_url(redis.url()).expect("a url");
        let client = Builder::from_config(config).build().expect("a client");
        client.init().await.expect("connected");
        let field = (account.to_string(), amount.get().to_string());
        let _: () = client.hset(BALANCES, field).await.expect("credited");
        Self {
            client,
            _redis: redis,
        }
    }
}

fn not_here<T>() -> Result<T, FundsError> {
    Err(FundsError::unavailable("it only knows claims"))
}

#[async_trait]
impl Funds for LuaFunds {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            close_credits: false,
            closed_position: false,
            linearizable_lookup: false,
            orders_for_ever: true,
        }
    }

    async fn open_account(&self, _: &Account) -> Result<(), FundsError> {
        Ok(())
    }

    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome {
        let Content { from, to, amount } = &request.content;
        let arguments = vec![
            request.order_id.to_string(),
            from.to_string(),
            to.to_string(),
            amount.get().to_string(),
        ];
        let answer: Result<(String, String), _> = self
            .client
            .eval(TRANSFER, vec![ORDERS, BALANCES], arguments)
            .await;
        let Ok((kind, position)) = answer else {
            return TransferOutcome::Unknown;
        };
        match (kind.as_str(), position.parse()) {
            ("applied", Ok(position)) => {
                let receipt = Receipt {
                    position: Position(position),
                    applied_at: AT,
                };
                TransferOutcome::Applied(applied(request, receipt))
            }
            ("conflict", _) => TransferOutcome::Conflict,
            ("refused", _) => TransferOutcome::Refused(Refusal::InsufficientBalance),
            _ => TransferOutcome::Unknown,
        }
    }

    async fn lookup(&self, _: &[OrderId]) -> Result<Lookup, FundsError> {
        not_here()
    }

    async fn close_credits(&self, _: &Account) -> Result<CreditsClosed, FundsError> {
        not_here()
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        let held: Option<i64> = self
            .client
            .hget(BALANCES, account.to_string())
            .await
            .map_err(FundsError::unavailable)?;
        Ok(Balance {
            amount: held.unwrap_or(0),
            position: Position(0),
            at: AT,
        })
    }

    async fn list(&self, _: &Account, _: Position, _: usize) -> Result<TransferPage, FundsError> {
        not_here()
    }
}

/// So many claims of one prize of 7 from a pool of 100, at once; one of 8 among them is a conflict.
async fn claims_at_once(count: usize) {
    let leg = Leg::Prize(contest_id(), user("ann"));
    let (pool, ann) = match &leg {
        Leg::Prize(contest, user) => (Account::Pool(*contest), Account::User(user.clone())),
        _ => unreachable!("a prize"),
    };
    let funds = Arc::new(LuaFunds::holding(&pool, coins(100)).await);
    let request = TransferRequest {
        order_id: leg.order_id(),
        content: Content {
            from: pool.clone(),
            to: ann.clone(),
            amount: coins(7),
        },
        not_after: None,
        memo: leg.memo(),
    };
    let claims: Vec<_> = (0..count)
        .map(|_| {
            let (funds, request) = (Arc::clone(&funds), request.clone());
            tokio::spawn(async move { funds.transfer(&request).await })
        })
        .collect();
    let receipt = Receipt {
        position: Position(1),
        applied_at: AT,
    };
    for claim in claims {
        let outcome = claim.await.expect("no claim panics");
        assert_eq!(
            outcome,
            TransferOutcome::Applied(applied(&request, receipt))
        );
    }
    let mut other = request.clone();
    other.content.amount = coins(8);
    assert_eq!(funds.transfer(&other).await, TransferOutcome::Conflict);
    let mut too_much = other.clone();
    too_much.order_id = OrderId([9; 16]);
    too_much.content.amount = coins(94);
    let refused = TransferOutcome::Refused(Refusal::InsufficientBalance);
    assert_eq!(funds.transfer(&too_much).await, refused);
    let held = async |account| funds.balance(account).await.expect("a balance").amount;
    assert_eq!((held(&pool).await, held(&ann).await), (93, 7));
}

// hazard: A10, B10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_claims_at_once_move_the_coins_once() {
    claims_at_once(5).await;
}

// hazard: A10, B10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_claims_at_once_move_the_coins_once() {
    claims_at_once(1_000).await;
}
