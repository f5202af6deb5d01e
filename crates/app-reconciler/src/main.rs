//! `app-reconciler`: settles contests, compensates what was left half done, reconciles rows with the
//! funds system's log, and carries out what was saved to be done. Any number of them may run; they
//! divide the work by leases, and one that dies is replaced by the others within seconds.

mod commands;
mod config;
mod html;
mod numbers;
mod report;

use anyhow::Context;
use clap::{Args, CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use commands::Ended;
use config::Settings;
use domain::ids::{ContestId, ExperimentName};
use numbers::Needs;
use report::Format;
use runtime::config::LogFormat;
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};
use tokio::sync::watch;
use usecases::{Contests, background};

/// What is asked for and given back on every request by several threads is given back cheaply.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a stop waits for what was begun; the rest is finished by another, or after the next
/// start.
const DRAIN: Duration = Duration::from_secs(10);

/// Settles, compensates, reconciles and carries out what was left to do, beside the API.
#[derive(Parser)]
#[command(
    name = "app-reconciler",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments, 3 differences are open or an \
                  invariant is broken."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// Where the stack is.
#[derive(Args)]
struct Stack {
    /// The configuration, a TOML file; it may be the API's.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The form of log lines, which go to standard error, instead of log.format [default: human].
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

#[derive(Subcommand)]
enum Command {
    /// Runs until SIGTERM or Ctrl-C, which lets what has begun end.
    ///
    /// RUST_LOG sets what is logged (default: info). Every key of the configuration is also an
    /// environment variable, GUAFEN_SECTION__KEY.
    Run {
        /// Where /metrics, /healthz and /readyz are served; without it they are not.
        #[arg(long, value_name = "ADDR")]
        metrics_listen: Option<SocketAddr>,
        #[command(flatten)]
        stack: Stack,
    },
    /// Takes every step of a contest that is due, and reconciles it, now and in this process. With --all
    /// contests are only reconciled.
    ///
    /// Other reconcilers may run beside it: two at once do no harm. Exit code 3: differences are
    /// open.
    Once {
        /// The contest.
        #[arg(long, value_name = "ID", required_unless_present = "all")]
        contest: Option<ContestId>,
        /// Every contest, from the newest to the oldest, instead of one.
        #[arg(long, conflicts_with = "contest")]
        all: bool,
        /// Tells differences and repairs nothing.
        #[arg(long)]
        dry_run: bool,
        /// How the run is told.
        #[arg(long, value_name = "FORMAT", default_value = "table")]
        format: commands::RunFormat,
        #[command(flatten)]
        stack: Stack,
    },
    /// Tells what came into a contest's pool and what left it, who is where, what holds and what
    /// was found.
    ///
    /// Exit code 3: an invariant is broken, findings are open, or the sums do not agree.
    Report {
        /// The contest.
        #[arg(long, value_name = "ID")]
        contest: ContestId,
        /// table and json for terminals and scripts, csv for spreadsheets, html for people.
        #[arg(long, value_name = "FORMAT", default_value = "table")]
        format: Format,
        #[command(flatten)]
        stack: Stack,
    },
    /// Builds tally and ranking of a contest anew from its rows.
    RebuildTally {
        /// The contest.
        #[arg(long, value_name = "ID")]
        contest: ContestId,
        #[command(flatten)]
        stack: Stack,
    },
    /// Experiments.
    #[command(subcommand)]
    Experiment(Experiment),
    /// Who does which work.
    #[command(subcommand)]
    Lease(Lease),
    /// Prints completions for a shell.
    #[command(after_help = "For bash: source <(app-reconciler completions bash)")]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Subcommand)]
enum Experiment {
    /// Shows the results of an experiment, as of now. Exit code 3: something is to be looked at, an uneven
    /// assignment, a broken guardrail or an arm that was stopped.
    Report {
        /// The experiment.
        name: ExperimentName,
        /// How it is shown.
        #[arg(long, value_enum, default_value = "table")]
        format: commands::ResultsFormat,
        #[command(flatten)]
        stack: Stack,
    },
}

#[derive(Subcommand)]
enum Lease {
    /// Lists the leases that are held, with their holders, fences and ends.
    List {
        #[command(flatten)]
        stack: Stack,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse().command).await {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::WithDifferences) => ExitCode::from(3),
        Err(error) => {
            // One line with every cause; a backtrace would bury it.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> anyhow::Result<Ended> {
    match command {
        Command::Run {
            metrics_listen,
            stack,
        } => serve(&stack, metrics_listen).await,
        Command::Once {
            contest,
            all: _,
            dry_run,
            format,
            stack,
        } => commands::once(&open(&stack).await?, contest, dry_run, format).await,
        Command::Report {
            contest,
            format,
            stack,
        } => commands::report(&open(&stack).await?, contest, format).await,
        Command::RebuildTally { contest, stack } => {
            commands::rebuild_tally(&open(&stack).await?, contest).await
        }
        Command::Experiment(Experiment::Report {
            name,
            format,
            stack,
        }) => commands::experiment(&open(&stack).await?, &name, format).await,
        Command::Lease(Lease::List { stack }) => commands::leases(&open(&stack).await?).await,
        Command::Completions { shell } => {
            let mut command = Arguments::command();
            clap_complete::generate(
                shell,
                &mut command,
                "app-reconciler",
                &mut std::io::stdout(),
            );
            Ok(Ended::Well)
        }
    }
}

async fn open(stack: &Stack) -> anyhow::Result<Contests> {
    Ok(open_all(stack).await?.0)
}

async fn open_all(stack: &Stack) -> anyhow::Result<(Contests, Needs)> {
    let settings: Settings = runtime::config::load(stack.config.as_deref())?;
    runtime::log::install(stack.log_format.unwrap_or(settings.log.format));
    let settings = settings.production();
    let opened = production::open(&settings).await?;
    let contests = Contests::new(opened.ports).context("the funds system cannot be used")?;
    let needs = Needs {
        store: opened.store,
        funds: opened.funds,
    };
    let contests = contests.reconciled(settings.reconcile.reconciling());
    // What was stopped must not begin again because a process was started.
    contests
        .read_switches()
        .await
        .context("the switches cannot be read")?;
    Ok((contests, needs))
}

async fn serve(stack: &Stack, metrics_listen: Option<SocketAddr>) -> anyhow::Result<Ended> {
    if metrics_listen.is_some() {
        runtime::telemetry::install()?;
    }
    let (contests, needs) = open_all(stack).await?;
    let contests = Arc::new(contests);
    let (stop_loops, stop) = watch::channel(false);
    if let Some(address) = metrics_listen {
        let address = numbers::listen(address, needs, Arc::clone(&contests), stop.clone())
            .await
            .with_context(|| format!("--metrics-listen {address}"))?;
        println!("metrics on http://{address}/metrics");
    }
    let mut loops = background::start(&contests, &stop);
    loops.push(background::keep_switches(&contests, &stop));
    tracing::info!("running");
    println!("app-reconciler runs");
    runtime::stop::signal().await?;
    tracing::info!("stopping");
    stop_loops.send_replace(true);
    let all = async {
        for task in loops {
            let _ = task.await;
        }
    };
    if tokio::time::timeout(DRAIN, all).await.is_err() {
        tracing::warn!("some work did not end in time; it is finished by another");
    }
    Ok(Ended::Well)
}
