//! The leaderboard in SQLite: counted from the events that were kept, when somebody asks.

use crate::{
    SqliteStore,
    rows::{failed, json, limit},
};
use async_trait::async_trait;
use domain::{
    contest::Contest,
    ids::{SignupId, UserId},
    time::UnixMillis,
};
use ports::{
    leaderboard::{Leaderboard, PLACES_MAX, Place},
    store::{PAGE_MAX, Page, StoreError},
};
use sql_core::record::Context;
use sqlx::{AssertSqlSafe, Row, sqlite::SqliteRow};
use std::sync::LazyLock;

/// Every place of a contest. Viewers without an event have no row in `task_progress`, so the
/// join leaves them out.
const PLACES: &str = "WITH done AS ( \
       SELECT signup.signup_id, signup.user_id, SUM(p.quantity) AS quantity, MAX(p.occurred_at) AS reached_at \
       FROM signup CROSS JOIN task_progress AS p ON p.contest_id = signup.contest_id \
         AND p.user_id = signup.user_id AND p.occurred_at >= signup.paid_at AND p.occurred_at < ?2 \
       WHERE signup.contest_id = ?1 AND signup.paid_at IS NOT NULL \
       GROUP BY signup.signup_id), \
     places AS ( \
       SELECT signup_id, user_id, quantity, reached_at, \
              ROW_NUMBER() OVER (ORDER BY quantity DESC, reached_at, signup_id) AS rank FROM done) \
     SELECT rank, user_id, signup_id, quantity, reached_at FROM places \
     WHERE ?3 IS NULL OR user_id = ?3 ORDER BY rank LIMIT ?4";

/// What places are made of, of some signups.
fn done(of: &str) -> String {
    format!(
        "SELECT 0, signup.user_id, signup.signup_id, SUM(p.quantity), MAX(p.occurred_at) \
         FROM signup CROSS JOIN task_progress AS p ON p.contest_id = signup.contest_id \
           AND p.user_id = signup.user_id AND p.occurred_at >= signup.paid_at AND p.occurred_at < ?2 \
         WHERE signup.contest_id = ?1 AND signup.paid_at IS NOT NULL AND {of}"
    )
}

static STANDINGS: LazyLock<String> = LazyLock::new(|| {
    done("signup.user_id IN (SELECT value FROM json_each(?3)) GROUP BY signup.signup_id")
});

static PAGE: LazyLock<String> = LazyLock::new(|| {
    done("signup.signup_id > ?3 GROUP BY signup.signup_id ORDER BY signup.signup_id LIMIT ?4")
});

fn parse(row: &SqliteRow) -> Result<Place, StoreError> {
    let user_id: String = row.try_get(1).map_err(failed)?;
    let signup_id: String = row.try_get(2).map_err(failed)?;
    let context = Context {
        table: "task_progress",
        key: &signup_id,
    };
    let number = |index: usize| row.try_get::<i64, _>(index).map_err(failed);
    Ok(Place {
        rank: context.count("rank", number(0)?)?,
        user_id: context.parsed("user_id", &user_id)?,
        signup_id: context.parsed("signup_id", &signup_id)?,
        quantity: context.count("quantity", number(3)?)?,
        reached_at: UnixMillis(number(4)?),
    })
}

impl SqliteStore {
    async fn places(
        &self,
        contest: &Contest,
        user: Option<&UserId>,
        items: usize,
    ) -> Result<Vec<Place>, StoreError> {
        let rows = sqlx::query(PLACES)
            .bind(contest.id.to_string())
            .bind(contest.terms.tasks_end_at.0)
            .bind(user.map(UserId::as_str))
            .bind(limit(items))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(parse).collect()
    }
}

#[async_trait]
impl Leaderboard for SqliteStore {
    async fn top(&self, contest: &Contest, items: usize) -> Result<Vec<Place>, StoreError> {
        self.places(contest, None, items.min(PLACES_MAX)).await
    }

    async fn place_of(
        &self,
        contest: &Contest,
        user: &UserId,
    ) -> Result<Option<Place>, StoreError> {
        Ok(self.places(contest, Some(user), 1).await?.pop())
    }

    async fn standings(
        &self,
        contest: &Contest,
        users: &[UserId],
    ) -> Result<Vec<Place>, StoreError> {
        let users: Vec<_> = users.iter().map(UserId::as_str).collect();
        let rows = sqlx::query(AssertSqlSafe(STANDINGS.as_str()))
            .bind(contest.id.to_string())
            .bind(contest.terms.tasks_end_at.0)
            .bind(json(&users).map_err(failed)?)
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        rows.iter().map(parse).collect()
    }

    async fn page(
        &self,
        contest: &Contest,
        after: Option<SignupId>,
        items: usize,
    ) -> Result<Page<Place, SignupId>, StoreError> {
        let items = items.min(PAGE_MAX);
        let rows = sqlx::query(AssertSqlSafe(PAGE.as_str()))
            .bind(contest.id.to_string())
            .bind(contest.terms.tasks_end_at.0)
            .bind(after.map_or_else(String::new, |after| after.to_string()))
            .bind(limit(items + 1))
            .fetch_all(&self.readers)
            .await
            .map_err(failed)?;
        let places = rows.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(places, items, |place| place.signup_id))
    }
}
