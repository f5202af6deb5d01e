//! What runs beside the requests, or in a process of its own: contests that have something due,
//! compensation, reconciliation, and the relay.

use crate::{Contests, Failure, crash::caught};
use std::{error::Error, future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// How long the loops wait when there was nothing to do. A contest's freeze follows its tasks'
/// end and grace by at most this and the work itself.
const IDLE: Duration = Duration::from_millis(100);
/// The same for those that look at what is rarely there, or never urgent.
const SLOW: Duration = Duration::from_secs(1);
/// How often switches are read: a change is in force on every node within a second.
const SWITCHES: Duration = Duration::from_millis(250);
/// How long a loop waits after it failed or crashed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The most contests that are driven at once. One of a million signups takes its time, and the others
/// go on beside it.
const CONTESTS_MAX: usize = 12;

/// Starts the loops; they end soon after `stop` changes. Several nodes may run them at once: they
/// divide the work by leases.
pub fn start(contests: &Arc<Contests>, stop: &watch::Receiver<bool>) -> Vec<JoinHandle<()>> {
    let drive = drive_contests(Arc::clone(contests), stop.clone());
    let mut loops = vec![
        tokio::spawn(drive),
        again(
            "compensation",
            IDLE,
            contests,
            stop,
            |contests| async move { contests.compensate().await },
        ),
        again(
            "reconciliation",
            SLOW,
            contests,
            stop,
            |contests| async move { contests.carry_on_runs().await },
        ),
        again("guardrails", SLOW, contests, stop, |contests| async move {
            contests.guard_experiments().await
        }),
        again("judging", SLOW, contests, stop, |contests| async move {
            Ok::<_, Failure>(contests.judge_experiments().await)
        }),
        again("watch", SLOW, contests, stop, |contests| async move {
            contests.watch().await
        }),
    ];
    if let Some(receiver) = contests.ports().receiver.clone() {
        loops.push(again("notices", SLOW, contests, stop, move |contests| {
            let receiver = Arc::clone(&receiver);
            async move { contests.notify(&*receiver).await }
        }));
    }
    if contests.ports().shown.is_some() {
        loops.push(again(
            "relay",
            IDLE,
            contests,
            stop,
            |contests| async move { contests.relay().await },
        ));
    }
    loops
}

/// A loop of its own, which does its part of the contests' work again and again.
fn again<F, E>(
    name: &'static str,
    idle: Duration,
    contests: &Arc<Contests>,
    stop: &watch::Receiver<bool>,
    round: impl Fn(Arc<Contests>) -> F + Send + 'static,
) -> JoinHandle<()>
where
    F: Future<Output = Result<usize, E>> + Send + 'static,
    E: Error + Send + 'static,
{
    let contests = Arc::clone(contests);
    let round = move || round(Arc::clone(&contests));
    tokio::spawn(run(name, idle, stop.clone(), round))
}

/// Keeps the experiments up to date; it ends soon after `stop` changes. While the store is away those that ran
/// last run on. Apart from the switches, which must wait for nothing.
pub fn keep_experiments(contests: &Arc<Contests>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
    let (contests, mut stop) = (Arc::clone(contests), stop.clone());
    tokio::spawn(async move {
        let mut was_read = true;
        while !*stop.borrow() {
            let read = caught(contests.read_experiments()).await;
            if let Err(error) = &read
                && was_read
            {
                tracing::warn!(
                    error = error as &dyn std::error::Error,
                    "experiments cannot be read: those that ran last run on"
                );
            }
            was_read = read.is_ok();
            let _ = tokio::time::timeout(SWITCHES, stop.changed()).await;
        }
    })
}

/// Keeps the switches up to date; it ends soon after `stop` changes. Every node that decides anything runs it.
/// While the store is away the last values stay in force.
pub fn keep_switches(contests: &Arc<Contests>, stop: &watch::Receiver<bool>) -> JoinHandle<()> {
    let (contests, mut stop) = (Arc::clone(contests), stop.clone());
    tokio::spawn(async move {
        let mut was_read = true;
        while !*stop.borrow() {
            match caught(contests.read_switches()).await {
                Ok(_) if was_read => {}
                Ok(_) => tracing::info!("switches can be read again"),
                // Once, not four times a second.
                Err(error) if was_read => tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "switches cannot be read: the last values stay in force"
                ),
                Err(_) => {}
            }
            was_read = contests.switches().stale_ms(contests.ports().clock.now()) == 0;
            let _ = tokio::time::timeout(SWITCHES, stop.changed()).await;
        }
    })
}

/// Looks for contests whose time has come, and drives each in a task of its own. What is under way
/// when `stop` changes is waited for.
async fn drive_contests(contests: Arc<Contests>, mut stop: watch::Receiver<bool>) {
    let mut passes = JoinSet::new();
    while !*stop.borrow() {
        let pause = match caught(contests.due_contests()).await {
            Ok(due) => {
                for contest in due {
                    if passes.len() >= CONTESTS_MAX {
                        passes.join_next().await;
                    }
                    let contests = Arc::clone(&contests);
                    passes.spawn(async move { contests.pass(contest).await });
                }
                IDLE
            }
            Err(error) => {
                tracing::warn!(
                    loop_name = "contests",
                    error = &error as &dyn std::error::Error,
                    "a round failed"
                );
                AFTER_FAILURE
            }
        };
        // A pass catches what panics in it, and says so.
        while passes.try_join_next().is_some() {}
        let _ = tokio::time::timeout(pause, stop.changed()).await;
    }
    while passes.join_next().await.is_some() {}
}

/// Runs `round` again and again until `stop` changes, with a pause between. A round that panics is
/// reported, and the loop goes on (hazard G5).
async fn run<F, E>(
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
