//! What could not go on is left alone for a while, so that it does not stand in the way of others.
//!
//! In memory: losing it means looking at once, which harms nobody.

use domain::time::UnixMillis;
use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Who is left alone until when.
#[derive(Debug)]
pub(crate) struct Pace<K> {
    until: Mutex<BTreeMap<K, UnixMillis>>,
}

impl<K> Default for Pace<K> {
    fn default() -> Self {
        Self {
            until: Mutex::default(),
        }
    }
}

impl<K: Ord + Copy> Pace<K> {
    /// How many are left alone at `now`; the others are forgotten. A list of what is due, longest waiting first, that is
    /// longer than this by n shows at least n others, if there are as many (hazard H12).
    pub(crate) fn held(&self, now: UnixMillis) -> usize {
        let mut held = self.until();
        held.retain(|_, until| *until > now);
        held.len()
    }

    /// True for one that is not left alone at `now`.
    pub(crate) fn is_ready(&self, key: K, now: UnixMillis) -> bool {
        self.until().get(&key).is_none_or(|until| *until <= now)
    }

    /// Takes one that is not left alone at `now`: until `until` it is left alone by others. False
    /// if somebody else was faster.
    pub(crate) fn take(&self, key: K, now: UnixMillis, until: UnixMillis) -> bool {
        let mut held = self.until();
        let ready = held.get(&key).is_none_or(|at| *at <= now);
        if ready {
            held.insert(key, until);
        }
        ready
    }

    /// Leaves one alone until `until`.
    pub(crate) fn hold(&self, key: K, until: UnixMillis) {
        self.until().insert(key, until);
    }

    fn until(&self) -> MutexGuard<'_, BTreeMap<K, UnixMillis>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
