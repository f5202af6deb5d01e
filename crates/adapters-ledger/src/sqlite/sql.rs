//! Every statement of the ledger, and how its rows become values.
//!
//! A statement takes all its rows as one JSON parameter, so a batch of any size runs the same
//! cached statement once. `CROSS JOIN` and `LEFT JOIN` fix the order of the loops: always from the
//! few rows of the parameter, or from the one row of `progress`, into an index.

use domain::{
    money::Coins,
    order::{Account, OrderId},
    time::UnixMillis,
    transfer::{Content, Position, Receipt, Transfer},
};
use sql_core::sqlite::NOW_MS;
use std::sync::LazyLock;

/// Takes the write lock at once, so a batch never finds out at its first write that it lost it.
pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";
/// Makes the batch durable; costs nothing when it wrote nothing.
pub(crate) const COMMIT: &str = "COMMIT";
/// Undoes the batch.
pub(crate) const ROLLBACK: &str = "ROLLBACK";

/// The last position given out, the time then, and the database's clock.
pub(crate) static PROGRESS: LazyLock<String> =
    LazyLock::new(|| format!("SELECT position, at, {NOW_MS} FROM progress"));

/// The stored ones of the orders in ?1, a JSON array of order ids.
pub(crate) const ORDERS: &str = "\
    SELECT t.order_id, d.name, c.name, t.amount, t.position, t.applied_at \
    FROM json_each(?1) AS asked \
    CROSS JOIN transfer AS t ON t.order_id = asked.value \
    CROSS JOIN account AS d ON d.account_id = t.debit \
    CROSS JOIN account AS c ON c.account_id = t.credit";

/// The stored ones of the accounts in ?1, a JSON array of names.
pub(crate) const ACCOUNTS: &str = "\
    SELECT a.account_id, a.name, a.balance, a.credits_closed_at, a.closed \
    FROM json_each(?1) AS asked CROSS JOIN account AS a ON a.name = asked.value";

/// Inserts the accounts in ?1, a JSON array of names.
pub(crate) const INSERT_ACCOUNTS: &str = "\
    INSERT INTO account (name, balance) SELECT value, 0 FROM json_each(?1) WHERE true \
    RETURNING account_id, name";

/// Inserts the transfers in ?1, a JSON array of
/// `[position, order id, debit, credit, amount, memo, applied at]`.
pub(crate) const INSERT_TRANSFERS: &str = "\
    INSERT INTO transfer (position, order_id, debit, credit, amount, memo, applied_at) \
    SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6 \
    FROM json_each(?1)";

/// Writes the accounts in ?1, a JSON array of `[row, balance, credits closed at, closed]`.
pub(crate) const UPDATE_ACCOUNTS: &str = "\
    UPDATE account SET balance = new.value ->> 1, credits_closed_at = new.value ->> 2, \
    closed = new.value ->> 3 \
    FROM json_each(?1) AS new WHERE account.account_id = new.value ->> 0";

/// Moves the position to ?1 and the time to ?2.
pub(crate) const UPDATE_PROGRESS: &str = "UPDATE progress SET position = ?1, at = ?2";

/// Position and time, and beside them each order of ?1 with its place in the array: one statement,
/// hence one snapshot. Without orders it is one row without an order.
pub(crate) static LOOKUP: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT p.position, max(p.at, {NOW_MS}), asked.key, \
         t.order_id, d.name, c.name, t.amount, t.position, t.applied_at \
         FROM progress AS p \
         LEFT JOIN json_each(?1) AS asked \
         LEFT JOIN transfer AS t ON t.order_id = asked.value \
         LEFT JOIN account AS d ON d.account_id = t.debit \
         LEFT JOIN account AS c ON c.account_id = t.credit"
    )
});

/// What the account ?1 holds, position and time; no row without such an account.
pub(crate) static BALANCE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT a.balance, p.position, max(p.at, {NOW_MS}) \
         FROM account AS a CROSS JOIN progress AS p WHERE a.name = ?1"
    )
});

/// The position, and beside it at most ?3 transfers of the account ?1 after ?2, in commit order:
/// one statement, hence one snapshot. No row without such an account, one row without a transfer
/// where there are none. Payer and receiver differ, so the two halves share no transfer.
pub(crate) const LIST: &str = "\
    SELECT p.position, t.order_id, d.name, c.name, t.amount, t.position, t.applied_at \
    FROM account AS a CROSS JOIN progress AS p \
    LEFT JOIN (\
        SELECT * FROM (SELECT * FROM transfer \
            WHERE debit = (SELECT account_id FROM account WHERE name = ?1) AND position > ?2 \
            ORDER BY position LIMIT ?3) \
        UNION ALL \
        SELECT * FROM (SELECT * FROM transfer \
            WHERE credit = (SELECT account_id FROM account WHERE name = ?1) AND position > ?2 \
            ORDER BY position LIMIT ?3) \
        ORDER BY position LIMIT ?3) AS t \
    LEFT JOIN account AS d ON d.account_id = t.debit \
    LEFT JOIN account AS c ON c.account_id = t.credit \
    WHERE a.name = ?1 ORDER BY t.position";

/// order id, payer, receiver, amount, position, applied at.
pub(crate) type TransferRow = (String, String, String, i64, i64, i64);

/// The same beside something that need not be there.
pub(crate) type OptionalRow = (
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

/// All of an optional row, or nothing.
pub(crate) fn present(row: OptionalRow) -> Option<TransferRow> {
    let (order, debit, credit, amount, position, at) = row;
    Some((order?, debit?, credit?, amount?, position?, at?))
}

/// The transfer that a row stores.
pub(crate) fn transfer(row: TransferRow) -> Result<Transfer, sqlx::Error> {
    let (order, debit, credit, amount, position, at) = row;
    Ok(Transfer {
        order_id: order.parse::<OrderId>().map_err(impossible)?,
        content: Content {
            from: account(&debit)?,
            to: account(&credit)?,
            amount: Coins::try_from(amount).map_err(impossible)?,
        },
        receipt: Receipt {
            position: self::position(position)?,
            applied_at: UnixMillis(at),
        },
    })
}

/// The account of that name.
pub(crate) fn account(name: &str) -> Result<Account, sqlx::Error> {
    name.parse().map_err(impossible)
}

/// The position that is stored as `value`.
pub(crate) fn position(value: i64) -> Result<Position, sqlx::Error> {
    u64::try_from(value).map(Position).map_err(impossible)
}

/// One JSON parameter.
pub(crate) fn json(rows: &impl serde::Serialize) -> Result<String, sqlx::Error> {
    serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// A stored value that nobody can have stored.
pub(crate) fn impossible(what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::Decode(what.into())
}
