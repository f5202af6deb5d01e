//! A funds system whose books were changed behind everybody's back.

use super::World;
use adapters_memory::funds::MemoryFunds;
use async_trait::async_trait;
use domain::{
    order::{Account, OrderId},
    transfer::{CreditsClosed, Position, Transfer},
};
use ports::funds::{
    Balance, Capabilities, Funds, FundsError, Lookup, TransferOutcome, TransferPage,
    TransferRequest,
};
use std::sync::{Arc, Mutex};

type Change = Box<dyn Fn(&mut Vec<Transfer>) + Send + Sync>;

/// The world's funds system, but its log is what `change` makes of it.
pub struct Tampered {
    inner: Arc<MemoryFunds>,
    changes: Mutex<Vec<Change>>,
}

impl Tampered {
    pub fn new(world: &World) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(&world.funds),
            changes: Mutex::default(),
        })
    }

    /// From now on the log is changed like this too.
    pub fn change(&self, change: impl Fn(&mut Vec<Transfer>) + Send + Sync + 'static) {
        self.changes.lock().expect("a lock").push(Box::new(change));
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
        self.inner.transfer(request).await
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
        self.inner.close_credits(account).await
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        self.inner.balance(account).await
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError> {
        let closed_position = self.inner.list(account, after, 1).await?.closed_position;
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
