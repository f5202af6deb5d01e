//! The accept loop: HTTP/1.1 over TCP, each connection with deadlines, and a stop that closes what
//! is idle or half sent at once and lets what runs come to its end.
//!
//! A request that cannot be parsed at all never reaches us: the HTTP library answers it, with an
//! empty body (400; 414 beyond 64 KiB of address; 431 beyond [`HEAD_MAX`] or twice our number of
//! headers) and closes. Our own limits in [`crate::edge`] are lower, so that a well-formed request
//! that is merely too large is answered with a problem.

use crate::{
    config::LimitSettings,
    edge::{self, Shed, body::ResponseBody},
};
use axum::{extract::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The longest head of a request, in bytes.
const HEAD_MAX: usize = 128 << 10;
/// How long a connection without a request may still write when the server stops.
const LAST_BYTES: Duration = Duration::from_millis(250);
/// How long to wait when the system cannot give us another connection.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// How long a connection is not listened to after it was shed, the first time and at most: the
/// time after which every shed answer says to come back.
const PAUSE_FIRST: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Open files that are not connections: databases, logs, the runtime's own.
const OTHER_FILES: usize = 128;

/// How connections are kept.
#[derive(Clone)]
pub(crate) struct Keep {
    header_timeout: Duration,
    places: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Keep {
    /// What these limits ask for. Where the system allows fewer open files, there are fewer
    /// connections: a database that cannot open its log because of them would be worse.
    pub(crate) fn new(limits: &LimitSettings, stopping: CancellationToken) -> Self {
        let asked = limits.connections_max;
        let allowed = open_files_max().map_or(asked, |files| {
            asked.min(files.saturating_sub(OTHER_FILES).max(1))
        });
        if allowed < asked {
            tracing::warn!(
                connections_max = asked,
                allowed,
                "the system allows fewer open files than limits.connections_max needs; raise \
                 `ulimit -n`"
            );
        }
        Self {
            header_timeout: limits.header_timeout(),
            places: Arc::new(Semaphore::new(allowed)),
            stopping,
        }
    }
}

/// How many files this process may have open, where the system says so.
fn open_files_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Serves until stopped, and then until the last connection has ended.
pub(crate) async fn serve<H, F>(listener: TcpListener, keep: Keep, handle: H)
where
    H: Fn(Request<Incoming>, IpAddr) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let connections = TaskTracker::new();
    let refusal = edge::overloaded_bytes();
    let open = metrics::gauge!("guafen_http_connections");
    let refused = metrics::counter!("guafen_http_connections_refused_total");
    loop {
        let accepted = tokio::select! {
            biased;
            () = keep.stopping.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match Arc::clone(&keep.places).try_acquire_owned() {
                Ok(place) => {
                    let held = (place, Open::new(&open));
                    let (keep, handle) = (keep.clone(), handle.clone());
                    connections.spawn(connection(stream, peer.ip(), held, keep, handle));
                }
                Err(_) => {
                    refused.increment(1);
                    // As much as fits without waiting, which is all of it.
                    let _ = stream.try_write(refusal.as_bytes());
                }
            },
            Err(error) if is_of_the_client(&error) => {}
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "cannot accept a connection"
                );
                let _ = timeout(AFTER_FAILURE, keep.stopping.cancelled()).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Whether it was this one client who went away.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// A connection that is counted as open until it is dropped.
struct Open(metrics::Gauge);

impl Open {
    fn new(gauge: &metrics::Gauge) -> Self {
        gauge.increment(1.0);
        Self(gauge.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}

/// Requests of one connection that are not answered to the last byte, and how it was shed lately.
#[derive(Default)]
struct Busy {
    requests: AtomicUsize,
    rested: Notify,
    shed: Mutex<Option<Shedding>>,
}

/// A connection whose last request was shed.
#[derive(Clone, Copy)]
struct Shedding {
    at: Instant,
    times: u32,
}

impl Shedding {
    /// When the next request of this connection is looked at. A client that comes back at once
    /// instead of when it was told would have us answer nothing else; it waits twice as long each
    /// time, at most as long as it was told to. One that keeps to it waits for nothing.
    fn over(self) -> Instant {
        let doubled = PAUSE_FIRST.saturating_mul(1 << self.times.min(16));
        self.at + doubled.min(PAUSE_MAX)
    }
}

impl Busy {
    fn is_resting(&self) -> bool {
        self.requests.load(Ordering::Acquire) == 0
    }

    fn shedding(&self) -> Option<Shedding> {
        *self.shed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether a request was shed.
    fn note(&self, shed: bool) {
        let mut last = self.shed.lock().unwrap_or_else(PoisonError::into_inner);
        *last = shed.then(|| Shedding {
            at: Instant::now(),
            times: last.map_or(0, |last| last.times + 1),
        });
    }

    fn begin(self: &Arc<Self>) -> Begun {
        self.requests.fetch_add(1, Ordering::AcqRel);
        Begun(Arc::clone(self))
    }
}

/// One such request.
struct Begun(Arc<Busy>);

impl Drop for Begun {
    fn drop(&mut self) {
        if self.0.requests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.rested.notify_one();
        }
    }
}

async fn connection<H, F>(
    stream: TcpStream,
    peer: IpAddr,
    _held: (OwnedSemaphorePermit, Open),
    keep: Keep,
    handle: H,
) where
    H: Fn(Request<Incoming>, IpAddr) -> F,
    F: Future<Output = Response> + Send + 'static,
{
    // Answers are small and complete: waiting for more to send with them gains nothing.
    let _ = stream.set_nodelay(true);
    let busy = Arc::new(Busy::default());
    let service = service_fn(|request| {
        let begun = busy.begin();
        let answer = handle(request, peer);
        let (busy, stopping) = (&busy, &keep.stopping);
        async move {
            if let Some(last) = busy.shedding() {
                let pause = sleep_until(last.over());
                stopping.run_until_cancelled(pause).await;
            }
            let response = answer.await;
            busy.note(response.extensions().get::<Shed>().is_some());
            Ok::<_, Infallible>(response.map(|body| ResponseBody::holding(body, begun)))
        }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(keep.header_timeout)
            .max_headers(2 * edge::HEADERS_MAX)
            .max_buf_size(HEAD_MAX)
            .serve_connection(TokioIo::new(stream), service)
    );
    // An error ends this connection alone, and is the client's: it hung up, or sent what is no
    // HTTP.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = keep.stopping.cancelled() => {}
    }
    // Ends an idle connection at once, and others after the answer that is due.
    connection.as_mut().graceful_shutdown();
    loop {
        if busy.is_resting() {
            // An answer's last bytes are on their way, or there is half a head. If it becomes a
            // whole one meanwhile, it is answered.
            tokio::select! {
                _ = connection.as_mut() => return,
                () = sleep(LAST_BYTES) => {}
            }
            if busy.is_resting() {
                return;
            }
        }
        tokio::select! {
            _ = connection.as_mut() => return,
            () = busy.rested.notified() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_back_too_early_waits_longer_each_time_and_who_is_served_starts_anew() {
        let busy = Busy::default();
        assert!(busy.shedding().is_none());
        let mut waits = Vec::new();
        for _ in 0..40 {
            busy.note(true);
            let last = busy.shedding().expect("a connection that was shed");
            waits.push(last.over() - last.at);
        }
        assert_eq!(waits[0], PAUSE_FIRST);
        assert_eq!(waits[1], 2 * PAUSE_FIRST);
        assert!(waits.iter().skip(5).all(|wait| *wait == PAUSE_MAX));
        busy.note(false);
        assert!(busy.shedding().is_none());
    }
}
