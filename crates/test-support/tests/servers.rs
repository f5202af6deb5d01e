//! Servers of a test's own: they start, stand still, die, come back, and end with their owner.

#![allow(clippy::expect_used, reason = "these are tests")]

use std::{
    future::Future,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    time::Duration,
};
use test_support::{
    Engine, Reply, Yardstick, command, database, mysql_server, mysql_server_with, private_redis,
    private_redis_cluster, redis,
};
use tokio::time::{Instant, interval};

const BOUND: Duration = Duration::from_secs(60);

async fn eventually<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    let started = Instant::now();
    let mut ticks = interval(Duration::from_millis(20));
    while !holds().await {
        assert!(started.elapsed() < BOUND, "not within a minute: {what}");
        ticks.tick().await;
    }
}

/// Whether anybody listens there.
fn lives(addr: SocketAddr) -> bool {
    TcpStream::connect_timeout(&addr, Duration::from_secs(2)).is_ok()
}

#[tokio::test]
async fn redis_is_private_stops_and_comes_back_empty() {
    let redis = private_redis().await.expect("a Redis");
    assert!(redis.is_private());
    redis.command(&["SET", "a", "1"]).await.expect("set");
    redis.stop().expect("stopped");
    assert!(!lives(redis.addr()));
    assert!(redis.command(&["GET", "a"]).await.is_err());
    redis.start().await.expect("started again");
    let found = redis.command(&["GET", "a"]).await.expect("it answers");
    assert_eq!(found, Reply::Nothing);
    redis.command(&["SET", "b", "2"]).await.expect("set");
    redis.flush().await.expect("flushed");
    let size = redis.command(&["DBSIZE"]).await.expect("it answers");
    assert_eq!(size, Reply::Number(0));
    let addr = redis.addr();
    drop(redis);
    assert!(!lives(addr), "it ends with its value");
}

#[tokio::test]
async fn a_paused_redis_answers_after_it_goes_on() {
    let redis = private_redis().await.expect("a Redis");
    redis.pause().expect("paused");
    let asked = tokio::time::timeout(Duration::from_millis(300), redis.command(&["PING"])).await;
    assert!(asked.is_err(), "it keeps its clients waiting");
    redis.resume().expect("resumed");
    let answer = redis.command(&["PING"]).await.expect("it answers");
    assert_eq!(answer.text(), Some("PONG"));
}

#[tokio::test]
async fn what_redis_hands_out_is_empty() {
    for _ in 0..2 {
        let redis = redis().await.expect("a Redis");
        let size = redis.command(&["DBSIZE"]).await.expect("it answers");
        assert_eq!(size, Reply::Number(0));
        redis.command(&["SET", "a", "1"]).await.expect("set");
    }
}

#[tokio::test]
async fn a_cluster_moves_its_masters_and_survives_the_death_of_one() {
    let cluster = private_redis_cluster().await.expect("a cluster");
    assert_eq!(cluster.masters().await.expect("masters"), [0, 1, 2]);
    assert_eq!(cluster.url().matches("127.0.0.1").count(), 6);
    cluster.fail_over().await.expect("failed over");
    let masters = cluster.masters().await.expect("masters");
    assert_eq!(masters, [3, 4, 5]);
    let dead = masters[0];
    cluster.kill(dead).expect("killed");
    eventually("a replica takes over", || async {
        let now = cluster.masters().await.unwrap_or_default();
        now.len() == 3 && !now.contains(&dead)
    })
    .await;
    cluster.start(dead).await.expect("it starts again");
    cluster.agreed().await.expect("it is a replica now");
    cluster.pause(dead).expect("paused");
    cluster.resume(dead).expect("resumed");
}

async fn keeps_what_was_committed(engine: Engine) {
    let server = mysql_server(engine).await.expect("a server");
    let database = server.database().await.expect("a schema");
    database
        .execute("CREATE TABLE kept (id INT PRIMARY KEY); INSERT INTO kept VALUES (1), (2)")
        .await
        .expect("written");
    let durable = database
        .number("SELECT @@innodb_flush_log_at_trx_commit + 10 * @@sync_binlog + 100 * @@log_bin")
        .await
        .expect("settings");
    assert_eq!(durable, 111, "as durable as in production");
    let url = server.url();
    server.restart().await.expect("it comes back after kill -9");
    assert_eq!(server.url(), url, "at the same place");
    let count = "SELECT COUNT(*) FROM kept";
    assert_eq!(database.number(count).await.expect("counted"), 2);
    server.stop().await.expect("it ends when asked");
    assert!(!server.is_running());
    assert!(database.number(count).await.is_err());
    server.start().await.expect("started");
    server.pause().expect("paused");
    let asked = tokio::time::timeout(Duration::from_millis(300), database.number(count)).await;
    assert!(asked.is_err(), "it keeps its clients waiting");
    server.resume().expect("resumed");
    assert_eq!(database.number(count).await.expect("counted"), 2);
    let addr = server.addr();
    drop((database, server));
    assert!(!lives(addr), "it ends with its value");
}

#[tokio::test]
async fn mysql_keeps_what_was_committed_through_kills() {
    keeps_what_was_committed(Engine::Mysql).await;
}

#[tokio::test]
async fn mariadb_keeps_what_was_committed_through_kills() {
    keeps_what_was_committed(Engine::Mariadb).await;
}

#[tokio::test]
async fn schemas_are_empty_apart_and_dropped() {
    let one = database(Engine::Mysql).await.expect("a schema");
    let other = database(Engine::Mysql).await.expect("a schema");
    assert_ne!(one.name(), other.name());
    one.execute("CREATE TABLE t (id INT)").await.expect("made");
    other
        .execute("CREATE TABLE t (id INT)")
        .await
        .expect("apart");
    let named = format!(
        "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '{}'",
        one.name()
    );
    assert_eq!(other.number(&named).await.expect("counted"), 1);
    drop(one);
    assert_eq!(other.number(&named).await.expect("counted"), 0);
}

#[tokio::test]
async fn engines_are_what_they_are_asked_to_be() {
    for (engine, is_mariadb) in [(Engine::Mysql, 0), (Engine::Mariadb, 1)] {
        let database = database(engine).await.expect("a schema");
        let found = database.number("SELECT VERSION() LIKE '%MariaDB%'").await;
        assert_eq!(found.expect("a version"), is_mariadb, "{}", engine.name());
    }
}

#[tokio::test]
async fn a_server_that_does_not_start_says_why() {
    let refused = mysql_server_with(Engine::Mysql, &["--no-such-option=1"]).await;
    let error = format!("{:#}", refused.expect_err("it cannot start"));
    assert!(error.contains("no-such-option"), "{error}");
}

#[tokio::test]
async fn servers_end_with_a_process_that_is_killed() {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_test-servers"))
        .args(["redis", "mariadb"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let mut lines = BufReader::new(owner.stdout.take().expect("an output")).lines();
    let mut addrs: Vec<SocketAddr> = Vec::new();
    for name in ["redis", "mariadb"] {
        let line = lines.next().expect("a line").expect("readable");
        let parts: Vec<&str> = line.split(' ').collect();
        assert_eq!(parts[0], name, "{line}");
        let place = parts[2].rsplit(['/', '@']).next().expect("an address");
        addrs.push(place.parse().expect("an address"));
    }
    command(addrs[0], &["PING"]).await.expect("it answers");
    assert!(addrs.iter().all(|addr| lives(*addr)));
    // kill −9: nothing of the owner runs any more.
    owner.kill().expect("killed");
    owner.wait().expect("gone");
    eventually("the servers end", || async {
        addrs.iter().all(|addr| !lives(*addr))
    })
    .await;
}

#[tokio::test]
async fn the_yardstick_writes_what_it_counts() {
    let server = mysql_server(Engine::Mysql).await.expect("a server");
    let yardstick = Yardstick::on(&server).await.expect("its tables");
    for connections in [1, 4] {
        // It looks at what it wrote after each run.
        yardstick
            .measure(connections, Duration::from_millis(300))
            .await
            .expect("all of it written");
    }
}
