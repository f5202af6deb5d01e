//! The suite of what is only shown: record cache, tally, ranking and past pools.
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::at_once,
    samples::{Dice, HOUR, all_states, coins, contest_in, signup_id, signup_in, user},
};
use async_trait::async_trait;
use domain::{
    contest::{Contest, PhaseKind},
    ids::{ContestId, UserId},
    order::{Leg, OrderId},
    settlement::Advisory,
    signup::Signup,
    time::UnixMillis,
};
use ports::{
    leaderboard::{PLACES_MAX, Place},
    shown::{
        ABSENT_MS_MAX, Cached, Count, Counted, Epoch, Filled, PastPool, PastPools, Ranking,
        RecordCache, Tallies, Tally,
    },
};
use std::{
    cmp::Reverse,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// An adapter of what is only shown, empty, and on the real clock's time.
#[async_trait]
#[expect(missing_docs, reason = "the ports say what they are")]
pub trait ShownFixture: Send + Sync + Sized + 'static {
    /// Opens one. What other cases put is of other contests.
    async fn open() -> Self;
    fn records(&self) -> Arc<dyn RecordCache>;
    fn tallies(&self) -> Arc<dyn Tallies>;
    fn ranking(&self) -> Arc<dyn Ranking>;
    fn past_pools(&self) -> Arc<dyn PastPools>;
}

macro_rules! shown_cases {
    (@ ($d:tt) $($case:ident),+) => {
        /// The cases of this suite.
        pub mod cases {
            $(
                #[doc = concat!("The case `", stringify!($case), "`.")]
                pub async fn $case<F: super::ShownFixture>() {
                    super::$case(F::open().await).await;
                }
            )+
        }

        /// Makes every case a test of a [`ShownFixture`]: one line in the adapter's `tests/`.
        ///
        /// [`ShownFixture`]: crate::shown::ShownFixture
        #[macro_export]
        macro_rules! shown_suite {
            ($d fixture:ty) => {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        $crate::shown::cases::$case::<$d fixture>().await;
                    }
                )+
            };
        }
    };
    ($($case:ident),+ $(,)?) => { shown_cases! { @ ($) $($case),+ } };
}

shown_cases! {
    every_record_comes_back,
    nothing_older_than_what_was_dropped_comes_back,
    nothing_older_than_what_is_stored_is_stored,
    an_absence_is_short_and_gives_way,
    racing_fills_and_drops_leave_nothing_stale,
    without_a_tally_nothing_is_counted,
    a_count_is_added_once,
    a_crowd_counts_each_once,
    amounts_keep_every_digit,
    a_rebuild_misses_nothing,
    only_the_last_attempt_counts,
    a_tally_that_is_forgotten_is_built_anew,
    without_a_ranking_there_are_no_places,
    places_stand_in_order,
    the_better_of_two_places_is_kept,
    a_new_ranking_takes_the_olds_place,
    a_crowd_is_ranked_as_sorted,
    a_past_pool_comes_back,
}

/// The real time.
#[must_use]
pub fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    UnixMillis(since.expect("after 1970").as_millis() as i64)
}

fn contest() -> Contest {
    contest_in(PhaseKind::Running, now())
}

/// One of a viewer's versions.
fn version(contest: &Contest, name: &str, version: u64) -> Signup {
    let state = all_states(now()).swap_remove(0);
    Signup {
        version,
        ..signup_in(state, contest, user(name), now())
    }
}

async fn get(records: &Arc<dyn RecordCache>, contest: &Contest, name: &str) -> Option<Cached> {
    let got = records.get(contest.id, &user(name)).await;
    got.expect("an answer")
}

async fn fill(records: &Arc<dyn RecordCache>, contest: &Contest, signup: &Signup) -> Filled {
    let filled = records.fill(contest, &signup.user_id, Some(signup)).await;
    filled.expect("an answer")
}

async fn drop_record(records: &Arc<dyn RecordCache>, contest: &Contest, name: &str, version: u64) {
    let dropped = records.drop_record(contest, &user(name), version).await;
    dropped.expect("an answer");
}

fn is_version(cached: Option<&Cached>, wanted: u64) -> bool {
    matches!(cached, Some(Cached::Record(signup)) if signup.version == wanted)
}

async fn every_record_comes_back<F: ShownFixture>(shown: F) {
    let (records, contest) = (shown.records(), contest());
    for (number, state) in all_states(now()).into_iter().enumerate() {
        let signup = Signup {
            version: 1 + number as u64,
            ..signup_in(state, &contest, user(&format!("v.{number}_-X")), now())
        }
        .recalled();
        assert_eq!(get(&records, &contest, signup.user_id.as_str()).await, None);
        assert_eq!(fill(&records, &contest, &signup).await, Filled::Stored);
        let found = get(&records, &contest, signup.user_id.as_str()).await;
        assert_eq!(found, Some(Cached::Record(Box::new(signup.clone()))));
        let other = records.get(ContestId(uuid::Uuid::now_v7()), &signup.user_id);
        assert_eq!(other.await.expect("an answer"), None);
    }
}

// clause 1
// hazard: E1, E3
async fn nothing_older_than_what_was_dropped_comes_back<F: ShownFixture>(shown: F) {
    let (records, contest) = (shown.records(), contest());
    let signup = |number| version(&contest, "ann", number);
    // A reader has read version 1 and pauses; a writer writes version 2 and drops.
    assert_eq!(fill(&records, &contest, &signup(1)).await, Filled::Stored);
    drop_record(&records, &contest, "ann", 2).await;
    assert_eq!(get(&records, &contest, "ann").await, None);
    assert_eq!(fill(&records, &contest, &signup(1)).await, Filled::Stale);
    assert_eq!(get(&records, &contest, "ann").await, None);
    // An older drop that comes late does not weaken a newer one.
    drop_record(&records, &contest, "ann", 5).await;
    drop_record(&records, &contest, "ann", 3).await;
    assert_eq!(fill(&records, &contest, &signup(4)).await, Filled::Stale);
    assert_eq!(fill(&records, &contest, &signup(5)).await, Filled::Stored);
    assert!(is_version(get(&records, &contest, "ann").await.as_ref(), 5));
    // Nor does it drop what is not older, and nobody else's.
    fill(&records, &contest, &version(&contest, "bob", 1)).await;
    drop_record(&records, &contest, "ann", 5).await;
    assert!(is_version(get(&records, &contest, "ann").await.as_ref(), 5));
    assert!(is_version(get(&records, &contest, "bob").await.as_ref(), 1));
}

// clause 2
async fn nothing_older_than_what_is_stored_is_stored<F: ShownFixture>(shown: F) {
    let (records, contest) = (shown.records(), contest());
    let signup = |number| version(&contest, "ann", number);
    // Compared as numbers: 10 is more than 9.
    assert_eq!(fill(&records, &contest, &signup(10)).await, Filled::Stored);
    assert_eq!(fill(&records, &contest, &signup(9)).await, Filled::Stale);
    assert!(is_version(
        get(&records, &contest, "ann").await.as_ref(),
        10
    ));
    assert_eq!(fill(&records, &contest, &signup(10)).await, Filled::Stored);
    let absent = records.fill(&contest, &user("ann"), None).await;
    assert_eq!(absent.expect("an answer"), Filled::Stale);
    assert!(is_version(
        get(&records, &contest, "ann").await.as_ref(),
        10
    ));
}

// clause 3
// hazard: E7, E8
async fn an_absence_is_short_and_gives_way<F: ShownFixture>(shown: F) {
    let (records, contest) = (shown.records(), contest());
    let absent = async |name: &str| {
        let filled = records.fill(&contest, &user(name), None).await;
        filled.expect("an answer")
    };
    // The row is created after the absence was cached, and an older reader comes late.
    assert_eq!(absent("ann").await, Filled::Stored);
    assert_eq!(get(&records, &contest, "ann").await, Some(Cached::Absent));
    drop_record(&records, &contest, "ann", 1).await;
    assert_eq!(get(&records, &contest, "ann").await, None);
    assert_eq!(absent("ann").await, Filled::Stale);
    assert_eq!(get(&records, &contest, "ann").await, None);
    // The record itself takes an absence's place without a drop.
    assert_eq!(absent("bob").await, Filled::Stored);
    fill(&records, &contest, &version(&contest, "bob", 1)).await;
    assert!(is_version(get(&records, &contest, "bob").await.as_ref(), 1));
    // And left alone it ends soon; what took its place does not end with it.
    assert_eq!(absent("cat").await, Filled::Stored);
    let bound = Instant::now() + Duration::from_millis(ABSENT_MS_MAX as u64 + 1_000);
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    while get(&records, &contest, "cat").await.is_some() {
        assert!(Instant::now() < bound, "an absence lives too long");
        ticks.tick().await;
    }
    assert!(is_version(get(&records, &contest, "bob").await.as_ref(), 1));
}

// clauses 1 and 2
// hazard: E1, E3
async fn racing_fills_and_drops_leave_nothing_stale<F: ShownFixture>(shown: F) {
    let contest = contest();
    let calls = (1..=60_u64).map(|number| {
        let (records, contest) = (shown.records(), contest.clone());
        async move {
            if number % 2 == 0 {
                drop_record(&records, &contest, "ann", number).await;
                let found = get(&records, &contest, "ann").await;
                if let Some(Cached::Record(found)) = found {
                    assert!(found.version >= number, "older than what was dropped");
                }
            } else {
                fill(&records, &contest, &version(&contest, "ann", number)).await;
            }
        }
    });
    at_once(calls).await;
    let records = shown.records();
    assert_eq!(
        get(&records, &contest, "ann").await,
        None,
        "60 was dropped, and nothing newer filled"
    );
}

fn finishers(count: usize) -> Vec<Count> {
    let finisher = |number| Count::Finisher(signup_id(), 1_000 + number as u64);
    (0..count).map(finisher).collect()
}

fn prize(number: usize, amount: u64) -> Count {
    let leg = Leg::Prize(
        ContestId(uuid::Uuid::now_v7()),
        user(&format!("viewer-{number}")),
    );
    Count::Prize(leg.order_id(), coins(amount))
}

/// What all of them come to.
fn sum(counts: &[Count]) -> Tally {
    let mut once: BTreeMap<String, &Count> = BTreeMap::new();
    for count in counts {
        let unique = match count {
            Count::Finisher(signup, _) => signup.to_string(),
            Count::Prize(order, _) => order.to_string(),
        };
        once.entry(unique).or_insert(count);
    }
    let mut tally = Tally::ZERO;
    for count in once.values() {
        match count {
            Count::Finisher(_, weight) => {
                tally.finishers += 1;
                tally.weight += weight;
            }
            Count::Prize(_, prize) => {
                tally.winners += 1;
                tally.prizes = tally.prizes.plus(*prize).expect("a sum");
            }
        }
    }
    tally
}

/// Builds a tally of these, as whoever rebuilds does.
pub async fn build(tallies: &Arc<dyn Tallies>, contest: &Contest, counts: &[Count]) {
    let epoch = tallies.begin(contest).await.expect("begun");
    for chunk in counts.chunks(500) {
        assert!(tallies.put(contest, epoch, chunk).await.expect("an answer"));
    }
    assert!(tallies.finish(contest, epoch).await.expect("an answer"));
}

async fn read(tallies: &Arc<dyn Tallies>, contest: &Contest) -> Option<Tally> {
    let read = tallies.read(contest).await.expect("an answer");
    read.map(|Advisory(tally)| tally)
}

async fn count(tallies: &Arc<dyn Tallies>, contest: &Contest, counts: &[Count]) -> Counted {
    tallies.count(contest, counts).await.expect("an answer")
}

// clause 6
async fn a_tally_that_is_forgotten_is_built_anew<F: ShownFixture>(shown: F) {
    let (tallies, contest) = (shown.tallies(), contest());
    tallies.forget(&contest).await.expect("nothing is there");
    build(&tallies, &contest, &finishers(3)).await;
    let voided = tallies.begin(&contest).await.expect("begun");
    tallies.forget(&contest).await.expect("forgotten");
    assert_eq!(read(&tallies, &contest).await, None);
    let counted = count(&tallies, &contest, &finishers(1)).await;
    assert_eq!(counted, Counted::Rebuild);
    let finished = tallies.finish(&contest, voided).await.expect("an answer");
    assert!(!finished, "the attempt is void");
    assert_eq!(read(&tallies, &contest).await, None);
    build(&tallies, &contest, &finishers(2)).await;
    assert_eq!(read(&tallies, &contest).await, Some(sum(&finishers(2))));
}

// clause 2
// hazard: D2
async fn without_a_tally_nothing_is_counted<F: ShownFixture>(shown: F) {
    let (tallies, contest) = (shown.tallies(), contest());
    assert_eq!(read(&tallies, &contest).await, None);
    assert_eq!(
        count(&tallies, &contest, &finishers(1)).await,
        Counted::Rebuild
    );
    assert_eq!(read(&tallies, &contest).await, None);
    // An attempt that was only begun is no tally either.
    tallies.begin(&contest).await.expect("begun");
    assert_eq!(
        count(&tallies, &contest, &finishers(1)).await,
        Counted::Rebuild
    );
    assert_eq!(read(&tallies, &contest).await, None);
    build(&tallies, &contest, &[]).await;
    assert_eq!(read(&tallies, &contest).await, Some(Tally::ZERO));
    let counted = count(&tallies, &contest, &finishers(1)).await;
    assert!(matches!(counted, Counted::Now(_, 1)), "{counted:?}");
}

// clause 1
// hazard: D1, D8
async fn a_count_is_added_once<F: ShownFixture>(shown: F) {
    let (tallies, contest) = (shown.tallies(), contest());
    build(&tallies, &contest, &[]).await;
    let mut counts = finishers(3);
    counts.push(prize(1, 7));
    let all = sum(&counts);
    let now = |added| Counted::Now(Advisory(all), added);
    assert_eq!(count(&tallies, &contest, &counts).await, now(4));
    assert_eq!(count(&tallies, &contest, &counts).await, now(0));
    // Twice in one call, and beside a new one; the first amount stays.
    let Count::Finisher(first, _) = counts[0] else {
        panic!("a finisher")
    };
    let more = [Count::Finisher(first, 99), prize(2, 5), counts[3].clone()];
    let mut doubled = more.to_vec();
    doubled.extend(more.iter().cloned());
    let Counted::Now(Advisory(found), added) = count(&tallies, &contest, &doubled).await else {
        panic!("there is a tally")
    };
    assert_eq!(added, 1);
    assert_eq!((found.winners, found.prizes), (2, coins(12)));
    assert_eq!((found.finishers, found.weight), (3, all.weight));
    // Another contest's tally is its own.
    let other = self::contest();
    build(&tallies, &other, &[]).await;
    assert_eq!(read(&tallies, &other).await, Some(Tally::ZERO));
    assert_eq!(read(&tallies, &contest).await, Some(found));
}

// clause 1
// hazard: D1
async fn a_crowd_counts_each_once<F: ShownFixture>(shown: F) {
    let (tallies, contest) = (shown.tallies(), contest());
    build(&tallies, &contest, &[]).await;
    let mut counts = finishers(100);
    counts.extend((0..50).map(|number| prize(number, 3)));
    let calls = (0..5).flat_map(|_| {
        counts.chunks(10).map(|chunk| {
            let (tallies, contest, chunk) = (shown.tallies(), contest.clone(), chunk.to_vec());
            async move {
                match count(&tallies, &contest, &chunk).await {
                    Counted::Now(_, added) => added,
                    Counted::Rebuild => panic!("nobody took the tally away"),
                }
            }
        })
    });
    let added: u64 = at_once(calls.collect::<Vec<_>>()).await.into_iter().sum();
    assert_eq!(added, 150);
    assert_eq!(read(&tallies, &contest).await, Some(sum(&counts)));
}

// hazard: C3, D10
async fn amounts_keep_every_digit<F: ShownFixture>(shown: F) {
    let (tallies, contest) = (shown.tallies(), contest());
    build(&tallies, &contest, &[]).await;
    let large = (1_u64 << 53) + 1;
    let counts = [
        Count::Finisher(signup_id(), large),
        Count::Finisher(signup_id(), large),
        prize(1, (1 << 53) - 2),
        prize(2, 1),
    ];
    count(&tallies, &contest, &counts).await;
    let found = read(&tallies, &contest).await.expect("a tally");
    assert_eq!(found.weight, 2 * large);
    assert_eq!(found.prizes.get(), (1 << 53) - 1);
    // As ids, two numbers beyond 2^53 that are one double are two.
    let order = |last: u8| {
        let mut bytes = [0xff_u8; 16];
        bytes[15] = last;
        Count::Prize(OrderId(bytes), coins(0))
    };
    let counted = count(&tallies, &contest, &[order(0), order(1)]).await;
    assert!(matches!(counted, Counted::Now(_, 2)), "{counted:?}");
}

// clause 3
// hazard: D5
async fn a_rebuild_misses_nothing<F: ShownFixture>(shown: F) {
    let (tallies, contest) = (shown.tallies(), contest());
    let (old, later) = (finishers(20), finishers(20));
    build(&tallies, &contest, &old).await;
    let epoch = tallies.begin(&contest).await.expect("begun");
    // Half of the rows are read; then some more are saved and counted, some of them rows that the
    // rebuild reads too.
    assert!(tallies.put(&contest, epoch, &old[..10]).await.expect("put"));
    let counted = count(&tallies, &contest, &later).await;
    assert!(
        matches!(counted, Counted::Now(_, 20)),
        "the old one is there"
    );
    assert!(tallies.put(&contest, epoch, &old[5..]).await.expect("put"));
    assert!(
        tallies
            .put(&contest, epoch, &later[..7])
            .await
            .expect("put")
    );
    let all: Vec<Count> = old.iter().chain(&later).cloned().collect();
    assert_eq!(read(&tallies, &contest).await, Some(sum(&all)));
    assert!(tallies.finish(&contest, epoch).await.expect("finished"));
    assert_eq!(read(&tallies, &contest).await, Some(sum(&all)));
    // The new one counts on, and knows what was counted.
    let counted = count(&tallies, &contest, &all).await;
    assert_eq!(counted, Counted::Now(Advisory(sum(&all)), 0));
}

// clause 5
async fn only_the_last_attempt_counts<F: ShownFixture>(shown: F) {
    let (tallies, contest) = (shown.tallies(), contest());
    let counts = finishers(4);
    let first = tallies.begin(&contest).await.expect("begun");
    assert!(tallies.put(&contest, first, &counts).await.expect("put"));
    let second = tallies.begin(&contest).await.expect("begun");
    assert!(first < second, "a later attempt is a higher one");
    assert!(!tallies.put(&contest, first, &counts).await.expect("put"));
    assert!(!tallies.finish(&contest, first).await.expect("an answer"));
    assert_eq!(read(&tallies, &contest).await, None);
    assert!(
        tallies
            .put(&contest, second, &counts[..1])
            .await
            .expect("put")
    );
    assert!(tallies.finish(&contest, second).await.expect("an answer"));
    assert_eq!(read(&tallies, &contest).await, Some(sum(&counts[..1])));
    // What is finished is no attempt any more.
    assert!(!tallies.put(&contest, second, &counts).await.expect("put"));
    assert!(!tallies.finish(&contest, second).await.expect("an answer"));
    assert!(!tallies.finish(&contest, Epoch(0)).await.expect("an answer"));
    assert_eq!(read(&tallies, &contest).await, Some(sum(&counts[..1])));
}

fn place(name: &str, quantity: u64, reached_at: UnixMillis) -> Place {
    Place {
        rank: 0,
        user_id: user(name),
        signup_id: signup_id(),
        quantity,
        reached_at,
    }
}

/// The places in order, with their ranks.
fn ranked(places: &[Place]) -> Vec<Place> {
    let mut places = places.to_vec();
    places.sort_by_key(|place| (Reverse(place.quantity), place.reached_at, place.signup_id));
    for (place, rank) in places.iter_mut().zip(1..) {
        place.rank = rank;
    }
    places
}

/// Builds a ranking of these, as whoever rebuilds does.
pub async fn build_ranking(ranking: &Arc<dyn Ranking>, contest: &Contest, places: &[Place]) {
    let epoch = ranking.begin(contest).await.expect("begun");
    for chunk in places.chunks(500) {
        assert!(ranking.build(contest, epoch, chunk).await.expect("built"));
    }
    assert!(ranking.finish(contest, epoch).await.expect("finished"));
}

async fn top(ranking: &Arc<dyn Ranking>, contest: &Contest, limit: usize) -> Option<Vec<Place>> {
    ranking.top(contest, limit).await.expect("an answer")
}

// clause 2
async fn without_a_ranking_there_are_no_places<F: ShownFixture>(shown: F) {
    let (ranking, contest) = (shown.ranking(), contest());
    let ann = place("ann", 1, now());
    assert_eq!(top(&ranking, &contest, 10).await, None);
    let entered = ranking.put(&contest, std::slice::from_ref(&ann)).await;
    assert!(!entered.expect("an answer"));
    assert_eq!(top(&ranking, &contest, 10).await, None);
    let found = ranking.place_of(&contest, &ann.user_id, 1).await;
    assert_eq!(found.expect("an answer"), None);
    build_ranking(&ranking, &contest, &[]).await;
    assert_eq!(top(&ranking, &contest, 10).await, Some(Vec::new()));
    let found = ranking.place_of(&contest, &ann.user_id, 1).await;
    assert_eq!(found.expect("an answer"), Some(None));
    // The first place of an empty ranking.
    let entered = ranking.put(&contest, std::slice::from_ref(&ann)).await;
    assert!(entered.expect("an answer"));
    assert_eq!(top(&ranking, &contest, 10).await, Some(ranked(&[ann])));
}

// hazard: D13
async fn places_stand_in_order<F: ShownFixture>(shown: F) {
    let (ranking, contest) = (shown.ranking(), contest());
    let at = |seconds: i64| UnixMillis(seconds * 1_000);
    let places = [
        place("late", 4, at(9)),
        place("early", 4, at(5)),
        place("tied", 4, at(5)),
        // As text 10 would stand before 9, and a time before 1970 after all others.
        place("most", 10, at(20)),
        place("nine", 9, at(1)),
        place("before", 9, at(-1)),
        place("huge", i64::MAX as u64, at(1)),
        place("huger", i64::MAX as u64, at(0)),
        place("least", 1, at(0)),
    ];
    build_ranking(&ranking, &contest, &[]).await;
    assert!(ranking.put(&contest, &places).await.expect("an answer"));
    let wanted = ranked(&places);
    assert_eq!(top(&ranking, &contest, 100).await.as_ref(), Some(&wanted));
    assert_eq!(
        top(&ranking, &contest, 2).await.as_deref(),
        Some(&wanted[..2])
    );
    assert_eq!(top(&ranking, &contest, 0).await, Some(Vec::new()));
    for around in [0, 1, 3, 100] {
        for (index, wanted_place) in wanted.iter().enumerate() {
            let found = ranking
                .place_of(&contest, &wanted_place.user_id, around)
                .await;
            let found = found.expect("an answer").expect("a ranking");
            let found = found.expect("a place");
            assert_eq!(found.place, *wanted_place);
            let (first, last) = (index.saturating_sub(around), index + around);
            let last = last.min(wanted.len() - 1);
            assert_eq!(found.around, wanted[first..=last]);
        }
    }
}

// clause 1
async fn the_better_of_two_places_is_kept<F: ShownFixture>(shown: F) {
    let (ranking, contest) = (shown.ranking(), contest());
    build_ranking(&ranking, &contest, &[]).await;
    let at = |seconds: i64| UnixMillis(seconds * 1_000);
    let first = place("ann", 9, at(5));
    let better = Place {
        quantity: 10,
        reached_at: at(7),
        ..first.clone()
    };
    let bob = place("bob", 9, at(6));
    for places in [
        vec![first.clone(), bob.clone()],
        vec![better.clone()],
        // Repeats and old copies, in one call too; the rank is not looked at.
        vec![first.clone()],
        vec![Place {
            rank: 77,
            ..better.clone()
        }],
        vec![first.clone(), better.clone(), first.clone()],
    ] {
        assert!(ranking.put(&contest, &places).await.expect("an answer"));
    }
    assert_eq!(
        top(&ranking, &contest, 10).await,
        Some(ranked(&[better, bob]))
    );
}

// clause 3
// hazard: D5
async fn a_new_ranking_takes_the_olds_place<F: ShownFixture>(shown: F) {
    let (ranking, contest) = (shown.ranking(), contest());
    let at = now();
    let (ann, bob, cat) = (
        place("ann", 1, at),
        place("bob", 2, at),
        place("cat", 3, at),
    );
    let one = |place: &Place| vec![place.clone()];
    build_ranking(&ranking, &contest, &one(&ann)).await;
    let void = ranking.begin(&contest).await.expect("begun");
    let epoch = ranking.begin(&contest).await.expect("begun");
    // Entered while it is built: both have it, though nothing was built before.
    assert!(ranking.put(&contest, &one(&bob)).await.expect("entered"));
    assert_eq!(
        top(&ranking, &contest, 10).await,
        Some(ranked(&[ann.clone(), bob.clone()]))
    );
    let built = ranking.build(&contest, epoch, &one(&cat)).await;
    assert!(built.expect("an answer"));
    let built = ranking.build(&contest, void, &one(&ann)).await;
    assert!(!built.expect("an answer"));
    assert!(!ranking.finish(&contest, void).await.expect("an answer"));
    assert!(ranking.finish(&contest, epoch).await.expect("an answer"));
    assert_eq!(top(&ranking, &contest, 10).await, Some(ranked(&[bob, cat])));
    assert!(!ranking.finish(&contest, epoch).await.expect("an answer"));
}

// hazard: D13
async fn a_crowd_is_ranked_as_sorted<F: ShownFixture>(shown: F) {
    let (ranking, contest) = (shown.ranking(), contest());
    let mut dice = Dice::cast();
    let mut best: BTreeMap<UserId, Place> = BTreeMap::new();
    let mut events = Vec::new();
    for number in 0..200 {
        let mut place = place(&format!("viewer-{number}"), 0, UnixMillis(0));
        for _ in 0..=dice.roll(3) {
            // Few numbers, so that there are many ties.
            place.quantity += 1 + dice.roll(3) as u64;
            place.reached_at = place.reached_at.plus(dice.roll(3) as i64);
            events.push(place.clone());
        }
        best.insert(place.user_id.clone(), place);
    }
    dice.shuffle(&mut events);
    let half = events.len() / 2;
    // Half of it is built, and half comes live while and after.
    let epoch = ranking.begin(&contest).await.expect("begun");
    let (built, live) = events.split_at(half);
    let (during, after) = live.split_at(live.len() / 2);
    ranking.put(&contest, during).await.expect("an answer");
    for chunk in built.chunks(37) {
        let built = ranking.build(&contest, epoch, chunk).await;
        assert!(built.expect("an answer"));
    }
    assert!(ranking.finish(&contest, epoch).await.expect("an answer"));
    for chunk in after.chunks(11) {
        assert!(ranking.put(&contest, chunk).await.expect("an answer"));
    }
    let wanted = ranked(&best.into_values().collect::<Vec<_>>());
    assert_eq!(
        top(&ranking, &contest, usize::MAX).await.as_deref(),
        Some(&wanted[..PLACES_MAX])
    );
    for place in &wanted {
        let found = ranking.place_of(&contest, &place.user_id, 0).await;
        let found = found.expect("an answer").expect("a ranking");
        assert_eq!(found.expect("a place").place, *place);
    }
}

async fn a_past_pool_comes_back<F: ShownFixture>(shown: F) {
    let (pools, contest) = (shown.past_pools(), contest());
    assert_eq!(pools.get(contest.id).await.expect("an answer"), None);
    let large = PastPool {
        amount: coins((1 << 53) - 1),
        finishers: u64::MAX,
        prize: coins(0),
        as_of: UnixMillis(i64::MAX),
    };
    let small = PastPool {
        amount: coins(0),
        finishers: 0,
        prize: coins(7),
        as_of: now().plus(-HOUR),
    };
    for pool in [large, small] {
        pools.put(&contest, pool).await.expect("stored");
        assert_eq!(pools.get(contest.id).await.expect("an answer"), Some(pool));
    }
    let other = self::contest();
    assert_eq!(pools.get(other.id).await.expect("an answer"), None);
}
