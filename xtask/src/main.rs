//! Automation of the workspace: demo, play, bench, overload, stop, chaos, servers,
//! matrix, test, ci, tidy, walk and without-fence.

mod api;
mod bench;
mod board;
mod books;
mod chaos;
mod clock;
mod demo;
mod fuzz_api;
mod glance;
mod hex;
mod matrix;
mod overload;
mod play;
mod process;
mod progress;
mod python;
mod rng;
mod server;
mod servers;
mod shell;
mod stack;
mod steps;
mod stop;
mod tidy;
mod token;
mod walk;
mod wire;
mod without_fence;

use clap::{Parser, Subcommand};
use std::process::ExitCode;
use steps::{Outcome, Suite};

/// Automation of the workspace.
///
/// Exit codes: 0 all is well; 1 a test, an invariant or a prediction does not hold; 2 the command
/// line is wrong, or something that is needed could not be done (the message says what to do);
/// 3 some steps were NOT RUN, because what they need is not here and could not be installed.
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
    /// Offer five times the load that the server can carry, and look at what it still serves
    Overload(overload::OverloadArgs),
    /// Stop and kill the server under load, and look up every acknowledged answer
    Stop(stop::StopArgs),
    /// Watch a contest on the live board in a headless Chromium, through a crash of the server
    Board(board::BoardArgs),
    /// Play on a production stack while parts of it are killed, stopped, emptied and cut off
    Chaos(chaos::ChaosArgs),
    /// Send the API what its document allows and what it does not, with schemathesis
    FuzzApi(fuzz_api::FuzzArgs),
    /// Run everything that proves the code: tests, examples, tidy, and short plays
    Test(steps::StepArgs),
    /// Run the contract suites on every engine, and count their cases: the table of both READMEs
    Matrix(matrix::MatrixArgs),
    /// Start the servers that tests need and keep them until Ctrl-C; prints what to export
    Servers,
    /// Run what CI runs: format, lints, then everything of `test`
    Ci(steps::StepArgs),
    /// Check the rules of the house: crate edges, file headers, migrations
    Tidy(tidy::TidyArgs),
    /// Play the contest of both READMEs as it stands there
    Walk,
    /// Take the fence check of leases away in a copy, and see the test about it go red
    WithoutFence,
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::demo(&args).await.map(Outcome::from),
        Command::Play(args) => play::play(&args).await.map(Outcome::from),
        Command::Bench(args) => bench::bench(&args).await.map(Outcome::from),
        Command::Overload(args) => overload::overload(&args).await.map(Outcome::from),
        Command::Stop(args) => stop::stop(&args).await.map(Outcome::from),
        Command::Board(args) => board::board(&args).await,
        Command::Chaos(args) => chaos::chaos(&args).await.map(Outcome::from),
        Command::FuzzApi(args) => fuzz_api::fuzz(&args).await,
        Command::Test(args) => steps::suite(Suite::Test, &args).await,
        Command::Matrix(args) => matrix::matrix(&args).await,
        Command::Servers => servers::keep().await,
        Command::Ci(args) => steps::suite(Suite::Ci, &args).await,
        Command::Tidy(args) => tidy::run(&args).map(Outcome::from),
        Command::Walk => walk::walk().await,
        Command::WithoutFence => without_fence::without_fence().await,
    };
    match done {
        Ok(Outcome::Passed) => ExitCode::SUCCESS,
        Ok(Outcome::Failed) => ExitCode::from(1),
        Ok(Outcome::NotRun(_)) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}
