//! The books in a database of MySQL or MariaDB.

#[cfg(test)]
mod plans;
mod schema;
mod sql;
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
    mysql::{
        self as session,
        readers::{Question, Readers},
    },
};
use sqlx::{Connection, MySqlConnection};
use std::{fmt, time::Duration};
use tokio::time::timeout;
use writer::{Unanswered, Writer};

pub use schema::migrate;
pub use sql_core::mysql::MysqlError;

/// The longest that a caller waits for what it sent.
const ANSWER: Duration = Duration::from_secs(5);
/// The longest that a caller waits for what it asked.
const READ: Duration = Duration::from_secs(4);

/// How much a server is held to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// A server that may forget what it has answered is refused.
    #[default]
    Production,
    /// Any server will do.
    Test,
}

/// What a ledger on MySQL or MariaDB needs to know.
#[derive(Clone)]
pub struct MysqlSettings {
    /// `mysql://user:password@host:port/database`; its `ssl-mode` and `ssl-ca` say whether the
    /// server is known by its certificate. The server must be the one that leads.
    pub url: String,
    /// The most connections that read, at least 1; one more writes.
    pub readers_max: u32,
    /// How much the server is held to.
    pub profile: Profile,
}

impl fmt::Debug for MysqlSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may hold a password.
        f.debug_struct("MysqlSettings")
            .field("readers_max", &self.readers_max)
            .field("profile", &self.profile)
            .finish_non_exhaustive()
    }
}

/// Why a command was not answered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Silent {
    #[error(transparent)]
    Group(#[from] GroupError),
    #[error(transparent)]
    Unanswered(#[from] Unanswered),
    #[error("the ledger's database did not answer within {} s", ANSWER.as_secs())]
    Late,
}

/// An open database.
pub(crate) struct Books {
    writer: GroupCommit<Writer>,
    readers: Readers,
}

impl Books {
    pub(crate) async fn open(settings: &MysqlSettings) -> Result<Self, MysqlError> {
        let options = session::options(&settings.url)?;
        let mut first = session::connect(&options).await?;
        let looking = async {
            schema::check(&mut first).await?;
            session::leading(&mut first).await?;
            if settings.profile == Profile::Production {
                session::durable(&mut first).await?;
            }
            session::assured(&mut first).await?;
            Ok::<_, MysqlError>(())
        };
        timeout(READ, looking)
            .await
            .map_err(|_| MysqlError::Silent)??;
        // It was answered; how the connection ends does not matter.
        let _ = first.close().await;
        Ok(Self {
            readers: Readers::new(options.clone(), settings.readers_max, READ),
            writer: GroupCommit::start(Writer::new(options), crate::BATCH_MAX, crate::QUEUE_MAX),
        })
    }

    pub(crate) async fn close(self) {
        // What stands in the queue before this is carried out before this is answered.
        let _ = self.submit(Command::Probe).await;
        let _ = timeout(READ, self.readers.close()).await;
    }

    /// Who gives up waiting does not stop what it sent.
    pub(crate) async fn submit(&self, command: Command) -> Result<Reply, Silent> {
        let answer = timeout(ANSWER, self.writer.submit(command))
            .await
            .map_err(|_| Silent::Late)??;
        Ok(answer?)
    }

    pub(crate) async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, sqlx::Error> {
        self.readers.read(Find(orders.to_vec())).await
    }

    /// None when there is no such account.
    pub(crate) async fn balance(&self, account: &Account) -> Result<Option<Balance>, sqlx::Error> {
        self.readers.read(Weigh(account.clone())).await
    }

    /// None when there is no such account.
    pub(crate) async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<Option<TransferPage>, sqlx::Error> {
        let question = Enumerate {
            account: account.clone(),
            after,
            limit,
        };
        self.readers.read(question).await
    }
}

/// Which of the orders are stored?
struct Find(Vec<OrderId>);

impl Question for Find {
    type Answer = Lookup;

    async fn ask(&self, reader: &mut MySqlConnection) -> Result<Lookup, sqlx::Error> {
        lookup(reader, &self.0).await
    }
}

/// What does the account hold?
struct Weigh(Account);

impl Question for Weigh {
    type Answer = Option<Balance>;

    async fn ask(&self, reader: &mut MySqlConnection) -> Result<Option<Balance>, sqlx::Error> {
        balance(reader, &self.0).await
    }
}

/// Which transfers does the account have?
struct Enumerate {
    account: Account,
    after: Position,
    limit: usize,
}

impl Question for Enumerate {
    type Answer = Option<TransferPage>;

    async fn ask(&self, reader: &mut MySqlConnection) -> Result<Option<TransferPage>, sqlx::Error> {
        list(reader, &self.account, self.after, self.limit).await
    }
}

/// A server that no longer leads may be behind: what it says is no answer.
fn leads(read_only: i64) -> Result<(), sqlx::Error> {
    if read_only == 0 {
        Ok(())
    } else {
        Err(sql::impossible(
            "the ledger's server has become read-only, and may be behind",
        ))
    }
}

/// Read-only, position, time, place in the question from 1, and what is stored there.
type LookupRow = (
    i64,
    i64,
    i64,
    Option<i64>,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

async fn lookup(reader: &mut MySqlConnection, orders: &[OrderId]) -> Result<Lookup, sqlx::Error> {
    let asked: Vec<String> = orders.iter().map(OrderId::to_string).collect();
    let rows: Vec<LookupRow> = sqlx::query_as(sql::LOOKUP)
        .bind(sql::json(&asked)?)
        .fetch_all(reader)
        .await?;
    let first = rows.first().ok_or(sqlx::Error::RowNotFound)?;
    leads(first.0)?;
    let (position, at) = (sql::position(first.1)?, UnixMillis(first.2));
    let mut found = vec![None; orders.len()];
    for (_, _, _, place, order, debit, credit, amount, position, at) in rows {
        let stored = sql::present((order, debit, credit, amount, position, at));
        if let (Some(place), Some(stored)) = (place, stored) {
            let place = usize::try_from(place - 1)
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

async fn balance(
    reader: &mut MySqlConnection,
    account: &Account,
) -> Result<Option<Balance>, sqlx::Error> {
    let row: Option<(i64, i64, i64, i64)> = sqlx::query_as(sql::BALANCE)
        .bind(account.to_string())
        .fetch_optional(reader)
        .await?;
    let Some((read_only, amount, position, at)) = row else {
        return Ok(None);
    };
    leads(read_only)?;
    Ok(Some(Balance {
        amount,
        position: sql::position(position)?,
        at: UnixMillis(at),
    }))
}

/// Read-only, position, and one transfer.
type ListRow = (
    i64,
    i64,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

/// One page; none when there is no such account.
async fn list(
    reader: &mut MySqlConnection,
    account: &Account,
    after: Position,
    limit: usize,
) -> Result<Option<TransferPage>, sqlx::Error> {
    let name = account.to_string();
    // Positions and pages beyond the integer of the database hold nothing more than its largest.
    let after = i64::try_from(after.0).unwrap_or(i64::MAX);
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows: Vec<ListRow> = sqlx::query_as(sql::LIST)
        .bind(&name)
        .bind(after)
        .bind(limit)
        .bind(&name)
        .bind(after)
        .bind(limit)
        .bind(limit)
        .bind(&name)
        .fetch_all(reader)
        .await?;
    let Some(first) = rows.first() else {
        return Ok(None);
    };
    leads(first.0)?;
    let closed_position = sql::position(first.1)?;
    let transfers = rows
        .into_iter()
        .filter_map(|(_, _, order, debit, credit, amount, position, at)| {
            sql::present((order, debit, credit, amount, position, at)).map(sql::transfer)
        })
        .collect::<Result<_, _>>()?;
    Ok(Some(TransferPage {
        transfers,
        closed_position,
    }))
}
