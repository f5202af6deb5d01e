//! Leases: who does which work, when more than one process could.

use crate::store::StoreError;
use async_trait::async_trait;
use domain::time::UnixMillis;
use uuid::Uuid;

/// A rising number that comes with a lease. A write under an older one than was written last is
/// refused, so a holder that slept past its lease cannot undo what its successor did (hazard H4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// A lease that is held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lease {
    /// What it is for.
    pub name: String,
    /// Who holds it.
    pub owner: Uuid,
    /// Its number: higher than that of every earlier lease of the name.
    pub fence: Fence,
}

/// A lease and when it ends unless it is extended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLease {
    /// The lease.
    pub lease: Lease,
    /// When it ends, by the store's clock.
    pub ends_at: UnixMillis,
}

/// The longest name of a lease, in bytes.
pub const LEASE_NAME_MAX: usize = 100;

/// The leases. They divide work; safety never hangs on them alone. Whatever is written by whoever holds
/// one names it, and is refused once another has taken it ([`Committed::Fenced`]): so a holder that
/// slept past its lease ends, and what it decided from what it had read is not written.
///
/// [`Committed::Fenced`]: crate::store::Committed::Fenced
///
/// 1. `take` grants a name that is free, or whose lease is over by the store's clock, with a
///    higher fence than ever before; at most one owner holds a name at a time.
/// 2. `take` by the owner that holds it extends it, under the same fence; once it is over, the same
///    owner gets a higher one, like anybody else.
/// 3. `release` frees a name at once if that very lease still holds it, and else does nothing.
/// 4. Fences rise for ever, also across restarts of the store.
/// 5. `held` lists the leases that are not over, by name.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes or extends a lease for `for_ms` milliseconds from now; none while another holds it.
    async fn take(&self, name: &str, owner: Uuid, for_ms: i64)
    -> Result<Option<Lease>, StoreError>;

    /// Gives a lease back.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;

    /// The leases that are held, at most `limit`.
    async fn held(&self, limit: usize) -> Result<Vec<HeldLease>, StoreError>;
}

/// The leases of a process that is alone with its store: all of them are its own. Its writes are
/// fenced by the contest's version.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

#[async_trait]
impl Leases for Alone {
    async fn take(&self, name: &str, owner: Uuid, _: i64) -> Result<Option<Lease>, StoreError> {
        Ok(Some(Lease {
            name: name.to_owned(),
            owner,
            fence: Fence(0),
        }))
    }

    async fn release(&self, _: &Lease) -> Result<(), StoreError> {
        Ok(())
    }

    async fn held(&self, _: usize) -> Result<Vec<HeldLease>, StoreError> {
        Ok(Vec::new())
    }
}
