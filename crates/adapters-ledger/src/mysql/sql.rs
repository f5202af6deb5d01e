//! Every statement of the ledger on MySQL and MariaDB, and how its rows become values.
//!
//! What every batch does is written with a parameter for every value, which costs the server least;
//! the other statements take all their rows as one JSON parameter. `STRAIGHT_JOIN`, `LEFT JOIN` and
//! `FORCE INDEX` fix the order of the loops: always from the few rows of the parameters, or from the
//! one row of `progress`, into an index.

use domain::{
    money::Coins,
    order::{Account, OrderId},
    time::UnixMillis,
    transfer::{Content, Position, Receipt, Transfer},
};
use sql_core::mysql::keys;

/// Ends a transaction and makes it durable.
pub(crate) const COMMIT: &str = "COMMIT";
/// Undoes a transaction.
pub(crate) const ROLLBACK: &str = "ROLLBACK";

/// Locks the books. The last position given out, the time then, and the database's clock, which is
/// read only once the lock is held: `SYSDATE` is the moment, `NOW` would be the statement's begin.
pub(crate) const LOCK: &str = "\
    SELECT position, at, CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED) \
    FROM progress WHERE one = 1 FOR UPDATE";

/// The stored ones of some orders: as many ids as [`keys::padded`] says.
pub(crate) fn orders(number: usize) -> String {
    let marks = keys::marks(1, number);
    format!(
        "SELECT t.order_id, d.name, c.name, t.amount, t.position, t.applied_at \
         FROM transfer AS t FORCE INDEX (transfer_order) \
         STRAIGHT_JOIN account AS d FORCE INDEX (PRIMARY) ON d.account_id = t.debit \
         STRAIGHT_JOIN account AS c FORCE INDEX (PRIMARY) ON c.account_id = t.credit \
         WHERE t.order_id IN ({marks})"
    )
}

/// The stored ones of some accounts: as many names as [`keys::padded`] says.
pub(crate) fn accounts(number: usize) -> String {
    let marks = keys::marks(1, number);
    format!(
        "SELECT account_id, name, balance, credits_closed_at, closed \
         FROM account FORCE INDEX (account_name) WHERE name IN ({marks})"
    )
}

/// Inserts the accounts in ?, a JSON array of names.
pub(crate) const INSERT_ACCOUNTS: &str = "\
    INSERT INTO account (name, balance) SELECT asked.name, 0 \
    FROM JSON_TABLE(?, '$[*]' COLUMNS (\
        name VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin PATH '$')) AS asked";

/// Inserts transfers, by [`sql_core::mysql::rows::insert`].
pub(crate) const INSERT_TRANSFERS: &str =
    "INSERT INTO transfer (position, order_id, debit, credit, amount, memo, applied_at)";

/// Writes accounts that are there, and locked with the books: inserting finds each by its row,
/// whatever the optimiser thinks. Its rows are inserted by [`sql_core::mysql::rows::insert`].
pub(crate) const WRITE_ACCOUNTS: &str =
    "INSERT INTO account (account_id, name, balance, credits_closed_at, closed)";
/// What [`WRITE_ACCOUNTS`] does with an account that is there.
pub(crate) const CHANGES: &str = "ON DUPLICATE KEY UPDATE balance = VALUES(balance), \
    credits_closed_at = VALUES(credits_closed_at), closed = VALUES(closed)";

/// Moves the position to the first ? and the time to the second.
pub(crate) const UPDATE_PROGRESS: &str = "UPDATE progress SET position = ?, at = ? WHERE one = 1";

/// Writes what means nothing.
pub(crate) const PROBE: &str = "UPDATE progress SET probes = probes + 1 WHERE one = 1";

/// Whether the server is read-only (a server that no longer leads may be behind), position and
/// time, and beside them each order of ? with its place in the array: one statement, hence one
/// snapshot. Without orders it is one row without an order.
pub(crate) const LOOKUP: &str = "\
    SELECT CASE UPPER(CONCAT(@@GLOBAL.read_only)) WHEN '0' THEN 0 WHEN 'OFF' THEN 0 ELSE 1 END, p.position, \
    GREATEST(p.at, CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)), \
    CAST(asked.place AS SIGNED), \
    t.order_id, d.name, c.name, t.amount, t.position, t.applied_at \
    FROM progress AS p \
    LEFT JOIN JSON_TABLE(?, '$[*]' COLUMNS (\
        place FOR ORDINALITY, id CHAR(32) CHARACTER SET ascii PATH '$')) AS asked ON TRUE \
    LEFT JOIN transfer AS t ON t.order_id = UNHEX(asked.id) \
    LEFT JOIN account AS d ON d.account_id = t.debit \
    LEFT JOIN account AS c ON c.account_id = t.credit \
    WHERE p.one = 1";

/// Whether the server is read-only, what the account ? holds, position and time; no row without
/// such an account.
pub(crate) const BALANCE: &str = "\
    SELECT CASE UPPER(CONCAT(@@GLOBAL.read_only)) WHEN '0' THEN 0 WHEN 'OFF' THEN 0 ELSE 1 END, a.balance, p.position, \
    GREATEST(p.at, CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)) \
    FROM account AS a CROSS JOIN progress AS p WHERE a.name = ? AND p.one = 1";

/// Whether the server is read-only and the position, and beside them the first transfers of an
/// account after a position, in commit order: one statement, hence one snapshot. Takes name,
/// position and limit of the payments, then of the receipts, then the limit of both, then the name.
/// No row without such an account, one row without a transfer where there are none. Payer and
/// receiver differ, so the two halves share no transfer.
pub(crate) const LIST: &str = "\
    SELECT CASE UPPER(CONCAT(@@GLOBAL.read_only)) WHEN '0' THEN 0 WHEN 'OFF' THEN 0 ELSE 1 END, p.position, \
    t.order_id, d.name, c.name, t.amount, t.position, t.applied_at \
    FROM account AS a CROSS JOIN progress AS p \
    LEFT JOIN (\
        (SELECT order_id, debit, credit, amount, position, applied_at FROM transfer \
            WHERE debit = (SELECT account_id FROM account WHERE name = ?) AND position > ? \
            ORDER BY position LIMIT ?) \
        UNION ALL \
        (SELECT order_id, debit, credit, amount, position, applied_at FROM transfer \
            WHERE credit = (SELECT account_id FROM account WHERE name = ?) AND position > ? \
            ORDER BY position LIMIT ?) \
        ORDER BY position LIMIT ?) AS t ON TRUE \
    LEFT JOIN account AS d ON d.account_id = t.debit \
    LEFT JOIN account AS c ON c.account_id = t.credit \
    WHERE a.name = ? AND p.one = 1 ORDER BY t.position";

/// Every statement with parameters or plans worth watching.
#[cfg(test)]
pub(crate) fn all() -> Vec<String> {
    let fixed = [
        LOCK,
        INSERT_ACCOUNTS,
        UPDATE_PROGRESS,
        PROBE,
        LOOKUP,
        BALANCE,
        LIST,
    ];
    let mut all: Vec<_> = fixed.map(str::to_owned).into();
    all.extend([orders(2), accounts(2)]);
    all
}

/// order id, payer, receiver, amount, position, applied at.
pub(crate) type TransferRow = (Vec<u8>, String, String, i64, i64, i64);

/// The same beside something that need not be there.
pub(crate) type OptionalRow = (
    Option<Vec<u8>>,
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
    let order: [u8; 16] = order
        .try_into()
        .map_err(|_| impossible("an order id that is not 16 bytes"))?;
    Ok(Transfer {
        order_id: OrderId(order),
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
