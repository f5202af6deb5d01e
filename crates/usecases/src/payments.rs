//! Calls of the funds system, each with a deadline: what has not answered by then is unknown.

use crate::{Contests, FUNDS_DEADLINE};
use domain::{
    contest::Contest,
    finding::FindingClass,
    judge::{self, Conflict},
    order::{Leg, OrderId},
    reconcile,
    signup::{Fact, Signup, State},
    time::UnixMillis,
    transfer::{Content, Position, Refusal, Transfer},
};
use ports::funds::{FundsError, Lookup, TransferOutcome, TransferRequest};
use tokio::time::timeout;

/// How long a fee may be under way before it is refused as late, in milliseconds on the funds
/// system's clock. A courtesy: no viewer is to be surprised an hour later.
const FEE_LIFE_MS: i64 = 30_000;

/// A question to the funds system, with a deadline.
pub(crate) async fn within<T>(
    question: impl Future<Output = Result<T, FundsError>>,
) -> Result<T, FundsError> {
    timeout(FUNDS_DEADLINE, question)
        .await
        .map_err(FundsError::unavailable)?
}

impl Contests {
    /// Sends the fee.
    pub(crate) async fn charge(&self, contest: &Contest, signup: &Signup) -> Fact {
        let now = self.ports.clock.now();
        let leg = Leg::Fee(contest.id, signup.user_id.clone());
        let not_after = contest.terms.signup_closes_at.min(now.plus(FEE_LIFE_MS));
        match self
            .transfer(leg, signup.fee_content(), Some(not_after))
            .await
        {
            TransferOutcome::Applied(transfer) => {
                self.fee_answer(contest, signup, Some(transfer), Position(0))
                    .await
            }
            // Too long on its way, or clocks apart: it may be sent anew while signups are open.
            TransferOutcome::Refused(Refusal::PastNotAfter) => Fact::FeeNotSent,
            TransferOutcome::Refused(reason) => Fact::FeeRefused(reason),
            TransferOutcome::NotSent => Fact::FeeNotSent,
            TransferOutcome::Unknown => Fact::FeeUnknown,
            TransferOutcome::Conflict => self.look_up_fee(contest, signup).await,
        }
    }

    /// Asks for the fee's order.
    pub(crate) async fn look_up_fee(&self, contest: &Contest, signup: &Signup) -> Fact {
        match self.look_up(&[signup.fee_order()]).await {
            Ok(Lookup {
                mut found,
                position,
                ..
            }) => {
                self.fee_answer(contest, signup, found.pop().flatten(), position)
                    .await
            }
            Err(_) => Fact::FeeUnknown,
        }
    }

    /// What an answer about the fee means; an order that holds something else is an alarm.
    pub(crate) async fn fee_answer(
        &self,
        contest: &Contest,
        signup: &Signup,
        found: Option<Transfer>,
        answered_at: Position,
    ) -> Fact {
        match judge::fee_lookup(contest, signup, found, answered_at) {
            Ok(fact) => fact,
            Err(conflict) => {
                self.raise_conflict(signup, &conflict).await;
                Fact::FeeUnknown
            }
        }
    }

    /// Sends the prize or the refund.
    pub(crate) async fn pay(&self, signup: &Signup) -> Option<Fact> {
        let (State::Claiming(.., payment) | State::Refunding(.., payment)) = &signup.state else {
            return None;
        };
        let (leg, amount) = signup.payment()?;
        let content = signup.payment_content(payment.payee, amount);
        Some(match self.transfer(leg, content, None).await {
            TransferOutcome::Applied(transfer) => self.payment_answer(signup, Some(transfer)).await,
            TransferOutcome::Refused(reason) => Fact::PaymentRefused(reason),
            TransferOutcome::NotSent => Fact::PaymentNotSent,
            TransferOutcome::Unknown => Fact::PaymentUnknown,
            // Redirected meanwhile, perhaps: what applied is what is recorded.
            TransferOutcome::Conflict => self.look_up_payment(signup).await?,
        })
    }

    /// Asks for the order of the prize or the refund.
    pub(crate) async fn look_up_payment(&self, signup: &Signup) -> Option<Fact> {
        let (leg, _) = signup.payment()?;
        Some(match self.look_up(&[leg.order_id()]).await {
            Ok(Lookup { mut found, .. }) => {
                self.payment_answer(signup, found.pop().flatten()).await
            }
            Err(_) => Fact::PaymentUnknown,
        })
    }

    async fn payment_answer(&self, signup: &Signup, found: Option<Transfer>) -> Fact {
        match judge::payment_lookup(signup, found) {
            Ok(fact) => fact,
            Err(conflict) => {
                self.raise_conflict(signup, &conflict).await;
                Fact::PaymentUnknown
            }
        }
    }

    /// The alarm about a payment that an operator has to decide about.
    pub(crate) async fn raise_parked(&self, signup: &Signup) {
        let (Some(reason), Some((_, amount))) = (signup.parked(), signup.payment()) else {
            return;
        };
        let evidence = format!("a payment of {amount} coins was refused: {}", reason.name());
        let subject = signup.id.to_string();
        self.raise(FindingClass::Stuck, signup.contest_id, subject, evidence)
            .await;
    }

    async fn raise_conflict(&self, signup: &Signup, conflict: &Conflict) {
        let subject = conflict.0.order_id.to_string();
        self.raise_about(
            Some(&signup.user_id),
            FindingClass::AmountDiffers,
            signup.contest_id,
            subject,
            reconcile::other_content(signup, &conflict.0),
        )
        .await;
    }

    /// Moves coins. An answer that echoes something else than what was asked for is a conflict
    /// (hazard A13).
    pub(crate) async fn transfer(
        &self,
        leg: Leg,
        content: Content,
        not_after: Option<UnixMillis>,
    ) -> TransferOutcome {
        let request = TransferRequest {
            order_id: leg.order_id(),
            content,
            not_after,
            memo: leg.memo(),
        };
        let outcome = timeout(FUNDS_DEADLINE, self.ports.funds.transfer(&request)).await;
        match outcome.unwrap_or(TransferOutcome::Unknown) {
            TransferOutcome::Applied(transfer)
                if transfer.order_id != request.order_id || transfer.content != request.content =>
            {
                TransferOutcome::Conflict
            }
            outcome => outcome,
        }
    }

    /// Looks orders up. An answer of the wrong length or about other orders is no answer.
    pub(crate) async fn look_up(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> {
        let lookup = within(self.ports.funds.lookup(orders)).await?;
        let fits = lookup.found.len() == orders.len()
            && lookup.found.iter().zip(orders).all(|(found, order)| {
                found
                    .as_ref()
                    .is_none_or(|transfer| transfer.order_id == *order)
            });
        if fits {
            Ok(lookup)
        } else {
            Err(FundsError::unavailable("the answer is about other orders"))
        }
    }
}
