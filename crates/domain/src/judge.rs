//! From an answer of the outside world to the fact it is for a signup.

use crate::{
    contest::{Contest, PhaseKind},
    payout::{self, Achievement},
    signup::{Fact, Paid, Payee, Share, Signup},
    time::UnixMillis,
    transfer::{Content, Position, ProofOfAbsence, Transfer},
};

/// A viewer's progress from `paid_at` up to `tasks_end_at`, as the task system tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Units done.
    pub quantity: u64,
    /// When the target was met, in event time.
    pub met_at: Option<UnixMillis>,
    /// The time up to which nothing can still arrive.
    pub complete_until: UnixMillis,
}

/// What `progress` means for a signup that is in progress, or has a provisional part.
///
/// Met is met at any time. Missed, and a part that depends on the whole of what was done, are
/// decided only while the contest is judging and the task system is complete up to
/// `tasks_end_at`.
#[must_use]
pub fn progress(contest: &Contest, signup: &Signup, progress: Progress) -> Fact {
    let is_final = contest.phase.kind() == PhaseKind::Judging
        && progress.complete_until >= contest.terms.tasks_end_at;
    match progress.met_at {
        Some(met_at) => {
            let done = Achievement {
                quantity: progress.quantity,
                met_at,
            };
            let fixed = contest.terms.rule.is_fixed_at_completion() || is_final;
            let weight = fixed
                .then(|| {
                    payout::weight(
                        &contest.terms,
                        contest.id,
                        &signup.user_id,
                        signup.fee,
                        done,
                        contest.draw().as_ref(),
                    )
                })
                .flatten();
            Fact::TaskMet(done, weight.map_or(Share::Provisional, Share::Fixed))
        }
        None if is_final => Fact::TaskMissed(progress.quantity),
        None => Fact::TaskOpen,
    }
}

/// An order whose stored content is not what we asked for. An alarm, never a success.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("order {} moved {} from {} to {}, which is not what was asked for", .0.order_id, .0.content.amount, .0.content.from, .0.content.to)]
pub struct Conflict(pub Box<Transfer>);

/// What the look-up of a fee, answered at `answered_at`, means.
///
/// # Errors
/// [`Conflict`] when the order holds something else than this signup's fee.
pub fn fee_lookup(
    contest: &Contest,
    signup: &Signup,
    found: Option<Transfer>,
    answered_at: Position,
) -> Result<Fact, Conflict> {
    match found {
        Some(transfer) if transfer.content == signup.fee_content() => {
            Ok(Fact::FeeApplied(transfer.receipt))
        }
        Some(transfer) => Err(Conflict(Box::new(transfer))),
        None => Ok(contest
            .phase
            .credits_closed()
            .and_then(|closed| ProofOfAbsence::new(answered_at, closed))
            .map_or(Fact::FeeNotFound, Fact::FeeCannotArrive)),
    }
}

/// What it means for a signup whose fee's order is another transfer's that an operator has overridden:
/// what came from the viewer into the pool goes back. What came from elsewhere, or went elsewhere, is
/// nobody's to return.
#[must_use]
pub fn fee_override(signup: &Signup, found: &Transfer) -> Fact {
    let fee = signup.fee_content();
    let Content { from, to, amount } = &found.content;
    let is_theirs = (from, to) == (&fee.from, &fee.to);
    Fact::FeeOverridden(is_theirs.then_some((found.receipt, *amount)))
}

/// What the look-up of a prize or refund means. It may have been redirected, so either payee is
/// right; what applied is what is recorded.
///
/// # Errors
/// [`Conflict`] when the order holds something else.
pub fn payment_lookup(signup: &Signup, found: Option<Transfer>) -> Result<Fact, Conflict> {
    let Some(transfer) = found else {
        return Ok(Fact::PaymentNotFound);
    };
    let payee = signup.payment().and_then(|(_, amount)| {
        [Payee::Viewer, Payee::Holding]
            .into_iter()
            .find(|payee| signup.payment_content(*payee, amount) == transfer.content)
    });
    match payee {
        Some(payee) => Ok(Fact::PaymentApplied(Paid {
            payee,
            receipt: transfer.receipt,
        })),
        None => Err(Conflict(Box::new(transfer))),
    }
}
