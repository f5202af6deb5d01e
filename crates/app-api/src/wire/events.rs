//! Events as they come in, and what became of them.

use super::parse_time;
use crate::{extract::Faults, problem::Problem};
use domain::ids::InvalidId;
use ports::tasks::{EventOutcome, QUANTITY_MAX, TaskEvent};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventBody {
    event_id: String,
    user_id: String,
    room_id: String,
    kind: String,
    quantity: u64,
    occurred_at: String,
}

impl EventBody {
    fn parse(self, index: usize, faults: &mut Faults) -> Option<TaskEvent> {
        let at = |field: &str| format!("/{index}/{field}");
        let mut id = |field: &str, valid: bool, detail: String| {
            if !valid {
                faults.push(&at(field), "invalid_id", detail);
            }
        };
        let detail =
            |error: Option<InvalidId>| error.map_or_else(String::new, |error| error.to_string());
        let (event_id, user_id) = (self.event_id.parse(), self.user_id.parse());
        let (room_id, kind) = (self.room_id.parse(), self.kind.parse());
        id(
            "event_id",
            event_id.is_ok(),
            detail(event_id.as_ref().err().copied()),
        );
        id(
            "user_id",
            user_id.is_ok(),
            detail(user_id.as_ref().err().copied()),
        );
        id(
            "room_id",
            room_id.is_ok(),
            detail(room_id.as_ref().err().copied()),
        );
        id("kind", kind.is_ok(), detail(kind.as_ref().err().copied()));
        if !(1..=QUANTITY_MAX).contains(&self.quantity) {
            faults.push(&at("quantity"), "out_of_range", "must be from 1 to 1000000");
        }
        let occurred_at = faults.check(
            &at("occurred_at"),
            "invalid_time",
            parse_time(&self.occurred_at),
        )?;
        Some(TaskEvent {
            event_id: event_id.ok()?,
            user_id: user_id.ok()?,
            room_id: room_id.ok()?,
            kind: kind.ok()?,
            quantity: self.quantity,
            occurred_at,
        })
    }
}

/// A batch, or everything that is wrong with it.
pub(crate) fn parse_events(batch: Vec<EventBody>) -> Result<Vec<TaskEvent>, Problem> {
    let mut faults = Faults::default();
    if !(1..=ports::tasks::EVENTS_MAX).contains(&batch.len()) {
        faults.push("", "out_of_range", "a batch must have 1 to 1000 events");
        faults.finish()?;
        return Ok(Vec::new());
    }
    let events: Vec<_> = batch
        .into_iter()
        .enumerate()
        .filter_map(|(index, event)| event.parse(index, &mut faults))
        .collect();
    faults.finish()?;
    Ok(events)
}

#[derive(Serialize)]
pub(crate) struct Recorded {
    accepted: usize,
    duplicates: usize,
    rejected: Vec<RejectedEvent>,
}

#[derive(Serialize)]
struct RejectedEvent {
    event_id: String,
    code: &'static str,
}

impl Recorded {
    pub(crate) fn new(events: &[TaskEvent], outcomes: &[EventOutcome]) -> Self {
        let mut recorded = Self {
            accepted: 0,
            duplicates: 0,
            rejected: Vec::new(),
        };
        for (event, outcome) in events.iter().zip(outcomes) {
            let code = match outcome {
                EventOutcome::Accepted => {
                    recorded.accepted += 1;
                    continue;
                }
                EventOutcome::Duplicate => {
                    recorded.duplicates += 1;
                    continue;
                }
                EventOutcome::Conflict => "event_conflict",
                EventOutcome::TooLate => "contest_judged",
                EventOutcome::TooOld => "too_old",
                EventOutcome::TooFarAhead => "too_far_ahead",
            };
            recorded.rejected.push(RejectedEvent {
                event_id: event.event_id.to_string(),
                code,
            });
        }
        recorded
    }
}
