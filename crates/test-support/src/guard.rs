//! A process that ends with its value, or with the process that started it.

use anyhow::{Context, Result, bail};
use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Starts the program, prints its pid and waits for a line or the end of its input, which comes
/// when our process ends in any way: then the program is killed. Without the line nobody is left
/// who removes the directory.
///
/// The program is a child of the shell and is not waited for before that, so that its pid cannot
/// come to mean another process.
const GUARD: &str = r#"
log=$1 dir=$2; shift 2
"$@" </dev/null >>"$log" 2>&1 &
echo $!
read -r word
kill -9 $! 2>/dev/null
wait $! 2>/dev/null
[ "$word" = keep ] || rm -rf "$dir"
"#;

/// What is sent to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM: asks it to end.
    Term,
    /// SIGKILL.
    Kill,
    /// SIGSTOP: it stands still, its sockets stay open.
    Stop,
    /// SIGCONT: it goes on.
    Continue,
}

impl Signal {
    const fn name(self) -> &'static str {
        match self {
            Self::Term => "-TERM",
            Self::Kill => "-KILL",
            Self::Stop => "-STOP",
            Self::Continue => "-CONT",
        }
    }
}

/// A running program. It is killed when the value is dropped, and when this process ends, by
/// whatever means: a panic, an exit or a SIGKILL.
#[derive(Debug)]
pub struct Guarded {
    shell: Child,
    pid: u32,
    log: PathBuf,
}

impl Guarded {
    /// Starts it. Its output goes to the end of the file `log`; `dir` is removed if this process
    /// ends without dropping the value.
    ///
    /// # Errors
    /// There is no `sh`.
    pub fn spawn(command: &[String], dir: &Path, log: &Path) -> Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", GUARD, "guafen-guard"])
            .arg(log)
            .arg(dir)
            .args(command)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C on the terminal is for us; the shell hears of it by our end.
            .process_group(0)
            .spawn()
            .context("cannot start sh, which guards the servers of tests")?;
        let mut line = String::new();
        let out = shell.stdout.take().context("the guard has no output")?;
        BufReader::new(out).read_line(&mut line)?;
        let pid = line
            .trim()
            .parse()
            .with_context(|| format!("the guard of {command:?} did not tell a pid"))?;
        Ok(Self {
            shell,
            pid,
            log: log.to_owned(),
        })
    }

    /// Its process id.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its output goes.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// There is no such process any more.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let sent = Command::new("kill")
            .args([signal.name(), &self.pid.to_string()])
            .stderr(Stdio::null())
            .status()
            .context("cannot start kill")?;
        if !sent.success() {
            bail!("process {} has ended", self.pid);
        }
        Ok(())
    }

    /// Whether it still runs. A stopped one does.
    pub fn is_running(&self) -> bool {
        let state = Command::new("ps")
            .args(["-o", "stat=", "-p", &self.pid.to_string()])
            .output();
        // One that has ended stays as Z until the shell waits for it.
        state.is_ok_and(|state| state.stdout.first().is_some_and(|first| *first != b'Z'))
    }

    /// Waits until it has ended by itself; false if it has not within `bound`.
    pub async fn ended(&self, bound: Duration) -> bool {
        let started = Instant::now();
        while self.is_running() {
            if started.elapsed() > bound {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Kills it and waits until it is gone; its directory stays.
    pub fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(mut input) = self.shell.stdin.take() {
            // Without a shell there is no program either.
            let _ = input.write_all(b"keep\n");
            drop(input);
            let _ = self.shell.wait();
        }
    }

    /// The last lines of its output, for an error.
    pub fn last_words(&self) -> String {
        let text = fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        self.end();
    }
}
