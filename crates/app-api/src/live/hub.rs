//! One producer per thing that is watched, shared by all who watch it.
//!
//! A producer runs while somebody watches and no longer. What it makes is encoded once; every
//! viewer holds a reference to the newest bytes and no queue, so a slow one skips and costs nothing.

use axum::body::Bytes;
use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What a look at the source gave.
pub(crate) struct Look {
    /// What is to be sent; none if it is not worth an event.
    pub(crate) event: Option<Bytes>,
    /// When to look again; never if nothing can change any more.
    pub(crate) again: Option<Duration>,
}

/// Something that can be looked at again and again.
pub(crate) trait Source: Send + 'static {
    /// Looks. `watched` is how many things this hub's producers look at in all.
    fn look(&mut self, watched: usize) -> impl Future<Output = Look> + Send;
}

type Channel = Arc<watch::Sender<Bytes>>;

/// The producers that run.
pub(crate) struct Hub<K> {
    channels: Arc<Mutex<HashMap<K, Channel>>>,
    stopping: CancellationToken,
}

impl<K: Copy + Eq + Hash + Send + 'static> Hub<K> {
    /// A hub whose streams all end when `stopping` is cancelled.
    pub(crate) fn new(stopping: CancellationToken) -> Self {
        Self {
            channels: Arc::default(),
            stopping,
        }
    }

    /// Watches `key`: what is newest at once, and whatever follows. The source is made only if
    /// nobody else is watching.
    pub(crate) fn watch<S: Source>(
        &self,
        key: K,
        source: impl FnOnce() -> S,
    ) -> watch::Receiver<Bytes> {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&key) {
            let mut receiver = channel.subscribe();
            receiver.mark_changed();
            return receiver;
        }
        let (channel, receiver) = watch::channel(Bytes::new());
        let channel = Arc::new(channel);
        channels.insert(key, Arc::clone(&channel));
        let running = Running {
            key,
            channel,
            channels: Arc::clone(&self.channels),
        };
        let (source, stopping) = (source(), self.stopping.clone());
        tokio::spawn(async move { stopping.run_until_cancelled(running.run(source)).await });
        receiver
    }
}

/// A producer at work. However it ends, its channel goes with it, and so do its viewers' streams:
/// they come back and find a new one.
struct Running<K: Copy + Eq + Hash> {
    key: K,
    channel: Channel,
    channels: Arc<Mutex<HashMap<K, Channel>>>,
}

impl<K: Copy + Eq + Hash> Running<K> {
    async fn run<S: Source>(self, mut source: S) {
        loop {
            let watched = self
                .channels
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .len();
            let look = source.look(watched).await;
            if let Some(event) = look.event {
                self.channel.send_replace(event);
            }
            let next = async {
                match look.again {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.channel.closed() => if self.leave() { return },
                () = next => {}
            }
        }
    }

    /// Takes the channel away, unless somebody has just come to watch: both happen under one lock.
    fn leave(&self) -> bool {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let alone = self.channel.receiver_count() == 0;
        if alone {
            channels.remove(&self.key);
        }
        alone
    }
}

impl<K: Copy + Eq + Hash> Drop for Running<K> {
    fn drop(&mut self) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        let ours = |channel: &Channel| Arc::ptr_eq(channel, &self.channel);
        if channels.get(&self.key).is_some_and(ours) {
            channels.remove(&self.key);
        }
    }
}

/// Ids of events: they rise, also across a restart, because they follow the clock and a server
/// sends fewer than a thousand of them a second.
#[derive(Default)]
pub(crate) struct EventIds(AtomicI64);

impl EventIds {
    /// The next id: `now_ms`, or one more than the last.
    pub(crate) fn next(&self, now_ms: i64) -> i64 {
        let next = |last: i64| last.saturating_add(1).max(now_ms);
        let last = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| {
                Some(next(last))
            });
        // The closure never refuses.
        last.map_or(now_ms, next)
    }
}

/// An event as it goes over the wire.
pub(crate) fn frame(id: i64, json: &str) -> Bytes {
    Bytes::from(format!("id: {id}\ndata: {json}\n\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use tokio::time::timeout;

    const BOUND: Duration = Duration::from_secs(10);

    /// Counts its looks, up to a last one.
    struct Counter(Arc<AtomicUsize>, usize);

    impl Source for Counter {
        async fn look(&mut self, _: usize) -> Look {
            let looks = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            Look {
                event: Some(frame(1, &looks.to_string())),
                again: (looks < self.1).then_some(Duration::from_millis(1)),
            }
        }
    }

    impl Hub<i32> {
        /// How many things are watched.
        fn len(&self) -> usize {
            let channels = self.channels.lock();
            channels.expect("not poisoned").len()
        }
    }

    async fn newest(receiver: &mut watch::Receiver<Bytes>) -> Bytes {
        let wait = receiver.wait_for(|bytes| !bytes.is_empty());
        timeout(BOUND, wait)
            .await
            .expect("an event in time")
            .expect("a producer")
            .clone()
    }

    #[tokio::test]
    async fn many_viewers_share_one_producer_and_the_last_to_leave_ends_it() {
        let hub = Hub::new(CancellationToken::new());
        let looks = Arc::new(AtomicUsize::new(0));
        let source = || Counter(looks.clone(), 1);
        let mut viewers: Vec<_> = (0..100).map(|_| hub.watch(7, source)).collect();
        let first = newest(&mut viewers[0]).await;
        for viewer in &mut viewers {
            let seen = newest(viewer).await;
            assert_eq!(seen.as_ptr(), first.as_ptr(), "the bytes are shared");
        }
        assert_eq!((looks.load(Ordering::SeqCst), hub.len()), (1, 1));
        // Who comes later is given the newest at once, without another look.
        let mut late = hub.watch(7, source);
        assert!(late.has_changed().expect("a producer"));
        assert_eq!(newest(&mut late).await, first);
        drop((viewers, late));
        let gone = async {
            while hub.len() > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, gone).await.expect("nobody watches");
        let mut again = hub.watch(7, source);
        newest(&mut again).await;
        assert_eq!(looks.load(Ordering::SeqCst), 2);
    }

    #[tokio::test]
    async fn a_slow_viewer_skips_what_it_missed() {
        let hub = Hub::new(CancellationToken::new());
        let looks = Arc::new(AtomicUsize::new(0));
        let mut viewer = hub.watch(7, || Counter(looks.clone(), 50));
        let all = async {
            while looks.load(Ordering::SeqCst) < 50 {
                tokio::task::yield_now().await;
            }
        };
        timeout(BOUND, all).await.expect("fifty looks");
        let last = timeout(
            BOUND,
            viewer.wait_for(|bytes| bytes.ends_with(b"data: 50\n\n")),
        );
        last.await.expect("in time").expect("a producer");
        assert!(!viewer.has_changed().expect("a producer"), "no queue");
    }

    #[tokio::test]
    async fn streams_end_with_the_server_and_with_a_crash_of_their_producer() {
        struct Crash;
        impl Source for Crash {
            async fn look(&mut self, _: usize) -> Look {
                panic!("a bug of the source, for the test")
            }
        }
        let stopping = CancellationToken::new();
        let hub = Hub::new(stopping.clone());
        let mut crashed = hub.watch(1, || Crash);
        let ended = timeout(BOUND, crashed.wait_for(|_| false)).await;
        assert!(ended.expect("in time").is_err());
        let mut viewer = hub.watch(2, || Counter(Arc::default(), 1));
        newest(&mut viewer).await;
        stopping.cancel();
        let ended = timeout(BOUND, viewer.wait_for(|_| false)).await;
        assert!(ended.expect("in time").is_err());
        assert_eq!(hub.len(), 0);
    }

    #[test]
    fn ids_rise_whatever_the_clock_does() {
        let ids = EventIds::default();
        let given: Vec<_> = [100, 100, 90, 200].map(|now| ids.next(now)).into();
        assert_eq!(given, [100, 101, 102, 200]);
    }
}
