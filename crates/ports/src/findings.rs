//! Where differences are written down.

use crate::store::{Page, StoreError};
use async_trait::async_trait;
use domain::{
    finding::FindingClass,
    ids::{ContestId, UserId},
    time::UnixMillis,
};
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
    /// The viewer, where it is about one.
    pub user_id: Option<UserId>,
    /// What was seen, on both sides.
    pub evidence: String,
    /// When it was first seen.
    pub found_at: UnixMillis,
    /// When it was settled; none while it is open.
    pub settled_at: Option<UnixMillis>,
    /// Who decided that it is settled; none where it was no longer true.
    pub resolution: Option<Resolution>,
}

/// A person's word on a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    /// Whose.
    pub by: UserId,
    /// Why.
    pub note: String,
}

/// The longest note, in characters.
pub const NOTE_MAX: usize = 1_000;

/// What became of raising a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raised {
    /// The finding that says it.
    pub id: Uuid,
    /// True if it was not known before.
    pub is_new: bool,
    /// True if it is open: not settled, and not resolved by a person.
    pub is_open: bool,
}

/// What became of resolving a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// It is settled, by this call or by one that said the same.
    Yes(Finding),
    /// It had been settled otherwise.
    Before(Finding),
    /// There is no such finding.
    Missing,
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

/// The open findings of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFindings {
    /// The class.
    pub class: FindingClass,
    /// How many.
    pub findings: u64,
    /// When the oldest of them was found.
    pub oldest: UnixMillis,
}

/// The findings.
///
/// 1. There is at most one open finding for a class, contest and subject; `raise` of another one
///    changes nothing and answers the one that is open.
/// 2. `settle` closes the open finding of a class, contest and subject, if there is one.
/// 3. Nothing is ever deleted.
/// 4. `resolve` closes an open finding with a person's word. What a person has resolved is not raised
///    again while it looks the same: `raise` of the same class, contest, subject and evidence answers
///    it, if it was the last of its kind.
/// 5. `open` counts each class that has open findings, in the order of the classes.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Findings: Send + Sync {
    /// Writes a finding down, unless it is known.
    async fn raise(&self, finding: &Finding) -> Result<Raised, StoreError>;

    /// Settles the open finding of that class, contest and subject: it is no longer true.
    async fn settle(
        &self,
        class: FindingClass,
        contest: ContestId,
        subject: &str,
    ) -> Result<(), StoreError>;

    /// Settles an open finding because a person says so.
    async fn resolve(&self, id: Uuid, resolution: &Resolution) -> Result<Resolved, StoreError>;

    /// The finding of that id.
    async fn finding(&self, id: Uuid) -> Result<Option<Finding>, StoreError>;

    /// Findings, oldest first, at most `limit`.
    async fn list(
        &self,
        filter: FindingFilter,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<Finding, Uuid>, StoreError>;

    /// What is open, by class.
    async fn open(&self) -> Result<Vec<OpenFindings>, StoreError>;
}
