//! What was measured, and how it is told.

use anyhow::Result;
use serde::Serialize;
use serde_json::json;
use std::{collections::BTreeMap, fmt};

/// Latencies in microseconds and a rate.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Measured {
    pub(super) done: usize,
    pub(super) seconds_ms: u128,
    pub(super) per_second: u128,
    pub(super) p50_us: u128,
    pub(super) p99_us: u128,
}

/// One contest from signups to claims.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Round {
    connections: usize,
    /// Before the signups and after them, before the claims and after them.
    pub(super) device_syncs_per_second: Vec<u128>,
    /// Likewise: signups that the same MySQL writes one transaction each, nothing else done for them.
    /// Empty where there is no MySQL.
    pub(super) one_by_one_per_second: Vec<u128>,
    pub(super) signup_alone: Measured,
    pub(super) signups: Measured,
    pub(super) claims: Measured,
    /// Processor time of each program in microseconds per signup.
    pub(super) cpu_us_per_signup: BTreeMap<String, u128>,
    /// Likewise per claim.
    pub(super) cpu_us_per_claim: BTreeMap<String, u128>,
}

impl Round {
    pub(super) fn of(connections: usize) -> Self {
        Self {
            connections,
            ..Self::default()
        }
    }

    /// Signups in percent of those that the same MySQL writes one by one just before and just after.
    fn signups_percent(&self) -> Option<u128> {
        percent(&self.signups, self.one_by_one_per_second.get(..2)?)
    }

    /// Claims likewise.
    fn claims_percent(&self) -> Option<u128> {
        percent(&self.claims, self.one_by_one_per_second.get(2..4)?)
    }
}

fn percent(measured: &Measured, beside: &[u128]) -> Option<u128> {
    let sum: u128 = beside.iter().sum();
    (measured.per_second * 100 * beside.len() as u128).checked_div(sum)
}

/// `4.07` for 407.
fn times(percent: u128) -> String {
    format!("{}.{:02}", percent / 100, percent % 100)
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<28}{:>9}{:>12}{:>10}{:>10}",
            "", "done", "per second", "p50 us", "p99 us"
        )?;
        let crowd = format!("c = {}", self.connections);
        for (name, measured) in [
            ("signup, one user alone".to_owned(), &self.signup_alone),
            (format!("signups, {crowd}"), &self.signups),
            (format!("claims, {crowd}"), &self.claims),
        ] {
            let Measured {
                done,
                per_second,
                p50_us,
                p99_us,
                ..
            } = measured;
            writeln!(
                f,
                "{name:<28}{done:>9}{per_second:>12}{p50_us:>10}{p99_us:>10}"
            )?;
        }
        writeln!(
            f,
            "device syncs per second, before and after each: {:?}",
            self.device_syncs_per_second
        )?;
        if let (Some(signups), Some(claims)) = (self.signups_percent(), self.claims_percent()) {
            writeln!(
                f,
                "signups that the same MySQL writes one by one, before and after each: {:?} per second; \
                 our signups {} times, our claims {} times as many",
                self.one_by_one_per_second,
                times(signups),
                times(claims)
            )?;
        }
        for (what, each) in [
            ("signup", &self.cpu_us_per_signup),
            ("claim", &self.cpu_us_per_claim),
        ] {
            let sum: u128 = each.values().sum();
            let parts: Vec<String> = each
                .iter()
                .map(|(program, us)| format!("{program} {us}"))
                .collect();
            writeln!(f, "processor us per {what}: {sum} ({})", parts.join(", "))?;
        }
        Ok(())
    }
}

/// All that was measured in one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Rounds(pub(super) Vec<Round>);

impl Rounds {
    /// The least, the median and the most of something that a round may have.
    fn spread(&self, of: impl Fn(&Round) -> Option<u128>) -> Option<[u128; 3]> {
        let mut all: Vec<u128> = self.0.iter().filter_map(of).collect();
        all.sort_unstable();
        Some([*all.first()?, median(&all)?, *all.last()?])
    }

    fn spreads(&self) -> [(&'static str, Option<[u128; 3]>); 4] {
        [
            (
                "signups_per_second",
                self.spread(|round| Some(round.signups.per_second)),
            ),
            (
                "claims_per_second",
                self.spread(|round| Some(round.claims.per_second)),
            ),
            (
                "signups_percent_of_one_by_one",
                self.spread(Round::signups_percent),
            ),
            (
                "claims_percent_of_one_by_one",
                self.spread(Round::claims_percent),
            ),
        ]
    }

    /// For scripts: every round, and of what counts the least, the median and the most.
    pub(super) fn json(&self, settings: &str, invariants_green: bool) -> Result<String> {
        let mut all = json!({
            "settings": settings,
            "rounds": self.0,
            "invariants_green": invariants_green,
        });
        for (name, spread) in self.spreads() {
            if let Some([least, median, most]) = spread {
                all[name] = json!({ "least": least, "median": median, "most": most });
            }
        }
        Ok(serde_json::to_string_pretty(&all)?)
    }
}

impl fmt::Display for Rounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<32}{:>9}{:>9}{:>9}",
            format!("of {} rounds", self.0.len()),
            "least",
            "median",
            "most"
        )?;
        for (name, spread) in self.spreads() {
            if let Some([least, median, most]) = spread {
                writeln!(f, "{name:<32}{least:>9}{median:>9}{most:>9}")?;
            }
        }
        Ok(())
    }
}

/// The middle of what is sorted.
pub(super) fn median(sorted: &[u128]) -> Option<u128> {
    let middle = sorted.get(sorted.len().checked_sub(1)? / 2..=sorted.len() / 2)?;
    Some(middle.iter().sum::<u128>() / middle.len() as u128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(signups: u128, claims: u128, one_by_one: &[u128]) -> Round {
        let measured = |per_second| Measured {
            per_second,
            ..Measured::default()
        };
        Round {
            signups: measured(signups),
            claims: measured(claims),
            one_by_one_per_second: one_by_one.to_vec(),
            ..Round::of(64)
        }
    }

    #[test]
    fn a_ratio_is_to_what_was_measured_right_before_and_after() {
        let round = round(1_500, 900, &[300, 500, 100, 500]);
        assert_eq!(round.signups_percent(), Some(375));
        assert_eq!(round.claims_percent(), Some(300));
        assert_eq!(times(375), "3.75");
        assert_eq!(times(405), "4.05");
    }

    #[test]
    fn where_there_is_no_mysql_there_is_no_ratio() {
        let rounds = Rounds(vec![round(4_000, 4_000, &[])]);
        assert_eq!(rounds.0[0].signups_percent(), None);
        let told = rounds.to_string();
        assert!(told.contains("claims_per_second") && !told.contains("percent"));
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[10, 20, 40, 90]), Some(30));
        let rounds = Rounds([30, 10, 20].map(|rate| round(rate, 1, &[])).to_vec());
        assert_eq!(
            rounds.spread(|r| Some(r.signups.per_second)),
            Some([10, 20, 30])
        );
        assert_eq!(Rounds::default().spread(|_| Some(1)), None);
    }
}
