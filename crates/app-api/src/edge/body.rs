//! Bodies with an end: a request's that must come in time, and a response's that holds a place
//! while it is sent.

use crate::problem::{Code, Problem};
use axum::body::{Body, Bytes};
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// How long a body that has begun may still take when the server stops.
const AFTER_STOP: Duration = Duration::from_secs(2);

const LATE: u8 = 1;
const STOPPED: u8 = 2;
const CROWDED: u8 = 3;

/// Why a body was cut off, if it was.
#[derive(Clone, Default)]
pub(crate) struct Cut(Arc<AtomicU8>);

impl Cut {
    /// What the client is told about it.
    pub(crate) fn reason(&self) -> Option<Problem> {
        match self.0.load(Ordering::Relaxed) {
            LATE => Some(Problem::new(
                Code::RequestTimeout,
                "the body did not come in time; nothing was done",
            )),
            STOPPED => Some(
                Problem::new(
                    Code::Unavailable,
                    "the server stops; nothing was done, repeat the request",
                )
                .retry_after(1),
            ),
            CROWDED => Some(
                Problem::new(
                    Code::Overloaded,
                    "too many bodies are on their way at once; nothing was done, repeat the request",
                )
                .retry_after(1),
            ),
            _ => None,
        }
    }
}

/// A request's body that must come in time. One that has to be waited for takes a place among
/// those: requests that are worked on are bounded, and clients that send slowly must not have them
/// all.
pub(crate) struct RequestBody {
    inner: Incoming,
    places: Arc<Semaphore>,
    place: Option<OwnedSemaphorePermit>,
    deadline: Pin<Box<Sleep>>,
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    cut: Cut,
}

impl RequestBody {
    /// The body, cut off after `within` or soon after `stopping`; `cut` says so then.
    pub(crate) fn wrap(
        inner: Incoming,
        within: Duration,
        places: &Arc<Semaphore>,
        stopping: &CancellationToken,
        cut: &Cut,
    ) -> Body {
        if inner.is_end_stream() {
            return Body::empty();
        }
        Body::new(Self {
            inner,
            places: Arc::clone(places),
            place: None,
            deadline: Box::pin(sleep(within)),
            stopping: Some(Box::pin(stopping.clone().cancelled_owned())),
            cut: cut.clone(),
        })
    }
}

impl RequestBody {
    fn cut_off<T, E: From<io::Error>>(&self, why: u8) -> Poll<Option<Result<T, E>>> {
        self.cut.0.store(why, Ordering::Relaxed);
        Poll::Ready(Some(Err(io::Error::from(io::ErrorKind::TimedOut).into())))
    }
}

impl HttpBody for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(context) {
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        if this.place.is_none() {
            match Arc::clone(&this.places).try_acquire_owned() {
                Ok(place) => this.place = Some(place),
                Err(_) => return this.cut_off(CROWDED),
            }
        }
        if let Some(stopping) = &mut this.stopping
            && stopping.as_mut().poll(context).is_ready()
        {
            this.stopping = None;
            let soon = Instant::now() + AFTER_STOP;
            if soon < this.deadline.deadline() {
                this.deadline.as_mut().reset(soon);
            }
        }
        ready!(this.deadline.as_mut().poll(context));
        let why = if this.stopping.is_some() {
            LATE
        } else {
            STOPPED
        };
        this.cut_off(why)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// A response's body that holds something until it was sent or given up.
pub(crate) struct ResponseBody<T> {
    inner: Body,
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    _held: T,
}

impl<T: Send + Unpin + 'static> ResponseBody<T> {
    /// Holds `held` while `inner` is sent.
    pub(crate) fn holding(inner: Body, held: T) -> Body {
        Body::new(Self {
            inner,
            stopping: None,
            _held: held,
        })
    }

    /// The same for a stream without an end of its own: it ends with `stopping`.
    pub(crate) fn stream(inner: Body, held: T, stopping: &CancellationToken) -> Body {
        Body::new(Self {
            inner,
            stopping: Some(Box::pin(stopping.clone().cancelled_owned())),
            _held: held,
        })
    }
}

impl<T: Unpin> HttpBody for ResponseBody<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        if let Some(stopping) = &mut this.stopping
            && stopping.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(None);
        }
        Pin::new(&mut this.inner).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{StreamExt, stream};
    use std::convert::Infallible;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn a_stream_ends_with_the_server_and_gives_its_place_back() {
        let places = Arc::new(Semaphore::new(1));
        let place = Arc::clone(&places).try_acquire_owned().expect("a place");
        let stopping = CancellationToken::new();
        let events = stream::iter(["data: 1\n\n"])
            .map(Ok::<_, Infallible>)
            .chain(stream::pending());
        let body = ResponseBody::stream(Body::from_stream(events), place, &stopping);
        let mut sent = body.into_data_stream();
        let first = sent.next().await.expect("an event").expect("bytes");
        assert_eq!(first, "data: 1\n\n");
        assert_eq!(places.available_permits(), 0);
        let rest = tokio::spawn(async move { sent.next().await.is_none() });
        tokio::task::yield_now().await;
        assert!(!rest.is_finished());
        stopping.cancel();
        assert!(rest.await.expect("a task"), "it must end");
        assert_eq!(places.available_permits(), 1);
    }
}
