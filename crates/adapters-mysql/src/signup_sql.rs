//! The statements about signups. Each serves a batch of any size.

use domain::{
    effects::Effect,
    ids::{ContestId, SignupId},
    order::OrderId,
    signup::{Signup, StateKind},
    time::UnixMillis,
};
use sql_core::{
    mysql::{NOW_MS, THEN_MS, keys, rows::Values},
    record::column,
    signup_record::SignupRecord,
};
use std::{borrow::Cow, sync::LazyLock};

/// Inserts the values that [`SignupRow::values`] gives.
pub(crate) static INSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO signup ({}, wake_at, is_parked, is_provisional)",
        SignupRecord::COLUMNS
    )
});

/// Of rows that are inserted, one that is there already stays as it is; who was first is read
/// afterwards.
pub(crate) const STAYS: &str = "ON DUPLICATE KEY UPDATE version = signup.version";

/// The columns of a signup that a commit may change.
const CHANGING: [&str; 20] = [
    "updated_at",
    "state",
    "last_try",
    "refusal",
    "tries",
    "fee_position",
    "paid_at",
    "quantity",
    "met_at",
    "weight",
    "prize",
    "moved",
    "claim_order_id",
    "payee",
    "payout_position",
    "payout_at",
    "version",
    "wake_at",
    "is_parked",
    "is_provisional",
];

/// Inserting writes rows that are there, and that this transaction has locked and looked at: each is found by
/// its primary key, whatever the optimiser thinks. `version` is the new one.
pub(crate) static CHANGES: LazyLock<String> = LazyLock::new(|| {
    let set: Vec<_> = CHANGING
        .iter()
        .map(|column| format!("{column} = VALUES({column})"))
        .collect();
    format!("ON DUPLICATE KEY UPDATE {}", set.join(", "))
});

/// A signup as it is to be stored.
pub(crate) struct SignupRow<'a> {
    signup: &'a Signup,
    record: SignupRecord,
    wake_at: Option<i64>,
}

impl<'a> SignupRow<'a> {
    pub(crate) fn new(signup: &'a Signup, wake_at: Option<UnixMillis>) -> Self {
        Self {
            signup,
            record: SignupRecord::from(signup),
            wake_at: wake_at.map(|at| at.0),
        }
    }

    /// The same with the version that it gets.
    pub(crate) fn of_version(mut self, version: u64) -> Self {
        self.record.version = column(version);
        self
    }

    /// Its values, in the order of [`INSERT`].
    pub(crate) fn values(&self, mut values: Values<'_>) {
        let Self {
            signup,
            record,
            wake_at,
        } = self;
        let is_parked = record.last_try.as_deref() == Some("parked");
        let is_provisional = signup.state.kind() == StateKind::Completed && record.weight.is_none();
        let order = |id: &String| id.parse().ok().map(|OrderId(bytes)| bytes.to_vec());
        values
            .push_bind(signup.contest_id.0)
            .push_bind(signup.id.0)
            .push_bind(&record.user_id)
            .push_bind(record.fee)
            .push_bind(order(&record.fee_order_id))
            .push_bind(&record.state)
            .push_bind(&record.last_try)
            .push_bind(&record.refusal)
            .push_bind(record.tries)
            .push_bind(record.fee_position)
            .push_bind(record.paid_at)
            .push_bind(record.quantity)
            .push_bind(record.met_at)
            .push_bind(record.weight)
            .push_bind(record.prize)
            .push_bind(record.moved)
            .push_bind(record.claim_order_id.as_ref().and_then(order))
            .push_bind(&record.payee)
            .push_bind(record.payout_position)
            .push_bind(record.payout_at)
            .push_bind(&record.variants)
            .push_bind(record.version)
            .push_bind(record.created_at)
            .push_bind(record.updated_at)
            .push_bind(wake_at)
            .push_bind(is_parked.then_some(1_i8))
            .push_bind(is_provisional.then_some(1_i8));
    }
}

/// One line of a signup's history.
pub(crate) struct HistoryLine {
    pub(crate) signup_id: SignupId,
    pub(crate) version: u64,
    pub(crate) step: usize,
    pub(crate) state: StateKind,
    pub(crate) at: UnixMillis,
}

/// Inserts the values that [`HistoryLine::values`] gives.
pub(crate) const HISTORY: &str = "INSERT INTO signup_history (signup_id, version, step, state, at)";

impl HistoryLine {
    /// Its values, in the order of [`HISTORY`].
    pub(crate) fn values(&self, mut values: Values<'_>) {
        values
            .push_bind(self.signup_id.0)
            .push_bind(column(self.version))
            .push_bind(i64::try_from(self.step).unwrap_or(i64::MAX))
            .push_bind(self.state.name())
            .push_bind(self.at.0);
    }
}

/// One saved effect.
pub(crate) struct OutboxLine<'a> {
    pub(crate) effect: Effect,
    pub(crate) contest_id: ContestId,
    pub(crate) signup_id: Option<SignupId>,
    pub(crate) user_id: Cow<'a, str>,
    pub(crate) version: u64,
    pub(crate) due_at: UnixMillis,
}

/// Inserts the values that [`OutboxLine::values`] gives.
pub(crate) const OUTBOX: &str =
    "INSERT INTO outbox (effect, contest_id, signup_id, user_id, version, due_at)";

impl OutboxLine<'_> {
    /// Its values, in the order of [`OUTBOX`].
    pub(crate) fn values(&self, mut values: Values<'_>) {
        values
            .push_bind(self.effect.name())
            .push_bind(self.contest_id.0)
            .push_bind(self.signup_id.map(|id| id.0))
            .push_bind(self.user_id.as_ref())
            .push_bind(column(self.version))
            .push_bind(self.due_at.0);
    }
}

fn select(rest: &str) -> String {
    format!("SELECT {} FROM signup {rest}", SignupRecord::COLUMNS)
}

/// Which signups some viewers have; the index says it, no row is looked at.
pub(crate) fn ids_of_many(number: usize) -> String {
    let marks = keys::marks(2, number);
    format!(
        "SELECT contest_id, user_id, signup_id FROM signup FORCE INDEX (signup_viewer) \
         WHERE (contest_id, user_id) IN ({marks})"
    )
}

/// Signups of some viewers: as many keys as [`keys::padded`] says.
pub(crate) fn find_many(number: usize) -> String {
    let marks = keys::marks(2, number);
    select(&format!(
        "FORCE INDEX (signup_viewer) WHERE (contest_id, user_id) IN ({marks})"
    ))
}

/// Where the line of the sheet begins in a row of [`find_many_to_claim`].
pub(crate) const LINE: usize = 24;

/// The same beside their lines of the settlement sheet, which are null where there is none.
pub(crate) fn find_many_to_claim(number: usize) -> String {
    let columns: Vec<_> = SignupRecord::COLUMNS
        .split(", ")
        .map(|column| format!("s.{column}"))
        .collect();
    format!(
        "SELECT {}, l.signup_id, l.user_id, l.weight, l.weight_before, l.prize \
         FROM signup AS s FORCE INDEX (signup_viewer) LEFT JOIN sheet_line AS l FORCE INDEX (PRIMARY) \
         ON l.contest_id = s.contest_id AND l.signup_id = s.signup_id \
         WHERE (s.contest_id, s.user_id) IN ({})",
        columns.join(", "),
        keys::marks(2, number)
    )
}

/// Locks signups in the order of their keys; what a decision is checked against, and the time then.
pub(crate) fn lock(number: usize) -> String {
    let marks = keys::marks(2, number);
    format!(
        "SELECT signup_id, version, {THEN_MS} FROM signup FORCE INDEX (PRIMARY) \
         WHERE (contest_id, signup_id) IN ({marks}) ORDER BY contest_id, signup_id FOR UPDATE"
    )
}

macro_rules! selects {
    ($($name:ident = $rest:expr;)+) => {
        $(pub(crate) static $name: LazyLock<String> = LazyLock::new(|| select($rest));)+
    };
}

selects! {
    GET = "WHERE signup_id = ?";
    AWAKE = &format!("FORCE INDEX (signup_awake) WHERE wake_at <= {NOW_MS} ORDER BY wake_at LIMIT ?");
    PAGE = "FORCE INDEX (PRIMARY) WHERE contest_id = ? AND signup_id > ? ORDER BY signup_id LIMIT ?";
    PAGE_OF_STATE = "FORCE INDEX (signup_state) WHERE contest_id = ? AND state = ? AND signup_id > ? \
                     ORDER BY signup_id LIMIT ?";
    OF_USER = "FORCE INDEX (signup_user) WHERE user_id = ? AND signup_id < ? \
               ORDER BY signup_id DESC LIMIT ?";
    PARKED_ROWS = "FORCE INDEX (signup_parked) WHERE is_parked = 1 AND signup_id > ? ORDER BY signup_id LIMIT ?";
}

/// Where a range of signups ends: ids alone, from the index.
pub(crate) const RANGE_END: &str = "SELECT signup_id FROM signup FORCE INDEX (PRIMARY) \
    WHERE contest_id = ? AND signup_id > ? ORDER BY signup_id LIMIT 1 OFFSET ?";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_stands_behind_the_columns_of_its_signup() {
        assert_eq!(SignupRecord::COLUMNS.split(", ").count(), LINE);
    }
}
