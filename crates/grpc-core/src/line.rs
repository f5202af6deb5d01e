//! The line to one server: every call has a deadline, a place in the bulkhead, leave of the
//! breaker, and repeats with a budget. This is the only layer that repeats (hazard G9).

use crate::{
    breaker::{Breaker, BreakerState},
    budget::Budget,
    channel::{self, Wire},
    departure::Departure,
    pace::Pace,
    settings::{Settings, SetupError},
};
use governor::clock::DefaultClock;
use std::{
    future::Future,
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout_at},
};
use tonic::{Code, Response, Status, transport::Channel};

/// The names of a line's metrics.
#[derive(Clone, Copy, Debug)]
pub struct Names {
    /// Counter of requests by `operation` and `outcome`: `answered`, `not_sent`, `unknown`, and
    /// `kept` for what the breaker kept here.
    pub calls: &'static str,
    /// Counter of the repeats among them, by `operation`.
    pub repeats: &'static str,
    /// Gauge: 0 closed, 1 half open, 2 open.
    pub breaker: &'static str,
    /// Gauge of operations that wait or are under way.
    pub in_flight: &'static str,
    /// Counter of operations that were turned away because too many were in flight.
    pub turned_away: &'static str,
}

/// When a call may be repeated by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repeat {
    /// Only if it provably never left: what moves coins.
    IfNotSent,
    /// Also if nobody knows: what reads, and what may be done any number of times.
    Always,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// It provably never left this process.
    #[error("{operation} was not sent: {cause}")]
    NotSent {
        /// What was called.
        operation: &'static str,
        /// Why it was not.
        cause: String,
    },
    /// It was kept here by the breaker, so it never left either. Why is what the calls before it
    /// ended with.
    #[error("{operation} was not sent: the breaker is open: the last calls failed")]
    Kept {
        /// What was called.
        operation: &'static str,
    },
    /// It may or may not have arrived, and may or may not have been carried out.
    #[error("{operation}: nobody knows what became of it: {cause}")]
    Unknown {
        /// What was called.
        operation: &'static str,
        /// What was seen.
        cause: String,
    },
}

/// A place in the bulkhead: held by every operation that waits or is under way.
#[derive(Debug)]
pub struct Seat {
    _permit: OwnedSemaphorePermit,
    in_flight: &'static str,
}

impl Drop for Seat {
    fn drop(&mut self) {
        metrics::gauge!(self.in_flight).decrement(1);
    }
}

/// The line to one server.
#[derive(Debug)]
pub struct Line {
    channel: Channel,
    names: Names,
    deadline: Duration,
    retries_max: u32,
    breaker: Breaker,
    budget: Budget,
    pace: Option<Pace>,
    seats: Arc<Semaphore>,
}

/// One try's end, if it is not an answer.
struct Failed {
    error: CallError,
    /// Whether the next try may end otherwise.
    is_passing: bool,
}

impl Line {
    /// A line with these settings. Nothing is sent yet. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When the settings or the files that they name are wrong.
    pub fn open(settings: &Settings, names: Names) -> Result<Self, SetupError> {
        settings.check()?;
        let open_for = Duration::from_millis(settings.breaker_open_ms);
        Ok(Self {
            channel: channel::open(settings)?,
            names,
            deadline: Duration::from_millis(settings.deadline_ms),
            retries_max: settings.retries_max,
            breaker: Breaker::new(settings.breaker_failures, open_for),
            budget: Budget::default(),
            pace: settings
                .calls_per_s
                .map(|per_s| Pace::new(per_s, DefaultClock::default())),
            seats: Arc::new(Semaphore::new(
                settings.in_flight_max.min(Semaphore::MAX_PERMITS),
            )),
        })
    }

    /// How long one call may take.
    #[must_use]
    pub fn deadline(&self) -> Duration {
        self.deadline
    }

    /// What the breaker lets through now.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        self.breaker.state()
    }

    /// A place for one operation, at once or not at all.
    ///
    /// # Errors
    /// [`CallError::NotSent`] when all are taken.
    pub fn seat(&self, operation: &'static str) -> Result<Seat, CallError> {
        let Ok(permit) = Arc::clone(&self.seats).try_acquire_owned() else {
            metrics::counter!(self.names.turned_away).increment(1);
            return Err(CallError::NotSent {
                operation,
                cause: "too many operations are in flight".to_owned(),
            });
        };
        metrics::gauge!(self.names.in_flight).increment(1);
        Ok(Seat {
            _permit: permit,
            in_flight: self.names.in_flight,
        })
    }

    /// Makes a call. `ask` is given the wire of this try and the time that is left, which it
    /// should tell the server.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<T, F, A>(
        &self,
        operation: &'static str,
        repeat: Repeat,
        ask: F,
    ) -> Result<T, CallError>
    where
        F: Fn(Wire, Duration) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        let until = Instant::now() + self.deadline;
        let mut tries = 0;
        loop {
            let failed = match self.once(operation, until, tries > 0, &ask).await {
                Ok(answer) => return Ok(answer),
                Err(failed) => failed,
            };
            let is_safe =
                repeat == Repeat::Always || matches!(failed.error, CallError::NotSent { .. });
            let pause = pause(tries);
            let goes_on = failed.is_passing
                && is_safe
                && tries < self.retries_max
                && Instant::now() + pause < until
                && self.budget.spend();
            if !goes_on {
                return Err(failed.error);
            }
            sleep(pause).await;
            tries += 1;
        }
    }

    async fn once<T, F, A>(
        &self,
        operation: &'static str,
        until: Instant,
        is_repeat: bool,
        ask: &F,
    ) -> Result<T, Failed>
    where
        F: Fn(Wire, Duration) -> A,
        A: Future<Output = Result<Response<T>, Status>>,
    {
        // Nobody waits for a turn while nothing is let through. A turn that comes late leaves time for the
        // answer, or is none.
        let at_latest = until.checked_sub(self.deadline / 2).unwrap_or(until);
        if let Some(pace) = &self.pace
            && self.breaker.state() != BreakerState::Open
            && !pace.turn(at_latest).await
        {
            self.count(operation, "not_sent");
            let cause = "its turn did not come in time".to_owned();
            return Err(Failed {
                error: CallError::NotSent { operation, cause },
                is_passing: false,
            });
        }
        let Some(admission) = self.breaker.admit() else {
            self.count(operation, "kept");
            return Err(Failed {
                error: CallError::Kept { operation },
                is_passing: false,
            });
        };
        if is_repeat {
            metrics::counter!(self.names.repeats, "operation" => operation).increment(1);
        } else {
            self.budget.earn();
        }
        let departure = Departure::default();
        let wire = Wire::new(self.channel.clone(), departure.clone());
        let left = until.saturating_duration_since(Instant::now());
        let (cause, is_unwell) = match timeout_at(until, ask(wire, left)).await {
            Ok(Ok(answer)) => {
                admission.answered();
                self.count(operation, "answered");
                return Ok(answer.into_inner());
            }
            Ok(Err(status)) => (say(&status), is_unwell(status.code())),
            Err(_) => ("no answer before the deadline".to_owned(), true),
        };
        if is_unwell {
            admission.failed();
        } else {
            admission.answered();
        }
        let error = if departure.revoke() {
            self.count(operation, "not_sent");
            CallError::NotSent { operation, cause }
        } else {
            self.count(operation, "unknown");
            CallError::Unknown { operation, cause }
        };
        Err(Failed {
            error,
            is_passing: is_unwell,
        })
    }

    fn count(&self, operation: &'static str, outcome: &'static str) {
        metrics::counter!(self.names.calls, "operation" => operation, "outcome" => outcome)
            .increment(1);
        let state: u32 = match self.breaker.state() {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        };
        metrics::gauge!(self.names.breaker).set(state);
    }
}

/// Whether a code says that the server, or the way to it, is not well; the others say that it is
/// well and will not have this request.
fn is_unwell(code: Code) -> bool {
    match code {
        // A client's own time limit appears as `Cancelled` too.
        Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => false,
    }
}

/// The status with what caused it.
fn say(status: &Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// How long to wait before the next try: anything up to 20 ms, 40 ms, 80 ms …, at most 200 ms.
fn pause(tries: u32) -> Duration {
    let most = (20_u64 << tries.min(4)).min(200);
    Duration::from_millis(RandomState::new().hash_one(tries) % (most + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    // hazard: A14
    #[test]
    fn only_what_says_that_the_server_is_unwell_counts_against_it() {
        let unwell: Vec<_> = (0..=16)
            .map(Code::from_i32)
            .filter(|code| is_unwell(*code))
            .collect();
        assert_eq!(
            unwell,
            [
                Code::Cancelled,
                Code::Unknown,
                Code::DeadlineExceeded,
                Code::ResourceExhausted,
                Code::Aborted,
                Code::Internal,
                Code::Unavailable,
                Code::DataLoss,
            ]
        );
    }

    #[test]
    fn pauses_differ_and_are_bounded() {
        let pauses: std::collections::BTreeSet<_> = (0..100).map(|_| pause(9)).collect();
        assert!(pauses.len() > 10);
        assert!(
            pauses
                .iter()
                .all(|pause| *pause <= Duration::from_millis(200))
        );
        assert!(pause(0) <= Duration::from_millis(20));
    }
}
