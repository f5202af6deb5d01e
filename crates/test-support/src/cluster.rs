//! A Redis Cluster for a test: three masters with a replica each, six real processes.

use crate::{
    binaries::{Program, variable},
    instance::{Instance, fresh_dir},
    ports::free_port,
    redis::{arguments, parse, program},
    resp::{Access, Reply},
};
use anyhow::{Context, Result, bail};
use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

const MASTERS: usize = 3;
const NODES: usize = 2 * MASTERS;
const SLOTS: usize = 16_384;
/// How long the nodes may take to agree.
const AGREED_MAX: Duration = Duration::from_secs(60);

/// A cluster, empty when it is handed out. One of the test's own ends with the value.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Access>,
    own: Vec<Instance>,
    url: String,
}

/// The cluster at `GUAFEN_TEST_REDIS_CLUSTER_URL`, unless `GUAFEN_TEST_REDIS_SERVER` names a
/// binary; else as `private_redis_cluster`.
///
/// # Errors
/// There is none; the message says how to get one.
pub async fn redis_cluster() -> Result<Cluster> {
    match variable("GUAFEN_TEST_REDIS_CLUSTER_URL") {
        Some(url) if variable("GUAFEN_TEST_REDIS_SERVER").is_none() => shared(&url).await,
        _ => private_redis_cluster().await,
    }
}

/// A cluster of the test's own: its nodes may be killed, paused and made masters.
///
/// # Errors
/// There is no `redis-server`, or the nodes do not agree within a minute.
pub async fn private_redis_cluster() -> Result<Cluster> {
    let program = program()?.context(
        "no Redis for this test: run it by `cargo xtask test`, or install redis-server, or set \
         GUAFEN_TEST_REDIS_SERVER to its path or GUAFEN_TEST_REDIS_CLUSTER_URL to a running cluster",
    )?;
    let mut error = anyhow::anyhow!("no cluster");
    // Another process may take a port in between.
    for _ in 0..3 {
        match start_own(&program).await {
            Ok(cluster) => return Ok(cluster),
            Err(failed) => error = failed,
        }
    }
    Err(error)
}

async fn start_own(program: &Program) -> Result<Cluster> {
    let mut nodes = Vec::new();
    let mut own = Vec::new();
    let mut buses = Vec::new();
    for _ in 0..NODES {
        let (port, bus) = (free_port()?, free_port()?);
        let dir = fresh_dir("cluster")?;
        let mut args = arguments(port, dir.path());
        let bus = bus.to_string();
        let more = [
            "--cluster-enabled",
            "yes",
            // Not port + 10000: that lies in the system's range for outgoing connections.
            "--cluster-port",
            &bus,
            "--cluster-node-timeout",
            "3000",
            "--cluster-config-file",
            "nodes.conf",
        ];
        args.extend(more.map(str::to_owned));
        buses.push(bus);
        nodes.push(Access {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            credentials: Vec::new(),
            db: 0,
        });
        own.push(Instance::of_command(program.command(args), dir));
    }
    let url = url(&nodes.iter().map(|node| node.addr).collect::<Vec<_>>());
    let cluster = Cluster { nodes, own, url };
    for index in 0..NODES {
        cluster.start(index).await?;
    }
    cluster.form(&buses).await?;
    Ok(cluster)
}

fn url(addrs: &[SocketAddr]) -> String {
    let nodes: Vec<String> = addrs[1..]
        .iter()
        .map(|node| format!("node={node}"))
        .collect();
    format!("redis-cluster://{}?{}", addrs[0], nodes.join("&"))
}

async fn shared(url: &str) -> Result<Cluster> {
    let (addr, credentials, _) = parse(url).with_context(|| {
        format!("GUAFEN_TEST_REDIS_CLUSTER_URL={url} must be redis-cluster://host:port")
    })?;
    let mut addrs = vec![addr];
    let (_, query) = url.split_once('?').unwrap_or_default();
    for node in query
        .split('&')
        .filter_map(|part| part.strip_prefix("node="))
    {
        addrs.push(
            node.parse()
                .with_context(|| format!("{node} is not an address"))?,
        );
    }
    let access = |addr| Access {
        addr,
        credentials: credentials.clone(),
        db: 0,
    };
    let cluster = Cluster {
        nodes: addrs.into_iter().map(access).collect(),
        own: Vec::new(),
        url: url.to_owned(),
    };
    cluster
        .flush()
        .await
        .context("the cluster of GUAFEN_TEST_REDIS_CLUSTER_URL")?;
    Ok(cluster)
}

impl Cluster {
    /// `redis-cluster://127.0.0.1:P1?node=127.0.0.1:P2&…`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The addresses of its nodes, by the index that the other calls take.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.addr).collect()
    }

    /// Whether its nodes may be stopped.
    pub fn is_private(&self) -> bool {
        !self.own.is_empty()
    }

    /// Sends one command to one node.
    ///
    /// # Errors
    /// It cannot be reached, does not answer within 5 s, or answers with an error.
    pub async fn command(&self, index: usize, parts: &[&str]) -> Result<Reply> {
        let node = self.nodes.get(index).context("there is no such node")?;
        node.command(parts).await
    }

    /// The indexes of the nodes that say that they are masters now.
    ///
    /// # Errors
    /// None answers.
    pub async fn masters(&self) -> Result<Vec<usize>> {
        let mut masters = Vec::new();
        for index in 0..self.nodes.len() {
            let info = self.command(index, &["INFO", "replication"]).await;
            if info.is_ok_and(|info| info.text().is_some_and(|text| text.contains("role:master"))) {
                masters.push(index);
            }
        }
        if masters.is_empty() {
            bail!("no node of the cluster says that it is a master");
        }
        Ok(masters)
    }

    /// Empties every master.
    ///
    /// # Errors
    /// One cannot be reached.
    pub async fn flush(&self) -> Result<()> {
        for index in self.masters().await? {
            self.command(index, &["FLUSHALL"]).await?;
        }
        Ok(())
    }

    /// Makes a replica of every master take its place, and waits until they have.
    ///
    /// # Errors
    /// They do not within a minute.
    pub async fn fail_over(&self) -> Result<()> {
        let before = self.masters().await?;
        let replicas: Vec<usize> = (0..self.nodes.len())
            .filter(|index| !before.contains(index))
            .collect();
        let started = Instant::now();
        loop {
            let now = self.masters().await?;
            if now.len() == before.len() && now.iter().all(|index| !before.contains(index)) {
                return self.agreed().await;
            }
            if started.elapsed() > AGREED_MAX {
                bail!("the replicas did not take over: masters were {before:?} and are {now:?}");
            }
            for index in replicas.iter().filter(|index| !now.contains(index)) {
                // Asked again: a master that is busy lets the attempt pass. Refused while one runs.
                let _ = self.command(*index, &["CLUSTER", "FAILOVER"]).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// Makes one cluster of the nodes: the first half are masters.
    async fn form(&self, buses: &[String]) -> Result<()> {
        for (index, bus) in buses.iter().enumerate().skip(1) {
            let port = self.nodes[index].addr.port().to_string();
            self.command(0, &["CLUSTER", "MEET", "127.0.0.1", &port, bus])
                .await?;
        }
        let mut ids = Vec::new();
        for master in 0..MASTERS {
            let (first, end) = (SLOTS * master / MASTERS, SLOTS * (master + 1) / MASTERS);
            let (first, last) = (first.to_string(), (end - 1).to_string());
            let parts = ["CLUSTER", "ADDSLOTSRANGE", &first, &last];
            self.command(master, &parts).await?;
            let id = self.command(master, &["CLUSTER", "MYID"]).await?;
            ids.push(id.text().context("a node has no id")?.to_owned());
            // Of two nodes of one epoch one gives up its slots.
            let epoch = (master + 1).to_string();
            // Refused if the nodes have settled it already.
            let _ = self
                .command(master, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch])
                .await;
        }
        let started = Instant::now();
        for replica in MASTERS..NODES {
            let parts = ["CLUSTER", "REPLICATE", &ids[replica - MASTERS]];
            // A node can follow one that it has heard of.
            while let Err(error) = self.command(replica, &parts).await {
                if started.elapsed() > AGREED_MAX {
                    return Err(error.context("the nodes do not find each other"));
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
        self.agreed().await
    }

    /// Waits until every node says that the cluster is complete and every replica is in step.
    ///
    /// # Errors
    /// They do not within a minute.
    pub async fn agreed(&self) -> Result<()> {
        let started = Instant::now();
        loop {
            let mut unready = None;
            for index in 0..self.nodes.len() {
                if !self.is_complete(index).await {
                    unready = Some(index);
                }
            }
            let Some(index) = unready else {
                return Ok(());
            };
            if started.elapsed() > AGREED_MAX {
                bail!(
                    "the cluster is not complete as {} sees it",
                    self.nodes[index].addr
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn is_complete(&self, index: usize) -> bool {
        let info = self.command(index, &["CLUSTER", "INFO"]).await;
        let role = self.command(index, &["INFO", "replication"]).await;
        let (Ok(Reply::Text(info)), Ok(Reply::Text(role))) = (info, role) else {
            return false;
        };
        let is_whole = [
            "cluster_state:ok",
            "cluster_slots_ok:16384",
            "cluster_size:3",
        ]
        .iter()
        .all(|line| info.contains(line));
        let in_step = role.contains("role:master") && role.contains("connected_slaves:1")
            || role.contains("master_link_status:up");
        is_whole && (in_step || !self.is_private())
    }

    fn own(&self, index: usize) -> Result<&Instance> {
        self.own.get(index).context(
            "this cluster is shared with others and cannot be stopped: use private_redis_cluster()",
        )
    }

    /// Kills one node (−9).
    ///
    /// # Errors
    /// The cluster is shared.
    pub fn kill(&self, index: usize) -> Result<()> {
        self.own(index).map(Instance::kill)
    }

    /// Starts it again on its port and waits until it answers.
    ///
    /// # Errors
    /// The cluster is shared, or it does not start.
    pub async fn start(&self, index: usize) -> Result<()> {
        let is_ready = || async { self.command(index, &["PING"]).await.map(drop) };
        self.own(index)?.start(is_ready).await
    }

    /// SIGSTOP for one node.
    ///
    /// # Errors
    /// The cluster is shared, or it does not run.
    pub fn pause(&self, index: usize) -> Result<()> {
        self.own(index)?.pause()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// The cluster is shared, or it does not run.
    pub fn resume(&self, index: usize) -> Result<()> {
        self.own(index)?.resume()
    }
}
