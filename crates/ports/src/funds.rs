//! The funds system (资金系统): the authority on whether money moved. It belongs to somebody else.

use async_trait::async_trait;
use domain::{
    money::Coins,
    order::{Account, OrderId},
    time::UnixMillis,
    transfer::{Content, CreditsClosed, Position, Receipt, Refusal, Transfer},
};

/// A transfer that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRequest {
    /// Its order: the same id is the same transfer, for ever.
    pub order_id: OrderId,
    /// What it moves.
    pub content: Content,
    /// The last moment, on the funds system's clock, at which it may still apply. A courtesy to
    /// the viewer; no safety hangs on it.
    pub not_after: Option<UnixMillis>,
    /// What it is for, in clear text.
    pub memo: String,
}

/// What became of a transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransferOutcome {
    /// It applied, now or at an earlier try; what is stored.
    Applied(Transfer),
    /// It was refused and left no trace: the same order may be tried again.
    Refused(Refusal),
    /// The order exists with other content. An alarm, never a success.
    Conflict,
    /// It provably never left us.
    NotSent,
    /// Everything else: neither done nor not done. The only legal reaction is a look-up.
    Unknown,
}

/// What was found of some orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// What is stored, in the order in which it was asked for.
    pub found: Vec<Option<Transfer>>,
    /// The position as of which this was answered.
    pub position: Position,
    /// The time as of which this was answered, on the funds system's clock.
    pub at: UnixMillis,
}

/// What an account holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Balance {
    /// Below zero for `platform/issuing` alone.
    pub amount: i64,
    /// The position as of which this was answered.
    pub position: Position,
    /// The time as of which this was answered, on the funds system's clock.
    pub at: UnixMillis,
}

/// Transfers of an account, in commit order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferPage {
    /// The transfers.
    pub transfers: Vec<Transfer>,
    /// Nothing at or below this position can still appear.
    pub closed_position: Position,
}

/// What a funds system can promise. Where it lacks one, the core takes the strongest safe way left
/// or refuses to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// An account can be closed to credits.
    pub close_credits: bool,
    /// A list says up to which position it is complete.
    pub closed_position: bool,
    /// A look-up sees everything that applied before it was asked.
    pub linearizable_lookup: bool,
    /// An order id is remembered for ever.
    pub orders_for_ever: bool,
}

/// Why the funds system did not answer a question.
#[derive(Debug, thiserror::Error)]
pub enum FundsError {
    /// It could not be reached, or did not answer in time.
    #[error("the funds system did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// There is no such account.
    #[error("there is no account {0}")]
    UnknownAccount(Account),
}

impl FundsError {
    /// An unanswered call, with its cause.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}

/// How long the flows wait for the answer to one call, in milliseconds; after that its outcome is
/// unknown to them, whatever the adapter still learns.
pub const ANSWER_MS_MAX: u64 = 5_000;

/// The most orders that one look-up takes.
pub const LOOKUP_MAX: usize = 1_000;

/// The funds system.
///
/// 1. `transfer` applies an order at most once. A repeat with the same content answers `Applied`
///    with what is stored, for ever, whatever else has changed since (closed accounts, balances,
///    `not_after`); an existing order is answered before any refusal is considered.
/// 2. The same order with other content is a `Conflict` and changes nothing. Content is payer,
///    receiver and amount; `not_after` and memo are not.
/// 3. A refusal leaves no trace: the same order applies once its reason is gone, even with other
///    content.
/// 4. Only `platform/issuing` may go below zero; nothing may hold more than 2^53 − 1.
/// 5. Refusals, in the order in which they are considered: past `not_after`, unknown account
///    (payer, then receiver), account closed (payer, then receiver), closed to credits,
///    insufficient balance, balance limit.
/// 6. Platform accounts always exist; others exist from `open_account` on, which is idempotent.
/// 7. From the answer of `close_credits` on nothing can credit the account; debits go on. Repeats
///    answer the first position.
/// 8. Positions rise with commit order; a transfer's position and time never change. A look-up,
///    balance or list sees every transfer that was answered before it was asked, and whatever was
///    not there at its position and applies later has a higher one.
/// 9. `list` answers an account's transfers in commit order after a position, at most `limit`,
///    each exactly once.
/// 10. What was answered survives a crash.
/// 11. The sum over all accounts is zero.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Funds: Send + Sync {
    /// What this funds system promises.
    fn capabilities(&self) -> Capabilities;

    /// Opens an account; idempotent.
    async fn open_account(&self, account: &Account) -> Result<(), FundsError>;

    /// Moves coins.
    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome;

    /// Looks up at most [`LOOKUP_MAX`] orders.
    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError>;

    /// Closes an account to credits; idempotent, always the first position.
    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError>;

    /// What an account holds.
    async fn balance(&self, account: &Account) -> Result<Balance, FundsError>;

    /// Transfers of an account after a position, in commit order, at most `limit`.
    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError>;
}

/// An applied transfer's balance as [`Coins`]; none below zero or above the limit.
#[must_use]
pub fn coins(balance: &Balance) -> Option<Coins> {
    Coins::try_from(balance.amount).ok()
}

/// A transfer as it is stored: what was asked for, and its receipt.
#[must_use]
pub fn applied(request: &TransferRequest, receipt: Receipt) -> Transfer {
    Transfer {
        order_id: request.order_id,
        content: request.content.clone(),
        receipt,
    }
}
