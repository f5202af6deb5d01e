//! Reads that arrive together are read together: one statement answers everybody who asked
//! before it began, so nobody is answered with something older than their question.

use crate::{
    contest_sql, contests,
    enroll::{self, Viewer},
    session::{Purpose, Session, Work},
    sheet, signup_sql,
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
    record::column,
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, mysql::MySqlConnectOptions};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What is asked for.
#[derive(Debug)]
pub(crate) enum Question {
    Contest(ContestId),
    Signup(ContestId, UserId),
    /// A signup and its line of the sheet.
    ToClaim(ContestId, UserId),
    Line(ContestId, SignupId),
}

/// A signup and its line of the sheet.
type ToClaim = (Signup, Option<SheetLine>);

/// What is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Contest(Option<Contest>),
    Signup(Option<Signup>),
    ToClaim(Option<ToClaim>),
    Line(Option<SheetLine>),
    Failed(StoreError),
}

/// How long a contest's record is known by its version. Whoever changes a row by hand and leaves its
/// version alone is heard after so long.
const KNOWN: Duration = Duration::from_secs(1);
/// The most contests that are known; whoever asks about more reads them whole.
const KNOWN_MAX: usize = 256;

/// Contests that were read just now. Everybody who asks is answered with what the database says at
/// that moment; but whether it is still the same is seen by its version, so a hot contest is not read
/// and parsed again for every viewer.
#[derive(Default)]
struct Known(Mutex<HashMap<ContestId, (Contest, Instant)>>);

impl Known {
    /// Those that were read lately enough.
    fn ids(&self) -> BTreeSet<ContestId> {
        let mut known = self.lock();
        known.retain(|_, (_, read_at)| read_at.elapsed() < KNOWN);
        known.keys().copied().collect()
    }

    fn get(&self, id: ContestId, version: i64) -> Option<Contest> {
        let known = self.lock();
        let (contest, _) = known.get(&id)?;
        (column(contest.version) == version).then(|| contest.clone())
    }

    fn put(&self, contest: &Contest, read_at: Instant) {
        let mut known = self.lock();
        if known.len() < KNOWN_MAX {
            known.insert(contest.id, (contest.clone(), read_at));
        }
    }

    /// Another connection may be one to another server, which has lost what this one had answered.
    fn forget(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ContestId, (Contest, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection that only reads.
pub(crate) struct Reader {
    session: Session,
    known: Known,
}

impl Reader {
    pub(crate) fn new(options: MySqlConnectOptions) -> Self {
        Self {
            session: Session::new(options, Purpose::Read),
            known: Known::default(),
        }
    }
}

impl Executor for Reader {
    type Command = Question;
    type Reply = Answer;

    async fn run(&mut self, questions: &[Question]) -> Result<Vec<Answer>, sqlx::Error> {
        let known = &self.known;
        let questions = Questions { questions, known };
        self.session.read(&questions).await
    }

    fn may_be_one_of_them(error: &sqlx::Error) -> bool {
        is_judgement(error)
    }
}

struct Questions<'a> {
    questions: &'a [Question],
    known: &'a Known,
}

impl Work for Questions<'_> {
    type Output = Vec<Answer>;

    async fn run(
        &self,
        connection: &mut MySqlConnection,
    ) -> Result<(Vec<Answer>, bool), sqlx::Error> {
        let answers = self.answers(connection).await;
        Ok((answers.inspect_err(|_| self.known.forget())?, false))
    }
}

impl Questions<'_> {
    async fn answers(&self, connection: &mut MySqlConnection) -> Result<Vec<Answer>, sqlx::Error> {
        let mut contests = BTreeSet::new();
        let mut signups = BTreeSet::new();
        let mut to_claim = BTreeSet::new();
        let mut lines = BTreeSet::new();
        for question in self.questions {
            match question {
                Question::Contest(contest) => drop(contests.insert(*contest)),
                Question::Signup(contest, user) => drop(signups.insert((*contest, user.clone()))),
                Question::ToClaim(contest, user) => {
                    to_claim.insert((*contest, user.clone()));
                }
                Question::Line(contest, signup) => drop(lines.insert((*contest, *signup))),
            }
        }
        metrics::counter!("guafen_store_reads_total", "kind" => "contest")
            .increment(u64::try_from(contests.len()).unwrap_or(0));
        metrics::counter!("guafen_store_reads_total", "kind" => "signup")
            .increment(u64::try_from(signups.len() + to_claim.len()).unwrap_or(0));
        let contests = known_contests(connection, contests, self.known).await?;
        let signups = read_signups(connection, signups).await?;
        let to_claim = read_to_claim(connection, to_claim).await?;
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
            Question::ToClaim(contest, user) => {
                found(to_claim.get(&(*contest, user.clone()))).map(Answer::ToClaim)
            }
            Question::Line(contest, signup) => {
                found(lines.get(&(*contest, *signup))).map(Answer::Line)
            }
        };
        let answers = self
            .questions
            .iter()
            .map(|question| answer(question).unwrap_or_else(Answer::Failed));
        Ok(answers.collect())
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

/// Contests as they are now: those that are known and have the same version still, and the rest
/// whole.
async fn known_contests(
    connection: &mut MySqlConnection,
    mut ids: BTreeSet<ContestId>,
    known: &Known,
) -> Result<Found<ContestId, Contest>, sqlx::Error> {
    let mut found = BTreeMap::new();
    let maybe: Vec<_> = ids.intersection(&known.ids()).copied().collect();
    if !maybe.is_empty() {
        let mut query = sqlx::query(AssertSqlSafe(contest_sql::versions(maybe.len())));
        for id in keys::fill(&maybe) {
            query = query.bind(id.0);
        }
        for row in query.fetch_all(&mut *connection).await? {
            let id = ContestId(row.try_get(0)?);
            if let Some(contest) = known.get(id, row.try_get(1)?) {
                ids.remove(&id);
                found.insert(id, Ok(contest));
            }
        }
    }
    let read_at = Instant::now();
    let read = read_contests(connection, ids).await?;
    for contest in read.values().flatten() {
        known.put(contest, read_at);
    }
    found.extend(read);
    Ok(found)
}

async fn read_contests(
    connection: &mut MySqlConnection,
    ids: BTreeSet<ContestId>,
) -> Result<Found<ContestId, Contest>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let ids: Vec<_> = ids.into_iter().collect();
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
    viewers: BTreeSet<Viewer>,
) -> Result<Found<Viewer, Signup>, sqlx::Error> {
    let viewers: Vec<_> = viewers.into_iter().collect();
    let found = enroll::find(connection, &viewers).await?;
    Ok(found
        .into_iter()
        .map(|(viewer, record)| (viewer, record.parse()))
        .collect())
}

async fn read_to_claim(
    connection: &mut MySqlConnection,
    viewers: BTreeSet<Viewer>,
) -> Result<Found<Viewer, ToClaim>, sqlx::Error> {
    let viewers: Vec<_> = viewers.into_iter().collect();
    let rows = enroll::rows_of(connection, signup_sql::find_many_to_claim, &viewers).await?;
    let parsed = rows.iter().map(|row| {
        let (viewer, record) = enroll::record(row)?;
        // Who needs a line that cannot be read asks for it alone, and is told; the others need not.
        let line = sheet::parse_line_at(row, signup_sql::LINE).unwrap_or(None);
        Ok((viewer, record.parse().map(|signup| (signup, line))))
    });
    parsed.collect()
}
