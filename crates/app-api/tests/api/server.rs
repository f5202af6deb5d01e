//! The real program for a test, and a client that holds every answer to the served document.

use crate::document::Document;
use axum::{
    body::Bytes,
    http::{HeaderMap, Request, StatusCode, header},
};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::{
    future::Future,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

/// The bound of every wait.
pub(crate) const BOUND: Duration = Duration::from_secs(30);
/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(20);
/// What the tokens are signed with.
pub(crate) const SECRET: &str = "a-secret-of-forty-characters-for-tests-2";

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    _dir: TempDir,
    base: String,
    client: Client<HttpConnector, Full<Bytes>>,
    pub(crate) document: Document,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Seconds since 1970.
pub(crate) fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_secs()).expect("a time")
}

/// A time `after_s` seconds from now, as it is sent.
pub(crate) fn at(after_s: i64) -> String {
    let time = time::OffsetDateTime::now_utc() + time::Duration::seconds(after_s);
    let format = time::format_description::well_known::Rfc3339;
    time.format(&format).expect("a text")
}

/// Claims, signed as the configuration says.
pub(crate) fn signed(claims: &Value) -> String {
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &key).expect("a token")
}

/// A good token.
pub(crate) fn token(user: &str, role: &str) -> String {
    signed(&json!({ "sub": user, "role": role, "exp": now_s() + 600 }))
}

/// A request to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    method: String,
    path: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Bytes,
}

/// A request without token and body.
pub(crate) fn call(method: &str, path: &str) -> Call {
    Call {
        method: method.to_owned(),
        path: path.to_owned(),
        headers: Vec::new(),
        body: Bytes::new(),
    }
}

impl Call {
    pub(crate) fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers
            .push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// With a token of that user and role.
    pub(crate) fn by(self, user: &str, role: &str) -> Self {
        self.bearer(&token(user, role))
    }

    pub(crate) fn operator(self) -> Self {
        self.by("boss", "operator")
    }

    pub(crate) fn player(self, user: &str) -> Self {
        self.by(user, "player")
    }

    pub(crate) fn service(self) -> Self {
        self.by("counter", "service")
    }

    pub(crate) fn raw(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// With a body that says it is JSON.
    pub(crate) fn text(self, body: impl Into<String>) -> Self {
        self.header("content-type", "application/json")
            .raw(body.into())
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.text(body.to_string())
    }
}

/// An answer that the document knows.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
    pub(crate) body: Value,
    /// What was asked, for messages.
    pub(crate) request: String,
}

impl Answer {
    /// Its body, if it is of that status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}: {self:?}", self.request);
        self.body
    }

    /// Checks that it is that problem.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.body["code"], code, "{self:?}");
    }

    /// Checks that it names that fault, and only that.
    #[track_caller]
    pub(crate) fn fault(&self, pointer: &str, code: &str) {
        self.faults(&[(pointer, code)]);
    }

    /// Checks that it names exactly these faults.
    #[track_caller]
    pub(crate) fn faults(&self, wanted: &[(&str, &str)]) {
        self.problem(422, "invalid_request");
        let faults = self.body["errors"].as_array().expect("the faults");
        let found: Vec<_> = faults
            .iter()
            .map(|fault| (text(&fault["pointer"]), text(&fault["code"])))
            .collect();
        assert_eq!(found, wanted, "{self:?}");
    }
}

pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Server {
    /// Starts the program in a fresh directory.
    pub(crate) async fn start() -> Self {
        let dir = TempDir::new().expect("a directory");
        let log = std::fs::File::create(dir.path().join("server.log")).expect("a log");
        let mut child = Command::new(env!("CARGO_BIN_EXE_app-api"))
            .args(["serve", "--embedded", "--listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(dir.path())
            .env("GUAFEN_AUTH__HS256_SECRET", SECRET)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("the program");
        let stdout = child.stdout.take().expect("its output");
        let mut line = String::new();
        let read = BufReader::new(stdout).read_line(&mut line);
        let log = || std::fs::read_to_string(dir.path().join("server.log")).expect("a log");
        assert!(read.is_ok() && line.contains("http://"), "{line}{}", log());
        let rest = line.split("http://").nth(1).expect("an address");
        let end = rest.find([',', '/', ' ', '\n']).unwrap_or(rest.len());
        let base = format!("http://{}", &rest[..end]);
        let client = Client::builder(TokioExecutor::new()).build_http();
        let (_, _, bytes) = exchange(&client, &base, call("GET", "/openapi.json")).await;
        let document = Document::new(serde_json::from_slice(&bytes).expect("a document"));
        Self {
            child,
            _dir: dir,
            base,
            client,
            document,
        }
    }

    /// Sends a request and checks its answer against the document.
    pub(crate) async fn send(&self, call: Call) -> Answer {
        let (method, path) = (call.method.clone(), call.path.clone());
        let shown = String::from_utf8_lossy(&call.body);
        let shown: String = shown.chars().take(300).collect();
        let request = format!("{method} {path} {shown}");
        let (status, headers, bytes) = exchange(&self.client, &self.base, call).await;
        let path = path.split('?').next().unwrap_or_default();
        let checked = self.document.check(&method, path, status, &headers, &bytes);
        if let Err(fault) = checked {
            let body = String::from_utf8_lossy(&bytes);
            panic!("{request}: {status}: {fault}\n{headers:?}\n{body}");
        }
        Answer {
            status,
            headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
            bytes,
            request,
        }
    }

    /// Asks again until the answer is as wanted.
    pub(crate) async fn until(&self, call: Call, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let look = || async {
            let answer = self.send(call.clone()).await;
            wanted(&answer).then_some(answer)
        };
        wait(&format!("{} {}", call.method, call.path), look).await
    }
}

/// Looks again and again until there is something, with a bound.
async fn wait<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let mut ticks = tokio::time::interval(LOOK);
    let found = async {
        loop {
            ticks.tick().await;
            if let Some(found) = look().await {
                return found;
            }
        }
    };
    let found = tokio::time::timeout(BOUND, found).await;
    found.unwrap_or_else(|_| panic!("{what}: not within {BOUND:?}"))
}

async fn exchange(
    client: &Client<HttpConnector, Full<Bytes>>,
    base: &str,
    call: Call,
) -> (StatusCode, HeaderMap, Bytes) {
    let mut request = Request::builder()
        .method(call.method.as_str())
        .uri(format!("{base}{}", call.path))
        .header(header::ACCEPT, "*/*");
    for (name, value) in &call.headers {
        request = request.header(name.as_str(), value.as_slice());
    }
    let request = request.body(Full::new(call.body)).expect("a request");
    let whole = async {
        let response = client.request(request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        (parts.status, parts.headers, bytes)
    };
    let answer = tokio::time::timeout(BOUND, whole).await;
    answer.unwrap_or_else(|_| panic!("{} {}: no answer", call.method, call.path))
}
