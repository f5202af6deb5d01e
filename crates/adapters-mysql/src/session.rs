//! A connection that one task owns: made when it is needed, thrown away when it failed.

use sql_core::mysql;
use sqlx::{MySqlConnection, mysql::MySqlConnectOptions};
use std::{
    future::Future,
    time::{Duration, Instant},
};

/// The longest that one batch may take. A server that takes longer is as good as gone.
const BATCH: Duration = Duration::from_secs(10);
/// How long a server that could not be reached is left alone.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
/// The most times that a transaction is run that lost to another.
const TRIES_MAX: u32 = 8;

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Its transactions begin by themselves and end with COMMIT or ROLLBACK.
    Write,
    /// Each statement is by itself.
    Read,
}

/// What is done on a connection. It may be done again from its beginning.
pub(crate) trait Work: Sync {
    /// What it comes to.
    type Output: Send;

    /// Does it; and whether anything was written.
    fn run(
        &self,
        connection: &mut MySqlConnection,
    ) -> impl Future<Output = Result<(Self::Output, bool), sqlx::Error>> + Send;

    /// The most times that it is run when it waited too long for a lock. Who comes behind it waits
    /// meanwhile.
    fn lock_waits_max(&self) -> u32 {
        2
    }

    /// Called when everything is written and nothing committed.
    fn before_commit(&self) {}
}

/// A connection and how to get another.
pub(crate) struct Session {
    options: MySqlConnectOptions,
    purpose: Purpose,
    connection: Option<(MySqlConnection, Instant)>,
    failed_at: Option<Instant>,
}

impl Session {
    pub(crate) const fn new(options: MySqlConnectOptions, purpose: Purpose) -> Self {
        Self {
            options,
            purpose,
            connection: None,
            failed_at: None,
        }
    }

    async fn get(&mut self) -> Result<&mut MySqlConnection, sqlx::Error> {
        // The server ends a writer's session that was silent for too long.
        let is_old = |(_, used): &(MySqlConnection, Instant)| {
            self.purpose == Purpose::Write && used.elapsed() > mysql::WRITER_IDLE / 2
        };
        if self.connection.as_ref().is_some_and(is_old) {
            self.connection = None;
        }
        if self.connection.is_none() {
            if self
                .failed_at
                .is_some_and(|at| at.elapsed() < AFTER_FAILURE)
            {
                return Err(mysql::late(
                    "the database was not reached just now; connecting",
                ));
            }
            let connected = match self.purpose {
                Purpose::Write => mysql::connect_writer(&self.options).await,
                Purpose::Read => mysql::connect_reader(&self.options).await,
            };
            if connected.is_err() {
                self.failed_at = Some(Instant::now());
            }
            self.connection = Some((connected?, Instant::now()));
            self.failed_at = None;
        }
        match &mut self.connection {
            Some((connection, used)) => {
                *used = Instant::now();
                Ok(connection)
            }
            None => Err(mysql::late("connecting")),
        }
    }

    /// Runs `work` in one transaction of its own, from its beginning again if it lost to another.
    /// If it has written anything, it is committed.
    ///
    /// After an error nobody knows whether it was committed, unless the server judged a statement:
    /// then it was not.
    pub(crate) async fn transact<W: Work>(&mut self, work: &W) -> Result<W::Output, sqlx::Error> {
        let (mut tries, mut lock_waits) = (0, 0);
        loop {
            tries += 1;
            let connection = self.get().await?;
            let all = async {
                let (value, wrote) = work.run(&mut *connection).await?;
                if wrote {
                    work.before_commit();
                    sqlx::raw_sql("COMMIT").execute(&mut *connection).await?;
                } else {
                    sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
                }
                Ok(value)
            };
            let error = match bounded(all).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let ended = mysql::is_judgement(&error)
                && bounded(async { sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await })
                    .await
                    .is_ok();
            if !ended {
                // The server rolls back what it does not hear of again.
                self.connection = None;
                return Err(error);
            }
            let Some(code) = mysql::lost_to_another(&error) else {
                return Err(error);
            };
            lock_waits += u32::from(code == mysql::LOCK_WAIT);
            if tries >= TRIES_MAX || lock_waits >= work.lock_waits_max() {
                return Err(error);
            }
            metrics::counter!("guafen_store_retries_total", "code" => code).increment(1);
            tracing::debug!(
                code,
                tries,
                "a transaction lost to another and is run again"
            );
            tokio::time::sleep(jitter(tries)).await;
        }
    }

    /// Runs reads, each of which is one statement.
    pub(crate) async fn read<W: Work>(&mut self, work: &W) -> Result<W::Output, sqlx::Error> {
        // A connection that has died since it was last used says so now; another one may be had.
        let mut tries = 0;
        loop {
            tries += 1;
            let connection = self.get().await?;
            match bounded(work.run(connection)).await {
                Ok((value, _)) => return Ok(value),
                Err(error) if mysql::is_judgement(&error) => return Err(error),
                Err(error) => {
                    self.connection = None;
                    if tries > 1 {
                        return Err(error);
                    }
                }
            }
        }
    }
}

async fn bounded<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    tokio::time::timeout(BATCH, work)
        .await
        .unwrap_or_else(|_| Err(mysql::late("a batch")))
}

/// A short wait, longer with each try and different for everybody.
fn jitter(tries: u32) -> Duration {
    let most = 1_u64 << tries.min(6);
    let nanos = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .subsec_nanos();
    Duration::from_micros(u64::from(nanos) % (most * 1_000) + 200)
}
