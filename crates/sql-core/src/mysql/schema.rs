//! The schema's steps. A server commits each statement of a schema by itself, so that a step is
//! one statement: it is done or not, and never half done.

use super::{self as session, MysqlError};
use sqlx::{
    Connection, MySqlConnection,
    migrate::{MigrateError, Migration, MigrationType, Migrator},
};
use std::time::Duration;
use tokio::time::timeout;

/// Version, name and statement of each step.
pub type Step = (i64, &'static str, &'static str);

/// What a schema that a later program has migrated means to this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// It is refused.
    Refuse,
    /// It is taken: steps only add, and what is no longer used goes a version later, so that nodes
    /// of both versions run beside each other.
    Take,
}

/// The longest that a migration may take, the wait for another one included.
const PATIENCE: Duration = Duration::from_secs(300);

fn migrations(steps: &[Step]) -> Vec<Migration> {
    steps
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

fn known(steps: &[Step]) -> i64 {
    steps.last().map_or(0, |(version, ..)| *version)
}

/// Brings the schema of the database at `url` up to date. May be run by several at once.
///
/// # Errors
/// [`MysqlError`]; what was done until then is kept, and the next run goes on from there.
pub async fn migrate(url: &str, steps: &[Step], later: Later) -> Result<(), MysqlError> {
    let mut connection = session::connect(&session::options(url)?).await?;
    session::leading(&mut connection).await?;
    // The migrator has a lock of its own, without a limit; MariaDB takes that for no wait at all.
    let locked: Option<i64> = sqlx::query_scalar(
        "SELECT GET_LOCK(CONCAT('migrate ', LEFT(SHA2(DATABASE(), 256), 32)), 60)",
    )
    .fetch_one(&mut connection)
    .await?;
    if locked != Some(1) {
        return Err(MysqlError::Silent);
    }
    // A step that waits for a table makes everybody behind it wait (hazard F13).
    sqlx::raw_sql("SET SESSION lock_wait_timeout = 5")
        .execute(&mut connection)
        .await?;
    let mut migrator = Migrator::with_migrations(migrations(steps));
    migrator.set_ignore_missing(later == Later::Take);
    timeout(PATIENCE, migrator.run(&mut connection))
        .await
        .map_err(|_| MysqlError::Silent)?
        .map_err(|error| match error {
            MigrateError::VersionMissing(found) => MysqlError::Newer {
                found,
                known: known(steps),
            },
            MigrateError::VersionMismatch(step) => MysqlError::Foreign(step),
            MigrateError::Dirty(step) => MysqlError::HalfDone(step),
            other => sqlx::Error::Migrate(Box::new(other)).into(),
        })?;
    // It was answered; how the connection ends does not matter.
    let _ = connection.close().await;
    Ok(())
}

/// Refuses a schema that is not this program's.
///
/// # Errors
/// [`MysqlError`] that says which step is missing, foreign or half done.
pub async fn check(
    connection: &mut MySqlConnection,
    steps: &[Step],
    later: Later,
) -> Result<(), MysqlError> {
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
    if found > known(steps) && later == Later::Refuse {
        return Err(MysqlError::Newer {
            found,
            known: known(steps),
        });
    }
    let expected = migrations(steps);
    for (step, (version, checksum, _)) in expected.iter().zip(&done) {
        if step.version != *version || *step.checksum != **checksum {
            return Err(MysqlError::Foreign(*version));
        }
    }
    if done.len() < expected.len() {
        return Err(MysqlError::Older {
            found,
            needed: known(steps),
        });
    }
    Ok(())
}
