//! What a contest promises, fixed when it is created. Only the title may change afterwards.

use crate::{
    ids::{RoomId, SeriesId, TaskKind},
    money::Coins,
    payout::Rule,
    time::UnixMillis,
};
use std::collections::BTreeSet;

/// The immutable terms of a contest. Made by [`Terms::check`] alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The room whose events count.
    pub room_id: RoomId,
    /// What a viewer pays to sign up, at least 1; where there are tiers, one of them.
    pub fee: Coins,
    /// The fees that a viewer may choose from, each once; empty where there is no choice.
    pub fee_tiers: Vec<Coins>,
    /// What has to be done.
    pub task: Task,
    /// How the pool is split.
    pub rule: Rule,
    /// The platform's part of the fees, in basis points.
    pub rake_bps: BasisPoints,
    /// What the pool holds at least.
    pub guaranteed_pool: Coins,
    /// The series that the contest belongs to and what it brings along.
    pub series: Option<Carried>,
    /// Who starts the payment of a prize.
    pub claim_mode: ClaimMode,
    /// Where the pool goes when nobody finishes.
    pub no_winner: NoWinner,
    /// Where the coins go that whole-coin division leaves over.
    pub remainder: Remainder,
    /// Where prizes go that nobody claimed in time.
    pub unclaimed: Unclaimed,
    /// How long after `tasks_end_at` an event may still arrive, in milliseconds.
    pub grace_ms: i64,
    /// When signups open.
    pub signup_opens_at: UnixMillis,
    /// When signups close: the first moment at which no fee can be paid.
    pub signup_closes_at: UnixMillis,
    /// The first moment at which nothing done counts any more.
    pub tasks_end_at: UnixMillis,
    /// The earliest end of the claim window.
    pub claim_closes_at: UnixMillis,
}

/// What has to be done: `target` units of `kind`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    /// Which events count.
    pub kind: TaskKind,
    /// How much of it, at least 1.
    pub target: u64,
}

/// The series of a contest and the coins carried over from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// Whose account the carry comes from and a rollover goes to.
    pub series_id: SeriesId,
    /// What it brings into the pool.
    pub carry: Coins,
}

/// Hundredths of a percent, 0 to 10,000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BasisPoints(u16);

impl BasisPoints {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// The whole.
    pub const WHOLE: u16 = 10_000;

    /// `points` basis points; none above 10,000.
    #[must_use]
    pub const fn new(points: u16) -> Option<Self> {
        if points <= Self::WHOLE {
            Some(Self(points))
        } else {
            None
        }
    }

    /// The number of basis points.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// ⌊amount · bps / 10,000⌋.
    #[must_use]
    pub fn of(self, amount: Coins) -> Coins {
        // The ratio is at most one and the product below 2^67, so a part always exists.
        amount
            .part(self.0.into(), Self::WHOLE.into())
            .unwrap_or(Coins::ZERO)
    }
}

macro_rules! choice {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every choice.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable name, as stored and sent.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The choice of that name.
            #[must_use]
            pub fn named(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|choice| choice.name() == text)
            }
        }
    };
}
pub(crate) use choice;

choice! {
    /// Who starts the payment of a prize.
    ClaimMode {
        /// The viewer claims.
        Manual = "manual",
        /// Everyone is paid after the freeze, and nothing is ever forfeited.
        Automatic = "automatic",
    }
}
choice! {
    /// Where the pool goes when nobody finishes.
    NoWinner {
        /// Every fee back, without rake.
        Refund = "refund",
        /// To the series.
        Rollover = "rollover",
        /// To the platform.
        Platform = "platform",
    }
}
choice! {
    /// Where the coins go that whole-coin division leaves over.
    Remainder {
        /// Spread over the finishers: the prizes add up to the pool exactly.
        Spread = "spread",
        /// To the platform.
        Platform = "platform",
        /// To the series.
        Rollover = "rollover",
    }
}
choice! {
    /// Where prizes go that nobody claimed in time.
    Unclaimed {
        /// To their winners all the same.
        Pay = "pay",
        /// To the platform.
        Platform = "platform",
        /// To the series.
        Rollover = "rollover",
    }
}

/// The largest fee.
pub const FEE_MAX: u64 = 1_000_000_000;
/// The most fee tiers.
pub const FEE_TIERS_MAX: usize = 10;
/// The largest task target.
pub const TARGET_MAX: u64 = 1_000_000_000;
/// The largest guaranteed pool: with it, a billion fees still fit into [`Coins`].
pub const GUARANTEED_POOL_MAX: u64 = 1_000_000_000_000;
/// The longest grace, one hour.
pub const GRACE_MS_MAX: i64 = 3_600_000;
/// The longest time from the opening of signups to the end of the claim window: 366 days.
pub const LENGTH_MS_MAX: i64 = 366 * 86_400_000;

/// One rule that wished terms break. The names of fields are those of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct BrokenTerm {
    /// The field to change.
    pub field: &'static str,
    /// A stable name of the rule.
    pub code: &'static str,
    /// The rule, for people.
    pub rule: &'static str,
}

/// A choice of fee that the terms do not offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TierError {
    /// There are tiers, and none was chosen.
    #[error("is needed: this contest has fee tiers")]
    Missing,
    /// There are no tiers to choose from.
    #[error("this contest has no fee tiers")]
    NoTiers,
    /// It is not one of the tiers.
    #[error("is not one of the fee tiers")]
    Unknown,
}

impl Terms {
    /// These terms, if they keep every rule; else every rule they break, in the order of the
    /// fields.
    ///
    /// # Errors
    /// All [`BrokenTerm`]s at once.
    pub fn check(self) -> Result<Self, Vec<BrokenTerm>> {
        let is_fee = |fee: &Coins| (1..=FEE_MAX).contains(&fee.get());
        let distinct: BTreeSet<_> = self.fee_tiers.iter().collect();
        let rules = [
            (
                is_fee(&self.fee),
                "fee",
                "out_of_range",
                "must be from 1 to 1000000000",
            ),
            (
                self.fee_tiers.is_empty() || self.fee_tiers.contains(&self.fee),
                "fee",
                "not_a_tier",
                "must be one of fee_tiers",
            ),
            (
                self.fee_tiers.len() <= FEE_TIERS_MAX && self.fee_tiers.iter().all(is_fee),
                "fee_tiers",
                "out_of_range",
                "must be 1 to 10 amounts from 1 to 1000000000",
            ),
            (
                distinct.len() == self.fee_tiers.len(),
                "fee_tiers",
                "duplicate_value",
                "must name each amount once",
            ),
            (
                (1..=TARGET_MAX).contains(&self.task.target),
                "task/target",
                "out_of_range",
                "must be from 1 to 1000000000",
            ),
            (
                self.guaranteed_pool.get() <= GUARANTEED_POOL_MAX,
                "guaranteed_pool",
                "out_of_range",
                "must be from 0 to 1000000000000",
            ),
            (
                self.series.is_some() || self.no_winner != NoWinner::Rollover,
                "no_winner",
                "not_supported_yet",
                "rollover needs a series",
            ),
            (
                self.series.is_some() || self.remainder != Remainder::Rollover,
                "remainder",
                "not_supported_yet",
                "rollover needs a series",
            ),
            (
                self.series.is_some() || self.unclaimed != Unclaimed::Rollover,
                "unclaimed",
                "not_supported_yet",
                "rollover needs a series",
            ),
            (
                (0..=GRACE_MS_MAX).contains(&self.grace_ms),
                "grace_s",
                "out_of_range",
                "must be from 0 to 3600",
            ),
            (
                self.signup_opens_at < self.signup_closes_at,
                "signup_closes_at",
                "out_of_order",
                "must be after signup_opens_at",
            ),
            (
                self.signup_closes_at <= self.tasks_end_at,
                "tasks_end_at",
                "out_of_order",
                "must not be before signup_closes_at",
            ),
            (
                self.tasks_end_at < self.claim_closes_at,
                "claim_closes_at",
                "out_of_order",
                "must be after tasks_end_at",
            ),
            (
                self.claim_closes_at.since(self.signup_opens_at) <= LENGTH_MS_MAX,
                "claim_closes_at",
                "out_of_range",
                "must be at most 366 days after signup_opens_at",
            ),
        ];
        let broken: Vec<_> = rules
            .into_iter()
            .filter(|(kept, ..)| !kept)
            .map(|(_, field, code, rule)| BrokenTerm { field, code, rule })
            .collect();
        if broken.is_empty() {
            Ok(self)
        } else {
            Err(broken)
        }
    }

    /// The fee of a viewer who chose `tier`.
    ///
    /// # Errors
    /// [`TierError`] when there is nothing to choose, nothing was chosen, or what was chosen is no
    /// tier.
    pub fn fee_of(&self, tier: Option<Coins>) -> Result<Coins, TierError> {
        match tier {
            None if self.fee_tiers.is_empty() => Ok(self.fee),
            None => Err(TierError::Missing),
            Some(_) if self.fee_tiers.is_empty() => Err(TierError::NoTiers),
            Some(tier) if self.fee_tiers.contains(&tier) => Ok(tier),
            Some(_) => Err(TierError::Unknown),
        }
    }

    /// What the series brings into the pool.
    #[must_use]
    pub fn carry(&self) -> Coins {
        self.series
            .as_ref()
            .map_or(Coins::ZERO, |series| series.carry)
    }

    /// When settling may start: the first moment at which no event can count any more.
    #[must_use]
    pub const fn settles_at(&self) -> UnixMillis {
        self.tasks_end_at.plus(self.grace_ms)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Terms with a fee of 10, one chest to open, and windows at 1,000, 2,000, 3,000 and 4,000.
    pub(crate) fn terms() -> Terms {
        Terms {
            room_id: "room".parse().expect("a room id"),
            fee: Coins::new(10).expect("a fee"),
            fee_tiers: Vec::new(),
            task: Task {
                kind: "open_chest".parse().expect("a task kind"),
                target: 1,
            },
            rule: Rule::Equal,
            rake_bps: BasisPoints::ZERO,
            guaranteed_pool: Coins::ZERO,
            series: None,
            claim_mode: ClaimMode::Manual,
            no_winner: NoWinner::Refund,
            remainder: Remainder::Spread,
            unclaimed: Unclaimed::Pay,
            grace_ms: 100,
            signup_opens_at: UnixMillis(1_000),
            signup_closes_at: UnixMillis(2_000),
            tasks_end_at: UnixMillis(3_000),
            claim_closes_at: UnixMillis(4_000),
        }
    }

    #[test]
    fn every_rule_is_named_by_field() {
        assert!(terms().check().is_ok());
        let broken = |change: fn(&mut Terms)| {
            let mut terms = terms();
            change(&mut terms);
            terms
                .check()
                .expect_err("a broken rule")
                .iter()
                .map(|term| term.field)
                .collect::<Vec<_>>()
        };
        assert_eq!(broken(|terms| terms.fee = Coins::ZERO), ["fee"]);
        let tiers = |amounts: &[u64]| -> Vec<Coins> {
            let coins = |amount: &u64| Coins::new(*amount).expect("an amount");
            amounts.iter().map(coins).collect()
        };
        let tiered = |amounts: &[u64]| Terms {
            fee_tiers: tiers(amounts),
            ..terms()
        };
        let codes = |terms: Terms| -> Vec<_> {
            let broken = terms.check().expect_err("a broken rule");
            broken.iter().map(|term| (term.field, term.code)).collect()
        };
        assert!(tiered(&[25, 10, 100]).check().is_ok());
        assert_eq!(codes(tiered(&[25, 100])), [("fee", "not_a_tier")]);
        assert_eq!(codes(tiered(&[10, 0])), [("fee_tiers", "out_of_range")]);
        let eleven: Vec<_> = (10..21).collect();
        assert_eq!(codes(tiered(&eleven)), [("fee_tiers", "out_of_range")]);
        assert_eq!(codes(tiered(&[10, 10])), [("fee_tiers", "duplicate_value")]);
        assert_eq!(broken(|terms| terms.task.target = 0), ["task/target"]);
        assert_eq!(
            broken(|terms| terms.guaranteed_pool = Coins::MAX),
            ["guaranteed_pool"]
        );
        assert_eq!(
            broken(|terms| terms.no_winner = NoWinner::Rollover),
            ["no_winner"]
        );
        assert_eq!(
            broken(|terms| terms.remainder = Remainder::Rollover),
            ["remainder"]
        );
        assert_eq!(
            broken(|terms| terms.unclaimed = Unclaimed::Rollover),
            ["unclaimed"]
        );
        assert_eq!(broken(|terms| terms.grace_ms = -1), ["grace_s"]);
        assert_eq!(
            broken(|terms| terms.signup_closes_at = terms.signup_opens_at),
            ["signup_closes_at"]
        );
        assert_eq!(
            broken(|terms| terms.tasks_end_at = UnixMillis(1_999)),
            ["tasks_end_at"]
        );
        assert_eq!(
            broken(|terms| terms.claim_closes_at = terms.tasks_end_at),
            ["claim_closes_at"]
        );
        assert_eq!(
            broken(|terms| terms.claim_closes_at = UnixMillis(i64::MAX)),
            ["claim_closes_at"]
        );
        assert_eq!(
            broken(|terms| {
                terms.fee = Coins::ZERO;
                terms.task.target = 0;
            }),
            ["fee", "task/target"]
        );
    }

    #[test]
    fn a_tier_is_chosen_where_there_are_tiers() {
        let coins = |amount| Coins::new(amount).expect("an amount");
        assert_eq!(terms().fee_of(None), Ok(coins(10)));
        assert_eq!(terms().fee_of(Some(coins(10))), Err(TierError::NoTiers));
        let tiered = Terms {
            fee_tiers: vec![coins(10), coins(25)],
            ..terms()
        };
        assert_eq!(tiered.fee_of(None), Err(TierError::Missing));
        assert_eq!(tiered.fee_of(Some(coins(25))), Ok(coins(25)));
        assert_eq!(tiered.fee_of(Some(coins(11))), Err(TierError::Unknown));
    }

    // hazard: C6
    #[test]
    fn the_rake_is_rounded_down() {
        let coins = |amount| Coins::new(amount).expect("an amount");
        let rake = |bps, amount| {
            BasisPoints::new(bps)
                .expect("basis points")
                .of(coins(amount))
                .get()
        };
        assert_eq!(rake(500, 199), 9);
        assert_eq!(rake(10_000, 199), 199);
        assert_eq!(rake(0, 199), 0);
        assert_eq!(rake(1, 9_999), 0);
        assert_eq!(BasisPoints::new(10_001), None);
    }
}
