//! A line that can be cut in either direction, stalled and slowed.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinHandle,
};

/// What happens to what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Line {
    /// It goes through.
    Pass,
    /// The connection is cut when the client sends something, which does not arrive.
    CutRequests,
    /// The connection is cut when the server answers something, which does not arrive.
    CutAnswers,
    /// Nothing arrives, and nothing is cut.
    Stall,
}

struct State {
    line: AtomicU8,
    delay_ms: AtomicU64,
}

/// A proxy on loopback; ends with the value.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

impl Proxy {
    pub(crate) async fn new(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            line: AtomicU8::new(Line::Pass as u8),
            delay_ms: AtomicU64::new(0),
        });
        let shared = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(join(client, target, Arc::clone(&shared)));
            }
        });
        Self {
            address,
            state,
            task,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn set(&self, line: Line) {
        self.state.line.store(line as u8, Ordering::SeqCst);
    }

    pub(crate) fn delay(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("a short time");
        self.state.delay_ms.store(millis, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn join(client: TcpStream, target: SocketAddr, state: Arc<State>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, &state, Line::CutRequests) => {}
        () = pump(from_server, to_client, &state, Line::CutAnswers) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, state: &State, cut: Line) {
    let mut buffer = vec![0; 65_536];
    loop {
        let Ok(count @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let line = state.line.load(Ordering::SeqCst);
        if line == cut as u8 {
            return;
        }
        if line == Line::Stall as u8 {
            std::future::pending::<()>().await;
        }
        let delay = state.delay_ms.load(Ordering::SeqCst);
        super::take(Duration::from_millis(delay)).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}
