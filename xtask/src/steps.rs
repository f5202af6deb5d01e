//! `cargo xtask test` and `cargo xtask ci`: everything that CI runs, step by step, with times.

use crate::{
    board, chaos, fuzz_api, matrix, overload, play, python,
    servers::{self, Origin, Servers},
    shell::{cargo, root, run},
    stop, tidy, walk,
};
use anyhow::{Context, Result, bail};
use clap::{Args, Parser};
use std::{
    process::Command,
    time::{Duration, Instant},
};

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

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything holds.
    Passed,
    /// Something does not.
    Failed,
    /// What it needs is not here and could not be installed; this is what to do.
    NotRun(String),
}

impl From<bool> for Outcome {
    fn from(passed: bool) -> Self {
        if passed { Self::Passed } else { Self::Failed }
    }
}

/// What a step does.
#[derive(Clone, Copy, Debug)]
enum Work {
    /// Every test of the workspace, with the servers that they need.
    Tests,
    /// cargo with these arguments.
    Cargo(&'static [&'static str]),
    /// Every example of domain.
    Examples,
    /// The rules of tidy.
    Tidy,
    /// `matrix` with these arguments.
    Matrix(&'static [&'static str]),
    /// `play` with these arguments.
    Play(&'static [&'static str]),
    /// `play` on a production stack, with these arguments.
    Stack(&'static [&'static str]),
    /// `chaos` with these arguments.
    Chaos(&'static [&'static str]),
    /// `stop` with these arguments.
    Stop(&'static [&'static str]),
    /// `overload` with these arguments.
    Overload(&'static [&'static str]),
    /// The README's contest by hand.
    Walk,
    /// `board` with these arguments.
    Board(&'static [&'static str]),
    /// `fuzz-api` with these arguments.
    Fuzz(&'static [&'static str]),
}

impl Work {
    const fn needs_servers(self) -> bool {
        matches!(self, Self::Tests)
    }
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
        work: Work::Tests,
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
        name: "matrix",
        work: Work::Matrix(&["--check"]),
    },
    Step {
        name: "walk",
        work: Work::Walk,
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
        name: "experiment",
        work: Work::Play(&[
            "--scenario",
            "experiment",
            "--viewers",
            "60",
            "--window",
            "6",
        ]),
    },
    Step {
        name: "by-fee",
        work: Work::Play(&["--scenario", "by-fee", "--viewers", "150", "--window", "3"]),
    },
    Step {
        name: "by-score",
        work: Work::Play(&[
            "--scenario",
            "by-score",
            "--viewers",
            "150",
            "--window",
            "3",
            "--remainder",
            "platform",
        ]),
    },
    Step {
        name: "early-bird",
        work: Work::Play(&[
            "--scenario",
            "early-bird",
            "--viewers",
            "150",
            "--window",
            "3",
        ]),
    },
    Step {
        name: "lucky",
        work: Work::Play(&[
            "--scenario",
            "lucky",
            "--viewers",
            "150",
            "--window",
            "3",
            "--remainder",
            "platform",
        ]),
    },
    Step {
        name: "disconnects",
        work: Work::Play(&[
            "--scenario",
            "disconnects",
            "--times",
            "60",
            "--window",
            "3",
        ]),
    },
    Step {
        name: "stop",
        work: Work::Stop(&["--rounds", "2", "--viewers", "2000"]),
    },
    Step {
        name: "overload",
        work: Work::Overload(&["--short"]),
    },
    Step {
        name: "board",
        work: Work::Board(&["--viewers", "60", "--window", "6"]),
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
        name: "stack",
        work: Work::Stack(&["--stack", "--viewers", "200", "--window", "5"]),
    },
    Step {
        name: "redis-lost",
        work: Work::Chaos(&["--scenario", "redis-stopped", "--viewers", "100"]),
    },
    Step {
        name: "commit-cut",
        work: Work::Chaos(&["--scenario", "commit-cut", "--viewers", "100"]),
    },
    Step {
        name: "chaos",
        work: Work::Chaos(&["--scenario", "random", "--viewers", "150"]),
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

/// The arguments of a command, parsed as its command line.
#[derive(Parser)]
struct Line<A: Args> {
    #[command(flatten)]
    args: A,
}

fn parsed<A: Args>(args: &[&str]) -> Result<A> {
    let line = Line::<A>::try_parse_from(std::iter::once("step").chain(args.iter().copied()))?;
    Ok(line.args)
}

/// Runs the steps. A step that fails does not stop the others; the whole is not run if a part of
/// it was not.
pub(crate) async fn suite(suite: Suite, args: &StepArgs) -> Result<Outcome> {
    let before = if suite == Suite::Ci { CI } else { &[] };
    let steps: Vec<Step> = before.iter().chain(TEST).copied().collect();
    if args.list {
        steps.iter().for_each(|step| println!("{}", step.name));
        return Ok(Outcome::Passed);
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
    let mut results: Vec<(&str, Outcome, Duration)> = Vec::new();
    let mut obtained = None;
    for step in chosen {
        println!("\n== {}", step.name);
        let started = Instant::now();
        if step.work.needs_servers() && obtained.is_none() {
            obtained = Some(servers::obtain().await);
        }
        let outcome = match perform(step.work, obtained.as_ref()).await {
            Ok(outcome) => outcome,
            Err(error) => {
                println!("{error:#}");
                Outcome::Failed
            }
        };
        results.push((step.name, outcome, started.elapsed()));
    }
    println!();
    for (name, outcome, time) in &results {
        let word = match outcome {
            Outcome::Passed => "passed",
            Outcome::Failed => "FAILED",
            Outcome::NotRun(_) => "NOT RUN",
        };
        println!("{name:<12}{word:<8}{:>6} s", time.as_secs());
        if let Outcome::NotRun(why) = outcome {
            println!("            {why}");
        }
    }
    let count =
        |wanted: fn(&Outcome) -> bool| results.iter().filter(|(_, one, _)| wanted(one)).count();
    let failed = count(|outcome| *outcome == Outcome::Failed);
    let missed = count(|outcome| matches!(outcome, Outcome::NotRun(_)));
    println!(
        "steps: {} passed, {failed} failed, {missed} not run",
        results.len() - failed - missed
    );
    if failed > 0 {
        println!(
            "run a step again with: cargo xtask {} --only STEP",
            if suite == Suite::Ci { "ci" } else { "test" }
        );
    }
    let missing = results
        .into_iter()
        .find_map(|(_, outcome, _)| match outcome {
            Outcome::NotRun(why) => Some(Outcome::NotRun(why)),
            _ => None,
        });
    Ok(match (failed, missing) {
        (0, None) => Outcome::Passed,
        (0, Some(missing)) => missing,
        _ => Outcome::Failed,
    })
}

/// What became of obtaining servers; none where no step has needed any yet.
type Obtained<'a> = Option<&'a Result<Result<Servers, String>>>;

async fn perform(work: Work, obtained: Obtained<'_>) -> Result<Outcome> {
    if let Some(Err(error)) = obtained.filter(|_| work.needs_servers()) {
        bail!("no servers: {error:#}");
    }
    match work {
        Work::Tests => match obtained {
            Some(Ok(Err(why))) => tests_without(&servers::crates()?, &[], why),
            Some(Ok(Ok(servers))) => tests(servers.origin),
            _ => bail!("the tests were not given servers"),
        },
        Work::Cargo(args) => run(cargo().args(args)).map(|()| Outcome::Passed),
        Work::Examples => examples().map(|()| Outcome::Passed),
        Work::Matrix(args) => matrix::matrix(&parsed(args)?).await,
        Work::Tidy => tidy::tidy().map(Outcome::from),
        Work::Walk => walk::walk().await,
        Work::Play(args) => play::play(&parsed(args)?).await.map(Outcome::from),
        // These start every server by themselves, and harm some.
        Work::Stack(args) => match servers::binaries() {
            Err(why) => Ok(Outcome::NotRun(why)),
            Ok(()) => play::play(&parsed(args)?).await.map(Outcome::from),
        },
        Work::Chaos(args) => match servers::binaries() {
            Err(why) => Ok(Outcome::NotRun(why)),
            Ok(()) => chaos::chaos(&parsed(args)?).await.map(Outcome::from),
        },
        Work::Stop(args) => stop::stop(&parsed(args)?).await.map(Outcome::from),
        Work::Overload(args) => {
            let args = parsed(args)?;
            overload::overload(&args).await.map(Outcome::from)
        }
        Work::Board(args) => board::board(&parsed(args)?).await,
        Work::Fuzz(args) => fuzz_api::fuzz(&parsed(args)?).await,
    }
}

/// A crate whose tests fail does not hide those of another.
const TESTS: &[&str] = &["--all-targets", "--no-fail-fast"];
/// Crashes around commits on MySQL: a build of its own, so that no other has failpoints.
const CRASHES: &[&str] = &["--features=app-reconciler/failpoints", "--test=failpoints"];
/// A reconciler that is killed, by the same build.
const KILLED: &[&str] = &["--features=app-reconciler/failpoints", "--test=killed"];
/// A task system in another language, written from the proto alone.
const PYTHON: &[&str] = &["--features=adapters-tasks/python", "--test=tasks"];
/// What that task system is written with.
const PYTHON_NEEDS: &str =
    include_str!("../../crates/adapters-tasks/tests/python/requirements.txt");
/// Two nodes of the API on MySQL: its other tests need no servers, and are run without any.
const NODES: &[&str] = &["--features=app-api/servers", "--test=nodes"];

/// How many tests of one binary run at once.
const THREADS: &str = "RUST_TEST_THREADS";

/// `cargo test` with these arguments. Always over the whole workspace, whatever is chosen of it: cargo would build
/// every library again for the features that a part alone asks of it. Most tests wait for servers most of the time, so
/// twice as many run at once as there are cores, unless `RUST_TEST_THREADS` says otherwise.
fn cargo_test(args: &[&str]) -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked"]).args(args);
    if std::env::var_os(THREADS).is_none() {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        command.env(THREADS, (2 * cores).to_string());
    }
    command
}

fn tests(origin: Origin) -> Result<Outcome> {
    let features: &[&str] = match origin {
        Origin::Docker => &["--features", "test-support/docker"],
        Origin::Here => &[],
    };
    match servers::binaries() {
        Ok(()) => {
            run(cargo_test(TESTS).args(features))?;
            run(cargo_test(CRASHES).args(features))?;
            run(cargo_test(KILLED).args(features))?;
            run(cargo_test(NODES).args(features))?;
            task_system()
        }
        Err(why) => {
            let starting = servers::starting(origin)?;
            let outcome = tests_without(&starting, features, &why)?;
            if starting.iter().all(|name| name != "production") {
                run(cargo_test(CRASHES).args(features))?;
            }
            if starting.iter().all(|name| name != "app-reconciler") {
                run(cargo_test(KILLED).args(features))?;
            }
            if starting.iter().all(|name| name != "app-api") {
                run(cargo_test(NODES).args(features))?;
            }
            Ok(outcome)
        }
    }
}

/// The client of a task system against one that is written in Python.
fn task_system() -> Result<Outcome> {
    match python::environment("task-system", PYTHON_NEEDS) {
        Ok(home) => {
            let program = home.join("bin/python");
            run(cargo_test(PYTHON).env("GUAFEN_TEST_PYTHON", program))?;
            Ok(Outcome::Passed)
        }
        Err(why) => Ok(Outcome::NotRun(format!(
            "a task system in another language: {why:#}"
        ))),
    }
}

/// Runs the tests of all but some crates; theirs are not run.
fn tests_without(crates: &[String], features: &[&str], why: &str) -> Result<Outcome> {
    let mut command = cargo_test(TESTS);
    command.args(features);
    for name in crates {
        command.args(["--exclude", name]);
    }
    run(&mut command)?;
    let names = crates.join(", ");
    Ok(Outcome::NotRun(format!("the tests of {names}: {why}")))
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
