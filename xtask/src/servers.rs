//! The servers that tests need: from the environment, Docker, this machine, or installed for them;
//! and binaries of this machine, for what starts and kills servers by itself.

mod containers;
mod install;

use crate::{shell, steps::Outcome, tidy};
use anyhow::{Result, bail};
use containers::Container;
use std::{path::PathBuf, process::Stdio, sync::OnceLock};
use test_support::{
    Engine, Redis, Server, mysql_server, private_redis, redis_program, servers_dir,
};

/// What every command that cargo starts finds in its environment from now on.
static ENVIRONMENT: OnceLock<Vec<(String, String)>> = OnceLock::new();

/// The variables that name the servers which were obtained; none before that.
pub(crate) fn environment() -> Vec<(String, String)> {
    ENVIRONMENT.get().cloned().unwrap_or_default()
}

/// What tests need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    Database(Engine),
    Redis,
}

const NEEDS: [Need; 3] = [
    Need::Database(Engine::Mysql),
    Need::Database(Engine::Mariadb),
    Need::Redis,
];

impl Need {
    const fn name(self) -> &'static str {
        match self {
            Self::Database(engine) => engine.name(),
            Self::Redis => "Redis",
        }
    }

    /// The variable with the URL of a running one.
    const fn variable(self) -> &'static str {
        match self {
            Self::Database(Engine::Mysql) => "GUAFEN_TEST_MYSQL_URL",
            Self::Database(Engine::Mariadb) => "GUAFEN_TEST_MARIADB_URL",
            Self::Redis => "GUAFEN_TEST_REDIS_URL",
        }
    }

    /// Whether a binary of this machine starts one.
    fn is_installed(self) -> Result<bool> {
        let program = match self {
            Self::Database(engine) => engine.program()?,
            Self::Redis => redis_program()?,
        };
        Ok(program.is_some())
    }

    fn is_given(self) -> bool {
        std::env::var_os(self.variable()).is_some_and(|url| !url.is_empty())
    }
}

/// Where the servers of a run come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Binaries of this machine, or running ones of the environment.
    Here,
    /// Docker: tests take containers of their own too.
    Docker,
}

/// Something that runs for the steps. It ends with the value.
enum Running {
    // The values are kept for what their end does.
    Database(#[expect(dead_code, reason = "ends with the value")] Box<Server>),
    Redis(#[expect(dead_code, reason = "ends with the value")] Box<Redis>),
    Container(#[expect(dead_code, reason = "ends with the value")] Container),
}

/// The servers of the steps. They end with the value.
pub(crate) struct Servers {
    /// Where they come from.
    pub(crate) origin: Origin,
    _running: Vec<Running>,
}

/// Obtains what the environment does not name, and tells it to everything that is started from
/// now on. The inner error says what is missing, and what to do about it.
pub(crate) async fn obtain() -> Result<Result<Servers, String>> {
    let missing: Vec<Need> = NEEDS.into_iter().filter(|need| !need.is_given()).collect();
    let mut running = Vec::new();
    let mut variables = Vec::new();
    let mut origin = Origin::Here;
    if !missing.is_empty() && containers::is_docker_here() {
        origin = Origin::Docker;
        for need in missing {
            let container = containers::start(need).await?;
            say(need, &container.url, "a container");
            variables.push((need.variable().to_owned(), container.url.clone()));
            running.push(Running::Container(container));
        }
    } else {
        for need in missing {
            let (url, server) = match start(need).await {
                Ok(started) => started,
                Err(absent) => {
                    println!("{absent:#}");
                    if let Err(why) = install::install(need) {
                        return Ok(Err(format!(
                            "no {}: {why:#}; or start Docker; or set {} to a running one",
                            need.name(),
                            need.variable()
                        )));
                    }
                    start(need).await?
                }
            };
            say(need, &url, "started for this run");
            variables.push((need.variable().to_owned(), url));
            running.push(server);
        }
    }
    if let Some(dir) = servers_dir().filter(|dir| dir.exists()) {
        let dir = dir.to_string_lossy().into_owned();
        variables.push(("GUAFEN_TEST_SERVERS_DIR".to_owned(), dir));
    }
    // The first of a process is kept: it obtains once.
    let _ = ENVIRONMENT.set(variables);
    Ok(Ok(Servers {
        origin,
        _running: running,
    }))
}

/// What steps and tests start, kill and start again by themselves, wherever the others are.
const STARTED: [Need; 2] = [Need::Database(Engine::Mysql), Need::Redis];

/// Sees to it that these can be started on this machine: installs what is missing, once for this
/// process. The error says what is missing, and what to do about it.
pub(crate) fn binaries() -> Result<(), String> {
    static BINARIES: OnceLock<Result<(), String>> = OnceLock::new();
    let obtain = || STARTED.into_iter().try_for_each(installed);
    BINARIES
        .get_or_init(|| obtain().map_err(|why| format!("{why:#}")))
        .clone()
}

fn installed(need: Need) -> Result<()> {
    if need.is_installed()? {
        return Ok(());
    }
    let name = need.name();
    if let Err(why) = install::install(need) {
        bail!("no {name} on this machine that could be started and killed: {why:#}");
    }
    if !need.is_installed()? {
        bail!("{name} was installed, and is not found");
    }
    Ok(())
}

/// The crates whose tests start servers of this machine by themselves. With Docker, clusters alone:
/// the others are containers.
pub(crate) fn starting(origin: Origin) -> Result<Vec<String>> {
    let mut names = crates()?;
    let mut starts = Vec::new();
    for path in tidy::found(&["crates"], "rs")? {
        let text = std::fs::read_to_string(shell::root().join(&path))?;
        if path.contains("/tests/") && starts_servers(&text, origin) {
            starts.push(path);
        }
    }
    names.retain(|name| {
        let folder = format!("crates/{name}/");
        starts.iter().any(|path| path.starts_with(&folder))
    });
    names.sort();
    Ok(names)
}

fn starts_servers(text: &str, origin: Origin) -> bool {
    let words: &[&str] = match origin {
        Origin::Docker => &["redis_cluster("],
        Origin::Here => &["redis_cluster(", "private_redis(", "mysql_server"],
    };
    words.iter().any(|word| text.contains(word))
}

/// `cargo xtask servers`: keeps them until Ctrl-C, for tests that are run by hand.
pub(crate) async fn keep() -> Result<Outcome> {
    let servers = match obtain().await? {
        Ok(servers) => servers,
        Err(why) => {
            println!("{why}");
            return Ok(Outcome::NotRun(why));
        }
    };
    for (name, value) in environment() {
        println!("export {name}={value}");
    }
    println!("they run until Ctrl-C");
    tokio::signal::ctrl_c().await?;
    drop(servers);
    Ok(Outcome::Passed)
}

fn say(need: Need, url: &str, how: &str) {
    println!("{}: {url} ({how})", need.name());
}

async fn start(need: Need) -> Result<(String, Running)> {
    Ok(match need {
        Need::Database(engine) => {
            let server = mysql_server(engine).await?;
            (server.url(), Running::Database(Box::new(server)))
        }
        Need::Redis => {
            let redis = private_redis().await?;
            (redis.url().to_owned(), Running::Redis(Box::new(redis)))
        }
    })
}

/// Whether a program is in the path and answers to this argument.
fn answers(program: &str, argument: &str) -> bool {
    std::process::Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The crates whose tests need servers: those that use test-support, and itself.
pub(crate) fn crates() -> Result<Vec<String>> {
    let mut command = shell::cargo();
    command.args(["metadata", "--no-deps", "--locked", "--format-version", "1"]);
    let output = command.output()?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    Ok(needing(&metadata))
}

fn needing(metadata: &serde_json::Value) -> Vec<String> {
    let list = |value: &serde_json::Value, field: &str| {
        value
            .get(field)
            .and_then(serde_json::Value::as_array)
            .cloned()
            .unwrap_or_default()
    };
    let is =
        |value: &serde_json::Value| value.get("name").is_some_and(|name| name == "test-support");
    list(metadata, "packages")
        .iter()
        .filter(|package| is(package) || list(package, "dependencies").iter().any(is))
        .filter_map(|package| package.get("name")?.as_str().map(str::to_owned))
        // What these do with servers is a step of its own.
        .filter(|name| !["xtask", "app-api"].contains(&name.as_str()))
        .collect()
}

/// The cache directory's tree of servers, or why there is no place for one.
fn tree() -> Result<PathBuf> {
    servers_dir().ok_or_else(|| {
        anyhow::anyhow!("no place for servers: set HOME, XDG_CACHE_HOME or GUAFEN_TEST_SERVERS_DIR")
    })
}

#[cfg(test)]
mod tests {
    use super::Origin;

    #[test]
    fn what_starts_servers_by_itself_is_known() {
        let starting = |origin| super::starting(origin).expect("a list");
        assert_eq!(starting(Origin::Docker), ["adapters-redis", "test-support"]);
        let here = starting(Origin::Here);
        for name in ["adapters-mysql", "adapters-redis", "production"] {
            assert!(here.iter().any(|found| found == name), "{name}: {here:?}");
        }
        assert!(!here.iter().any(|found| found == "domain"), "{here:?}");
    }

    #[test]
    fn crates_that_use_test_support_need_servers() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "domain", "dependencies": [{ "name": "serde" }] },
            { "name": "adapters-mysql", "dependencies": [{ "name": "test-support" }] },
            { "name": "test-support", "dependencies": [] },
            { "name": "xtask", "dependencies": [{ "name": "test-support" }] },
            { "name": "app-api", "dependencies": [{ "name": "test-support" }] },
        ]});
        assert_eq!(
            super::needing(&metadata),
            ["adapters-mysql", "test-support"]
        );
    }
}
