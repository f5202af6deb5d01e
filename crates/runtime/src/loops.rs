//! Rounds of work in the background, each of which may fail or crash without the next.

use std::{error::Error, future::Future, time::Duration};
use tokio::sync::watch;

/// How long a loop waits after it failed or crashed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// Runs `round` again and again until `stop` changes, with a pause of `idle` between. A round that panics is reported, and the loop goes on (hazard
/// G5).
pub async fn run<F, E>(
    name: &'static str,
    idle: Duration,
    mut stop: watch::Receiver<bool>,
    round: impl Fn() -> F,
) where
    F: Future<Output = Result<usize, E>> + Send + 'static,
    E: Error + Send + 'static,
{
    while !*stop.borrow() {
        let pause = match tokio::spawn(round()).await {
            Ok(Ok(_)) => idle,
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
