//! The load of `overload`: one thread, prepared bytes, keep-alive connections. It shares two cores
//! with what it measures, so that a request must cost it next to nothing; and it is honest about
//! queues: a request is due when the clock says so, whether or not a connection is free, and its
//! latency counts from then.

use crate::wire::{self, Frame};
use anyhow::{Context, Result};
use std::{
    cell::RefCell,
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, ReadBuf},
    net::TcpStream,
    task::LocalSet,
    time::MissedTickBehavior,
};

/// How long after the end answers that are still under way are waited for.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// How often requests that have come due are handed out.
const TICK: Duration = Duration::from_millis(1);

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Each connection as soon as it was answered.
    Closed,
    /// So many per second, whatever the server does.
    Open(u64),
}

/// What is sent: the same request for one viewer after the other.
#[derive(Clone)]
pub(crate) struct Requests {
    /// Everything before the token.
    pub(crate) head: Arc<[u8]>,
    pub(crate) tokens: Arc<[String]>,
    /// What comes after the token; empty where it is the same for everybody.
    pub(crate) tails: Arc<[Vec<u8>]>,
}

impl Requests {
    /// A signup for each of the viewers.
    pub(crate) fn signups(contest: &str, tokens: &Arc<[String]>) -> Self {
        let head = format!(
            "PUT /v1/contests/{contest}/signup HTTP/1.1\r\nhost: overload\r\ncontent-length: 0\r\nauthorization: Bearer "
        );
        Self {
            head: head.into_bytes().into(),
            tokens: tokens.clone(),
            tails: Arc::new([]),
        }
    }

    /// Requests that are whole already.
    pub(crate) fn whole(requests: Vec<Vec<u8>>) -> Self {
        Self {
            head: Arc::new([]),
            tokens: Arc::new([]),
            tails: requests.into(),
        }
    }

    fn len(&self) -> usize {
        self.tokens.len().max(self.tails.len())
    }

    fn write(&self, index: usize, buffer: &mut Vec<u8>) {
        buffer.clear();
        buffer.extend_from_slice(&self.head);
        if let Some(token) = self.tokens.get(index) {
            buffer.extend_from_slice(token.as_bytes());
            buffer.extend_from_slice(b"\r\n\r\n");
        }
        if let Some(tail) = self.tails.get(index) {
            buffer.extend_from_slice(tail);
        }
    }
}

/// A load.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) port: u16,
    pub(crate) pace: Pace,
    pub(crate) connections: usize,
    /// How long it is sent at most; it ends when all requests were sent, too.
    pub(crate) length: Duration,
    pub(crate) requests: Requests,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Requests that came due.
    pub(crate) offered: u64,
    /// Answers of 200 or 201 before the end.
    pub(crate) in_time: u64,
    /// Who was answered 200 or 201, before or after the end.
    pub(crate) acknowledged: Vec<usize>,
    /// 503 with Retry-After.
    pub(crate) shed: u64,
    /// 503 without.
    pub(crate) shed_rudely: u64,
    /// Every other answer, by status.
    pub(crate) other: BTreeMap<u16, u64>,
    /// Sent, and the connection ended or the time ran out before an answer.
    pub(crate) unanswered: u64,
    /// Due, and never sent: no connection was free.
    pub(crate) unsent: u64,
    /// Connections that the server ended between two answers, or refused.
    pub(crate) reconnects: u64,
    /// Microseconds from the intended time, of those served in time.
    pub(crate) served_us: Vec<u32>,
    /// The same of those shed.
    pub(crate) shed_us: Vec<u32>,
    /// How long it was sent.
    pub(crate) length: Duration,
}

impl Tally {
    /// Served per second.
    pub(crate) fn goodput(&self) -> u64 {
        let ms = u64::try_from(self.length.as_millis()).unwrap_or(u64::MAX);
        self.in_time * 1_000 / ms.max(1)
    }
}

/// Sends it on a thread of its own.
pub(crate) async fn send(load: Load) -> Result<Tally> {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::Builder::new()
        .name("load".to_owned())
        .spawn(move || {
            // Nobody waits for it any more when the channel is closed.
            let _ = done.send(run(load));
        })
        .context("cannot start a thread")?;
    result.await.context("the load ended badly")?
}

fn run(load: Load) -> Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, generate(load))
}

struct Job {
    index: usize,
    due: Instant,
}

struct Shared {
    load: Load,
    end: Instant,
    queue: RefCell<VecDeque<Job>>,
    idle: RefCell<Vec<Waker>>,
    next: RefCell<usize>,
    over: RefCell<bool>,
    tally: RefCell<Tally>,
}

impl Shared {
    /// The next request to send; none when there will be no more.
    async fn job(&self) -> Option<Job> {
        poll_fn(|context| {
            if let Some(job) = self.queue.borrow_mut().pop_front() {
                return Poll::Ready(Some(job));
            }
            if *self.over.borrow() {
                return Poll::Ready(None);
            }
            if self.load.pace == Pace::Closed {
                return Poll::Ready(self.take(Instant::now()));
            }
            self.idle.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await
    }

    fn take(&self, due: Instant) -> Option<Job> {
        let mut next = self.next.borrow_mut();
        if due >= self.end || *next >= self.load.requests.len() {
            return None;
        }
        let index = *next;
        *next += 1;
        self.tally.borrow_mut().offered += 1;
        Some(Job { index, due })
    }

    /// Hands out what has come due until the time is up.
    async fn pace(&self, per_second: u64, started: Instant) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let gap = Duration::from_secs(1) / u32::try_from(per_second.max(1)).unwrap_or(u32::MAX);
        let mut due = started;
        loop {
            ticks.tick().await;
            let now = Instant::now();
            while due <= now {
                let Some(job) = self.take(due) else {
                    return;
                };
                due += gap;
                self.queue.borrow_mut().push_back(job);
                // The last to have become idle: its connection is the warmest.
                if let Some(waker) = self.idle.borrow_mut().pop() {
                    waker.wake();
                }
            }
        }
    }

    fn finish(&self) {
        *self.over.borrow_mut() = true;
        let unsent = self.queue.borrow_mut().drain(..).count() as u64;
        self.tally.borrow_mut().unsent = unsent;
        self.idle.borrow_mut().drain(..).for_each(Waker::wake);
    }

    fn note(&self, job: &Job, frame: &Frame) {
        let now = Instant::now();
        let us = u32::try_from((now - job.due).as_micros()).unwrap_or(u32::MAX);
        let mut tally = self.tally.borrow_mut();
        match frame.status {
            200 | 201 => {
                tally.acknowledged.push(job.index);
                if now <= self.end {
                    tally.in_time += 1;
                    tally.served_us.push(us);
                }
            }
            503 if frame.retry_after => {
                tally.shed += 1;
                tally.shed_us.push(us);
            }
            503 => tally.shed_rudely += 1,
            status => *tally.other.entry(status).or_default() += 1,
        }
    }
}

async fn generate(load: Load) -> Result<Tally> {
    let connections = load.connections;
    let mut streams = Vec::with_capacity(connections);
    for number in 0..connections {
        streams.push(connect(load.port).await.with_context(|| {
            format!(
                "connection {} of {connections}; more open files must be allowed (ulimit -n), or fewer --connections",
                number + 1
            )
        })?);
    }
    let started = Instant::now();
    let shared = Rc::new(Shared {
        end: started + load.length,
        queue: RefCell::default(),
        idle: RefCell::default(),
        next: RefCell::default(),
        over: RefCell::default(),
        tally: RefCell::default(),
        load,
    });
    let workers: Vec<_> = streams
        .into_iter()
        .map(|stream| tokio::task::spawn_local(work(shared.clone(), stream)))
        .collect();
    if let Pace::Open(per_second) = shared.load.pace {
        shared.pace(per_second, started).await;
        shared.finish();
    }
    let all = async {
        for worker in workers {
            let _ = worker.await;
        }
    };
    let bound = shared.load.length + LAST_ANSWERS;
    let _ = tokio::time::timeout(bound.saturating_sub(started.elapsed()), all).await;
    let mut tally = shared.tally.take();
    tally.length = shared.load.length.min(started.elapsed());
    let answered = tally.acknowledged.len() as u64
        + tally.shed
        + tally.shed_rudely
        + tally.other.values().sum::<u64>();
    tally.unanswered = tally.offered.saturating_sub(answered + tally.unsent);
    Ok(tally)
}

async fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .context("cannot connect to the server")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// One connection, and the next when the server ends it.
async fn work(shared: Rc<Shared>, first: TcpStream) {
    let mut stream = Some(first);
    let mut request = Vec::with_capacity(1_024);
    let mut buffer = vec![0; 4_096];
    while let Some(job) = shared.job().await {
        let mut open = match stream.take() {
            Some(open) => open,
            None => match connect(shared.load.port).await {
                Ok(open) => open,
                Err(_) => {
                    shared.tally.borrow_mut().reconnects += 1;
                    continue;
                }
            },
        };
        shared.load.requests.write(job.index, &mut request);
        if wire::write_all(&open, &request).await.is_err() {
            shared.tally.borrow_mut().reconnects += 1;
            continue;
        }
        match answer(&mut open, &mut buffer).await {
            Some(frame) => {
                shared.note(&job, &frame);
                if !frame.close {
                    stream = Some(open);
                }
            }
            None => shared.tally.borrow_mut().reconnects += 1,
        }
    }
}

/// One whole answer; none if the connection ended first or it makes no sense.
async fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Frame> {
    let mut filled = 0;
    loop {
        if filled == buffer.len() {
            buffer.resize(filled * 2, 0);
        }
        let read = poll_fn(|context| {
            let mut space = ReadBuf::new(&mut buffer[filled..]);
            let polled = Pin::new(&mut *stream).poll_read(context, &mut space);
            polled.map_ok(|()| space.filled().len())
        })
        .await;
        match read {
            Ok(0) | Err(_) => return None,
            Ok(read) => filled += read,
        }
        match wire::parse(&buffer[..filled]) {
            Ok(Some(frame)) => return Some(frame),
            Ok(None) => {}
            Err(_) => return None,
        }
    }
}
