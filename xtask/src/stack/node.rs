//! One process of a stack: started, killed and started again with the same configuration.

use anyhow::{Context, Result, bail};
use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};
use test_support::{Guarded, Signal};

/// How long a node may take to say that it is there.
const READY_MAX: Duration = Duration::from_secs(60);
/// How long a node may take to end when it is asked to.
const END_MAX: Duration = Duration::from_secs(40);

/// What is started, and where it may write.
pub(super) struct Program {
    pub(super) binary: PathBuf,
    pub(super) dir: PathBuf,
}

/// A process that may be killed and started again; it ends with the value.
pub(crate) struct Node {
    name: String,
    binary: PathBuf,
    args: Vec<String>,
    config: PathBuf,
    log: PathBuf,
    /// Removed by its guard if this process is killed.
    scratch: PathBuf,
    /// What it prints once it is there.
    greeting: &'static str,
    addr: Option<SocketAddr>,
    process: Mutex<Option<Guarded>>,
}

impl Node {
    pub(super) fn new(
        name: &str,
        program: Program,
        args: &[&str],
        config: &str,
        greeting: &'static str,
        addr: Option<SocketAddr>,
    ) -> Result<Self> {
        let Program { binary, dir } = program;
        let path = dir.join(format!("{name}.toml"));
        fs::write(&path, config).with_context(|| format!("cannot write {}", path.display()))?;
        let scratch = dir.join(name);
        fs::create_dir_all(&scratch)?;
        Ok(Self {
            name: name.to_owned(),
            binary,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            config: path,
            log: dir.join(format!("{name}.log")),
            scratch,
            greeting,
            addr,
            process: Mutex::new(None),
        })
    }

    /// Where it listens, if it does.
    pub(crate) const fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Everything that it said.
    pub(crate) fn log(&self) -> &Path {
        &self.log
    }

    fn with<T>(&self, act: impl FnOnce(&mut Option<Guarded>) -> T) -> T {
        act(&mut self.process.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The command line. Its configuration is the file's alone: variables of the caller would come
    /// before it.
    fn command(&self, args: &[String]) -> Vec<String> {
        let mut command = vec!["env".to_owned()];
        let ours = std::env::vars().map(|(name, _)| name);
        for name in ours.filter(|name| name.starts_with("GUAFEN_")) {
            command.extend(["-u".to_owned(), name]);
        }
        command.push(self.binary.to_string_lossy().into_owned());
        command.extend(args.iter().cloned());
        command.push("--config".to_owned());
        command.push(self.config.to_string_lossy().into_owned());
        command
    }

    /// Runs another of the binary's commands to its end, with the same configuration.
    pub(super) async fn run_once(&self, argument: &str) -> Result<()> {
        let command = self.command(&[argument.to_owned()]);
        let output = tokio::process::Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .with_context(|| format!("cannot start {}", command.join(" ")))?;
        if !output.status.success() {
            bail!(
                "{} ended with {}:\n{}{}",
                command.join(" "),
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(())
    }

    /// Starts it, if it does not run, and waits until it says that it is there.
    pub(crate) async fn start(&self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        let said_before = fs::metadata(&self.log).map_or(0, |log| log.len());
        let command = self.command(&self.args);
        let process = Guarded::spawn(&command, &self.scratch, &self.log)?;
        self.with(|running| *running = Some(process));
        let started = Instant::now();
        while !self.has_greeted(said_before)? {
            if !self.is_running() {
                bail!("{} ended at once:\n{}", self.name, self.last_words());
            }
            if started.elapsed() > READY_MAX {
                bail!(
                    "{} did not say {:?} within {} s:\n{}",
                    self.name,
                    self.greeting,
                    READY_MAX.as_secs(),
                    self.last_words()
                );
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    fn has_greeted(&self, said_before: u64) -> Result<bool> {
        // The guard makes the log, a moment after it was started.
        let log = match fs::read(&self.log) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            log => log?,
        };
        let new = log.get(usize::try_from(said_before)?..).unwrap_or_default();
        Ok(String::from_utf8_lossy(new).contains(self.greeting))
    }

    fn last_words(&self) -> String {
        self.with(|process| process.as_ref().map(Guarded::last_words))
            .unwrap_or_default()
    }

    /// Whether its process runs.
    pub(crate) fn is_running(&self) -> bool {
        self.with(|process| process.as_ref().is_some_and(Guarded::is_running))
    }

    /// kill −9.
    pub(crate) fn kill(&self) {
        if let Some(process) = self.with(Option::take) {
            process.kill();
        }
    }

    /// Asks it to end and waits until it has.
    pub(crate) async fn stop(&self) -> Result<()> {
        let Some(process) = self.with(Option::take) else {
            bail!("{} does not run; see {}", self.name, self.log.display());
        };
        let asked = process.signal(Signal::Term);
        let has_ended = process.ended(END_MAX).await;
        process.kill();
        asked.with_context(|| format!("{} had ended; see {}", self.name, self.log.display()))?;
        if !has_ended {
            bail!("{} did not end when it was asked to", self.name);
        }
        Ok(())
    }
}
