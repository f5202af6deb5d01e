//! A MySQL or MariaDB server for a test.

use crate::{
    binaries::{Program, variable},
    instance::{Instance, fresh_dir},
    ports::free_port,
    schema::{self, Database},
};
use anyhow::{Context, Result, bail};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Which of the two. They speak one protocol and differ in SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Engine {
    /// MySQL itself.
    Mysql,
    /// MariaDB.
    Mariadb,
}

impl Engine {
    /// Its name for people.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mysql => "MySQL",
            Self::Mariadb => "MariaDB",
        }
    }

    pub(crate) const fn url_variable(self) -> &'static str {
        match self {
            Self::Mysql => "GUAFEN_TEST_MYSQL_URL",
            Self::Mariadb => "GUAFEN_TEST_MARIADB_URL",
        }
    }

    const fn binary_variable(self) -> &'static str {
        match self {
            Self::Mysql => "GUAFEN_TEST_MYSQLD",
            Self::Mariadb => "GUAFEN_TEST_MARIADBD",
        }
    }

    /// The binary that tests start: the variable's, else an installed one, else that of the tree.
    /// One of the other engine is refused, whatever its name.
    ///
    /// # Errors
    /// The variable does not name one of this engine that starts.
    pub fn program(self) -> Result<Option<Program>> {
        let fits = |program: &Program| program.is_mariadb() == (self == Self::Mariadb);
        if let Some(given) = Program::from_variable(self.binary_variable())? {
            if !fits(&given) {
                bail!(
                    "{} is not {}: it says {}",
                    self.binary_variable(),
                    self.name(),
                    given.version()
                );
            }
            return Ok(Some(given));
        }
        Ok(match self {
            Self::Mysql => Program::find(&["mysqld"], Some("usr/sbin/mysqld"), fits),
            Self::Mariadb => Program::find(&["mariadbd", "mysqld"], None, fits),
        })
    }

    fn how(self) -> String {
        let (name, url, binary) = (self.name(), self.url_variable(), self.binary_variable());
        format!(
            "no {name} for this test: run it by `cargo xtask test`, or install {name}'s server, \
             or set {binary} to its path or {url} to a running one"
        )
    }
}

/// A server of a test's own: it may be stopped, killed, paused and started again on the same
/// port and data. It ends with the value.
#[derive(Debug)]
pub struct Server {
    engine: Engine,
    addr: SocketAddr,
    instance: Instance,
    version: String,
}

/// A server of the test's own, with the settings of a production server: a commit is on disk
/// before it is answered.
///
/// # Errors
/// There is none; the message says how to get one.
pub async fn mysql_server(engine: Engine) -> Result<Server> {
    mysql_server_with(engine, &[]).await
}

/// The same with more arguments, such as `--sync-binlog=0`.
///
/// # Errors
/// There is none, or it does not start with these.
pub async fn mysql_server_with(engine: Engine, more: &[&str]) -> Result<Server> {
    #[cfg(feature = "docker")]
    if variable(engine.binary_variable()).is_none() {
        match start_contained(engine, more).await {
            Ok(server) => return Ok(server),
            Err(error) => {
                let name = engine.name();
                eprintln!("no {name} by Docker, so one of this machine: {error:#}");
            }
        }
    }
    let program = engine.program()?.with_context(|| engine.how())?;
    let mut error = anyhow::anyhow!(engine.how());
    // Another process may take the port in between.
    for _ in 0..3 {
        match start_own(engine, &program, more).await {
            Ok(server) => return Ok(server),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

/// The one server that this process starts for all tests that need a schema alone.
pub(crate) async fn common(engine: Engine) -> Result<Arc<Server>> {
    static MYSQL: OnceCell<Result<Arc<Server>, String>> = OnceCell::const_new();
    static MARIADB: OnceCell<Result<Arc<Server>, String>> = OnceCell::const_new();
    let cell = match engine {
        Engine::Mysql => &MYSQL,
        Engine::Mariadb => &MARIADB,
    };
    // A failure is kept: not every test shall wait for it anew. The value is never dropped; the
    // guard ends the server with this process.
    let started = cell
        .get_or_init(|| async {
            let started = mysql_server(engine).await;
            started.map(Arc::new).map_err(|error| format!("{error:#}"))
        })
        .await;
    started.clone().map_err(anyhow::Error::msg)
}

async fn start_own(engine: Engine, program: &Program, more: &[&str]) -> Result<Server> {
    let dir = fresh_dir(if engine == Engine::Mysql {
        "mysql"
    } else {
        "mariadb"
    })?;
    let data = dir.path().join("data");
    let common = common_arguments(program, &data);
    initialize(engine, program, &common, &dir).await?;
    let port = free_port()?;
    let mut args = common;
    args.extend([
        format!("--port={port}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--socket={}", dir.path().join("s.sock").display()),
        format!("--pid-file={}", dir.path().join("server.pid").display()),
        // One of its own: a MariaDB that starts removes every temporary table that lies in the
        // directory, those of the servers beside it too.
        format!("--tmpdir={}", dir.path().display()),
    ]);
    args.extend(durable_arguments(engine, more));
    let server = Server {
        engine,
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        instance: Instance::of_command(program.command(args), dir),
        version: program.version().to_owned(),
    };
    server.start().await?;
    Ok(server)
}

/// What every server is given: a commit is on disk before it is answered.
fn durable_arguments(engine: Engine, more: &[&str]) -> Vec<String> {
    let mut args = vec![
        "--max-connections=600",
        "--innodb-flush-log-at-trx-commit=1",
        "--log-bin=binlog",
        "--server-id=1",
        "--sync-binlog=1",
    ];
    if engine == Engine::Mysql {
        args.push("--mysqlx=OFF");
    }
    args.extend(more);
    args.into_iter().map(str::to_owned).collect()
}

#[cfg(feature = "docker")]
async fn start_contained(engine: Engine, more: &[&str]) -> Result<Server> {
    use crate::docker::{Container, Recipe};
    let (setting, usual, environment): (_, _, &[(&str, &str)]) = match engine {
        Engine::Mysql => (
            "GUAFEN_TEST_MYSQL_IMAGE",
            "mysql:8.4",
            &[
                ("MYSQL_ALLOW_EMPTY_PASSWORD", "yes"),
                ("MYSQL_ROOT_HOST", "%"),
            ],
        ),
        Engine::Mariadb => (
            "GUAFEN_TEST_MARIADB_IMAGE",
            "mariadb:10.11",
            &[
                ("MARIADB_ALLOW_EMPTY_ROOT_PASSWORD", "yes"),
                ("MARIADB_ROOT_HOST", "%"),
            ],
        ),
    };
    let recipe = Recipe {
        image: variable(setting).unwrap_or_else(|| usual.to_owned()),
        port: 3306,
        environment,
        args: durable_arguments(engine, more),
    };
    let port = free_port()?;
    let mut server = Server {
        engine,
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        instance: Instance::of_container(Container::start(recipe, port).await?),
        version: String::new(),
    };
    server.start().await?;
    server.version = schema::text(&server.url(), "SELECT VERSION()").await?;
    Ok(server)
}

/// What the server is given both times.
fn common_arguments(program: &Program, data: &Path) -> Vec<String> {
    let mut args = vec![
        "--no-defaults".to_owned(),
        format!("--datadir={}", data.display()),
        "--secure-file-priv=".to_owned(),
    ];
    if let Some(tree) = program.tree() {
        args.push(format!("--basedir={}", tree.join("usr").display()));
        args.push(format!(
            "--lc-messages-dir={}",
            tree.join("usr/share/mysql").display()
        ));
    }
    let id = Command::new("id").arg("-u").output();
    if id.is_ok_and(|id| id.stdout.trim_ascii() == b"0") {
        // Neither server runs as root unless it is told to.
        args.push("--user=root".to_owned());
    }
    args
}

/// Makes the data directory: root has no password.
async fn initialize(
    engine: Engine,
    program: &Program,
    common: &[String],
    dir: &TempDir,
) -> Result<()> {
    let command = match engine {
        Engine::Mysql => {
            let mut args = common.to_vec();
            args.push("--initialize-insecure".to_owned());
            program.command(args)
        }
        Engine::Mariadb => {
            let mut command = vec!["mariadb-install-db".to_owned()];
            command.extend(
                common
                    .iter()
                    .filter(|arg| !arg.contains("secure-file"))
                    .cloned(),
            );
            command.extend([
                "--auth-root-authentication-method=normal".to_owned(),
                "--skip-test-db".to_owned(),
            ]);
            command
        }
    };
    let output = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot start {}", command[0]))?;
    if !output.status.success() {
        bail!(
            "{} could not make {}: {}\n{}{}",
            command.join(" "),
            dir.path().display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(())
}

impl Server {
    /// Which of the two.
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// What the binary says of itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Its address, for a proxy in front of it.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `mysql://root@127.0.0.1:3306`, without a schema; root has no password.
    pub fn url(&self) -> String {
        format!("mysql://root@{}", self.addr)
    }

    /// A fresh, empty schema on it.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn database(&self) -> Result<Database> {
        schema::create(&self.url()).await
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    ///
    /// # Errors
    /// It does not within a minute; then it was killed.
    pub async fn stop(&self) -> Result<()> {
        self.instance.stop().await
    }

    /// Kills it (−9). Its port stays its own.
    pub fn kill(&self) {
        self.instance.kill();
    }

    /// Starts it again on the same port and data, and waits until it takes connections.
    ///
    /// # Errors
    /// It does not start; the message has its last words.
    pub async fn start(&self) -> Result<()> {
        let url = self.url();
        let is_ready = || async { schema::number(&url, "SELECT 1").await.map(drop) };
        self.instance.start(is_ready).await
    }

    /// `kill` and `start`.
    ///
    /// # Errors
    /// As `start`.
    pub async fn restart(&self) -> Result<()> {
        self.kill();
        self.start().await
    }

    /// SIGSTOP: it keeps its connections, but answers nothing.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        self.instance.pause()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It does not run.
    pub fn resume(&self) -> Result<()> {
        self.instance.resume()
    }

    /// Whether its process runs.
    pub fn is_running(&self) -> bool {
        self.instance.is_running()
    }

    /// Its process, if it runs.
    pub fn pid(&self) -> Option<u32> {
        self.instance.pid()
    }
}

/// The URL variable's server, if it is set.
pub(crate) fn given(engine: Engine) -> Option<String> {
    variable(engine.url_variable())
}
