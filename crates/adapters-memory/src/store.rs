//! The database in memory: the reference behaviour of every repository.
//!
//! One lock around everything: each call is one serializable transaction, so what this store does
//! is what the ports' clauses say and nothing else. Ordered maps only, so that a run can be
//! replayed. Its clock is a [`ManualClock`].

mod contests;
mod experiments;
mod faulty;
mod findings;
mod leaderboard;
mod leases;
mod notices;
mod outbox;
mod reconciliations;
mod signups;
mod switches;
mod tasks;
mod tickets;

pub use faulty::FaultyStore;

use crate::system::ManualClock;
use domain::{
    contest::{Contest, PhaseKind},
    effects::Effect,
    experiment::Experiment,
    ids::{ContestId, EventId, ExperimentName, SenderId, SignupId, UserId},
    settlement::SheetLine,
    signup::{Signup, StateKind},
    switch::Change,
    time::UnixMillis,
};
use ports::leases::Fence;
use ports::{
    contests::CreationKey,
    experiments::{Exposure, OutcomeKey},
    findings::Finding,
    outbox::OutboxEntry,
    reconciliations::{LoggedRepair, Run, Watch},
    store::{PAGE_MAX, Page},
    system::Clock,
    tasks::TaskEvent,
    tickets::OwnTickets,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use uuid::Uuid;

/// The database in memory. It lives as long as the value: a "crash of the process" in a test drops
/// the use cases around it, not the store.
#[derive(Debug)]
pub struct MemoryStore {
    clock: Arc<ManualClock>,
    /// The effects that somebody takes; others are not written.
    taken: BTreeSet<Effect>,
    tables: Mutex<Tables>,
    tickets: OwnTickets<ManualClock>,
}

#[derive(Debug, Default)]
struct Tables {
    contests: BTreeMap<ContestId, Contest>,
    creations: BTreeMap<CreationKey, ContestId>,
    /// The highest fence that was written with a contest.
    fences: BTreeMap<ContestId, Fence>,
    contest_history: Vec<(ContestId, u64, PhaseKind)>,
    sheet: BTreeMap<(ContestId, SignupId), SheetLine>,
    /// As they are read back: what was written as not sent stands here as unknown.
    signups: BTreeMap<SignupId, SignupRow>,
    viewers: BTreeMap<(ContestId, UserId), SignupId>,
    signup_history: Vec<(SignupId, u64, StateKind)>,
    events: BTreeMap<(SenderId, EventId), TaskEvent>,
    progress: BTreeMap<(ContestId, UserId), BTreeMap<Done, u64>>,
    findings: BTreeMap<Uuid, Finding>,
    runs: BTreeMap<Uuid, Run>,
    run_findings: BTreeSet<(Uuid, Uuid)>,
    repairs: BTreeMap<Uuid, LoggedRepair>,
    watches: BTreeMap<ContestId, Watch>,
    /// By sequence.
    notices: BTreeMap<u64, notices::Kept>,
    last_notice: u64,
    switch_changes: Vec<Change>,
    experiments: BTreeMap<ExperimentName, Experiment>,
    experiment_changes: Vec<(ExperimentName, ports::experiments::Change)>,
    /// By experiment and key.
    exposures: BTreeMap<(ExperimentName, OutcomeKey), (Exposure, UnixMillis)>,
    /// By sequence.
    outbox: BTreeMap<u64, Saved>,
    last_sequence: u64,
    /// By name; a lease that ended stays.
    leases: BTreeMap<String, leases::Held>,
}

#[derive(Debug)]
struct SignupRow {
    signup: Signup,
    wake_at: Option<UnixMillis>,
}

/// The place of an event among a viewer's: running sums go in this order, whatever arrived first.
type Done = (UnixMillis, SenderId, EventId);

#[derive(Debug)]
struct Saved {
    entry: OutboxEntry,
    due_at: UnixMillis,
}

impl MemoryStore {
    /// An empty store whose outbox keeps `outbox_effects` alone.
    #[must_use]
    pub fn new(clock: Arc<ManualClock>, outbox_effects: &[Effect]) -> Self {
        let taken = outbox_effects.iter().copied().collect();
        Self {
            tickets: OwnTickets::new(Arc::clone(&clock)),
            clock,
            taken,
            tables: Mutex::default(),
        }
    }

    /// Every contest, by id.
    #[must_use]
    pub fn all_contests(&self) -> Vec<Contest> {
        self.tables().contests.values().cloned().collect()
    }

    /// Every signup, by id, as a read answers it.
    #[must_use]
    pub fn all_signups(&self) -> Vec<Signup> {
        self.tables()
            .signups
            .values()
            .map(|row| row.signup.clone())
            .collect()
    }

    /// Every state that a signup entered, with the version it came with, in commit order.
    #[must_use]
    pub fn signup_history(&self) -> Vec<(SignupId, u64, StateKind)> {
        self.tables().signup_history.clone()
    }

    /// The phase that every write of a contest left it in, in commit order.
    #[must_use]
    pub fn contest_history(&self) -> Vec<(ContestId, u64, PhaseKind)> {
        self.tables().contest_history.clone()
    }

    /// Loses a viewer's row and its history, as a failover to a copy that never had it would;
    /// what was lost, if there was any.
    pub fn delete_signup(&self, contest: ContestId, user: &UserId) -> Option<Signup> {
        let mut tables = self.tables();
        let id = tables.viewers.remove(&(contest, user.clone()))?;
        tables.signup_history.retain(|(of, ..)| *of != id);
        tables.signups.remove(&id).map(|row| row.signup)
    }

    fn time(&self) -> UnixMillis {
        self.clock.now()
    }

    /// The tables. A test that panicked while it held them has left no half-done write: every
    /// write checks first and changes afterwards.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A page of at most `limit` items, and never more than [`PAGE_MAX`].
fn page<T, K>(
    items: impl Iterator<Item = T>,
    limit: usize,
    key: impl FnOnce(&T) -> K,
) -> Page<T, K> {
    let limit = limit.min(PAGE_MAX);
    Page::cut(items.take(limit + 1).collect(), limit, key)
}

/// The longest waiting of `(wake time, key, row)` whose time has come, at most `limit`.
fn longest_waiting<K: Ord, T: Clone>(
    rows: impl Iterator<Item = (UnixMillis, K, T)>,
    now: UnixMillis,
    limit: usize,
) -> Vec<T> {
    let mut waiting: Vec<_> = rows.filter(|(at, ..)| *at <= now).collect();
    waiting.sort_by(|(at, key, _), (other_at, other, _)| (at, key).cmp(&(other_at, other)));
    waiting
        .into_iter()
        .take(limit)
        .map(|(.., row)| row)
        .collect()
}
