//! Nobody waits for a server that does not answer: after some calls in a row that failed it is left
//! alone for a while, and then one call at a time looks whether it is back (hazard D12).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Calls in a row that fail before it opens.
const FAILURES_MAX: u32 = 5;
/// How long it stays open before a probe.
const OPEN: Duration = Duration::from_millis(500);

/// Whether the server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// It is.
    Closed,
    /// It is not.
    Open,
    /// One call at a time is let through.
    HalfOpen,
}

#[derive(Debug, Default)]
struct Inner {
    failures: u32,
    /// Set while it is open: when the next probe may go.
    probe_at: Option<Instant>,
    is_probing: bool,
}

/// A breaker, closed at first.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<Inner>);

/// A call that was let through. Dropped without a word, because its caller went away, it says
/// nothing of the server, and a probe's place is free again.
pub(crate) struct Admission<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    is_told: bool,
}

impl Breaker {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state(&self) -> BreakerState {
        let inner = self.inner();
        match inner.probe_at {
            None => BreakerState::Closed,
            Some(at) if Instant::now() < at => BreakerState::Open,
            Some(_) => BreakerState::HalfOpen,
        }
    }

    /// Lets a call through, if the server is asked.
    pub(crate) fn admit(&self) -> Option<Admission<'_>> {
        let mut inner = self.inner();
        if let Some(at) = inner.probe_at {
            if inner.is_probing || Instant::now() < at {
                return None;
            }
            inner.is_probing = true;
        }
        let is_probe = inner.is_probing;
        drop(inner);
        Some(Admission {
            breaker: self,
            is_probe,
            is_told: false,
        })
    }

    fn told(&self, answered: bool, is_probe: bool) {
        let mut inner = self.inner();
        // One that was let through before it opened says nothing about the probe.
        if is_probe {
            inner.is_probing = false;
        }
        if answered {
            if inner.probe_at.is_some() {
                tracing::info!("Redis answers again");
                metrics::gauge!("guafen_redis_breaker_open").set(0);
            }
            *inner = Inner::default();
            return;
        }
        inner.failures = inner.failures.saturating_add(1);
        if inner.failures >= FAILURES_MAX {
            if inner.probe_at.is_none() {
                tracing::warn!("Redis does not answer; it is not asked for a while");
                metrics::gauge!("guafen_redis_breaker_open").set(1);
            }
            inner.probe_at = Some(Instant::now() + OPEN);
        }
    }
}

impl Admission<'_> {
    pub(crate) fn answered(mut self) {
        self.is_told = true;
        self.breaker.told(true, self.is_probe);
    }

    pub(crate) fn failed(mut self) {
        self.is_told = true;
        self.breaker.told(false, self.is_probe);
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if !self.is_told && self.is_probe {
            self.breaker.inner().is_probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // hazard: D12
    #[test]
    fn it_opens_after_some_failures_and_lets_one_probe_through_at_a_time() {
        let breaker = Breaker::default();
        let early = breaker.admit().expect("closed");
        for _ in 0..FAILURES_MAX {
            assert_eq!(breaker.state(), BreakerState::Closed);
            breaker.admit().expect("closed").failed();
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        assert!(breaker.admit().is_none());
        breaker.inner().probe_at = Some(Instant::now());
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        let probe = breaker.admit().expect("a probe");
        assert!(breaker.admit().is_none(), "one at a time");
        early.failed();
        breaker.inner().probe_at = Some(Instant::now());
        assert!(breaker.admit().is_none(), "still one at a time");
        probe.failed();
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.inner().probe_at = Some(Instant::now());
        breaker.admit().expect("a probe").answered();
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.admit().expect("closed").failed();
        assert_eq!(
            breaker.state(),
            BreakerState::Closed,
            "it begins to count anew"
        );
    }

    // hazard: D12
    #[test]
    fn callers_that_go_away_say_nothing_and_leave_the_probe_to_the_next() {
        let breaker = Breaker::default();
        for _ in 0..2 * FAILURES_MAX {
            drop(breaker.admit().expect("closed"));
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
        let early = breaker.admit().expect("closed");
        for _ in 0..FAILURES_MAX {
            breaker.admit().expect("closed").failed();
        }
        breaker.inner().probe_at = Some(Instant::now());
        let probe = breaker.admit().expect("a probe");
        drop(early);
        assert!(breaker.admit().is_none(), "it is not the probe that went");
        drop(probe);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        breaker.admit().expect("the next probe").answered();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}
