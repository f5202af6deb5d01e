//! The production stack behind the ports: MySQL, Redis, and funds and tasks over gRPC, from one
//! configuration. The API and the reconciler share it; only what they do with it differs.

pub mod settings;

use adapters_mysql::MysqlStore;
use adapters_redis::{Lifetimes, RedisShown};
use adapters_tasks::GrpcTasks;
use anyhow::Context;
use domain::effects::Effect;
use ports::tasks::Tasks;
use runtime::system::{RandomIds, SystemClock};
use settings::{RedisSettings, Settings};
use std::{sync::Arc, time::Duration};
use usecases::{Ports, Shown};

pub use adapters_funds::GrpcFunds;
pub use adapters_mysql::MysqlStore as Store;

/// What the relay takes from the outbox. A record is dropped from the cache right after its change,
/// by whoever changed it; the outbox has what must not be forgotten.
const EFFECTS: [Effect; 4] = [
    Effect::DropCachedAgain,
    Effect::CountFinisher,
    Effect::CountPrize,
    Effect::Rank,
];

/// The stack, opened.
pub struct Stack {
    /// Everything that the flows need.
    pub ports: Ports,
    /// The store, for its probe.
    pub store: Store,
    /// The funds system, for its probe.
    pub funds: Arc<GrpcFunds>,
}

/// Brings the store's schema up to date.
///
/// # Errors
/// What is missing, foreign or half done.
pub async fn migrate(url: &str) -> anyhow::Result<()> {
    adapters_mysql::migrate(url)
        .await
        .context("store.url: cannot migrate")
}

/// Opens the stack. Store and funds system must answer; Redis may come later.
///
/// # Errors
/// A message that names the key and what is wrong with it.
pub async fn open(settings: &Settings) -> anyhow::Result<Stack> {
    let shown = shown(&settings.redis)?;
    let effects: &[Effect] = if shown.is_some() { &EFFECTS } else { &[] };
    let receiver = settings.webhook.receiver()?;
    let store = MysqlStore::open(settings.store.mysql(effects, receiver.is_some())?)
        .await
        .context("store.url")?;
    let funds = GrpcFunds::connect(&settings.funds.grpc()?)
        .await
        .context("the funds system")?;
    let funds = Arc::new(funds);
    let own = Arc::new(store.clone());
    let tasks: Arc<dyn Tasks> = match settings.tasks.grpc() {
        Some(settings) => Arc::new(GrpcTasks::open(&settings).context("the task system")?),
        None => Arc::clone(&own) as _,
    };
    let shared = shown.map(|shown| Shown {
        records: Arc::clone(&shown) as _,
        tallies: Arc::clone(&shown) as _,
        ranking: Arc::clone(&shown) as _,
        past_pools: Arc::clone(&shown) as _,
        lifetimes: shown as _,
        outbox: Arc::clone(&own) as _,
    });
    let ports = Ports {
        contests: Arc::clone(&own) as _,
        signups: Arc::clone(&own) as _,
        tasks,
        events: Arc::clone(&own) as _,
        findings: Arc::clone(&own) as _,
        reconciliations: Arc::clone(&own) as _,
        notices: Arc::clone(&own) as _,
        switches: Arc::clone(&own) as _,
        experiments: Arc::clone(&own) as _,
        judge: Some(Arc::new(experiments::Statistician::new(
            Arc::clone(&own) as _
        ))),
        receiver: receiver.map(|receiver| Arc::new(receiver) as _),
        leaderboard: Arc::clone(&own) as _,
        leases: own as _,
        funds: Arc::clone(&funds) as _,
        clock: Arc::new(SystemClock),
        ids: Arc::new(RandomIds),
        shown: shared,
    };
    Ok(Stack {
        ports,
        store,
        funds,
    })
}

fn shown(settings: &RedisSettings) -> anyhow::Result<Option<Arc<RedisShown>>> {
    let Some(url) = settings.url.expose() else {
        return Ok(None);
    };
    let shown = RedisShown::connect(&adapters_redis::Settings {
        url: url.to_owned(),
        budget: Duration::from_millis(settings.budget_ms),
        lifetimes: Lifetimes {
            record_days: settings.record_days,
            totals_days: settings.totals_days,
            unique_days: settings.unique_days,
            contest_days_max: settings.contest_days_max,
        },
        shards: settings.tally_parts,
    });
    Ok(Some(Arc::new(shown.context("redis.url")?)))
}
