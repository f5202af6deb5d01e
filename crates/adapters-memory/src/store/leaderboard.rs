//! The leaderboard, counted from the events that were kept.

use super::MemoryStore;
use async_trait::async_trait;
use domain::{
    contest::Contest,
    ids::{SignupId, UserId},
};
use ports::{
    leaderboard::{Leaderboard, PLACES_MAX, Place},
    store::{PAGE_MAX, Page, StoreError},
};

impl MemoryStore {
    /// Every place, the first one first.
    fn places(&self, contest: &Contest) -> Vec<Place> {
        let tables = self.tables();
        let mut places: Vec<Place> = tables
            .of_contest(contest.id)
            .filter_map(|signup| {
                let fee = signup.state.fee_receipt()?;
                let in_time = fee.applied_at..contest.terms.tasks_end_at;
                let done = tables.progress.get(&(contest.id, signup.user_id.clone()))?;
                let mut counted = done
                    .iter()
                    .filter(|((occurred_at, ..), _)| in_time.contains(occurred_at));
                let first = counted.next()?;
                let (quantity, reached_at) = counted
                    .fold((*first.1, first.0.0), |(sum, _), ((at, ..), quantity)| {
                        (sum.saturating_add(*quantity), *at)
                    });
                Some(Place {
                    rank: 0,
                    user_id: signup.user_id.clone(),
                    signup_id: signup.id,
                    quantity,
                    reached_at,
                })
            })
            .collect();
        places.sort_by_key(|place| {
            (
                std::cmp::Reverse(place.quantity),
                place.reached_at,
                place.signup_id,
            )
        });
        for (place, rank) in places.iter_mut().zip(1..) {
            place.rank = rank;
        }
        places
    }
}

#[async_trait]
impl Leaderboard for MemoryStore {
    async fn top(&self, contest: &Contest, limit: usize) -> Result<Vec<Place>, StoreError> {
        let mut places = self.places(contest);
        places.truncate(limit.min(PLACES_MAX));
        Ok(places)
    }

    async fn place_of(
        &self,
        contest: &Contest,
        user: &UserId,
    ) -> Result<Option<Place>, StoreError> {
        let mut places = self.places(contest).into_iter();
        Ok(places.find(|place| place.user_id == *user))
    }

    async fn standings(
        &self,
        contest: &Contest,
        users: &[UserId],
    ) -> Result<Vec<Place>, StoreError> {
        let mut places = self.places(contest);
        places.retain(|place| users.contains(&place.user_id));
        Ok(unranked(places))
    }

    async fn page(
        &self,
        contest: &Contest,
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Page<Place, SignupId>, StoreError> {
        let mut places = unranked(self.places(contest));
        places.sort_by_key(|place| place.signup_id);
        places.retain(|place| after.is_none_or(|after| place.signup_id > after));
        let limit = limit.min(PAGE_MAX);
        places.truncate(limit + 1);
        Ok(Page::cut(places, limit, |place| place.signup_id))
    }
}

fn unranked(mut places: Vec<Place>) -> Vec<Place> {
    for place in &mut places {
        place.rank = 0;
    }
    places
}
