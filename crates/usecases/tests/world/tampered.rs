//! A funds system whose books were changed behind everybody's back.

use super::World;
use adapters_memory::funds::MemoryFunds;
use async_trait::async_trait;
use domain::{
    order::{Account, OrderId},
    transfer::{Content, CreditsClosed, Position, Transfer},
};
use ports::funds::{
    Balance, Capabilities, Funds, FundsError, Lookup, TransferOutcome, TransferPage,
    TransferRequest,
};
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

type Change = Box<dyn Fn(&mut Vec<Transfer>) + Send + Sync>;

/// The world's funds system, but its log is what `change` makes of it.
pub struct Tampered {
    inner: Arc<MemoryFunds>,
    changes: Mutex<Vec<Change>>,
    /// What every balance is wrong by.
    more: AtomicI64,
    /// Whether the answer to a transfer is lost.
    is_silent: AtomicBool,
    /// Whether it does not answer when an account is to be closed.
    stays_open: AtomicBool,
}

impl Tampered {
    pub fn new(world: &World) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(&world.funds),
            changes: Mutex::default(),
            more: AtomicI64::new(0),
            is_silent: AtomicBool::new(false),
            stays_open: AtomicBool::new(false),
        })
    }

    /// From now on the log is changed like this too.
    pub fn change(&self, change: impl Fn(&mut Vec<Transfer>) + Send + Sync + 'static) {
        self.changes.lock().expect("a lock").push(Box::new(change));
    }

    /// From now on the log is what it was.
    pub fn heal(&self) {
        self.changes.lock().expect("a lock").clear();
    }

    /// From now on every balance is wrong by so much.
    pub fn add_to_balances(&self, more: i64) {
        self.more.store(more, Ordering::SeqCst);
    }

    /// From now on no account is closed, or they are again.
    pub fn keep_open(&self, stays: bool) {
        self.stays_open.store(stays, Ordering::SeqCst);
    }

    /// From now on transfers arrive, and nobody hears of it; or everybody does again.
    pub fn lose_answers(&self, is_silent: bool) {
        self.is_silent.store(is_silent, Ordering::SeqCst);
    }

    /// What the log says that a pool holds.
    pub fn pool(&self, account: &Account) -> i64 {
        let log = self.log();
        let moved = log.iter().map(|transfer| {
            let Content { from, to, amount } = &transfer.content;
            (i64::from(to == account) - i64::from(from == account)) * amount.as_i64()
        });
        moved.sum()
    }

    fn log(&self) -> Vec<Transfer> {
        let mut log = self.inner.transfers();
        for change in self.changes.lock().expect("a lock").iter() {
            change(&mut log);
        }
        log.sort_by_key(|transfer| transfer.receipt.position);
        log
    }
}

#[async_trait]
impl Funds for Tampered {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn open_account(&self, account: &Account) -> Result<(), FundsError> {
        self.inner.open_account(account).await
    }

    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome {
        let outcome = self.inner.transfer(request).await;
        if self.is_silent.load(Ordering::SeqCst) {
            return TransferOutcome::Unknown;
        }
        outcome
    }

    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> {
        let log = self.log();
        let mut lookup = self.inner.lookup(orders).await?;
        lookup.found = orders
            .iter()
            .map(|order| log.iter().find(|one| one.order_id == *order).cloned())
            .collect();
        Ok(lookup)
    }

    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError> {
        if self.stays_open.load(Ordering::SeqCst) {
            return Err(FundsError::unavailable("not now"));
        }
        self.inner.close_credits(account).await
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        let mut balance = self.inner.balance(account).await?;
        let last = self.log().last().map(|one| one.receipt.position);
        balance.position = balance.position.max(last.unwrap_or(Position(0)));
        balance.amount = match account {
            Account::Pool(_) => self.pool(account) + self.more.load(Ordering::SeqCst),
            _ => balance.amount,
        };
        Ok(balance)
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError> {
        let inner = self.inner.list(account, after, 1).await?.closed_position;
        let last = self.log().last().map(|one| one.receipt.position);
        let closed_position = last.map_or(inner, |last| last.max(inner));
        let is_of = |one: &Transfer| one.content.from == *account || one.content.to == *account;
        let transfers = self
            .log()
            .into_iter()
            .filter(|one| one.receipt.position > after && is_of(one))
            .take(limit)
            .collect();
        Ok(TransferPage {
            transfers,
            closed_position,
        })
    }
}
