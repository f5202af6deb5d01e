//! Experiments and their history, as both databases keep them.

use crate::record::{Context, column};
use domain::{
    experiment::{Action, Ending, Experiment, Status},
    signup::StateKind,
    terms::BasisPoints,
    time::UnixMillis,
};
use ports::{
    contests::StateCount,
    experiments::{Change, VariantCount},
    store::StoreError,
};
use records::experiment_record::{DefinitionRecord, StoppedRecord, parse_stopped, stopped_record};
use sqlx::{FromRow, Row};

/// The columns of an experiment, in their order.
pub const COLUMNS: &str = "name, salt, definition, ramp, status, started_at, ended_at, end_reason, stopped, \
     version, created_at, updated_at";
/// The columns of a line of history, in their order.
pub const CHANGE_COLUMNS: &str =
    "name, version, action, changed_by, reason, variant, ramp, changed_at";

/// Inserts an experiment: twelve values.
pub const INSERT: &str = "INSERT INTO experiment (name, salt, definition, ramp, status, started_at, ended_at, \
     end_reason, stopped, version, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
/// Writes an experiment as it has become: nine values, its name and the version that it was decided on.
pub const UPDATE: &str = "UPDATE experiment SET definition = ?, ramp = ?, status = ?, started_at = ?, ended_at = ?, \
     end_reason = ?, stopped = ?, version = ?, updated_at = ? WHERE name = ? AND version = ?";
/// Inserts a line of history: eight values.
pub const INSERT_CHANGE: &str = "INSERT INTO experiment_change (name, version, action, changed_by, reason, variant, \
     ramp, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
/// A number that changes with every change of any of them: few were ever made. To MySQL a sum is a decimal; to
/// SQLite the cast changes nothing.
pub const NUMBER: &str = "SELECT CAST(COALESCE(SUM(version), 0) AS SIGNED) FROM experiment";

const RUNNING: &str = "running";
const DRAFT: &str = "draft";
const ENDED: &str = "ended";

/// An experiment as it is stored: [`COLUMNS`].
pub type ExperimentRow = (
    String,
    String,
    String,
    i64,
    String,
    Option<i64>,
    Option<i64>,
    Option<String>,
    String,
    i64,
    i64,
    i64,
);

/// What is bound, in the order of [`COLUMNS`].
#[derive(Debug)]
#[expect(missing_docs, reason = "the columns of the table")]
pub struct Bound {
    pub name: String,
    pub salt: String,
    pub definition: String,
    pub ramp: i64,
    pub status: &'static str,
    pub started_at: Option<i64>,
    pub ended_at: Option<i64>,
    pub end_reason: Option<String>,
    pub stopped: String,
    pub version: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl Bound {
    /// The values of an experiment.
    ///
    /// # Errors
    /// When it cannot be written as JSON: a bug.
    pub fn new(experiment: &Experiment) -> Result<Self, sqlx::Error> {
        let (status, started_at, ended) = match &experiment.status {
            Status::Draft => (DRAFT, None, None),
            Status::Running(since) => (RUNNING, Some(since.0), None),
            Status::Ended(since, ending) => (ENDED, Some(since.0), Some(ending)),
        };
        let unwritable = |error: serde_json::Error| sqlx::Error::Encode(error.into());
        let definition = DefinitionRecord::from(&experiment.definition);
        let stopped = stopped_record(&experiment.stopped);
        Ok(Self {
            name: experiment.name.to_string(),
            salt: experiment.salt.clone(),
            definition: serde_json::to_string(&definition).map_err(unwritable)?,
            ramp: experiment.ramp.get().into(),
            status,
            started_at,
            ended_at: ended.map(|ending| ending.at.0),
            end_reason: ended.map(|ending| ending.reason.clone()),
            stopped: serde_json::to_string(&stopped).map_err(unwritable)?,
            version: column(experiment.version),
            created_at: experiment.created_at.0,
            updated_at: experiment.updated_at.0,
        })
    }
}

fn points(context: &Context<'_>, number: i64) -> Result<BasisPoints, StoreError> {
    let points = u16::try_from(number).ok().and_then(BasisPoints::new);
    points.ok_or_else(|| context.inconsistent(format!("ramp is {number}")))
}

/// An experiment.
///
/// # Errors
/// An impossible row, or one that has other columns.
pub fn parse<'r, R: Row>(row: &'r R) -> Result<Experiment, StoreError>
where
    ExperimentRow: FromRow<'r, R>,
{
    let row = ExperimentRow::from_row(row).map_err(StoreError::unavailable)?;
    let (name, salt, definition, ramp, status, started_at, ended_at, end_reason, stopped, ..) = row;
    let (version, created_at, updated_at) = (row.9, row.10, row.11);
    let context = Context {
        table: "experiment",
        key: &name,
    };
    let unreadable = |error: serde_json::Error| context.inconsistent(error.to_string());
    let definition: DefinitionRecord = serde_json::from_str(&definition).map_err(unreadable)?;
    let stopped: StoppedRecord = serde_json::from_str(&stopped).map_err(unreadable)?;
    let status = match (status.as_str(), started_at, ended_at, end_reason) {
        (DRAFT, None, None, None) => Status::Draft,
        (RUNNING, Some(since), None, None) => Status::Running(UnixMillis(since)),
        (ENDED, Some(since), Some(at), Some(reason)) => {
            let at = UnixMillis(at);
            Status::Ended(UnixMillis(since), Ending { at, reason })
        }
        _ => return Err(context.inconsistent("status and times do not agree")),
    };
    Ok(Experiment {
        name: context.parsed("name", &name)?,
        salt,
        definition: definition.parse(&context)?,
        ramp: points(&context, ramp)?,
        status,
        stopped: parse_stopped(stopped, &context)?,
        version: context.count("version", version)?,
        created_at: UnixMillis(created_at),
        updated_at: UnixMillis(updated_at),
    })
}

/// A line of history as it is stored: [`CHANGE_COLUMNS`].
pub type ChangeRow = (
    String,
    i64,
    String,
    Option<String>,
    String,
    Option<String>,
    i64,
    i64,
);

/// A line of history.
///
/// # Errors
/// An impossible row, or one that has other columns.
pub fn parse_change<'r, R: Row>(row: &'r R) -> Result<Change, StoreError>
where
    ChangeRow: FromRow<'r, R>,
{
    let row = ChangeRow::from_row(row).map_err(StoreError::unavailable)?;
    let (name, version, action, by, reason, variant, ramp, at) = row;
    let context = Context {
        table: "experiment_change",
        key: &name,
    };
    Ok(Change {
        version: context.count("version", version)?,
        action: context.named("action", &action, Action::named)?,
        by: context.maybe_parsed("changed_by", by)?,
        reason,
        variant: context.maybe_parsed("variant", variant)?,
        ramp: points(&context, ramp)?,
        at: UnixMillis(at),
    })
}

/// How many signups of a contest have the same variants and state: variants, state, number, fees and prizes.
pub type VariantCountRow = (String, String, i64, i64, i64);

/// Such a number.
///
/// # Errors
/// An impossible row, or one that has other columns.
pub fn variant_count<'r, R: Row>(contest: &str, row: &'r R) -> Result<VariantCount, StoreError>
where
    VariantCountRow: FromRow<'r, R>,
{
    let row = VariantCountRow::from_row(row).map_err(StoreError::unavailable)?;
    let (variants, state, signups, fees, prizes) = row;
    let context = Context {
        table: "signup",
        key: contest,
    };
    Ok(VariantCount {
        variants: context.parsed("variants", &variants)?,
        count: StateCount {
            state: context.named("state", &state, StateKind::named)?,
            signups: context.count("count", signups)?,
            fees: context.coins("fees", fees)?,
            prizes: context.coins("prizes", prizes)?,
        },
    })
}
