//! A lease that is held while some work is done.

use crate::{Contests, Failure, Ports};
use domain::time::UnixMillis;
use ports::{leases::Lease, store::StoreError};
use std::{future::Future, time::Duration};
use uuid::Uuid;

/// How long a lease lasts unless it is extended, in milliseconds: what a dead node held is taken
/// up by another after this.
const LEASE_MS: i64 = 15_000;

/// How often work that takes long looks after its lease.
const KEEP: Duration = Duration::from_secs(2);

/// A lease, and when it was last known to be held, by this node's clock.
#[derive(Debug)]
pub(crate) struct Hold {
    lease: Lease,
    since: UnixMillis,
}

impl Hold {
    /// Takes a lease for `owner`; none while another holds it.
    pub(crate) async fn take(
        ports: &Ports,
        name: String,
        owner: Uuid,
    ) -> Result<Option<Self>, StoreError> {
        // Before the call: the lease then lasts at least as long as is believed.
        let since = ports.clock.now();
        let lease = ports.leases.take(&name, owner, LEASE_MS).await?;
        Ok(lease.map(|lease| Self { lease, since }))
    }

    /// When it is to be extended or given back, by this node's clock.
    pub(crate) fn renewal(&self) -> UnixMillis {
        self.since.plus(LEASE_MS / 3)
    }

    /// Until when work may begin under it, by this node's clock: the answer to one call comes before it ends.
    /// What takes several that are slow may come too late, is refused, and is looked up again.
    pub(crate) fn begin_until(&self) -> UnixMillis {
        self.since.plus(LEASE_MS / 2)
    }

    /// What comes with every write under it.
    pub(crate) const fn lease(&self) -> &Lease {
        &self.lease
    }

    /// Extends it once a third is gone; false if another has taken it.
    pub(crate) async fn keep(&mut self, ports: &Ports) -> Result<bool, StoreError> {
        if ports.clock.now() < self.renewal() {
            return Ok(true);
        }
        match Self::take(ports, self.lease.name.clone(), self.lease.owner).await? {
            Some(fresh) if fresh.lease.fence == self.lease.fence => {
                *self = fresh;
                Ok(true)
            }
            // It was over in between: what was read under it may be old.
            Some(fresh) => {
                fresh.let_go(ports).await;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Gives it back. One that cannot be given back ends by itself.
    pub(crate) async fn let_go(self, ports: &Ports) {
        if let Err(error) = ports.leases.release(&self.lease).await {
            tracing::debug!(
                lease = self.lease.name,
                error = &error as &dyn std::error::Error,
                "a lease could not be given back"
            );
        }
    }
}

impl Contests {
    /// Takes a lease for this node; none while another node holds it.
    pub(crate) async fn lease(&self, name: String) -> Result<Option<Hold>, Failure> {
        Ok(Hold::take(&self.ports, name, self.node).await?)
    }

    /// Extends the lease of some work once a third of it is gone; false if another node has taken
    /// it. Work that somebody asked for has none.
    pub(crate) async fn keep(&self, hold: &mut Option<Hold>) -> Result<bool, Failure> {
        match hold {
            Some(hold) => Ok(hold.keep(&self.ports).await?),
            None => Ok(true),
        }
    }

    /// Gives a lease back.
    pub(crate) async fn let_go(&self, hold: Hold) {
        hold.let_go(&self.ports).await;
    }

    /// Does some work under a lease that is extended for as long as the work takes, and given back
    /// afterwards. Should another take it meanwhile, two are at it, which does no harm.
    pub(crate) async fn holding<T>(&self, hold: Hold, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut hold = Some(hold);
        loop {
            match tokio::time::timeout(KEEP, work.as_mut()).await {
                Ok(done) => {
                    if let Some(hold) = hold {
                        self.let_go(hold).await;
                    }
                    return done;
                }
                Err(_) => {
                    if let Some(held) = &mut hold
                        && matches!(held.keep(&self.ports).await, Ok(false))
                    {
                        hold = None;
                    }
                }
            }
        }
    }
}
