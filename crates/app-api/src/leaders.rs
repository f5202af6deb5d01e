//! Leaderboards that many ask for: each is counted once, for everybody. Counting reads every event of a contest.

use crate::kept::Kept;
use domain::{
    contest::Contest,
    ids::{ContestId, UserId},
};
use ports::{
    leaderboard::{Leaderboard, PLACES_MAX, Place},
    store::StoreError,
};
use std::{sync::Arc, time::Duration};

/// How long an answer is good at least.
const FRESH: Duration = Duration::from_secs(1);

/// The leaderboards that were asked for lately: of a contest the first places, or a viewer's.
pub(crate) struct Leaders(Kept<(ContestId, Option<UserId>), Arc<[Place]>>);

impl Default for Leaders {
    fn default() -> Self {
        Self(Kept::new(FRESH))
    }
}

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
        let count = async || Ok(board.top(contest, PLACES_MAX).await?.into());
        self.0.answer((contest.id, None), count).await
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
        let own = self.0.answer(key, count).await?;
        Ok(own.first().cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use domain::time::UnixMillis;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// A leaderboard of as many places as it is told, that counts how often and how many at once.
    #[derive(Default)]
    struct Counting {
        places: u64,
        counts: AtomicUsize,
        at_once: AtomicUsize,
        most: AtomicUsize,
    }

    impl Counting {
        fn place(rank: u64) -> Place {
            Place {
                rank,
                user_id: format!("viewer-{rank}").parse().expect("a user id"),
                signup_id: domain::ids::SignupId(uuid::Uuid::now_v7()),
                quantity: 1,
                reached_at: UnixMillis(1),
            }
        }

        async fn counted<T>(&self, answer: T) -> Result<T, StoreError> {
            self.counts.fetch_add(1, Ordering::SeqCst);
            let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.at_once.fetch_sub(1, Ordering::SeqCst);
            Ok(answer)
        }
    }

    #[async_trait]
    impl Leaderboard for Counting {
        async fn top(&self, _: &Contest, limit: usize) -> Result<Vec<Place>, StoreError> {
            let places = (1..=self.places).map(Self::place).take(limit).collect();
            self.counted(places).await
        }

        async fn place_of(&self, _: &Contest, user: &UserId) -> Result<Option<Place>, StoreError> {
            let rank = user.as_str().trim_start_matches("viewer-").parse();
            let rank = rank.ok().filter(|rank| *rank <= self.places);
            self.counted(rank.map(Self::place)).await
        }

        async fn standings(&self, _: &Contest, _: &[UserId]) -> Result<Vec<Place>, StoreError> {
            Ok(Vec::new())
        }

        async fn page(
            &self,
            _: &Contest,
            _: Option<domain::ids::SignupId>,
            _: usize,
        ) -> Result<ports::store::Page<Place, domain::ids::SignupId>, StoreError> {
            Ok(ports::store::Page {
                items: Vec::new(),
                next: None,
            })
        }
    }

    fn contest() -> Contest {
        let coins = |amount| domain::money::Coins::new(amount).expect("an amount");
        let terms = domain::terms::Terms {
            room_id: "room".parse().expect("a room id"),
            fee: coins(10),
            fee_tiers: Vec::new(),
            task: domain::terms::Task {
                kind: "open_chest".parse().expect("a task kind"),
                target: 1,
            },
            rule: domain::payout::Rule::Equal,
            rake_bps: domain::terms::BasisPoints::ZERO,
            guaranteed_pool: coins(0),
            series: None,
            claim_mode: domain::terms::ClaimMode::Manual,
            no_winner: domain::terms::NoWinner::Refund,
            remainder: domain::terms::Remainder::Spread,
            unclaimed: domain::terms::Unclaimed::Pay,
            grace_ms: 0,
            signup_opens_at: UnixMillis(1),
            signup_closes_at: UnixMillis(2),
            tasks_end_at: UnixMillis(3),
            claim_closes_at: UnixMillis(4),
        };
        let (id, secret) = (ContestId(uuid::Uuid::now_v7()), [0; 32]);
        let secret = domain::draw::Secret::new(secret);
        Contest::new(id, "a contest".to_owned(), terms, secret, UnixMillis(0))
    }

    #[tokio::test]
    async fn places_beyond_the_first_are_asked_for_one_at_a_time() {
        let board = Counting {
            places: 150,
            ..Counting::default()
        };
        let (leaders, contest) = (Leaders::default(), contest());
        let of = async |name: &str| {
            let user = name.parse().expect("a user id");
            let place = leaders.place_of(&board, &contest, &user).await;
            place.expect("an answer").map(|place| place.rank)
        };
        assert_eq!(of("viewer-7").await, Some(7));
        assert_eq!(board.counts.load(Ordering::SeqCst), 1, "among the first");
        for _ in 0..3 {
            assert_eq!(of("viewer-120").await, Some(120));
            assert_eq!(of("viewer-151").await, None);
        }
        assert_eq!(board.counts.load(Ordering::SeqCst), 3);
        assert_eq!(board.most.load(Ordering::SeqCst), 1);
    }
}
