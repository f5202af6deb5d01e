//! `app-funds` as a process of its own.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::expect_used, reason = "these are tests")]

use adapters_funds::{GrpcFunds, Settings};
use domain::{
    money::Coins,
    order::{Account, OrderId, Platform},
    transfer::Content,
};
use ports::funds::TransferRequest;
use std::{
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};
use tokio::time::timeout;

/// A running server; killed with the value.
pub(crate) struct Server {
    child: Child,
    lines: BufReader<ChildStdout>,
    pub(crate) url: String,
}

impl Server {
    /// Started with these arguments, and listening.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_app-funds"))
            .arg("serve")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut lines = BufReader::new(child.stdout.take().expect("its lines"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("a line");
        let url = line
            .trim()
            .strip_prefix("app-funds listens on ")
            .expect("where it listens")
            .to_owned();
        Self { child, lines, url }
    }

    /// Its next line.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line.trim().to_owned()
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .expect("kill");
        assert!(sent.success());
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a process to kill");
        self.child.wait().expect("its end");
    }

    /// Waits for its end. True if it ended well.
    pub(crate) fn wait(&mut self) -> bool {
        self.child.wait().expect("its end").success()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) async fn connect(url: &str) -> GrpcFunds {
    GrpcFunds::connect(&Settings::new("funds", url))
        .await
        .expect("a client")
}

pub(crate) fn user(name: &str) -> Account {
    Account::User(name.parse().expect("a user id"))
}

pub(crate) fn ask(order: u64, to: &Account, amount: u64) -> TransferRequest {
    TransferRequest {
        order_id: OrderId(u128::from(order).to_be_bytes()),
        content: Content {
            from: Account::Platform(Platform::Issuing),
            to: to.clone(),
            amount: Coins::new(amount).expect("coins"),
        },
        not_after: None,
        memo: String::new(),
    }
}

/// Waits until it is so, for a bounded time.
pub(crate) async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(5));
        while !is_so().await {
            ticks.tick().await;
        }
    };
    timeout(Duration::from_secs(30), looking)
        .await
        .expect("within 30 s");
}
