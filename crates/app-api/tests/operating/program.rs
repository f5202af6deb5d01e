//! The program as an operator runs it: commands, a server on a directory, calls to it.

use serde_json::{Value, json};
use std::{
    io::{BufRead, BufReader, Write},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

/// The bound of every wait.
pub(crate) const BOUND: Duration = Duration::from_secs(60);
/// Signs tokens that every server here takes, whatever its directory.
const SECRET: &str = "a-secret-of-forty-characters-for-tests-2";

/// The program with arguments, apart from the environment of this process.
pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_app-api"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("GUAFEN_")) {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .env_remove("RUST_LOG")
        .env("GUAFEN_AUTH__HS256_SECRET", SECRET);
    command
}

/// What a command said, and its exit code.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) error: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            error: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

impl Said {
    /// Fails unless it ended with this code.
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Said {
    program(arguments).output().expect("the program").into()
}

/// Runs the program with something on its standard input.
pub(crate) fn run_with(arguments: &[&str], input: &[u8]) -> Said {
    let mut child = program(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program");
    let mut stdin = child.stdin.take().expect("its input");
    stdin.write_all(input).expect("written");
    drop(stdin);
    child.wait_with_output().expect("its end").into()
}

/// A path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

/// `check` on a directory: the exit code and the whole report.
pub(crate) fn check(dir: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let arguments = [
        &["check", "--format", "json", "--data-dir", text(dir)],
        more,
    ]
    .concat();
    let said = run(&arguments);
    let report = serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("no JSON: {said:?}"));
    (said.code, report)
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    client: reqwest::Client,
}

impl Server {
    /// Starts one on a directory.
    pub(crate) fn start(dir: &Path) -> Self {
        let mut child = program(&["serve", "--embedded", "--listen", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(dir)
            .env("RUST_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program");
        let stdout = child.stdout.take().expect("its output");
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.split("http://").nth(1).and_then(|rest| {
            let end = rest.find([',', '/', ' ']).unwrap_or(rest.len());
            rest.get(..end)?.parse().ok()
        });
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(BOUND);
        Self {
            child,
            address: address.unwrap_or_else(|| panic!("no address: {line:?}")),
            client: client.build().expect("a client"),
        }
    }

    /// One call; status and body, null where it is no JSON.
    pub(crate) async fn call(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let (status, text) = self.text(token, method, path, body).await;
        (status, serde_json::from_str(&text).unwrap_or_default())
    }

    /// As `call`, with the body as it is.
    pub(crate) async fn text(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> (u16, String) {
        let method = method.parse().expect("a method");
        let url = format!("http://{}/v1{path}", self.address);
        let mut request = self.client.request(method, url).bearer_auth(token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        (status, response.text().await.expect("a body"))
    }

    /// One call that must be answered with 200, 201 or 202.
    pub(crate) async fn ok(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<Value>,
    ) -> Value {
        let (status, answer) = self.call(token, method, path, body).await;
        assert!(
            (200..=202).contains(&status),
            "{method} {path}: {status} {answer}"
        );
        answer
    }

    /// Gives a viewer coins.
    pub(crate) async fn grant(&self, user: &str, amount: u64) {
        let path = format!("/sandbox/accounts/{user}/grant");
        let body = json!({ "amount": amount, "grant_id": format!("welcome-{user}") });
        self.ok(&operator(), "POST", &path, Some(body)).await;
    }

    /// Reports something that a viewer did, now.
    pub(crate) async fn event(&self, user: &str, room: &str, quantity: u64) {
        let body = json!([{ "event_id": format!("{user}-{room}"), "user_id": user, "room_id": room,
            "kind": "open_chest", "quantity": quantity, "occurred_at": at(0) }]);
        let answer = self
            .ok(
                &token("chests", "service"),
                "POST",
                "/task-events",
                Some(body),
            )
            .await;
        assert_eq!(answer["accepted"], 1, "{answer}");
    }

    /// The phase of a contest, as viewers see it.
    pub(crate) async fn phase(&self, contest: &str) -> String {
        let answer = self
            .ok(&operator(), "GET", &format!("/contests/{contest}"), None)
            .await;
        answer["phase"].as_str().expect("a phase").to_owned()
    }

    /// Waits until a contest is in one of these phases.
    pub(crate) async fn wait_for(&self, contest: &str, phases: &[&str]) {
        let begun = Instant::now();
        loop {
            let phase = self.phase(contest).await;
            if phases.contains(&phase.as_str()) {
                return;
            }
            assert!(
                begun.elapsed() < BOUND,
                "{contest} is {phase}, not {phases:?}"
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// SIGTERM; waits for the end.
    pub(crate) fn stop(mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.expect("kill").success());
        assert!(self.child.wait().expect("its end").success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A signed token.
pub(crate) fn token(user: &str, role: &str) -> String {
    let said = run(&["token", "--user", user, "--role", role]).expect(0);
    said.out.trim().to_owned()
}

/// The operator's token.
pub(crate) fn operator() -> String {
    static TOKEN: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    TOKEN.get_or_init(|| token("boss", "operator")).clone()
}

/// So many milliseconds from now, as it is sent.
pub(crate) fn at(ms: i64) -> String {
    let format = time::macros::format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z"
    );
    let time = time::OffsetDateTime::from(std::time::SystemTime::now());
    let time = time + time::Duration::milliseconds(ms);
    time.format(format).expect("a time")
}

/// A contest to create, whose windows end so many milliseconds from now.
pub(crate) fn contest(room: &str, rule: &str, [close, end, claim]: [i64; 3]) -> Value {
    json!({ "title": room, "room_id": room, "fee": 10, "task": { "kind": "open_chest", "target": 2 },
        "payout": { "rule": rule }, "signup_opens_at": at(-1_000), "signup_closes_at": at(close),
        "tasks_end_at": at(end), "claim_closes_at": at(claim) })
}
