//! The funds system in memory: every clause of [`ports::funds::Funds`] as plainly as it can be
//! said, and the same with faults.
//!
//! One lock is held for the whole of each call, so calls happen one after the other and each sees
//! all that were answered before it. Nothing survives the process.

use crate::{faults::Faults, system::ManualClock};
use async_trait::async_trait;
use domain::{
    ids::{GrantId, UserId},
    money::Coins,
    order::{Account, Leg, OrderId, Platform},
    time::UnixMillis,
    transfer::{Content, CreditsClosed, Position, Receipt, Refusal, Transfer},
};
use ports::{
    funds::{
        Balance, Capabilities, Funds, FundsError, LOOKUP_MAX, Lookup, TransferOutcome,
        TransferPage, TransferRequest, applied,
    },
    system::Clock,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The funds system in memory. Its clock is the test's.
#[derive(Debug)]
pub struct MemoryFunds {
    clock: Arc<ManualClock>,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Held {
    amount: i64,
    credits_closed: Option<CreditsClosed>,
    closed: bool,
}

#[derive(Debug, Default)]
struct State {
    accounts: BTreeMap<Account, Held>,
    /// In commit order: the transfer at index i has position i + 1.
    transfers: Vec<Transfer>,
    orders: HashMap<OrderId, usize>,
    grants: u64,
}

impl MemoryFunds {
    /// An empty funds system; only the platform's accounts exist.
    #[must_use]
    pub fn new(clock: Arc<ManualClock>) -> Self {
        let accounts = Platform::ALL
            .map(|platform| (Account::Platform(platform), Held::default()))
            .into();
        Self {
            clock,
            state: Mutex::new(State {
                accounts,
                ..State::default()
            }),
        }
    }

    /// Closes an account: it takes part in nothing any more. Idempotent.
    ///
    /// # Errors
    /// [`FundsError::UnknownAccount`].
    pub fn close_account(&self, account: &Account) -> Result<(), FundsError> {
        self.state().held_mut(account)?.closed = true;
        Ok(())
    }

    /// Opens the user's account and issues `amount` to it, under an order of its own each time.
    pub fn grant(&self, user: &UserId, amount: Coins) -> TransferOutcome {
        let mut state = self.state();
        let to = Account::User(user.clone());
        state.accounts.entry(to.clone()).or_default();
        state.grants += 1;
        let Ok(grant) = format!("memory-{}", state.grants).parse::<GrantId>() else {
            return TransferOutcome::NotSent;
        };
        let leg = Leg::Grant(grant);
        let content = Content {
            from: Account::Platform(Platform::Issuing),
            to,
            amount,
        };
        let request = TransferRequest {
            order_id: leg.order_id(),
            content,
            not_after: None,
            memo: leg.memo(),
        };
        state.transfer(&request, self.clock.now())
    }

    /// Every transfer so far, in commit order.
    #[must_use]
    pub fn transfers(&self) -> Vec<Transfer> {
        self.state().transfers.clone()
    }

    /// What every account holds.
    #[must_use]
    pub fn balances(&self) -> BTreeMap<Account, i64> {
        self.state()
            .accounts
            .iter()
            .map(|(account, held)| (account.clone(), held.amount))
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn position(&self) -> Position {
        Position(self.transfers.len() as u64)
    }

    /// The funds system's time: the clock, but never before the last transfer.
    fn time(&self, now: UnixMillis) -> UnixMillis {
        self.transfers
            .last()
            .map_or(now, |last| now.max(last.receipt.applied_at))
    }

    fn held(&self, account: &Account) -> Result<Held, FundsError> {
        self.accounts
            .get(account)
            .copied()
            .ok_or_else(|| FundsError::UnknownAccount(account.clone()))
    }

    fn held_mut(&mut self, account: &Account) -> Result<&mut Held, FundsError> {
        self.accounts
            .get_mut(account)
            .ok_or_else(|| FundsError::UnknownAccount(account.clone()))
    }

    fn stored(&self, order: OrderId) -> Option<&Transfer> {
        self.orders
            .get(&order)
            .and_then(|index| self.transfers.get(*index))
    }

    fn transfer(&mut self, request: &TransferRequest, now: UnixMillis) -> TransferOutcome {
        let Content { from, to, amount } = &request.content;
        if let Some(stored) = self.stored(request.order_id) {
            return if stored.content == request.content {
                TransferOutcome::Applied(stored.clone())
            } else {
                TransferOutcome::Conflict
            };
        }
        // What moves nothing is no transfer and can never become one.
        if amount.is_zero() || from == to {
            return TransferOutcome::NotSent;
        }
        let now = self.time(now);
        match self.moved(request, now) {
            Err(refusal) => TransferOutcome::Refused(refusal),
            Ok((payer, receiver)) => {
                self.accounts.insert(from.clone(), payer);
                self.accounts.insert(to.clone(), receiver);
                let receipt = Receipt {
                    position: Position(self.position().0 + 1),
                    applied_at: now,
                };
                let transfer = applied(request, receipt);
                self.orders.insert(request.order_id, self.transfers.len());
                self.transfers.push(transfer.clone());
                TransferOutcome::Applied(transfer)
            }
        }
    }

    /// Payer and receiver as they are after the transfer, or the first reason against it.
    fn moved(&self, request: &TransferRequest, now: UnixMillis) -> Result<(Held, Held), Refusal> {
        let Content { from, to, amount } = &request.content;
        if request.not_after.is_some_and(|last| now > last) {
            return Err(Refusal::PastNotAfter);
        }
        let (Some(mut payer), Some(mut receiver)) = (
            self.accounts.get(from).copied(),
            self.accounts.get(to).copied(),
        ) else {
            return Err(Refusal::UnknownAccount);
        };
        if payer.closed || receiver.closed {
            return Err(Refusal::AccountClosed);
        }
        if receiver.credits_closed.is_some() {
            return Err(Refusal::ClosedToCredits);
        }
        // What is issued is bounded by the integer alone.
        payer.amount = payer
            .amount
            .checked_sub(amount.as_i64())
            .ok_or(Refusal::InsufficientBalance)?;
        if payer.amount < 0 && *from != Account::Platform(Platform::Issuing) {
            return Err(Refusal::InsufficientBalance);
        }
        // At most 2^53 − 1 on either side of the sum.
        receiver.amount += amount.as_i64();
        if receiver.amount > Coins::MAX.as_i64() {
            return Err(Refusal::BalanceLimit);
        }
        Ok((payer, receiver))
    }
}

#[async_trait]
impl Funds for MemoryFunds {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            close_credits: true,
            closed_position: true,
            linearizable_lookup: true,
            orders_for_ever: true,
        }
    }

    async fn open_account(&self, account: &Account) -> Result<(), FundsError> {
        self.state().accounts.entry(account.clone()).or_default();
        Ok(())
    }

    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome {
        self.state().transfer(request, self.clock.now())
    }

    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> {
        if orders.len() > LOOKUP_MAX {
            return Err(FundsError::unavailable("too many orders in one look-up"));
        }
        let state = self.state();
        Ok(Lookup {
            found: orders
                .iter()
                .map(|order| state.stored(*order).cloned())
                .collect(),
            position: state.position(),
            at: state.time(self.clock.now()),
        })
    }

    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError> {
        let mut state = self.state();
        let now = CreditsClosed {
            position: state.position(),
        };
        Ok(*state.held_mut(account)?.credits_closed.get_or_insert(now))
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        let state = self.state();
        let amount = state.held(account)?.amount;
        Ok(Balance {
            amount,
            position: state.position(),
            at: state.time(self.clock.now()),
        })
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError> {
        let state = self.state();
        state.held(account)?;
        let concerns = |transfer: &&Transfer| {
            transfer.receipt.position > after
                && (transfer.content.from == *account || transfer.content.to == *account)
        };
        let transfers = state
            .transfers
            .iter()
            .filter(concerns)
            .take(limit)
            .cloned()
            .collect();
        Ok(TransferPage {
            transfers,
            closed_position: state.position(),
        })
    }
}

/// A funds system behind a line that fails when [`Faults`] says so. A transfer that got no answer
/// is [`TransferOutcome::Unknown`], whether or not it was carried out: the caller cannot know.
#[derive(Debug)]
pub struct FaultyFunds<F: Funds + ?Sized> {
    faults: Arc<Faults>,
    inner: Arc<F>,
}

impl<F: Funds + ?Sized> FaultyFunds<F> {
    /// `inner`, reached through `faults`.
    #[must_use]
    pub fn new(inner: Arc<F>, faults: Arc<Faults>) -> Self {
        Self { faults, inner }
    }
}

fn lost<T>() -> Result<T, FundsError> {
    Err(FundsError::unavailable("the answer was lost"))
}

#[async_trait]
impl<F: Funds + ?Sized> Funds for FaultyFunds<F> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn open_account(&self, account: &Account) -> Result<(), FundsError> {
        self.faults
            .around(|| self.inner.open_account(account), lost)
            .await
    }

    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome {
        self.faults
            .around(|| self.inner.transfer(request), || TransferOutcome::Unknown)
            .await
    }

    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> {
        self.faults.around(|| self.inner.lookup(orders), lost).await
    }

    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError> {
        self.faults
            .around(|| self.inner.close_credits(account), lost)
            .await
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        self.faults
            .around(|| self.inner.balance(account), lost)
            .await
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError> {
        self.faults
            .around(|| self.inner.list(account, after, limit), lost)
            .await
    }
}
