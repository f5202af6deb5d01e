//! How a SQLite file is opened: one writer, some readers, every commit on disk before it is
//! answered.

use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool,
    migrate::{MigrateError, Migration, Migrator},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{path::Path, time::Duration};

/// The log grows to this many pages (64 MiB) before it is folded into the file. Keys that are
/// spread evenly dirty pages of their own with each row; a longer log folds a page once for many
/// rows. No bearing on durability: a commit is answered when it is in the log.
const FOLD_PAGES: &str = "16384";

/// The pages that the writer keeps, 64 MiB: it comes back to those at the ends of its indexes.
const WRITER_CACHE: &str = "-65536";
/// The pages that each reader keeps, 8 MiB: the file's own pages are in the system's cache, and
/// several readers' copies of them would only add up.
const READER_CACHE: &str = "-8192";

/// An open database file.
pub struct Database {
    /// The only connection that writes.
    pub writer: SqliteConnection,
    /// Connections that read; each read sees every commit that was answered before it began.
    pub readers: SqlitePool,
}

/// Why a file was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It has a schema step that this program does not know; nothing was changed.
    #[error(
        "it was written by a newer version of this program (schema step {step}, this one knows up \
         to {known}): run that version or a later one, or restore a backup of this one"
    )]
    Newer {
        /// The first step that is not known.
        step: i64,
        /// The last one that is.
        known: i64,
    },
    /// One of its schema steps was another one than this program's; nothing was changed.
    #[error("its schema step {0} is not this program's: it was written by another build")]
    Foreign(i64),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// One migration: its version, name and statements.
pub type Step = (i64, &'static str, &'static str);

/// Opens `path`, creating it if it is not there, and brings its schema up to date.
///
/// Write-ahead log and `synchronous = FULL`: a commit that was answered survives a crash of the
/// process, the machine and its power supply (as far as the disk keeps its word).
///
/// # Errors
/// [`OpenError`] when the file cannot be opened, or was migrated by something else than `steps`.
pub async fn open(path: &Path, steps: &[Step], readers_max: u32) -> Result<Database, OpenError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(Duration::from_secs(5))
        .pragma("cache_size", WRITER_CACHE)
        .pragma("wal_autocheckpoint", FOLD_PAGES)
        .disable_statement_logging();
    let mut writer = SqliteConnection::connect_with(&options).await?;
    migrate(&mut writer, steps).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(readers_max)
        .acquire_timeout(Duration::from_secs(1))
        .test_before_acquire(false)
        .connect_with(
            options
                .pragma("cache_size", READER_CACHE)
                .read_only(true)
                .create_if_missing(false),
        )
        .await?;
    Ok(Database { writer, readers })
}

async fn migrate(writer: &mut SqliteConnection, steps: &[Step]) -> Result<(), OpenError> {
    let migrations: Vec<_> = steps
        .iter()
        .map(|(version, name, sql)| {
            Migration::new(
                *version,
                (*name).into(),
                sqlx::migrate::MigrationType::Simple,
                sqlx::SqlStr::from_static(sql),
                false,
            )
        })
        .collect();
    Migrator::with_migrations(migrations)
        .run(writer)
        .await
        .map_err(|error| match error {
            MigrateError::VersionMissing(step) => OpenError::Newer {
                step,
                known: steps
                    .iter()
                    .map(|(version, ..)| *version)
                    .max()
                    .unwrap_or(0),
            },
            MigrateError::VersionMismatch(step) => OpenError::Foreign(step),
            other => sqlx::Error::Migrate(Box::new(other)).into(),
        })
}

/// SQL for the database's own clock in milliseconds. It is read once for a statement, and never
/// comes from a caller.
pub const NOW_MS: &str = "CAST(round(unixepoch('subsec') * 1000) AS INTEGER)";

/// A write that means nothing: a number of the file's head that is there for applications, and
/// that we give no other use. It dirties a page, so committing it takes room in the log and a
/// sync, as every write does.
pub const PROBE: &str = "PRAGMA user_version = 1";
