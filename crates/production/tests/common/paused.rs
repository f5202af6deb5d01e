//! A cache whose fills wait until they are let go: a reader that stands still between what it has
//! read from the store and what it stores.

use super::PATIENCE;
use async_trait::async_trait;
use domain::{
    contest::Contest,
    ids::{ContestId, UserId},
    signup::Signup,
};
use ports::shown::{Cached, Filled, RecordCache, ShownError};
use std::sync::Arc;
use tokio::{
    sync::{Mutex, Semaphore, mpsc},
    time::timeout,
};
use usecases::{Ports, Shown};

/// The cache of a stack, with its first fill held up.
pub struct PausedFills {
    inner: Arc<dyn RecordCache>,
    arrived: Semaphore,
    gate: Semaphore,
    done: mpsc::UnboundedSender<Filled>,
    filled: Mutex<mpsc::UnboundedReceiver<Filled>>,
}

impl PausedFills {
    /// That of these ports.
    pub fn of(ports: &Ports) -> Arc<Self> {
        let shown = ports.shown.as_ref().expect("it is shown");
        let (done, filled) = mpsc::unbounded_channel();
        Arc::new(Self {
            inner: Arc::clone(&shown.records),
            arrived: Semaphore::new(0),
            gate: Semaphore::new(0),
            done,
            filled: Mutex::new(filled),
        })
    }

    /// Waits until a fill stands at the gate.
    pub async fn reached(&self) {
        let arrived = timeout(PATIENCE, self.arrived.acquire()).await;
        arrived.expect("a fill").expect("open").forget();
    }

    /// Lets every fill go on from now on; what became of the first.
    pub async fn go_on(&self) -> Filled {
        self.gate.add_permits(Semaphore::MAX_PERMITS / 2);
        let mut filled = self.filled.lock().await;
        let filled = timeout(PATIENCE, filled.recv()).await;
        filled.expect("in time").expect("an outcome")
    }
}

/// The ports with another cache.
pub fn with_records(ports: Ports, records: Arc<dyn RecordCache>) -> Ports {
    let shown = ports.shown.clone().expect("it is shown");
    Ports {
        shown: Some(Shown { records, ..shown }),
        ..ports
    }
}

#[async_trait]
impl RecordCache for PausedFills {
    async fn get(&self, contest: ContestId, user: &UserId) -> Result<Option<Cached>, ShownError> {
        self.inner.get(contest, user).await
    }

    async fn fill<'a>(
        &self,
        contest: &Contest,
        user: &UserId,
        signup: Option<&'a Signup>,
    ) -> Result<Filled, ShownError> {
        self.arrived.add_permits(1);
        let _going = self.gate.acquire().await;
        let filled = self.inner.fill(contest, user, signup).await?;
        // The test may have seen enough.
        let _ = self.done.send(filled);
        Ok(filled)
    }

    async fn drop_record(
        &self,
        contest: &Contest,
        user: &UserId,
        version: u64,
    ) -> Result<(), ShownError> {
        self.inner.drop_record(contest, user, version).await
    }
}
