//! Who the viewers are and what they will do: all of it from the seed.

use super::rules::{Remainder, Rule, Terms};
use crate::rng::Rng;
use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value, json};

/// What kind of contest is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// Winners, a manual claim, unclaimed prizes paid at the end.
    Normal,
    /// An operator cancels it while tasks are done.
    Cancel,
    /// Nobody finishes: every fee goes back.
    NoWinners,
    /// The house pays everyone after the freeze.
    Automatic,
    /// A guaranteed pool that fees do not reach, and a rake.
    Guarantee,
    /// Everybody signs up in the same moment.
    Hot,
    /// 1,000 concurrent claims by one viewer; 200 viewers with 5 concurrent signups each.
    Claims,
    /// Three fee tiers, and a prize by what was paid.
    ByFee,
    /// A prize by how much was done, up to ten times the target.
    ByScore,
    /// A prize by how early the target was met.
    EarlyBird,
    /// A prize by lot, with a commitment before and the secret after.
    Lucky,
    /// Clients that break off in the middle of every call that moves money.
    Disconnects,
    /// Several contests under two experiments, whose results must be what the viewers did.
    Experiment,
}

impl Scenario {
    /// How its pool is split.
    pub(crate) const fn rule(self) -> Rule {
        match self {
            Self::ByFee => Rule::ByFee,
            Self::ByScore => Rule::ByScore,
            Self::EarlyBird => Rule::EarlyBird,
            Self::Lucky => Rule::Lucky,
            _ => Rule::Equal,
        }
    }

    /// Whether what viewers do is of many sizes and times.
    pub(crate) const fn is_varied(self) -> bool {
        !matches!(self.rule(), Rule::Equal)
    }
}

/// One contest and its audience.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) scenario: Scenario,
    pub(crate) viewers: u32,
    /// How often each call is broken off, where any is.
    pub(crate) times: u32,
    pub(crate) remainder: Remainder,
    pub(crate) seed: u64,
    /// Set before every name, so that runs on one instance do not meet.
    pub(crate) run: String,
    pub(crate) signup_ms: i64,
    pub(crate) task_ms: i64,
    pub(crate) claim_ms: i64,
}

/// The fee, where there is one.
pub(crate) const FEE: u64 = 10;
/// The fees to choose from, where there are several.
pub(crate) const TIERS: [u64; 3] = [FEE, 25, 100];
/// How many chests are to be opened.
pub(crate) const TARGET: u64 = 3;
/// How long after the end of the tasks an event may still arrive.
pub(crate) const GRACE_MS: i64 = 1_000;
/// The longest time between creation and the opening of signups.
pub(crate) const LEAD_MS: i64 = 300;

/// A contest's windows on this machine's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    pub(crate) opens: i64,
    pub(crate) closes: i64,
    pub(crate) ends: i64,
    pub(crate) claims_close: i64,
}

impl Setup {
    /// The windows, if it is created now.
    pub(crate) fn windows(&self, now: i64) -> Windows {
        let opens = now + LEAD_MS;
        let closes = opens + self.signup_ms;
        let ends = closes + self.task_ms;
        Windows {
            opens,
            closes,
            ends,
            claims_close: ends + GRACE_MS + self.claim_ms,
        }
    }

    /// Basis points that the platform takes.
    pub(crate) const fn rake_bps(&self) -> u64 {
        match self.scenario {
            Scenario::Guarantee => 777,
            scenario if scenario.is_varied() => 333,
            _ => 0,
        }
    }

    /// What the pool holds at least.
    pub(crate) const fn guaranteed_pool(&self) -> u64 {
        if matches!(self.scenario, Scenario::Guarantee) {
            FEE * self.viewers as u64 * 2 + 7
        } else {
            0
        }
    }

    /// The fees to choose from; empty where there is one fee.
    pub(crate) const fn tiers(&self) -> &'static [u64] {
        match self.scenario {
            Scenario::ByFee => &TIERS,
            _ => &[],
        }
    }

    /// What weights and prizes follow from.
    pub(crate) const fn terms(&self, windows: Windows) -> Terms {
        Terms {
            rule: self.scenario.rule(),
            remainder: self.remainder,
            target: TARGET,
            opens: windows.opens,
            ends: windows.ends,
        }
    }

    /// `friday-night` as `Friday night`.
    fn title(&self) -> String {
        let mut words = self.run.replace('-', " ");
        if let Some(first) = words.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        words
    }

    /// The body that creates the contest.
    pub(crate) fn contest(&self, windows: Windows) -> Result<Value> {
        let at = crate::clock::rfc3339;
        let automatic = self.scenario == Scenario::Automatic;
        let mut body = json!({
            "title": self.title(),
            "room_id": format!("room-{}", self.run),
            "fee": FEE,
            "task": { "kind": "open_chest", "target": TARGET },
            "payout": { "rule": self.scenario.rule().name() },
            "remainder": self.remainder.name(),
            "rake_bps": self.rake_bps(),
            "guaranteed_pool": self.guaranteed_pool(),
            "claim_mode": if automatic { "automatic" } else { "manual" },
            "grace_s": GRACE_MS / 1_000,
            "signup_opens_at": at(windows.opens)?,
            "signup_closes_at": at(windows.closes)?,
            "tasks_end_at": at(windows.ends)?,
            "claim_closes_at": at(windows.claims_close)?,
        });
        if !self.tiers().is_empty() {
            body["fee_tiers"] = json!(self.tiers());
        }
        Ok(body)
    }

    /// The audience.
    pub(crate) fn audience(&self) -> Vec<Plan> {
        let mut rng = Rng::new(self.seed);
        (0..self.viewers)
            .map(|number| self.viewer(number, &mut rng))
            .collect()
    }

    fn viewer(&self, number: u32, rng: &mut Rng) -> Plan {
        let purse = match rng.between(0, 100) {
            0..4 => Purse::Short,
            4..8 => Purse::ToppedUp,
            _ => Purse::Full,
        };
        let task = match rng.between(0, 100) {
            _ if self.scenario == Scenario::NoWinners => Deed::Partly,
            0..62 => Deed::Finishes,
            62..70 => Deed::ArrivesInGrace,
            70..78 => Deed::Late,
            78..85 => Deed::Early,
            85..93 => Deed::Partly,
            _ => Deed::Nothing,
        };
        let tiers = self.tiers();
        let choose = |rng: &mut Rng| tiers[usize::try_from(rng.next() % 3).unwrap_or(0)];
        let fee = if tiers.is_empty() { FEE } else { choose(rng) };
        let rival = (!tiers.is_empty() && purse == Purse::Full && rng.chance(15))
            .then(|| choose(rng))
            .filter(|rival| *rival != fee);
        let coins = match purse {
            Purse::Full => fee.max(rival.unwrap_or(0)) + rng.between(0, 90),
            Purse::Short | Purse::ToppedUp => rng.between(0, fee),
        };
        Plan {
            user: format!("{}-{number}", self.run),
            purse,
            fee,
            rival,
            coins,
            task,
            claims: rng.chance(85),
            tries_wrongly: rng.chance(10),
            hurry: self.scenario == Scenario::Hot,
            seed: rng.next(),
        }
    }
}

/// How much a viewer brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purse {
    /// Enough.
    Full,
    /// Too little, and it stays so.
    Short,
    /// Too little at first; is granted more and comes back.
    ToppedUp,
}

/// What a viewer does about the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Meets the target in time.
    Finishes,
    /// Meets it in time, and the events arrive within the grace.
    ArrivesInGrace,
    /// Meets it after the end: must not count.
    Late,
    /// Meets it before paying: must not count.
    Early,
    /// Does less than the target.
    Partly,
    /// Does nothing.
    Nothing,
}

/// One viewer.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) user: String,
    pub(crate) purse: Purse,
    /// The fee that the viewer chooses.
    pub(crate) fee: u64,
    /// Another fee that the viewer asks for in the same moment.
    pub(crate) rival: Option<u64>,
    /// What the viewer has before signups open.
    pub(crate) coins: u64,
    pub(crate) task: Deed,
    pub(crate) claims: bool,
    /// Claims without having finished.
    pub(crate) tries_wrongly: bool,
    /// Signs up the moment signups open.
    pub(crate) hurry: bool,
    pub(crate) seed: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup(scenario: Scenario) -> Setup {
        Setup {
            scenario,
            viewers: 2_000,
            times: 0,
            remainder: Remainder::Spread,
            seed: 7,
            run: "t".into(),
            signup_ms: 1,
            task_ms: 1,
            claim_ms: 1,
        }
    }

    #[test]
    fn one_seed_is_one_audience_of_every_kind() {
        let audience = setup(Scenario::Normal).audience();
        let again = setup(Scenario::Normal).audience();
        assert!(
            audience
                .iter()
                .zip(&again)
                .all(|(one, other)| one.seed == other.seed && one.task == other.task)
        );
        let share =
            |kind: fn(&Plan) -> bool| audience.iter().filter(|plan| kind(plan)).count() / 20;
        assert!((6..=10).contains(&share(|plan| plan.purse != Purse::Full)));
        assert!((66..=74).contains(&share(|plan| matches!(
            plan.task,
            Deed::Finishes | Deed::ArrivesInGrace
        ))));
        for task in [Deed::Late, Deed::Early, Deed::Partly, Deed::Nothing] {
            assert!(audience.iter().any(|plan| plan.task == task), "{task:?}");
        }
        assert!(
            audience
                .iter()
                .all(|plan| (plan.coins >= FEE) == (plan.purse == Purse::Full))
        );
    }

    #[test]
    fn viewers_choose_among_the_tiers_and_some_ask_for_two() {
        let audience = setup(Scenario::ByFee).audience();
        for fee in TIERS {
            assert!(audience.iter().any(|plan| plan.fee == fee), "{fee}");
        }
        assert!(audience.iter().any(|plan| plan.rival.is_some()));
        assert!(
            audience
                .iter()
                .filter_map(|plan| plan.rival.map(|rival| (plan, rival)))
                .all(|(plan, rival)| plan.coins >= plan.fee.max(rival) && rival != plan.fee)
        );
    }

    #[test]
    fn nobody_finishes_without_winners() {
        let audience = setup(Scenario::NoWinners).audience();
        assert!(audience.iter().all(|plan| plan.task == Deed::Partly));
    }
}
