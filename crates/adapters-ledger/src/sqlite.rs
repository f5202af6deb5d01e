//! The books in one SQLite file.

pub(crate) mod sql;
mod writer;

use crate::book::{Command, Reply};
use domain::{
    order::{Account, OrderId},
    time::UnixMillis,
    transfer::Position,
};
use ports::funds::{Balance, Lookup, TransferPage};
use sql_core::{
    group::{GroupCommit, GroupError},
    sqlite::{self, Step},
};
use sqlx::SqlitePool;
use std::path::Path;
use tokio::sync::oneshot;
use writer::Writer;

const STEPS: &[Step] = &[(1, "ledger", include_str!("../migrations/0001_ledger.sql"))];

/// Connections that read.
const READERS: u32 = 4;

/// An open file.
pub(crate) struct Books {
    writer: GroupCommit<Writer>,
    writer_gone: oneshot::Receiver<()>,
    readers: SqlitePool,
}

impl Books {
    pub(crate) async fn open(path: &Path) -> Result<Self, sqlite::OpenError> {
        let database = sqlite::open(path, STEPS, READERS).await?;
        let (gone, writer_gone) = oneshot::channel();
        let writer = Writer::new(database.writer, gone);
        Ok(Self {
            writer: GroupCommit::start(writer, crate::BATCH_MAX, crate::QUEUE_MAX),
            writer_gone,
            readers: database.readers,
        })
    }

    pub(crate) async fn close(self) {
        let Self {
            writer,
            writer_gone,
            readers,
        } = self;
        // The readers first: the last connection to leave folds the log into the file, and must
        // be allowed to write.
        readers.close().await;
        drop(writer);
        // The sender says nothing; it ends.
        let _ = writer_gone.await;
    }

    pub(crate) async fn submit(&self, command: Command) -> Result<Reply, GroupError> {
        self.writer.submit(command).await
    }

    pub(crate) async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, sqlx::Error> {
        read_lookup(&self.readers, orders).await
    }

    /// None when there is no such account.
    pub(crate) async fn balance(&self, account: &Account) -> Result<Option<Balance>, sqlx::Error> {
        let row: Option<(i64, i64, i64)> = sqlx::query_as(sql::BALANCE.as_str())
            .bind(account.to_string())
            .fetch_optional(&self.readers)
            .await?;
        row.map(|(amount, position, at)| {
            Ok(Balance {
                amount,
                position: sql::position(position)?,
                at: UnixMillis(at),
            })
        })
        .transpose()
    }

    /// None when there is no such account.
    pub(crate) async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<Option<TransferPage>, sqlx::Error> {
        read_page(&self.readers, account, after, limit).await
    }
}

/// Position, time, place in the question, and what is stored there.
type LookupRow = (
    i64,
    i64,
    Option<i64>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

async fn read_lookup(readers: &SqlitePool, orders: &[OrderId]) -> Result<Lookup, sqlx::Error> {
    let asked: Vec<String> = orders.iter().map(OrderId::to_string).collect();
    let rows: Vec<LookupRow> = sqlx::query_as(sql::LOOKUP.as_str())
        .bind(sql::json(&asked)?)
        .fetch_all(readers)
        .await?;
    let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    let (position, at) = (sql::position(first.0)?, UnixMillis(first.1));
    let mut found = vec![None; orders.len()];
    for (_, _, place, order, debit, credit, amount, position, at) in rows {
        let stored = sql::present((order, debit, credit, amount, position, at));
        if let (Some(place), Some(stored)) = (place, stored) {
            let place = usize::try_from(place)
                .ok()
                .and_then(|place| found.get_mut(place));
            *place.ok_or_else(|| sql::impossible("an order that was not asked for"))? =
                Some(sql::transfer(stored)?);
        }
    }
    Ok(Lookup {
        found,
        position,
        at,
    })
}

/// Position, and one transfer.
type ListRow = (
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

/// One page; none when there is no such account.
async fn read_page(
    readers: &SqlitePool,
    account: &Account,
    after: Position,
    limit: usize,
) -> Result<Option<TransferPage>, sqlx::Error> {
    // Positions and pages beyond the integer of the database hold nothing more than its largest.
    let rows: Vec<ListRow> = sqlx::query_as(sql::LIST)
        .bind(account.to_string())
        .bind(i64::try_from(after.0).unwrap_or(i64::MAX))
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(readers)
        .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    let closed_position = sql::position(first.0)?;
    let transfers = rows
        .into_iter()
        .filter_map(|(_, order, debit, credit, amount, position, at)| {
            sql::present((order, debit, credit, amount, position, at)).map(sql::transfer)
        })
        .collect::<Result<_, _>>()?;
    Ok(Some(TransferPage {
        transfers,
        closed_position,
    }))
}
