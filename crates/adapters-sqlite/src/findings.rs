//! Findings in SQLite.

use crate::{
    SqliteStore, mismatched, notices,
    rows::{failed, limit},
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::{
    finding::FindingClass,
    ids::{ContestId, UserId},
    notice::NoticeKind,
    time::UnixMillis,
};
use ports::{
    findings::{Finding, FindingFilter, Findings, OpenFindings, Raised, Resolution, Resolved},
    store::{PAGE_MAX, Page, StoreError},
};
use sql_core::record::Context;
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use uuid::{Uuid, fmt::Hyphenated};

/// Its columns, of a row that is called `f`.
pub(crate) const COLUMNS: &str = "f.finding_id, f.class, f.contest_id, f.subject, f.evidence, f.found_at, f.settled_at, \
     f.resolved_by, f.note, f.user_id";

/// Writes a finding down, unless the same one is open, or was resolved by a person as it is.
pub(crate) async fn raise(
    transaction: &mut Transaction<'_>,
    finding: &Finding,
) -> Result<Raised, sqlx::Error> {
    let Finding {
        id,
        class,
        contest_id,
        subject,
        evidence,
        found_at,
        settled_at,
        user_id,
        resolution: _,
    } = finding;
    // A repeat whose first answer was lost finds its own id, perhaps settled since.
    let known: Option<(Hyphenated, bool)> = sqlx::query_as(
        "SELECT finding_id, settled_at IS NULL FROM finding WHERE finding_id = ?5 \
         UNION ALL SELECT finding_id, settled_at IS NULL FROM \
         (SELECT finding_id, settled_at, resolved_by, evidence FROM finding \
          WHERE contest_id = ?1 AND class = ?2 AND subject = ?3 ORDER BY finding_id DESC LIMIT 1) \
         WHERE settled_at IS NULL OR (resolved_by IS NOT NULL AND evidence = ?4) LIMIT 1",
    )
    .bind(contest_id.to_string())
    .bind(class.name())
    .bind(subject)
    .bind(evidence)
    .bind(id.hyphenated())
    .fetch_optional(&mut *transaction.connection)
    .await?;
    if let Some((known, is_open)) = known {
        return Ok(Raised {
            id: known.into(),
            is_new: false,
            is_open,
        });
    }
    sqlx::query(
        "INSERT INTO finding (finding_id, class, contest_id, subject, evidence, found_at, settled_at, user_id) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(id.hyphenated())
    .bind(class.name())
    .bind(contest_id.to_string())
    .bind(subject)
    .bind(evidence)
    .bind(found_at.0)
    .bind(settled_at.map(|at| at.0))
    .bind(user_id.as_ref().map(UserId::as_str))
    .execute(&mut *transaction.connection)
    .await?;
    transaction.wrote = true;
    notices::add(
        transaction,
        NoticeKind::FindingRaised,
        *contest_id,
        Some(*id),
    )
    .await?;
    Ok(Raised {
        id: *id,
        is_new: true,
        is_open: true,
    })
}

/// Settles an open finding with a person's word; true if it was open.
pub(crate) async fn resolve(
    transaction: &mut Transaction<'_>,
    id: Uuid,
    resolution: &Resolution,
) -> Result<bool, sqlx::Error> {
    let contest: Option<Hyphenated> = sqlx::query_scalar(
        "UPDATE finding SET settled_at = ?2, resolved_by = ?3, note = ?4 \
         WHERE finding_id = ?1 AND settled_at IS NULL RETURNING contest_id",
    )
    .bind(id.hyphenated())
    .bind(transaction.now.0)
    .bind(resolution.by.as_str())
    .bind(&resolution.note)
    .fetch_optional(&mut *transaction.connection)
    .await?;
    let Some(contest) = contest else {
        return Ok(false);
    };
    transaction.wrote = true;
    let kind = NoticeKind::FindingSettled;
    notices::add(transaction, kind, ContestId(contest.into()), Some(id)).await?;
    Ok(true)
}

pub(crate) async fn settle(
    transaction: &mut Transaction<'_>,
    class: FindingClass,
    contest: ContestId,
    subject: &str,
) -> Result<(), sqlx::Error> {
    let settled: Option<Hyphenated> = sqlx::query_scalar(
        "UPDATE finding SET settled_at = ?4 \
         WHERE contest_id = ?1 AND class = ?2 AND subject = ?3 AND settled_at IS NULL RETURNING finding_id",
    )
    .bind(contest.to_string())
    .bind(class.name())
    .bind(subject)
    .bind(transaction.now.0)
    .fetch_optional(&mut *transaction.connection)
    .await?;
    let Some(settled) = settled else {
        return Ok(());
    };
    transaction.wrote = true;
    let kind = NoticeKind::FindingSettled;
    notices::add(transaction, kind, contest, Some(settled.into())).await
}

/// Reads [`COLUMNS`].
pub(crate) fn parse(row: &SqliteRow) -> Result<Finding, StoreError> {
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
        resolution: context.resolution(
            row.try_get(7).map_err(failed)?,
            row.try_get(8).map_err(failed)?,
        )?,
        user_id: context.maybe_parsed("user_id", row.try_get(9).map_err(failed)?)?,
    })
}

#[async_trait]
impl Findings for SqliteStore {
    async fn raise(&self, finding: &Finding) -> Result<Raised, StoreError> {
        match self.write(Command::Raise(finding.clone())).await? {
            Reply::Raised(raised) => Ok(raised),
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

    async fn resolve(&self, id: Uuid, resolution: &Resolution) -> Result<Resolved, StoreError> {
        let was_open = match self.write(Command::Resolve(id, resolution.clone())).await? {
            Reply::Resolved(was_open) => was_open,
            other => return Err(mismatched(&other)),
        };
        Ok(match self.finding(id).await? {
            Some(finding) if was_open || finding.resolution.as_ref() == Some(resolution) => {
                Resolved::Yes(finding)
            }
            Some(finding) => Resolved::Before(finding),
            None => Resolved::Missing,
        })
    }

    async fn finding(&self, id: Uuid) -> Result<Option<Finding>, StoreError> {
        let statement = format!("SELECT {COLUMNS} FROM finding AS f WHERE f.finding_id = ?1");
        let row = sqlx::query(AssertSqlSafe(statement))
            .bind(id.hyphenated())
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        row.as_ref().map(parse).transpose()
    }

    async fn list(
        &self,
        filter: FindingFilter,
        after: Option<Uuid>,
        items: usize,
    ) -> Result<Page<Finding, Uuid>, StoreError> {
        let items = items.min(PAGE_MAX);
        let rows = sqlx::query(AssertSqlSafe(format!(
            "SELECT {COLUMNS} FROM finding AS f \
             WHERE (?1 IS NULL OR contest_id = ?1) AND finding_id > ?2 \
             AND (?3 IS NULL OR (settled_at IS NULL) = ?3) \
             ORDER BY finding_id LIMIT ?4",
        )))
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

    async fn open(&self) -> Result<Vec<OpenFindings>, StoreError> {
        let rows = sqlx::query(
            "SELECT class, COUNT(*), MIN(found_at) FROM finding WHERE settled_at IS NULL GROUP BY class",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(failed)?;
        let mut open = rows
            .iter()
            .map(open_of_class)
            .collect::<Result<Vec<_>, _>>()?;
        open.sort_by_key(|open| open.class);
        Ok(open)
    }
}

fn open_of_class(row: &SqliteRow) -> Result<OpenFindings, StoreError> {
    let class: String = row.try_get(0).map_err(failed)?;
    let context = Context {
        table: "finding",
        key: &class,
    };
    Ok(OpenFindings {
        class: context.named("class", &class, FindingClass::named)?,
        findings: context.count("findings", row.try_get(1).map_err(failed)?)?,
        oldest: UnixMillis(row.try_get(2).map_err(failed)?),
    })
}
