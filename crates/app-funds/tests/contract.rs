//! The reference ledger passes the suite of the funds port through real gRPC, also across a
//! restart of its server, with the client that was there before.
#![allow(clippy::expect_used, reason = "these are tests")]

use adapters_funds::{GrpcFunds, Settings, serve};
use adapters_ledger::Ledger;
use async_trait::async_trait;
use contract_tests::funds::FundsFixture;
use domain::order::Account;
use ports::funds::Funds;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Handle, sync::oneshot, task::JoinHandle};

struct Served {
    ledger: Arc<Ledger>,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

struct Fixture {
    directory: TempDir,
    address: SocketAddr,
    served: Mutex<Option<Served>>,
    client: Arc<GrpcFunds>,
}

async fn start(directory: &TempDir, address: SocketAddr) -> (Served, SocketAddr) {
    let path = directory.path().join("ledger.db");
    // The compiler cannot see that the migration's future is Send, so it stays on this thread.
    let opening = || Handle::current().block_on(Ledger::open(&path));
    let ledger = Arc::new(tokio::task::block_in_place(opening).expect("a ledger"));
    let listener = TcpListener::bind(address).await.expect("the address");
    let address = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let funds = Arc::clone(&ledger) as Arc<dyn Funds>;
    let done = tokio::spawn(async move {
        let until = async {
            let _ = stopped.await;
        };
        serve(funds, listener, None, until).await.expect("a server");
    });
    (Served { ledger, stop, done }, address)
}

impl Fixture {
    async fn new() -> Self {
        let directory = TempDir::new().expect("a directory");
        let (served, address) = start(&directory, ([127, 0, 0, 1], 0).into()).await;
        let settings = Settings::new("funds", format!("http://{address}"));
        let client = GrpcFunds::connect(&settings).await.expect("a client");
        Self {
            directory,
            address,
            served: Mutex::new(Some(served)),
            client: Arc::new(client),
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
        let (served, _) = start(&self.directory, self.address).await;
        *self.served.lock().expect("a lock") = Some(served);
        self.funds()
    }
}

contract_tests::funds_suite!(Fixture::new().await);
