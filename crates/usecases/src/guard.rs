//! Guardrails: arms of experiments that are stopped by themselves, because the books of what they touched do
//! not balance, or because they do harm.

use crate::{Contests, Failure, experiments::Changed};
use domain::{
    experiment::{Experiment, ExperimentFact, Status, Unit},
    finding::FindingClass,
    ids::VariantName,
};
use ports::findings::{Finding, FindingFilter};
use std::collections::BTreeSet;

/// The findings of one page.
const PAGE: usize = 1_000;

/// True where the finding says that coins are not where the rows say.
const fn is_of_books(class: FindingClass) -> bool {
    !matches!(class, FindingClass::Stuck | FindingClass::TallyDiffers)
}

impl Contests {
    /// Stops the arms of running experiments that must not go on; how many were stopped.
    ///
    /// # Errors
    /// [`Failure::Store`]; an experiment that fails does not stop the others.
    pub async fn guard_experiments(&self) -> Result<usize, Failure> {
        self.read_experiments().await?;
        let running = self.running_experiments();
        if running.is_empty() {
            return Ok(0);
        }
        let mut stopped = 0;
        for finding in self.open_of_books().await? {
            for experiment in &running {
                for arm in self.arms_touched(experiment, &finding).await? {
                    let (class, contest) = (finding.class.name(), finding.contest_id);
                    let reason = format!("finding {}: {class} in contest {contest}", finding.id);
                    stopped += usize::from(self.stop_arm(experiment, arm, reason).await?);
                }
            }
        }
        for experiment in &running {
            stopped += self.judge(experiment).await?;
        }
        Ok(stopped)
    }

    async fn open_of_books(&self) -> Result<Vec<Finding>, Failure> {
        let filter = FindingFilter {
            contest: None,
            open: Some(true),
        };
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = self.ports.findings.list(filter, after, PAGE).await?;
            found.extend(page.items.into_iter().filter(|one| is_of_books(one.class)));
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(found),
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
        if let Some(user) = &finding.user_id
            && let Some(signup) = self.ports.signups.find(id, user).await?
        {
            let variant = signup.variants.get(&experiment.name).cloned();
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
