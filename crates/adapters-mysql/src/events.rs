//! Events pushed to us, and the progress that they make.
//!
//! An event is taken for a contest while the contest is not being judged. Its transaction holds the
//! contest's row, shared, so judging begins before it or after it: an event is either there when
//! judging begins, and judged, or sees that it is too late.

use crate::{
    MysqlStore,
    enroll::Gates,
    mismatched,
    rows::failed,
    signup_sql::OutboxLine,
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::{
    contest::{Contest, PhaseKind},
    effects::Effect,
    ids::{ContestId, SenderId},
    judge::Progress,
    signup::Signup,
    time::UnixMillis,
};
use ports::{
    store::StoreError,
    tasks::{
        Assigned, EVENT_AGE_MS_MAX, EVENT_AHEAD_MS_MAX, EventOutcome, TaskEvent, TaskEvents, Tasks,
    },
};
use serde::Serialize;
use sql_core::{
    mysql::{NOW_MS, keys},
    record::{Context, column},
};
use sqlx::{AssertSqlSafe, Row};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct EventRow {
    sender_id: String,
    event_id: String,
    user_id: String,
    room_id: String,
    kind: String,
    quantity: i64,
    occurred_at: i64,
}

#[derive(Serialize)]
struct StoredRow<'a> {
    #[serde(flatten)]
    event: &'a EventRow,
    received_at: i64,
}

#[derive(Serialize)]
struct ProgressRow<'a> {
    contest_id: String,
    user_id: &'a str,
    occurred_at: i64,
    sender_id: &'a str,
    event_id: &'a str,
    quantity: i64,
}

/// Inserts events. One that is there already stays as it is; whose it is is read afterwards.
pub(crate) const INSERT: &str = "INSERT INTO task_event \
     (sender_id, event_id, user_id, room_id, kind, quantity, occurred_at, received_at) \
     SELECT j.sender_id, j.event_id, j.user_id, j.room_id, j.kind, j.quantity, j.occurred_at, j.received_at \
     FROM JSON_TABLE(?, '$[*]' COLUMNS (sender_id VARCHAR(64) PATH '$.sender_id', \
       event_id VARCHAR(64) PATH '$.event_id', user_id VARCHAR(64) PATH '$.user_id', \
       room_id VARCHAR(64) PATH '$.room_id', kind VARCHAR(64) PATH '$.kind', \
       quantity BIGINT PATH '$.quantity', occurred_at BIGINT PATH '$.occurred_at', \
       received_at BIGINT PATH '$.received_at')) AS j \
     ON DUPLICATE KEY UPDATE received_at = task_event.received_at";

pub(crate) const PROGRESS_ROWS: &str = "INSERT INTO task_progress \
     (contest_id, user_id, occurred_at, sender_id, event_id, quantity) \
     SELECT UNHEX(REPLACE(j.contest_id, '-', '')), j.user_id, j.occurred_at, j.sender_id, j.event_id, j.quantity \
     FROM JSON_TABLE(?, '$[*]' COLUMNS (contest_id CHAR(36) PATH '$.contest_id', \
       user_id VARCHAR(64) PATH '$.user_id', occurred_at BIGINT PATH '$.occurred_at', \
       sender_id VARCHAR(64) PATH '$.sender_id', event_id VARCHAR(64) PATH '$.event_id', \
       quantity BIGINT PATH '$.quantity')) AS j \
     ON DUPLICATE KEY UPDATE quantity = task_progress.quantity";

/// Events by sender and id, and when each was received.
pub(crate) fn stored_sql(number: usize) -> String {
    let marks = keys::marks(2, number);
    format!(
        "SELECT sender_id, event_id, user_id, room_id, kind, quantity, occurred_at, received_at \
         FROM task_event FORCE INDEX (PRIMARY) WHERE (sender_id, event_id) IN ({marks})"
    )
}

type EventKey = (String, String);

fn row(sender: &SenderId, event: &TaskEvent) -> EventRow {
    let TaskEvent {
        event_id,
        user_id,
        room_id,
        kind,
        quantity,
        occurred_at,
    } = event;
    EventRow {
        sender_id: sender.to_string(),
        event_id: event_id.to_string(),
        user_id: user_id.to_string(),
        room_id: room_id.to_string(),
        kind: kind.to_string(),
        quantity: column(*quantity),
        occurred_at: occurred_at.0,
    }
}

fn key(row: &EventRow) -> EventKey {
    (row.sender_id.clone(), row.event_id.clone())
}

/// Stores batches of events; an outcome for each event.
pub(crate) async fn record(
    transaction: &mut Transaction<'_>,
    gates: &Gates,
    batches: &[(usize, &SenderId, &[TaskEvent])],
) -> Result<Vec<(usize, Vec<EventOutcome>)>, sqlx::Error> {
    let rows: Vec<_> = batches
        .iter()
        .flat_map(|(_, sender, events)| events.iter().map(|event| row(sender, event)))
        .collect();
    let names: BTreeSet<EventKey> = rows.iter().map(key).collect();
    let names: Vec<_> = names.into_iter().collect();
    let mut known = stored(transaction, &names).await?;
    // The first of each id that is taken, in the order of the keys.
    let mut new: BTreeMap<EventKey, &EventRow> = BTreeMap::new();
    for row in &rows {
        if !known.contains_key(&key(row)) && fresh(row, gates) == EventOutcome::Accepted {
            new.entry(key(row)).or_insert(row);
        }
    }
    let mut mine = BTreeSet::new();
    if !new.is_empty() {
        let received_at = gates.now.0;
        let writes: Vec<_> = new
            .values()
            .map(|event| StoredRow { event, received_at })
            .collect();
        transaction.write(INSERT, &writes).await?;
        // Another process may have been faster with one of them: then its progress is there too,
        // and what is written again changes nothing.
        let names: Vec<_> = new.keys().cloned().collect();
        let now_known = stored(transaction, &names).await?;
        for (name, row) in &new {
            if now_known.get(name) == Some(*row) {
                mine.insert(name.clone());
            }
        }
        known.extend(now_known);
        keep(
            transaction,
            gates,
            new.iter()
                .filter(|(name, _)| mine.contains(*name))
                .map(|(_, row)| *row),
        )
        .await?;
    }
    let mut outcomes = rows.iter().map(|row| {
        let name = key(row);
        match known.get(&name) {
            None => fresh(row, gates),
            // What was not taken left its id to what came after it.
            Some(stored) if stored != row && mine.contains(&name) => fresh(row, gates),
            Some(_) if mine.remove(&name) => EventOutcome::Accepted,
            Some(stored) if stored == row => EventOutcome::Duplicate,
            Some(_) => EventOutcome::Conflict,
        }
    });
    Ok(batches
        .iter()
        .map(|(index, _, events)| (*index, outcomes.by_ref().take(events.len()).collect()))
        .collect())
}

/// The contests that an event fits: those that take it, and whether one takes nothing any more.
fn fits(row: &EventRow, gates: &Gates) -> (Vec<ContestId>, bool) {
    let mut open = Vec::new();
    let mut is_late = false;
    for (id, gate) in &gates.contests {
        let is_there = gate.room_id == row.room_id
            && gate.task_kind == row.kind
            && (gate.signup_opens_at..gate.tasks_end_at).contains(&row.occurred_at);
        if !is_there {
            continue;
        }
        if gate.phase.is_none_or(PhaseKind::is_past_events) {
            is_late = true;
        } else {
            open.push(*id);
        }
    }
    (open, is_late)
}

fn fresh(row: &EventRow, gates: &Gates) -> EventOutcome {
    if row.occurred_at < gates.now.0 - EVENT_AGE_MS_MAX {
        return EventOutcome::TooOld;
    }
    if row.occurred_at > gates.now.0 + EVENT_AHEAD_MS_MAX {
        return EventOutcome::TooFarAhead;
    }
    let (open, is_late) = fits(row, gates);
    if open.is_empty() && is_late {
        EventOutcome::TooLate
    } else {
        EventOutcome::Accepted
    }
}

async fn stored(
    transaction: &mut Transaction<'_>,
    names: &[EventKey],
) -> Result<BTreeMap<EventKey, EventRow>, sqlx::Error> {
    let mut found = Vec::new();
    for names in names.chunks(keys::MAX) {
        let mut query = sqlx::query(AssertSqlSafe(stored_sql(names.len())));
        for (sender, event) in keys::fill(names) {
            query = query.bind(sender).bind(event);
        }
        found.extend(query.fetch_all(&mut *transaction.connection).await?);
    }
    let event = |row: &sqlx::mysql::MySqlRow| {
        let event = EventRow {
            sender_id: row.try_get(0)?,
            event_id: row.try_get(1)?,
            user_id: row.try_get(2)?,
            room_id: row.try_get(3)?,
            kind: row.try_get(4)?,
            quantity: row.try_get(5)?,
            occurred_at: row.try_get(6)?,
        };
        Ok((key(&event), event))
    };
    found.iter().map(event).collect()
}

/// Writes the progress that events make, and that the ranking has to be told.
async fn keep<'a>(
    transaction: &mut Transaction<'_>,
    gates: &Gates,
    events: impl Iterator<Item = &'a EventRow>,
) -> Result<(), sqlx::Error> {
    let mut progress = Vec::new();
    let mut ranked = BTreeSet::new();
    for row in events {
        let (open, _) = fits(row, gates);
        for contest in open {
            ranked.insert((contest, row.user_id.clone()));
            progress.push(ProgressRow {
                contest_id: contest.to_string(),
                user_id: &row.user_id,
                occurred_at: row.occurred_at,
                sender_id: &row.sender_id,
                event_id: &row.event_id,
                quantity: row.quantity,
            });
        }
    }
    // In the order of the keys, as everywhere.
    progress.sort_by(|one, other| {
        let key = |row: &ProgressRow<'_>| {
            (
                row.contest_id.clone(),
                row.user_id.to_owned(),
                row.occurred_at,
                row.sender_id.to_owned(),
                row.event_id.to_owned(),
            )
        };
        key(one).cmp(&key(other))
    });
    transaction.write(PROGRESS_ROWS, &progress).await?;
    if !transaction.effects.contains(&Effect::Rank) {
        return Ok(());
    }
    let lines = ranked.into_iter().map(|(contest, user_id)| OutboxLine {
        effect: Effect::Rank,
        contest_id: contest,
        signup_id: None,
        user_id: Cow::Owned(user_id),
        version: 0,
        due_at: gates.now,
    });
    transaction.outbox.extend(lines);
    Ok(())
}

#[derive(Serialize)]
struct AskedProgress {
    n: usize,
    contest_id: String,
    user_id: String,
    paid_at: i64,
}

/// Progress of many viewers. The outer join fixes the order: from those who are asked about to
/// their events, never the other way round. The contest stands in every row: see [`crate::leaderboard`] for what would happen if the optimiser
/// knew that it is one for all.
pub(crate) static PROGRESS: LazyLock<String> = LazyLock::new(|| {
    "SELECT n, CAST(MAX(total) AS SIGNED), MIN(CASE WHEN total >= ? THEN occurred_at END) FROM ( \
       SELECT j.n, p.occurred_at, SUM(p.quantity) OVER \
              (PARTITION BY j.n ORDER BY p.occurred_at, p.sender_id, p.event_id) AS total \
       FROM JSON_TABLE(?, '$[*]' COLUMNS (n BIGINT PATH '$.n', user_id VARCHAR(64) PATH '$.user_id', \
              contest_id CHAR(32) PATH '$.contest_id', paid_at BIGINT PATH '$.paid_at')) AS j \
       LEFT JOIN task_progress AS p FORCE INDEX (PRIMARY) ON p.contest_id = UNHEX(j.contest_id) \
         AND p.user_id = CONVERT(j.user_id USING utf8mb4) COLLATE utf8mb4_bin \
         AND p.occurred_at >= j.paid_at AND p.occurred_at < ? \
     ) AS done GROUP BY n ORDER BY n"
        .to_owned()
});

static PHASE: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {NOW_MS}, (SELECT phase FROM contest WHERE contest_id = ?)"));

#[async_trait]
impl Tasks for MysqlStore {
    /// Progress is kept for every contest that an event fits, whoever has signed up: there is
    /// nothing to be told.
    async fn assign(&self, _contest: &Contest, _signup: &Signup) -> Assigned {
        Assigned::Assigned
    }

    async fn progress(
        &self,
        contest: &Contest,
        signups: &[Signup],
    ) -> Result<Vec<Progress>, StoreError> {
        // The phase first: once it takes no more events, what is read after it is all there is.
        let query = sqlx::query(AssertSqlSafe(PHASE.as_str())).bind(contest.id.0);
        let row = self.one(query).await?;
        let now = UnixMillis(row.try_get(0).map_err(failed)?);
        let phase: Option<String> = row.try_get(1).map_err(failed)?;
        let is_past = phase
            .as_deref()
            .and_then(PhaseKind::named)
            .is_some_and(PhaseKind::is_past_events);
        let complete_until = if is_past {
            now
        } else {
            // While the contest takes events, one that counts may still come, whatever the clock
            // says.
            now.plus(-contest.terms.grace_ms)
                .min(contest.terms.tasks_end_at.plus(-1))
        };
        // Nothing counts for somebody who has not paid.
        let asked: Vec<_> = signups
            .iter()
            .enumerate()
            .map(|(n, signup)| AskedProgress {
                n,
                contest_id: contest.id.0.simple().to_string(),
                user_id: signup.user_id.to_string(),
                paid_at: signup
                    .state
                    .fee_receipt()
                    .map_or(i64::MAX, |fee| fee.applied_at.0),
            })
            .collect();
        let query = sqlx::query(AssertSqlSafe(PROGRESS.as_str()))
            .bind(column(contest.terms.task.target))
            .bind(crate::rows::json(&asked).map_err(failed)?)
            .bind(contest.terms.tasks_end_at.0);
        let rows = self.all(query).await?;
        let id = contest.id.to_string();
        let context = Context {
            table: "task_progress",
            key: &id,
        };
        rows.iter()
            .map(|row| {
                let quantity: Option<i64> = row.try_get(1).map_err(failed)?;
                let met_at: Option<i64> = row.try_get(2).map_err(failed)?;
                Ok(Progress {
                    quantity: context.count("quantity", quantity.unwrap_or(0))?,
                    met_at: met_at.map(UnixMillis),
                    complete_until,
                })
            })
            .collect()
    }
}

#[async_trait]
impl TaskEvents for MysqlStore {
    async fn record(
        &self,
        sender: &SenderId,
        events: &[TaskEvent],
    ) -> Result<Vec<EventOutcome>, StoreError> {
        let command = Command::Record(sender.clone(), events.to_vec());
        match self.write(sender, command).await? {
            Reply::Recorded(outcomes) => Ok(outcomes),
            other => Err(mismatched(&other)),
        }
    }
}
