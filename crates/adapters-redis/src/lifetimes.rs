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
        // No contest that was created under these lifetimes ends later (see `check`): what would is
        // a mistake, and shall not stay for ever.
        let latest = (i64::from(self.contest_days_max) + i64::from(days)) * DAY_MS;
        UnixMillis(after_end.clamp(
            now.0.saturating_add(LEAST_MS),
            now.0.saturating_add(latest.max(LEAST_MS)),
        ))
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

#[cfg(test)]
mod tests {
    use super::*;
    use contract_tests::samples::{Dice, all_contests, terms};
    use ports::shown::Lifetimes as _;

    const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

    /// Contests in every phase that end at any time at all, near and absurd.
    fn contests(dice: &mut Dice) -> Vec<Contest> {
        let mut contests = all_contests(NOW);
        for contest in &mut contests {
            contest.terms.claim_closes_at = match dice.roll(6) {
                0 => UnixMillis(i64::MIN),
                1 => UnixMillis(i64::MAX),
                // Seconds taken for milliseconds, and the reverse.
                2 => UnixMillis(NOW.0 / 1_000),
                3 => UnixMillis(NOW.0.saturating_mul(1_000)),
                _ => NOW.plus(dice.roll(400) as i64 * DAY_MS - 20 * DAY_MS),
            };
        }
        contests
    }

    // hazard: D4, E11
    #[test]
    fn every_end_is_in_the_future_and_within_bounds_in_every_phase() {
        let mut dice = Dice::cast();
        for _ in 0..500 {
            let lifetimes = Lifetimes {
                record_days: dice.roll(30) as u32,
                totals_days: dice.roll(30) as u32,
                unique_days: dice.roll(30) as u32,
                contest_days_max: dice.roll(400) as u32,
            };
            for contest in contests(&mut dice) {
                let end = contest.terms.claim_closes_at;
                for (kind, days) in [
                    (Kind::Record, lifetimes.record_days),
                    (Kind::Totals, lifetimes.totals_days),
                    (Kind::Unique, lifetimes.unique_days),
                ] {
                    let ends_at = lifetimes.ends_at(kind, &contest, NOW);
                    let longest = i64::from(lifetimes.contest_days_max + days) * DAY_MS;
                    assert!(ends_at >= NOW.plus(LEAST_MS), "{kind:?} {contest:?}");
                    assert!(
                        ends_at <= NOW.plus(longest.max(LEAST_MS)),
                        "{kind:?} {contest:?}"
                    );
                    let is_allowed = (NOW..=NOW
                        .plus(i64::from(lifetimes.contest_days_max) * DAY_MS))
                        .contains(&end);
                    if is_allowed && i64::from(days) * DAY_MS >= LEAST_MS {
                        assert_eq!(ends_at, end.plus(i64::from(days) * DAY_MS));
                    }
                }
                let tenth = i64::from(lifetimes.record_days) * DAY_MS / 10;
                let exact = lifetimes.ends_at(Kind::Record, &contest, NOW);
                let number = dice.roll(usize::MAX) as u64;
                let ends_at = lifetimes.record_ends_at(&contest, NOW, number);
                assert!(ends_at.since(exact).abs() <= tenth);
                assert!(ends_at >= NOW.plus(LEAST_MS / 2));
            }
        }
    }

    // hazard: E10
    #[test]
    fn records_of_one_contest_do_not_end_together() {
        let lifetimes = Lifetimes::default();
        let contest = &all_contests(NOW)[0];
        let tenth = i64::from(lifetimes.record_days) * DAY_MS / 10;
        let exact = lifetimes.ends_at(Kind::Record, contest, NOW);
        // Twenty bins over the two tenths.
        let mut bins = [0_u32; 20];
        for number in 0..20_000 {
            let number = crate::hash::number(&format!("{}:viewer-{number}", contest.id));
            let shift = lifetimes.record_ends_at(contest, NOW, number).since(exact);
            let bin = (shift + tenth) * 20 / (2 * tenth + 1);
            bins[usize::try_from(bin).expect("in a bin")] += 1;
        }
        for bin in bins {
            assert!((800..1_200).contains(&bin), "{bins:?}");
        }
    }

    // hazard: E11
    #[tokio::test]
    async fn a_contest_is_checked_against_the_lifetimes_when_it_is_created() {
        let mut settings = crate::Settings::new("redis://127.0.0.1:1");
        settings.lifetimes.contest_days_max = 30;
        let shown = crate::RedisShown::connect(&settings).expect("settings");
        let mut asked = terms(NOW);
        for (lasts, wanted) in [
            (30 * DAY_MS, Ok(())),
            (30 * DAY_MS + 1, Err(30)),
            (i64::MAX - NOW.0, Err(30)),
            (1, Ok(())),
        ] {
            asked.claim_closes_at = NOW.plus(lasts);
            assert_eq!(shown.check(&asked, NOW), wanted, "{lasts}");
        }
    }
}
