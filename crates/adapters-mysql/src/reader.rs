//! Reads that arrive together are read together: one statement answers everybody who asked
//! before it began, so nobody is answered with something older than their question.

use crate::{
    contest_sql, contests, enroll,
    session::{Purpose, Session, Work},
    sheet,
};
use domain::{
    contest::Contest,
    ids::{ContestId, SignupId, UserId},
    settlement::SheetLine,
    signup::Signup,
};
use ports::store::StoreError;
use sql_core::{
    group::Executor,
    mysql::{is_judgement, keys},
};
use sqlx::{AssertSqlSafe, MySqlConnection, mysql::MySqlConnectOptions};
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
    session: Session,
}

impl Reader {
    pub(crate) const fn new(options: MySqlConnectOptions) -> Self {
        Self {
            session: Session::new(options, Purpose::Read),
        }
    }
}

impl Executor for Reader {
    type Command = Question;
    type Reply = Answer;

    async fn run(&mut self, questions: &[Question]) -> Result<Vec<Answer>, sqlx::Error> {
        self.session.read(&Questions(questions)).await
    }

    fn may_be_one_of_them(error: &sqlx::Error) -> bool {
        is_judgement(error)
    }
}

struct Questions<'a>(&'a [Question]);

impl Work for Questions<'_> {
    type Output = Vec<Answer>;

    async fn run(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<(Vec<Answer>, bool), sqlx::Error> {
        let mut contests = BTreeSet::new();
        let mut signups = BTreeSet::new();
        let mut lines = BTreeSet::new();
        for question in self.0 {
            match question {
                Question::Contest(contest) => drop(contests.insert(*contest)),
                Question::Signup(contest, user) => drop(signups.insert((*contest, user.clone()))),
                Question::Line(contest, signup) => drop(lines.insert((*contest, *signup))),
            }
        }
        metrics::counter!("guafen_store_reads_total", "kind" => "contest")
            .increment(u64::try_from(contests.len()).unwrap_or(0));
        metrics::counter!("guafen_store_reads_total", "kind" => "signup")
            .increment(u64::try_from(signups.len()).unwrap_or(0));
        let contests = read_contests(connection, &contests).await?;
        let signups = read_signups(connection, signups).await?;
        let lines: Vec<_> = lines.into_iter().collect();
        let lines = if lines.is_empty() {
            BTreeMap::new()
        } else {
            sheet::read_lines(connection, &lines).await?
        };
        let answer = |question: &Question| match question {
            Question::Contest(contest) => found(contests.get(contest)).map(Answer::Contest),
            Question::Signup(contest, user) => {
                found(signups.get(&(*contest, user.clone()))).map(Answer::Signup)
            }
            Question::Line(contest, signup) => {
                found(lines.get(&(*contest, *signup))).map(Answer::Line)
            }
        };
        let answers = self
            .0
            .iter()
            .map(|question| answer(question).unwrap_or_else(Answer::Failed));
        Ok((answers.collect(), false))
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
    connection: &mut MySqlConnection,
    ids: &BTreeSet<ContestId>,
) -> Result<Found<ContestId, Contest>, sqlx::Error> {
    let ids: Vec<_> = ids.iter().copied().collect();
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut query = sqlx::query(AssertSqlSafe(contest_sql::get_many(ids.len())));
    for id in keys::fill(&ids) {
        query = query.bind(id.0);
    }
    let rows = query.fetch_all(connection).await?;
    let mut found = BTreeMap::new();
    for contest in contests::collect(&rows)? {
        let id = match &contest {
            Ok(contest) => Some(contest.id),
            Err(StoreError::Inconsistent { key, .. }) => key.parse().ok(),
            Err(StoreError::Unavailable(_)) => None,
        };
        if let Some(id) = id {
            found.insert(id, contest);
        }
    }
    Ok(found)
}

async fn read_signups(
    connection: &mut MySqlConnection,
    viewers: BTreeSet<(ContestId, UserId)>,
) -> Result<Found<(ContestId, UserId), Signup>, sqlx::Error> {
    if viewers.is_empty() {
        return Ok(BTreeMap::new());
    }
    let viewers: Vec<_> = viewers.into_iter().collect();
    let found = enroll::find(connection, &viewers).await?;
    Ok(found
        .into_iter()
        .map(|(viewer, record)| (viewer, record.parse()))
        .collect())
}
