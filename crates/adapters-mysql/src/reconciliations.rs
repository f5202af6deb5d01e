//! The reconciliation's own records in MySQL.

use crate::{
    MysqlStore, findings, mismatched,
    rows::{failed, limit},
    slow::{Command, Reply},
};
use async_trait::async_trait;
use domain::{finding::RepairOutcome, ids::ContestId, order::OrderId, time::UnixMillis};
use ports::{
    findings::Finding,
    reconciliations::{LoggedRepair, Reconciliations, Run, Watch},
    store::{Committed, PAGE_MAX, Page, StoreError},
};
use sql_core::{
    mysql::{NOW_MS, is_duplicate, keys},
    reconciliation_record::{RepairRecord, RunRecord, WatchRecord},
    record::column,
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, mysql::MySqlRow};
use std::sync::LazyLock;
use uuid::Uuid;

const BEGIN_RUN: &str = "INSERT INTO reconciliation (run_id, from_contest, to_contest, asked_by, is_dry, asked_at, \
     ended_at, after_contest, contests, failed, signups, transfers, differences, repaired, repaired_coins, over_limits, version) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const ADVANCE_RUN: &str = "UPDATE reconciliation SET ended_at = ?, after_contest = ?, contests = ?, failed = ?, \
     signups = ?, transfers = ?, differences = ?, repaired = ?, repaired_coins = ?, over_limits = ?, version = version + 1 \
     WHERE run_id = ? AND version = ?";

const BEGIN_REPAIR: &str = "INSERT INTO repair (repair_id, finding_id, run_id, repaired_by, contest_id, order_id, what, \
     evidence, coins, begun_at, ended_at, outcome) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

static END_REPAIR: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE repair SET ended_at = {NOW_MS}, outcome = ? WHERE repair_id = ? AND outcome IS NULL"
    )
});

// Without IGNORE, which would hide more than a duplicate.
const BEGIN_WATCH: &str = "INSERT INTO watch (contest_id, position, walk_at, due_at) VALUES (?, 0, ?, ?) \
     ON DUPLICATE KEY UPDATE contest_id = VALUES(contest_id)";

const SAVE_WATCH: &str = "UPDATE watch SET position = ?, walked = ?, walk_at = ?, due_at = ?, final_run = ? \
     WHERE contest_id = ?";

pub(crate) static WATCHED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM watch FORCE INDEX (watch_due) WHERE due_at <= {NOW_MS} \
         ORDER BY due_at, contest_id LIMIT ?",
        WatchRecord::COLUMNS
    )
});

pub(crate) static REPAIRS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM repair FORCE INDEX (repair_finding) WHERE finding_id = ? \
         ORDER BY repair_id LIMIT {PAGE_MAX}",
        RepairRecord::COLUMNS
    )
});

pub(crate) static RUN_FINDINGS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM reconciliation_finding AS r JOIN finding AS f ON f.finding_id = r.finding_id \
         WHERE r.run_id = ? AND r.finding_id > ? ORDER BY r.finding_id LIMIT ?",
        findings::COLUMNS
    )
});

pub(crate) const OPEN_RUNS: &str =
    "FORCE INDEX (reconciliation_open) WHERE ended_at IS NULL ORDER BY run_id LIMIT ?";
pub(crate) const RUNS: &str = "WHERE run_id < ? ORDER BY run_id DESC LIMIT ?";

/// A statement that reads runs.
pub(crate) fn select_runs(condition: &str) -> String {
    format!(
        "SELECT {} FROM reconciliation {condition}",
        RunRecord::COLUMNS
    )
}

/// What is written down.
#[derive(Debug)]
pub(crate) enum Note {
    BeginRun(Run),
    AdvanceRun(Run, Vec<Uuid>),
    BeginRepair(LoggedRepair),
    EndRepair(Uuid, RepairOutcome),
    SaveWatch(Watch),
    Unwatch(ContestId),
}

/// Writes a note down; the answer, and whether anything was written.
pub(crate) async fn write(
    connection: &mut MySqlConnection,
    note: &Note,
) -> Result<(Reply, bool), sqlx::Error> {
    let done = match note {
        Note::BeginRun(run) => {
            let is_new = begin_run(connection, run).await?;
            return Ok((Reply::Inserted(is_new), is_new));
        }
        Note::AdvanceRun(run, findings) => {
            let committed = advance_run(connection, run, findings).await?;
            let wrote = committed == Committed::Applied;
            return Ok((Reply::Committed(committed), wrote));
        }
        Note::BeginRepair(repair) => {
            let is_new = begin_repair(connection, repair).await?;
            return Ok((Reply::Done, is_new));
        }
        Note::EndRepair(id, outcome) => {
            let query = sqlx::query(AssertSqlSafe(END_REPAIR.as_str()));
            let query = query.bind(outcome.name()).bind(id);
            query.execute(connection).await?
        }
        Note::SaveWatch(watch) => {
            let record = WatchRecord::from(watch);
            sqlx::query(SAVE_WATCH)
                .bind(record.position)
                .bind(record.walked)
                .bind(record.walk_at)
                .bind(record.due_at)
                .bind(record.final_run)
                .bind(record.contest_id)
                .execute(connection)
                .await?
        }
        Note::Unwatch(contest) => {
            sqlx::query("DELETE FROM watch WHERE contest_id = ?")
                .bind(contest.0)
                .execute(connection)
                .await?
        }
    };
    Ok((Reply::Done, done.rows_affected() > 0))
}

/// A contest that was inserted is watched from now on.
pub(crate) async fn begin_watch(
    connection: &mut MySqlConnection,
    contest: ContestId,
    now: UnixMillis,
) -> Result<(), sqlx::Error> {
    sqlx::query(BEGIN_WATCH)
        .bind(contest.0)
        .bind(now.0)
        .bind(now.0)
        .execute(connection)
        .await
        .map(drop)
}

async fn begin_run(connection: &mut MySqlConnection, run: &Run) -> Result<bool, sqlx::Error> {
    let record = RunRecord::from(run);
    let done = sqlx::query(BEGIN_RUN)
        .bind(record.run_id)
        .bind(record.from_contest)
        .bind(record.to_contest)
        .bind(record.asked_by)
        .bind(record.is_dry)
        .bind(record.asked_at)
        .bind(record.ended_at)
        .bind(record.after_contest)
        .bind(record.contests)
        .bind(record.failed)
        .bind(record.signups)
        .bind(record.transfers)
        .bind(record.differences)
        .bind(record.repaired)
        .bind(record.repaired_coins)
        .bind(record.over_limits)
        .bind(record.version)
        .execute(connection)
        .await;
    match done {
        Err(error) if is_duplicate(&error) => Ok(false),
        done => done.map(|_| true),
    }
}

async fn begin_repair(
    connection: &mut MySqlConnection,
    repair: &LoggedRepair,
) -> Result<bool, sqlx::Error> {
    let record = RepairRecord::from(repair);
    let done = sqlx::query(BEGIN_REPAIR)
        .bind(record.repair_id)
        .bind(record.finding_id)
        .bind(record.run_id)
        .bind(record.repaired_by)
        .bind(record.contest_id)
        .bind(repair.order_id.0.to_vec())
        .bind(record.what)
        .bind(record.evidence)
        .bind(record.coins)
        .bind(record.begun_at)
        .bind(record.ended_at)
        .bind(record.outcome)
        .execute(connection)
        .await;
    match done {
        Err(error) if is_duplicate(&error) => Ok(false),
        done => done.map(|_| true),
    }
}

async fn advance_run(
    connection: &mut MySqlConnection,
    run: &Run,
    findings: &[Uuid],
) -> Result<Committed, sqlx::Error> {
    let record = RunRecord::from(run);
    let done = sqlx::query(ADVANCE_RUN)
        .bind(record.ended_at)
        .bind(record.after_contest)
        .bind(record.contests)
        .bind(record.failed)
        .bind(record.signups)
        .bind(record.transfers)
        .bind(record.differences)
        .bind(record.repaired)
        .bind(record.repaired_coins)
        .bind(record.over_limits)
        .bind(record.run_id)
        .bind(column(run.version))
        .execute(&mut *connection)
        .await?;
    if done.rows_affected() == 0 {
        let exists = sqlx::query("SELECT 1 FROM reconciliation WHERE run_id = ?")
            .bind(run.id)
            .fetch_optional(connection)
            .await?;
        return Ok(match exists {
            Some(_) => Committed::GuardFailed,
            None => Committed::Missing,
        });
    }
    for chunk in findings.chunks(keys::MAX) {
        let statement = format!(
            "INSERT INTO reconciliation_finding (run_id, finding_id) VALUES {} \
             ON DUPLICATE KEY UPDATE run_id = VALUES(run_id)",
            vec!["(?, ?)"; chunk.len()].join(", ")
        );
        let mut query = sqlx::query(AssertSqlSafe(statement)).persistent(false);
        for finding in chunk {
            query = query.bind(run.id).bind(finding);
        }
        query.execute(&mut *connection).await?;
    }
    Ok(Committed::Applied)
}

fn run(row: &MySqlRow) -> Result<Run, StoreError> {
    run_record(row).map_err(failed)?.parse()
}

fn run_record(row: &MySqlRow) -> Result<RunRecord, sqlx::Error> {
    Ok(RunRecord {
        run_id: row.try_get("run_id")?,
        from_contest: row.try_get("from_contest")?,
        to_contest: row.try_get("to_contest")?,
        asked_by: row.try_get("asked_by")?,
        is_dry: row.try_get("is_dry")?,
        asked_at: row.try_get("asked_at")?,
        ended_at: row.try_get("ended_at")?,
        after_contest: row.try_get("after_contest")?,
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

fn repair(row: &MySqlRow) -> Result<LoggedRepair, StoreError> {
    let record = || -> Result<RepairRecord, sqlx::Error> {
        let order: Vec<u8> = row.try_get("order_id")?;
        let order = <[u8; 16]>::try_from(order)
            .map_err(|_| sqlx::Error::Decode("an order id has 16 bytes".into()))?;
        Ok(RepairRecord {
            repair_id: row.try_get("repair_id")?,
            finding_id: row.try_get("finding_id")?,
            run_id: row.try_get("run_id")?,
            repaired_by: row.try_get("repaired_by")?,
            contest_id: row.try_get("contest_id")?,
            order_id: OrderId(order).to_string(),
            what: row.try_get("what")?,
            evidence: row.try_get("evidence")?,
            coins: row.try_get("coins")?,
            begun_at: row.try_get("begun_at")?,
            ended_at: row.try_get("ended_at")?,
            outcome: row.try_get("outcome")?,
        })
    };
    record().map_err(failed)?.parse()
}

fn watch(row: &MySqlRow) -> Result<Watch, StoreError> {
    let record = || -> Result<WatchRecord, sqlx::Error> {
        Ok(WatchRecord {
            contest_id: row.try_get("contest_id")?,
            position: row.try_get("position")?,
            walked: row.try_get("walked")?,
            walk_at: row.try_get("walk_at")?,
            due_at: row.try_get("due_at")?,
            final_run: row.try_get("final_run")?,
        })
    };
    record().map_err(failed)?.parse()
}

impl MysqlStore {
    async fn note(&self, id: Uuid, note: Note) -> Result<Reply, StoreError> {
        self.decide(&id, Command::Note(Box::new(note))).await
    }

    async fn noted(&self, id: Uuid, note: Note) -> Result<(), StoreError> {
        match self.note(id, note).await? {
            Reply::Done => Ok(()),
            other => Err(mismatched(&other)),
        }
    }
}

#[async_trait]
impl Reconciliations for MysqlStore {
    async fn begin_run(&self, run: &Run) -> Result<bool, StoreError> {
        match self.note(run.id, Note::BeginRun(run.clone())).await? {
            Reply::Inserted(is_new) => Ok(is_new),
            other => Err(mismatched(&other)),
        }
    }

    async fn advance_run(&self, run: &Run, findings: &[Uuid]) -> Result<Committed, StoreError> {
        let note = Note::AdvanceRun(run.clone(), findings.to_vec());
        match self.note(run.id, note).await? {
            Reply::Committed(committed) => Ok(committed),
            other => Err(mismatched(&other)),
        }
    }

    async fn run(&self, id: Uuid) -> Result<Option<Run>, StoreError> {
        let query = sqlx::query(AssertSqlSafe(select_runs("WHERE run_id = ?")));
        let row = self.maybe(query.bind(id)).await?;
        row.as_ref().map(run).transpose()
    }

    async fn open_runs(&self, items: usize) -> Result<Vec<Run>, StoreError> {
        let query = sqlx::query(AssertSqlSafe(select_runs(OPEN_RUNS)));
        let rows = self.all(query.bind(limit(items.min(PAGE_MAX)))).await?;
        rows.iter().map(run).collect()
    }

    async fn runs(&self, after: Option<Uuid>, items: usize) -> Result<Page<Run, Uuid>, StoreError> {
        let items = items.min(PAGE_MAX);
        let query = sqlx::query(AssertSqlSafe(select_runs(RUNS)))
            .bind(after.unwrap_or(Uuid::max()))
            .bind(limit(items + 1));
        let rows = self.all(query).await?;
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
        let query = sqlx::query(AssertSqlSafe(RUN_FINDINGS.as_str()))
            .bind(run)
            .bind(crate::rows::after(after))
            .bind(limit(items + 1));
        let rows = self.all(query).await?;
        let found = rows
            .iter()
            .map(findings::parse)
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(found, items, |finding| finding.id))
    }

    async fn begin_repair(&self, repair: &LoggedRepair) -> Result<(), StoreError> {
        self.noted(repair.id, Note::BeginRepair(repair.clone()))
            .await
    }

    async fn end_repair(&self, id: Uuid, outcome: RepairOutcome) -> Result<(), StoreError> {
        self.noted(id, Note::EndRepair(id, outcome)).await
    }

    async fn repairs(&self, finding: Uuid) -> Result<Vec<LoggedRepair>, StoreError> {
        let query = sqlx::query(AssertSqlSafe(REPAIRS.as_str())).bind(finding);
        let rows = self.all(query).await?;
        rows.iter().map(repair).collect()
    }

    async fn watched(&self, items: usize) -> Result<Vec<Watch>, StoreError> {
        let query = sqlx::query(AssertSqlSafe(WATCHED.as_str()));
        let rows = self.all(query.bind(limit(items.min(PAGE_MAX)))).await?;
        rows.iter().map(watch).collect()
    }

    async fn watch(&self, contest: ContestId) -> Result<Option<Watch>, StoreError> {
        let columns = WatchRecord::COLUMNS;
        let statement = format!("SELECT {columns} FROM watch WHERE contest_id = ?");
        let query = sqlx::query(AssertSqlSafe(statement)).bind(contest.0);
        let row = self.maybe(query).await?;
        row.as_ref().map(watch).transpose()
    }

    async fn save_watch(&self, watch: &Watch) -> Result<(), StoreError> {
        self.noted(watch.contest_id.0, Note::SaveWatch(*watch))
            .await
    }

    async fn unwatch(&self, contest: ContestId) -> Result<(), StoreError> {
        self.noted(contest.0, Note::Unwatch(contest)).await
    }
}
