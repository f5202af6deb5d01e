//! Contests, their settlement sheets and what is counted over their signups.

use crate::leases::Lease;
use crate::store::{Committed, Page, StoreError};
use async_trait::async_trait;
use domain::{
    contest::{Contest, PhaseKind},
    ids::{ContestId, IdempotencyKey, RoomId, SignupId, UserId},
    lifecycle::Presence,
    money::Coins,
    notice::NoticeKind,
    settlement::{Census, Finisher, SheetLine},
    signup::StateKind,
    time::{UnixMillis, Window},
};

/// One decision about a contest, written whole or not at all.
#[derive(Clone, Debug)]
pub struct ContestCommit {
    /// The version it was decided on; the stored one must be the same.
    pub expected: u64,
    /// When it may be written, by the store's clock.
    pub window: Window,
    /// The contest as decided: everything but its terms is written, and the version becomes
    /// `expected + 1`.
    pub contest: Contest,
    /// Lines that the settlement sheet grows by in the same write.
    pub lines: Vec<SheetLine>,
    /// What somebody outside is told of it.
    pub notices: Vec<NoticeKind>,
    /// Under which lease it was decided; none where no lease is held (a viewer's or an operator's
    /// own call).
    pub under: Option<Lease>,
}

/// What an operator calls a creation, so that a repeat of it makes no second contest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CreationKey {
    /// Whose name for it; two operators may use the same one.
    pub operator: UserId,
    /// The name.
    pub key: IdempotencyKey,
}

/// What became of an insertion under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The contest is new and durable.
    New,
    /// The key stands for this contest, and nothing was inserted.
    Known(ContestId),
    /// The key is not known, and the contest's signups have closed, by the store's clock: nothing
    /// was inserted.
    TooLate,
}

/// What a list of contests is narrowed to.
#[derive(Clone, Debug, Default)]
pub struct ContestFilter {
    /// Contests of this room.
    pub room_id: Option<RoomId>,
    /// Contests in one of these stored phases; empty for the visible ones, all of them.
    pub phases: Vec<PhaseKind>,
    /// Contests whose signups have opened (true) or have not (false), by the store's clock.
    pub opened: Option<bool>,
}

/// How many signups are in a state, and their coins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StateCount {
    /// The state.
    pub state: StateKind,
    /// How many.
    pub signups: u64,
    /// Their fees, in all; of what goes back, what really moved.
    pub fees: Coins,
    /// Their prizes, in all.
    pub prizes: Coins,
}

/// The contests.
///
/// 1. What was answered as written survives a crash of this process and of the store.
/// 2. A read sees every write that was answered before it began.
/// 3. `insert` of an id that exists changes nothing and answers false.
///    `insert_once` inserts at most one contest under a key, for ever, and writes contest and key
///    together; a key that is known answers its contest, and one that is not inserts nothing once
///    the contest's signups have closed, by the store's clock.
/// 4. `get` answers every field as it was written.
/// 5. `commit` writes all or nothing; it applies only if the stored version is `expected` and the
///    store's clock is inside the window, and of any number of commits that name one version at
///    most one applies. Under a lease, it applies only if nobody has taken that lease since and no
///    higher fence was written with the contest before; the fence is kept with the contest, and with
///    its history ([`crate::leases`], hazard H4).
/// 6. A commit never changes terms, id or creation time.
/// 7. Sheet lines are written once; a line that exists is never changed.
/// 8. `awake` lists contests whose wake time has come, the longest waiting first.
/// 9. `list` shows only contests that are visible (draft and later), newest first, each once.
/// 10. `presence`, `census` and `counts` are each one snapshot.
/// 11. `finishers` and `sheet` go by signup id, from after the given one.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ContestRepository: Send + Sync {
    /// The store's clock.
    async fn now(&self) -> Result<UnixMillis, StoreError>;

    /// Inserts a contest; false if the id exists.
    async fn insert(&self, contest: &Contest) -> Result<bool, StoreError>;

    /// Inserts a new contest under a key, or answers the one that the key stands for.
    async fn insert_once(
        &self,
        contest: &Contest,
        key: &CreationKey,
    ) -> Result<Inserted, StoreError>;

    /// The contest of that id.
    async fn get(&self, id: ContestId) -> Result<Option<Contest>, StoreError>;

    /// Visible contests, newest first, continuing after `after`; at most `limit`.
    async fn list(
        &self,
        filter: &ContestFilter,
        after: Option<ContestId>,
        limit: usize,
    ) -> Result<Page<Contest, ContestId>, StoreError>;

    /// Writes a decision.
    async fn commit(&self, commit: ContestCommit) -> Result<Committed, StoreError>;

    /// Contests whose wake time has come, at most `limit`.
    async fn awake(&self, limit: usize) -> Result<Vec<Contest>, StoreError>;

    /// In which states the contest has signups.
    async fn presence(&self, id: ContestId) -> Result<Presence, StoreError>;

    /// The numbers for the freeze.
    async fn census(&self, id: ContestId) -> Result<Census, StoreError>;

    /// Counts and coins per state, in the order of the states; states without signups are absent.
    async fn counts(&self, id: ContestId) -> Result<Vec<StateCount>, StoreError>;

    /// The next finishers for the sheet: Completed with a fixed weight; at most `limit`.
    async fn finishers(
        &self,
        id: ContestId,
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Vec<Finisher>, StoreError>;

    /// One finisher's line of the sheet.
    async fn sheet_line(
        &self,
        id: ContestId,
        signup: SignupId,
    ) -> Result<Option<SheetLine>, StoreError>;

    /// The sheet, at most `limit` lines.
    async fn sheet(
        &self,
        id: ContestId,
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Page<SheetLine, SignupId>, StoreError>;
}
