//! Experiments in SQLite, and who met them.

use crate::{
    SqliteStore, mismatched,
    rows::{failed, limit, signup_at},
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::{
    experiment::Experiment,
    ids::{ContestId, ExperimentName, VariantName},
    time::UnixMillis,
};
use ports::{
    experiments::{Change, Experiments, Exposure, Outcome, OutcomeKey, Running, VariantCount},
    store::{Committed, PAGE_MAX, Page, StoreError},
};
use sql_core::{
    experiment_row::{
        Bound, CHANGE_COLUMNS, COLUMNS, INSERT, INSERT_CHANGE, NUMBER, UPDATE, parse, parse_change,
        variant_count,
    },
    record::{Context, column},
    signup_record::SignupRecord,
};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use std::sync::LazyLock;
use uuid::fmt::Hyphenated;

/// An experiment as it becomes, with its line of history.
#[derive(Debug)]
pub(crate) struct Write {
    /// The version that it was decided on; none for a new one.
    expected: Option<u64>,
    experiment: Experiment,
    change: Change,
}

/// How many columns of an exposure stand before those of its signup.
const EXPOSURE_COLUMNS: usize = 5;

pub(crate) static OUTCOMES: LazyLock<String> = LazyLock::new(|| {
    let columns: Vec<_> = SignupRecord::COLUMNS
        .split(',')
        .map(|column| format!("s.{}", column.trim()))
        .collect();
    format!(
        "SELECT e.unit, e.contest_id, e.user_id, e.variant, e.met_at, {} FROM exposure AS e \
         LEFT JOIN signup AS s ON s.contest_id = e.contest_id AND s.user_id = e.user_id \
         WHERE e.experiment = ?1 AND (e.unit, e.contest_id, e.user_id) > (?2, ?3, ?4) \
         ORDER BY e.unit, e.contest_id, e.user_id LIMIT ?5",
        columns.join(", ")
    )
});

pub(crate) const EXPOSED: &str = "SELECT experiment, variant, COUNT(*) FROM exposure \
     WHERE contest_id = ?1 AND user_id <> '' GROUP BY experiment, variant ORDER BY experiment, variant";

pub(crate) const COUNTS_BY_VARIANTS: &str = "SELECT variants, state, COUNT(*), SUM(COALESCE(moved, fee)), \
     COALESCE(SUM(prize), 0) FROM signup WHERE contest_id = ?1 AND variants IS NOT NULL \
     GROUP BY variants, state ORDER BY variants, state";

/// Writes an experiment and its line of history.
pub(crate) async fn write(
    transaction: &mut Transaction<'_>,
    write: &Write,
) -> Result<Committed, sqlx::Error> {
    let bound = Bound::new(&write.experiment)?;
    let stored: Option<i64> = sqlx::query_scalar("SELECT version FROM experiment WHERE name = ?1")
        .bind(&bound.name)
        .fetch_optional(&mut *transaction.connection)
        .await?;
    // There is one writer: nothing comes between.
    let version = match (write.expected, stored) {
        (None, None) => 1,
        (Some(_), None) => return Ok(Committed::Missing),
        (Some(expected), Some(stored)) if column(expected) == stored => stored + 1,
        _ => return Ok(Committed::GuardFailed),
    };
    let query = match write.expected {
        None => sqlx::query(INSERT)
            .bind(&bound.name)
            .bind(&bound.salt)
            .bind(&bound.definition)
            .bind(bound.ramp)
            .bind(bound.status)
            .bind(bound.started_at)
            .bind(bound.ended_at)
            .bind(&bound.end_reason)
            .bind(&bound.stopped)
            .bind(version)
            .bind(bound.created_at)
            .bind(bound.updated_at),
        Some(expected) => sqlx::query(UPDATE)
            .bind(&bound.definition)
            .bind(bound.ramp)
            .bind(bound.status)
            .bind(bound.started_at)
            .bind(bound.ended_at)
            .bind(&bound.end_reason)
            .bind(&bound.stopped)
            .bind(version)
            .bind(bound.updated_at)
            .bind(&bound.name)
            .bind(column(expected)),
    };
    query.execute(&mut *transaction.connection).await?;
    let change = &write.change;
    sqlx::query(INSERT_CHANGE)
        .bind(&bound.name)
        .bind(version)
        .bind(change.action.name())
        .bind(change.by.as_ref().map(|by| by.as_str()))
        .bind(&change.reason)
        .bind(change.variant.as_ref().map(|variant| variant.as_str()))
        .bind(i64::from(change.ramp.get()))
        .bind(change.at.0)
        .execute(&mut *transaction.connection)
        .await?;
    transaction.wrote = true;
    Ok(Committed::Applied)
}

/// Records who met what, each once.
pub(crate) async fn expose(
    transaction: &mut Transaction<'_>,
    exposures: &[Exposure],
) -> Result<(), sqlx::Error> {
    for exposure in exposures {
        let user = exposure.user_id.as_ref().map_or("", |user| user.as_str());
        let done = sqlx::query(
            "INSERT INTO exposure (experiment, unit, contest_id, user_id, variant, met_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
        )
        .bind(exposure.experiment.as_str())
        .bind(&exposure.unit)
        .bind(exposure.contest_id.0.hyphenated())
        .bind(user)
        .bind(exposure.variant.as_str())
        .bind(transaction.now.0)
        .execute(&mut *transaction.connection)
        .await?;
        transaction.wrote |= done.rows_affected() > 0;
    }
    Ok(())
}

fn outcome(name: &ExperimentName, row: &SqliteRow) -> Result<Outcome, StoreError> {
    let key = name.to_string();
    let context = Context {
        table: "exposure",
        key: &key,
    };
    let unit: String = row.try_get(0).map_err(failed)?;
    let contest: Hyphenated = row.try_get(1).map_err(failed)?;
    let user: String = row.try_get(2).map_err(failed)?;
    let variant: String = row.try_get(3).map_err(failed)?;
    let met_at: i64 = row.try_get(4).map_err(failed)?;
    let is_signed_up: Option<String> = row.try_get(EXPOSURE_COLUMNS).map_err(failed)?;
    let signup = match is_signed_up {
        Some(_) => {
            let record = signup_at(row, EXPOSURE_COLUMNS).map_err(failed)?;
            Some(record.parse()?)
        }
        None => None,
    };
    Ok(Outcome {
        exposure: Exposure {
            experiment: name.clone(),
            unit,
            contest_id: ContestId(contest.into()),
            user_id: context.maybe_parsed("user_id", Some(user).filter(|user| !user.is_empty()))?,
            variant: context.parsed("variant", &variant)?,
        },
        met_at: UnixMillis(met_at),
        signup,
    })
}

impl SqliteStore {
    async fn write_experiment(
        &self,
        expected: Option<u64>,
        experiment: &Experiment,
        change: &Change,
    ) -> Result<Committed, StoreError> {
        let write = Write {
            expected,
            experiment: experiment.clone(),
            change: change.clone(),
        };
        match self.write(Command::Experiment(Box::new(write))).await? {
            Reply::Committed(committed) => Ok(committed),
            other => Err(mismatched(&other)),
        }
    }
}

#[async_trait]
impl Experiments for SqliteStore {
    async fn insert_experiment(
        &self,
        experiment: &Experiment,
        change: &Change,
    ) -> Result<bool, StoreError> {
        let written = self.write_experiment(None, experiment, change).await?;
        Ok(written == Committed::Applied)
    }

    async fn experiment(&self, name: &ExperimentName) -> Result<Option<Experiment>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM experiment WHERE name = ?1");
        let row = sqlx::query(AssertSqlSafe(select))
            .bind(name.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        row.as_ref().map(parse).transpose()
    }

    async fn experiments(
        &self,
        after: Option<ExperimentName>,
        items: usize,
    ) -> Result<Page<Experiment, ExperimentName>, StoreError> {
        let items = items.min(PAGE_MAX);
        let select =
            format!("SELECT {COLUMNS} FROM experiment WHERE name > ?1 ORDER BY name LIMIT ?2");
        let rows = sqlx::query(AssertSqlSafe(select))
            .bind(after.map(|name| name.to_string()).unwrap_or_default())
            .bind(limit(items + 1))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let read = rows.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Page::cut(read, items, |one| one.name.clone()))
    }

    async fn commit_experiment(
        &self,
        expected: u64,
        experiment: &Experiment,
        change: &Change,
    ) -> Result<Committed, StoreError> {
        self.write_experiment(Some(expected), experiment, change)
            .await
    }

    async fn experiment_changes(
        &self,
        name: &ExperimentName,
        after: Option<u64>,
        items: usize,
    ) -> Result<Page<Change, u64>, StoreError> {
        let items = items.min(PAGE_MAX);
        let select = format!(
            "SELECT {CHANGE_COLUMNS} FROM experiment_change WHERE name = ?1 AND version < ?2 \
             ORDER BY version DESC LIMIT ?3"
        );
        let rows = sqlx::query(AssertSqlSafe(select))
            .bind(name.as_str())
            .bind(after.map_or(i64::MAX, column))
            .bind(limit(items + 1))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let read = rows.iter().map(parse_change).collect::<Result<_, _>>()?;
        Ok(Page::cut(read, items, |change| change.version))
    }

    async fn running(&self, known: Option<u64>) -> Result<Option<Running>, StoreError> {
        let number: i64 = sqlx::query_scalar(NUMBER)
            .fetch_one(&self.readers)
            .await
            .map_err(failed)?;
        let version = number.cast_unsigned();
        if known == Some(version) {
            return Ok(None);
        }
        // What comes between is read again with the next number.
        let select =
            format!("SELECT {COLUMNS} FROM experiment WHERE status = 'running' ORDER BY name");
        let rows = sqlx::query(AssertSqlSafe(select))
            .fetch_all(&self.readers)
            .await;
        let rows = rows.map_err(failed)?;
        Ok(Some(Running {
            version,
            experiments: rows.iter().map(parse).collect::<Result<_, _>>()?,
        }))
    }

    async fn expose(&self, exposures: &[Exposure]) -> Result<(), StoreError> {
        if exposures.is_empty() {
            return Ok(());
        }
        match self.write(Command::Expose(exposures.to_vec())).await? {
            Reply::Done => Ok(()),
            other => Err(mismatched(&other)),
        }
    }

    async fn outcomes(
        &self,
        name: &ExperimentName,
        after: Option<OutcomeKey>,
        items: usize,
    ) -> Result<Page<Outcome, OutcomeKey>, StoreError> {
        let items = items.min(PAGE_MAX);
        let (unit, contest, user) = after.map_or_else(Default::default, |after| {
            (after.unit, after.contest_id.to_string(), after.user)
        });
        let rows = sqlx::query(AssertSqlSafe(OUTCOMES.as_str()))
            .bind(name.as_str())
            .bind(unit)
            .bind(contest)
            .bind(user)
            .bind(limit(items + 1))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let read = rows
            .iter()
            .map(|row| outcome(name, row))
            .collect::<Result<_, _>>()?;
        Ok(Page::cut(read, items, Outcome::key))
    }

    async fn counts_by_variants(
        &self,
        contest: ContestId,
    ) -> Result<Vec<VariantCount>, StoreError> {
        let rows = sqlx::query(COUNTS_BY_VARIANTS)
            .bind(contest.to_string())
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let key = contest.to_string();
        rows.iter().map(|row| variant_count(&key, row)).collect()
    }

    async fn exposed(
        &self,
        contest: ContestId,
    ) -> Result<Vec<(ExperimentName, VariantName, u64)>, StoreError> {
        let rows = sqlx::query(EXPOSED)
            .bind(contest.to_string())
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let key = contest.to_string();
        let context = Context {
            table: "exposure",
            key: &key,
        };
        let one = |row: &SqliteRow| {
            let name: String = row.try_get(0).map_err(failed)?;
            let variant: String = row.try_get(1).map_err(failed)?;
            let count: i64 = row.try_get(2).map_err(failed)?;
            Ok((
                context.parsed("experiment", &name)?,
                context.parsed("variant", &variant)?,
                context.count("count", count)?,
            ))
        };
        rows.iter().map(one).collect()
    }
}
