//! The reference ledger: a durable funds system for whoever has none, in one SQLite file or in a
//! database of MySQL or MariaDB.
//!
//! Double entry, append-only transfers, balances kept beside them in the same transaction. Writes
//! that arrive together commit together, so a pool account that everybody credits serialises
//! nobody. Every read is one statement, hence one snapshot, and sees every write that was answered
//! before it. All time is the database's.
//!
//! One process writes a file at a time. Several processes may write one database: each transaction
//! locks the books first.

mod book;
mod mysql;
mod named;
mod sqlite;

use async_trait::async_trait;
use book::{Command, Reply};
use domain::{
    order::{Account, OrderId},
    transfer::{CreditsClosed, Position},
};
use ports::funds::{
    Balance, Capabilities, Funds, FundsError, LOOKUP_MAX, Lookup, TransferOutcome, TransferPage,
    TransferRequest,
};
use std::path::{Path, PathBuf};

pub use mysql::{MysqlError, MysqlSettings, Profile, migrate};

/// The most commands in one transaction.
const BATCH_MAX: usize = 512;
/// The most commands that wait inside; further callers wait outside.
const QUEUE_MAX: usize = 4_096;

/// The reference ledger.
pub struct Ledger {
    books: Books,
}

enum Books {
    Sqlite(sqlite::Books),
    Mysql(mysql::Books),
}

/// The ledger's file could not be opened, or is not a ledger's.
#[derive(Debug, thiserror::Error)]
#[error("the ledger {} could not be opened", path.display())]
pub struct OpenError {
    /// The file.
    pub path: PathBuf,
    /// What the database said.
    pub source: sql_core::sqlite::OpenError,
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
        let books = sqlite::Books::open(path).await.map_err(failed)?;
        Ok(Self {
            books: Books::Sqlite(books),
        })
    }

    /// Opens the ledger in a database of MySQL or MariaDB, which must have been migrated (see
    /// [`migrate`]). Must be called within a Tokio runtime, which then runs its writer.
    ///
    /// While the server does not answer, callers get [`TransferOutcome::Unknown`] or
    /// [`FundsError::Unavailable`] within a few seconds; once it is back, so is the ledger.
    ///
    /// # Errors
    /// [`MysqlError`].
    pub async fn open_mysql(settings: &MysqlSettings) -> Result<Self, MysqlError> {
        let books = mysql::Books::open(settings).await?;
        Ok(Self {
            books: Books::Mysql(books),
        })
    }

    /// Carries out what was sent, then closes file or connections.
    pub async fn close(self) {
        match self.books {
            Books::Sqlite(books) => books.close().await,
            Books::Mysql(books) => books.close().await,
        }
    }

    /// Closes an account: it takes part in nothing any more. Idempotent; for operators.
    ///
    /// # Errors
    /// [`FundsError::UnknownAccount`], or [`FundsError::Unavailable`] when nobody knows whether
    /// it was closed.
    pub async fn close_account(&self, account: &Account) -> Result<(), FundsError> {
        self.done(Command::Close(account.clone())).await
    }

    /// Whether the ledger can write: commits what means nothing, and syncs it.
    ///
    /// # Errors
    /// [`FundsError::Unavailable`] when it cannot.
    pub async fn probe(&self) -> Result<(), FundsError> {
        self.done(Command::Probe).await
    }

    async fn submit(&self, command: Command) -> Result<Reply, FundsError> {
        match &self.books {
            Books::Sqlite(books) => books.submit(command).await.map_err(unavailable),
            Books::Mysql(books) => books.submit(command).await.map_err(unavailable),
        }
    }

    async fn done(&self, command: Command) -> Result<(), FundsError> {
        match self.submit(command).await? {
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
        match self.submit(Command::Transfer(request.clone())).await {
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
        match &self.books {
            Books::Sqlite(books) => books.lookup(orders).await.map_err(unavailable),
            Books::Mysql(books) => books.lookup(orders).await.map_err(unavailable),
        }
    }

    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError> {
        match self.submit(Command::CloseCredits(account.clone())).await? {
            Reply::CreditsClosed(closed) => Ok(closed),
            reply => Err(refused(reply)),
        }
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        let found = match &self.books {
            Books::Sqlite(books) => books.balance(account).await.map_err(unavailable)?,
            Books::Mysql(books) => books.balance(account).await.map_err(unavailable)?,
        };
        found.ok_or_else(|| FundsError::UnknownAccount(account.clone()))
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError> {
        let found = match &self.books {
            Books::Sqlite(books) => books
                .list(account, after, limit)
                .await
                .map_err(unavailable)?,
            Books::Mysql(books) => books
                .list(account, after, limit)
                .await
                .map_err(unavailable)?,
        };
        found.ok_or_else(|| FundsError::UnknownAccount(account.clone()))
    }
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
