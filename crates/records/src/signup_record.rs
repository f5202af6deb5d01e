//! A signup as a flat row.

use crate::record::{Context, column};
use domain::{
    money::Coins,
    order::Leg,
    payout::{Achievement, Weight},
    signup::{FeeTry, Paid, PayTry, Payee, Payment, Share, Signup, State, StateKind},
    time::UnixMillis,
    transfer::{Receipt, Refusal},
};
use ports::store::StoreError;
use serde::{Deserialize, Serialize};

/// The columns of a signup, in the order of [`SignupRecord::COLUMNS`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the migration documents the columns")]
pub struct SignupRecord {
    pub contest_id: String,
    pub signup_id: String,
    pub user_id: String,
    pub fee: i64,
    pub fee_order_id: String,
    pub state: String,
    pub last_try: Option<String>,
    pub refusal: Option<String>,
    pub tries: i64,
    pub fee_position: Option<i64>,
    pub paid_at: Option<i64>,
    pub quantity: Option<i64>,
    pub met_at: Option<i64>,
    pub weight: Option<i64>,
    pub prize: Option<i64>,
    pub moved: Option<i64>,
    pub claim_order_id: Option<String>,
    pub payee: Option<String>,
    pub payout_position: Option<i64>,
    pub payout_at: Option<i64>,
    pub variants: Option<String>,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

/// Stored for a try that may be under way. `NotSent` is stored as this too: see
/// [`Signup::recalled`].
const UNKNOWN: &str = "unknown";
const REFUSED: &str = "refused";
const PARKED: &str = "parked";

impl From<&Signup> for SignupRecord {
    fn from(signup: &Signup) -> Self {
        let Signup {
            id,
            contest_id,
            user_id,
            fee,
            variants,
            state,
            tries,
            version,
            created_at,
            updated_at,
        } = signup;
        let mut record = Self {
            contest_id: contest_id.to_string(),
            signup_id: id.to_string(),
            user_id: user_id.to_string(),
            fee: fee.as_i64(),
            fee_order_id: signup.fee_order().to_string(),
            state: state.kind().name().to_owned(),
            tries: (*tries).into(),
            variants: (!variants.is_empty()).then(|| variants.to_string()),
            version: column(*version),
            created_at: created_at.0,
            updated_at: updated_at.0,
            ..Self::default()
        };
        if let Some(fee) = state.fee_receipt() {
            record.fee_position = Some(column(fee.position.0));
            record.paid_at = Some(fee.applied_at.0);
        }
        if let Some(done) = state.achievement() {
            record.quantity = Some(column(done.quantity));
            record.met_at = Some(done.met_at.0);
        }
        record.weight = state.weight().map(|weight| column(weight.get()));
        record.prize = state.prize().map(Coins::as_i64);
        if record.prize.is_some() {
            let leg = Leg::Prize(*contest_id, user_id.clone());
            record.claim_order_id = Some(leg.order_id().to_string());
        }
        if let State::Refunding(_, amount, _) | State::Refunded(_, amount, _) = state {
            record.moved = (amount != fee).then_some(amount.as_i64());
        }
        record.write_tries(state);
        record
    }
}

impl SignupRecord {
    /// The columns, for SELECT and INSERT.
    pub const COLUMNS: &'static str = "contest_id, signup_id, user_id, fee, fee_order_id, state, last_try, \
         refusal, tries, fee_position, paid_at, quantity, met_at, weight, prize, moved, claim_order_id, payee, \
         payout_position, payout_at, variants, version, created_at, updated_at";

    fn write_tries(&mut self, state: &State) {
        match state {
            State::Initialized(last_try) => self.write_try(match last_try {
                FeeTry::NotSent | FeeTry::Unknown => (UNKNOWN, None),
                FeeTry::Refused(reason) => (REFUSED, Some(*reason)),
            }),
            State::Claiming(.., payment) | State::Refunding(.., payment) => {
                self.payee = Some(payment.payee.name().to_owned());
                self.write_try(match payment.last_try {
                    PayTry::NotSent | PayTry::Unknown => (UNKNOWN, None),
                    PayTry::Parked(reason) => (PARKED, Some(reason)),
                });
            }
            State::Shared(.., Some(paid)) | State::Refunded(.., paid) => {
                self.payee = Some(paid.payee.name().to_owned());
                self.payout_position = Some(column(paid.receipt.position.0));
                self.payout_at = Some(paid.receipt.applied_at.0);
            }
            State::Missed(_, quantity) => self.quantity = Some(column(*quantity)),
            State::Paid(_)
            | State::InProgress(_)
            | State::Completed(..)
            | State::Shared(.., None)
            | State::Forfeited(..)
            | State::Expired => {}
        }
    }

    fn write_try(&mut self, (last_try, refusal): (&str, Option<Refusal>)) {
        self.last_try = Some(last_try.to_owned());
        self.refusal = refusal.map(|reason| reason.name().to_owned());
    }

    fn context(&self) -> Context<'_> {
        Context {
            table: "signup",
            key: &self.signup_id,
        }
    }

    /// The signup, as anybody but its last writer has to see it.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] for columns that no signup can have.
    pub fn parse(&self) -> Result<Signup, StoreError> {
        let context = self.context();
        let signup = Signup {
            id: context.parsed("signup_id", &self.signup_id)?,
            contest_id: context.parsed("contest_id", &self.contest_id)?,
            user_id: context.parsed("user_id", &self.user_id)?,
            fee: context.coins("fee", self.fee)?,
            variants: context
                .maybe_parsed("variants", self.variants.clone())?
                .unwrap_or_default(),
            state: self.parse_state()?,
            tries: u32::try_from(self.tries)
                .map_err(|_| context.inconsistent("tries out of range"))?,
            version: context.count("version", self.version)?,
            created_at: UnixMillis(self.created_at),
            updated_at: UnixMillis(self.updated_at),
        };
        if signup.fee_order().to_string() != self.fee_order_id {
            return Err(context.inconsistent("fee_order_id is not the derived one"));
        }
        // Nothing more and nothing less than the state's own columns.
        if Self::from(&signup) == *self {
            Ok(signup)
        } else {
            Err(context.inconsistent("columns do not fit the state"))
        }
    }

    fn parse_state(&self) -> Result<State, StoreError> {
        let context = self.context();
        let fee = || context.receipt("fee_position", self.fee_position, self.paid_at);
        let kind = context.named("state", &self.state, StateKind::named)?;
        Ok(match kind {
            StateKind::Initialized => State::Initialized(self.parse_fee_try()?),
            StateKind::Paid => State::Paid(fee()?),
            StateKind::InProgress => State::InProgress(fee()?),
            StateKind::Completed => {
                let share = if self.weight.is_some() {
                    Share::Fixed(self.parse_weight()?)
                } else {
                    Share::Provisional
                };
                State::Completed(fee()?, self.parse_achievement()?, share)
            }
            StateKind::Claiming => {
                let prize = context.coins("prize", context.present("prize", self.prize)?)?;
                State::Claiming(
                    fee()?,
                    self.parse_achievement()?,
                    self.parse_weight()?,
                    prize,
                    self.parse_payment()?,
                )
            }
            StateKind::Shared => {
                let prize = context.coins("prize", context.present("prize", self.prize)?)?;
                let paid = if prize.is_zero() {
                    None
                } else {
                    Some(self.parse_paid()?)
                };
                State::Shared(
                    fee()?,
                    self.parse_achievement()?,
                    self.parse_weight()?,
                    prize,
                    paid,
                )
            }
            StateKind::Missed => State::Missed(
                fee()?,
                context.count("quantity", context.present("quantity", self.quantity)?)?,
            ),
            StateKind::Forfeited => {
                State::Forfeited(fee()?, self.parse_achievement()?, self.parse_weight()?)
            }
            StateKind::Expired => State::Expired,
            StateKind::Refunding => {
                State::Refunding(fee()?, self.parse_returned()?, self.parse_payment()?)
            }
            StateKind::Refunded => {
                State::Refunded(fee()?, self.parse_returned()?, self.parse_paid()?)
            }
        })
    }

    /// What goes back: the fee, where nothing else is said.
    fn parse_returned(&self) -> Result<Coins, StoreError> {
        self.context()
            .coins("moved", self.moved.unwrap_or(self.fee))
    }

    fn parse_fee_try(&self) -> Result<FeeTry, StoreError> {
        match self.last_try.as_deref() {
            Some(UNKNOWN) => Ok(FeeTry::Unknown),
            Some(REFUSED) => self.parse_refusal().map(FeeTry::Refused),
            other => Err(self
                .context()
                .inconsistent(format!("last_try is {other:?}"))),
        }
    }

    fn parse_payment(&self) -> Result<Payment, StoreError> {
        let last_try = match self.last_try.as_deref() {
            Some(UNKNOWN) => PayTry::Unknown,
            Some(PARKED) => PayTry::Parked(self.parse_refusal()?),
            other => {
                return Err(self
                    .context()
                    .inconsistent(format!("last_try is {other:?}")));
            }
        };
        Ok(Payment {
            payee: self.parse_payee()?,
            last_try,
        })
    }

    fn parse_paid(&self) -> Result<Paid, StoreError> {
        let receipt: Receipt =
            self.context()
                .receipt("payout_position", self.payout_position, self.payout_at)?;
        Ok(Paid {
            payee: self.parse_payee()?,
            receipt,
        })
    }

    fn parse_payee(&self) -> Result<Payee, StoreError> {
        let context = self.context();
        context.named(
            "payee",
            context.present("payee", self.payee.as_deref())?,
            Payee::named,
        )
    }

    fn parse_refusal(&self) -> Result<Refusal, StoreError> {
        let context = self.context();
        context.named(
            "refusal",
            context.present("refusal", self.refusal.as_deref())?,
            Refusal::named,
        )
    }

    fn parse_achievement(&self) -> Result<Achievement, StoreError> {
        let context = self.context();
        Ok(Achievement {
            quantity: context.count("quantity", context.present("quantity", self.quantity)?)?,
            met_at: UnixMillis(context.present("met_at", self.met_at)?),
        })
    }

    fn parse_weight(&self) -> Result<Weight, StoreError> {
        let context = self.context();
        let weight = context.count("weight", context.present("weight", self.weight)?)?;
        Weight::new(weight).ok_or_else(|| context.inconsistent("weight is 0"))
    }
}
