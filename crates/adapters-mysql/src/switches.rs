//! Switches in MySQL: the history is all there is, and the last line of each switch and scope is in force.

use crate::{
    MysqlStore, mismatched,
    rows::{failed, limit},
    slow::{Command, Reply},
};
use async_trait::async_trait;
use domain::switch::{Change, Scope, Switch};
use ports::{
    store::{PAGE_MAX, Page, StoreError},
    switches::{CHANGES_MAX, InForce, Said, SwitchSettings},
};
use sql_core::{
    mysql::NOW_MS,
    record::column,
    switch_row::{COLUMNS, IN_FORCE, VERSION, parse, settings, written},
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row};
use std::sync::LazyLock;

/// Takes the next number, and with it holds back every other change until the end of the transaction.
const NUMBER: &str = "INSERT INTO change_number (kind, number) VALUES ('switch', 1) \
     ON DUPLICATE KEY UPDATE number = number + 1";

static NUMBERED: LazyLock<String> =
    LazyLock::new(|| format!("SELECT number, {NOW_MS} FROM change_number WHERE kind = 'switch'"));

static INSERT: LazyLock<String> =
    LazyLock::new(|| format!("INSERT INTO switch_change ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"));

pub(crate) static HISTORY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS} FROM switch_change WHERE name = ? AND sequence < ? \
         ORDER BY sequence DESC LIMIT ?"
    )
});

/// The changes of a switch in so many scopes, the newest first.
pub(crate) fn changes_in(scopes: usize) -> String {
    let marks = vec!["?"; scopes].join(", ");
    format!(
        "SELECT {COLUMNS} FROM switch_change WHERE name = ? AND scope IN ({marks}) \
         ORDER BY sequence DESC LIMIT ?"
    )
}

/// Writes a change.
pub(crate) async fn set(
    connection: &mut MySqlConnection,
    said: &Said,
) -> Result<Change, sqlx::Error> {
    sqlx::query(NUMBER).execute(&mut *connection).await?;
    let row = sqlx::query(AssertSqlSafe(NUMBERED.as_str()))
        .fetch_one(&mut *connection)
        .await?;
    let (sequence, now): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    sqlx::query(AssertSqlSafe(INSERT.as_str()))
        .bind(sequence)
        .bind(said.switch.name())
        .bind(said.scope.to_string())
        .bind(said.enabled)
        .bind(said.by.as_str())
        .bind(said.reason.as_str())
        .bind(now)
        .execute(connection)
        .await?;
    Ok(written(said, sequence, now))
}

#[async_trait]
impl SwitchSettings for MysqlStore {
    async fn set(&self, said: &Said) -> Result<Change, StoreError> {
        match self.decide(&0_u8, Command::Switch(said.clone())).await? {
            Reply::Switched(change) => Ok(change),
            other => Err(mismatched(&other)),
        }
    }

    async fn in_force(&self, known: Option<u64>) -> Result<Option<InForce>, StoreError> {
        let version: i64 = self
            .one(sqlx::query(VERSION))
            .await?
            .try_get(0)
            .map_err(failed)?;
        let version = version.cast_unsigned();
        if known == Some(version) {
            return Ok(None);
        }
        // What comes between is read again with the next version.
        let changes = parse(&self.all(sqlx::query(IN_FORCE)).await?)?;
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
        let query = sqlx::query(AssertSqlSafe(HISTORY.as_str()))
            .bind(switch.name())
            .bind(after.map_or(i64::MAX, column))
            .bind(limit(items + 1));
        let changes = parse(&self.all(query).await?)?;
        Ok(Page::cut(changes, items, |change| change.sequence))
    }

    async fn changes_in(
        &self,
        switch: Switch,
        scopes: &[Scope],
    ) -> Result<Vec<Change>, StoreError> {
        if scopes.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = sqlx::query(AssertSqlSafe(changes_in(scopes.len()))).bind(switch.name());
        for scope in scopes {
            query = query.bind(scope.to_string());
        }
        let rows = self.all(query.bind(limit(CHANGES_MAX))).await?;
        let mut changes = parse(&rows)?;
        changes.reverse();
        Ok(changes)
    }
}
