//! What the outside world answers about a signup, or somebody asks.

use super::{Paid, Share};
use crate::{
    money::Coins,
    payout::Achievement,
    settlement::SheetLine,
    transfer::{ProofOfAbsence, Receipt, Refusal},
};

/// Who starts the payment of a prize.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimant {
    /// The viewer, within the claim window.
    Viewer,
    /// The house: automatic payout, or an unclaimed prize that is paid all the same.
    House,
}

/// What the outside world answered, or somebody asked, about a signup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// The viewer asks again to sign up.
    SignUpAsked,
    /// The fee was applied.
    FeeApplied(Receipt),
    /// The fee was refused.
    FeeRefused(Refusal),
    /// The fee provably never left.
    FeeNotSent,
    /// Nobody knows whether the fee was applied.
    FeeUnknown,
    /// The fee was looked up and not found; it may still be sent.
    FeeNotFound,
    /// The fee was looked up and not found, and none can arrive any more.
    FeeCannotArrive(ProofOfAbsence),
    /// An operator has overridden that another transfer stands under the fee's order: what it moved from
    /// the viewer into the pool goes back; none where it did not.
    FeeOverridden(Option<(Receipt, Coins)>),
    /// The task system has the task.
    TaskAssigned,
    /// Nobody knows whether the task system has the task.
    TaskUnanswered,
    /// The target was met in time; with a fixed part where it is known.
    TaskMet(Achievement, Share),
    /// The target was not met yet.
    TaskOpen,
    /// The target was not met, and nothing can change that.
    TaskMissed(u64),
    /// The finisher's line of the sheet, and who asked for it.
    PrizeDrawn(SheetLine, Claimant),
    /// A prize of 0 needs no transfer.
    NothingToPay,
    /// The claim window has ended and the terms do not pay unclaimed prizes to their winners.
    ClaimsEnded,
    /// The contest gives the fee back.
    FeeReturned,
    /// The payment under way was applied, to this payee.
    PaymentApplied(Paid),
    /// It was refused.
    PaymentRefused(Refusal),
    /// It provably never left.
    PaymentNotSent,
    /// Nobody knows whether it was applied.
    PaymentUnknown,
    /// It was looked up and not found; it may be sent.
    PaymentNotFound,
    /// An operator asks for another try of a parked payment.
    RetryAsked,
    /// An operator redirects a parked payment to `platform/holding`.
    RedirectAsked,
}

impl Fact {
    /// True for answers that say "not now": the loop around the signup stops and waits. A part
    /// that is still provisional is one of them: asked again at once, the task system would give
    /// the same answer for ever.
    #[must_use]
    pub const fn says_wait(&self) -> bool {
        matches!(self, Self::TaskOpen | Self::TaskMet(_, Share::Provisional))
            || self.is_unanswered()
    }

    /// True where whoever was asked gave no answer.
    #[must_use]
    pub const fn is_unanswered(&self) -> bool {
        matches!(
            self,
            Self::FeeNotSent
                | Self::FeeUnknown
                | Self::TaskUnanswered
                | Self::PaymentNotSent
                | Self::PaymentUnknown
        )
    }

    /// Its name, for errors and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SignUpAsked => "sign_up_asked",
            Self::FeeApplied(_) => "fee_applied",
            Self::FeeRefused(_) => "fee_refused",
            Self::FeeNotSent => "fee_not_sent",
            Self::FeeUnknown => "fee_unknown",
            Self::FeeNotFound => "fee_not_found",
            Self::FeeCannotArrive(_) => "fee_cannot_arrive",
            Self::FeeOverridden(_) => "fee_overridden",
            Self::TaskAssigned => "task_assigned",
            Self::TaskUnanswered => "task_unanswered",
            Self::TaskMet(..) => "task_met",
            Self::TaskOpen => "task_open",
            Self::TaskMissed(_) => "task_missed",
            Self::PrizeDrawn(..) => "prize_drawn",
            Self::NothingToPay => "nothing_to_pay",
            Self::ClaimsEnded => "claims_ended",
            Self::FeeReturned => "fee_returned",
            Self::PaymentApplied(_) => "payment_applied",
            Self::PaymentRefused(_) => "payment_refused",
            Self::PaymentNotSent => "payment_not_sent",
            Self::PaymentUnknown => "payment_unknown",
            Self::PaymentNotFound => "payment_not_found",
            Self::RetryAsked => "retry_asked",
            Self::RedirectAsked => "redirect_asked",
        }
    }
}
