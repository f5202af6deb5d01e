//! Load that goes on until the server ends its connections, and how each of them ended.

use crate::wire;
use anyhow::{Context, Result};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, task::JoinSet};

/// The longest wait for an answer: longer than any stop may take.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// Requests that are sent one after the other, from the start again when all were sent.
pub(super) struct Calls {
    /// For people.
    pub(super) what: &'static str,
    /// Each with the user that sends it.
    pub(super) requests: Vec<(String, Vec<u8>)>,
    next: AtomicUsize,
}

impl Calls {
    pub(super) const fn new(what: &'static str, requests: Vec<(String, Vec<u8>)>) -> Self {
        Self {
            what,
            requests,
            next: AtomicUsize::new(0),
        }
    }
}

/// An acknowledged call.
#[derive(Clone, Debug)]
pub(super) struct Acknowledged {
    pub(super) what: &'static str,
    pub(super) user: String,
    pub(super) body: Value,
}

/// What came of the load.
#[derive(Clone, Debug, Default)]
pub(super) struct Outcome {
    pub(super) acknowledged: Vec<Acknowledged>,
    /// Calls by what they were, whose answer was cut off before its first byte, or that the
    /// outcome was not known of.
    pub(super) in_doubt: BTreeMap<&'static str, u64>,
    /// Connections that ended within an answer, and what had come of it.
    pub(super) halves: Vec<String>,
    /// Answers of 503 with Retry-After.
    pub(super) shed: u64,
    /// Any other answer.
    pub(super) odd: Vec<String>,
}

impl Outcome {
    fn add(&mut self, other: Self) {
        self.acknowledged.extend(other.acknowledged);
        for (what, count) in other.in_doubt {
            *self.in_doubt.entry(what).or_default() += count;
        }
        self.halves.extend(other.halves);
        self.shed += other.shed;
        self.odd.extend(other.odd);
    }

    pub(super) fn acknowledged_of(&self, what: &str) -> usize {
        let of = |done: &&Acknowledged| done.what == what;
        self.acknowledged.iter().filter(of).count()
    }
}

/// Keeps connections busy, each with one kind of call in turns, until all have ended.
pub(super) async fn run(port: u16, connections: usize, calls: &[Arc<Calls>]) -> Result<Outcome> {
    let mut workers = JoinSet::new();
    let busy = calls.iter().filter(|calls| !calls.requests.is_empty());
    for (_, calls) in (0..connections).zip(busy.cycle()) {
        let stream = connect(port).await?;
        workers.spawn(work(port, stream, calls.clone()));
    }
    let mut outcome = Outcome::default();
    while let Some(worker) = workers.join_next().await {
        outcome.add(worker.context("a connection's task ended badly")?);
    }
    Ok(outcome)
}

async fn connect(port: u16) -> Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port))
        .await
        .context("cannot connect to the server")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// How one exchange ended.
#[derive(Debug, PartialEq, Eq)]
enum Exchange {
    Answered {
        status: u16,
        body: Vec<u8>,
        retry_after: bool,
        close: bool,
    },
    /// Not one byte came.
    Nothing,
    /// Some came, but not all.
    Half(Vec<u8>),
}

async fn work(port: u16, mut stream: TcpStream, calls: Arc<Calls>) -> Outcome {
    let mut outcome = Outcome::default();
    loop {
        let place = calls.next.fetch_add(1, Ordering::Relaxed) % calls.requests.len();
        let (user, request) = &calls.requests[place];
        match exchange(&stream, request).await {
            Exchange::Answered {
                status,
                body,
                retry_after,
                close,
            } => {
                let text = || String::from_utf8_lossy(&body).into_owned();
                match status {
                    200 => outcome.acknowledged.push(Acknowledged {
                        what: calls.what,
                        user: user.clone(),
                        body: serde_json::from_slice(&body).unwrap_or_default(),
                    }),
                    202 => *outcome.in_doubt.entry(calls.what).or_default() += 1,
                    503 if retry_after => outcome.shed += 1,
                    _ => {
                        outcome
                            .odd
                            .push(format!("{} was answered {status} {}", calls.what, text()))
                    }
                }
                if close {
                    match connect(port).await {
                        Ok(new) => stream = new,
                        Err(_) => return outcome,
                    }
                }
            }
            Exchange::Nothing => {
                *outcome.in_doubt.entry(calls.what).or_default() += 1;
                return outcome;
            }
            Exchange::Half(bytes) => {
                *outcome.in_doubt.entry(calls.what).or_default() += 1;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                outcome.halves.push(text);
                return outcome;
            }
        }
    }
}

async fn exchange(stream: &TcpStream, request: &[u8]) -> Exchange {
    if wire::write_all(stream, request).await.is_err() {
        return Exchange::Nothing;
    }
    let mut bytes = Vec::with_capacity(2_048);
    loop {
        let readable = tokio::time::timeout(ANSWER_MAX, stream.readable()).await;
        let read = match readable {
            Ok(Ok(())) => stream.try_read_buf(&mut bytes),
            _ => Ok(0),
        };
        match read {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Ok(0) | Err(_) if bytes.is_empty() => return Exchange::Nothing,
            Ok(0) | Err(_) => return Exchange::Half(bytes),
            Ok(_) => {}
        }
        if let Ok(Some(frame)) = wire::parse(&bytes) {
            return Exchange::Answered {
                status: frame.status,
                body: bytes[frame.body..frame.end].to_vec(),
                retry_after: frame.retry_after,
                close: frame.close,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, net::TcpListener, time::Instant};

    /// What comes of a server that sends these bytes and ends the connection.
    async fn against(bytes: &'static [u8]) -> Exchange {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            stream.write_all(bytes).expect("sent");
        });
        let stream = connect(port).await.expect("connected");
        let started = Instant::now();
        let exchange = exchange(&stream, b"x").await;
        server.join().expect("served");
        assert!(started.elapsed() < ANSWER_MAX);
        exchange
    }

    #[tokio::test]
    async fn whole_half_and_no_answers_are_told_apart() {
        assert_eq!(against(b"").await, Exchange::Nothing);
        let half = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab";
        assert_eq!(against(half).await, Exchange::Half(half.to_vec()));
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nab";
        let answered = Exchange::Answered {
            status: 200,
            body: b"ab".to_vec(),
            retry_after: false,
            close: true,
        };
        assert_eq!(against(whole).await, answered);
    }
}
