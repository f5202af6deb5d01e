//! A clock that moves only when told, and ids in a row.

use domain::{draw::Secret, time::UnixMillis};
use ports::system::{Clock, IdSource};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use uuid::Uuid;

/// A clock that moves only when told. Store and ledger share it, so "database time" and "funds
/// time" are set by the test too.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub const fn new(now: UnixMillis) -> Self {
        Self(AtomicI64::new(now.0))
    }

    /// Sets the clock.
    pub fn set(&self, now: UnixMillis) {
        self.0.store(now.0, Ordering::SeqCst);
    }

    /// Moves the clock on.
    pub fn advance(&self, millis: i64) {
        self.0.fetch_add(millis, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> UnixMillis {
        UnixMillis(self.0.load(Ordering::SeqCst))
    }
}

/// Ids that count up, the same in every run.
#[derive(Debug, Default)]
pub struct CountingIds(AtomicU64);

impl IdSource for CountingIds {
    fn next(&self) -> Uuid {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        // Version 7, variant 1, and the number in the last bytes.
        Uuid::from_u128(0x0198_c9f2_0000_7000_8000_0000_0000_0000 | u128::from(number))
    }

    fn secret(&self) -> Secret {
        let number = self.0.fetch_add(1, Ordering::SeqCst) + 1;
        Secret::new(
            [number.to_be_bytes(); 4]
                .concat()
                .try_into()
                .unwrap_or([0; 32]),
        )
    }
}
