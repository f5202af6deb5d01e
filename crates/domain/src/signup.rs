//! One viewer's record in one contest, and the only function that changes its state.

mod fact;

pub use fact::{Claimant, Fact};

use crate::{
    assignment::Assignments,
    ids::{ContestId, SignupId, UserId},
    money::Coins,
    order::{Account, Leg, OrderId, Platform},
    payout::{Achievement, Weight},
    time::UnixMillis,
    transfer::{Content, Receipt, Refusal},
};

/// One viewer's record in one contest (报名记录); unique by contest and user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signup {
    /// For people and paging.
    pub id: SignupId,
    /// The contest.
    pub contest_id: ContestId,
    /// Whose it is.
    pub user_id: UserId,
    /// The fee, fixed when the row was inserted; every send uses it.
    pub fee: Coins,
    /// The variants of experiments that it got, fixed when the row was inserted.
    pub variants: Assignments,
    /// Where it stands.
    pub state: State,
    /// How often in a row the due step found no answer; spaces out the next tries.
    pub tries: u32,
    /// Counts the writes; a write names the version that it was decided on.
    pub version: u64,
    /// When it was inserted, by its writer's clock: for people.
    pub created_at: UnixMillis,
    /// When it was last written, by its writer's clock: for people.
    pub updated_at: UnixMillis,
}

/// The state, with exactly the data that exists in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// 初始化: the fee is not known to have been paid.
    Initialized(FeeTry),
    /// 已支付: the fee lies in the pool.
    Paid(Receipt),
    /// 进行中: the task is assigned.
    InProgress(Receipt),
    /// 已完成: the target was met in time.
    Completed(Receipt, Achievement, Share),
    /// 领奖中: the prize is decided and being paid.
    Claiming(Receipt, Achievement, Weight, Coins, Payment),
    /// 已瓜分: the prize was paid, or was 0.
    Shared(Receipt, Achievement, Weight, Coins, Option<Paid>),
    /// 未完成: judged, and the target was not met; with what was done.
    Missed(Receipt, u64),
    /// 逾期未领: not claimed in time, and the terms do not pay it out.
    Forfeited(Receipt, Achievement, Weight),
    /// 未支付失效: it is proven that no fee was paid and none can arrive.
    Expired,
    /// 退款中: so many coins are on their way back: the fee, or what moved instead of it.
    Refunding(Receipt, Coins, Payment),
    /// 已退款: they went back.
    Refunded(Receipt, Coins, Paid),
}

/// How the last try to charge the fee ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeTry {
    /// Nothing is under way, and whoever holds this value knows it: the row was just inserted by
    /// them, the fee provably never left, or it was just looked up and not found.
    /// It is not stored: whoever wrote the row may have sent the fee since, so it reads back as
    /// `Unknown` ([`Signup::recalled`]).
    NotSent,
    /// It may or may not have been applied: look it up.
    Unknown,
    /// Refused. Nothing is due until the viewer calls again.
    Refused(Refusal),
}

/// A finisher's part in the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Not known before settling.
    Provisional,
    /// Fixed for good.
    Fixed(Weight),
}

/// A payment to a viewer that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Who receives it.
    pub payee: Payee,
    /// How the last try ended.
    pub last_try: PayTry,
}

crate::terms::choice! {
    /// Who receives a payment.
    Payee {
        /// The viewer.
        Viewer = "viewer",
        /// `platform/holding`, redirected by an operator because the viewer cannot be paid.
        Holding = "holding",
    }
}

/// How the last try to pay ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayTry {
    /// As [`FeeTry::NotSent`].
    NotSent,
    /// As [`FeeTry::Unknown`].
    Unknown,
    /// Refused: an operator has to retry or redirect it.
    Parked(Refusal),
}

/// A payment that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Paid {
    /// Who received it.
    pub payee: Payee,
    /// The proof.
    pub receipt: Receipt,
}

crate::terms::choice! {
    /// A state's name, as stored and sent.
    StateKind {
        /// See [`State::Initialized`].
        Initialized = "initialized",
        /// See [`State::Paid`].
        Paid = "paid",
        /// See [`State::InProgress`].
        InProgress = "in_progress",
        /// See [`State::Completed`].
        Completed = "completed",
        /// See [`State::Claiming`].
        Claiming = "claiming",
        /// See [`State::Shared`].
        Shared = "shared",
        /// See [`State::Missed`].
        Missed = "missed",
        /// See [`State::Forfeited`].
        Forfeited = "forfeited",
        /// See [`State::Expired`].
        Expired = "expired",
        /// See [`State::Refunding`].
        Refunding = "refunding",
        /// See [`State::Refunded`].
        Refunded = "refunded",
    }
}

/// A change that the state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fact} is not possible while the signup is {}", state.name())]
pub struct TransitionError {
    /// The state it is in.
    pub state: StateKind,
    /// What was tried.
    pub fact: &'static str,
}

impl Payment {
    /// A payment to the viewer that has not been sent.
    pub const DUE: Self = Self {
        payee: Payee::Viewer,
        last_try: PayTry::NotSent,
    };
}

impl State {
    /// Its name.
    #[must_use]
    pub const fn kind(&self) -> StateKind {
        match self {
            Self::Initialized(_) => StateKind::Initialized,
            Self::Paid(_) => StateKind::Paid,
            Self::InProgress(_) => StateKind::InProgress,
            Self::Completed(..) => StateKind::Completed,
            Self::Claiming(..) => StateKind::Claiming,
            Self::Shared(..) => StateKind::Shared,
            Self::Missed(..) => StateKind::Missed,
            Self::Forfeited(..) => StateKind::Forfeited,
            Self::Expired => StateKind::Expired,
            Self::Refunding(..) => StateKind::Refunding,
            Self::Refunded(..) => StateKind::Refunded,
        }
    }

    /// The proof that the fee was paid, where it was.
    #[must_use]
    pub const fn fee_receipt(&self) -> Option<Receipt> {
        match self {
            Self::Initialized(_) | Self::Expired => None,
            Self::Paid(fee)
            | Self::InProgress(fee)
            | Self::Completed(fee, ..)
            | Self::Claiming(fee, ..)
            | Self::Shared(fee, ..)
            | Self::Missed(fee, _)
            | Self::Forfeited(fee, ..)
            | Self::Refunding(fee, ..)
            | Self::Refunded(fee, ..) => Some(*fee),
        }
    }

    /// How a finisher did.
    #[must_use]
    pub const fn achievement(&self) -> Option<Achievement> {
        match self {
            Self::Completed(_, done, _)
            | Self::Claiming(_, done, ..)
            | Self::Shared(_, done, ..)
            | Self::Forfeited(_, done, _) => Some(*done),
            _ => None,
        }
    }

    /// A finisher's weight, once it is fixed.
    #[must_use]
    pub const fn weight(&self) -> Option<Weight> {
        match self {
            Self::Completed(_, _, Share::Fixed(weight))
            | Self::Claiming(_, _, weight, ..)
            | Self::Shared(_, _, weight, ..)
            | Self::Forfeited(_, _, weight) => Some(*weight),
            _ => None,
        }
    }

    /// What goes back or went back, where something does.
    #[must_use]
    pub const fn refund(&self) -> Option<Coins> {
        match self {
            Self::Refunding(_, amount, _) | Self::Refunded(_, amount, _) => Some(*amount),
            _ => None,
        }
    }

    /// The prize, once it was drawn.
    #[must_use]
    pub const fn prize(&self) -> Option<Coins> {
        match self {
            Self::Claiming(_, _, _, prize, _) | Self::Shared(_, _, _, prize, _) => Some(*prize),
            _ => None,
        }
    }
}

impl StateKind {
    /// True for the states that follow this one directly (FORWARD_ONLY).
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Initialized => matches!(next, Self::Paid | Self::Expired | Self::Refunding),
            Self::Paid => matches!(next, Self::InProgress | Self::Refunding),
            Self::InProgress => matches!(next, Self::Completed | Self::Missed | Self::Refunding),
            Self::Completed => matches!(next, Self::Claiming | Self::Forfeited | Self::Refunding),
            Self::Claiming => matches!(next, Self::Shared),
            Self::Missed | Self::Expired => matches!(next, Self::Refunding),
            Self::Refunding => matches!(next, Self::Refunded),
            Self::Shared | Self::Forfeited | Self::Refunded => false,
        }
    }

    /// True once the fee is known to have been paid.
    #[must_use]
    pub const fn is_paid(self) -> bool {
        !matches!(self, Self::Initialized | Self::Expired)
    }
}

impl Signup {
    /// A new signup, before anything was sent for it.
    #[must_use]
    pub const fn new(
        id: SignupId,
        contest_id: ContestId,
        user_id: UserId,
        fee: Coins,
        now: UnixMillis,
    ) -> Self {
        let state = State::Initialized(FeeTry::NotSent);
        Self {
            id,
            contest_id,
            user_id,
            fee,
            variants: Assignments::NONE,
            state,
            tries: 0,
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// The signup as anybody but its last writer has to see it: what had not been sent when the
    /// row was written may have been sent since.
    #[must_use]
    pub fn recalled(mut self) -> Self {
        match &mut self.state {
            State::Initialized(last_try @ FeeTry::NotSent) => *last_try = FeeTry::Unknown,
            State::Claiming(.., payment) | State::Refunding(.., payment)
                if payment.last_try == PayTry::NotSent =>
            {
                payment.last_try = PayTry::Unknown;
            }
            _ => {}
        }
        self
    }

    /// The fee's order.
    #[must_use]
    pub fn fee_order(&self) -> OrderId {
        Leg::Fee(self.contest_id, self.user_id.clone()).order_id()
    }

    /// What the fee's order moves: the fee, but where an operator has overridden that it moved something
    /// else, which goes back.
    #[must_use]
    pub fn fee_content(&self) -> Content {
        let amount = self.state.refund().unwrap_or(self.fee);
        Content {
            from: Account::User(self.user_id.clone()),
            to: Account::Pool(self.contest_id),
            amount,
        }
    }

    /// The payment that is due or was made: its leg and amount; none in states without one.
    #[must_use]
    pub fn payment(&self) -> Option<(Leg, Coins)> {
        let (contest, user) = (self.contest_id, self.user_id.clone());
        match &self.state {
            State::Claiming(_, _, _, prize, _) | State::Shared(_, _, _, prize, Some(_)) => {
                Some((Leg::Prize(contest, user), *prize))
            }
            State::Refunding(_, amount, _) | State::Refunded(_, amount, _) => {
                Some((Leg::Refund(contest, user), *amount))
            }
            _ => None,
        }
    }

    /// Why a payment is parked, if one is.
    #[must_use]
    pub const fn parked(&self) -> Option<Refusal> {
        match &self.state {
            State::Claiming(.., payment) | State::Refunding(.., payment) => {
                match payment.last_try {
                    PayTry::Parked(reason) => Some(reason),
                    PayTry::NotSent | PayTry::Unknown => None,
                }
            }
            _ => None,
        }
    }

    /// What a payment of `amount` to `payee` moves.
    #[must_use]
    pub fn payment_content(&self, payee: Payee, amount: Coins) -> Content {
        let to = match payee {
            Payee::Viewer => Account::User(self.user_id.clone()),
            Payee::Holding => Account::Platform(Platform::Holding),
        };
        Content {
            from: Account::Pool(self.contest_id),
            to,
            amount,
        }
    }

    /// What `fact` makes of the signup: the one place where its state changes.
    ///
    /// # Errors
    /// [`TransitionError`] for a fact that the state does not allow.
    pub fn apply(self, fact: Fact) -> Result<Self, TransitionError> {
        let impossible = TransitionError {
            state: self.state.kind(),
            fact: fact.name(),
        };
        let unanswered = fact.is_unanswered();
        let before = self.state.kind();
        let Self { state, .. } = self;
        let state = match state {
            State::Initialized(last) => initialized(last, fact),
            State::Paid(fee) => match fact {
                Fact::TaskAssigned => Some(State::InProgress(fee)),
                Fact::TaskUnanswered => Some(State::Paid(fee)),
                Fact::FeeReturned => Some(State::Refunding(fee, self.fee, Payment::DUE)),
                _ => None,
            },
            State::InProgress(fee) => match fact {
                Fact::TaskOpen => Some(State::InProgress(fee)),
                Fact::TaskMet(done, share) => Some(State::Completed(fee, done, share)),
                Fact::TaskMissed(quantity) => Some(State::Missed(fee, quantity)),
                Fact::FeeReturned => Some(State::Refunding(fee, self.fee, Payment::DUE)),
                _ => None,
            },
            State::Completed(fee, done, share) => {
                completed((self.id, self.fee), fee, done, share, fact)
            }
            State::Claiming(fee, done, weight, prize, payment) => match fact {
                Fact::NothingToPay if prize.is_zero() => {
                    Some(State::Shared(fee, done, weight, prize, None))
                }
                Fact::PaymentApplied(paid) if !prize.is_zero() => {
                    Some(State::Shared(fee, done, weight, prize, Some(paid)))
                }
                other => paying(payment, &other)
                    .map(|payment| State::Claiming(fee, done, weight, prize, payment)),
            },
            State::Refunding(fee, amount, payment) => match fact {
                Fact::PaymentApplied(paid) => Some(State::Refunded(fee, amount, paid)),
                other => {
                    paying(payment, &other).map(|payment| State::Refunding(fee, amount, payment))
                }
            },
            State::Missed(fee, _) => match fact {
                Fact::FeeReturned => Some(State::Refunding(fee, self.fee, Payment::DUE)),
                _ => None,
            },
            // The funds system is the authority: a fee that is there goes back.
            State::Expired => match fact {
                Fact::FeeApplied(fee) => Some(State::Refunding(fee, self.fee, Payment::DUE)),
                _ => None,
            },
            State::Shared(..) | State::Forfeited(..) | State::Refunded(..) => None,
        };
        let state = state.ok_or(impossible)?;
        let tries = match (state.kind() == before, unanswered) {
            (true, true) => self.tries.saturating_add(1),
            (true, false) => self.tries,
            (false, _) => 0,
        };
        Ok(Self {
            state,
            tries,
            ..self
        })
    }
}

fn initialized(last: FeeTry, fact: Fact) -> Option<State> {
    let next = match fact {
        // Whatever the last try was, the repeat looks the order up first.
        Fact::SignUpAsked | Fact::FeeUnknown => FeeTry::Unknown,
        Fact::FeeNotSent => FeeTry::NotSent,
        // A refusal stands until the viewer calls again, even if the order was looked up since.
        Fact::FeeNotFound => match last {
            FeeTry::NotSent | FeeTry::Unknown => FeeTry::NotSent,
            FeeTry::Refused(reason) => FeeTry::Refused(reason),
        },
        Fact::FeeRefused(reason) => FeeTry::Refused(reason),
        Fact::FeeApplied(receipt) => return Some(State::Paid(receipt)),
        Fact::FeeCannotArrive(_) | Fact::FeeOverridden(None) => return Some(State::Expired),
        Fact::FeeOverridden(Some((receipt, amount))) => {
            return Some(State::Refunding(receipt, amount, Payment::DUE));
        }
        _ => return None,
    };
    Some(State::Initialized(next))
}

fn completed(
    (id, fee): (SignupId, Coins),
    receipt: Receipt,
    done: Achievement,
    share: Share,
    fact: Fact,
) -> Option<State> {
    match (share, fact) {
        (Share::Provisional, Fact::TaskOpen) => Some(State::Completed(receipt, done, share)),
        // Until settling fixes it, the score may still grow.
        (Share::Provisional, Fact::TaskMet(done, share)) => {
            Some(State::Completed(receipt, done, share))
        }
        (Share::Fixed(weight), Fact::PrizeDrawn(line, _))
            if line.finisher.signup_id == id && line.finisher.weight == weight =>
        {
            Some(State::Claiming(
                receipt,
                done,
                weight,
                line.prize,
                Payment::DUE,
            ))
        }
        (Share::Fixed(weight), Fact::ClaimsEnded) => Some(State::Forfeited(receipt, done, weight)),
        (_, Fact::FeeReturned) => Some(State::Refunding(receipt, fee, Payment::DUE)),
        _ => None,
    }
}

fn paying(payment: Payment, fact: &Fact) -> Option<Payment> {
    let Payment { payee, last_try } = payment;
    let parked = matches!(last_try, PayTry::Parked(_));
    let (payee, last_try) = match fact {
        Fact::PaymentRefused(reason) => (payee, PayTry::Parked(*reason)),
        Fact::PaymentNotSent => (payee, PayTry::NotSent),
        Fact::PaymentUnknown => (payee, PayTry::Unknown),
        // A parked payment stays parked: only an operator's word sends it again.
        Fact::PaymentNotFound => (payee, if parked { last_try } else { PayTry::NotSent }),
        Fact::RetryAsked if parked => (payee, PayTry::Unknown),
        Fact::RedirectAsked if parked => (Payee::Holding, PayTry::Unknown),
        _ => return None,
    };
    Some(Payment { payee, last_try })
}
