//! Whole coins. Arithmetic is checked; there is no float and no division of an amount.

use std::fmt;

/// A non-negative number of whole coins, at most [`Coins::MAX`].
///
/// The bound is 2^53 − 1, the largest integer that JSON readers built on doubles hold exactly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Coins(u64);

/// An amount that [`Coins`] cannot hold: below zero or above 2^53 − 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("amount out of range: coins are whole numbers from 0 to 9007199254740991")]
pub struct CoinsOutOfRange;

impl Coins {
    /// No coins.
    pub const ZERO: Self = Self(0);
    /// 2^53 − 1.
    pub const MAX: Self = Self((1 << 53) - 1);

    /// `amount` coins.
    ///
    /// # Errors
    /// [`CoinsOutOfRange`] above [`Coins::MAX`].
    pub const fn new(amount: u64) -> Result<Self, CoinsOutOfRange> {
        if amount > Self::MAX.0 {
            Err(CoinsOutOfRange)
        } else {
            Ok(Self(amount))
        }
    }

    /// The number of coins.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The number of coins as a database integer; it always fits.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// True for no coins.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum.
    ///
    /// # Errors
    /// [`CoinsOutOfRange`] when it exceeds [`Coins::MAX`].
    pub const fn plus(self, other: Self) -> Result<Self, CoinsOutOfRange> {
        // Two values below 2^53 cannot overflow u64.
        Self::new(self.0 + other.0)
    }

    /// The difference.
    ///
    /// # Errors
    /// [`CoinsOutOfRange`] when `other` is larger.
    pub const fn minus(self, other: Self) -> Result<Self, CoinsOutOfRange> {
        match self.0.checked_sub(other.0) {
            Some(rest) => Ok(Self(rest)),
            None => Err(CoinsOutOfRange),
        }
    }

    /// ⌊self · numerator / denominator⌋ for a ratio that is at most one.
    ///
    /// The product is formed in 128 bits: 2^53 coins times a weight sum below 2^75 fits.
    /// `None` when the denominator is zero, the ratio exceeds one or the product does not fit.
    #[must_use]
    pub const fn part(self, numerator: u128, denominator: u128) -> Option<Self> {
        if denominator == 0 || numerator > denominator {
            return None;
        }
        match (self.0 as u128).checked_mul(numerator) {
            // A ratio of at most one leaves at most `self`, so the cast cannot truncate.
            Some(product) => Some(Self((product / denominator) as u64)),
            None => None,
        }
    }

    /// The sum of many amounts.
    ///
    /// # Errors
    /// [`CoinsOutOfRange`] when it exceeds [`Coins::MAX`].
    pub fn sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, CoinsOutOfRange> {
        amounts.into_iter().try_fold(Self::ZERO, Self::plus)
    }
}

impl TryFrom<i64> for Coins {
    type Error = CoinsOutOfRange;
    fn try_from(amount: i64) -> Result<Self, CoinsOutOfRange> {
        u64::try_from(amount)
            .map_err(|_| CoinsOutOfRange)
            .and_then(Self::new)
    }
}

impl fmt::Display for Coins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_is_exact_in_doubles() {
        assert_eq!(Coins::MAX.get(), 9_007_199_254_740_991);
        assert_eq!(Coins::new(Coins::MAX.get() + 1), Err(CoinsOutOfRange));
        assert_eq!(Coins::MAX.plus(Coins(1)), Err(CoinsOutOfRange));
        assert_eq!(Coins::ZERO.minus(Coins(1)), Err(CoinsOutOfRange));
        assert_eq!(Coins::try_from(-1), Err(CoinsOutOfRange));
        assert_eq!(Coins::sum([Coins::MAX, Coins(1)]), Err(CoinsOutOfRange));
    }

    // hazard: C2
    #[test]
    fn parts_of_the_largest_amount_do_not_overflow() {
        let weights = 1u128 << 74;
        assert_eq!(Coins::MAX.part(weights, weights), Some(Coins::MAX));
        assert_eq!(
            Coins::MAX.part(weights - 1, weights),
            Some(Coins(Coins::MAX.0 - 1))
        );
        assert_eq!(Coins(10).part(1, 0), None);
        assert_eq!(Coins(10).part(2, 1), None);
        assert_eq!(Coins(10).part(u128::MAX - 1, u128::MAX), None);
    }
}
