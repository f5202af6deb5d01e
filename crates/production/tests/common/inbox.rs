//! A real receiver of webhooks: it keeps what arrives, checks nothing, and answers what it is told to.

use serde_json::Value;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering::SeqCst},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What arrived: the id of each message and its body.
type Arrived = Arc<Mutex<Vec<(String, Value)>>>;

pub struct Inbox {
    pub url: String,
    arrived: Arrived,
    refuses: Arc<AtomicBool>,
    serving: JoinHandle<()>,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Inbox {
    pub async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (arrived, refuses) = (Arrived::default(), Arc::new(AtomicBool::new(false)));
        let (kept, refused) = (Arc::clone(&arrived), Arc::clone(&refuses));
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, refused) = (Arc::clone(&kept), Arc::clone(&refused));
                tokio::spawn(async move { serve(stream, &kept, &refused).await });
            }
        });
        Self {
            url,
            arrived,
            refuses,
            serving,
        }
    }

    /// From now on nothing is taken, or everything is.
    pub fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, SeqCst);
    }

    /// What was taken so far.
    pub fn taken(&self) -> Vec<(String, Value)> {
        self.arrived.lock().expect("a lock").clone()
    }
}

async fn serve(mut stream: TcpStream, kept: &Arrived, refuses: &AtomicBool) {
    let mut text = String::new();
    let mut bytes = vec![0; 65_536];
    loop {
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(read) => text.push_str(std::str::from_utf8(&bytes[..read]).expect("text")),
        }
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_lowercase();
        let header = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name));
            line.expect("the header").to_owned()
        };
        let length: usize = header("content-length: ").parse().expect("a number");
        if body.len() < length {
            continue;
        }
        let answer = if refuses.load(SeqCst) {
            "503 Service Unavailable"
        } else {
            let message = serde_json::from_str(&body[..length]).expect("JSON");
            let id = header("webhook-id: ");
            kept.lock().expect("a lock").push((id, message));
            "204 No Content"
        };
        text = body[length..].to_owned();
        let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\n\r\n");
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}
