//! What runs beside the requests: contests that have something due, and compensation.

use runtime::loops::run;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};
use usecases::Contests;

/// How long the loops wait when there was nothing to do. A contest's freeze follows its tasks'
/// end and grace by at most this and the work itself.
const IDLE: Duration = Duration::from_millis(100);
/// Rounds over contests that run at once, so that a long one does not keep others waiting.
const CONTEST_ROUNDS: usize = 3;

/// Starts the loops; they end soon after `stop` changes.
pub(crate) fn start(contests: &Arc<Contests>, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let mut loops = Vec::new();
    for _ in 0..CONTEST_ROUNDS {
        let contests = Arc::clone(contests);
        loops.push(tokio::spawn(run(
            "contests",
            IDLE,
            stop.clone(),
            move || {
                let contests = Arc::clone(&contests);
                async move { contests.run_contests().await }
            },
        )));
    }
    let contests = Arc::clone(contests);
    loops.push(tokio::spawn(run(
        "compensation",
        IDLE,
        stop.clone(),
        move || {
            let contests = Arc::clone(&contests);
            async move { contests.compensate().await }
        },
    )));
    loops
}
