//! New signups. A batch locks the rows of its contests, shared, before it looks at their phase: a
//! decision that ends signups waits for the batch, or the batch sees it (hazards B1, B4). Shared
//! locks do not wait for each other, so a room of any size has one gate and no queue at it.

use crate::{
    rows,
    signup_sql::{self, HistoryLine, STAYS, SignupRow},
    writer::Transaction,
};
use domain::{
    contest::PhaseKind,
    ids::{ContestId, RoomId, SenderId, SignupId, TaskKind, UserId},
    signup::Signup,
    time::UnixMillis,
};
use ports::{signups::Enrolled, store::StoreError, tasks::TaskEvent};
use sql_core::{
    mysql::{self, THEN_MS, keys},
    signup_record::SignupRecord,
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, mysql::MySqlRow};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// A signup that is to be inserted.
pub(crate) struct Asked<'a> {
    pub(crate) index: usize,
    pub(crate) signup: &'a Signup,
    pub(crate) wake_at: Option<UnixMillis>,
    /// Only while the contest takes signups.
    pub(crate) only_open: bool,
}

/// What a contest lets in, as long as this transaction lasts.
#[derive(Clone, Debug)]
pub(crate) struct Gate {
    pub(crate) room_id: String,
    pub(crate) task_kind: String,
    pub(crate) phase: Option<PhaseKind>,
    pub(crate) signup_opens_at: i64,
    pub(crate) signup_closes_at: i64,
    pub(crate) tasks_end_at: i64,
}

/// The contests of a batch, locked, and the time at which they were.
pub(crate) struct Gates {
    pub(crate) contests: BTreeMap<ContestId, Gate>,
    /// When all of them were locked; 0 where there are none.
    pub(crate) now: UnixMillis,
}

impl Gates {
    fn takes_signups(&self, contest: ContestId) -> bool {
        self.contests.get(&contest).is_some_and(|gate| {
            gate.phase == Some(PhaseKind::Draft)
                && gate.signup_opens_at <= self.now.0
                && self.now.0 < gate.signup_closes_at
        })
    }
}

const COLUMNS: &str =
    "contest_id, room_id, task_kind, phase, signup_opens_at, signup_closes_at, tasks_end_at";

/// Locks, shared, the contests that signups are for, and those that events may count for.
pub(crate) async fn lock_contests(
    transaction: &mut Transaction<'_>,
    enrolls: &[Asked<'_>],
    records: &[(usize, &SenderId, &[TaskEvent])],
) -> Result<Gates, sqlx::Error> {
    let ids: BTreeSet<ContestId> = enrolls
        .iter()
        .map(|asked| asked.signup.contest_id)
        .collect();
    let ids: Vec<_> = ids.into_iter().collect();
    let mut contests = BTreeMap::new();
    let mut now = UnixMillis(0);
    if !ids.is_empty() {
        let statement = by_id(ids.len());
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for id in keys::fill(&ids) {
            query = query.bind(id.0);
        }
        for row in query.fetch_all(&mut *transaction.connection).await? {
            let (id, gate) = gate(&row)?;
            contests.insert(id, gate);
            now = now.max(UnixMillis(row.try_get(7)?));
        }
    }
    let events = || records.iter().flat_map(|(_, _, events)| events.iter());
    let rooms: BTreeSet<(&RoomId, &TaskKind)> = events()
        .map(|event| (&event.room_id, &event.kind))
        .collect();
    let rooms: Vec<_> = rooms.into_iter().collect();
    let earliest = events().map(|event| event.occurred_at.0).min();
    for rooms in rooms.chunks(keys::MAX) {
        let statement = by_room(rooms.len());
        let mut query = sqlx::query(AssertSqlSafe(statement));
        for (room, kind) in keys::fill(rooms) {
            query = query.bind(room.as_str()).bind(kind.as_str());
        }
        let query = query.bind(earliest);
        for row in query.fetch_all(&mut *transaction.connection).await? {
            let (id, gate) = gate(&row)?;
            contests.insert(id, gate);
            now = now.max(UnixMillis(row.try_get(7)?));
        }
    }
    if contests.is_empty() && earliest.is_some() {
        now = transaction.now().await?;
    }
    Ok(Gates { contests, now })
}

/// The contests of some ids, locked shared.
pub(crate) fn by_id(number: usize) -> String {
    let marks = keys::marks(1, number);
    format!(
        "SELECT {COLUMNS}, {THEN_MS} FROM contest WHERE contest_id IN ({marks}) ORDER BY contest_id LOCK IN SHARE MODE"
    )
}

/// The contests of some rooms and kinds of tasks that end after a time, locked shared.
pub(crate) fn by_room(number: usize) -> String {
    let marks = keys::marks(2, number);
    format!(
        "SELECT {COLUMNS}, {THEN_MS} FROM contest FORCE INDEX (contest_room) \
         WHERE (room_id, task_kind) IN ({marks}) AND tasks_end_at > ? LOCK IN SHARE MODE"
    )
}

fn gate(row: &MySqlRow) -> Result<(ContestId, Gate), sqlx::Error> {
    let id: Uuid = row.try_get(0)?;
    let phase: String = row.try_get(3)?;
    let gate = Gate {
        room_id: row.try_get(1)?,
        task_kind: row.try_get(2)?,
        phase: PhaseKind::named(&phase),
        signup_opens_at: row.try_get(4)?,
        signup_closes_at: row.try_get(5)?,
        tasks_end_at: row.try_get(6)?,
    };
    Ok((ContestId(id), gate))
}

type Answer = (usize, Result<Enrolled, StoreError>);
pub(crate) type Viewer = (ContestId, UserId);

/// Inserts new signups; whoever has a row already gets that row.
pub(crate) async fn enroll(
    transaction: &mut Transaction<'_>,
    gates: &mut Gates,
    asked: &[Asked<'_>],
) -> Result<Vec<Answer>, sqlx::Error> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let key = |asked: &Asked<'_>| (asked.signup.contest_id, asked.signup.user_id.clone());
    let viewers: Vec<Viewer> = asked
        .iter()
        .map(key)
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut ids = find_ids(transaction.connection, &viewers).await?;
    // One row a viewer, in the order of the keys, so that two batches never wait in a circle.
    let mut new: BTreeMap<Viewer, &Asked<'_>> = BTreeMap::new();
    for asked in asked {
        let lets_in = !asked.only_open || gates.takes_signups(asked.signup.contest_id);
        let is_there = gates.contests.contains_key(&asked.signup.contest_id);
        if lets_in && is_there && !ids.contains_key(&key(asked)) {
            new.entry(key(asked)).or_insert(asked);
        }
    }
    let mut inserted = BTreeSet::new();
    if !new.is_empty() {
        let rows: Vec<_> = new
            .values()
            .map(|asked| SignupRow::new(asked.signup, asked.wake_at))
            .collect();
        let fresh = match transaction.write_signups(&rows, "").await {
            Ok(()) => new
                .iter()
                .map(|(viewer, asked)| (viewer.clone(), asked.signup.id))
                .collect(),
            // Another process was faster.
            Err(error) if mysql::is_duplicate(&error) => {
                transaction.write_signups(&rows, STAYS).await?;
                let viewers: Vec<Viewer> = new.keys().cloned().collect();
                find_ids(transaction.connection, &viewers).await?
            }
            Err(error) => return Err(error),
        };
        for (viewer, Asked { signup, .. }) in &new {
            if fresh.get(viewer) == Some(&signup.id) {
                inserted.insert(signup.id);
                transaction.history.push(HistoryLine {
                    signup_id: signup.id,
                    version: signup.version,
                    step: 0,
                    state: signup.state.kind(),
                    at: gates.now,
                });
            }
        }
        ids.extend(fresh);
    }
    // The first command of a viewer in this batch made the row; a repeat finds it.
    let (made, others): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| {
        ids.get(&key(asked)) == Some(&asked.signup.id) && inserted.remove(&asked.signup.id)
    });
    let there: BTreeSet<Viewer> = others
        .iter()
        .map(|asked| key(asked))
        .filter(|viewer| ids.contains_key(viewer))
        .collect();
    let there = find(transaction.connection, &Vec::from_iter(there)).await?;
    let existing = |asked: &Asked<'_>| match there.get(&key(asked)) {
        Some(row) => row.parse().map(Enrolled::Existing),
        None if gates.contests.contains_key(&asked.signup.contest_id) => Ok(Enrolled::NotOpen),
        None => Ok(Enrolled::NoContest),
    };
    let made = made
        .into_iter()
        .map(|asked| (asked.index, Ok(Enrolled::Inserted)));
    let others = others
        .into_iter()
        .map(|asked| (asked.index, existing(asked)));
    Ok(made.chain(others).collect())
}

/// Which signups some viewers have.
async fn find_ids(
    connection: &mut MySqlConnection,
    viewers: &[Viewer],
) -> Result<BTreeMap<Viewer, SignupId>, sqlx::Error> {
    let mut query = sqlx::query(AssertSqlSafe(signup_sql::ids_of_many(viewers.len())));
    for (contest, user) in keys::fill(viewers) {
        query = query.bind(contest.0).bind(user.as_str());
    }
    let mut found = BTreeMap::new();
    for row in query.fetch_all(connection).await? {
        let user: String = row.try_get(1)?;
        let user = user.parse().map_err(unreadable)?;
        found.insert(
            (ContestId(row.try_get(0)?), user),
            SignupId(row.try_get(2)?),
        );
    }
    Ok(found)
}

fn unreadable(error: domain::ids::InvalidId) -> sqlx::Error {
    sqlx::Error::Decode(Box::new(error))
}

/// The rows of some viewers.
pub(crate) async fn find(
    connection: &mut MySqlConnection,
    viewers: &[Viewer],
) -> Result<BTreeMap<Viewer, SignupRecord>, sqlx::Error> {
    let rows = rows_of(connection, signup_sql::find_many, viewers).await?;
    rows.iter().map(record).collect()
}

/// What a statement for so many viewers answers about some; nobody is asked about none.
pub(crate) async fn rows_of(
    connection: &mut MySqlConnection,
    statement: fn(usize) -> String,
    viewers: &[Viewer],
) -> Result<Vec<MySqlRow>, sqlx::Error> {
    if viewers.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = sqlx::query(AssertSqlSafe(statement(viewers.len())));
    for (contest, user) in keys::fill(viewers) {
        query = query.bind(contest.0).bind(user.as_str());
    }
    query.fetch_all(connection).await
}

/// A row, and whose it is.
pub(crate) fn record(row: &MySqlRow) -> Result<(Viewer, SignupRecord), sqlx::Error> {
    let record = rows::signup(row)?;
    let contest = record.contest_id.parse().map_err(unreadable)?;
    let user = record.user_id.parse().map_err(unreadable)?;
    Ok(((contest, user), record))
}
