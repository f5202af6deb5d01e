//! Effects that were saved with a change, until they have been carried out.

use crate::store::StoreError;
use async_trait::async_trait;
use domain::{
    effects::Effect,
    ids::{ContestId, SignupId, UserId},
};

/// One saved effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its place in the outbox.
    pub sequence: u64,
    /// What must happen.
    pub effect: Effect,
    /// For this contest.
    pub contest_id: ContestId,
    /// For this signup; none where events came for a viewer who may not have one.
    pub signup_id: Option<SignupId>,
    /// Of this viewer.
    pub user_id: UserId,
    /// The version of the signup that it came with; 0 without one.
    pub version: u64,
}

/// The outbox. A store is set up with the effects that somebody takes; others are not written.
///
/// 1. An effect is there if and only if the change that it came with is.
/// 2. `take` answers the oldest entries that are due, in the order of their sequence, and changes
///    nothing: an entry stays until it is `done`, so it is carried out at least once. Who passes the
///    last sequence of a page as `after` walks on past entries that stay.
/// 3. `done` of an entry that is gone is no error.
/// 4. [`Effect::DropCachedAgain`] is due only a while after its change.
/// 5. An entry may appear behind others that have a higher sequence: numbered early, it was committed
///    or became due late. A walk has to begin anew at the first entry, or it is never met.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Outbox: Send + Sync {
    /// The oldest entries that are due, those after this sequence if one is given, at most `limit`.
    async fn take(&self, after: Option<u64>, limit: usize) -> Result<Vec<OutboxEntry>, StoreError>;

    /// Removes entries that were carried out.
    async fn done(&self, sequences: &[u64]) -> Result<(), StoreError>;
}

/// How long after its change a cached record is dropped once more, in milliseconds.
pub const DROP_AGAIN_MS: i64 = 1_000;
