//! The SQLite store passes the suite of every port of a store.
#![allow(clippy::expect_used, reason = "these are tests")]

use adapters_sqlite::SqliteStore;
use contract_tests::fixture::StoreFixture;
use domain::effects::Effect;
use ports::{
    contests::ContestRepository,
    experiments::Experiments,
    findings::Findings,
    leaderboard::Leaderboard,
    notices::Notices,
    outbox::Outbox,
    reconciliations::Reconciliations,
    signups::SignupRepository,
    switches::SwitchSettings,
    tasks::{TaskEvents, Tasks},
};
use std::sync::Arc;
use tempfile::TempDir;

struct Sqlite {
    dir: TempDir,
    effects: &'static [Effect],
    store: Arc<SqliteStore>,
}

impl Sqlite {
    async fn at(dir: TempDir, effects: &'static [Effect]) -> Self {
        let store = SqliteStore::open(&dir.path().join("guafen.db"), effects, true)
            .await
            .expect("an open store");
        Self {
            dir,
            effects,
            store: Arc::new(store),
        }
    }
}

impl StoreFixture for Sqlite {
    async fn open(effects: &'static [Effect]) -> Self {
        Self::at(TempDir::new().expect("a directory"), effects).await
    }

    async fn reopen(self) -> Self {
        let Self {
            dir,
            effects,
            store,
        } = self;
        drop(store);
        Self::at(dir, effects).await
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

    fn reconciliations(&self) -> Arc<dyn Reconciliations> {
        Arc::clone(&self.store) as _
    }

    fn notices(&self) -> Arc<dyn Notices> {
        Arc::clone(&self.store) as _
    }

    fn switches(&self) -> Arc<dyn SwitchSettings> {
        Arc::clone(&self.store) as _
    }

    fn experiments(&self) -> Arc<dyn Experiments> {
        Arc::clone(&self.store) as _
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::clone(&self.store) as _
    }
}

contract_tests::store_suite!(Sqlite);
