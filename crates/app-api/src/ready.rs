//! Whether the flows can work: store and ledger can both *write*.
//!
//! A disk that is full or read-only answers every read. So the probe writes: through the same
//! writer as everything else, one page, committed and synced (see `SqliteStore::probe` and
//! `Ledger::probe`). One answer serves everybody for a second, so a crowd of probes costs one
//! write a second, and a probe that waits behind a full queue is itself the answer.

use crate::problem::{Code, Problem};
use adapters_ledger::Ledger;
use adapters_sqlite::SqliteStore;
use async_trait::async_trait;
use std::{error::Error, sync::Arc, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

/// How long an answer serves.
const FRESH: Duration = Duration::from_secs(1);
/// The longest that a probe may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// Something that the flows cannot work without.
#[async_trait]
pub(crate) trait Probe: Send + Sync {
    /// Whether it can do what the flows need of it.
    async fn probe(&self) -> Result<(), Box<dyn Error + Send + Sync>>;
}

#[async_trait]
impl Probe for SqliteStore {
    async fn probe(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(Self::probe(self).await?)
    }
}

#[async_trait]
impl Probe for Ledger {
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

    /// Whether both can write now, or could within the last second.
    ///
    /// # Errors
    /// 503 that says which cannot.
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
        match store {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = &*error as &dyn Error, "the store cannot write");
                return Err("the store cannot write");
            }
            Err(_) => return Err("the store does not answer"),
        }
        match funds {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => {
                tracing::warn!(
                    error = &*error as &dyn Error,
                    "the funds system cannot write"
                );
                Err("the funds system cannot write")
            }
            Err(_) => Err("the funds system does not answer"),
        }
    }
}
