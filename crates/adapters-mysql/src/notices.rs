//! What somebody outside is to be told, in MySQL.

use crate::{
    MysqlStore, mismatched,
    rows::{failed, limit, or_report},
    slow::{Command, Reply},
};
use async_trait::async_trait;
use domain::{ids::ContestId, notice::NoticeKind, time::UnixMillis};
use ports::{
    notices::{Notice, Notices},
    store::{PAGE_MAX, StoreError},
};
use sql_core::{
    mysql::NOW_MS,
    record::{Context, column},
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, mysql::MySqlRow};
use std::sync::LazyLock;
use uuid::Uuid;

/// Few stand there, whether due or not: they are removed once they were told.
pub(crate) static DUE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT sequence, kind, contest_id, finding_id, created_at, tries FROM notice \
         FORCE INDEX (PRIMARY) WHERE sequence > 0 AND due_at <= {NOW_MS} ORDER BY sequence LIMIT ?"
    )
});

static ADD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO notice (kind, contest_id, finding_id, created_at, tries, due_at) \
         VALUES (?, ?, ?, {NOW_MS}, 0, {NOW_MS})"
    )
});

static PUT_OFF: LazyLock<String> = LazyLock::new(|| {
    format!("UPDATE notice SET tries = tries + 1, due_at = {NOW_MS} + ? WHERE sequence = ?")
});

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tell {
    Told(u64),
    PutOff(u64, i64),
    Add(NoticeKind, ContestId),
}

/// Keeps a notice with what it tells.
pub(crate) async fn add(
    connection: &mut MySqlConnection,
    kind: NoticeKind,
    contest: ContestId,
    finding: Option<Uuid>,
) -> Result<(), sqlx::Error> {
    sqlx::query(AssertSqlSafe(ADD.as_str()))
        .bind(kind.name())
        .bind(contest.0)
        .bind(finding)
        .execute(connection)
        .await
        .map(drop)
}

/// Writes what became of a notice; true if anything was written.
pub(crate) async fn write(
    connection: &mut MySqlConnection,
    tell: Tell,
) -> Result<bool, sqlx::Error> {
    let query = match tell {
        Tell::Add(kind, contest) => {
            add(connection, kind, contest, None).await?;
            return Ok(true);
        }
        Tell::Told(sequence) => {
            sqlx::query("DELETE FROM notice WHERE sequence = ?").bind(column(sequence))
        }
        Tell::PutOff(sequence, for_ms) => sqlx::query(AssertSqlSafe(PUT_OFF.as_str()))
            .bind(for_ms)
            .bind(column(sequence)),
    };
    let done = query.execute(connection).await?;
    Ok(done.rows_affected() > 0)
}

fn parse(row: &MySqlRow) -> Result<Notice, StoreError> {
    let sequence: i64 = row.try_get(0).map_err(failed)?;
    let key = sequence.to_string();
    let context = Context {
        table: "notice",
        key: &key,
    };
    let kind: String = row.try_get(1).map_err(failed)?;
    let tries: i32 = row.try_get(5).map_err(failed)?;
    let tries = context.count("tries", tries.into())?;
    Ok(Notice {
        sequence: context.count("sequence", sequence)?,
        kind: context.named("kind", &kind, NoticeKind::named)?,
        contest_id: ContestId(row.try_get(2).map_err(failed)?),
        finding_id: row.try_get(3).map_err(failed)?,
        created_at: UnixMillis(row.try_get(4).map_err(failed)?),
        tries: u32::try_from(tries).unwrap_or(u32::MAX),
    })
}

impl MysqlStore {
    async fn tell(&self, tell: Tell) -> Result<(), StoreError> {
        match self.decide(&0_u8, Command::Tell(tell)).await? {
            Reply::Done => Ok(()),
            other => Err(mismatched(&other)),
        }
    }
}

#[async_trait]
impl Notices for MysqlStore {
    async fn due(&self, items: usize) -> Result<Vec<Notice>, StoreError> {
        let query = sqlx::query(AssertSqlSafe(DUE.as_str()));
        let rows = self.all(query.bind(limit(items.min(PAGE_MAX)))).await?;
        // One that cannot be read pages somebody; the others must not wait for it.
        Ok(rows.iter().map(parse).filter_map(or_report).collect())
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
