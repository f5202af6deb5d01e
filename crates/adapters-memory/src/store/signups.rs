//! Signups: one row for a viewer in a contest, changed by compare-and-swap on its version alone.

use super::{MemoryStore, Saved, SignupRow, Tables, longest_waiting, page};
use async_trait::async_trait;
use domain::{
    contest::PhaseKind,
    due,
    effects::Effect,
    ids::{ContestId, SignupId, UserId},
    settlement::SheetLine,
    signup::{PayTry, Signup, State, StateKind},
    time::UnixMillis,
};
use ports::{
    outbox::{DROP_AGAIN_MS, OutboxEntry},
    signups::{Enrolled, SignupCommit, SignupRepository},
    store::{Committed, Page, StoreError},
};
use std::ops::Bound;

#[async_trait]
impl SignupRepository for MemoryStore {
    async fn enroll(
        &self,
        signup: &Signup,
        wake_at: Option<UnixMillis>,
    ) -> Result<Enrolled, StoreError> {
        let now = self.time();
        let mut tables = self.tables();
        if let Some(existing) = tables.of_viewer(signup.contest_id, &signup.user_id) {
            return Ok(Enrolled::Existing(existing.clone()));
        }
        let Some(contest) = tables.contests.get(&signup.contest_id) else {
            return Ok(Enrolled::NoContest);
        };
        let terms = &contest.terms;
        let is_open = contest.phase.kind() == PhaseKind::Draft
            && now >= terms.signup_opens_at
            && now < terms.signup_closes_at;
        if !is_open {
            return Ok(Enrolled::NotOpen);
        }
        tables.insert(signup, wake_at)
    }

    async fn restore(&self, signup: &Signup) -> Result<Enrolled, StoreError> {
        let now = self.time();
        let mut tables = self.tables();
        if let Some(existing) = tables.of_viewer(signup.contest_id, &signup.user_id) {
            return Ok(Enrolled::Existing(existing.clone()));
        }
        if !tables.contests.contains_key(&signup.contest_id) {
            return Ok(Enrolled::NoContest);
        }
        // A row that was lost once has nobody who holds it: the compensation has to find it.
        tables.insert(signup, due::wake_at(signup, now))
    }

    async fn find(&self, contest: ContestId, user: &UserId) -> Result<Option<Signup>, StoreError> {
        Ok(self.tables().of_viewer(contest, user).cloned())
    }

    async fn find_to_claim(
        &self,
        contest: ContestId,
        user: &UserId,
    ) -> Result<Option<(Signup, Option<SheetLine>)>, StoreError> {
        let tables = self.tables();
        let signup = tables.of_viewer(contest, user).cloned();
        Ok(signup.map(|signup| {
            let line = tables.sheet.get(&(contest, signup.id)).cloned();
            (signup, line)
        }))
    }

    async fn get(&self, id: SignupId) -> Result<Option<Signup>, StoreError> {
        let tables = self.tables();
        Ok(tables.signups.get(&id).map(|row| row.signup.clone()))
    }

    async fn commit(&self, commit: SignupCommit) -> Result<Committed, StoreError> {
        let SignupCommit {
            expected,
            window,
            signup,
            trail,
            wake_at,
            effects,
            under,
        } = commit;
        let now = self.time();
        let mut tables = self.tables();
        let is_fenced = under.is_some_and(|lease| !tables.is_latest(&lease));
        let Some(row) = tables.signups.get_mut(&signup.id) else {
            return Ok(Committed::Missing);
        };
        if row.signup.version != expected || !window.allows(now) {
            return Ok(Committed::GuardFailed);
        }
        if is_fenced {
            return Ok(Committed::Fenced);
        }
        // Without `..`, so that a new field has to be decided about here.
        let Signup {
            id,
            contest_id: _,
            user_id: _,
            variants: _,
            fee: _,
            state,
            tries,
            version: _,
            created_at: _,
            updated_at,
        } = signup.recalled();
        row.signup.state = state;
        row.signup.tries = tries;
        row.signup.version = expected + 1;
        row.signup.updated_at = updated_at;
        row.wake_at = wake_at;
        let written = row.signup.clone();
        let lines = trail.into_iter().map(|state| (id, written.version, state));
        tables.signup_history.extend(lines);
        for effect in effects
            .into_iter()
            .filter(|effect| self.taken.contains(effect))
        {
            tables.save(effect, &written, now);
        }
        Ok(Committed::Applied)
    }

    async fn awake(&self, limit: usize) -> Result<Vec<Signup>, StoreError> {
        let tables = self.tables();
        let rows = tables.signups.values();
        let waking = rows.filter_map(|row| Some((row.wake_at?, row.signup.id, &row.signup)));
        let awake = longest_waiting(waking, self.time(), limit);
        Ok(awake.into_iter().cloned().collect())
    }

    async fn page(
        &self,
        contest: ContestId,
        states: &[StateKind],
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Page<Signup, SignupId>, StoreError> {
        let tables = self.tables();
        let found = tables
            .signups_after(after)
            .filter(|signup| signup.contest_id == contest)
            .filter(|signup| states.is_empty() || states.contains(&signup.state.kind()))
            .cloned();
        Ok(page(found, limit, |signup| signup.id))
    }

    async fn range_end(
        &self,
        contest: ContestId,
        after: Option<SignupId>,
        rows: usize,
    ) -> Result<Option<SignupId>, StoreError> {
        let tables = self.tables();
        let mut of_contest = tables
            .signups_after(after)
            .filter(|signup| signup.contest_id == contest);
        Ok(rows
            .checked_sub(1)
            .and_then(|before| of_contest.nth(before))
            .map(|signup| signup.id))
    }

    async fn of_user(
        &self,
        user: &UserId,
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Page<Signup, SignupId>, StoreError> {
        let upto = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tables = self.tables();
        let found = tables
            .signups
            .range((Bound::Unbounded, upto))
            .rev()
            .map(|(_, row)| &row.signup)
            .filter(|signup| signup.user_id == *user)
            .cloned();
        Ok(page(found, limit, |signup| signup.id))
    }

    async fn parked(
        &self,
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Page<Signup, SignupId>, StoreError> {
        let tables = self.tables();
        let found = tables
            .signups_after(after)
            .filter(|signup| is_parked(signup))
            .cloned();
        Ok(page(found, limit, |signup| signup.id))
    }
}

impl Tables {
    fn of_viewer(&self, contest: ContestId, user: &UserId) -> Option<&Signup> {
        let id = self.viewers.get(&(contest, user.clone()))?;
        self.signups.get(id).map(|row| &row.signup)
    }

    /// Inserts the row of a viewer who has none.
    fn insert(
        &mut self,
        signup: &Signup,
        wake_at: Option<UnixMillis>,
    ) -> Result<Enrolled, StoreError> {
        if self.signups.contains_key(&signup.id) {
            return Err(StoreError::Inconsistent {
                table: "signup",
                key: signup.id.to_string(),
                what: "the id belongs to another viewer's row".to_owned(),
            });
        }
        let line = (signup.id, signup.version, signup.state.kind());
        self.signup_history.push(line);
        let viewer = (signup.contest_id, signup.user_id.clone());
        self.viewers.insert(viewer, signup.id);
        let signup = signup.clone().recalled();
        self.signups
            .insert(signup.id, SignupRow { signup, wake_at });
        Ok(Enrolled::Inserted)
    }

    /// Saves an effect that came with `signup` as it was written.
    fn save(&mut self, effect: Effect, signup: &Signup, now: UnixMillis) {
        self.last_sequence += 1;
        let sequence = self.last_sequence;
        let entry = OutboxEntry {
            sequence,
            effect,
            contest_id: signup.contest_id,
            signup_id: Some(signup.id),
            user_id: signup.user_id.clone(),
            version: signup.version,
        };
        let due_at = match effect {
            Effect::DropCachedAgain => now.plus(DROP_AGAIN_MS),
            Effect::DropCached
            | Effect::CountFinisher
            | Effect::CountPrize
            | Effect::Rank
            | Effect::Announce => now,
        };
        self.outbox.insert(sequence, Saved { entry, due_at });
    }
}

fn is_parked(signup: &Signup) -> bool {
    match &signup.state {
        State::Claiming(.., payment) | State::Refunding(.., payment) => {
            matches!(payment.last_try, PayTry::Parked(_))
        }
        _ => false,
    }
}
