//! Control against treated: an interval that holds at every look, and what follows from it.

use crate::{Design, Sums, real};

/// What is known of treated − control.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Comparison {
    /// It is too early to say anything.
    TooFewUnits {
        /// How many units the smaller arm lacks.
        missing: u64,
    },
    /// Nothing can be said: all units are equal, an arm's denominators add up to nothing, or a
    /// number was not finite.
    NoInterval,
    /// The difference lies here.
    Interval(Interval),
}

/// Where the difference of the ratios lies, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The control's ratio.
    pub control: f64,
    /// The treated arm's ratio.
    pub treated: f64,
    /// What was measured, treated − control.
    pub difference: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Below alpha exactly where the interval excludes zero. It needs no correction, neither for
    /// looks nor for arms.
    pub p_value: f64,
}

/// What a primary metric says. More of it is better; if less is, add −x.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The whole interval lies above zero.
    Better,
    /// The whole interval lies below zero.
    Worse,
    /// Zero is possible, or there is no interval.
    Undecided,
    /// It is too early to say.
    TooFewUnits {
        /// How many units the smaller arm lacks.
        missing: u64,
    },
}

/// Treated − control, as of this look.
///
/// With V the variance of the difference and t = n₀n₁ / (n₀ + n₁) the effective size, V·t is the
/// variance of one unit and t·difference a sum whose variance is t of those. So the half-width is
/// √(V / t) · √((t + ρ) · ln((t + ρ) / (ρ α²))), which the sum leaves at any t with a chance of at
/// most α. ρ follows from the plan and is the same at every look.
///
/// V is the sum of the arms' variances, but no less than if all units had the variance of both arms
/// together. With equal arms that is the same. A much smaller arm that has not yet seen a rare
/// outcome knows too little of its own variance, and would be believed too soon. Where no arm varies
/// at all but they differ (everybody here, nobody there), V is what all units have together then, if
/// nothing tells the arms apart: the variance between them.
#[must_use]
pub fn compare(control: &Sums, treated: &Sums, design: &Design) -> Comparison {
    let missing = design.missing(control.units().min(treated.units()));
    if missing > 0 {
        return Comparison::TooFewUnits { missing };
    }
    interval(control, treated, design).map_or(Comparison::NoInterval, Comparison::Interval)
}

fn interval(control: &Sums, treated: &Sums, design: &Design) -> Option<Interval> {
    let ratios = (control.ratio()?, treated.ratio()?);
    let difference = ratios.1 - ratios.0;
    let (n0, n1) = (real(control.units()), real(treated.units()));
    let t = n0 * n1 / (n0 + n1);
    let (v0, v1) = (control.variance()?, treated.variance()?);
    let together = (n0 * n0 * v0 + n1 * n1 * v1) / (n0 + n1);
    let mut error = (v0 + v1).max(together / t).sqrt();
    if error == 0.0 {
        // All of one arm are equal, and all of the other: what varies is between the arms.
        error = difference.abs() / (n0 + n1).sqrt();
    }
    if error == 0.0 {
        return None;
    }
    let half = error * design.boundary(t);
    Some(Interval {
        control: ratios.0,
        treated: ratios.1,
        difference,
        low: difference - half,
        high: difference + half,
        p_value: design.p_value(difference / error, t),
    })
}

impl Comparison {
    /// What it says of a primary metric.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match *self {
            Self::TooFewUnits { missing } => Verdict::TooFewUnits { missing },
            Self::Interval(Interval { low, .. }) if low > 0.0 => Verdict::Better,
            Self::Interval(Interval { high, .. }) if high < 0.0 => Verdict::Worse,
            Self::NoInterval | Self::Interval(_) => Verdict::Undecided,
        }
    }

    /// True where a guardrail, a metric of which more is worse, has risen by more than `margin`, in
    /// its unit: the whole interval lies above it.
    ///
    /// Wrong at most with the comparison's part of alpha, at all looks together. False says that no
    /// harm is proven, not that there is none.
    #[must_use]
    pub fn is_harmed(&self, margin: f64) -> bool {
        matches!(*self, Self::Interval(Interval { low, .. }) if low > margin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn design() -> Design {
        Design::new(0.05, 3_000, 100, 1).expect("a plan")
    }

    /// `paid` of `units` users.
    fn users(paid: u64, units: u64) -> Sums {
        let mut sums = Sums::EMPTY;
        for user in 0..units {
            sums.add(f64::from(u8::from(user < paid)), 1.0);
        }
        sums
    }

    fn seen(comparison: Comparison) -> Interval {
        match comparison {
            Comparison::Interval(interval) => interval,
            other => unreachable!("{other:?}"),
        }
    }

    #[test]
    fn an_interval_by_hand() {
        // 300 and 390 of 3,000: s² = p(1 − p) · n / (n − 1), t = 1500, and 3.0352 standard errors
        // at the planned end (see the published values in `design`).
        let interval = seen(compare(&users(300, 3_000), &users(390, 3_000), &design()));
        let error = ((0.1 * 0.9 + 0.13 * 0.87) / 2_999f64).sqrt();
        assert!((interval.difference - 0.03).abs() < 1e-12);
        assert!((interval.low - (0.03 - 3.035_209 * error)).abs() < 1e-8);
        assert!((interval.high - (0.03 + 3.035_209 * error)).abs() < 1e-8);
    }

    #[test]
    fn a_small_arm_is_not_believed_to_vary_less_than_the_large_one() {
        // None of 100 beside 90 of 9,000: a common rate of 1 % would often look like this.
        let rare = compare(&users(90, 9_000), &users(0, 100), &design());
        let Interval { low, high, .. } = seen(rare);
        assert_eq!(rare.verdict(), Verdict::Undecided);
        // Its own variance is 0, so the control's stands for both: p(1 − p)·(1/9000 + 1/100).
        let error = f64::sqrt(0.01 * 0.99 * (1.0 / 9_000.0 + 1.0 / 100.0));
        let error = error * f64::sqrt(9_000.0 / 9_100.0 * 9_000.0 / 8_999.0);
        let half = error * design().boundary(9_000.0 * 100.0 / 9_100.0);
        assert!(((high - low) / 2.0 - half).abs() < 1e-12, "{low} {high}");
    }

    #[test]
    fn verdicts() {
        let verdict = |control, treated| compare(&control, &treated, &design()).verdict();
        let hundred = users(100, 1_000);
        assert_eq!(verdict(hundred, users(180, 1_000)), Verdict::Better);
        assert_eq!(verdict(users(180, 1_000), hundred), Verdict::Worse);
        assert_eq!(verdict(hundred, users(110, 1_000)), Verdict::Undecided);
        let early = Verdict::TooFewUnits { missing: 1 };
        assert_eq!(verdict(hundred, users(90, 99)), early);
        assert_eq!(verdict(users(90, 99), hundred), early);
        // Nobody here, everybody there: what a broken arm looks like.
        let (nobody, everybody) = (users(0, 100), users(100, 100));
        assert_eq!(verdict(nobody, everybody), Verdict::Better);
        assert_eq!(verdict(everybody, users(0, 1_000)), Verdict::Worse);
        assert!(compare(&nobody, &everybody, &design()).is_harmed(0.5));
        assert_eq!(compare(&nobody, &nobody, &design()), Comparison::NoInterval);
    }

    #[test]
    fn a_guardrail_is_harmed_beyond_its_margin() {
        let refunds = compare(&users(0, 1_000), &users(80, 1_000), &design());
        let low = seen(refunds).low;
        assert!(refunds.is_harmed(0.0) && refunds.is_harmed(low - 1e-9));
        assert!(!refunds.is_harmed(low) && !refunds.is_harmed(f64::NAN));
        let early = compare(&users(0, 10), &users(10, 10), &design());
        assert!(!early.is_harmed(0.0));
    }

    #[test]
    fn p_is_below_alpha_exactly_where_the_interval_excludes_zero() {
        let mut sides = [0, 0];
        for arms in [1, 4] {
            let design = Design::new(0.05, 3_000, 100, arms).expect("a plan");
            for units in [100, 400, 1_500, 3_000] {
                let control = users(units / 5, units);
                for paid in 0..units / 2 {
                    let interval = seen(compare(&control, &users(paid, units), &design));
                    let excludes = interval.low > 0.0 || interval.high < 0.0;
                    assert_eq!(interval.p_value < 0.05, excludes, "{interval:?}");
                    sides[usize::from(excludes)] += 1;
                }
            }
        }
        assert!(sides.iter().all(|&side| side > 500), "{sides:?}");
    }

    fn arm() -> impl Strategy<Value = Sums> {
        let unit = (0u32..5, 1u32..20);
        proptest::collection::vec(unit, 100..140).prop_map(|units| {
            let mut sums = Sums::EMPTY;
            for (x, y) in units {
                sums.add(x.into(), y.into());
            }
            sums
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn swapped_arms_are_the_mirror_image(control in arm(), treated in arm()) {
            let there = seen(compare(&control, &treated, &design()));
            let back = seen(compare(&treated, &control, &design()));
            prop_assert_eq!(there.difference, -back.difference);
            prop_assert_eq!((there.low, there.high), (-back.high, -back.low));
            prop_assert_eq!(there.p_value, back.p_value);
        }

        #[test]
        fn more_of_the_same_units_is_a_shorter_interval(control in arm(), treated in arm()) {
            let (mut controls, mut treateds) = (control, treated);
            let mut width = f64::INFINITY;
            for _ in 0..12 {
                let interval = seen(compare(&controls, &treateds, &design()));
                prop_assert!(interval.low <= interval.difference);
                prop_assert!(interval.high - interval.low < width);
                width = interval.high - interval.low;
                controls.merge(&{ controls });
                treateds.merge(&{ treateds });
            }
        }
    }
}
