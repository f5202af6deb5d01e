//! The servers that tests need: from the environment, Docker, this machine, or installed for them.

mod containers;
mod install;

use crate::{shell, steps::Outcome};
use anyhow::Result;
use containers::Container;
use std::{path::PathBuf, process::Stdio, sync::OnceLock};
use test_support::{Engine, Redis, Server, mysql_server, private_redis, servers_dir};

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
                            "no {}: {why:#}; or set {} to a running one",
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
