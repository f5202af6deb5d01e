//! The plan of an experiment, fixed before the first look, and the boundary that follows from it.

use crate::{Invalid, real};
use statrs::distribution::{ContinuousCDF, Normal};

/// The least units of an arm with which a mean counts as normal at all: below it the approximation
/// is not to be trusted, and there is no interval and no verdict.
pub const UNITS_MIN: u64 = 100;

/// What was decided before the first look. Changing it afterwards is looking once more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Design {
    /// Of all comparisons of a metric together.
    alpha: f64,
    planned_units: u64,
    min_units: u64,
    /// How many equal parts it is divided into.
    parts: u32,
}

/// How many parts of alpha a comparison would have of which it is given one where units go on.
const GOING_ON: u32 = 4;

impl Design {
    /// A plan: `alpha` is the chance of ever being misled by a metric, shared equally by `arms`
    /// treated arms; `planned_units` and `min_units` are per arm, where the interval is to be
    /// tight and where the first verdict may be.
    ///
    /// # Errors
    /// [`Invalid`] unless `alpha` is above 0 and at most 0.5 (0.95 is a confidence, not an alpha),
    /// there is a treated arm, and [`UNITS_MIN`] ≤ `min_units` ≤ `planned_units`.
    pub fn new(alpha: f64, planned_units: u64, min_units: u64, arms: u32) -> Result<Self, Invalid> {
        Invalid::unless(
            alpha > 0.0 && alpha <= 0.5,
            "alpha",
            "above 0 and at most 0.5",
        )?;
        Invalid::unless(min_units >= UNITS_MIN, "min_units", "at least 100")?;
        Invalid::unless(
            planned_units >= min_units,
            "planned_units",
            "at least min_units",
        )?;
        Invalid::unless(arms > 0, "arms", "at least 1")?;
        Ok(Self {
            alpha,
            planned_units,
            min_units,
            parts: arms,
        })
    }

    /// The plan for units that go on after they were counted, as contests and rooms do: viewers are added to them at
    /// every look. What is known then grows while the units stay as many, which the boundary does not see; with a
    /// quarter of alpha it holds all the same (`tests/simulation.rs`, each room growing 43,200 times, as from a minute
    /// to 30 days).
    #[must_use]
    pub const fn of_units_that_go_on(self) -> Self {
        Self {
            parts: self.parts.saturating_mul(GOING_ON),
            ..self
        }
    }

    /// The smallest effect, in standard deviations of a unit, that is found by the planned end with
    /// at least this power.
    ///
    /// It is the effect for one look, at the planned end. Whoever looks earlier as well finds it at
    /// least as often, so the power is a lower bound.
    ///
    /// # Errors
    /// [`Invalid`] unless `power` is between 0 and 1.
    pub fn detectable(&self, power: f64) -> Result<f64, Invalid> {
        Invalid::unless(power > 0.0 && power < 1.0, "power", "above 0 and below 1")?;
        let z = Normal::standard().inverse_cdf(power);
        let t = self.planned_size();
        Ok((self.boundary(t) + z).max(0.0) / t.sqrt())
    }

    /// [`detectable`](Self::detectable) in the metric's unit, given the standard deviation of one
    /// unit, such as [`Sums::deviation`](crate::Sums::deviation) of last month.
    ///
    /// # Errors
    /// [`Invalid`] also unless `deviation` is above 0 and finite.
    pub fn detectable_difference(&self, power: f64, deviation: f64) -> Result<f64, Invalid> {
        Invalid::unless(
            deviation > 0.0 && deviation.is_finite(),
            "deviation",
            "above 0 and finite",
        )?;
        Ok(self.detectable(power)? * deviation)
    }

    /// How many units an arm lacks before there is a verdict.
    pub(crate) const fn missing(&self, units: u64) -> u64 {
        self.min_units.saturating_sub(units)
    }

    /// How far the difference may be from the truth at effective size `t`, in its own standard
    /// errors.
    pub(crate) fn boundary(&self, t: f64) -> f64 {
        boundary(t, self.rho(), self.alpha_each())
    }

    /// The always-valid p value of a difference of `z` standard errors at effective size `t`,
    /// corrected for the parts of alpha: the smallest alpha with which the sequence, its ρ left as
    /// it is, excludes zero. So it is below alpha exactly where the interval excludes zero.
    pub(crate) fn p_value(&self, z: f64, t: f64) -> f64 {
        let log = f64::from(self.parts).ln() - log_likelihood_ratio(z, t, self.rho());
        log.min(0.0).exp()
    }

    fn alpha_each(&self) -> f64 {
        self.alpha / f64::from(self.parts)
    }

    fn rho(&self) -> f64 {
        rho(self.planned_size(), self.alpha_each())
    }

    /// The effective size at the planned end: n · n / (n + n).
    fn planned_size(&self) -> f64 {
        real(self.planned_units) / 2.0
    }
}

/// The ρ with which the boundary is tightest at `t`, to within 0.2 %: `best_rho` of `confseq`, the
/// library of Howard et al. 2021.
fn rho(t: f64, alpha: f64) -> f64 {
    let twice = -2.0 * alpha.ln();
    t / (twice + twice.ln_1p())
}

/// √((t + ρ) · ln((t + ρ) / (ρ α²))) for a sum with variance t, in standard errors: over √t.
fn boundary(t: f64, rho: f64, alpha: f64) -> f64 {
    let whole = t + rho;
    (whole / t * ((whole / rho).ln() - 2.0 * alpha.ln())).sqrt()
}

/// ln of the normal mixture: how much likelier what was seen is with some effect than with none.
fn log_likelihood_ratio(z: f64, t: f64, rho: f64) -> f64 {
    let whole = t + rho;
    0.5 * (rho / whole).ln() + z * z * t / (2.0 * whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(got: f64, wanted: f64, by: f64) {
        assert!((got - wanted).abs() <= by, "{got} is not {wanted}");
    }

    /// `test/uniform_boundaries_unittest.cpp` of github.com/gostevehoward/confseq (at 70b1ef30),
    /// `TestTwoSidedNormalMixture`, whose values are "from a reference implementation in R":
    /// best_rho(100, .05), log_mixture(s = 10, v = 100), bound(v = 100, alpha = .05).
    #[test]
    fn the_published_values_of_the_mixture() {
        let rho = rho(100.0, 0.05);
        near(rho, 12.60056, 1e-5);
        near(log_likelihood_ratio(1.0, 100.0, rho), -0.651_005_2, 1e-7);
        near(boundary(100.0, rho, 0.05) * 10.0, 30.35209, 1e-5);
    }

    /// The margin of Waudby-Smith et al. 2024 for a mean of t units with variance 1, as in their
    /// `drconfseq`, `std_conjmix_margin`; their ρ² is 1 / ρ.
    #[test]
    fn it_is_the_margin_of_the_asymptotic_sequence() {
        for (t, alpha) in [(50.0, 0.05), (1_500.0, 0.01), (1e6, 0.2)] {
            let rho = rho(1_000.0, alpha);
            let at = t / rho + 1.0;
            let margin: f64 = (2.0 * at * (at.sqrt() / alpha).ln() / (t * t / rho)).sqrt();
            near(boundary(t, rho, alpha) / f64::sqrt(t), margin, 1e-12);
        }
    }

    #[test]
    fn rho_is_all_but_the_best() {
        for alpha in [0.5, 0.1, 0.05, 0.001] {
            let ours = boundary(1.0, rho(1.0, alpha), alpha);
            let best = (1..100_000)
                .map(|step| boundary(1.0, f64::from(step) * 1e-5, alpha))
                .fold(f64::INFINITY, f64::min);
            assert!(ours < best * 1.002, "{alpha}: {ours} and {best}");
        }
    }

    #[test]
    fn the_p_value_is_the_alpha_whose_boundary_is_met() {
        let design = Design::new(0.05, 4_000, 100, 1).expect("a plan");
        for (z, t) in [(2.5, 80.0), (3.0, 2_000.0), (6.0, 9_000.0)] {
            let p = design.p_value(z, t);
            near(boundary(t, design.rho(), p), z, 1e-9);
        }
        assert_eq!(design.p_value(0.0, 2_000.0), 1.0);
        // Three arms: a third of the level each, and a p value that pays for it.
        let three = Design::new(0.05, 4_000, 100, 3).expect("a plan");
        let z = three.boundary(2_000.0);
        near(three.p_value(z, 2_000.0), 0.05, 1e-12);
        assert!(z > design.boundary(2_000.0));
    }

    #[test]
    fn what_is_detectable() {
        let design = Design::new(0.05, 3_000, 100, 1).expect("a plan");
        // The boundary at the planned end does not depend on the plan's size: 3.0352 as above.
        near(
            design.detectable(0.5).expect("a power"),
            3.035_209 / 1_500f64.sqrt(),
            1e-8,
        );
        near(
            design.detectable(0.8).expect("a power"),
            (3.035_209 + 0.841_621) / 1_500f64.sqrt(),
            1e-7,
        );
        near(
            design.detectable_difference(0.8, 0.3).expect("a power"),
            0.3 * (3.035_209 + 0.841_621) / 1_500f64.sqrt(),
            1e-7,
        );
        for power in [0.0, 1.0, f64::NAN] {
            let fault = design.detectable(power).expect_err("no power");
            assert_eq!(fault.field, "power");
        }
        for deviation in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let fault = design.detectable_difference(0.8, deviation);
            assert_eq!(fault.expect_err("no deviation").field, "deviation");
        }
    }

    #[test]
    fn a_plan_that_breaks_a_rule_says_which() {
        let field = |alpha, planned, min, arms| {
            Design::new(alpha, planned, min, arms)
                .err()
                .map(|fault| fault.field)
        };
        assert_eq!(field(0.05, 100, 100, 1), None);
        assert_eq!(field(0.0, 100, 100, 1), Some("alpha"));
        assert_eq!(field(0.95, 100, 100, 1), Some("alpha"));
        assert_eq!(field(f64::NAN, 100, 100, 1), Some("alpha"));
        assert_eq!(field(0.05, 100, UNITS_MIN - 1, 1), Some("min_units"));
        assert_eq!(field(0.05, 999, 1_000, 1), Some("planned_units"));
        assert_eq!(field(0.05, 100, 100, 0), Some("arms"));
        let fault = Design::new(0.05, 999, 1_000, 1).expect_err("no plan");
        assert_eq!(fault.to_string(), "planned_units: at least min_units");
    }
}
