//! The outbox in SQLite.

use crate::{
    SqliteStore, mismatched,
    rows::{after_sequence, failed, json, limit},
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::{effects::Effect, ids::SignupId};
use ports::{
    outbox::{Outbox, OutboxEntry},
    store::{PAGE_MAX, StoreError},
};
use sql_core::{record::Context, sqlite::NOW_MS};
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use std::sync::LazyLock;

static TAKE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT sequence, effect, contest_id, signup_id, user_id, version FROM outbox \
         WHERE sequence > ?1 AND due_at <= {NOW_MS} ORDER BY sequence LIMIT ?2"
    )
});

pub(crate) async fn done(
    transaction: &mut Transaction<'_>,
    sequences: &[u64],
) -> Result<(), sqlx::Error> {
    let gone =
        sqlx::query("DELETE FROM outbox WHERE sequence IN (SELECT value FROM json_each(?1))")
            .bind(json(sequences)?)
            .execute(&mut *transaction.connection)
            .await?;
    transaction.wrote |= gone.rows_affected() > 0;
    Ok(())
}

/// No signup is an empty text.
fn signup_id_of(context: Context<'_>, text: &str) -> Result<Option<SignupId>, StoreError> {
    if text.is_empty() {
        return Ok(None);
    }
    context.parsed("signup_id", text).map(Some)
}

fn parse(row: &SqliteRow) -> Result<OutboxEntry, StoreError> {
    let sequence: i64 = row.try_get(0).map_err(failed)?;
    let key = sequence.to_string();
    let context = Context {
        table: "outbox",
        key: &key,
    };
    let text = |index: usize| row.try_get::<String, _>(index).map_err(failed);
    Ok(OutboxEntry {
        sequence: context.count("sequence", sequence)?,
        effect: context.named("effect", &text(1)?, Effect::named)?,
        contest_id: context.parsed("contest_id", &text(2)?)?,
        signup_id: signup_id_of(context, &text(3)?)?,
        user_id: context.parsed("user_id", &text(4)?)?,
        version: context.count("version", row.try_get(5).map_err(failed)?)?,
    })
}

#[async_trait]
impl Outbox for SqliteStore {
    async fn take(&self, after: Option<u64>, items: usize) -> Result<Vec<OutboxEntry>, StoreError> {
        let items = items.min(PAGE_MAX);
        let rows = sqlx::query(AssertSqlSafe(TAKE.as_str()))
            .bind(after_sequence(after))
            .bind(limit(items))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(parse).collect()
    }

    async fn done(&self, sequences: &[u64]) -> Result<(), StoreError> {
        match self.write(Command::Done(sequences.to_vec())).await? {
            Reply::Done => Ok(()),
            other => Err(mismatched(&other)),
        }
    }
}
