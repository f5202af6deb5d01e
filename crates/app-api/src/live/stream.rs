//! What a viewer's stream of events is made of: the newest event, comments while nothing happens.

use axum::{
    body::{Body, Bytes},
    http::{HeaderName, HeaderValue, header},
    response::Response,
};
use futures_util::stream;
use std::{
    collections::HashMap,
    convert::Infallible,
    hash::Hash,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

/// How long a stream may be silent: what lies between must not take it for dead.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long a stream lives. Its viewer comes back with a token or ticket that is still good.
const LIFE: Duration = Duration::from_secs(3_600);
/// After how many milliseconds a viewer comes back: from the first to the second, so that they do
/// not all come at once.
const RETRY_MS: (u64, u64) = (1_000, 3_000);

/// A stream of what `receiver` is given; `held` is dropped with it.
pub(crate) fn response(receiver: watch::Receiver<Bytes>, held: impl Send + 'static) -> Response {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (first, second) = RETRY_MS;
    let retry = first + number.wrapping_mul(7_919) % (second - first);
    let viewer = Viewer {
        receiver,
        hello: Some(Bytes::from(format!("retry: {retry}\n\n"))),
        ends: Instant::now() + LIFE,
        _held: held,
    };
    let chunks = stream::unfold(viewer, |mut viewer| async {
        let chunk = viewer.next().await?;
        Some((Ok::<_, Infallible>(chunk), viewer))
    });
    let mut response = Response::new(Body::from_stream(chunks));
    let headers = response.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, "text/event-stream");
    set(header::CACHE_CONTROL, "no-store");
    set(HeaderName::from_static("x-accel-buffering"), "no");
    response
}

struct Viewer<T> {
    receiver: watch::Receiver<Bytes>,
    hello: Option<Bytes>,
    ends: Instant,
    _held: T,
}

impl<T> Viewer<T> {
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(hello) = self.hello.take() {
            return Some(hello);
        }
        loop {
            tokio::select! {
                biased;
                changed = self.receiver.changed() => {
                    // Without a producer there is nothing to wait for.
                    changed.ok()?;
                    let event = self.receiver.borrow_and_update().clone();
                    if !event.is_empty() {
                        return Some(event);
                    }
                }
                () = tokio::time::sleep_until(self.ends) => return None,
                () = tokio::time::sleep(HEARTBEAT) => return Some(Bytes::from_static(b": still here\n\n")),
            }
        }
    }
}

/// How many streams each has open.
pub(crate) struct Places<K: Eq + Hash> {
    open: Arc<Mutex<HashMap<K, usize>>>,
    max: usize,
}

/// One place; free again when dropped.
pub(crate) struct Place<K: Eq + Hash> {
    open: Arc<Mutex<HashMap<K, usize>>>,
    whose: K,
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// At most `max` for each.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            open: Arc::default(),
            max,
        }
    }

    /// A place, if there is one left.
    pub(crate) fn take(&self, whose: K) -> Option<Place<K>> {
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let open = all.entry(whose.clone()).or_default();
        if *open >= self.max {
            return None;
        }
        *open += 1;
        Some(Place {
            open: Arc::clone(&self.open),
            whose,
        })
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut all = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = all.get_mut(&self.whose) {
            *open -= 1;
            if *open == 0 {
                all.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::{advance, timeout};

    #[tokio::test(start_paused = true)]
    async fn a_viewer_is_greeted_told_the_newest_and_kept_awake() {
        let (sender, receiver) = watch::channel(Bytes::new());
        let mut viewer = Viewer {
            receiver,
            hello: Some(Bytes::from_static(b"retry: 1\n\n")),
            ends: Instant::now() + LIFE,
            _held: (),
        };
        assert_eq!(viewer.next().await.as_deref(), Some(&b"retry: 1\n\n"[..]));
        for event in ["one", "two"] {
            sender.send_replace(Bytes::from_static(event.as_bytes()));
        }
        assert_eq!(viewer.next().await.as_deref(), Some(&b"two"[..]));
        let asked = Instant::now();
        assert!(
            viewer
                .next()
                .await
                .is_some_and(|text| text.starts_with(b":"))
        );
        assert_eq!(asked.elapsed(), HEARTBEAT);
        advance(LIFE).await;
        assert_eq!(viewer.next().await, None);
    }

    #[tokio::test]
    async fn without_a_producer_a_stream_ends() {
        let (sender, receiver) = watch::channel(Bytes::new());
        let mut viewer = Viewer {
            receiver,
            hello: None,
            ends: Instant::now() + LIFE,
            _held: (),
        };
        drop(sender);
        let ended = timeout(Duration::from_secs(5), viewer.next()).await;
        assert_eq!(ended, Ok(None));
    }

    #[test]
    fn places_come_back() {
        let places = Places::new(2);
        let (one, two) = (places.take("ann"), places.take("ann"));
        assert!(one.is_some() && two.is_some() && places.take("ann").is_none());
        assert!(places.take("bob").is_some());
        drop(one);
        assert!(places.take("ann").is_some());
        drop(two);
        assert!(places.open.lock().expect("not poisoned").is_empty());
    }
}
