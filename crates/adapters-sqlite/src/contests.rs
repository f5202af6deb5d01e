//! Contests, sheets and counts in SQLite.

use crate::{
    SqliteStore, mismatched, notices,
    reader::{Answer, Question},
    reconciliations,
    rows::{self, failed, json, limit},
    sheet, signup_sql,
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::{
    contest::{Contest, PhaseKind},
    ids::{ContestId, SignupId},
    lifecycle::{self, Presence},
    settlement::{Census, Finisher, SheetLine},
    signup::StateKind,
    time::UnixMillis,
};
use ports::{
    contests::{
        ContestCommit, ContestFilter, ContestRepository, CreationKey, Inserted, StateCount,
    },
    store::{Committed, PAGE_MAX, Page, StoreError},
};
use serde::Serialize;
use sql_core::{
    contest_record::{ContestRecord, LegRecord},
    record::{Context, column},
    sqlite::NOW_MS,
};
use sqlx::{AssertSqlSafe, Row, SqliteConnection, sqlite::SqliteRow};
use std::{collections::BTreeMap, sync::LazyLock};

#[derive(Serialize)]
struct Write {
    #[serde(flatten)]
    record: ContestRecord,
    wake_at: Option<i64>,
}

static INSERT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO contest ({}, wake_at) SELECT {}, j.value ->> 'wake_at' FROM json_each(?1) AS j WHERE true \
         ON CONFLICT (contest_id) DO NOTHING",
        ContestRecord::COLUMNS,
        signup_sql::from_json(ContestRecord::COLUMNS),
    )
});

/// The columns that a commit may change.
const CHANGING: [&str; 24] = [
    "title",
    "updated_at",
    "phase",
    "cancel_reason",
    "close_position",
    "frozen_at",
    "fees",
    "rake",
    "pool",
    "guarantee_return",
    "finishers",
    "weight_sum",
    "sheet_after",
    "sheet_before",
    "sheet_lines",
    "sheet_prizes",
    "sheet_sha256",
    "claimable_at",
    "stopped_since",
    "stopped_ms",
    "claims_off_since",
    "stops_counted_until",
    "accepted_gap",
    "wake_at",
];

static COMMIT: LazyLock<String> = LazyLock::new(|| {
    let set: Vec<_> = CHANGING
        .iter()
        .map(|column| format!("{column} = j.value ->> '{column}'"))
        .collect();
    format!(
        "UPDATE contest SET {}, version = contest.version + 1, fence = MAX(contest.fence, COALESCE(?3, 0)) \
         FROM json_each(?1) AS j WHERE contest.contest_id = j.value ->> 'contest_id' \
         AND contest.version = ?2 AND (?3 IS NULL OR contest.fence <= ?3)",
        set.join(", "),
    )
});

/// A leg's amount is written once; only what became of it changes.
static LEGS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO contest_leg ({}) SELECT {} FROM json_each(?1) AS j WHERE true \
         ON CONFLICT (contest_id, leg) DO UPDATE \
         SET outcome = excluded.outcome, position = excluded.position, applied_at = excluded.applied_at",
        LegRecord::COLUMNS,
        signup_sql::from_json(LegRecord::COLUMNS),
    )
});

const PRESENCE: &str = "SELECT value FROM json_each(?2) \
     WHERE EXISTS (SELECT 1 FROM signup WHERE contest_id = ?1 AND state = value) \
     UNION ALL SELECT 'provisional' WHERE EXISTS \
     (SELECT 1 FROM signup WHERE contest_id = ?1 AND state = 'completed' AND weight IS NULL)";

const FINISHERS: &str = "SELECT signup_id, user_id, weight FROM signup \
     WHERE contest_id = ?1 AND state = 'completed' AND weight IS NOT NULL AND signup_id > ?2 \
     ORDER BY signup_id LIMIT ?3";

/// The statements that requests and settling run, for the test of their plans.
#[cfg(test)]
pub(crate) fn statements() -> Vec<(&'static str, &'static str)> {
    vec![
        ("get_many", &GET_MANY),
        ("lines", sheet::LINES),
        ("awake", &AWAKE),
        ("commit", &COMMIT),
        ("legs_of", &LEGS_OF),
        ("presence", PRESENCE),
        ("finishers", FINISHERS),
    ]
}

macro_rules! selects {
    ($($name:ident = $rest:expr;)+) => {
        $(static $name: LazyLock<String> = LazyLock::new(|| format!("SELECT {} FROM contest {}", ContestRecord::COLUMNS, $rest));)+
    };
}

selects! {
    GET_MANY = "WHERE contest_id IN (SELECT value FROM json_each(?1))";
    AWAKE = format!("WHERE wake_at <= {NOW_MS} ORDER BY wake_at LIMIT ?1");
    LIST = format!(
        "WHERE contest_id < ?1 AND (?2 IS NULL OR room_id = ?2) \
         AND phase NOT IN ('preparing', 'funding') \
         AND (?3 = '[]' OR phase IN (SELECT value FROM json_each(?3))) \
         AND (?4 IS NULL OR (signup_opens_at <= {NOW_MS}) = ?4) \
         ORDER BY contest_id DESC LIMIT ?5"
    );
}

static LEGS_OF: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM contest_leg WHERE contest_id IN (SELECT value FROM json_each(?1))",
        LegRecord::COLUMNS
    )
});

fn write_of(contest: &Contest) -> Write {
    let wake_at = lifecycle::wake_at(contest).map(|at| at.0);
    Write {
        record: ContestRecord::from(contest),
        wake_at,
    }
}

pub(crate) async fn insert(
    transaction: &mut Transaction<'_>,
    contest: &Contest,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query(AssertSqlSafe(INSERT.as_str()))
        .bind(json(&[write_of(contest)])?)
        .execute(&mut *transaction.connection)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    transaction.wrote = true;
    write_rest(transaction, contest, contest.version, &[]).await?;
    reconciliations::begin_watch(transaction, contest.id).await?;
    Ok(true)
}

/// Contest and key in one transaction; a known key is answered before anything is written.
pub(crate) async fn insert_once(
    transaction: &mut Transaction<'_>,
    contest: &Contest,
    key: &CreationKey,
) -> Result<Inserted, sqlx::Error> {
    let CreationKey { operator, key } = key;
    let known = sqlx::query("SELECT contest_id FROM creation_key WHERE operator = ?1 AND key = ?2")
        .bind(operator.as_str())
        .bind(key.as_str())
        .fetch_optional(&mut *transaction.connection)
        .await?;
    if let Some(row) = known {
        let id: String = row.try_get(0)?;
        let id = id
            .parse()
            .map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        return Ok(Inserted::Known(id));
    }
    if transaction.now >= contest.terms.signup_closes_at {
        return Ok(Inserted::TooLate);
    }
    if !insert(transaction, contest).await? {
        return Ok(Inserted::Known(contest.id));
    }
    sqlx::query("INSERT INTO creation_key (operator, key, contest_id) VALUES (?1, ?2, ?3)")
        .bind(operator.as_str())
        .bind(key.as_str())
        .bind(contest.id.to_string())
        .execute(&mut *transaction.connection)
        .await?;
    Ok(Inserted::New)
}

pub(crate) async fn commit(
    transaction: &mut Transaction<'_>,
    commit: &ContestCommit,
) -> Result<Committed, sqlx::Error> {
    let ContestCommit {
        expected,
        window,
        contest,
        lines,
        notices,
        under,
    } = commit;
    let now = transaction.now;
    // The store is alone with its process: there is nobody to take a lease away.
    let fence = under.as_ref().map(|lease| column(lease.fence.0));
    if window.allows(now) {
        let done = sqlx::query(AssertSqlSafe(COMMIT.as_str()))
            .bind(json(&[write_of(contest)])?)
            .bind(column(*expected))
            .bind(fence)
            .execute(&mut *transaction.connection)
            .await?;
        if done.rows_affected() > 0 {
            transaction.wrote = true;
            write_rest(transaction, contest, expected + 1, lines).await?;
            for kind in notices {
                notices::add(transaction, *kind, contest.id, None).await?;
            }
            return Ok(Committed::Applied);
        }
    }
    let row = sqlx::query("SELECT fence FROM contest WHERE contest_id = ?1")
        .bind(contest.id.to_string())
        .fetch_optional(&mut *transaction.connection)
        .await?;
    let Some(row) = row else {
        return Ok(Committed::Missing);
    };
    let highest: i64 = row.try_get(0)?;
    Ok(if fence.is_some_and(|fence| fence < highest) {
        Committed::Fenced
    } else {
        Committed::GuardFailed
    })
}

async fn write_rest(
    transaction: &mut Transaction<'_>,
    contest: &Contest,
    version: u64,
    lines: &[SheetLine],
) -> Result<(), sqlx::Error> {
    let legs = LegRecord::of(contest);
    if !legs.is_empty() {
        sqlx::query(AssertSqlSafe(LEGS.as_str()))
            .bind(json(&legs)?)
            .execute(&mut *transaction.connection)
            .await?;
    }
    sqlx::query(
        "INSERT INTO contest_history (contest_id, version, phase, at) VALUES (?1, ?2, ?3, ?4)",
    )
    .bind(contest.id.to_string())
    .bind(column(version))
    .bind(contest.phase.kind().name())
    .bind(transaction.now.0)
    .execute(&mut *transaction.connection)
    .await?;
    if lines.is_empty() {
        return Ok(());
    }
    sheet::insert(transaction, contest.id, lines).await
}

/// Contests by id, with the rows of their legs.
pub(crate) async fn read_many(
    connection: &mut SqliteConnection,
    ids: &[String],
) -> Result<Vec<(ContestRecord, Vec<LegRecord>)>, sqlx::Error> {
    let ids = json(ids)?;
    let records = sqlx::query(AssertSqlSafe(GET_MANY.as_str()))
        .bind(&ids)
        .fetch_all(&mut *connection)
        .await?;
    let mut legs = read_legs(&mut *connection, &ids).await?;
    let with_legs = |row: &SqliteRow| {
        let record = rows::contest(row)?;
        let legs = legs.remove(&record.contest_id).unwrap_or_default();
        Ok((record, legs))
    };
    records.iter().map(with_legs).collect()
}

impl SqliteStore {
    async fn with_legs(&self, found: &[SqliteRow]) -> Result<Vec<Contest>, StoreError> {
        self.each_with_legs(found).await?.into_iter().collect()
    }

    /// The contests of some rows, each by itself: one that cannot be read does not hide the others.
    async fn each_with_legs(
        &self,
        found: &[SqliteRow],
    ) -> Result<Vec<Result<Contest, StoreError>>, StoreError> {
        if found.is_empty() {
            return Ok(Vec::new());
        }
        // The legs may be newer than the contest, never older; a decision on that would name a
        // version that is gone.
        let records = found
            .iter()
            .map(rows::contest)
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let ids: Vec<_> = records
            .iter()
            .map(|record| record.contest_id.as_str())
            .collect();
        let mut connection = self.readers.acquire().await.map_err(failed)?;
        let mut legs = read_legs(&mut connection, &json(&ids).map_err(failed)?)
            .await
            .map_err(failed)?;
        let parse = |record: &ContestRecord| {
            record.parse(&legs.remove(&record.contest_id).unwrap_or_default())
        };
        Ok(records.iter().map(parse).collect())
    }
}

async fn read_legs(
    connection: &mut SqliteConnection,
    ids: &str,
) -> Result<BTreeMap<String, Vec<LegRecord>>, sqlx::Error> {
    let found = sqlx::query(AssertSqlSafe(LEGS_OF.as_str()))
        .bind(ids)
        .fetch_all(connection)
        .await?;
    let mut legs: BTreeMap<String, Vec<LegRecord>> = BTreeMap::new();
    for row in &found {
        let leg = rows::leg(row)?;
        legs.entry(leg.contest_id.clone()).or_default().push(leg);
    }
    Ok(legs)
}

#[async_trait]
impl ContestRepository for SqliteStore {
    async fn now(&self) -> Result<UnixMillis, StoreError> {
        static NOW: LazyLock<String> = LazyLock::new(|| format!("SELECT {NOW_MS}"));
        let row = sqlx::query(AssertSqlSafe(NOW.as_str()))
            .fetch_one(&self.readers)
            .await
            .map_err(failed)?;
        row.try_get(0).map(UnixMillis).map_err(failed)
    }

    async fn insert(&self, contest: &Contest) -> Result<bool, StoreError> {
        match self.write(Command::InsertContest(contest.clone())).await? {
            Reply::Inserted(is_new) => Ok(is_new),
            other => Err(mismatched(&other)),
        }
    }

    async fn insert_once(
        &self,
        contest: &Contest,
        key: &CreationKey,
    ) -> Result<Inserted, StoreError> {
        let command = Command::InsertOnce(Box::new(contest.clone()), key.clone());
        match self.write(command).await? {
            Reply::InsertedOnce(inserted) => Ok(inserted),
            other => Err(mismatched(&other)),
        }
    }

    async fn get(&self, id: ContestId) -> Result<Option<Contest>, StoreError> {
        match self.ask(Question::Contest(id)).await? {
            Answer::Contest(contest) => Ok(contest),
            other => Err(mismatched(&other)),
        }
    }

    async fn list(
        &self,
        filter: &ContestFilter,
        after: Option<ContestId>,
        items: usize,
    ) -> Result<Page<Contest, ContestId>, StoreError> {
        let items = items.min(PAGE_MAX);
        let ContestFilter {
            room_id,
            phases,
            opened,
        } = filter;
        let phases: Vec<_> = phases.iter().map(|phase| PhaseKind::name(*phase)).collect();
        let rows = sqlx::query(AssertSqlSafe(LIST.as_str()))
            .bind(after.map_or_else(|| "~".to_owned(), |after| after.to_string()))
            .bind(room_id.as_ref().map(domain::ids::RoomId::as_str))
            .bind(json(&phases).map_err(failed)?)
            .bind(*opened)
            .bind(limit(items + 1))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        Ok(Page::cut(self.with_legs(&rows).await?, items, |contest| {
            contest.id
        }))
    }

    async fn commit(&self, commit: ContestCommit) -> Result<Committed, StoreError> {
        match self.write(Command::CommitContest(Box::new(commit))).await? {
            Reply::Committed(committed) => Ok(committed),
            other => Err(mismatched(&other)),
        }
    }

    async fn awake(&self, items: usize) -> Result<Vec<Contest>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(AWAKE.as_str()))
            .bind(limit(items))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let awake = self.each_with_legs(&rows).await?;
        // A contest that cannot be read pages somebody; the others must not wait for it.
        Ok(awake.into_iter().filter_map(rows::or_report).collect())
    }

    async fn presence(&self, id: ContestId) -> Result<Presence, StoreError> {
        let states: Vec<_> = StateKind::ALL.iter().map(|state| state.name()).collect();
        let rows = sqlx::query(PRESENCE)
            .bind(id.to_string())
            .bind(json(&states).map_err(failed)?)
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let names = rows
            .iter()
            .map(|row| row.try_get(0))
            .collect::<Result<Vec<String>, _>>()
            .map_err(failed)?;
        let provisional = names.iter().any(|name| name == "provisional");
        Ok(Presence::of(
            names.iter().filter_map(|name| StateKind::named(name)),
            provisional,
        ))
    }

    async fn census(&self, id: ContestId) -> Result<Census, StoreError> {
        let row = sqlx::query(
            "SELECT COUNT(*) FILTER (WHERE state IN ('initialized', 'paid', 'in_progress') \
                                     OR (state = 'completed' AND weight IS NULL)), \
                    COUNT(*) FILTER (WHERE state = 'completed' AND weight IS NOT NULL), \
                    COALESCE(SUM(weight) FILTER (WHERE state = 'completed'), 0), \
                    COALESCE(SUM(fee) FILTER (WHERE state IN ('completed', 'missed')), 0), \
                    COALESCE(SUM(COALESCE(moved, fee)) FILTER (WHERE state = 'refunding'), 0) \
             FROM signup WHERE contest_id = ?1",
        )
        .bind(id.to_string())
        .fetch_one(&self.readers)
        .await
        .map_err(failed)?;
        let key = id.to_string();
        let context = Context {
            table: "signup",
            key: &key,
        };
        let number = |index: usize| row.try_get::<i64, _>(index).map_err(failed);
        Ok(Census {
            undecided: context.count("undecided", number(0)?)?,
            finishers: context.count("finishers", number(1)?)?,
            weight_sum: context.count("weight_sum", number(2)?)?.into(),
            fees: context.coins("fees", number(3)?)?,
            refunding: context.coins("refunding", number(4)?)?,
        })
    }

    async fn counts(&self, id: ContestId) -> Result<Vec<StateCount>, StoreError> {
        let rows = sqlx::query(
            "SELECT state, COUNT(*), SUM(COALESCE(moved, fee)), COALESCE(SUM(prize), 0) FROM signup WHERE contest_id = ?1 GROUP BY state",
        )
        .bind(id.to_string())
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        let key = id.to_string();
        let context = Context {
            table: "signup",
            key: &key,
        };
        let count = |row: &SqliteRow| {
            let state: String = row.try_get(0).map_err(failed)?;
            let number = |index: usize| row.try_get::<i64, _>(index).map_err(failed);
            Ok(StateCount {
                state: context.named("state", &state, StateKind::named)?,
                signups: context.count("count", number(1)?)?,
                fees: context.coins("fees", number(2)?)?,
                prizes: context.coins("prizes", number(3)?)?,
            })
        };
        let mut counts = rows
            .iter()
            .map(count)
            .collect::<Result<Vec<_>, StoreError>>()?;
        counts.sort_by_key(|count| count.state);
        Ok(counts)
    }

    async fn finishers(
        &self,
        id: ContestId,
        after: Option<SignupId>,
        items: usize,
    ) -> Result<Vec<Finisher>, StoreError> {
        let items = items.min(PAGE_MAX);
        let rows = sqlx::query(FINISHERS)
            .bind(id.to_string())
            .bind(after.map_or_else(String::new, |after| after.to_string()))
            .bind(limit(items))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(sheet::parse_finisher).collect()
    }

    async fn sheet_line(
        &self,
        id: ContestId,
        signup: SignupId,
    ) -> Result<Option<SheetLine>, StoreError> {
        match self.ask(Question::Line(id, signup)).await? {
            Answer::Line(line) => Ok(line),
            other => Err(mismatched(&other)),
        }
    }

    async fn sheet(
        &self,
        id: ContestId,
        after: Option<SignupId>,
        items: usize,
    ) -> Result<Page<SheetLine, SignupId>, StoreError> {
        let items = items.min(PAGE_MAX);
        let rows = sqlx::query(
            "SELECT signup_id, user_id, weight, weight_before, prize FROM sheet_line \
             WHERE contest_id = ?1 AND signup_id > ?2 ORDER BY signup_id LIMIT ?3",
        )
        .bind(id.to_string())
        .bind(after.map_or_else(String::new, |after| after.to_string()))
        .bind(limit(items + 1))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        let lines = rows
            .iter()
            .map(sheet::parse_line)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(lines, items, |line| line.finisher.signup_id))
    }
}
