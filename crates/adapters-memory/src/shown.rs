//! What is only shown, in memory: the reference behaviour, with a clock that can be set and a switch
//! that takes it away.

use async_trait::async_trait;
use domain::{
    contest::Contest,
    ids::{ContestId, UserId},
    money::CoinsOutOfRange,
    settlement::Advisory,
    signup::Signup,
    terms::Terms,
    time::UnixMillis,
};
use ports::{
    leaderboard::{PLACES_MAX, Place},
    shown::{
        ABSENT_MS_MAX, Cached, Count, Counted, Epoch, FILL_MS_MAX, Filled, Lifetimes,
        Neighbourhood, PastPool, PastPools, Ranking, RecordCache, ShownError, Tallies, Tally,
    },
    system::Clock,
};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// How long a dropped version is remembered, in milliseconds.
const DROPPED_MS: i64 = 2 * FILL_MS_MAX;
const DAY_MS: i64 = 86_400_000;
/// How long after a contest's end its record, its unique keys, and its numbers live.
const RECORD_MS: i64 = 3 * DAY_MS;
const UNIQUE_MS: i64 = 2 * DAY_MS;
const TOTALS_MS: i64 = 12 * DAY_MS;
/// The longest contest, in days.
pub const CONTEST_DAYS_MAX: u32 = 366;

/// Something with the time at which it ends.
#[derive(Clone, Debug)]
struct Kept<T> {
    item: T,
    until: UnixMillis,
}

impl<T> Kept<T> {
    fn at(&self, now: UnixMillis) -> Option<&T> {
        (now < self.until).then_some(&self.item)
    }
}

/// One tally: its numbers, and what was counted.
#[derive(Clone, Debug)]
struct Book {
    epoch: Epoch,
    tally: Tally,
    counted: BTreeSet<String>,
}

impl Book {
    const fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            tally: Tally::ZERO,
            counted: BTreeSet::new(),
        }
    }

    /// How many of them were new.
    fn add(&mut self, counts: &[Count]) -> Result<u64, CoinsOutOfRange> {
        let mut new = 0;
        for count in counts {
            let unique = match count {
                Count::Finisher(signup, _) => format!("f:{signup}"),
                Count::Prize(order, _) => format!("p:{order}"),
            };
            if !self.counted.insert(unique) {
                continue;
            }
            new += 1;
            match count {
                Count::Finisher(_, weight) => {
                    self.tally.finishers += 1;
                    self.tally.weight = self.tally.weight.saturating_add(*weight);
                }
                Count::Prize(_, prize) => {
                    self.tally.winners += 1;
                    self.tally.prizes = self.tally.prizes.plus(*prize)?;
                }
            }
        }
        Ok(new)
    }
}

/// One ranking: every viewer's place, without its rank.
#[derive(Clone, Debug)]
struct Board {
    epoch: Epoch,
    places: BTreeMap<UserId, Place>,
}

impl Board {
    const fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            places: BTreeMap::new(),
        }
    }

    fn enter(&mut self, places: &[Place]) {
        for place in places {
            let is_better = |old: &Place| place.quantity > old.quantity;
            if self.places.get(&place.user_id).is_none_or(is_better) {
                self.places.insert(place.user_id.clone(), place.clone());
            }
        }
    }

    fn sorted(&self) -> Vec<Place> {
        let mut places: Vec<Place> = self.places.values().cloned().collect();
        places.sort_by_key(|place| (Reverse(place.quantity), place.reached_at, place.signup_id));
        for (place, rank) in places.iter_mut().zip(1..) {
            place.rank = rank;
        }
        places
    }
}

/// What is there, and what is being built.
#[derive(Debug)]
struct Built<T> {
    live: Option<Kept<T>>,
    building: Option<T>,
}

impl<T> Default for Built<T> {
    fn default() -> Self {
        Self {
            live: None,
            building: None,
        }
    }
}

impl<T> Built<T> {
    fn live(&mut self, now: UnixMillis) -> Option<&mut T> {
        let kept = self.live.as_mut()?;
        (now < kept.until).then_some(&mut kept.item)
    }

    /// What is being built, if it is that attempt.
    fn attempt(&mut self, epoch: Epoch, of: impl Fn(&T) -> Epoch) -> Option<&mut T> {
        self.building.as_mut().filter(|built| of(built) == epoch)
    }

    /// Puts what is being built in the old one's place.
    fn finish(&mut self, epoch: Epoch, of: impl Fn(&T) -> Epoch, until: UnixMillis) -> bool {
        match self.building.take_if(|built| of(built) == epoch) {
            Some(item) => {
                self.live = Some(Kept { item, until });
                true
            }
            None => false,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    records: BTreeMap<(ContestId, UserId), Kept<(u64, Cached)>>,
    dropped: BTreeMap<(ContestId, UserId), Kept<u64>>,
    tallies: BTreeMap<ContestId, Built<Book>>,
    rankings: BTreeMap<ContestId, Built<Board>>,
    pools: BTreeMap<ContestId, Kept<PastPool>>,
    epochs: u64,
}

/// What is only shown, in memory.
pub struct MemoryShown {
    clock: Arc<dyn Clock>,
    is_away: AtomicBool,
    state: Mutex<State>,
}

impl MemoryShown {
    /// Nothing is in it.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            is_away: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// From now on it does not answer, or answers again.
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::SeqCst);
    }

    /// Loses everything.
    pub fn flush(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            epochs: state.epochs,
            ..State::default()
        };
    }

    fn state(&self) -> Result<(MutexGuard<'_, State>, UnixMillis), ShownError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(ShownError::Open);
        }
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        Ok((state, self.clock.now()))
    }
}

impl Lifetimes for MemoryShown {
    fn check(&self, terms: &Terms, now: UnixMillis) -> Result<(), u32> {
        let latest = now.plus(i64::from(CONTEST_DAYS_MAX) * DAY_MS);
        if terms.claim_closes_at > latest {
            return Err(CONTEST_DAYS_MAX);
        }
        Ok(())
    }
}

fn too_much(error: CoinsOutOfRange) -> ShownError {
    ShownError::unavailable(error)
}

#[async_trait]
impl RecordCache for MemoryShown {
    async fn get(&self, contest: ContestId, user: &UserId) -> Result<Option<Cached>, ShownError> {
        let (state, now) = self.state()?;
        let kept = state.records.get(&(contest, user.clone()));
        let found = kept.and_then(|kept| kept.at(now));
        Ok(found.map(|(_, cached)| cached.clone()))
    }

    async fn fill<'a>(
        &self,
        contest: &Contest,
        user: &UserId,
        signup: Option<&'a Signup>,
    ) -> Result<Filled, ShownError> {
        let (mut state, now) = self.state()?;
        let key = (contest.id, user.clone());
        let (version, item, until) = match signup {
            None => (0, Cached::Absent, now.plus(ABSENT_MS_MAX)),
            Some(signup) => (
                signup.version,
                Cached::Record(Box::new(signup.clone())),
                contest.terms.claim_closes_at.plus(RECORD_MS),
            ),
        };
        let dropped = state.dropped.get(&key).and_then(|kept| kept.at(now));
        let stored = state.records.get(&key).and_then(|kept| kept.at(now));
        if dropped.is_some_and(|dropped| version < *dropped)
            || stored.is_some_and(|(stored, _)| version < *stored)
        {
            return Ok(Filled::Stale);
        }
        let item = (version, item);
        state.records.insert(key, Kept { item, until });
        Ok(Filled::Stored)
    }

    async fn drop_record(
        &self,
        contest: &Contest,
        user: &UserId,
        version: u64,
    ) -> Result<(), ShownError> {
        let (mut state, now) = self.state()?;
        let key = (contest.id, user.clone());
        let before = state.dropped.get(&key).and_then(|kept| kept.at(now));
        let item = before.map_or(version, |before| version.max(*before));
        let until = now.plus(DROPPED_MS);
        state.dropped.insert(key.clone(), Kept { item, until });
        let is_older = |kept: &Kept<(u64, Cached)>| kept.item.0 < version;
        if state.records.get(&key).is_some_and(is_older) {
            state.records.remove(&key);
        }
        Ok(())
    }
}

#[async_trait]
impl Tallies for MemoryShown {
    async fn count(&self, contest: &Contest, counts: &[Count]) -> Result<Counted, ShownError> {
        let (mut state, now) = self.state()?;
        let built = state.tallies.entry(contest.id).or_default();
        if let Some(building) = &mut built.building {
            building.add(counts).map_err(too_much)?;
        }
        // The numbers outlive the unique keys, and are not counted on without them.
        let can_count = now < contest.terms.claim_closes_at.plus(UNIQUE_MS);
        match built.live(now).filter(|_| can_count) {
            Some(book) => {
                let new = book.add(counts).map_err(too_much)?;
                Ok(Counted::Now(Advisory(book.tally), new))
            }
            None => Ok(Counted::Rebuild),
        }
    }

    async fn read(&self, contest: &Contest) -> Result<Option<Advisory<Tally>>, ShownError> {
        let (mut state, now) = self.state()?;
        let built = state.tallies.entry(contest.id).or_default();
        Ok(built.live(now).map(|book| Advisory(book.tally)))
    }

    async fn begin(&self, contest: &Contest) -> Result<Epoch, ShownError> {
        let (mut state, _) = self.state()?;
        state.epochs += 1;
        let epoch = Epoch(state.epochs);
        state.tallies.entry(contest.id).or_default().building = Some(Book::new(epoch));
        Ok(epoch)
    }

    async fn put(
        &self,
        contest: &Contest,
        epoch: Epoch,
        counts: &[Count],
    ) -> Result<bool, ShownError> {
        let (mut state, _) = self.state()?;
        let built = state.tallies.entry(contest.id).or_default();
        match built.attempt(epoch, |book| book.epoch) {
            Some(book) => book.add(counts).map_err(too_much).map(|_| true),
            None => Ok(false),
        }
    }

    async fn finish(&self, contest: &Contest, epoch: Epoch) -> Result<bool, ShownError> {
        let (mut state, _) = self.state()?;
        let until = contest.terms.claim_closes_at.plus(TOTALS_MS);
        let built = state.tallies.entry(contest.id).or_default();
        Ok(built.finish(epoch, |book| book.epoch, until))
    }

    async fn forget(&self, contest: &Contest) -> Result<(), ShownError> {
        let (mut state, _) = self.state()?;
        state.tallies.remove(&contest.id);
        Ok(())
    }
}

#[async_trait]
impl Ranking for MemoryShown {
    async fn put(&self, contest: &Contest, places: &[Place]) -> Result<bool, ShownError> {
        let (mut state, now) = self.state()?;
        let built = state.rankings.entry(contest.id).or_default();
        if let Some(building) = &mut built.building {
            building.enter(places);
        }
        match built.live(now) {
            Some(board) => {
                board.enter(places);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    async fn top(&self, contest: &Contest, limit: usize) -> Result<Option<Vec<Place>>, ShownError> {
        let (mut state, now) = self.state()?;
        let built = state.rankings.entry(contest.id).or_default();
        Ok(built.live(now).map(|board| {
            let mut places = board.sorted();
            places.truncate(limit.min(PLACES_MAX));
            places
        }))
    }

    async fn place_of(
        &self,
        contest: &Contest,
        user: &UserId,
        around: usize,
    ) -> Result<Option<Option<Neighbourhood>>, ShownError> {
        let (mut state, now) = self.state()?;
        let built = state.rankings.entry(contest.id).or_default();
        Ok(built.live(now).map(|board| {
            let places = board.sorted();
            let own = places.iter().position(|place| place.user_id == *user)?;
            let around = around.min(PLACES_MAX);
            let first = own.saturating_sub(around);
            let last = own.saturating_add(around).min(places.len() - 1);
            Some(Neighbourhood {
                place: places[own].clone(),
                around: places[first..=last].to_vec(),
            })
        }))
    }

    async fn begin(&self, contest: &Contest) -> Result<Epoch, ShownError> {
        let (mut state, _) = self.state()?;
        state.epochs += 1;
        let epoch = Epoch(state.epochs);
        state.rankings.entry(contest.id).or_default().building = Some(Board::new(epoch));
        Ok(epoch)
    }

    async fn build(
        &self,
        contest: &Contest,
        epoch: Epoch,
        places: &[Place],
    ) -> Result<bool, ShownError> {
        let (mut state, _) = self.state()?;
        let built = state.rankings.entry(contest.id).or_default();
        let attempt = built.attempt(epoch, |board| board.epoch);
        Ok(attempt.map(|board| board.enter(places)).is_some())
    }

    async fn finish(&self, contest: &Contest, epoch: Epoch) -> Result<bool, ShownError> {
        let (mut state, _) = self.state()?;
        let until = contest.terms.claim_closes_at.plus(TOTALS_MS);
        let built = state.rankings.entry(contest.id).or_default();
        Ok(built.finish(epoch, |board| board.epoch, until))
    }
}

#[async_trait]
impl PastPools for MemoryShown {
    async fn get(&self, contest: ContestId) -> Result<Option<PastPool>, ShownError> {
        let (state, now) = self.state()?;
        let kept = state.pools.get(&contest);
        Ok(kept.and_then(|kept| kept.at(now)).copied())
    }

    async fn put(&self, contest: &Contest, pool: PastPool) -> Result<(), ShownError> {
        let (mut state, _) = self.state()?;
        let until = contest.terms.claim_closes_at.plus(TOTALS_MS);
        state.pools.insert(contest.id, Kept { item: pool, until });
        Ok(())
    }
}
