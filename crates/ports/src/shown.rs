//! What is only shown: a cache of records, live numbers, the ranking and past pools. No money is
//! decided by anything in here, and nothing waits for it: whatever it holds can be lost at any
//! time and is made again from the store (hazards D14, E1 to E14).

use crate::leaderboard::Place;
use async_trait::async_trait;
use domain::{
    contest::Contest,
    ids::{ContestId, SignupId, UserId},
    money::Coins,
    order::OrderId,
    settlement::Advisory,
    signup::Signup,
    terms::Terms,
    time::UnixMillis,
};

/// It did not answer, in time or at all. Logged and counted, never passed on to a caller.
#[derive(Debug, thiserror::Error)]
pub enum ShownError {
    /// It is known to be away, and was not asked.
    #[error("it is not asked while it does not answer")]
    Open,
    /// It did not answer, or not in time.
    #[error("it did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ShownError {
    /// An unanswered call, with its cause.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}

/// How long what is shown is kept.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait Lifetimes: Send + Sync {
    /// Whether what is kept of a contest of these terms, created now, lives as long as the contest:
    /// asked before one is created.
    ///
    /// # Errors
    /// The longest that a contest may last, in days.
    fn check(&self, terms: &Terms, now: UnixMillis) -> Result<(), u32>;
}

/// What is cached of a viewer in a contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cached {
    /// The viewer had not signed up when this was stored, at most [`ABSENT_MS_MAX`] ago.
    Absent,
    /// The record.
    Record(Box<Signup>),
}

/// The longest time that an absence is believed, in milliseconds.
pub const ABSENT_MS_MAX: i64 = 2_000;

/// The longest time between reading a row and storing it, in milliseconds: a fill that took longer
/// is thrown away by its caller, and what was dropped is remembered for longer than this.
pub const FILL_MS_MAX: i64 = 5_000;

/// What became of a fill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filled {
    /// It is stored.
    Stored,
    /// A newer version is, or was dropped lately.
    Stale,
}

/// The cache of viewers' records. A record has the signup's version; an absence has version 0.
///
/// 1. Once `drop_record` of a version was answered, `get` answers nothing older, as long as a fill
///    takes less than [`FILL_MS_MAX`] and the server is not replaced by an older copy of itself.
/// 2. `fill` stores nothing that is older than what is stored or was dropped.
/// 3. An absence lives at most [`ABSENT_MS_MAX`]; a record until some days after the contest's end.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RecordCache: Send + Sync {
    /// What is cached; none if nothing is.
    async fn get(&self, contest: ContestId, user: &UserId) -> Result<Option<Cached>, ShownError>;

    /// Stores what was read from the store; none: there is no row.
    async fn fill<'a>(
        &self,
        contest: &Contest,
        user: &UserId,
        signup: Option<&'a Signup>,
    ) -> Result<Filled, ShownError>;

    /// Drops what is older than `version`, and refuses to store it again for a while.
    async fn drop_record(
        &self,
        contest: &Contest,
        user: &UserId,
        version: u64,
    ) -> Result<(), ShownError>;
}

/// The live numbers of a contest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Finishers that were counted.
    pub finishers: u64,
    /// The sum of their weights, as far as these are known yet.
    pub weight: u64,
    /// Prizes that were counted as paid.
    pub winners: u64,
    /// The sum of these prizes.
    pub prizes: Coins,
}

impl Tally {
    /// Nothing counted yet.
    pub const ZERO: Self = Self {
        finishers: 0,
        weight: 0,
        winners: 0,
        prizes: Coins::ZERO,
    };
}

/// Something to be counted once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Count {
    /// A finisher, with the weight as far as it is known; unique by signup id.
    Finisher(SignupId, u64),
    /// A prize; unique by its order id.
    Prize(OrderId, Coins),
}

/// What became of counting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// These are the numbers now, and how many of the counts were new.
    Now(Advisory<Tally>, u64),
    /// The tally is gone, or is being rebuilt from older rows: nothing was counted.
    Rebuild,
}

/// One attempt to build a tally anew. A higher one makes all lower ones void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// The live tally.
///
/// 1. A count is added once, however often and by however many it is sent, in one atomic step that
///    looks at the unique key first.
/// 2. A tally exists from the `finish` of a rebuild on (an empty contest's too). Without its marker
///    nothing is counted and nothing is answered: a half-lost tally is never shown.
/// 3. During a rebuild, counts are added to the new tally as well as to the old one.
/// 4. Unique keys and numbers expire at absolute times after the contest's end, the numbers never
///    before the unique keys; without unique keys nothing is counted.
/// 5. `begin` voids earlier attempts; `put` and `finish` of a voided attempt change nothing and say
///    so.
/// 6. After `forget` there is no tally, and an attempt that was under way is void.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Tallies: Send + Sync {
    /// Counts, all of one contest.
    async fn count(&self, contest: &Contest, counts: &[Count]) -> Result<Counted, ShownError>;

    /// The numbers; none without the marker.
    async fn read(&self, contest: &Contest) -> Result<Option<Advisory<Tally>>, ShownError>;

    /// Begins to build the tally anew.
    async fn begin(&self, contest: &Contest) -> Result<Epoch, ShownError>;

    /// Adds rows to the tally that is being built; false if that attempt is void.
    async fn put(
        &self,
        contest: &Contest,
        epoch: Epoch,
        counts: &[Count],
    ) -> Result<bool, ShownError>;

    /// Puts the new tally in the old one's place; false if that attempt is void.
    async fn finish(&self, contest: &Contest, epoch: Epoch) -> Result<bool, ShownError>;

    /// Takes the tally away.
    async fn forget(&self, contest: &Contest) -> Result<(), ShownError>;
}

/// One viewer's rank and who is around.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbourhood {
    /// The viewer's place.
    pub place: Place,
    /// The places just above and below, the best first, the viewer's own among them.
    pub around: Vec<Place>,
}

/// The ranking: the leaderboard kept sorted. The order is that of
/// [`Leaderboard`](crate::leaderboard::Leaderboard).
///
/// 1. `put` keeps the better of two places of a viewer (more units), so that repeats and old copies
///    harm nobody; the rank in what is put is not looked at.
/// 2. A ranking exists from the `finish` of a rebuild on; without its marker nothing is answered.
/// 3. A rebuild works as that of [`Tallies`] does.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Ranking: Send + Sync {
    /// Enters viewers' places; false without the marker (and then nothing was entered).
    async fn put(&self, contest: &Contest, places: &[Place]) -> Result<bool, ShownError>;

    /// The first places, at most `limit`; none without the marker.
    async fn top(&self, contest: &Contest, limit: usize) -> Result<Option<Vec<Place>>, ShownError>;

    /// A viewer's place and at most `around` above and below; the outer none without the marker,
    /// the inner for who has no place.
    async fn place_of(
        &self,
        contest: &Contest,
        user: &UserId,
        around: usize,
    ) -> Result<Option<Option<Neighbourhood>>, ShownError>;

    /// Begins to build it anew.
    async fn begin(&self, contest: &Contest) -> Result<Epoch, ShownError>;

    /// Adds rows to the ranking that is being built; false if that attempt is void.
    async fn build(
        &self,
        contest: &Contest,
        epoch: Epoch,
        places: &[Place],
    ) -> Result<bool, ShownError>;

    /// Puts the new ranking in the old one's place; false if that attempt is void.
    async fn finish(&self, contest: &Contest, epoch: Epoch) -> Result<bool, ShownError>;
}

/// A pool that can no longer change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PastPool {
    /// What was split; zero for a cancelled contest.
    pub amount: Coins,
    /// Among how many.
    pub finishers: u64,
    /// What one finisher of average weight got.
    pub prize: Coins,
    /// Since when it is so.
    pub as_of: UnixMillis,
}

/// Pools of the past, with a long lifetime.
///
/// 1. `get` answers what was put, or nothing.
/// 2. What was put lives until some days after the contest's end.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait PastPools: Send + Sync {
    /// The pool of a past contest.
    async fn get(&self, contest: ContestId) -> Result<Option<PastPool>, ShownError>;

    /// Stores one.
    async fn put(&self, contest: &Contest, pool: PastPool) -> Result<(), ShownError>;
}
