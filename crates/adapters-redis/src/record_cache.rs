//! The cache of viewers' records. A version decides: what is older than what is stored, or than what
//! was dropped lately, is refused (hazards E1 to E4, E8).

use crate::{
    RedisShown, codec, hash, keys,
    scripts::{DROP, FILL},
};
use async_trait::async_trait;
use domain::{
    contest::Contest,
    ids::{ContestId, UserId},
    signup::Signup,
};
use fred::interfaces::HashesInterface;
use ports::shown::{ABSENT_MS_MAX, Cached, FILL_MS_MAX, Filled, RecordCache, ShownError};

/// How long a dropped version is remembered: longer than any fill takes, in milliseconds.
const DROPPED_MS: i64 = 60_000;
/// A fill that reaches the server later than this, by the server's clock, is refused, in
/// milliseconds: it may have lain in a queue or in a paused server while what was dropped was
/// forgotten. What is left of [`DROPPED_MS`] is how far a node's clock may be behind the server's.
const LATE_MS: i64 = 2 * FILL_MS_MAX;
const _: () = assert!(FILL_MS_MAX + LATE_MS < DROPPED_MS);

fn count(outcome: &'static str) {
    metrics::counter!("guafen_cache_total", "outcome" => outcome).increment(1);
}

/// A number of its own for every record.
fn number(contest: ContestId, user: &UserId) -> u64 {
    hash::number(&format!("{contest}:{user}"))
}

#[async_trait]
impl RecordCache for RedisShown {
    async fn get(&self, contest: ContestId, user: &UserId) -> Result<Option<Cached>, ShownError> {
        let keys = keys::record(contest, user);
        let client = self.pool.next();
        let found: Option<String> = self.call("get", client.hget(&keys[0], "d")).await?;
        let cached = match found {
            None => None,
            Some(text) if text.is_empty() => Some(Cached::Absent),
            // What cannot be read, or is somebody else's, is filled again.
            Some(text) => codec::decode(&text)
                .filter(|signup| signup.contest_id == contest && signup.user_id == *user)
                .map(|signup| Cached::Record(Box::new(signup))),
        };
        count(if cached.is_some() { "hit" } else { "miss" });
        Ok(cached)
    }

    async fn fill<'a>(
        &self,
        contest: &Contest,
        user: &UserId,
        signup: Option<&'a Signup>,
    ) -> Result<Filled, ShownError> {
        let (version, payload, unit, time) = match signup {
            None => (0, String::new(), "in", ABSENT_MS_MAX),
            Some(signup) => {
                let Some(payload) = codec::encode(signup) else {
                    return Ok(Filled::Stale);
                };
                let ends_at =
                    self.lifetimes
                        .record_ends_at(contest, now(), number(contest.id, user));
                (signup.version, payload, "at", ends_at.0)
            }
        };
        let arguments = vec![
            version.to_string(),
            payload,
            unit.to_owned(),
            time.to_string(),
            now().plus(LATE_MS).0.to_string(),
        ];
        let stored: i64 = self
            .run("fill", &FILL, keys::record(contest.id, user), arguments)
            .await?;
        if stored == 1 {
            return Ok(Filled::Stored);
        }
        count(if stored == 0 {
            "stale_fill"
        } else {
            "late_fill"
        });
        Ok(Filled::Stale)
    }

    async fn drop_record(
        &self,
        contest: &Contest,
        user: &UserId,
        version: u64,
    ) -> Result<(), ShownError> {
        let arguments = vec![version.to_string(), DROPPED_MS.to_string()];
        let _: i64 = self
            .run("drop", &DROP, keys::record(contest.id, user), arguments)
            .await?;
        Ok(())
    }
}

/// This node's clock: lifetimes of days do not need a better one.
pub(crate) fn now() -> domain::time::UnixMillis {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    domain::time::UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
