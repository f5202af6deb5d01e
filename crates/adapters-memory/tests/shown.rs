//! What is only shown, in memory, passes its suites, and can be taken away.
#![allow(clippy::expect_used, reason = "these are tests")]

use adapters_memory::{shown::MemoryShown, system::ManualClock};
use contract_tests::{
    samples::{contest_in, user},
    shown::ShownFixture,
};
use domain::{contest::PhaseKind, time::UnixMillis};
use ports::{
    shown::{PastPools, Ranking, RecordCache, ShownError, Tallies},
    system::Clock,
};
use std::sync::Arc;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

struct Memory(Arc<ManualClock>, Arc<MemoryShown>);

impl ShownFixture for Memory {
    async fn open() -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let shown = MemoryShown::new(Arc::clone(&clock) as _);
        Self(clock, Arc::new(shown))
    }

    async fn lose(&self) {
        self.1.lose();
    }

    async fn pass(&self, millis: i64) {
        self.0.advance(millis);
    }

    fn now(&self) -> UnixMillis {
        self.0.now()
    }

    fn records(&self) -> Arc<dyn RecordCache> {
        Arc::clone(&self.1) as _
    }

    fn tallies(&self) -> Arc<dyn Tallies> {
        Arc::clone(&self.1) as _
    }

    fn ranking(&self) -> Arc<dyn Ranking> {
        Arc::clone(&self.1) as _
    }

    fn past_pools(&self) -> Arc<dyn PastPools> {
        Arc::clone(&self.1) as _
    }
}

contract_tests::shown_suite!(Memory);

#[tokio::test]
async fn taken_away_it_answers_nothing_and_keeps_what_it_had() {
    let Memory(_, shown) = Memory::open().await;
    let contest = contest_in(PhaseKind::Running, NOW);
    let ann = user("ann");
    shown.fill(&contest, &ann, None).await.expect("filled");
    shown.set_away(true);
    let answers = [
        RecordCache::get(&*shown, contest.id, &ann).await.err(),
        shown.read(&contest).await.err(),
        shown.top(&contest, 1).await.err(),
        PastPools::get(&*shown, contest.id).await.err(),
    ];
    for answer in answers {
        assert!(matches!(answer, Some(ShownError::Unavailable(_))));
    }
    shown.set_away(false);
    let found = RecordCache::get(&*shown, contest.id, &ann).await;
    assert!(found.expect("an answer").is_some());
}
