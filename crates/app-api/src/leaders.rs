//! Leaderboards that many ask for: each is counted once, for everybody, and one at a time.
//!
//! Counting reads every event of a contest. Viewers who poll must not take the store's readers
//! away from settling, so at most one count is under way, and its answer is good for a while.

use domain::{
    contest::Contest,
    ids::{ContestId, UserId},
};
use ports::{
    leaderboard::{Leaderboard, PLACES_MAX, Place},
    store::StoreError,
};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::Mutex;

/// How long an answer is good at least.
const FRESH: Duration = Duration::from_secs(1);
/// And how many times as long as the count took: a tenth of one reader at most.
const REST: u32 = 10;
/// The most answers that are kept.
const KEPT_MAX: usize = 1_000;

/// An answer, and until when it is good.
struct Counted {
    places: Arc<[Place]>,
    good_until: Instant,
}

/// The leaderboards that were asked for lately. The lock is held while one is counted.
#[derive(Default)]
pub(crate) struct Leaders(Mutex<BTreeMap<(ContestId, Option<UserId>), Counted>>);

impl Leaders {
    /// The first [`PLACES_MAX`] places.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn top(
        &self,
        board: &dyn Leaderboard,
        contest: &Contest,
    ) -> Result<Arc<[Place]>, StoreError> {
        let count = || board.top(contest, PLACES_MAX);
        self.counted((contest.id, None), count).await
    }

    /// A viewer's place, if there is one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn place_of(
        &self,
        board: &dyn Leaderboard,
        contest: &Contest,
        user: &UserId,
    ) -> Result<Option<Place>, StoreError> {
        // Most who ask are among the first, or ask again.
        let top = self.top(board, contest).await?;
        if let Some(place) = top.iter().find(|place| place.user_id == *user) {
            return Ok(Some(place.clone()));
        }
        if top.len() < PLACES_MAX {
            return Ok(None);
        }
        let count = async || {
            let place = board.place_of(contest, user).await?;
            Ok(place.into_iter().collect())
        };
        let key = (contest.id, Some(user.clone()));
        let own = self.counted(key, count).await?;
        Ok(own.first().cloned())
    }

    async fn counted<F>(
        &self,
        key: (ContestId, Option<UserId>),
        count: impl FnOnce() -> F,
    ) -> Result<Arc<[Place]>, StoreError>
    where
        F: Future<Output = Result<Vec<Place>, StoreError>>,
    {
        let mut kept = self.0.lock().await;
        let began = Instant::now();
        if let Some(counted) = kept.get(&key)
            && began < counted.good_until
        {
            return Ok(Arc::clone(&counted.places));
        }
        let places: Arc<[Place]> = count().await?.into();
        let now = Instant::now();
        if kept.len() >= KEPT_MAX {
            kept.retain(|_, counted| now < counted.good_until);
        }
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let good_until = now + FRESH.max(now.duration_since(began) * REST);
        let counted = Counted {
            places: Arc::clone(&places),
            good_until,
        };
        kept.insert(key, counted);
        Ok(places)
    }
}
