//! A funds service whose answers a test makes up, call by call.

use adapters_funds::proto::{self, funds_server};
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

type Outcomes = dyn Fn(&proto::TransferOrder) -> Option<proto::TransferOutcome> + Send + Sync;
type Look = dyn Fn(&[String]) -> proto::LookupResponse + Send + Sync;

/// What it answers, and what it saw.
#[derive(Default)]
pub(crate) struct Script {
    /// Every call but `Capabilities` ends with this.
    pub(crate) status: Mutex<Option<Status>>,
    /// How long every call but `Capabilities` takes.
    pub(crate) delay: Mutex<Duration>,
    pub(crate) transfer: Mutex<Option<Box<Outcomes>>>,
    pub(crate) lookup: Mutex<Option<Box<Look>>>,
    pub(crate) balance: Mutex<proto::BalanceResponse>,
    pub(crate) close: Mutex<proto::CloseCreditsResponse>,
    pub(crate) list: Mutex<proto::ListResponse>,
    /// Calls so far, but `Capabilities`.
    pub(crate) calls: AtomicU64,
    /// Calls that nobody broke off.
    pub(crate) ended: AtomicU64,
    /// How many transfers each batch had.
    pub(crate) batches: Mutex<Vec<usize>>,
    /// Calls that are under way, and the most at once.
    pub(crate) open: AtomicUsize,
    pub(crate) open_max: AtomicUsize,
}

impl Script {
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    async fn begin(&self) -> Result<(), Status> {
        struct Open<'a>(&'a AtomicUsize);
        impl Drop for Open<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        let now = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        let _open = Open(&self.open);
        self.open_max.fetch_max(now, Ordering::SeqCst);
        let delay = *self.delay.lock().expect("a lock");
        super::take(delay).await;
        self.ended.fetch_add(1, Ordering::SeqCst);
        let status = self.status.lock().expect("a lock").clone();
        status.map_or(Ok(()), Err)
    }
}

struct Service(Arc<Script>);

#[tonic::async_trait]
impl funds_server::Funds for Service {
    async fn capabilities(
        &self,
        _request: Request<proto::CapabilitiesRequest>,
    ) -> Result<Response<proto::CapabilitiesResponse>, Status> {
        Ok(Response::new(proto::CapabilitiesResponse {
            close_credits: true,
            closed_position: true,
            linearizable_lookup: true,
            orders_for_ever: false,
        }))
    }

    async fn open_account(
        &self,
        _request: Request<proto::OpenAccountRequest>,
    ) -> Result<Response<proto::OpenAccountResponse>, Status> {
        self.0.begin().await?;
        Ok(Response::new(proto::OpenAccountResponse {}))
    }

    async fn transfer(
        &self,
        request: Request<proto::TransferRequest>,
    ) -> Result<Response<proto::TransferResponse>, Status> {
        let orders = request.into_inner().orders;
        self.0.batches.lock().expect("a lock").push(orders.len());
        self.0.begin().await?;
        let answer = self.0.transfer.lock().expect("a lock");
        let outcomes = orders
            .iter()
            .filter_map(|order| match &*answer {
                Some(answer) => answer(order),
                None => Some(applied(order, 1)),
            })
            .collect();
        Ok(Response::new(proto::TransferResponse { outcomes }))
    }

    async fn lookup(
        &self,
        request: Request<proto::LookupRequest>,
    ) -> Result<Response<proto::LookupResponse>, Status> {
        let asked = request.into_inner().order_ids;
        self.0.begin().await?;
        let answer = self.0.lookup.lock().expect("a lock");
        Ok(Response::new(match &*answer {
            Some(answer) => answer(&asked),
            None => proto::LookupResponse {
                found: vec![proto::Found::default(); asked.len()],
                as_of: Some(as_of(1)),
            },
        }))
    }

    async fn close_credits(
        &self,
        _request: Request<proto::CloseCreditsRequest>,
    ) -> Result<Response<proto::CloseCreditsResponse>, Status> {
        self.0.begin().await?;
        Ok(Response::new(*self.0.close.lock().expect("a lock")))
    }

    async fn balance(
        &self,
        _request: Request<proto::BalanceRequest>,
    ) -> Result<Response<proto::BalanceResponse>, Status> {
        self.0.begin().await?;
        Ok(Response::new(*self.0.balance.lock().expect("a lock")))
    }

    async fn list(
        &self,
        _request: Request<proto::ListRequest>,
    ) -> Result<Response<proto::ListResponse>, Status> {
        self.0.begin().await?;
        Ok(Response::new(self.0.list.lock().expect("a lock").clone()))
    }
}

pub(crate) fn as_of(position: u64) -> proto::AsOf {
    proto::AsOf {
        position,
        at_unix_ms: 1_000,
    }
}

/// The order, applied as it was asked for.
pub(crate) fn applied(order: &proto::TransferOrder, position: u64) -> proto::TransferOutcome {
    let stored = proto::Transfer {
        order_id: order.order_id.clone(),
        from: order.from.clone(),
        to: order.to.clone(),
        amount: order.amount,
        position,
        applied_at_unix_ms: 1_000,
    };
    proto::TransferOutcome {
        outcome: Some(proto::transfer_outcome::Outcome::Applied(stored)),
    }
}

/// A served stub; ends with the value.
pub(crate) struct Stub {
    pub(crate) script: Arc<Script>,
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Stub {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let script = Arc::new(Script::default());
        let service = funds_server::FundsServer::new(Service(Arc::clone(&script)));
        let task = tokio::spawn(async move {
            Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .expect("a server");
        });
        Self {
            script,
            address,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.task.abort();
    }
}
