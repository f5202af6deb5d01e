//! Leases in MySQL, by the database's clock. A row stays when a lease ends, so that its fence rises
//! for ever.

use crate::{
    MysqlStore, mismatched,
    rows::{failed, limit},
    slow, submit,
};
use async_trait::async_trait;
use domain::time::UnixMillis;
use ports::{
    leases::{Fence, HeldLease, LEASE_NAME_MAX, Lease, Leases},
    store::{PAGE_MAX, StoreError},
};
use sql_core::mysql::{NOW_MS, keys};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, mysql::MySqlRow};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};
use uuid::Uuid;

/// The lease that a probe takes and nobody needs.
const PROBE: &str = "probe";

// Columns are set from left to right, and each sees what those before it were set to: `fence` and
// `owner` look at the old end, `ends_at` at the new owner.
pub(crate) static TAKE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "INSERT INTO lease (name, owner, fence, ends_at) VALUES (?, ?, 1, {NOW_MS} + ?) \
         ON DUPLICATE KEY UPDATE \
           fence = IF(ends_at <= {NOW_MS}, fence + 1, fence), \
           owner = IF(ends_at <= {NOW_MS}, VALUES(owner), owner), \
           ends_at = IF(owner = VALUES(owner), VALUES(ends_at), ends_at)"
    )
});

/// Takes or extends a lease.
pub(crate) async fn take(
    connection: &mut MySqlConnection,
    name: &str,
    owner: Uuid,
    for_ms: i64,
) -> Result<Option<Lease>, sqlx::Error> {
    sqlx::query(AssertSqlSafe(TAKE.as_str()))
        .bind(name)
        .bind(owner)
        .bind(for_ms)
        .execute(&mut *connection)
        .await?;
    let row = sqlx::query("SELECT owner, fence FROM lease WHERE name = ?")
        .bind(name)
        .fetch_one(connection)
        .await?;
    let holder: Uuid = row.try_get(0)?;
    let fence: i64 = row.try_get(1)?;
    Ok((holder == owner).then(|| Lease {
        name: name.to_owned(),
        owner,
        fence: Fence(fence.cast_unsigned()),
    }))
}

/// Frees a lease that is still the one that is named.
pub(crate) async fn release(
    connection: &mut MySqlConnection,
    lease: &Lease,
) -> Result<(), sqlx::Error> {
    sqlx::query("UPDATE lease SET ends_at = 0 WHERE name = ? AND owner = ? AND fence = ?")
        .bind(&lease.name)
        .bind(lease.owner)
        .bind(lease.fence.0.cast_signed())
        .execute(connection)
        .await
        .map(drop)
}

/// The statement that looks at so many leases and holds them as they are until what is decided under them
/// is written: whoever wants to take one over waits for so long.
pub(crate) fn look(number: usize) -> String {
    format!(
        "SELECT name, fence FROM lease WHERE name IN ({}) ORDER BY name LOCK IN SHARE MODE",
        keys::marks(1, number)
    )
}

/// Those of some leases that another has taken since.
pub(crate) async fn lost<'a>(
    connection: &mut MySqlConnection,
    leases: impl Iterator<Item = &'a Lease>,
) -> Result<BTreeSet<&'a Lease>, sqlx::Error> {
    let leases: BTreeSet<&Lease> = leases.collect();
    if leases.is_empty() {
        return Ok(leases);
    }
    let names: BTreeSet<&str> = leases.iter().map(|lease| lease.name.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let mut latest: BTreeMap<Vec<u8>, i64> = BTreeMap::new();
    for names in names.chunks(keys::MAX) {
        let mut query = sqlx::query(AssertSqlSafe(look(names.len())));
        for name in keys::fill(names) {
            query = query.bind(name.as_bytes().to_vec());
        }
        for row in query.fetch_all(&mut *connection).await? {
            latest.insert(row.try_get(0)?, row.try_get(1)?);
        }
    }
    let is_lost = |lease: &&Lease| {
        let fence = latest.get(lease.name.as_bytes());
        fence.is_some_and(|fence| fence.cast_unsigned() != lease.fence.0)
    };
    Ok(leases.into_iter().filter(is_lost).collect())
}

impl MysqlStore {
    /// Writes what means nothing, as every decision is written.
    pub(crate) async fn touch(&self) -> Result<(), StoreError> {
        self.take(PROBE, Uuid::nil(), 1).await.map(drop)
    }
}

#[async_trait]
impl Leases for MysqlStore {
    async fn take(
        &self,
        name: &str,
        owner: Uuid,
        for_ms: i64,
    ) -> Result<Option<Lease>, StoreError> {
        if name.is_empty() || name.len() > LEASE_NAME_MAX {
            return Err(StoreError::unavailable(format!(
                "a lease's name has 1 to {LEASE_NAME_MAX} bytes"
            )));
        }
        let command = slow::Command::TakeLease(name.to_owned(), owner, for_ms);
        match submit(&self.leases, command).await? {
            slow::Reply::Lease(lease) => Ok(lease),
            other => Err(mismatched(&other)),
        }
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let command = slow::Command::ReleaseLease(lease.clone());
        match submit(&self.leases, command).await? {
            slow::Reply::Done => Ok(()),
            other => Err(mismatched(&other)),
        }
    }

    async fn held(&self, items: usize) -> Result<Vec<HeldLease>, StoreError> {
        let query = sqlx::query(AssertSqlSafe(HELD.as_str()));
        let rows = self.all(query.bind(limit(items.min(PAGE_MAX)))).await?;
        rows.iter().map(|row| held(row).map_err(failed)).collect()
    }
}

// Leases that are over stay as rows, some of each contest and one of each range of a large one, and this
// looks at all of them. It is a person who asks.
pub(crate) static HELD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT name, owner, fence, ends_at FROM lease WHERE ends_at > {NOW_MS} ORDER BY name LIMIT ?"
    )
});

fn held(row: &MySqlRow) -> Result<HeldLease, sqlx::Error> {
    let name: Vec<u8> = row.try_get(0)?;
    let fence: i64 = row.try_get(2)?;
    Ok(HeldLease {
        lease: Lease {
            name: String::from_utf8_lossy(&name).into_owned(),
            owner: row.try_get(1)?,
            fence: Fence(fence.cast_unsigned()),
        },
        ends_at: UnixMillis(row.try_get(3)?),
    })
}
