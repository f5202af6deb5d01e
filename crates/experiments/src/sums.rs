//! What the units of one arm add up to. Means and co-moments, never sums of squares: those lose
//! every digit of the variance where the mean is large.

use crate::real;

/// The units of one arm and their metric, a numerator x per denominator y.
///
/// One [`add`](Self::add) is one unit of assignment. Where users are assigned, y is 1 for each.
/// Where contests or rooms are, y is what the metric is per, such as the viewers that saw it, and x
/// is how many of them paid.
///
/// A number that is not finite spoils the sums: they have no ratio any more, and no verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    units: u64,
    mean_x: f64,
    mean_y: f64,
    /// Σ (x − x̄)², Σ (x − x̄)(y − ȳ), Σ (y − ȳ)².
    xx: f64,
    xy: f64,
    yy: f64,
}

/// A residual below this part of what it is left over from is rounding, not variance.
const ROUNDING: f64 = 1e-13;

impl Sums {
    /// No units yet.
    pub const EMPTY: Self = Self {
        units: 0,
        mean_x: 0.0,
        mean_y: 0.0,
        xx: 0.0,
        xy: 0.0,
        yy: 0.0,
    };

    /// Adds one unit (Welford 1962). `y` must not be below zero.
    pub fn add(&mut self, x: f64, y: f64) {
        self.merge(&Self {
            units: 1,
            mean_x: x,
            mean_y: y,
            ..Self::EMPTY
        });
    }

    /// Adds the units of another part of the same arm (Chan, Golub and LeVeque 1983).
    pub fn merge(&mut self, other: &Self) {
        if other.units == 0 {
            return;
        }
        if self.units == 0 {
            *self = *other;
            return;
        }
        let (ours, theirs) = (real(self.units), real(other.units));
        let part = theirs / (ours + theirs);
        let (dx, dy) = (other.mean_x - self.mean_x, other.mean_y - self.mean_y);
        self.units += other.units;
        self.mean_x += dx * part;
        self.mean_y += dy * part;
        self.xx += other.xx + dx * dx * ours * part;
        self.xy += other.xy + dx * dy * ours * part;
        self.yy += other.yy + dy * dy * ours * part;
    }

    /// How many units of assignment there are.
    #[must_use]
    pub const fn units(&self) -> u64 {
        self.units
    }

    /// Σx / Σy; none while Σy is not above zero.
    #[must_use]
    pub fn ratio(&self) -> Option<f64> {
        let ratio = self.mean_x / self.mean_y;
        (self.mean_y > 0.0 && ratio.is_finite()).then_some(ratio)
    }

    /// The variance of the ratio; none below two units or without a ratio.
    ///
    /// By the delta method (Deng, Knoblich and Lu 2018, the variance of a ratio of averages), with
    /// r the ratio and n the units:
    ///
    /// Var(r) ≈ (s²ₓ − 2 r sₓᵧ + r² s²ᵧ) / (n ȳ²)
    ///
    /// With y = 1 for every unit that is the variance of a mean, s²ₓ / n.
    #[must_use]
    pub fn variance(&self) -> Option<f64> {
        if self.units < 2 {
            return None;
        }
        let ratio = self.ratio()?;
        let n = real(self.units);
        let whole = self.xx + ratio * ratio * self.yy;
        let left = whole - 2.0 * ratio * self.xy;
        if !left.is_finite() {
            return None;
        }
        // Where x = r·y in every unit, what is left is rounding of either sign.
        let left = if left > whole * ROUNDING { left } else { 0.0 };
        let variance = left / (n - 1.0) / n / (self.mean_y * self.mean_y);
        variance.is_finite().then_some(variance)
    }

    /// The standard deviation of one unit's part in the ratio, in the metric's unit: what
    /// [`Design::detectable_difference`](crate::Design::detectable_difference) asks for.
    #[must_use]
    pub fn deviation(&self) -> Option<f64> {
        Some((self.variance()? * real(self.units)).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(units: &[(f64, f64)]) -> Sums {
        let mut sums = Sums::EMPTY;
        for &(x, y) in units {
            sums.add(x, y);
        }
        sums
    }

    fn near(got: Option<f64>, wanted: f64) -> bool {
        got.is_some_and(|got| (got - wanted).abs() <= 1e-9 * wanted.abs().max(1e-9))
    }

    /// NIST Statistical Reference Datasets, "NumAcc3": 1000000.2, then 1000000.1 and 1000000.3 five
    /// hundred times each; certified mean 1000000.2, standard deviation 0.1.
    #[test]
    fn a_large_mean_costs_no_digit_of_the_variance() {
        let mut sums = of(&[(1_000_000.2, 1.0)]);
        for _ in 0..500 {
            sums.add(1_000_000.1, 1.0);
            sums.add(1_000_000.3, 1.0);
        }
        assert_eq!(sums.units(), 1001);
        assert!(near(sums.ratio(), 1_000_000.2), "{sums:?}");
        assert!(near(sums.deviation(), 0.1), "{sums:?}");
    }

    #[test]
    fn with_a_constant_denominator_it_is_the_mean_and_its_variance() {
        // x̄ = 5, s² = 32 / 7.
        let x = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0];
        let plain = of(&x.map(|x| (x, 1.0)));
        assert_eq!(plain.ratio(), Some(5.0));
        assert_eq!(plain.variance(), Some(32.0 / 7.0 / 8.0));
        let fours = of(&x.map(|x| (x, 4.0)));
        assert_eq!(fours.ratio(), Some(1.25));
        assert_eq!(fours.variance(), Some(32.0 / 7.0 / 8.0 / 16.0));
    }

    #[test]
    fn the_delta_method_is_the_variance_of_the_linearised_units() {
        let units = [(3.0, 10.0), (1.0, 7.0), (9.0, 31.0), (0.0, 4.0)];
        let sums = of(&units);
        let (n, y, ratio) = (4.0, 52.0 / 4.0, 13.0 / 52.0);
        assert!(near(sums.ratio(), ratio));
        // Each unit's x − r·y over ȳ has mean 0; its variance over n is the formula's.
        let part = units.map(|(x, d)| (x - ratio * d) / y);
        let variance = part.iter().map(|p| p * p).sum::<f64>() / (n - 1.0) / n;
        assert!(near(sums.variance(), variance));
    }

    #[test]
    fn what_has_no_ratio_or_no_variance_says_so() {
        assert_eq!(Sums::EMPTY.ratio(), None);
        assert_eq!(of(&[(1.0, 0.0), (2.0, 0.0)]).ratio(), None);
        assert_eq!(of(&[(1.0, 2.0)]).variance(), None);
        assert_eq!(of(&[(0.1, 1.0); 1000]).variance(), Some(0.0));
        // x = 0.3·y in every unit, which no double holds exactly.
        let paid: Vec<_> = (1..1000).map(f64::from).map(|y| (0.3 * y, y)).collect();
        assert_eq!(of(&paid).variance(), Some(0.0));
        for spoilt in [f64::NAN, f64::INFINITY, 1e300] {
            let sums = of(&[(1.0, 1.0), (spoilt, 1.0), (2.0, 1.0)]);
            assert_eq!(sums.variance(), None, "{spoilt}");
        }
    }

    proptest! {
        #[test]
        fn merging_parts_is_adding_all(
            units in proptest::collection::vec((-50.0..50.0f64, 0.0..40.0f64), 2..60),
            at in 0usize..60,
        ) {
            let (left, right) = units.split_at(at.min(units.len()));
            let mut merged = of(left);
            merged.merge(&of(right));
            let all = of(&units);
            prop_assert_eq!(merged.units(), all.units());
            let both = [
                (merged.mean_x, all.mean_x),
                (merged.mean_y, all.mean_y),
                (merged.xx, all.xx),
                (merged.xy, all.xy),
                (merged.yy, all.yy),
            ];
            for (one, other) in both {
                prop_assert!((one - other).abs() <= 1e-7 + 1e-9 * other.abs(), "{one} {other}");
            }
        }
    }
}
