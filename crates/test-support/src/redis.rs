//! A Redis for a test.

use crate::{
    binaries::{Program, variable},
    instance::{Instance, fresh_dir},
    ports::free_port,
    resp::{Access, Reply},
};
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, SocketAddr, ToSocketAddrs},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

const HOW: &str = "no Redis for this test: run it by `cargo xtask test`, or install redis-server, \
    or set GUAFEN_TEST_REDIS_SERVER to its path or GUAFEN_TEST_REDIS_URL to a running one";
/// How long a test waits for one of the sixteen databases of a shared server.
const TURN_MAX: Duration = Duration::from_secs(120);

/// An empty Redis. A server of the test's own ends with the value.
#[derive(Debug)]
pub struct Redis {
    access: Access,
    url: String,
    own: Option<Instance>,
}

/// The `redis-server` that tests start: `GUAFEN_TEST_REDIS_SERVER`, else an installed one, else
/// that of the tree.
///
/// # Errors
/// The variable does not name one that starts.
pub fn program() -> Result<Option<Program>> {
    let given = Program::from_variable("GUAFEN_TEST_REDIS_SERVER")?;
    Ok(given
        .or_else(|| Program::find(&["redis-server"], None, |_| true))
        .or_else(|| Program::find(&[], Some("usr/bin/redis-server"), |_| true)))
}

/// An empty Redis: a server of the test's own if `GUAFEN_TEST_REDIS_SERVER` names a binary, else
/// a database of the server at `GUAFEN_TEST_REDIS_URL`, else as `private_redis`.
///
/// # Errors
/// There is none; the message says how to get one.
pub async fn redis() -> Result<Redis> {
    match variable("GUAFEN_TEST_REDIS_URL") {
        Some(url) if variable("GUAFEN_TEST_REDIS_SERVER").is_none() => shared(&url).await,
        _ => private_redis().await,
    }
}

/// A Redis server of the test's own, which may be stopped, paused and killed. It keeps nothing on
/// disk: started again it is empty.
///
/// # Errors
/// There is none; the message says how to get one.
pub async fn private_redis() -> Result<Redis> {
    #[cfg(feature = "docker")]
    if variable("GUAFEN_TEST_REDIS_SERVER").is_none() {
        match start_contained().await {
            Ok(redis) => return Ok(redis),
            Err(error) => eprintln!("no Redis by Docker, so one of this machine: {error:#}"),
        }
    }
    let program = program()?.context(HOW)?;
    let mut error = anyhow::anyhow!(HOW);
    // Another process may take the port in between.
    for _ in 0..3 {
        match start_own(&program).await {
            Ok(redis) => return Ok(redis),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

async fn start_own(program: &Program) -> Result<Redis> {
    let port = free_port()?;
    let dir = fresh_dir("redis")?;
    let own = Instance::of_command(program.command(arguments(port, dir.path())), dir);
    let redis = of_instance(own, port);
    redis.start().await?;
    Ok(redis)
}

#[cfg(feature = "docker")]
async fn start_contained() -> Result<Redis> {
    use crate::docker::{Container, Recipe};
    let args = ["redis-server", "--save", "", "--appendonly", "no"];
    let recipe = Recipe {
        image: variable("GUAFEN_TEST_REDIS_IMAGE").unwrap_or_else(|| "redis:8".to_owned()),
        port: 6379,
        environment: &[],
        args: args.map(str::to_owned).to_vec(),
    };
    let port = free_port()?;
    let own = Instance::of_container(Container::start(recipe, port).await?);
    let redis = of_instance(own, port);
    redis.start().await?;
    Ok(redis)
}

fn of_instance(own: Instance, port: u16) -> Redis {
    Redis {
        access: Access {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            credentials: Vec::new(),
            db: 0,
        },
        url: format!("redis://127.0.0.1:{port}"),
        own: Some(own),
    }
}

/// What every server of ours is started with.
pub(crate) fn arguments(port: u16, dir: &std::path::Path) -> Vec<String> {
    let port = port.to_string();
    let dir = dir.to_string_lossy();
    [
        "--port",
        &port,
        "--bind",
        "127.0.0.1",
        "--dir",
        &dir,
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// One of the databases 0 to 15 of a running server, emptied.
async fn shared(url: &str) -> Result<Redis> {
    let (addr, credentials, authority) = parse(url)
        .with_context(|| format!("GUAFEN_TEST_REDIS_URL={url} must be redis://host:port"))?;
    let db = turn().await?;
    let redis = Redis {
        access: Access {
            addr,
            credentials,
            db,
        },
        url: format!("redis://{authority}/{db}"),
        own: None,
    };
    redis
        .flush()
        .await
        .context("the server of GUAFEN_TEST_REDIS_URL")?;
    Ok(redis)
}

/// The databases of the shared server that tests of this process use now.
static TAKEN: Mutex<BTreeSet<u8>> = Mutex::new(BTreeSet::new());

async fn turn() -> Result<u8> {
    let started = Instant::now();
    loop {
        {
            let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(free) = (0..16).find(|db| !taken.contains(db)) {
                taken.insert(free);
                return Ok(free);
            }
        }
        if started.elapsed() > TURN_MAX {
            bail!("all sixteen databases of the shared Redis are in use by other tests");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Address, credentials for AUTH, and the authority as it stands there.
pub(crate) fn parse(url: &str) -> Result<(SocketAddr, Vec<String>, String)> {
    let rest = url
        .split_once("://")
        .map(|(_, rest)| rest)
        .context("no scheme")?;
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    let (credentials, host) = match authority.rsplit_once('@') {
        Some((credentials, host)) => (credentials, host),
        None => ("", authority),
    };
    let credentials = match credentials.split_once(':') {
        Some(("", password)) => vec![password.to_owned()],
        Some((user, password)) => vec![user.to_owned(), password.to_owned()],
        None => Vec::new(),
    };
    let addr = host
        .to_socket_addrs()
        .with_context(|| format!("{host} is not host:port"))?
        .next()
        .context("the host has no address")?;
    Ok((addr, credentials, authority.to_owned()))
}

impl Redis {
    /// For clients: `redis://127.0.0.1:6379` or, on a shared server, `redis://…/3`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its address, for a proxy in front of it.
    pub const fn addr(&self) -> SocketAddr {
        self.access.addr
    }

    /// Whether it may be stopped.
    pub const fn is_private(&self) -> bool {
        self.own.is_some()
    }

    fn own(&self) -> Result<&Instance> {
        self.own
            .as_ref()
            .context("this Redis is shared with others and cannot be stopped: use private_redis()")
    }

    /// Sends one command, for what a test does or looks at besides its client.
    ///
    /// # Errors
    /// It cannot be reached, does not answer within 5 s, or answers with an error.
    pub async fn command(&self, parts: &[&str]) -> Result<Reply> {
        self.access.command(parts).await
    }

    /// Empties it: all of a server of its own, else its database.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn flush(&self) -> Result<()> {
        let flush = if self.is_private() {
            "FLUSHALL"
        } else {
            "FLUSHDB"
        };
        self.command(&[flush]).await.map(drop)
    }

    /// Kills it (−9). Its port stays its own.
    ///
    /// # Errors
    /// It is shared.
    pub fn stop(&self) -> Result<()> {
        self.own().map(Instance::kill)
    }

    /// Starts it again on the same port, empty, and waits until it answers.
    ///
    /// # Errors
    /// It is shared, or does not start.
    pub async fn start(&self) -> Result<()> {
        let is_ready = || async { self.command(&["PING"]).await.map(drop) };
        self.own()?.start(is_ready).await
    }

    /// SIGSTOP: it keeps its connections and takes new ones, but answers nothing.
    ///
    /// # Errors
    /// It is shared, or does not run.
    pub fn pause(&self) -> Result<()> {
        self.own()?.pause()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// It is shared, or does not run.
    pub fn resume(&self) -> Result<()> {
        self.own()?.resume()
    }

    /// Its process, if it is a private one that runs.
    pub fn pid(&self) -> Option<u32> {
        self.own.as_ref().and_then(Instance::pid)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        if self.own.is_none() {
            let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
            taken.remove(&self.access.db);
        }
    }
}
