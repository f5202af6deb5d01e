//! Findings in SQLite.

use crate::{
    SqliteStore, mismatched,
    rows::{failed, limit},
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::{finding::FindingClass, ids::ContestId, time::UnixMillis};
use ports::{
    findings::{Finding, FindingFilter, Findings},
    store::{PAGE_MAX, Page, StoreError},
};
use sql_core::record::Context;
use sqlx::{Row, sqlite::SqliteRow};
use uuid::Uuid;

pub(crate) async fn raise(
    transaction: &mut Transaction<'_>,
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
        "INSERT INTO finding (finding_id, class, contest_id, subject, evidence, found_at, settled_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) \
         ON CONFLICT DO NOTHING",
    )
    .bind(id.hyphenated().to_string())
    .bind(class.name())
    .bind(contest_id.to_string())
    .bind(subject)
    .bind(evidence)
    .bind(found_at.0)
    .bind(settled_at.map(|at| at.0))
    .execute(&mut *transaction.connection)
    .await?;
    let is_new = done.rows_affected() > 0;
    transaction.wrote |= is_new;
    Ok(is_new)
}

pub(crate) async fn settle(
    transaction: &mut Transaction<'_>,
    class: FindingClass,
    contest: ContestId,
    subject: &str,
) -> Result<(), sqlx::Error> {
    let done = sqlx::query(
        "UPDATE finding SET settled_at = ?4 \
         WHERE contest_id = ?1 AND class = ?2 AND subject = ?3 AND settled_at IS NULL",
    )
    .bind(contest.to_string())
    .bind(class.name())
    .bind(subject)
    .bind(transaction.now.0)
    .execute(&mut *transaction.connection)
    .await?;
    transaction.wrote |= done.rows_affected() > 0;
    Ok(())
}

fn parse(row: &SqliteRow) -> Result<Finding, StoreError> {
    let id: String = row.try_get(0).map_err(failed)?;
    let context = Context {
        table: "finding",
        key: &id,
    };
    let class: String = row.try_get(1).map_err(failed)?;
    let contest: String = row.try_get(2).map_err(failed)?;
    let settled_at: Option<i64> = row.try_get(6).map_err(failed)?;
    Ok(Finding {
        id: context.parsed("finding_id", &id)?,
        class: context.named("class", &class, FindingClass::named)?,
        contest_id: context.parsed("contest_id", &contest)?,
        subject: row.try_get(3).map_err(failed)?,
        evidence: row.try_get(4).map_err(failed)?,
        found_at: UnixMillis(row.try_get(5).map_err(failed)?),
        settled_at: settled_at.map(UnixMillis),
    })
}

#[async_trait]
impl Findings for SqliteStore {
    async fn raise(&self, finding: &Finding) -> Result<bool, StoreError> {
        match self.write(Command::Raise(finding.clone())).await? {
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
        match self
            .write(Command::Settle(class, contest, subject.to_owned()))
            .await?
        {
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
        let rows = sqlx::query(
            "SELECT finding_id, class, contest_id, subject, evidence, found_at, settled_at FROM finding \
             WHERE (?1 IS NULL OR contest_id = ?1) AND finding_id > ?2 \
             AND (?3 IS NULL OR (settled_at IS NULL) = ?3) \
             ORDER BY finding_id LIMIT ?4",
        )
        .bind(filter.contest.map(|contest| contest.to_string()))
        .bind(after.map_or_else(String::new, |after| after.hyphenated().to_string()))
        .bind(filter.open)
        .bind(limit(items + 1))
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        let findings = rows.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(findings, items, |finding| finding.id))
    }
}
