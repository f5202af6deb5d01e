//! The payout rules once more, from their written description alone: weights and prizes as whole
//! numbers, products through u128.

use clap::ValueEnum;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// How the pool is split.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Everybody alike.
    Equal,
    /// By what was paid.
    ByFee,
    /// By how much was done, up to ten times the target.
    ByScore,
    /// By how early the target was met.
    EarlyBird,
    /// By lot.
    Lucky,
}

impl Rule {
    /// As the API says it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::ByFee => "by_fee",
            Self::ByScore => "by_score",
            Self::EarlyBird => "early_bird",
            Self::Lucky => "lucky",
        }
    }
}

/// What becomes of the coins that no whole part is left for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Remainder {
    /// They are spread over the finishers.
    Spread,
    /// The platform has them.
    Platform,
}

impl Remainder {
    /// As the API says it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Spread => "spread",
            Self::Platform => "platform",
        }
    }
}

/// Something that a viewer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// Milliseconds since 1970.
    pub(crate) occurred: i64,
    pub(crate) quantity: u64,
}

/// What every weight of a contest follows from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    pub(crate) rule: Rule,
    pub(crate) remainder: Remainder,
    pub(crate) target: u64,
    /// signup_opens_at in milliseconds.
    pub(crate) opens: i64,
    /// tasks_end_at in milliseconds.
    pub(crate) ends: i64,
}

/// What a lucky contest shows once it is frozen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Draw {
    pub(crate) secret: Vec<u8>,
    pub(crate) contest: String,
    pub(crate) position: u64,
}

impl Draw {
    /// The weight that one user drew.
    pub(crate) fn weight(&self, user: &str) -> u64 {
        // An HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else {
            return 0;
        };
        mac.update(format!("{}\n{user}\n{}\n", self.contest, self.position).as_bytes());
        let digest = mac.finalize().into_bytes();
        let number = digest
            .iter()
            .take(8)
            .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        1 + number % 100
    }
}

impl Terms {
    /// What was done in time: after the fee was paid and before the tasks ended.
    fn counted(&self, paid_by: i64, done: &[Done]) -> impl Iterator<Item = Done> {
        done.iter()
            .copied()
            .filter(move |done| (paid_by..self.ends).contains(&done.occurred))
    }

    /// How much of what was done counts.
    pub(crate) fn quantity(&self, paid_by: i64, done: &[Done]) -> u64 {
        self.counted(paid_by, done).map(|done| done.quantity).sum()
    }

    /// When the running sum in the order of events reached the target.
    pub(crate) fn met_at(&self, paid_by: i64, done: &[Done]) -> Option<i64> {
        let mut counted: Vec<_> = self.counted(paid_by, done).collect();
        counted.sort_by_key(|done| done.occurred);
        let mut sum = 0;
        counted.into_iter().find_map(|done| {
            sum += done.quantity;
            (sum >= self.target).then_some(done.occurred)
        })
    }

    /// A finisher's weight; none where it cannot be known from this.
    pub(crate) fn weight(
        &self,
        user: &str,
        fee: u64,
        paid_by: i64,
        done: &[Done],
        draw: Option<&Draw>,
    ) -> Option<u64> {
        match self.rule {
            Rule::Equal => Some(1),
            Rule::ByFee => Some(fee),
            Rule::ByScore => Some(self.quantity(paid_by, done).min(self.target * 10)),
            Rule::EarlyBird => {
                let left = self.ends - self.met_at(paid_by, done)?;
                let part = i128::from(left) * 999 / i128::from(self.ends - self.opens);
                u64::try_from(1 + part).ok()
            }
            Rule::Lucky => draw.map(|draw| draw.weight(user)),
        }
    }

    /// The sum of the weights before each finisher, and each one's prize, in the given order.
    pub(crate) fn prizes(&self, pool: u64, weights: &[u64]) -> Vec<(u128, u64)> {
        let sum: u128 = weights.iter().map(|weight| u128::from(*weight)).sum();
        let part = |weight: u128| u128::from(pool) * weight / sum.max(1);
        let mut before = 0;
        let line = |weight: &u64| {
            let (start, own) = (before, u128::from(*weight));
            before += own;
            let prize = match self.remainder {
                Remainder::Spread => part(before) - part(start),
                Remainder::Platform => part(own),
            };
            // No part is more than the pool.
            (start, u64::try_from(prize).unwrap_or(u64::MAX))
        };
        weights.iter().map(line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(rule: Rule, remainder: Remainder) -> Terms {
        Terms {
            rule,
            remainder,
            target: 3,
            opens: 1_000,
            ends: 11_000,
        }
    }

    fn done(rows: &[(i64, u64)]) -> Vec<Done> {
        rows.iter()
            .map(|&(occurred, quantity)| Done { occurred, quantity })
            .collect()
    }

    #[test]
    fn only_what_was_done_after_paying_and_before_the_end_counts() {
        let terms = terms(Rule::ByScore, Remainder::Spread);
        let rows = done(&[(1_999, 50), (2_000, 1), (10_999, 4), (11_000, 60)]);
        assert_eq!(terms.quantity(2_000, &rows), 5);
        assert_eq!(terms.weight("a", 10, 2_000, &rows, None), Some(5));
        let many = done(&[(2_000, 1_000_000)]);
        assert_eq!(terms.weight("a", 10, 2_000, &many, None), Some(30));
    }

    #[test]
    fn the_target_is_met_in_the_order_of_events_not_of_arrival() {
        let terms = terms(Rule::EarlyBird, Remainder::Spread);
        // Arrived in this order: 9 s, 3 s, 6 s. In their own order: 1, then 1, then 5.
        let rows = done(&[(9_000, 5), (3_000, 1), (6_000, 1)]);
        assert_eq!(terms.met_at(2_000, &rows), Some(9_000));
        // 999 · 2,000 / 10,000 = 199.8
        assert_eq!(terms.weight("a", 10, 2_000, &rows, None), Some(200));
        let rows = done(&[(9_000, 5), (3_000, 1), (6_000, 2)]);
        assert_eq!(terms.met_at(2_000, &rows), Some(6_000));
        // 999 · 5,000 / 10,000 = 499.5
        assert_eq!(terms.weight("a", 10, 2_000, &rows, None), Some(500));
        assert_eq!(
            terms.weight("a", 10, 2_000, &done(&[(10_999, 3)]), None),
            Some(1)
        );
        assert_eq!(terms.met_at(2_000, &done(&[(3_000, 2)])), None);
    }

    #[test]
    fn the_fee_is_the_weight() {
        let terms = terms(Rule::ByFee, Remainder::Spread);
        assert_eq!(terms.weight("a", 25, 0, &[], None), Some(25));
    }

    #[test]
    fn a_draw_by_hand() {
        // printf 'C\nann\n7\n' | openssl dgst -sha256 -hmac k
        let draw = Draw {
            secret: b"k".to_vec(),
            contest: "C".into(),
            position: 7,
        };
        let terms = terms(Rule::Lucky, Remainder::Spread);
        assert_eq!(terms.weight("ann", 10, 0, &[], None), None);
        assert_eq!(terms.weight("ann", 10, 0, &[], Some(&draw)), Some(2));
        assert_eq!(draw.weight("bob"), 72);
    }

    #[test]
    fn the_remainder_is_spread_or_left() {
        // 100 over 1, 2, 4 = 14.28, 28.57, 57.14; running: 14, 42, 100.
        let weights = [1, 2, 4];
        let spread = terms(Rule::ByFee, Remainder::Spread).prizes(100, &weights);
        assert_eq!(spread, [(0, 14), (1, 28), (3, 58)]);
        let left = terms(Rule::ByFee, Remainder::Platform).prizes(100, &weights);
        assert_eq!(left, [(0, 14), (1, 28), (3, 57)]);
    }

    #[test]
    fn large_pools_do_not_overflow() {
        let pool = (1 << 53) - 1;
        let prizes =
            terms(Rule::ByFee, Remainder::Spread).prizes(pool, &[1_000_000_000, 1_000_000_000]);
        assert_eq!(prizes.iter().map(|(_, prize)| prize).sum::<u64>(), pool);
    }
}
