//! The reconciliation's own records in SQLite.

use crate::{
    SqliteStore, findings, mismatched,
    rows::{failed, limit},
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::{finding::RepairOutcome, ids::ContestId};
use ports::{
    findings::Finding,
    reconciliations::{LoggedRepair, Reconciliations, Run, Watch},
    store::{Committed, PAGE_MAX, Page, StoreError},
};
use sql_core::{
    reconciliation_record::{RepairRecord, RunRecord, WatchRecord},
    record::column,
    sqlite::NOW_MS,
};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use std::sync::LazyLock;
use uuid::{Uuid, fmt::Hyphenated};

const BEGIN_RUN: &str = "INSERT INTO reconciliation (run_id, from_contest, to_contest, asked_by, is_dry, asked_at, \
     ended_at, after_contest, contests, failed, signups, transfers, differences, repaired, repaired_coins, over_limits, version) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17) ON CONFLICT DO NOTHING";

const ADVANCE_RUN: &str = "UPDATE reconciliation SET ended_at = ?3, after_contest = ?4, contests = ?5, failed = ?6, \
     signups = ?7, transfers = ?8, differences = ?9, repaired = ?10, repaired_coins = ?11, over_limits = ?12, version = version + 1 \
     WHERE run_id = ?1 AND version = ?2";

const RUN_FINDINGS: &str = "INSERT INTO reconciliation_finding (run_id, finding_id) \
     SELECT ?1, value FROM json_each(?2) WHERE true ON CONFLICT DO NOTHING";

const BEGIN_REPAIR: &str = "INSERT INTO repair (repair_id, finding_id, run_id, repaired_by, contest_id, order_id, what, \
     evidence, coins, begun_at, ended_at, outcome) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
     ON CONFLICT DO NOTHING";

const END_REPAIR: &str =
    "UPDATE repair SET ended_at = ?2, outcome = ?3 WHERE repair_id = ?1 AND outcome IS NULL";

const BEGIN_WATCH: &str = "INSERT INTO watch (contest_id, position, walk_at, due_at) VALUES (?1, 0, ?2, ?2) \
     ON CONFLICT DO NOTHING";

const SAVE_WATCH: &str = "UPDATE watch SET position = ?2, walked = ?3, walk_at = ?4, due_at = ?5, final_run = ?6 \
     WHERE contest_id = ?1";

pub(crate) static WATCHED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM watch WHERE due_at <= {NOW_MS} ORDER BY due_at, contest_id LIMIT ?1",
        WatchRecord::COLUMNS
    )
});

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Note {
    BeginRun(Run),
    AdvanceRun(Run, Vec<Uuid>),
    BeginRepair(LoggedRepair),
    EndRepair(Uuid, RepairOutcome),
    SaveWatch(Watch),
    Unwatch(ContestId),
}

/// Writes a note down.
pub(crate) async fn write(
    transaction: &mut Transaction<'_>,
    note: &Note,
) -> Result<Reply, sqlx::Error> {
    let (query, reply) = match note {
        Note::BeginRun(run) => return begin_run(transaction, run).await,
        Note::AdvanceRun(run, findings) => return advance_run(transaction, run, findings).await,
        Note::BeginRepair(repair) => {
            let record = RepairRecord::from(repair);
            let query = sqlx::query(BEGIN_REPAIR)
                .bind(record.repair_id.hyphenated())
                .bind(record.finding_id.hyphenated())
                .bind(record.run_id.map(Uuid::hyphenated))
                .bind(record.repaired_by)
                .bind(record.contest_id.hyphenated())
                .bind(record.order_id)
                .bind(record.what)
                .bind(record.evidence)
                .bind(record.coins)
                .bind(record.begun_at)
                .bind(record.ended_at)
                .bind(record.outcome);
            (query, Reply::Done)
        }
        Note::EndRepair(id, outcome) => {
            let query = sqlx::query(END_REPAIR)
                .bind(id.hyphenated())
                .bind(transaction.now.0)
                .bind(outcome.name());
            (query, Reply::Done)
        }
        Note::SaveWatch(watch) => {
            let record = WatchRecord::from(watch);
            let query = sqlx::query(SAVE_WATCH)
                .bind(record.contest_id.hyphenated())
                .bind(record.position)
                .bind(record.walked.map(Uuid::hyphenated))
                .bind(record.walk_at)
                .bind(record.due_at)
                .bind(record.final_run.map(Uuid::hyphenated));
            (query, Reply::Done)
        }
        Note::Unwatch(contest) => {
            let query = sqlx::query("DELETE FROM watch WHERE contest_id = ?1");
            (query.bind(contest.0.hyphenated()), Reply::Done)
        }
    };
    let done = query.execute(&mut *transaction.connection).await?;
    transaction.wrote |= done.rows_affected() > 0;
    Ok(reply)
}

/// A contest that was inserted is watched from now on.
pub(crate) async fn begin_watch(
    transaction: &mut Transaction<'_>,
    contest: ContestId,
) -> Result<(), sqlx::Error> {
    sqlx::query(BEGIN_WATCH)
        .bind(contest.0.hyphenated())
        .bind(transaction.now.0)
        .execute(&mut *transaction.connection)
        .await
        .map(drop)
}

async fn begin_run(transaction: &mut Transaction<'_>, run: &Run) -> Result<Reply, sqlx::Error> {
    let record = RunRecord::from(run);
    let done = sqlx::query(BEGIN_RUN)
        .bind(record.run_id.hyphenated())
        .bind(record.from_contest.hyphenated())
        .bind(record.to_contest.hyphenated())
        .bind(record.asked_by)
        .bind(record.is_dry)
        .bind(record.asked_at)
        .bind(record.ended_at)
        .bind(record.after_contest.map(Uuid::hyphenated))
        .bind(record.contests)
        .bind(record.failed)
        .bind(record.signups)
        .bind(record.transfers)
        .bind(record.differences)
        .bind(record.repaired)
        .bind(record.repaired_coins)
        .bind(record.over_limits)
        .bind(record.version)
        .execute(&mut *transaction.connection)
        .await?;
    let is_new = done.rows_affected() > 0;
    transaction.wrote |= is_new;
    Ok(Reply::Inserted(is_new))
}

async fn advance_run(
    transaction: &mut Transaction<'_>,
    run: &Run,
    findings: &[Uuid],
) -> Result<Reply, sqlx::Error> {
    let record = RunRecord::from(run);
    let id = record.run_id.hyphenated();
    let done = sqlx::query(ADVANCE_RUN)
        .bind(id)
        .bind(column(run.version))
        .bind(record.ended_at)
        .bind(record.after_contest.map(Uuid::hyphenated))
        .bind(record.contests)
        .bind(record.failed)
        .bind(record.signups)
        .bind(record.transfers)
        .bind(record.differences)
        .bind(record.repaired)
        .bind(record.repaired_coins)
        .bind(record.over_limits)
        .execute(&mut *transaction.connection)
        .await?;
    if done.rows_affected() == 0 {
        let exists = sqlx::query("SELECT 1 FROM reconciliation WHERE run_id = ?1")
            .bind(id)
            .fetch_optional(&mut *transaction.connection)
            .await?;
        return Ok(Reply::Committed(match exists {
            Some(_) => Committed::GuardFailed,
            None => Committed::Missing,
        }));
    }
    transaction.wrote = true;
    let texts: Vec<_> = findings
        .iter()
        .map(|finding| finding.hyphenated().to_string())
        .collect();
    sqlx::query(RUN_FINDINGS)
        .bind(id)
        .bind(crate::rows::json(&texts)?)
        .execute(&mut *transaction.connection)
        .await?;
    Ok(Reply::Committed(Committed::Applied))
}

fn id(row: &SqliteRow, column: &str) -> Result<Uuid, sqlx::Error> {
    row.try_get::<Hyphenated, _>(column).map(Uuid::from)
}

fn maybe_id(row: &SqliteRow, column: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let id: Option<Hyphenated> = row.try_get(column)?;
    Ok(id.map(Uuid::from))
}

fn run_record(row: &SqliteRow) -> Result<RunRecord, sqlx::Error> {
    Ok(RunRecord {
        run_id: id(row, "run_id")?,
        from_contest: id(row, "from_contest")?,
        to_contest: id(row, "to_contest")?,
        asked_by: row.try_get("asked_by")?,
        is_dry: row.try_get("is_dry")?,
        asked_at: row.try_get("asked_at")?,
        ended_at: row.try_get("ended_at")?,
        after_contest: maybe_id(row, "after_contest")?,
        contests: row.try_get("contests")?,
        failed: row.try_get("failed")?,
        signups: row.try_get("signups")?,
        transfers: row.try_get("transfers")?,
        differences: row.try_get("differences")?,
        repaired: row.try_get("repaired")?,
        repaired_coins: row.try_get("repaired_coins")?,
        over_limits: row.try_get("over_limits")?,
        version: row.try_get("version")?,
    })
}

fn repair_record(row: &SqliteRow) -> Result<RepairRecord, sqlx::Error> {
    Ok(RepairRecord {
        repair_id: id(row, "repair_id")?,
        finding_id: id(row, "finding_id")?,
        run_id: maybe_id(row, "run_id")?,
        repaired_by: row.try_get("repaired_by")?,
        contest_id: id(row, "contest_id")?,
        order_id: row.try_get("order_id")?,
        what: row.try_get("what")?,
        evidence: row.try_get("evidence")?,
        coins: row.try_get("coins")?,
        begun_at: row.try_get("begun_at")?,
        ended_at: row.try_get("ended_at")?,
        outcome: row.try_get("outcome")?,
    })
}

fn watch_record(row: &SqliteRow) -> Result<WatchRecord, sqlx::Error> {
    Ok(WatchRecord {
        contest_id: id(row, "contest_id")?,
        position: row.try_get("position")?,
        walked: maybe_id(row, "walked")?,
        walk_at: row.try_get("walk_at")?,
        due_at: row.try_get("due_at")?,
        final_run: maybe_id(row, "final_run")?,
    })
}

fn run(row: &SqliteRow) -> Result<Run, StoreError> {
    run_record(row).map_err(failed)?.parse()
}

fn watch(row: &SqliteRow) -> Result<Watch, StoreError> {
    watch_record(row).map_err(failed)?.parse()
}

fn select_runs(condition: &str) -> AssertSqlSafe<String> {
    let columns = RunRecord::COLUMNS;
    AssertSqlSafe(format!("SELECT {columns} FROM reconciliation {condition}"))
}

impl SqliteStore {
    async fn note(&self, note: Note) -> Result<(), StoreError> {
        match self.write(Command::Note(Box::new(note))).await? {
            Reply::Done => Ok(()),
            other => Err(mismatched(&other)),
        }
    }
}

#[async_trait]
impl Reconciliations for SqliteStore {
    async fn begin_run(&self, run: &Run) -> Result<bool, StoreError> {
        let note = Box::new(Note::BeginRun(run.clone()));
        match self.write(Command::Note(note)).await? {
            Reply::Inserted(is_new) => Ok(is_new),
            other => Err(mismatched(&other)),
        }
    }

    async fn advance_run(&self, run: &Run, findings: &[Uuid]) -> Result<Committed, StoreError> {
        let note = Box::new(Note::AdvanceRun(run.clone(), findings.to_vec()));
        match self.write(Command::Note(note)).await? {
            Reply::Committed(committed) => Ok(committed),
            other => Err(mismatched(&other)),
        }
    }

    async fn run(&self, id: Uuid) -> Result<Option<Run>, StoreError> {
        let row = sqlx::query(select_runs("WHERE run_id = ?1"))
            .bind(id.hyphenated())
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        row.as_ref().map(run).transpose()
    }

    async fn open_runs(&self, items: usize) -> Result<Vec<Run>, StoreError> {
        let rows = sqlx::query(select_runs(
            "WHERE ended_at IS NULL ORDER BY run_id LIMIT ?1",
        ))
        .bind(limit(items.min(PAGE_MAX)))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        rows.iter().map(run).collect()
    }

    async fn runs(&self, after: Option<Uuid>, items: usize) -> Result<Page<Run, Uuid>, StoreError> {
        let items = items.min(PAGE_MAX);
        let rows = sqlx::query(select_runs(
            "WHERE run_id < ?1 ORDER BY run_id DESC LIMIT ?2",
        ))
        .bind(after.unwrap_or(Uuid::max()).hyphenated())
        .bind(limit(items + 1))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        let runs = rows.iter().map(run).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(runs, items, |run| run.id))
    }

    async fn run_findings(
        &self,
        run: Uuid,
        after: Option<Uuid>,
        items: usize,
    ) -> Result<Page<Finding, Uuid>, StoreError> {
        let items = items.min(PAGE_MAX);
        let statement = format!(
            "SELECT {} FROM reconciliation_finding AS r JOIN finding AS f ON f.finding_id = r.finding_id \
             WHERE r.run_id = ?1 AND r.finding_id > ?2 ORDER BY r.finding_id LIMIT ?3",
            findings::COLUMNS
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(run.hyphenated())
            .bind(after.unwrap_or(Uuid::nil()).hyphenated())
            .bind(limit(items + 1))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let found = rows
            .iter()
            .map(findings::parse)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(found, items, |finding| finding.id))
    }

    async fn begin_repair(&self, repair: &LoggedRepair) -> Result<(), StoreError> {
        self.note(Note::BeginRepair(repair.clone())).await
    }

    async fn end_repair(&self, id: Uuid, outcome: RepairOutcome) -> Result<(), StoreError> {
        self.note(Note::EndRepair(id, outcome)).await
    }

    async fn repairs(&self, finding: Uuid) -> Result<Vec<LoggedRepair>, StoreError> {
        let statement = format!(
            "SELECT {} FROM repair WHERE finding_id = ?1 ORDER BY repair_id LIMIT {PAGE_MAX}",
            RepairRecord::COLUMNS
        );
        let rows = sqlx::query(AssertSqlSafe(statement))
            .bind(finding.hyphenated())
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| repair_record(row).map_err(failed)?.parse())
            .collect()
    }

    async fn watched(&self, items: usize) -> Result<Vec<Watch>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(WATCHED.as_str()))
            .bind(limit(items.min(PAGE_MAX)))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(watch).collect()
    }

    async fn watch(&self, contest: ContestId) -> Result<Option<Watch>, StoreError> {
        let columns = WatchRecord::COLUMNS;
        let statement = format!("SELECT {columns} FROM watch WHERE contest_id = ?1");
        let row = sqlx::query(AssertSqlSafe(statement))
            .bind(contest.0.hyphenated())
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        row.as_ref().map(watch).transpose()
    }

    async fn save_watch(&self, watch: &Watch) -> Result<(), StoreError> {
        self.note(Note::SaveWatch(*watch)).await
    }

    async fn unwatch(&self, contest: ContestId) -> Result<(), StoreError> {
        self.note(Note::Unwatch(contest)).await
    }
}
