//! Experiments and who met them.

use super::{MemoryStore, page};
use async_trait::async_trait;
use domain::{
    experiment::{Experiment, Status},
    ids::{ContestId, ExperimentName, VariantName},
    money::Coins,
    signup::StateKind,
};
use ports::{
    contests::StateCount,
    experiments::{Change, Experiments, Exposure, Outcome, OutcomeKey, Running, VariantCount},
    store::{Committed, Page, StoreError},
};
use std::collections::BTreeMap;

#[async_trait]
impl Experiments for MemoryStore {
    async fn insert_experiment(
        &self,
        experiment: &Experiment,
        change: &Change,
    ) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        if tables.experiments.contains_key(&experiment.name) {
            return Ok(false);
        }
        let name = experiment.name.clone();
        tables.experiments.insert(name.clone(), experiment.clone());
        tables.experiment_changes.push((name, change.clone()));
        Ok(true)
    }

    async fn experiment(&self, name: &ExperimentName) -> Result<Option<Experiment>, StoreError> {
        Ok(self.tables().experiments.get(name).cloned())
    }

    async fn experiments(
        &self,
        after: Option<ExperimentName>,
        limit: usize,
    ) -> Result<Page<Experiment, ExperimentName>, StoreError> {
        let tables = self.tables();
        let of = tables
            .experiments
            .values()
            .filter(|one| after.as_ref().is_none_or(|after| one.name > *after));
        Ok(page(of.cloned(), limit, |one| one.name.clone()))
    }

    async fn commit_experiment(
        &self,
        expected: u64,
        experiment: &Experiment,
        change: &Change,
    ) -> Result<Committed, StoreError> {
        let mut tables = self.tables();
        let Some(stored) = tables.experiments.get_mut(&experiment.name) else {
            return Ok(Committed::Missing);
        };
        if stored.version != expected {
            return Ok(Committed::GuardFailed);
        }
        *stored = Experiment {
            salt: stored.salt.clone(),
            created_at: stored.created_at,
            version: expected + 1,
            ..experiment.clone()
        };
        let line = Change {
            version: expected + 1,
            ..change.clone()
        };
        let name = experiment.name.clone();
        tables.experiment_changes.push((name, line));
        Ok(Committed::Applied)
    }

    async fn experiment_changes(
        &self,
        name: &ExperimentName,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Page<Change, u64>, StoreError> {
        let tables = self.tables();
        let newest = tables.experiment_changes.iter().rev();
        let of = newest
            .filter(|(of, change)| of == name && after.is_none_or(|after| change.version < after))
            .map(|(_, change)| change.clone());
        Ok(page(of, limit, |change| change.version))
    }

    async fn running(&self, known: Option<u64>) -> Result<Option<Running>, StoreError> {
        let tables = self.tables();
        let version = tables.experiments.values().map(|one| one.version).sum();
        if known == Some(version) {
            return Ok(None);
        }
        let running = tables
            .experiments
            .values()
            .filter(|one| matches!(one.status, Status::Running(_)));
        Ok(Some(Running {
            version,
            experiments: running.cloned().collect(),
        }))
    }

    async fn expose(&self, exposures: &[Exposure]) -> Result<(), StoreError> {
        let now = self.time();
        let mut tables = self.tables();
        for exposure in exposures {
            let outcome = Outcome {
                exposure: exposure.clone(),
                met_at: now,
                signup: None,
            };
            let key = (exposure.experiment.clone(), outcome.key());
            tables
                .exposures
                .entry(key)
                .or_insert((outcome.exposure, now));
        }
        Ok(())
    }

    async fn outcomes(
        &self,
        name: &ExperimentName,
        after: Option<OutcomeKey>,
        limit: usize,
    ) -> Result<Page<Outcome, OutcomeKey>, StoreError> {
        let tables = self.tables();
        let of = tables
            .exposures
            .iter()
            .filter(|((of, key), _)| of == name && after.as_ref().is_none_or(|after| key > after));
        let outcomes = of.map(|(_, (exposure, met_at))| {
            let user = exposure.user_id.as_ref();
            let id = user.and_then(|user| tables.viewers.get(&(exposure.contest_id, user.clone())));
            let row = id.and_then(|id| tables.signups.get(id));
            Outcome {
                exposure: exposure.clone(),
                met_at: *met_at,
                signup: row.map(|row| row.signup.clone()),
            }
        });
        Ok(page(outcomes, limit, Outcome::key))
    }

    async fn counts_by_variants(
        &self,
        contest: ContestId,
    ) -> Result<Vec<VariantCount>, StoreError> {
        let tables = self.tables();
        let mut counts: BTreeMap<(String, StateKind), VariantCount> = BTreeMap::new();
        let of = tables.signups.values().map(|row| &row.signup);
        for signup in of.filter(|one| one.contest_id == contest && !one.variants.is_empty()) {
            let state = signup.state.kind();
            let entry = counts.entry((signup.variants.to_string(), state));
            let count = entry.or_insert_with(|| VariantCount {
                variants: signup.variants.clone(),
                count: StateCount {
                    state,
                    signups: 0,
                    fees: Coins::ZERO,
                    prizes: Coins::ZERO,
                },
            });
            let too_many = |_| StoreError::unavailable("more coins than there can be");
            let fees = count.count.fees.plus(signup.fee_content().amount);
            let prizes = count
                .count
                .prizes
                .plus(signup.state.prize().unwrap_or(Coins::ZERO));
            count.count.signups += 1;
            count.count.fees = fees.map_err(too_many)?;
            count.count.prizes = prizes.map_err(too_many)?;
        }
        Ok(counts.into_values().collect())
    }

    async fn exposed(
        &self,
        contest: ContestId,
    ) -> Result<Vec<(ExperimentName, VariantName, u64)>, StoreError> {
        let tables = self.tables();
        let mut counts: BTreeMap<(ExperimentName, VariantName), u64> = BTreeMap::new();
        for (exposure, _) in tables.exposures.values() {
            if exposure.contest_id == contest && exposure.user_id.is_some() {
                let key = (exposure.experiment.clone(), exposure.variant.clone());
                *counts.entry(key).or_default() += 1;
            }
        }
        let counts = counts.into_iter();
        Ok(counts
            .map(|((of, variant), count)| (of, variant, count))
            .collect())
    }
}
