//! One serving node: what listens, what runs beside it, and how it stops. The embedded default and
//! a node of the production stack differ in what is behind the ports alone.

use crate::{
    auth::Tokens,
    board,
    config::{LimitSettings, Settings},
    edge::{self, Edge},
    kept::Kept,
    live::Live,
    ready::Readiness,
    routes,
    server::{self, Keep},
    state::{App, Offers},
};
use anyhow::{Context, bail};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use ports::tickets::Tickets;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use usecases::{Contests, background};

/// How long a stop waits for flows that were begun; what is left is finished after the next start.
const DRAIN: Duration = Duration::from_secs(10);
/// Connections to the metrics at once.
const SCRAPERS_MAX: usize = 64;
/// How often what is counted and limited is tidied up.
const UPKEEP: Duration = Duration::from_secs(5);
/// Where the API listens, unless it is said.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// What a node serves.
pub(crate) struct Node {
    pub(crate) contests: Arc<Contests>,
    pub(crate) tokens: Tokens,
    /// Tickets for streams of events, of all nodes that stand beside this one.
    pub(crate) tickets: Arc<dyn Tickets>,
    pub(crate) readiness: Readiness,
    /// Cancelled when the node is to stop.
    pub(crate) stopping: CancellationToken,
    /// What the board's checker reads; none: no board.
    pub(crate) files: Option<board::Files>,
    /// What it serves beside contests.
    pub(crate) offers: Offers,
    /// What the line that says where it listens ends with.
    pub(crate) kept_in: String,
}

impl Node {
    /// Serves until a signal to stop, then drains. `loops` are started once it listens.
    ///
    /// # Errors
    /// When an address cannot be listened on.
    pub(crate) async fn serve(
        self,
        settings: Settings,
        loops: impl FnOnce(&Arc<Contests>, &watch::Receiver<bool>) -> Vec<JoinHandle<()>>,
    ) -> anyhow::Result<()> {
        let Self {
            contests,
            tokens,
            tickets,
            readiness,
            stopping,
            files,
            offers,
            kept_in,
        } = self;
        let listener = bind(settings.server.listen.unwrap_or(LISTEN)).await?;
        let metrics_listener = match settings.server.metrics_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let address = listener.local_addr()?;
        // What was stopped must not begin again because a node was started.
        contests
            .read_switches()
            .await
            .context("the switches cannot be read")?;
        contests
            .read_experiments()
            .await
            .context("the experiments cannot be read")?;
        let (stop_loops, stop) = watch::channel(false);
        let mut loops = loops(&contests, &stop);
        loops.push(background::keep_switches(&contests, &stop));
        loops.push(background::keep_experiments(&contests, &stop));
        let edge = Edge::new(
            settings.limits,
            metrics_listener.is_none(),
            stopping.clone(),
        );
        let app = App {
            contests,
            tokens,
            flows: TaskTracker::new(),
            edge: Arc::new(edge),
            readiness: Arc::new(readiness),
            live: Arc::new(Live::new(stopping.clone(), tickets)),
            leaders: Arc::default(),
            results: Arc::new(Kept::new(Duration::ZERO)),
            offers,
        };
        let flows = app.flows.clone();
        tracing::info!(%address, "listening");
        println!("guafen listens on http://{address}, {kept_in}");
        let files = files.filter(|_| settings.server.board.unwrap_or(true));
        let mut serving = listen(listener, metrics_listener, app, files)?;
        let told = until_stop(runtime::stop::signal(), &mut serving).await;
        tracing::info!("stopping");
        stopping.cancel();
        stop_loops.send_replace(true);
        let all = async {
            // Requests first: each of them may still begin a flow.
            while serving.join_next().await.is_some() {}
            flows.close();
            flows.wait().await;
            for task in loops {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            tracing::warn!(
                "some flows did not end in time; they are finished after the next start"
            );
        }
        told
    }
}

/// Waits until the node is told to stop, or until something has ended that serves as long as it
/// runs: a node that goes on without it looks alive and is not, one that ends is started again
/// (hazard G5).
async fn until_stop(
    signal: impl Future<Output = anyhow::Result<()>>,
    serving: &mut JoinSet<()>,
) -> anyhow::Result<()> {
    tokio::select! {
        told = signal => told,
        Some(ended) = serving.join_next() => {
            let crash = ended.err().map(|crash| crash.to_string());
            let what = crash.as_deref().unwrap_or("it came to an end");
            tracing::error!(what, "a part of the node has ended; the node stops");
            bail!("a part of the node has ended: {what}")
        }
    }
}

async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}"))
}

/// Starts what answers requests, and what tidies up beside it.
fn listen(
    listener: TcpListener,
    metrics_listener: Option<TcpListener>,
    app: App,
    files: Option<board::Files>,
) -> anyhow::Result<JoinSet<()>> {
    let edge = Arc::clone(&app.edge);
    let stopping = edge.stopping.clone();
    let mut serving = JoinSet::new();
    if let Some(listener) = metrics_listener {
        let address = listener.local_addr()?;
        tracing::info!(%address, "metrics");
        println!("metrics on http://{address}/metrics");
        let router = TowerToHyperService::new(edge::metrics_router(app.clone()));
        // A few scrapers, which must be answered when the API's places are all taken.
        let keep = Keep::new(
            &LimitSettings {
                connections_max: SCRAPERS_MAX,
                ..edge.limits.clone()
            },
            stopping.clone(),
        );
        serving.spawn(server::serve(listener, keep, move |request, _| {
            let answer = router.call(request);
            async move { answer.await.unwrap_or_else(|never| match never {}) }
        }));
    }
    let keep = Keep::new(&edge.limits, stopping.clone());
    let (address, contests) = (listener.local_addr()?.ip(), Arc::clone(&app.contests));
    let api = routes::router(app);
    let router = match files {
        Some(files) => board::beside(api, address, contests, files, stopping.clone()),
        None => api,
    };
    serving.spawn({
        let edge = Arc::clone(&edge);
        async move {
            while tokio::time::timeout(UPKEEP, stopping.cancelled())
                .await
                .is_err()
            {
                edge.rates.prune();
                runtime::telemetry::upkeep();
            }
        }
    });
    let router = Arc::new(TowerToHyperService::new(router));
    serving.spawn(server::serve(listener, keep, move |request, peer| {
        let (edge, router) = (Arc::clone(&edge), Arc::clone(&router));
        async move { edge.answer(&router, request, peer).await }
    }));
    Ok(serving)
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "these are tests")]
mod tests {
    use super::*;
    use std::future::{pending, ready};

    // hazard: G5
    #[tokio::test]
    async fn a_node_stops_when_it_is_told_to_or_when_a_part_of_it_panics() {
        let mut serving = JoinSet::new();
        serving.spawn(pending());
        until_stop(ready(Ok(())), &mut serving)
            .await
            .expect("it was told");
        serving.spawn(async { panic!("a bug, for the test") });
        let within = tokio::time::timeout(DRAIN, until_stop(pending(), &mut serving));
        let ended = within.await.expect("in time");
        let error = ended.expect_err("it was not told").to_string();
        assert!(error.contains("panicked"), "{error}");
    }
}
