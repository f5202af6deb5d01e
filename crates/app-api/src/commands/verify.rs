//! `app-api verify-sheet` and `verify-lucky`: published data, computed again. They need no server
//! and no data directory.

use super::{Format, say};
use anyhow::{Context, bail};
use checker::{lucky::Published, sheet};
use clap::Args;
use serde::Serialize;
use std::{
    fmt::Display,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// One published document is at most this long; a sheet may be of any length.
const DOCUMENT_MAX: u64 = 64 << 20;
/// How much of a sheet is read at a time.
const CHUNK: usize = 256 << 10;

#[derive(Args)]
pub(crate) struct SheetArgs {
    /// The sheet, as GET /v1/contests/{id}/settlement/sheet answers it; - reads standard input.
    file: PathBuf,
    /// The published hash to compare with: sheet_sha256 of GET /v1/contests/{id}/settlement.
    #[arg(long, value_name = "HEX", value_parser = parse_sha256)]
    sha256: Option<String>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Args)]
#[command(group(clap::ArgGroup::new("weights").required(true).args(["sheet", "signup"])))]
pub(crate) struct LuckyArgs {
    /// The answer to GET /v1/contests/{id} after the freeze; - reads standard input.
    #[arg(long, value_name = "FILE")]
    contest: PathBuf,
    /// The settlement sheet.
    #[arg(long, value_name = "FILE")]
    sheet: Option<PathBuf>,
    /// Signups, or pages of them, as the API answers them.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    signup: Vec<PathBuf>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

fn parse_sha256(text: &str) -> Result<String, &'static str> {
    let digits = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    digits
        .then(|| text.to_ascii_lowercase())
        .ok_or("must be 64 hexadecimal digits")
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead>> {
    if is_stdin(path) {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    Ok(Box::new(BufReader::with_capacity(CHUNK, file)))
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    let length = open(path)?
        .take(DOCUMENT_MAX + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    if length as u64 > DOCUMENT_MAX {
        bail!("{} is longer than anything the API answers", path.display());
    }
    Ok(text)
}

fn print(report: &(impl Display + Serialize), format: Format) -> anyhow::Result<()> {
    match format {
        Format::Text => say(&report.to_string()),
        Format::Json => say(&format!("{}\n", serde_json::to_string_pretty(report)?)),
    }
}

/// Prints what is wrong with a sheet; true if nothing is.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn sheet(arguments: &SheetArgs) -> anyhow::Result<bool> {
    let path = &arguments.file;
    let report = sheet::verify(open(path)?, arguments.sha256.as_deref())
        .with_context(|| format!("cannot read {}", path.display()))?;
    print(&report, arguments.format)?;
    Ok(report.right)
}

/// Prints what is wrong with a draw; true if nothing is.
///
/// # Errors
/// When the data cannot be read or is not of a lucky contest that was settled.
pub(crate) fn lucky(arguments: &LuckyArgs) -> anyhow::Result<bool> {
    let LuckyArgs {
        contest,
        sheet,
        signup,
        format,
    } = arguments;
    let inputs = [Some(contest), sheet.as_ref()].into_iter().flatten();
    if inputs.chain(signup).filter(|path| is_stdin(path)).count() > 1 {
        bail!("only one file can be read from standard input");
    }
    let mut published =
        Published::parse(&read(contest)?).with_context(|| format!("in {}", contest.display()))?;
    for path in signup {
        published
            .take_signups(&read(path)?)
            .with_context(|| format!("in {}", path.display()))?;
    }
    if let Some(path) = sheet {
        published
            .take_sheet(open(path)?)
            .with_context(|| format!("cannot read {}", path.display()))?;
    }
    let report = published.finish()?;
    print(&report, *format)?;
    Ok(report.right)
}
