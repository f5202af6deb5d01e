//! What the tests of this crate share.
#![allow(
    dead_code,
    unused_imports,
    clippy::expect_used,
    reason = "these are tests, and each file uses some of it"
)]

use adapters_redis::{RedisShown, Settings};
use contract_tests::samples::{contest_in, signup_id, user};
use domain::{
    contest::{Contest, PhaseKind},
    settlement::Advisory,
    time::UnixMillis,
};
use ports::{
    leaderboard::Place,
    shown::{Count, Counted, Ranking, ShownError, Tallies, Tally},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use contract_tests::shown::{build, build_ranking, now};

/// The longest that a test waits for something that must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn settings(url: &str) -> Settings {
    Settings {
        // Two cores and many tests at once: what is tested is not how fast they are.
        budget: Duration::from_millis(2_000),
        ..Settings::new(url)
    }
}

pub(crate) fn shown(url: &str) -> Arc<RedisShown> {
    Arc::new(RedisShown::connect(&settings(url)).expect("settings"))
}

pub(crate) fn tallies(shown: &Arc<RedisShown>) -> Arc<dyn Tallies> {
    Arc::clone(shown) as _
}

pub(crate) fn ranking(shown: &Arc<RedisShown>) -> Arc<dyn Ranking> {
    Arc::clone(shown) as _
}

pub(crate) fn contest() -> Contest {
    contest_in(PhaseKind::Running, now())
}

pub(crate) fn finishers(count: usize) -> Vec<Count> {
    (0..count)
        .map(|_| Count::Finisher(signup_id(), 1_000))
        .collect()
}

pub(crate) fn place(name: &str, quantity: u64, reached_at: UnixMillis) -> Place {
    Place {
        rank: 0,
        user_id: user(name),
        signup_id: signup_id(),
        quantity,
        reached_at,
    }
}

/// Asks until there is an answer that is wanted; fails when it does not come.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let bound = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    loop {
        ticks.tick().await;
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < bound, "{what} does not come");
    }
}

/// Waits until it answers.
pub(crate) async fn answers(shown: &Arc<RedisShown>, contest: &Contest) {
    let bound = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(Duration::from_millis(10));
    while let Err(error) = shown.read(contest).await {
        assert!(Instant::now() < bound, "no answer: {error:?}");
        ticks.tick().await;
    }
}

pub(crate) async fn read(shown: &Arc<RedisShown>, contest: &Contest) -> Option<Tally> {
    let tallies = tallies(shown);
    let read = until("an answer", async || tallies.read(contest).await.ok()).await;
    read.map(|Advisory(tally)| tally)
}

/// Counts as the relay does: again while it does not answer, and a rebuild from all rows where it
/// is told to.
pub(crate) async fn count_at_last(
    shown: &Arc<RedisShown>,
    contest: &Contest,
    counts: &[Count],
    rows: &[Count],
) {
    let bound = Instant::now() + PATIENCE;
    loop {
        let is_counted = match shown.count(contest, counts).await {
            Ok(Counted::Now(..)) => true,
            Ok(Counted::Rebuild) => rebuild(shown, contest, rows).await.is_ok(),
            Err(_) => false,
        };
        if is_counted {
            return;
        }
        assert!(Instant::now() < bound, "a count does not come");
        test_support::later(Duration::from_millis(10)).await;
    }
}

/// A rebuild that may fail.
pub(crate) async fn rebuild(
    shown: &Arc<RedisShown>,
    contest: &Contest,
    rows: &[Count],
) -> Result<(), ShownError> {
    let epoch = Tallies::begin(shown.as_ref(), contest).await?;
    for chunk in rows.chunks(500) {
        if !Tallies::put(shown.as_ref(), contest, epoch, chunk).await? {
            return Ok(());
        }
    }
    Tallies::finish(shown.as_ref(), contest, epoch).await?;
    Ok(())
}

/// No client was ever told that keys of one script are in two slots, or that a script is wrong.
pub(crate) fn is_refusal(error: &ShownError) -> Option<String> {
    let text = format!("{error:?}");
    ["CROSSSLOT", "user_script", "ERR ", "WRONGTYPE"]
        .iter()
        .any(|word| text.contains(word))
        .then_some(text)
}
