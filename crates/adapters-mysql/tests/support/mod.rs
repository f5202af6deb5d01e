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
use sqlx::{Connection, MySqlConnection};
use std::{marker::PhantomData, sync::Arc};

/// Which server.
pub(crate) trait Engine: Send + Sync + 'static {
    /// Its name for test-support.
    const ENGINE: test_support::Engine;
}

pub(crate) struct Mysql;
pub(crate) struct Mariadb;

impl Engine for Mysql {
    const ENGINE: test_support::Engine = test_support::Engine::Mysql;
}

impl Engine for Mariadb {
    const ENGINE: test_support::Engine = test_support::Engine::Mariadb;
}

/// An empty schema; gone when the value is.
pub(crate) struct Schema(test_support::Database);

impl Schema {
    pub(crate) async fn create<E: Engine>() -> Self {
        let database = test_support::database(E::ENGINE).await;
        Self(database.expect("a test server"))
    }

    pub(crate) fn url(&self) -> String {
        self.0.url().to_owned()
    }

    pub(crate) async fn connect(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url())
            .await
            .expect("a connection")
    }
}

/// A store on a schema of its own.
pub(crate) struct Fixture<E: Engine> {
    pub(crate) schema: Schema,
    pub(crate) effects: &'static [Effect],
    pub(crate) store: Arc<MysqlStore>,
    engine: PhantomData<E>,
}

pub(crate) async fn open_at(url: String, effects: &[Effect]) -> MysqlStore {
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
