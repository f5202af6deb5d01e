//! `app-api`: the HTTP API of prize-pool contests.

mod auth;
mod board;
mod commands;
mod config;
mod data_dir;
mod edge;
mod embedded;
mod extract;
mod kept;
mod leaders;
mod live;
mod meter;
mod node;
mod openapi;
mod problem;
mod production_node;
mod ready;
mod routes;
mod server;
mod state;
mod wire;

use anyhow::{Context, bail};
use auth::{Role, Tokens};
use clap::{CommandFactory, Parser, Subcommand};
use config::{LogFormat, Settings};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What is asked for and given back on every request by several threads is given back cheaply.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Prize-pool contests for live rooms: viewers pay coins to sign up, and those who finish their
/// task split the pool.
#[derive(Parser)]
#[command(
    name = "app-api",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments; check and verify-*: 0 right, 1 wrong, 2 not readable."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the API until SIGTERM or Ctrl-C, which lets what has begun end.
    ///
    /// With --embedded, everything in one process. Without it, a node of the production stack: any
    /// number of them share MySQL, Redis and the funds system of the configuration, and
    /// `app-reconciler` settles their contests.
    ///
    /// RUST_LOG sets what is logged (default: info). `app-api token` makes tokens for its callers.
    /// Every key of the configuration is also an environment variable, GUAFEN_SECTION__KEY.
    #[command(after_help = "Exit codes: 0 stopped, 1 could not start, 2 wrong arguments.")]
    Serve {
        /// API, ledger and settling in one process, durable in --data-dir.
        #[arg(long, requires = "data_dir")]
        embedded: bool,
        /// Where everything is kept; made if it is not there.
        #[arg(long, value_name = "DIR")]
        data_dir: Option<PathBuf>,
        /// The address to listen on, instead of server.listen [default: 127.0.0.1:8080].
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        /// The configuration, a TOML file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// An address of their own for metrics and health, instead of server.metrics_listen.
        #[arg(long, value_name = "ADDR")]
        metrics_listen: Option<SocketAddr>,
        /// The form of log lines, instead of log.format [default: human].
        #[arg(long, value_name = "FORMAT")]
        log_format: Option<LogFormat>,
    },
    /// Brings the schema of the production store up to date.
    ///
    /// Safe while nodes of the version before are running; may be run by several at once.
    #[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments.")]
    Migrate {
        /// The configuration, a TOML file; only store.url is looked at.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Prints a signed token.
    #[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments.")]
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
        /// The server's configuration, for its secret, issuer and audience.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    #[command(flatten)]
    Operate(commands::Command),
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
        Ok(code) => code,
        Err(error) => {
            // One line with every cause; a backtrace would bury it.
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The configuration of a server, with what the command line says instead.
fn configured(
    file: Option<&Path>,
    listen: Option<SocketAddr>,
    metrics_listen: Option<SocketAddr>,
) -> anyhow::Result<Settings> {
    let mut settings = Settings::load(file)?;
    let server = &mut settings.server;
    server.listen = listen.or(server.listen);
    server.metrics_listen = metrics_listen.or(server.metrics_listen);
    Ok(settings)
}

async fn run() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Command::Serve {
            embedded: true,
            data_dir: Some(data_dir),
            listen,
            config,
            metrics_listen,
            log_format,
        } => {
            let settings = configured(config.as_deref(), listen, metrics_listen)?;
            runtime::log::install(log_format.unwrap_or(settings.log.format));
            embedded::serve(&data_dir, settings).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Serve {
            embedded: true,
            data_dir: None,
            ..
        } => bail!("serve --embedded needs --data-dir"),
        Command::Serve {
            embedded: false,
            data_dir: Some(_),
            ..
        } => bail!(
            "--data-dir is for serve --embedded; a node of the production stack keeps nothing"
        ),
        Command::Serve {
            embedded: false,
            data_dir: None,
            listen,
            config,
            metrics_listen,
            log_format,
        } => {
            let settings = configured(config.as_deref(), listen, metrics_listen)?;
            runtime::log::install(log_format.unwrap_or(settings.log.format));
            production_node::serve(settings).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Migrate { config } => {
            let settings = Settings::load(config.as_deref())?;
            runtime::log::install(settings.log.format);
            let store = settings.store.unwrap_or_default();
            store.check()?;
            production::migrate(store.url.expose().unwrap_or_default()).await?;
            println!("the store's schema is up to date");
            Ok(ExitCode::SUCCESS)
        }
        Command::Token {
            user,
            role,
            ttl,
            data_dir,
            config,
        } => {
            runtime::log::install(LogFormat::Human);
            user.parse::<domain::ids::UserId>().context("--user")?;
            let settings = Settings::load(config.as_deref())?;
            let tokens = Tokens::of_signer(&settings.auth, data_dir.as_deref())?;
            println!(
                "{}",
                tokens.sign(&user, role, runtime::system::unix_seconds() + ttl)?
            );
            Ok(ExitCode::SUCCESS)
        }
        Command::Operate(command) => Ok(command.run(&mut Arguments::command()).await),
        #[cfg(feature = "failpoints")]
        Command::Failpoints => {
            for point in ports::failpoint::Failpoint::ALL {
                println!("{}", point.name());
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}
