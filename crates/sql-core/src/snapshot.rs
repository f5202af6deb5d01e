//! Copies of a SQLite file that is in use: one moment of it, whole, while others go on writing.
//!
//! The moment is fixed before anything is copied, so that of two files first both moments can be
//! fixed, one right after the other, and the copying, which takes its time, comes after. Readers
//! do not hinder the writer; until the copy is made, its log is only not folded into the file.

use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Row, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{fmt::Write as _, os::unix::ffi::OsStrExt, path::Path, time::Duration};

/// One moment of a file, held until it has been copied.
pub struct Snapshot {
    connection: SqliteConnection,
}

/// The path as a URI that is opened for reading alone.
fn read_only(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                uri.push(char::from(*byte));
            }
            other => {
                // Writing to a string cannot fail.
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri.push_str("?mode=ro");
    uri
}

/// A name between quotes.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Snapshot {
    /// Fixes the moment: what is committed to `source` from now on is not in the copy. `target`
    /// must not exist yet.
    ///
    /// # Errors
    /// When `source` cannot be read or `target` cannot be made.
    pub async fn fix(source: &Path, target: &Path) -> Result<Self, sqlx::Error> {
        let options = SqliteConnectOptions::new()
            .filename(target)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Delete)
            .synchronous(SqliteSynchronous::Full)
            // The rows come table by table; the integrity of the whole is checked afterwards.
            .foreign_keys(false)
            .busy_timeout(Duration::from_secs(5))
            .disable_statement_logging();
        let mut connection = SqliteConnection::connect_with(&options).await?;
        sqlx::query("ATTACH ? AS source")
            .bind(read_only(source))
            .execute(&mut connection)
            .await?;
        sqlx::query("BEGIN").execute(&mut connection).await?;
        // A transaction sees a file as of its first read of it.
        let _: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM source.sqlite_schema")
            .fetch_one(&mut connection)
            .await?;
        Ok(Self { connection })
    }

    /// Writes the moment to the target, on disk when this returns.
    ///
    /// # Errors
    /// When either file fails; the target is then of no use.
    pub async fn copy(mut self) -> Result<(), sqlx::Error> {
        let connection = &mut self.connection;
        let parts = sqlx::query(
            "SELECT type, name, sql FROM source.sqlite_schema
             WHERE sql IS NOT NULL AND substr(name, 1, 7) <> 'sqlite_'
             ORDER BY type <> 'table', rowid",
        )
        .fetch_all(&mut *connection)
        .await?;
        let mut tables = Vec::new();
        // Indexes first: into empty tables of the same shape SQLite copies rows as they lie.
        for part in &parts {
            let sql: String = part.try_get("sql")?;
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut *connection)
                .await?;
            if part.try_get::<String, _>("type")? == "table" {
                tables.push(quoted(&part.try_get::<String, _>("name")?));
            }
        }
        for table in &tables {
            let sql = format!("INSERT INTO main.{table} SELECT * FROM source.{table}");
            sqlx::raw_sql(AssertSqlSafe(sql))
                .execute(&mut *connection)
                .await?;
        }
        let counters: i64 = sqlx::query_scalar(
            "SELECT COUNT(*) FROM source.sqlite_schema WHERE name = 'sqlite_sequence'",
        )
        .fetch_one(&mut *connection)
        .await?;
        if counters > 0 {
            sqlx::raw_sql(
                "DELETE FROM main.sqlite_sequence;
                 INSERT INTO main.sqlite_sequence SELECT * FROM source.sqlite_sequence",
            )
            .execute(&mut *connection)
            .await?;
        }
        sqlx::query("COMMIT").execute(&mut *connection).await?;
        self.connection.close().await
    }
}

/// What SQLite finds wrong with a file: nothing, if it is whole.
///
/// # Errors
/// When it is not a database at all, or cannot be read.
pub async fn damage(path: &Path) -> Result<Vec<String>, sqlx::Error> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .disable_statement_logging();
    let mut connection = SqliteConnection::connect_with(&options).await?;
    let mut found: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_all(&mut connection)
        .await?;
    found.retain(|line| line != "ok");
    let orphans = sqlx::query("PRAGMA foreign_key_check")
        .fetch_all(&mut connection)
        .await?;
    if !orphans.is_empty() {
        found.push(format!(
            "{} rows refer to rows that are not there",
            orphans.len()
        ));
    }
    connection.close().await?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite;

    const SCHEMA: &str =
        "CREATE TABLE one (id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL) STRICT;
        CREATE UNIQUE INDEX one_text ON one (text);
        CREATE TABLE two (a TEXT NOT NULL, b BLOB, PRIMARY KEY (a)) STRICT, WITHOUT ROWID;";

    async fn rows(path: &Path) -> (Vec<(i64, String)>, i64, i64) {
        let options = SqliteConnectOptions::new().filename(path);
        let mut db = SqliteConnection::connect_with(&options)
            .await
            .expect("opened");
        let one = sqlx::query_as("SELECT id, text FROM one ORDER BY id")
            .fetch_all(&mut db)
            .await
            .expect("read");
        let two = sqlx::query_scalar("SELECT COUNT(*) FROM two")
            .fetch_one(&mut db)
            .await
            .expect("read");
        let counter = sqlx::query_scalar("SELECT seq FROM sqlite_sequence")
            .fetch_one(&mut db)
            .await
            .expect("read");
        (one, two, counter)
    }

    #[tokio::test]
    async fn a_copy_is_one_moment_whatever_is_written_meanwhile() {
        // A name that a URI must not take for something else.
        let dir = std::env::temp_dir().join(format!("guafen snapshot?#% {}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).expect("a directory");
        let (source, target) = (dir.join("source.db"), dir.join("target.db"));
        let mut database = sqlite::open(&source, &[(1, "all", SCHEMA)], 1)
            .await
            .expect("opened");
        let write =
            "INSERT INTO one (text) VALUES ('a'), ('b'), ('c'); DELETE FROM one WHERE text = 'c';
            INSERT INTO two VALUES ('x', x'00ff');";
        sqlx::raw_sql(write)
            .execute(&mut database.writer)
            .await
            .expect("written");
        let snapshot = Snapshot::fix(&source, &target).await.expect("fixed");
        sqlx::raw_sql("INSERT INTO one (text) VALUES ('d'); DELETE FROM two")
            .execute(&mut database.writer)
            .await
            .expect("a reader hinders nobody");
        snapshot.copy().await.expect("copied");
        assert_eq!(damage(&target).await.expect("read"), Vec::<String>::new());
        let expected = vec![(1, "a".to_owned()), (2, "b".to_owned())];
        assert_eq!(rows(&target).await, (expected, 1, 3));
        // It is a file of ours like the other.
        sqlite::open(&target, &[(1, "all", SCHEMA)], 1)
            .await
            .expect("opened");
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[tokio::test]
    async fn a_file_of_another_schema_is_refused_and_left_alone() {
        let dir = std::env::temp_dir().join(format!("guafen-schema-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        let path = dir.join("file.db");
        let later = [(1, "all", SCHEMA), (2, "more", "CREATE TABLE three (x)")];
        sqlite::open(&path, &later, 1).await.expect("opened");
        let before = std::fs::read(&path).expect("read");
        let newer = sqlite::open(&path, &later[..1], 1).await.err();
        assert!(
            matches!(newer, Some(sqlite::OpenError::Newer { step: 2, known: 1 })),
            "{newer:?}"
        );
        let other = [(1, "all", "CREATE TABLE four (x)"), later[1]];
        let foreign = sqlite::open(&path, &other, 1).await.err();
        assert!(
            matches!(foreign, Some(sqlite::OpenError::Foreign(1))),
            "{foreign:?}"
        );
        assert_eq!(std::fs::read(&path).expect("read"), before);
        std::fs::remove_dir_all(&dir).expect("removed");
    }

    #[tokio::test]
    async fn damage_is_found() {
        let path = std::env::temp_dir().join(format!("guafen-damage-{}.db", std::process::id()));
        std::fs::write(&path, vec![7; 8_192]).expect("written");
        assert!(damage(&path).await.is_err());
        std::fs::remove_file(&path).expect("removed");
    }
}
