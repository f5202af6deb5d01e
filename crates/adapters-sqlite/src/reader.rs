//! Reads that arrive together are read together: one statement answers everybody who asked
//! before it began, so nobody is answered with something older than their question.

use crate::{contests, rows, sheet, signups};
use domain::{
    contest::Contest,
    ids::{ContestId, SignupId, UserId},
    settlement::SheetLine,
    signup::Signup,
};
use ports::store::StoreError;
use sql_core::group::Executor;
use sqlx::SqliteConnection;
use std::collections::{BTreeMap, BTreeSet};

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Question {
    Contest(ContestId),
    Signup(ContestId, UserId),
    Line(ContestId, SignupId),
}

/// What is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Contest(Option<Contest>),
    Signup(Option<Signup>),
    Line(Option<SheetLine>),
    Failed(StoreError),
}

/// A connection that only reads.
pub(crate) struct Reader {
    connection: SqliteConnection,
}

impl Reader {
    pub(crate) const fn new(connection: SqliteConnection) -> Self {
        Self { connection }
    }
}

impl Executor for Reader {
    type Command = Question;
    type Reply = Answer;

    async fn run(&mut self, questions: &[Question]) -> Result<Vec<Answer>, sqlx::Error> {
        // One snapshot for all of them: a contest and its legs fit together.
        sqlx::query("BEGIN").execute(&mut self.connection).await?;
        let answers = self.answer(questions).await;
        // It has written nothing: however it ends, it must only end. What a failed statement has
        // ended already says so, and is not heard.
        let ended = sqlx::query("ROLLBACK").execute(&mut self.connection).await;
        let answers = answers?;
        ended.map(|_| answers)
    }
}

impl Reader {
    async fn answer(&mut self, questions: &[Question]) -> Result<Vec<Answer>, sqlx::Error> {
        let mut contests = BTreeSet::new();
        let mut signups = BTreeSet::new();
        let mut lines = BTreeSet::new();
        for question in questions {
            match question {
                Question::Contest(contest) => drop(contests.insert(*contest)),
                Question::Signup(contest, user) => drop(signups.insert((*contest, user))),
                Question::Line(contest, signup) => drop(lines.insert((*contest, *signup))),
            }
        }
        let contests = read_contests(&mut self.connection, &contests).await?;
        let signups = read_signups(&mut self.connection, &signups).await?;
        let lines = read_lines(&mut self.connection, &lines).await?;
        let answer = |question: &Question| match question {
            Question::Contest(contest) => found(contests.get(contest)).map(Answer::Contest),
            Question::Signup(contest, user) => {
                found(signups.get(&(contest.to_string(), user.to_string()))).map(Answer::Signup)
            }
            Question::Line(contest, signup) => {
                found(lines.get(&(contest.to_string(), signup.to_string()))).map(Answer::Line)
            }
        };
        Ok(questions
            .iter()
            .map(|question| answer(question).unwrap_or_else(Answer::Failed))
            .collect())
    }
}

/// A copy for one who asked. An impossible row is told to everybody who asked for it.
fn found<T: Clone>(read: Option<&Result<T, StoreError>>) -> Result<Option<T>, StoreError> {
    match read {
        None => Ok(None),
        Some(Ok(value)) => Ok(Some(value.clone())),
        Some(Err(StoreError::Inconsistent { table, key, what })) => Err(StoreError::Inconsistent {
            table,
            key: key.clone(),
            what: what.clone(),
        }),
        Some(Err(StoreError::Unavailable(error))) => {
            Err(StoreError::unavailable(error.to_string()))
        }
    }
}

type Found<K, V> = BTreeMap<K, Result<V, StoreError>>;

async fn read_contests(
    connection: &mut SqliteConnection,
    ids: &BTreeSet<ContestId>,
) -> Result<Found<ContestId, Contest>, sqlx::Error> {
    let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let records = contests::read_many(connection, &ids).await?;
    let parsed = records.into_iter().filter_map(|(record, legs)| {
        let id = record.contest_id.parse().ok()?;
        Some((id, record.parse(&legs)))
    });
    Ok(parsed.collect())
}

async fn read_signups(
    connection: &mut SqliteConnection,
    keys: &BTreeSet<(ContestId, &UserId)>,
) -> Result<Found<(String, String), Signup>, sqlx::Error> {
    let keys: Vec<_> = keys
        .iter()
        .map(|(contest, user)| signups::Key::new(*contest, user))
        .collect();
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let found = signups::find_many(connection, &rows::json(&keys)?).await?;
    let key = |record: &sql_core::signup_record::SignupRecord| {
        (record.contest_id.clone(), record.user_id.clone())
    };
    Ok(found
        .iter()
        .map(|record| (key(record), record.parse()))
        .collect())
}

async fn read_lines(
    connection: &mut SqliteConnection,
    keys: &BTreeSet<(ContestId, SignupId)>,
) -> Result<Found<(String, String), SheetLine>, sqlx::Error> {
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let keys: Vec<_> = keys
        .iter()
        .map(|(contest, signup)| [contest.to_string(), signup.to_string()])
        .collect();
    sheet::read_lines(connection, &rows::json(&keys)?).await
}
