//! How far those came who met an experiment in one contest.

use crate::{Contests, Failure};
use domain::{
    ids::{ContestId, ExperimentName, VariantName},
    money::Coins,
    signup::StateKind,
};
use ports::contests::StateCount;

/// How far those came who met a variant in a contest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariantFunnel {
    /// Of which experiment.
    pub experiment: ExperimentName,
    /// Which.
    pub variant: VariantName,
    /// How many viewers met it.
    pub exposed: u64,
    /// Their signups by state.
    pub counts: Vec<StateCount>,
}

impl VariantFunnel {
    /// How many signups are in such a state.
    #[must_use]
    pub fn count(&self, is_wanted: impl Fn(StateKind) -> bool) -> u64 {
        let wanted = self.counts.iter().filter(|one| is_wanted(one.state));
        wanted.map(|one| one.signups).sum()
    }

    /// What such signups come to, in coins.
    #[must_use]
    pub fn coins(
        &self,
        is_wanted: impl Fn(StateKind) -> bool,
        of: impl Fn(&StateCount) -> Coins,
    ) -> u64 {
        let wanted = self.counts.iter().filter(|one| is_wanted(one.state));
        wanted.map(|one| of(one).get()).sum()
    }
}

impl Contests {
    /// How far those came who met an experiment in a contest.
    pub(crate) async fn by_variant(&self, id: ContestId) -> Result<Vec<VariantFunnel>, Failure> {
        let exposed = self.ports.experiments.exposed(id).await?;
        if exposed.is_empty() {
            return Ok(Vec::new());
        }
        let counts = self.ports.experiments.counts_by_variants(id).await?;
        let funnels = exposed.into_iter().map(|(experiment, variant, exposed)| {
            let of = counts
                .iter()
                .filter(|one| one.variants.get(&experiment) == Some(&variant));
            let counts = of.map(|one| one.count).collect();
            VariantFunnel {
                experiment,
                variant,
                exposed,
                counts,
            }
        });
        Ok(funnels.collect())
    }
}
