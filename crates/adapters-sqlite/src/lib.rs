//! The embedded default's store: one SQLite file, durable, with one writer that commits together
//! what arrives together.
//!
//! Every write goes through [`writer::Writer`]; reads go to a pool of read-only connections and
//! see every commit that was answered before they began.

mod contests;
mod events;
mod experiments;
mod findings;
mod leaderboard;
mod notices;
mod outbox;
#[cfg(test)]
mod plans;
mod reader;
mod reconciliations;
mod rows;
mod sheet;
mod signup_sql;
mod signups;
mod switches;
mod writer;

use domain::effects::Effect;
use ports::store::StoreError;
use reader::{Answer, Question, Reader};
use sql_core::{
    group::{GroupCommit, GroupError},
    sqlite,
};
use sqlx::SqlitePool;
use std::path::Path;
use writer::{Command, Reply, Writer};

const MIGRATIONS: &[sqlite::Step] = &[
    (
        1,
        "contests",
        include_str!("../migrations/0001_contests.sql"),
    ),
    (2, "rules", include_str!("../migrations/0002_rules.sql")),
    (3, "fence", include_str!("../migrations/0003_fence.sql")),
    (
        4,
        "reconciliation",
        include_str!("../migrations/0004_reconciliation.sql"),
    ),
    (
        5,
        "override",
        include_str!("../migrations/0005_override.sql"),
    ),
    (
        6,
        "switches",
        include_str!("../migrations/0006_switches.sql"),
    ),
    (
        7,
        "experiments",
        include_str!("../migrations/0007_experiments.sql"),
    ),
];

/// The most commands that share a transaction.
const BATCH_MAX: usize = 256;
/// The most commands that wait for the writer; further callers wait outside.
const QUEUE_MAX: usize = 4_096;
/// Connections that read.
const READERS: u32 = 4;

/// The store in one SQLite file. Clones share it.
#[derive(Clone)]
pub struct SqliteStore {
    group: GroupCommit<Writer>,
    questions: GroupCommit<Reader>,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens the file, creating it or bringing it up to date. `outbox_effects` are those that
    /// somebody takes from the outbox, and `notices` says whether somebody takes notices; others are
    /// not written.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot be opened or was migrated by something else.
    pub async fn open(
        path: &Path,
        outbox_effects: &[Effect],
        notices: bool,
    ) -> Result<Self, StoreError> {
        let database = sqlite::open(path, MIGRATIONS, READERS)
            .await
            .map_err(StoreError::unavailable)?;
        let writer = Writer::new(database.writer, outbox_effects.to_vec(), notices);
        let reader = database
            .readers
            .acquire()
            .await
            .map_err(StoreError::unavailable)?
            .detach();
        Ok(Self {
            group: GroupCommit::start(writer, BATCH_MAX, QUEUE_MAX),
            questions: GroupCommit::start(Reader::new(reader), BATCH_MAX, QUEUE_MAX),
            readers: database.readers,
        })
    }

    /// Whether the store can write: commits a page that means nothing, and syncs it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when it cannot.
    pub async fn probe(&self) -> Result<(), StoreError> {
        match self.write(Command::Probe).await? {
            Reply::Done => Ok(()),
            reply => Err(mismatched(&reply)),
        }
    }

    async fn ask(&self, question: Question) -> Result<Answer, StoreError> {
        match self.questions.submit(question).await {
            Ok(Answer::Failed(error)) => Err(error),
            Ok(answer) => Ok(answer),
            Err(error @ (GroupError::Database(_) | GroupError::Stopped)) => {
                Err(StoreError::unavailable(error))
            }
        }
    }

    async fn write(&self, command: Command) -> Result<Reply, StoreError> {
        match self.group.submit(command).await {
            Ok(Reply::Failed(error)) => Err(error),
            Ok(reply) => Ok(reply),
            Err(error @ (GroupError::Database(_) | GroupError::Stopped)) => {
                Err(StoreError::unavailable(error))
            }
        }
    }
}

/// A reply of another kind than was asked for: a bug of ours, never of the caller.
fn mismatched(reply: &impl std::fmt::Debug) -> StoreError {
    StoreError::unavailable(format!("the answer was {reply:?}"))
}
