//! What every request shares.

use crate::{
    auth::Tokens,
    edge::Edge,
    kept::Kept,
    leaders::Leaders,
    live::Live,
    problem::{Code, Problem},
    ready::Readiness,
};
use domain::{ids::ExperimentName, time::UnixMillis};
use experiments::Results;
use std::{future::Future, sync::Arc};
use tokio_util::task::TaskTracker;
use tracing::Instrument;
use usecases::{Contests, Failure};

/// The results of experiments by name and version, and when they were counted.
pub(crate) type KeptResults = Kept<(ExperimentName, u64), (Arc<Results>, UnixMillis)>;

/// What every request shares.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) contests: Arc<Contests>,
    pub(crate) tokens: Tokens,
    /// Flows that were begun, so that a stop can wait for them.
    pub(crate) flows: TaskTracker,
    /// Limits, numbers, and `edge.stopping`, which is cancelled when the server is to stop.
    pub(crate) edge: Arc<Edge>,
    /// Whether the store can write and the funds system answers.
    pub(crate) readiness: Arc<Readiness>,
    /// Streams of events and their tickets.
    pub(crate) live: Arc<Live>,
    /// Leaderboards that were counted lately.
    pub(crate) leaders: Arc<Leaders>,
    /// Results of experiments that were counted lately.
    pub(crate) results: Arc<KeptResults>,
    /// What is served beside contests.
    pub(crate) offers: Offers,
}

/// What a node serves beside contests, because of what is behind it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offers {
    /// Coins for trying things out, out of a ledger that is ours.
    pub(crate) sandbox: bool,
    /// Events are pushed here; a task system of somebody else keeps its own.
    pub(crate) events: bool,
}

impl App {
    /// Refuses what is only for trying things out where it is not on.
    ///
    /// # Errors
    /// 404: as if the path were not there.
    pub(crate) fn in_sandbox(&self) -> Result<(), Problem> {
        if self.offers.sandbox {
            return Ok(());
        }
        Err(Problem::new(
            Code::NotFound,
            "coins for trying things out are off here (funds.sandbox)",
        ))
    }

    /// Refuses events that nobody would read.
    ///
    /// # Errors
    /// 404: as if the path were not there.
    pub(crate) fn takes_events(&self) -> Result<(), Problem> {
        if self.offers.events {
            return Ok(());
        }
        Err(Problem::new(
            Code::NotFound,
            "events belong to the task system here (tasks.url), which is asked for progress",
        ))
    }

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
        // Its lines in the log stay those of the request.
        let flow = flow(Arc::clone(&self.contests)).in_current_span();
        let task = self.flows.spawn(flow);
        match tokio::time::timeout(self.edge.limits.request_timeout(), task).await {
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
