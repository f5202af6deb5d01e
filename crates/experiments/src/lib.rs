//! The statistics of A/B experiments. Floats live here, and nothing that moves money depends on it.
//!
//! What is done, in order: every arm's units are added up ([`Sums`]); the plan is fixed before the
//! first look ([`Design`]); the assignment is tested ([`sample_ratio`]); then control and treated
//! are compared as often as anybody likes ([`compare`]).
//!
//! # Method
//!
//! - A metric is Σx / Σy over the units of an arm, its variance by the delta method: Deng, Knoblich
//!   and Lu, "Applying the Delta Method in Metric Analytics", KDD 2018.
//! - The interval of the difference is a confidence sequence by a two-sided normal mixture:
//!   Robbins, "Statistical methods related to the law of the iterated logarithm", 1970; Howard,
//!   Ramdas, McAuliffe and Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence
//!   sequences", Annals of Statistics 2021. With an estimated variance it holds asymptotically:
//!   Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit theory and
//!   asymptotic confidence sequences", Annals of Statistics 2024.
//! - Where several treated arms share one control, each has its part of alpha (Bonferroni).
//! - Counts are tested by Pearson's chi-square.
//!
//! The bound holds at all looks together: the chance that the interval of a comparison *ever* misses
//! the true difference is at most its part of alpha. So an experiment may be looked at daily, and
//! stopped on what is seen. The price is an interval that at the planned end, where it is tuned to
//! be tightest, is half as wide again as one that may be looked at once.
//!
//! # What it assumes
//!
//! - The unit of analysis is the unit of assignment. Where contests or rooms are assigned, each is
//!   one unit, however many viewers it has; who counts viewers then counts far too much.
//! - Units are independent of each other, and each stays in the arm it was assigned to.
//! - What a unit adds is settled when it is added, as a viewer's soon is. Contests and rooms go on: what is known of
//!   them grows while they stay as many, which the boundary does not see. A quarter of alpha is spent for them:
//!   of 400 experiments with rooms that grew 43,200 times, looked at all the while, the whole misled in 40, a
//!   quarter in QQ.
//! - A unit is added because it was assigned, not because it paid.
//! - The shares of the arms stay as they are. Where variances are equal they may change.
//! - From `min_units` on a mean of units is near enough to normal. [`UNITS_MIN`] is only the floor:
//!   `min_units` is to be so large that each arm expects 20 of the rarest outcome, above all for a
//!   guardrail. Of 1,000 experiments with rates of 0.2 % and 1 % and one unit in ten treated, the
//!   interval missed the difference in 135 from 100 units on, and in 21 by that rule. Where there
//!   was no difference it misled in at most 14, with rare outcomes and small arms too.
//!
//! # What it does not do
//!
//! - Every metric has the whole alpha. One primary metric decides; guardrails do not share.
//! - The tests of counts hold for one look. At [`SAMPLE_RATIO_ALARM`], thirty daily looks at a right
//!   assignment raised an alarm in 9 experiments of 1,000.
//! - No relative lift, no correction by what was known before, no memory of earlier looks.
//!
//! The counts above are those of `tests/simulation.rs`.
#![allow(
    clippy::float_arithmetic,
    reason = "statistics; no amount of coins is computed here"
)]

mod comparison;
mod counts;
mod design;
pub mod report;
mod results;
mod sums;

pub use comparison::{Comparison, Interval, Verdict, compare};
pub use counts::{SAMPLE_RATIO_ALARM, independence, sample_ratio};
pub use design::{Design, UNITS_MIN};
pub use results::{Arm, Funnel, Results, Statistician, Treated, results};
pub use sums::Sums;

/// An argument that breaks a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {rule}")]
pub struct Invalid {
    /// The argument.
    pub field: &'static str,
    /// What it has to be.
    pub rule: &'static str,
}

impl Invalid {
    /// Fails unless the rule holds.
    const fn unless(holds: bool, field: &'static str, rule: &'static str) -> Result<(), Self> {
        if holds {
            Ok(())
        } else {
            Err(Self { field, rule })
        }
    }
}

/// A count as a float: exact up to 2^53, and beyond that right to sixteen digits.
const fn real(count: u64) -> f64 {
    count as f64
}
