//! The outbox in MySQL. Entries are taken in the order of their sequence and removed when they are
//! done: one whose transaction committed late is found by the next walk that begins at the first
//! entry, because the store does not remember how far a walk went (hazard F7).

use crate::{
    MysqlStore, mismatched,
    rows::{after_sequence, failed, limit, or_report},
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::{
    effects::Effect,
    ids::{ContestId, SignupId},
};
use ports::{
    outbox::{Outbox, OutboxEntry},
    store::{PAGE_MAX, StoreError},
};
use sql_core::{
    mysql::{NOW_MS, keys},
    record::Context,
};
use sqlx::{AssertSqlSafe, Row, mysql::MySqlRow};
use std::sync::LazyLock;
use uuid::Uuid;

/// Entries that are not due yet stand among the first for a second at most: no more rows are passed
/// over than a second brings.
pub(crate) static TAKE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT sequence, effect, contest_id, signup_id, user_id, version FROM outbox FORCE INDEX (PRIMARY) \
         WHERE sequence > ? AND due_at <= {NOW_MS} ORDER BY sequence LIMIT ?"
    )
});

/// The statement that removes so many entries.
pub(crate) fn delete(number: usize) -> String {
    format!(
        "DELETE FROM outbox WHERE sequence IN ({})",
        keys::marks(1, number)
    )
}

/// Removes entries that were carried out.
pub(crate) async fn remove(
    transaction: &mut Transaction<'_>,
    sequences: &[u64],
) -> Result<(), sqlx::Error> {
    let mut sequences = sequences.to_vec();
    sequences.sort_unstable();
    for chunk in sequences.chunks(PAGE_MAX) {
        let mut query = sqlx::query(AssertSqlSafe(delete(chunk.len())));
        for sequence in keys::fill(chunk) {
            query = query.bind(sequence.cast_signed());
        }
        let gone = query.execute(&mut *transaction.connection).await?;
        transaction.wrote |= gone.rows_affected() > 0;
    }
    Ok(())
}

fn parse(row: &MySqlRow) -> Result<OutboxEntry, StoreError> {
    let sequence: i64 = row.try_get(0).map_err(failed)?;
    let key = sequence.to_string();
    let context = Context {
        table: "outbox",
        key: &key,
    };
    let effect: String = row.try_get(1).map_err(failed)?;
    let signup_id: Option<Uuid> = row.try_get(3).map_err(failed)?;
    let user_id: String = row.try_get(4).map_err(failed)?;
    Ok(OutboxEntry {
        sequence: context.count("sequence", sequence)?,
        effect: context.named("effect", &effect, Effect::named)?,
        contest_id: ContestId(row.try_get(2).map_err(failed)?),
        signup_id: signup_id.map(SignupId),
        user_id: context.parsed("user_id", &user_id)?,
        version: context.count("version", row.try_get(5).map_err(failed)?)?,
    })
}

#[async_trait]
impl Outbox for MysqlStore {
    async fn take(&self, after: Option<u64>, items: usize) -> Result<Vec<OutboxEntry>, StoreError> {
        let items = items.min(PAGE_MAX);
        let mut after = after_sequence(after);
        let mut found = Vec::new();
        loop {
            let asked = items - found.len();
            let query = sqlx::query(AssertSqlSafe(TAKE.as_str()))
                .bind(after)
                .bind(limit(asked));
            let rows = self.all(query).await?;
            // An entry that cannot be read pages somebody; the others must not wait for it.
            found.extend(rows.iter().map(parse).filter_map(or_report));
            match rows.last() {
                Some(last) if rows.len() == asked && found.len() < items => {
                    after = last.try_get(0).map_err(failed)?;
                }
                _ => return Ok(found),
            }
        }
    }

    async fn done(&self, sequences: &[u64]) -> Result<(), StoreError> {
        if sequences.is_empty() {
            return Ok(());
        }
        let command = Command::Done(sequences.to_vec());
        match self.write(&sequences[0], command).await? {
            Reply::Done => Ok(()),
            other => Err(mismatched(&other)),
        }
    }
}
