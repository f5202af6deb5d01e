//! Starts servers as tests do, prints `NAME PID URL` of each and keeps them until its input ends.
//!
//! `cargo run -p test-support --bin test-servers -- mysql redis cluster`

use anyhow::{Result, bail};
use std::any::Any;
use test_support::{Engine, mysql_server, private_redis, private_redis_cluster};

#[tokio::main]
async fn main() -> Result<()> {
    let mut kept: Vec<Box<dyn Any>> = Vec::new();
    for name in std::env::args().skip(1) {
        let (pid, url, server): (Option<u32>, String, Box<dyn Any>) = match name.as_str() {
            "mysql" | "mariadb" => {
                let engine = if name == "mysql" {
                    Engine::Mysql
                } else {
                    Engine::Mariadb
                };
                let server = mysql_server(engine).await?;
                (server.pid(), server.url(), Box::new(server))
            }
            "redis" => {
                let server = private_redis().await?;
                (server.pid(), server.url().to_owned(), Box::new(server))
            }
            "cluster" => {
                let server = private_redis_cluster().await?;
                (None, server.url().to_owned(), Box::new(server))
            }
            other => bail!("{other} must be one of: mysql, mariadb, redis, cluster"),
        };
        println!("{name} {} {url}", pid.unwrap_or(0));
        kept.push(server);
    }
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()))
        .await??;
    Ok(())
}
