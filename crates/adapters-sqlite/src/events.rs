//! Events pushed to us, and the progress that they make.
//!
//! An event is taken for a contest while the contest is not being judged. Writes follow one
//! another, so an event is either there before judging began, and judged, or sees that it is too
//! late: there is no moment in between.

use crate::{
    SqliteStore, mismatched,
    rows::{failed, json},
    signup_sql::OUTBOX,
    signups::{self, OutboxLine},
    writer::{Command, Reply, Transaction},
};
use async_trait::async_trait;
use domain::{
    contest::{Contest, PhaseKind},
    effects::Effect,
    ids::SenderId,
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
use sql_core::{record::Context, sqlite::NOW_MS};
use sqlx::{AssertSqlSafe, Row};
use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
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
struct ProgressRow<'a> {
    contest_id: &'a str,
    user_id: &'a str,
    occurred_at: i64,
    sender_id: &'a str,
    event_id: &'a str,
    quantity: i64,
}

#[derive(Serialize)]
struct AskedProgress {
    user_id: String,
    paid_at: i64,
}

// A cross join is taken in the order in which it is written: from the batch to the table.
const STORED: &str = "SELECT e.sender_id, e.event_id, e.user_id, e.room_id, e.kind, e.quantity, e.occurred_at \
     FROM json_each(?1) AS j CROSS JOIN task_event AS e \
     ON e.sender_id = j.value ->> 'sender_id' AND e.event_id = j.value ->> 'event_id'";

const FITTING: &str = "SELECT j.key, c.contest_id, c.phase FROM json_each(?1) AS j CROSS JOIN contest AS c \
     ON c.room_id = j.value ->> 'room_id' AND c.task_kind = j.value ->> 'kind' \
     AND c.tasks_end_at > j.value ->> 'occurred_at' AND c.signup_opens_at <= j.value ->> 'occurred_at'";

/// The statements that a batch or a page runs, for the test of their plans.
#[cfg(test)]
pub(crate) fn statements() -> Vec<(&'static str, &'static str)> {
    vec![
        ("stored", STORED),
        ("fitting", FITTING),
        ("progress", &PROGRESS),
    ]
}

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
        quantity: sql_core::record::column(*quantity),
        occurred_at: occurred_at.0,
    }
}

/// Stores batches of events; an outcome for each event.
pub(crate) async fn record(
    transaction: &mut Transaction<'_>,
    batches: &[(usize, &SenderId, &[TaskEvent])],
    outbox_effects: &[Effect],
) -> Result<Vec<(usize, Vec<EventOutcome>)>, sqlx::Error> {
    let rows: Vec<_> = batches
        .iter()
        .flat_map(|(_, sender, events)| events.iter().map(|event| row(sender, event)))
        .collect();
    if rows.is_empty() {
        return Ok(batches
            .iter()
            .map(|(index, ..)| (*index, Vec::new()))
            .collect());
    }
    let stored = stored(transaction, &rows).await?;
    let fits = contests_of(transaction, &rows).await?;
    let now = transaction.now;
    let mut seen = stored;
    let mut kept = Vec::new();
    let mut progress = Vec::new();
    let mut outcomes = Vec::with_capacity(rows.len());
    for (row, fit) in rows.iter().zip(&fits) {
        let outcome = match seen.entry((row.sender_id.clone(), row.event_id.clone())) {
            Entry::Occupied(known) if known.get() == row => EventOutcome::Duplicate,
            Entry::Occupied(_) => EventOutcome::Conflict,
            Entry::Vacant(place) => {
                let outcome = fresh(row, fit, now);
                if outcome == EventOutcome::Accepted {
                    place.insert(row.clone());
                    kept.push(row);
                    progress.extend(fit.open.iter().map(|contest_id| ProgressRow {
                        contest_id,
                        user_id: &row.user_id,
                        occurred_at: row.occurred_at,
                        sender_id: &row.sender_id,
                        event_id: &row.event_id,
                        quantity: row.quantity,
                    }));
                }
                outcome
            }
        };
        outcomes.push(outcome);
    }
    store(transaction, &kept, &progress).await?;
    if outbox_effects.contains(&Effect::Rank) {
        signups::append(transaction, OUTBOX, &ranks(&progress, now)).await?;
    }
    let mut outcomes = outcomes.into_iter();
    Ok(batches
        .iter()
        .map(|(index, _, events)| (*index, outcomes.by_ref().take(events.len()).collect()))
        .collect())
}

/// One entry for each viewer and contest that something was accepted for.
fn ranks(progress: &[ProgressRow<'_>], now: UnixMillis) -> Vec<OutboxLine> {
    let ranked: BTreeSet<_> = progress
        .iter()
        .map(|row| (row.contest_id, row.user_id))
        .collect();
    let line = |(contest_id, user_id): (&str, &str)| OutboxLine {
        effect: Effect::Rank.name(),
        contest_id: contest_id.to_owned(),
        signup_id: String::new(),
        user_id: user_id.to_owned(),
        version: 0,
        due_at: now.0,
    };
    ranked.into_iter().map(line).collect()
}

fn fresh(row: &EventRow, fit: &Fit, now: UnixMillis) -> EventOutcome {
    if row.occurred_at < now.0 - EVENT_AGE_MS_MAX {
        EventOutcome::TooOld
    } else if row.occurred_at > now.0 + EVENT_AHEAD_MS_MAX {
        EventOutcome::TooFarAhead
    } else if fit.open.is_empty() && fit.is_late {
        EventOutcome::TooLate
    } else {
        EventOutcome::Accepted
    }
}

async fn stored(
    transaction: &mut Transaction<'_>,
    rows: &[EventRow],
) -> Result<BTreeMap<(String, String), EventRow>, sqlx::Error> {
    let found = sqlx::query(STORED)
        .bind(json(rows)?)
        .fetch_all(&mut *transaction.connection)
        .await?;
    let event = |row: &sqlx::sqlite::SqliteRow| {
        let event = EventRow {
            sender_id: row.try_get(0)?,
            event_id: row.try_get(1)?,
            user_id: row.try_get(2)?,
            room_id: row.try_get(3)?,
            kind: row.try_get(4)?,
            quantity: row.try_get(5)?,
            occurred_at: row.try_get(6)?,
        };
        Ok(((event.sender_id.clone(), event.event_id.clone()), event))
    };
    found.iter().map(event).collect()
}

/// The contests that an event fits.
#[derive(Clone, Default)]
struct Fit {
    /// Those that take it.
    open: Vec<String>,
    /// True if there is one that takes nothing any more.
    is_late: bool,
}

async fn contests_of(
    transaction: &mut Transaction<'_>,
    rows: &[EventRow],
) -> Result<Vec<Fit>, sqlx::Error> {
    let found = sqlx::query(FITTING)
        .bind(json(rows)?)
        .fetch_all(&mut *transaction.connection)
        .await?;
    let mut fits = vec![Fit::default(); rows.len()];
    for row in &found {
        let index: i64 = row.try_get(0)?;
        let phase: String = row.try_get(2)?;
        let Some(fit) = usize::try_from(index)
            .ok()
            .and_then(|index| fits.get_mut(index))
        else {
            continue;
        };
        if PhaseKind::named(&phase).is_none_or(PhaseKind::is_past_events) {
            fit.is_late = true;
        } else {
            fit.open.push(row.try_get(1)?);
        }
    }
    Ok(fits)
}

async fn store(
    transaction: &mut Transaction<'_>,
    kept: &[&EventRow],
    progress: &[ProgressRow<'_>],
) -> Result<(), sqlx::Error> {
    if kept.is_empty() {
        return Ok(());
    }
    transaction.wrote = true;
    sqlx::query(
        "INSERT INTO task_event (sender_id, event_id, user_id, room_id, kind, quantity, occurred_at, received_at) \
         SELECT j.value ->> 'sender_id', j.value ->> 'event_id', j.value ->> 'user_id', j.value ->> 'room_id', \
                j.value ->> 'kind', j.value ->> 'quantity', j.value ->> 'occurred_at', ?2 \
         FROM json_each(?1) AS j",
    )
    .bind(json(kept)?)
    .bind(transaction.now.0)
    .execute(&mut *transaction.connection)
    .await?;
    sqlx::query(
        "INSERT INTO task_progress (contest_id, user_id, occurred_at, sender_id, event_id, quantity) \
         SELECT j.value ->> 'contest_id', j.value ->> 'user_id', j.value ->> 'occurred_at', \
                j.value ->> 'sender_id', j.value ->> 'event_id', j.value ->> 'quantity' \
         FROM json_each(?1) AS j",
    )
    .bind(json(progress)?)
    .execute(&mut *transaction.connection)
    .await
    .map(drop)
}

/// Progress of many viewers, and what it is complete up to, in one snapshot. The outer join also
/// fixes the order: from those who are asked about to their events, never the other way round.
static PROGRESS: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH asked AS (SELECT key AS n, value ->> 'user_id' AS user_id, value ->> 'paid_at' AS paid_at \
                        FROM json_each(?1)), \
         done AS (SELECT asked.n, p.occurred_at, SUM(p.quantity) OVER \
                         (PARTITION BY asked.n ORDER BY p.occurred_at, p.sender_id, p.event_id) AS total \
                  FROM asked LEFT JOIN task_progress AS p ON p.contest_id = ?2 AND p.user_id = asked.user_id \
                  AND p.occurred_at >= asked.paid_at AND p.occurred_at < ?3) \
         SELECT n, MAX(total), MIN(CASE WHEN total >= ?4 THEN occurred_at END), \
                {NOW_MS}, (SELECT phase FROM contest WHERE contest_id = ?2) \
         FROM done GROUP BY n ORDER BY n"
    )
});

#[async_trait]
impl Tasks for SqliteStore {
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
        // Nothing counts for somebody who has not paid.
        let asked: Vec<_> = signups
            .iter()
            .map(|signup| AskedProgress {
                user_id: signup.user_id.to_string(),
                paid_at: signup
                    .state
                    .fee_receipt()
                    .map_or(i64::MAX, |fee| fee.applied_at.0),
            })
            .collect();
        let rows = sqlx::query(AssertSqlSafe(PROGRESS.as_str()))
            .bind(json(&asked).map_err(failed)?)
            .bind(contest.id.to_string())
            .bind(contest.terms.tasks_end_at.0)
            .bind(sql_core::record::column(contest.terms.task.target))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter()
            .map(|row| parse_progress(contest, row))
            .collect()
    }
}

fn parse_progress(
    contest: &Contest,
    row: &sqlx::sqlite::SqliteRow,
) -> Result<Progress, StoreError> {
    let key = contest.id.to_string();
    let context = Context {
        table: "task_progress",
        key: &key,
    };
    let quantity: Option<i64> = row.try_get(1).map_err(failed)?;
    let met_at: Option<i64> = row.try_get(2).map_err(failed)?;
    let now = UnixMillis(row.try_get(3).map_err(failed)?);
    let phase: Option<String> = row.try_get(4).map_err(failed)?;
    let is_past = phase
        .as_deref()
        .and_then(PhaseKind::named)
        .is_some_and(PhaseKind::is_past_events);
    Ok(Progress {
        quantity: context.count("quantity", quantity.unwrap_or(0))?,
        met_at: met_at.map(UnixMillis),
        // While the contest takes events, one that counts may still come, whatever the clock says.
        complete_until: if is_past {
            now
        } else {
            now.plus(-contest.terms.grace_ms)
                .min(contest.terms.tasks_end_at.plus(-1))
        },
    })
}

#[async_trait]
impl TaskEvents for SqliteStore {
    async fn record(
        &self,
        sender: &SenderId,
        events: &[TaskEvent],
    ) -> Result<Vec<EventOutcome>, StoreError> {
        match self
            .write(Command::Record(sender.clone(), events.to_vec()))
            .await?
        {
            Reply::Recorded(outcomes) => Ok(outcomes),
            other => Err(mismatched(&other)),
        }
    }
}
