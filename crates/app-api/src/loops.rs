//! What runs beside the requests: contests that have something due, and compensation.

use std::{future::Future, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};
use usecases::{Contests, Failure};

/// How long the loops wait when there was nothing to do. A contest's freeze follows its tasks'
/// end and grace by at most this and the work itself.
const IDLE: Duration = Duration::from_millis(100);
/// How long a loop waits after it failed or crashed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Starts the loops; they end soon after `stop` changes.
pub(crate) fn start(contests: &Arc<Contests>, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let settling = Arc::clone(contests);
    let compensating = Arc::clone(contests);
    vec![
        tokio::spawn(run("contests", stop.clone(), move || {
            let contests = Arc::clone(&settling);
            async move { contests.run_contests().await }
        })),
        tokio::spawn(run("compensation", stop.clone(), move || {
            let contests = Arc::clone(&compensating);
            async move { contests.compensate().await }
        })),
    ]
}

/// Runs `round` again and again. A round that panics is reported, and the loop goes on (hazard
/// G5).
async fn run<F>(name: &'static str, mut stop: watch::Receiver<bool>, round: impl Fn() -> F)
where
    F: Future<Output = Result<usize, Failure>> + Send + 'static,
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
