//! As much of Redis's protocol as tests need to look after a server.

use anyhow::{Context, Result, bail};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpStream, tcp::OwnedReadHalf},
    time::timeout,
};

/// How long a command may take.
const BOUND: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A simple or bulk string.
    Text(String),
    /// An integer.
    Number(i64),
    /// No value.
    Nothing,
    /// Several.
    List(Vec<Reply>),
}

impl Reply {
    /// The text of a string.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Sends one command on a connection of its own. For what a test does to a server; not for what
/// it tests.
///
/// # Errors
/// The server cannot be reached, does not answer within 5 s, or answers with an error.
pub async fn command(addr: SocketAddr, parts: &[&str]) -> Result<Reply> {
    let access = Access {
        addr,
        credentials: Vec::new(),
        db: 0,
    };
    access.command(parts).await
}

/// How a server is reached.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    pub(crate) addr: SocketAddr,
    /// What follows AUTH; empty without a password.
    pub(crate) credentials: Vec<String>,
    pub(crate) db: u8,
}

impl Access {
    pub(crate) async fn command(&self, parts: &[&str]) -> Result<Reply> {
        timeout(BOUND, self.exchange(parts))
            .await
            .with_context(|| format!("{} does not answer {parts:?}", self.addr))?
    }

    async fn exchange(&self, parts: &[&str]) -> Result<Reply> {
        let (reader, mut writer) = TcpStream::connect(self.addr).await?.into_split();
        let mut reader = BufReader::new(reader);
        if !self.credentials.is_empty() {
            let mut auth = vec!["AUTH"];
            auth.extend(self.credentials.iter().map(String::as_str));
            writer.write_all(&encoded(&auth)).await?;
            read(&mut reader).await.context("the password is refused")?;
        }
        if self.db > 0 {
            writer
                .write_all(&encoded(&["SELECT", &self.db.to_string()]))
                .await?;
            read(&mut reader).await?;
        }
        writer.write_all(&encoded(parts)).await?;
        read(&mut reader)
            .await
            .with_context(|| format!("{} refuses {parts:?}", self.addr))
    }
}

fn encoded(parts: &[&str]) -> Vec<u8> {
    let mut text = format!("*{}\r\n", parts.len());
    for part in parts {
        text.push_str(&format!("${}\r\n{part}\r\n", part.len()));
    }
    text.into_bytes()
}

async fn read(reader: &mut BufReader<OwnedReadHalf>) -> Result<Reply> {
    let mut line = String::new();
    if reader.read_line(&mut line).await? == 0 {
        bail!("the connection was closed before the answer");
    }
    let (Some(kind), rest) = (line.chars().next(), line.get(1..).unwrap_or("").trim_end()) else {
        bail!("an empty answer");
    };
    match kind {
        '+' => Ok(Reply::Text(rest.to_owned())),
        '-' => bail!("{rest}"),
        ':' => Ok(Reply::Number(rest.parse()?)),
        '$' => {
            let Ok(length) = usize::try_from(rest.parse::<i64>()?) else {
                return Ok(Reply::Nothing);
            };
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes).await?;
            bytes.truncate(length);
            Ok(Reply::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        '*' => {
            let Ok(length) = usize::try_from(rest.parse::<i64>()?) else {
                return Ok(Reply::Nothing);
            };
            let mut items = Vec::with_capacity(length);
            for _ in 0..length {
                items.push(Box::pin(read(reader)).await?);
            }
            Ok(Reply::List(items))
        }
        _ => bail!("not an answer of Redis: {line:?}"),
    }
}
