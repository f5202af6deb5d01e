//! Samples of every state of a signup and of every fact, and what the tables call them.

use super::{absence, coins, contest_id, done, line, receipt, signup_id, user, weight};
use domain::{
    payout::{Achievement, Weight},
    signup::{
        Claimant, Fact, FeeTry, Paid, PayTry, Payee, Payment, Share, Signup, State, StateKind,
    },
    time::UnixMillis,
    transfer::{Receipt, Refusal},
};

const TRIES: [PayTry; 3] = [
    PayTry::NotSent,
    PayTry::Unknown,
    PayTry::Parked(Refusal::UnknownAccount),
];

pub(crate) fn fee() -> Receipt {
    receipt(11)
}

pub(crate) fn two() -> Weight {
    weight(2)
}

/// Those who did 3 weigh 2; those who did 5 weigh 5, for which no sample of a line fits.
fn fixed(quantity: u64) -> Share {
    Share::Fixed(weight(if quantity == 5 { 5 } else { 2 }))
}

pub(crate) fn paid(payee: Payee) -> Paid {
    Paid {
        payee,
        receipt: receipt(60),
    }
}

fn payments() -> Vec<Payment> {
    let payments = |payee: &Payee| {
        TRIES.map(|last_try| Payment {
            payee: *payee,
            last_try,
        })
    };
    Payee::ALL.iter().flat_map(payments).collect()
}

/// Every sample of a state. Exhaustive on purpose: a new state must find its way into the table.
pub(crate) fn samples(kind: StateKind) -> Vec<State> {
    match kind {
        StateKind::Initialized => {
            let refused = FeeTry::Refused(Refusal::InsufficientBalance);
            [FeeTry::NotSent, FeeTry::Unknown, refused]
                .map(State::Initialized)
                .into()
        }
        StateKind::Paid => vec![State::Paid(fee())],
        StateKind::InProgress => vec![State::InProgress(fee())],
        StateKind::Completed => [3, 5]
            .into_iter()
            .flat_map(|n| {
                [Share::Provisional, fixed(n)].map(|share| State::Completed(fee(), done(n), share))
            })
            .collect(),
        StateKind::Claiming => [7, 0]
            .into_iter()
            .flat_map(|prize| {
                let state =
                    move |payment| State::Claiming(fee(), done(3), two(), coins(prize), payment);
                payments().into_iter().map(state)
            })
            .collect(),
        StateKind::Shared => [
            (7, Some(Payee::Viewer)),
            (7, Some(Payee::Holding)),
            (0, None),
        ]
        .into_iter()
        .map(|(prize, payee)| State::Shared(fee(), done(3), two(), coins(prize), payee.map(paid)))
        .collect(),
        StateKind::Missed => vec![State::Missed(fee(), 1)],
        StateKind::Forfeited => [(3, 2), (5, 5)]
            .map(|(n, w)| State::Forfeited(fee(), done(n), weight(w)))
            .into(),
        StateKind::Expired => vec![State::Expired],
        StateKind::Refunding => payments()
            .into_iter()
            .map(|payment| State::Refunding(fee(), coins(10), payment))
            .collect(),
        StateKind::Refunded => Payee::ALL
            .iter()
            .map(|payee| State::Refunded(fee(), coins(10), paid(*payee)))
            .collect(),
    }
}

/// What the table calls a state; each sample has a label of its own.
pub(crate) fn label(state: &State) -> String {
    let name = state.kind().name();
    let share = |share: &Share| match share {
        Share::Provisional => "provisional",
        Share::Fixed(_) => "fixed",
    };
    let payment = |payment: &Payment| {
        let last_try = match payment.last_try {
            PayTry::NotSent => "not_sent",
            PayTry::Unknown => "unknown",
            PayTry::Parked(_) => "parked",
        };
        format!("{} {last_try}", payment.payee.name())
    };
    match state {
        State::Initialized(FeeTry::NotSent) => format!("{name} not_sent"),
        State::Initialized(FeeTry::Unknown) => format!("{name} unknown"),
        State::Initialized(FeeTry::Refused(_)) => format!("{name} refused"),
        State::Paid(_) | State::InProgress(_) | State::Expired => name.to_owned(),
        State::Missed(..) => name.to_owned(),
        State::Forfeited(_, done, _) => format!("{name} {}", done.quantity),
        State::Completed(_, Achievement { quantity, .. }, part) => {
            format!("{name} {quantity} {}", share(part))
        }
        State::Claiming(_, _, _, prize, pay) => format!("{name} {prize} {}", payment(pay)),
        State::Shared(_, _, _, prize, to) => {
            format!(
                "{name} {prize} {}",
                to.map_or("none", |paid| paid.payee.name())
            )
        }
        State::Refunding(.., pay) => format!("{name} {}", payment(pay)),
        State::Refunded(.., paid) => format!("{name} {}", paid.payee.name()),
    }
}

/// What the table calls a fact. Exhaustive on purpose: a new fact must be labelled here, sampled
/// in [`facts`] and counted in the table's test.
pub(crate) fn fact_label(fact: &Fact) -> String {
    let name = fact.name();
    match fact {
        Fact::SignUpAsked
        | Fact::FeeApplied(_)
        | Fact::FeeRefused(_)
        | Fact::FeeNotSent
        | Fact::FeeUnknown
        | Fact::FeeNotFound
        | Fact::FeeCannotArrive(_)
        | Fact::TaskAssigned
        | Fact::TaskUnanswered
        | Fact::TaskOpen
        | Fact::TaskMissed(_)
        | Fact::NothingToPay
        | Fact::ClaimsEnded
        | Fact::FeeReturned
        | Fact::PaymentRefused(_)
        | Fact::PaymentNotSent
        | Fact::PaymentUnknown
        | Fact::PaymentNotFound
        | Fact::RetryAsked
        | Fact::RedirectAsked => name.to_owned(),
        Fact::FeeOverridden(moved) => {
            format!("{name} {}", moved.map_or("nothing", |_| "moved"))
        }
        Fact::TaskMet(done, Share::Provisional) => format!("{name} {} provisional", done.quantity),
        Fact::TaskMet(done, Share::Fixed(_)) => format!("{name} {} fixed", done.quantity),
        Fact::PrizeDrawn(line, who) => {
            let whose = if line.finisher.signup_id == signup_id(1) {
                "own"
            } else {
                "foreign"
            };
            let weight = line.finisher.weight.get();
            format!(
                "{name} {whose} weight {weight} prize {} {who:?}",
                line.prize
            )
        }
        Fact::PaymentApplied(paid) => format!("{name} {}", paid.payee.name()),
    }
}

pub(crate) fn facts() -> Vec<Fact> {
    let (viewer, house) = (Claimant::Viewer, Claimant::House);
    vec![
        Fact::SignUpAsked,
        Fact::FeeApplied(fee()),
        Fact::FeeRefused(Refusal::InsufficientBalance),
        Fact::FeeNotSent,
        Fact::FeeUnknown,
        Fact::FeeNotFound,
        Fact::FeeCannotArrive(absence()),
        Fact::FeeOverridden(Some((fee(), coins(10)))),
        Fact::FeeOverridden(None),
        Fact::TaskAssigned,
        Fact::TaskUnanswered,
        Fact::TaskMet(done(3), Share::Provisional),
        Fact::TaskMet(done(3), fixed(3)),
        Fact::TaskMet(done(5), Share::Provisional),
        Fact::TaskMet(done(5), fixed(5)),
        Fact::TaskOpen,
        Fact::TaskMissed(1),
        Fact::PrizeDrawn(line(1, 2, 7), viewer),
        Fact::PrizeDrawn(line(1, 2, 7), house),
        Fact::PrizeDrawn(line(1, 2, 0), house),
        Fact::PrizeDrawn(line(2, 2, 7), viewer),
        Fact::PrizeDrawn(line(1, 3, 7), viewer),
        Fact::NothingToPay,
        Fact::ClaimsEnded,
        Fact::FeeReturned,
        Fact::PaymentApplied(paid(Payee::Viewer)),
        Fact::PaymentApplied(paid(Payee::Holding)),
        Fact::PaymentRefused(Refusal::UnknownAccount),
        Fact::PaymentNotSent,
        Fact::PaymentUnknown,
        Fact::PaymentNotFound,
        Fact::RetryAsked,
        Fact::RedirectAsked,
    ]
}

pub(crate) fn signup(state: State) -> Signup {
    let now = UnixMillis(1_200);
    let new = Signup::new(signup_id(1), contest_id(), user(1), coins(10), now);
    Signup { state, ..new }
}

pub(crate) fn all_samples() -> Vec<State> {
    StateKind::ALL
        .iter()
        .flat_map(|kind| samples(*kind))
        .collect()
}
