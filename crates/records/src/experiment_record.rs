//! What an experiment is, as it is written down: a JSON object.

use crate::record::Context;
use domain::{
    experiment::{Changes, Definition, Ending, Guardrail, Metric, Unit, Variant},
    ids::VariantName,
    money::Coins,
    payout::Rule,
    terms::{BasisPoints, ClaimMode},
    time::UnixMillis,
};
use ports::store::StoreError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of a definition")]
pub struct DefinitionRecord {
    pub hypothesis: String,
    pub unit: String,
    pub variants: Vec<VariantRecord>,
    pub rooms: Vec<String>,
    pub task_kinds: Vec<String>,
    pub starts_at: Option<i64>,
    pub ends_at: i64,
    pub primary: String,
    pub guardrails: Vec<(String, u16)>,
    pub planned_units: u64,
    pub min_units: u64,
    pub alpha: u16,
}

/// A variant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields of a variant")]
pub struct VariantRecord {
    pub name: String,
    pub share: u16,
    pub fee: Option<u64>,
    pub task_target: Option<u64>,
    pub payout_rule: Option<String>,
    pub claim_mode: Option<String>,
    pub display: Option<String>,
}

impl From<&Definition> for DefinitionRecord {
    fn from(definition: &Definition) -> Self {
        let Definition {
            hypothesis,
            unit,
            variants,
            rooms,
            task_kinds,
            starts_at,
            ends_at,
            primary,
            guardrails,
            planned_units,
            min_units,
            alpha,
        } = definition;
        let guardrails = guardrails.iter();
        Self {
            hypothesis: hypothesis.clone(),
            unit: unit.name().to_owned(),
            variants: variants.iter().map(VariantRecord::from).collect(),
            rooms: rooms.iter().map(ToString::to_string).collect(),
            task_kinds: task_kinds.iter().map(ToString::to_string).collect(),
            starts_at: starts_at.map(|at| at.0),
            ends_at: ends_at.0,
            primary: primary.name().to_owned(),
            guardrails: guardrails
                .map(|one| (one.metric.name().to_owned(), one.margin.get()))
                .collect(),
            planned_units: *planned_units,
            min_units: *min_units,
            alpha: alpha.get(),
        }
    }
}

impl From<&Variant> for VariantRecord {
    fn from(variant: &Variant) -> Self {
        let Changes {
            fee,
            task_target,
            rule,
            claim_mode,
        } = variant.changes;
        Self {
            name: variant.name.to_string(),
            share: variant.share.get(),
            fee: fee.map(Coins::get),
            task_target,
            payout_rule: rule.map(|rule| rule.name().to_owned()),
            claim_mode: claim_mode.map(|mode| mode.name().to_owned()),
            display: variant.display.clone(),
        }
    }
}

fn points(context: &Context<'_>, number: u16) -> Result<BasisPoints, StoreError> {
    BasisPoints::new(number).ok_or_else(|| context.inconsistent(format!("{number} basis points")))
}

impl DefinitionRecord {
    /// The definition.
    ///
    /// # Errors
    /// An impossible one.
    pub fn parse(self, context: &Context<'_>) -> Result<Definition, StoreError> {
        let variants = self.variants.into_iter();
        let rooms = self.rooms.iter();
        let kinds = self.task_kinds.iter();
        let guardrails = self.guardrails.iter();
        Ok(Definition {
            hypothesis: self.hypothesis,
            unit: context.named("unit", &self.unit, Unit::named)?,
            variants: variants
                .map(|variant| variant.parse(context))
                .collect::<Result<_, _>>()?,
            rooms: rooms
                .map(|room| context.parsed("rooms", room))
                .collect::<Result<_, _>>()?,
            task_kinds: kinds
                .map(|kind| context.parsed("task_kinds", kind))
                .collect::<Result<_, _>>()?,
            starts_at: self.starts_at.map(UnixMillis),
            ends_at: UnixMillis(self.ends_at),
            primary: context.named("primary", &self.primary, Metric::named)?,
            guardrails: guardrails
                .map(|(metric, margin)| {
                    Ok(Guardrail {
                        metric: context.named("guardrails", metric, Metric::named)?,
                        margin: points(context, *margin)?,
                    })
                })
                .collect::<Result<_, StoreError>>()?,
            planned_units: self.planned_units,
            min_units: self.min_units,
            alpha: points(context, self.alpha)?,
        })
    }
}

impl VariantRecord {
    fn parse(self, context: &Context<'_>) -> Result<Variant, StoreError> {
        let coins =
            |fee: u64| Coins::new(fee).map_err(|_| context.inconsistent(format!("a fee of {fee}")));
        let rule = self.payout_rule.as_deref();
        let mode = self.claim_mode.as_deref();
        Ok(Variant {
            name: context.parsed("variants", &self.name)?,
            share: points(context, self.share)?,
            changes: Changes {
                fee: self.fee.map(coins).transpose()?,
                task_target: self.task_target,
                rule: rule
                    .map(|rule| context.named("payout_rule", rule, Rule::named))
                    .transpose()?,
                claim_mode: mode
                    .map(|mode| context.named("claim_mode", mode, ClaimMode::named))
                    .transpose()?,
            },
            display: self.display,
        })
    }
}

/// Arms that were stopped: when, and why.
pub type StoppedRecord = BTreeMap<String, (i64, String)>;

/// As it is written down.
#[must_use]
pub fn stopped_record(stopped: &BTreeMap<VariantName, Ending>) -> StoppedRecord {
    let stopped = stopped.iter();
    stopped
        .map(|(arm, ending)| (arm.to_string(), (ending.at.0, ending.reason.clone())))
        .collect()
}

/// The arms that were stopped.
///
/// # Errors
/// An impossible name.
pub fn parse_stopped(
    stopped: StoppedRecord,
    context: &Context<'_>,
) -> Result<BTreeMap<VariantName, Ending>, StoreError> {
    let stopped = stopped.into_iter();
    stopped
        .map(|(arm, (at, reason))| {
            let at = UnixMillis(at);
            Ok((context.parsed("stopped", &arm)?, Ending { at, reason }))
        })
        .collect()
}
