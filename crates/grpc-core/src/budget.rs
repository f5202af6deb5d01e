//! How many repeats there may be: at most one for ten calls, so that an outage is not met with a
//! storm of them (hazard G9).

use std::sync::atomic::{AtomicU64, Ordering};

/// Calls that pay for one repeat.
const CALLS_FOR_ONE: u64 = 10;
/// The most repeats that can be saved up.
const SAVED_MAX: u64 = 10;

/// The budget of repeats of one client. It begins empty.
#[derive(Debug, Default)]
pub struct Budget(AtomicU64);

impl Budget {
    /// A call was made that is no repeat.
    pub fn earn(&self) {
        let more = |saved: u64| (saved < CALLS_FOR_ONE * SAVED_MAX).then(|| saved + 1);
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Takes one repeat out of it. False if there is none.
    #[must_use]
    pub fn spend(&self) -> bool {
        let less = |saved: u64| saved.checked_sub(CALLS_FOR_ONE);
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // hazard: G9
    #[test]
    fn repeats_are_a_tenth_of_the_calls_and_few_are_saved_up() {
        let budget = Budget::default();
        let repeats = |calls: u64| {
            let each = (0..calls).map(|_| {
                budget.earn();
                u64::from(budget.spend())
            });
            each.sum::<u64>()
        };
        assert_eq!(repeats(9), 0);
        assert_eq!(repeats(991), 100);
        (0..10_000).for_each(|_| budget.earn());
        let saved = (0..100).filter(|_| budget.spend()).count();
        assert_eq!(saved, 10);
    }
}
