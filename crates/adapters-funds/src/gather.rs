//! What arrives while a batch is under way, or is ready to ask when one begins, travels together.
//! No timer: whoever comes alone goes alone, at once.

use ports::funds::ANSWER_MS_MAX;
use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::oneshot, time::Instant};

/// What is left of the time that the flows wait, for an answer of the last moment to reach them.
const SLACK_MS: u64 = 100;

/// How long a question may wait for its turn: at most as long as its call may take then, and not
/// so long that nobody waits for the answer any more.
pub(crate) fn patience(deadline: Duration) -> Duration {
    Duration::from_millis(ANSWER_MS_MAX - SLACK_MS)
        .saturating_sub(deadline)
        .min(deadline)
}

type Done = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One that waits for its answer. Its `extra` (its place in the bulkhead) is kept until then, also
/// if nobody listens any more: what was sent goes on.
pub(crate) struct Member<Q, A, E> {
    pub(crate) question: Q,
    answer: oneshot::Sender<A>,
    extra: E,
}

impl<Q, A, E> Member<Q, A, E> {
    /// Answers it.
    pub(crate) fn tell(self, answer: A) {
        drop(self.extra);
        // Its asker may be gone.
        let _ = self.answer.send(answer);
    }
}

/// The bounds of a [`Gather`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The most weight of one batch.
    pub(crate) weight_max: usize,
    /// Batches that are under way at once.
    pub(crate) batches_max: usize,
    /// Who waited longer for a batch is not sent any more.
    pub(crate) patience: Duration,
}

struct Waiting<Q, A, E> {
    member: Member<Q, A, E>,
    weight: usize,
    since: Instant,
}

struct State<Q, A, E> {
    waiting: VecDeque<Waiting<Q, A, E>>,
    batches: usize,
}

type Sending<Q, A, E> = dyn Fn(Vec<Member<Q, A, E>>) -> Done + Send + Sync;

/// Questions that travel together. `send` answers every member of a batch; one that it forgets is
/// told nothing, and its asker sees the end of it.
pub(crate) struct Gather<Q, A, E> {
    bounds: Bounds,
    late: fn(&Q) -> A,
    send: Box<Sending<Q, A, E>>,
    state: Mutex<State<Q, A, E>>,
}

impl<Q: Send + 'static, A: Send + 'static, E: Send + 'static> Gather<Q, A, E> {
    /// `late` is the answer to one that lost its patience and was not sent.
    pub(crate) fn new(
        bounds: Bounds,
        late: fn(&Q) -> A,
        send: impl Fn(Vec<Member<Q, A, E>>) -> Done + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            bounds,
            late,
            send: Box::new(send),
            state: Mutex::new(State {
                waiting: VecDeque::new(),
                batches: 0,
            }),
        })
    }

    /// Asks. Once this was polled the question goes on by itself, whatever becomes of the asker.
    /// None: the batch ended without a word about it.
    pub(crate) async fn ask(self: &Arc<Self>, question: Q, weight: usize, extra: E) -> Option<A> {
        let (answer, answered) = oneshot::channel();
        let starts = {
            let mut state = self.lock();
            state.waiting.push_back(Waiting {
                member: Member {
                    question,
                    answer,
                    extra,
                },
                weight,
                since: Instant::now(),
            });
            let starts = state.batches < self.bounds.batches_max;
            state.batches += usize::from(starts);
            starts
        };
        if starts {
            tokio::spawn(Arc::clone(self).run());
        }
        answered.await.ok()
    }

    /// One batch after the other, until nobody waits.
    async fn run(self: Arc<Self>) {
        let mut place = Place {
            gather: Arc::clone(&self),
            is_left: false,
        };
        loop {
            self.join_in().await;
            let Some(batch) = self.next(&mut place) else {
                return;
            };
            (self.send)(batch).await;
        }
    }

    /// Lets those who are about to ask come with the first, unless the batch is full without them: one
    /// answer often wakes many, and the first of them would otherwise travel alone. Only what is ready to
    /// run is run before.
    async fn join_in(&self) {
        let weight = self.weight();
        if weight > 0 && weight < self.bounds.weight_max {
            tokio::task::yield_now().await;
        }
    }

    /// The next batch; none, and the place is left, when nobody waits.
    fn next(&self, place: &mut Place<Q, A, E>) -> Option<Vec<Member<Q, A, E>>> {
        loop {
            let mut late = Vec::new();
            let mut batch = Vec::new();
            let mut weight = 0;
            let mut state = self.lock();
            while let Some(next) = state.waiting.front() {
                let is_late = next.since.elapsed() > self.bounds.patience;
                if !is_late && !batch.is_empty() && weight + next.weight > self.bounds.weight_max {
                    break;
                }
                let Some(next) = state.waiting.pop_front() else {
                    break;
                };
                if is_late {
                    late.push(next.member);
                } else {
                    weight += next.weight;
                    batch.push(next.member);
                }
            }
            if batch.is_empty() && late.is_empty() {
                // Under the same lock as the look at the queue: whoever comes now starts a batch.
                state.batches -= 1;
                place.is_left = true;
                return None;
            }
            drop(state);
            for member in late {
                let answer = (self.late)(&member.question);
                member.tell(answer);
            }
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    /// Of all who wait.
    fn weight(&self) -> usize {
        self.lock().waiting.iter().map(|one| one.weight).sum()
    }

    fn lock(&self) -> MutexGuard<'_, State<Q, A, E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running batch's place, given back even if sending panics.
struct Place<Q, A, E> {
    gather: Arc<Gather<Q, A, E>>,
    is_left: bool,
}

impl<Q, A, E> Drop for Place<Q, A, E> {
    fn drop(&mut self) {
        if !self.is_left {
            let mut state = self
                .gather
                .state
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            state.batches -= 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "these are tests")]
mod tests {
    use super::*;
    use crate::DEADLINE_MS_MAX;
    use tokio::sync::{Notify, Semaphore};

    // hazard: A1
    #[test]
    fn what_waits_and_is_then_sent_is_answered_while_somebody_waits_for_it() {
        for deadline_ms in 1..=DEADLINE_MS_MAX {
            let deadline = Duration::from_millis(deadline_ms);
            let patience = patience(deadline);
            assert!(!patience.is_zero() && patience <= deadline, "{deadline_ms}");
            let longest = patience + deadline;
            assert!(
                longest < Duration::from_millis(ANSWER_MS_MAX),
                "{deadline_ms}"
            );
        }
    }

    struct Probe {
        batches: Mutex<Vec<Vec<u32>>>,
        go: Semaphore,
        began: Notify,
    }

    type Doubles = Arc<Gather<u32, Option<u32>, ()>>;

    fn gather(bounds: Bounds) -> (Arc<Probe>, Doubles) {
        let probe = Arc::new(Probe {
            batches: Mutex::default(),
            go: Semaphore::new(0),
            began: Notify::new(),
        });
        let seen = Arc::clone(&probe);
        let gather = Gather::new(
            bounds,
            |_| None,
            move |batch: Vec<Member<u32, Option<u32>, ()>>| {
                let seen = Arc::clone(&seen);
                Box::pin(async move {
                    let asked = batch.iter().map(|member| member.question).collect();
                    seen.batches.lock().expect("a lock").push(asked);
                    seen.began.notify_one();
                    seen.go.acquire().await.expect("a permit").forget();
                    for member in batch {
                        let answer = member.question * 2;
                        if answer != 26 {
                            member.tell(Some(answer));
                        }
                    }
                })
            },
        );
        (probe, gather)
    }

    const BOUNDS: Bounds = Bounds {
        weight_max: 3,
        batches_max: 1,
        patience: Duration::from_secs(5),
    };

    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_arrives_meanwhile_travels_together() {
        let (probe, gather) = gather(BOUNDS);
        let asks: Vec<_> = (0..6)
            .map(|number| {
                let gather = Arc::clone(&gather);
                tokio::spawn(async move { gather.ask(number, 1, ()).await })
            })
            .collect();
        settle().await;
        assert_eq!(*probe.batches.lock().expect("a lock"), [vec![0, 1, 2]]);
        probe.go.add_permits(2);
        for (number, ask) in (0..).zip(asks) {
            assert_eq!(ask.await.expect("an end"), Some(Some(number * 2)));
        }
        assert_eq!(
            *probe.batches.lock().expect("a lock"),
            [vec![0, 1, 2], vec![3, 4, 5]]
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn who_is_woken_by_one_answer_travels_together_until_a_batch_is_full() {
        // Few, so that no housekeeping of the runtime comes between them.
        const ASKERS: u32 = 5;
        let (probe, gather) = gather(BOUNDS);
        probe.go.add_permits(9);
        let (wake, woken) = tokio::sync::watch::channel(false);
        let ready = Arc::new(tokio::sync::Barrier::new(ASKERS as usize + 1));
        let asks: Vec<_> = (0..ASKERS)
            .map(|number| {
                let (gather, mut woken) = (Arc::clone(&gather), woken.clone());
                let ready = Arc::clone(&ready);
                tokio::spawn(async move {
                    ready.wait().await;
                    woken.changed().await.expect("a sender");
                    gather.ask(number, 1, ()).await
                })
            })
            .collect();
        // In a task, so that all are woken by one who runs beside none of them.
        tokio::spawn(async move {
            ready.wait().await;
            tokio::task::yield_now().await;
            wake.send_replace(true);
        })
        .await
        .expect("a task");
        for ask in asks {
            assert!(ask.await.expect("an end").is_some());
        }
        let batches = probe.batches.lock().expect("a lock");
        let sizes: Vec<_> = batches.iter().map(Vec::len).collect();
        assert_eq!(sizes, [3, 2], "{batches:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_forgotten_sees_the_end_and_the_others_their_answers() {
        let (probe, gather) = gather(BOUNDS);
        probe.go.add_permits(1);
        let (forgotten, other) = tokio::join!(gather.ask(13, 1, ()), gather.ask(1, 1, ()));
        assert_eq!((forgotten, other), (None, Some(Some(2))));
    }

    // hazard: A19
    #[tokio::test(start_paused = true)]
    async fn who_waited_too_long_is_told_so_and_not_sent() {
        let (probe, gather) = gather(BOUNDS);
        let first = tokio::spawn({
            let gather = Arc::clone(&gather);
            async move { gather.ask(1, 1, ()).await }
        });
        probe.began.notified().await;
        let second = tokio::spawn({
            let gather = Arc::clone(&gather);
            async move { gather.ask(2, 1, ()).await }
        });
        settle().await;
        tokio::time::advance(Duration::from_secs(6)).await;
        probe.go.add_permits(9);
        assert_eq!(first.await.expect("an end"), Some(Some(2)));
        assert_eq!(second.await.expect("an end"), Some(None));
        assert_eq!(*probe.batches.lock().expect("a lock"), [vec![1]]);
    }

    // hazard: G1
    #[tokio::test(start_paused = true)]
    async fn what_was_asked_goes_on_when_its_asker_is_gone() {
        let (probe, gather) = gather(BOUNDS);
        let gone = tokio::spawn({
            let gather = Arc::clone(&gather);
            async move { gather.ask(1, 1, ()).await }
        });
        probe.began.notified().await;
        gone.abort();
        assert!(gone.await.is_err());
        probe.go.add_permits(2);
        assert_eq!(gather.ask(2, 1, ()).await, Some(Some(4)));
        assert_eq!(*probe.batches.lock().expect("a lock"), [vec![1], vec![2]]);
    }
}
