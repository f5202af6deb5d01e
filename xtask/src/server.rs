//! A server process of our own: started, watched, killed and started again.

use crate::{api::Api, clock, rng::Rng};
use anyhow::{Context, Result, bail};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs::OpenOptions,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    process::{Child, Command},
    sync::{mpsc, watch},
    task::JoinHandle,
};

/// How long a server may take to be ready.
const READY_MAX: Duration = Duration::from_secs(30);

/// What is started.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// The program.
    pub(crate) binary: PathBuf,
    /// Its data directory.
    pub(crate) dir: PathBuf,
    /// Its port on loopback.
    pub(crate) port: u16,
    /// `name:n` for `GUAFEN_FAILPOINT` of the first start.
    pub(crate) failpoint: Option<String>,
}

/// What is done to it while it runs.
#[derive(Clone, Debug)]
pub(crate) enum Treatment {
    /// Nothing: an exit is a fault.
    Steady,
    /// kill −9 about every so many milliseconds, until `kills_max`.
    KillEvery {
        /// The mean time between kills.
        every_ms: u64,
        /// The most kills.
        kills_max: u32,
        /// Spreads the times.
        rng: Rng,
    },
    /// The first exit is the failpoint's; then it is started again without.
    Failpoint,
}

/// What happened to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record {
    /// Kills by the phase that the contest was last seen in.
    pub(crate) kills: BTreeMap<String, u32>,
    /// Whether the failpoint ended it.
    pub(crate) failpoint_hit: bool,
    /// Exits that nobody asked for.
    pub(crate) faults: Vec<String>,
}

impl Record {
    /// All kills.
    pub(crate) fn kill_count(&self) -> u32 {
        self.kills.values().sum()
    }
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    /// How to reach it.
    pub(crate) api: Api,
    /// What was started.
    pub(crate) spec: Spec,
    record: Arc<Mutex<Record>>,
    stop: watch::Sender<bool>,
    moments: mpsc::UnboundedSender<i64>,
    phase: watch::Sender<String>,
    keeper: JoinHandle<()>,
}

/// A port on loopback that is free now. Below the range that the system takes for outgoing
/// connections: while the server is down, a client's own socket must not take its place.
pub(crate) fn free_port() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut rng = Rng::new(crate::rng::fresh_seed() ^ u64::from(std::process::id()));
    for _ in 0..200 {
        let port = u16::try_from(rng.between(12_000, 30_000))?;
        // Given once: a server that is down for a moment still owns its port.
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port on loopback between 12000 and 30000; stop something that listens there")
}

/// Starts the process alone, with more in its environment.
pub(crate) fn spawn(spec: &Spec, environment: &[(&str, &str)]) -> Result<Child> {
    let log_path = spec.dir.join("server.log");
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)?;
    let mut command = Command::new(&spec.binary);
    command
        .args(["serve", "--embedded", "--data-dir"])
        .arg(&spec.dir)
        .args(["--listen", &format!("127.0.0.1:{}", spec.port)])
        .env_remove("GUAFEN_FAILPOINT")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    command.envs(environment.iter().copied());
    command
        .spawn()
        .with_context(|| format!("cannot start {}; build it first", spec.binary.display()))
}

impl Server {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(
        spec: Spec,
        treatment: Treatment,
        in_flight_max: usize,
    ) -> Result<Self> {
        let api = Api::new(&format!("http://127.0.0.1:{}", spec.port), in_flight_max);
        let failpoint = spec
            .failpoint
            .as_deref()
            .map(|name| ("GUAFEN_FAILPOINT", name));
        let child = spawn(&spec, failpoint.as_slice())?;
        let record = Arc::new(Mutex::new(Record::default()));
        let (stop, stopped) = watch::channel(false);
        let (moments, at) = mpsc::unbounded_channel();
        let (phase, phases) = watch::channel("start".to_owned());
        let keeper = Keeper {
            spec: spec.clone(),
            record: record.clone(),
            treatment,
            stopped,
            at,
            phases,
        };
        let keeper = tokio::spawn(keeper.run(child));
        let server = Self {
            api,
            spec,
            record,
            stop,
            moments,
            phase,
            keeper,
        };
        let log = server.log();
        server
            .api
            .wait_ready(READY_MAX)
            .await
            .with_context(|| format!("see {}", log.display()))?;
        Ok(server)
    }

    /// Its log.
    pub(crate) fn log(&self) -> PathBuf {
        self.spec.dir.join("server.log")
    }

    /// The two databases.
    pub(crate) fn files(&self) -> (PathBuf, PathBuf) {
        data_files(&self.spec.dir)
    }

    /// Moments at which it is also to be killed, if it is to be killed at all.
    pub(crate) fn kill_at(&self, moments: impl IntoIterator<Item = i64>) {
        for moment in moments {
            // Without a keeper there is nothing left to kill.
            let _ = self.moments.send(moment);
        }
    }

    /// Tells in which phase the contest was last seen.
    pub(crate) fn see_phase(&self, phase: &str) {
        self.phase.send_if_modified(|seen| {
            let new = seen != phase;
            if new {
                phase.clone_into(seen);
            }
            new
        });
    }

    /// What happened so far.
    pub(crate) fn record(&self) -> Record {
        self.record
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Asks it to end and waits until it has.
    pub(crate) async fn stop(self) -> Record {
        let _ = self.stop.send(true);
        let _ = self.keeper.await;
        self.record
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// The databases in a data directory: store and ledger.
pub(crate) fn data_files(dir: &Path) -> (PathBuf, PathBuf) {
    (dir.join("guafen.db"), dir.join("ledger.db"))
}

struct Keeper {
    spec: Spec,
    record: Arc<Mutex<Record>>,
    treatment: Treatment,
    stopped: watch::Receiver<bool>,
    at: mpsc::UnboundedReceiver<i64>,
    phases: watch::Receiver<String>,
}

enum Event {
    Stop,
    Kill,
    Exit(String),
}

impl Keeper {
    async fn run(mut self, mut child: Child) {
        let mut moments = Vec::new();
        let mut next = self.next_kill();
        loop {
            let event = self.next_event(&mut child, &mut moments, next).await;
            match event {
                Event::Stop => return end(child).await,
                Event::Kill => {
                    let _ = child.kill().await;
                    let phase = self.phases.borrow().clone();
                    self.note(|record| *record.kills.entry(phase).or_default() += 1);
                    moments.retain(|moment| *moment > clock::now_ms());
                    next = self.next_kill();
                }
                Event::Exit(status) => {
                    let expected = matches!(self.treatment, Treatment::Failpoint)
                        && !self.record_now().failpoint_hit;
                    self.note(|record| {
                        record.failpoint_hit |= expected;
                        if !expected {
                            record
                                .faults
                                .push(format!("the server ended by itself: {status}"));
                        }
                    });
                }
            }
            match spawn(&self.spec, &[]) {
                Ok(started) => child = started,
                Err(error) => {
                    self.note(|record| record.faults.push(format!("{error:#}")));
                    return;
                }
            }
        }
    }

    async fn next_event(
        &mut self,
        child: &mut Child,
        moments: &mut Vec<i64>,
        next: Option<i64>,
    ) -> Event {
        loop {
            let soonest = next.map(|next| moments.iter().copied().fold(next, i64::min));
            tokio::select! {
                _ = self.stopped.wait_for(|stop| *stop) => return Event::Stop,
                status = child.wait() => {
                    return Event::Exit(status.map_or_else(|error| error.to_string(), |status| status.to_string()));
                }
                Some(moment) = self.at.recv() => moments.push(moment),
                () = clock::until(soonest.unwrap_or(i64::MAX)), if soonest.is_some() => return Event::Kill,
            }
        }
    }

    fn next_kill(&mut self) -> Option<i64> {
        let kills = self.record_now().kill_count();
        match &mut self.treatment {
            Treatment::KillEvery {
                every_ms,
                kills_max,
                rng,
            } if kills < *kills_max => {
                let wait = rng.between(*every_ms / 2, *every_ms * 3 / 2);
                Some(clock::now_ms().saturating_add_unsigned(wait))
            }
            _ => None,
        }
    }

    fn record_now(&self) -> Record {
        self.record
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn note(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.record.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// SIGTERM, and SIGKILL for one that does not listen.
async fn end(mut child: Child) {
    if let Some(pid) = child.id() {
        let _ = Command::new("kill").arg(pid.to_string()).status().await;
    }
    if tokio::time::timeout(Duration::from_secs(10), child.wait())
        .await
        .is_err()
    {
        let _ = child.kill().await;
    }
}
