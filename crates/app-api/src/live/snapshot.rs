//! What an event of a contest says: the whole of what viewers watch, as of one look.

use super::hub::{EventIds, Look, Source, frame};
use crate::wire::{ContestView, PoolView, SettlementView, rfc3339};
use domain::{
    contest::{Contest, PhaseKind},
    ids::ContestId,
    signup::StateKind,
    time::UnixMillis,
};
use ports::contests::StateCount;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use usecases::{Contests, Failure, Pool, count};

/// The shortest time between two looks.
const PACE_MIN: Duration = Duration::from_millis(250);
/// The longest time between two events: `server_time` must be fresh.
const FRESH: Duration = Duration::from_secs(3);
/// The longest time between two countings, however much they cost.
const PACE_MAX: Duration = Duration::from_secs(60);
/// How many times what a counting took lies between two of them, for each contest that is watched:
/// all of them together take a tenth of one core.
const REST: u32 = 9;
/// How long to wait when store or funds system do not answer.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The pause after something that took `cost`, where `watched` things are looked at.
pub(crate) fn pace(cost: Duration, watched: usize, least: Duration) -> Duration {
    let shares = u32::try_from(watched.max(1)).unwrap_or(u32::MAX);
    let rest = cost.saturating_mul(REST.saturating_mul(shares));
    rest.clamp(least, PACE_MAX.max(least))
}

/// What is counted; it costs.
#[derive(Clone, PartialEq)]
pub(crate) struct Counted {
    pub(crate) pool: Pool,
    pub(crate) counts: Vec<StateCount>,
    phase: PhaseKind,
}

impl Counted {
    /// Counts a contest's signups and coins.
    pub(crate) async fn of(contests: &Contests, contest: &Contest) -> Result<Self, Failure> {
        let pool = contests.pool(contest).await?;
        let counts = contests.ports().contests.counts(contest.id).await?;
        Ok(Self {
            pool,
            counts,
            phase: contest.phase.kind(),
        })
    }

    /// True where both say the same; as of when does not matter.
    fn says(&self, other: &Self) -> bool {
        let as_of = self.pool.as_of;
        let pool = Pool {
            as_of,
            ..other.pool
        };
        self.pool == pool && self.counts == other.counts
    }
}

#[derive(Serialize)]
struct Tally {
    signups: u64,
    finishers: u64,
    states: BTreeMap<&'static str, u64>,
}

#[derive(Serialize)]
struct Snapshot {
    contest_id: String,
    phase: &'static str,
    server_time: String,
    pool: PoolView,
    tally: Tally,
    #[serde(skip_serializing_if = "Option::is_none")]
    settlement: Option<SettlementView>,
}

/// The states of those who met the target.
pub(crate) const FINISHED: [StateKind; 4] = [
    StateKind::Completed,
    StateKind::Claiming,
    StateKind::Shared,
    StateKind::Forfeited,
];

fn snapshot(contest: &Contest, counted: &Counted, now: UnixMillis) -> Snapshot {
    let counts = &counted.counts;
    let tally = Tally {
        signups: count(counts, StateKind::ALL),
        finishers: count(counts, &FINISHED),
        states: counts
            .iter()
            .map(|count| (count.state.name(), count.signups))
            .collect(),
    };
    let ContestView {
        phase, settlement, ..
    } = ContestView::new(contest, now);
    Snapshot {
        contest_id: contest.id.to_string(),
        phase,
        server_time: rfc3339(now),
        pool: counted.pool.into(),
        tally,
        settlement,
    }
}

/// Looks at one contest.
pub(crate) struct ContestSource {
    contests: Arc<Contests>,
    ids: Arc<EventIds>,
    id: ContestId,
    counted: Option<Counted>,
    count_at: Instant,
    sent: Option<(&'static str, Instant)>,
}

impl ContestSource {
    pub(crate) fn new(contests: Arc<Contests>, ids: Arc<EventIds>, id: ContestId) -> Self {
        Self {
            contests,
            ids,
            id,
            counted: None,
            count_at: Instant::now(),
            sent: None,
        }
    }

    async fn try_look(&mut self, watched: usize) -> Result<Look, Failure> {
        let ports = self.contests.ports();
        let Some(contest) = ports.contests.get(self.id).await? else {
            return Ok(Look {
                event: None,
                again: None,
            });
        };
        let kind = contest.phase.kind();
        let started = Instant::now();
        let mut changed = false;
        // A new phase is counted at once: what was frozen must not be shown beside what was not.
        if started >= self.count_at || self.counted.as_ref().is_none_or(|old| old.phase != kind) {
            let counted = Counted::of(&self.contests, &contest).await?;
            changed = self.counted.as_ref().is_none_or(|old| !old.says(&counted));
            self.counted = Some(counted);
            self.count_at = Instant::now() + pace(started.elapsed(), watched, PACE_MIN);
        }
        let now = ports.clock.now();
        let phase = contest.public_phase(now).name();
        let is_due = self.sent.is_none_or(|(said, at)| {
            said != phase || at.elapsed() + PACE_MIN / 2 >= FRESH || kind.is_terminal()
        });
        let event = match &self.counted {
            Some(counted) if changed || is_due => {
                self.sent = Some((phase, Instant::now()));
                let json = serde_json::to_string(&snapshot(&contest, counted, now));
                json.ok().map(|json| frame(self.ids.next(now.0), &json))
            }
            _ => None,
        };
        let fresh = self
            .sent
            .map_or(PACE_MIN, |(_, at)| FRESH.saturating_sub(at.elapsed()));
        let counting = self.count_at.saturating_duration_since(Instant::now());
        Ok(Look {
            event,
            again: (!kind.is_terminal()).then_some(counting.min(fresh).max(PACE_MIN)),
        })
    }
}

impl Source for ContestSource {
    async fn look(&mut self, watched: usize) -> Look {
        self.try_look(watched).await.unwrap_or_else(|error| {
            tracing::warn!(
                contest.id = %self.id,
                error = &error as &dyn std::error::Error,
                "a watched contest could not be looked at"
            );
            Look {
                event: None,
                again: Some(AFTER_FAILURE),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_costs_more_is_done_less_often() {
        let millis = Duration::from_millis;
        assert_eq!(pace(millis(1), 1, PACE_MIN), PACE_MIN);
        assert_eq!(pace(millis(300), 1, PACE_MIN), millis(2_700));
        assert_eq!(pace(millis(300), 10, PACE_MIN), millis(27_000));
        assert_eq!(pace(millis(300), 1_000, PACE_MIN), PACE_MAX);
    }
}
