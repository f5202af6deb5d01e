//! The system's clock and its source of ids and secrets.

use domain::{draw::Secret, time::UnixMillis};
use ports::system::{Clock, IdSource};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Seconds since 1970, by this node's clock.
#[must_use]
pub fn unix_seconds() -> u64 {
    since_1970().as_secs()
}

/// This node's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(i64::try_from(since_1970().as_millis()).unwrap_or(i64::MAX))
    }
}

/// Ids and secrets that nobody can foresee.
#[derive(Clone, Copy, Debug, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }

    /// Drawn from the operating system. Without it no secret can be kept, and nothing may go on
    /// as if one could.
    #[expect(
        clippy::expect_used,
        reason = "a guessable secret would be worse than a crash"
    )]
    fn secret(&self) -> Secret {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).expect("the operating system has random numbers");
        Secret::new(bytes)
    }
}
