//! The task system: what viewers do.

use crate::store::StoreError;
use async_trait::async_trait;
use domain::{
    contest::Contest,
    ids::{EventId, RoomId, SenderId, TaskKind, UserId},
    judge::Progress,
    signup::Signup,
    time::UnixMillis,
};

/// What became of an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Assigned {
    /// The task system has the task.
    Assigned,
    /// It provably never heard of it.
    NotSent,
    /// Everything else: assign it again.
    Unknown,
}

/// The most signups whose progress one call reads.
pub const PROGRESS_MAX: usize = 1_000;

/// The task system.
///
/// 1. `assign` is idempotent by signup id.
/// 2. `progress` counts what was done at or after the time the fee applied and before
///    `tasks_end_at`, in event time.
/// 3. `met_at` is the event time at which the target was reached, whatever the order of arrival.
/// 4. Once `complete_until` is at or past `tasks_end_at`, the same question always has the same
///    answer.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Tasks: Send + Sync {
    /// Gives a signup its task.
    async fn assign(&self, contest: &Contest, signup: &Signup) -> Assigned;

    /// The progress of at most [`PROGRESS_MAX`] paid signups of one contest, in their order.
    async fn progress(
        &self,
        contest: &Contest,
        signups: &[Signup],
    ) -> Result<Vec<Progress>, StoreError>;
}

/// Something that a viewer did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    /// The sender's id for it.
    pub event_id: EventId,
    /// Who did it.
    pub user_id: UserId,
    /// In which room.
    pub room_id: RoomId,
    /// What.
    pub kind: TaskKind,
    /// How much, 1 to [`QUANTITY_MAX`].
    pub quantity: u64,
    /// When.
    pub occurred_at: UnixMillis,
}

/// The largest quantity of one event.
pub const QUANTITY_MAX: u64 = 1_000_000;
/// The most events in one batch.
pub const EVENTS_MAX: usize = 1_000;
/// The oldest event that is taken, in milliseconds before the store's time: 7 days.
pub const EVENT_AGE_MS_MAX: i64 = 7 * 86_400_000;
/// How far ahead of the store's time an event may be, in milliseconds: 5 minutes.
pub const EVENT_AHEAD_MS_MAX: i64 = 5 * 60_000;

/// What became of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventOutcome {
    /// It is stored, and counts for every contest that it fits.
    Accepted,
    /// It was stored before, with the same content.
    Duplicate,
    /// The same sender used this id for other content.
    Conflict,
    /// It fits contests that were judged before it came, and no other: it does not count.
    TooLate,
    /// It happened too long ago.
    TooOld,
    /// It lies in the future.
    TooFarAhead,
}

/// Where events pushed to us go.
///
/// 1. An event is stored once for a sender and id, whatever arrives at the same time.
/// 2. It is kept for every contest of its room and kind that is not judged yet and in whose time
///    (`signup_opens_at` to `tasks_end_at`) it happened, whatever the signup's state, for each
///    contest by itself.
/// 3. Once accepted for a contest, it is part of every judgement of that contest.
/// 4. One bad event does not touch the others of its batch.
/// 5. What was answered survives a crash.
/// 6. Where somebody takes [`Effect::Rank`](domain::effects::Effect::Rank), one is saved for each
///    viewer and contest that an event was accepted for, together with the event.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait TaskEvents: Send + Sync {
    /// Stores at most [`EVENTS_MAX`] events; an outcome for each, in their order.
    async fn record(
        &self,
        sender: &SenderId,
        events: &[TaskEvent],
    ) -> Result<Vec<EventOutcome>, StoreError>;
}
