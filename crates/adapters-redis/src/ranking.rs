//! The live ranking of a contest: one sorted set, in one slot. A contest of a million viewers has
//! some 150 MiB of it; what is larger is better counted in the store.

use crate::{
    RedisShown, keys,
    lifetimes::Kind,
    places,
    record_cache::now,
    scripts::{BEGIN_RANKING, FINISH_RANKING, PLACE, RANK, TOP},
    tallies::{ATTEMPT_MS, chunks, new_epoch},
};
use async_trait::async_trait;
use domain::{contest::Contest, ids::UserId};
use ports::{
    leaderboard::{PLACES_MAX, Place},
    shown::{Epoch, Neighbourhood, Ranking, ShownError},
};

/// What a script answers where the marker is not there.
const REBUILD: &str = "rebuild";
/// The most places of one script.
const CHUNK: usize = 500;

impl RedisShown {
    async fn enter(
        &self,
        contest: &Contest,
        epoch: Option<Epoch>,
        entered: &[Place],
    ) -> Result<bool, ShownError> {
        let ends_at = self
            .lifetimes
            .ends_at(Kind::Totals, contest, now())
            .0
            .to_string();
        let is_building = epoch.is_some();
        let mut is_entered = true;
        let epoch = epoch.map_or_else(String::new, |epoch| epoch.0.to_string());
        for chunk in chunks(entered, CHUNK) {
            let mut arguments = vec![epoch.clone(), ends_at.clone(), ATTEMPT_MS.to_string()];
            for place in chunk {
                arguments.extend([place.user_id.to_string(), places::member(place)]);
            }
            let done: i64 = self
                .run("rank", &RANK, keys::ranking(contest.id), arguments)
                .await?;
            if done == 0 {
                is_entered = false;
                if is_building {
                    break;
                }
                // What is being built must not miss the places that follow.
            }
        }
        Ok(is_entered)
    }
}

#[async_trait]
impl Ranking for RedisShown {
    async fn put(&self, contest: &Contest, entered: &[Place]) -> Result<bool, ShownError> {
        self.enter(contest, None, entered).await
    }

    async fn top(&self, contest: &Contest, limit: usize) -> Result<Option<Vec<Place>>, ShownError> {
        let limit = limit.min(PLACES_MAX);
        let mut keys = keys::ranking(contest.id);
        keys.truncate(3);
        let answer: Vec<String> = self.run("top", &TOP, keys, vec![limit.to_string()]).await?;
        Ok(match answer.split_first() {
            Some((first, members)) if first != REBUILD => places::all(1, members),
            _ => None,
        })
    }

    async fn place_of(
        &self,
        contest: &Contest,
        user: &UserId,
        around: usize,
    ) -> Result<Option<Option<Neighbourhood>>, ShownError> {
        let mut keys = keys::ranking(contest.id);
        keys.truncate(3);
        let arguments = vec![user.to_string(), around.min(PLACES_MAX).to_string()];
        let answer: Vec<String> = self.run("place", &PLACE, keys, arguments).await?;
        let Some((first, members)) = answer.split_first() else {
            return Ok(None);
        };
        if first.is_empty() {
            return Ok(Some(None));
        }
        let Some(around) = first
            .parse::<u64>()
            .ok()
            .and_then(|first| places::all(first + 1, members))
        else {
            return Ok(None);
        };
        let own = around.iter().find(|place| place.user_id == *user).cloned();
        Ok(own.map(|place| Some(Neighbourhood { place, around })))
    }

    async fn begin(&self, contest: &Contest) -> Result<Epoch, ShownError> {
        let epoch = new_epoch();
        let keys = keys::ranking(contest.id).split_off(3);
        let arguments = vec![epoch.0.to_string(), ATTEMPT_MS.to_string()];
        let _: i64 = self.run("begin", &BEGIN_RANKING, keys, arguments).await?;
        Ok(epoch)
    }

    async fn build(
        &self,
        contest: &Contest,
        epoch: Epoch,
        entered: &[Place],
    ) -> Result<bool, ShownError> {
        self.enter(contest, Some(epoch), entered).await
    }

    async fn finish(&self, contest: &Contest, epoch: Epoch) -> Result<bool, ShownError> {
        let ends_at = self.lifetimes.ends_at(Kind::Totals, contest, now()).0;
        let arguments = vec![epoch.0.to_string(), ends_at.to_string()];
        let done: i64 = self
            .run(
                "finish",
                &FINISH_RANKING,
                keys::ranking(contest.id),
                arguments,
            )
            .await?;
        Ok(done == 1)
    }
}
