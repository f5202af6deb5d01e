//! Results of an experiment: who met it is read page by page, added up by unit, and compared.
//!
//! A unit is what was assigned. Of a viewer each thing counts once, in however many contests it was done, and
//! coins are added up; of a contest or a room the viewers who met it are counted, and what is compared is a sum
//! over them for each of them.

use crate::{Comparison, Design, SAMPLE_RATIO_ALARM, Sums, Verdict, compare, sample_ratio};
use async_trait::async_trait;
use domain::{
    experiment::{Experiment, Guardrail, Metric, Unit},
    ids::VariantName,
    money::Coins,
    signup::{FeeTry, Signup, State, StateKind},
};
use ports::{
    experiments::{Experiments, Harmed, Judge, Outcome},
    store::{PAGE_MAX, StoreError},
};
use std::sync::Arc;

/// How far those came who met a variant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Funnel {
    /// Viewers who met it, in each contest in which they did.
    pub exposed: u64,
    /// Of them, who asked to sign up.
    pub signed_up: u64,
    /// Whose fee was paid.
    pub paid: u64,
    /// Who completed the task.
    pub finished: u64,
    /// Whose prize was paid.
    pub claimed: u64,
    /// Whose fee went back, or is on its way.
    pub refunded: u64,
    /// Who asked to sign up and did not pay.
    pub charge_failed: u64,
    /// Fees that were paid and not given back, in coins.
    pub coins_in: u64,
    /// Prizes that were paid, in coins.
    pub coins_out: u64,
}

impl Funnel {
    /// What one viewer did in one contest.
    fn of(signup: Option<&Signup>) -> Self {
        let mut funnel = Self {
            exposed: 1,
            ..Self::default()
        };
        let Some(signup) = signup else {
            return funnel;
        };
        let kind = signup.state.kind();
        let is_back = matches!(kind, StateKind::Refunding | StateKind::Refunded);
        let is_finished = matches!(
            kind,
            StateKind::Completed | StateKind::Claiming | StateKind::Shared | StateKind::Forfeited
        );
        let is_failed = kind == StateKind::Expired
            || matches!(signup.state, State::Initialized(FeeTry::Refused(_)));
        funnel.signed_up = 1;
        funnel.paid = u64::from(kind.is_paid());
        funnel.finished = u64::from(is_finished);
        funnel.claimed = u64::from(kind == StateKind::Shared);
        funnel.refunded = u64::from(is_back);
        funnel.charge_failed = u64::from(is_failed);
        if kind.is_paid() && !is_back {
            funnel.coins_in = signup.fee.get();
        }
        if kind == StateKind::Shared {
            funnel.coins_out = signup.state.prize().map_or(0, Coins::get);
        }
        funnel
    }

    fn add(&mut self, other: &Self) {
        self.exposed = self.exposed.saturating_add(other.exposed);
        self.signed_up = self.signed_up.saturating_add(other.signed_up);
        self.paid = self.paid.saturating_add(other.paid);
        self.finished = self.finished.saturating_add(other.finished);
        self.claimed = self.claimed.saturating_add(other.claimed);
        self.refunded = self.refunded.saturating_add(other.refunded);
        self.charge_failed = self.charge_failed.saturating_add(other.charge_failed);
        self.coins_in = self.coins_in.saturating_add(other.coins_in);
        self.coins_out = self.coins_out.saturating_add(other.coins_out);
    }

    /// What it says of a metric.
    #[must_use]
    pub const fn metric(&self, metric: Metric) -> u64 {
        match metric {
            Metric::SignedUp => self.signed_up,
            Metric::Paid => self.paid,
            Metric::Finished => self.finished,
            Metric::Claimed => self.claimed,
            Metric::CoinsIn => self.coins_in,
            Metric::CoinsOut => self.coins_out,
            Metric::Refunded => self.refunded,
            Metric::ChargeFailed => self.charge_failed,
        }
    }
}

/// One arm.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Its variant.
    pub variant: VariantName,
    /// How many units met it.
    pub units: u64,
    /// How far its viewers came.
    pub funnel: Funnel,
    /// What its units add up to, in the order of [`Metric::ALL`].
    sums: Vec<Sums>,
}

impl Arm {
    /// What its units add up to for a metric.
    #[must_use]
    pub fn sums(&self, metric: Metric) -> Sums {
        let place = Metric::ALL.iter().position(|one| *one == metric);
        place
            .and_then(|place| self.sums.get(place))
            .copied()
            .unwrap_or(Sums::EMPTY)
    }

    /// A metric for each viewer who met it; none before there is one.
    #[must_use]
    pub fn rate(&self, metric: Metric) -> Option<f64> {
        self.sums(metric).ratio()
    }
}

/// A treated arm against the control.
#[derive(Clone, Debug, PartialEq)]
pub struct Treated {
    /// Its variant.
    pub variant: VariantName,
    /// Each metric against the control, in the order of [`Metric::ALL`].
    pub comparisons: Vec<(Metric, Comparison)>,
    /// What the primary metric says; nothing where the assignment is broken.
    pub verdict: Verdict,
    /// The guardrails that it breaks.
    pub harms: Vec<Guardrail>,
}

/// The results of an experiment, as of one look.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// The experiment.
    pub experiment: Experiment,
    /// Its arms, the control first.
    pub arms: Vec<Arm>,
    /// Units that met more than one variant, which cannot be: they count for none.
    pub crossed: u64,
    /// How likely a right assignment is to be as uneven as this one; none while there are too few units to say.
    /// Arms that were stopped are left out.
    pub sample_ratio: Option<f64>,
    /// The treated arms against the control.
    pub treated: Vec<Treated>,
}

impl Results {
    /// True where the assignment is so uneven that something is broken, and nothing below is to be believed.
    #[must_use]
    pub fn is_uneven(&self) -> bool {
        self.sample_ratio.is_some_and(|p| p < SAMPLE_RATIO_ALARM)
    }
}

/// A unit that is being added up.
struct Tally {
    unit: String,
    /// Its variant; none where it met several.
    variant: Option<VariantName>,
    viewers: Funnel,
    /// What a viewer did at all, and their coins.
    once: Funnel,
}

impl Tally {
    fn new(unit: &str, variant: &VariantName) -> Self {
        Self {
            unit: unit.to_owned(),
            variant: Some(variant.clone()),
            viewers: Funnel::default(),
            once: Funnel::default(),
        }
    }

    fn add(&mut self, outcome: &Outcome) {
        if self.variant.as_ref() != Some(&outcome.exposure.variant) {
            self.variant = None;
        }
        if outcome.exposure.user_id.is_none() {
            return;
        }
        // What a viewer had done before they met it is none of its doing.
        let exposure = &outcome.exposure;
        let got =
            |signup: &&Signup| signup.variants.get(&exposure.experiment) == Some(&exposure.variant);
        let done = Funnel::of(outcome.signup.as_ref().filter(got));
        self.viewers.add(&done);
        self.once.add(&done);
    }
}

/// What the units of an experiment add up to so far.
struct Adding {
    unit: Unit,
    arms: Vec<Arm>,
    crossed: u64,
}

impl Adding {
    fn finish(&mut self, tally: Option<Tally>) {
        let Some(tally) = tally else {
            return;
        };
        let variant = tally.variant.as_ref();
        let arm = self
            .arms
            .iter_mut()
            .find(|arm| Some(&arm.variant) == variant);
        let Some(arm) = arm else {
            self.crossed += 1;
            return;
        };
        arm.units += 1;
        arm.funnel.add(&tally.viewers);
        for (metric, sums) in Metric::ALL.iter().zip(&mut arm.sums) {
            let done = tally.once.metric(*metric);
            let (x, y) = match (self.unit, metric) {
                (Unit::User, Metric::CoinsIn | Metric::CoinsOut) => (done, 1),
                (Unit::User, _) => (done.min(1), 1),
                (Unit::Contest | Unit::Room, _) => (done, tally.viewers.exposed),
            };
            sums.add(float(x), float(y));
        }
    }
}

/// Counts and coins stay far below 2^53, where a float is exact.
#[expect(clippy::cast_precision_loss, reason = "below 2^53 nothing is lost")]
const fn float(number: u64) -> f64 {
    number as f64
}

/// The results of an experiment, read page by page in flat memory.
///
/// # Errors
/// [`StoreError`].
pub async fn results(
    experiments: &dyn Experiments,
    experiment: Experiment,
) -> Result<Results, StoreError> {
    let definition = &experiment.definition;
    let arm = |variant: &domain::experiment::Variant| Arm {
        variant: variant.name.clone(),
        units: 0,
        funnel: Funnel::default(),
        sums: vec![Sums::EMPTY; Metric::ALL.len()],
    };
    let mut adding = Adding {
        unit: definition.unit,
        arms: definition.variants.iter().map(arm).collect(),
        crossed: 0,
    };
    let (mut after, mut tally): (_, Option<Tally>) = (None, None);
    loop {
        let page = experiments
            .outcomes(&experiment.name, after, PAGE_MAX)
            .await?;
        for outcome in &page.items {
            let exposure = &outcome.exposure;
            if tally
                .as_ref()
                .is_some_and(|tally| tally.unit != exposure.unit)
            {
                adding.finish(tally.take());
            }
            tally
                .get_or_insert_with(|| Tally::new(&exposure.unit, &exposure.variant))
                .add(outcome);
        }
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    adding.finish(tally);
    Ok(judged(experiment, adding))
}

fn judged(experiment: Experiment, adding: Adding) -> Results {
    let Adding { arms, crossed, .. } = adding;
    let definition = &experiment.definition;
    let going: Vec<_> = definition
        .variants
        .iter()
        .zip(&arms)
        .filter(|(variant, _)| !experiment.stopped.contains_key(&variant.name))
        .collect();
    let counts: Vec<_> = going.iter().map(|(_, arm)| arm.units).collect();
    let shares: Vec<_> = going
        .iter()
        .map(|(one, _)| u64::from(one.share.get()))
        .collect();
    let mut treated = Vec::new();
    if let Some((control, others)) = arms.split_first()
        && let Ok(design) = design(&experiment)
    {
        treated = others
            .iter()
            .map(|arm| compared(&experiment, control, arm, &design))
            .collect();
    }
    let mut results = Results {
        sample_ratio: sample_ratio(&counts, &shares).ok(),
        arms,
        crossed,
        treated,
        experiment,
    };
    if results.is_uneven() {
        for treated in &mut results.treated {
            treated.verdict = Verdict::Undecided;
        }
    }
    results
}

fn design(experiment: &Experiment) -> Result<Design, crate::Invalid> {
    let definition = &experiment.definition;
    let alpha = f64::from(definition.alpha.get()) / 10_000.0;
    let arms = u32::try_from(definition.variants.len().saturating_sub(1)).unwrap_or(1);
    let design = Design::new(alpha, definition.planned_units, definition.min_units, arms)?;
    Ok(match definition.unit {
        Unit::User => design,
        Unit::Contest | Unit::Room => design.of_units_that_go_on(),
    })
}

fn compared(experiment: &Experiment, control: &Arm, arm: &Arm, design: &Design) -> Treated {
    let definition = &experiment.definition;
    let of = |metric: Metric| compare(&control.sums(metric), &arm.sums(metric), design);
    let is_broken = |guardrail: &&Guardrail| {
        let margin = f64::from(guardrail.margin.get()) / 10_000.0;
        of(guardrail.metric).is_harmed(margin)
    };
    Treated {
        variant: arm.variant.clone(),
        comparisons: Metric::ALL
            .iter()
            .map(|metric| (*metric, of(*metric)))
            .collect(),
        verdict: of(definition.primary).verdict(),
        harms: definition
            .guardrails
            .iter()
            .filter(is_broken)
            .copied()
            .collect(),
    }
}

/// Judges the guardrails of experiments.
#[derive(Clone)]
pub struct Statistician(Arc<dyn Experiments>);

impl Statistician {
    /// Who reads there.
    #[must_use]
    pub const fn new(experiments: Arc<dyn Experiments>) -> Self {
        Self(experiments)
    }
}

#[async_trait]
impl Judge for Statistician {
    async fn harmed(&self, experiment: &Experiment) -> Result<Vec<Harmed>, StoreError> {
        if experiment.definition.guardrails.is_empty() {
            return Ok(Vec::new());
        }
        let results = results(&*self.0, experiment.clone()).await?;
        let harmed = results.treated.iter().flat_map(|treated| {
            treated.harms.iter().map(|guardrail| Harmed {
                variant: treated.variant.clone(),
                reason: format!(
                    "{} is more than the control's by more than {} basis points",
                    guardrail.metric.name(),
                    guardrail.margin.get()
                ),
            })
        });
        Ok(harmed.collect())
    }
}
