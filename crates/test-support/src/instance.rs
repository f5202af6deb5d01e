//! A server of our own, on one port and one data directory for its whole life: a process, or a
//! container.

#[cfg(feature = "docker")]
use crate::docker::{Container, Order};
use crate::guard::{Guarded, Signal};
use anyhow::{Context, Result, bail};
use std::{
    future::Future,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// How long a server may take to be ready: two cores may build something else at the same time.
const READY_MAX: Duration = Duration::from_secs(120);
/// How long a server may take to end when it is asked to.
const END_MAX: Duration = Duration::from_secs(60);

/// The server, and where its data is. It ends with the value, and its data with it.
#[derive(Debug)]
pub(crate) struct Instance(Kind);

#[derive(Debug)]
enum Kind {
    Process {
        // First: the process ends before its directory goes.
        process: Mutex<Option<Guarded>>,
        command: Vec<String>,
        dir: TempDir,
    },
    #[cfg(feature = "docker")]
    Container(Container),
}

/// A new throw-away directory.
pub(crate) fn fresh_dir(kind: &str) -> Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("guafen-{kind}-"))
        .tempdir()
        .context("cannot make a directory for the data of a test's server")
}

fn with<T>(process: &Mutex<Option<Guarded>>, act: impl FnOnce(&mut Option<Guarded>) -> T) -> T {
    act(&mut process.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Instance {
    /// One that `start` starts by this command line.
    pub(crate) const fn of_command(command: Vec<String>, dir: TempDir) -> Self {
        Self(Kind::Process {
            process: Mutex::new(None),
            command,
            dir,
        })
    }

    /// A container, which runs already.
    #[cfg(feature = "docker")]
    pub(crate) const fn of_container(container: Container) -> Self {
        Self(Kind::Container(container))
    }

    /// Starts it, if it does not run, and waits until `is_ready` says so.
    pub(crate) async fn start<R>(&self, is_ready: impl Fn() -> R) -> Result<()>
    where
        R: Future<Output = Result<()>>,
    {
        if !self.is_running() {
            self.launch()?;
        }
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

    fn launch(&self) -> Result<()> {
        match &self.0 {
            Kind::Process {
                process,
                command,
                dir,
            } => with(process, |process| {
                let log = dir.path().join("server.log");
                // The old one, if there is one, is waited for first.
                drop(process.take());
                *process = Some(Guarded::spawn(command, dir.path(), &log)?);
                Ok(())
            }),
            #[cfg(feature = "docker")]
            Kind::Container(container) => container.order(Order::Start).map(drop),
        }
    }

    fn name(&self) -> String {
        match &self.0 {
            Kind::Process { command, .. } => command.join(" "),
            #[cfg(feature = "docker")]
            Kind::Container(_) => "the server in the container".to_owned(),
        }
    }

    fn last_words(&self) -> String {
        match &self.0 {
            Kind::Process { process, .. } => {
                with(process, |process| process.as_ref().map(Guarded::last_words))
                    .unwrap_or_default()
            }
            #[cfg(feature = "docker")]
            Kind::Container(container) => container.order(Order::LastWords).unwrap_or_default(),
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        match &self.0 {
            Kind::Process { process, .. } => with(process, |process| {
                process.as_ref().is_some_and(Guarded::is_running)
            }),
            #[cfg(feature = "docker")]
            Kind::Container(container) => container
                .order(Order::IsRunning)
                .is_ok_and(|answer| answer == "true"),
        }
    }

    /// The process; none in a container.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.0 {
            Kind::Process { process, .. } => {
                with(process, |process| process.as_ref().map(Guarded::pid))
            }
            #[cfg(feature = "docker")]
            Kind::Container(_) => None,
        }
    }

    /// kill −9; nothing if it does not run.
    pub(crate) fn kill(&self) {
        match &self.0 {
            Kind::Process { process, .. } => {
                if let Some(process) = with(process, Option::take) {
                    process.kill();
                }
            }
            #[cfg(feature = "docker")]
            Kind::Container(container) => drop(container.order(Order::Kill)),
        }
    }

    /// Asks it to end and waits until it has; kills one that does not within a minute.
    pub(crate) async fn stop(&self) -> Result<()> {
        match &self.0 {
            Kind::Process { process, .. } => {
                let Some(process) = with(process, Option::take) else {
                    return Ok(());
                };
                let has_ended =
                    process.signal(Signal::Term).is_err() || process.ended(END_MAX).await;
                process.kill();
                if !has_ended {
                    bail!("{} did not end by itself", self.name());
                }
                Ok(())
            }
            #[cfg(feature = "docker")]
            Kind::Container(container) => container.order(Order::Stop).map(drop),
        }
    }

    /// SIGSTOP or its like.
    pub(crate) fn pause(&self) -> Result<()> {
        match &self.0 {
            Kind::Process { process, .. } => signal(process, Signal::Stop),
            #[cfg(feature = "docker")]
            Kind::Container(container) => container.order(Order::Pause).map(drop),
        }
    }

    /// SIGCONT or its like.
    pub(crate) fn resume(&self) -> Result<()> {
        match &self.0 {
            Kind::Process { process, .. } => signal(process, Signal::Continue),
            #[cfg(feature = "docker")]
            Kind::Container(container) => container.order(Order::Resume).map(drop),
        }
    }
}

fn signal(process: &Mutex<Option<Guarded>>, signal: Signal) -> Result<()> {
    with(process, |process| {
        let process = process.as_ref().context("the server does not run")?;
        process.signal(signal)
    })
}
