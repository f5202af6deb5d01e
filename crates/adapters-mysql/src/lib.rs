//! The production store on MySQL and MariaDB. Any number of processes share it.
//!
//! Signups and events go through [`writer::Writer`]: what arrives while a batch is under way forms
//! the next one, and a batch is one transaction with one statement for each kind of row. Every
//! transaction takes its locks in one order, whatever process it runs in: contests (shared), then
//! signups, then events, each kind by key. Decisions about contests go through
//! [`slow::Slow`], one at a time. Transactions run on connections of their own, in tasks that no
//! caller can cancel; reads are single statements, so no connection of the pool is ever inside a
//! transaction (hazard G1).

mod contest_sql;
mod contests;
mod enroll;
mod events;
mod experiments;
mod exposures;
mod findings;
mod leaderboard;
mod leases;
mod notices;
mod outbox;
#[cfg(test)]
mod plans;
mod reader;
mod reconciliations;
mod rows;
mod session;
mod sheet;
mod signup_sql;
mod signups;
mod slow;
mod switches;
mod tickets;
mod writer;

use domain::effects::Effect;
use exposures::Recorder;
use ports::store::StoreError;
use reader::{Answer, Question, Reader};
use rows::failed;
use slow::Slow;
pub use sql_core::mysql::MysqlError;
use sql_core::{
    group::{Executor, GroupCommit},
    mysql::{
        self,
        readers::Readers,
        schema::{self, Later, Step},
    },
};
use sqlx::{
    MySql,
    mysql::{MySqlArguments, MySqlRow},
    query::Query,
};
use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
    time::Duration,
};
use tickets::Desk;
use writer::{Command, Reply, Writer};

const STEPS: &[Step] = &[
    (1, "contest", include_str!("../migrations/0001_contest.sql")),
    (
        2,
        "contest_leg",
        include_str!("../migrations/0002_contest_leg.sql"),
    ),
    (
        3,
        "contest_history",
        include_str!("../migrations/0003_contest_history.sql"),
    ),
    (
        4,
        "creation_key",
        include_str!("../migrations/0004_creation_key.sql"),
    ),
    (5, "signup", include_str!("../migrations/0005_signup.sql")),
    (
        6,
        "signup_history",
        include_str!("../migrations/0006_signup_history.sql"),
    ),
    (
        7,
        "sheet_line",
        include_str!("../migrations/0007_sheet_line.sql"),
    ),
    (
        8,
        "task_event",
        include_str!("../migrations/0008_task_event.sql"),
    ),
    (
        9,
        "task_progress",
        include_str!("../migrations/0009_task_progress.sql"),
    ),
    (
        10,
        "finding",
        include_str!("../migrations/0010_finding.sql"),
    ),
    (11, "outbox", include_str!("../migrations/0011_outbox.sql")),
    (12, "lease", include_str!("../migrations/0012_lease.sql")),
    (
        13,
        "contest_lists",
        include_str!("../migrations/0013_contest_lists.sql"),
    ),
    (
        14,
        "event_ticket",
        include_str!("../migrations/0014_event_ticket.sql"),
    ),
    (
        15,
        "event_ticket_window",
        include_str!("../migrations/0015_event_ticket_window.sql"),
    ),
    (
        16,
        "finding_resolution",
        include_str!("../migrations/0016_finding_resolution.sql"),
    ),
    (
        17,
        "reconciliation",
        include_str!("../migrations/0017_reconciliation.sql"),
    ),
    (
        18,
        "reconciliation_finding",
        include_str!("../migrations/0018_reconciliation_finding.sql"),
    ),
    (19, "repair", include_str!("../migrations/0019_repair.sql")),
    (20, "watch", include_str!("../migrations/0020_watch.sql")),
    (
        21,
        "watch_all",
        include_str!("../migrations/0021_watch_all.sql"),
    ),
    (
        22,
        "contest_stops",
        include_str!("../migrations/0022_contest_stops.sql"),
    ),
    (23, "notice", include_str!("../migrations/0023_notice.sql")),
    (
        24,
        "override",
        include_str!("../migrations/0024_override.sql"),
    ),
    (
        25,
        "signup_moved",
        include_str!("../migrations/0025_signup_moved.sql"),
    ),
    (26, "switch", include_str!("../migrations/0026_switch.sql")),
    (
        27,
        "change_number",
        include_str!("../migrations/0027_change_number.sql"),
    ),
    (
        28,
        "claims_off",
        include_str!("../migrations/0028_claims_off.sql"),
    ),
    (
        29,
        "contest_variants",
        include_str!("../migrations/0029_contest_variants.sql"),
    ),
    (
        30,
        "signup_variants",
        include_str!("../migrations/0030_signup_variants.sql"),
    ),
    (
        31,
        "experiment",
        include_str!("../migrations/0031_experiment.sql"),
    ),
    (
        32,
        "experiment_change",
        include_str!("../migrations/0032_experiment_change.sql"),
    ),
    (
        33,
        "exposure",
        include_str!("../migrations/0033_exposure.sql"),
    ),
];

/// The most commands that share a transaction, and the most questions that share a statement.
const BATCH_MAX: usize = 256;
/// The most commands that wait for one writer; further callers wait outside.
const QUEUE_MAX: usize = 4_096;

/// The longest that a read may take. A server that takes longer is as good as gone.
const READ: Duration = Duration::from_secs(5);
/// The longest that a read may take that looks at every row of a contest.
const COUNT: Duration = Duration::from_secs(60);

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `mysql://user:password@host:port/schema`.
    pub url: String,
    /// Connections that read, besides those that batches are read and written on.
    pub readers: u32,
    /// Writers of signups and events, each with a connection of its own.
    pub writers: usize,
    /// Whether a server that may lose what it answered is taken.
    pub weak_durability: bool,
    /// The effects that somebody takes from the outbox; others are not written.
    pub outbox_effects: Vec<Effect>,
    /// Whether somebody takes notices; else none are written.
    pub notices: bool,
}

impl Settings {
    /// The usual settings for a server.
    #[must_use]
    pub fn new(url: impl Into<String>, outbox_effects: &[Effect]) -> Self {
        Self {
            url: url.into(),
            readers: 8,
            writers: 2,
            weak_durability: false,
            outbox_effects: outbox_effects.to_vec(),
            notices: false,
        }
    }
}

/// Brings the schema up to date. May be run by several at once, and while nodes of the version
/// before are running.
///
/// # Errors
/// [`MysqlError`]; what was done until then is kept, and the next run goes on from there.
pub async fn migrate(url: &str) -> Result<(), MysqlError> {
    schema::migrate(url, STEPS, Later::Take).await
}

/// The store. Clones share it.
#[derive(Clone)]
pub struct MysqlStore {
    writers: Arc<[GroupCommit<Writer>]>,
    slow: Arc<[GroupCommit<Slow>]>,
    /// Of their own, so that no contest that is locked makes a node lose its work.
    leases: GroupCommit<Slow>,
    tickets: GroupCommit<Desk>,
    exposures: GroupCommit<Recorder>,
    questions: GroupCommit<Reader>,
    readers: Readers,
    /// The same for what looks at every row of a contest.
    counters: Readers,
}

impl MysqlStore {
    /// Opens the store: looks at the server and its schema first, on a plain connection, so that
    /// what is wrong is said as it is.
    ///
    /// # Errors
    /// [`MysqlError`]: it does not answer, may lose what it answers, cannot be written to, or its
    /// schema is not the one that this program needs.
    pub async fn open(settings: Settings) -> Result<Self, MysqlError> {
        let Settings {
            url,
            readers,
            writers,
            weak_durability,
            outbox_effects,
            notices,
        } = settings;
        let options = mysql::options(&url)?;
        let mut connection = mysql::connect(&options).await?;
        mysql::leading(&mut connection).await?;
        if !weak_durability {
            mysql::durable(&mut connection).await?;
        }
        schema::check(&mut connection, STEPS, Later::Take).await?;
        mysql::assured(&mut connection).await?;
        let effects: Arc<[Effect]> = outbox_effects.into();
        let writer = |_| {
            let writer = Writer::new(options.clone(), Arc::clone(&effects));
            GroupCommit::start(writer, BATCH_MAX, QUEUE_MAX)
        };
        let reading = Readers::new(options.clone(), readers, READ);
        let slow = || GroupCommit::start(Slow::new(options.clone(), notices), 1, QUEUE_MAX);
        Ok(Self {
            writers: (0..writers.max(1)).map(writer).collect(),
            slow: [slow(), slow()].into(),
            leases: slow(),
            tickets: GroupCommit::start(Desk::new(options.clone()), BATCH_MAX, QUEUE_MAX),
            exposures: GroupCommit::start(Recorder::new(options.clone()), BATCH_MAX, QUEUE_MAX),
            questions: GroupCommit::start(Reader::new(options), BATCH_MAX, QUEUE_MAX),
            counters: reading.within(COUNT),
            readers: reading,
        })
    }

    /// Whether the store can write: takes a lease that nobody needs.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot.
    pub async fn probe(&self) -> Result<(), StoreError> {
        self.touch().await
    }

    async fn all(&self, query: Statement<'_>) -> Result<Vec<MySqlRow>, StoreError> {
        self.readers.all(query).await.map_err(failed)
    }

    async fn one(&self, query: Statement<'_>) -> Result<MySqlRow, StoreError> {
        self.readers.one(query).await.map_err(failed)
    }

    async fn maybe(&self, query: Statement<'_>) -> Result<Option<MySqlRow>, StoreError> {
        self.readers.maybe(query).await.map_err(failed)
    }

    /// The rows of a statement that looks at every row of a contest.
    async fn counted(&self, query: Statement<'_>) -> Result<Vec<MySqlRow>, StoreError> {
        self.counters.all(query).await.map_err(failed)
    }

    async fn ask(&self, question: Question) -> Result<Answer, StoreError> {
        match submit(&self.questions, question).await? {
            Answer::Failed(error) => Err(error),
            answer => Ok(answer),
        }
    }

    /// Has a command written. Those about one viewer always go to the same writer: within a
    /// process two of them never wait for each other's locks.
    async fn write(&self, key: &impl Hash, command: Command) -> Result<Reply, StoreError> {
        match submit(pick(&self.writers, key), command).await? {
            Reply::Failed(error) => Err(error),
            reply => Ok(reply),
        }
    }

    async fn decide(
        &self,
        key: &impl Hash,
        command: slow::Command,
    ) -> Result<slow::Reply, StoreError> {
        submit(pick(&self.slow, key), command).await
    }
}

/// A statement that reads, with its values.
type Statement<'a> = Query<'a, MySql, MySqlArguments>;

async fn submit<E: Executor>(
    group: &GroupCommit<E>,
    command: E::Command,
) -> Result<E::Reply, StoreError> {
    group.submit(command).await.map_err(StoreError::unavailable)
}

fn pick<'a, T>(of: &'a [T], key: &impl Hash) -> &'a T {
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    let length = u64::try_from(of.len()).unwrap_or(1).max(1);
    let index = usize::try_from(hasher.finish() % length).unwrap_or(0);
    &of[index]
}

/// A reply of another kind than was asked for: a bug of ours, never of the caller.
fn mismatched(reply: &impl std::fmt::Debug) -> StoreError {
    StoreError::unavailable(format!("the answer was {reply:?}"))
}
