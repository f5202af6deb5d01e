//! Whether the flows can work: the store can *write*, and the funds system answers.
//!
//! A disk that is full or read-only answers every read. So what is ours is written to, committed
//! and synced: in the embedded default store and ledger, each through its one writer
//! (`SqliteStore::probe`, `Ledger::probe`); on MySQL the store, through a writer of decisions
//! (`MysqlStore::probe`), not through those of signups and events. A funds system that is reached
//! over gRPC is somebody else's: nothing can be written there that means nothing, so it is asked
//! for an order (`GrpcFunds::probe`), and whether it could write is not known. One answer serves
//! everybody for a second, so a crowd of probes costs one write a second.

use crate::problem::{Code, Problem};
use adapters_ledger::Ledger;
use adapters_sqlite::SqliteStore;
use async_trait::async_trait;
use std::{error::Error, sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, error::Elapsed, timeout},
};

/// How long an answer serves.
const FRESH: Duration = Duration::from_secs(1);
/// The longest that a probe may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Something that the flows cannot work without.
#[async_trait]
pub(crate) trait Probe: Send + Sync {
    /// What is told when it cannot.
    fn fault(&self) -> &'static str;

    /// Whether it can do what the flows need of it.
    async fn probe(&self) -> Result<(), Box<dyn Error + Send + Sync>>;
}

#[async_trait]
impl Probe for SqliteStore {
    fn fault(&self) -> &'static str {
        "the store cannot write"
    }

    async fn probe(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(Self::probe(self).await?)
    }
}

#[async_trait]
impl Probe for Ledger {
    fn fault(&self) -> &'static str {
        "the funds system cannot write"
    }

    async fn probe(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(Self::probe(self).await?)
    }
}

/// Probes store and funds system.
pub(crate) struct Readiness {
    store: Arc<dyn Probe>,
    funds: Arc<dyn Probe>,
    last: Mutex<Option<(Instant, Result<(), &'static str>)>>,
}

impl Readiness {
    /// The readiness of these two.
    pub(crate) fn new(store: Arc<dyn Probe>, funds: Arc<dyn Probe>) -> Self {
        Self {
            store,
            funds,
            last: Mutex::default(),
        }
    }

    /// Whether both passed their probe now, or within the last second.
    ///
    /// # Errors
    /// 503 that says which did not.
    pub(crate) async fn check(&self) -> Result<(), Problem> {
        let mut last = self.last.lock().await;
        let outcome = match *last {
            Some((at, outcome)) if at.elapsed() < FRESH => outcome,
            _ => {
                let outcome = self.probe().await;
                *last = Some((Instant::now(), outcome));
                outcome
            }
        };
        drop(last);
        outcome.map_err(|what| Problem::new(Code::Unavailable, what).retry_after(1))
    }

    async fn probe(&self) -> Result<(), &'static str> {
        let (store, funds) = tokio::join!(
            timeout(PATIENCE, self.store.probe()),
            timeout(PATIENCE, self.funds.probe())
        );
        told(&*self.store, store, "the store does not answer")?;
        told(&*self.funds, funds, "the funds system does not answer")
    }
}

/// The outcome of a probe, in words.
fn told(
    probe: &dyn Probe,
    outcome: Result<Result<(), Box<dyn Error + Send + Sync>>, Elapsed>,
    silent: &'static str,
) -> Result<(), &'static str> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(error = &*error as &dyn Error, "{}", probe.fault());
            Err(probe.fault())
        }
        Err(_) => Err(silent),
    }
}
