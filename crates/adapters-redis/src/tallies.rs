//! The live tally: a count is added once, by a script that looks at its unique key first.

use crate::{
    RedisShown, keys,
    lifetimes::Kind,
    record_cache::now,
    scripts::{BEGIN, BUILD, COUNT, FINISH},
};
use async_trait::async_trait;
use domain::{contest::Contest, money::Coins, settlement::Advisory, time::UnixMillis};
use fred::interfaces::HashesInterface;
use ports::shown::{Count, Counted, Epoch, ShownError, Tallies, Tally};
use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

/// An attempt to build anew that nobody ends is given up after this, in milliseconds.
pub(crate) const ATTEMPT_MS: i64 = 600_000;
/// The most counts of one script: it keeps the server from nobody else for long (hazard D11).
const CHUNK: usize = 500;

/// A number that no other attempt has: this node's clock, and then a counter of this process that
/// begins anywhere.
pub(crate) fn new_epoch() -> Epoch {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let begin = u64::from(std::process::id());
    let count = COUNTER.fetch_add(1, Ordering::Relaxed).wrapping_add(begin);
    Epoch((now().0.cast_unsigned() << 20) | (count & 0xf_ffff))
}

/// The fields of a count and of its sum, its unique id, and its amount.
fn fields(count: &Count) -> [String; 4] {
    let [number, sum, unique, amount] = match count {
        Count::Finisher(signup, weight) => {
            ["f", "w", &format!("f:{signup}"), &weight.to_string()].map(str::to_owned)
        }
        Count::Prize(order, prize) => {
            ["k", "p", &format!("p:{order}"), &prize.get().to_string()].map(str::to_owned)
        }
    };
    [number, sum, unique, amount]
}

fn uncounted<T>(what: &str) -> Result<T, ShownError> {
    Err(ShownError::unavailable(format!(
        "the tally's {what} is no number of ours"
    )))
}

impl RedisShown {
    fn shard(&self, unique: &str) -> u16 {
        let mut hasher = DefaultHasher::new();
        unique.hash(&mut hasher);
        u16::try_from(hasher.finish() % u64::from(self.shards)).unwrap_or(0)
    }

    /// Counts by their part of the tally, and as a script takes them.
    fn by_shard(&self, counts: &[Count]) -> BTreeMap<u16, Vec<[String; 4]>> {
        let mut parts: BTreeMap<u16, Vec<[String; 4]>> = BTreeMap::new();
        for count in counts {
            let fields = fields(count);
            parts
                .entry(self.shard(&fields[2]))
                .or_default()
                .push(fields);
        }
        parts
    }

    fn ends(&self, contest: &Contest) -> (UnixMillis, UnixMillis) {
        let now = now();
        let unique = self.lifetimes.ends_at(Kind::Unique, contest, now);
        let totals = self.lifetimes.ends_at(Kind::Totals, contest, now);
        // Numbers without their unique keys are shown and not counted on; the reverse is nothing.
        (unique, totals.max(unique))
    }
}

#[async_trait]
impl Tallies for RedisShown {
    async fn count(&self, contest: &Contest, counts: &[Count]) -> Result<Counted, ShownError> {
        let (unique, totals) = self.ends(contest);
        let mut added = 0;
        for (shard, parts) in self.by_shard(counts) {
            for chunk in parts.chunks(CHUNK) {
                let mut arguments = vec![unique.0.to_string(), totals.0.to_string()];
                arguments.extend(chunk.iter().flatten().cloned());
                let keys = keys::tally(contest.id, self.shards, shard);
                let answer: String = self.run("count", &COUNT, keys, arguments).await?;
                match answer.parse::<u64>() {
                    Ok(new) => added += new,
                    Err(_) => return Ok(Counted::Rebuild),
                }
            }
        }
        Ok(match self.read(contest).await? {
            Some(tally) => Counted::Now(tally, added),
            None => Counted::Rebuild,
        })
    }

    async fn read(&self, contest: &Contest) -> Result<Option<Advisory<Tally>>, ShownError> {
        let mut tally = Tally::ZERO;
        let mut epoch: Option<String> = None;
        for shard in 0..self.shards {
            let numbers = keys::tally(contest.id, self.shards, shard).swap_remove(1);
            let client = self.pool.next();
            let fields = vec!["e", "f", "w", "k", "p"];
            let read: Vec<Option<String>> =
                self.call("read", client.hmget(&numbers, fields)).await?;
            let Some(Some(of)) = read.first() else {
                return Ok(None);
            };
            // Parts of two attempts are no tally.
            if epoch.as_ref().is_some_and(|epoch| epoch != of) {
                return Ok(None);
            }
            epoch = Some(of.clone());
            let number = |index: usize| -> Option<u64> {
                match read.get(index)? {
                    Some(text) => text.parse().ok(),
                    None => Some(0),
                }
            };
            let (Some(finishers), Some(weight), Some(winners), Some(prizes)) =
                (number(1), number(2), number(3), number(4))
            else {
                return uncounted("part");
            };
            tally.finishers += finishers;
            tally.weight = tally.weight.saturating_add(weight);
            tally.winners += winners;
            let sum = Coins::new(prizes).and_then(|prizes| tally.prizes.plus(prizes));
            let Ok(sum) = sum else {
                return uncounted("sum of prizes");
            };
            tally.prizes = sum;
        }
        Ok(Some(Advisory(tally)))
    }

    async fn begin(&self, contest: &Contest) -> Result<Epoch, ShownError> {
        let epoch = new_epoch();
        let until = now().plus(ATTEMPT_MS).0.to_string();
        for shard in 0..self.shards {
            let keys = keys::tally(contest.id, self.shards, shard).split_off(3);
            let arguments = vec![epoch.0.to_string(), until.clone()];
            let _: i64 = self.run("begin", &BEGIN, keys, arguments).await?;
        }
        Ok(epoch)
    }

    async fn put(
        &self,
        contest: &Contest,
        epoch: Epoch,
        counts: &[Count],
    ) -> Result<bool, ShownError> {
        for (shard, parts) in self.by_shard(counts) {
            for chunk in parts.chunks(CHUNK) {
                let mut arguments = vec![epoch.0.to_string()];
                arguments.extend(chunk.iter().flatten().cloned());
                let keys = keys::tally(contest.id, self.shards, shard).split_off(3);
                let put: i64 = self.run("build", &BUILD, keys, arguments).await?;
                if put == 0 {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    async fn finish(&self, contest: &Contest, epoch: Epoch) -> Result<bool, ShownError> {
        let (unique, totals) = self.ends(contest);
        for shard in 0..self.shards {
            let keys = keys::tally(contest.id, self.shards, shard);
            let arguments = [
                epoch.0.to_string(),
                unique.0.to_string(),
                totals.0.to_string(),
            ];
            let finished: i64 = self.run("finish", &FINISH, keys, arguments.into()).await?;
            if finished == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
