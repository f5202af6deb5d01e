//! The schema's steps.

use sql_core::mysql::{
    MysqlError,
    schema::{self, Later, Step},
};
use sqlx::MySqlConnection;

const STEPS: &[Step] = &[
    (
        1,
        "account",
        include_str!("../../migrations/mysql/0001_account.sql"),
    ),
    (
        2,
        "platform_accounts",
        include_str!("../../migrations/mysql/0002_platform_accounts.sql"),
    ),
    (
        3,
        "transfer",
        include_str!("../../migrations/mysql/0003_transfer.sql"),
    ),
    (
        4,
        "progress",
        include_str!("../../migrations/mysql/0004_progress.sql"),
    ),
    (
        5,
        "progress_row",
        include_str!("../../migrations/mysql/0005_progress_row.sql"),
    ),
];

/// Brings the schema of the database at `url` up to date. May be run by several at once.
///
/// # Errors
/// [`MysqlError`]; what was done until then is kept, and the next run goes on from there.
pub async fn migrate(url: &str) -> Result<(), MysqlError> {
    schema::migrate(url, STEPS, Later::Refuse).await
}

/// Refuses a schema that is not exactly this program's: the books are read whole.
pub(crate) async fn check(connection: &mut MySqlConnection) -> Result<(), MysqlError> {
    schema::check(connection, STEPS, Later::Refuse).await
}
