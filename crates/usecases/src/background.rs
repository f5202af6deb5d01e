//! What runs beside the requests, or in a process of its own: contests that have something due,
//! compensation, and the relay.

use crate::Contests;
use std::{error::Error, future::Future, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};

/// How long the loops wait when there was nothing to do. A contest's freeze follows its tasks'
/// end and grace by at most this and the work itself.
const IDLE: Duration = Duration::from_millis(100);
/// How long a loop waits after it failed or crashed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// Rounds over contests that run at once, so that a long one does not keep others waiting.
const CONTEST_ROUNDS: usize = 3;

/// Starts the loops; they end soon after `stop` changes. Several nodes may run them at once: they
/// divide the work by leases.
pub fn start(contests: &Arc<Contests>, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let mut loops = Vec::new();
    for _ in 0..CONTEST_ROUNDS {
        let contests = Arc::clone(contests);
        loops.push(tokio::spawn(run("contests", stop.clone(), move || {
            let contests = Arc::clone(&contests);
            async move { contests.run_contests().await }
        })));
    }
    let compensating = Arc::clone(contests);
    loops.push(tokio::spawn(run("compensation", stop.clone(), move || {
        let contests = Arc::clone(&compensating);
        async move { contests.compensate().await }
    })));
    if contests.ports().shown.is_some() {
        let relaying = Arc::clone(contests);
        loops.push(tokio::spawn(run("relay", stop.clone(), move || {
            let contests = Arc::clone(&relaying);
            async move { contests.relay().await }
        })));
    }
    loops
}

/// Runs `round` again and again until `stop` changes, with a pause between. A round that panics is
/// reported, and the loop goes on (hazard G5).
async fn run<F, E>(name: &'static str, mut stop: watch::Receiver<bool>, round: impl Fn() -> F)
where
    F: Future<Output = Result<usize, E>> + Send + 'static,
    E: Error + Send + 'static,
{
    while !*stop.borrow() {
        let pause = match tokio::spawn(round()).await {
            Ok(Ok(_)) => IDLE,
            Ok(Err(error)) => {
                tracing::warn!(
                    loop_name = name,
                    error = &error as &dyn std::error::Error,
                    "a round failed"
                );
                AFTER_FAILURE
            }
            Err(crash) => {
                tracing::error!(
                    loop_name = name,
                    error = &crash as &dyn std::error::Error,
                    "a round crashed"
                );
                AFTER_FAILURE
            }
        };
        let _ = tokio::time::timeout(pause, stop.changed()).await;
    }
}
