//! The circuit breaker: after some failures in a row nothing is sent for a while, then one call
//! tries, and its end decides.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// What the breaker lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Everything.
    Closed,
    /// One call, which is under way.
    HalfOpen,
    /// Nothing.
    Open,
}

#[derive(Debug)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    HalfOpen,
}

/// A circuit breaker.
#[derive(Debug)]
pub struct Breaker {
    failures_max: u32,
    open_for: Duration,
    state: Mutex<State>,
}

impl Breaker {
    /// Closed; opens after `failures_max` failures in a row, for `open_for`.
    #[must_use]
    pub fn new(failures_max: u32, open_for: Duration) -> Self {
        Self {
            failures_max,
            open_for,
            state: Mutex::new(State::Closed { failures: 0 }),
        }
    }

    /// What it lets through now.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match *self.lock() {
            State::Closed { .. } => BreakerState::Closed,
            State::HalfOpen => BreakerState::HalfOpen,
            State::Open { .. } => BreakerState::Open,
        }
    }

    /// Leave for one call, which tells the breaker how it ended; none while it is open.
    #[must_use]
    pub fn admit(&self) -> Option<Admission<'_>> {
        let mut state = self.lock();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if Instant::now() >= until => {
                *state = State::HalfOpen;
                true
            }
            State::Open { .. } | State::HalfOpen => return None,
        };
        Some(Admission {
            breaker: self,
            is_probe,
            is_told: false,
        })
    }

    fn ended(&self, is_probe: bool, ended: Ended) {
        let mut state = self.lock();
        let open = State::Open {
            until: Instant::now() + self.open_for,
        };
        match (&mut *state, ended) {
            // Whoever went before it opened says nothing about now.
            (State::Open { .. }, _) => {}
            (State::HalfOpen, Ended::Well) if is_probe => *state = State::Closed { failures: 0 },
            (State::HalfOpen, Ended::Badly) if is_probe => *state = open,
            // The next call is the probe.
            (State::HalfOpen, Ended::Nowhere) if is_probe => {
                *state = State::Open {
                    until: Instant::now(),
                };
            }
            (State::HalfOpen, _) | (State::Closed { .. }, Ended::Nowhere) => {}
            (State::Closed { failures }, Ended::Well) => *failures = 0,
            (State::Closed { failures }, Ended::Badly) => {
                *failures += 1;
                if *failures >= self.failures_max {
                    *state = open;
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Well,
    Badly,
    /// Dropped before anybody knew.
    Nowhere,
}

/// Leave for one call. Dropped without a word it changes nothing, and a probe's place is free
/// again.
#[derive(Debug)]
pub struct Admission<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    is_told: bool,
}

impl Admission<'_> {
    /// The server answered.
    pub fn answered(mut self) {
        self.is_told = true;
        self.breaker.ended(self.is_probe, Ended::Well);
    }

    /// It did not, or with an error that says that it is not well.
    pub fn failed(mut self) {
        self.is_told = true;
        self.breaker.ended(self.is_probe, Ended::Badly);
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if !self.is_told {
            self.breaker.ended(self.is_probe, Ended::Nowhere);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHILE: Duration = Duration::from_secs(1);

    fn fail(breaker: &Breaker) {
        if let Some(admission) = breaker.admit() {
            admission.failed();
        }
    }

    fn opened() -> Breaker {
        let breaker = Breaker::new(3, WHILE);
        (0..3).for_each(|_| fail(&breaker));
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker
    }

    // hazard: A19
    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_open_it_and_an_answer_between_them_does_not() {
        let breaker = Breaker::new(3, WHILE);
        for _ in 0..5 {
            fail(&breaker);
            fail(&breaker);
            breaker.admit().expect("leave").answered();
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        (0..3).for_each(|_| fail(&breaker));
        assert!(breaker.admit().is_none());
    }

    // hazard: A19
    #[tokio::test(start_paused = true)]
    async fn one_probe_goes_and_its_end_decides() {
        let breaker = opened();
        tokio::time::advance(WHILE).await;
        let probe = breaker.admit().expect("leave");
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert!(breaker.admit().is_none(), "one only");
        probe.failed();
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.admit().is_none());
        tokio::time::advance(WHILE).await;
        breaker.admit().expect("leave").answered();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_was_dropped_leaves_its_place_to_the_next() {
        let breaker = opened();
        tokio::time::advance(WHILE).await;
        drop(breaker.admit().expect("leave"));
        breaker.admit().expect("leave").answered();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn calls_from_before_it_opened_do_not_decide() {
        let breaker = Breaker::new(1, WHILE);
        let (early, other) = (breaker.admit().expect("leave"), breaker.admit());
        early.failed();
        other.expect("leave").answered();
        assert_eq!(breaker.state(), BreakerState::Open);
    }
}
