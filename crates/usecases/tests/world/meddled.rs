//! A funds system between which and us something goes wrong with every transfer.

use super::World;
use adapters_memory::{funds::MemoryFunds, store::MemoryStore};
use async_trait::async_trait;
use domain::{
    order::{Account, OrderId},
    signup::Signup,
    time::Window,
    transfer::{CreditsClosed, Position},
};
use ports::{
    funds::{
        Balance, Capabilities, Funds, FundsError, Lookup, TransferOutcome, TransferPage,
        TransferRequest,
    },
    signups::{SignupCommit, SignupRepository},
};
use std::sync::Arc;

/// What goes wrong.
#[derive(Clone, Copy)]
pub enum Answers {
    /// Transfers arrive; every answer is lost.
    Lost,
    /// Transfers do not arrive, and nobody says so.
    NothingArrives,
    /// Before the answer comes, another call of the viewer records what it was told earlier.
    AfterAnother(fn(Signup) -> Option<Signup>),
}

/// The world's funds system, so meddled with.
pub struct Meddled {
    inner: Arc<MemoryFunds>,
    store: Arc<MemoryStore>,
    answers: Answers,
}

impl Meddled {
    pub fn new(world: &World, answers: Answers) -> Self {
        Self {
            inner: Arc::clone(&world.funds),
            store: Arc::clone(&world.store),
            answers,
        }
    }

    async fn record(&self, older: fn(Signup) -> Option<Signup>) {
        for signup in self.store.all_signups() {
            let expected = signup.version;
            let Some(signup) = older(signup) else {
                continue;
            };
            let commit = SignupCommit {
                expected,
                window: Window::ALWAYS,
                trail: vec![signup.state.kind()],
                signup,
                wake_at: None,
                effects: Vec::new(),
                under: None,
            };
            self.store.commit(commit).await.expect("a commit");
        }
    }
}

#[async_trait]
impl Funds for Meddled {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn open_account(&self, account: &Account) -> Result<(), FundsError> {
        self.inner.open_account(account).await
    }

    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome {
        match self.answers {
            Answers::NothingArrives => TransferOutcome::Unknown,
            Answers::Lost => {
                self.inner.transfer(request).await;
                TransferOutcome::Unknown
            }
            Answers::AfterAnother(older) => {
                let outcome = self.inner.transfer(request).await;
                self.record(older).await;
                outcome
            }
        }
    }

    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> {
        match self.answers {
            Answers::AfterAnother(_) => self.inner.lookup(orders).await,
            Answers::Lost | Answers::NothingArrives => Err(FundsError::unavailable("lost")),
        }
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
        self.inner.list(account, after, limit).await
    }
}
