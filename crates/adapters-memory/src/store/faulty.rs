//! The store with faults: every call goes through [`Faults::around`], so one counter numbers the
//! calls of all ports of a flow.

use super::MemoryStore;
use crate::faults::Faults;
use async_trait::async_trait;
use domain::{
    contest::Contest,
    experiment::Experiment,
    finding::{FindingClass, RepairOutcome},
    ids::{ContestId, ExperimentName, SenderId, SignupId, UserId, VariantName},
    judge::Progress,
    lifecycle::Presence,
    notice::NoticeKind,
    settlement::{Census, Finisher, SheetLine},
    signup::{Signup, StateKind},
    switch::{Change, Scope, Switch},
    time::UnixMillis,
};
use ports::{
    contests::{
        ContestCommit, ContestFilter, ContestRepository, CreationKey, Inserted, StateCount,
    },
    experiments::{
        Change as ExperimentChange, Experiments, Exposure, Outcome, OutcomeKey, Running,
        VariantCount,
    },
    findings::{Finding, FindingFilter, Findings, OpenFindings, Raised, Resolution, Resolved},
    leaderboard::{Leaderboard, Place},
    notices::{Notice, Notices},
    reconciliations::{LoggedRepair, Reconciliations, Run, Watch},
    signups::{Enrolled, SignupCommit, SignupRepository},
    store::{Committed, Page, StoreError},
    switches::{InForce, Said, SwitchSettings},
    tasks::{Assigned, EventOutcome, TaskEvent, TaskEvents, Tasks},
};
use std::sync::Arc;
use uuid::Uuid;

/// A [`MemoryStore`] of which one call can be made to go wrong. A call that fails answers
/// [`StoreError::Unavailable`], an assignment [`Assigned::Unknown`].
#[derive(Clone, Debug)]
pub struct FaultyStore {
    inner: Arc<MemoryStore>,
    faults: Arc<Faults>,
}

impl FaultyStore {
    /// `inner` with the faults that `faults` arms.
    #[must_use]
    pub const fn new(inner: Arc<MemoryStore>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

fn failed<T>() -> Result<T, StoreError> {
    Err(StoreError::unavailable("fault"))
}

/// Passes each listed method on through the faults; an owned argument is cloned for every call, as
/// a call may be made twice.
macro_rules! faulty {
    ($port:ident { $(
        async fn $method:ident(&self $(, $argument:ident: $kind:ty)*) -> $answer:ty => $failed:expr;
    )+ }) => {
        #[async_trait]
        impl $port for FaultyStore {
            $(
                async fn $method(&self $(, $argument: $kind)*) -> $answer {
                    self.faults
                        .around(|| $port::$method(&*self.inner $(, Clone::clone(&$argument))*), $failed)
                        .await
                }
            )+
        }
    };
}

faulty! { ContestRepository {
    async fn now(&self) -> Result<UnixMillis, StoreError> => failed;
    async fn insert(&self, contest: &Contest) -> Result<bool, StoreError> => failed;
    async fn insert_once(
        &self,
        contest: &Contest,
        key: &CreationKey
    ) -> Result<Inserted, StoreError> => failed;
    async fn get(&self, id: ContestId) -> Result<Option<Contest>, StoreError> => failed;
    async fn list(
        &self,
        filter: &ContestFilter,
        after: Option<ContestId>,
        limit: usize
    ) -> Result<Page<Contest, ContestId>, StoreError> => failed;
    async fn commit(&self, commit: ContestCommit) -> Result<Committed, StoreError> => failed;
    async fn awake(&self, limit: usize) -> Result<Vec<Contest>, StoreError> => failed;
    async fn presence(&self, id: ContestId) -> Result<Presence, StoreError> => failed;
    async fn census(&self, id: ContestId) -> Result<Census, StoreError> => failed;
    async fn counts(&self, id: ContestId) -> Result<Vec<StateCount>, StoreError> => failed;
    async fn finishers(
        &self,
        id: ContestId,
        after: Option<SignupId>,
        limit: usize
    ) -> Result<Vec<Finisher>, StoreError> => failed;
    async fn sheet_line(
        &self,
        id: ContestId,
        signup: SignupId
    ) -> Result<Option<SheetLine>, StoreError> => failed;
    async fn sheet(
        &self,
        id: ContestId,
        after: Option<SignupId>,
        limit: usize
    ) -> Result<Page<SheetLine, SignupId>, StoreError> => failed;
} }

faulty! { SignupRepository {
    async fn enroll(
        &self,
        signup: &Signup,
        wake_at: Option<UnixMillis>
    ) -> Result<Enrolled, StoreError> => failed;
    async fn restore(&self, signup: &Signup) -> Result<Enrolled, StoreError> => failed;
    async fn find(
        &self,
        contest: ContestId,
        user: &UserId
    ) -> Result<Option<Signup>, StoreError> => failed;
    async fn find_to_claim(
        &self,
        contest: ContestId,
        user: &UserId
    ) -> Result<Option<(Signup, Option<SheetLine>)>, StoreError> => failed;
    async fn get(&self, id: SignupId) -> Result<Option<Signup>, StoreError> => failed;
    async fn commit(&self, commit: SignupCommit) -> Result<Committed, StoreError> => failed;
    async fn awake(&self, limit: usize) -> Result<Vec<Signup>, StoreError> => failed;
    async fn page(
        &self,
        contest: ContestId,
        states: &[StateKind],
        after: Option<SignupId>,
        limit: usize
    ) -> Result<Page<Signup, SignupId>, StoreError> => failed;
    async fn range_end(
        &self,
        contest: ContestId,
        after: Option<SignupId>,
        rows: usize
    ) -> Result<Option<SignupId>, StoreError> => failed;
    async fn of_user(
        &self,
        user: &UserId,
        after: Option<SignupId>,
        limit: usize
    ) -> Result<Page<Signup, SignupId>, StoreError> => failed;
    async fn parked(
        &self,
        after: Option<SignupId>,
        limit: usize
    ) -> Result<Page<Signup, SignupId>, StoreError> => failed;
} }

faulty! { Tasks {
    async fn assign(&self, contest: &Contest, signup: &Signup) -> Assigned => || Assigned::Unknown;
    async fn progress(
        &self,
        contest: &Contest,
        signups: &[Signup]
    ) -> Result<Vec<Progress>, StoreError> => failed;
} }

faulty! { TaskEvents {
    async fn record(
        &self,
        sender: &SenderId,
        events: &[TaskEvent]
    ) -> Result<Vec<EventOutcome>, StoreError> => failed;
} }

faulty! { Leaderboard {
    async fn top(&self, contest: &Contest, limit: usize) -> Result<Vec<Place>, StoreError> => failed;
    async fn place_of(
        &self,
        contest: &Contest,
        user: &UserId
    ) -> Result<Option<Place>, StoreError> => failed;
    async fn standings(
        &self,
        contest: &Contest,
        users: &[UserId]
    ) -> Result<Vec<Place>, StoreError> => failed;
    async fn page(
        &self,
        contest: &Contest,
        after: Option<SignupId>,
        limit: usize
    ) -> Result<Page<Place, SignupId>, StoreError> => failed;
} }

faulty! { Findings {
    async fn raise(&self, finding: &Finding) -> Result<Raised, StoreError> => failed;
    async fn settle(
        &self,
        class: FindingClass,
        contest: ContestId,
        subject: &str
    ) -> Result<(), StoreError> => failed;
    async fn resolve(
        &self,
        id: Uuid,
        resolution: &Resolution
    ) -> Result<Resolved, StoreError> => failed;
    async fn finding(&self, id: Uuid) -> Result<Option<Finding>, StoreError> => failed;
    async fn list(
        &self,
        filter: FindingFilter,
        after: Option<Uuid>,
        limit: usize
    ) -> Result<Page<Finding, Uuid>, StoreError> => failed;
    async fn open(&self) -> Result<Vec<OpenFindings>, StoreError> => failed;
} }

faulty! { Experiments {
    async fn insert_experiment(
        &self,
        experiment: &Experiment,
        change: &ExperimentChange
    ) -> Result<bool, StoreError> => failed;
    async fn experiment(&self, name: &ExperimentName) -> Result<Option<Experiment>, StoreError> => failed;
    async fn experiments(
        &self,
        after: Option<ExperimentName>,
        limit: usize
    ) -> Result<Page<Experiment, ExperimentName>, StoreError> => failed;
    async fn commit_experiment(
        &self,
        expected: u64,
        experiment: &Experiment,
        change: &ExperimentChange
    ) -> Result<Committed, StoreError> => failed;
    async fn experiment_changes(
        &self,
        name: &ExperimentName,
        after: Option<u64>,
        limit: usize
    ) -> Result<Page<ExperimentChange, u64>, StoreError> => failed;
    async fn running(&self, known: Option<u64>) -> Result<Option<Running>, StoreError> => failed;
    async fn expose(&self, exposures: &[Exposure]) -> Result<(), StoreError> => failed;
    async fn outcomes(
        &self,
        name: &ExperimentName,
        after: Option<OutcomeKey>,
        limit: usize
    ) -> Result<Page<Outcome, OutcomeKey>, StoreError> => failed;
    async fn counts_by_variants(&self, contest: ContestId) -> Result<Vec<VariantCount>, StoreError> => failed;
    async fn exposed(
        &self,
        contest: ContestId
    ) -> Result<Vec<(ExperimentName, VariantName, u64)>, StoreError> => failed;
} }

faulty! { SwitchSettings {
    async fn set(&self, said: &Said) -> Result<Change, StoreError> => failed;
    async fn in_force(&self, known: Option<u64>) -> Result<Option<InForce>, StoreError> => failed;
    async fn history(
        &self,
        switch: Switch,
        after: Option<u64>,
        limit: usize
    ) -> Result<Page<Change, u64>, StoreError> => failed;
    async fn changes_in(
        &self,
        switch: Switch,
        scopes: &[Scope]
    ) -> Result<Vec<Change>, StoreError> => failed;
} }

faulty! { Notices {
    async fn due(&self, limit: usize) -> Result<Vec<Notice>, StoreError> => failed;
    async fn told(&self, sequence: u64) -> Result<(), StoreError> => failed;
    async fn put_off(&self, sequence: u64, for_ms: i64) -> Result<(), StoreError> => failed;
    async fn add(&self, kind: NoticeKind, contest: ContestId) -> Result<(), StoreError> => failed;
} }

faulty! { Reconciliations {
    async fn begin_run(&self, run: &Run) -> Result<bool, StoreError> => failed;
    async fn advance_run(&self, run: &Run, findings: &[Uuid]) -> Result<Committed, StoreError> => failed;
    async fn run(&self, id: Uuid) -> Result<Option<Run>, StoreError> => failed;
    async fn open_runs(&self, limit: usize) -> Result<Vec<Run>, StoreError> => failed;
    async fn runs(
        &self,
        after: Option<Uuid>,
        limit: usize
    ) -> Result<Page<Run, Uuid>, StoreError> => failed;
    async fn run_findings(
        &self,
        run: Uuid,
        after: Option<Uuid>,
        limit: usize
    ) -> Result<Page<Finding, Uuid>, StoreError> => failed;
    async fn begin_repair(&self, repair: &LoggedRepair) -> Result<(), StoreError> => failed;
    async fn end_repair(&self, id: Uuid, outcome: RepairOutcome) -> Result<(), StoreError> => failed;
    async fn repairs(&self, finding: Uuid) -> Result<Vec<LoggedRepair>, StoreError> => failed;
    async fn watched(&self, limit: usize) -> Result<Vec<Watch>, StoreError> => failed;
    async fn watch(&self, contest: ContestId) -> Result<Option<Watch>, StoreError> => failed;
    async fn save_watch(&self, watch: &Watch) -> Result<(), StoreError> => failed;
    async fn unwatch(&self, contest: ContestId) -> Result<(), StoreError> => failed;
} }
