//! Contests, sheets and what is counted over signups. Each call holds the one lock, so each is one
//! snapshot.

use super::{MemoryStore, SignupRow, Tables, longest_waiting, page};
use async_trait::async_trait;
use domain::{
    contest::{Contest, PhaseKind},
    ids::{ContestId, SignupId},
    lifecycle::{self, Presence},
    money::Coins,
    settlement::{Census, Finisher, SheetLine},
    signup::{Share, Signup, State, StateKind},
    time::UnixMillis,
};
use ports::{
    contests::{
        ContestCommit, ContestFilter, ContestRepository, CreationKey, Inserted, StateCount,
    },
    store::{Committed, PAGE_MAX, Page, StoreError},
};
use std::ops::Bound;

#[async_trait]
impl ContestRepository for MemoryStore {
    async fn now(&self) -> Result<UnixMillis, StoreError> {
        Ok(self.time())
    }

    async fn insert(&self, contest: &Contest) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        if tables.contests.contains_key(&contest.id) {
            return Ok(false);
        }
        let line = (contest.id, contest.version, contest.phase.kind());
        tables.contest_history.push(line);
        tables.contests.insert(contest.id, contest.clone());
        tables.begin_watch(contest.id, self.time());
        Ok(true)
    }

    async fn insert_once(
        &self,
        contest: &Contest,
        key: &CreationKey,
    ) -> Result<Inserted, StoreError> {
        let mut tables = self.tables();
        if let Some(known) = tables.creations.get(key) {
            return Ok(Inserted::Known(*known));
        }
        if self.time() >= contest.terms.signup_closes_at {
            return Ok(Inserted::TooLate);
        }
        if tables.contests.contains_key(&contest.id) {
            return Ok(Inserted::Known(contest.id));
        }
        let line = (contest.id, contest.version, contest.phase.kind());
        tables.contest_history.push(line);
        tables.contests.insert(contest.id, contest.clone());
        tables.begin_watch(contest.id, self.time());
        tables.creations.insert(key.clone(), contest.id);
        Ok(Inserted::New)
    }

    async fn get(&self, id: ContestId) -> Result<Option<Contest>, StoreError> {
        Ok(self.tables().contests.get(&id).cloned())
    }

    async fn list(
        &self,
        filter: &ContestFilter,
        after: Option<ContestId>,
        limit: usize,
    ) -> Result<Page<Contest, ContestId>, StoreError> {
        let now = self.time();
        let upto = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tables = self.tables();
        let found = tables
            .contests
            .range((Bound::Unbounded, upto))
            .rev()
            .map(|(_, contest)| contest)
            .filter(|contest| is_listed(contest, filter, now))
            .cloned();
        Ok(page(found, limit, |contest| contest.id))
    }

    async fn commit(&self, commit: ContestCommit) -> Result<Committed, StoreError> {
        let ContestCommit {
            expected,
            window,
            contest,
            lines,
            notices,
            under,
        } = commit;
        let now = self.time();
        let mut tables = self.tables();
        let Some(stored) = tables.contests.get(&contest.id) else {
            return Ok(Committed::Missing);
        };
        if stored.version != expected || !window.allows(now) {
            return Ok(Committed::GuardFailed);
        }
        if let Some(lease) = under {
            let highest = tables.fences.get(&contest.id).copied();
            if !tables.is_latest(&lease) || highest > Some(lease.fence) {
                return Ok(Committed::Fenced);
            }
            tables.fences.insert(contest.id, lease.fence);
        }
        let Some(stored) = tables.contests.get_mut(&contest.id) else {
            return Ok(Committed::Missing);
        };
        // Without `..`, so that a new field has to be decided about here.
        let Contest {
            id,
            title,
            terms: _,
            variants: _,
            secret: _,
            phase,
            legs,
            stops,
            version: _,
            created_at: _,
            updated_at,
        } = contest;
        stored.title = title;
        stored.phase = phase;
        stored.legs = legs;
        stored.stops = stops;
        stored.version = expected + 1;
        stored.updated_at = updated_at;
        let line = (id, stored.version, stored.phase.kind());
        tables.contest_history.push(line);
        for kind in notices {
            tables.note(kind, id, None, now);
        }
        for line in lines {
            let key = (id, line.finisher.signup_id);
            tables.sheet.entry(key).or_insert(line);
        }
        Ok(Committed::Applied)
    }

    async fn awake(&self, limit: usize) -> Result<Vec<Contest>, StoreError> {
        let tables = self.tables();
        let rows = tables.contests.values();
        let waking =
            rows.filter_map(|contest| Some((lifecycle::wake_at(contest)?, contest.id, contest)));
        let awake = longest_waiting(waking, self.time(), limit);
        Ok(awake.into_iter().cloned().collect())
    }

    async fn presence(&self, id: ContestId) -> Result<Presence, StoreError> {
        let tables = self.tables();
        let provisional = tables.of_contest(id).any(is_provisional);
        Ok(Presence::of(
            tables.of_contest(id).map(|signup| signup.state.kind()),
            provisional,
        ))
    }

    async fn census(&self, id: ContestId) -> Result<Census, StoreError> {
        let tables = self.tables();
        let mut census = Census {
            undecided: 0,
            finishers: 0,
            weight_sum: 0,
            fees: Coins::ZERO,
            refunding: Coins::ZERO,
        };
        for signup in tables.of_contest(id) {
            match &signup.state {
                State::Initialized(_) | State::Paid(_) | State::InProgress(_) => {
                    census.undecided += 1;
                }
                State::Completed(_, _, share) => {
                    match share {
                        Share::Provisional => census.undecided += 1,
                        Share::Fixed(weight) => {
                            census.finishers += 1;
                            census.weight_sum += u128::from(weight.get());
                        }
                    }
                    census.fees = plus(id, census.fees, signup.fee)?;
                }
                State::Missed(..) => census.fees = plus(id, census.fees, signup.fee)?,
                State::Refunding(_, amount, _) => {
                    census.refunding = plus(id, census.refunding, *amount)?;
                }
                State::Claiming(..)
                | State::Shared(..)
                | State::Forfeited(..)
                | State::Expired
                | State::Refunded(..) => {}
            }
        }
        Ok(census)
    }

    async fn counts(&self, id: ContestId) -> Result<Vec<StateCount>, StoreError> {
        let tables = self.tables();
        let mut counts = Vec::new();
        for &state in StateKind::ALL {
            let mut count = StateCount {
                state,
                signups: 0,
                fees: Coins::ZERO,
                prizes: Coins::ZERO,
            };
            for signup in tables
                .of_contest(id)
                .filter(|signup| signup.state.kind() == state)
            {
                count.signups += 1;
                count.fees = plus(id, count.fees, signup.fee_content().amount)?;
                let prize = signup.state.prize().unwrap_or(Coins::ZERO);
                count.prizes = plus(id, count.prizes, prize)?;
            }
            if count.signups > 0 {
                counts.push(count);
            }
        }
        Ok(counts)
    }

    async fn finishers(
        &self,
        id: ContestId,
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Vec<Finisher>, StoreError> {
        let tables = self.tables();
        let finishers = tables
            .signups_after(after)
            .filter(|signup| signup.contest_id == id)
            .filter_map(finisher);
        Ok(finishers.take(limit.min(PAGE_MAX)).collect())
    }

    async fn sheet_line(
        &self,
        id: ContestId,
        signup: SignupId,
    ) -> Result<Option<SheetLine>, StoreError> {
        Ok(self.tables().sheet.get(&(id, signup)).cloned())
    }

    async fn sheet(
        &self,
        id: ContestId,
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Page<SheetLine, SignupId>, StoreError> {
        let tables = self.tables();
        let lines = tables
            .sheet
            .iter()
            .filter(|((of, signup), _)| *of == id && after.is_none_or(|after| *signup > after))
            .map(|(_, line)| line.clone());
        Ok(page(lines, limit, |line| line.finisher.signup_id))
    }
}

impl Tables {
    /// A contest's signups, by id.
    pub(super) fn of_contest(&self, id: ContestId) -> impl Iterator<Item = &Signup> {
        self.signups_after(None)
            .filter(move |signup| signup.contest_id == id)
    }

    /// All signups after the given one, by id.
    pub(super) fn signups_after(&self, after: Option<SignupId>) -> impl Iterator<Item = &Signup> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.signups
            .range((from, Bound::Unbounded))
            .map(|(_, SignupRow { signup, .. })| signup)
    }
}

/// True for contests that are visible and fit the filter.
fn is_listed(contest: &Contest, filter: &ContestFilter, now: UnixMillis) -> bool {
    let ContestFilter {
        room_id,
        phases,
        opened,
    } = filter;
    let phase = contest.phase.kind();
    let is_visible = !matches!(phase, PhaseKind::Preparing | PhaseKind::Funding);
    is_visible
        && room_id
            .as_ref()
            .is_none_or(|room| *room == contest.terms.room_id)
        && (phases.is_empty() || phases.contains(&phase))
        && opened.is_none_or(|opened| opened == (contest.terms.signup_opens_at <= now))
}

fn is_provisional(signup: &Signup) -> bool {
    matches!(signup.state, State::Completed(_, _, Share::Provisional))
}

fn finisher(signup: &Signup) -> Option<Finisher> {
    match signup.state {
        State::Completed(_, _, Share::Fixed(weight)) => Some(Finisher {
            signup_id: signup.id,
            user_id: signup.user_id.clone(),
            weight,
        }),
        _ => None,
    }
}

/// A sum over rows that must fit: no contest can hold more coins than there are.
fn plus(id: ContestId, sum: Coins, amount: Coins) -> Result<Coins, StoreError> {
    sum.plus(amount).map_err(|error| StoreError::Inconsistent {
        table: "signup",
        key: id.to_string(),
        what: error.to_string(),
    })
}
