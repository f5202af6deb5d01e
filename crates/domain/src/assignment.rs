//! Which unit gets which variant: a stable hash, the same on every node, after every restart and in every
//! language. `docs/experiments/assignment.tsv` has examples, and `check.py` beside it computes them.
//!
//! Whether a unit takes part, and which variant it gets, are two independent hashes: so a ramp that goes up
//! adds units and moves none from one variant to another. Each experiment has a salt of its own: so what a
//! unit gets in one says nothing about what it gets in another.

use crate::{
    ids::{ExperimentName, VariantName},
    terms::BasisPoints,
};
use sha2::{Digest, Sha256};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// What a hash is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Whether the unit takes part.
    Ramp,
    /// Which variant it gets.
    Variant,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Ramp => "ramp",
            Self::Variant => "variant",
        }
    }
}

/// Which of 10,000 buckets a unit is in: ⌊h · 10,000 / 2^64⌋, h being the first 8 bytes, big-endian, of the
/// SHA-256 over `guafen/experiment/1`, the salt, the purpose and the unit, with a line feed between each.
/// Neither of them can contain one.
#[must_use]
pub fn bucket(salt: &str, purpose: Purpose, unit: &str) -> u16 {
    let mut hash = Sha256::new();
    for part in [
        "guafen/experiment/1",
        "\n",
        salt,
        "\n",
        purpose.name(),
        "\n",
        unit,
    ] {
        hash.update(part.as_bytes());
    }
    let digest: [u8; 32] = hash.finalize().into();
    let [a, b, c, d, e, f, g, h, ..] = digest;
    let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    let bucket = (u128::from(number) * u128::from(BasisPoints::WHOLE)) >> 64;
    // Below 10,000, since the number is below 2^64.
    u16::try_from(bucket).unwrap_or(0)
}

/// True if a unit takes part at this ramp.
#[must_use]
pub fn takes_part(salt: &str, unit: &str, ramp: BasisPoints) -> bool {
    bucket(salt, Purpose::Ramp, unit) < ramp.get()
}

/// The place of a unit's variant among shares that add up to the whole; none for none.
#[must_use]
pub fn place(
    salt: &str,
    unit: &str,
    shares: impl IntoIterator<Item = BasisPoints>,
) -> Option<usize> {
    let bucket = u32::from(bucket(salt, Purpose::Variant, unit));
    let mut end = 0_u32;
    shares.into_iter().position(|share| {
        end += u32::from(share.get());
        bucket < end
    })
}

/// The variants that a contest or a signup got, by experiment. Fixed when it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignments(BTreeMap<ExperimentName, VariantName>);

impl Assignments {
    /// None.
    pub const NONE: Self = Self(BTreeMap::new());
    /// The most experiments that run at once, and the most variants of a contest or a signup.
    pub const MAX: usize = 20;

    /// The variant of an experiment, if it takes part.
    #[must_use]
    pub fn get(&self, experiment: &ExperimentName) -> Option<&VariantName> {
        self.0.get(experiment)
    }

    /// Adds a variant; an experiment that has one keeps it.
    pub fn add(&mut self, experiment: ExperimentName, variant: VariantName) {
        self.0.entry(experiment).or_insert(variant);
    }

    /// Adds what is missing.
    pub fn extend(&mut self, others: &Self) {
        for (experiment, variant) in &others.0 {
            self.add(experiment.clone(), variant.clone());
        }
    }

    /// Each experiment with its variant, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ExperimentName, &VariantName)> {
        self.0.iter()
    }

    /// True for none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// `experiment:variant`, by name, with commas between; nothing for none.
impl fmt::Display for Assignments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (experiment, variant)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { "," };
            write!(f, "{comma}{experiment}:{variant}")?;
        }
        Ok(())
    }
}

/// A text that is not what assignments are written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be experiment:variant, by name, with commas between")]
pub struct InvalidAssignments;

impl FromStr for Assignments {
    type Err = InvalidAssignments;

    fn from_str(text: &str) -> Result<Self, InvalidAssignments> {
        let mut assignments = Self::default();
        for pair in text.split(',').filter(|_| !text.is_empty()) {
            let (experiment, variant) = pair.split_once(':').ok_or(InvalidAssignments)?;
            let experiment = experiment.parse().map_err(|_| InvalidAssignments)?;
            let variant = variant.parse().map_err(|_| InvalidAssignments)?;
            assignments.add(experiment, variant);
        }
        // Only what is written here is read.
        if assignments.to_string() == text {
            Ok(assignments)
        } else {
            Err(InvalidAssignments)
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "these are tests")]
mod tests {
    use super::*;

    #[test]
    fn assignments_are_what_they_are_written_as() {
        for text in ["", "a:b", "a:b,c_1:d", "a:x,b:x"] {
            let read: Assignments = text.parse().expect("a form of ours");
            assert_eq!(read.to_string(), text);
            assert_eq!(read.is_empty(), text.is_empty());
        }
        for text in [
            "a", "a:", ":b", "a:b,", ",a:b", "b:x,a:x", "a:b,a:b", "a:b,a:c", "A:b", "a :b",
            "a:b:c",
        ] {
            assert_eq!(
                text.parse::<Assignments>(),
                Err(InvalidAssignments),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_there_is_kept() {
        let mut one: Assignments = "a:x,b:x".parse().expect("a form of ours");
        one.extend(&"b:y,c:y".parse().expect("a form of ours"));
        assert_eq!(one.to_string(), "a:x,b:x,c:y");
        let longest = "x".repeat(32);
        let many = (0..Assignments::MAX).map(|number| format!("{number:032}:{longest}"));
        let text = many.collect::<Vec<_>>().join(",");
        let read: Assignments = text.parse().expect("a form of ours");
        // The column has place for them.
        assert_eq!(read.to_string().len(), Assignments::MAX * 66 - 1);
    }

    #[test]
    fn shares_that_do_not_reach_a_bucket_give_nothing() {
        let share = |points| BasisPoints::new(points).expect("a share");
        assert_eq!(place("s", "u", []), None);
        assert_eq!(place("s", "u", [share(0), share(0)]), None);
        assert_eq!(place("s", "u", [share(0), share(10_000)]), Some(1));
        assert!(takes_part("s", "u", share(10_000)));
        assert!(!takes_part("s", "u", share(0)));
    }
}
