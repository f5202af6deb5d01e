//! Numbers of rows that many ask for: each contest is counted once, for everybody who waits, and not again
//! for a while. For what is only shown.
//!
//! Counting reads every signup of a contest. Viewers who poll must not take the store's readers away
//! from settling.

use crate::count;
use domain::{ids::ContestId, money::Coins, signup::StateKind, time::UnixMillis};
use ports::{
    contests::{ContestRepository, StateCount},
    store::StoreError,
    system::Clock,
};
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
    last: tokio::sync::Mutex<Option<(Rows, UnixMillis)>>,
}

/// What the rows of a contest add up to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    /// How many have finished and not claimed.
    pub(crate) finishers: u64,
    /// The fees that were paid and have not gone back.
    pub(crate) fees: Coins,
    /// As of when, by this node's clock.
    pub(crate) as_of: UnixMillis,
}

impl Rows {
    fn of(counts: &[StateCount], as_of: UnixMillis) -> Self {
        let paid = counts
            .iter()
            .filter(|count| count.state.is_paid() && count.state != StateKind::Refunded);
        Self {
            finishers: count(counts, &[StateKind::Completed]),
            // More than there can be is shown as the most there can be.
            fees: Coins::sum(paid.map(|count| count.fees)).unwrap_or(Coins::MAX),
            as_of,
        }
    }
}

impl Counted {
    /// What the rows of a contest add up to, lately.
    ///
    /// # Errors
    /// [`StoreError`]; whoever waited for a count that failed is told so too, and asks no more.
    pub(crate) async fn rows(
        &self,
        contests: &dyn ContestRepository,
        clock: &dyn Clock,
        id: ContestId,
    ) -> Result<Rows, StoreError> {
        let of = self.of(id);
        let ended = of.ended.load(Ordering::Acquire);
        let mut last = of.last.lock().await;
        let was_counted_meanwhile = of.ended.load(Ordering::Acquire) != ended;
        let began = clock.now();
        match *last {
            Some((rows, until)) if was_counted_meanwhile || began < until => {
                return Ok(rows);
            }
            None if was_counted_meanwhile => {
                let text = "the count that was waited for failed";
                return Err(StoreError::unavailable(text));
            }
            _ => {}
        }
        let counts = contests.counts(id).await;
        let rows = counts.map(|counts| Rows::of(&counts, began));
        let now = clock.now();
        let good_ms = (now.0 - began.0).saturating_mul(REST).clamp(0, GOOD_MS_MAX);
        *last = rows.as_ref().ok().map(|rows| (*rows, now.plus(good_ms)));
        of.ended.fetch_add(1, Ordering::Release);
        rows
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
