//! What is only shown, on Redis: a weak dependency.
//!
//! No call waits longer than its budget; while Redis does not answer, the breaker is open and nobody
//! waits at all. Nothing is ever sent twice: a lost answer is a call that failed, and scripts look
//! at a unique key or a version first, so that whoever asks again harms nobody (hazards D1, G9).
//! Everything here can be lost at any time and is made again from the store.

mod breaker;
mod codec;
mod hash;
mod keys;
mod lifetimes;
mod past_pools;
mod places;
mod ranking;
mod record_cache;
mod scripts;
mod tallies;

pub use breaker::BreakerState;
pub use lifetimes::Lifetimes;

use breaker::Breaker;
use fred::{
    clients::Pool,
    interfaces::LuaInterface,
    prelude::{Builder, Config, Error, ErrorKind, FromValue, ReconnectPolicy},
    types::MultipleKeys,
};
use ports::shown::ShownError;
use scripts::Source;
use std::{future::Future, time::Duration};

/// The schemes of addresses; those that begin with `rediss` mean TLS, checked by the system's
/// certificates.
const SCHEMES: [&str; 4] = ["redis", "rediss", "redis-cluster", "rediss-cluster"];
/// Connections.
const POOL: usize = 4;
/// The most commands that wait to be sent on one connection.
const QUEUE_MAX: usize = 2_000;
/// The longest that connecting, and finding out about a cluster, may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How much later than the client we stop waiting: the client, which goes first, then never sends a
/// command that still lay in its queue.
const LATER: Duration = Duration::from_millis(5);
/// The pauses between tries to connect, the first and the longest, in milliseconds.
const RECONNECT_MS: (u32, u32) = (50, 2_000);

/// How Redis is used.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `redis://…`, `redis-cluster://host:port?node=host:port&node=…`, or with TLS `rediss://…` and
    /// `rediss-cluster://…`.
    pub url: String,
    /// The longest that one call may take.
    pub budget: Duration,
    /// How long what is kept lives.
    pub lifetimes: Lifetimes,
    /// Over how many parts a contest's tally is spread, 1 to 64: the same on every node.
    pub shards: u16,
}

impl Settings {
    /// The usual settings for an address.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            budget: Duration::from_millis(50),
            lifetimes: Lifetimes::default(),
            shards: 4,
        }
    }
}

/// Why Redis cannot be used as configured. No text contains a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// The address is none.
    #[error(
        "must be redis://…, rediss://…, redis-cluster://host:port?node=host:port or rediss-cluster://…"
    )]
    Url,
    /// The number of parts is out of range.
    #[error("a tally has 1 to 64 parts")]
    Shards,
}

/// What is only shown, on Redis. Clones share it.
#[derive(Clone)]
pub struct RedisShown {
    pool: Pool,
    breaker: std::sync::Arc<Breaker>,
    budget: Duration,
    lifetimes: Lifetimes,
    shards: u16,
}

impl RedisShown {
    /// Connects in the background, for ever: a Redis that is away now is no reason not to start.
    ///
    /// # Errors
    /// [`SetupError`] for settings that could never work.
    pub fn connect(settings: &Settings) -> Result<Self, SetupError> {
        if !(1..=64).contains(&settings.shards) {
            return Err(SetupError::Shards);
        }
        // The client takes any scheme, and what it does not know for a connection in clear text.
        let (scheme, _) = settings.url.split_once("://").ok_or(SetupError::Url)?;
        if !SCHEMES.contains(&scheme) {
            return Err(SetupError::Url);
        }
        if scheme.starts_with("rediss") {
            // Fails where the process has chosen one already, which serves as well.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let mut config = Config::from_url(&settings.url).map_err(|_| SetupError::Url)?;
        // The first connection is tried for ever, as every later one is.
        config.fail_fast = false;
        let budget = settings.budget;
        let pool = Builder::from_config(config)
            .with_connection_config(|connection| {
                connection.connection_timeout = CONNECT;
                connection.internal_command_timeout = CONNECT;
                connection.max_command_attempts = 1;
                connection.max_command_buffer_len = QUEUE_MAX;
                connection.unresponsive.max_timeout = Some(CONNECT);
                connection.unresponsive.interval = CONNECT / 4;
                connection.auto_client_setname = false;
            })
            .with_performance_config(|performance| {
                performance.default_command_timeout = budget;
            })
            .set_policy(ReconnectPolicy::new_exponential(
                0,
                RECONNECT_MS.0,
                RECONNECT_MS.1,
                2,
            ))
            .build_pool(POOL)
            .map_err(|_| SetupError::Url)?;
        // The tasks live as long as the pool.
        drop(pool.connect_pool());
        Ok(Self {
            pool,
            breaker: std::sync::Arc::default(),
            budget,
            lifetimes: settings.lifetimes,
            shards: settings.shards,
        })
    }

    /// Whether Redis is asked.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// Does one call within the budget, unless the breaker is open.
    async fn call<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, Error>> + Send,
    ) -> Result<T, ShownError> {
        let count = |outcome: &'static str| {
            metrics::counter!("guafen_redis_calls_total", "operation" => operation, "outcome" => outcome)
                .increment(1);
        };
        let Some(admission) = self.breaker.admit() else {
            count("open");
            return Err(ShownError::Open);
        };
        match tokio::time::timeout(self.budget + LATER, call).await {
            Ok(Ok(value)) => {
                admission.answered();
                count("ok");
                Ok(value)
            }
            Ok(Err(error)) if is_answer(&error) => {
                admission.answered();
                count("refused");
                Err(ShownError::unavailable(error))
            }
            Ok(Err(error)) => {
                admission.failed();
                count("failed");
                Err(ShownError::unavailable(error))
            }
            Err(late) => {
                admission.failed();
                count("late");
                Err(ShownError::unavailable(late))
            }
        }
    }

    /// Runs a script; a server that does not know it is told it whole.
    async fn run<T: FromValue + Send>(
        &self,
        operation: &'static str,
        script: &'static Source,
        keys: Vec<String>,
        arguments: Vec<String>,
    ) -> Result<T, ShownError> {
        let client = self.pool.next();
        let keys: MultipleKeys = keys.into();
        let call = async {
            let known: Result<T, Error> = client
                .evalsha(script.sha(), keys.clone(), arguments.clone())
                .await;
            match known {
                Err(error) if error.details().starts_with("NOSCRIPT") => {
                    client.eval(script.text(), keys, arguments).await
                }
                answer => answer,
            }
        };
        self.call(operation, call).await
    }
}

/// True where the server has answered, and only what it said is of no use.
fn is_answer(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::Parse | ErrorKind::InvalidArgument
    ) || (*error.kind() == ErrorKind::Unknown && error.details().starts_with("ERR"))
}
