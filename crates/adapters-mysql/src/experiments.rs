//! Experiments in MySQL. Who met them is recorded by [`crate::exposures`].

use crate::{
    MysqlStore, exposures, mismatched,
    rows::{Columns, failed, limit, signup_at},
    slow::{Command, Reply},
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
    mysql::is_duplicate,
    record::{Context, column},
    signup_record::SignupRecord,
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, mysql::MySqlRow};
use std::sync::LazyLock;
use uuid::Uuid;

/// An experiment as it becomes, with its line of history.
#[derive(Debug)]
pub(crate) struct Write {
    /// The version that it was decided on; none for a new one.
    expected: Option<u64>,
    experiment: Experiment,
    change: Change,
}

pub(crate) static LIST: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {COLUMNS} FROM experiment WHERE name > ? ORDER BY name LIMIT ?")
});
pub(crate) static CHANGES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {CHANGE_COLUMNS} FROM experiment_change WHERE name = ? AND version < ? \
         ORDER BY version DESC LIMIT ?"
    )
});
pub(crate) static RUNNING: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {COLUMNS} FROM experiment WHERE status = 'running' ORDER BY name")
});

/// The columns of an exposure before those of its signup.
const EXPOSURE: &str = "e.unit, e.contest_id, e.user_id, e.variant, e.met_at";
/// How many they are.
const EXPOSURE_COLUMNS: usize = 5;

pub(crate) static OUTCOMES: LazyLock<String> = LazyLock::new(|| {
    let columns: Vec<_> = SignupRecord::COLUMNS
        .split(", ")
        .map(|column| format!("s.{column}"))
        .collect();
    format!(
        "SELECT {EXPOSURE}, {} FROM exposure AS e FORCE INDEX (PRIMARY) \
         LEFT JOIN signup AS s FORCE INDEX (signup_viewer) \
         ON s.contest_id = e.contest_id AND s.user_id = e.user_id \
         WHERE e.experiment = ? AND ((e.unit = ? AND e.contest_id = ? AND e.user_id > ?) \
         OR (e.unit = ? AND e.contest_id > ?) OR e.unit > ?) \
         ORDER BY e.experiment, e.unit, e.contest_id, e.user_id LIMIT ?",
        columns.join(", ")
    )
});

pub(crate) const EXPOSED: &str = "SELECT experiment, variant, COUNT(*) FROM exposure FORCE INDEX (exposure_contest) \
     WHERE contest_id = ? AND user_id <> '' GROUP BY experiment, variant ORDER BY experiment, variant";

pub(crate) const COUNTS_BY_VARIANTS: &str = "SELECT variants, state, CAST(COUNT(*) AS SIGNED), \
     CAST(SUM(COALESCE(moved, fee)) AS SIGNED), CAST(COALESCE(SUM(prize), 0) AS SIGNED) \
     FROM signup FORCE INDEX (PRIMARY) WHERE contest_id = ? AND variants IS NOT NULL \
     GROUP BY variants, state ORDER BY variants, state";

/// Writes an experiment and its line of history.
pub(crate) async fn write(
    connection: &mut MySqlConnection,
    write: &Write,
) -> Result<Committed, sqlx::Error> {
    let bound = Bound::new(&write.experiment)?;
    let version = write.expected.map_or(1, |expected| column(expected) + 1);
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
    let written = match query.execute(&mut *connection).await {
        Err(error) if is_duplicate(&error) => 0,
        done => done?.rows_affected(),
    };
    if written == 0 {
        let is_there = sqlx::query("SELECT 1 FROM experiment WHERE name = ?")
            .bind(&bound.name)
            .fetch_optional(&mut *connection)
            .await?;
        return Ok(match is_there {
            Some(_) => Committed::GuardFailed,
            None => Committed::Missing,
        });
    }
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
        .execute(connection)
        .await?;
    Ok(Committed::Applied)
}

fn outcome(name: &ExperimentName, row: &MySqlRow) -> Result<Outcome, StoreError> {
    let key = name.to_string();
    let context = Context {
        table: "exposure",
        key: &key,
    };
    let mut columns = Columns::from(row, 0);
    let unit: String = columns.get().map_err(failed)?;
    let contest: Uuid = columns.get().map_err(failed)?;
    let user: String = columns.get().map_err(failed)?;
    let variant: String = columns.get().map_err(failed)?;
    let met_at: i64 = columns.get().map_err(failed)?;
    let is_signed_up: Option<Uuid> = row.try_get(EXPOSURE_COLUMNS).map_err(failed)?;
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
            contest_id: ContestId(contest),
            user_id: context.maybe_parsed("user_id", Some(user).filter(|user| !user.is_empty()))?,
            variant: context.parsed("variant", &variant)?,
        },
        met_at: UnixMillis(met_at),
        signup,
    })
}

impl MysqlStore {
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
        match self
            .decide(&0_u8, Command::Experiment(Box::new(write)))
            .await?
        {
            Reply::Committed(committed) => Ok(committed),
            other => Err(mismatched(&other)),
        }
    }
}

#[async_trait]
impl Experiments for MysqlStore {
    async fn insert_experiment(
        &self,
        experiment: &Experiment,
        change: &Change,
    ) -> Result<bool, StoreError> {
        let written = self.write_experiment(None, experiment, change).await?;
        Ok(written == Committed::Applied)
    }

    async fn experiment(&self, name: &ExperimentName) -> Result<Option<Experiment>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM experiment WHERE name = ?");
        let query = sqlx::query(AssertSqlSafe(select)).bind(name.as_str());
        self.maybe(query).await?.as_ref().map(parse).transpose()
    }

    async fn experiments(
        &self,
        after: Option<ExperimentName>,
        items: usize,
    ) -> Result<Page<Experiment, ExperimentName>, StoreError> {
        let items = items.min(PAGE_MAX);
        let after = after.map(|name| name.to_string()).unwrap_or_default();
        let query = sqlx::query(AssertSqlSafe(LIST.as_str()))
            .bind(after)
            .bind(limit(items + 1));
        let rows = self.all(query).await?;
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
        let query = sqlx::query(AssertSqlSafe(CHANGES.as_str()))
            .bind(name.as_str())
            .bind(after.map_or(i64::MAX, column))
            .bind(limit(items + 1));
        let rows = self.all(query).await?;
        let read = rows.iter().map(parse_change).collect::<Result<_, _>>()?;
        Ok(Page::cut(read, items, |change| change.version))
    }

    async fn running(&self, known: Option<u64>) -> Result<Option<Running>, StoreError> {
        let number: i64 = self
            .one(sqlx::query(NUMBER))
            .await?
            .try_get(0)
            .map_err(failed)?;
        let version = number.cast_unsigned();
        if known == Some(version) {
            return Ok(None);
        }
        // What comes between is read again with the next number.
        let rows = self
            .all(sqlx::query(AssertSqlSafe(RUNNING.as_str())))
            .await?;
        Ok(Some(Running {
            version,
            experiments: rows.iter().map(parse).collect::<Result<_, _>>()?,
        }))
    }

    async fn expose(&self, exposures: &[Exposure]) -> Result<(), StoreError> {
        if exposures.is_empty() {
            return Ok(());
        }
        exposures::submit(self, exposures.to_vec()).await
    }

    async fn outcomes(
        &self,
        name: &ExperimentName,
        after: Option<OutcomeKey>,
        items: usize,
    ) -> Result<Page<Outcome, OutcomeKey>, StoreError> {
        let items = items.min(PAGE_MAX);
        // Before the first of them: no unit is empty.
        let after = after.unwrap_or(OutcomeKey {
            unit: String::new(),
            contest_id: ContestId(Uuid::nil()),
            user: String::new(),
        });
        let query = sqlx::query(AssertSqlSafe(OUTCOMES.as_str()))
            .bind(name.as_str())
            .bind(&after.unit)
            .bind(after.contest_id.0)
            .bind(&after.user)
            .bind(&after.unit)
            .bind(after.contest_id.0)
            .bind(&after.unit)
            .bind(limit(items + 1));
        let rows = self.counted(query).await?;
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
        let query = sqlx::query(COUNTS_BY_VARIANTS).bind(contest.0);
        let rows = self.counted(query).await?;
        let key = contest.to_string();
        rows.iter().map(|row| variant_count(&key, row)).collect()
    }

    async fn exposed(
        &self,
        contest: ContestId,
    ) -> Result<Vec<(ExperimentName, VariantName, u64)>, StoreError> {
        let rows = self.counted(sqlx::query(EXPOSED).bind(contest.0)).await?;
        let key = contest.to_string();
        let context = Context {
            table: "exposure",
            key: &key,
        };
        let one = |row: &MySqlRow| {
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
