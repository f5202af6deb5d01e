//! The barest HTTP/1.1 client: prepared bytes out, an answer in. The bench shares two cores with
//! what it measures, so the client must cost next to nothing.

use anyhow::{Context, Result, bail};
use std::time::Duration;
use tokio::net::TcpStream;

/// The longest wait for one answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// One persistent connection.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One whole answer in the buffer: its status, where its body starts, and where it ends.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) status: u16,
    pub(crate) body: usize,
    pub(crate) end: usize,
    /// It says when to come again.
    pub(crate) retry_after: bool,
    /// The connection ends with it.
    pub(crate) close: bool,
}

impl Wire {
    pub(crate) async fn connect(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .context("cannot connect to the server")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(4_096),
        })
    }

    /// A request as it goes over the wire.
    pub(crate) fn request(method: &str, path: &str, token: &str, body: &str) -> Vec<u8> {
        Self::with_headers(method, path, token, body, "")
    }

    /// A request with an Idempotency-Key.
    pub(crate) fn keyed(method: &str, path: &str, token: &str, body: &str, key: &str) -> Vec<u8> {
        let header = format!("idempotency-key: {key}\r\n");
        Self::with_headers(method, path, token, body, &header)
    }

    fn with_headers(method: &str, path: &str, token: &str, body: &str, more: &str) -> Vec<u8> {
        let kind = if body.is_empty() {
            ""
        } else {
            "content-type: application/json\r\n"
        };
        format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: Bearer {token}\r\n{kind}{more}content-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    /// Sends one request and reads its answer, which must be a success that contains `expected`.
    /// An answer that the outcome is not known yet is asked for again.
    pub(crate) async fn exchange(&mut self, request: &[u8], expected: &[u8]) -> Result<()> {
        for _ in 0..100 {
            write_all(&self.stream, request).await?;
            let frame = self.answer().await?;
            let body = &self.buffer[frame.body..frame.end];
            let found =
                expected.is_empty() || body.windows(expected.len()).any(|part| part == expected);
            let text = String::from_utf8_lossy(body).into_owned();
            self.buffer.drain(..frame.end);
            match frame.status {
                200 | 201 if found => return Ok(()),
                202 | 429 | 503 => crate::clock::pause(20).await,
                status => bail!("answered {status} {text}"),
            }
        }
        bail!("no success after 100 tries")
    }

    async fn answer(&mut self) -> Result<Frame> {
        loop {
            if let Some(frame) = parse(&self.buffer)? {
                return Ok(frame);
            }
            tokio::time::timeout(ANSWER_MAX, self.stream.readable())
                .await
                .context("no answer in time")??;
            match self.stream.try_read_buf(&mut self.buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Writes all of it.
pub(crate) async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> Result<()> {
    while !bytes.is_empty() {
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                stream.writable().await?
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The first answer in the bytes, once it is whole.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Frame>> {
    let Some(head_end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..head_end]).context("a head that is no text")?;
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("no status")?;
    let (mut length, mut retry_after, mut close) = (None, false, false);
    for (name, value) in head.lines().filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse::<usize>().ok();
        } else if name.eq_ignore_ascii_case("retry-after") {
            retry_after = true;
        } else if name.eq_ignore_ascii_case("connection") {
            close = value.trim().eq_ignore_ascii_case("close");
        }
    }
    let body = head_end + 4;
    let end = body + length.context("an answer without content-length")?;
    Ok((bytes.len() >= end).then_some(Frame {
        status,
        body,
        end,
        retry_after,
        close,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nx: y\r\n\r\nabcHTTP";
        assert_eq!(parse(&answer[..20]).expect("valid"), None);
        assert_eq!(parse(&answer[..45]).expect("valid"), None);
        assert_eq!(
            parse(answer).expect("valid"),
            Some(Frame {
                status: 200,
                body: 44,
                end: 47,
                retry_after: false,
                close: false,
            })
        );
        let shed =
            b"HTTP/1.1 503 x\r\nretry-after: 1\r\nConnection: close\r\ncontent-length: 0\r\n\r\n";
        let frame = parse(shed).expect("valid").expect("whole");
        assert!(frame.status == 503 && frame.retry_after && frame.close);
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
