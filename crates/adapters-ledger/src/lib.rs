//! The reference ledger: a durable funds system in one SQLite file, for whoever has none.
//!
//! Double entry, append-only transfers, balances kept beside them in the same transaction. Writes
//! that arrive together commit together, so a pool account that everybody credits serialises
//! nobody. Every read is one statement, hence one snapshot, and sees every write that was answered
//! before it. All time is the database's.
//!
//! One process writes a file at a time.

mod book;
mod sql;
mod writer;

use async_trait::async_trait;
use book::{Command, Reply};
use domain::{
    order::{Account, OrderId},
    time::UnixMillis,
    transfer::{CreditsClosed, Position},
};
use ports::funds::{
    Balance, Capabilities, Funds, FundsError, LOOKUP_MAX, Lookup, TransferOutcome, TransferPage,
    TransferRequest,
};
use sql_core::{
    group::GroupCommit,
    sqlite::{self, Step},
};
use sqlx::SqlitePool;
use std::path::{Path, PathBuf};
use tokio::sync::oneshot;
use writer::Writer;

const STEPS: &[Step] = &[(1, "ledger", include_str!("../migrations/0001_ledger.sql"))];

/// Connections that read.
const READERS: u32 = 4;
/// The most commands in one transaction.
const BATCH_MAX: usize = 512;
/// The most commands that wait inside; further callers wait outside.
const QUEUE_MAX: usize = 4_096;

/// The reference ledger.
pub struct Ledger {
    writer: GroupCommit<Writer>,
    writer_gone: oneshot::Receiver<()>,
    readers: SqlitePool,
}

/// The ledger's file could not be opened, or is not a ledger's.
#[derive(Debug, thiserror::Error)]
#[error("the ledger {} could not be opened", path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// What the database said.
    pub source: sqlite::OpenError,
}

impl Ledger {
    /// Opens the ledger in the file `path`, creating it if it is not there. Must be called within
    /// a Tokio runtime, which then runs its writer.
    ///
    /// Dropping the ledger is safe at any time; what was sent to it is still carried out while
    /// the runtime lives.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        let failed = |source| OpenError {
            path: path.to_owned(),
            source,
        };
        let database = sqlite::open(path, STEPS, READERS).await.map_err(failed)?;
        let (gone, writer_gone) = oneshot::channel();
        let writer = GroupCommit::start(Writer::new(database.writer, gone), BATCH_MAX, QUEUE_MAX);
        Ok(Self {
            writer,
            writer_gone,
            readers: database.readers,
        })
    }

    /// Carries out what was sent, then closes the file.
    pub async fn close(self) {
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

    /// Closes an account: it takes part in nothing any more. Idempotent; for operators.
    ///
    /// # Errors
    /// [`FundsError::UnknownAccount`], or [`FundsError::Unavailable`] when nobody knows whether
    /// it was closed.
    pub async fn close_account(&self, account: &Account) -> Result<(), FundsError> {
        self.done(Command::Close(account.clone())).await
    }

    /// Whether the ledger can write: commits a page that means nothing, and syncs it.
    ///
    /// # Errors
    /// [`FundsError::Unavailable`] when it cannot.
    pub async fn probe(&self) -> Result<(), FundsError> {
        self.done(Command::Probe).await
    }

    async fn done(&self, command: Command) -> Result<(), FundsError> {
        match self.writer.submit(command).await.map_err(unavailable)? {
            Reply::Done => Ok(()),
            reply => Err(refused(reply)),
        }
    }
}

#[async_trait]
impl Funds for Ledger {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            close_credits: true,
            closed_position: true,
            linearizable_lookup: true,
            orders_for_ever: true,
        }
    }

    async fn open_account(&self, account: &Account) -> Result<(), FundsError> {
        self.done(Command::Open(account.clone())).await
    }

    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome {
        match self.writer.submit(Command::Transfer(request.clone())).await {
            Ok(Reply::Transfer(outcome)) => outcome,
            Ok(reply) => {
                tracing::error!(?reply, order = %request.order_id, "a transfer got another command's reply");
                TransferOutcome::Unknown
            }
            Err(error) => {
                tracing::error!(?error, order = %request.order_id, "a transfer's outcome is unknown");
                TransferOutcome::Unknown
            }
        }
    }

    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> {
        if orders.len() > LOOKUP_MAX {
            return Err(FundsError::unavailable("too many orders in one look-up"));
        }
        read_lookup(&self.readers, orders)
            .await
            .map_err(unavailable)
    }

    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError> {
        let command = Command::CloseCredits(account.clone());
        match self.writer.submit(command).await.map_err(unavailable)? {
            Reply::CreditsClosed(closed) => Ok(closed),
            reply => Err(refused(reply)),
        }
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        let row: Option<(i64, i64, i64)> = sqlx::query_as(sql::BALANCE.as_str())
            .bind(account.to_string())
            .fetch_optional(&self.readers)
            .await
            .map_err(unavailable)?;
        let (amount, position, at) =
            row.ok_or_else(|| FundsError::UnknownAccount(account.clone()))?;
        let position = sql::position(position).map_err(unavailable)?;
        Ok(Balance {
            amount,
            position,
            at: UnixMillis(at),
        })
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError> {
        read_page(&self.readers, account, after, limit)
            .await
            .map_err(unavailable)?
            .ok_or_else(|| FundsError::UnknownAccount(account.clone()))
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

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> FundsError {
    FundsError::unavailable(error)
}

/// What a reply that is no success means to a caller who waits for one.
fn refused(reply: Reply) -> FundsError {
    match reply {
        Reply::UnknownAccount(account) => FundsError::UnknownAccount(account),
        reply => FundsError::unavailable(format!("another command's reply: {reply:?}")),
    }
}
