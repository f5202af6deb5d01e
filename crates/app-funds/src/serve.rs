//! `app-funds serve`.

use crate::config::{Profile, Settings};
use adapters_funds::Faulty;
use adapters_ledger::{Ledger, MysqlSettings};
use anyhow::{Context, bail};
use ports::funds::Funds;
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::timeout,
};

/// Where a ledger is kept.
enum Place<'a> {
    Mysql(&'a str),
    Sqlite(&'a Path),
}

fn place(url: &str) -> anyhow::Result<Place<'_>> {
    match url.split_once("://") {
        Some(("mysql" | "mariadb", _)) => Ok(Place::Mysql(url)),
        Some(("sqlite", path)) => Ok(Place::Sqlite(Path::new(path))),
        // Not the text itself: it may hold a password.
        Some(_) => bail!("ledger.url must begin with mysql://, or be the path of a SQLite file"),
        None => Ok(Place::Sqlite(Path::new(url))),
    }
}

async fn open(settings: &Settings, url: &str) -> anyhow::Result<Ledger> {
    match place(url)? {
        Place::Mysql(url) => {
            let mysql = MysqlSettings {
                url: url.to_owned(),
                readers_max: settings.ledger.readers_max,
                profile: match settings.ledger.profile {
                    Profile::Production => adapters_ledger::Profile::Production,
                    Profile::Test => adapters_ledger::Profile::Test,
                },
            };
            Ok(Ledger::open_mysql(&mysql).await?)
        }
        Place::Sqlite(path) => Ok(Ledger::open(path).await?),
    }
}

/// Makes the tables of a ledger on MySQL.
pub(crate) async fn migrate(url: &str) -> anyhow::Result<()> {
    match place(url)? {
        Place::Mysql(url) => Ok(adapters_ledger::migrate(url).await?),
        Place::Sqlite(_) => bail!("ledger.url is a SQLite file, which needs no migrate"),
    }
}

/// Serves until a signal to stop; then what is under way ends, for at most `server.stop_ms`.
pub(crate) async fn serve(
    settings: &Settings,
    url: &str,
    file: Option<PathBuf>,
    allow_faults: bool,
) -> anyhow::Result<()> {
    if allow_faults && settings.ledger.profile != Profile::Test {
        bail!("--allow-faults is refused unless ledger.profile is \"test\"");
    }
    let faults = settings.faults(allow_faults)?.cloned();
    let tls = settings.tls.server()?;
    let ledger = Arc::new(open(settings, url).await?);
    let faulty = allow_faults.then(|| {
        let faults = faults.unwrap_or_default();
        let inner = Arc::clone(&ledger) as Arc<dyn Funds>;
        Arc::new(Faulty::new(inner, faults.seed, faults.plan()))
    });
    let funds = match &faulty {
        Some(faulty) => Arc::clone(faulty) as Arc<dyn Funds>,
        None => Arc::clone(&ledger) as Arc<dyn Funds>,
    };
    let rereading = faulty.map(|faulty| reread(faulty, file)).transpose()?;
    let listen = settings.server.listen;
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen} (server.listen)"))?;
    let address = listener.local_addr().context("no address")?;
    let is_open = tls.as_ref().is_none_or(|tls| tls.client_ca_file.is_none());
    if is_open && !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "whoever reaches this address can move coins: set tls.client_ca_file, or let nobody else reach it"
        );
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    let (stopping, begun) = oneshot::channel();
    let stop = async move {
        let signal = runtime::stop::signal().await;
        // The other end waits for it until the end.
        let _ = stopping.send(signal);
    };
    println!("app-funds listens on {scheme}://{address}");
    let served =
        tokio::spawn(
            async move { adapters_funds::serve(funds, listener, tls.as_ref(), stop).await },
        );
    // An error before the signal ends the sender without a word.
    if let Ok(signal) = begun.await {
        signal?;
    }
    let within = Duration::from_millis(settings.server.stop_ms);
    let served_well = match timeout(within, served).await {
        Ok(ended) => ended
            .context("the server broke off")?
            .map_err(anyhow::Error::from),
        Err(_) => {
            tracing::warn!("what was under way did not end in time");
            Ok(())
        }
    };
    if let Some(rereading) = rereading {
        rereading.abort();
        // Its end lets go of the ledger.
        let _ = rereading.await;
    }
    if let Some(ledger) = Arc::into_inner(ledger) {
        ledger.close().await;
    }
    served_well
}

/// At every SIGHUP reads `[faults]` again, and says what holds now. A file that is wrong changes
/// nothing.
fn reread(
    faulty: Arc<Faulty>,
    file: Option<PathBuf>,
) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let mut hangups = signal(SignalKind::hangup()).context("cannot listen for SIGHUP")?;
    Ok(tokio::spawn(async move {
        while hangups.recv().await.is_some() {
            let read = runtime::config::load::<Settings>(file.as_deref())
                .and_then(|settings| Ok(settings.faults(true)?.cloned()));
            match read {
                Ok(faults) => {
                    let plan = faults.unwrap_or_default().plan();
                    faulty.follow(plan);
                    println!("app-funds follows {plan:?}");
                }
                Err(error) => {
                    println!("app-funds keeps its faults: {error:#}");
                }
            }
        }
    }))
}
