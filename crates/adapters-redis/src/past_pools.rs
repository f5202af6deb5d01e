//! Pools of the past. They never change, so one may be as old as it likes.

use crate::{RedisShown, keys, lifetimes::Kind, record_cache::now};
use async_trait::async_trait;
use domain::{contest::Contest, ids::ContestId, money::Coins, time::UnixMillis};
use fred::{interfaces::KeysInterface, types::Expiration};
use ports::shown::{PastPool, PastPools, ShownError};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Wire {
    amount: u64,
    finishers: u64,
    prize: u64,
    as_of: i64,
}

#[async_trait]
impl PastPools for RedisShown {
    async fn get(&self, contest: ContestId) -> Result<Option<PastPool>, ShownError> {
        let client = self.pool.next();
        let found: Option<String> = self
            .call("pool", client.get(keys::past_pool(contest)))
            .await?;
        let read = |text: String| {
            let wire: Wire = serde_json::from_str(&text).ok()?;
            Some(PastPool {
                amount: Coins::new(wire.amount).ok()?,
                finishers: wire.finishers,
                prize: Coins::new(wire.prize).ok()?,
                as_of: UnixMillis(wire.as_of),
            })
        };
        Ok(found.and_then(read))
    }

    async fn put(&self, contest: &Contest, pool: PastPool) -> Result<(), ShownError> {
        let wire = Wire {
            amount: pool.amount.get(),
            finishers: pool.finishers,
            prize: pool.prize.get(),
            as_of: pool.as_of.0,
        };
        let text = serde_json::to_string(&wire).map_err(ShownError::unavailable)?;
        let ends_at = self.lifetimes.ends_at(Kind::Totals, contest, now());
        let client = self.pool.next();
        let put = client.set(
            keys::past_pool(contest.id),
            text,
            Some(Expiration::PXAT(ends_at.0)),
            None,
            false,
        );
        self.call("keep_pool", put).await
    }
}
