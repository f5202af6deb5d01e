//! Our own task system: events are matched to contests when they come in, and progress is the sum
//! of what was kept.
//!
//! Ingestion and the contest's phase are read under one lock, so an event is either part of every
//! judgement of a contest or of none.

use super::{MemoryStore, Saved, Tables};
use async_trait::async_trait;
use domain::{
    contest::Contest,
    effects::Effect,
    ids::{ContestId, SenderId, UserId},
    judge::Progress,
    signup::Signup,
    time::UnixMillis,
};
use ports::{
    outbox::OutboxEntry,
    store::StoreError,
    tasks::{
        Assigned, EVENT_AGE_MS_MAX, EVENT_AHEAD_MS_MAX, EventOutcome, TaskEvent, TaskEvents, Tasks,
    },
};

use std::collections::BTreeSet;

#[async_trait]
impl Tasks for MemoryStore {
    async fn assign(&self, _contest: &Contest, _signup: &Signup) -> Assigned {
        // The task follows from the contest: there is nobody to tell.
        Assigned::Assigned
    }

    async fn progress(
        &self,
        contest: &Contest,
        signups: &[Signup],
    ) -> Result<Vec<Progress>, StoreError> {
        let now = self.time();
        let tables = self.tables();
        let complete_until = tables.complete_until(contest, now);
        let read = |signup| tables.progress_of(contest, signup, complete_until);
        Ok(signups.iter().map(read).collect())
    }
}

#[async_trait]
impl TaskEvents for MemoryStore {
    async fn record(
        &self,
        sender: &SenderId,
        events: &[TaskEvent],
    ) -> Result<Vec<EventOutcome>, StoreError> {
        let now = self.time();
        let mut tables = self.tables();
        let mut ranked = BTreeSet::new();
        let outcomes = events
            .iter()
            .map(|event| tables.record(sender, event, now, &mut ranked))
            .collect();
        if self.taken.contains(&Effect::Rank) {
            for (contest, user) in ranked {
                tables.save_rank(contest, user, now);
            }
        }
        Ok(outcomes)
    }
}

impl Tables {
    /// Up to when nothing can still arrive for the contest.
    ///
    /// While it takes events, one from before `tasks_end_at` may come however late the clock: the
    /// answer stays short of that moment until the stored phase shuts the door.
    fn complete_until(&self, contest: &Contest, now: UnixMillis) -> UnixMillis {
        let takes_events = self
            .contests
            .get(&contest.id)
            .is_none_or(|stored| !stored.phase.kind().is_past_events());
        if takes_events {
            let terms = &contest.terms;
            now.plus(-terms.grace_ms).min(terms.tasks_end_at.plus(-1))
        } else {
            now
        }
    }

    fn progress_of(
        &self,
        contest: &Contest,
        signup: &Signup,
        complete_until: UnixMillis,
    ) -> Progress {
        let mut progress = Progress {
            quantity: 0,
            met_at: None,
            complete_until,
        };
        let Some(fee) = signup.state.fee_receipt() else {
            return progress;
        };
        let terms = &contest.terms;
        let in_time = fee.applied_at..terms.tasks_end_at;
        let done = self
            .progress
            .get(&(contest.id, signup.user_id.clone()))
            .into_iter()
            .flatten()
            .filter(|((occurred_at, ..), _)| in_time.contains(occurred_at));
        for ((occurred_at, ..), quantity) in done {
            progress.quantity = progress.quantity.saturating_add(*quantity);
            if progress.met_at.is_none() && progress.quantity >= terms.task.target {
                progress.met_at = Some(*occurred_at);
            }
        }
        progress
    }

    /// Stores one event; those whom it was accepted for join `ranked`.
    fn record(
        &mut self,
        sender: &SenderId,
        event: &TaskEvent,
        now: UnixMillis,
        ranked: &mut BTreeSet<(ContestId, UserId)>,
    ) -> EventOutcome {
        let key = (sender.clone(), event.event_id.clone());
        if let Some(stored) = self.events.get(&key) {
            return if stored == event {
                EventOutcome::Duplicate
            } else {
                EventOutcome::Conflict
            };
        }
        if event.occurred_at < now.plus(-EVENT_AGE_MS_MAX) {
            return EventOutcome::TooOld;
        }
        if event.occurred_at > now.plus(EVENT_AHEAD_MS_MAX) {
            return EventOutcome::TooFarAhead;
        }
        let (past, counting): (Vec<_>, Vec<_>) = self
            .contests
            .values()
            .filter(|contest| fits(contest, event))
            .partition(|contest| contest.phase.kind().is_past_events());
        if counting.is_empty() && !past.is_empty() {
            return EventOutcome::TooLate;
        }
        let counting: Vec<ContestId> = counting.iter().map(|contest| contest.id).collect();
        for contest in counting {
            ranked.insert((contest, event.user_id.clone()));
            let done = (event.occurred_at, sender.clone(), event.event_id.clone());
            self.progress
                .entry((contest, event.user_id.clone()))
                .or_default()
                .insert(done, event.quantity);
        }
        self.events.insert(key, event.clone());
        EventOutcome::Accepted
    }
}

impl Tables {
    fn save_rank(&mut self, contest_id: ContestId, user_id: UserId, now: UnixMillis) {
        self.last_sequence += 1;
        let entry = OutboxEntry {
            sequence: self.last_sequence,
            effect: Effect::Rank,
            contest_id,
            signup_id: None,
            user_id,
            version: 0,
        };
        let saved = Saved { entry, due_at: now };
        self.outbox.insert(self.last_sequence, saved);
    }
}

/// True where the event is of the contest's room, kind and time.
fn fits(contest: &Contest, event: &TaskEvent) -> bool {
    let terms = &contest.terms;
    terms.room_id == event.room_id
        && terms.task.kind == event.kind
        && (terms.signup_opens_at..terms.tasks_end_at).contains(&event.occurred_at)
}
