//! The embedded default: API, ledger and loops in one process, durable in one directory.

use crate::{auth::Tokens, board, live::Live, loops, routes, state::App};
use adapters_ledger::Ledger;
use adapters_sqlite::SqliteStore;
use anyhow::{Context, bail};
use domain::{
    order::{Account, Platform},
    time::UnixMillis,
    transfer::Position,
};
use ports::{
    contests::{ContestFilter, ContestRepository},
    funds::Funds,
    system::{Clock, IdSource},
};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use usecases::{Contests, Ports};
use uuid::Uuid;

/// The store's file.
const STORE: &str = "guafen.db";
/// The ledger's file.
const LEDGER: &str = "ledger.db";
/// How long a stop waits for flows that were begun; what is left is finished after the next start.
const DRAIN: Duration = Duration::from_secs(10);
/// The environment variable that overrides the secret of the data directory.
pub(crate) const SECRET_VARIABLE: &str = "GUAFEN_AUTH__HS256_SECRET";
/// The shortest secret that is taken.
const SECRET_MIN: usize = 32;

struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}

struct RandomIds;

impl IdSource for RandomIds {
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}

/// Seconds since 1970, by this node's clock.
pub(crate) fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

/// A data directory that no other process uses.
struct DataDir {
    path: PathBuf,
    _lock: File,
}

impl DataDir {
    fn open(path: &Path) -> anyhow::Result<Self> {
        // What is in it is nobody else's business.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join("lock"))
            .with_context(|| format!("cannot write to {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "{} is in use by another process; stop it, or name another --data-dir",
                    path.display()
                )
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }
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

/// What to do where a data directory keeps no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSecret {
    /// Make one: this is the server.
    Make,
    /// Refuse: a new one would sign tokens that no server takes.
    Refuse,
}

/// The tokens of a data directory: signed with `GUAFEN_AUTH__HS256_SECRET`, else with the secret
/// that the directory keeps, which is made when it is first needed.
///
/// # Errors
/// When the secret is too short, or cannot be read or written.
pub(crate) fn tokens(data_dir: Option<&Path>, no_secret: NoSecret) -> anyhow::Result<Tokens> {
    if let Ok(secret) = std::env::var(SECRET_VARIABLE) {
        if secret.len() < SECRET_MIN {
            bail!("{SECRET_VARIABLE} must have at least {SECRET_MIN} characters");
        }
        return Ok(Tokens::new(secret.as_bytes()));
    }
    let Some(dir) = data_dir else {
        bail!("set {SECRET_VARIABLE}, or name the --data-dir that keeps a secret")
    };
    let path = dir.join("secret");
    let text = match File::open(&path) {
        Ok(mut file) => {
            let mut text = String::new();
            file.read_to_string(&mut text)
                .with_context(|| format!("cannot read {}", path.display()))?;
            text
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match no_secret {
            NoSecret::Make => make_secret(dir, &path)?,
            NoSecret::Refuse => bail!(
                "there is no secret in {}; start the server there once, or check the path",
                dir.display()
            ),
        },
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let secret = parse_hex(text.trim()).filter(|secret| secret.len() >= SECRET_MIN);
    let secret = secret.with_context(|| {
        format!(
            "{} must hold at least {SECRET_MIN} bytes in hexadecimal digits",
            path.display()
        )
    })?;
    Ok(Tokens::new(&secret))
}

/// Writes a new secret, readable by its owner alone. Of two processes that do so at once, one wins
/// and both use its secret.
fn make_secret(dir: &Path, path: &Path) -> anyhow::Result<String> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut bytes = [0; SECRET_MIN];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let fresh = dir.join(format!(".secret-{}", std::process::id()));
    let written = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        });
    written.with_context(|| format!("cannot write {}", fresh.display()))?;
    // A link, unlike a rename, fails where another process was faster.
    let linked = fs::hard_link(&fresh, path);
    fs::remove_file(&fresh).with_context(|| format!("cannot remove {}", fresh.display()))?;
    match linked {
        Ok(()) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs
        .map(|pair| pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

/// Serves until a signal to stop, then drains.
///
/// # Errors
/// When the directory is in use or cannot be opened, or the address cannot be listened on.
pub(crate) async fn serve(data_dir: &Path, listen: SocketAddr) -> anyhow::Result<()> {
    let dir = DataDir::open(data_dir)?;
    let tokens = tokens(Some(&dir.path), NoSecret::Make)?;
    let (store, ledger) = open_books(&dir.path).await?;
    let store = Arc::new(store);
    let contests = Arc::new(Contests::new(Ports {
        contests: Arc::clone(&store) as _,
        signups: Arc::clone(&store) as _,
        tasks: Arc::clone(&store) as _,
        events: Arc::clone(&store) as _,
        findings: store as _,
        funds: Arc::new(ledger),
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
    })?);
    let listener = TcpListener::bind(listen)
        .await
        .with_context(|| format!("cannot listen on {listen}"))?;
    let address = listener.local_addr()?;
    let streams_end = CancellationToken::new();
    let (stopping, stop) = watch::channel(false);
    let loops = loops::start(&contests, &stop);
    let app = App {
        contests,
        tokens,
        flows: TaskTracker::new(),
        live: Arc::new(Live::new(streams_end.clone())),
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
    let watched = Arc::clone(&app.contests);
    let router = routes::router(app);
    let router = board::beside(router, address.ip(), watched, files, streams_end.clone());
    let mut asked = stop.clone();
    let drained = async move {
        // The channel closes only with this function: then there is nothing left to serve.
        let _ = asked.wait_for(|stop| *stop).await;
    };
    let serving = axum::serve(listener, router).with_graceful_shutdown(drained);
    let serving = tokio::spawn(async move { serving.await });
    stop_signal().await?;
    tracing::info!("stopping");
    stopping.send_replace(true);
    streams_end.cancel();
    flows.close();
    let all = async {
        for task in loops {
            let _ = task.await;
        }
        flows.wait().await;
        let _ = serving.await;
    };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        tracing::warn!("some flows did not end in time; they are finished after the next start");
    }
    Ok(())
}

async fn stop_signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupt = tokio::signal::ctrl_c() => interrupt.context("cannot listen for SIGINT"),
    }
}
