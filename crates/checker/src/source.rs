//! Where the books are: a SQLite file, or a database of MySQL or MariaDB; and a reading of one
//! moment of it.

use crate::CheckError;
use sqlx::{
    ConnectOptions, Connection, FromRow, MySqlConnection, SqliteConnection,
    mysql::{MySqlConnectOptions, MySqlRow},
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

/// The longest that connecting to a server may take.
const CONNECT: Duration = Duration::from_secs(10);

/// Where a store or a ledger is.
#[derive(Clone)]
pub struct Source(Kind);

#[derive(Clone)]
enum Kind {
    Sqlite(PathBuf),
    Mysql(Box<MySqlConnectOptions>),
}

/// Where both sides of the books are.
#[derive(Clone, Debug)]
pub struct Books {
    /// The store: contests, signups and what is known of tasks.
    pub store: Source,
    /// The ledger: accounts and transfers.
    pub ledger: Source,
}

/// A text that names no source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be mysql://user:password@host:port/database, sqlite:PATH or the path of a file")]
pub struct InvalidSource;

impl Source {
    /// The source that a text names: `mysql://user:password@host:port/database`, `sqlite:PATH`, or
    /// the path of a file.
    ///
    /// # Errors
    /// [`InvalidSource`], which does not repeat the text: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, InvalidSource> {
        if text.starts_with("mysql://") || text.starts_with("mariadb://") {
            let options = MySqlConnectOptions::from_str(text).map_err(|_| InvalidSource)?;
            if options.get_database().is_none_or(str::is_empty) {
                return Err(InvalidSource);
            }
            let options = options.disable_statement_logging();
            return Ok(Self(Kind::Mysql(Box::new(options))));
        }
        let file = ["sqlite://", "sqlite:"]
            .iter()
            .find_map(|scheme| text.strip_prefix(scheme))
            .map(|rest| rest.split('?').next().unwrap_or(rest));
        let path = match file {
            Some(path) => path,
            // Another scheme is a mistake, and no file.
            None if text.contains("://") => return Err(InvalidSource),
            None => text,
        };
        if path.is_empty() {
            return Err(InvalidSource);
        }
        Ok(Self::file(Path::new(path)))
    }

    /// A SQLite file.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self(Kind::Sqlite(path.to_owned()))
    }

    /// Connects, and reads nothing yet.
    pub(crate) async fn connect(&self) -> Result<Db, CheckError> {
        let failed = |source| CheckError::Open {
            what: self.to_string(),
            source,
        };
        match &self.0 {
            Kind::Sqlite(path) => {
                let options = SqliteConnectOptions::new()
                    .filename(path)
                    .read_only(true)
                    .busy_timeout(Duration::from_secs(10))
                    .disable_statement_logging();
                let connection = SqliteConnection::connect_with(&options).await;
                Ok(Db::Sqlite(connection.map_err(failed)?))
            }
            Kind::Mysql(options) => {
                let late = || sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
                let connecting = tokio::time::timeout(CONNECT, mysql(options)).await;
                let connection = connecting.unwrap_or_else(|_| Err(late()));
                Ok(Db::Mysql(connection.map_err(failed)?))
            }
        }
    }
}

/// A session that reads alone, and one moment in each transaction.
async fn mysql(options: &MySqlConnectOptions) -> Result<MySqlConnection, sqlx::Error> {
    let mut connection = MySqlConnection::connect_with(options).await?;
    for statement in [
        "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
        "SET SESSION autocommit = 1",
    ] {
        sqlx::raw_sql(statement).execute(&mut connection).await?;
    }
    Ok(connection)
}

/// Without a password.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Sqlite(path) => write!(f, "{}", path.display()),
            Kind::Mysql(options) => write!(
                f,
                "mysql://{}:{}/{}",
                options.get_host(),
                options.get_port(),
                options.get_database().unwrap_or_default()
            ),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

/// One question in both dialects; the parameters are the same, in the same order.
#[derive(Clone, Copy)]
pub(crate) struct Both {
    pub(crate) sqlite: &'static str,
    pub(crate) mysql: &'static str,
}

/// One text for both.
pub(crate) const fn both(text: &'static str) -> Both {
    Both {
        sqlite: text,
        mysql: text,
    }
}

/// A parameter.
#[derive(Clone, Copy)]
pub(crate) enum Arg<'a> {
    Int(i64),
    Text(&'a str),
    Optional(Option<&'a str>),
}

/// What can be read from either.
pub(crate) trait Reads:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, MySqlRow> + Send + Unpin
{
}

impl<T> Reads for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, MySqlRow> + Send + Unpin
{
}

/// An open source.
pub(crate) enum Db {
    Sqlite(SqliteConnection),
    Mysql(MySqlConnection),
}

macro_rules! bound {
    ($statement:expr, $args:expr) => {{
        let mut query = sqlx::query_as($statement);
        for arg in $args {
            query = match *arg {
                Arg::Int(value) => query.bind(value),
                Arg::Text(value) => query.bind(value),
                Arg::Optional(value) => query.bind(value),
            };
        }
        query
    }};
}

impl Db {
    /// All rows of an answer, which must be few.
    pub(crate) async fn all<T: Reads>(
        &mut self,
        what: &'static str,
        question: Both,
        args: &[Arg<'_>],
    ) -> Result<Vec<T>, CheckError> {
        let answer = match self {
            Self::Sqlite(connection) => bound!(question.sqlite, args).fetch_all(connection).await,
            Self::Mysql(connection) => bound!(question.mysql, args).fetch_all(connection).await,
        };
        answer.map_err(|source| CheckError::Read { what, source })
    }

    /// The first row of an answer.
    pub(crate) async fn first<T: Reads>(
        &mut self,
        what: &'static str,
        question: Both,
        args: &[Arg<'_>],
    ) -> Result<Option<T>, CheckError> {
        Ok(self.all(what, question, args).await?.into_iter().next())
    }

    /// Fixes the moment as of which everything is read from now on.
    pub(crate) async fn fix(&mut self, what: &'static str, table: Both) -> Result<(), CheckError> {
        let begun = match self {
            Self::Sqlite(connection) => sqlx::raw_sql("BEGIN").execute(connection).await.map(drop),
            Self::Mysql(connection) => {
                sqlx::raw_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
                    .execute(connection)
                    .await
                    .map(drop)
            }
        };
        begun.map_err(|source| CheckError::Read { what, source })?;
        // A transaction of SQLite sees the file as of its first read.
        let _: Option<(i64,)> = self.first(what, table, &[]).await?;
        Ok(())
    }

    /// Ends the reading; what a failed close leaves behind ends with the process.
    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(connection) => drop(connection.close().await),
            Self::Mysql(connection) => drop(connection.close().await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_files_or_servers_and_never_show_a_password() {
        for (text, shown) in [
            (
                "mysql://ann:secret@db:3307/books?ssl-mode=required",
                "mysql://db:3307/books",
            ),
            ("mariadb://ann:secret@db/books", "mysql://db:3306/books"),
            ("sqlite:///var/x.db?mode=ro", "/var/x.db"),
            ("sqlite:x.db", "x.db"),
            ("/var/x.db", "/var/x.db"),
        ] {
            let source = Source::parse(text).expect("a source");
            assert_eq!(source.to_string(), shown);
            assert!(!format!("{source:?}").contains("secret"));
        }
        for text in [
            "",
            "sqlite:",
            "mysql://ann:secret@db",
            "postgres://ann:secret@db/books",
        ] {
            let error = Source::parse(text).expect_err("no source");
            assert!(!format!("{error:?} {error}").contains("secret"));
        }
    }
}
