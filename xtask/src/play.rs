//! `cargo xtask play`: simulated viewers over real HTTP, then the model and the checker.

pub(crate) mod claims;
mod cut;
mod disconnects;
mod experiment;
pub(crate) mod failpoints;
pub(crate) mod model;
pub(crate) mod plan;
pub(crate) mod rules;
pub(crate) mod run;
mod script;
mod sheet;
mod viewer;

use crate::{
    api::Api,
    books,
    chaos::counts,
    progress::Progress,
    rng::{Rng, fresh_seed},
    server::{Record, Server, Spec, Treatment, data_files, free_port},
    shell,
    stack::{self, Build, Stack, Through},
    token::Signer,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use plan::{Scenario, Setup};
use rules::Remainder;
use run::{Keys, Played, Prizes, Stage};
use std::{path::PathBuf, time::Duration};

/// How long the nodes of a stack may take to be ready.
pub(crate) const READY_MAX: Duration = Duration::from_secs(60);

/// How to play.
#[derive(Args, Clone, Debug)]
pub(crate) struct PlayArgs {
    /// How many viewers
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) viewers: u32,
    /// An instance that runs already; without it a server is built and started for the run
    #[arg(long)]
    url: Option<String>,
    /// The data directory: of that instance (its secret signs the viewers' tokens), or for the
    /// server that is started (default: a fresh one under target/)
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// The instance's configured secret, instead of --data-dir
    #[arg(long, env = "GUAFEN_AUTH__HS256_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// An operator's token; without it one is signed with the secret
    #[arg(long, env = "GUAFEN_OPERATOR_TOKEN", hide_env_values = true)]
    operator_token: Option<String>,
    /// A production stack of our own, fresh and on loopback: MySQL, Redis, app-funds, two APIs that
    /// are asked in turn, two reconcilers
    #[arg(long, conflicts_with_all = ["url", "data_dir", "kill_every", "failpoints"])]
    stack: bool,
    /// The store to check afterwards: a path, sqlite:// or mysql:// (a server of our own: checked
    /// anyway)
    #[arg(long, requires = "ledger")]
    store: Option<String>,
    /// The ledger to check afterwards: likewise
    #[arg(long, requires = "store")]
    ledger: Option<String>,
    /// kill −9 the server about every S seconds and start it again, until --kills
    #[arg(long, value_name = "SECONDS", conflicts_with = "url", value_parser = clap::value_parser!(u64).range(1..))]
    kill_every: Option<u64>,
    /// How many kills are wanted; the windows are stretched to hold them
    #[arg(long, default_value_t = 20, requires = "kill_every")]
    kills: u32,
    /// Crash at every failpoint, one after the other, and recover
    #[arg(long, conflicts_with_all = ["url", "kill_every", "scenario"])]
    failpoints: bool,
    /// At which passes of each failpoint
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 5])]
    hits: Vec<u32>,
    /// What kind of contest
    #[arg(long, value_enum, default_value = "normal")]
    pub(crate) scenario: Scenario,
    /// How often each call is broken off in the scenario `disconnects`
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// What becomes of the coins that no whole part is left for
    #[arg(long, value_enum, default_value = "spread")]
    remainder: Remainder,
    /// The length of each window in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) window: u32,
    /// Plays the same viewers again; printed at the start
    #[arg(long)]
    pub(crate) seed: Option<u64>,
}

/// Plays; true if all is well.
pub(crate) async fn play(args: &PlayArgs) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(fresh_seed);
    if args.failpoints {
        return failpoints::run(&args.hits, seed).await;
    }
    println!("{:?}, {} viewers, seed {seed}", args.scenario, args.viewers);
    match &args.url {
        Some(url) => play_there(args, url, seed).await,
        None if args.stack => play_on_stack(args, seed).await,
        None => play_here(args, seed).await,
    }
}

/// The contest that the arguments ask for.
pub(crate) fn setup(args: &PlayArgs, seed: u64) -> Setup {
    let window = i64::from(args.window) * 1_000;
    // The kills beside those at the critical moments, spread over three windows, with room.
    let stretched = args.kill_every.map_or(0, |every| {
        i64::try_from(every).unwrap_or(0) * 1_000 * i64::from(args.kills) * 5 / 12
    });
    let length = window.max(stretched);
    let run = format!("v{:x}", crate::clock::now_ms());
    let scenario = args.scenario;
    Setup {
        scenario,
        viewers: args.viewers,
        times: args.times,
        remainder: args.remainder,
        seed,
        run,
        signup_ms: length,
        task_ms: length,
        claim_ms: length,
    }
}

/// Plays one contest on a stage.
pub(crate) async fn on_stage(stage: &Stage<'_>, setup: &Setup) -> Result<Played> {
    let played = match setup.scenario {
        Scenario::Claims => claims::play(stage, setup).await,
        Scenario::Disconnects => disconnects::play(stage, setup).await,
        Scenario::Experiment => experiment::play(stage, setup).await,
        _ => run::play(stage, setup).await,
    };
    stage.progress.done();
    let played = played?;
    let Prizes {
        count,
        sum,
        least,
        most,
        taken,
    } = played.prizes;
    let prizes = if count > 0 {
        format!(
            "{count} prizes of {least} to {most} coins, {sum} in all, {} weights worked out, ",
            count - taken
        )
    } else {
        String::new()
    };
    println!(
        "contest {} is {}: {} joined, {} finished, {} claimed, {prizes}{} faults",
        played.contest,
        played.phase,
        played.joined,
        played.finished,
        played.claimed,
        played.faults.len()
    );
    Ok(played)
}

async fn play_there(args: &PlayArgs, url: &str, seed: u64) -> Result<bool> {
    let signer = match (&args.secret, &args.data_dir) {
        (Some(secret), _) => Signer::from_text(secret)?,
        (None, Some(dir)) => Signer::from_data_dir(dir)?,
        (None, None) => bail!("viewers need tokens: give --data-dir of the instance, or --secret"),
    };
    let named = match (&args.store, &args.ledger) {
        (Some(store), Some(ledger)) => Some(books::named(store, ledger)?),
        _ => None,
    };
    let mut keys = Keys::new(signer)?;
    if let Some(token) = &args.operator_token {
        keys.operator.clone_from(token);
    }
    let api = Api::new(url, in_flight(args.scenario));
    api.wait_ready(Duration::from_secs(10)).await?;
    let progress = Progress::new();
    let stage = Stage {
        api: &api,
        keys: &keys,
        server: None,
        progress: &progress,
        announce: &|_| {},
    };
    let played = on_stage(&stage, &setup(args, seed)).await?;
    let report = match (&named, &args.data_dir) {
        (Some(books), _) => Some(books::check_named(books, Some(&played.contest), true).await?),
        (None, Some(dir)) => {
            let (store, ledger) = data_files(dir);
            Some(books::check(&store, &ledger, Some(&played.contest), true).await?)
        }
        (None, None) => {
            println!(
                "without --store and --ledger the invariants were not checked from the tables"
            );
            None
        }
    };
    Ok(books::print(report.as_ref(), &played.faults))
}

async fn play_on_stack(args: &PlayArgs, seed: u64) -> Result<bool> {
    let stack = Stack::start(Build::Release, Through::default(), stack::NODES).await?;
    let api = Api::of_nodes(&stack.bases(), in_flight(args.scenario));
    api.wait_ready(READY_MAX).await?;
    let keys = Keys::new(stack.signer()?)?;
    let progress = Progress::new();
    let stage = Stage {
        api: &api,
        keys: &keys,
        server: None,
        progress: &progress,
        announce: &|_| {},
    };
    let played = on_stage(&stage, &setup(args, seed)).await;
    let counted = match &played {
        Ok(played) => counts::compare(&stack, &played.contest, false).await,
        Err(_) => Ok(Vec::new()),
    };
    let faults =
        counted.unwrap_or_else(|error| vec![format!("what was counted cannot be read: {error:#}")]);
    end_on_stack(&stack, played, faults).await
}

/// Ends a stack and checks its books; true if all is well.
pub(crate) async fn end_on_stack(
    stack: &Stack,
    played: Result<Played>,
    more: Vec<String>,
) -> Result<bool> {
    let dir = stack.dir.display();
    let played = played.with_context(|| format!("see the logs in {dir}"))?;
    let mut faults = played.faults;
    faults.extend(more);
    faults.extend(stack.stop().await);
    faults.extend(stack.panics());
    let report = books::check_named(&stack.books()?, None, true).await?;
    let well = books::print(Some(&report), &faults);
    if well {
        std::fs::remove_dir_all(&stack.dir)?;
    } else {
        println!("configurations and logs are kept in {dir}");
    }
    Ok(well)
}

async fn play_here(args: &PlayArgs, seed: u64) -> Result<bool> {
    let binary = shell::build_api()?;
    let dir = match &args.data_dir {
        Some(dir) => dir.clone(),
        None => shell::fresh_dir("play")?,
    };
    std::fs::create_dir_all(&dir)?;
    let treatment = args
        .kill_every
        .map_or(Treatment::Steady, |every| Treatment::KillEvery {
            every_ms: every * 1_000,
            kills_max: args.kills * 2,
            rng: Rng::new(seed),
        });
    let spec = Spec {
        binary,
        dir: dir.clone(),
        port: free_port()?,
        failpoint: None,
    };
    let server = Server::start(spec, treatment, in_flight(args.scenario)).await?;
    println!(
        "server {} with data in {}",
        server.api.base(),
        dir.display()
    );
    let keys = Keys::new(Signer::from_data_dir(&dir)?)?;
    let progress = Progress::new();
    let stage = Stage {
        api: &server.api,
        keys: &keys,
        server: Some(&server),
        progress: &progress,
        announce: &|_| {},
    };
    let played = on_stage(&stage, &setup(args, seed)).await;
    let (store, ledger) = server.files();
    let log = server.log();
    let record = server.stop().await;
    let mut faults = played
        .with_context(|| format!("see {}", log.display()))?
        .faults;
    faults.extend(told(args, &record));
    let report = books::check(&store, &ledger, None, true).await?;
    let well = books::print(Some(&report), &faults);
    if well && args.data_dir.is_none() {
        std::fs::remove_dir_all(&dir)?;
    } else {
        println!("data and log are kept in {}", dir.display());
    }
    Ok(well)
}

/// What the server's treatment has to say.
fn told(args: &PlayArgs, record: &Record) -> Vec<String> {
    let mut faults = record.faults.clone();
    if args.kill_every.is_some() {
        println!("{} kills: {:?}", record.kill_count(), record.kills);
        if record.kill_count() < args.kills {
            faults.push(format!(
                "only {} of {} kills; give it longer windows",
                record.kill_count(),
                args.kills
            ));
        }
    }
    faults
}

/// How many requests may be under way. Most systems allow a process about 1,000 open files.
const fn in_flight(scenario: Scenario) -> usize {
    if matches!(scenario, Scenario::Claims) {
        900
    } else {
        128
    }
}
