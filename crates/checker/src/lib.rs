//! The independent checker: reads the tables of a store and a ledger, each a SQLite file or a
//! database of MySQL or MariaDB, and says, for each invariant, whether it holds.
//!
//! It shares no code with what wrote the tables: order ids, state tables and prizes are derived
//! here once more, from the written description alone. What both sides got wrong in the same way
//! is the only thing that it cannot see.

mod contest;
mod freeze;
mod judged;
mod ledger;
pub mod lucky;
mod moves;
mod orders;
mod pool;
pub mod report;
mod rows;
pub mod sheet;
mod signup;
mod source;
mod tables;
pub mod verdict;

use report::{Findings, Report};
use rows::Contest;
use std::path::Path;
use tables::Tables;

pub use source::{Books, InvalidSource, Source};

/// Why nothing could be checked.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A file or database could not be opened.
    #[error("cannot open {what} for reading; is it the right data directory or address?")]
    Open {
        /// The file, or the server and database; never a password.
        what: String,
        /// What the database said.
        source: sqlx::Error,
    },
    /// A table could not be read.
    #[error("cannot read {what}")]
    Read {
        /// What was read.
        what: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The contest that was asked for is not there.
    #[error("there is no contest {0} in the store")]
    NoSuchContest(String),
}

/// What is checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Scope<'a> {
    /// This contest alone; none for all of them.
    pub contest: Option<&'a str>,
    /// Everything is expected to be over: a contest that is neither closed nor cancelled breaks
    /// NO_LIMBO.
    pub at_rest: bool,
}

/// Checks one contest, or all, and the ledger as a whole.
///
/// Both files are opened read-only and may be in use: the store is read as of one moment and the
/// ledger as of a later one, so that whatever a row claims must already be in the ledger.
///
/// # Errors
/// [`CheckError`] when a file cannot be read. What is wrong in the books is no error but part of
/// the report.
pub async fn check(
    store: &Path,
    ledger: &Path,
    contest: Option<&str>,
) -> Result<Report, CheckError> {
    check_scope(
        store,
        ledger,
        Scope {
            contest,
            at_rest: false,
        },
    )
    .await
}

/// As [`check`], with every choice.
///
/// # Errors
/// As [`check`].
pub async fn check_scope(
    store: &Path,
    ledger: &Path,
    scope: Scope<'_>,
) -> Result<Report, CheckError> {
    let books = Books {
        store: Source::file(store),
        ledger: Source::file(ledger),
    };
    check_books(&books, scope).await
}

/// As [`check_scope`], wherever the books are.
///
/// # Errors
/// As [`check`].
pub async fn check_books(books: &Books, scope: Scope<'_>) -> Result<Report, CheckError> {
    let mut source = Tables::open(books).await?;
    let mut findings = Findings::new();
    let mut contests = Vec::new();
    let mut after = String::new();
    let mut seen = 0;
    while let Some(row) = source.contest_after(&after, scope.contest).await? {
        after.clone_from(&row.contest_id);
        seen += 1;
        contests.push(contest::check(&mut source, &row, scope.at_rest, &mut findings).await?);
    }
    if let (0, Some(id)) = (seen, scope.contest) {
        return Err(CheckError::NoSuchContest(id.to_owned()));
    }
    let ledger = ledger::check(&mut source, &mut findings).await?;
    source.close().await;
    Ok(Report {
        invariants: findings.finish(),
        contests,
        ledger,
    })
}

impl Contest {
    /// True where nothing is left to do.
    fn is_terminal(&self) -> bool {
        matches!(self.phase.as_str(), "closed" | "cancelled")
    }

    /// How many coins more than the rows allow an operator has accepted in the pool, below zero less.
    fn accepted(&self) -> i128 {
        self.accepted_gap.unwrap_or(0).into()
    }
}
