//! Events as they come in, and what became of them.

use super::text::parse_time;
use crate::openapi::vocabulary;
use crate::{
    extract::{Faults, parse_id},
    problem::{EventCode, FaultCode, Problem},
};
use domain::ids::InvalidId;
use ports::tasks::{EventOutcome, QUANTITY_MAX, TaskEvent};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Something that a viewer did in a room.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TaskEvent)]
pub(crate) struct EventBody {
    #[schema(value_type = vocabulary::EventId)]
    event_id: String,
    /// Who did it.
    #[schema(value_type = vocabulary::UserId)]
    user_id: String,
    /// Where it happened.
    #[schema(value_type = vocabulary::RoomId)]
    room_id: String,
    #[schema(value_type = vocabulary::TaskKind)]
    kind: String,
    /// How much of it.
    #[schema(minimum = 1, maximum = 1_000_000)]
    quantity: u64,
    /// When it happened: at most 7 days ago and 5 minutes ahead.
    #[schema(value_type = vocabulary::AnyTime)]
    occurred_at: String,
}

impl EventBody {
    fn parse(self, index: usize, faults: &mut Faults) -> Option<TaskEvent> {
        let at = |field: &str| format!("/{index}/{field}");
        let mut id = |field: &str, valid: bool, detail: String| {
            if !valid {
                faults.push(&at(field), FaultCode::InvalidId, detail);
            }
        };
        let detail =
            |error: Option<InvalidId>| error.map_or_else(String::new, |error| error.to_string());
        let (event_id, user_id) = (parse_id(&self.event_id), parse_id(&self.user_id));
        let (room_id, kind) = (parse_id(&self.room_id), parse_id(&self.kind));
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
            faults.push(
                &at("quantity"),
                FaultCode::OutOfRange,
                "must be from 1 to 1000000",
            );
        }
        let occurred_at = faults.check(
            &at("occurred_at"),
            FaultCode::InvalidTime,
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
        faults.push(
            "",
            FaultCode::OutOfRange,
            "a batch must have 1 to 1000 events",
        );
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

/// What became of a batch of events.
#[derive(Serialize, ToSchema)]
#[schema(as = RecordedEvents)]
pub(crate) struct Recorded {
    /// How many are new and were kept.
    accepted: usize,
    /// How many were kept before.
    duplicates: usize,
    /// Those that were not taken.
    #[schema(value_type = Vec<RejectedEvent>)]
    rejected: Vec<RejectedEvent>,
}

/// One event that was not taken.
#[derive(Serialize, ToSchema)]
struct RejectedEvent {
    #[schema(value_type = vocabulary::EventId)]
    event_id: String,
    #[schema(value_type = vocabulary::EventProblem)]
    code: EventCode,
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
                EventOutcome::Conflict => EventCode::EventConflict,
                EventOutcome::TooLate => EventCode::ContestJudged,
                EventOutcome::TooOld => EventCode::TooOld,
                EventOutcome::TooFarAhead => EventCode::TooFarAhead,
            };
            recorded.rejected.push(RejectedEvent {
                event_id: event.event_id.to_string(),
                code,
            });
        }
        recorded
    }
}
