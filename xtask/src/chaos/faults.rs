//! One piece of harm, and how it is undone.

use crate::{clock, rng::Rng, stack::Stack};
use anyhow::{Context, Result};

/// Something that happens to a part of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    RedisStopped,
    RedisPaused,
    RedisFlushed,
    RedisRestarted,
    ApiKilled,
    ReconcilerKilled,
    FundsKilled,
    FundsAnswersLost,
    MysqlRestarted,
    CommitCut,
}

impl Fault {
    /// All of them.
    pub(super) const ALL: [Self; 10] = [
        Self::RedisStopped,
        Self::RedisPaused,
        Self::RedisFlushed,
        Self::RedisRestarted,
        Self::ApiKilled,
        Self::ReconcilerKilled,
        Self::FundsKilled,
        Self::FundsAnswersLost,
        Self::MysqlRestarted,
        Self::CommitCut,
    ];

    /// Whether what Redis holds is lost by it.
    pub(super) const fn empties_redis(self) -> bool {
        matches!(
            self,
            Self::RedisStopped | Self::RedisFlushed | Self::RedisRestarted
        )
    }

    /// Does it, waits a random while, and undoes it.
    pub(super) async fn inflict(self, stack: &Stack, rng: &mut Rng) -> Result<()> {
        match self {
            Self::RedisStopped => {
                stack.redis.stop()?;
                clock::pause(rng.between(500, 4_000)).await;
                stack.redis.start().await
            }
            Self::RedisPaused => {
                stack.redis.pause()?;
                clock::pause(rng.between(300, 3_000)).await;
                stack.redis.resume()
            }
            Self::RedisFlushed => stack.redis.flush().await,
            Self::RedisRestarted => {
                stack.redis.stop()?;
                stack.redis.start().await
            }
            Self::ApiKilled => restart(pick(&stack.apis, rng)?, rng).await,
            Self::ReconcilerKilled => restart(pick(&stack.reconcilers, rng)?, rng).await,
            Self::FundsKilled => restart(&stack.funds, rng).await,
            Self::FundsAnswersLost => {
                let proxy = stack.funds_proxy.as_ref().context("no proxy")?;
                proxy.cut_answers();
                clock::pause(rng.between(30, 400)).await;
                proxy.pass();
                Ok(())
            }
            Self::MysqlRestarted => stack.mysql.restart().await,
            Self::CommitCut => {
                let proxy = stack.store_proxy.as_ref().context("no proxy")?;
                proxy.cut_answers();
                clock::pause(rng.between(5, 150)).await;
                proxy.pass();
                Ok(())
            }
        }
    }
}

fn pick<'a, T>(nodes: &'a [T], rng: &mut Rng) -> Result<&'a T> {
    let which = usize::try_from(rng.between(0, nodes.len() as u64))?;
    nodes.get(which).context("a stack without such a node")
}

async fn restart(node: &crate::stack::Node, rng: &mut Rng) -> Result<()> {
    node.kill();
    clock::pause(rng.between(0, 1_000)).await;
    node.start().await
}
