//! What could not go on is left alone for a while, so that it does not stand in the way of others.
//!
//! In memory: losing it means looking at once, which harms nobody.

use domain::time::UnixMillis;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Who waits is looked at again after this part of the time that it has waited.
const PART: i64 = 8;
/// How long it is remembered since when somebody waited who was not looked at since, in milliseconds.
const REMEMBERED_MS: i64 = 10_000;

#[derive(Clone, Copy, Debug)]
struct Left {
    until: UnixMillis,
    /// Since when it has been waiting without a change.
    since: Option<UnixMillis>,
}

/// Who is left alone until when.
#[derive(Debug)]
pub(crate) struct Pace<K> {
    left: Mutex<BTreeMap<K, Left>>,
}

impl<K> Default for Pace<K> {
    fn default() -> Self {
        Self {
            left: Mutex::default(),
        }
    }
}

impl<K: Ord + Copy> Pace<K> {
    /// How many are left alone at `now`; the others are forgotten. A list of what is due, longest waiting first, that is
    /// longer than this by n shows at least n others, if there are as many (hazard H12).
    pub(crate) fn held(&self, now: UnixMillis) -> usize {
        let mut left = self.left();
        left.retain(|_, left| left.until.plus(REMEMBERED_MS) > now);
        left.values().filter(|left| left.until > now).count()
    }

    /// True for one that is not left alone at `now`.
    pub(crate) fn is_ready(&self, key: K, now: UnixMillis) -> bool {
        self.left().get(&key).is_none_or(|left| left.until <= now)
    }

    /// Takes one that is not left alone at `now`: until `until` it is left alone by others. False
    /// if somebody else was faster.
    pub(crate) fn take(&self, key: K, now: UnixMillis, until: UnixMillis) -> bool {
        let mut left = self.left();
        let since = match left.get(&key) {
            Some(left) if left.until > now => return false,
            Some(left) => left.since,
            None => None,
        };
        left.insert(key, Left { until, since });
        true
    }

    /// Leaves one alone until `until`.
    pub(crate) fn hold(&self, key: K, until: UnixMillis) {
        self.left().insert(key, Left { until, since: None });
    }

    /// Leaves one alone that waits at `now`: the longer, the longer nothing has changed, between
    /// `shortest` and `longest` milliseconds; not beyond `at_latest`.
    pub(crate) fn wait(
        &self,
        key: K,
        now: UnixMillis,
        (shortest, longest): (i64, i64),
        at_latest: Option<UnixMillis>,
    ) {
        let mut left = self.left();
        let since = left.get(&key).and_then(|left| left.since).unwrap_or(now);
        let pause = (now.since(since) / PART).clamp(shortest, longest);
        let until = at_latest.map_or(now.plus(pause), |at| at.min(now.plus(pause)));
        let since = Some(since);
        left.insert(key, Left { until, since });
    }

    /// One has changed: should it wait, it begins to wait anew.
    pub(crate) fn moved(&self, key: K) {
        if let Some(left) = self.left().get_mut(&key) {
            left.since = None;
        }
    }

    fn left(&self) -> MutexGuard<'_, BTreeMap<K, Left>> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Since when each of those waits that cannot go on.
#[derive(Debug)]
pub(crate) struct Waiting<K>(Mutex<BTreeMap<K, UnixMillis>>);

impl<K> Default for Waiting<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord> Waiting<K> {
    /// One cannot go on at `now`; for how long that has been so, in milliseconds.
    pub(crate) fn since(&self, key: K, now: UnixMillis) -> i64 {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        now.since(*waiting.entry(key).or_insert(now))
    }

    /// One has gone on, or has nothing to wait for.
    pub(crate) fn over(&self, key: K) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: (i64, i64) = (500, 5_000);
    const NEVER: UnixMillis = UnixMillis(i64::MAX);

    fn at(ms: i64) -> UnixMillis {
        UnixMillis(ms)
    }

    #[test]
    fn who_is_taken_is_left_alone_until_it_waits() {
        let pace = Pace::default();
        assert!(pace.take(1, at(0), NEVER));
        assert!(
            !pace.take(1, at(1_000_000), NEVER),
            "for as long as it takes"
        );
        assert!(pace.take(2, at(0), NEVER));
        pace.wait(1, at(1_000), BOUNDS, None);
        assert!(!pace.is_ready(1, at(1_499)));
        assert!(pace.take(1, at(1_500), NEVER));
        assert_eq!(pace.held(at(1_500)), 2);
    }

    #[test]
    fn who_waits_long_is_looked_at_less_often_and_in_time() {
        let pace = Pace::default();
        let mut now = 0;
        let mut looks = 0;
        while now < 80_000 {
            pace.wait(1, at(now), BOUNDS, None);
            pace.held(at(now));
            while !pace.take(1, at(now), NEVER) {
                now += 100;
            }
            looks += 1;
        }
        assert!((20..60).contains(&looks), "{looks} looks");
        pace.wait(1, at(now), BOUNDS, Some(at(now + 7)));
        assert!(pace.take(1, at(now + 7), NEVER), "not beyond its time");
        pace.moved(1);
        pace.wait(1, at(now + 7), BOUNDS, None);
        assert!(pace.is_ready(1, at(now + 507)), "it begins to wait anew");
    }
}
