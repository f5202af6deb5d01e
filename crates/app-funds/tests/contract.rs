//! The reference ledger passes the suite of the funds port through real gRPC, on SQLite, MySQL and
//! MariaDB, also across a restart of its server, with the client that was there before; and behind
//! the layer of faults, where those that change no answer happen at every call.
#![allow(clippy::expect_used, reason = "these are tests")]

use adapters_funds::{FaultPlan, Faulty, GrpcFunds, Settings, serve};
use adapters_ledger::{Ledger, MysqlSettings, Profile};
use async_trait::async_trait;
use contract_tests::funds::FundsFixture;
use domain::order::Account;
use ports::funds::Funds;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use test_support::{Database, Engine, database};
use tokio::{net::TcpListener, runtime::Handle, sync::oneshot, task::JoinHandle};

/// Where the ledger is kept.
enum Place {
    Sqlite(TempDir),
    Server(Database),
}

impl Place {
    fn file() -> Self {
        Self::Sqlite(TempDir::new().expect("a directory"))
    }

    async fn on(engine: Engine) -> Self {
        let database = database(engine).await.expect("a test server");
        adapters_ledger::migrate(database.url())
            .await
            .expect("migrated");
        Self::Server(database)
    }

    async fn open(&self) -> Ledger {
        match self {
            Self::Sqlite(directory) => {
                let path = directory.path().join("ledger.db");
                // The compiler cannot see that the migration's future is Send, so it stays on this
                // thread.
                let opening = || Handle::current().block_on(Ledger::open(&path));
                tokio::task::block_in_place(opening).expect("a ledger")
            }
            Self::Server(database) => {
                let settings = MysqlSettings {
                    url: database.url().to_owned(),
                    readers_max: 4,
                    profile: Profile::Test,
                };
                Ledger::open_mysql(&settings).await.expect("a ledger")
            }
        }
    }
}

struct Served {
    ledger: Arc<Ledger>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

struct Fixture {
    served: Mutex<Option<Served>>,
    address: SocketAddr,
    faults: FaultPlan,
    client: Arc<GrpcFunds>,
    // Last: what is served goes before it.
    place: Place,
}

async fn start(place: &Place, faults: FaultPlan, address: SocketAddr) -> (Served, SocketAddr) {
    let ledger = Arc::new(place.open().await);
    let listener = TcpListener::bind(address).await.expect("the address");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let inner = Arc::clone(&ledger) as Arc<dyn Funds>;
    let funds = Arc::new(Faulty::new(inner, 7, faults));
    let done = tokio::spawn(async move {
        let until = async {
            let _ = stopped.await;
        };
        serve(funds, listener, None, until).await.expect("a server");
    });
    (Served { ledger, stop, done }, address)
}

impl Fixture {
    async fn new(place: Place, faults: FaultPlan) -> Self {
        let (served, address) = start(&place, faults, ([127, 0, 0, 1], 0).into()).await;
        let settings = Settings::new("funds", format!("http://{address}"));
        let client = GrpcFunds::connect(&settings).await.expect("a client");
        Self {
            served: Mutex::new(Some(served)),
            address,
            faults,
            client: Arc::new(client),
            place,
        }
    }
}

#[async_trait]
impl FundsFixture for Fixture {
    fn funds(&self) -> Arc<dyn Funds> {
        Arc::clone(&self.client) as Arc<dyn Funds>
    }

    async fn close_account(&self, account: &Account) {
        let ledger = {
            let served = self.served.lock().expect("a lock");
            Arc::clone(&served.as_ref().expect("a server").ledger)
        };
        ledger
            .close_account(account)
            .await
            .expect("a known account");
    }

    async fn restart(&self) -> Arc<dyn Funds> {
        let before = self.served.lock().expect("a lock").take();
        let before = before.expect("a server");
        before.stop.send(()).expect("a server that listens");
        before.done.await.expect("a server that drains");
        drop(before.ledger);
        let (served, _) = start(&self.place, self.faults, self.address).await;
        *self.served.lock().expect("a lock") = Some(served);
        self.funds()
    }
}

const NONE: FaultPlan = FaultPlan {
    slow_per_mille: 0,
    slow_ms: 0,
    error_per_mille: 0,
    lost_per_mille: 0,
    twice_per_mille: 0,
    stale_per_mille: 0,
};
/// What the port's promises cover: everything is done twice, and some of it late.
const TWICE: FaultPlan = FaultPlan {
    slow_per_mille: 100,
    slow_ms: 5,
    twice_per_mille: 1_000,
    ..NONE
};

mod sqlite {
    use super::{Fixture, NONE, Place};

    contract_tests::funds_suite!(Fixture::new(Place::file(), NONE).await);
}

mod mysql {
    use super::{Engine, Fixture, NONE, Place};

    contract_tests::funds_suite!(Fixture::new(Place::on(Engine::Mysql).await, NONE).await);
}

mod mariadb {
    use super::{Engine, Fixture, NONE, Place};

    contract_tests::funds_suite!(Fixture::new(Place::on(Engine::Mariadb).await, NONE).await);
}

mod mysql_twice {
    use super::{Engine, Fixture, Place, TWICE};

    contract_tests::funds_suite!(Fixture::new(Place::on(Engine::Mysql).await, TWICE).await);
}
