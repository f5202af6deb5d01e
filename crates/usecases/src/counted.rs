//! Finishers that many ask for: each contest is counted once, for everybody who waits, and not again
//! for a while. For what is only shown.
//!
//! Counting reads every signup of a contest. Viewers who poll must not take the store's readers away
//! from settling.

use crate::count;
use domain::{ids::ContestId, signup::StateKind, time::UnixMillis};
use ports::{contests::ContestRepository, store::StoreError, system::Clock};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// How many times as long as the count took its answer is good, at most [`GOOD_MS_MAX`].
const REST: i64 = 10;
/// The longest that an answer is good, in milliseconds.
const GOOD_MS_MAX: i64 = 1_000;
/// The most contests that are kept.
const KEPT_MAX: usize = 1_000;

/// The contests that were counted lately.
#[derive(Debug, Default)]
pub(crate) struct Counted(Mutex<BTreeMap<ContestId, Arc<Of>>>);

/// What was counted of one contest.
#[derive(Debug, Default)]
struct Of {
    /// How many counts have ended.
    ended: AtomicU64,
    /// The last answer, and until when it is good; held while the contest is counted.
    last: tokio::sync::Mutex<Option<(u64, UnixMillis)>>,
}

impl Counted {
    /// How many have finished and not claimed.
    ///
    /// # Errors
    /// [`StoreError`]; whoever waited for a count that failed is told so too, and asks no more.
    pub(crate) async fn finishers(
        &self,
        contests: &dyn ContestRepository,
        clock: &dyn Clock,
        id: ContestId,
    ) -> Result<u64, StoreError> {
        let of = self.of(id);
        let ended = of.ended.load(Ordering::Acquire);
        let mut last = of.last.lock().await;
        let was_counted_meanwhile = of.ended.load(Ordering::Acquire) != ended;
        let began = clock.now();
        match *last {
            Some((finishers, until)) if was_counted_meanwhile || began < until => {
                return Ok(finishers);
            }
            None if was_counted_meanwhile => {
                let text = "the count that was waited for failed";
                return Err(StoreError::unavailable(text));
            }
            _ => {}
        }
        let counts = contests.counts(id).await;
        let finishers = counts.map(|counts| count(&counts, &[StateKind::Completed]));
        let now = clock.now();
        let good_ms = (now.0 - began.0).saturating_mul(REST).clamp(0, GOOD_MS_MAX);
        *last = finishers
            .as_ref()
            .ok()
            .map(|finishers| (*finishers, now.plus(good_ms)));
        of.ended.fetch_add(1, Ordering::Release);
        finishers
    }

    fn of(&self, id: ContestId) -> Arc<Of> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody waits for.
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, of| Arc::strong_count(of) > 1);
        }
        Arc::clone(kept.entry(id).or_default())
    }
}
