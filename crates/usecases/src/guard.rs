//! Guardrails: arms of experiments that are stopped by themselves, because the books of what they touched do
//! not balance, or because they do harm.

use crate::{Contests, Failure, experiments::Changed};
use domain::{
    assignment::Assignments,
    contest::Contest,
    experiment::{Experiment, ExperimentFact, Status, Unit, assign_viewer},
    finding::FindingClass,
    ids::{ContestId, ExperimentName, VariantName},
    time::UnixMillis,
};
use ports::findings::{Finding, FindingFilter};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::PoisonError,
};

/// The findings of one page.
const PAGE: usize = 1_000;

/// Findings are named and dated by their nodes' clocks: so long after it one may still appear, and so far those
/// may be from the store's, in milliseconds.
const LATE_MS: i64 = 120_000;

/// True where the finding says that coins are not where the rows say. What only was not recorded yet is
/// recorded by itself, and counts where that did not happen.
const fn is_of_books(finding: &Finding) -> bool {
    match finding.class {
        FindingClass::Stuck | FindingClass::TallyDiffers => false,
        FindingClass::FeeUnrecorded
        | FindingClass::PrizeUnrecorded
        | FindingClass::RefundUnrecorded => finding.settled_at.is_none(),
        FindingClass::FeeMissing
        | FindingClass::AmountDiffers
        | FindingClass::OrphanTransfer
        | FindingClass::DuplicateTransfer
        | FindingClass::PrizeMissing
        | FindingClass::RefundMissing
        | FindingClass::PoolDiffers => true,
    }
}

impl Contests {
    /// Stops the arms of running experiments that findings are about, and the experiments whose end has come; how
    /// many were stopped. An experiment or a finding that fails is looked at again and does not stop the others.
    ///
    /// # Errors
    /// [`Failure::Store`] where experiments or findings cannot be listed.
    pub async fn guard_experiments(&self) -> Result<usize, Failure> {
        self.read_experiments().await?;
        let running = self.running_experiments();
        if running.is_empty() {
            return Ok(0);
        }
        let now = self.ports.contests.now().await?;
        let mut stopped = self.look_at_findings(&running, now).await?;
        for experiment in running.iter().filter(|one| now >= one.definition.ends_at) {
            let reason = "its end has come".to_owned();
            let fact = ExperimentFact::Stopped(reason.clone());
            match self
                .change_experiment(&experiment.name, fact, None, reason)
                .await
            {
                Ok(changed) => stopped += usize::from(matches!(changed, Changed::Yes(_))),
                Err(error) => tracing::warn!(
                    experiment = %experiment.name, error = &error as &dyn std::error::Error,
                    "an experiment could not be ended; it is tried again"
                ),
            }
        }
        Ok(stopped)
    }

    /// Stops the arms of running experiments, as this node knows them, that do harm by their numbers; how many. It
    /// reads everybody who met them, so findings do not wait for it.
    pub async fn judge_experiments(&self) -> usize {
        let mut stopped = 0;
        for experiment in self.running_experiments() {
            match self.judge(&experiment).await {
                Ok(more) => stopped += more,
                Err(error) => tracing::warn!(
                    experiment = %experiment.name, error = &error as &dyn std::error::Error,
                    "an experiment could not be judged; it is tried again"
                ),
            }
        }
        stopped
    }

    /// Looks at the findings that were not looked at, settled meanwhile or not: at first at all there are, then at
    /// those that came later or may have come late. What failed is looked at again.
    async fn look_at_findings(
        &self,
        running: &[Experiment],
        now: UnixMillis,
    ) -> Result<usize, Failure> {
        let guarded = || {
            let guarded = self.lab.guarded.lock();
            guarded.unwrap_or_else(PoisonError::into_inner)
        };
        let filter = FindingFilter {
            contest: None,
            open: None,
        };
        let mut look = Look::new(self, running);
        let from = guarded().from;
        // Nothing appears any more before what is this old; what failed is not passed.
        let (mut after, mut passed, mut passes) = (from, from, true);
        loop {
            let page = self.ports.findings.list(filter, after, PAGE).await?;
            for finding in &page.items {
                let is_known = !is_of_books(finding) || guarded().seen.contains(&finding.id);
                let is_done = is_known || look.at(finding).await;
                if is_done && !is_known {
                    guarded().seen.insert(finding.id);
                }
                passes &= is_done && now.since(finding.found_at) >= LATE_MS;
                if passes {
                    passed = Some(finding.id);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let mut guarded = guarded();
        guarded.from = passed;
        guarded
            .seen
            .retain(|id| passed.is_none_or(|passed| *id > passed));
        Ok(look.stopped)
    }

    /// Stops the arms that do harm, by the numbers, once in a while and by one node at a time.
    async fn judge(&self, experiment: &Experiment) -> Result<usize, Failure> {
        let Some(judge) = &self.ports.judge else {
            return Ok(0);
        };
        let now = self.ports.clock.now();
        if !self.lab.may_judge(&experiment.name, now) {
            return Ok(0);
        }
        let Some(hold) = self.lease(format!("guard/{}", experiment.name)).await? else {
            return Ok(0);
        };
        let harmed = self.holding(hold, judge.harmed(experiment)).await;
        self.lab
            .judged(&experiment.name, now, self.ports.clock.now());
        let harmed = harmed?;
        let mut stopped = 0;
        for one in harmed {
            stopped += usize::from(self.stop_arm(experiment, one.variant, one.reason).await?);
        }
        Ok(stopped)
    }

    /// Stops an arm that runs; false where it does not.
    async fn stop_arm(
        &self,
        experiment: &Experiment,
        arm: VariantName,
        reason: String,
    ) -> Result<bool, Failure> {
        if experiment.stopped.contains_key(&arm) {
            return Ok(false);
        }
        let fact = ExperimentFact::ArmStopped(arm.clone(), reason.clone());
        let changed = self
            .change_experiment(&experiment.name, fact, None, reason.clone())
            .await?;
        let is_stopped = matches!(changed, Changed::Yes(_));
        if is_stopped {
            tracing::error!(
                experiment = %experiment.name, variant = %arm, reason, "a guardrail has stopped an arm"
            );
        }
        Ok(is_stopped)
    }
}

/// An arm of an experiment.
type Arm = (ExperimentName, VariantName);

/// One look at new findings. Where books break they break for many viewers at once, so what is read for a contest is
/// read once, and an arm that was stopped is left alone.
struct Look<'a> {
    contests: &'a Contests,
    running: &'a [Experiment],
    /// Contests that were read.
    contests_read: BTreeMap<ContestId, Option<Contest>>,
    /// What was met in contests.
    met: BTreeMap<ContestId, Vec<Arm>>,
    /// Those that are stopped.
    done: BTreeSet<Arm>,
    /// How many this look has stopped.
    stopped: usize,
}

impl<'a> Look<'a> {
    const fn new(contests: &'a Contests, running: &'a [Experiment]) -> Self {
        Self {
            contests,
            running,
            contests_read: BTreeMap::new(),
            met: BTreeMap::new(),
            done: BTreeSet::new(),
            stopped: 0,
        }
    }

    /// Stops the arms that a finding is about; false where it has to be looked at again.
    async fn at(&mut self, finding: &Finding) -> bool {
        let warn = |error: &Failure| {
            tracing::warn!(
                finding.id = %finding.id, error = error as &dyn std::error::Error,
                "a guardrail could not look at a finding; it looks again"
            );
        };
        let touched = match self.touched(finding).await {
            Ok(touched) => touched,
            Err(error) => {
                warn(&error);
                return false;
            }
        };
        let mut is_done = true;
        for arm in touched {
            if self.done.contains(&arm) {
                continue;
            }
            let (class, contest) = (finding.class.name(), finding.contest_id);
            let reason = format!("finding {}: {class} in contest {contest}", finding.id);
            let experiment = self.running.iter().find(|one| one.name == arm.0);
            let Some(experiment) = experiment else {
                continue;
            };
            match self
                .contests
                .stop_arm(experiment, arm.1.clone(), reason)
                .await
            {
                Ok(is_new) => {
                    self.stopped += usize::from(is_new);
                    self.done.insert(arm);
                }
                Err(error) => {
                    is_done = false;
                    warn(&error);
                }
            }
        }
        is_done
    }

    /// The arms that a finding is about: that of its contest, or that of its viewer, or, where it names nobody, every
    /// arm that was met in its contest.
    async fn touched(&mut self, finding: &Finding) -> Result<BTreeSet<Arm>, Failure> {
        let id = finding.contest_id;
        // What was found before its start, as far as clocks can tell, is none of an experiment's doing.
        let ran = |one: &&Experiment| match one.status {
            Status::Running(since) => finding.found_at.plus(LATE_MS) >= since,
            Status::Draft | Status::Ended(..) => false,
        };
        let (by_viewer, by_place): (Vec<_>, Vec<_>) = self
            .running
            .iter()
            .filter(ran)
            .partition(|one| one.definition.unit == Unit::User);
        let mut arms = BTreeSet::new();
        if !by_place.is_empty()
            && let Some(contest) = self.contest(id).await?
        {
            arms.extend(given(&by_place, &contest.variants));
        }
        if by_viewer.is_empty() {
            return Ok(arms);
        }
        let Some(user) = &finding.user_id else {
            let met = self.met_in(id).await?.iter();
            let ran = |arm: &&Arm| by_viewer.iter().any(|one| one.name == arm.0);
            arms.extend(met.filter(ran).cloned());
            return Ok(arms);
        };
        if let Some(signup) = self.contests.ports.signups.find(id, user).await? {
            arms.extend(given(&by_viewer, &signup.variants));
        } else if let Some(contest) = self.contest(id).await? {
            // Whose row is lost has the variant that it had.
            let terms = contest.terms.clone();
            let none = Assignments::NONE;
            let variants = assign_viewer(self.running, &none, user, &terms, finding.found_at);
            arms.extend(given(&by_viewer, &variants));
        }
        Ok(arms)
    }

    async fn contest(&mut self, id: ContestId) -> Result<Option<&Contest>, Failure> {
        match self.contests_read.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut().as_ref()),
            Entry::Vacant(unknown) => {
                let contest = self.contests.ports.contests.get(id).await?;
                Ok(unknown.insert(contest).as_ref())
            }
        }
    }

    /// The arms that were met in a contest.
    async fn met_in(&mut self, id: ContestId) -> Result<&Vec<Arm>, Failure> {
        match self.met.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let met = self.contests.ports.experiments.exposed(id).await?;
                let arms = met.into_iter().map(|(name, variant, _)| (name, variant));
                Ok(unknown.insert(arms.collect()))
            }
        }
    }
}

/// Those of the experiments' arms that are among variants.
fn given<'a>(
    experiments: &'a [&Experiment],
    variants: &'a Assignments,
) -> impl Iterator<Item = Arm> + 'a {
    experiments.iter().filter_map(|one| {
        let variant = variants.get(&one.name)?;
        Some((one.name.clone(), variant.clone()))
    })
}
