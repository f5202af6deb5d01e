//! Ledgers in a directory or a database of their own that goes away with them.
#![allow(dead_code)]

use adapters_ledger::{Ledger, MysqlSettings, Profile};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// A fresh directory, removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A directory that nobody else uses.
    pub(crate) fn new() -> Self {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        let number = DRAWN.fetch_add(1, Ordering::SeqCst);
        let name = format!(
            "ledger-{}-{}-{number}",
            env!("CARGO_CRATE_NAME"),
            std::process::id()
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.0
    }

    /// The ledger's file.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.join("ledger.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies below the build's own directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A database of a server, fresh and migrated, and gone with this value.
pub(crate) struct Schema {
    base: String,
    name: String,
}

impl Schema {
    /// An empty database on the server that the variable names, migrated.
    pub(crate) async fn new(variable: &str) -> Self {
        let base = std::env::var(variable)
            .unwrap_or_else(|_| panic!("{variable} must name a server, as mysql://root@127.0.0.1"));
        let schema = Self::empty(&base).await;
        adapters_ledger::migrate(&schema.url())
            .await
            .expect("a migrated database");
        schema
    }

    /// An empty database on the server at `base`.
    pub(crate) async fn empty(base: &str) -> Self {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        let number = DRAWN.fetch_add(1, Ordering::SeqCst);
        let name = format!(
            "{}_{}_{number}",
            env!("CARGO_CRATE_NAME"),
            std::process::id()
        );
        let schema = Self {
            base: base.trim_end_matches('/').to_owned(),
            name,
        };
        schema.run("DROP DATABASE IF EXISTS").await;
        schema.run("CREATE DATABASE").await;
        schema
    }

    /// Its address.
    pub(crate) fn url(&self) -> String {
        format!("{}/{}", self.base, self.name)
    }

    /// How a ledger opens it.
    pub(crate) fn settings(&self) -> MysqlSettings {
        MysqlSettings {
            url: self.url(),
            readers_max: 4,
            profile: Profile::Test,
        }
    }

    /// The ledger in it.
    pub(crate) async fn ledger(&self) -> Ledger {
        Ledger::open_mysql(&self.settings())
            .await
            .expect("a ledger")
    }

    /// A connection to it.
    pub(crate) async fn connection(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url())
            .await
            .expect("a connection")
    }

    async fn run(&self, what: &str) {
        let mut connection = MySqlConnection::connect(&self.base)
            .await
            .expect("a server");
        let statement = format!("{what} {}", self.name);
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&mut connection)
            .await
            .expect("an answer");
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (base, name) = (self.base.clone(), self.name.clone());
        // A drop cannot wait, and a runtime cannot be entered twice in one thread.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let Ok(runtime) = runtime else { return };
            runtime.block_on(async {
                let Ok(mut connection) = MySqlConnection::connect(&base).await else {
                    return;
                };
                let statement = format!("DROP DATABASE IF EXISTS {name}");
                // What is left behind is on a server for tests.
                let _ = sqlx::raw_sql(AssertSqlSafe(statement))
                    .execute(&mut connection)
                    .await;
            });
        });
        let _ = dropping.join();
    }
}
