//! When payouts of a contest are stopped, and until when prizes can be claimed.

use crate::{
    contest::{Contest, ContestFact, Phase},
    money::Coins,
    time::UnixMillis,
};

/// When payouts were stopped: while the books of a contest differ, nothing leaves its pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stops {
    /// Since when they are stopped; none while they go on.
    pub since: Option<UnixMillis>,
    /// For how long they were stopped while prizes could be claimed, in milliseconds, the stop that
    /// goes on not counted.
    pub total_ms: i64,
    /// How many coins more than the rows allow the pool may hold, below zero less, because an operator
    /// has overridden by name that it does; 0 where the books must balance.
    pub accepted: i64,
}

impl Stops {
    /// The coins that are in the pool beyond what the rows allow, and leave with the sweep.
    #[must_use]
    pub fn excess(&self) -> Coins {
        Coins::try_from(self.accepted.max(0)).unwrap_or(Coins::ZERO)
    }

    /// True while nothing may leave the pool.
    #[must_use]
    pub const fn is_stopped(&self) -> bool {
        self.since.is_some()
    }
}

impl Contest {
    /// Stops payouts, lets them go on, or goes by what an operator has accepted.
    pub(crate) fn stopped(self, fact: ContestFact, now: UnixMillis) -> Option<Self> {
        let stops = match (fact, self.stops.since) {
            (ContestFact::PayoutsStopped, None) if !self.phase.kind().is_terminal() => Stops {
                since: Some(now),
                ..self.stops
            },
            (ContestFact::PayoutsResumed, Some(since)) => Stops {
                since: None,
                total_ms: self.stops.total_ms + self.kept_from_claiming(since, now),
                ..self.stops
            },
            // Before the freeze, or where nothing is frozen: afterwards the numbers stand.
            (ContestFact::GapAccepted(gap), _)
                if matches!(
                    self.phase,
                    Phase::Judging(_) | Phase::Cancelling(_, Some(_))
                ) =>
            {
                Stops {
                    accepted: gap,
                    ..self.stops
                }
            }
            _ => return None,
        };
        Some(Self {
            stops,
            updated_at: now,
            ..self
        })
    }

    /// The end of the claim window: `claim_closes_at`, or later if claims opened late, so that a
    /// late settling never eats it, and later by as long as payouts were stopped. None before claims
    /// open, and while payouts are stopped that had not ended before.
    #[must_use]
    pub fn claims_end_at(&self) -> Option<UnixMillis> {
        match &self.phase {
            Phase::Claimable(settlement) | Phase::Closed(settlement) => {
                let length = self.terms.claim_closes_at.since(self.terms.tasks_end_at);
                let end = self
                    .terms
                    .claim_closes_at
                    .max(settlement.claimable_at.plus(length))
                    .plus(self.stops.total_ms);
                Some(end).filter(|end| self.stops.since.is_none_or(|since| since >= *end))
            }
            _ => None,
        }
    }

    /// How long a stop that began at `since` has kept people from their prizes until `now`, in
    /// milliseconds: a stop before claims open, or after they have ended, keeps nobody.
    fn kept_from_claiming(&self, since: UnixMillis, now: UnixMillis) -> i64 {
        match (&self.phase, self.claims_end_at()) {
            (Phase::Claimable(settlement), None) => {
                now.since(since.max(settlement.claimable_at)).max(0)
            }
            _ => 0,
        }
    }
}
