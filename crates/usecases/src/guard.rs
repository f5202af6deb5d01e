//! Guardrails: arms of experiments that are stopped by themselves, because the books of what they touched do
//! not balance, or because they do harm.

use crate::{Contests, Failure, experiments::Changed};
use domain::{
    assignment::Assignments,
    experiment::{Experiment, ExperimentFact, Status, Unit},
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

/// Findings are named by their nodes' clocks: so long after it one may still appear, in milliseconds.
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
    /// Stops the arms of running experiments that must not go on, and the experiments whose end has come; how
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
        let mut look = Look::new(self, &running);
        for finding in self.new_of_books(now).await? {
            if look.at(&finding).await {
                let mut guarded = self
                    .lab
                    .guarded
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                guarded.seen.insert(finding.id);
            }
        }
        let mut stopped = look.stopped;
        for experiment in &running {
            match self.end_or_judge(experiment, now).await {
                Ok(more) => stopped += more,
                Err(error) => tracing::warn!(
                    experiment = %experiment.name, error = &error as &dyn std::error::Error,
                    "an experiment could not be judged; it is tried again"
                ),
            }
        }
        Ok(stopped)
    }

    async fn end_or_judge(
        &self,
        experiment: &Experiment,
        now: UnixMillis,
    ) -> Result<usize, Failure> {
        if now < experiment.definition.ends_at {
            return self.judge(experiment).await;
        }
        let reason = "its end has come".to_owned();
        let fact = ExperimentFact::Stopped(reason.clone());
        let changed = self
            .change_experiment(&experiment.name, fact, None, reason)
            .await?;
        Ok(usize::from(matches!(changed, Changed::Yes(_))))
    }

    /// Findings that the guardrails have not looked at, settled meanwhile or not: at first all there are, then
    /// those that came later or may have come late.
    async fn new_of_books(&self, now: UnixMillis) -> Result<Vec<Finding>, Failure> {
        let from = {
            let mut guarded = self
                .lab
                .guarded
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            // Of the looks that are old enough the last one is kept: nothing appears before it any more.
            while guarded
                .looks
                .get(1)
                .is_some_and(|(at, _)| now.since(*at) >= LATE_MS)
            {
                guarded.looks.pop_front();
            }
            let first = guarded.looks.front().copied();
            let from = first.filter(|(at, _)| now.since(*at) >= LATE_MS);
            let from = from.and_then(|(_, last)| last);
            guarded.seen.retain(|id| from.is_none_or(|from| *id > from));
            from
        };
        let filter = FindingFilter {
            contest: None,
            open: None,
        };
        let (mut found, mut after, mut last) = (Vec::new(), from, from);
        loop {
            let page = self.ports.findings.list(filter, after, PAGE).await?;
            last = page.items.last().map(|one| one.id).or(last);
            let mut guarded = self
                .lab
                .guarded
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let is_new = |one: &Finding| is_of_books(one) && !guarded.seen.contains(&one.id);
            found.extend(page.items.into_iter().filter(is_new));
            match page.next {
                Some(next) => after = Some(next),
                None => {
                    guarded.looks.push_back((now, last));
                    return Ok(found);
                }
            }
        }
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
    /// The variants of contests.
    given: BTreeMap<ContestId, Assignments>,
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
            given: BTreeMap::new(),
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

    /// The arms that a finding is about, of the experiments that ran when it was found: that of its contest, or that
    /// of its viewer, or, where it names nobody, every arm that was met in its contest.
    async fn touched(&mut self, finding: &Finding) -> Result<BTreeSet<Arm>, Failure> {
        let (ports, id) = (&self.contests.ports, finding.contest_id);
        let ran = |one: &&Experiment| matches!(one.status, Status::Running(since) if finding.found_at >= since);
        let (by_viewer, by_place): (Vec<_>, Vec<_>) = self
            .running
            .iter()
            .filter(ran)
            .partition(|one| one.definition.unit == Unit::User);
        let mut arms = BTreeSet::new();
        if !by_place.is_empty() {
            let given = self.given_to(id).await?;
            arms.extend(
                by_place
                    .iter()
                    .filter_map(|one| arm(one, given.get(&one.name))),
            );
        }
        if by_viewer.is_empty() {
            return Ok(arms);
        }
        match &finding.user_id {
            // Whose row is lost has the variant that it had.
            Some(user) => match ports.signups.find(id, user).await? {
                Some(signup) => {
                    let given = |one: &&Experiment| arm(one, signup.variants.get(&one.name));
                    arms.extend(by_viewer.iter().filter_map(given));
                }
                None => {
                    let assigned = |one: &&Experiment| {
                        arm(
                            one,
                            one.assigned(user.as_str()).map(|variant| &variant.name),
                        )
                    };
                    arms.extend(by_viewer.iter().filter_map(assigned));
                }
            },
            None => {
                let met = self.met_in(id).await?.iter();
                let ran = |arm: &&Arm| by_viewer.iter().any(|one| one.name == arm.0);
                arms.extend(met.filter(ran).cloned());
            }
        }
        Ok(arms)
    }

    /// The variants of a contest.
    async fn given_to(&mut self, id: ContestId) -> Result<&Assignments, Failure> {
        match self.given.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(unknown) => {
                let contest = self.contests.ports.contests.get(id).await?;
                Ok(unknown.insert(contest.map(|one| one.variants).unwrap_or_default()))
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

fn arm(experiment: &Experiment, variant: Option<&VariantName>) -> Option<Arm> {
    Some((experiment.name.clone(), variant?.clone()))
}
