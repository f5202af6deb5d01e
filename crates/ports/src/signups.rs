//! Signups.

use crate::{
    leases::Lease,
    store::{Committed, Page, StoreError},
};
use async_trait::async_trait;
use domain::{
    effects::Effect,
    ids::{ContestId, SignupId, UserId},
    settlement::SheetLine,
    signup::{Signup, StateKind},
    time::{UnixMillis, Window},
};

/// What became of an insertion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Enrolled {
    /// The row is new and durable, as the caller made it.
    Inserted,
    /// The viewer has a row already; this one, as read back.
    Existing(Signup),
    /// Signups are not open, by the store's clock and the contest's stored phase.
    NotOpen,
    /// There is no such contest.
    NoContest,
}

/// One decision about a signup, written whole or not at all.
#[derive(Clone, Debug)]
pub struct SignupCommit {
    /// The version it was decided on; the stored one must be the same.
    pub expected: u64,
    /// When it may be written, by the store's clock.
    pub window: Window,
    /// The signup as decided: its state, tries and `updated_at` are written, and the version
    /// becomes `expected + 1`.
    pub signup: Signup,
    /// The states it went through on the way, the last one included: the lines of its history.
    pub trail: Vec<StateKind>,
    /// When it is to be taken up by the compensation.
    pub wake_at: Option<UnixMillis>,
    /// What else must happen.
    pub effects: Vec<Effect>,
    /// Under which lease it was decided; none where no lease is held (a viewer's or an operator's own
    /// call).
    pub under: Option<Lease>,
}

/// The signups.
///
/// 1. What was answered as written survives a crash of this process and of the store.
/// 2. A read sees every write that was answered before it began.
/// 3. A viewer has at most one row in a contest, whoever inserts at the same time; all others get
///    `Existing` with that row.
/// 4. `enroll` inserts only while the contest is stored as draft and the store's clock is at or
///    past `signup_opens_at` and before `signup_closes_at`; no row appears once the contest is
///    stored in a later phase. An existing row is answered in any phase.
/// 5. Every read answers every field as it was written, except that a try that was not sent reads
///    back as unknown ([`Signup::recalled`]).
/// 6. `commit` writes row, history, wake time and effects, all or nothing; it applies only if the
///    stored version is `expected` and the store's clock is inside the window, and of any number
///    of commits that name one version at most one applies.
/// 7. A commit never changes id, contest, user, fee or creation time.
/// 8. A commit of one row never fails because of another.
/// 9. `awake` lists signups whose wake time has come, the longest waiting first.
/// 10. `page`, `of_user` and `parked` go by signup id, from after the given one (`of_user` newest
///     first), each row once, even while rows change state.
/// 11. `range_end` is the id of the row that stands `rows` rows after the given one, or after the
///     beginning; none where fewer follow. Where ranges end does not change while rows change state.
/// 12. `restore` inserts a row that was lost, whatever the contest's phase; an existing row is
///     answered unchanged.
/// 13. Under a lease, `commit` applies only if nobody has taken that lease since: who slept past it
///     writes nothing (hazard H4). Its fence is kept with the history.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SignupRepository: Send + Sync {
    /// Inserts a new signup, or answers the viewer's existing one.
    async fn enroll(
        &self,
        signup: &Signup,
        wake_at: Option<UnixMillis>,
    ) -> Result<Enrolled, StoreError>;

    /// Inserts a signup whose row was lost.
    async fn restore(&self, signup: &Signup) -> Result<Enrolled, StoreError>;

    /// The viewer's signup in a contest.
    async fn find(&self, contest: ContestId, user: &UserId) -> Result<Option<Signup>, StoreError>;

    /// The same beside its line of the settlement sheet: what a claim begins with. Without a line where
    /// none was there, or none that can be read: who needs it then asks for it alone.
    async fn find_to_claim(
        &self,
        contest: ContestId,
        user: &UserId,
    ) -> Result<Option<(Signup, Option<SheetLine>)>, StoreError>;

    /// The signup of that id.
    async fn get(&self, id: SignupId) -> Result<Option<Signup>, StoreError>;

    /// Writes a decision.
    async fn commit(&self, commit: SignupCommit) -> Result<Committed, StoreError>;

    /// Signups whose wake time has come, at most `limit`.
    async fn awake(&self, limit: usize) -> Result<Vec<Signup>, StoreError>;

    /// Signups of a contest in one of `states` (none: all), at most `limit`.
    async fn page(
        &self,
        contest: ContestId,
        states: &[StateKind],
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Page<Signup, SignupId>, StoreError>;

    /// Where a range of so many signups of a contest ends.
    async fn range_end(
        &self,
        contest: ContestId,
        after: Option<SignupId>,
        rows: usize,
    ) -> Result<Option<SignupId>, StoreError>;

    /// A viewer's signups, newest first, at most `limit`.
    async fn of_user(
        &self,
        user: &UserId,
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Page<Signup, SignupId>, StoreError>;

    /// Signups whose payment is parked, at most `limit`.
    async fn parked(
        &self,
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Page<Signup, SignupId>, StoreError>;
}
