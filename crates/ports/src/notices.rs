//! What somebody outside is to be told, kept until they were, and how they are told.

use crate::{findings::Finding, store::StoreError};
use async_trait::async_trait;
use domain::{contest::Contest, ids::ContestId, notice::NoticeKind, time::UnixMillis};
use uuid::Uuid;

/// Something to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Its place in the queue; a repeat is told under the same one.
    pub sequence: u64,
    /// What is told.
    pub kind: NoticeKind,
    /// Of which contest.
    pub contest_id: ContestId,
    /// Of which finding.
    pub finding_id: Option<Uuid>,
    /// When it happened, by the store's clock.
    pub created_at: UnixMillis,
    /// How often it was tried to tell it.
    pub tries: u32,
}

/// The notices. A store is set up to keep them where somebody takes them; else none are written.
///
/// 1. A finding that is raised, settled or resolved, and a contest's change that names notices, are
///    written together with them, or neither is.
/// 2. `due` answers those whose time has come, by the store's clock, in the order of their sequence;
///    each stays until it is `told`, so it is told at least once.
/// 3. `put_off` counts a try and hides a notice for so long; others go on.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Notices: Send + Sync {
    /// Notices whose time has come, at most `limit`.
    async fn due(&self, limit: usize) -> Result<Vec<Notice>, StoreError>;

    /// Removes a notice that was told.
    async fn told(&self, sequence: u64) -> Result<(), StoreError>;

    /// Counts a try that failed; the next comes after so many milliseconds.
    async fn put_off(&self, sequence: u64, for_ms: i64) -> Result<(), StoreError>;

    /// Adds a notice that comes with no other write.
    async fn add(&self, kind: NoticeKind, contest: ContestId) -> Result<(), StoreError>;
}

/// A notice with what it is about, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What is told.
    pub notice: Notice,
    /// The contest; none where it is gone.
    pub contest: Option<Contest>,
    /// The finding, where it is about one.
    pub finding: Option<Finding>,
}

/// It was not taken; it is told again.
#[derive(Debug, thiserror::Error)]
pub enum TellError {
    /// The other side did not answer.
    #[error("it was not answered")]
    Unanswered(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answered that it does not take it.
    #[error("it was refused: {0}")]
    Refused(String),
}

/// Somebody outside.
///
/// 1. `tell` answers only once the message was taken. A repeat of a message has the same id, so that
///    the receiver can tell.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Receiver: Send + Sync {
    /// Tells a message.
    async fn tell(&self, message: &Message) -> Result<(), TellError>;
}
