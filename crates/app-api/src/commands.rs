//! The commands beside `serve`: what an operator, or anybody with published data, runs by hand.

mod backup;
mod check;
mod manifest;
mod restore;
mod verify;

use clap::{Args, Subcommand, ValueEnum};
use clap_complete::Shell;
use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Checks every invariant of a data directory, or of a store and its ledger wherever they are,
    /// also while servers run on them.
    ///
    /// Store and ledger are read by a program part that shares no code with what wrote them: order
    /// ids, moves, weights, prizes and sheet hashes are derived once more and compared.
    #[command(
        after_help = "Exit codes: 0 every invariant holds, 1 one does not, 2 not readable or wrong arguments."
    )]
    Check(CheckArgs),
    /// Copies a data directory while a server runs on it.
    ///
    /// The moment of the store is fixed first and that of the ledger right after it, so that every
    /// payment that a row knows of is in the copy. manifest.json is written last: without it a
    /// backup is not complete.
    #[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments.")]
    Backup {
        /// What is copied.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// Where to: an empty directory, or one that is not there yet.
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Makes a data directory from a backup, after verifying the backup.
    #[command(after_help = "Exit codes: 0 done, 1 failed, 2 wrong arguments.")]
    Restore {
        /// The backup.
        #[arg(long, value_name = "DIR")]
        from: PathBuf,
        /// Where to: an empty directory, or one that is not there yet.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
    /// Computes a settlement sheet again, every prize and the hash, from nothing but its file.
    #[command(after_help = "Exit codes: 0 right, 1 wrong, 2 not readable or wrong arguments.")]
    VerifySheet(verify::SheetArgs),
    /// Computes the weights of a lucky contest again from what was published of it.
    ///
    /// Needs no server and no access: the answer to GET /v1/contests/{id} after the freeze, and
    /// signups or the settlement sheet. docs/fairness.md shows the same without this program.
    #[command(after_help = "Exit codes: 0 right, 1 wrong, 2 not readable or wrong arguments.")]
    VerifyLucky(verify::LuckyArgs),
    /// Prints completions for a shell.
    #[command(
        after_help = "Exit codes: 0 done, 2 wrong arguments.\n\nFor bash: source <(app-api completions bash)"
    )]
    Completions {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Args)]
pub(crate) struct CheckArgs {
    /// What is checked: a data directory.
    #[arg(long, value_name = "DIR", required_unless_present = "store", conflicts_with_all = ["store", "ledger"])]
    data_dir: Option<PathBuf>,
    /// What is checked: a store, mysql://user:password@host:port/database or a SQLite file; or
    /// @FILE, whose first line is that: arguments can be seen by others on this machine.
    // A text as it stands: clap would repeat one that it refuses, and with it a password.
    #[arg(long, value_name = "DSN", requires = "ledger")]
    store: Option<String>,
    /// The ledger of that store, likewise.
    #[arg(long, value_name = "DSN", requires = "store")]
    ledger: Option<String>,
    /// This contest alone, and the ledger.
    #[arg(long, value_name = "ID")]
    contest: Option<String>,
    /// Expect that everything is over: a contest that is neither closed nor cancelled is red.
    #[arg(long)]
    at_rest: bool,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// Wrong: what was looked at is not as it must be.
const WRONG: u8 = 1;
/// Nothing could be said.
const NOT_READABLE: u8 = 2;

/// What a look at something says: right or wrong, or why nothing can be said.
fn looked(result: anyhow::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(WRONG),
        Err(error) => failed(&error, NOT_READABLE),
    }
}

fn failed(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::from(code)
}

/// Prints a result. A reader that has seen enough is no failure.
///
/// # Errors
/// When it cannot be printed.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

impl Command {
    /// Runs it. `program` is the whole command line's description.
    pub(crate) async fn run(self, program: &mut clap::Command) -> ExitCode {
        let done = match self {
            Self::Check(arguments) => return looked(check::run(&arguments).await),
            Self::VerifySheet(arguments) => return looked(verify::sheet(&arguments)),
            Self::VerifyLucky(arguments) => return looked(verify::lucky(&arguments)),
            Self::Backup { data_dir, to } => backup::run(&data_dir, &to).await,
            Self::Restore { from, data_dir } => restore::run(&from, &data_dir).await,
            Self::Completions { shell } => {
                let name = program.get_name().to_owned();
                let mut script = Vec::new();
                clap_complete::generate(shell, program, name, &mut script);
                say(&String::from_utf8_lossy(&script))
            }
        };
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => failed(&error, WRONG),
        }
    }
}
