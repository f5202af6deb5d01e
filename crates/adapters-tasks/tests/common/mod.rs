//! A task system in this process, which can also answer what cannot be true.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::expect_used, reason = "these are tests")]

use adapters_tasks::proto::{self, tasks_server};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{net::TcpListener, task::JoinHandle};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

type Bend = dyn Fn(&mut proto::ProgressResponse) + Send + Sync;

/// What it keeps, and what is wrong with it.
#[derive(Default)]
pub(crate) struct System {
    assigned: Mutex<HashMap<String, proto::AssignRequest>>,
    events: Mutex<Vec<(String, String, u64, i64)>>,
    complete_until: Mutex<i64>,
    /// Changes every answer of `Progress`.
    pub(crate) bend: Mutex<Option<Box<Bend>>>,
    /// Every call ends with this.
    pub(crate) status: Mutex<Option<Status>>,
    /// The answer of `Assign` names another signup.
    pub(crate) misnames: Mutex<bool>,
    /// Calls so far.
    pub(crate) calls: AtomicU64,
}

impl System {
    pub(crate) fn happened(&self, user: &str, kind: &str, quantity: u64, at: i64) {
        let event = (user.to_owned(), kind.to_owned(), quantity, at);
        self.events.lock().expect("a lock").push(event);
    }

    pub(crate) fn complete(&self, until: i64) {
        *self.complete_until.lock().expect("a lock") = until;
    }

    fn begin(&self) -> Result<(), Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let status = self.status.lock().expect("a lock").clone();
        status.map_or(Ok(()), Err)
    }

    fn one(&self, task: &proto::Task, signup: proto::Signup) -> proto::Progress {
        let events = self.events.lock().expect("a lock");
        let mut counted: Vec<_> = events
            .iter()
            .filter(|(user, kind, _, at)| {
                *user == signup.user_id
                    && *kind == task.kind
                    && (signup.from_unix_ms..task.until_unix_ms).contains(at)
            })
            .map(|(_, _, quantity, at)| (*at, *quantity))
            .collect();
        counted.sort_unstable();
        let mut told = proto::Progress {
            signup_id: signup.signup_id,
            complete_until_unix_ms: Some(*self.complete_until.lock().expect("a lock")),
            ..proto::Progress::default()
        };
        for (at, quantity) in counted {
            told.quantity += quantity;
            if told.quantity >= task.target && told.met_at_unix_ms.is_none() {
                told.met_at_unix_ms = Some(at);
            }
        }
        told
    }
}

struct Service(Arc<System>);

#[tonic::async_trait]
impl tasks_server::Tasks for Service {
    async fn assign(
        &self,
        request: Request<proto::AssignRequest>,
    ) -> Result<Response<proto::AssignResponse>, Status> {
        use proto::assign_response::Outcome;
        self.0.begin()?;
        let asked = request.into_inner();
        let id = asked.signup.clone().unwrap_or_default().signup_id;
        let mut assigned = self.0.assigned.lock().expect("a lock");
        let outcome = if *assigned.entry(id.clone()).or_insert(asked.clone()) != asked {
            Outcome::Conflict(proto::Conflict {})
        } else if *self.0.misnames.lock().expect("a lock") {
            Outcome::Assigned(proto::Assigned {
                signup_id: "another".to_owned(),
            })
        } else {
            Outcome::Assigned(proto::Assigned { signup_id: id })
        };
        Ok(Response::new(proto::AssignResponse {
            outcome: Some(outcome),
        }))
    }

    async fn progress(
        &self,
        request: Request<proto::ProgressRequest>,
    ) -> Result<Response<proto::ProgressResponse>, Status> {
        self.0.begin()?;
        let asked = request.into_inner();
        let task = asked.task.unwrap_or_default();
        let each = asked.signups.into_iter();
        let mut told = proto::ProgressResponse {
            progress: each.map(|signup| self.0.one(&task, signup)).collect(),
        };
        if let Some(bend) = &*self.0.bend.lock().expect("a lock") {
            bend(&mut told);
        }
        Ok(Response::new(told))
    }
}

/// A served task system; ends with the value.
pub(crate) struct Served {
    pub(crate) system: Arc<System>,
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Served {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let system = Arc::new(System::default());
        let service = tasks_server::TasksServer::new(Service(Arc::clone(&system)));
        let task = tokio::spawn(async move {
            Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpIncoming::from(listener))
                .await
                .expect("a server");
        });
        Self {
            system,
            address,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}
