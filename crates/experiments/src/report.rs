//! Results as text: for people, and as comma-separated values.

use crate::{Comparison, Results, Verdict};
use domain::experiment::{Metric, Status};
use std::fmt::Write;

/// What a verdict is called.
#[must_use]
pub const fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Undecided => "undecided",
        Verdict::TooFewUnits { .. } => "too_few_units",
    }
}

/// What a status is called.
#[must_use]
pub const fn status(status: &Status) -> &'static str {
    match status {
        Status::Draft => "draft",
        Status::Running(_) => "running",
        Status::Ended(..) => "ended",
    }
}

/// A number with so many digits as anybody reads.
fn short(number: f64) -> String {
    format!("{number:.4}")
}

/// A number with every digit that it has.
fn exact(number: f64) -> String {
    number.to_string()
}

/// A p value; a very small one is not 0.
fn p_value(p: f64) -> String {
    if p < 0.0001 {
        "p < 0.0001".to_owned()
    } else {
        format!("p = {p:.4}")
    }
}

/// One line for each arm and metric.
#[must_use]
pub fn csv(results: &Results) -> String {
    let mut text = "experiment,variant,units,exposed,signed_up,paid,finished,claimed,refunded,charge_failed,coins_in,\
         coins_out,metric,rate,difference,low,high,p_value,verdict,is_stopped,crossed_units,sample_ratio_p_value,\
         is_uneven\n"
        .to_owned();
    let experiment = &results.experiment;
    let name = &experiment.name;
    let sample_ratio = results.sample_ratio.map(exact).unwrap_or_default();
    for arm in &results.arms {
        let funnel = &arm.funnel;
        let treated = results
            .treated
            .iter()
            .find(|one| one.variant == arm.variant);
        for metric in Metric::ALL {
            let rate = arm.rate(*metric).map(exact).unwrap_or_default();
            let compared =
                treated.and_then(|one| one.comparisons.iter().find(|(of, _)| of == metric));
            let interval = match compared {
                Some((_, Comparison::Interval(found))) => {
                    [found.difference, found.low, found.high, found.p_value]
                        .map(exact)
                        .join(",")
                }
                _ => ",,,".to_owned(),
            };
            let is_primary = experiment.definition.primary == *metric;
            let said = treated
                .filter(|_| is_primary)
                .map_or("", |one| verdict(one.verdict));
            let _ = writeln!(
                text,
                "{name},{},{},{},{},{},{},{},{},{},{},{},{},{rate},{interval},{said},{},{},{sample_ratio},{}",
                arm.variant,
                arm.units,
                funnel.exposed,
                funnel.signed_up,
                funnel.paid,
                funnel.finished,
                funnel.claimed,
                funnel.refunded,
                funnel.charge_failed,
                funnel.coins_in,
                funnel.coins_out,
                metric.name(),
                experiment.stopped.contains_key(&arm.variant),
                results.crossed,
                results.is_uneven(),
            );
        }
    }
    text
}

/// For people: what must be known before anything is believed comes first.
#[must_use]
pub fn table(results: &Results) -> String {
    let experiment = &results.experiment;
    let definition = &experiment.definition;
    let mut text = String::new();
    if results.is_uneven() {
        text.push_str(
            "WARNING: units are spread over the arms in a way that a right assignment does not do \
             (p below 0.001): something is broken, and nothing below is to be believed\n\n",
        );
    }
    let _ = writeln!(
        text,
        "experiment   {} ({}), {} of 10000 {}s take part\nhypothesis   {}\nprimary      {}",
        experiment.name,
        status(&experiment.status),
        experiment.ramp.get(),
        definition.unit.name(),
        definition.hypothesis,
        definition.primary.name(),
    );
    let assignment = results
        .sample_ratio
        .map_or("too few units to say".to_owned(), p_value);
    let _ = writeln!(
        text,
        "assignment   {assignment}, {} units met several variants\n",
        results.crossed
    );
    let _ = writeln!(
        text,
        "{:32} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>12} {:>12}",
        "variant",
        "units",
        "exposed",
        "signed up",
        "paid",
        "finished",
        "claimed",
        "coins in",
        "coins out"
    );
    for arm in &results.arms {
        let funnel = &arm.funnel;
        let _ = writeln!(
            text,
            "{:32} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>12} {:>12}",
            arm.variant.as_str(),
            arm.units,
            funnel.exposed,
            funnel.signed_up,
            funnel.paid,
            funnel.finished,
            funnel.claimed,
            funnel.coins_in,
            funnel.coins_out
        );
    }
    for treated in &results.treated {
        let stopped = experiment.stopped.get(&treated.variant);
        let stopped = stopped.map_or(String::new(), |ending| {
            format!(", stopped: {}", ending.reason)
        });
        let missing = match treated.verdict {
            Verdict::TooFewUnits { missing } => format!(" ({missing} more needed)"),
            _ => String::new(),
        };
        let _ = writeln!(
            text,
            "\n{} against the control: {}{missing}{stopped}",
            treated.variant,
            verdict(treated.verdict)
        );
        let has_interval = |(_, one): &(_, Comparison)| matches!(one, Comparison::Interval(_));
        if treated.comparisons.iter().any(has_interval) {
            let _ = writeln!(
                text,
                "  {:14} {:>10} {:>10} {:>10} {:>10} {:>10}",
                "per viewer", "control", "variant", "difference", "from", "to"
            );
        }
        for (metric, comparison) in &treated.comparisons {
            if let Comparison::Interval(found) = comparison {
                let _ = writeln!(
                    text,
                    "  {:14} {:>10} {:>10} {:>10} {:>10} {:>10}  {}",
                    metric.name(),
                    short(found.control),
                    short(found.treated),
                    short(found.difference),
                    short(found.low),
                    short(found.high),
                    p_value(found.p_value)
                );
            }
        }
        for guardrail in &treated.harms {
            let _ = writeln!(text, "  GUARDRAIL BROKEN: {}", guardrail.metric.name());
        }
    }
    text
}
