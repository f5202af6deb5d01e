//! The only one who writes: a batch of commands in one transaction, in a fixed number of
//! statements whatever its size.

use super::sql;
use crate::{
    book::{Book, Changes, Command, Entry, Reply},
    named::Named,
};
use domain::{order::Account, time::UnixMillis};
use ports::failpoint::{Failpoint, pass};
use sql_core::{group::Executor, sqlite::PROBE};
use sqlx::SqliteConnection;
use std::collections::HashMap;
use tokio::sync::oneshot;

/// The connection that writes.
pub(crate) struct Writer {
    connection: SqliteConnection,
    /// Tells, by being dropped, that the last batch is done.
    _gone: oneshot::Sender<()>,
}

impl Writer {
    /// Whoever holds the other end of `gone` learns when this writer has ended.
    pub(crate) fn new(connection: SqliteConnection, gone: oneshot::Sender<()>) -> Self {
        Self {
            connection,
            _gone: gone,
        }
    }

    async fn transaction(&mut self, commands: &[Command]) -> Result<Vec<Reply>, sqlx::Error> {
        self.execute(sql::BEGIN).await?;
        let mut book = self.read(commands).await?;
        let replies = commands
            .iter()
            .map(|command| book.decide(command))
            .collect();
        let progress = (book.position, book.now);
        let changes = book.into_changes();
        let probe = commands
            .iter()
            .any(|command| matches!(command, Command::Probe));
        if probe {
            self.execute(PROBE).await?;
        }
        if changes.is_empty() && !probe {
            self.execute(sql::COMMIT).await?;
            return Ok(replies);
        }
        self.write(&changes).await?;
        if !changes.applied.is_empty() {
            sqlx::query(sql::UPDATE_PROGRESS)
                .bind(i64::try_from(progress.0.0).map_err(sql::impossible)?)
                .bind(progress.1.0)
                .execute(&mut self.connection)
                .await?;
        }
        pass(Failpoint::LedgerBeforeCommit);
        self.execute(sql::COMMIT).await?;
        pass(Failpoint::LedgerCommitted);
        Ok(replies)
    }

    async fn execute(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        sqlx::query(statement)
            .execute(&mut self.connection)
            .await
            .map(drop)
    }

    /// Everything stored that the commands name.
    async fn read(&mut self, commands: &[Command]) -> Result<Book, sqlx::Error> {
        let (position, last, clock): (i64, i64, i64) = sqlx::query_as(sql::PROGRESS.as_str())
            .fetch_one(&mut self.connection)
            .await?;
        let mut book = Book::new(
            sql::position(position)?,
            UnixMillis(last),
            UnixMillis(clock),
        );
        let named = Named::by(commands);
        if !named.orders.is_empty() {
            let rows: Vec<sql::TransferRow> = sqlx::query_as(sql::ORDERS)
                .bind(sql::json(&named.orders)?)
                .fetch_all(&mut self.connection)
                .await?;
            for row in rows {
                book.with_order(sql::transfer(row)?);
            }
        }
        let rows: Vec<(i64, String, i64, Option<i64>, bool)> = sqlx::query_as(sql::ACCOUNTS)
            .bind(sql::json(&named.accounts)?)
            .fetch_all(&mut self.connection)
            .await?;
        for (row, name, balance, credits_closed_at, closed) in rows {
            let credits_closed_at = credits_closed_at.map(sql::position).transpose()?;
            let entry = Entry {
                row: Some(row),
                balance,
                credits_closed_at,
                closed,
            };
            book.with_account(sql::account(&name)?, entry);
        }
        Ok(book)
    }

    async fn write(&mut self, changes: &Changes) -> Result<(), sqlx::Error> {
        let mut rows: HashMap<Account, i64> = changes
            .touched
            .iter()
            .filter_map(|(account, entry)| Some((account.clone(), entry.row?)))
            .collect();
        if !changes.opened.is_empty() {
            let names: Vec<String> = changes.opened.iter().map(Account::to_string).collect();
            let opened: Vec<(i64, String)> = sqlx::query_as(sql::INSERT_ACCOUNTS)
                .bind(sql::json(&names)?)
                .fetch_all(&mut self.connection)
                .await?;
            for (row, name) in opened {
                rows.insert(sql::account(&name)?, row);
            }
        }
        let row = |account: &Account| {
            rows.get(account)
                .copied()
                .ok_or_else(|| sql::impossible("an account without a row"))
        };
        if !changes.applied.is_empty() {
            let mut transfers = Vec::with_capacity(changes.applied.len());
            for one in &changes.applied {
                let (content, receipt) = (&one.transfer.content, one.transfer.receipt);
                transfers.push((
                    receipt.position.0,
                    one.transfer.order_id.to_string(),
                    row(&content.from)?,
                    row(&content.to)?,
                    content.amount.as_i64(),
                    one.memo.as_str(),
                    receipt.applied_at.0,
                ));
            }
            self.write_rows(sql::INSERT_TRANSFERS, &transfers).await?;
        }
        let mut accounts = Vec::with_capacity(changes.touched.len());
        for (account, entry) in &changes.touched {
            let credits_closed_at = entry.credits_closed_at.map(|position| position.0);
            accounts.push((
                row(account)?,
                entry.balance,
                credits_closed_at,
                i64::from(entry.closed),
            ));
        }
        if !accounts.is_empty() {
            self.write_rows(sql::UPDATE_ACCOUNTS, &accounts).await?;
        }
        Ok(())
    }

    /// Writes exactly `rows`, or fails.
    async fn write_rows<R: serde::Serialize>(
        &mut self,
        statement: &'static str,
        rows: &Vec<R>,
    ) -> Result<(), sqlx::Error> {
        let done = sqlx::query(statement)
            .bind(sql::json(rows)?)
            .execute(&mut self.connection)
            .await?;
        if done.rows_affected() == rows.len() as u64 {
            Ok(())
        } else {
            Err(sql::impossible(
                "a batch that did not write each of its rows once",
            ))
        }
    }
}

impl Executor for Writer {
    type Command = Command;
    type Reply = Reply;

    async fn run(&mut self, commands: &[Command]) -> Result<Vec<Reply>, sqlx::Error> {
        let done = self.transaction(commands).await;
        if done.is_err() {
            // Fails when no transaction is open, which is just as well: the next batch can begin.
            let _ = self.execute(sql::ROLLBACK).await;
        }
        done
    }
}
