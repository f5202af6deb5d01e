//! How many calls one process may make in a second, so that whoever comes back after an outage is not
//! met by everybody at once (hazard H13).

use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use std::{num::NonZeroU32, time::Duration};
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout_at},
};

/// The part of a second's calls that may leave at once after a rest.
const AT_ONCE: u32 = 10;

/// The pace of one line: in any second that many calls leave, and no more.
#[derive(Debug)]
pub(crate) struct Pace<C: Clock = DefaultClock> {
    limiter: RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<C::Instant>>,
    /// Whoever came first goes first.
    queue: Mutex<()>,
    clock: C,
}

impl<C: Clock + Clone> Pace<C> {
    /// At most `per_s` calls in any second.
    pub(crate) fn new(per_s: NonZeroU32, clock: C) -> Self {
        // What leaves at once and what comes back within a second are the bound together.
        let at_once = NonZeroU32::new(per_s.get() / AT_ONCE).unwrap_or(NonZeroU32::MIN);
        let rest = NonZeroU32::new(per_s.get() - at_once.get()).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_second(rest).allow_burst(at_once);
        Self {
            limiter: RateLimiter::direct_with_clock(quota, clock.clone()),
            queue: Mutex::default(),
            clock,
        }
    }

    /// How long the next call has to wait; none: it may leave, and is counted.
    fn wait(&self) -> Option<Duration> {
        let refused = self.limiter.check().err()?;
        Some(refused.wait_time_from(self.clock.now()))
    }

    /// Waits for this call's turn; false if it does not come before `until`.
    pub(crate) async fn turn(&self, until: Instant) -> bool {
        let Ok(_first) = timeout_at(until, self.queue.lock()).await else {
            return false;
        };
        while let Some(wait) = self.wait() {
            if Instant::now() + wait >= until {
                return false;
            }
            sleep(wait).await;
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "these are tests")]
mod tests {
    use super::*;
    use governor::clock::FakeRelativeClock;

    const MS: Duration = Duration::from_millis(1);

    // hazard: H13
    #[test]
    fn no_second_has_more_calls_than_the_bound() {
        for per_s in [2, 3, 10, 50, 1_000] {
            let clock = FakeRelativeClock::default();
            let pace = Pace::new(NonZeroU32::new(per_s).expect("a number"), clock.clone());
            // Somebody wants to call all the time, after a rest too.
            let mut left = Vec::new();
            for ms in 0..5_000 {
                if ms == 2_000 {
                    clock.advance(10_000 * MS);
                    left.clear();
                }
                while pace.wait().is_none() {
                    left.push(ms);
                }
                let within: Vec<u64> = left.iter().copied().filter(|at| *at + 1_000 > ms).collect();
                assert!(within.len() <= per_s as usize, "{per_s}: {within:?}");
                clock.advance(MS);
            }
            // It is a bound, and no more: nine tenths of it are used at least where it is not tiny.
            assert!(
                per_s < 10 || left.len() >= per_s as usize * 3 * 85 / 100,
                "{per_s}: {}",
                left.len()
            );
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_comes_too_late_is_none() {
        let pace = Pace::new(NonZeroU32::MIN, FakeRelativeClock::default());
        assert!(pace.turn(Instant::now() + MS).await);
        assert!(!pace.turn(Instant::now() + 500 * MS).await);
    }
}
