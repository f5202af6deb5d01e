//! Readers of the same thing share a call that began after they asked, and never an older one.

use std::{
    collections::HashMap,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// One that waits. Its `extra` (its place in the bulkhead) is kept until the call's end, also if
/// nobody listens any more.
struct Asker<A, E> {
    answer: oneshot::Sender<A>,
    extra: E,
}

/// Who asked since the call that is under way began. A key with such a call is in the map.
type Waiting<K, A, E> = HashMap<K, Vec<Asker<A, E>>>;

/// Shared calls by key.
pub(crate) struct Share<K, A, E> {
    waiting: Mutex<Waiting<K, A, E>>,
}

impl<K, A, E> Share<K, A, E>
where
    K: Clone + Eq + Hash + Send + Sync + 'static,
    A: Clone + Send + 'static,
    E: Send + 'static,
{
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::new(HashMap::new()),
        })
    }

    /// The answer of a call that began after this. None if the call ended without one.
    pub(crate) async fn ask<F, C>(self: &Arc<Self>, key: K, extra: E, call: F) -> Option<A>
    where
        F: Fn() -> C + Send + 'static,
        C: Future<Output = A> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let asker = Asker { answer, extra };
        let is_first = {
            let mut waiting = self.lock();
            match waiting.get_mut(&key) {
                Some(askers) => {
                    askers.push(asker);
                    false
                }
                None => {
                    waiting.insert(key.clone(), vec![asker]);
                    true
                }
            }
        };
        if is_first {
            tokio::spawn(Arc::clone(self).run(key, call));
        }
        answered.await.ok()
    }

    /// Calls, one after the other, until nobody waits.
    async fn run<F, C>(self: Arc<Self>, key: K, call: F)
    where
        F: Fn() -> C,
        C: Future<Output = A>,
    {
        let place = Place {
            share: &self,
            key: &key,
        };
        while let Some(askers) = place.next() {
            let answer = call().await;
            for asker in askers {
                drop(asker.extra);
                let _ = asker.answer.send(answer.clone());
            }
        }
    }
}

impl<K, A, E> Share<K, A, E> {
    fn lock(&self) -> MutexGuard<'_, Waiting<K, A, E>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A key's entry in the map, taken out when nobody waits, and also if the call panics.
struct Place<'a, K: Eq + Hash, A, E> {
    share: &'a Share<K, A, E>,
    key: &'a K,
}

impl<K: Eq + Hash, A, E> Place<'_, K, A, E> {
    fn next(&self) -> Option<Vec<Asker<A, E>>> {
        let mut waiting = self.share.lock();
        let askers = waiting.get_mut(self.key)?;
        if askers.is_empty() {
            waiting.remove(self.key);
            return None;
        }
        Some(std::mem::take(askers))
    }
}

impl<K: Eq + Hash, A, E> Drop for Place<'_, K, A, E> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.share.lock().remove(self.key);
        }
    }
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "these are tests")]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn readers_share_a_call_that_began_after_they_asked() {
        let (share, calls) = (Share::<u8, u32, ()>::new(), Arc::new(AtomicU32::new(0)));
        let go = Arc::new(Semaphore::new(0));
        let ask = || {
            let (share, calls, go) = (Arc::clone(&share), Arc::clone(&calls), Arc::clone(&go));
            tokio::spawn(async move {
                let call = move || {
                    let (calls, go) = (Arc::clone(&calls), Arc::clone(&go));
                    async move {
                        let call = calls.fetch_add(1, Ordering::SeqCst) + 1;
                        go.acquire().await.expect("a permit").forget();
                        call
                    }
                };
                share.ask(7, (), call).await
            })
        };
        let first = ask();
        while calls.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
        let later: Vec<_> = (0..20).map(|_| ask()).collect();
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(calls.load(Ordering::SeqCst), 1);
        go.add_permits(2);
        assert_eq!(first.await.expect("an end"), Some(1));
        for reader in later {
            assert_eq!(
                reader.await.expect("an end"),
                Some(2),
                "never the older call"
            );
        }
        go.add_permits(1);
        assert_eq!(ask().await.expect("an end"), Some(3));
    }
}
