//! What somebody outside is to be told, in SQLite.

use crate::{
    SqliteStore, mismatched,
    rows::{failed, limit},
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::{ids::ContestId, notice::NoticeKind, time::UnixMillis};
use ports::{
    notices::{Notice, Notices},
    store::{PAGE_MAX, StoreError},
};
use sql_core::{
    record::{Context, column},
    sqlite::NOW_MS,
};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use std::sync::LazyLock;
use uuid::{Uuid, fmt::Hyphenated};

pub(crate) static DUE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT sequence, kind, contest_id, finding_id, created_at, tries FROM notice \
         WHERE due_at <= {NOW_MS} ORDER BY sequence LIMIT ?1"
    )
});

/// What the writer is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tell {
    Told(u64),
    PutOff(u64, i64),
    Add(NoticeKind, ContestId),
}

/// Keeps a notice with what it tells, if somebody takes notices.
pub(crate) async fn add(
    transaction: &mut Transaction<'_>,
    kind: NoticeKind,
    contest: ContestId,
    finding: Option<Uuid>,
) -> Result<(), sqlx::Error> {
    if !transaction.notices {
        return Ok(());
    }
    transaction.wrote = true;
    sqlx::query(
        "INSERT INTO notice (kind, contest_id, finding_id, created_at, tries, due_at) \
         VALUES (?1, ?2, ?3, ?4, 0, ?4)",
    )
    .bind(kind.name())
    .bind(contest.0.hyphenated())
    .bind(finding.map(Uuid::hyphenated))
    .bind(transaction.now.0)
    .execute(&mut *transaction.connection)
    .await
    .map(drop)
}

/// Writes what became of a notice.
pub(crate) async fn write(
    transaction: &mut Transaction<'_>,
    tell: Tell,
) -> Result<(), sqlx::Error> {
    let query = match tell {
        Tell::Add(kind, contest) => return add(transaction, kind, contest, None).await,
        Tell::Told(sequence) => {
            sqlx::query("DELETE FROM notice WHERE sequence = ?1").bind(column(sequence))
        }
        Tell::PutOff(sequence, for_ms) => {
            sqlx::query("UPDATE notice SET tries = tries + 1, due_at = ?2 WHERE sequence = ?1")
                .bind(column(sequence))
                .bind(transaction.now.plus(for_ms).0)
        }
    };
    let done = query.execute(&mut *transaction.connection).await?;
    transaction.wrote |= done.rows_affected() > 0;
    Ok(())
}

fn parse(row: &SqliteRow) -> Result<Notice, StoreError> {
    let sequence: i64 = row.try_get(0).map_err(failed)?;
    let key = sequence.to_string();
    let context = Context {
        table: "notice",
        key: &key,
    };
    let kind: String = row.try_get(1).map_err(failed)?;
    let contest: Hyphenated = row.try_get(2).map_err(failed)?;
    let finding: Option<Hyphenated> = row.try_get(3).map_err(failed)?;
    let tries = context.count("tries", row.try_get(5).map_err(failed)?)?;
    Ok(Notice {
        sequence: context.count("sequence", sequence)?,
        kind: context.named("kind", &kind, NoticeKind::named)?,
        contest_id: ContestId(contest.into()),
        finding_id: finding.map(Uuid::from),
        created_at: UnixMillis(row.try_get(4).map_err(failed)?),
        tries: u32::try_from(tries).unwrap_or(u32::MAX),
    })
}

impl SqliteStore {
    async fn tell(&self, tell: Tell) -> Result<(), StoreError> {
        match self.write(Command::Tell(tell)).await? {
            Reply::Done => Ok(()),
            other => Err(mismatched(&other)),
        }
    }
}

#[async_trait]
impl Notices for SqliteStore {
    async fn due(&self, items: usize) -> Result<Vec<Notice>, StoreError> {
        let rows = sqlx::query(AssertSqlSafe(DUE.as_str()))
            .bind(limit(items.min(PAGE_MAX)))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(parse).collect()
    }

    async fn told(&self, sequence: u64) -> Result<(), StoreError> {
        self.tell(Tell::Told(sequence)).await
    }

    async fn put_off(&self, sequence: u64, for_ms: i64) -> Result<(), StoreError> {
        self.tell(Tell::PutOff(sequence, for_ms)).await
    }

    async fn add(&self, kind: NoticeKind, contest: ContestId) -> Result<(), StoreError> {
        self.tell(Tell::Add(kind, contest)).await
    }
}
