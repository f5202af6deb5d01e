//! `app-api check`: the independent checker on a data directory, or on a store and its ledger.

use super::{CheckArgs, Format, say};
use crate::data_dir;
use anyhow::{Context, anyhow};
use checker::{
    Books, Scope, Source, check_books,
    report::{ContestReport, Report},
};
use serde::Serialize;
use std::{fmt::Write as _, path::Path};

/// The most contests that are listed for people; JSON has all of them.
const LISTED_MAX: usize = 50;

#[derive(Serialize)]
struct Answer<'a> {
    green: bool,
    #[serde(flatten)]
    report: &'a Report,
}

/// Prints what holds; true if everything does.
///
/// # Errors
/// When the books cannot be read.
pub(crate) async fn run(arguments: &CheckArgs) -> anyhow::Result<bool> {
    let CheckArgs {
        data_dir,
        store,
        ledger,
        contest,
        at_rest,
        format,
    } = arguments;
    let scope = Scope {
        contest: contest.as_deref(),
        at_rest: *at_rest,
    };
    let books = books(data_dir.as_deref(), store.as_deref().zip(ledger.as_deref()))?;
    let report = check_books(&books, scope).await?;
    let green = report.is_green();
    match format {
        Format::Json => {
            let answer = Answer {
                green,
                report: &report,
            };
            say(&format!("{}\n", serde_json::to_string_pretty(&answer)?))?;
        }
        Format::Text => {
            let table = table(&report.contests);
            say(&format!("{table}{report}{}\n", sentence(&report)))?;
        }
    }
    Ok(green)
}

/// Where the books are; which of the two is given, clap has seen to.
fn books(data_dir: Option<&Path>, sides: Option<(&str, &str)>) -> anyhow::Result<Books> {
    if let Some((store, ledger)) = sides {
        return Ok(Books {
            store: source("store", store)?,
            ledger: source("ledger", ledger)?,
        });
    }
    let data_dir = data_dir.ok_or_else(|| anyhow!("name --data-dir, or --store and --ledger"))?;
    let (store, ledger) = data_dir::books(data_dir)?;
    Ok(Books {
        store: Source::file(&store),
        ledger: Source::file(&ledger),
    })
}

/// One side. An error names the option and never repeats its value.
fn source(option: &str, value: &str) -> anyhow::Result<Source> {
    let read;
    let text = match value.strip_prefix('@') {
        Some(file) => {
            read = std::fs::read_to_string(file)
                .with_context(|| format!("--{option}: {file} cannot be read"))?;
            read.lines().next().unwrap_or_default().trim()
        }
        None => value,
    };
    Source::parse(text).with_context(|| format!("--{option} names no {option}"))
}

fn sentence(report: &Report) -> String {
    let red: Vec<_> = report.red().map(|invariant| invariant.name()).collect();
    if red.is_empty() {
        "green: every invariant holds".to_owned()
    } else {
        format!(
            "RED: {}. Change nothing by hand; docs/operating.md says what each means",
            red.join(", ")
        )
    }
}

/// One line for each contest.
fn table(contests: &[ContestReport]) -> String {
    let mut text = format!(
        "{:<36}  {:<10} {:>8} {:>8} {:>9} {:>12} {:>12} {:>12} {:>12}\n",
        "contest", "phase", "signups", "paid", "finishers", "in", "prizes", "other out", "left"
    );
    for contest in contests.iter().take(LISTED_MAX) {
        let money = &contest.money;
        let inward = money.fees + money.guarantee + money.carry + money.unexplained_in;
        // Whatever is not left was paid out.
        let other = inward - money.prizes - money.left;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:<36}  {:<10} {:>8} {:>8} {:>9} {inward:>12} {:>12} {other:>12} {:>12}",
            contest.contest_id,
            contest.phase,
            contest.signups,
            contest.paid,
            contest.finishers,
            money.prizes,
            money.left,
        );
    }
    let more = contests.len().saturating_sub(LISTED_MAX);
    if more > 0 {
        let _ = writeln!(text, "and {more} more; --format json lists all");
    }
    text.push('\n');
    text
}
