//! A server process that the driver itself stops and looks at: signals, exit, memory, CPU time.

use crate::{
    api::Api,
    server::{Spec, spawn},
};
use anyhow::{Context, Result, bail};
use std::{
    process::ExitStatus,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

/// How long a server may take to be ready.
const READY_MAX: Duration = Duration::from_secs(30);

/// A signal that ends a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Asks.
    Term,
    /// Does not.
    Kill,
}

impl Signal {
    /// Its name.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Term => "TERM",
            Self::Kill => "KILL",
        }
    }
}

/// A running server; killed when dropped.
pub(crate) struct Process {
    /// How to reach it.
    pub(crate) api: Api,
    child: Child,
    pid: u32,
}

impl Process {
    /// Starts it, with more in its environment, and waits until it is ready.
    pub(crate) async fn start(
        spec: &Spec,
        environment: &[(&str, &str)],
        in_flight_max: usize,
    ) -> Result<Self> {
        let mut child = spawn(spec, environment)?;
        let pid = child.id().context("a server that ended at once")?;
        let api = Api::new(&format!("http://127.0.0.1:{}", spec.port), in_flight_max);
        let log = spec.dir.join("server.log");
        tokio::select! {
            ready = api.wait_ready(READY_MAX) => ready.with_context(|| format!("see {}", log.display()))?,
            status = child.wait() => bail!("the server ended with {:?}; see {}", status, log.display()),
        }
        Ok(Self { api, child, pid })
    }

    /// Its process id.
    pub(crate) const fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal.
    pub(crate) async fn signal(&self, signal: Signal) -> Result<()> {
        let sent = Command::new("kill")
            .args([&format!("-{}", signal.name()), &self.pid.to_string()])
            .status()
            .await
            .context("cannot start kill")?;
        if !sent.success() {
            bail!("the signal could not be sent: {sent}");
        }
        Ok(())
    }

    /// Waits until it has ended by itself: how, and after how long. None if it has not by then; it
    /// is killed.
    pub(crate) async fn ended(
        &mut self,
        bound: Duration,
    ) -> Result<Option<(ExitStatus, Duration)>> {
        let started = Instant::now();
        match tokio::time::timeout(bound, self.child.wait()).await {
            Ok(status) => Ok(Some((status?, started.elapsed()))),
            Err(_) => {
                self.child.kill().await?;
                Ok(None)
            }
        }
    }

    /// Asks it to end; kills one that does not listen.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.signal(Signal::Term).await?;
        self.ended(Duration::from_secs(15)).await.map(drop)
    }
}

/// The resident memory of a process in KiB; none once it has ended.
pub(crate) fn resident_kib(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    resident(&status)
}

fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// The CPU time of a process so far, in milliseconds; 0 once it has ended.
pub(crate) fn cpu_ms(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    cpu(&stat).unwrap_or(0)
}

/// User and system time stand at places 14 and 15, in hundredths of a second; the name at place 2
/// may hold anything, but ends with the last bracket.
fn cpu(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_s_figures_are_read() {
        assert_eq!(
            resident("VmPeak:\t  9 kB\nVmRSS:\t   1234 kB\nThreads: 3\n"),
            Some(1_234)
        );
        assert_eq!(resident("VmPeak: 9 kB\n"), None);
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 30 0 0 20";
        assert_eq!(cpu(stat), Some(2_800));
        assert!(resident_kib(std::process::id()).is_some_and(|kib| kib > 100));
    }
}
