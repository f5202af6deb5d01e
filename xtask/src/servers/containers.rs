//! Servers in containers that this process starts and removes.

use super::{Need, answers};
use anyhow::{Context, Result, bail};
use std::{
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use test_support::{Engine, is_ready};

/// How long a server in a container may take; its image is there by then.
const READY_MAX: Duration = Duration::from_secs(180);

/// A container; removed when dropped.
pub(super) struct Container {
    id: String,
    /// Where its server is.
    pub(super) url: String,
}

/// Whether a Docker engine answers.
pub(super) fn is_docker_here() -> bool {
    answers("docker", "info")
}

/// The image, the server's port in it and what it is started with.
fn recipe(need: Need) -> (String, u16, &'static [&'static str]) {
    let image = |name: &str, usual: &str| {
        std::env::var(name)
            .ok()
            .filter(|image| !image.is_empty())
            .unwrap_or_else(|| usual.to_owned())
    };
    match need {
        Need::Database(Engine::Mysql) => (
            image("GUAFEN_TEST_MYSQL_IMAGE", "mysql:8.4"),
            3306,
            &[
                "-e",
                "MYSQL_ALLOW_EMPTY_PASSWORD=yes",
                "-e",
                "MYSQL_ROOT_HOST=%",
            ],
        ),
        Need::Database(Engine::Mariadb) => (
            image("GUAFEN_TEST_MARIADB_IMAGE", "mariadb:10.11"),
            3306,
            &[
                "-e",
                "MARIADB_ALLOW_EMPTY_ROOT_PASSWORD=yes",
                "-e",
                "MARIADB_ROOT_HOST=%",
            ],
        ),
        Need::Redis => (image("GUAFEN_TEST_REDIS_IMAGE", "redis:8"), 6379, &[]),
    }
}

fn docker(args: &[&str]) -> Result<String> {
    let output = Command::new("docker")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .context("cannot start docker")?;
    if !output.status.success() {
        bail!(
            "docker {} ended with {}: {}",
            args.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// Starts one on a free port of 127.0.0.1 and waits until it answers.
pub(super) async fn start(need: Need) -> Result<Container> {
    let (image, port, more) = recipe(need);
    println!("starting {image} ...");
    let publish = format!("127.0.0.1::{port}");
    let mut args = vec!["run", "--detach", "--rm", "--publish", &publish];
    args.extend(more);
    args.push(&image);
    let mut container = Container {
        id: docker(&args)?,
        url: String::new(),
    };
    let place = docker(&["port", &container.id, &port.to_string()])?;
    let host_port = place
        .lines()
        .next()
        .and_then(|line| line.rsplit_once(':'))
        .and_then(|(_, port)| port.parse::<u16>().ok())
        .with_context(|| format!("docker says that {image} listens on {place:?}"))?;
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, host_port));
    container.url = match need {
        Need::Database(_) => format!("mysql://root@{addr}"),
        Need::Redis => format!("redis://{addr}"),
    };
    let started = Instant::now();
    loop {
        let ready = match need {
            Need::Database(_) => is_ready(&container.url).await,
            Need::Redis => TcpStream::connect(addr).map(drop).map_err(Into::into),
        };
        match ready {
            Ok(()) => return Ok(container),
            Err(error) if started.elapsed() > READY_MAX => {
                return Err(error.context(format!("{image} does not answer at {addr}")));
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if let Err(error) = docker(&["rm", "--force", "--volumes", &self.id]) {
            println!("{error:#}");
        }
    }
}
