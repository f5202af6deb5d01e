//! The writers of signups and events. Commands that wait together are one transaction; those of a
//! kind are one statement with many rows. A transaction that changed nothing is not synced.

use crate::{
    enroll, events, outbox,
    session::{Purpose, Session, Work},
    signup_sql::{self, HistoryLine, OutboxLine, SignupRow},
    signups,
};
use domain::{effects::Effect, ids::SenderId, signup::Signup, time::UnixMillis};
use ports::{
    failpoint::{self, Failpoint},
    signups::{Enrolled, SignupCommit},
    store::{Committed, StoreError},
    tasks::{EventOutcome, TaskEvent},
};
use sql_core::{
    group::Executor,
    mysql::{
        NOW_MS, is_judgement, keys,
        rows::{self, Values},
    },
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, mysql::MySqlConnectOptions};
use std::sync::{Arc, LazyLock};

/// What a writer is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    /// A new signup, only while the contest takes any.
    Enroll(Signup, Option<UnixMillis>),
    /// A signup whose row was lost.
    Restore(Signup),
    CommitSignup(SignupCommit),
    Record(SenderId, Vec<TaskEvent>),
    /// Effects that were carried out.
    Done(Vec<u64>),
}

/// What a writer answers.
#[derive(Debug)]
pub(crate) enum Reply {
    Enrolled(Enrolled),
    Committed(Committed),
    Recorded(Vec<EventOutcome>),
    Done,
    Failed(StoreError),
}

/// So many rows that come as one command take about as long as a usual command: what others wait
/// for, and what is lost with a connection, has a bound.
const ROWS_OF_A_COMMAND: usize = 32;

/// A writer and its connection.
pub(crate) struct Writer {
    session: Session,
    effects: Arc<[Effect]>,
}

impl Writer {
    pub(crate) const fn new(options: MySqlConnectOptions, effects: Arc<[Effect]>) -> Self {
        Self {
            session: Session::new(options, Purpose::Write),
            effects,
        }
    }
}

impl Executor for Writer {
    type Command = Command;
    type Reply = Reply;

    fn weight(command: &Command) -> usize {
        match command {
            Command::Record(_, events) => events.len().div_ceil(ROWS_OF_A_COMMAND),
            Command::Done(sequences) => sequences.len().div_ceil(ROWS_OF_A_COMMAND),
            Command::Enroll(..) | Command::Restore(_) | Command::CommitSignup(_) => 1,
        }
    }

    async fn run(&mut self, commands: &[Command]) -> Result<Vec<Reply>, sqlx::Error> {
        let batch = Batch {
            commands,
            effects: &self.effects,
        };
        let replies = self.session.transact(&batch).await?;
        failpoint::pass(Failpoint::StoreCommitted);
        Ok(replies)
    }

    fn may_be_one_of_them(error: &sqlx::Error) -> bool {
        is_judgement(error)
    }
}

struct Batch<'a> {
    commands: &'a [Command],
    effects: &'a [Effect],
}

/// One transaction and whether it has written anything.
pub(crate) struct Transaction<'a> {
    pub(crate) connection: &'a mut MySqlConnection,
    pub(crate) effects: &'a [Effect],
    /// Lines to write with all that is done.
    pub(crate) history: Vec<HistoryLine>,
    /// Effects to save with all that is done.
    pub(crate) outbox: Vec<OutboxLine<'a>>,
    pub(crate) wrote: bool,
}

impl Transaction<'_> {
    /// The database's clock, for who holds no lock that it could have been read under.
    pub(crate) async fn now(&mut self) -> Result<UnixMillis, sqlx::Error> {
        static NOW: LazyLock<String> = LazyLock::new(|| format!("SELECT {NOW_MS}"));
        let row = sqlx::query(AssertSqlSafe(NOW.as_str()))
            .fetch_one(&mut *self.connection)
            .await?;
        row.try_get(0).map(UnixMillis)
    }

    /// Inserts signups; `on_duplicate` says what becomes of those that are there.
    pub(crate) async fn write_signups(
        &mut self,
        rows: &[SignupRow<'_>],
        on_duplicate: &str,
    ) -> Result<(), sqlx::Error> {
        self.insert(&signup_sql::INSERT, rows, on_duplicate, |values, row| {
            row.values(values);
        })
        .await
    }

    /// Writes the lines that came together: those of all commands in one statement.
    async fn write_lines(&mut self) -> Result<(), sqlx::Error> {
        let history = std::mem::take(&mut self.history);
        self.insert(signup_sql::HISTORY, &history, "", |values, line| {
            line.values(values);
        })
        .await?;
        let outbox = std::mem::take(&mut self.outbox);
        self.insert(signup_sql::OUTBOX, &outbox, "", |values, line| {
            line.values(values);
        })
        .await
    }

    async fn insert<T>(
        &mut self,
        head: &str,
        rows: &[T],
        tail: &str,
        values: impl Fn(Values<'_>, &T),
    ) -> Result<(), sqlx::Error> {
        self.wrote |= !rows.is_empty();
        rows::insert(self.connection, head, rows, tail, values)
            .await
            .map(drop)
    }

    /// Runs a statement whose one parameter is a batch of rows, for so many at a time that no packet
    /// is too large.
    pub(crate) async fn write<T: serde::Serialize>(
        &mut self,
        statement: &'static str,
        rows: &[T],
    ) -> Result<(), sqlx::Error> {
        self.wrote |= !rows.is_empty();
        for rows in rows.chunks(keys::MAX) {
            sqlx::query(statement)
                .bind(crate::rows::json(rows)?)
                .execute(&mut *self.connection)
                .await?;
        }
        Ok(())
    }
}

impl Work for Batch<'_> {
    type Output = Vec<Reply>;

    /// A batch is split at once: only who needs the locked row is to wait for it.
    fn lock_waits_max(&self) -> u32 {
        if self.commands.len() > 1 { 1 } else { 2 }
    }

    async fn run(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<(Vec<Reply>, bool), sqlx::Error> {
        let mut transaction = Transaction {
            connection,
            effects: self.effects,
            history: Vec::new(),
            outbox: Vec::new(),
            wrote: false,
        };
        let replies = run_all(&mut transaction, self.commands).await?;
        Ok((replies, transaction.wrote))
    }

    fn before_commit(&self) {
        failpoint::pass(Failpoint::StoreBeforeCommit);
    }
}

async fn run_all<'a>(
    transaction: &mut Transaction<'a>,
    commands: &'a [Command],
) -> Result<Vec<Reply>, sqlx::Error> {
    let mut replies: Vec<Option<Reply>> = commands.iter().map(|_| None).collect();
    let mut enrolls = Vec::new();
    let mut commits = Vec::new();
    let mut records = Vec::new();
    let mut done = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        match command {
            Command::Enroll(signup, wake_at) => enrolls.push(enroll::Asked {
                index,
                signup,
                wake_at: *wake_at,
                only_open: true,
            }),
            Command::Restore(signup) => enrolls.push(enroll::Asked {
                index,
                signup,
                wake_at: None,
                only_open: false,
            }),
            Command::CommitSignup(commit) => commits.push((index, commit)),
            Command::Record(sender, events) => records.push((index, sender, events.as_slice())),
            Command::Done(sequences) => {
                done.extend_from_slice(sequences);
                replies[index] = Some(Reply::Done);
            }
        }
    }
    // The one order of locks: contests, then leases, then signups, then events.
    let mut gates = enroll::lock_contests(transaction, &enrolls, &records).await?;
    for (index, enrolled) in enroll::enroll(transaction, &mut gates, &enrolls).await? {
        replies[index] = Some(enrolled.map_or_else(Reply::Failed, Reply::Enrolled));
    }
    for (index, committed) in signups::commit(transaction, commits).await? {
        replies[index] = Some(Reply::Committed(committed));
    }
    for (index, outcomes) in events::record(transaction, &gates, &records).await? {
        replies[index] = Some(Reply::Recorded(outcomes));
    }
    transaction.write_lines().await?;
    outbox::remove(transaction, &done).await?;
    let unanswered = || {
        Reply::Failed(StoreError::unavailable(
            "the writer left a command unanswered",
        ))
    };
    Ok(replies
        .into_iter()
        .map(|reply| reply.unwrap_or_else(unanswered))
        .collect())
}
