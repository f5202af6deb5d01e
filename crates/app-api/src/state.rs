//! What every request shares.

use crate::{
    auth::Tokens,
    problem::{Code, Problem},
};
use std::{future::Future, sync::Arc, time::Duration};
use tokio_util::task::TaskTracker;
use usecases::{Contests, Failure};

/// How long a caller waits; what it asked for goes on after that.
const PATIENCE: Duration = Duration::from_secs(15);

/// What every request shares.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) contests: Arc<Contests>,
    pub(crate) tokens: Tokens,
    /// Flows that were begun, so that a stop can wait for them.
    pub(crate) flows: TaskTracker,
}

impl App {
    /// Runs a flow to its end, whether or not its caller is still there: a client that hangs up
    /// drops its handler, and must not drop a step that moves money (hazard G1).
    pub(crate) async fn run<T, F>(
        &self,
        flow: impl FnOnce(Arc<Contests>) -> F,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        let task = self.flows.spawn(flow(Arc::clone(&self.contests)));
        match tokio::time::timeout(PATIENCE, task).await {
            Ok(Ok(result)) => Ok(result?),
            Ok(Err(crash)) => {
                tracing::error!(error = &crash as &dyn std::error::Error, "a flow crashed");
                Err(Problem::internal())
            }
            Err(_) => Err(Problem::new(
                Code::Unavailable,
                "it takes longer than usual and goes on; repeat the request, nothing happens twice",
            )
            .retry_after(2)),
        }
    }
}
