//! The one writer. Commands that wait together are one transaction; those of a kind are one
//! statement with many rows. A transaction that changed nothing is not synced.

use crate::{
    contests, events, experiments, findings, notices, outbox, reconciliations, signups, switches,
};
use domain::{
    contest::Contest,
    effects::Effect,
    finding::FindingClass,
    ids::{ContestId, SenderId},
    signup::Signup,
    switch::Change,
    time::UnixMillis,
};
use ports::{
    contests::{ContestCommit, CreationKey, Inserted},
    experiments::Exposure,
    failpoint::{self, Failpoint},
    findings::{Finding, Raised, Resolution},
    signups::{Enrolled, SignupCommit},
    store::{Committed, StoreError},
    switches::Said,
    tasks::{EventOutcome, TaskEvent},
};
use sql_core::{
    group::Executor,
    sqlite::{NOW_MS, PROBE},
};
use sqlx::{AssertSqlSafe, Row, SqliteConnection};
use uuid::Uuid;

/// What the writer is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    Enroll(Signup, Option<UnixMillis>),
    Restore(Signup),
    CommitSignup(SignupCommit),
    InsertContest(Contest),
    InsertOnce(Box<Contest>, CreationKey),
    CommitContest(Box<ContestCommit>),
    Record(SenderId, Vec<TaskEvent>),
    Raise(Finding),
    Settle(FindingClass, ContestId, String),
    Resolve(Uuid, Resolution),
    Note(Box<reconciliations::Note>),
    Tell(notices::Tell),
    Switch(Said),
    Experiment(Box<experiments::Write>),
    Expose(Vec<Exposure>),
    Done(Vec<u64>),
    /// Writes what means nothing.
    Probe,
}

/// What the writer answers.
#[derive(Debug)]
pub(crate) enum Reply {
    Enrolled(Enrolled),
    Committed(Committed),
    Inserted(bool),
    InsertedOnce(Inserted),
    Recorded(Vec<EventOutcome>),
    Raised(Raised),
    /// Whether anything was settled.
    Resolved(bool),
    Switched(Change),
    Done,
    Failed(StoreError),
}

/// The writer and its connection.
pub(crate) struct Writer {
    connection: SqliteConnection,
    outbox_effects: Vec<Effect>,
    notices: bool,
    begin_failed: bool,
}

/// One transaction: its connection, its time, and whether it has written anything.
pub(crate) struct Transaction<'a> {
    pub(crate) connection: &'a mut SqliteConnection,
    /// The database's clock, read inside this transaction. No other write can come between, so
    /// what is judged by it is judged in the deciding transaction.
    pub(crate) now: UnixMillis,
    /// Whether somebody takes notices.
    pub(crate) notices: bool,
    pub(crate) wrote: bool,
}

impl Writer {
    pub(crate) fn new(
        connection: SqliteConnection,
        outbox_effects: Vec<Effect>,
        notices: bool,
    ) -> Self {
        Self {
            connection,
            outbox_effects,
            notices,
            begin_failed: false,
        }
    }

    async fn begin(&mut self) -> Result<UnixMillis, sqlx::Error> {
        if self.begin_failed {
            // A transaction may still be open from a batch that failed; an error says it is not.
            let _ = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        }
        self.begin_failed = true;
        sqlx::query("BEGIN IMMEDIATE")
            .execute(&mut self.connection)
            .await?;
        let now = sqlx::query(AssertSqlSafe(format!("SELECT {NOW_MS}")))
            .fetch_one(&mut self.connection)
            .await?;
        now.try_get(0).map(UnixMillis)
    }
}

impl Executor for Writer {
    type Command = Command;
    type Reply = Reply;

    async fn run(&mut self, commands: &[Command]) -> Result<Vec<Reply>, sqlx::Error> {
        let now = self.begin().await?;
        let mut transaction = Transaction {
            connection: &mut self.connection,
            now,
            notices: self.notices,
            wrote: false,
        };
        let replies = run_all(&mut transaction, commands, &self.outbox_effects).await?;
        let wrote = transaction.wrote;
        if wrote {
            failpoint::pass(Failpoint::StoreBeforeCommit);
        }
        sqlx::query("COMMIT").execute(&mut self.connection).await?;
        self.begin_failed = false;
        if wrote {
            failpoint::pass(Failpoint::StoreCommitted);
        }
        Ok(replies)
    }
}

async fn run_all(
    transaction: &mut Transaction<'_>,
    commands: &[Command],
    outbox_effects: &[Effect],
) -> Result<Vec<Reply>, sqlx::Error> {
    let mut replies: Vec<Option<Reply>> = commands.iter().map(|_| None).collect();
    let mut enrolls = Vec::new();
    let mut commits = Vec::new();
    let mut records = Vec::new();
    for (index, command) in commands.iter().enumerate() {
        match command {
            Command::Enroll(signup, wake_at) => enrolls.push((index, signup, *wake_at)),
            Command::CommitSignup(commit) => commits.push((index, commit)),
            Command::Record(sender, events) => records.push((index, sender, events.as_slice())),
            other => replies[index] = Some(run_one(transaction, other).await?),
        }
    }
    for (index, enrolled) in signups::enroll(transaction, &enrolls).await? {
        replies[index] = Some(enrolled.map_or_else(Reply::Failed, Reply::Enrolled));
    }
    for (index, committed) in signups::commit(transaction, commits, outbox_effects).await? {
        replies[index] = Some(Reply::Committed(committed));
    }
    for (index, outcomes) in events::record(transaction, &records, outbox_effects).await? {
        replies[index] = Some(Reply::Recorded(outcomes));
    }
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

async fn run_one(
    transaction: &mut Transaction<'_>,
    command: &Command,
) -> Result<Reply, sqlx::Error> {
    match command {
        Command::Restore(signup) => {
            let enrolled = signups::restore(transaction, signup).await?;
            Ok(enrolled.map_or_else(Reply::Failed, Reply::Enrolled))
        }
        Command::InsertContest(contest) => contests::insert(transaction, contest)
            .await
            .map(Reply::Inserted),
        Command::InsertOnce(contest, key) => contests::insert_once(transaction, contest, key)
            .await
            .map(Reply::InsertedOnce),
        Command::CommitContest(commit) => contests::commit(transaction, commit)
            .await
            .map(Reply::Committed),
        Command::Raise(finding) => findings::raise(transaction, finding)
            .await
            .map(Reply::Raised),
        Command::Settle(class, contest, subject) => {
            findings::settle(transaction, *class, *contest, subject)
                .await
                .map(|()| Reply::Done)
        }
        Command::Resolve(id, resolution) => findings::resolve(transaction, *id, resolution)
            .await
            .map(Reply::Resolved),
        Command::Tell(tell) => notices::write(transaction, *tell)
            .await
            .map(|()| Reply::Done),
        Command::Switch(said) => switches::set(transaction, said).await.map(Reply::Switched),
        Command::Experiment(write) => experiments::write(transaction, write)
            .await
            .map(Reply::Committed),
        Command::Expose(exposures) => experiments::expose(transaction, exposures)
            .await
            .map(|()| Reply::Done),
        Command::Note(note) => reconciliations::write(transaction, note).await,
        Command::Done(sequences) => outbox::done(transaction, sequences)
            .await
            .map(|()| Reply::Done),
        Command::Probe => {
            sqlx::query(PROBE)
                .execute(&mut *transaction.connection)
                .await?;
            transaction.wrote = true;
            Ok(Reply::Done)
        }
        Command::Enroll(..) | Command::CommitSignup(_) | Command::Record(..) => Ok(Reply::Failed(
            StoreError::unavailable("a grouped command ran alone"),
        )),
    }
}
