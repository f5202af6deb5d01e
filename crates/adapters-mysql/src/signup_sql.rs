//! The statements about signups. Each serves a batch of any size.

use sql_core::{
    mysql::{NOW_MS, keys},
    signup_record::SignupRecord,
};
use std::sync::LazyLock;

/// The rows of a batch as a table: one JSON parameter, whatever their number.
pub(crate) const ROWS: &str = "JSON_TABLE(?, '$[*]' COLUMNS ( \
     contest_id CHAR(36) PATH '$.contest_id', signup_id CHAR(36) PATH '$.signup_id', \
     user_id VARCHAR(64) PATH '$.user_id', fee BIGINT PATH '$.fee', \
     fee_order_id CHAR(32) PATH '$.fee_order_id', state VARCHAR(16) PATH '$.state', \
     last_try VARCHAR(16) PATH '$.last_try', refusal VARCHAR(32) PATH '$.refusal', \
     tries BIGINT PATH '$.tries', fee_position BIGINT PATH '$.fee_position', \
     paid_at BIGINT PATH '$.paid_at', quantity BIGINT PATH '$.quantity', met_at BIGINT PATH '$.met_at', \
     weight BIGINT PATH '$.weight', prize BIGINT PATH '$.prize', \
     claim_order_id CHAR(32) PATH '$.claim_order_id', payee VARCHAR(16) PATH '$.payee', \
     payout_position BIGINT PATH '$.payout_position', payout_at BIGINT PATH '$.payout_at', \
     version BIGINT PATH '$.version', created_at BIGINT PATH '$.created_at', \
     updated_at BIGINT PATH '$.updated_at', wake_at BIGINT PATH '$.wake_at')) AS j";

/// The columns of ids among those of a record.
const IDS: [&str; 4] = ["contest_id", "signup_id", "fee_order_id", "claim_order_id"];

/// An id of a JSON row as it is stored.
pub(crate) fn id(column: &str) -> String {
    format!("UNHEX(REPLACE(j.{column}, '-', ''))")
}

fn from_json() -> String {
    let columns: Vec<_> = SignupRecord::COLUMNS
        .split(',')
        .map(str::trim)
        .map(|column| {
            if IDS.contains(&column) {
                id(column)
            } else {
                format!("j.{column}")
            }
        })
        .collect();
    columns.join(", ")
}

const PARKED: &str = "IF(j.last_try = 'parked', 1, NULL)";
const PROVISIONAL: &str = "IF(j.state = 'completed' AND j.weight IS NULL, 1, NULL)";

fn insert(on_duplicate: &str) -> String {
    format!(
        "INSERT INTO signup ({}, wake_at, is_parked, is_provisional) \
         SELECT {}, j.wake_at, {PARKED}, {PROVISIONAL} FROM {ROWS} \
         ON DUPLICATE KEY UPDATE {on_duplicate}",
        SignupRecord::COLUMNS,
        from_json(),
    )
}

/// Inserts rows. One that is there already stays as it is; who was first is read afterwards.
pub(crate) static ENROLL: LazyLock<String> = LazyLock::new(|| insert("version = signup.version"));

/// The columns of a signup that a commit may change.
const CHANGING: [&str; 19] = [
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
    "claim_order_id",
    "payee",
    "payout_position",
    "payout_at",
    "version",
    "wake_at",
    "is_parked",
    "is_provisional",
];

/// Writes rows that are there, and that this transaction has locked and looked at: each is found by
/// its primary key, whatever the optimiser thinks. `version` is the new one.
pub(crate) static COMMIT: LazyLock<String> = LazyLock::new(|| {
    let set: Vec<_> = CHANGING
        .iter()
        .map(|column| format!("{column} = VALUES({column})"))
        .collect();
    insert(&set.join(", "))
});

pub(crate) const HISTORY: &str = "INSERT INTO signup_history (signup_id, version, step, state, at) \
     SELECT UNHEX(REPLACE(j.signup_id, '-', '')), j.version, j.step, j.state, j.at \
     FROM JSON_TABLE(?, '$[*]' COLUMNS (signup_id CHAR(36) PATH '$.signup_id', \
     version BIGINT PATH '$.version', step BIGINT PATH '$.step', state VARCHAR(16) PATH '$.state', \
     at BIGINT PATH '$.at')) AS j";

pub(crate) const OUTBOX: &str = "INSERT INTO outbox (effect, contest_id, signup_id, user_id, version, due_at) \
     SELECT j.effect, UNHEX(REPLACE(j.contest_id, '-', '')), UNHEX(REPLACE(j.signup_id, '-', '')), \
            j.user_id, j.version, j.due_at \
     FROM JSON_TABLE(?, '$[*]' COLUMNS (effect VARCHAR(32) PATH '$.effect', \
     contest_id CHAR(36) PATH '$.contest_id', signup_id CHAR(36) PATH '$.signup_id', \
     user_id VARCHAR(64) PATH '$.user_id', version BIGINT PATH '$.version', \
     due_at BIGINT PATH '$.due_at')) AS j";

fn select(rest: &str) -> String {
    format!("SELECT {} FROM signup {rest}", SignupRecord::COLUMNS)
}

/// Signups of some viewers: as many keys as [`keys::padded`] says.
pub(crate) fn find_many(number: usize) -> String {
    let marks = keys::marks(2, number);
    select(&format!(
        "FORCE INDEX (signup_viewer) WHERE (contest_id, user_id) IN ({marks})"
    ))
}

/// Locks signups in the order of their keys; what a decision is checked against.
pub(crate) fn lock(number: usize) -> String {
    let marks = keys::marks(2, number);
    format!(
        "SELECT signup_id, version FROM signup FORCE INDEX (PRIMARY) \
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
