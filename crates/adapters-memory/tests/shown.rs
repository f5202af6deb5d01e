//! What is only shown, in memory, passes its suite; and the edges that only a clock that can be set
//! can show.
#![allow(clippy::expect_used, reason = "these are tests")]

use adapters_memory::{shown::MemoryShown, system::ManualClock};
use async_trait::async_trait;
use contract_tests::{
    samples::{contest_in, signup_id},
    shown::{ShownFixture, build, now},
};
use domain::{contest::PhaseKind, time::UnixMillis};
use ports::{
    shown::{Count, Counted, PastPools, Ranking, RecordCache, ShownError, Tallies},
    system::Clock,
};
use std::sync::Arc;

struct RealClock;

impl Clock for RealClock {
    fn now(&self) -> UnixMillis {
        now()
    }
}

struct Memory(Arc<MemoryShown>);

#[async_trait]
impl ShownFixture for Memory {
    async fn open() -> Self {
        Self(Arc::new(MemoryShown::new(Arc::new(RealClock))))
    }

    fn records(&self) -> Arc<dyn RecordCache> {
        Arc::clone(&self.0) as _
    }

    fn tallies(&self) -> Arc<dyn Tallies> {
        Arc::clone(&self.0) as _
    }

    fn ranking(&self) -> Arc<dyn Ranking> {
        Arc::clone(&self.0) as _
    }

    fn past_pools(&self) -> Arc<dyn PastPools> {
        Arc::clone(&self.0) as _
    }
}

contract_tests::shown_suite!(Memory);

const DAY: i64 = 86_400_000;

// hazard: D4
#[tokio::test]
async fn without_unique_keys_nothing_is_counted_though_the_numbers_are_shown_longer() {
    let clock = Arc::new(ManualClock::new(now()));
    let contest = contest_in(PhaseKind::Running, now());
    let ends_at = contest.terms.claim_closes_at;
    let shown = Arc::new(MemoryShown::new(Arc::clone(&clock) as _));
    let tallies = Arc::clone(&shown) as Arc<dyn Tallies>;
    build(&tallies, &contest, &[]).await;
    let finisher = [Count::Finisher(signup_id(), 1)];
    clock.set(ends_at.plus(2 * DAY - 1));
    let counted = tallies.count(&contest, &finisher).await;
    assert!(matches!(counted, Ok(Counted::Now(_, 1))));
    clock.set(ends_at.plus(2 * DAY));
    let counted = tallies.count(&contest, &finisher).await;
    assert!(matches!(counted, Ok(Counted::Rebuild)));
    clock.set(ends_at.plus(12 * DAY - 1));
    let read = tallies.read(&contest).await.expect("an answer");
    assert_eq!(read.expect("still shown").0.finishers, 1);
    clock.set(ends_at.plus(12 * DAY));
    assert_eq!(tallies.read(&contest).await.expect("an answer"), None);
}

#[tokio::test]
async fn switched_off_it_does_not_answer_and_flushed_it_is_empty() {
    let shown = Arc::new(MemoryShown::new(Arc::new(RealClock)));
    let tallies = Arc::clone(&shown) as Arc<dyn Tallies>;
    let contest = contest_in(PhaseKind::Running, now());
    build(&tallies, &contest, &[]).await;
    shown.set_away(true);
    assert!(matches!(
        tallies.read(&contest).await,
        Err(ShownError::Open)
    ));
    shown.set_away(false);
    assert!(tallies.read(&contest).await.expect("an answer").is_some());
    shown.flush();
    assert!(tallies.read(&contest).await.expect("an answer").is_none());
}
