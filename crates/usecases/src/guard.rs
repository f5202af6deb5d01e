//! Guardrails: arms of experiments that are stopped by themselves, because the books of what they touched do
//! not balance, or because they do harm.

use crate::{Contests, Failure, experiments::Changed};
use domain::{
    experiment::{Experiment, ExperimentFact, Status, Unit},
    finding::FindingClass,
    ids::VariantName,
    time::UnixMillis,
};
use ports::findings::{Finding, FindingFilter};
use std::{collections::BTreeSet, sync::PoisonError};

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
        let mut stopped = 0;
        for finding in self.new_of_books(now).await? {
            let mut is_done = true;
            for experiment in &running {
                match self.stop_touched(experiment, &finding).await {
                    Ok(more) => stopped += more,
                    Err(error) => {
                        is_done = false;
                        tracing::warn!(
                            experiment = %experiment.name, finding.id = %finding.id,
                            error = &error as &dyn std::error::Error, "a guardrail could not be looked at"
                        );
                    }
                }
            }
            if is_done {
                let mut guarded = self
                    .lab
                    .guarded
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                guarded.seen.insert(finding.id);
            }
        }
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

    async fn stop_touched(
        &self,
        experiment: &Experiment,
        finding: &Finding,
    ) -> Result<usize, Failure> {
        let mut stopped = 0;
        for arm in self.arms_touched(experiment, finding).await? {
            let (class, contest) = (finding.class.name(), finding.contest_id);
            let reason = format!("finding {}: {class} in contest {contest}", finding.id);
            stopped += usize::from(self.stop_arm(experiment, arm, reason).await?);
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

    /// The arms that a finding is about: that of its contest, or that of its viewer, or, where it names nobody,
    /// every arm that was met in its contest.
    async fn arms_touched(
        &self,
        experiment: &Experiment,
        finding: &Finding,
    ) -> Result<BTreeSet<VariantName>, Failure> {
        let Status::Running(since) = experiment.status else {
            return Ok(BTreeSet::new());
        };
        if finding.found_at < since {
            return Ok(BTreeSet::new());
        }
        let id = finding.contest_id;
        if experiment.definition.unit != Unit::User {
            let contest = self.ports.contests.get(id).await?;
            let variant = contest.and_then(|one| one.variants.get(&experiment.name).cloned());
            return Ok(variant.into_iter().collect());
        }
        if let Some(user) = &finding.user_id {
            // Whose row is lost has the variant that it had.
            let variant = match self.ports.signups.find(id, user).await? {
                Some(signup) => signup.variants.get(&experiment.name).cloned(),
                None => experiment
                    .assigned(user.as_str())
                    .map(|one| one.name.clone()),
            };
            return Ok(variant.into_iter().collect());
        }
        let met = self.ports.experiments.exposed(id).await?;
        let of = met
            .into_iter()
            .filter(|(name, ..)| *name == experiment.name);
        Ok(of.map(|(_, variant, _)| variant).collect())
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
        let harmed = self.holding(hold, judge.harmed(experiment)).await?;
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
