//! The relay: carries out what was saved in the outbox with a change, at least once.

use crate::{
    Contests, Failure,
    crash::caught,
    hold::Hold,
    shown::{Shown, finisher, log, prize, rebuild},
};
use domain::{
    contest::Contest,
    effects::Effect,
    finding::FindingClass,
    ids::{ContestId, UserId},
    settlement::Advisory,
    switch::Switch,
};
use futures_util::{StreamExt, stream};
use ports::{
    outbox::OutboxEntry,
    shown::{Count, Counted, ShownError, Tally},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

/// The most entries that are taken at once.
const PAGE: usize = 1_000;
/// A pass in which so many entries did not work ends: when everything fails, each pass costs the
/// store one page of questions.
const KEPT_MAX: usize = PAGE;
/// The most calls of one kind that are under way at once.
const AT_ONCE: usize = 32;

/// Behind which entry the next pass begins; before all, if none.
///
/// In memory: losing it means beginning at the first.
#[derive(Debug, Default)]
pub(crate) struct Place(Mutex<Option<u64>>);

impl Place {
    fn get(&self) -> Option<u64> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, after: Option<u64>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = after;
    }
}

/// Why the entries of a contest stay for the next pass.
enum Kept {
    Shown(ShownError),
    Other(Failure),
}

impl From<ShownError> for Kept {
    fn from(error: ShownError) -> Self {
        Self::Shown(error)
    }
}

impl<E: Into<Failure>> From<E> for Kept {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

impl Contests {
    /// One pass over the outbox, by one node at a time; how many entries are done. What does not
    /// work stays, is walked past, and is tried again.
    ///
    /// A pass that something did not work in, and that did not come to the end, is gone on with by
    /// the next, so that no number of failing entries blocks those behind them (hazard H12). Every
    /// other pass begins at the first entry, where those appear that were numbered early and
    /// committed or due late (hazard F7).
    ///
    /// # Errors
    /// [`Failure::Store`] when the entries cannot be read or removed.
    pub async fn relay(&self) -> Result<usize, Failure> {
        let Some(shown) = &self.ports.shown else {
            return Ok(0);
        };
        let Some(hold) = self.lease("relay".to_owned()).await? else {
            return Ok(0);
        };
        let done = self.relay_under(&hold, shown).await;
        self.let_go(hold).await;
        done
    }

    async fn relay_under(&self, hold: &Hold, shown: &Shown) -> Result<usize, Failure> {
        let mut after = self.relay_place.get();
        let (mut done, mut kept) = (0, 0);
        loop {
            let entries = shown.outbox.take(after, PAGE).await?;
            let taken = entries.len();
            let last = entries.last().map(|entry| entry.sequence);
            let finished = self.carry_out(shown, entries).await;
            shown.outbox.done(&finished).await?;
            done += finished.len();
            kept += taken - finished.len();
            if taken < PAGE {
                after = None;
                break;
            }
            after = last;
            if kept >= KEPT_MAX || self.ports.clock.now() >= hold.renewal() {
                break;
            }
        }
        self.relay_place.set(after.filter(|_| kept > 0));
        Ok(done)
    }

    /// Carries out entries; those that are done.
    async fn carry_out(&self, shown: &Shown, entries: Vec<OutboxEntry>) -> Vec<u64> {
        let mut by_contest: BTreeMap<ContestId, Vec<OutboxEntry>> = BTreeMap::new();
        for entry in entries {
            by_contest.entry(entry.contest_id).or_default().push(entry);
        }
        let mut done = Vec::new();
        for (id, entries) in by_contest {
            let contest = match self.ports.contests.get(id).await {
                Ok(Some(contest)) => contest,
                // Nothing of a contest that is gone can be shown.
                Ok(None) => {
                    done.extend(entries.iter().map(|entry| entry.sequence));
                    continue;
                }
                Err(error) => {
                    tracing::warn!(
                        contest.id = %id, error = &error as &dyn std::error::Error,
                        "effects wait: their contest cannot be read"
                    );
                    continue;
                }
            };
            for effect in Effect::ALL {
                let of: Vec<_> = entries
                    .iter()
                    .filter(|entry| entry.effect == *effect)
                    .collect();
                if of.is_empty() {
                    continue;
                }
                let carried_out = self.carry_out_one(shown, &contest, *effect, &of);
                match caught(carried_out).await {
                    Ok(()) => done.extend(of.iter().map(|entry| entry.sequence)),
                    Err(Kept::Shown(error)) => log("effects wait", &error),
                    Err(Kept::Other(error)) => tracing::warn!(
                        contest.id = %id, error = &error as &dyn std::error::Error,
                        "effects wait"
                    ),
                }
            }
        }
        done
    }

    async fn carry_out_one(
        &self,
        shown: &Shown,
        contest: &Contest,
        effect: Effect,
        entries: &[&OutboxEntry],
    ) -> Result<(), Kept> {
        match effect {
            Effect::DropCachedAgain if !self.is_on(Switch::DelayedSecondDelete) => Ok(()),
            // What is not counted leaves no tally behind that would lack it: it is built anew when somebody
            // looks for it again.
            Effect::CountFinisher | Effect::CountPrize if !self.is_on(Switch::RedisTally) => {
                Ok(shown.tallies.forget(contest).await?)
            }
            Effect::DropCached | Effect::DropCachedAgain => {
                // The newest version of each viewer says all.
                let mut newest: BTreeMap<&UserId, u64> = BTreeMap::new();
                for entry in entries {
                    let version = newest.entry(&entry.user_id).or_default();
                    *version = entry.version.max(*version);
                }
                let drops = newest
                    .into_iter()
                    .map(|(user, version)| shown.records.drop_record(contest, user, version));
                let dropped: Vec<_> = stream::iter(drops.collect::<Vec<_>>())
                    .buffer_unordered(AT_ONCE)
                    .collect()
                    .await;
                for outcome in dropped {
                    outcome?;
                }
                Ok(())
            }
            Effect::CountFinisher => {
                let counts = self
                    .counts(contest, entries, |signup| finisher(contest, signup))
                    .await?;
                self.count(shown, contest, &counts).await
            }
            Effect::CountPrize => {
                let counts = self.counts(contest, entries, prize).await?;
                self.count(shown, contest, &counts).await
            }
            Effect::Rank => {
                let users: BTreeSet<_> = entries.iter().map(|entry| &entry.user_id).collect();
                let users: Vec<UserId> = users.into_iter().cloned().collect();
                let places = self.ports.leaderboard.standings(contest, &users).await?;
                if !places.is_empty() && !shown.ranking.put(contest, &places).await? {
                    self.rebuild_now(contest).await?;
                }
                Ok(())
            }
            // Whoever watches reads snapshots.
            Effect::Announce => Ok(()),
        }
    }

    /// What the rows that the entries came with count for.
    async fn counts(
        &self,
        contest: &Contest,
        entries: &[&OutboxEntry],
        count: impl Fn(&domain::signup::Signup) -> Option<Count>,
    ) -> Result<Vec<Count>, Failure> {
        let reads: Vec<_> = entries
            .iter()
            .map(|entry| self.ports.signups.find(contest.id, &entry.user_id))
            .collect();
        let rows: Vec<_> = stream::iter(reads).buffer_unordered(PAGE).collect().await;
        let mut counts = Vec::with_capacity(rows.len());
        for row in rows {
            counts.extend(row?.as_ref().and_then(&count));
        }
        Ok(counts)
    }

    async fn count(&self, shown: &Shown, contest: &Contest, counts: &[Count]) -> Result<(), Kept> {
        if counts.is_empty() {
            return Ok(());
        }
        match shown.tallies.count(contest, counts).await? {
            Counted::Now(tally, _) => {
                self.watch_budget(contest, tally).await;
                Ok(())
            }
            // The rows that are to be counted are in the store, so the rebuild counts them.
            Counted::Rebuild => self.rebuild_now(contest).await,
        }
    }

    async fn rebuild_now(&self, contest: &Contest) -> Result<(), Kept> {
        use crate::shown::RebuildError;
        match rebuild(&self.ports, contest).await {
            Ok(_) => Ok(()),
            Err(RebuildError::Shown(error)) => Err(Kept::Shown(error)),
            Err(RebuildError::Store(error)) => Err(Kept::Other(error.into())),
        }
    }

    /// The budget of a frozen contest: more prizes counted than its pool has is an alarm, long
    /// before the pool account refuses. It decides nothing.
    async fn watch_budget(&self, contest: &Contest, Advisory(tally): Advisory<Tally>) {
        let Some((totals, _)) = contest.phase.frozen() else {
            return;
        };
        let pool = totals.get().pool;
        if tally.prizes > pool {
            let evidence = format!(
                "prizes of {} coins were counted as paid, the pool has {pool}",
                tally.prizes
            );
            let subject = "budget".to_owned();
            self.raise(FindingClass::TallyDiffers, contest.id, subject, evidence)
                .await;
        }
    }
}
