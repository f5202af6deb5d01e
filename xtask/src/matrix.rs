//! `cargo xtask matrix`: the contract suites on every engine, and how many cases of each port that is,
//! as cargo lists them; the table stands in both READMEs.

use crate::{
    servers,
    shell::{self, cargo, root},
    steps::Outcome,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};
use test_support::Program;

/// The pages with the table, and the lines that stand around it.
const PAGES: [&str; 2] = ["README.md", "README.zh-CN.md"];
const BEGIN: &str = "<!-- matrix: written by `cargo xtask matrix --write` -->";
const END: &str = "<!-- /matrix -->";

/// What is done; without any of them the suites are run, and counted.
#[derive(Args, Clone, Debug)]
pub(crate) struct MatrixArgs {
    /// Run nothing, count the cases
    #[arg(long)]
    count: bool,
    /// Count the cases, and write the table into both READMEs
    #[arg(long, conflicts_with = "check")]
    write: bool,
    /// Count the cases, and fail if a README has another table
    #[arg(long)]
    check: bool,
}

/// The columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Engine {
    Memory,
    Sqlite,
    Mysql,
    Mariadb,
    Grpc,
    Redis7,
    Redis8,
    Cluster,
}

impl Engine {
    const ALL: [Self; 8] = [
        Self::Memory,
        Self::Sqlite,
        Self::Mysql,
        Self::Mariadb,
        Self::Grpc,
        Self::Redis7,
        Self::Redis8,
        Self::Cluster,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "SQLite",
            Self::Mysql => "MySQL",
            Self::Mariadb => "MariaDB",
            Self::Grpc => "gRPC",
            Self::Redis7 => "Redis 7",
            Self::Redis8 => "Redis 8",
            Self::Cluster => "Redis Cluster",
        }
    }
}

/// The tests that join suites on engines.
struct Source {
    package: &'static str,
    target: &'static str,
    /// Set where all of them are of one port.
    port: Option<&'static str>,
    /// The cases below each module are of these engines; the empty module has all cases.
    modules: &'static [(&'static str, &'static [Engine])],
}

const SOURCES: &[Source] = &[
    Source {
        package: "adapters-memory",
        target: "store",
        port: None,
        // The same cases again, with nothing that goes wrong in between.
        modules: &[("without_faults", &[]), ("", &[Engine::Memory])],
    },
    Source {
        package: "adapters-memory",
        target: "funds",
        port: Some("funds"),
        modules: &[("", &[Engine::Memory])],
    },
    Source {
        package: "adapters-memory",
        target: "shown",
        port: Some(SHOWN),
        modules: &[("", &[Engine::Memory])],
    },
    Source {
        package: "adapters-sqlite",
        target: "contract",
        port: None,
        modules: &[("", &[Engine::Sqlite])],
    },
    Source {
        package: "adapters-mysql",
        target: "contract_mysql",
        port: None,
        modules: &[("", &[Engine::Mysql])],
    },
    Source {
        package: "adapters-mysql",
        target: "contract_mariadb",
        port: None,
        modules: &[("", &[Engine::Mariadb])],
    },
    Source {
        package: "adapters-ledger",
        target: "contract",
        port: Some("funds"),
        modules: &[
            ("sqlite", &[Engine::Sqlite]),
            ("mysql", &[Engine::Mysql]),
            ("mariadb", &[Engine::Mariadb]),
        ],
    },
    Source {
        package: "adapters-funds",
        target: "contract",
        port: Some("funds"),
        modules: &[("", &[Engine::Grpc])],
    },
    Source {
        package: "app-funds",
        target: "contract",
        port: Some("funds"),
        modules: &[("", &[Engine::Grpc])],
    },
    // Run on both versions.
    Source {
        package: "adapters-redis",
        target: "contract",
        port: Some(SHOWN),
        modules: &[
            ("one_server", &[Engine::Redis7, Engine::Redis8]),
            // The same cases again, with the tally in one part.
            ("one_server_one_part", &[]),
            ("cluster", &[Engine::Cluster]),
        ],
    },
];

/// The rows: each port, and the suites' modules that are of it.
const PORTS: &[(&str, &[&str])] = &[
    ("contests", &["contests"]),
    ("signups", &["signups"]),
    ("task events", &["events"]),
    ("leaderboard", &["leaderboard"]),
    ("outbox", &["outbox"]),
    ("findings", &["findings"]),
    ("reconciliations", &["reconciliations"]),
    ("notices", &["notices"]),
    ("switches", &["switches"]),
    ("experiments", &["experiments"]),
    ("leases", &["leases"]),
    ("tickets", &["tickets"]),
    ("funds", &["funds"]),
    (SHOWN, &["shown"]),
];

/// The port whose suite has one module.
const SHOWN: &str = "record cache, tally, ranking, past pools";

/// Cases by port and engine.
type Counts = BTreeMap<(&'static str, Engine), u64>;
/// The engines of each case, by port and name.
type Cases = BTreeMap<(&'static str, String), Vec<Engine>>;

/// A case of a suite runs on several engines; what runs on one alone is a test of its own beside it.
fn counted(cases: &Cases) -> Counts {
    let mut counts = Counts::new();
    for ((port, _), engines) in cases.iter().filter(|(_, engines)| engines.len() > 1) {
        for engine in engines {
            *counts.entry((*port, *engine)).or_default() += 1;
        }
    }
    counts
}

/// Runs the suites, or counts them, and writes or checks the table. Failed if a case is, or if a
/// README has another table; not run if there are no servers, or but one version of Redis.
pub(crate) async fn matrix(args: &MatrixArgs) -> Result<Outcome> {
    let is_counted = args.count || args.write || args.check;
    let ran = if is_counted {
        Outcome::Passed
    } else {
        suites().await?
    };
    Ok(match ran {
        Outcome::Passed => Outcome::from(count(args)?),
        other => other,
    })
}

/// Runs every suite on every engine; those of Redis on each version that is here.
async fn suites() -> Result<Outcome> {
    let _servers = match servers::obtain().await? {
        Ok(servers) => servers,
        Err(why) => return Ok(Outcome::NotRun(why)),
    };
    let redis = redis_servers()?;
    let mut failed = Vec::new();
    for Source {
        package, target, ..
    } in SOURCES
    {
        let programs: Vec<Option<&(String, PathBuf)>> = if *package == "adapters-redis" {
            redis.iter().map(Some).collect()
        } else {
            vec![None]
        };
        for program in programs {
            let mut command = cargo();
            command.args(["test", "--locked", "--package", package, "--test", target]);
            let mut what = format!("{package}, {target}");
            if let Some((version, path)) = program {
                command.env("GUAFEN_TEST_REDIS_SERVER", path);
                what = format!("{what}, Redis {version}");
            }
            println!("\n== {what}");
            if let Err(error) = shell::run(&mut command) {
                println!("{error:#}");
                failed.push(what);
            }
        }
    }
    if !failed.is_empty() {
        println!("failed: {}", failed.join("; "));
        return Ok(Outcome::Failed);
    }
    let versions: Vec<&str> = redis.iter().map(|(version, _)| version.as_str()).collect();
    println!("\nRedis: {}", versions.join(" and "));
    Ok(
        if ["7.", "8."]
            .iter()
            .all(|major| versions.iter().any(|version| version.starts_with(major)))
        {
            Outcome::Passed
        } else {
            Outcome::NotRun(format!(
                "one of Redis 7 and 8: found {}; install the other, or name its binary in GUAFEN_TEST_REDIS_SERVER",
                versions.join(" and ")
            ))
        },
    )
}

/// The versions of Redis that are here, each once, and their binaries.
fn redis_servers() -> Result<Vec<(String, PathBuf)>> {
    let named = std::env::var_os("GUAFEN_TEST_REDIS_SERVER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::env::split_paths(&path).map(|dir| dir.join("redis-server"));
    let tree = test_support::servers_dir().map(|dir| dir.join("usr/bin/redis-server"));
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for path in named.into_iter().chain(installed).chain(tree) {
        if !path.is_file() {
            continue;
        }
        // Redis server v=7.0.15 sha=…
        let said = Program::at(&path)?.version().to_owned();
        let version = said
            .split_whitespace()
            .find_map(|word| word.strip_prefix("v="));
        let version = version.unwrap_or(&said).to_owned();
        if found.iter().all(|(known, _)| *known != version) {
            found.push((version, path));
        }
    }
    Ok(found)
}

/// Counts, and writes or checks the table; true unless a README has another one.
fn count(args: &MatrixArgs) -> Result<bool> {
    let mut cases = Cases::new();
    let binaries = binaries()?;
    for source in SOURCES {
        let name = (source.package.to_owned(), source.target.to_owned());
        let binary = binaries
            .get(&name)
            .with_context(|| format!("{} has no tests {:?}", source.package, source.target))?;
        add(source, &list(binary)?, &mut cases)?;
    }
    let table = table(&counted(&cases));
    print!("{table}");
    let mut is_same = true;
    for page in PAGES {
        let path = root().join(page);
        let text = std::fs::read_to_string(&path)?;
        let new = replaced(&text, &table).with_context(|| page.to_owned())?;
        if args.write {
            std::fs::write(&path, &new)?;
        } else if args.check && new != text {
            println!("{page} has another table: run `cargo xtask matrix --write`");
            is_same = false;
        }
    }
    Ok(is_same)
}

/// The binaries of every test target of the workspace, by package and target: those that the tests
/// run, built if they are not.
fn binaries() -> Result<BTreeMap<(String, String), PathBuf>> {
    let output = cargo()
        .args(["test", "--workspace", "--locked", "--all-targets"])
        .args(["--no-run", "--quiet", "--message-format", "json"])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("the tests cannot be built");
    }
    let mut binaries = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(Artifact {
            target,
            manifest_path,
            executable: Some(executable),
        }) = serde_json::from_str(line)
        else {
            continue;
        };
        let package = manifest_path.parent().and_then(Path::file_name);
        if let Some(package) = package.filter(|_| target.kind == ["test"]) {
            let package = package.to_string_lossy().into_owned();
            binaries.insert((package, target.name), executable);
        }
    }
    Ok(binaries)
}

/// What cargo says of a thing that it has built. A crate's directory has the crate's name.
#[derive(Deserialize)]
struct Artifact {
    target: Target,
    manifest_path: PathBuf,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

fn list(binary: &Path) -> Result<String> {
    let output = Command::new(binary)
        .args(["--list", "--format", "terse"])
        .stderr(std::process::Stdio::inherit())
        .output()?;
    if !output.status.success() {
        bail!("{} does not list its tests", binary.display());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Adds the cases of a list. A case that no row has is an error: it would be missed in silence.
fn add(source: &Source, listed: &str, cases: &mut Cases) -> Result<()> {
    let mut seen = 0;
    for case in listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
    {
        let Some((engines, rest)) = source.modules.iter().find_map(|(module, engines)| {
            if module.is_empty() {
                return Some((*engines, case));
            }
            let rest = case.strip_prefix(module)?.strip_prefix("::")?;
            Some((*engines, rest))
        }) else {
            // A test of its own beside the suites.
            continue;
        };
        let port = match source.port {
            Some(port) => Some(port),
            None => port_of(rest),
        };
        let Some(port) = port else {
            if rest.contains("::") {
                bail!(
                    "{case} of {} is of no port that the table has: add it to xtask/src/matrix.rs",
                    source.package
                );
            }
            continue;
        };
        seen += 1;
        let name = rest.rsplit("::").next().unwrap_or(rest);
        let of_case = cases.entry((port, name.to_owned())).or_default();
        of_case.extend(engines);
    }
    if seen == 0 {
        bail!(
            "the tests {:?} of {} have no case of a suite",
            source.target,
            source.package
        );
    }
    Ok(())
}

/// `signups_paging::a_case` is of the port whose suite's name it begins with.
fn port_of(case: &str) -> Option<&'static str> {
    let (module, _) = case.split_once("::")?;
    let is_of = |suite: &&str| {
        module
            .strip_prefix(*suite)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    };
    PORTS
        .iter()
        .find(|(_, suites)| suites.iter().any(is_of))
        .map(|(port, _)| *port)
}

fn table(counts: &Counts) -> String {
    let mut lines = Vec::new();
    let names = Engine::ALL.map(Engine::name).join(" | ");
    lines.push(format!("| | {names} |"));
    lines.push(format!("| --- |{}", " ---: |".repeat(Engine::ALL.len())));
    for (port, _) in PORTS {
        let cells = Engine::ALL.map(|engine| {
            counts
                .get(&(*port, engine))
                .map_or_else(|| "–".to_owned(), u64::to_string)
        });
        if cells.iter().any(|cell| cell != "–") {
            lines.push(format!("| {port} | {} |", cells.join(" | ")));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The page with this table between its markers.
fn replaced(page: &str, table: &str) -> Result<String> {
    let (before, rest) = page
        .split_once(BEGIN)
        .with_context(|| format!("has no line {BEGIN}"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("has no line {END}"))?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_are_counted_by_port_and_engine() {
        let mut cases = Cases::new();
        let of = |package: &str| {
            let source = SOURCES.iter().find(|source| source.package == package);
            source.expect("a source")
        };
        let store = of("adapters-sqlite");
        let listed =
            "contests::a: test\ncontests_counting::b: test\nsignups::c: test\n\nx: bench\n";
        add(store, listed, &mut cases).expect("known ports");
        assert!(counted(&cases).is_empty(), "on one engine alone");
        add(of("adapters-mysql"), listed, &mut cases).expect("known ports");
        assert_eq!(counted(&cases).get(&("contests", Engine::Sqlite)), Some(&2));
        assert_eq!(counted(&cases).get(&("signups", Engine::Mysql)), Some(&1));
        assert!(add(store, "brand_new::a: test\n", &mut cases).is_err());
        assert!(add(store, "", &mut cases).is_err(), "an empty list");
        let listed = "mysql::a: test\nmysql::b: test\nmariadb::a: test\nbeside: test\n";
        add(of("adapters-ledger"), listed, &mut cases).expect("the funds");
        assert_eq!(counted(&cases).get(&("funds", Engine::Mysql)), Some(&1));
        assert_eq!(counted(&cases).get(&("funds", Engine::Mariadb)), Some(&1));
        let table = table(&counted(&cases));
        assert!(table.contains("| contests | – | 2 | 2 | – |"), "{table}");
        assert!(!table.contains("ranking"), "{table}");
    }

    #[test]
    fn the_table_stands_between_its_markers() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = replaced(&page, "new\n").expect("markers");
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(replaced(&new, "new\n").expect("markers"), new);
        assert!(replaced("a\n", "new\n").is_err());
    }

    #[test]
    fn both_pages_have_a_place_for_it() {
        for page in PAGES {
            let text = std::fs::read_to_string(root().join(page)).expect("a page");
            replaced(&text, "").expect(page);
        }
    }
}
