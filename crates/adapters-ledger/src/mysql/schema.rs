//! The schema's steps. A server commits each statement of a schema by itself, so that a step is
//! one statement: it is done or not, and never half done.

use super::session::{self, MysqlError};
use sqlx::{
    Connection, MySqlConnection,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};
use std::time::Duration;
use tokio::time::timeout;

/// Version, name and statement of each step.
const STEPS: &[(i64, &str, &str)] = &[
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

/// The longest that a migration may take, the wait for another one included.
const PATIENCE: Duration = Duration::from_secs(300);

fn migrations() -> Vec<Migration> {
    STEPS
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(
                *version,
                (*name).into(),
                MigrationType::Simple,
                sqlx::SqlStr::from_static(sql),
                // Only one statement: a transaction around it would promise what it cannot keep.
                true,
            )
        })
        .collect()
}

fn known() -> i64 {
    STEPS.last().map_or(0, |(version, ..)| *version)
}

/// Brings the schema of the database at `url` up to date. May be run by several at once.
///
/// # Errors
/// [`MysqlError`]; what was done until then is kept, and the next run goes on from there.
pub async fn migrate(url: &str) -> Result<(), MysqlError> {
    let mut connection = session::connect(&session::options(url)?).await?;
    session::leading(&mut connection).await?;
    // The migrator has a lock of its own, without a limit; MariaDB takes that for no wait at all.
    let locked: Option<i64> = sqlx::query_scalar(
        "SELECT GET_LOCK(CONCAT('ledger ', LEFT(SHA2(DATABASE(), 256), 32)), 60)",
    )
    .fetch_one(&mut connection)
    .await?;
    if locked != Some(1) {
        return Err(MysqlError::Silent);
    }
    let migrator = Migrator::with_migrations(migrations());
    timeout(PATIENCE, migrator.run(&mut connection))
        .await
        .map_err(|_| MysqlError::Silent)?
        .map_err(|error| match error {
            MigrateError::VersionMissing(found) => MysqlError::Newer {
                found,
                known: known(),
            },
            MigrateError::VersionMismatch(step) => MysqlError::Foreign(step),
            MigrateError::Dirty(step) => MysqlError::HalfDone(step),
            other => sqlx::Error::Migrate(Box::new(other)).into(),
        })?;
    // It was answered; how the connection ends does not matter.
    let _ = connection.close().await;
    Ok(())
}

/// Refuses a schema that is not exactly this program's.
pub(crate) async fn check(connection: &mut MySqlConnection) -> Result<(), MysqlError> {
    let there: i64 = sqlx::query_scalar(
        "SELECT CAST(COUNT(*) AS SIGNED) FROM information_schema.tables \
         WHERE table_schema = DATABASE() AND table_name = '_sqlx_migrations'",
    )
    .fetch_one(&mut *connection)
    .await?;
    let mut done: Vec<(i64, Vec<u8>, bool)> = Vec::new();
    if there > 0 {
        done = sqlx::query_as(
            "SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version",
        )
        .fetch_all(&mut *connection)
        .await?;
    }
    if let Some((step, ..)) = done.iter().find(|(.., success)| !success) {
        return Err(MysqlError::HalfDone(*step));
    }
    let found = done.last().map_or(0, |(version, ..)| *version);
    if found > known() {
        return Err(MysqlError::Newer {
            found,
            known: known(),
        });
    }
    let expected = migrations();
    for (step, (version, checksum, _)) in expected.iter().zip(&done) {
        if step.version != *version || *step.checksum != **checksum {
            return Err(MysqlError::Foreign(*version));
        }
    }
    if done.len() < expected.len() {
        return Err(MysqlError::Older {
            found,
            needed: known(),
        });
    }
    Ok(())
}
