//! Results of experiments on the wire.

use super::{ExperimentView, rfc3339};
use crate::openapi::vocabulary;
use domain::{experiment::Metric, time::UnixMillis};
use experiments::{Comparison, Results, SAMPLE_RATIO_ALARM, Treated, Verdict, report};
use serde::Serialize;
use utoipa::ToSchema;

/// The results of an experiment, as they were counted.
#[derive(Serialize, ToSchema)]
#[schema(as = ExperimentResults)]
pub(crate) struct ResultsView {
    /// What must be known before anything else is believed; empty where there is nothing.
    warnings: Vec<String>,
    /// When the count began. Who came while it went on may be in it.
    #[schema(value_type = vocabulary::Time)]
    counted_at: String,
    experiment: ExperimentView,
    /// How likely a right assignment is to be as uneven as this one; null while there are too few units to say.
    #[schema(required = true)]
    sample_ratio_p_value: Option<f64>,
    /// Units that met several variants, and count for none.
    crossed_units: u64,
    /// The control first.
    arms: Vec<ArmView>,
    /// The others against the control.
    comparisons: Vec<TreatedView>,
}

/// How far those came who met a variant.
#[derive(Serialize, ToSchema)]
#[schema(as = Arm)]
struct ArmView {
    #[schema(value_type = vocabulary::VariantName)]
    variant: String,
    /// What was assigned, and met it.
    units: u64,
    /// Viewers, in each contest in which they met it.
    exposed: u64,
    signed_up: u64,
    paid: u64,
    finished: u64,
    claimed: u64,
    refunded: u64,
    charge_failed: u64,
    #[schema(value_type = vocabulary::Coins)]
    coins_in: u64,
    #[schema(value_type = vocabulary::Coins)]
    coins_out: u64,
}

/// A variant against the control.
#[derive(Serialize, ToSchema)]
#[schema(as = ArmComparison)]
struct TreatedView {
    #[schema(value_type = vocabulary::VariantName)]
    variant: String,
    /// What the primary metric says; `undecided` also where the assignment is broken.
    #[schema(value_type = vocabulary::ExperimentVerdict)]
    verdict: &'static str,
    /// How many units the smaller arm lacks before anything is said; only while it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    units_missing: Option<u64>,
    /// The guardrails that it breaks.
    #[schema(value_type = Vec<vocabulary::ExperimentMetric>)]
    harms: Vec<&'static str>,
    /// Each metric; without those of which nothing can be said yet.
    metrics: Vec<IntervalView>,
}

/// A metric for each viewer who met it, and where the difference lies: variant less control. The interval holds
/// however often it is looked at.
#[derive(Serialize, ToSchema)]
#[schema(as = Interval)]
struct IntervalView {
    #[schema(value_type = vocabulary::ExperimentMetric)]
    metric: &'static str,
    rate: f64,
    control_rate: f64,
    difference: f64,
    low: f64,
    high: f64,
    /// Below `alpha` exactly where the interval does not hold 0.
    p_value: f64,
}

impl ResultsView {
    pub(crate) fn new(results: &Results, counted_at: UnixMillis) -> Self {
        let mut warnings = Vec::new();
        if let Some(p) = results.sample_ratio.filter(|_| results.is_uneven()) {
            warnings.push(format!(
                "units are spread over the arms in a way that a right assignment does not do (p = {p:e}, below {SAMPLE_RATIO_ALARM}): something is broken, and nothing else is to be believed"
            ));
        }
        if results.crossed > 0 {
            let crossed = results.crossed;
            warnings.push(format!(
                "{crossed} units met several variants, which cannot be"
            ));
        }
        let arms = results.arms.iter().map(|arm| {
            let funnel = &arm.funnel;
            ArmView {
                variant: arm.variant.to_string(),
                units: arm.units,
                exposed: funnel.exposed,
                signed_up: funnel.signed_up,
                paid: funnel.paid,
                finished: funnel.finished,
                claimed: funnel.claimed,
                refunded: funnel.refunded,
                charge_failed: funnel.charge_failed,
                coins_in: funnel.coins_in,
                coins_out: funnel.coins_out,
            }
        });
        Self {
            warnings,
            counted_at: rfc3339(counted_at),
            experiment: (&results.experiment).into(),
            sample_ratio_p_value: results.sample_ratio,
            crossed_units: results.crossed,
            arms: arms.collect(),
            comparisons: results.treated.iter().map(TreatedView::from).collect(),
        }
    }
}

impl From<&Treated> for TreatedView {
    fn from(treated: &Treated) -> Self {
        let metrics = treated
            .comparisons
            .iter()
            .filter_map(|(metric, found)| match found {
                Comparison::Interval(found) => Some(IntervalView {
                    metric: metric.name(),
                    rate: found.treated,
                    control_rate: found.control,
                    difference: found.difference,
                    low: found.low,
                    high: found.high,
                    p_value: found.p_value,
                }),
                Comparison::TooFewUnits { .. } | Comparison::NoInterval => None,
            });
        let harms = treated.harms.iter().map(|one| one.metric);
        Self {
            variant: treated.variant.to_string(),
            verdict: report::verdict(treated.verdict),
            units_missing: match treated.verdict {
                Verdict::TooFewUnits { missing } => Some(missing),
                Verdict::Better | Verdict::Worse | Verdict::Undecided => None,
            },
            harms: harms.map(Metric::name).collect(),
            metrics: metrics.collect(),
        }
    }
}
