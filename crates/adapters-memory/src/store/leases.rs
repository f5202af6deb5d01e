//! Leases, by the store's clock. One that ended stays as a line, so that its fence rises for ever.

use super::{MemoryStore, Tables};
use async_trait::async_trait;
use domain::time::UnixMillis;
use ports::{
    leases::{Fence, HeldLease, LEASE_NAME_MAX, Lease, Leases},
    store::{PAGE_MAX, StoreError},
};
use uuid::Uuid;

/// Who held a name last, and until when.
#[derive(Debug)]
pub(super) struct Held {
    owner: Uuid,
    fence: Fence,
    ends_at: UnixMillis,
}

impl Tables {
    /// False once another has taken the lease.
    pub(super) fn is_latest(&self, lease: &Lease) -> bool {
        let held = self.leases.get(&lease.name);
        held.is_none_or(|held| held.fence == lease.fence)
    }
}

#[async_trait]
impl Leases for MemoryStore {
    async fn take(
        &self,
        name: &str,
        owner: Uuid,
        for_ms: i64,
    ) -> Result<Option<Lease>, StoreError> {
        if name.is_empty() || name.len() > LEASE_NAME_MAX {
            return Err(StoreError::unavailable(format!(
                "a lease's name has 1 to {LEASE_NAME_MAX} bytes"
            )));
        }
        let now = self.time();
        let ends_at = now.plus(for_ms);
        let mut tables = self.tables();
        let held = tables.leases.entry(name.to_owned()).or_insert(Held {
            owner,
            fence: Fence(0),
            ends_at: now,
        });
        if held.ends_at <= now {
            held.fence.0 += 1;
            held.owner = owner;
        } else if held.owner != owner {
            return Ok(None);
        }
        held.ends_at = ends_at;
        Ok(Some(Lease {
            name: name.to_owned(),
            owner,
            fence: held.fence,
        }))
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let now = self.time();
        let mut tables = self.tables();
        if let Some(held) = tables.leases.get_mut(&lease.name)
            && (held.owner, held.fence) == (lease.owner, lease.fence)
        {
            held.ends_at = held.ends_at.min(now);
        }
        Ok(())
    }

    async fn held(&self, limit: usize) -> Result<Vec<HeldLease>, StoreError> {
        let now = self.time();
        let tables = self.tables();
        let held = tables.leases.iter().filter(|(_, held)| held.ends_at > now);
        let held = held.map(|(name, held)| HeldLease {
            lease: Lease {
                name: name.clone(),
                owner: held.owner,
                fence: held.fence,
            },
            ends_at: held.ends_at,
        });
        Ok(held.take(limit.min(PAGE_MAX)).collect())
    }
}
