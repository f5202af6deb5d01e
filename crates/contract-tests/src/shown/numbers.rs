//! The suites of [`ports::shown::Tallies`] and [`ports::shown::PastPools`].
#![deny(dead_code, reason = "a case that is not listed is never run")]

use super::{ShownFixture, running};
use crate::samples::{Dice, coins, signup_id};
use domain::{contest::Contest, order::OrderId, settlement::Advisory};
use ports::shown::{Count, Counted, Epoch, PastPool, Tally};
use std::sync::Arc;

super::shown_cases! {
    without_a_finished_rebuild_there_are_no_numbers,
    a_count_is_added_once,
    a_crowd_counts_each_once,
    counts_during_a_rebuild_go_to_both,
    a_later_rebuild_voids_an_earlier_one,
    what_was_lost_is_not_half_shown,
    large_numbers_are_exact,
    a_past_pool_is_found_until_it_is_lost,
}

/// How many count at once, and how many finishers each of them counts.
const COUNTERS: usize = 5;
const FINISHERS: usize = 300;

fn finisher(weight: u64) -> Count {
    Count::Finisher(signup_id(), weight)
}

fn prize(order: u8, amount: u64) -> Count {
    Count::Prize(OrderId([order; 16]), coins(amount))
}

fn tally(finishers: u64, weight: u64, winners: u64, prizes: u64) -> Tally {
    Tally {
        finishers,
        weight,
        winners,
        prizes: coins(prizes),
    }
}

async fn count<F: ShownFixture>(shown: &F, contest: &Contest, counts: &[Count]) -> Counted {
    let counted = shown.tallies().count(contest, counts).await;
    counted.expect("an answer")
}

async fn read<F: ShownFixture>(shown: &F, contest: &Contest) -> Option<Tally> {
    let read = shown.tallies().read(contest).await.expect("an answer");
    read.map(|Advisory(tally)| tally)
}

async fn begin<F: ShownFixture>(shown: &F, contest: &Contest) -> Epoch {
    shown.tallies().begin(contest).await.expect("an answer")
}

async fn put<F: ShownFixture>(shown: &F, contest: &Contest, epoch: Epoch, rows: &[Count]) -> bool {
    let put = shown.tallies().put(contest, epoch, rows).await;
    put.expect("an answer")
}

async fn finish<F: ShownFixture>(shown: &F, contest: &Contest, epoch: Epoch) -> bool {
    let finished = shown.tallies().finish(contest, epoch).await;
    finished.expect("an answer")
}

/// A contest whose tally was built from no rows.
async fn counted<F: ShownFixture>(shown: &F) -> Contest {
    let contest = running(shown);
    let epoch = begin(shown, &contest).await;
    assert!(finish(shown, &contest, epoch).await);
    contest
}

// clause 2
async fn without_a_finished_rebuild_there_are_no_numbers<F: ShownFixture>(shown: F) {
    let contest = running(&shown);
    let ann = finisher(3);
    assert_eq!(read(&shown, &contest).await, None);
    for counts in [&[][..], &[ann.clone()]] {
        assert_eq!(count(&shown, &contest, counts).await, Counted::Rebuild);
    }
    let epoch = begin(&shown, &contest).await;
    assert_eq!(read(&shown, &contest).await, None);
    assert!(finish(&shown, &contest, epoch).await);
    // What was refused before was not counted.
    assert_eq!(read(&shown, &contest).await, Some(Tally::ZERO));
    let now = Counted::Now(Advisory(Tally::ZERO), 0);
    assert_eq!(count(&shown, &contest, &[]).await, now);
    assert_eq!(
        read(&shown, &running(&shown)).await,
        None,
        "another contest"
    );
}

// clause 1
async fn a_count_is_added_once<F: ShownFixture>(shown: F) {
    let contest = counted(&shown).await;
    let (ann, bob) = (finisher(3), finisher(0));
    let first = [ann.clone(), prize(1, 70), ann.clone()];
    let now = tally(1, 3, 1, 70);
    let answer = count(&shown, &contest, &first).await;
    assert_eq!(answer, Counted::Now(Advisory(now), 2));
    let answer = count(&shown, &contest, &first).await;
    assert_eq!(answer, Counted::Now(Advisory(now), 0));
    // Repeats among new ones, and with another amount: the first one stands.
    let Count::Finisher(ann, _) = ann else {
        unreachable!("a finisher")
    };
    let second = [Count::Finisher(ann, 9), bob, prize(1, 1), prize(2, 0)];
    let now = tally(2, 3, 2, 70);
    let answer = count(&shown, &contest, &second).await;
    assert_eq!(answer, Counted::Now(Advisory(now), 2));
    assert_eq!(read(&shown, &contest).await, Some(now));
}

// clause 1
async fn a_crowd_counts_each_once<F: ShownFixture>(shown: F) {
    let contest = Arc::new(counted(&shown).await);
    let shown = Arc::new(shown);
    let finishers: Vec<_> = (0..FINISHERS).map(|_| finisher(2)).collect();
    let mut dice = Dice::cast();
    let counters: Vec<_> = (0..COUNTERS)
        .map(|_| {
            let (shown, contest) = (Arc::clone(&shown), Arc::clone(&contest));
            let mut finishers = finishers.clone();
            dice.shuffle(&mut finishers);
            tokio::spawn(async move {
                let mut new = 0;
                for some in finishers.chunks(7) {
                    match count(shown.as_ref(), &contest, some).await {
                        Counted::Now(_, added) => new += added,
                        Counted::Rebuild => unreachable!("the marker is there"),
                    }
                }
                new
            })
        })
        .collect();
    let mut new = 0;
    for counter in counters {
        new += counter.await.expect("no panic");
    }
    let all = FINISHERS as u64;
    assert_eq!(new, all, "each was new for one of them");
    let now = read(shown.as_ref(), &contest).await;
    assert_eq!(now, Some(tally(all, 2 * all, 0, 0)));
}

// clause 3
// hazard: D5
async fn counts_during_a_rebuild_go_to_both<F: ShownFixture>(shown: F) {
    let contest = counted(&shown).await;
    let [before, during, both] = [1, 10, 100].map(finisher);
    count(&shown, &contest, std::slice::from_ref(&before)).await;
    let epoch = begin(&shown, &contest).await;
    let live = [during.clone(), both.clone()];
    let now = tally(3, 111, 0, 0);
    let answer = count(&shown, &contest, &live).await;
    assert_eq!(answer, Counted::Now(Advisory(now), 2));
    // The rows have what was counted before, and one of what was counted since.
    assert!(put(&shown, &contest, epoch, &[before.clone(), both]).await);
    assert_eq!(read(&shown, &contest).await, Some(now), "the old one");
    assert!(finish(&shown, &contest, epoch).await);
    assert_eq!(read(&shown, &contest).await, Some(now), "the new one");
    let again = count(&shown, &contest, &[before, during]).await;
    assert_eq!(again, Counted::Now(Advisory(now), 0));
    // Without an old one, the new one has what was sent all the same.
    shown.lose().await;
    let epoch = begin(&shown, &contest).await;
    let late = finisher(5);
    let answer = count(&shown, &contest, &[late]).await;
    assert_eq!(answer, Counted::Rebuild);
    assert!(finish(&shown, &contest, epoch).await);
    assert_eq!(read(&shown, &contest).await, Some(tally(1, 5, 0, 0)));
}

// clause 5
async fn a_later_rebuild_voids_an_earlier_one<F: ShownFixture>(shown: F) {
    let contest = counted(&shown).await;
    let first = begin(&shown, &contest).await;
    assert!(put(&shown, &contest, first, &[finisher(7)]).await);
    let second = begin(&shown, &contest).await;
    assert!(second > first);
    assert!(!put(&shown, &contest, first, &[finisher(7)]).await);
    assert!(!put(&shown, &contest, first, &[]).await);
    assert!(!finish(&shown, &contest, first).await);
    assert_eq!(read(&shown, &contest).await, Some(Tally::ZERO));
    assert!(put(&shown, &contest, second, &[finisher(1)]).await);
    assert!(finish(&shown, &contest, second).await);
    assert_eq!(read(&shown, &contest).await, Some(tally(1, 1, 0, 0)));
    // It is over.
    assert!(!put(&shown, &contest, second, &[finisher(1)]).await);
    assert!(!finish(&shown, &contest, second).await);
    assert_eq!(read(&shown, &contest).await, Some(tally(1, 1, 0, 0)));
}

// clause 2
// hazard: D3
async fn what_was_lost_is_not_half_shown<F: ShownFixture>(shown: F) {
    let contest = counted(&shown).await;
    let ann = finisher(3);
    count(&shown, &contest, std::slice::from_ref(&ann)).await;
    let epoch = begin(&shown, &contest).await;
    shown.lose().await;
    assert_eq!(read(&shown, &contest).await, None);
    let answer = count(&shown, &contest, std::slice::from_ref(&ann)).await;
    assert_eq!(answer, Counted::Rebuild);
    assert!(!put(&shown, &contest, epoch, std::slice::from_ref(&ann)).await);
    assert!(!finish(&shown, &contest, epoch).await);
    let epoch = begin(&shown, &contest).await;
    assert!(put(&shown, &contest, epoch, &[ann]).await);
    assert!(finish(&shown, &contest, epoch).await);
    assert_eq!(read(&shown, &contest).await, Some(tally(1, 3, 0, 0)));
}

// hazard: D10
async fn large_numbers_are_exact<F: ShownFixture>(shown: F) {
    let contest = counted(&shown).await;
    let max = (1 << 53) - 1;
    let counts = [finisher(max), finisher(2), prize(1, max - 1), prize(2, 1)];
    count(&shown, &contest, &counts).await;
    let now = tally(2, (1 << 53) + 1, 2, max);
    assert_eq!(read(&shown, &contest).await, Some(now));
    // Two orders that a double could not tell apart are two.
    let [mut low, mut high] = [[0; 16]; 2];
    low[8..].copy_from_slice(&(1_u64 << 53).to_be_bytes());
    high[8..].copy_from_slice(&((1_u64 << 53) + 1).to_be_bytes());
    let other = counted(&shown).await;
    let orders = [low, high].map(|id| Count::Prize(OrderId(id), coins(1)));
    let answer = count(&shown, &other, &orders).await;
    assert_eq!(answer, Counted::Now(Advisory(tally(0, 0, 2, 2)), 2));
}

// clauses 1 and 2 of the pools
async fn a_past_pool_is_found_until_it_is_lost<F: ShownFixture>(shown: F) {
    let (contest, other) = (running(&shown), running(&shown));
    let pools = shown.past_pools();
    assert_eq!(pools.get(contest.id).await.expect("an answer"), None);
    for amount in [0, (1 << 53) - 1] {
        let pool = PastPool {
            amount: coins(amount),
            finishers: u64::MAX,
            prize: coins(amount),
            as_of: shown.now(),
        };
        pools.put(&contest, pool).await.expect("an answer");
        let found = pools.get(contest.id).await.expect("an answer");
        assert_eq!(found, Some(pool));
    }
    assert_eq!(pools.get(other.id).await.expect("an answer"), None);
    shown.lose().await;
    assert_eq!(pools.get(contest.id).await.expect("an answer"), None);
}
