//! `app-reconciler`: settles contests, compensates what was left half done, and carries out what
//! was saved to be done. Any number of them may run; they divide the work by leases, and one that
//! dies is replaced by the others within seconds.

mod config;

use anyhow::Context;
use clap::{Parser, Subcommand};
use config::Settings;
use runtime::config::LogFormat;
use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};
use tokio::sync::watch;
use usecases::{Contests, background};

/// What is asked for and given back on every request by several threads is given back cheaply.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long a stop waits for what was begun; the rest is finished by another, or after the next
/// start.
const DRAIN: Duration = Duration::from_secs(10);

/// Settles, compensates and carries out what was left to do, beside the API.
#[derive(Parser)]
#[command(
    name = "app-reconciler",
    version,
    after_help = "Exit codes: 0 stopped, 1 failed, 2 wrong arguments."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs until SIGTERM or Ctrl-C, which lets what has begun end.
    ///
    /// RUST_LOG sets what is logged (default: info). Every key of the configuration is also an
    /// environment variable, GUAFEN_SECTION__KEY.
    Run {
        /// The configuration, a TOML file; it may be the API's.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The form of log lines, instead of log.format [default: human].
        #[arg(long, value_name = "FORMAT")]
        log_format: Option<LogFormat>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // One line with every cause; a backtrace would bury it.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> anyhow::Result<()> {
    let Command::Run { config, log_format } = Arguments::parse().command;
    let settings: Settings = runtime::config::load(config.as_deref())?;
    runtime::log::install(log_format.unwrap_or(settings.log.format));
    let stack = production::open(&settings.production()).await?;
    let contests = Contests::new(stack.ports).context("the funds system cannot be used")?;
    let (stop_loops, stop) = watch::channel(false);
    let loops = background::start(&Arc::new(contests), &stop);
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
    Ok(())
}
