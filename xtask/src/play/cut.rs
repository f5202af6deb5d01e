//! One request by a client that breaks off in the middle of it.

use crate::{rng::Rng, wire};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// The longest wait for an answer that is to be cut.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The longest pause after a whole request, in microseconds: longer than most calls take.
const PAUSE_MAX_US: u64 = 4_000;
/// The most bytes of an answer that are read.
const READ_MAX: u64 = 200;

/// Where it breaks off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// After so many bytes of the request.
    InRequest(usize),
    /// Right after the whole request.
    AfterRequest,
    /// So many microseconds after the whole request.
    Later(u64),
    /// After so many bytes of the answer.
    InAnswer(usize),
}

impl Place {
    pub(super) const NAMES: [&str; 4] = [
        "in the request",
        "right after it",
        "a little later",
        "in the answer",
    ];

    /// Any of the four kinds, for a request of so many bytes.
    pub(super) fn any(rng: &mut Rng, length: usize) -> Self {
        let number = |number: u64| usize::try_from(number).unwrap_or(0);
        match rng.between(0, 4) {
            0 => Self::InRequest(number(rng.between(0, length as u64))),
            1 => Self::AfterRequest,
            2 => Self::Later(rng.between(50, PAUSE_MAX_US)),
            _ => Self::InAnswer(number(rng.between(1, READ_MAX))),
        }
    }

    /// Its place among the names.
    pub(super) const fn kind(self) -> usize {
        match self {
            Self::InRequest(_) => 0,
            Self::AfterRequest => 1,
            Self::Later(_) => 2,
            Self::InAnswer(_) => 3,
        }
    }
}

/// Sends the request to `address` and breaks off, with a reset or with an ordinary close.
pub(super) async fn cut(address: &str, request: &[u8], place: Place, reset: bool) -> Result<()> {
    let stream = TcpStream::connect(address)
        .await
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    if reset {
        stream.set_zero_linger()?;
    }
    let sent = match place {
        Place::InRequest(bytes) => &request[..bytes.min(request.len())],
        _ => request,
    };
    wire::write_all(&stream, sent).await?;
    match place {
        Place::InRequest(_) | Place::AfterRequest => {}
        Place::Later(us) => {
            // Finer than any timer.
            let until = Instant::now() + Duration::from_micros(us);
            while Instant::now() < until {
                tokio::task::yield_now().await;
            }
        }
        Place::InAnswer(bytes) => {
            // Whether it came in time or not: the connection ends now.
            let _ = tokio::time::timeout(ANSWER_MAX, read(&stream, bytes)).await;
        }
    }
    Ok(())
}

async fn read(stream: &TcpStream, bytes: usize) -> Result<()> {
    let mut answer = vec![0; bytes];
    let mut filled = 0;
    while filled < bytes {
        stream.readable().await?;
        match stream.try_read(&mut answer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, net::TcpListener};

    /// What a server gets of a request that is cut there.
    async fn got(place: Place, reset: bool) -> std::io::Result<Vec<u8>> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).map(|_| bytes)
        });
        cut(&address, b"request", place, reset).await.expect("cut");
        server.join().expect("served")
    }

    #[tokio::test]
    async fn a_request_ends_where_it_is_cut() {
        let cut = got(Place::InRequest(3), false).await.expect("closed");
        assert_eq!(cut, b"req");
        let whole = got(Place::Later(100), false).await.expect("closed");
        assert_eq!(whole, b"request");
        let error = got(Place::AfterRequest, true).await.expect_err("reset");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn every_place_is_met() {
        let mut rng = Rng::new(1);
        let mut met = [0; 4];
        for _ in 0..400 {
            met[Place::any(&mut rng, 300).kind()] += 1;
        }
        assert!(met.iter().all(|met| *met > 60), "{met:?}");
    }
}
