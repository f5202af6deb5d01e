//! Connections that read, shared by all who ask. A read ends within its time, and a connection that
//! failed or was late is never used again.
//!
//! A pool of the driver's waits without a bound for each connection that comes back, so a host that
//! is gone without a word would keep every one of them for ever.

use super::{connect_reader, late};
use sqlx::{
    Connection, Execute, MySql, MySqlConnection, SqlStr,
    mysql::{MySqlArguments, MySqlConnectOptions, MySqlRow},
    query::Query,
};
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

/// A connection that was silent for so long is not used again: what stands between may have
/// forgotten it.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// No connection is used for longer. Where the address leads elsewhere by now, nobody goes on
/// asking the server that once led.
const AGE_MAX: Duration = Duration::from_mins(10);

/// What is asked on a connection. It changes nothing, and may be asked again.
pub trait Question: Send + Sync + 'static {
    /// What it comes to.
    type Answer: Send + 'static;

    /// Asks it.
    fn ask(
        &self,
        reader: &mut MySqlConnection,
    ) -> impl Future<Output = Result<Self::Answer, sqlx::Error>> + Send;
}

/// The connections. Clones share them.
#[derive(Clone)]
pub struct Readers {
    shared: Arc<Shared>,
    within: Duration,
}

impl Readers {
    /// At most `most` connections, at least 1, each made when it is first needed. A read ends
    /// `within` that time, waiting for a connection and making it included.
    #[must_use]
    pub fn new(options: MySqlConnectOptions, most: u32, within: Duration) -> Self {
        let most = usize::try_from(most.max(1)).unwrap_or(usize::MAX);
        let shared = Shared {
            options,
            permits: Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS))),
            idle: Mutex::default(),
        };
        Self {
            shared: Arc::new(shared),
            within,
        }
    }

    /// The same connections for reads that end `within` another time.
    #[must_use]
    pub fn within(&self, within: Duration) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
            within,
        }
    }

    /// Asks a question, on another connection again if the first turns out to be dead.
    ///
    /// Once there is a connection for it, it is asked by itself: whoever goes away leaves no half-read
    /// connection behind (hazard G1).
    ///
    /// # Errors
    /// What the driver says, or that it took too long.
    pub async fn read<Q: Question>(&self, question: Q) -> Result<Q::Answer, sqlx::Error> {
        let (shared, until) = (Arc::clone(&self.shared), Instant::now() + self.within);
        let permit = timeout_at(until, Arc::clone(&shared.permits).acquire_owned()).await;
        let permit = permit
            .map_err(|_| late("a read"))?
            .map_err(|_| sqlx::Error::PoolClosed)?;
        let reading = tokio::spawn(async move {
            let _permit = permit;
            shared.read(&question, until).await
        });
        let broken_off = |error| Err(sqlx::Error::Io(io::Error::other(error)));
        reading.await.unwrap_or_else(broken_off)
    }

    /// All rows of one statement.
    ///
    /// # Errors
    /// As [`Readers::read`].
    pub async fn all(
        &self,
        mut query: Query<'_, MySql, MySqlArguments>,
    ) -> Result<Vec<MySqlRow>, sqlx::Error> {
        let arguments = query.take_arguments().map_err(sqlx::Error::Encode)?;
        let arguments = arguments.unwrap_or_default();
        let statement = query.sql();
        self.read(Rows {
            statement,
            arguments,
        })
        .await
    }

    /// The first row of one statement, if there is any.
    ///
    /// # Errors
    /// As [`Readers::read`].
    pub async fn maybe(
        &self,
        query: Query<'_, MySql, MySqlArguments>,
    ) -> Result<Option<MySqlRow>, sqlx::Error> {
        Ok(self.all(query).await?.into_iter().next())
    }

    /// The first row of one statement.
    ///
    /// # Errors
    /// As [`Readers::read`]; and [`sqlx::Error::RowNotFound`].
    pub async fn one(
        &self,
        query: Query<'_, MySql, MySqlArguments>,
    ) -> Result<MySqlRow, sqlx::Error> {
        self.maybe(query).await?.ok_or(sqlx::Error::RowNotFound)
    }

    /// Lets go of the connections that nobody uses, and makes no more: whoever asks from now on
    /// fails.
    pub async fn close(&self) {
        self.shared.permits.close();
        let idle = std::mem::take(&mut *self.shared.idle());
        for reader in idle {
            // How it ends does not matter.
            let _ = timeout_at(Instant::now() + super::CONNECT, reader.connection.close()).await;
        }
    }
}

struct Shared {
    options: MySqlConnectOptions,
    permits: Arc<Semaphore>,
    idle: Mutex<Vec<Reader>>,
}

struct Reader {
    connection: MySqlConnection,
    made_at: Instant,
    used_at: Instant,
}

impl Shared {
    async fn read<Q: Question>(
        &self,
        question: &Q,
        until: Instant,
    ) -> Result<Q::Answer, sqlx::Error> {
        let late = |_| late("a read");
        if let Some(mut reader) = self.take() {
            match timeout_at(until, question.ask(&mut reader.connection)).await {
                Ok(Ok(answer)) => {
                    self.keep(reader);
                    return Ok(answer);
                }
                // What it says may be about itself, such as that it has ended, or that its server
                // no longer leads; then it is true of the others as well.
                Ok(Err(_)) => self.idle().clear(),
                Err(elapsed) => {
                    self.idle().clear();
                    return Err(late(elapsed));
                }
            }
        }
        let connected = timeout_at(until, connect_reader(&self.options)).await;
        let mut connection = connected.map_err(late)??;
        let answer = timeout_at(until, question.ask(&mut connection)).await;
        let answer = answer.map_err(late)??;
        let now = Instant::now();
        self.keep(Reader {
            connection,
            made_at: now,
            used_at: now,
        });
        Ok(answer)
    }

    /// The connection that was used last, so that those that are too many grow old.
    fn take(&self) -> Option<Reader> {
        let mut idle = self.idle();
        idle.retain(|reader| {
            reader.used_at.elapsed() < IDLE_MAX && reader.made_at.elapsed() < AGE_MAX
        });
        idle.pop()
    }

    fn keep(&self, mut reader: Reader) {
        reader.used_at = Instant::now();
        let mut idle = self.idle();
        if !self.permits.is_closed() {
            idle.push(reader);
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One statement.
struct Rows {
    statement: SqlStr,
    arguments: MySqlArguments,
}

impl Question for Rows {
    type Answer = Vec<MySqlRow>;

    async fn ask(&self, reader: &mut MySqlConnection) -> Result<Vec<MySqlRow>, sqlx::Error> {
        sqlx::query_with(self.statement.clone(), self.arguments.clone())
            .fetch_all(reader)
            .await
    }
}
