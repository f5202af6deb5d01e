//! Who writes on MySQL and MariaDB: a batch of commands in one transaction, in a fixed number of
//! statements whatever its size.
//!
//! Every transaction first locks the one row of `progress`. So however many processes write to one
//! database, their transactions come one after the other, and positions rise with commit order.
//!
//! A transaction whose end is not known is run again on a new connection. That is safe: the new one
//! gets the lock only when the old one has ended, and meets what became of its orders: by reading them,
//! or by their unique key.

use super::sql;
use crate::{
    book::{Book, Changes, Command, Entry, Reply},
    named::Named,
};
use domain::{
    order::{Account, OrderId},
    time::UnixMillis,
};
use ports::{
    failpoint::{Failpoint, pass},
    funds::TransferOutcome,
};
use sql_core::{
    group::Executor,
    mysql::{self as session, keys, rows},
};
use sqlx::{AssertSqlSafe, MySqlConnection, mysql::MySqlConnectOptions};
use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// The longest that one transaction may take, from its first statement to the commit's answer.
const TRANSACTION: Duration = Duration::from_secs(4);
/// How often a batch is tried.
const TRIES: u32 = 3;
/// No further try begins when a batch has taken so long.
const PATIENCE: Duration = Duration::from_secs(3);
/// The wait before the next try.
const PAUSE: Duration = Duration::from_millis(20);

/// Nobody knows what became of a command.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the ledger's database did not say what became of a command")]
pub(crate) struct Unanswered(#[source] Arc<sqlx::Error>);

/// Who writes.
pub(crate) struct Writer {
    options: MySqlConnectOptions,
    connection: Option<MySqlConnection>,
    /// When the connection was last used.
    used: Instant,
    /// Whether the last batch with orders named one that was stored already.
    met_repeats: bool,
}

impl Writer {
    /// Connects with its first batch.
    pub(crate) fn new(options: MySqlConnectOptions) -> Self {
        Self {
            options,
            connection: None,
            used: Instant::now(),
            met_repeats: false,
        }
    }

    /// The connection, a new one if there is none or if the server is about to end it. It is taken
    /// out, and put back only by who has seen its transaction end.
    async fn connection(&mut self) -> Result<MySqlConnection, sqlx::Error> {
        let fresh = self.used.elapsed() < session::WRITER_IDLE / 2;
        if let Some(connection) = self.connection.take().filter(|_| fresh) {
            return Ok(connection);
        }
        session::connect_writer(&self.options).await
    }

    async fn transaction(&mut self, commands: &[Command]) -> Result<Vec<Reply>, sqlx::Error> {
        let mut connection = self.connection().await?;
        let transaction = transaction(&mut connection, commands, self.met_repeats);
        let done = timeout(TRANSACTION, transaction)
            .await
            .unwrap_or_else(|_| Err(session::late("a transaction")));
        let usable = match &done {
            Ok(_) => true,
            // What a command or a lock was to blame for is undone and the connection used again.
            // After anything else nobody knows where the conversation stands, or whether this
            // server still leads.
            Err(error) if is_of_a_command(error) || is_of_a_lock(error) => {
                let undone = sqlx::raw_sql(sql::ROLLBACK).execute(&mut connection);
                matches!(timeout(TRANSACTION, undone).await, Ok(Ok(_)))
            }
            Err(_) => false,
        };
        if usable {
            self.used = Instant::now();
            self.connection = Some(connection);
        }
        let (replies, met_repeats) = done?;
        // A batch without orders says nothing of the next.
        if commands.iter().any(Command::names_an_order) {
            self.met_repeats = met_repeats;
        }
        Ok(replies)
    }
}

/// Whether a command is to blame, and not the server: then the batch is tried command by command.
fn is_of_a_command(error: &sqlx::Error) -> bool {
    use sqlx::error::ErrorKind;
    match error {
        sqlx::Error::Encode(_) | sqlx::Error::Decode(_) => true,
        sqlx::Error::Database(error) => {
            // Too long, out of range, an invalid text, an invalid JSON, too large a message.
            const DATA: [u16; 6] = [1406, 1264, 1366, 3140, 3141, 1153];
            !matches!(error.kind(), ErrorKind::Other) || DATA.contains(&number(&**error))
        }
        _ => false,
    }
}

/// Whether a lock was waited for too long, or the server chose this transaction to end a deadlock.
fn is_of_a_lock(error: &sqlx::Error) -> bool {
    error
        .as_database_error()
        .is_some_and(|error| matches!(number(error), 1205 | 1213))
}

/// The server's number of an error.
fn number(error: &(dyn sqlx::error::DatabaseError + 'static)) -> u16 {
    error
        .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
        .map_or(0, sqlx::mysql::MySqlDatabaseError::number)
}

impl Executor for Writer {
    type Command = Command;
    type Reply = Result<Reply, Unanswered>;

    /// An error means that a command is to blame, if there are several. What the server is to blame
    /// for is no error: trying each command of the batch by itself would only take longer.
    async fn run(&mut self, commands: &[Command]) -> Result<Vec<Self::Reply>, sqlx::Error> {
        let begun = Instant::now();
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.transaction(commands).await {
                Ok(replies) => return Ok(replies.into_iter().map(Ok).collect()),
                Err(error) => error,
            };
            if is_of_a_command(&error) && commands.len() > 1 {
                return Err(error);
            }
            tracing::warn!(%error, tries, commands = commands.len(), "a batch of the ledger failed");
            if tries == TRIES || begun.elapsed() >= PATIENCE {
                let unanswered = Unanswered(Arc::new(error));
                return Ok(commands.iter().map(|_| Err(unanswered.clone())).collect());
            }
            sleep(PAUSE).await;
        }
    }
}

/// A batch; what became of each command, and whether one named an order that was stored already.
///
/// Most batches name new orders only, so that is what is tried where nothing else is expected: a
/// stored order is met by its unique key, whatever was thought of it, and the batch is undone. What
/// else was wrong with a command may not matter either once its order is known.
async fn transaction(
    connection: &mut MySqlConnection,
    commands: &[Command],
    expects_repeats: bool,
) -> Result<(Vec<Reply>, bool), sqlx::Error> {
    if !expects_repeats {
        match attempt(connection, commands, false).await {
            Err(error) if is_of_a_command(&error) => {
                sqlx::raw_sql(sql::ROLLBACK)
                    .execute(&mut *connection)
                    .await?;
            }
            done => return done,
        }
    }
    attempt(connection, commands, true).await
}

async fn attempt(
    connection: &mut MySqlConnection,
    commands: &[Command],
    looks_first: bool,
) -> Result<(Vec<Reply>, bool), sqlx::Error> {
    let named = Named::by(commands);
    let mut book = lock(connection, &named).await?;
    let unseen = (!looks_first).then(|| book.clone());
    let mut met_repeats = looks_first && look_up(connection, &named, &mut book).await?;
    let mut replies = decide(&mut book, commands);
    if let Some(unseen) = unseen
        && !replies.iter().all(stands_unseen)
    {
        book = unseen;
        met_repeats = look_up(connection, &named, &mut book).await?;
        replies = decide(&mut book, commands);
    }
    let progress = (book.position, book.now);
    let changes = book.into_changes();
    if commands
        .iter()
        .any(|command| matches!(command, Command::Probe))
    {
        sqlx::query(sql::PROBE).execute(&mut *connection).await?;
    }
    write(connection, &changes).await?;
    if !changes.applied.is_empty() {
        sqlx::query(sql::UPDATE_PROGRESS)
            .bind(i64::try_from(progress.0.0).map_err(sql::impossible)?)
            .bind(progress.1.0)
            .execute(&mut *connection)
            .await?;
    }
    pass(Failpoint::LedgerBeforeCommit);
    sqlx::raw_sql(sql::COMMIT).execute(connection).await?;
    pass(Failpoint::LedgerCommitted);
    Ok((replies, met_repeats))
}

fn decide(book: &mut Book, commands: &[Command]) -> Vec<Reply> {
    commands
        .iter()
        .map(|command| book.decide(command))
        .collect()
}

/// Whether a reply needs no look at the stored orders: a transfer that would be refused may have been
/// applied long ago, and then its first answer stands; one that would be applied twice is not inserted.
fn stands_unseen(reply: &Reply) -> bool {
    match reply {
        Reply::Transfer(outcome) => matches!(outcome, TransferOutcome::Applied(_)),
        Reply::Done | Reply::CreditsClosed(_) | Reply::UnknownAccount(_) => true,
    }
}

/// Locks the books and reads the accounts that the commands name.
async fn lock(connection: &mut MySqlConnection, named: &Named) -> Result<Book, sqlx::Error> {
    let (position, last, clock): (i64, i64, i64) = sqlx::query_as(sql::LOCK)
        .fetch_one(&mut *connection)
        .await?;
    let mut book = Book::new(
        sql::position(position)?,
        UnixMillis(last),
        UnixMillis(clock),
    );
    for (account, entry) in accounts(connection, &named.accounts).await? {
        book.with_account(account, entry);
    }
    Ok(book)
}

/// Reads the stored ones of the orders that the commands name; whether there are any.
async fn look_up(
    connection: &mut MySqlConnection,
    named: &Named,
    book: &mut Book,
) -> Result<bool, sqlx::Error> {
    if named.orders.is_empty() {
        return Ok(false);
    }
    let orders: Vec<&String> = named.orders.iter().collect();
    let mut query = sqlx::query_as(AssertSqlSafe(sql::orders(orders.len())));
    for order in keys::fill(&orders) {
        query = query.bind(order_bytes(order)?);
    }
    let rows: Vec<sql::TransferRow> = query.fetch_all(connection).await?;
    let any = !rows.is_empty();
    for row in rows {
        book.with_order(sql::transfer(row)?);
    }
    Ok(any)
}

fn order_bytes(order: &str) -> Result<Vec<u8>, sqlx::Error> {
    let OrderId(bytes) = order.parse().map_err(sql::impossible)?;
    Ok(bytes.to_vec())
}

/// The stored ones of the accounts.
async fn accounts(
    connection: &mut MySqlConnection,
    names: impl IntoIterator<Item = impl AsRef<str>>,
) -> Result<Vec<(Account, Entry)>, sqlx::Error> {
    let names: Vec<String> = names
        .into_iter()
        .map(|name| name.as_ref().to_owned())
        .collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = sqlx::query_as(AssertSqlSafe(sql::accounts(names.len())));
    for name in keys::fill(&names) {
        query = query.bind(name);
    }
    let rows: Vec<(i64, String, i64, Option<i64>, i64)> = query.fetch_all(connection).await?;
    rows.into_iter()
        .map(|(row, name, balance, credits_closed_at, closed)| {
            let entry = Entry {
                row: Some(row),
                balance,
                credits_closed_at: credits_closed_at.map(sql::position).transpose()?,
                closed: closed != 0,
            };
            Ok((sql::account(&name)?, entry))
        })
        .collect()
}

async fn write(connection: &mut MySqlConnection, changes: &Changes) -> Result<(), sqlx::Error> {
    let mut ids: HashMap<Account, i64> = changes
        .touched
        .iter()
        .filter_map(|(account, entry)| Some((account.clone(), entry.row?)))
        .collect();
    if !changes.opened.is_empty() {
        let names: Vec<String> = changes.opened.iter().map(Account::to_string).collect();
        write_rows(connection, sql::INSERT_ACCOUNTS, &names).await?;
        for (account, entry) in accounts(connection, &names).await? {
            ids.extend(entry.row.map(|row| (account, row)));
        }
    }
    let row = |account: &Account| {
        ids.get(account)
            .copied()
            .ok_or_else(|| sql::impossible("an account without a row"))
    };
    if !changes.applied.is_empty() {
        let mut transfers = Vec::with_capacity(changes.applied.len());
        for one in &changes.applied {
            let (content, receipt) = (&one.transfer.content, one.transfer.receipt);
            let position = i64::try_from(receipt.position.0).map_err(sql::impossible)?;
            transfers.push((one, position, row(&content.from)?, row(&content.to)?));
        }
        let inserted = rows::insert(
            connection,
            sql::INSERT_TRANSFERS,
            &transfers,
            "",
            |mut values, (one, position, debit, credit)| {
                values
                    .push_bind(position)
                    .push_bind(one.transfer.order_id.0.as_slice())
                    .push_bind(debit)
                    .push_bind(credit)
                    .push_bind(one.transfer.content.amount.as_i64())
                    .push_bind(one.memo.as_str())
                    .push_bind(one.transfer.receipt.applied_at.0);
            },
        )
        .await?;
        all_written(inserted, transfers.len())?;
    }
    let mut touched = Vec::with_capacity(changes.touched.len());
    for (account, entry) in &changes.touched {
        let closed_at = entry.credits_closed_at.map(|position| position.0);
        let closed_at = closed_at.map(i64::try_from).transpose();
        let closed_at = closed_at.map_err(sql::impossible)?;
        touched.push((row(account)?, account.to_string(), entry, closed_at));
    }
    // An account is never removed, and this transaction has read the row of each.
    rows::insert(
        connection,
        sql::WRITE_ACCOUNTS,
        &touched,
        sql::CHANGES,
        |mut values, (row, name, entry, closed_at)| {
            values
                .push_bind(row)
                .push_bind(name.as_str())
                .push_bind(entry.balance)
                .push_bind(closed_at)
                .push_bind(i64::from(entry.closed));
        },
    )
    .await
    .map(drop)
}

/// Writes exactly `rows`, or fails.
async fn write_rows<R: serde::Serialize>(
    connection: &mut MySqlConnection,
    statement: &'static str,
    rows: &Vec<R>,
) -> Result<(), sqlx::Error> {
    let done = sqlx::query(statement)
        .bind(sql::json(rows)?)
        .execute(connection)
        .await?;
    all_written(done.rows_affected(), rows.len())
}

fn all_written(affected: u64, rows: usize) -> Result<(), sqlx::Error> {
    if affected == rows as u64 {
        Ok(())
    } else {
        Err(sql::impossible(
            "a batch that did not write each of its rows once",
        ))
    }
}
