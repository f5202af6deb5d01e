//! Answers that cost a long read: counted once for everybody who asks, and one at a time.
//!
//! Who asks again and again must not take the store's readers away from the flows: at most one of these is busy with
//! answers of a kind. An answer is good for a while: at least as long as its kind says, and ten times as long as the
//! count took; who asks what is kept waits for nobody.

use ports::store::StoreError;
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// How many times as long as its count took an answer is good: one question takes a tenth of a reader at most.
const REST: u32 = 10;
/// The most answers that are kept.
const KEPT_MAX: usize = 1_000;

/// An answer, and until when it is good.
struct Counted<A> {
    answer: A,
    good_until: Instant,
}

/// The answers to what was asked lately.
pub(crate) struct Kept<Q, A> {
    /// How long an answer is good at least.
    fresh: Duration,
    answers: Mutex<BTreeMap<Q, Counted<A>>>,
    /// Held while one is counted.
    counting: tokio::sync::Mutex<()>,
}

impl<Q: Ord, A: Clone> Kept<Q, A> {
    /// Answers that are good for so long at least.
    pub(crate) const fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            answers: Mutex::new(BTreeMap::new()),
            counting: tokio::sync::Mutex::const_new(()),
        }
    }

    /// The answer that is kept, or what is counted now.
    ///
    /// # Errors
    /// [`StoreError`] of the count; nothing is kept then.
    pub(crate) async fn answer<F>(
        &self,
        question: Q,
        count: impl FnOnce() -> F,
    ) -> Result<A, StoreError>
    where
        F: Future<Output = Result<A, StoreError>>,
    {
        if let Some(answer) = self.kept(&question) {
            return Ok(answer);
        }
        let _counting = self.counting.lock().await;
        // Somebody may have counted it meanwhile.
        if let Some(answer) = self.kept(&question) {
            return Ok(answer);
        }
        let began = Instant::now();
        let answer = count().await?;
        let now = Instant::now();
        let counted = Counted {
            answer: answer.clone(),
            good_until: now + self.fresh.max(now.duration_since(began) * REST),
        };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= KEPT_MAX {
            answers.retain(|_, counted| now < counted.good_until);
        }
        if answers.len() >= KEPT_MAX {
            answers.clear();
        }
        answers.insert(question, counted);
        Ok(answer)
    }

    fn kept(&self, question: &Q) -> Option<A> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = answers.get(question)?;
        (Instant::now() < counted.good_until).then(|| counted.answer.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    const LONG: Duration = Duration::from_secs(3_600);

    #[tokio::test]
    async fn a_crowd_costs_one_count_and_another_question_another() {
        let kept = Arc::new(Kept::new(LONG));
        let counts = Arc::new(AtomicUsize::new(0));
        let asked: Vec<_> = (0..64)
            .map(|number| {
                let (kept, counts) = (Arc::clone(&kept), Arc::clone(&counts));
                let count = async move || {
                    tokio::task::yield_now().await;
                    Ok(counts.fetch_add(1, Ordering::SeqCst))
                };
                tokio::spawn(async move { kept.answer(number % 2, count).await })
            })
            .collect();
        for asked in asked {
            assert!(asked.await.expect("a task").expect("an answer") < 2);
        }
        assert_eq!(counts.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_took_long_is_good_for_long_and_what_failed_is_not_kept() {
        let kept = Kept::new(Duration::from_secs(1));
        let fails = || async { Err(StoreError::unavailable("away")) };
        kept.answer((), fails).await.expect_err("it is away");
        let answered = async |took: u64, number: u64| {
            let count = async || {
                tokio::time::advance(Duration::from_secs(took)).await;
                Ok(number)
            };
            kept.answer((), count).await.expect("an answer")
        };
        let later = async |seconds| tokio::time::advance(Duration::from_secs(seconds)).await;
        assert_eq!(answered(3, 1).await, 1);
        later(29).await;
        assert_eq!(answered(0, 2).await, 1);
        later(1).await;
        assert_eq!(answered(0, 3).await, 3);
        later(1).await;
        assert_eq!(answered(0, 4).await, 4, "a second at least, and no more");
    }

    #[tokio::test]
    async fn no_more_are_kept_than_may_be() {
        let kept = Kept::new(LONG);
        for number in 0..=KEPT_MAX {
            let count = || async { Ok(number) };
            kept.answer(number, count).await.expect("an answer");
        }
        assert!(kept.answers.lock().expect("a lock").len() <= KEPT_MAX);
    }
}
