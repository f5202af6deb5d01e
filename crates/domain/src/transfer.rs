//! What the funds system answers, in the words of the domain.

use crate::{
    money::Coins,
    order::{Account, OrderId},
    time::UnixMillis,
};
use std::fmt;

/// A place in the funds system's commit order. What carries a higher one happened later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Proof that a transfer applied: where in the commit order, and when on the funds system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Its place in the commit order.
    pub position: Position,
    /// When it applied, on the funds system's clock.
    pub applied_at: UnixMillis,
}

/// What a transfer moves. Two transfers are the same order only if all three agree; `not_after`
/// and memo are not content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Who pays.
    pub from: Account,
    /// Who receives.
    pub to: Account,
    /// How much, at least 1.
    pub amount: Coins,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, amount } = self;
        write!(f, "{amount} from {from} to {to}")
    }
}

/// One applied transfer as the funds system keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Its order.
    pub order_id: OrderId,
    /// What it moved.
    pub content: Content,
    /// Where and when it applied.
    pub receipt: Receipt,
}

/// The answer of `close_credits`: from this position on nothing can credit the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CreditsClosed {
    /// The position of the first such answer.
    pub position: Position,
}

crate::terms::choice! {
    /// Why the funds system refused a transfer. A refusal leaves no trace there: the same order
    /// may be tried again.
    Refusal {
        /// The payer has too few coins.
        InsufficientBalance = "insufficient_balance",
        /// There is no such account.
        UnknownAccount = "unknown_account",
        /// The account takes part in nothing any more.
        AccountClosed = "account_closed",
        /// The receiver takes no more credits.
        ClosedToCredits = "closed_to_credits",
        /// The transfer's `not_after` has passed.
        PastNotAfter = "past_not_after",
        /// The receiver would hold more than 2^53 − 1 coins.
        BalanceLimit = "balance_limit",
    }
}

/// Proof that a fee that was not found can never arrive any more.
///
/// Only [`ProofOfAbsence::new`] makes one, and only from a "not found" answered at or past the
/// position at which the pool account was closed to credits. Everything else that says "not
/// found" means "send it again" (hazards A2, A3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProofOfAbsence(());

impl ProofOfAbsence {
    /// The proof, if `not_found_at` lies at or past `closed_at`.
    #[must_use]
    pub fn new(not_found_at: Position, closed_at: CreditsClosed) -> Option<Self> {
        (not_found_at >= closed_at.position).then_some(Self(()))
    }
}
