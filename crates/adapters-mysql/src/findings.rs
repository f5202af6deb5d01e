//! Findings in MySQL.

use crate::{
    MysqlStore, mismatched,
    rows::{failed, limit},
    slow::{Command, Reply},
};
use async_trait::async_trait;
use domain::{
    finding::FindingClass,
    ids::{ContestId, UserId},
    time::UnixMillis,
};
use ports::{
    findings::{Finding, FindingFilter, Findings, OpenFindings, Raised, Resolution, Resolved},
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

/// Its columns, of a row that is called `f`.
pub(crate) const COLUMNS: &str = "f.finding_id, f.class, f.contest_id, CONVERT(f.subject USING utf8mb4), f.evidence, \
     f.found_at, f.settled_at, f.resolved_by, f.note, f.user_id";

/// The last finding of a kind: its id, whether it is open, and whether a person has resolved it.
pub(crate) const LAST: &str = "SELECT finding_id, is_open, resolved_by IS NOT NULL, evidence FROM finding \
     FORCE INDEX (finding_kind) WHERE contest_id = ? AND class = ? AND subject = ? \
     ORDER BY finding_id DESC LIMIT 1";

/// Writes a finding down, unless the same one is open, or was resolved by a person as it is.
pub(crate) async fn raise(
    connection: &mut MySqlConnection,
    finding: &Finding,
) -> Result<Raised, sqlx::Error> {
    // Twice, where another process raised the same one in between.
    for _ in 0..2 {
        if let Some((id, is_open)) = known(connection, finding).await? {
            return Ok(Raised {
                id,
                is_new: false,
                is_open,
            });
        }
        if insert(connection, finding).await? {
            return Ok(Raised {
                id: finding.id,
                is_new: true,
                is_open: true,
            });
        }
    }
    Err(sqlx::Error::Protocol(
        "a finding was settled each time that it was raised".to_owned(),
    ))
}

async fn known(
    connection: &mut MySqlConnection,
    finding: &Finding,
) -> Result<Option<(Uuid, bool)>, sqlx::Error> {
    // A repeat whose first answer was lost finds its own id, perhaps settled since.
    let own = sqlx::query("SELECT is_open FROM finding WHERE finding_id = ?")
        .bind(finding.id)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(own) = own {
        let is_open: Option<i8> = own.try_get(0)?;
        return Ok(Some((finding.id, is_open.is_some())));
    }
    let last = sqlx::query(LAST)
        .bind(finding.contest_id.0)
        .bind(finding.class.name())
        .bind(subject_of(&finding.subject).into_bytes())
        .fetch_optional(&mut *connection)
        .await?;
    let Some(last) = last else {
        return Ok(None);
    };
    let is_open: Option<i8> = last.try_get(1)?;
    let is_resolved: bool = last.try_get(2)?;
    let evidence: String = last.try_get(3)?;
    let is_known = is_open.is_some() || (is_resolved && evidence == finding.evidence);
    if !is_known {
        return Ok(None);
    }
    Ok(Some((last.try_get(0)?, is_open.is_some())))
}

/// False where the same one is open.
async fn insert(connection: &mut MySqlConnection, finding: &Finding) -> Result<bool, sqlx::Error> {
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
    let done = sqlx::query(
        "INSERT INTO finding (finding_id, class, contest_id, subject, evidence, found_at, settled_at, is_open, user_id) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(id)
    .bind(class.name())
    .bind(contest_id.0)
    .bind(subject_of(subject).into_bytes())
    .bind(evidence)
    .bind(found_at.0)
    .bind(settled_at.map(|at| at.0))
    .bind(settled_at.is_none().then_some(1_i8))
    .bind(user_id.as_ref().map(UserId::as_str))
    .execute(connection)
    .await;
    match done {
        Err(error) if is_duplicate(&error) => Ok(false),
        done => done.map(|_| true),
    }
}

/// Settles an open finding with a person's word; its contest if it was open.
pub(crate) async fn resolve(
    connection: &mut MySqlConnection,
    id: Uuid,
    resolution: &Resolution,
) -> Result<Option<ContestId>, sqlx::Error> {
    static RESOLVE: LazyLock<String> = LazyLock::new(|| {
        format!(
            "UPDATE finding SET settled_at = {NOW_MS}, is_open = NULL, resolved_by = ?, note = ? \
             WHERE finding_id = ? AND is_open = 1"
        )
    });
    let done = sqlx::query(AssertSqlSafe(RESOLVE.as_str()))
        .bind(resolution.by.as_str())
        .bind(&resolution.note)
        .bind(id)
        .execute(&mut *connection)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(None);
    }
    let row = sqlx::query("SELECT contest_id FROM finding WHERE finding_id = ?")
        .bind(id)
        .fetch_one(connection)
        .await?;
    Ok(Some(ContestId(row.try_get(0)?)))
}

/// Settles the open finding of that kind; which one, if there was one.
pub(crate) async fn settle(
    connection: &mut MySqlConnection,
    class: FindingClass,
    contest: ContestId,
    subject: &str,
) -> Result<Option<Uuid>, sqlx::Error> {
    static SETTLE: LazyLock<String> = LazyLock::new(|| {
        format!(
            "UPDATE finding SET settled_at = {NOW_MS}, is_open = NULL WHERE finding_id = ? AND is_open = 1"
        )
    });
    let subject = subject_of(subject).into_bytes();
    let found = sqlx::query(OPEN_ONE)
        .bind(contest.0)
        .bind(class.name())
        .bind(subject)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(row) = found else {
        return Ok(None);
    };
    let id: Uuid = row.try_get(0)?;
    let done = sqlx::query(AssertSqlSafe(SETTLE.as_str()))
        .bind(id)
        .execute(connection)
        .await?;
    // Somebody else may have been faster.
    Ok((done.rows_affected() > 0).then_some(id))
}

/// The open finding of a kind.
pub(crate) const OPEN_ONE: &str = "SELECT finding_id FROM finding WHERE contest_id = ? AND class = ? AND subject = ? AND is_open = 1";

/// Reads [`COLUMNS`].
pub(crate) fn parse(row: &MySqlRow) -> Result<Finding, StoreError> {
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
        resolution: context.resolution(
            row.try_get(7).map_err(failed)?,
            row.try_get(8).map_err(failed)?,
        )?,
        user_id: context.maybe_parsed("user_id", row.try_get(9).map_err(failed)?)?,
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
        "SELECT {COLUMNS} FROM finding AS f \
         FORCE INDEX ({index}) WHERE finding_id > ?{contest}{open} ORDER BY finding_id LIMIT ?"
    )
}

#[async_trait]
impl Findings for MysqlStore {
    async fn raise(&self, finding: &Finding) -> Result<Raised, StoreError> {
        let command = Command::Raise(finding.clone());
        match self.decide(&finding.contest_id, command).await? {
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
        let command = Command::Settle(class, contest, subject.to_owned());
        match self.decide(&contest, command).await? {
            Reply::Done => Ok(()),
            other => Err(mismatched(&other)),
        }
    }

    async fn resolve(&self, id: Uuid, resolution: &Resolution) -> Result<Resolved, StoreError> {
        let command = Command::Resolve(id, resolution.clone());
        let was_open = match self.decide(&id, command).await? {
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
        let statement = format!("SELECT {COLUMNS} FROM finding AS f WHERE f.finding_id = ?");
        let row = self
            .maybe(sqlx::query(AssertSqlSafe(statement)).bind(id))
            .await?;
        row.as_ref().map(parse).transpose()
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

    async fn open(&self) -> Result<Vec<OpenFindings>, StoreError> {
        let rows = self.all(sqlx::query(OPEN)).await?;
        let mut open = rows
            .iter()
            .map(open_of_class)
            .collect::<Result<Vec<_>, _>>()?;
        open.sort_by_key(|open| open.class);
        Ok(open)
    }
}

/// What is open, by class.
pub(crate) const OPEN: &str = "SELECT class, COUNT(*), MIN(found_at) FROM finding \
     FORCE INDEX (finding_class) WHERE is_open = 1 GROUP BY class";

fn open_of_class(row: &MySqlRow) -> Result<OpenFindings, StoreError> {
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
