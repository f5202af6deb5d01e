//! What a database does with the writes of a signup when each signup is one transaction: the measure
//! that figures of different machines, and of one machine at different times, can be told in.

use crate::{Database, Server};
use anyhow::{Context, Result};
use sqlx::{Connection, MySqlConnection};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{task::JoinSet, time::timeout};

const TABLES: [&str; 4] = [
    "CREATE TABLE signup (contest_id BIGINT NOT NULL, user_id BIGINT NOT NULL, state VARCHAR(16) NOT NULL, \
     fee BIGINT NOT NULL, created_at BIGINT NOT NULL, PRIMARY KEY (contest_id, user_id)) ENGINE = InnoDB",
    "CREATE TABLE history (user_id BIGINT NOT NULL, version BIGINT NOT NULL, state VARCHAR(16) NOT NULL, \
     PRIMARY KEY (user_id, version)) ENGINE = InnoDB",
    "CREATE TABLE transfer (position BIGINT AUTO_INCREMENT PRIMARY KEY, order_id BIGINT NOT NULL UNIQUE, \
     debit BIGINT NOT NULL, credit BIGINT NOT NULL, amount BIGINT NOT NULL) ENGINE = InnoDB",
    "CREATE TABLE account (account_id BIGINT PRIMARY KEY, balance BIGINT NOT NULL) ENGINE = InnoDB",
];
const WHOLE: &str = "SELECT COUNT(*) FROM signup AS s JOIN history AS h ON h.user_id = s.user_id \
     JOIN transfer AS t ON t.order_id = s.user_id JOIN account AS a ON a.account_id = s.user_id \
     WHERE s.state = 'in_progress' AND a.balance = -s.fee AND t.amount = s.fee";
const PAID: &str = "SELECT balance FROM account WHERE account_id = 0";
/// The account that all pay into.
const POOL: i64 = 0;
const FEE: i64 = 10;
/// The longest that connecting may take, and one transaction beyond the time that is measured.
const LAST: Duration = Duration::from_secs(20);

/// A schema of its own on a server that is being measured.
pub struct Yardstick {
    database: Database,
    next: Arc<AtomicU64>,
}

impl Yardstick {
    /// Makes its tables.
    ///
    /// # Errors
    /// The server refuses or does not answer.
    pub async fn on(server: &Server) -> Result<Self> {
        let database = server.database().await?;
        for table in TABLES {
            database.execute(table).await?;
        }
        database
            .execute("INSERT INTO account VALUES (0, 0)")
            .await?;
        Ok(Self {
            database,
            next: Arc::new(AtomicU64::new(1)),
        })
    }

    /// Signups per second of so many connections: the row, its first line of history, the transfer,
    /// both balances and the state, one transaction each, for so long.
    ///
    /// # Errors
    /// The server refuses, does not answer, or has not written what it answered.
    pub async fn measure(&self, connections: usize, bound: Duration) -> Result<u64> {
        let mut open = Vec::with_capacity(connections);
        for _ in 0..connections {
            let connecting = MySqlConnection::connect(self.database.url());
            let mut connection = timeout(LAST, connecting)
                .await
                .context("the yardstick's server does not answer")??;
            sqlx::raw_sql("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
                .execute(&mut connection)
                .await?;
            open.push(connection);
        }
        let before = self.written().await?;
        let begun = Instant::now();
        let mut writers = JoinSet::new();
        for mut connection in open {
            let next = Arc::clone(&self.next);
            writers.spawn(async move {
                let mut done = 0_u64;
                while begun.elapsed() < bound {
                    let user = i64::try_from(next.fetch_add(1, Ordering::Relaxed))?;
                    sign_up(&mut connection, user).await?;
                    done += 1;
                }
                connection.close().await?;
                anyhow::Ok(done)
            });
        }
        let mut done = 0;
        while let Some(writer) = timeout(bound + LAST, writers.join_next())
            .await
            .context("a transaction of the yardstick does not end")?
        {
            done += writer??;
        }
        let took = begun.elapsed();
        anyhow::ensure!(
            self.written().await? - before == i64::try_from(done)?,
            "the yardstick has not written all that was answered"
        );
        Ok(u64::try_from(
            u128::from(done) * 1_000 / took.as_millis().max(1),
        )?)
    }

    /// How many signups there are whole; all of them are.
    async fn written(&self) -> Result<i64> {
        let whole = self.database.number(WHOLE).await?;
        let paid = self.database.number(PAID).await? / FEE;
        anyhow::ensure!(whole == paid, "{whole} signups are whole, {paid} have paid");
        Ok(whole)
    }
}

async fn sign_up(connection: &mut MySqlConnection, user: i64) -> sqlx::Result<()> {
    let mut transaction = connection.begin().await?;
    let one = &mut *transaction;
    sqlx::query("INSERT INTO signup VALUES (1, ?, 'initialized', ?, ?)")
        .bind(user)
        .bind(FEE)
        .bind(user)
        .execute(&mut *one)
        .await?;
    sqlx::query("INSERT INTO history VALUES (?, 1, 'initialized')")
        .bind(user)
        .execute(&mut *one)
        .await?;
    sqlx::query("INSERT INTO transfer (order_id, debit, credit, amount) VALUES (?, ?, ?, ?)")
        .bind(user)
        .bind(user)
        .bind(POOL)
        .bind(FEE)
        .execute(&mut *one)
        .await?;
    // The pool last of the two, so that it is locked for the shortest time.
    for (account, amount) in [(user, -FEE), (POOL, FEE)] {
        sqlx::query(
            "INSERT INTO account VALUES (?, ?) ON DUPLICATE KEY UPDATE balance = balance + VALUES(balance)",
        )
        .bind(account)
        .bind(amount)
        .execute(&mut *one)
        .await?;
    }
    sqlx::query("UPDATE signup SET state = 'in_progress' WHERE contest_id = 1 AND user_id = ?")
        .bind(user)
        .execute(&mut *one)
        .await?;
    transaction.commit().await
}
