//! The embedded default: API, ledger and loops in one process, durable in one directory.

use crate::{
    auth::Tokens,
    board,
    config::{LimitSettings, Settings},
    data_dir::{DataDir, LEDGER, STORE},
    edge::{self, Edge, telemetry},
    live::Live,
    loops,
    meter::MeteredFunds,
    ready::Readiness,
    routes,
    server::{self, Keep},
    state::App,
};
use adapters_ledger::Ledger;
use adapters_sqlite::SqliteStore;
use anyhow::Context;
use domain::{
    order::{Account, Platform},
    transfer::Position,
};
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;
use ports::{
    contests::{ContestFilter, ContestRepository},
    funds::Funds,
    leases::Alone,
};
use std::os::unix::fs::PermissionsExt;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use usecases::{Contests, Ports};

/// How long a stop waits for flows that were begun; what is left is finished after the next start.
const DRAIN: Duration = Duration::from_secs(10);
/// Connections to the metrics at once.
const SCRAPERS_MAX: usize = 64;
/// How often what is counted and limited is tidied up.
const UPKEEP: Duration = Duration::from_secs(5);
/// Where the API listens, unless it is said.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Lets nobody else read the databases, whatever the directory was when it was given: secrets of
/// draws that are not published yet are in the store.
fn keep_private(dir: &Path) -> anyhow::Result<()> {
    for name in [STORE, LEDGER] {
        for part in ["", "-wal", "-shm"] {
            let path = dir.join(format!("{name}{part}"));
            if path.exists() {
                let mode = std::fs::Permissions::from_mode(0o600);
                std::fs::set_permissions(&path, mode)
                    .with_context(|| format!("cannot close {} to others", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Opens store and ledger. They belong together: one of them without the other, once there is
/// something in it, is a loss that nothing here can make good, and going on would tell viewers
/// that they never paid.
async fn open_books(dir: &Path) -> anyhow::Result<(SqliteStore, Ledger)> {
    let (store_path, ledger_path) = (dir.join(STORE), dir.join(LEDGER));
    let lost = |lost: &str, kept: &str| {
        anyhow::anyhow!(
            "{} has {kept} but its {lost} is gone; restore both from one backup",
            dir.display()
        )
    };
    let open_store = || async {
        SqliteStore::open(&store_path, &[])
            .await
            .context("cannot open the store")
    };
    let open_ledger = || async {
        Ledger::open(&ledger_path)
            .await
            .context("cannot open the ledger")
    };
    if ledger_path.exists() && !store_path.exists() {
        let ledger = open_ledger().await?;
        let issuing = Account::Platform(Platform::Issuing);
        if !ledger
            .list(&issuing, Position(0), 1)
            .await?
            .transfers
            .is_empty()
        {
            return Err(lost(STORE, LEDGER));
        }
        return Ok((open_store().await?, ledger));
    }
    let store = open_store().await?;
    if !ledger_path.exists() {
        let contests = store.list(&ContestFilter::default(), None, 1).await?;
        if !contests.items.is_empty() {
            return Err(lost(LEDGER, STORE));
        }
    }
    Ok((store, open_ledger().await?))
}

/// Serves until a signal to stop, then drains.
///
/// # Errors
/// When the directory is in use or cannot be opened, an address cannot be listened on, or keys for
/// tokens cannot be had.
pub(crate) async fn serve(data_dir: &Path, settings: Settings) -> anyhow::Result<()> {
    let dir = DataDir::open(data_dir)?;
    telemetry::install()?;
    let stopping = CancellationToken::new();
    let tokens = Tokens::of_server(&settings.auth, &dir.path, &stopping).await?;
    let (store, ledger) = open_books(&dir.path).await?;
    keep_private(&dir.path)?;
    let ledger = Arc::new(ledger);
    let readiness = Readiness::new(store.clone(), Arc::clone(&ledger));
    let store = Arc::new(store);
    let contests = Arc::new(Contests::new(Ports {
        contests: Arc::clone(&store) as _,
        signups: Arc::clone(&store) as _,
        tasks: Arc::clone(&store) as _,
        events: Arc::clone(&store) as _,
        findings: Arc::clone(&store) as _,
        leaderboard: store as _,
        funds: Arc::new(MeteredFunds(ledger)),
        clock: Arc::new(runtime::system::SystemClock),
        ids: Arc::new(runtime::system::RandomIds),
        leases: Arc::new(Alone),
        shown: None,
    })?);
    let listener = bind(settings.server.listen.unwrap_or(LISTEN)).await?;
    let metrics_listener = match settings.server.metrics_listen {
        Some(address) => Some(bind(address).await?),
        None => None,
    };
    let address = listener.local_addr()?;
    let (stop_loops, stop) = watch::channel(false);
    let loops = loops::start(&contests, &stop);
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
        live: Arc::new(Live::new(stopping.clone())),
        leaders: Arc::default(),
    };
    let flows = app.flows.clone();
    tracing::info!(%address, data_dir = %dir.path.display(), "listening");
    println!(
        "guafen listens on http://{address}, data in {}",
        dir.path.display()
    );
    let files = board::Files {
        store: dir.path.join(STORE),
        ledger: dir.path.join(LEDGER),
    };
    let files = Some(files).filter(|_| settings.server.board.unwrap_or(true));
    let serving = listen(listener, metrics_listener, app, files)?;
    runtime::stop::signal().await?;
    tracing::info!("stopping");
    stopping.cancel();
    stop_loops.send_replace(true);
    let all = async {
        // Requests first: each of them may still begin a flow.
        for server in serving {
            let _ = server.await;
        }
        flows.close();
        flows.wait().await;
        for task in loops {
            let _ = task.await;
        }
    };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        tracing::warn!("some flows did not end in time; they are finished after the next start");
    }
    Ok(())
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
) -> anyhow::Result<Vec<JoinHandle<()>>> {
    let edge = Arc::clone(&app.edge);
    let stopping = edge.stopping.clone();
    let mut serving = Vec::new();
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
        serving.push(tokio::spawn(server::serve(
            listener,
            keep,
            move |request, _| {
                let answer = router.call(request);
                async move { answer.await.unwrap_or_else(|never| match never {}) }
            },
        )));
    }
    let keep = Keep::new(&edge.limits, stopping.clone());
    let (address, contests) = (listener.local_addr()?.ip(), Arc::clone(&app.contests));
    let api = routes::router(app);
    let router = match files {
        Some(files) => board::beside(api, address, contests, files, stopping.clone()),
        None => api,
    };
    tokio::spawn({
        let edge = Arc::clone(&edge);
        async move {
            while tokio::time::timeout(UPKEEP, stopping.cancelled())
                .await
                .is_err()
            {
                edge.rates.prune();
                telemetry::upkeep();
            }
        }
    });
    let router = Arc::new(TowerToHyperService::new(router));
    serving.push(tokio::spawn(server::serve(
        listener,
        keep,
        move |request, peer| {
            let (edge, router) = (Arc::clone(&edge), Arc::clone(&router));
            async move { edge.answer(&router, request, peer).await }
        },
    )));
    Ok(serving)
}
