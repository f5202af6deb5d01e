//! Contests, sheets and counts in MySQL.

use crate::{
    MysqlStore,
    contest_sql::{self as sql, Listed},
    leases, mismatched,
    reader::{Answer, Question},
    reconciliations,
    rows::{self, failed, json, limit},
    sheet,
    slow::{Command, Reply},
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
    leases::Fence,
    store::{Committed, PAGE_MAX, Page, StoreError},
};
use sql_core::{
    contest_record::{ContestRecord, LegRecord},
    mysql::{self, NOW_MS, keys},
    record::{Context, column},
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, mysql::MySqlRow};
use std::sync::LazyLock;
use uuid::Uuid;

static NOW: LazyLock<String> = LazyLock::new(|| format!("SELECT {NOW_MS}"));

async fn now(connection: &mut MySqlConnection) -> Result<UnixMillis, sqlx::Error> {
    let row = sqlx::query(AssertSqlSafe(NOW.as_str()))
        .fetch_one(connection)
        .await?;
    row.try_get(0).map(UnixMillis)
}

/// Inserts a contest; false if the id exists.
pub(crate) async fn insert(
    connection: &mut MySqlConnection,
    contest: &Contest,
) -> Result<bool, sqlx::Error> {
    let record = ContestRecord::from(contest);
    let wake_at = lifecycle::wake_at(contest).map(|at| at.0);
    macro_rules! bound {
        ($($column:ident),+ $(,)?) => {
            sqlx::query(AssertSqlSafe(sql::INSERT.as_str()))
                .bind(contest.id.0)
                $(.bind(record.$column))+
                .bind(wake_at)
        };
    }
    let inserting = bound!(
        title,
        room_id,
        fee,
        fee_tiers,
        task_kind,
        task_target,
        rule,
        draw_secret,
        rake_bps,
        guaranteed_pool,
        series_id,
        carry,
        claim_mode,
        no_winner,
        remainder,
        unclaimed,
        grace_ms,
        signup_opens_at,
        signup_closes_at,
        tasks_end_at,
        claim_closes_at,
        phase,
        cancel_reason,
        close_position,
        frozen_at,
        fees,
        rake,
        pool,
        guarantee_return,
        finishers,
        weight_sum,
        sheet_after,
        sheet_before,
        sheet_lines,
        sheet_prizes,
        sheet_sha256,
        claimable_at,
        stopped_since,
        stopped_ms,
        claims_off_since,
        stops_counted_until,
        accepted_gap,
        variants,
        version,
        created_at,
        updated_at,
    );
    match inserting.execute(&mut *connection).await {
        Err(error) if mysql::is_duplicate(&error) => return Ok(false),
        done => done?,
    };
    let at = now(connection).await?;
    write_rest(connection, contest, contest.version, at, &[]).await?;
    Ok(true)
}

/// Contest and key in one transaction; a known key is answered before anything is written.
pub(crate) async fn insert_once(
    connection: &mut MySqlConnection,
    contest: &Contest,
    key: &CreationKey,
) -> Result<Inserted, sqlx::Error> {
    let known = "SELECT contest_id FROM creation_key WHERE operator = ? AND creation_key = ?";
    let found = sqlx::query(known)
        .bind(key.operator.as_str())
        .bind(key.key.as_str())
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(row) = found {
        return Ok(Inserted::Known(ContestId(row.try_get(0)?)));
    }
    if now(connection).await? >= contest.terms.signup_closes_at {
        return Ok(Inserted::TooLate);
    }
    // The key first: of two processes with one key the second waits here, and then finds it.
    let inserted = sqlx::query(
        "INSERT INTO creation_key (operator, creation_key, contest_id) VALUES (?, ?, ?)",
    )
    .bind(key.operator.as_str())
    .bind(key.key.as_str())
    .bind(contest.id.0)
    .execute(&mut *connection)
    .await;
    match inserted {
        Err(error) if mysql::is_duplicate(&error) => {
            let row = sqlx::query(known)
                .bind(key.operator.as_str())
                .bind(key.key.as_str())
                .fetch_one(connection)
                .await?;
            return Ok(Inserted::Known(ContestId(row.try_get(0)?)));
        }
        done => done?,
    };
    if !insert(connection, contest).await? {
        return Ok(Inserted::Known(contest.id));
    }
    Ok(Inserted::New)
}

/// Writes a decision.
pub(crate) async fn commit(
    connection: &mut MySqlConnection,
    commit: &ContestCommit,
) -> Result<Committed, sqlx::Error> {
    let ContestCommit {
        expected,
        window,
        contest,
        lines,
        notices: _,
        under,
    } = commit;
    let row = sqlx::query(sql::LOCK)
        .bind(contest.id.0)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = row else {
        return Ok(Committed::Missing);
    };
    let version: i64 = row.try_get(0)?;
    let highest: i64 = row.try_get(1)?;
    let highest = Fence(highest.cast_unsigned());
    let at = now(connection).await?;
    if version != column(*expected) || !window.allows(at) {
        return Ok(Committed::GuardFailed);
    }
    let fence = under.as_ref().map(|lease| lease.fence);
    let lost = leases::lost(connection, under.iter()).await?;
    if !lost.is_empty() || fence.is_some_and(|fence| fence < highest) {
        return Ok(Committed::Fenced);
    }
    let record = ContestRecord::from(contest);
    macro_rules! bound {
        ($($column:ident),+ $(,)?) => {
            sqlx::query(AssertSqlSafe(sql::COMMIT.as_str()))
                $(.bind(record.$column))+
                .bind(lifecycle::wake_at(contest).map(|at| at.0))
                .bind(column(expected + 1))
                .bind(fence.unwrap_or(highest).0.cast_signed())
                .bind(contest.id.0)
        };
    }
    // In the order of `CHANGING`.
    bound!(
        title,
        updated_at,
        phase,
        cancel_reason,
        close_position,
        frozen_at,
        fees,
        rake,
        pool,
        guarantee_return,
        finishers,
        weight_sum,
        sheet_after,
        sheet_before,
        sheet_lines,
        sheet_prizes,
        sheet_sha256,
        claimable_at,
        stopped_since,
        stopped_ms,
        claims_off_since,
        stops_counted_until,
        accepted_gap,
    )
    .execute(&mut *connection)
    .await?;
    write_rest(connection, contest, expected + 1, at, lines).await?;
    Ok(Committed::Applied)
}

async fn write_rest(
    connection: &mut MySqlConnection,
    contest: &Contest,
    version: u64,
    at: UnixMillis,
    lines: &[SheetLine],
) -> Result<(), sqlx::Error> {
    let legs = LegRecord::of(contest);
    if !legs.is_empty() {
        sqlx::query(sql::LEGS)
            .bind(json(&legs)?)
            .execute(&mut *connection)
            .await?;
    }
    sqlx::query(sql::HISTORY)
        .bind(contest.id.0)
        .bind(column(version))
        .bind(contest.phase.kind().name())
        .bind(at.0)
        .execute(&mut *connection)
        .await?;
    // With every write: a node of a version that did not watch may have inserted it.
    reconciliations::begin_watch(connection, contest.id, at).await?;
    if lines.is_empty() {
        return Ok(());
    }
    sheet::insert(connection, contest.id, lines).await
}

/// The contests of some rows with legs, in their order, each by itself: one that cannot be read
/// does not hide the others.
pub(crate) fn collect(rows: &[MySqlRow]) -> Result<Vec<Result<Contest, StoreError>>, sqlx::Error> {
    let mut contests: Vec<(ContestRecord, Vec<LegRecord>)> = Vec::new();
    for row in rows {
        let (record, leg) = rows::contest(row)?;
        match contests.last_mut() {
            Some((last, legs)) if last.contest_id == record.contest_id => legs.extend(leg),
            _ => contests.push((record, leg.into_iter().collect())),
        }
    }
    Ok(contests
        .iter()
        .map(|(record, legs)| record.parse(legs))
        .collect())
}

#[async_trait]
impl ContestRepository for MysqlStore {
    async fn now(&self) -> Result<UnixMillis, StoreError> {
        let query = sqlx::query(AssertSqlSafe(NOW.as_str()));
        let row = self.one(query).await?;
        row.try_get(0).map(UnixMillis).map_err(failed)
    }

    async fn insert(&self, contest: &Contest) -> Result<bool, StoreError> {
        let command = Command::InsertContest(Box::new(contest.clone()));
        match self.decide(&contest.id, command).await? {
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
        match self.decide(&contest.id, command).await? {
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
        let names: Vec<_> = phases.iter().map(|phase| PhaseKind::name(*phase)).collect();
        let statement = sql::list(room_id.is_some(), names.len(), *opened);
        let mut query = sqlx::query(AssertSqlSafe(statement));
        let (before, most) = (after.map_or(Uuid::max(), |id| id.0), limit(items + 1));
        query = match Listed::of(room_id.is_some(), names.len()) {
            Listed::Straight => {
                query = query.bind(before);
                if let Some(room) = room_id {
                    query = query.bind(room.as_str());
                }
                keys::fill(&names).fold(query, |query, name| query.bind(*name))
            }
            Listed::EachPhase => keys::fill(&names).fold(query, |query, name| {
                query.bind(before).bind(*name).bind(most)
            }),
        };
        let rows = self.all(query.bind(most)).await?;
        let contests = collect(&rows).map_err(failed)?;
        let contests = contests.into_iter().collect::<Result<_, _>>()?;
        Ok(Page::cut(contests, items, |contest| contest.id))
    }

    async fn commit(&self, commit: ContestCommit) -> Result<Committed, StoreError> {
        let id = commit.contest.id;
        match self
            .decide(&id, Command::CommitContest(Box::new(commit)))
            .await?
        {
            Reply::Committed(committed) => Ok(committed),
            other => Err(mismatched(&other)),
        }
    }

    async fn awake(&self, items: usize) -> Result<Vec<Contest>, StoreError> {
        let query = sqlx::query(AssertSqlSafe(sql::AWAKE.as_str())).bind(limit(items));
        let rows = self.all(query).await?;
        // A contest that cannot be read pages somebody; the others must not wait for it.
        let awake = collect(&rows).map_err(failed)?;
        Ok(awake.into_iter().filter_map(rows::or_report).collect())
    }

    async fn presence(&self, id: ContestId) -> Result<Presence, StoreError> {
        static PRESENCE: LazyLock<String> = LazyLock::new(|| {
            let states: Vec<_> = StateKind::ALL.iter().map(|state| state.name()).collect();
            sql::presence(&states)
        });
        let mut query = sqlx::query(AssertSqlSafe(PRESENCE.as_str()));
        for _ in 0..=StateKind::ALL.len() {
            query = query.bind(id.0);
        }
        let rows = self.all(query).await?;
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
        let query = sqlx::query(sql::CENSUS).bind(id.0);
        let row = self.counters.one(query).await.map_err(failed)?;
        let key = id.to_string();
        let context = Context {
            table: "signup",
            key: &key,
        };
        let number = |index: usize| row.try_get::<i64, _>(index).map_err(failed);
        let weights: String = row.try_get(2).map_err(failed)?;
        Ok(Census {
            undecided: context.count("undecided", number(0)?)?,
            finishers: context.count("finishers", number(1)?)?,
            weight_sum: context.parsed("weight_sum", &weights)?,
            fees: context.coins("fees", number(3)?)?,
            refunding: context.coins("refunding", number(4)?)?,
        })
    }

    async fn counts(&self, id: ContestId) -> Result<Vec<StateCount>, StoreError> {
        let query = sqlx::query(sql::COUNTS).bind(id.0);
        let rows = self.counted(query).await?;
        let key = id.to_string();
        let context = Context {
            table: "signup",
            key: &key,
        };
        let count = |row: &MySqlRow| {
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
        let query = sqlx::query(sql::FINISHERS)
            .bind(id.0)
            .bind(rows::after(after.map(|id| id.0)))
            .bind(limit(items));
        let rows = self.all(query).await?;
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
        let query = sqlx::query(sheet::PAGE)
            .bind(id.0)
            .bind(rows::after(after.map(|id| id.0)))
            .bind(limit(items + 1));
        let rows = self.all(query).await?;
        let lines = rows
            .iter()
            .map(sheet::parse_line)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(lines, items, |line| line.finisher.signup_id))
    }
}
