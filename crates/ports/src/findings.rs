//! Where differences are written down.

use crate::store::{Page, StoreError};
use async_trait::async_trait;
use domain::{finding::FindingClass, ids::ContestId, time::UnixMillis};
use uuid::Uuid;

/// A difference that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its id, UUIDv7.
    pub id: Uuid,
    /// Its class.
    pub class: FindingClass,
    /// The contest.
    pub contest_id: ContestId,
    /// What it is about: a signup id, an order id or an account.
    pub subject: String,
    /// What was seen, on both sides.
    pub evidence: String,
    /// When it was first seen.
    pub found_at: UnixMillis,
    /// When it was settled; none while it is open.
    pub settled_at: Option<UnixMillis>,
}

/// What a list of findings is narrowed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FindingFilter {
    /// Findings of this contest.
    pub contest: Option<ContestId>,
    /// Findings that are open (true) or settled (false).
    pub open: Option<bool>,
}

impl FindingFilter {
    /// The open findings of a contest.
    #[must_use]
    pub const fn open_of(contest: ContestId) -> Self {
        Self {
            contest: Some(contest),
            open: Some(true),
        }
    }
}

/// The findings.
///
/// 1. There is at most one open finding for a class, contest and subject; `raise` of another one
///    changes nothing and answers false.
/// 2. `settle` closes the open finding of a class, contest and subject, if there is one.
/// 3. Nothing is ever deleted.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Findings: Send + Sync {
    /// Writes a finding down, unless the same one is open; true if it is new.
    async fn raise(&self, finding: &Finding) -> Result<bool, StoreError>;

    /// Settles the open finding of that class, contest and subject.
    async fn settle(
        &self,
        class: FindingClass,
        contest: ContestId,
        subject: &str,
    ) -> Result<(), StoreError>;

    /// Findings, oldest first, at most `limit`.
    async fn list(
        &self,
        filter: FindingFilter,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<Finding, Uuid>, StoreError>;
}
