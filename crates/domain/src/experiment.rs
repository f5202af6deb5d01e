//! Experiments: what is varied, for whom, and how long. Assignment is in [`crate::assignment`]; statistics are
//! in a crate of their own, and nothing here is a float.
//!
//! What changes money inside one pool is assigned by contest or by room, never by viewer: viewers of one pool
//! share it, so what one of them gets changes what the others get.

mod definition;

pub use definition::{
    ALPHA_MAX, Changes, DISPLAY_MAX, Definition, ELIGIBLE_MAX, Guardrail, HYPOTHESIS_MAX,
    MIN_UNITS, Metric, PLANNED_UNITS_MAX, Unit, VARIANTS_MAX, Variant,
};

use crate::{
    assignment::{Assignments, place, takes_part},
    ids::{ContestId, ExperimentName, UserId, VariantName},
    terms::{BasisPoints, Terms},
    time::UnixMillis,
};
use std::collections::BTreeMap;

/// Why something was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When, by the store's clock.
    pub at: UnixMillis,
    /// Why.
    pub reason: String,
}

/// Where an experiment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It can still be changed, and nobody meets it.
    Draft,
    /// It runs since then.
    Running(UnixMillis),
    /// It ran since then, and was ended.
    Ended(UnixMillis, Ending),
}

/// An experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Its name.
    pub name: ExperimentName,
    /// What makes its assignment its own. Drawn once; never changes.
    pub salt: String,
    /// What it is.
    pub definition: Definition,
    /// How many of the units take part. Only ever grows.
    pub ramp: BasisPoints,
    /// Where it stands.
    pub status: Status,
    /// Arms that were stopped: their units meet nothing any more.
    pub stopped: BTreeMap<VariantName, Ending>,
    /// Counts the writes.
    pub version: u64,
    /// When it was made, by the store's clock.
    pub created_at: UnixMillis,
    /// When it was last written, by the store's clock.
    pub updated_at: UnixMillis,
}

/// What somebody asks of an experiment, or what a guardrail does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExperimentFact {
    /// It is to be something else.
    Redefined(Box<Definition>),
    /// It begins, with so many of the units.
    Started(BasisPoints),
    /// More units take part.
    Ramped(BasisPoints),
    /// This arm stops. Without a control, or with nothing but the control, all of it ends.
    ArmStopped(VariantName, String),
    /// It ends.
    Stopped(String),
}

crate::terms::choice! {
    /// What was done with an experiment.
    Action {
        /// It was made.
        Created = "created",
        /// A draft became something else.
        Redefined = "redefined",
        /// It began.
        Started = "started",
        /// More units take part.
        Ramped = "ramped",
        /// An arm was stopped.
        ArmStopped = "arm_stopped",
        /// It was ended.
        Stopped = "stopped",
    }
}

/// What an experiment does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExperimentError {
    /// It has started, and what it is does not change any more.
    #[error("it has started: only its ramp can go up, and it can be stopped")]
    Started,
    /// It does not run.
    #[error("it does not run")]
    NotRunning,
    /// A ramp only goes up.
    #[error("a ramp only goes up")]
    RampNotUp,
    /// Nobody would meet it.
    #[error("its end is past")]
    Over,
    /// There is no such arm, or it was stopped before.
    #[error("there is no such arm that runs")]
    NoArm,
}

impl ExperimentFact {
    /// What it is called in the history.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self {
            Self::Redefined(_) => Action::Redefined,
            Self::Started(_) => Action::Started,
            Self::Ramped(_) => Action::Ramped,
            Self::ArmStopped(..) => Action::ArmStopped,
            Self::Stopped(_) => Action::Stopped,
        }
    }
}

impl Experiment {
    /// A draft.
    #[must_use]
    pub fn new(
        name: ExperimentName,
        salt: String,
        definition: Definition,
        now: UnixMillis,
    ) -> Self {
        Self {
            name,
            salt,
            definition,
            ramp: BasisPoints::ZERO,
            status: Status::Draft,
            stopped: BTreeMap::new(),
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// What `fact` makes of it. `now` is database time.
    ///
    /// # Errors
    /// [`ExperimentError`]; the experiment is unchanged.
    pub fn apply(mut self, fact: ExperimentFact, now: UnixMillis) -> Result<Self, ExperimentError> {
        match (fact, self.status.clone()) {
            (ExperimentFact::Redefined(definition), Status::Draft) => self.definition = *definition,
            (ExperimentFact::Redefined(_) | ExperimentFact::Started(_), _)
                if self.status != Status::Draft =>
            {
                return Err(ExperimentError::Started);
            }
            (ExperimentFact::Started(_), _) if now >= self.definition.ends_at => {
                return Err(ExperimentError::Over);
            }
            (ExperimentFact::Started(ramp), _) => {
                self.ramp = ramp;
                self.status = Status::Running(now);
            }
            (_, Status::Draft | Status::Ended(..)) => return Err(ExperimentError::NotRunning),
            (ExperimentFact::Ramped(ramp), _) if ramp <= self.ramp => {
                return Err(ExperimentError::RampNotUp);
            }
            (ExperimentFact::Ramped(ramp), _) => self.ramp = ramp,
            (ExperimentFact::Stopped(reason), Status::Running(since)) => {
                self.status = Status::Ended(since, Ending { at: now, reason });
            }
            (ExperimentFact::ArmStopped(variant, reason), Status::Running(since)) => {
                let is_there = self.definition.variant(&variant).is_some();
                if !is_there || self.stopped.contains_key(&variant) {
                    return Err(ExperimentError::NoArm);
                }
                let ending = Ending { at: now, reason };
                self.stopped.insert(variant, ending.clone());
                if !self.compares() {
                    self.status = Status::Ended(since, ending);
                }
            }
            (ExperimentFact::Redefined(_), _) => return Err(ExperimentError::Started),
        }
        self.updated_at = now;
        Ok(self)
    }

    /// True while there is a control, and something to compare it with.
    fn compares(&self) -> bool {
        let runs = |variant: &Variant| !self.stopped.contains_key(&variant.name);
        let mut variants = self.definition.variants.iter();
        variants.next().is_some_and(runs) && variants.any(runs)
    }

    /// True while units meet it.
    #[must_use]
    pub fn is_met(&self, now: UnixMillis) -> bool {
        let Definition {
            starts_at, ends_at, ..
        } = &self.definition;
        matches!(self.status, Status::Running(_))
            && starts_at.is_none_or(|starts| now >= starts)
            && now < *ends_at
    }

    /// The variant of a unit that meets it in a contest of these terms at `now`: those that the contest would
    /// have without it. None where it does not take part, or where its arm was stopped.
    #[must_use]
    pub fn variant_of(&self, unit: &str, terms: &Terms, now: UnixMillis) -> Option<&Variant> {
        if !self.is_met(now) || !self.definition.is_eligible(terms) {
            return None;
        }
        self.assigned(unit)
            .filter(|variant| !self.stopped.contains_key(&variant.name))
    }

    /// The variant of a unit by hash and ramp alone.
    #[must_use]
    pub fn assigned(&self, unit: &str) -> Option<&Variant> {
        if !takes_part(&self.salt, unit, self.ramp) {
            return None;
        }
        let variants = &self.definition.variants;
        let place = place(&self.salt, unit, variants.iter().map(|one| one.share))?;
        variants.get(place)
    }
}

/// The variants of a new contest, and the terms that they make of its own. `experiments` are those that run, in
/// any order; no two of them change the same term.
#[must_use]
pub fn assign_contest(
    experiments: &[Experiment],
    contest: ContestId,
    terms: &Terms,
    now: UnixMillis,
) -> (Assignments, Terms) {
    let mut assignments = Assignments::default();
    let mut changed = terms.clone();
    let mut by_name: Vec<_> = experiments.iter().collect();
    by_name.sort_by(|one, other| one.name.cmp(&other.name));
    for experiment in by_name {
        let unit = match experiment.definition.unit {
            Unit::User => continue,
            Unit::Contest => contest.to_string(),
            Unit::Room => terms.room_id.to_string(),
        };
        let Some(variant) = experiment.variant_of(&unit, terms, now) else {
            continue;
        };
        // Each alone keeps the rules; where both together would not, the later one is left out.
        let Some(both) = variant.changes.apply(&changed) else {
            continue;
        };
        changed = both;
        assignments.add(experiment.name.clone(), variant.name.clone());
    }
    (assignments, changed)
}

/// The variants of a viewer in a contest: those of the contest, and those of the viewer, as long as there is place
/// for them ([`Assignments::MAX`]): a contest keeps the variants of experiments that have ended meanwhile.
#[must_use]
pub fn assign_viewer(
    experiments: &[Experiment],
    of_contest: &Assignments,
    user: &UserId,
    terms: &Terms,
    now: UnixMillis,
) -> Assignments {
    let mut assignments = of_contest.clone();
    for experiment in experiments {
        if experiment.definition.unit == Unit::User
            && assignments.iter().count() < Assignments::MAX
            && let Some(variant) = experiment.variant_of(user.as_str(), terms, now)
        {
            assignments.add(experiment.name.clone(), variant.name.clone());
        }
    }
    assignments
}
