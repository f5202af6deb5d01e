//! Where a key set comes from, and how it is kept fresh.

use super::keys::KeySet;
use crate::config::{AuthSettings, TokenAlgorithm, is_loopback};
use anyhow::{Context, bail};
use reqwest::Url;
use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;

/// The largest key set, in bytes.
const SET_MAX: usize = 256 << 10;
/// The longest that fetching one may take.
const FETCH_MAX: Duration = Duration::from_secs(5);
/// Between two fetches that unknown keys ask for there is at least this, unless the regular ones
/// follow faster: whoever makes names up must not make us a nuisance to the issuer.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a request with an unknown key waits for a fetch.
const PATIENCE: Duration = Duration::from_secs(2);
/// Requests that wait for a fetch at once; others are refused without waiting.
const WAITING_MAX: usize = 32;

enum Source {
    File(PathBuf),
    Url(reqwest::Client, Url),
}

impl Source {
    fn of(settings: &AuthSettings) -> anyhow::Result<Self> {
        if let Some(path) = &settings.jwks_file {
            return Ok(Self::File(path.clone()));
        }
        let Some(url) = &settings.jwks_url else {
            bail!("auth.jwks_file or auth.jwks_url is needed");
        };
        let url = Url::parse(url).context("auth.jwks_url")?;
        // Fails where another part of the process has chosen one, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder()
            .timeout(FETCH_MAX)
            // The address was judged when it was configured; where it sends us was not.
            .redirect(reqwest::redirect::Policy::none());
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        Ok(Self::Url(client.build()?, url))
    }

    async fn set(&self, algorithm: TokenAlgorithm) -> anyhow::Result<KeySet> {
        KeySet::parse(&self.read().await?, algorithm).context("it is no key set")
    }

    async fn read(&self) -> anyhow::Result<Vec<u8>> {
        match self {
            Self::File(path) => {
                let too_large = || format!("{} is larger than {SET_MAX} bytes", path.display());
                let at = || format!("cannot read {}", path.display());
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || {
                    let length = std::fs::metadata(&path)?.len();
                    if length > SET_MAX as u64 {
                        return Ok(None);
                    }
                    std::fs::read(&path).map(Some)
                });
                let text: std::io::Result<Option<Vec<u8>>> = read.await.context("a crash")?;
                text.with_context(at)?.with_context(too_large)
            }
            Self::Url(client, url) => fetch(client, url)
                .await
                .with_context(|| format!("cannot fetch {url}")),
        }
    }
}

async fn fetch(client: &reqwest::Client, url: &Url) -> anyhow::Result<Vec<u8>> {
    let mut response = client
        .get(url.clone())
        .send()
        .await
        .map_err(reqwest::Error::without_url)?;
    if response.status() != reqwest::StatusCode::OK {
        bail!("it answered {}", response.status());
    }
    let mut text = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(reqwest::Error::without_url)?
    {
        if text.len() + chunk.len() > SET_MAX {
            bail!("it is larger than {SET_MAX} bytes");
        }
        text.extend_from_slice(&chunk);
    }
    Ok(text)
}

/// A key set that follows its source. The last one that could be had stays in force.
pub(crate) struct Keys {
    current: RwLock<Arc<KeySet>>,
    asked: Notify,
    /// How many times the source was read, whatever came of it.
    rounds: watch::Sender<u64>,
    waiting: Semaphore,
}

impl Keys {
    /// Reads the key set for the first time and keeps it fresh until `stopping`.
    ///
    /// # Errors
    /// When it cannot be had, or has no key that can be used.
    pub(crate) async fn start(
        settings: &AuthSettings,
        stopping: &CancellationToken,
    ) -> anyhow::Result<Arc<Self>> {
        let source = Source::of(settings)?;
        let algorithm = settings.algorithm;
        let set = source.set(algorithm).await?;
        if set.len() == 0 {
            bail!(
                "the key set has no key that can check {} tokens",
                algorithm.name()
            );
        }
        tracing::info!(keys = set.len(), "the key set was read");
        let keys = Arc::new(Self {
            current: RwLock::new(Arc::new(set)),
            asked: Notify::new(),
            rounds: watch::Sender::new(0),
            waiting: Semaphore::new(WAITING_MAX),
        });
        let every = Duration::from_secs(settings.jwks_refresh_s);
        let follow = Arc::clone(&keys).follow(Arc::new(source), algorithm, every);
        tokio::spawn(stopping.clone().run_until_cancelled_owned(follow));
        Ok(keys)
    }

    async fn follow(
        self: Arc<Self>,
        source: Arc<Source>,
        algorithm: TokenAlgorithm,
        every: Duration,
    ) {
        let pause = every.min(PAUSE_MAX);
        loop {
            let read_at = Instant::now();
            tokio::select! {
                () = sleep_until(read_at + every) => {}
                () = async {
                    sleep_until(read_at + pause).await;
                    self.asked.notified().await;
                } => {}
            }
            let source = Arc::clone(&source);
            // A task of its own: a panic at what somebody else's server says must not end the
            // following, or keys that were taken back would stay in force for ever (hazard G5).
            let read = tokio::spawn(async move { source.set(algorithm).await }).await;
            match read.context("a crash").flatten() {
                Ok(set) => {
                    if set.len() == 0 {
                        // What the issuer says counts: it has taken its keys back.
                        tracing::error!(
                            "the key set has no usable key any more; no token is taken"
                        );
                    }
                    *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set);
                }
                Err(error) => {
                    tracing::warn!(
                        error = format!("{error:#}"),
                        "the key set cannot be had; the last one stays in force"
                    );
                }
            }
            self.rounds.send_modify(|rounds| *rounds += 1);
        }
    }

    /// The keys now.
    pub(crate) fn current(&self) -> Arc<KeySet> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current)
    }

    /// Asks for the key set to be read again and waits for that a little. What is in force then
    /// may or may not be new.
    pub(crate) async fn refresh(&self) {
        let Ok(_place) = self.waiting.try_acquire() else {
            return;
        };
        let mut rounds = self.rounds.subscribe();
        self.asked.notify_one();
        let _ = timeout(PATIENCE, rounds.changed()).await;
    }
}
