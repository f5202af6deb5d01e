//! MySQL and MariaDB: how a connection is made, what it is told, and what is asked of the server
//! first.

pub mod keys;
pub mod readers;
pub mod rows;
pub mod schema;

use sqlx::{ConnectOptions, Connection, MySqlConnection, Row, mysql::MySqlConnectOptions};
use std::{str::FromStr, time::Duration};
use tokio::time::timeout;

/// The longest that connecting may take.
const CONNECT: Duration = Duration::from_secs(2);

/// The server ends a writer's session that said nothing for so long, and with it the lock on the
/// books that a writer may hold who was cut off. A living writer connects anew before that.
pub const WRITER_IDLE: Duration = Duration::from_secs(20);

/// How many statements a writer's connection keeps prepared: of what every batch writes, one of each
/// size ([`rows`]). The server keeps 16,382 for all who use it, unless it is told otherwise
/// (hazard G6).
pub const WRITER_STATEMENTS: usize = 140;

/// What every session is told. Without a strict mode, MySQL stores what does not fit as something
/// else. READ COMMITTED: each statement sees what was committed before it began, so that what a
/// writer reads after it got the lock is the latest.
const EVERY: [&str; 2] = [
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES'), \
     innodb_lock_wait_timeout = 2, autocommit = 1",
];
/// What a writer's session is told besides: its transactions begin by themselves, which saves a
/// message each; and see [`WRITER_IDLE`].
const WRITER: &str = "SET SESSION autocommit = 0, wait_timeout = 20";

/// Why the database was not opened. No text contains a password.
#[derive(Debug, thiserror::Error)]
pub enum MysqlError {
    /// The address is none.
    #[error("the database's url is none: must be mysql://user:password@host:port/database")]
    Url,
    /// The server did not answer in time.
    #[error("the database did not answer within {} s", CONNECT.as_secs())]
    Silent,
    /// The database failed.
    #[error("the database failed")]
    Database(#[source] sqlx::Error),
    /// Its schema lacks steps that this program needs.
    #[error(
        "the schema is at step {found}, this program needs {needed}: run the command `migrate` of this version first"
    )]
    Older {
        /// The last step that is there; 0 where there is none.
        found: i64,
        /// The last step that is needed.
        needed: i64,
    },
    /// Its schema has steps that this program does not know.
    #[error(
        "the schema is at step {found}, this program knows up to {known}: run the later version"
    )]
    Newer {
        /// The last step that is there.
        found: i64,
        /// The last step that is known.
        known: i64,
    },
    /// One of its steps was begun and not ended.
    #[error(
        "step {0} of the schema was begun and not ended: look at what is there, undo it, and delete its row of _sqlx_migrations"
    )]
    HalfDone(i64),
    /// One of its steps is another one than this program's.
    #[error("step {0} of the schema is not this program's: it was written by another build")]
    Foreign(i64),
    /// The server may forget what it has answered.
    #[error(
        "the database's server may lose what it answered: {setting} is {found}, must be {needed}"
    )]
    Weak {
        /// The setting of the server.
        setting: &'static str,
        /// What it is.
        found: i64,
        /// What it must be.
        needed: i64,
    },
    /// A session is not what it was told to be.
    #[error("the database's session has {0} = {1}, whatever it is told")]
    Session(&'static str, String),
    /// The server is read-only.
    #[error("the database's server is read-only: name the one that leads")]
    ReadOnly,
}

impl From<sqlx::Error> for MysqlError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

/// The options of an address.
///
/// # Errors
/// [`MysqlError::Url`].
pub fn options(url: &str) -> Result<MySqlConnectOptions, MysqlError> {
    // The parser takes any scheme.
    if !["mysql://", "mariadb://"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
    {
        return Err(MysqlError::Url);
    }
    // The parser's own error may repeat the address, and with it a password.
    let options = MySqlConnectOptions::from_str(url).map_err(|_| MysqlError::Url)?;
    if options.get_database().is_none_or(str::is_empty) {
        return Err(MysqlError::Url);
    }
    Ok(options.disable_statement_logging())
}

/// One connection, outside any pool: its failure is told as it is.
///
/// # Errors
/// [`MysqlError::Silent`] or [`MysqlError::Database`].
pub async fn connect(options: &MySqlConnectOptions) -> Result<MySqlConnection, MysqlError> {
    let connecting = async {
        let mut connection = MySqlConnection::connect_with(options).await?;
        tell(&mut connection, &EVERY).await?;
        Ok(connection)
    };
    timeout(CONNECT, connecting)
        .await
        .map_err(|_| MysqlError::Silent)?
}

/// A writer's connection.
///
/// # Errors
/// What the driver says, or that it took too long.
pub async fn connect_writer(options: &MySqlConnectOptions) -> Result<MySqlConnection, sqlx::Error> {
    let options = options.clone().statement_cache_capacity(WRITER_STATEMENTS);
    let connecting = async {
        let mut connection = MySqlConnection::connect_with(&options).await?;
        tell(&mut connection, &EVERY).await?;
        tell(&mut connection, &[WRITER]).await?;
        heard(&mut connection).await?;
        Ok(connection)
    };
    timeout(CONNECT, connecting)
        .await
        .unwrap_or_else(|_| Err(late("connecting")))
}

/// A reader's connection.
///
/// # Errors
/// What the driver says, or that it took too long.
pub async fn connect_reader(options: &MySqlConnectOptions) -> Result<MySqlConnection, sqlx::Error> {
    let connecting = async {
        let mut connection = MySqlConnection::connect_with(options).await?;
        tell(&mut connection, &EVERY).await?;
        heard(&mut connection).await?;
        Ok(connection)
    };
    timeout(CONNECT, connecting)
        .await
        .unwrap_or_else(|_| Err(late("connecting")))
}

/// What took too long.
#[must_use]
pub fn late(what: &str) -> sqlx::Error {
    sqlx::Error::Io(std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("{what} took too long"),
    ))
}

async fn tell(
    connection: &mut MySqlConnection,
    statements: &[&'static str],
) -> Result<(), sqlx::Error> {
    for statement in statements {
        sqlx::raw_sql(*statement).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Refuses a session that sees what [`EVERY`] must keep it from seeing, whatever it was told: what
/// stands between may swallow it.
///
/// # Errors
/// [`sqlx::Error::Protocol`], or that it could not be asked.
pub async fn heard(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    // The servers name it differently.
    let found = sqlx::raw_sql(
        "SHOW SESSION VARIABLES WHERE variable_name IN ('transaction_isolation', 'tx_isolation')",
    )
    .fetch_all(connection)
    .await?;
    for row in &found {
        let isolation: String = row.try_get(1)?;
        if isolation != "READ-COMMITTED" {
            let text = format!("the session's transaction_isolation is {isolation}");
            return Err(sqlx::Error::Protocol(text));
        }
    }
    if found.is_empty() {
        let text = "the session does not say its transaction_isolation".to_owned();
        return Err(sqlx::Error::Protocol(text));
    }
    Ok(())
}

/// What a server must be set to so that an answered commit survives the loss of its power. The
/// binary log is part of that: without it InnoDB shows a commit to others before it is on disk, and
/// a look-up could see a transfer that a crash then takes back.
const DURABLE: [(&str, &str, i64); 4] = [
    (
        "innodb_flush_log_at_trx_commit",
        "SELECT CAST(@@GLOBAL.innodb_flush_log_at_trx_commit AS SIGNED)",
        1,
    ),
    ("log_bin", "SELECT CAST(@@GLOBAL.log_bin AS SIGNED)", 1),
    (
        "sync_binlog",
        "SELECT CAST(@@GLOBAL.sync_binlog AS SIGNED)",
        1,
    ),
    (
        "innodb_doublewrite",
        "SELECT CASE UPPER(CONCAT(@@GLOBAL.innodb_doublewrite)) \
         WHEN '0' THEN 0 WHEN 'OFF' THEN 0 WHEN 'DETECT_ONLY' THEN 0 ELSE 1 END",
        1,
    ),
];

/// Refuses a server that may lose what it answered.
///
/// # Errors
/// [`MysqlError::Weak`], or that it could not be asked.
pub async fn durable(connection: &mut MySqlConnection) -> Result<(), MysqlError> {
    for (setting, question, needed) in DURABLE {
        let found: i64 = sqlx::query_scalar(question)
            .fetch_one(&mut *connection)
            .await?;
        if found != needed {
            return Err(MysqlError::Weak {
                setting,
                found,
                needed,
            });
        }
    }
    Ok(())
}

/// Looks at whether the session is what it was told to be: times are UTC, each statement sees what
/// was committed before it began, and the clock moves while it waits.
///
/// # Errors
/// [`MysqlError::Session`], or that it could not be asked.
pub async fn assured(connection: &mut MySqlConnection) -> Result<(), MysqlError> {
    // MariaDB has the one name, MySQL the other.
    let isolation: String = match sqlx::query_scalar("SELECT @@SESSION.transaction_isolation")
        .fetch_one(&mut *connection)
        .await
    {
        Ok(isolation) => isolation,
        Err(_) => {
            sqlx::query_scalar("SELECT @@SESSION.tx_isolation")
                .fetch_one(&mut *connection)
                .await?
        }
    };
    if isolation != "READ-COMMITTED" {
        return Err(MysqlError::Session("transaction_isolation", isolation));
    }
    let zone: String = sqlx::query_scalar("SELECT CAST(@@SESSION.time_zone AS CHAR)")
        .fetch_one(&mut *connection)
        .await?;
    if zone != "+00:00" {
        return Err(MysqlError::Session("time_zone", zone));
    }
    let moves: i64 = sqlx::query_scalar(MOVES).fetch_one(connection).await?;
    if moves != 1 {
        return Err(MysqlError::Session("sysdate_is_now", "ON".to_owned()));
    }
    Ok(())
}

/// Whether `SYSDATE` is the moment, and not the statement's begin: a server may be told otherwise.
const MOVES: &str = "SELECT CAST(SLEEP(0.01) + (SYSDATE(6) > NOW(6)) AS SIGNED)";

/// SQL for the database's own clock in milliseconds, when the statement begins.
pub const NOW_MS: &str = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)";

/// SQL for the database's own clock in milliseconds, when a row is reached: in a statement that locks
/// rows, once the row is locked. The latest of them is when all of them were.
pub const THEN_MS: &str = "CAST(UNIX_TIMESTAMP(SYSDATE(3)) * 1000 AS SIGNED)";

/// A number on MySQL, and a name on some versions of MariaDB.
const LEADS: &str = "SELECT CASE UPPER(CONCAT(@@GLOBAL.read_only)) \
     WHEN '0' THEN 1 WHEN 'OFF' THEN 1 ELSE 0 END";

/// Refuses a server that cannot be written to.
///
/// # Errors
/// [`MysqlError::ReadOnly`], or that it could not be asked.
pub async fn leading(connection: &mut MySqlConnection) -> Result<(), MysqlError> {
    let leads: i64 = sqlx::query_scalar(LEADS).fetch_one(connection).await?;
    if leads == 1 {
        Ok(())
    } else {
        Err(MysqlError::ReadOnly)
    }
}

/// The number of an error of the server's, if it is one.
fn number(error: &sqlx::Error) -> Option<u16> {
    let error = error.as_database_error()?;
    let error = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?;
    Some(error.number())
}

/// What [`lost_to_another`] says of too long a wait for a lock.
pub const LOCK_WAIT: &str = "lock_wait";

/// True where a transaction lost to another one, and nothing of it is left: a deadlock, or too long
/// a wait for a lock. It is rolled back whole and may be run again from its beginning (hazard F4).
#[must_use]
pub fn lost_to_another(error: &sqlx::Error) -> Option<&'static str> {
    match number(error)? {
        1213 => Some("deadlock"),
        1205 => Some(LOCK_WAIT),
        // MariaDB 11.8 and later: the row changed since it was read.
        1020 => Some("changed"),
        _ => None,
    }
}

/// True where a row with such a key is there already.
#[must_use]
pub fn is_duplicate(error: &sqlx::Error) -> bool {
    number(error) == Some(1062)
}

/// True where the server has judged a statement: the connection is as good as before, and what was
/// asked is the reason.
#[must_use]
pub fn is_judgement(error: &sqlx::Error) -> bool {
    // Class 08 and the numbers of a server that is going down say nothing about what was asked; nor do
    // those of one that has become read-only: behind the address there may be another by now.
    matches!(
        error,
        sqlx::Error::Database(_) | sqlx::Error::Encode(_) | sqlx::Error::Decode(_)
    ) && !matches!(
        number(error),
        Some(1053 | 1077 | 1079 | 1080 | 1290 | 1792 | 1836 | 1927 | 3169 | 4031)
    )
}
