//! The live tally: a count is added once, by a script that looks at its unique key first.

use crate::{
    RedisShown, hash, keys,
    lifetimes::Kind,
    record_cache::now,
    scripts::{BEGIN, BUILD, COUNT, FINISH},
};
use async_trait::async_trait;
use domain::{contest::Contest, money::Coins, settlement::Advisory, time::UnixMillis};
use fred::interfaces::{HashesInterface, KeysInterface};
use futures_util::future::join_all;
use ports::shown::{Count, Counted, Epoch, ShownError, Tallies, Tally};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

/// An attempt to build anew in which nothing happens is given up after this, in milliseconds.
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

/// One part of a tally.
struct Part {
    epoch: String,
    tally: Tally,
}

impl Part {
    /// From the fields e, f, w, k and p; none where there is none.
    fn parse(fields: Vec<Option<String>>) -> Result<Option<Self>, ShownError> {
        let mut fields = fields.into_iter();
        let Some(Some(epoch)) = fields.next() else {
            return Ok(None);
        };
        let mut number = || match fields.next().flatten() {
            Some(text) => text.parse::<u64>().or_else(|_| uncounted("part")),
            None => Ok(0),
        };
        let tally = Tally {
            finishers: number()?,
            weight: number()?,
            winners: number()?,
            prizes: Coins::new(number()?).or_else(|_| uncounted("sum of prizes"))?,
        };
        Ok(Some(Self { epoch, tally }))
    }
}

/// Slices of at most `size`; of nothing, an empty one.
pub(crate) fn chunks<T>(items: &[T], size: usize) -> impl Iterator<Item = &[T]> {
    let none = items.is_empty().then_some(items);
    none.into_iter().chain(items.chunks(size))
}

fn uncounted<T>(what: &str) -> Result<T, ShownError> {
    Err(ShownError::unavailable(format!(
        "the tally's {what} is no number of ours"
    )))
}

impl RedisShown {
    fn shard(&self, unique: &str) -> u16 {
        u16::try_from(hash::number(unique) % u64::from(self.shards)).unwrap_or(0)
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

    /// The sum of all parts, of which some are known already; none where one is missing or they are
    /// of two attempts.
    async fn sum(
        &self,
        contest: &Contest,
        mut known: BTreeMap<u16, Part>,
    ) -> Result<Option<Advisory<Tally>>, ShownError> {
        let missing = (0..self.shards).filter(|shard| !known.contains_key(shard));
        let reads = missing.map(|shard| {
            let numbers = keys::tally(contest.id, self.shards, shard).swap_remove(0);
            async move {
                let fields = vec!["e", "f", "w", "k", "p"];
                let client = self.pool.next();
                let read = self.call("read", client.hmget(&numbers, fields)).await?;
                Ok::<_, ShownError>((shard, Part::parse(read)?))
            }
        });
        for read in join_all(reads).await {
            let (shard, part) = read?;
            let Some(part) = part else { return Ok(None) };
            known.insert(shard, part);
        }
        let mut sum = Tally::ZERO;
        let mut epoch = None;
        for part in known.values() {
            if *epoch.get_or_insert(&part.epoch) != &part.epoch {
                return Ok(None);
            }
            sum.finishers = sum.finishers.saturating_add(part.tally.finishers);
            sum.weight = sum.weight.saturating_add(part.tally.weight);
            sum.winners = sum.winners.saturating_add(part.tally.winners);
            let prizes = sum.prizes.plus(part.tally.prizes);
            sum.prizes = prizes.or_else(|_| uncounted("sum of prizes"))?;
        }
        Ok(Some(Advisory(sum)))
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
        let scripts = self
            .by_shard(counts)
            .into_iter()
            .map(|(shard, fields)| async move {
                let mut part = None;
                let mut added = 0;
                let mut is_gone = false;
                for chunk in fields.chunks(CHUNK) {
                    let arguments = chunk.iter().flatten().cloned().collect();
                    let keys = keys::tally(contest.id, self.shards, shard);
                    let answer: Vec<String> = self.run("count", &COUNT, keys, arguments).await?;
                    let Some((new, numbers)) = answer.split_first() else {
                        return Ok(None);
                    };
                    // It says 'rebuild' instead of a number. The other chunks are sent all the same:
                    // what is being built must not miss them.
                    let Ok(new) = new.parse::<u64>() else {
                        is_gone = true;
                        continue;
                    };
                    added += new;
                    part = Part::parse(numbers.iter().cloned().map(Some).collect())?;
                }
                let part = part.filter(|_| !is_gone);
                Ok::<_, ShownError>(part.map(|part| (shard, part, added)))
            });
        let mut parts = BTreeMap::new();
        let mut added = 0;
        // All are waited for: the first may be the probe of an open breaker, and the others are told so
        // at once.
        for counted in join_all(scripts).await {
            let Some((shard, part, new)) = counted? else {
                return Ok(Counted::Rebuild);
            };
            parts.insert(shard, part);
            added += new;
        }
        Ok(match self.sum(contest, parts).await? {
            Some(tally) => Counted::Now(tally, added),
            None => Counted::Rebuild,
        })
    }

    async fn read(&self, contest: &Contest) -> Result<Option<Advisory<Tally>>, ShownError> {
        self.sum(contest, BTreeMap::new()).await
    }

    async fn begin(&self, contest: &Contest) -> Result<Epoch, ShownError> {
        let epoch = new_epoch();
        for shard in 0..self.shards {
            let keys = keys::tally(contest.id, self.shards, shard).split_off(2);
            let arguments = vec![epoch.0.to_string(), ATTEMPT_MS.to_string()];
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
        let mut parts = self.by_shard(counts);
        if parts.is_empty() {
            // Whether the attempt is void is asked all the same.
            parts.insert(0, Vec::new());
        }
        for (shard, parts) in parts {
            for chunk in chunks(&parts, CHUNK) {
                let mut arguments = vec![epoch.0.to_string(), ATTEMPT_MS.to_string()];
                arguments.extend(chunk.iter().flatten().cloned());
                let keys = keys::tally(contest.id, self.shards, shard).split_off(2);
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
    async fn forget(&self, contest: &Contest) -> Result<(), ShownError> {
        for shard in 0..self.shards {
            let keys = keys::tally(contest.id, self.shards, shard);
            let client = self.pool.next();
            let _: i64 = self.call("forget", client.unlink(keys)).await?;
        }
        Ok(())
    }
}
