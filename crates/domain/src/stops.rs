//! When payouts of a contest are stopped, and until when prizes can be claimed.

use crate::{
    contest::{Contest, ContestFact, Phase, Settlement},
    money::Coins,
    switch::Stretch,
    time::UnixMillis,
};

/// When payouts were stopped: while the books of a contest differ, nothing leaves its pool. And when claims
/// were switched off, which lets nobody begin to claim. Either makes the time to claim longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stops {
    /// Since when payouts are stopped; none while they go on.
    pub since: Option<UnixMillis>,
    /// Since when claims are switched off, as far as it is known here; none while they are on.
    pub claims_off_since: Option<UnixMillis>,
    /// For how long nobody could claim while there were prizes to claim, in milliseconds; what goes on is
    /// not counted.
    pub total_ms: i64,
    /// Up to when stops are counted in it: none counts twice where two overlap.
    pub counted_until: UnixMillis,
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
    /// Stops payouts, lets them go on, takes account of claims that are or were switched off, or goes by what
    /// an operator has accepted.
    pub(crate) fn stopped(self, fact: ContestFact, now: UnixMillis) -> Option<Self> {
        let stops = match (fact, self.stops.since) {
            (ContestFact::PayoutsStopped, None) if !self.phase.kind().is_terminal() => Stops {
                since: Some(now),
                ..self.stops
            },
            (ContestFact::PayoutsResumed, Some(since)) => Stops {
                since: None,
                ..self.counted(since, now)
            },
            (ContestFact::ClaimsOff(Stretch { from, to }), _)
                if matches!(self.phase, Phase::Claimable(_)) =>
            {
                match to {
                    None => Stops {
                        claims_off_since: Some(from),
                        ..self.stops
                    },
                    Some(to) => Stops {
                        claims_off_since: None,
                        ..self.counted(from, to)
                    },
                }
            }
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

    /// The first time during which claims were or are switched off that has not been taken account of.
    #[must_use]
    pub fn claims_off(&self, stretches: &[Stretch]) -> Option<ContestFact> {
        let Phase::Claimable(settlement) = &self.phase else {
            return None;
        };
        let known = self.stops.claims_off_since;
        let is_news = |stretch: &&Stretch| match stretch.to {
            None => known != Some(stretch.from),
            // One that is known as going on ends here, also where its time is counted already.
            Some(to) => {
                known == Some(stretch.from)
                    || to > self.stops.counted_until.max(settlement.claimable_at)
            }
        };
        // What is known as going on and is not in the history any more has ended.
        let vanished = known.filter(|from| stretches.iter().all(|one| one.from != *from));
        let news = stretches.iter().find(is_news).copied();
        news.or(vanished.map(|from| Stretch {
            from,
            to: Some(from),
        }))
        .map(ContestFact::ClaimsOff)
    }

    /// The end of the claim window: `claim_closes_at`, or later if claims opened late, so that a
    /// late settling never eats it, and later by as long as payouts were stopped or claims switched off. None
    /// before claims open, and while something is stopped that had not ended before.
    #[must_use]
    pub fn claims_end_at(&self) -> Option<UnixMillis> {
        match &self.phase {
            Phase::Claimable(settlement) | Phase::Closed(settlement) => {
                let end = self.end_so_far(settlement);
                let open = [self.stops.since, self.stops.claims_off_since];
                let is_over = open.iter().flatten().all(|since| *since >= end);
                is_over.then_some(end)
            }
            _ => None,
        }
    }

    fn end_so_far(&self, settlement: &Settlement) -> UnixMillis {
        let length = self.terms.claim_closes_at.since(self.terms.tasks_end_at);
        self.terms
            .claim_closes_at
            .max(settlement.claimable_at.plus(length))
            .plus(self.stops.total_ms)
    }

    /// The stops with one of them counted: as long as it has kept people from their prizes. Before claims
    /// open, or after they have ended, it keeps nobody.
    fn counted(&self, from: UnixMillis, to: UnixMillis) -> Stops {
        let Phase::Claimable(settlement) = &self.phase else {
            return self.stops;
        };
        // What began before it and goes on is counted up to its end too: the two are one.
        let open = [self.stops.since, self.stops.claims_off_since];
        let from = open.into_iter().flatten().fold(from, UnixMillis::min);
        let kept = if from < self.end_so_far(settlement) {
            let uncounted = from
                .max(settlement.claimable_at)
                .max(self.stops.counted_until);
            to.since(uncounted).max(0)
        } else {
            0
        };
        Stops {
            total_ms: self.stops.total_ms + kept,
            counted_until: self.stops.counted_until.max(to),
            ..self.stops
        }
    }
}
