//! Servers for tests: from the environment, Docker or local binaries; a proxy that cuts, stalls and
//! delays; and a yardstick for figures of a database.
//!
//! A server comes from its URL variable if that is set, else from Docker (feature `docker`), else
//! from a binary on this machine. Nothing is skipped: without a server the call fails and says
//! how to get one. `cargo xtask test` provides them all.
//!
//! | variable | what it is |
//! |---|---|
//! | `GUAFEN_TEST_MYSQL_URL`, `GUAFEN_TEST_MARIADB_URL` | a running server, for example `mysql://root@127.0.0.1:3306`; each test makes a schema of its own there |
//! | `GUAFEN_TEST_REDIS_URL` | a running Redis, for example `redis://127.0.0.1:6379`; its databases 0 to 15 are **emptied** |
//! | `GUAFEN_TEST_REDIS_CLUSTER_URL` | a running cluster, `redis-cluster://127.0.0.1:7000?node=127.0.0.1:7001`; it is **emptied** |
//! | `GUAFEN_TEST_MYSQLD`, `GUAFEN_TEST_MARIADBD`, `GUAFEN_TEST_REDIS_SERVER` | the path of a binary, for servers of a test's own |
//! | `GUAFEN_TEST_SERVERS_DIR` | a tree with `usr/sbin/mysqld` and `usr/bin/redis-server`, as debootstrap makes it; default `$XDG_CACHE_HOME/guafen/sid` |
//! | `GUAFEN_TEST_MYSQL_IMAGE`, `GUAFEN_TEST_MARIADB_IMAGE`, `GUAFEN_TEST_REDIS_IMAGE` | images, where the feature `docker` is on |
//!
//! Every server that is started here listens on 127.0.0.1 alone, keeps its data in a throw-away
//! directory, is as durable as in production, and ends with its value or with the test's process,
//! however that ends.

mod binaries;
mod cluster;
#[cfg(feature = "docker")]
mod docker;
mod guard;
mod instance;
mod mysql;
mod ports;
mod proxy;
mod redis;
mod resp;
mod schema;
mod yardstick;

pub use binaries::{Program, servers_dir};
pub use cluster::{Cluster, private_redis_cluster, redis_cluster};
pub use guard::{Guarded, Signal};
pub use mysql::{Engine, Server, mysql_server, mysql_server_with};
pub use ports::free_port;
pub use proxy::{Counters, Mode, Proxy};
pub use redis::{Redis, private_redis, program as redis_program, redis};
pub use resp::{Reply, command};
pub use schema::{Database, database, is_ready};
pub use yardstick::Yardstick;

/// Comes back after a while: the pace of callers, and the moment of a harm in the middle of a load.
/// Never to wait for a thing: that is looked at, with a bound.
pub async fn later(after: std::time::Duration) {
    tokio::time::sleep_until(tokio::time::Instant::now() + after).await;
}
