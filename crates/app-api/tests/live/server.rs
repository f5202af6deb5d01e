//! A real server process and the barest client for it: whole answers, and streams of events.

use serde_json::{Value, json};
use std::{
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The longest that anything here may take.
pub(crate) const BOUND: Duration = Duration::from_secs(20);
const BINARY: &str = env!("CARGO_BIN_EXE_app-api");

/// A data directory and the process that serves it; both gone when dropped.
pub(crate) struct Server {
    dir: PathBuf,
    /// Of a node of the production stack: the embedded default keeps its own in the directory.
    secret: Option<&'static str>,
    process: Option<Child>,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts one on a port of its own.
    pub(crate) fn start(listen: &str) -> Self {
        let dir = new_dir();
        let (process, address) = serve(&embedded(&dir, listen));
        Self {
            dir,
            secret: None,
            process: Some(process),
            address,
        }
    }

    /// Starts a node of the production stack. Its configuration must have this secret and port 0.
    #[allow(dead_code, reason = "the tests of nodes use it")]
    pub(crate) fn node(config: &str, secret: &'static str) -> Self {
        let dir = new_dir();
        fs::create_dir_all(&dir).expect("a directory");
        let file = dir.join("guafen.toml");
        fs::write(&file, config).expect("a file");
        let (process, address) = serve(&["--config".into(), file.into()]);
        Self {
            dir,
            secret: Some(secret),
            process: Some(process),
            address,
        }
    }

    /// kill −9, and a new process on the same address.
    pub(crate) fn crash_and_start(&mut self) {
        self.kill();
        let (process, address) = serve(&embedded(&self.dir, &self.address.to_string()));
        (self.process, self.address) = (Some(process), address);
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// SIGTERM; answers how long the process took to end.
    pub(crate) fn terminate(&mut self) -> Duration {
        let mut process = self.process.take().expect("a process");
        let asked = Instant::now();
        let sent = Command::new("kill")
            .arg(process.id().to_string())
            .status()
            .expect("kill runs");
        assert!(sent.success());
        while process.try_wait().expect("a child").is_none() {
            assert!(asked.elapsed() < BOUND, "it does not end");
            std::thread::yield_now();
        }
        asked.elapsed()
    }

    pub(crate) fn token(&self, user: &str, role: &str) -> String {
        let mut command = Command::new(BINARY);
        command.args(["token", "--user", user, "--role", role]);
        match self.secret {
            Some(secret) => command.env("GUAFEN_AUTH__HS256_SECRET", secret),
            None => command.arg("--data-dir").arg(&self.dir),
        };
        let output = command.output().expect("app-api runs");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout)
            .expect("text")
            .trim()
            .to_owned()
    }

    pub(crate) fn call(
        &self,
        method: &str,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> Answer {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        self.send(
            method,
            path,
            if token.is_empty() { &[] } else { &headers },
            body,
        )
    }

    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Answer {
        let mut stream = Stream::open(self.address, method, path, headers, body);
        let mut text = Vec::new();
        while let Some(chunk) = stream.chunk() {
            text.extend(chunk);
        }
        Answer {
            status: stream.status,
            head: stream.head,
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    /// A stream of events.
    pub(crate) fn events(&self, path: &str, token: &str) -> Stream {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let headers = if token.is_empty() {
            &headers[..0]
        } else {
            &headers[..]
        };
        Stream::open(self.address, "GET", path, headers, None)
    }

    /// A contest whose signups are open for `signup_s` seconds from now, and tasks as long again.
    pub(crate) fn contest(&self, operator: &str, signup_s: i64) -> String {
        let at = |seconds: i64| {
            (OffsetDateTime::now_utc() + time::Duration::seconds(seconds))
                .format(&Rfc3339)
                .expect("a time")
        };
        let body = json!({
            "title": "live", "room_id": "r", "fee": 10, "task": { "kind": "open_chest", "target": 1 },
            "payout": { "rule": "equal" }, "signup_opens_at": at(0), "signup_closes_at": at(signup_s),
            "tasks_end_at": at(signup_s * 2), "claim_closes_at": at(signup_s * 3),
        });
        let answer = self.call("POST", "/v1/admin/contests", operator, Some(body));
        assert_eq!(answer.status, 201, "{}", answer.text);
        let id = answer.json()["contest_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let until = Instant::now() + BOUND;
        while self
            .call("GET", &format!("/v1/contests/{id}"), operator, None)
            .json()["phase"]
            != "open"
        {
            assert!(Instant::now() < until, "signups never open");
        }
        id
    }

    /// A viewer with coins who signs up; answers the viewer's token.
    pub(crate) fn sign_up(&self, operator: &str, contest: &str, user: &str) -> String {
        let grant = json!({ "amount": 100, "grant_id": format!("for-{user}") });
        let path = format!("/v1/sandbox/accounts/{user}/grant");
        assert_eq!(self.call("POST", &path, operator, Some(grant)).status, 200);
        let token = self.token(user, "player");
        let path = format!("/v1/contests/{contest}/signup");
        let answer = self.call("PUT", &path, &token, None);
        assert_eq!(answer.status, 200, "{}", answer.text);
        token
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn new_dir() -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let name = format!("live-{}-{number}", std::process::id());
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name)
}

fn embedded(dir: &Path, listen: &str) -> [OsString; 5] {
    let [embedded, listen_at, data_dir] = ["--embedded", "--listen", "--data-dir"].map(Into::into);
    [embedded, listen_at, listen.into(), data_dir, dir.into()]
}

fn serve(arguments: &[OsString]) -> (Child, SocketAddr) {
    let mut process = Command::new(BINARY)
        .arg("serve")
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("app-api starts");
    let mut line = String::new();
    BufReader::new(process.stdout.take().expect("piped"))
        .read_line(&mut line)
        .expect("its first line");
    let address = line
        .split_once("http://")
        .and_then(|(_, rest)| rest.split(',').next())
        .unwrap_or_else(|| panic!("no address in {line:?}"));
    let address: SocketAddr = address.parse().expect("an address");
    (process, address)
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
}

/// One event.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: i64,
    pub(crate) data: Value,
}

/// An answer whose body is read piece by piece.
pub(crate) struct Stream {
    reader: BufReader<TcpStream>,
    pub(crate) status: u16,
    /// In lower case.
    pub(crate) head: String,
    left: Option<u64>,
    text: String,
}

impl Stream {
    fn open(
        address: SocketAddr,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<Value>,
    ) -> Self {
        let target = SocketAddr::from(([127, 0, 0, 1], address.port()));
        let mut stream = TcpStream::connect_timeout(&target, BOUND).expect("connects");
        stream.set_read_timeout(Some(BOUND)).expect("a timeout");
        let mut request = format!("{method} {path} HTTP/1.1\r\nconnection: close\r\n");
        if !headers.iter().any(|(name, _)| *name == "host") {
            request.push_str("host: localhost\r\n");
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        let body = body.map_or(String::new(), |body| body.to_string());
        if !body.is_empty() {
            request.push_str("content-type: application/json\r\n");
        }
        request.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        stream.write_all(request.as_bytes()).expect("sends");
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            let read = reader.read_line(&mut head).expect("a head");
            assert!(read > 0, "no answer to {method} {path}");
        }
        let head = head.to_lowercase();
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let left = (!head.contains("transfer-encoding: chunked")).then(|| {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "));
            length.map_or(0, |length| length.parse().expect("a length"))
        });
        Self {
            reader,
            status: status.expect("a status"),
            head,
            left,
            text: String::new(),
        }
    }

    /// The next piece of the body; none at its end, however it comes.
    fn chunk(&mut self) -> Option<Vec<u8>> {
        if let Some(left) = &mut self.left {
            let mut bytes = vec![0; usize::try_from(std::mem::take(left)).expect("a size")];
            self.reader.read_exact(&mut bytes).ok()?;
            return (!bytes.is_empty()).then_some(bytes);
        }
        let mut line = String::new();
        self.reader.read_line(&mut line).ok()?;
        let size = usize::from_str_radix(line.trim(), 16).ok()?;
        let mut bytes = vec![0; size + 2];
        self.reader.read_exact(&mut bytes).ok()?;
        bytes.truncate(size);
        (size > 0).then_some(bytes)
    }

    /// The next block of the stream; none at its end.
    pub(crate) fn block(&mut self) -> Option<String> {
        while !self.text.contains("\n\n") {
            let chunk = self.chunk()?;
            self.text.push_str(&String::from_utf8_lossy(&chunk));
        }
        let (block, rest) = self.text.split_once("\n\n")?;
        let (block, rest) = (block.to_owned(), rest.to_owned());
        self.text = rest;
        Some(block)
    }

    /// The next event; none at the stream's end.
    pub(crate) fn event(&mut self) -> Option<Event> {
        loop {
            let block = self.block()?;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
            if let (Some(id), Some(data)) = (field("id: "), field("data: ")) {
                return Some(Event {
                    id: id.parse().expect("a number"),
                    data: serde_json::from_str(data).expect("JSON"),
                });
            }
        }
    }

    /// The first event that is as wanted.
    pub(crate) fn until(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Event {
        let until = Instant::now() + BOUND;
        loop {
            let event = self
                .event()
                .unwrap_or_else(|| panic!("the stream ended before {what}"));
            if wanted(&event.data) {
                return event;
            }
            assert!(Instant::now() < until, "never {what}: {event:?}");
        }
    }
}
