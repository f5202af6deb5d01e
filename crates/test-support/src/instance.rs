//! A server process of our own, on one port and one data directory for its whole life.

use crate::guard::{Guarded, Signal};
use anyhow::{Context, Result, bail};
use std::{
    future::Future,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a server may take to be ready: two cores may build something else at the same time.
const READY_MAX: Duration = Duration::from_secs(120);
/// How long a server may take to end when it is asked to.
const END_MAX: Duration = Duration::from_secs(60);

/// The process, its command line and its directory, which is removed with the value.
#[derive(Debug)]
pub(crate) struct Instance {
    // First: the process ends before its directory goes.
    process: Mutex<Option<Guarded>>,
    command: Vec<String>,
    dir: TempDir,
}

/// A new throw-away directory.
pub(crate) fn fresh_dir(kind: &str) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("guafen-{kind}-"))
        .tempdir()
        .context("cannot make a directory for the data of a test's server")
}

impl Instance {
    pub(crate) const fn new(command: Vec<String>, dir: TempDir) -> Self {
        Self {
            process: Mutex::new(None),
            command,
            dir,
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Option<Guarded>) -> T) -> T {
        act(&mut self.process.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Starts it, if it does not run, and waits until `is_ready` says so.
    pub(crate) async fn start<R>(&self, is_ready: impl Fn() -> R) -> Result<()>
    where
        R: Future<Output = Result<()>>,
    {
        self.with(|process| {
            if process.as_ref().is_none_or(|process| !process.is_running()) {
                let log = self.dir().join("server.log");
                *process = Some(Guarded::spawn(&self.command, self.dir(), &log)?);
            }
            anyhow::Ok(())
        })?;
        let started = Instant::now();
        loop {
            let Err(error) = is_ready().await else {
                return Ok(());
            };
            if !self.is_running() {
                bail!("{} ended at once:\n{}", self.name(), self.last_words());
            }
            if started.elapsed() > READY_MAX {
                return Err(error.context(format!(
                    "{} was not ready within {} s:\n{}",
                    self.name(),
                    READY_MAX.as_secs(),
                    self.last_words()
                )));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn name(&self) -> String {
        self.command.join(" ")
    }

    fn last_words(&self) -> String {
        self.with(|process| process.as_ref().map(Guarded::last_words))
            .unwrap_or_default()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.with(|process| process.as_ref().is_some_and(Guarded::is_running))
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.with(|process| process.as_ref().map(Guarded::pid))
    }

    /// kill −9; nothing if it does not run.
    pub(crate) fn kill(&self) {
        if let Some(process) = self.with(Option::take) {
            process.kill();
        }
    }

    /// Asks it to end and waits until it has; kills one that does not within a minute.
    pub(crate) async fn stop(&self) -> Result<()> {
        let Some(process) = self.with(Option::take) else {
            return Ok(());
        };
        let has_ended = process.signal(Signal::Term).is_err() || process.ended(END_MAX).await;
        process.kill();
        if !has_ended {
            bail!("{} did not end by itself", self.name());
        }
        Ok(())
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        self.with(|process| {
            let process = process.as_ref().context("the server does not run")?;
            process.signal(signal)
        })
    }
}
