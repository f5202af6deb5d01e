//! `app-api`: the HTTP API of prize-pool contests.

mod auth;
mod board;
mod embedded;
mod extract;
mod live;
mod loops;
mod problem;
mod routes;
mod state;
mod wire;

use anyhow::{Context, bail};
use auth::Role;
use clap::{Parser, Subcommand};
use std::{io::IsTerminal, net::SocketAddr, path::PathBuf, process::ExitCode};

/// Prize-pool contests for live rooms: viewers pay coins to sign up, and those who finish their
/// task split the pool.
#[derive(Parser)]
#[command(
    name = "app-api",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the API until SIGTERM or Ctrl-C, which lets what has begun end.
    ///
    /// RUST_LOG sets what is logged (default: info). `app-api token` makes tokens for its callers.
    Serve {
        /// API, ledger and settling in one process, durable in --data-dir.
        #[arg(long, requires = "data_dir")]
        embedded: bool,
        /// Where everything is kept; made if it is not there.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// The address to listen on.
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
        listen: SocketAddr,
    },
    /// Prints a signed token.
    Token {
        /// Whom it is for.
        #[arg(long, value_name = "ID")]
        user: String,
        /// What they may do.
        #[arg(long)]
        role: Role,
        /// How long it is good for: a number and s, m, h or d.
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_ttl)]
        ttl: u64,
        /// The data directory whose secret signs it, unless GUAFEN_AUTH__HS256_SECRET is set.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Lists the points at which GUAFEN_FAILPOINT=name:n crashes this test build.
    #[cfg(feature = "failpoints")]
    Failpoints,
}

/// The longest life of a token: 366 days.
const TTL_S_MAX: u64 = 366 * 86_400;

fn parse_ttl(text: &str) -> Result<u64, String> {
    let rule = || "must be a number and s, m, h or d, at most 366d".to_owned();
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(rule)?;
    let scale = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(rule()),
    };
    let seconds = number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(scale));
    seconds
        .filter(|seconds| (1..=TTL_S_MAX).contains(seconds))
        .ok_or_else(rule)
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
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match Arguments::parse().command {
        Command::Serve {
            embedded: true,
            data_dir: Some(data_dir),
            listen,
        } => embedded::serve(&data_dir, listen).await,
        Command::Serve { .. } => bail!("only `serve --embedded --data-dir DIR` is there yet"),
        Command::Token {
            user,
            role,
            ttl,
            data_dir,
        } => {
            user.parse::<domain::ids::UserId>().context("--user")?;
            let tokens = embedded::tokens(data_dir.as_deref(), embedded::NoSecret::Refuse)?;
            println!(
                "{}",
                tokens.sign(&user, role, embedded::unix_seconds() + ttl)?
            );
            Ok(())
        }
        #[cfg(feature = "failpoints")]
        Command::Failpoints => {
            for point in ports::failpoint::Failpoint::ALL {
                println!("{}", point.name());
            }
            Ok(())
        }
    }
}
