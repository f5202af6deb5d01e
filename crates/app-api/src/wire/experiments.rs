//! Experiments on the wire.

use super::{rfc3339, text::is_note};
use crate::{
    extract::{Faults, parse_id},
    openapi::vocabulary,
    problem::{FaultCode, Problem},
};
use domain::{
    experiment::{
        Changes, Definition, Experiment, Guardrail, MIN_UNITS, Metric, Status, Unit, Variant,
    },
    ids::{ExperimentName, VariantName},
    money::Coins,
    payout::Rule,
    terms::{BasisPoints, ClaimMode},
    time::UnixMillis,
};
use ports::experiments::{Change, REASON_MAX};
use serde::{Deserialize, Serialize};
use usecases::experiments::Meeting;
use utoipa::ToSchema;

use super::text::parse_time;

/// The chance of a verdict where there is no difference, unless it is said, in basis points.
const ALPHA_DEFAULT: u64 = 500;
const REASON_RULE: &str =
    "must be 1 to 500 characters, one of them visible, without control characters but line breaks";
const POINTS_RULE: &str = "must be from 0 to 10000";

/// What an experiment is to be.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewDefinition)]
pub(crate) struct NewDefinition {
    /// What is believed, and why it is tried.
    #[schema(min_length = 1, max_length = 1_000)]
    hypothesis: String,
    #[schema(value_type = vocabulary::ExperimentUnit)]
    unit: String,
    /// The variants; the first is the control, which changes no terms. Shares add up to 10,000.
    #[schema(min_items = 2, max_items = 10)]
    variants: Vec<NewVariant>,
    /// Only contests of these rooms; of all rooms where it is left out.
    #[schema(value_type = Option<Vec<vocabulary::RoomId>>, max_items = 100)]
    rooms: Option<Vec<String>>,
    /// Only contests with these tasks; with all where it is left out.
    #[schema(value_type = Option<Vec<vocabulary::TaskKind>>, max_items = 100)]
    task_kinds: Option<Vec<String>>,
    /// Nobody meets it before; from its start on where it is left out.
    #[schema(value_type = Option<vocabulary::AnyTime>)]
    starts_at: Option<String>,
    /// From then on nobody meets it any more.
    #[schema(value_type = vocabulary::AnyTime)]
    ends_at: String,
    /// What decides: more of it is better.
    #[schema(value_type = vocabulary::ExperimentMetric)]
    primary_metric: String,
    /// What must not become more.
    #[schema(max_items = 2)]
    guardrails: Option<Vec<NewGuardrail>>,
    /// How many units each arm is to have at the end; the intervals are made for it.
    #[schema(minimum = 100, maximum = 1_000_000_000_u64)]
    planned_units: u64,
    /// Nothing is said before each arm has so many units.
    #[schema(minimum = 100, maximum = 1_000_000_000_u64, default = 100)]
    min_units: Option<u64>,
    /// The chance of a verdict where there is no difference, in hundredths of a percent.
    #[schema(minimum = 1, maximum = 5_000, default = 500)]
    alpha_bps: Option<u64>,
}

/// A variant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewVariant)]
struct NewVariant {
    #[schema(value_type = vocabulary::VariantName)]
    name: String,
    /// Its part of the units that take part, in hundredths of a percent.
    #[schema(minimum = 1, maximum = 10_000)]
    share_bps: u64,
    /// The fee of its contests. Money is assigned by contest or by room, never by user.
    #[schema(minimum = 1, maximum = 1_000_000_000_u64)]
    fee: Option<u64>,
    /// The target of the task of its contests.
    #[schema(minimum = 1, maximum = 1_000_000_000_u64)]
    task_target: Option<u64>,
    /// How the pool of its contests is split.
    #[schema(value_type = Option<vocabulary::Rule>)]
    payout_rule: Option<String>,
    /// Who starts the payment of the prizes of its contests.
    #[schema(value_type = Option<vocabulary::ClaimMode>)]
    claim_mode: Option<String>,
    /// What a client is given to show it by: any object, at most 4,096 bytes of JSON.
    #[schema(value_type = Option<Object>)]
    display: Option<serde_json::Map<String, serde_json::Value>>,
}

/// A guardrail: an arm that is surely worse than the control by more than the margin is stopped by itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewGuardrail)]
struct NewGuardrail {
    #[schema(value_type = vocabulary::ExperimentMetric)]
    metric: String,
    /// How much more is taken, in hundredths of a percent of those who met it.
    #[schema(minimum = 0, maximum = 10_000)]
    margin_bps: u64,
}

/// A new experiment.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewExperiment)]
pub(crate) struct NewExperiment {
    #[schema(value_type = vocabulary::ExperimentName)]
    name: String,
    definition: NewDefinition,
}

impl NewExperiment {
    /// Name and definition, or everything that is wrong with them.
    pub(crate) fn parse(self) -> Result<(ExperimentName, Definition), Problem> {
        let mut faults = Faults::default();
        let name = faults.check("/name", FaultCode::InvalidId, parse_id(&self.name));
        let definition = self.definition.read("/definition", &mut faults);
        faults.finish()?;
        match (name, definition) {
            (Some(name), Some(definition)) => Ok((name, checked(definition, "/definition")?)),
            _ => Err(Problem::invalid(Vec::new())),
        }
    }
}

impl NewDefinition {
    /// The definition, or everything that is wrong with it.
    pub(crate) fn parse(self) -> Result<Definition, Problem> {
        let mut faults = Faults::default();
        let definition = self.read("", &mut faults);
        faults.finish()?;
        let definition = definition.ok_or_else(|| Problem::invalid(Vec::new()))?;
        checked(definition, "")
    }

    fn read(self, at: &str, faults: &mut Faults) -> Option<Definition> {
        let id = FaultCode::InvalidId;
        let unit = named(faults, &format!("{at}/unit"), &self.unit, Unit::named);
        let metric = format!("{at}/primary_metric");
        let primary = named(faults, &metric, &self.primary_metric, Metric::named);
        let variants: Vec<_> = self
            .variants
            .into_iter()
            .enumerate()
            .map(|(place, variant)| variant.read(&format!("{at}/variants/{place}"), faults))
            .collect();
        let rooms: Vec<_> = self
            .rooms
            .unwrap_or_default()
            .iter()
            .enumerate()
            .map(|(place, room)| faults.check(&format!("{at}/rooms/{place}"), id, parse_id(room)))
            .collect();
        let kinds = self.task_kinds.unwrap_or_default();
        let kinds: Vec<_> = kinds
            .iter()
            .enumerate()
            .map(|(place, kind)| {
                faults.check(&format!("{at}/task_kinds/{place}"), id, parse_id(kind))
            })
            .collect();
        let guardrails: Vec<_> = self
            .guardrails
            .unwrap_or_default()
            .into_iter()
            .enumerate()
            .map(|(place, one)| {
                let at = format!("{at}/guardrails/{place}");
                let metric = named(faults, &format!("{at}/metric"), &one.metric, Metric::named);
                let margin = points(faults, &format!("{at}/margin_bps"), one.margin_bps);
                let (metric, margin) = (metric?, margin?);
                Some(Guardrail { metric, margin })
            })
            .collect();
        let mut time = |field: &str, text: &str| {
            let pointer = format!("{at}/{field}");
            faults.check(&pointer, FaultCode::InvalidTime, parse_time(text))
        };
        let starts = self
            .starts_at
            .as_deref()
            .map(|text| time("starts_at", text));
        let ends: Option<UnixMillis> = time("ends_at", &self.ends_at);
        let alpha = self.alpha_bps.unwrap_or(ALPHA_DEFAULT);
        let alpha = points(faults, &format!("{at}/alpha_bps"), alpha);
        Some(Definition {
            hypothesis: self.hypothesis,
            unit: unit?,
            variants: variants.into_iter().collect::<Option<_>>()?,
            rooms: rooms.into_iter().collect::<Option<_>>()?,
            task_kinds: kinds.into_iter().collect::<Option<_>>()?,
            starts_at: match starts {
                Some(starts) => Some(starts?),
                None => None,
            },
            ends_at: ends?,
            primary: primary?,
            guardrails: guardrails.into_iter().collect::<Option<_>>()?,
            planned_units: self.planned_units,
            min_units: self.min_units.unwrap_or(MIN_UNITS),
            alpha: alpha?,
        })
    }
}

impl NewVariant {
    fn read(self, at: &str, faults: &mut Faults) -> Option<Variant> {
        let name: Option<VariantName> = faults.check(
            &format!("{at}/name"),
            FaultCode::InvalidId,
            parse_id(&self.name),
        );
        let share = points(faults, &format!("{at}/share_bps"), self.share_bps);
        let range = FaultCode::OutOfRange;
        let fee = self
            .fee
            .map(|fee| faults.check(&format!("{at}/fee"), range, Coins::new(fee)));
        let rule = self.payout_rule.as_deref();
        let rule = rule.map(|text| named(faults, &format!("{at}/payout_rule"), text, Rule::named));
        let mode = self.claim_mode.as_deref();
        let mode =
            mode.map(|text| named(faults, &format!("{at}/claim_mode"), text, ClaimMode::named));
        Some(Variant {
            name: name?,
            share: share?,
            changes: Changes {
                fee: flat(fee)?,
                task_target: self.task_target,
                rule: flat(rule)?,
                claim_mode: flat(mode)?,
            },
            display: self
                .display
                .map(|display| serde_json::Value::Object(display).to_string()),
        })
    }
}

/// What was not sent is nothing; what was sent and is wrong makes the whole nothing.
#[expect(clippy::option_option, reason = "not sent, or sent and wrong")]
const fn flat<T: Copy>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(None) => None,
        Some(Some(value)) => Some(Some(value)),
    }
}

fn named<T>(
    faults: &mut Faults,
    pointer: &str,
    text: &str,
    named: fn(&str) -> Option<T>,
) -> Option<T> {
    let found = named(text);
    if found.is_none() {
        let detail = format!("{text:?} is not one of the values");
        faults.push(pointer, FaultCode::UnknownValue, detail);
    }
    found
}

fn points(faults: &mut Faults, pointer: &str, number: u64) -> Option<BasisPoints> {
    let points = basis_points(number);
    if points.is_none() {
        faults.push(pointer, FaultCode::OutOfRange, POINTS_RULE);
    }
    points
}

fn basis_points(number: u64) -> Option<BasisPoints> {
    u16::try_from(number).ok().and_then(BasisPoints::new)
}

fn checked(definition: Definition, at: &str) -> Result<Definition, Problem> {
    definition.check().map_err(|broken| {
        let mut faults = Faults::default();
        for one in broken {
            let pointer = format!("{at}/{}", one.field);
            faults.push(&pointer, FaultCode::of_rule(one.code), one.rule);
        }
        let problem = faults.finish().err();
        problem.unwrap_or_else(|| Problem::invalid(Vec::new()))
    })
}

/// How many units are to take part, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewRamp)]
pub(crate) struct NewRamp {
    /// The part of the units that take part, in hundredths of a percent. It only goes up.
    #[schema(minimum = 1, maximum = 10_000)]
    ramp_bps: u64,
    #[schema(value_type = vocabulary::Reason)]
    reason: String,
}

impl NewRamp {
    pub(crate) fn parse(self) -> Result<(BasisPoints, String), Problem> {
        let mut faults = Faults::default();
        let ramp = basis_points(self.ramp_bps).filter(|ramp| ramp.get() > 0);
        if ramp.is_none() {
            faults.push(
                "/ramp_bps",
                FaultCode::OutOfRange,
                "must be from 1 to 10000",
            );
        }
        if !is_note(&self.reason, REASON_MAX) {
            faults.push("/reason", FaultCode::OutOfRange, REASON_RULE);
        }
        faults.finish()?;
        Ok((ramp.unwrap_or(BasisPoints::ZERO), self.reason))
    }
}

/// What is to be stopped, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewStop)]
pub(crate) struct NewStop {
    /// Only this arm; all of it where it is left out. Without its control, or with nothing but that, it ends.
    #[schema(value_type = Option<vocabulary::VariantName>)]
    variant: Option<String>,
    #[schema(value_type = vocabulary::Reason)]
    reason: String,
}

impl NewStop {
    pub(crate) fn parse(self) -> Result<(Option<VariantName>, String), Problem> {
        let mut faults = Faults::default();
        let variant = self.variant.as_deref().map(parse_id);
        let variant = variant.and_then(|one| faults.check("/variant", FaultCode::InvalidId, one));
        if !is_note(&self.reason, REASON_MAX) {
            faults.push("/reason", FaultCode::OutOfRange, REASON_RULE);
        }
        faults.finish()?;
        Ok((variant, self.reason))
    }
}

/// An experiment.
#[derive(Serialize, ToSchema)]
#[schema(as = Experiment)]
pub(crate) struct ExperimentView {
    #[schema(value_type = vocabulary::ExperimentName)]
    name: String,
    /// What makes its assignment its own: with it anybody can compute who gets what.
    salt: String,
    #[schema(value_type = vocabulary::ExperimentStatus)]
    status: &'static str,
    /// The part of the units that take part, in hundredths of a percent.
    #[schema(minimum = 0, maximum = 10_000)]
    ramp_bps: u16,
    hypothesis: String,
    #[schema(value_type = vocabulary::ExperimentUnit)]
    unit: &'static str,
    /// The first is the control.
    variants: Vec<VariantView>,
    /// Empty for all.
    #[schema(value_type = Vec<vocabulary::RoomId>)]
    rooms: Vec<String>,
    /// Empty for all.
    #[schema(value_type = Vec<vocabulary::TaskKind>)]
    task_kinds: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Time, required = false)]
    starts_at: Option<String>,
    #[schema(value_type = vocabulary::Time)]
    ends_at: String,
    #[schema(value_type = vocabulary::ExperimentMetric)]
    primary_metric: &'static str,
    guardrails: Vec<GuardrailView>,
    planned_units: u64,
    min_units: u64,
    #[schema(minimum = 1, maximum = 5_000)]
    alpha_bps: u16,
    /// Only once it has started.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Time, required = false)]
    started_at: Option<String>,
    /// Only once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Time, required = false)]
    ended_at: Option<String>,
    /// Only once it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    end_reason: Option<String>,
    /// Rises with every change.
    version: u64,
    #[schema(value_type = vocabulary::Time)]
    created_at: String,
}

/// A variant.
#[derive(Serialize, ToSchema)]
#[schema(as = Variant)]
struct VariantView {
    #[schema(value_type = vocabulary::VariantName)]
    name: String,
    #[schema(minimum = 1, maximum = 10_000)]
    share_bps: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Coins, required = false)]
    fee: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    task_target: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Rule, required = false)]
    payout_rule: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::ClaimMode, required = false)]
    claim_mode: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    display: Option<serde_json::Value>,
    /// When it was stopped; only where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Time, required = false)]
    stopped_at: Option<String>,
    /// Why it was stopped; only where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    stop_reason: Option<String>,
}

/// What must not become more.
#[derive(Serialize, ToSchema)]
#[schema(as = Guardrail)]
struct GuardrailView {
    #[schema(value_type = vocabulary::ExperimentMetric)]
    metric: &'static str,
    #[schema(minimum = 0, maximum = 10_000)]
    margin_bps: u16,
}

/// What is stored of a payload: an object, since it was one.
fn display(text: &str) -> Option<serde_json::Value> {
    serde_json::from_str(text).ok()
}

impl From<&Experiment> for ExperimentView {
    fn from(experiment: &Experiment) -> Self {
        let definition = &experiment.definition;
        let (status, started, ended) = match &experiment.status {
            Status::Draft => ("draft", None, None),
            Status::Running(since) => ("running", Some(*since), None),
            Status::Ended(since, ending) => ("ended", Some(*since), Some(ending)),
        };
        let variants = definition.variants.iter().map(|variant| {
            let stopped = experiment.stopped.get(&variant.name);
            VariantView {
                name: variant.name.to_string(),
                share_bps: variant.share.get(),
                fee: variant.changes.fee.map(Coins::get),
                task_target: variant.changes.task_target,
                payout_rule: variant.changes.rule.map(Rule::name),
                claim_mode: variant.changes.claim_mode.map(ClaimMode::name),
                display: variant.display.as_deref().and_then(display),
                stopped_at: stopped.map(|ending| rfc3339(ending.at)),
                stop_reason: stopped.map(|ending| ending.reason.clone()),
            }
        });
        let guardrails = definition.guardrails.iter().map(|one| GuardrailView {
            metric: one.metric.name(),
            margin_bps: one.margin.get(),
        });
        Self {
            name: experiment.name.to_string(),
            salt: experiment.salt.clone(),
            status,
            ramp_bps: experiment.ramp.get(),
            hypothesis: definition.hypothesis.clone(),
            unit: definition.unit.name(),
            variants: variants.collect(),
            rooms: definition.rooms.iter().map(ToString::to_string).collect(),
            task_kinds: definition
                .task_kinds
                .iter()
                .map(ToString::to_string)
                .collect(),
            starts_at: definition.starts_at.map(rfc3339),
            ends_at: rfc3339(definition.ends_at),
            primary_metric: definition.primary.name(),
            guardrails: guardrails.collect(),
            planned_units: definition.planned_units,
            min_units: definition.min_units,
            alpha_bps: definition.alpha.get(),
            started_at: started.map(rfc3339),
            ended_at: ended.map(|ending| rfc3339(ending.at)),
            end_reason: ended.map(|ending| ending.reason.clone()),
            version: experiment.version,
            created_at: rfc3339(experiment.created_at),
        }
    }
}

/// A line of an experiment's history.
#[derive(Serialize, ToSchema)]
#[schema(as = ExperimentChange)]
pub(crate) struct ChangeView {
    /// The version of the experiment that it came with.
    version: u64,
    #[schema(value_type = vocabulary::ExperimentAction)]
    action: &'static str,
    /// Null where it was done by itself: by a guardrail, or because its end had come.
    #[schema(value_type = Option<vocabulary::UserId>, required = true)]
    changed_by: Option<String>,
    reason: String,
    /// The arm; only where it was about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::VariantName, required = false)]
    variant: Option<String>,
    /// The ramp afterwards.
    #[schema(minimum = 0, maximum = 10_000)]
    ramp_bps: u16,
    #[schema(value_type = vocabulary::Time)]
    changed_at: String,
}

impl From<&Change> for ChangeView {
    fn from(change: &Change) -> Self {
        Self {
            version: change.version,
            action: change.action.name(),
            changed_by: change.by.as_ref().map(ToString::to_string),
            reason: change.reason.clone(),
            variant: change.variant.as_ref().map(ToString::to_string),
            ramp_bps: change.ramp.get(),
            changed_at: rfc3339(change.at),
        }
    }
}

/// A variant that the caller meets in a contest.
#[derive(Serialize, ToSchema)]
#[schema(as = Meeting)]
pub(crate) struct MeetingView {
    #[schema(value_type = vocabulary::ExperimentName)]
    experiment: String,
    #[schema(value_type = vocabulary::VariantName)]
    variant: String,
    /// What to show it by; only where it has something.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, required = false)]
    display: Option<serde_json::Value>,
}

impl From<&Meeting> for MeetingView {
    fn from(meeting: &Meeting) -> Self {
        Self {
            experiment: meeting.experiment.to_string(),
            variant: meeting.variant.to_string(),
            display: meeting.display.as_deref().and_then(display),
        }
    }
}
