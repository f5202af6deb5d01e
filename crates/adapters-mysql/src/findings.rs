//! Findings in MySQL.

use crate::{
    MysqlStore, mismatched,
    rows::{failed, limit},
    slow::{Command, Reply},
};
use async_trait::async_trait;
use domain::{finding::FindingClass, ids::ContestId, time::UnixMillis};
use ports::{
    findings::{Finding, FindingFilter, Findings},
    store::{PAGE_MAX, Page, StoreError},
};
use sql_core::{
    mysql::{NOW_MS, is_duplicate},
    record::Context,
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, mysql::MySqlRow};
use std::sync::LazyLock;
use uuid::Uuid;

/// The longest subject; what is longer is cut, and stays the same one.
const SUBJECT_MAX: usize = 200;

fn subject_of(subject: &str) -> String {
    subject.chars().take(SUBJECT_MAX).collect()
}

/// Writes a finding down, unless the same one is open.
pub(crate) async fn raise(
    connection: &mut MySqlConnection,
    finding: &Finding,
) -> Result<bool, sqlx::Error> {
    let Finding {
        id,
        class,
        contest_id,
        subject,
        evidence,
        found_at,
        settled_at,
    } = finding;
    let done = sqlx::query(
        "INSERT INTO finding (finding_id, class, contest_id, subject, evidence, found_at, settled_at, is_open) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(class.name())
    .bind(contest_id.0)
    .bind(subject_of(subject).into_bytes())
    .bind(evidence)
    .bind(found_at.0)
    .bind(settled_at.map(|at| at.0))
    .bind(settled_at.is_none().then_some(1_i8))
    .execute(connection)
    .await;
    match done {
        Err(error) if is_duplicate(&error) => Ok(false),
        done => done.map(|_| true),
    }
}

/// Settles the open finding of that kind; true if there was one.
pub(crate) async fn settle(
    connection: &mut MySqlConnection,
    class: FindingClass,
    contest: ContestId,
    subject: &str,
) -> Result<bool, sqlx::Error> {
    static SETTLE: LazyLock<String> = LazyLock::new(|| {
        format!(
            "UPDATE finding SET settled_at = {NOW_MS}, is_open = NULL \
             WHERE contest_id = ? AND class = ? AND subject = ? AND is_open = 1"
        )
    });
    let done = sqlx::query(AssertSqlSafe(SETTLE.as_str()))
        .bind(contest.0)
        .bind(class.name())
        .bind(subject_of(subject).into_bytes())
        .execute(connection)
        .await?;
    Ok(done.rows_affected() > 0)
}

fn parse(row: &MySqlRow) -> Result<Finding, StoreError> {
    let id: Uuid = row.try_get(0).map_err(failed)?;
    let key = id.hyphenated().to_string();
    let context = Context {
        table: "finding",
        key: &key,
    };
    let class: String = row.try_get(1).map_err(failed)?;
    let settled_at: Option<i64> = row.try_get(6).map_err(failed)?;
    Ok(Finding {
        id,
        class: context.named("class", &class, FindingClass::named)?,
        contest_id: ContestId(row.try_get(2).map_err(failed)?),
        subject: row.try_get(3).map_err(failed)?,
        evidence: row.try_get(4).map_err(failed)?,
        found_at: UnixMillis(row.try_get(5).map_err(failed)?),
        settled_at: settled_at.map(UnixMillis),
    })
}

/// The findings after an id, of a contest, open or settled: the last two only if they are asked for.
pub(crate) fn list(of_contest: bool, open: Option<bool>) -> String {
    // Along an index of what is asked for, in the order of the list.
    let (index, contest) = match (of_contest, open) {
        (true, _) => ("finding_contest", " AND contest_id = ?"),
        (false, Some(_)) => ("finding_unsettled", ""),
        (false, None) => ("PRIMARY", ""),
    };
    let open = match open {
        Some(true) => " AND is_open = 1",
        Some(false) => " AND is_open IS NULL",
        None => "",
    };
    format!(
        "SELECT finding_id, class, contest_id, CONVERT(subject USING utf8mb4), evidence, found_at, settled_at FROM finding \
         FORCE INDEX ({index}) WHERE finding_id > ?{contest}{open} ORDER BY finding_id LIMIT ?"
    )
}

#[async_trait]
impl Findings for MysqlStore {
    async fn raise(&self, finding: &Finding) -> Result<bool, StoreError> {
        let command = Command::Raise(finding.clone());
        match self.decide(&finding.contest_id, command).await? {
            Reply::Inserted(is_new) => Ok(is_new),
            other => Err(mismatched(&other)),
        }
    }

    async fn settle(
        &self,
        class: FindingClass,
        contest: ContestId,
        subject: &str,
    ) -> Result<(), StoreError> {
        let command = Command::Settle(class, contest, subject.to_owned());
        match self.decide(&contest, command).await? {
            Reply::Done => Ok(()),
            other => Err(mismatched(&other)),
        }
    }

    async fn list(
        &self,
        filter: FindingFilter,
        after: Option<Uuid>,
        items: usize,
    ) -> Result<Page<Finding, Uuid>, StoreError> {
        let items = items.min(PAGE_MAX);
        let statement = list(filter.contest.is_some(), filter.open);
        let mut query = sqlx::query(AssertSqlSafe(statement)).bind(after.unwrap_or(Uuid::nil()));
        if let Some(contest) = filter.contest {
            query = query.bind(contest.0);
        }
        let rows = self.all(query.bind(limit(items + 1))).await?;
        let findings = rows.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(findings, items, |finding| finding.id))
    }
}
