//! The statements about signups. Each serves a batch of any size.

use sql_core::{signup_record::SignupRecord, sqlite::NOW_MS};
use std::sync::LazyLock;

/// `j.value ->> 'column'` for every column of a record, in order.
pub(crate) fn from_json(columns: &str) -> String {
    let columns: Vec<_> = columns
        .split(',')
        .map(|column| format!("j.value ->> '{}'", column.trim()))
        .collect();
    columns.join(", ")
}

/// The rows of a batch. Without `MATERIALIZED` each column would write the row's text anew.
pub(crate) const ROWS: &str = "WITH j AS MATERIALIZED (SELECT value FROM json_each(?1))";

pub(crate) static ENROLL: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{ROWS} INSERT INTO signup ({}, wake_at) SELECT {}, j.value ->> 'wake_at' FROM j CROSS JOIN contest AS c ON c.contest_id = j.value ->> 'contest_id' \
         WHERE c.phase = 'draft' AND c.signup_opens_at <= ?2 AND ?2 < c.signup_closes_at \
         ON CONFLICT (contest_id, user_id) DO NOTHING RETURNING signup_id",
        SignupRecord::COLUMNS,
        from_json(SignupRecord::COLUMNS),
    )
});

pub(crate) static RESTORE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{ROWS} INSERT INTO signup ({}, wake_at) SELECT {}, j.value ->> 'wake_at' FROM j CROSS JOIN contest AS c ON c.contest_id = j.value ->> 'contest_id' WHERE true \
         ON CONFLICT (contest_id, user_id) DO NOTHING RETURNING signup_id",
        SignupRecord::COLUMNS,
        from_json(SignupRecord::COLUMNS),
    )
});

/// The columns of a signup that a commit may change.
pub(crate) const CHANGING: [&str; 16] = [
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
];

pub(crate) static COMMIT: LazyLock<String> = LazyLock::new(|| {
    let set: Vec<_> = CHANGING
        .iter()
        .map(|column| format!("{column} = j.value ->> '{column}'"))
        .collect();
    format!(
        "{ROWS} UPDATE signup SET {}, wake_at = j.value ->> 'wake_at', version = signup.version + 1 \
         FROM j WHERE signup.contest_id = j.value ->> 'contest_id' \
         AND signup.signup_id = j.value ->> 'signup_id' AND signup.version = j.value ->> 'expected' \
         RETURNING signup_id",
        set.join(", "),
    )
});

pub(crate) const HISTORY: &str = "INSERT INTO signup_history (signup_id, version, step, state, at) \
     SELECT j.value ->> 'signup_id', j.value ->> 'version', j.value ->> 'step', j.value ->> 'state', ?2 \
     FROM json_each(?1) AS j";

pub(crate) const OUTBOX: &str = "INSERT INTO outbox (effect, contest_id, signup_id, user_id, version, due_at) \
     SELECT j.value ->> 'effect', j.value ->> 'contest_id', j.value ->> 'signup_id', j.value ->> 'user_id', \
            j.value ->> 'version', j.value ->> 'due_at' \
     FROM json_each(?1) AS j";

pub(crate) fn select(rest: &str) -> String {
    format!("SELECT {} FROM signup {rest}", qualified())
}

pub(crate) fn qualified() -> String {
    let columns: Vec<_> = SignupRecord::COLUMNS
        .split(',')
        .map(|column| format!("signup.{}", column.trim()))
        .collect();
    columns.join(", ")
}

macro_rules! selects {
    ($($name:ident = $rest:expr;)+) => {
        $(pub(crate) static $name: LazyLock<String> = LazyLock::new(|| select($rest));)+
    };
}

selects! {
    FIND_MANY = "WHERE (contest_id, user_id) IN (SELECT value ->> 'contest_id', value ->> 'user_id' FROM json_each(?1))";
    GET = "WHERE signup_id = ?1";
    AWAKE = &format!("WHERE wake_at <= {NOW_MS} ORDER BY wake_at LIMIT ?1");
    PAGE = "WHERE contest_id = ?1 AND signup_id > ?2 ORDER BY signup_id LIMIT ?3";
    PAGE_OF_STATE = "WHERE contest_id = ?1 AND state = ?4 AND signup_id > ?2 ORDER BY signup_id LIMIT ?3";
    OF_USER = "WHERE user_id = ?1 AND signup_id < ?2 ORDER BY signup_id DESC LIMIT ?3";
    PARKED = "WHERE last_try = 'parked' AND signup_id > ?1 ORDER BY signup_id LIMIT ?2";
}

/// Where a range of signups ends.
pub(crate) const RANGE_END: &str = "SELECT signup_id FROM signup WHERE contest_id = ?1 AND signup_id > ?2 \
    ORDER BY signup_id LIMIT 1 OFFSET ?3";

/// The statements that requests and sweeps run, for the test of their plans.
#[cfg(test)]
pub(crate) fn statements() -> Vec<(&'static str, &'static str)> {
    vec![
        ("enroll", &ENROLL),
        ("restore", &RESTORE),
        ("commit", &COMMIT),
        ("find_many", &FIND_MANY),
        ("get", &GET),
        ("awake", &AWAKE),
        ("range_end", RANGE_END),
        ("page", &PAGE),
        ("page_of_state", &PAGE_OF_STATE),
        ("of_user", &OF_USER),
        ("parked", &PARKED),
    ]
}
