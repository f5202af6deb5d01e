//! Decisions about contests and findings, what the reconciliation notes, and leases: one at a time, each a transaction of its own that
//! locks one contest at most, so that none of them can be part of a circle.

use crate::{
    contests, experiments, findings, notices,
    reconciliations::{self, Note},
    session::{Purpose, Session, Work},
    switches,
};
use domain::{
    contest::Contest, finding::FindingClass, ids::ContestId, notice::NoticeKind, switch::Change,
};
use ports::{
    contests::{ContestCommit, CreationKey, Inserted},
    failpoint::{self, Failpoint},
    findings::{Finding, Raised, Resolution},
    leases::Lease,
    store::Committed,
    switches::Said,
};
use sql_core::{group::Executor, mysql::is_judgement};
use sqlx::{MySqlConnection, mysql::MySqlConnectOptions};
use uuid::Uuid;

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Command {
    InsertContest(Box<Contest>),
    InsertOnce(Box<Contest>, CreationKey),
    CommitContest(Box<ContestCommit>),
    Raise(Finding),
    Settle(FindingClass, ContestId, String),
    Resolve(Uuid, Resolution),
    Note(Box<Note>),
    Tell(notices::Tell),
    Switch(Said),
    Experiment(Box<experiments::Write>),
    TakeLease(String, Uuid, i64),
    ReleaseLease(Lease),
}

/// What is answered.
#[derive(Debug)]
pub(crate) enum Reply {
    Inserted(bool),
    Raised(Raised),
    /// Whether anything was settled.
    Resolved(bool),
    InsertedOnce(Inserted),
    Committed(Committed),
    Lease(Option<Lease>),
    Switched(Change),
    Done,
}

/// One connection for decisions.
pub(crate) struct Slow {
    session: Session,
    /// Whether somebody takes notices.
    notices: bool,
}

impl Slow {
    pub(crate) const fn new(options: MySqlConnectOptions, notices: bool) -> Self {
        Self {
            notices,
            session: Session::new(options, Purpose::Write),
        }
    }
}

impl Executor for Slow {
    type Command = Command;
    type Reply = Reply;

    async fn run(&mut self, commands: &[Command]) -> Result<Vec<Reply>, sqlx::Error> {
        let mut replies = Vec::with_capacity(commands.len());
        for command in commands {
            let one = One {
                command,
                notices: self.notices,
            };
            replies.push(self.session.transact(&one).await?);
            failpoint::pass(Failpoint::StoreCommitted);
        }
        Ok(replies)
    }

    fn may_be_one_of_them(error: &sqlx::Error) -> bool {
        is_judgement(error)
    }
}

struct One<'a> {
    command: &'a Command,
    notices: bool,
}

impl One<'_> {
    /// Keeps a notice of what was written, if somebody takes it.
    async fn notice(
        &self,
        connection: &mut MySqlConnection,
        kind: NoticeKind,
        (contest, finding): (ContestId, Option<Uuid>),
    ) -> Result<(), sqlx::Error> {
        if self.notices {
            notices::add(connection, kind, contest, finding).await?;
        }
        Ok(())
    }
}

impl Work for One<'_> {
    type Output = Reply;

    async fn run(&self, connection: &mut MySqlConnection) -> Result<(Reply, bool), sqlx::Error> {
        match self.command {
            Command::InsertContest(contest) => {
                let is_new = contests::insert(connection, contest).await?;
                Ok((Reply::Inserted(is_new), is_new))
            }
            Command::InsertOnce(contest, key) => {
                let inserted = contests::insert_once(connection, contest, key).await?;
                let wrote = inserted == Inserted::New;
                Ok((Reply::InsertedOnce(inserted), wrote))
            }
            Command::CommitContest(commit) => {
                let committed = contests::commit(connection, commit).await?;
                let wrote = committed == Committed::Applied;
                if wrote {
                    for kind in &commit.notices {
                        let about = (commit.contest.id, None);
                        self.notice(connection, *kind, about).await?;
                    }
                }
                Ok((Reply::Committed(committed), wrote))
            }
            Command::Raise(finding) => {
                let raised = findings::raise(connection, finding).await?;
                if raised.is_new {
                    let about = (finding.contest_id, Some(raised.id));
                    self.notice(connection, NoticeKind::FindingRaised, about)
                        .await?;
                }
                Ok((Reply::Raised(raised), raised.is_new))
            }
            Command::Settle(class, contest, subject) => {
                let settled = findings::settle(connection, *class, *contest, subject).await?;
                if let Some(id) = settled {
                    let about = (*contest, Some(id));
                    self.notice(connection, NoticeKind::FindingSettled, about)
                        .await?;
                }
                Ok((Reply::Done, settled.is_some()))
            }
            Command::Resolve(id, resolution) => {
                let resolved = findings::resolve(connection, *id, resolution).await?;
                if let Some(contest) = resolved {
                    let about = (contest, Some(*id));
                    self.notice(connection, NoticeKind::FindingSettled, about)
                        .await?;
                }
                Ok((Reply::Resolved(resolved.is_some()), resolved.is_some()))
            }
            Command::Tell(tell) => {
                let is_kept = self.notices || !matches!(tell, notices::Tell::Add(..));
                let wrote = is_kept && notices::write(connection, *tell).await?;
                Ok((Reply::Done, wrote))
            }
            Command::Switch(said) => {
                let change = switches::set(connection, said).await?;
                Ok((Reply::Switched(change), true))
            }
            Command::Experiment(write) => {
                let committed = experiments::write(connection, write).await?;
                let wrote = committed == Committed::Applied;
                Ok((Reply::Committed(committed), wrote))
            }
            Command::Note(note) => reconciliations::write(connection, note).await,
            Command::TakeLease(name, owner, for_ms) => {
                let lease = crate::leases::take(connection, name, *owner, *for_ms).await?;
                Ok((Reply::Lease(lease), true))
            }
            Command::ReleaseLease(lease) => {
                crate::leases::release(connection, lease).await?;
                Ok((Reply::Done, true))
            }
        }
    }

    fn before_commit(&self) {
        failpoint::pass(Failpoint::StoreBeforeCommit);
    }
}
