//! A lease that is held while some work is done.

use crate::{Contests, Failure};
use domain::time::UnixMillis;
use ports::leases::{Fence, Lease};

/// How long a lease lasts unless it is extended, in milliseconds: what a dead node held is taken
/// up by another after this.
const LEASE_MS: i64 = 15_000;

/// A lease, and when it was last known to be held, by this node's clock.
#[derive(Debug)]
pub(crate) struct Hold {
    lease: Lease,
    since: UnixMillis,
}

impl Hold {
    /// When it is to be extended or given back, by this node's clock.
    pub(crate) fn renewal(&self) -> UnixMillis {
        self.since.plus(LEASE_MS / 3)
    }

    /// What comes with every write under it.
    pub(crate) const fn fence(&self) -> Fence {
        self.lease.fence
    }
}

impl Contests {
    /// Takes a lease; none while another node holds it.
    pub(crate) async fn lease(&self, name: String) -> Result<Option<Hold>, Failure> {
        // Before the call: the lease then lasts at least as long as is believed.
        let since = self.ports.clock.now();
        let lease = self.ports.leases.take(&name, self.node, LEASE_MS).await?;
        Ok(lease.map(|lease| Hold { lease, since }))
    }

    /// Extends a lease of which a third is gone; false if another node has taken it.
    pub(crate) async fn keep(&self, hold: &mut Hold) -> Result<bool, Failure> {
        if self.ports.clock.now() < hold.renewal() {
            return Ok(true);
        }
        match self.lease(hold.lease.name.clone()).await? {
            Some(fresh) if fresh.lease.fence == hold.lease.fence => {
                *hold = fresh;
                Ok(true)
            }
            // It was over in between: what was read under it may be old.
            Some(fresh) => {
                self.let_go(fresh).await;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// Gives a lease back. One that cannot be given back ends by itself.
    pub(crate) async fn let_go(&self, hold: Hold) {
        if let Err(error) = self.ports.leases.release(&hold.lease).await {
            tracing::debug!(
                lease = hold.lease.name,
                error = &error as &dyn std::error::Error,
                "a lease could not be given back"
            );
        }
    }
}
