//! Admission: how many requests are worked on, how many wait, and which are shed.
//!
//! A server that takes on everything answers nobody in time. Its capacity is what the two group
//! commits make durable per second; a request beyond that costs nothing but the wait in front of
//! it, so what must be bounded is the wait. Three rules:
//!
//! 1. At most `running_max` requests are worked on. The group commits take up to 256 signups in a
//!    transaction: with 512 one batch is on its way to the disk while the next one gathers, and
//!    more would only make batches wait inside, where they can no longer be shed.
//! 2. What comes beyond waits, first come first served, until `in_flight_max` are inside; then
//!    arrivals are shed at once. That many may come together from rest (a claim that opens at one
//!    instant) and are all served: 2,048 at the 4,000 per second of the embedded default wait half
//!    a second at most.
//! 3. When the server is slower than that, the queue would hold requests whose callers have long
//!    gone. Once those that leave the queue have waited for [`WAIT_HIGH`], arrivals are shed until
//!    the wait is below [`WAIT_LOW`] again or nobody waits; and nobody waits for longer than
//!    [`WAIT_MAX`].
//!
//! To shed costs two atomic reads and an answer that was written beforehand: no token, no body, no
//! route, no line in the log. At five times the capacity that is what four of five requests are
//! given, and the fifth must still find the processor free. What is left then is the cost of
//! reading a request and writing an answer at all, so a connection that comes back at once, though
//! it was told when to, is not read for a while (see [`crate::server`]).

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, timeout_at},
};

/// Nobody waits longer.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// From this wait on, nobody else may queue.
const WAIT_HIGH: Duration = Duration::from_secs(1);
/// Below this wait, they may again.
const WAIT_LOW: Duration = Duration::from_millis(250);

/// The gate of a server.
pub(crate) struct Gate {
    running: Semaphore,
    running_max: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
    /// Whether those who left the queue last had waited too long.
    slow: AtomicBool,
}

/// A request's place among those that are worked on.
pub(crate) type Place<'a> = SemaphorePermit<'a>;

/// One more that waits, until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gate {
    /// A gate that lets `running_max` work, and as many wait as make `in_flight_max` in all.
    pub(crate) fn new(running_max: usize, in_flight_max: usize) -> Self {
        let running_max = running_max.min(in_flight_max);
        Self {
            running: Semaphore::new(running_max),
            running_max,
            waiting: AtomicUsize::new(0),
            waiting_max: in_flight_max - running_max,
            slow: AtomicBool::new(false),
        }
    }

    /// How many are worked on, and how many wait.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        let running = self
            .running_max
            .saturating_sub(self.running.available_permits());
        (running, self.waiting.load(Ordering::Relaxed))
    }

    /// Waits for a place; none when the request is to be shed.
    pub(crate) async fn enter(&self, arrived: Instant) -> Option<Place<'_>> {
        // Succeeds only where nobody waits: a place that becomes free is given to those first.
        if let Ok(place) = self.running.try_acquire() {
            return Some(place);
        }
        let before = self.waiting.load(Ordering::Relaxed);
        if before >= self.waiting_max || (before > 0 && self.slow.load(Ordering::Relaxed)) {
            return None;
        }
        if before == 0 {
            self.slow.store(false, Ordering::Relaxed);
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.waiting);
        let place = timeout_at(arrived + WAIT_MAX, self.running.acquire()).await;
        drop(waiting);
        let waited = arrived.elapsed();
        if waited >= WAIT_HIGH {
            self.slow.store(true, Ordering::Relaxed);
        } else if waited < WAIT_LOW {
            self.slow.store(false, Ordering::Relaxed);
        }
        // The semaphore is never closed; in time or not is all there is.
        place.ok()?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::{sync::oneshot, task::JoinHandle, time};

    /// A request that holds its place until it is told to leave; false when it was shed.
    fn request(gate: &Arc<Gate>) -> (JoinHandle<bool>, oneshot::Sender<()>) {
        let gate = Arc::clone(gate);
        let (leave, left) = oneshot::channel();
        let task = tokio::spawn(async move {
            let Some(_place) = gate.enter(Instant::now()).await else {
                return false;
            };
            let _ = left.await;
            true
        });
        (task, leave)
    }

    async fn settle(gate: &Gate, in_flight: (usize, usize)) {
        for _ in 0..1_000 {
            if gate.in_flight() == in_flight {
                return;
            }
            tokio::task::yield_now().await;
        }
        panic!("{:?} instead of {in_flight:?}", gate.in_flight());
    }

    #[tokio::test(start_paused = true)]
    async fn some_work_some_wait_and_the_rest_is_shed() {
        let gate = Arc::new(Gate::new(2, 5));
        let inside: Vec<_> = (0..5).map(|_| request(&gate)).collect();
        settle(&gate, (2, 3)).await;
        for _ in 0..10 {
            assert!(gate.enter(Instant::now()).await.is_none());
        }
        for (_, leave) in &mut inside.into_iter() {
            let _ = leave.send(());
        }
        settle(&gate, (0, 0)).await;
        assert!(gate.enter(Instant::now()).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_that_stands_is_not_joined_until_it_is_short_again() {
        let gate = Arc::new(Gate::new(1, 10));
        let mut inside: Vec<_> = (0..4).map(|_| request(&gate)).collect();
        settle(&gate, (1, 3)).await;
        time::advance(WAIT_HIGH).await;
        let (first, leave) = inside.remove(0);
        leave.send(()).expect("a request");
        assert!(first.await.expect("a task"));
        settle(&gate, (1, 2)).await;
        // There is room, but whoever leaves the queue has waited too long.
        assert!(gate.enter(Instant::now()).await.is_none());
        for (task, leave) in inside {
            leave.send(()).expect("a request");
            assert!(task.await.expect("a task"));
        }
        let (again, leave) = request(&gate);
        let (queued, leave_queued) = request(&gate);
        settle(&gate, (1, 1)).await;
        for (task, leave) in [(again, leave), (queued, leave_queued)] {
            leave.send(()).expect("a request");
            assert!(task.await.expect("a task"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_and_who_gives_up_leaves_no_trace() {
        let gate = Arc::new(Gate::new(1, 3));
        let (first, leave) = request(&gate);
        settle(&gate, (1, 0)).await;
        let (second, _keep) = request(&gate);
        let (third, _keep_too) = request(&gate);
        settle(&gate, (1, 2)).await;
        third.abort();
        settle(&gate, (1, 1)).await;
        time::advance(WAIT_MAX).await;
        assert!(!second.await.expect("a task"));
        settle(&gate, (1, 0)).await;
        leave.send(()).expect("a request");
        assert!(first.await.expect("a task"));
        settle(&gate, (0, 0)).await;
    }
}
