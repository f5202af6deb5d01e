//! The leaderboard in MySQL: counted from the events that were kept, when somebody asks. The live
//! ranking is fed from here.

use crate::{
    MysqlStore,
    rows::{self, failed, limit},
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
use sql_core::{mysql::keys, record::Context};
use sqlx::{AssertSqlSafe, Row, mysql::MySqlRow};
use std::sync::LazyLock;
use uuid::Uuid;

/// What places are made of, of some signups. Viewers without an event have no row in
/// `task_progress`, so the join leaves them out.
///
/// Grouped by nothing but the signup, in the order of which the rows come: a page of them ends with its
/// last one.
///
/// `COALESCE` hides from the optimiser that the contest is one for all, and who the viewers are: a server that has not counted
/// a growing table yet would otherwise look at all of the contest's events for each viewer.
fn done(index: &str, of: &str) -> String {
    format!(
        "SELECT 0 AS place, MIN(s.user_id) AS user_id, s.signup_id, CAST(SUM(p.quantity) AS SIGNED) AS quantity, \
                MAX(p.occurred_at) AS reached_at \
         FROM signup AS s FORCE INDEX ({index}) STRAIGHT_JOIN task_progress AS p FORCE INDEX (PRIMARY) \
           ON p.contest_id = COALESCE(s.contest_id) AND p.user_id = COALESCE(s.user_id) \
           AND p.occurred_at >= s.paid_at AND p.occurred_at < ? \
         WHERE s.contest_id = ? AND s.paid_at IS NOT NULL{of} GROUP BY s.signup_id"
    )
}

/// Every place, ranked.
pub(crate) static PLACES: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT place, user_id, signup_id, quantity, reached_at FROM ( \
           SELECT CAST(ROW_NUMBER() OVER (ORDER BY quantity DESC, reached_at, signup_id) AS SIGNED) AS place, \
                  user_id, signup_id, quantity, reached_at FROM ({}) AS done) AS places \
         WHERE (? IS NULL OR user_id = CONVERT(? USING utf8mb4) COLLATE utf8mb4_bin) ORDER BY place LIMIT ?",
        done("PRIMARY", "")
    )
});

pub(crate) static PAGE: LazyLock<String> =
    LazyLock::new(|| done("PRIMARY", " AND s.signup_id > ?") + " ORDER BY s.signup_id LIMIT ?");

/// Of some viewers.
pub(crate) fn standings(number: usize) -> String {
    let marks = keys::marks(1, number);
    done("signup_viewer", &format!(" AND s.user_id IN ({marks})"))
}

fn parse(row: &MySqlRow) -> Result<Place, StoreError> {
    let user_id: String = row.try_get(1).map_err(failed)?;
    let signup_id: Uuid = row.try_get(2).map_err(failed)?;
    let key = signup_id.hyphenated().to_string();
    let context = Context {
        table: "task_progress",
        key: &key,
    };
    let number = |index: usize| row.try_get::<i64, _>(index).map_err(failed);
    Ok(Place {
        rank: context.count("rank", number(0)?)?,
        user_id: context.parsed("user_id", &user_id)?,
        signup_id: SignupId(signup_id),
        quantity: context.count("quantity", number(3)?)?,
        reached_at: UnixMillis(number(4)?),
    })
}

impl MysqlStore {
    async fn places(
        &self,
        contest: &Contest,
        user: Option<&UserId>,
        items: usize,
    ) -> Result<Vec<Place>, StoreError> {
        let user = user.map(UserId::as_str);
        let query = sqlx::query(AssertSqlSafe(PLACES.as_str()))
            .bind(contest.terms.tasks_end_at.0)
            .bind(contest.id.0)
            .bind(user)
            .bind(user)
            .bind(limit(items));
        let rows = self.counted(query).await?;
        rows.iter().map(parse).collect()
    }
}

#[async_trait]
impl Leaderboard for MysqlStore {
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
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let statement = standings(users.len());
        let mut query = sqlx::query(AssertSqlSafe(statement))
            .bind(contest.terms.tasks_end_at.0)
            .bind(contest.id.0);
        for user in keys::fill(users) {
            query = query.bind(user.as_str());
        }
        let rows = self.all(query).await?;
        rows.iter().map(parse).collect()
    }

    async fn page(
        &self,
        contest: &Contest,
        after: Option<SignupId>,
        items: usize,
    ) -> Result<Page<Place, SignupId>, StoreError> {
        let items = items.min(PAGE_MAX);
        let query = sqlx::query(AssertSqlSafe(PAGE.as_str()))
            .bind(contest.terms.tasks_end_at.0)
            .bind(contest.id.0)
            .bind(rows::after(after.map(|id| id.0)))
            .bind(limit(items + 1));
        let rows = self.all(query).await?;
        let places = rows.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(places, items, |place| place.signup_id))
    }
}
