//! A headless Chromium, driven by the W3C WebDriver protocol through chromedriver.

use crate::{
    api::{Answer, Api},
    clock,
    server::free_port,
};
use anyhow::{Context, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use hyper::Method;
use serde_json::{Value, json};
use std::{path::Path, process::Stdio, time::Duration};
use tokio::process::{Child, Command};

/// How long the driver may take to be ready.
const READY_MAX: Duration = Duration::from_secs(20);
/// How long the page may take to become as wanted.
const WANTED_MAX: Duration = Duration::from_secs(20);

/// The programs that are needed, and the packages that hold them where apt-get is there.
const TOOLS: [(&str, &str); 3] = [
    ("chromium", "chromium"),
    ("chromedriver", "chromium-driver"),
    ("sqlite3", "sqlite3"),
];

/// What is needed and is neither here nor could be installed; none if everything is here.
pub(crate) async fn missing() -> Option<String> {
    if lacking().await.is_empty() {
        return None;
    }
    let packages: Vec<_> = lacking()
        .await
        .iter()
        .map(|(_, package)| *package)
        .collect();
    println!("installing {} with apt-get ...", packages.join(", "));
    let mut command = Command::new("apt-get");
    command.args(["install", "-y", "--no-install-recommends"]);
    let installing = command.args(&packages).stdout(Stdio::null()).status();
    // Whether it worked is seen by looking once more.
    let _ = tokio::time::timeout(Duration::from_secs(300), installing).await;
    let lacking = lacking().await;
    let names: Vec<_> = lacking.iter().map(|(tool, _)| *tool).collect();
    (!names.is_empty()).then(|| format!("install {}", names.join(", ")))
}

async fn lacking() -> Vec<(&'static str, &'static str)> {
    let mut lacking = Vec::new();
    for (tool, package) in TOOLS {
        let mut command = Command::new(tool);
        let there = command
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if !there.status().await.is_ok_and(|status| status.success()) {
            lacking.push((tool, package));
        }
    }
    lacking
}

/// One window.
pub(crate) struct Browser {
    driver: Api,
    session: String,
    _process: Child,
}

impl Browser {
    /// Opens one with a profile of its own under `dir`.
    pub(crate) async fn open(dir: &Path) -> Result<Self> {
        let port = free_port()?;
        let process = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("cannot start chromedriver")?;
        let driver = Api::new(&format!("http://127.0.0.1:{port}"), 4);
        let ready = async {
            while driver.get("/status", "").await.body.pointer("/value/ready")
                != Some(&Value::Bool(true))
            {
                clock::pause(50).await;
            }
        };
        if tokio::time::timeout(READY_MAX, ready).await.is_err() {
            bail!("chromedriver was not ready within {READY_MAX:?}");
        }
        let profile = dir.join("chromium");
        let asked = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": { "args": [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--no-first-run", "--hide-scrollbars", "--lang=en-US",
                format!("--user-data-dir={}", profile.display()),
            ] },
        } } });
        let answer = driver
            .send(Method::POST, "/session", "", Some(&asked))
            .await;
        let session = answer
            .body
            .pointer("/value/sessionId")
            .and_then(Value::as_str);
        let Some(session) = session.map(str::to_owned) else {
            bail!("Chromium did not start: {}", answer.body)
        };
        Ok(Self {
            driver,
            session,
            _process: process,
        })
    }

    /// Closes it; without, Chromium outlives its driver.
    pub(crate) async fn close(self) {
        let path = format!("/session/{}", self.session);
        let _ = self.driver.send(Method::DELETE, &path, "", None).await;
    }

    async fn command(&self, method: Method, path: &str, body: Option<Value>) -> Result<Value> {
        let path = format!("/session/{}/{path}", self.session);
        let Answer { status, body, .. } = self.driver.send(method, &path, "", body.as_ref()).await;
        if status != 200 {
            bail!("the browser answered {status} {body} to {path}");
        }
        Ok(body.get("value").cloned().unwrap_or(Value::Null))
    }

    /// Opens an address and waits until it has loaded.
    pub(crate) async fn go(&self, url: &str) -> Result<()> {
        let body = json!({ "url": url });
        self.command(Method::POST, "url", Some(body))
            .await
            .map(drop)
    }

    /// What a script returns.
    pub(crate) async fn run(&self, script: &str) -> Result<Value> {
        let body = json!({ "script": script, "args": [] });
        self.command(Method::POST, "execute/sync", Some(body)).await
    }

    /// The value of an expression.
    pub(crate) async fn get(&self, expression: &str) -> Result<Value> {
        self.run(&format!("return {expression}")).await
    }

    /// Waits until an expression is as wanted; answers its value.
    pub(crate) async fn until(
        &self,
        what: &str,
        expression: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> Result<Value> {
        let mut last = Value::Null;
        let wait = async {
            loop {
                // A page that is being loaded anew cannot answer.
                match self.get(expression).await {
                    Ok(value) if wanted(&value) => return value,
                    Ok(value) => last = value,
                    Err(error) => last = Value::String(format!("{error:#}")),
                }
                clock::pause(60).await;
            }
        };
        match tokio::time::timeout(WANTED_MAX, wait).await {
            Ok(value) => Ok(value),
            Err(_) => bail!("the page never showed {what}; last: {last}"),
        }
    }

    /// What the page's console says, since it was last asked.
    pub(crate) async fn console(&self) -> Result<Vec<String>> {
        let body = json!({ "type": "browser" });
        let entries = self.command(Method::POST, "se/log", Some(body)).await?;
        let message = |entry: &Value| {
            let field = |name| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            format!("{} {}", field("level"), field("message"))
        };
        Ok(entries
            .as_array()
            .into_iter()
            .flatten()
            .map(message)
            .collect())
    }

    /// A window of this size, for the pictures that follow.
    pub(crate) async fn size(&self, width: u32, height: u32, scale: u32) -> Result<()> {
        let parameters = json!({
            "width": width, "height": height, "deviceScaleFactor": scale, "mobile": width < 600,
        });
        self.chromium("Emulation.setDeviceMetricsOverride", parameters)
            .await
    }

    /// Light or dark, as the system would ask for.
    pub(crate) async fn scheme(&self, scheme: &str) -> Result<()> {
        let parameters =
            json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.chromium("Emulation.setEmulatedMedia", parameters)
            .await
    }

    async fn chromium(&self, command: &str, parameters: Value) -> Result<()> {
        let body = json!({ "cmd": command, "params": parameters });
        self.command(Method::POST, "goog/cdp/execute", Some(body))
            .await
            .map(drop)
    }

    /// A new tab, in which everything that follows happens; answers the one before.
    pub(crate) async fn tab(&self) -> Result<Value> {
        let before = self.command(Method::GET, "window", None).await?;
        let new = self
            .command(Method::POST, "window/new", Some(json!({ "type": "tab" })))
            .await?;
        let handle = new.get("handle").cloned().unwrap_or(Value::Null);
        self.switch(handle).await?;
        Ok(before)
    }

    /// Closes this tab and goes back to `before`.
    pub(crate) async fn close_tab(&self, before: Value) -> Result<()> {
        self.command(Method::DELETE, "window", None).await?;
        self.switch(before).await
    }

    async fn switch(&self, handle: Value) -> Result<()> {
        let body = json!({ "handle": handle });
        self.command(Method::POST, "window", Some(body))
            .await
            .map(drop)
    }

    /// A picture of what is to be seen.
    pub(crate) async fn picture(&self, path: &Path) -> Result<()> {
        let text = self.command(Method::GET, "screenshot", None).await?;
        let bytes = STANDARD.decode(text.as_str().unwrap_or_default())?;
        std::fs::write(path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}: {} kB", path.display(), bytes.len() / 1_000);
        Ok(())
    }
}
