//! A whole production stack on loopback: MySQL with a schema for the store and one for the ledger,
//! Redis, app-funds, two APIs and two reconcilers; with a proxy before each server where asked for.

mod node;

use crate::{books, shell, token::Signer};
use anyhow::{Context, Result};
pub(crate) use node::Node;
use node::Program;
use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};
use test_support::{
    Database, Engine, Proxy, Redis, Server, free_port, mysql_server, private_redis,
};

/// How many APIs and how many reconcilers, where nothing else is asked for.
pub(crate) const NODES: u8 = 2;

/// How the binaries are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// For tests: soon.
    Release,
    /// As they are shipped: slower to build, and faster.
    Dist,
}

impl Build {
    /// The profile in Cargo.toml, and the folder of what it builds.
    const fn profile(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Dist => "dist",
        }
    }
}

/// What nodes reach through a proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Through {
    /// The store's database.
    pub(crate) store: bool,
    /// The funds system.
    pub(crate) funds: bool,
}

/// A running stack; all of it ends with the value. The nodes end before what they use.
pub(crate) struct Stack {
    /// The nodes that serve viewers.
    pub(crate) apis: Vec<Node>,
    /// The nodes that settle.
    pub(crate) reconcilers: Vec<Node>,
    /// The funds system.
    pub(crate) funds: Node,
    /// What stands between the nodes and the store, if anything does.
    pub(crate) store_proxy: Option<Proxy>,
    /// Likewise before the funds system.
    pub(crate) funds_proxy: Option<Proxy>,
    /// What is only shown.
    pub(crate) redis: Redis,
    store: Database,
    ledger: Database,
    /// Both schemas' server.
    pub(crate) mysql: Server,
    /// Configurations and logs.
    pub(crate) dir: PathBuf,
    secret: String,
}

impl Stack {
    /// Builds the binaries and starts everything: so many APIs, and as many reconcilers.
    pub(crate) async fn start(build: Build, through: Through, nodes: u8) -> Result<Self> {
        let binaries = built(build)?;
        let dir = shell::fresh_dir("stack")?;
        Self::start_in(&binaries, &dir, through, nodes)
            .await
            .with_context(|| format!("configurations and logs are in {}", dir.display()))
    }

    async fn start_in(binaries: &Path, dir: &Path, through: Through, nodes: u8) -> Result<Self> {
        let mysql = mysql_server(Engine::Mysql).await?;
        let store = mysql.database().await?;
        let ledger = mysql.database().await?;
        let redis = private_redis().await?;
        let funds_addr = local()?;
        let secret = secret();
        let store_proxy = proxy(through.store, mysql.addr()).await?;
        let funds_proxy = proxy(through.funds, funds_addr).await?;
        let program = |name: &str| Program {
            binary: binaries.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)),
            dir: dir.to_owned(),
        };
        let funds = Node::new(
            "app-funds",
            program("app-funds"),
            &["serve"],
            &funds_config(funds_addr, &plain(ledger.url())),
            "app-funds listens on",
            Some(funds_addr),
        )?;
        let shared = Shared {
            store: via(store_proxy.as_ref(), store.url()),
            redis: redis.url().to_owned(),
            funds: via(funds_proxy.as_ref(), &format!("http://{funds_addr}")),
        };
        let mut apis = Vec::new();
        let mut reconcilers = Vec::new();
        for number in 1..=nodes {
            let addr = local()?;
            apis.push(Node::new(
                &format!("app-api-{number}"),
                program("app-api"),
                &["serve"],
                &shared.api(addr, &secret),
                "guafen listens on",
                Some(addr),
            )?);
            reconcilers.push(Node::new(
                &format!("app-reconciler-{number}"),
                program("app-reconciler"),
                &["run"],
                &shared.reconciler(),
                "app-reconciler runs",
                None,
            )?);
        }
        funds.run_once("migrate").await?;
        funds.start().await?;
        apis[0].run_once("migrate").await?;
        for node in apis.iter().chain(&reconcilers) {
            node.start().await?;
        }
        let stack = Self {
            apis,
            reconcilers,
            funds,
            store_proxy,
            funds_proxy,
            redis,
            store,
            ledger,
            mysql,
            dir: dir.to_owned(),
            secret,
        };
        println!(
            "stack: APIs at {}, funds at {funds_addr}, store {}, ledger {}, Redis {}; logs in {}",
            stack.bases().join(" and "),
            stack.store.url(),
            stack.ledger.url(),
            stack.redis.url(),
            dir.display()
        );
        Ok(stack)
    }

    /// Where the APIs are.
    pub(crate) fn bases(&self) -> Vec<String> {
        let addrs = self.apis.iter().filter_map(Node::addr);
        addrs.map(|addr| format!("http://{addr}")).collect()
    }

    /// Signs tokens for it.
    pub(crate) fn signer(&self) -> Result<Signer> {
        Signer::from_text(&self.secret)
    }

    /// Its books, past every proxy.
    pub(crate) fn books(&self) -> Result<checker::Books> {
        books::named(self.store.url(), self.ledger.url())
    }

    /// Counts in the store's tables.
    pub(crate) async fn count(&self, query: &str) -> Result<i64> {
        self.store.number(query).await
    }

    /// Counts in the ledger's tables.
    pub(crate) async fn count_in_ledger(&self, query: &str) -> Result<i64> {
        self.ledger.number(query).await
    }

    /// Every node.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.apis
            .iter()
            .chain(&self.reconcilers)
            .chain(std::iter::once(&self.funds))
    }

    /// Asks every node to end, the ones that use others first; what did not end well is told.
    pub(crate) async fn stop(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for node in self.nodes() {
            if let Err(error) = node.stop().await {
                faults.push(format!("{error:#}"));
            }
        }
        faults
    }

    /// What in the logs nobody may have to read: panics.
    pub(crate) fn panics(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for node in self.nodes() {
            let log = fs::read_to_string(node.log()).unwrap_or_default();
            for line in log.lines().filter(|line| line.contains("panicked")) {
                faults.push(format!("in {}: {line}", node.log().display()));
            }
        }
        faults
    }
}

/// Builds the three binaries; where they lie.
fn built(build: Build) -> Result<PathBuf> {
    let profile = build.profile();
    println!("building app-api, app-funds and app-reconciler ({profile}) ...");
    let packages = ["app-api", "app-funds", "app-reconciler"];
    let mut command = shell::cargo();
    command.args(["build", "--locked", "--profile", profile]);
    for package in packages {
        command.args(["--package", package]);
    }
    shell::run(&mut command)?;
    Ok(shell::target_dir().join(profile))
}

async fn proxy(wanted: bool, target: SocketAddr) -> Result<Option<Proxy>> {
    if !wanted {
        return Ok(None);
    }
    Proxy::start(target).await.map(Some)
}

fn via(proxy: Option<&Proxy>, url: &str) -> String {
    plain(&proxy.map_or_else(|| url.to_owned(), |proxy| proxy.through(url)))
}

/// Without encryption, as a database is reached on the same machine.
fn plain(url: &str) -> String {
    format!("{url}?ssl-mode=disabled")
}

fn local() -> Result<SocketAddr> {
    Ok(SocketAddr::from(([127, 0, 0, 1], free_port()?)))
}

/// Of this stack alone; it guards nothing but a game on loopback.
fn secret() -> String {
    let mut rng = crate::rng::Rng::new(crate::rng::fresh_seed());
    (0..4).map(|_| format!("{:016x}", rng.next())).collect()
}

fn funds_config(listen: SocketAddr, ledger: &str) -> String {
    format!("[server]\nlisten = \"{listen}\"\n\n[ledger]\nurl = \"{ledger}\"\n")
}

/// What every node but app-funds is told.
struct Shared {
    store: String,
    redis: String,
    funds: String,
}

impl Shared {
    /// One writer for each node: all share two cores, and fewer, larger batches cost less.
    fn reconciler(&self) -> String {
        let Self {
            store,
            redis,
            funds,
        } = self;
        format!(
            "[store]\nurl = \"{store}\"\nprofile = \"production\"\nwriters = 1\n\n[redis]\nurl = \"{redis}\"\n\n\
             [funds]\nurl = \"{funds}\"\nsandbox = true\n"
        )
    }

    fn api(&self, listen: SocketAddr, secret: &str) -> String {
        format!(
            "{}\n[server]\nlisten = \"{listen}\"\n\n[auth]\nhs256_secret = \"{secret}\"\n",
            self.reconciler()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_name_each_section_once() {
        let shared = Shared {
            store: "mysql://root@127.0.0.1:1/s".to_owned(),
            redis: "redis://127.0.0.1:2".to_owned(),
            funds: "http://127.0.0.1:3".to_owned(),
        };
        let listen = SocketAddr::from(([127, 0, 0, 1], 4));
        let api = shared.api(listen, &secret());
        for section in ["[store]", "[redis]", "[funds]", "[server]", "[auth]"] {
            assert_eq!(api.matches(section).count(), 1, "{section}");
        }
        assert!(!shared.reconciler().contains("[auth]"));
        assert!(funds_config(listen, "x").contains("[ledger]\nurl = \"x\""));
        assert_eq!(secret().len(), 64);
    }
}
