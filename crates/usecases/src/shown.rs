//! What is only shown: read before the store where it is there, filled and rebuilt from the store
//! where it is not. Whatever it answers or fails to answer changes no flow.

use crate::{Contests, Failure, Ports, hold::Hold};
use async_trait::async_trait;
use domain::{
    contest::Contest,
    ids::{ContestId, SignupId, UserId},
    order::Leg,
    payout,
    settlement::Advisory,
    signup::{Signup, StateKind},
    switch::Switch,
    time::UnixMillis,
};
use ports::{
    leaderboard::{Leaderboard, PLACES_MAX, Place},
    outbox::Outbox,
    shown::{
        Cached, Count, FILL_MS_MAX, Lifetimes, PastPools, Ranking, RecordCache, ShownError,
        Tallies, Tally,
    },
    store::{PAGE_MAX, Page, StoreError},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::OwnedMutexGuard;

/// Everything that is only shown, and the outbox that feeds it.
#[derive(Clone)]
#[expect(missing_docs, reason = "the ports say what they are")]
pub struct Shown {
    pub records: Arc<dyn RecordCache>,
    pub tallies: Arc<dyn Tallies>,
    pub ranking: Arc<dyn Ranking>,
    pub past_pools: Arc<dyn PastPools>,
    pub lifetimes: Arc<dyn Lifetimes>,
    pub outbox: Arc<dyn Outbox>,
}

/// How long a contest that was read serves where it is only shown, in milliseconds.
const RECENT_MS: i64 = 1_000;
/// The most contests that are kept for that.
const RECENT_MAX: usize = 1_000;
/// How long a rebuild is not begun again by this node, in milliseconds.
const REBUILD_MS: i64 = 2_000;
/// The most rebuilds at once that this node begins for who looks: an empty Redis makes all contests
/// miss at the same time, and the store has others to serve.
pub(crate) const REBUILDS_MAX: usize = 2;
/// The states of those who finished.
const FINISHED: [StateKind; 4] = [
    StateKind::Completed,
    StateKind::Claiming,
    StateKind::Shared,
    StateKind::Forfeited,
];
/// The most counts of one call.
const CHUNK: usize = 500;

/// Contests that were read lately: for views alone, never for a decision.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<BTreeMap<ContestId, (UnixMillis, Contest)>>);

impl Recent {
    fn get(&self, id: ContestId, now: UnixMillis) -> Option<Contest> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, contest) = kept.get(&id)?;
        (*at..at.plus(RECENT_MS))
            .contains(&now)
            .then(|| contest.clone())
    }

    fn put(&self, contest: Contest, now: UnixMillis) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= RECENT_MAX {
            kept.retain(|_, (at, _)| now < at.plus(RECENT_MS));
        }
        if kept.len() < RECENT_MAX {
            kept.insert(contest.id, (now, contest));
        }
    }
}

/// One viewer's record in one contest.
type RecordKey = (ContestId, UserId);

/// Readers of one record: one of them reads the store, the others wait and find what it stored.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<BTreeMap<RecordKey, Arc<tokio::sync::Mutex<()>>>>);

impl Flights {
    /// Waits until no other reader of this record is at the store.
    pub(crate) async fn enter(&self, contest: ContestId, user: &UserId) -> OwnedMutexGuard<()> {
        let flight = {
            let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody waits for any more.
            if flights.len() >= RECENT_MAX {
                flights.retain(|_, flight| Arc::strong_count(flight) > 1);
            }
            Arc::clone(flights.entry((contest, user.clone())).or_default())
        };
        flight.lock_owned().await
    }
}

/// What the cache says of a record.
pub(crate) enum Look {
    /// The viewer has not signed up.
    Absent,
    /// The record, with a contest that is at most a second old.
    Record(Box<(Contest, Signup)>),
    /// Nothing.
    Miss,
    /// It does not answer.
    Away,
}

pub(crate) fn log(what: &'static str, error: &ShownError) {
    // While it is known to be away nobody needs to hear it again.
    if !matches!(error, ShownError::Open) {
        tracing::warn!(error = error as &dyn std::error::Error, "{what}");
    }
}

/// The weight of a finisher as far as it is known.
fn weight(contest: &Contest, signup: &Signup) -> u64 {
    let known = signup.state.weight().or_else(|| {
        let done = signup.state.achievement()?;
        payout::weight(
            &contest.terms,
            contest.id,
            &signup.user_id,
            signup.fee,
            done,
            None,
        )
    });
    known.map_or(0, |weight| weight.get())
}

/// A finisher, if this is one.
pub(crate) fn finisher(contest: &Contest, signup: &Signup) -> Option<Count> {
    FINISHED
        .contains(&signup.state.kind())
        .then(|| Count::Finisher(signup.id, weight(contest, signup)))
}

/// A paid prize, if this is one.
pub(crate) fn prize(signup: &Signup) -> Option<Count> {
    if signup.state.kind() != StateKind::Shared {
        return None;
    }
    let order = Leg::Prize(signup.contest_id, signup.user_id.clone()).order_id();
    signup.state.prize().map(|prize| Count::Prize(order, prize))
}

impl Contests {
    /// A viewer's record in the cache.
    pub(crate) async fn look_up_record(
        &self,
        shown: &Shown,
        id: ContestId,
        user: &UserId,
    ) -> Result<Look, Failure> {
        match shown.records.get(id, user).await {
            Ok(Some(Cached::Absent)) => Ok(Look::Absent),
            Ok(Some(Cached::Record(signup))) => {
                let now = self.ports.clock.now();
                let contest = match self.recent.get(id, now) {
                    Some(contest) => Some(contest),
                    None => self.visible(id).await?.inspect(|contest| {
                        self.recent.put(contest.clone(), now);
                    }),
                };
                Ok(contest.map_or(Look::Miss, |contest| {
                    Look::Record(Box::new((contest, *signup)))
                }))
            }
            Ok(None) => Ok(Look::Miss),
            Err(error) => {
                log("the cache of records did not answer", &error);
                Ok(Look::Away)
            }
        }
    }

    /// Stores what was read from the store at `began`, beside the answer. Readers of the same
    /// record wait for it, as long as the flight lasts.
    pub(crate) fn fill_record(
        &self,
        shown: &Shown,
        contest: &Contest,
        user: &UserId,
        signup: Option<&Signup>,
        began: UnixMillis,
        flight: OwnedMutexGuard<()>,
    ) {
        let records = Arc::clone(&shown.records);
        let (contest, user, signup) = (contest.clone(), user.clone(), signup.cloned());
        let clock = Arc::clone(&self.ports.clock);
        tokio::spawn(async move {
            // What was read too long ago might be older than what was dropped and forgotten since.
            if clock.now() < began.plus(FILL_MS_MAX)
                && let Err(error) = records.fill(&contest, &user, signup.as_ref()).await
            {
                log("a record could not be cached", &error);
            }
            drop(flight);
        });
    }

    /// Drops a record that has just been changed. If it does not work, the outbox does it.
    pub(crate) async fn drop_record(&self, contest: &Contest, signup: &Signup) {
        if let Some(shown) = &self.ports.shown
            && let Err(error) = shown
                .records
                .drop_record(contest, &signup.user_id, signup.version)
                .await
        {
            log("a record could not be dropped from the cache yet", &error);
        }
    }

    /// The live tally, if it is there; else it is rebuilt in the background.
    pub(crate) async fn tally(&self, contest: &Contest) -> Option<Advisory<Tally>> {
        let shown = self.ports.shown.as_ref()?;
        if !self.is_on(Switch::RedisTally) {
            return None;
        }
        match shown.tallies.read(contest).await {
            Ok(Some(tally)) => Some(tally),
            Ok(None) => {
                self.rebuild(contest);
                None
            }
            Err(error) => {
                log("the tally did not answer", &error);
                None
            }
        }
    }

    /// Builds tally and ranking of a contest anew from its rows, at once.
    pub async fn rebuild_shown(&self, contest: &Contest) -> Rebuilt {
        rebuild(&self.ports, contest).await.unwrap_or_else(|error| {
            tracing::warn!(
                contest.id = %contest.id, error = &error as &dyn std::error::Error,
                "tally and ranking could not be rebuilt"
            );
            Rebuilt::Unanswered
        })
    }

    /// Builds tally and ranking of a contest anew, in the background, unless this node has just
    /// begun to, or is at as many as it may. It may be lost without harm: whoever looks next begins
    /// again.
    fn rebuild(&self, contest: &Contest) {
        // Without a queue: a contest that nobody looks at any more need not be built.
        let Ok(permit) = Arc::clone(&self.rebuilds).try_acquire_owned() else {
            return;
        };
        let now = self.ports.clock.now();
        self.rebuild_pace.held(now);
        if !self
            .rebuild_pace
            .take(contest.id, now, now.plus(REBUILD_MS))
        {
            return;
        }
        let (ports, contest) = (self.ports.clone(), contest.clone());
        tokio::spawn(async move {
            let _permit = permit;
            if let Err(error) = rebuild(&ports, &contest).await {
                tracing::warn!(
                    contest.id = %contest.id, error = &error as &dyn std::error::Error,
                    "tally and ranking could not be rebuilt; it is tried again"
                );
            }
        });
    }
}

/// What became of building tally and ranking anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rebuilt {
    /// They are as the rows say.
    Yes,
    /// Another is at it, from rows that are as new.
    Busy,
    /// Redis or the store did not answer.
    Unanswered,
    /// Nothing is cached here: what is shown is read from the store.
    NoCache,
}

/// Why a rebuild was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RebuildError {
    /// The store did not answer.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// What is built did not answer.
    #[error("what is shown failed")]
    Shown(#[from] ShownError),
}

/// Builds tally and ranking of a contest anew from the store, unless somebody is at it: a second
/// one that began meanwhile would void the first, and a third one the second, for as long as
/// somebody looks.
pub(crate) async fn rebuild(ports: &Ports, contest: &Contest) -> Result<Rebuilt, RebuildError> {
    let Some(shown) = &ports.shown else {
        return Ok(Rebuilt::NoCache);
    };
    // An owner of its own: no other call of this node joins in either.
    let (name, owner) = (format!("tally/{}", contest.id), ports.ids.next());
    let Some(mut hold) = Hold::take(ports, name, owner).await? else {
        // What is counted while another builds is added to what it builds; if it dies, whoever
        // looks next begins again, from rows that are as new.
        return Ok(Rebuilt::Busy);
    };
    let built = build(ports, shown, contest, &mut hold).await;
    hold.let_go(ports).await;
    built
}

async fn build(
    ports: &Ports,
    shown: &Shown,
    contest: &Contest,
    hold: &mut Hold,
) -> Result<Rebuilt, RebuildError> {
    // Counts that are saved from here on are added to the new one too: nothing is missed between.
    let epoch = shown.tallies.begin(contest).await?;
    let mut after = None;
    loop {
        if !hold.keep(ports).await? {
            return Ok(Rebuilt::Busy);
        }
        let page = ports
            .signups
            .page(contest.id, &FINISHED, after, CHUNK)
            .await?;
        let counts: Vec<Count> = page
            .items
            .iter()
            .flat_map(|signup| [finisher(contest, signup), prize(signup)])
            .flatten()
            .collect();
        for chunk in counts.chunks(CHUNK) {
            if !shown.tallies.put(contest, epoch, chunk).await? {
                // Another node is at it, from rows that are as new.
                return Ok(Rebuilt::Busy);
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    shown.tallies.finish(contest, epoch).await?;
    let epoch = shown.ranking.begin(contest).await?;
    let mut after = None;
    loop {
        if !hold.keep(ports).await? {
            return Ok(Rebuilt::Busy);
        }
        let page = ports.leaderboard.page(contest, after, CHUNK).await?;
        if !shown.ranking.build(contest, epoch, &page.items).await? {
            return Ok(Rebuilt::Busy);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    shown.ranking.finish(contest, epoch).await?;
    tracing::info!(contest.id = %contest.id, "tally and ranking were rebuilt");
    Ok(Rebuilt::Yes)
}

/// From the live ranking where it is there, else counted in the store.
#[async_trait]
impl Leaderboard for Contests {
    async fn top(&self, contest: &Contest, limit: usize) -> Result<Vec<Place>, StoreError> {
        if let Some(shown) = &self.ports.shown {
            match shown.ranking.top(contest, limit.min(PLACES_MAX)).await {
                Ok(Some(places)) => return Ok(places),
                Ok(None) => self.rebuild(contest),
                Err(error) => log("the ranking did not answer", &error),
            }
        }
        self.ports.leaderboard.top(contest, limit).await
    }

    async fn place_of(
        &self,
        contest: &Contest,
        user: &UserId,
    ) -> Result<Option<Place>, StoreError> {
        if let Some(shown) = &self.ports.shown {
            match shown.ranking.place_of(contest, user, 0).await {
                Ok(Some(found)) => return Ok(found.map(|found| found.place)),
                Ok(None) => self.rebuild(contest),
                Err(error) => log("the ranking did not answer", &error),
            }
        }
        self.ports.leaderboard.place_of(contest, user).await
    }

    async fn standings(
        &self,
        contest: &Contest,
        users: &[UserId],
    ) -> Result<Vec<Place>, StoreError> {
        self.ports.leaderboard.standings(contest, users).await
    }

    async fn page(
        &self,
        contest: &Contest,
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Page<Place, SignupId>, StoreError> {
        let limit = limit.min(PAGE_MAX);
        self.ports.leaderboard.page(contest, after, limit).await
    }
}
