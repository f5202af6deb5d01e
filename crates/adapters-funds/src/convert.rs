//! Between the proto's messages and the words of the port. What comes in is checked field by
//! field; a fault names field and rule.

use crate::{MEMO_BYTES_MAX, proto};
use domain::{
    money::Coins,
    order::{Account, OrderId},
    time::UnixMillis,
    transfer::{Content, Position, Receipt, Refusal, Transfer},
};
use ports::funds::{TransferOutcome, TransferRequest};

/// A field that breaks a rule of the proto.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub(crate) struct Fault {
    pub(crate) field: String,
    pub(crate) rule: &'static str,
}

pub(crate) fn fault(field: impl Into<String>, rule: &'static str) -> Fault {
    Fault {
        field: field.into(),
        rule,
    }
}

pub(crate) fn order_id(field: &str, text: &str) -> Result<OrderId, Fault> {
    text.parse()
        .map_err(|_| fault(field, "must be 32 lower-case hexadecimal digits"))
}

pub(crate) fn account(field: &str, text: &str) -> Result<Account, Fault> {
    text.parse().map_err(|_| {
        fault(
            field,
            "must be user/<user id>, pool/<contest id>, series/<series id> or platform/<issuing, revenue or holding>",
        )
    })
}

fn coins(field: &str, amount: u64) -> Result<Coins, Fault> {
    Coins::new(amount).map_err(|_| fault(field, "must be at most 9007199254740991"))
}

/// What is asked for. That something is moved at all is the funds system's own rule.
pub(crate) fn request(order: proto::TransferOrder) -> Result<TransferRequest, Fault> {
    if order.memo.len() > MEMO_BYTES_MAX {
        return Err(fault("memo", "must be at most 8192 bytes"));
    }
    Ok(TransferRequest {
        order_id: order_id("order_id", &order.order_id)?,
        content: Content {
            from: account("from", &order.from)?,
            to: account("to", &order.to)?,
            amount: coins("amount", order.amount)?,
        },
        not_after: order.not_after_unix_ms.map(UnixMillis),
        memo: order.memo,
    })
}

pub(crate) fn order(request: &TransferRequest) -> proto::TransferOrder {
    proto::TransferOrder {
        order_id: request.order_id.to_string(),
        from: request.content.from.to_string(),
        to: request.content.to.to_string(),
        amount: request.content.amount.get(),
        not_after_unix_ms: request.not_after.map(|at| at.0),
        memo: request.memo.clone(),
    }
}

pub(crate) fn stored(transfer: &Transfer) -> proto::Transfer {
    proto::Transfer {
        order_id: transfer.order_id.to_string(),
        from: transfer.content.from.to_string(),
        to: transfer.content.to.to_string(),
        amount: transfer.content.amount.get(),
        position: transfer.receipt.position.0,
        applied_at_unix_ms: transfer.receipt.applied_at.0,
    }
}

/// A stored transfer, complete.
pub(crate) fn transfer(transfer: &proto::Transfer) -> Result<Transfer, Fault> {
    if transfer.position == 0 {
        return Err(fault("position", "must be above 0"));
    }
    if transfer.amount == 0 {
        return Err(fault("amount", "must be above 0"));
    }
    Ok(Transfer {
        order_id: order_id("order_id", &transfer.order_id)?,
        content: Content {
            from: account("from", &transfer.from)?,
            to: account("to", &transfer.to)?,
            amount: coins("amount", transfer.amount)?,
        },
        receipt: Receipt {
            position: Position(transfer.position),
            applied_at: UnixMillis(transfer.applied_at_unix_ms),
        },
    })
}

pub(crate) fn refusal(reason: Refusal) -> proto::Refusal {
    match reason {
        Refusal::PastNotAfter => proto::Refusal::PastNotAfter,
        Refusal::UnknownAccount => proto::Refusal::UnknownAccount,
        Refusal::AccountClosed => proto::Refusal::AccountClosed,
        Refusal::ClosedToCredits => proto::Refusal::ClosedToCredits,
        Refusal::InsufficientBalance => proto::Refusal::InsufficientBalance,
        Refusal::BalanceLimit => proto::Refusal::BalanceLimit,
    }
}

fn reason(refusal: i32) -> Option<Refusal> {
    match proto::Refusal::try_from(refusal).ok()? {
        proto::Refusal::Unspecified => None,
        proto::Refusal::PastNotAfter => Some(Refusal::PastNotAfter),
        proto::Refusal::UnknownAccount => Some(Refusal::UnknownAccount),
        proto::Refusal::AccountClosed => Some(Refusal::AccountClosed),
        proto::Refusal::ClosedToCredits => Some(Refusal::ClosedToCredits),
        proto::Refusal::InsufficientBalance => Some(Refusal::InsufficientBalance),
        proto::Refusal::BalanceLimit => Some(Refusal::BalanceLimit),
    }
}

/// What became of a transfer, as it is sent.
pub(crate) fn told(outcome: &TransferOutcome) -> proto::TransferOutcome {
    use proto::transfer_outcome::Outcome;
    let outcome = match outcome {
        TransferOutcome::Applied(transfer) => Outcome::Applied(stored(transfer)),
        TransferOutcome::Refused(reason) => Outcome::Refused(refusal(*reason).into()),
        TransferOutcome::Conflict => Outcome::Conflict(proto::Conflict {}),
        // The one thing that a funds system itself does not take.
        TransferOutcome::NotSent => return invalid(&fault("amount", "must move something")),
        TransferOutcome::Unknown => Outcome::Unknown(proto::Unknown {}),
    };
    proto::TransferOutcome {
        outcome: Some(outcome),
    }
}

pub(crate) fn invalid(fault: &Fault) -> proto::TransferOutcome {
    let invalid = proto::Invalid {
        field: fault.field.clone(),
        rule: fault.rule.to_owned(),
    };
    proto::TransferOutcome {
        outcome: Some(proto::transfer_outcome::Outcome::Invalid(invalid)),
    }
}

/// What became of `asked`, as it was told. Everything that is stored is compared with what was
/// asked for: what is not ours is never a success (hazard A13).
pub(crate) fn outcome(
    asked: &TransferRequest,
    told: Option<proto::TransferOutcome>,
) -> TransferOutcome {
    use proto::transfer_outcome::Outcome;
    let order = asked.order_id;
    match told.and_then(|told| told.outcome) {
        Some(Outcome::Applied(told)) => applied(asked, &told),
        Some(Outcome::Refused(told)) => match reason(told) {
            Some(reason) => TransferOutcome::Refused(reason),
            None => {
                tracing::error!(%order, reason = told, "the funds system refused a transfer for no known reason");
                TransferOutcome::Unknown
            }
        },
        Some(Outcome::Conflict(_)) => {
            tracing::error!(%order, "the funds system holds this order with other content");
            TransferOutcome::Conflict
        }
        Some(Outcome::Invalid(told)) => {
            tracing::error!(%order, field = told.field, rule = told.rule, "the funds system does not take this transfer");
            TransferOutcome::NotSent
        }
        Some(Outcome::Unknown(_)) => TransferOutcome::Unknown,
        None => {
            tracing::error!(%order, "the funds system left a transfer without an outcome");
            TransferOutcome::Unknown
        }
    }
}

fn applied(asked: &TransferRequest, told: &proto::Transfer) -> TransferOutcome {
    let order = asked.order_id;
    let ours = proto::Transfer {
        position: told.position,
        applied_at_unix_ms: told.applied_at_unix_ms,
        ..stored(&ports::funds::applied(
            asked,
            Receipt {
                position: Position(0),
                applied_at: UnixMillis(0),
            },
        ))
    };
    if *told != ours {
        tracing::error!(
            %order,
            told_order = told.order_id,
            told_from = told.from,
            told_to = told.to,
            told_amount = told.amount,
            "the funds system answered with a transfer that is not what was asked for"
        );
        return TransferOutcome::Conflict;
    }
    match transfer(told) {
        Ok(transfer) => TransferOutcome::Applied(transfer),
        Err(fault) => {
            tracing::error!(%order, %fault, "the funds system answered with half a transfer");
            TransferOutcome::Unknown
        }
    }
}
