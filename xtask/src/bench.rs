//! `cargo xtask bench`: complete signups and claims per second, everything on one machine, the
//! client included; on the embedded default, or on a whole production stack.

mod contest;
mod cpu;
mod outcome;
mod redis;

use crate::{
    api::Api,
    clock,
    play::{plan::FEE, run::Keys},
    server::{Server, Spec, Treatment, data_files, free_port},
    shell,
    stack::{self, Build, Stack, Through},
    token::Signer,
    wire::Wire,
};
use anyhow::{Context, Result};
use checker::{Books, Source};
use clap::{Args, ValueEnum};
use contest::{create, finish_tasks, wait_claimable};
use outcome::{Measured, Round, Rounds};
use serde_json::json;
use std::{
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use test_support::Yardstick;
use tokio::task::JoinSet;

/// What is measured, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// How long signups are measured, at most
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Persistent connections
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// How many viewers there are at most; all are given coins before the start
    #[arg(long, default_value_t = 60_000)]
    viewers: usize,
    /// How often all of it is measured, each time in a new contest, while those before close; least,
    /// median and most are told at the end
    #[arg(long, default_value_t = 1, conflicts_with = "without_redis",
          value_parser = clap::value_parser!(u8).range(1..=50))]
    rounds: u8,
    /// On a production stack of our own: MySQL, Redis, app-funds, APIs and reconcilers; beside the
    /// same writes by the same MySQL one transaction each, so that there is a ratio
    #[arg(long)]
    stack: bool,
    /// How many APIs and how many reconcilers the stack has; all share the cores of this machine
    #[arg(long, requires = "stack", default_value_t = stack::NODES,
          value_parser = clap::value_parser!(u8).range(1..=16))]
    nodes: u8,
    /// Signups with Redis, with Redis paused and with Redis stopped, in turns in one run, as ratios
    #[arg(long, requires = "stack")]
    without_redis: bool,
    /// The form of the result
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
}

/// The form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For scripts.
    Json,
}

/// What is measured.
struct Place {
    api: Api,
    /// Where the nodes listen; connections are dealt out among them.
    ports: Vec<u16>,
    keys: Keys,
    books: Books,
    /// On the device that what is answered is written to.
    dir: PathBuf,
    /// Of the stack's MySQL.
    yardstick: Option<Yardstick>,
    /// What stores, and its version.
    server: String,
}

/// How many signups one user's latency is taken from.
const ALONE: usize = 200;
/// How long one user alone may take for them on a slow machine.
const ALONE_MS: i64 = 10_000;
/// Time after the measured signups, before the window closes.
const SLACK_MS: i64 = 2_000;
/// The longest claim phase.
const CLAIMS_MS: i64 = 120_000;
/// How long the yardstick is measured before and after each phase, and on how many connections: MySQL
/// writes more one by one on 16 than on 64, where they wait for each other at the pool.
const YARDSTICK: Duration = Duration::from_secs(3);
const YARDSTICK_CONNECTIONS: usize = 16;
/// After the window closes, for everybody's task.
const TASKS_MS: i64 = 10_000;

/// Measures and prints; true if every invariant is green.
pub(crate) async fn bench(args: &BenchArgs) -> Result<bool> {
    if args.stack {
        on_stack(args).await
    } else {
        embedded(args).await
    }
}

async fn on_stack(args: &BenchArgs) -> Result<bool> {
    let stack = Stack::start(Build::Dist, Through::default(), args.nodes).await?;
    let bases = stack.bases();
    let place = Place {
        api: Api::of_nodes(&bases, 64),
        ports: stack
            .apis
            .iter()
            .filter_map(|api| api.addr().map(|addr| addr.port()))
            .collect(),
        keys: Keys::new(stack.signer()?)?,
        books: stack.books()?,
        dir: stack.dir.clone(),
        yardstick: if args.without_redis {
            None
        } else {
            Some(Yardstick::on(&stack.mysql).await?)
        },
        server: format!("MySQL {}", number(stack.mysql.version())),
    };
    place.api.wait_ready(crate::play::READY_MAX).await?;
    let result = if args.without_redis {
        redis::measure(args, &place, &stack.redis).await
    } else {
        measure(args, &place).await
    };
    let dir = stack.dir.display();
    let green = result.with_context(|| format!("see the logs in {dir}"))?;
    let faults: Vec<String> = stack
        .stop()
        .await
        .into_iter()
        .chain(stack.panics())
        .collect();
    faults.iter().for_each(|fault| println!("FAULT  {fault}"));
    let well = green && faults.is_empty();
    if well {
        std::fs::remove_dir_all(&stack.dir)?;
    } else {
        println!("configurations and logs are kept in {dir}");
    }
    Ok(well)
}

async fn embedded(args: &BenchArgs) -> Result<bool> {
    let binary = shell::build_api()?;
    let dir = shell::fresh_dir("bench")?;
    let spec = Spec {
        binary,
        dir: dir.clone(),
        port: free_port()?,
        failpoint: None,
    };
    let server = Server::start(spec, Treatment::Steady, 64).await?;
    let (store, ledger) = data_files(&dir);
    let place = Place {
        api: Api::new(server.api.base(), 64),
        ports: vec![server.spec.port],
        keys: Keys::new(Signer::from_data_dir(&dir)?)?,
        books: Books {
            store: Source::parse(&store.to_string_lossy())?,
            ledger: Source::parse(&ledger.to_string_lossy())?,
        },
        dir: dir.clone(),
        yardstick: None,
        server: "SQLite".to_owned(),
    };
    let result = measure(args, &place)
        .await
        .with_context(|| format!("see {}", server.log().display()));
    server.stop().await;
    let green = result?;
    if green {
        std::fs::remove_dir_all(&dir)?;
    } else {
        println!("data and log are kept in {}", dir.display());
    }
    Ok(green)
}

/// Measures every round and prints; true if every invariant is green at the end.
async fn measure(args: &BenchArgs, place: &Place) -> Result<bool> {
    let settings = settings(args, place);
    say(args, &settings);
    let mut rounds = Rounds::default();
    let mut failed = None;
    for number in 1..=args.rounds {
        if args.rounds > 1 {
            say(args, &format!("round {number} of {} ...", args.rounds));
        }
        match (Bench { args, place }).round().await {
            Ok(round) => {
                say(args, &round.to_string());
                rounds.0.push(round);
            }
            Err(error) => {
                // What was measured before it is told all the same.
                failed = Some(error);
                break;
            }
        }
    }
    let report = crate::books::check_named(&place.books, None, false).await;
    let is_green = report.as_ref().is_ok_and(checker::report::Report::is_green);
    if args.format == Format::Json {
        println!("{}", rounds.json(&settings, is_green)?);
    } else if args.rounds > 1 {
        print!("{rounds}");
    }
    match &report {
        Ok(_) if is_green => say(args, "invariants: green"),
        Ok(report) => {
            say(args, "invariants: RED");
            eprintln!("{report}");
        }
        Err(_) => say(args, "invariants: not checked"),
    }
    // The first that went wrong is the reason of what came after it.
    failed.map_or(Ok(()), Err)?;
    report.map(|_| is_green)
}

/// `9.7.4` of `/usr/sbin/mysqld  Ver 9.7.4 for Linux`.
fn number(version: &str) -> &str {
    let after = version
        .split_once("Ver ")
        .map_or(version, |(_, after)| after);
    after.split_whitespace().next().unwrap_or_default()
}

/// How it is measured, in a line.
fn settings(args: &BenchArgs, place: &Place) -> String {
    let BenchArgs {
        seconds,
        connections,
        viewers,
        ..
    } = args;
    let nodes = place.ports.len();
    let server = &place.server;
    format!(
        "{server}, {nodes} API(s), {connections} connections, {seconds} s of signups, at most {viewers} viewers"
    )
}

/// For people only.
fn say(args: &BenchArgs, line: &str) {
    if args.format == Format::Table {
        println!("{line}");
    }
}

/// Gives so many viewers the coins for one signup; their names.
async fn give_coins(place: &Place, connections: usize, viewers: usize) -> Result<Vec<String>> {
    let made_at = clock::now_ms();
    let names: Vec<String> = (0..viewers)
        .map(|number| format!("b{made_at}-{number}"))
        .collect();
    let grants = names.iter().map(|user| {
        let body = json!({ "amount": FEE, "grant_id": format!("g-{user}") }).to_string();
        Wire::request(
            "POST",
            &format!("/v1/sandbox/accounts/{user}/grant"),
            &place.keys.operator,
            &body,
        )
    });
    let grants = Arc::new(grants.collect());
    drive(&place.ports, connections, grants, None, b"").await?;
    Ok(names)
}

fn tokens(place: &Place, names: &[String]) -> Result<Vec<String>> {
    let signer = &place.keys.signer;
    names
        .iter()
        .map(|user| signer.token(user, "player"))
        .collect()
}

/// One contest from signups to claims.
struct Bench<'a> {
    args: &'a BenchArgs,
    place: &'a Place,
}

impl Bench<'_> {
    async fn round(&self) -> Result<Round> {
        let Self { args, place } = *self;
        let Place { api, keys, .. } = place;
        let viewers = args.viewers + ALONE;
        say(args, &format!("giving coins to {viewers} viewers ..."));
        let names = give_coins(place, args.connections, viewers).await?;
        let tokens = tokens(place, &names)?;
        let mut round = Round::of(args.connections);
        self.yardsticks(&mut round).await?;
        let start = clock::now_ms() + 300;
        let closes = start + ALONE_MS + i64::try_from(args.seconds)? * 1_000 + SLACK_MS;
        let ends = closes + TASKS_MS;
        let contest = create(api, keys, start, closes, ends).await?;
        clock::until(start + 50).await;
        let joined = self.signups(&contest, &tokens, &mut round).await?;
        say(args, &format!("{joined} signups; now their tasks ..."));
        anyhow::ensure!(
            clock::now_ms() < ends,
            "the time for tasks was over before they began"
        );
        finish_tasks(&place.ports, keys, &names[..joined]).await?;
        self.yardsticks(&mut round).await?;
        wait_claimable(api, keys, &contest, ends + 60_000).await?;
        self.yardsticks(&mut round).await?;
        self.claims(&contest, &tokens[..joined], &mut round).await?;
        self.yardsticks(&mut round).await?;
        Ok(round)
    }

    /// One user alone, then all connections; how many joined.
    async fn signups(&self, contest: &str, tokens: &[String], round: &mut Round) -> Result<usize> {
        let Self { args, place } = *self;
        let path = format!("/v1/contests/{contest}/signup");
        let requests: Vec<Vec<u8>> = tokens
            .iter()
            .map(|token| Wire::request("PUT", &path, token, ""))
            .collect();
        let (alone, crowd) = requests.split_at(ALONE);
        let joined = br#""in_progress""#;
        say(args, "signups, one user alone ...");
        let alone = Arc::new(alone.to_vec());
        (round.signup_alone, _) = drive(&place.ports, 1, alone, None, joined).await?;
        say(
            args,
            &format!("signups, {} connections ...", args.connections),
        );
        let bound = Some(Duration::from_secs(args.seconds));
        let before = cpu::by_program();
        let crowd = Arc::new(crowd.to_vec());
        let (signups, sent) = drive(&place.ports, args.connections, crowd, bound, joined).await?;
        round.cpu_us_per_signup = cpu::each(&before, &cpu::by_program(), sent);
        round.signups = signups;
        Ok(ALONE + sent)
    }

    /// Everybody's claim.
    async fn claims(&self, contest: &str, tokens: &[String], round: &mut Round) -> Result<()> {
        let Self { args, place } = *self;
        let path = format!("/v1/contests/{contest}/claim");
        let requests: Vec<_> = tokens
            .iter()
            .map(|token| Wire::request("PUT", &path, token, ""))
            .collect();
        say(
            args,
            &format!("claims, {} connections ...", args.connections),
        );
        let before = cpu::by_program();
        let (claims, claimed) = drive(
            &place.ports,
            args.connections,
            Arc::new(requests),
            None,
            br#""shared""#,
        )
        .await?;
        round.cpu_us_per_claim = cpu::each(&before, &cpu::by_program(), claimed);
        round.claims = claims;
        Ok(())
    }

    /// What the device, and the same MySQL without us, do at this moment.
    async fn yardsticks(&self, round: &mut Round) -> Result<()> {
        let Place { dir, yardstick, .. } = self.place;
        round.device_syncs_per_second.push(device_syncs(dir)?);
        if let Some(yardstick) = yardstick {
            let rate = yardstick.measure(YARDSTICK_CONNECTIONS, YARDSTICK).await?;
            round.one_by_one_per_second.push(u128::from(rate));
        }
        Ok(())
    }
}

/// Sends prepared requests over persistent connections, each as soon as the one before it on its
/// connection was answered, until all are sent or the time is up. Every answer must be a 200 that
/// contains `expected`. Returns the figures and how many were sent.
async fn drive(
    ports: &[u16],
    connections: usize,
    requests: Arc<Vec<Vec<u8>>>,
    bound: Option<Duration>,
    expected: &'static [u8],
) -> Result<(Measured, usize)> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut workers = JoinSet::new();
    let mut wires = Vec::with_capacity(connections);
    for port in ports.iter().cycle().take(connections.min(requests.len())) {
        wires.push(Wire::connect(*port).await?);
    }
    let started = Instant::now();
    for mut wire in wires {
        let (next, requests) = (next.clone(), requests.clone());
        workers.spawn(async move {
            let mut times = Vec::new();
            while bound.is_none_or(|bound| started.elapsed() < bound) {
                let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    break;
                };
                let sent = Instant::now();
                wire.exchange(request, expected).await?;
                times.push(sent.elapsed().as_micros());
            }
            Ok::<_, anyhow::Error>(times)
        });
    }
    let mut times = Vec::with_capacity(requests.len());
    while let Some(worker) = workers.join_next().await {
        times.extend(worker??);
    }
    let elapsed = started.elapsed();
    times.sort_unstable();
    let at = |percent: usize| {
        times
            .get(times.len().saturating_sub(1) * percent / 100)
            .copied()
            .unwrap_or(0)
    };
    let per_second = times.len() as u128 * 1_000_000 / elapsed.as_micros().max(1);
    let (p50_us, p99_us) = (at(50), at(99));
    // Workers take the requests in order, so the first so many were sent.
    let sent = times.len();
    Ok((
        Measured {
            done: sent,
            seconds_ms: elapsed.as_millis(),
            per_second,
            p50_us,
            p99_us,
        },
        sent,
    ))
}

/// The yardstick: how often a second this device brings one small write to the disk.
fn device_syncs(dir: &Path) -> Result<u128> {
    let path = dir.join("yardstick");
    let mut file = std::fs::File::create(&path)?;
    let started = Instant::now();
    let mut syncs: u128 = 0;
    while started.elapsed() < Duration::from_millis(700) {
        file.write_all(&[7; 512])?;
        file.sync_data()?;
        syncs += 1;
    }
    let rate = syncs * 1_000 / started.elapsed().as_millis().max(1);
    std::fs::remove_file(path)?;
    Ok(rate)
}
