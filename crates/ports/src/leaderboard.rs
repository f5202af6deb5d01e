//! The leaderboard: who has done most.

use crate::store::{Page, StoreError};
use async_trait::async_trait;
use domain::{
    contest::Contest,
    ids::{SignupId, UserId},
    time::UnixMillis,
};

/// One viewer's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// 1 for the first.
    pub rank: u64,
    /// Whose it is.
    pub user_id: UserId,
    /// The signup.
    pub signup_id: SignupId,
    /// Units done that count.
    pub quantity: u64,
    /// The event time at which they were reached.
    pub reached_at: UnixMillis,
}

/// The most places that one call answers.
pub const PLACES_MAX: usize = 100;

/// The leaderboard of a contest: for showing, never paid from.
///
/// 1. It has every viewer who has paid and has done at least one unit that counts: at or after the
///    time the fee applied and before `tasks_end_at`.
/// 2. The order is by quantity, the most first; then by the time it was reached, the earliest
///    first; then by signup id. Places are distinct.
/// 3. `top` and `place_of` agree while nothing changes.
/// 4. `standings` and `page` answer what the places are made of, with rank 0: of some viewers, and
///    of all by signup id, from after the given one.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Leaderboard: Send + Sync {
    /// The first places, at most `limit` and [`PLACES_MAX`].
    async fn top(&self, contest: &Contest, limit: usize) -> Result<Vec<Place>, StoreError>;

    /// A viewer's place; none for who has none.
    async fn place_of(&self, contest: &Contest, user: &UserId)
    -> Result<Option<Place>, StoreError>;

    /// What these viewers' places are made of, in any order; viewers without a place are absent.
    async fn standings(
        &self,
        contest: &Contest,
        users: &[UserId],
    ) -> Result<Vec<Place>, StoreError>;

    /// What all places are made of, at most `limit`.
    async fn page(
        &self,
        contest: &Contest,
        after: Option<SignupId>,
        limit: usize,
    ) -> Result<Page<Place, SignupId>, StoreError>;
}
