//! A funds system behind real gRPC on loopback.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::expect_used, reason = "these are tests")]

pub(crate) mod proxy;
pub(crate) mod stub;

use adapters_funds::{GrpcFunds, ServerTls, Settings, serve};
use adapters_memory::{funds::MemoryFunds, system::ManualClock};
use domain::{
    money::Coins,
    order::{Account, OrderId, Platform},
    time::UnixMillis,
    transfer::Content,
};
use ports::funds::{Funds, TransferRequest};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::oneshot, time::timeout};

/// A server that ends with the value.
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    done: tokio::task::JoinHandle<()>,
}

impl Served {
    pub(crate) async fn new(funds: Arc<dyn Funds>) -> Self {
        Self::at("127.0.0.1:0", funds, None).await
    }

    pub(crate) async fn at(address: &str, funds: Arc<dyn Funds>, tls: Option<ServerTls>) -> Self {
        let listener = TcpListener::bind(address).await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let done = tokio::spawn(async move {
            let until = async {
                let _ = stopped.await;
            };
            serve(funds, listener, tls.as_ref(), until)
                .await
                .expect("a server");
        });
        Self {
            address,
            stop: Some(stop),
            done,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops, after what is under way was answered.
    pub(crate) async fn stop(mut self) {
        self.stop.take();
        (&mut self.done).await.expect("a server that ends");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.done.abort();
    }
}

pub(crate) fn memory() -> Arc<MemoryFunds> {
    let clock = Arc::new(ManualClock::new(UnixMillis(1_000)));
    Arc::new(MemoryFunds::new(clock))
}

pub(crate) fn settings(url: &str) -> Settings {
    Settings::new("funds", url)
}

pub(crate) async fn connect(settings: &Settings) -> GrpcFunds {
    GrpcFunds::connect(settings).await.expect("a client")
}

pub(crate) fn user(name: &str) -> Account {
    Account::User(name.parse().expect("a user id"))
}

pub(crate) fn ask(order: u64, to: &Account, amount: u64) -> TransferRequest {
    TransferRequest {
        order_id: OrderId(u128::from(order).to_be_bytes()),
        content: Content {
            from: Account::Platform(Platform::Issuing),
            to: to.clone(),
            amount: Coins::new(amount).expect("coins"),
        },
        not_after: None,
        memo: String::new(),
    }
}

/// Waits until it is so, for a bounded time.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(10));
        while !is_so().await {
            ticks.tick().await;
        }
    };
    timeout(Duration::from_secs(20), looking)
        .await
        .expect("within 20 s");
}

/// Takes that long.
pub(crate) async fn take(time: Duration) {
    let _ = timeout(time, std::future::pending::<()>()).await;
}
