//! A store in a schema of its own, on a server that the environment names.
#![allow(clippy::expect_used, reason = "these are tests")]
#![allow(dead_code, reason = "each test file uses a part")]

use adapters_mysql::{MysqlStore, Settings, migrate};
use contract_tests::fixture::StoreFixture;
use domain::effects::Effect;
use ports::{
    contests::ContestRepository,
    findings::Findings,
    leaderboard::Leaderboard,
    outbox::Outbox,
    signups::SignupRepository,
    tasks::{TaskEvents, Tasks},
};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use std::{marker::PhantomData, sync::Arc};
use uuid::Uuid;

/// Which server.
pub trait Engine: Send + Sync + 'static {
    /// The variable that has its address.
    const VARIABLE: &'static str;
}

pub struct Mysql;
pub struct Mariadb;

impl Engine for Mysql {
    const VARIABLE: &'static str = "GUAFEN_TEST_MYSQL_URL";
}

impl Engine for Mariadb {
    const VARIABLE: &'static str = "GUAFEN_TEST_MARIADB_URL";
}

/// An empty schema; gone when the value is.
pub struct Schema {
    server: String,
    pub name: String,
}

impl Schema {
    pub async fn create<E: Engine>() -> Self {
        let server = std::env::var(E::VARIABLE).unwrap_or_else(|_| {
            panic!(
                "{} is not set: `cargo xtask test` starts a server and sets it",
                E::VARIABLE
            )
        });
        let name = format!("guafen_{}", Uuid::now_v7().simple());
        run(&server, &format!("CREATE DATABASE {name}")).await;
        Self { server, name }
    }

    pub fn url(&self) -> String {
        format!("{}/{}", self.server.trim_end_matches('/'), self.name)
    }

    pub async fn connect(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url())
            .await
            .expect("a connection")
    }
}

async fn run(server: &str, statement: &str) {
    let mut connection = MySqlConnection::connect(server)
        .await
        .expect("the test server answers");
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut connection)
        .await
        .expect("a statement");
    let _ = connection.close().await;
}

impl Drop for Schema {
    fn drop(&mut self) {
        let (server, statement) = (self.server.clone(), format!("DROP DATABASE {}", self.name));
        // The test's own runtime is busy dropping this.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(run(&server, &statement));
        });
        let _ = dropping.join();
    }
}

/// A store on a schema of its own.
pub struct Fixture<E: Engine> {
    pub schema: Schema,
    pub effects: &'static [Effect],
    pub store: Arc<MysqlStore>,
    engine: PhantomData<E>,
}

pub async fn open_at(url: String, effects: &[Effect]) -> MysqlStore {
    let settings = Settings {
        readers: 2,
        weak_durability: true,
        ..Settings::new(url, effects)
    };
    MysqlStore::open(settings).await.expect("an open store")
}

impl<E: Engine> StoreFixture for Fixture<E> {
    async fn open(effects: &'static [Effect]) -> Self {
        let schema = Schema::create::<E>().await;
        migrate(&schema.url()).await.expect("migrated");
        Self {
            store: Arc::new(open_at(schema.url(), effects).await),
            schema,
            effects,
            engine: PhantomData,
        }
    }

    async fn reopen(self) -> Self {
        let Self {
            schema,
            effects,
            store,
            engine,
        } = self;
        drop(store);
        Self {
            store: Arc::new(open_at(schema.url(), effects).await),
            schema,
            effects,
            engine,
        }
    }

    fn contests(&self) -> Arc<dyn ContestRepository> {
        Arc::clone(&self.store) as _
    }

    fn signups(&self) -> Arc<dyn SignupRepository> {
        Arc::clone(&self.store) as _
    }

    fn tasks(&self) -> Arc<dyn Tasks> {
        Arc::clone(&self.store) as _
    }

    fn events(&self) -> Arc<dyn TaskEvents> {
        Arc::clone(&self.store) as _
    }

    fn leaderboard(&self) -> Arc<dyn Leaderboard> {
        Arc::clone(&self.store) as _
    }

    fn findings(&self) -> Arc<dyn Findings> {
        Arc::clone(&self.store) as _
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::clone(&self.store) as _
    }
}
