//! `app-funds`: serves the reference ledger over gRPC.

mod config;
mod serve;

use adapters_funds::{GrpcFunds, Settings as Reach};
use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use config::Settings;
use domain::order::Account;
use ports::funds::Funds;
use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

/// What is asked for and given back on every request by several threads is given back cheaply.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The reference ledger: a funds system for whoever has none.
#[derive(Parser)]
#[command(
    name = "app-funds",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serves the ledger until SIGTERM or Ctrl-C, which lets what has begun end.
    ///
    /// RUST_LOG sets what is logged (default: info). Every key of the configuration is also an
    /// environment variable, GUAFEN_SECTION__KEY. SIGHUP reads [faults] again.
    Serve {
        /// The configuration, a TOML file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The address to listen on, instead of server.listen [default: 127.0.0.1:8090].
        #[arg(long, value_name = "ADDR")]
        listen: Option<SocketAddr>,
        /// The ledger, instead of ledger.url: mysql://… or the path of a SQLite file.
        #[arg(long, value_name = "URL|PATH")]
        ledger: Option<String>,
        /// Lets [faults] through, where ledger.profile is "test".
        #[arg(long)]
        allow_faults: bool,
    },
    /// Makes the ledger's tables in the database of ledger.url. A SQLite file needs none of it.
    Migrate {
        /// The configuration, a TOML file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// The ledger, instead of ledger.url.
        #[arg(long, value_name = "URL")]
        ledger: Option<String>,
    },
    /// Asks a running server for its position, and fails if it does not answer. For health checks.
    Probe {
        #[command(flatten)]
        reach: ReachArguments,
    },
    /// Prints what an account holds.
    Balance {
        /// As user/ann or pool/<contest id>.
        account: Account,
        #[command(flatten)]
        reach: ReachArguments,
    },
}

/// How a running server is reached.
#[derive(Args)]
struct ReachArguments {
    /// Where it listens.
    #[arg(long, default_value = "http://127.0.0.1:8090")]
    url: String,
    /// Who signed its certificate, for https.
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Our certificate.
    #[arg(long, value_name = "FILE")]
    cert_file: Option<PathBuf>,
    /// The key of our certificate.
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// The name in the server's certificate, if it is not that of the address.
    #[arg(long)]
    domain: Option<String>,
}

impl ReachArguments {
    async fn connect(self) -> anyhow::Result<GrpcFunds> {
        let settings = Reach {
            ca_file: self.ca_file,
            cert_file: self.cert_file,
            key_file: self.key_file,
            domain: self.domain,
            start_ms: 3_000,
            ..Reach::new("funds", self.url)
        };
        Ok(GrpcFunds::connect(&settings).await?)
    }
}

async fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Serve {
            config,
            listen,
            ledger,
            allow_faults,
        } => {
            let mut settings: Settings = runtime::config::load(config.as_deref())?;
            settings.server.listen = listen.unwrap_or(settings.server.listen);
            runtime::log::install(settings.log.format);
            let url = settings.ledger_url(ledger.as_deref())?;
            serve::serve(&settings, url, config, allow_faults).await
        }
        Command::Migrate { config, ledger } => {
            let settings: Settings = runtime::config::load(config.as_deref())?;
            serve::migrate(settings.ledger_url(ledger.as_deref())?).await
        }
        Command::Probe { reach } => {
            let lookup = reach.connect().await?.lookup(&[]).await?;
            println!("position {}", lookup.position.0);
            Ok(())
        }
        Command::Balance { account, reach } => {
            let balance = reach.connect().await?.balance(&account).await?;
            println!("{} at position {}", balance.amount, balance.position.0);
            Ok(())
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads");
    match runtime.and_then(|runtime| runtime.block_on(run(arguments.command))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("app-funds: {error:#}");
            ExitCode::FAILURE
        }
    }
}
