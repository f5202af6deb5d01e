//! Signups in SQLite.

use crate::{
    SqliteStore, mismatched,
    reader::{Answer, Question},
    rows::{self, failed, json, limit},
    signup_sql::{
        AWAKE, COMMIT, ENROLL, FIND_MANY, GET, HISTORY, OF_USER, OUTBOX, PAGE, PAGE_OF_STATE,
        PARKED, RANGE_END, RESTORE,
    },
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::{
    effects::Effect,
    ids::{ContestId, SignupId, UserId},
    settlement::SheetLine,
    signup::{Signup, StateKind},
    time::UnixMillis,
};
use ports::{
    contests::ContestRepository,
    outbox::DROP_AGAIN_MS,
    signups::{Enrolled, SignupCommit, SignupRepository},
    store::{Committed, PAGE_MAX, Page, StoreError},
};
use serde::Serialize;
use sql_core::signup_record::SignupRecord;
use sqlx::{AssertSqlSafe, Row, SqliteConnection, sqlite::SqliteRow};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

/// What a statement needs beside the record itself.
#[derive(Serialize)]
struct Write {
    #[serde(flatten)]
    record: SignupRecord,
    expected: i64,
    wake_at: Option<i64>,
}

#[derive(Serialize)]
struct HistoryLine {
    signup_id: String,
    version: i64,
    step: usize,
    state: &'static str,
}

/// One entry to be saved; no signup is an empty text.
#[derive(Serialize)]
pub(crate) struct OutboxLine {
    pub(crate) effect: &'static str,
    pub(crate) contest_id: String,
    pub(crate) signup_id: String,
    pub(crate) user_id: String,
    pub(crate) version: i64,
    pub(crate) due_at: i64,
}

fn parse(row: &SqliteRow) -> Result<Signup, StoreError> {
    rows::signup(row).map_err(failed)?.parse()
}

fn parse_all(rows: &[SqliteRow]) -> Result<Vec<Signup>, StoreError> {
    rows.iter().map(parse).collect()
}

/// Whose signup in which contest.
#[derive(Serialize)]
pub(crate) struct Key {
    contest_id: String,
    user_id: String,
}

impl Key {
    pub(crate) fn new(contest: ContestId, user: &UserId) -> Self {
        Self {
            contest_id: contest.to_string(),
            user_id: user.to_string(),
        }
    }
}

/// The signups of a JSON list of [`Key`]s.
pub(crate) async fn find_many(
    connection: &mut SqliteConnection,
    keys: &str,
) -> Result<Vec<SignupRecord>, sqlx::Error> {
    let found = sqlx::query(AssertSqlSafe(FIND_MANY.as_str()))
        .bind(keys)
        .fetch_all(connection)
        .await?;
    found.iter().map(rows::signup).collect()
}

type Answers<T> = Vec<(usize, T)>;

/// Inserts new signups; whoever has a row already gets that row.
pub(crate) async fn enroll(
    transaction: &mut Transaction<'_>,
    asked: &[(usize, &Signup, Option<UnixMillis>)],
) -> Result<Answers<Result<Enrolled, StoreError>>, sqlx::Error> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let writes: Vec<_> = asked
        .iter()
        .map(|(_, signup, wake_at)| write(signup, 0, *wake_at))
        .collect();
    let inserted = insert(transaction, &ENROLL, &writes).await?;
    answer_enrolled(
        transaction,
        asked
            .iter()
            .map(|(index, signup, _)| (*index, *signup))
            .collect(),
        &inserted,
    )
    .await
}

/// Inserts a signup whose row was lost, in any phase.
pub(crate) async fn restore(
    transaction: &mut Transaction<'_>,
    signup: &Signup,
) -> Result<Result<Enrolled, StoreError>, sqlx::Error> {
    let inserted = insert(transaction, &RESTORE, &[write(signup, 0, None)]).await?;
    let answers = answer_enrolled(transaction, vec![(0, signup)], &inserted).await?;
    let unanswered = || Err(StoreError::unavailable("restore was not answered"));
    Ok(answers
        .into_iter()
        .next()
        .map_or_else(unanswered, |(_, enrolled)| enrolled))
}

fn write(signup: &Signup, expected: u64, wake_at: Option<UnixMillis>) -> Write {
    Write {
        record: SignupRecord::from(signup),
        expected: sql_core::record::column(expected),
        wake_at: wake_at.map(|at| at.0),
    }
}

async fn insert(
    transaction: &mut Transaction<'_>,
    statement: &'static LazyLock<String>,
    writes: &[Write],
) -> Result<BTreeSet<String>, sqlx::Error> {
    let rows = sqlx::query(AssertSqlSafe(statement.as_str()))
        .bind(json(writes)?)
        .bind(transaction.now.0)
        .fetch_all(&mut *transaction.connection)
        .await?;
    let inserted: BTreeSet<String> = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    let lines: Vec<_> = writes
        .iter()
        .filter(|write| inserted.contains(&write.record.signup_id))
        .map(|write| HistoryLine {
            signup_id: write.record.signup_id.clone(),
            version: write.record.version,
            step: 0,
            state: StateKind::named(&write.record.state).map_or("", StateKind::name),
        })
        .collect();
    append(transaction, HISTORY, &lines).await?;
    Ok(inserted)
}

pub(crate) async fn append<T: Serialize>(
    transaction: &mut Transaction<'_>,
    statement: &'static str,
    lines: &[T],
) -> Result<(), sqlx::Error> {
    if lines.is_empty() {
        return Ok(());
    }
    transaction.wrote = true;
    sqlx::query(statement)
        .bind(json(lines)?)
        .bind(transaction.now.0)
        .execute(&mut *transaction.connection)
        .await
        .map(drop)
}

async fn answer_enrolled(
    transaction: &mut Transaction<'_>,
    asked: Vec<(usize, &Signup)>,
    inserted: &BTreeSet<String>,
) -> Result<Answers<Result<Enrolled, StoreError>>, sqlx::Error> {
    let is_new = |signup: &Signup| inserted.contains(&signup.id.to_string());
    let others: Vec<_> = asked
        .iter()
        .filter(|(_, signup)| !is_new(signup))
        .map(|(_, signup)| Key::new(signup.contest_id, &signup.user_id))
        .collect();
    let mut existing = BTreeMap::new();
    let mut contests = BTreeSet::new();
    if !others.is_empty() {
        let keys = json(&others)?;
        for record in find_many(transaction.connection, &keys).await? {
            existing.insert((record.contest_id.clone(), record.user_id.clone()), record);
        }
        let known = sqlx::query(
            "SELECT contest_id FROM contest WHERE contest_id IN (SELECT value ->> 'contest_id' FROM json_each(?1))",
        )
        .bind(&keys)
        .fetch_all(&mut *transaction.connection)
        .await?;
        contests = known
            .iter()
            .map(|row| row.try_get::<String, _>(0))
            .collect::<Result<_, _>>()?;
    }
    let answer = |signup: &Signup| {
        let key = (signup.contest_id.to_string(), signup.user_id.to_string());
        if is_new(signup) {
            Ok(Enrolled::Inserted)
        } else if let Some(record) = existing.get(&key) {
            record.parse().map(Enrolled::Existing)
        } else if contests.contains(&key.0) {
            Ok(Enrolled::NotOpen)
        } else {
            Ok(Enrolled::NoContest)
        }
    };
    Ok(asked
        .into_iter()
        .map(|(index, signup)| (index, answer(signup)))
        .collect())
}

/// Writes decisions. Two about one row in a batch are two statements, so that the second sees what
/// the first did.
pub(crate) async fn commit(
    transaction: &mut Transaction<'_>,
    mut asked: Vec<(usize, &SignupCommit)>,
    outbox_effects: &[Effect],
) -> Result<Answers<Committed>, sqlx::Error> {
    let mut answers = Vec::with_capacity(asked.len());
    while !asked.is_empty() {
        let mut rows = BTreeSet::new();
        let (round, rest): (Vec<_>, Vec<_>) = asked
            .into_iter()
            .partition(|(_, commit)| rows.insert(commit.signup.id));
        commit_distinct(transaction, &round, outbox_effects, &mut answers).await?;
        asked = rest;
    }
    Ok(answers)
}

async fn commit_distinct(
    transaction: &mut Transaction<'_>,
    round: &[(usize, &SignupCommit)],
    outbox_effects: &[Effect],
    answers: &mut Answers<Committed>,
) -> Result<(), sqlx::Error> {
    let now = transaction.now;
    let writes: Vec<_> = round
        .iter()
        .filter(|(_, commit)| commit.window.allows(now))
        .map(|(_, commit)| write(&commit.signup, commit.expected, commit.wake_at))
        .collect();
    let updated = sqlx::query(AssertSqlSafe(COMMIT.as_str()))
        .bind(json(&writes)?)
        .bind(now.0)
        .fetch_all(&mut *transaction.connection)
        .await?;
    let applied: BTreeSet<String> = updated
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<_, _>>()?;
    transaction.wrote |= !applied.is_empty();
    let is_applied = |commit: &SignupCommit| applied.contains(&commit.signup.id.to_string());
    let done = || {
        round
            .iter()
            .map(|(_, commit)| *commit)
            .filter(|commit| is_applied(commit))
    };
    append(
        transaction,
        HISTORY,
        &done().flat_map(history).collect::<Vec<_>>(),
    )
    .await?;
    let lines: Vec<_> = done()
        .flat_map(|commit| outbox_lines(commit, outbox_effects, now))
        .collect();
    append(transaction, OUTBOX, &lines).await?;
    let mut missing = BTreeSet::new();
    let others: Vec<_> = round
        .iter()
        .filter(|(_, commit)| !is_applied(commit))
        .map(|(_, commit)| commit.signup.id.to_string())
        .collect();
    if !others.is_empty() {
        let rows = sqlx::query(
            "SELECT value FROM json_each(?1) WHERE NOT EXISTS (SELECT 1 FROM signup WHERE signup_id = value)",
        )
        .bind(json(&others)?)
        .fetch_all(&mut *transaction.connection)
        .await?;
        missing = rows
            .iter()
            .map(|row| row.try_get::<String, _>(0))
            .collect::<Result<_, _>>()?;
    }
    answers.extend(round.iter().map(|(index, commit)| {
        let committed = if is_applied(commit) {
            Committed::Applied
        } else if missing.contains(&commit.signup.id.to_string()) {
            Committed::Missing
        } else {
            Committed::GuardFailed
        };
        (*index, committed)
    }));
    Ok(())
}

fn history(commit: &SignupCommit) -> impl Iterator<Item = HistoryLine> {
    commit
        .trail
        .iter()
        .enumerate()
        .map(|(step, state)| HistoryLine {
            signup_id: commit.signup.id.to_string(),
            version: sql_core::record::column(commit.expected + 1),
            step,
            state: state.name(),
        })
}

fn outbox_lines<'a>(
    commit: &'a SignupCommit,
    wanted: &'a [Effect],
    now: UnixMillis,
) -> impl Iterator<Item = OutboxLine> + 'a {
    commit
        .effects
        .iter()
        .filter(|effect| wanted.contains(effect))
        .map(move |effect| OutboxLine {
            effect: effect.name(),
            contest_id: commit.signup.contest_id.to_string(),
            signup_id: commit.signup.id.to_string(),
            user_id: commit.signup.user_id.to_string(),
            version: sql_core::record::column(commit.expected + 1),
            due_at: if *effect == Effect::DropCachedAgain {
                now.0 + DROP_AGAIN_MS
            } else {
                now.0
            },
        })
}

/// The text before or after every signup id, where a page begins.
fn key(after: Option<SignupId>, begin: &str) -> String {
    after.map_or_else(|| begin.to_owned(), |id| id.to_string())
}

#[async_trait]
impl SignupRepository for SqliteStore {
    async fn enroll(
        &self,
        signup: &Signup,
        wake_at: Option<UnixMillis>,
    ) -> Result<Enrolled, StoreError> {
        match self.write(Command::Enroll(signup.clone(), wake_at)).await? {
            Reply::Enrolled(enrolled) => Ok(enrolled),
            other => Err(mismatched(&other)),
        }
    }

    async fn restore(&self, signup: &Signup) -> Result<Enrolled, StoreError> {
        match self.write(Command::Restore(signup.clone())).await? {
            Reply::Enrolled(enrolled) => Ok(enrolled),
            other => Err(mismatched(&other)),
        }
    }

    async fn find(&self, contest: ContestId, user: &UserId) -> Result<Option<Signup>, StoreError> {
        match self.ask(Question::Signup(contest, user.clone())).await? {
            Answer::Signup(signup) => Ok(signup),
            other => Err(mismatched(&other)),
        }
    }

    async fn find_to_claim(
        &self,
        contest: ContestId,
        user: &UserId,
    ) -> Result<Option<(Signup, Option<SheetLine>)>, StoreError> {
        let Some(signup) = self.find(contest, user).await? else {
            return Ok(None);
        };
        let line = self.sheet_line(contest, signup.id).await?;
        Ok(Some((signup, line)))
    }

    async fn get(&self, id: SignupId) -> Result<Option<Signup>, StoreError> {
        let row = sqlx::query(AssertSqlSafe(GET.as_str()))
            .bind(id.to_string())
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        row.as_ref().map(parse).transpose()
    }

    async fn commit(&self, commit: SignupCommit) -> Result<Committed, StoreError> {
        match self.write(Command::CommitSignup(commit)).await? {
            Reply::Committed(committed) => Ok(committed),
            other => Err(mismatched(&other)),
        }
    }

    async fn awake(&self, items: usize) -> Result<Vec<Signup>, StoreError> {
        let mut asked = items;
        loop {
            let rows = sqlx::query(AssertSqlSafe(AWAKE.as_str()))
                .bind(limit(asked))
                .fetch_all(&self.readers)
                .await
                .map_err(failed)?;
            // A row that cannot be read pages somebody; the others must not wait for it.
            let mut awake: Vec<_> = rows.iter().map(parse).filter_map(rows::or_report).collect();
            if awake.len() >= items || rows.len() < asked {
                awake.truncate(items);
                return Ok(awake);
            }
            asked = asked.saturating_mul(4);
        }
    }

    async fn page(
        &self,
        contest: ContestId,
        states: &[StateKind],
        after: Option<SignupId>,
        items: usize,
    ) -> Result<Page<Signup, SignupId>, StoreError> {
        let items = items.min(PAGE_MAX);
        let mut found = Vec::new();
        // One query a state, so that each walks its own index range; then the first of all.
        let wanted = if states.is_empty() {
            vec![None]
        } else {
            states.iter().map(|state| Some(*state)).collect()
        };
        for state in wanted {
            let statement = if state.is_some() {
                PAGE_OF_STATE.as_str()
            } else {
                PAGE.as_str()
            };
            let mut query = sqlx::query(AssertSqlSafe(statement))
                .bind(contest.to_string())
                .bind(key(after, ""))
                .bind(limit(items + 1));
            if let Some(state) = state {
                query = query.bind(state.name());
            }
            found.extend(parse_all(
                &query.fetch_all(&self.readers).await.map_err(failed)?,
            )?);
        }
        found.sort_by_key(|signup| signup.id);
        // A row that changed state between two of the queries may be there twice.
        found.dedup_by_key(|signup| signup.id);
        Ok(Page::cut(found, items, |signup| signup.id))
    }

    async fn range_end(
        &self,
        contest: ContestId,
        after: Option<SignupId>,
        rows: usize,
    ) -> Result<Option<SignupId>, StoreError> {
        let Some(before) = rows.checked_sub(1) else {
            return Ok(None);
        };
        let row = sqlx::query(RANGE_END)
            .bind(contest.to_string())
            .bind(key(after, ""))
            .bind(limit(before))
            .fetch_optional(&self.readers)
            .await
            .map_err(failed)?;
        let Some(row) = row else { return Ok(None) };
        let id: String = row.try_get(0).map_err(failed)?;
        id.parse().map(Some).map_err(|_| StoreError::Inconsistent {
            table: "signup",
            key: id,
            what: "an id that is none".to_owned(),
        })
    }

    async fn of_user(
        &self,
        user: &UserId,
        after: Option<SignupId>,
        items: usize,
    ) -> Result<Page<Signup, SignupId>, StoreError> {
        let items = items.min(PAGE_MAX);
        let rows = sqlx::query(AssertSqlSafe(OF_USER.as_str()))
            .bind(user.as_str())
            .bind(key(after, "~"))
            .bind(limit(items + 1))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        Ok(Page::cut(parse_all(&rows)?, items, |signup| signup.id))
    }

    async fn parked(
        &self,
        after: Option<SignupId>,
        items: usize,
    ) -> Result<Page<Signup, SignupId>, StoreError> {
        let items = items.min(PAGE_MAX);
        let rows = sqlx::query(AssertSqlSafe(PARKED.as_str()))
            .bind(key(after, ""))
            .bind(limit(items + 1))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        Ok(Page::cut(parse_all(&rows)?, items, |signup| signup.id))
    }
}
