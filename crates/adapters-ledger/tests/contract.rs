//! The reference ledger passes the suite of the funds port.

mod common;

use adapters_ledger::Ledger;
use async_trait::async_trait;
use common::{Schema, Scratch};
use contract_tests::funds::FundsFixture;
use domain::order::Account;
use ports::funds::Funds;
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;

/// A ledger in a database of its own on a server.
struct Server {
    schema: Schema,
    ledger: Mutex<Arc<Ledger>>,
}

impl Server {
    async fn new(variable: &str) -> Self {
        let schema = Schema::new(variable).await;
        let ledger = schema.ledger().await;
        Self {
            schema,
            ledger: Mutex::new(Arc::new(ledger)),
        }
    }

    fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger.lock().expect("a lock"))
    }
}

#[async_trait]
impl FundsFixture for Server {
    fn funds(&self) -> Arc<dyn Funds> {
        self.ledger()
    }

    async fn close_account(&self, account: &Account) {
        self.ledger()
            .close_account(account)
            .await
            .expect("a known account");
    }

    async fn restart(&self) -> Arc<dyn Funds> {
        let reopened = Arc::new(self.schema.ledger().await);
        *self.ledger.lock().expect("a lock") = Arc::clone(&reopened);
        reopened
    }
}

struct Fixture {
    ledger: Mutex<Arc<Ledger>>,
    scratch: Scratch,
}

impl Fixture {
    async fn new() -> Self {
        let scratch = Scratch::new();
        let ledger = Ledger::open(&scratch.ledger()).await.expect("a ledger");
        Self {
            ledger: Mutex::new(Arc::new(ledger)),
            scratch,
        }
    }

    fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger.lock().expect("a lock"))
    }
}

#[async_trait]
impl FundsFixture for Fixture {
    fn funds(&self) -> Arc<dyn Funds> {
        self.ledger()
    }

    async fn close_account(&self, account: &Account) {
        self.ledger()
            .close_account(account)
            .await
            .expect("a known account");
    }

    async fn restart(&self) -> Arc<dyn Funds> {
        // The compiler cannot see that the migration's future is Send, so it stays on this thread.
        let opening = || Handle::current().block_on(Ledger::open(&self.scratch.ledger()));
        let reopened = Arc::new(tokio::task::block_in_place(opening).expect("a ledger"));
        *self.ledger.lock().expect("a lock") = Arc::clone(&reopened);
        reopened
    }
}

mod sqlite {
    use super::Fixture;

    contract_tests::funds_suite!(Fixture::new().await);
}

mod mysql {
    use super::Server;

    contract_tests::funds_suite!(Server::new("GUAFEN_TEST_MYSQL_URL").await);
}

mod mariadb {
    use super::Server;

    contract_tests::funds_suite!(Server::new("GUAFEN_TEST_MARIADB_URL").await);
}
