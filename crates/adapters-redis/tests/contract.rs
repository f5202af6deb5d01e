//! The suite of what is only shown, on one server and on a cluster, with a tally in one part and in
//! many.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use adapters_redis::{RedisShown, Settings};
use async_trait::async_trait;
use common::settings;
use contract_tests::shown::ShownFixture;
use ports::shown::{PastPools, Ranking, RecordCache, Tallies};
use std::sync::Arc;
use test_support::{Cluster, Redis, redis, redis_cluster};
use tokio::sync::OnceCell;

/// The server lives as long as what is open on it.
struct Open<S> {
    shown: Arc<RedisShown>,
    _server: S,
}

async fn open<S>(server: S, url: &str, shards: u16) -> Open<S> {
    let settings = Settings {
        shards,
        ..settings(url)
    };
    let shown = Arc::new(RedisShown::connect(&settings).expect("settings"));
    common::answers(&shown, &common::contest()).await;
    Open {
        shown,
        _server: server,
    }
}

macro_rules! fixture {
    ($name:ident: $server:ty, $open:expr) => {
        struct $name(Open<$server>);

        #[async_trait]
        impl ShownFixture for $name {
            async fn open() -> Self {
                Self($open.await)
            }

            fn records(&self) -> Arc<dyn RecordCache> {
                Arc::clone(&self.0.shown) as _
            }

            fn tallies(&self) -> Arc<dyn Tallies> {
                Arc::clone(&self.0.shown) as _
            }

            fn ranking(&self) -> Arc<dyn Ranking> {
                Arc::clone(&self.0.shown) as _
            }

            fn past_pools(&self) -> Arc<dyn PastPools> {
                Arc::clone(&self.0.shown) as _
            }
        }
    };
}

async fn single(shards: u16) -> Open<Redis> {
    let redis = redis().await.expect("a Redis");
    let url = redis.url().to_owned();
    open(redis, &url, shards).await
}

/// One cluster for all cases of this process: their contests differ.
static CLUSTER: OnceCell<Arc<Cluster>> = OnceCell::const_new();

async fn clustered(shards: u16) -> Open<Arc<Cluster>> {
    let make = || async { Arc::new(redis_cluster().await.expect("a cluster")) };
    let cluster = Arc::clone(CLUSTER.get_or_init(make).await);
    let url = cluster.url().to_owned();
    open(cluster, &url, shards).await
}

fixture!(Single: Redis, single(4));
fixture!(SingleWhole: Redis, single(1));
// hazard: D6, D7
fixture!(Clustered: Arc<Cluster>, clustered(16));

mod one_server {
    use super::Single;
    contract_tests::shown_suite!(Single);
}

mod one_server_one_part {
    use super::SingleWhole;
    contract_tests::shown_suite!(SingleWhole);
}

mod cluster {
    use super::Clustered;
    contract_tests::shown_suite!(Clustered);
}
