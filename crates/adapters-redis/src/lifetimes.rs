//! How long what is kept lives: until some days after the contest's end, as one absolute time.

use domain::{contest::Contest, terms::Terms, time::UnixMillis};

const DAY_MS: i64 = 86_400_000;
/// What is kept lives this long at least, however long ago the contest ended: somebody has just
/// looked at it.
const LEAST_MS: i64 = 3_600_000;

/// Lifetimes in days after the contest's end (`claim_closes_at`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of viewers' records.
    pub record_days: u32,
    /// Of numbers, rankings and pools of the past.
    pub totals_days: u32,
    /// Of the unique keys by which counts are counted once.
    pub unique_days: u32,
    /// The longest contest, in days: what is kept of one lives from its creation on.
    pub contest_days_max: u32,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            record_days: 3,
            totals_days: 12,
            unique_days: 2,
            contest_days_max: 366,
        }
    }
}

/// What lives how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Record,
    Totals,
    Unique,
}

impl Lifetimes {
    /// The moment at which something of a contest ends, in milliseconds since 1970. The only place
    /// in which a lifetime becomes a time.
    pub(crate) fn ends_at(&self, kind: Kind, contest: &Contest, now: UnixMillis) -> UnixMillis {
        let days = match kind {
            Kind::Record => self.record_days,
            Kind::Totals => self.totals_days,
            Kind::Unique => self.unique_days,
        };
        let after_end = contest
            .terms
            .claim_closes_at
            .0
            .saturating_add(i64::from(days) * DAY_MS);
        UnixMillis(after_end.max(now.0.saturating_add(LEAST_MS)))
    }

    /// The same for a record, up to a tenth earlier or later by its number, so that not all of a
    /// room end at once (hazard E10). Never before the contest itself.
    pub(crate) fn record_ends_at(
        &self,
        contest: &Contest,
        now: UnixMillis,
        number: u64,
    ) -> UnixMillis {
        let tenth = i64::from(self.record_days) * DAY_MS / 10;
        let shift = i64::try_from(number % 2_001).unwrap_or(0) - 1_000;
        let ends_at = self.ends_at(Kind::Record, contest, now);
        UnixMillis(
            ends_at
                .0
                .saturating_add(tenth / 1_000 * shift)
                .max(now.0.saturating_add(LEAST_MS / 2)),
        )
    }
}

impl ports::shown::Lifetimes for crate::RedisShown {
    fn check(&self, terms: &Terms, now: UnixMillis) -> Result<(), u32> {
        let longest = self.lifetimes.contest_days_max;
        let lasts = terms.claim_closes_at.0.saturating_sub(now.0);
        if lasts > i64::from(longest) * DAY_MS {
            return Err(longest);
        }
        Ok(())
    }
}
