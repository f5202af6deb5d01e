//! A schema of a test's own on a MySQL or MariaDB server.

use crate::{mysql, mysql::Engine, ports::chance};
use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long one statement may take, the connection included.
const BOUND: Duration = Duration::from_secs(20);

/// A schema that was empty when it was handed out. It is dropped with the value.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
    url: String,
    _alive: Option<Arc<mysql::Server>>,
}

/// A fresh, empty schema: on the server at `GUAFEN_TEST_MYSQL_URL` or `GUAFEN_TEST_MARIADB_URL`,
/// else on one server that this process starts and keeps.
///
/// # Errors
/// There is no server; the message says how to get one.
pub async fn database(engine: Engine) -> Result<Database> {
    if let Some(url) = mysql::given(engine) {
        let variable = engine.url_variable();
        check_engine(&url, engine)
            .await
            .with_context(|| format!("the server of {variable}={url}"))?;
        return create(&url).await;
    }
    let server = mysql::common(engine).await?;
    let mut database = server.database().await?;
    database._alive = Some(server);
    Ok(database)
}

async fn check_engine(url: &str, engine: Engine) -> Result<()> {
    let version = text(url, "SELECT VERSION()").await?;
    if version.contains("MariaDB") != (engine == Engine::Mariadb) {
        bail!("is not {}: it says {version}", engine.name());
    }
    Ok(())
}

/// A schema with a name of its own on the server of this URL.
pub(crate) async fn create(url: &str) -> Result<Database> {
    let name = format!("guafen_{:016x}", chance());
    execute(url, &format!("CREATE DATABASE `{name}`"))
        .await
        .with_context(|| format!("no schema for the test at {url}"))?;
    Ok(Database {
        url: with_schema(url, &name)?,
        server: url.to_owned(),
        name,
        _alive: None,
    })
}

/// The URL with this schema instead of its own.
fn with_schema(url: &str, name: &str) -> Result<String> {
    let (scheme, rest) = url
        .split_once("://")
        .with_context(|| format!("{url} is not a URL such as mysql://root@127.0.0.1:3306"))?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = place.split('/').next().unwrap_or(place);
    let query = if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    };
    Ok(format!("{scheme}://{authority}/{name}{query}"))
}

async fn bounded<T>(url: &str, work: impl Future<Output = sqlx::Result<T>>) -> Result<T> {
    timeout(BOUND, work)
        .await
        .with_context(|| format!("{url} does not answer within {} s", BOUND.as_secs()))?
        .with_context(|| format!("{url} refuses"))
}

async fn execute(url: &str, sql: &str) -> Result<()> {
    bounded(url, async {
        let mut connection = MySqlConnection::connect(url).await?;
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut connection)
            .await?;
        connection.close().await
    })
    .await
}

pub(crate) async fn number(url: &str, sql: &str) -> Result<i64> {
    // Sums and unsigned columns are no i64 for the driver.
    let sql = format!("SELECT CAST(({sql}) AS SIGNED)");
    bounded(url, async {
        let mut connection = MySqlConnection::connect(url).await?;
        let found = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(found)
    })
    .await
}

/// Whether the server of this URL, which has no schema, takes connections.
///
/// # Errors
/// It does not; the message says why.
pub async fn is_ready(url: &str) -> Result<()> {
    number(url, "SELECT 1").await.map(drop)
}

pub(crate) async fn text(url: &str, sql: &str) -> Result<String> {
    bounded(url, async {
        let mut connection = MySqlConnection::connect(url).await?;
        let found = sqlx::query_scalar(AssertSqlSafe(sql.to_owned()))
            .fetch_one(&mut connection)
            .await?;
        connection.close().await?;
        Ok(found)
    })
    .await
}

impl Database {
    /// Reads every row of a query, one after the other, as plainly as it can be done; how many there
    /// were. It takes as long as it takes.
    ///
    /// # Errors
    /// The server refuses the statement, or breaks off.
    pub async fn read(&self, query: &str) -> Result<u64> {
        let mut connection = MySqlConnection::connect(&self.url).await?;
        let mut rows = sqlx::query(AssertSqlSafe(query.to_owned())).fetch(&mut connection);
        let mut number = 0;
        while rows.try_next().await?.is_some() {
            number += 1;
        }
        drop(rows);
        connection.close().await?;
        Ok(number)
    }

    /// Changes rows behind everybody's back; how many were.
    ///
    /// # Errors
    /// The server refuses the statement.
    pub async fn change(&self, sql: &str) -> Result<u64> {
        bounded(&self.url, async {
            let mut connection = MySqlConnection::connect(&self.url).await?;
            let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
                .execute(&mut connection)
                .await?;
            connection.close().await?;
            Ok(done.rows_affected())
        })
        .await
    }

    /// For clients: `mysql://root@127.0.0.1:3306/guafen_ab12`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The schema's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs statements, for what a test does besides its client.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or takes more than 20 s.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        execute(&self.url, sql).await
    }

    /// The names of the schema's tables.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or takes more than 20 s.
    pub async fn tables(&self) -> Result<Vec<String>> {
        let query = format!(
            "SELECT GROUP_CONCAT(table_name ORDER BY table_name) \
             FROM information_schema.tables WHERE table_schema = '{}'",
            self.name
        );
        let names = text(&self.url, &query).await?;
        Ok(names.split(',').map(str::to_owned).collect())
    }

    /// The one number that a query finds; NULL is an error.
    ///
    /// # Errors
    /// The server cannot be reached, refuses, or takes more than 20 s.
    pub async fn number(&self, query: &str) -> Result<i64> {
        number(&self.url, query).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (self.server.clone(), self.name.clone());
        // A runtime of its own: the test's may be ending, and cannot be waited for here.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            if let Ok(runtime) = runtime {
                let sql = format!("DROP DATABASE IF EXISTS `{name}`");
                // A server that has gone takes its schemas with it.
                let _ = runtime.block_on(execute(&server, &sql));
            }
        });
        let _ = dropping.join();
    }
}
