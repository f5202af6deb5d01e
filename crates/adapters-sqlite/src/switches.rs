//! Switches in SQLite: the history is all there is, and the last line of each switch and scope is in force.

use crate::{
    SqliteStore, mismatched,
    rows::{failed, limit},
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::switch::{Change, Scope, Switch};
use ports::{
    store::{PAGE_MAX, Page, StoreError},
    switches::{CHANGES_MAX, InForce, Said, SwitchSettings},
};
use sql_core::{
    record::column,
    switch_row::{COLUMNS, IN_FORCE, VERSION, parse, settings, written},
};
use sqlx::AssertSqlSafe;

/// Writes a change. There is one writer, so the numbers are in the order of the changes.
pub(crate) async fn set(
    transaction: &mut Transaction<'_>,
    said: &Said,
) -> Result<Change, sqlx::Error> {
    let last: i64 = sqlx::query_scalar(VERSION)
        .fetch_one(&mut *transaction.connection)
        .await?;
    let insert =
        format!("INSERT INTO switch_change ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    sqlx::query(AssertSqlSafe(insert))
        .bind(last + 1)
        .bind(said.switch.name())
        .bind(said.scope.to_string())
        .bind(said.enabled)
        .bind(said.by.as_str())
        .bind(said.reason.as_str())
        .bind(transaction.now.0)
        .execute(&mut *transaction.connection)
        .await?;
    transaction.wrote = true;
    Ok(written(said, last + 1, transaction.now.0))
}

#[async_trait]
impl SwitchSettings for SqliteStore {
    async fn set(&self, said: &Said) -> Result<Change, StoreError> {
        match self.write(Command::Switch(said.clone())).await? {
            Reply::Switched(change) => Ok(change),
            other => Err(mismatched(&other)),
        }
    }

    async fn in_force(&self, known: Option<u64>) -> Result<Option<InForce>, StoreError> {
        let version: i64 = sqlx::query_scalar(VERSION)
            .fetch_one(&self.readers)
            .await
            .map_err(failed)?;
        let version = version.cast_unsigned();
        if known == Some(version) {
            return Ok(None);
        }
        // What comes between is read again with the next version.
        let rows = sqlx::query(IN_FORCE).fetch_all(&self.readers).await;
        let changes = parse(&rows.map_err(failed)?)?;
        Ok(Some(InForce {
            version,
            switches: settings(changes),
        }))
    }

    async fn history(
        &self,
        switch: Switch,
        after: Option<u64>,
        items: usize,
    ) -> Result<Page<Change, u64>, StoreError> {
        let items = items.min(PAGE_MAX);
        let select = format!(
            "SELECT {COLUMNS} FROM switch_change WHERE name = ?1 AND sequence < ?2 \
             ORDER BY sequence DESC LIMIT ?3"
        );
        let rows = sqlx::query(AssertSqlSafe(select))
            .bind(switch.name())
            .bind(after.map_or(i64::MAX, column))
            .bind(limit(items + 1))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        Ok(Page::cut(parse(&rows)?, items, |change| change.sequence))
    }

    async fn changes_in(
        &self,
        switch: Switch,
        scopes: &[Scope],
    ) -> Result<Vec<Change>, StoreError> {
        if scopes.is_empty() {
            return Ok(Vec::new());
        }
        let marks = vec!["?"; scopes.len()].join(", ");
        let select = format!(
            "SELECT {COLUMNS} FROM switch_change WHERE name = ? AND scope IN ({marks}) \
             ORDER BY sequence DESC LIMIT ?"
        );
        let mut query = sqlx::query(AssertSqlSafe(select)).bind(switch.name());
        for scope in scopes {
            query = query.bind(scope.to_string());
        }
        let rows = query
            .bind(limit(CHANGES_MAX))
            .fetch_all(&self.readers)
            .await;
        let mut changes = parse(&rows.map_err(failed)?)?;
        changes.reverse();
        Ok(changes)
    }
}
