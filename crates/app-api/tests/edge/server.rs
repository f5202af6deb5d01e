//! A server process for one test, and what it takes to speak to it.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// The bound of every wait.
pub(crate) const BOUND: Duration = Duration::from_secs(20);
/// The secret of all HS256 servers here.
pub(crate) const SECRET: &str = "a-secret-of-forty-characters-for-tests-1";

/// How a server is started.
#[derive(Default)]
pub(crate) struct Setup {
    variables: Vec<(String, String)>,
    arguments: Vec<String>,
    /// A shell line before the start, such as a limit.
    before: Option<&'static str>,
}

impl Setup {
    pub(crate) fn new() -> Self {
        Self::default().set("AUTH__HS256_SECRET", SECRET)
    }

    /// Sets `GUAFEN_{key}`.
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.variables
            .push((format!("GUAFEN_{key}"), value.to_owned()));
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn argument(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    pub(crate) fn before(mut self, line: &'static str) -> Self {
        self.before = Some(line);
        self
    }

    fn command(&self, dir: &TempDir) -> Command {
        let binary = env!("CARGO_BIN_EXE_app-api");
        let mut command = match self.before {
            None => Command::new(binary),
            Some(line) => {
                let mut shell = Command::new("bash");
                shell
                    .arg("-c")
                    .arg(format!("{line}; exec \"$0\" \"$@\""))
                    .arg(binary);
                shell
            }
        };
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GUAFEN_")) {
            command.env_remove(name);
        }
        command
            .args(["serve", "--embedded", "--listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(dir.path())
            .args(&self.arguments)
            .env_remove("RUST_LOG")
            .envs(self.variables.iter().cloned());
        command
    }

    /// Starts a server in a fresh directory.
    pub(crate) fn start(self) -> Server {
        self.start_in(TempDir::new().expect("a directory"))
    }

    /// Starts a server in a directory that may have been used before.
    pub(crate) fn start_in(self, dir: TempDir) -> Server {
        let log = dir.path().join("server.log");
        let file = std::fs::File::create(&log).expect("a log");
        let mut child = self
            .command(&dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .expect("the program");
        let stdout = child.stdout.take().expect("its output");
        let mut lines = BufReader::new(stdout).lines();
        let mut line = || {
            lines.next().and_then(Result::ok).unwrap_or_else(|| {
                panic!(
                    "no start: {}",
                    std::fs::read_to_string(&log).expect("a log")
                )
            })
        };
        let after = |line: &str| {
            let rest = line.split("http://").nth(1).expect("an address");
            let end = rest.find([',', '/', ' ']).unwrap_or(rest.len());
            rest[..end].parse().expect("an address")
        };
        let address = after(&line());
        let metrics = self
            .arguments
            .contains(&"--metrics-listen".to_owned())
            .then(|| after(&line()));
        Server {
            child,
            address,
            metrics,
            log,
            dir: Some(dir),
        }
    }

    /// Starts a server that must not start, and says what it said.
    pub(crate) fn refused(self) -> String {
        let dir = TempDir::new().expect("a directory");
        self.refused_in(&dir)
    }

    pub(crate) fn refused_in(self, dir: &TempDir) -> String {
        let Output { status, stderr, .. } = self.command(dir).output().expect("the program");
        assert_eq!(status.code(), Some(1), "it must not start");
        String::from_utf8(stderr).expect("text")
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Option<SocketAddr>,
    log: PathBuf,
    dir: Option<TempDir>,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }

    /// The code of a problem of this status.
    pub(crate) fn code(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        let body = self.json();
        assert_eq!(body["status"], status);
        body["code"].as_str().expect("a code").to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        let value = value.unwrap_or_else(|| panic!("no {name}: {self:?}"));
        value.to_str().expect("text")
    }
}

pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .timeout(BOUND)
        .build()
        .expect("a client")
}

pub(crate) async fn answer(request: reqwest::RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        text: response.text().await.expect("a body"),
    }
}

impl Server {
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        let request = client().get(self.url(path));
        answer(request.header("authorization", format!("Bearer {token}"))).await
    }

    /// Gives coins; 200 only once they are durable.
    pub(crate) fn grant(&self, client: &reqwest::Client, user: &str) -> reqwest::RequestBuilder {
        client
            .post(self.url(&format!("/v1/sandbox/accounts/{user}/grant")))
            .bearer_auth(token("boss", "operator"))
            .json(&json!({ "amount": 7, "grant_id": format!("g-{user}") }))
    }

    /// A bare connection whose reads end at the bound.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(BOUND)).expect("a bound");
        stream
    }

    /// Sends bytes on a connection of their own and reads until the server closes it.
    pub(crate) fn exchange(&self, bytes: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_bytes()).expect("a write");
        rest(&mut stream)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).expect("a log")
    }

    pub(crate) fn terminate(&self) {
        let status = Command::new("kill")
            .args(["-TERM", &self.child.id().to_string()])
            .status();
        assert!(status.expect("kill").success());
    }

    /// Waits for the process to end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status;
            }
            assert!(begun.elapsed() < BOUND, "it does not end: {}", self.log());
            std::thread::yield_now();
        }
    }

    /// Its directory, once it has ended.
    pub(crate) fn into_dir(mut self) -> TempDir {
        self.ended();
        self.dir.take().expect("a directory")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Everything until the server closes the connection.
pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4_096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&bytes)),
        }
    }
    String::from_utf8(bytes).expect("text")
}

/// One head and body of an answer on a connection that stays open.
pub(crate) fn one_answer(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).expect("an answer"), 1, "closed");
        bytes.push(byte[0]);
    }
    let head = String::from_utf8(bytes).expect("text");
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).expect("a body");
    head + &String::from_utf8(body).expect("text")
}

pub(crate) fn now_s() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("a time after 1970").as_secs()
}

/// A token of an HS256 server.
pub(crate) fn token(user: &str, role: &str) -> String {
    signed(&json!({ "sub": user, "role": role, "exp": now_s() + 600 }))
}

/// A token of an HS256 server with any claims.
pub(crate) fn signed(claims: &Value) -> String {
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    jsonwebtoken::encode(&header, claims, &key).expect("a token")
}

/// Asks again until it is so, within the bound.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let begun = Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < BOUND, "{what} does not happen");
        tokio::task::yield_now().await;
    }
}
