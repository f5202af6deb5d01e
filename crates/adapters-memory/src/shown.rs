//! What is only shown, in memory: every clause of [`ports::shown`] as plainly as it can be said.
//! It can be told not to answer, and to lose everything.

use async_trait::async_trait;
use domain::{
    contest::Contest,
    ids::{ContestId, UserId},
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
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// How long a dropped version is remembered, in milliseconds.
const DROPPED_MS: i64 = 3 * FILL_MS_MAX;

/// What is only shown, in memory. Its clock is the test's; what lives for days lives for ever.
pub struct MemoryShown {
    clock: Arc<dyn Clock>,
    away: AtomicBool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    records: HashMap<(ContestId, UserId), Slot>,
    tallies: HashMap<ContestId, Built<Counts>>,
    rankings: HashMap<ContestId, Built<BTreeMap<UserId, Place>>>,
    pools: HashMap<ContestId, PastPool>,
    epoch: u64,
}

/// One record: what is stored and until when, what was dropped and until when.
#[derive(Default)]
struct Slot {
    stored: Option<(u64, Option<Signup>, UnixMillis)>,
    dropped: Option<(u64, UnixMillis)>,
}

/// What is shown, and what is being built to be shown instead.
struct Built<T> {
    shown: Option<T>,
    building: Option<(Epoch, T)>,
}

impl<T> Default for Built<T> {
    fn default() -> Self {
        Self {
            shown: None,
            building: None,
        }
    }
}

impl<T: Default> Built<T> {
    fn begin(&mut self, epoch: Epoch) -> Epoch {
        self.building = Some((epoch, T::default()));
        epoch
    }

    fn attempt(&mut self, epoch: Epoch) -> Option<&mut T> {
        self.building
            .as_mut()
            .filter(|(of, _)| *of == epoch)
            .map(|(_, built)| built)
    }

    fn finish(&mut self, epoch: Epoch) -> bool {
        if self.attempt(epoch).is_none() {
            return false;
        }
        self.shown = self.building.take().map(|(_, built)| built);
        true
    }
}

/// A tally, and what was counted in it.
#[derive(Clone, Default)]
struct Counts {
    unique: HashSet<String>,
    finishers: u64,
    weight: u64,
    winners: u64,
    prizes: u64,
}

impl Counts {
    fn add(&mut self, counts: &[Count]) -> u64 {
        let mut new = 0;
        for count in counts {
            let unique = match count {
                Count::Finisher(signup, _) => format!("finisher {signup}"),
                Count::Prize(order, _) => format!("prize {order}"),
            };
            if !self.unique.insert(unique) {
                continue;
            }
            new += 1;
            match count {
                Count::Finisher(_, weight) => {
                    self.finishers += 1;
                    self.weight = self.weight.saturating_add(*weight);
                }
                Count::Prize(_, amount) => {
                    self.winners += 1;
                    self.prizes = self.prizes.saturating_add(amount.get());
                }
            }
        }
        new
    }

    fn tally(&self) -> Result<Advisory<Tally>, ShownError> {
        let prizes = domain::money::Coins::new(self.prizes).map_err(ShownError::unavailable)?;
        Ok(Advisory(Tally {
            finishers: self.finishers,
            weight: self.weight,
            winners: self.winners,
            prizes,
        }))
    }
}

fn enter(ranking: &mut BTreeMap<UserId, Place>, places: &[Place]) {
    for place in places {
        let has_better = ranking
            .get(&place.user_id)
            .is_some_and(|old| old.quantity >= place.quantity);
        if !has_better {
            ranking.insert(place.user_id.clone(), place.clone());
        }
    }
}

fn in_order(ranking: &BTreeMap<UserId, Place>) -> Vec<Place> {
    let mut places: Vec<_> = ranking.values().cloned().collect();
    places.sort_by_key(|place| (Reverse(place.quantity), place.reached_at, place.signup_id));
    for (place, rank) in places.iter_mut().zip(1..) {
        place.rank = rank;
    }
    places
}

fn of<K: Eq + Hash, T: Default>(map: &mut HashMap<K, T>, key: K) -> &mut T {
    map.entry(key).or_default()
}

impl MemoryShown {
    /// An empty one that answers.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            away: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// From now on it answers nothing, or everything again.
    pub fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    /// Everything that it holds is lost.
    pub fn lose(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let epoch = state.epoch;
        *state = State {
            epoch,
            ..State::default()
        };
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, ShownError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(ShownError::unavailable("the test took it away"));
        }
        Ok(self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Lifetimes for MemoryShown {
    fn check(&self, _: &Terms, _: UnixMillis) -> Result<(), u32> {
        Ok(())
    }
}

#[async_trait]
impl RecordCache for MemoryShown {
    async fn get(&self, contest: ContestId, user: &UserId) -> Result<Option<Cached>, ShownError> {
        let now = self.clock.now();
        let state = self.state()?;
        let slot = state.records.get(&(contest, user.clone()));
        let stored = slot.and_then(|slot| slot.stored.as_ref());
        let alive = stored.filter(|(_, _, ends_at)| now < *ends_at);
        Ok(alive.map(|(_, signup, _)| match signup {
            None => Cached::Absent,
            Some(signup) => Cached::Record(Box::new(signup.clone())),
        }))
    }

    async fn fill<'a>(
        &self,
        contest: &Contest,
        user: &UserId,
        signup: Option<&'a Signup>,
    ) -> Result<Filled, ShownError> {
        let now = self.clock.now();
        let mut state = self.state()?;
        let slot = of(&mut state.records, (contest.id, user.clone()));
        let version = signup.map_or(0, |signup| signup.version);
        let is_dropped = slot
            .dropped
            .is_some_and(|(dropped, ends_at)| now < ends_at && version < dropped);
        let is_older = slot
            .stored
            .as_ref()
            .is_some_and(|(stored, _, ends_at)| now < *ends_at && version < *stored);
        if is_dropped || is_older {
            return Ok(Filled::Stale);
        }
        let ends_at = match signup {
            None => now.plus(ABSENT_MS_MAX),
            Some(_) => UnixMillis(i64::MAX),
        };
        slot.stored = Some((version, signup.cloned(), ends_at));
        Ok(Filled::Stored)
    }

    async fn drop_record(
        &self,
        contest: &Contest,
        user: &UserId,
        version: u64,
    ) -> Result<(), ShownError> {
        let now = self.clock.now();
        let mut state = self.state()?;
        let slot = of(&mut state.records, (contest.id, user.clone()));
        let remembered = slot
            .dropped
            .filter(|(_, ends_at)| now < *ends_at)
            .map_or(version, |(dropped, _)| dropped.max(version));
        slot.dropped = Some((remembered, now.plus(DROPPED_MS)));
        slot.stored.take_if(|(stored, ..)| *stored < version);
        Ok(())
    }
}

#[async_trait]
impl Tallies for MemoryShown {
    async fn count(&self, contest: &Contest, counts: &[Count]) -> Result<Counted, ShownError> {
        let mut state = self.state()?;
        let built = of(&mut state.tallies, contest.id);
        if let Some((_, building)) = &mut built.building {
            building.add(counts);
        }
        let Some(shown) = &mut built.shown else {
            return Ok(Counted::Rebuild);
        };
        let new = shown.add(counts);
        Ok(Counted::Now(shown.tally()?, new))
    }

    async fn read(&self, contest: &Contest) -> Result<Option<Advisory<Tally>>, ShownError> {
        let mut state = self.state()?;
        let shown = &of(&mut state.tallies, contest.id).shown;
        shown.as_ref().map(Counts::tally).transpose()
    }

    async fn begin(&self, contest: &Contest) -> Result<Epoch, ShownError> {
        let mut state = self.state()?;
        state.epoch += 1;
        let epoch = Epoch(state.epoch);
        Ok(of(&mut state.tallies, contest.id).begin(epoch))
    }

    async fn put(
        &self,
        contest: &Contest,
        epoch: Epoch,
        counts: &[Count],
    ) -> Result<bool, ShownError> {
        let mut state = self.state()?;
        let attempt = of(&mut state.tallies, contest.id).attempt(epoch);
        Ok(attempt.map(|building| building.add(counts)).is_some())
    }

    async fn finish(&self, contest: &Contest, epoch: Epoch) -> Result<bool, ShownError> {
        Ok(of(&mut self.state()?.tallies, contest.id).finish(epoch))
    }
}

#[async_trait]
impl Ranking for MemoryShown {
    async fn put(&self, contest: &Contest, places: &[Place]) -> Result<bool, ShownError> {
        let mut state = self.state()?;
        let built = of(&mut state.rankings, contest.id);
        if let Some((_, building)) = &mut built.building {
            enter(building, places);
        }
        Ok(built
            .shown
            .as_mut()
            .map(|shown| enter(shown, places))
            .is_some())
    }

    async fn top(&self, contest: &Contest, limit: usize) -> Result<Option<Vec<Place>>, ShownError> {
        let mut state = self.state()?;
        let shown = &of(&mut state.rankings, contest.id).shown;
        Ok(shown.as_ref().map(|shown| {
            let mut places = in_order(shown);
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
        let mut state = self.state()?;
        let shown = &of(&mut state.rankings, contest.id).shown;
        Ok(shown.as_ref().map(|shown| {
            let places = in_order(shown);
            let own = places.iter().position(|place| place.user_id == *user)?;
            let around = around.min(PLACES_MAX);
            let end = (own + around + 1).min(places.len());
            Some(Neighbourhood {
                place: places[own].clone(),
                around: places[own.saturating_sub(around)..end].to_vec(),
            })
        }))
    }

    async fn begin(&self, contest: &Contest) -> Result<Epoch, ShownError> {
        let mut state = self.state()?;
        state.epoch += 1;
        let epoch = Epoch(state.epoch);
        Ok(of(&mut state.rankings, contest.id).begin(epoch))
    }

    async fn build(
        &self,
        contest: &Contest,
        epoch: Epoch,
        places: &[Place],
    ) -> Result<bool, ShownError> {
        let mut state = self.state()?;
        let attempt = of(&mut state.rankings, contest.id).attempt(epoch);
        Ok(attempt.map(|building| enter(building, places)).is_some())
    }

    async fn finish(&self, contest: &Contest, epoch: Epoch) -> Result<bool, ShownError> {
        Ok(of(&mut self.state()?.rankings, contest.id).finish(epoch))
    }
}

#[async_trait]
impl PastPools for MemoryShown {
    async fn get(&self, contest: ContestId) -> Result<Option<PastPool>, ShownError> {
        Ok(self.state()?.pools.get(&contest).copied())
    }

    async fn put(&self, contest: &Contest, pool: PastPool) -> Result<(), ShownError> {
        self.state()?.pools.insert(contest.id, pool);
        Ok(())
    }
}
