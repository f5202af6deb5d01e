//! `cargo xtask test` and `cargo xtask ci`: everything that CI runs, step by step, with times.

use crate::{
    fuzz_api::{self, FuzzArgs},
    play::{self, PlayArgs},
    shell::{cargo, root, run},
    tidy,
};
use anyhow::{Context, Result, bail};
use clap::{Args, Parser};
use std::time::{Duration, Instant};

/// Which steps are run.
#[derive(Args, Clone, Debug)]
pub(crate) struct StepArgs {
    /// Run this step alone; may be given several times
    #[arg(long, value_name = "STEP")]
    only: Vec<String>,
    /// List the steps and end
    #[arg(long)]
    list: bool,
}

/// What a step does.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// cargo with these arguments.
    Cargo(&'static [&'static str]),
    /// Every example of domain.
    Examples,
    /// The rules of tidy.
    Tidy,
    /// `play` with these arguments.
    Play(&'static [&'static str]),
    /// `fuzz-api` with these arguments.
    Fuzz(&'static [&'static str]),
}

#[derive(Clone, Copy, Debug)]
struct Step {
    name: &'static str,
    work: Work,
}

/// Before the tests, in CI alone.
const CI: &[Step] = &[
    Step {
        name: "fmt",
        work: Work::Cargo(&["fmt", "--all", "--check"]),
    },
    Step {
        name: "clippy",
        work: Work::Cargo(&[
            "clippy",
            "--workspace",
            "--locked",
            "--all-targets",
            "--all-features",
            "--",
            "--deny",
            "warnings",
        ]),
    },
];

/// What `cargo xtask test` runs.
const TEST: &[Step] = &[
    Step {
        name: "tests",
        work: Work::Cargo(&["test", "--workspace", "--locked", "--all-targets"]),
    },
    Step {
        name: "doc-tests",
        work: Work::Cargo(&["test", "--workspace", "--locked", "--doc"]),
    },
    Step {
        name: "examples",
        work: Work::Examples,
    },
    Step {
        name: "tidy",
        work: Work::Tidy,
    },
    Step {
        name: "play",
        work: Work::Play(&["--viewers", "200", "--window", "4"]),
    },
    Step {
        name: "claims",
        work: Work::Play(&["--scenario", "claims", "--window", "4"]),
    },
    Step {
        name: "kill",
        work: Work::Play(&[
            "--viewers",
            "100",
            "--window",
            "5",
            "--kill-every",
            "2",
            "--kills",
            "8",
        ]),
    },
    Step {
        name: "fuzz-api",
        work: Work::Fuzz(&["--requests", "2000"]),
    },
    Step {
        name: "failpoints",
        work: Work::Play(&["--failpoints", "--hits", "1"]),
    },
];

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// What proves the code.
    Test,
    /// The same, after format and lints.
    Ci,
}

/// The arguments of `play`, parsed as its command line.
#[derive(Parser)]
struct PlayLine {
    #[command(flatten)]
    args: PlayArgs,
}

/// The arguments of `fuzz-api`, parsed as its command line.
#[derive(Parser)]
struct FuzzLine {
    #[command(flatten)]
    args: FuzzArgs,
}

/// Runs the steps; true if all passed. A step that fails does not stop the others.
pub(crate) async fn suite(suite: Suite, args: &StepArgs) -> Result<bool> {
    let before = if suite == Suite::Ci { CI } else { &[] };
    let steps: Vec<Step> = before.iter().chain(TEST).copied().collect();
    if args.list {
        steps.iter().for_each(|step| println!("{}", step.name));
        return Ok(true);
    }
    if let Some(unknown) = args
        .only
        .iter()
        .find(|only| steps.iter().all(|step| step.name != **only))
    {
        bail!("there is no step {unknown}; --list shows them");
    }
    let chosen: Vec<Step> = steps
        .into_iter()
        .filter(|step| args.only.is_empty() || args.only.iter().any(|only| only == step.name))
        .collect();
    let mut results: Vec<(&str, bool, Duration)> = Vec::new();
    for step in chosen {
        println!("\n== {}", step.name);
        let started = Instant::now();
        let passed = match perform(step.work).await {
            Ok(passed) => passed,
            Err(error) => {
                println!("{error:#}");
                false
            }
        };
        results.push((step.name, passed, started.elapsed()));
    }
    println!();
    for (name, passed, time) in &results {
        println!(
            "{:<12}{:<8}{:>6} s",
            name,
            if *passed { "passed" } else { "FAILED" },
            time.as_secs()
        );
    }
    let failed = results.iter().filter(|(_, passed, _)| !passed).count();
    println!("steps: {} passed, {failed} failed", results.len() - failed);
    if failed > 0 {
        println!(
            "run a step again with: cargo xtask {} --only STEP",
            if suite == Suite::Ci { "ci" } else { "test" }
        );
    }
    Ok(failed == 0)
}

async fn perform(work: Work) -> Result<bool> {
    match work {
        Work::Cargo(args) => run(cargo().args(args)).map(|()| true),
        Work::Examples => examples().map(|()| true),
        Work::Tidy => tidy::tidy(),
        Work::Play(args) => {
            let line =
                PlayLine::try_parse_from(std::iter::once("play").chain(args.iter().copied()))?;
            play::play(&line.args).await
        }
        Work::Fuzz(args) => {
            let line =
                FuzzLine::try_parse_from(std::iter::once("fuzz-api").chain(args.iter().copied()))?;
            fuzz_api::fuzz(&line.args).await
        }
    }
}

/// Runs every example of domain: the other game modes.
fn examples() -> Result<()> {
    let dir = root().join("crates/domain/examples");
    let mut names = Vec::new();
    for entry in
        std::fs::read_dir(&dir).with_context(|| format!("no examples in {}", dir.display()))?
    {
        let path = entry?.path();
        let is_file = path.extension().is_some_and(|extension| extension == "rs");
        if is_file || path.join("main.rs").exists() {
            names.extend(
                path.file_stem()
                    .map(|stem| stem.to_string_lossy().into_owned()),
            );
        }
    }
    if names.is_empty() {
        bail!(
            "no examples in {}: the second game mode belongs there",
            dir.display()
        );
    }
    names.sort();
    names.iter().try_for_each(|name| {
        run(cargo().args(["run", "--locked", "--package", "domain", "--example", name]))
    })
}
