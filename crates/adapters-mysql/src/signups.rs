//! Signups in MySQL.

use crate::{
    MysqlStore, leases, mismatched,
    reader::{Answer, Question},
    rows::{self, failed, limit},
    signup_sql::{
        self, AWAKE, CHANGES, GET, HistoryLine, OF_USER, OutboxLine, PAGE, PAGE_OF_STATE,
        PARKED_ROWS, RANGE_END, SignupRow,
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
    leases::Lease,
    outbox::DROP_AGAIN_MS,
    signups::{Enrolled, SignupCommit, SignupRepository},
    store::{Committed, PAGE_MAX, Page, StoreError},
};
use sql_core::mysql::keys;
use sqlx::{AssertSqlSafe, Row, mysql::MySqlRow};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};
use uuid::Uuid;

fn parse(row: &MySqlRow) -> Result<Signup, StoreError> {
    rows::signup(row).map_err(failed)?.parse()
}

fn parse_all(rows: &[MySqlRow]) -> Result<Vec<Signup>, StoreError> {
    rows.iter().map(parse).collect()
}

type Answers<T> = Vec<(usize, T)>;

/// Writes decisions. Two about one row in a batch are two rounds, so that the second sees what the
/// first did.
pub(crate) async fn commit<'a>(
    transaction: &mut Transaction<'a>,
    mut asked: Vec<(usize, &'a SignupCommit)>,
) -> Result<Answers<Committed>, sqlx::Error> {
    let mut answers = Vec::with_capacity(asked.len());
    // Before any row, as everywhere.
    let under = asked.iter().filter_map(|(_, commit)| commit.under.as_ref());
    let lost = leases::lost(transaction.connection, under).await?;
    // All rows at once and in one order, whatever the rounds are.
    let (mut versions, now) = lock(transaction, &asked).await?;
    while !asked.is_empty() {
        let mut rows = BTreeSet::new();
        let (round, rest): (Vec<_>, Vec<_>) = asked
            .into_iter()
            .partition(|(_, commit)| rows.insert(commit.signup.id));
        commit_distinct(transaction, &round, now, &lost, &mut versions, &mut answers).await?;
        asked = rest;
    }
    Ok(answers)
}

/// Locks the rows that decisions are about; their versions, and the time when all were locked.
async fn lock(
    transaction: &mut Transaction<'_>,
    asked: &[(usize, &SignupCommit)],
) -> Result<(BTreeMap<SignupId, u64>, UnixMillis), sqlx::Error> {
    let ids: BTreeSet<_> = asked
        .iter()
        .map(|(_, commit)| (commit.signup.contest_id, commit.signup.id))
        .collect();
    let ids: Vec<_> = ids.into_iter().collect();
    if ids.is_empty() {
        return Ok((BTreeMap::new(), UnixMillis(0)));
    }
    let mut query = sqlx::query(AssertSqlSafe(signup_sql::lock(ids.len())));
    for (contest, signup) in keys::fill(&ids) {
        query = query.bind(contest.0).bind(signup.0);
    }
    let mut versions = BTreeMap::new();
    let mut now = UnixMillis(0);
    for row in query.fetch_all(&mut *transaction.connection).await? {
        let version: i64 = row.try_get(1)?;
        versions.insert(SignupId(row.try_get(0)?), version.cast_unsigned());
        now = now.max(UnixMillis(row.try_get(2)?));
    }
    Ok((versions, now))
}

async fn commit_distinct<'a>(
    transaction: &mut Transaction<'a>,
    round: &[(usize, &'a SignupCommit)],
    now: UnixMillis,
    lost: &BTreeSet<&Lease>,
    versions: &mut BTreeMap<SignupId, u64>,
    answers: &mut Answers<Committed>,
) -> Result<(), sqlx::Error> {
    let is_guarded = |commit: &SignupCommit| {
        versions.get(&commit.signup.id) == Some(&commit.expected) && commit.window.allows(now)
    };
    let is_fenced = |commit: &SignupCommit| {
        let lease = commit.under.as_ref();
        lease.is_some_and(|lease| lost.contains(lease))
    };
    let applies = |commit: &SignupCommit| is_guarded(commit) && !is_fenced(commit);
    let mut done: Vec<_> = round
        .iter()
        .map(|(_, commit)| *commit)
        .filter(|commit| applies(commit))
        .collect();
    done.sort_by_key(|commit| (commit.signup.contest_id, commit.signup.id));
    let rows: Vec<_> = done.iter().map(|commit| row(commit)).collect();
    transaction.write_signups(&rows, &CHANGES).await?;
    for commit in &done {
        let effects = outbox_lines(commit, transaction.effects, now);
        transaction.history.extend(history(commit, now));
        transaction.outbox.extend(effects);
    }
    answers.extend(round.iter().map(|(index, commit)| {
        let committed = match versions.get(&commit.signup.id) {
            None => Committed::Missing,
            Some(_) if applies(commit) => Committed::Applied,
            Some(_) if is_guarded(commit) => Committed::Fenced,
            Some(_) => Committed::GuardFailed,
        };
        (*index, committed)
    }));
    for commit in done {
        versions.insert(commit.signup.id, commit.expected + 1);
    }
    Ok(())
}

fn row(commit: &SignupCommit) -> SignupRow<'_> {
    SignupRow::new(&commit.signup, commit.wake_at).of_version(commit.expected + 1)
}

fn history(commit: &SignupCommit, at: UnixMillis) -> impl Iterator<Item = HistoryLine> {
    commit
        .trail
        .iter()
        .enumerate()
        .map(move |(step, state)| HistoryLine {
            signup_id: commit.signup.id,
            version: commit.expected + 1,
            step,
            state: *state,
            at,
        })
}

fn outbox_lines<'a>(
    commit: &'a SignupCommit,
    wanted: &'a [Effect],
    now: UnixMillis,
) -> impl Iterator<Item = OutboxLine<'a>> {
    commit
        .effects
        .iter()
        .filter(|effect| wanted.contains(effect))
        .map(move |effect| OutboxLine {
            effect: *effect,
            contest_id: commit.signup.contest_id,
            signup_id: Some(commit.signup.id),
            user_id: Cow::Borrowed(commit.signup.user_id.as_str()),
            version: commit.expected + 1,
            due_at: if *effect == Effect::DropCachedAgain {
                UnixMillis(now.0 + DROP_AGAIN_MS)
            } else {
                now
            },
        })
}

#[async_trait]
impl SignupRepository for MysqlStore {
    async fn enroll(
        &self,
        signup: &Signup,
        wake_at: Option<UnixMillis>,
    ) -> Result<Enrolled, StoreError> {
        let command = Command::Enroll(signup.clone(), wake_at);
        match self.write(&signup.user_id, command).await? {
            Reply::Enrolled(enrolled) => Ok(enrolled),
            other => Err(mismatched(&other)),
        }
    }

    async fn restore(&self, signup: &Signup) -> Result<Enrolled, StoreError> {
        let command = Command::Restore(signup.clone());
        match self.write(&signup.user_id, command).await? {
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
        match self.ask(Question::ToClaim(contest, user.clone())).await? {
            Answer::ToClaim(found) => Ok(found),
            other => Err(mismatched(&other)),
        }
    }

    async fn get(&self, id: SignupId) -> Result<Option<Signup>, StoreError> {
        let query = sqlx::query(AssertSqlSafe(GET.as_str())).bind(id.0);
        let row = self.maybe(query).await?;
        row.as_ref().map(parse).transpose()
    }

    async fn commit(&self, commit: SignupCommit) -> Result<Committed, StoreError> {
        let user = commit.signup.user_id.clone();
        let id = commit.signup.id;
        match self.write(&user, Command::CommitSignup(commit)).await? {
            // A row of that id in another contest is not looked at by the writer.
            Reply::Committed(Committed::Missing) if self.get(id).await?.is_some() => {
                Ok(Committed::GuardFailed)
            }
            Reply::Committed(committed) => Ok(committed),
            other => Err(mismatched(&other)),
        }
    }

    async fn awake(&self, items: usize) -> Result<Vec<Signup>, StoreError> {
        let mut asked = items;
        loop {
            let query = sqlx::query(AssertSqlSafe(AWAKE.as_str())).bind(limit(asked));
            let rows = self.all(query).await?;
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
        let after = rows::after(after.map(|id| id.0));
        let mut found = Vec::new();
        if states.is_empty() {
            let query = sqlx::query(AssertSqlSafe(PAGE.as_str()))
                .bind(contest.0)
                .bind(after)
                .bind(limit(items + 1));
            let page = self.all(query).await?;
            found = parse_all(&page)?;
        }
        // One query a state, so that each walks its own index range; then the first of all.
        for state in states {
            let query = sqlx::query(AssertSqlSafe(PAGE_OF_STATE.as_str()))
                .bind(contest.0)
                .bind(state.name())
                .bind(after)
                .bind(limit(items + 1));
            let page = self.all(query).await?;
            found.extend(parse_all(&page)?);
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
        let query = sqlx::query(RANGE_END)
            .bind(contest.0)
            .bind(rows::after(after.map(|id| id.0)))
            .bind(limit(before));
        let row = self.maybe(query).await?;
        row.map(|row| row.try_get(0).map(SignupId).map_err(failed))
            .transpose()
    }

    async fn of_user(
        &self,
        user: &UserId,
        after: Option<SignupId>,
        items: usize,
    ) -> Result<Page<Signup, SignupId>, StoreError> {
        let items = items.min(PAGE_MAX);
        let query = sqlx::query(AssertSqlSafe(OF_USER.as_str()))
            .bind(user.as_str())
            .bind(after.map_or(Uuid::max(), |id| id.0))
            .bind(limit(items + 1));
        let rows = self.all(query).await?;
        Ok(Page::cut(parse_all(&rows)?, items, |signup| signup.id))
    }

    async fn parked(
        &self,
        after: Option<SignupId>,
        items: usize,
    ) -> Result<Page<Signup, SignupId>, StoreError> {
        let items = items.min(PAGE_MAX);
        let query = sqlx::query(AssertSqlSafe(PARKED_ROWS.as_str()))
            .bind(rows::after(after.map(|id| id.0)))
            .bind(limit(items + 1));
        let rows = self.all(query).await?;
        Ok(Page::cut(parse_all(&rows)?, items, |signup| signup.id))
    }
}
