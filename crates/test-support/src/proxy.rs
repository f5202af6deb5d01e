//! A TCP proxy that does to connections what networks do.

use anyhow::{Context, Result};
use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

/// How long swallowed answers go on before the connection is closed. A server may answer a part
/// before it has done the work, such as a window update of HTTP/2: the work is to be done when the
/// connection ends.
const SWALLOW: Duration = Duration::from_millis(100);

/// What is done to bytes from now on, on connections that are open and on new ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// They pass.
    Pass,
    /// What the client sends is dropped, and its connection is closed: the server never heard of
    /// the request.
    CutRequests,
    /// What the client sends arrives; what the server answers is dropped, and the connection is
    /// closed: the request was done and nobody was told.
    CutAnswers,
    /// Half of what the client sends next arrives, then the connection is closed.
    HalfRequests,
    /// Half of what the server answers next arrives, then the connection is closed.
    HalfAnswers,
    /// Nothing passes in either direction; connections stay open and new ones are taken. After
    /// `Pass` everything goes on where it stood.
    Stall,
    /// Each piece of an answer arrives so much later.
    Delay(Duration),
}

/// What passed and what did not, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Connections that were taken.
    pub connections: u64,
    /// Of these, open now.
    pub open: u64,
    /// Connections that the proxy closed by a mode or by `cut_now`.
    pub cuts: u64,
    /// Bytes of requests that arrived at the server.
    pub requests: u64,
    /// Bytes of answers that arrived at the client.
    pub answers: u64,
    /// Bytes of requests that were dropped.
    pub requests_dropped: u64,
    /// Bytes of answers that were dropped.
    pub answers_dropped: u64,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    open: AtomicU64,
    cuts: AtomicU64,
    requests: AtomicU64,
    answers: AtomicU64,
    requests_dropped: AtomicU64,
    answers_dropped: AtomicU64,
}

/// A proxy in front of one server. It ends, and its connections are cut, with the value.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    target: SocketAddr,
    mode: watch::Sender<Mode>,
    /// Connections of an earlier number are closed.
    cut: watch::Sender<u64>,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 and passes everything to `target`, which need not be
    /// there yet.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .context("no free port for a proxy")?;
        let addr = listener.local_addr()?;
        let (mode, modes) = watch::channel(Mode::Pass);
        let (cut, cuts) = watch::channel(0);
        let counts = Arc::new(Counts::default());
        let lines = Line {
            target,
            modes,
            cuts,
            counts: counts.clone(),
        };
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                lines.counts.connections.fetch_add(1, Relaxed);
                lines.counts.open.fetch_add(1, Relaxed);
                let mut line = lines.clone();
                line.cuts.mark_unchanged();
                tokio::spawn(line.carry(client));
            }
        });
        Ok(Self {
            addr,
            target,
            mode,
            cut,
            counts,
            accepting,
        })
    }

    /// Where clients connect.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The same URL with the target's address replaced by the proxy's.
    pub fn through(&self, url: &str) -> String {
        url.replace(&self.target.to_string(), &self.addr.to_string())
    }

    /// Sets the mode.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The mode now.
    pub fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    /// Everything passes.
    pub fn pass(&self) {
        self.set(Mode::Pass);
    }

    /// Requests are lost.
    pub fn cut_requests(&self) {
        self.set(Mode::CutRequests);
    }

    /// Answers are lost.
    pub fn cut_answers(&self) {
        self.set(Mode::CutAnswers);
    }

    /// Half a request arrives.
    pub fn half_requests(&self) {
        self.set(Mode::HalfRequests);
    }

    /// Half an answer arrives.
    pub fn half_answers(&self) {
        self.set(Mode::HalfAnswers);
    }

    /// Nothing passes.
    pub fn stall(&self) {
        self.set(Mode::Stall);
    }

    /// Answers arrive `ms` milliseconds later.
    pub fn delay(&self, ms: u64) {
        self.set(Mode::Delay(Duration::from_millis(ms)));
    }

    /// Closes every connection that is open now; the mode stays.
    pub fn cut_now(&self) {
        self.cut.send_modify(|number| *number += 1);
    }

    /// What passed so far.
    pub fn counters(&self) -> Counters {
        let counts = &self.counts;
        Counters {
            connections: counts.connections.load(Relaxed),
            open: counts.open.load(Relaxed),
            cuts: counts.cuts.load(Relaxed),
            requests: counts.requests.load(Relaxed),
            answers: counts.answers.load(Relaxed),
            requests_dropped: counts.requests_dropped.load(Relaxed),
            answers_dropped: counts.answers_dropped.load(Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // The connections' tasks end by the senders' end.
        self.accepting.abort();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Requests,
    Answers,
}

/// Why a direction ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// One side closed, or broke.
    Theirs,
    /// By a mode.
    Cut,
}

/// What one connection knows of the proxy.
#[derive(Clone, Debug)]
struct Line {
    target: SocketAddr,
    modes: watch::Receiver<Mode>,
    cuts: watch::Receiver<u64>,
    counts: Arc<Counts>,
}

impl Line {
    async fn carry(self, client: TcpStream) {
        let mut cuts = self.cuts.clone();
        let ended = tokio::select! {
            ended = self.join(client) => ended,
            // Also when the proxy is gone.
            _ = cuts.changed() => End::Cut,
        };
        if ended == End::Cut {
            self.counts.cuts.fetch_add(1, Relaxed);
        }
        self.counts.open.fetch_sub(1, Relaxed);
    }

    async fn join(&self, client: TcpStream) -> End {
        let Ok(server) = TcpStream::connect(self.target).await else {
            return End::Theirs;
        };
        // Latency is what tests set, not what Nagle adds.
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        let requests = self.pump(Direction::Requests, from_client, to_server);
        let answers = self.pump(Direction::Answers, from_server, to_client);
        let (mut requests, mut answers) = (std::pin::pin!(requests), std::pin::pin!(answers));
        tokio::select! {
            // The client has said all; it may still wait for the answer.
            end = &mut requests => if end == End::Theirs { answers.await } else { end },
            end = &mut answers => if end == End::Theirs { requests.await } else { end },
        }
    }

    async fn pump(
        &self,
        direction: Direction,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
    ) -> End {
        let mut modes = self.modes.clone();
        let mut bytes = vec![0; 64 * 1024];
        loop {
            if hold_while_stalled(&mut modes).await.is_err() {
                return End::Cut;
            }
            let read = tokio::select! {
                read = from.read(&mut bytes) => read,
                // Looked at again: a stall holds also what has not been read yet.
                changed = modes.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return End::Cut,
                },
            };
            let Some(count) = read.ok().filter(|count| *count > 0) else {
                // The other side hears of the end; errors mean that it has gone too.
                let _ = to.shutdown().await;
                return End::Theirs;
            };
            if hold_while_stalled(&mut modes).await.is_err() {
                return End::Cut;
            }
            let mode = *modes.borrow_and_update();
            let passing = match (mode, direction) {
                (Mode::CutRequests, Direction::Requests)
                | (Mode::CutAnswers, Direction::Answers) => 0,
                (Mode::HalfRequests, Direction::Requests)
                | (Mode::HalfAnswers, Direction::Answers) => count / 2,
                _ => count,
            };
            if let (Mode::Delay(by), Direction::Answers) = (mode, direction) {
                // A later mode does not bring this piece forward.
                sleep_until(Instant::now() + by).await;
            }
            if to.write_all(&bytes[..passing]).await.is_err() {
                return End::Theirs;
            }
            self.count(direction, passing, count - passing);
            if passing < count {
                if mode == Mode::CutAnswers {
                    self.swallow(&mut from, &mut bytes).await;
                }
                return End::Cut;
            }
        }
    }

    async fn swallow(&self, from: &mut (impl AsyncRead + Unpin), bytes: &mut [u8]) {
        let until = Instant::now() + SWALLOW;
        loop {
            tokio::select! {
                read = from.read(bytes) => match read {
                    Ok(count) if count > 0 => self.count(Direction::Answers, 0, count),
                    _ => return,
                },
                () = sleep_until(until) => return,
            }
        }
    }

    fn count(&self, direction: Direction, passed: usize, dropped: usize) {
        let (good, bad) = match direction {
            Direction::Requests => (&self.counts.requests, &self.counts.requests_dropped),
            Direction::Answers => (&self.counts.answers, &self.counts.answers_dropped),
        };
        good.fetch_add(passed as u64, Relaxed);
        bad.fetch_add(dropped as u64, Relaxed);
    }
}

async fn hold_while_stalled(
    modes: &mut watch::Receiver<Mode>,
) -> Result<(), watch::error::RecvError> {
    modes.wait_for(|mode| *mode != Mode::Stall).await.map(drop)
}
