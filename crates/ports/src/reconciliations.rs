//! What the reconciliation writes down about itself: its runs, its repairs, and how far it has read the
//! log of each pool account.

use crate::{
    findings::Finding,
    store::{Committed, Page, StoreError},
};
use async_trait::async_trait;
use domain::{
    finding::RepairOutcome,
    ids::{ContestId, SignupId, UserId},
    money::Coins,
    order::OrderId,
    time::UnixMillis,
    transfer::Position,
};
use uuid::Uuid;

/// The contests that a run looks at, by id: ids rise with the time of creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The first one.
    pub from: ContestId,
    /// The last one.
    pub to: ContestId,
}

impl Scope {
    /// Every contest.
    pub const ALL: Self = Self {
        from: ContestId(Uuid::nil()),
        to: ContestId(Uuid::max()),
    };

    /// One contest alone.
    #[must_use]
    pub const fn one(contest: ContestId) -> Self {
        Self {
            from: contest,
            to: contest,
        }
    }

    /// The contest, where it is one alone.
    #[must_use]
    pub fn contest(&self) -> Option<ContestId> {
        (self.from == self.to).then_some(self.from)
    }
}

/// A run of the reconciliation over whole contests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Its id, UUIDv7.
    pub id: Uuid,
    /// What it looks at.
    pub scope: Scope,
    /// Who asked for it; none where a contest's end did.
    pub asked_by: Option<UserId>,
    /// True where nothing is repaired.
    pub is_dry: bool,
    /// When it was asked for.
    pub asked_at: UnixMillis,
    /// When it ended; none while it goes on.
    pub ended_at: Option<UnixMillis>,
    /// The contest after which it goes on; contests are taken from the newest to the oldest.
    pub after: Option<ContestId>,
    /// What it came to so far.
    pub totals: Totals,
    /// Counts the writes; a write names the version that it was decided on.
    pub version: u64,
}

/// What a run came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Contests that were compared.
    pub contests: u64,
    /// Contests that could not be: one of the two sides did not answer.
    pub failed: u64,
    /// Signups that were read.
    pub signups: u64,
    /// Transfers that were read.
    pub transfers: u64,
    /// What differed.
    pub differences: u64,
    /// What was repaired.
    pub repaired: u64,
    /// The coins that repairs may have moved.
    pub coins: u64,
    /// Contests in which nothing was repaired because the run's limits forbade it.
    pub over_limits: u64,
}

impl Totals {
    /// Both together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            contests: self.contests + other.contests,
            failed: self.failed + other.failed,
            signups: self.signups + other.signups,
            transfers: self.transfers + other.transfers,
            differences: self.differences + other.differences,
            repaired: self.repaired + other.repaired,
            coins: self.coins + other.coins,
            over_limits: self.over_limits + other.over_limits,
        }
    }
}

/// A repair, written down before it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedRepair {
    /// Its id, UUIDv7.
    pub id: Uuid,
    /// The finding that it mends.
    pub finding_id: Uuid,
    /// The run in which it was made; none for an operator's call.
    pub run_id: Option<Uuid>,
    /// The operator who called for it; none where the reconciliation did by itself.
    pub by: Option<UserId>,
    /// The contest.
    pub contest_id: ContestId,
    /// The order that it is about.
    pub order_id: OrderId,
    /// What is done.
    pub what: String,
    /// What both sides said.
    pub evidence: String,
    /// The coins that it may move.
    pub coins: Coins,
    /// When it was begun.
    pub begun_at: UnixMillis,
    /// When it ended, and how; none while that is not known.
    pub ended: Option<(UnixMillis, RepairOutcome)>,
}

/// How far the log of a contest's pool account has been read beside its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watch {
    /// The contest.
    pub contest_id: ContestId,
    /// Up to here each transfer was seen to be explained, or was told.
    pub position: Position,
    /// The signup up to which rows were seen to stand in the funds system; none at the beginning of a
    /// walk.
    pub walked: Option<SignupId>,
    /// When rows are walked next.
    pub walk_at: UnixMillis,
    /// When it is looked at next.
    pub due_at: UnixMillis,
    /// The run that compared the whole contest at its end, once there is one.
    pub final_run: Option<Uuid>,
}

/// The reconciliation's own records.
///
/// 1. `begin_run` of an id that exists changes nothing and answers false. `advance_run` applies only
///    if the stored version is that of `run`, which becomes one higher; the findings are the run's from
///    then on, each once.
/// 2. `open_runs` lists runs that have not ended, the oldest first; `runs` all of them, newest first.
/// 3. `begin_repair` of an id that exists changes nothing. `end_repair` writes an outcome once;
///    nothing is ever deleted.
/// 4. A contest is watched from its insertion on, until `unwatch`. `watched` lists those whose time has
///    come, by the store's clock, the longest waiting first; one that was never looked at begins at 0.
/// 5. `save_watch` changes the record that is there, and makes none.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Reconciliations: Send + Sync {
    /// Writes a new run down.
    async fn begin_run(&self, run: &Run) -> Result<bool, StoreError>;

    /// Writes down how far a run has come, and what it found on the way.
    async fn advance_run(&self, run: &Run, findings: &[Uuid]) -> Result<Committed, StoreError>;

    /// The run of that id.
    async fn run(&self, id: Uuid) -> Result<Option<Run>, StoreError>;

    /// Runs that go on, at most `limit`.
    async fn open_runs(&self, limit: usize) -> Result<Vec<Run>, StoreError>;

    /// Runs, newest first, at most `limit`.
    async fn runs(&self, after: Option<Uuid>, limit: usize) -> Result<Page<Run, Uuid>, StoreError>;

    /// What a run found, oldest first, at most `limit`.
    async fn run_findings(
        &self,
        run: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<Finding, Uuid>, StoreError>;

    /// Writes a repair down before it is made.
    async fn begin_repair(&self, repair: &LoggedRepair) -> Result<(), StoreError>;

    /// Writes down how a repair ended, at the store's time.
    async fn end_repair(&self, id: Uuid, outcome: RepairOutcome) -> Result<(), StoreError>;

    /// The repairs of a finding, oldest first.
    async fn repairs(&self, finding: Uuid) -> Result<Vec<LoggedRepair>, StoreError>;

    /// Contests whose log is to be read, at most `limit`.
    async fn watched(&self, limit: usize) -> Result<Vec<Watch>, StoreError>;

    /// How far a contest's log was read; none where it is not watched.
    async fn watch(&self, contest: ContestId) -> Result<Option<Watch>, StoreError>;

    /// Writes down how far a contest's log was read.
    async fn save_watch(&self, watch: &Watch) -> Result<(), StoreError>;

    /// Watches a contest no more.
    async fn unwatch(&self, contest: ContestId) -> Result<(), StoreError>;
}
