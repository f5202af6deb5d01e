//! Experiments, who met them, and what became of those who did.

use crate::{
    contests::StateCount,
    store::{Committed, Page, StoreError},
};
use async_trait::async_trait;
use domain::{
    assignment::Assignments,
    experiment::{Action, Experiment},
    ids::{ContestId, ExperimentName, UserId, VariantName},
    signup::Signup,
    terms::BasisPoints,
    time::UnixMillis,
};

/// The longest reason, in characters.
pub const REASON_MAX: usize = 500;

/// A line of an experiment's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The version of the experiment that it came with.
    pub version: u64,
    /// What was done.
    pub action: Action,
    /// By whom; none where a guardrail did it.
    pub by: Option<UserId>,
    /// Why.
    pub reason: String,
    /// The arm, where it was about one.
    pub variant: Option<VariantName>,
    /// The ramp afterwards.
    pub ramp: BasisPoints,
    /// When.
    pub at: UnixMillis,
}

/// The experiments that run, and a number that changes with every change of any experiment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Running {
    /// The number.
    pub version: u64,
    /// Those that run, by name.
    pub experiments: Vec<Experiment>,
}

/// A unit that met an experiment: in a contest, through a viewer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// Which experiment.
    pub experiment: ExperimentName,
    /// The unit: a viewer, a contest or a room.
    pub unit: String,
    /// In which contest.
    pub contest_id: ContestId,
    /// Through which viewer; none where the contest itself met it, when it was made.
    pub user_id: Option<UserId>,
    /// The variant.
    pub variant: VariantName,
}

/// What an exposure is ordered by: unit, contest and viewer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutcomeKey {
    /// The unit.
    pub unit: String,
    /// The contest.
    pub contest_id: ContestId,
    /// The viewer; nothing where there is none.
    pub user: String,
}

/// An exposure, and what became of the viewer in that contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exposure.
    pub exposure: Exposure,
    /// When it was recorded, by the store's clock.
    pub met_at: UnixMillis,
    /// The viewer's signup in the contest, if there is one.
    pub signup: Option<Signup>,
}

impl Outcome {
    /// What it is ordered by.
    #[must_use]
    pub fn key(&self) -> OutcomeKey {
        let user = self.exposure.user_id.as_ref();
        OutcomeKey {
            unit: self.exposure.unit.clone(),
            contest_id: self.exposure.contest_id,
            user: user.map(ToString::to_string).unwrap_or_default(),
        }
    }
}

/// An arm that must not go on, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Harmed {
    /// The arm.
    pub variant: VariantName,
    /// Which guardrail says so, in words.
    pub reason: String,
}

/// Who judges by statistics whether an arm does harm. What it answers is which arms to stop, and no number.
///
/// 1. `harmed` names an arm only where one of the experiment's guardrails is surely worse than the control by
///    more than its margin, at a level that holds however often it is asked, and never before each arm has the
///    units that the experiment says.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Judge: Send + Sync {
    /// The arms that do harm.
    async fn harmed(&self, experiment: &Experiment) -> Result<Vec<Harmed>, StoreError>;
}

/// How many signups have the same variants and are in the same state, and their coins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantCount {
    /// Their variants.
    pub variants: Assignments,
    /// How many, and their coins.
    pub count: StateCount,
}

/// The experiments.
///
/// 1. `insert_experiment` writes experiment and line of history together; a name that is taken changes nothing and
///    answers false.
/// 2. `commit_experiment` writes experiment and line together, only if the stored version is `expected`; the version
///    becomes `expected + 1`.
/// 3. `experiment`, `experiments` (by name) and `experiment_changes` (the newest first) answer every field as it was written.
/// 4. `running` answers those whose stored status is running, and nothing if the number is the known one. What
///    it answers is never older than a change that was answered before.
/// 5. `expose` records each exposure once, at its first time: a repeat changes nothing, also with another
///    variant.
/// 6. `outcomes` lists the exposures of an experiment by unit, contest and viewer, each with the viewer's
///    signup as it is; `after` is the key of the last one of the page before.
/// 7. `counts_by_variants` adds up to what the contest's own counts say of the signups that have any.
/// 8. `exposed` counts the viewers of a contest who met each variant.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Experiments: Send + Sync {
    /// Makes an experiment.
    async fn insert_experiment(
        &self,
        experiment: &Experiment,
        change: &Change,
    ) -> Result<bool, StoreError>;

    /// One experiment.
    async fn experiment(&self, name: &ExperimentName) -> Result<Option<Experiment>, StoreError>;

    /// Experiments by name.
    async fn experiments(
        &self,
        after: Option<ExperimentName>,
        limit: usize,
    ) -> Result<Page<Experiment, ExperimentName>, StoreError>;

    /// Writes an experiment as it has become.
    async fn commit_experiment(
        &self,
        expected: u64,
        experiment: &Experiment,
        change: &Change,
    ) -> Result<Committed, StoreError>;

    /// The history of an experiment, the newest first.
    async fn experiment_changes(
        &self,
        name: &ExperimentName,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Change, u64>, StoreError>;

    /// Those that run; none if nothing has changed since `known`.
    async fn running(&self, known: Option<u64>) -> Result<Option<Running>, StoreError>;

    /// Records who met what, at most [`PAGE_MAX`](crate::store::PAGE_MAX) at once.
    async fn expose(&self, exposures: &[Exposure]) -> Result<(), StoreError>;

    /// Who met an experiment, and what became of them.
    async fn outcomes(
        &self,
        name: &ExperimentName,
        after: Option<OutcomeKey>,
        limit: usize,
    ) -> Result<Page<Outcome, OutcomeKey>, StoreError>;

    /// The signups of a contest that have variants, by these and by state.
    async fn counts_by_variants(&self, contest: ContestId)
    -> Result<Vec<VariantCount>, StoreError>;

    /// How many viewers of a contest met each variant.
    async fn exposed(
        &self,
        contest: ContestId,
    ) -> Result<Vec<(ExperimentName, VariantName, u64)>, StoreError>;
}
