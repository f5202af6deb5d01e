//! Automation of the workspace: demo, play, bench, test, ci and tidy.

mod api;
mod bench;
mod books;
mod clock;
mod demo;
mod fuzz_api;
mod play;
mod progress;
mod rng;
mod server;
mod shell;
mod steps;
mod tidy;
mod token;
mod wire;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use steps::Suite;

/// Automation of the workspace.
///
/// Exit codes: 0 all is well; 1 a test, an invariant or a prediction does not hold; 2 the command
/// line is wrong, or something that is needed could not be done (the message says what to do).
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    arg_required_else_help = true
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the embedded default on 127.0.0.1 and play a contest on it, to look at
    Demo(demo::DemoArgs),
    /// Play a contest with simulated viewers over HTTP, then check every coin and invariant
    Play(play::PlayArgs),
    /// Measure signups and claims per second on the embedded default
    Bench(bench::BenchArgs),
    /// Send the API what its document allows and what it does not, with schemathesis
    FuzzApi(fuzz_api::FuzzArgs),
    /// Run everything that proves the code: tests, examples, tidy, and short plays
    Test(steps::StepArgs),
    /// Run what CI runs: format, lints, then everything of `test`
    Ci(steps::StepArgs),
    /// Check the rules of the house: crate edges, file headers, migrations
    Tidy(tidy::TidyArgs),
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::demo(&args).await,
        Command::Play(args) => play::play(&args).await,
        Command::Bench(args) => bench::bench(&args).await,
        Command::FuzzApi(args) => fuzz_api::fuzz(&args).await,
        Command::Test(args) => steps::suite(Suite::Test, &args).await,
        Command::Ci(args) => steps::suite(Suite::Ci, &args).await,
        Command::Tidy(args) => tidy::run(&args),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
