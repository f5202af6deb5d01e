//! A funds system that is slow, loses requests and answers, does things twice and reads from the
//! past, as often as it is told to. For tests of whatever calls it; never for real coins.

use async_trait::async_trait;
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
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;

/// What goes wrong and how often, in calls of a thousand. Each kind is drawn by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// Calls that are held up.
    pub slow_per_mille: u32,
    /// For how long, in milliseconds.
    pub slow_ms: u64,
    /// Calls that fail before anything is done.
    pub error_per_mille: u32,
    /// Calls that are carried out and whose answer is lost.
    pub lost_per_mille: u32,
    /// Calls that are carried out twice; the second answer counts.
    pub twice_per_mille: u32,
    /// Look-ups, balances that are answered with the last answer before, position and all.
    pub stale_per_mille: u32,
}

/// A plan that cannot be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("faults.{0} must be from 0 to 1000")]
pub struct InvalidPlan(pub &'static str);

impl FaultPlan {
    /// That every number is one of a thousand.
    ///
    /// # Errors
    /// [`InvalidPlan`] names the key.
    pub fn check(&self) -> Result<(), InvalidPlan> {
        let keys = [
            ("slow_per_mille", self.slow_per_mille),
            ("error_per_mille", self.error_per_mille),
            ("lost_per_mille", self.lost_per_mille),
            ("twice_per_mille", self.twice_per_mille),
            ("stale_per_mille", self.stale_per_mille),
        ];
        match keys.into_iter().find(|(_, value)| *value > 1_000) {
            Some((key, _)) => Err(InvalidPlan(key)),
            None => Ok(()),
        }
    }
}

/// Numbers that depend on a seed alone.
#[derive(Debug)]
pub struct Dice(AtomicU64);

impl Dice {
    /// The dice of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// True `per_mille` times in a thousand.
    #[must_use]
    pub fn hit(&self, per_mille: u32) -> bool {
        // SplitMix64: every value of the counter is a draw of its own.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut draw = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        draw = (draw ^ (draw >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        draw = (draw ^ (draw >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        draw ^= draw >> 31;
        draw % 1_000 < u64::from(per_mille)
    }
}

/// A funds system with faults.
pub struct Faulty {
    inner: Arc<dyn Funds>,
    dice: Dice,
    plan: Mutex<FaultPlan>,
    /// The last look-up of one order, and the last balance of an account, for stale answers.
    past: Mutex<Past>,
}

#[derive(Default)]
struct Past {
    position: Option<(Position, domain::time::UnixMillis)>,
    balance: Option<(Account, Balance)>,
}

impl Faulty {
    /// `inner`, with the faults of `plan`, drawn by `seed`.
    #[must_use]
    pub fn new(inner: Arc<dyn Funds>, seed: u64, plan: FaultPlan) -> Self {
        Self {
            inner,
            dice: Dice::new(seed),
            plan: Mutex::new(plan),
            past: Mutex::default(),
        }
    }

    /// Follows another plan from the next call on.
    pub fn follow(&self, plan: FaultPlan) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    fn plan(&self) -> FaultPlan {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn past(&self) -> MutexGuard<'_, Past> {
        self.past.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Carries `work` out as the plan has it; none: no answer.
    async fn around<T, F: Future<Output = T>>(&self, work: impl Fn() -> F) -> Option<T> {
        let plan = self.plan();
        if self.dice.hit(plan.slow_per_mille) {
            sleep(Duration::from_millis(plan.slow_ms)).await;
        }
        if self.dice.hit(plan.error_per_mille) {
            return None;
        }
        let mut answer = work().await;
        if self.dice.hit(plan.twice_per_mille) {
            answer = work().await;
        }
        (!self.dice.hit(plan.lost_per_mille)).then_some(answer)
    }

    fn is_stale(&self) -> bool {
        self.dice.hit(self.plan().stale_per_mille)
    }
}

fn lost() -> FundsError {
    FundsError::unavailable("a fault that was asked for")
}

#[async_trait]
impl Funds for Faulty {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn open_account(&self, account: &Account) -> Result<(), FundsError> {
        let answer = self.around(|| self.inner.open_account(account)).await;
        answer.unwrap_or_else(|| Err(lost()))
    }

    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome {
        let answer = self.around(|| self.inner.transfer(request)).await;
        answer.unwrap_or(TransferOutcome::Unknown)
    }

    /// A stale look-up found nothing, as of the position of the one before.
    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> {
        let old = self.past().position;
        if let Some((position, at)) = old.filter(|_| self.is_stale()) {
            return Ok(Lookup {
                found: vec![None; orders.len()],
                position,
                at,
            });
        }
        let answer = self.around(|| self.inner.lookup(orders)).await;
        let answer = answer.unwrap_or_else(|| Err(lost()));
        if let Ok(lookup) = &answer {
            self.past().position = Some((lookup.position, lookup.at));
        }
        answer
    }

    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError> {
        let answer = self.around(|| self.inner.close_credits(account)).await;
        answer.unwrap_or_else(|| Err(lost()))
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        let old = self.past().balance.clone();
        if let Some((_, balance)) = old.filter(|(of, _)| of == account && self.is_stale()) {
            return Ok(balance);
        }
        let answer = self.around(|| self.inner.balance(account)).await;
        let answer = answer.unwrap_or_else(|| Err(lost()));
        if let Ok(balance) = &answer {
            self.past().balance = Some((account.clone(), *balance));
        }
        answer
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError> {
        let answer = self.around(|| self.inner.list(account, after, limit)).await;
        answer.unwrap_or_else(|| Err(lost()))
    }
}
