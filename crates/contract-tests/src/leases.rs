//! The suite of [`ports::leases::Leases`].
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{StoreFixture, at_once, decided, decision, now, open_contest, put, row, stored},
    samples::{CROWD, Dice, HOUR},
};
use domain::{
    contest::Contest,
    signup::{FeeTry, Signup, State},
    transfer::Refusal,
};
use ports::{
    contests::ContestCommit,
    leases::{Fence, LEASE_NAME_MAX, Lease, Leases},
    signups::SignupCommit,
    store::Committed,
};
use std::{collections::BTreeMap, sync::Arc};
use uuid::Uuid;

macro_rules! leases_cases {
    (@ ($d:tt) $($case:ident),+) => {
        /// The cases of this suite. Each opens a store of its own; what is given says where its
        /// leases are.
        pub mod cases {
            use crate::{fixture::StoreFixture, leases::LeasesOf};
            $(
                #[doc = concat!("The case `", stringify!($case), "`.")]
                pub async fn $case<F: StoreFixture>(leases: LeasesOf<F>) {
                    super::$case(F::open(&[]).await, leases).await;
                }
            )+
        }

        /// Makes every case a test of a [`StoreFixture`], of whose leases the second argument is a
        /// getter: one line in the adapter's `tests/`. They stand apart from [`store_suite!`], as a
        /// store that is alone needs none.
        ///
        /// [`StoreFixture`]: crate::fixture::StoreFixture
        /// [`store_suite!`]: crate::store_suite
        #[macro_export]
        macro_rules! leases_suite {
            ($d fixture:ty, $d leases:expr) => {
                mod leases {
                    use super::*;
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $case() {
                            $crate::leases::cases::$case::<$d fixture>($d leases).await;
                        }
                    )+
                }
            };
        }
    };
    ($($case:ident),+ $(,)?) => { leases_cases! { @ ($) $($case),+ } };
}

leases_cases! {
    of_many_that_race_one_holds_it,
    a_fence_grows_with_every_new_holder,
    its_holder_extends_it_and_nobody_else_does,
    who_was_too_late_with_its_renewal_is_refused,
    it_ends_by_the_stores_own_clock,
    a_release_lets_others_in_at_once,
    a_release_of_what_is_not_held_frees_nothing,
    names_do_not_disturb_each_other,
    a_name_that_is_none_is_refused,
    fences_and_leases_outlive_a_crash,
    what_is_held_is_listed_by_name,
    what_was_decided_under_a_lease_that_another_took_is_not_written,
    who_extends_or_releases_a_lease_still_writes_under_it,
}

/// Where the leases of a store are.
pub type LeasesOf<F> = fn(&F) -> Arc<dyn Leases>;

/// Longer than any case.
const LONG: i64 = HOUR;
/// So short that a case can wait for its end.
const SHORT: i64 = 300;

async fn take(leases: &Arc<dyn Leases>, name: &str, owner: Uuid, for_ms: i64) -> Option<Lease> {
    let taken = leases.take(name, owner, for_ms).await;
    let taken = taken.expect("an answer");
    if let Some(lease) = &taken {
        assert_eq!((lease.name.as_str(), lease.owner), (name, owner));
    }
    taken
}

/// Takes a lease that nobody else holds.
async fn held(leases: &Arc<dyn Leases>, name: &str, owner: Uuid, for_ms: i64) -> Lease {
    let lease = take(leases, name, owner, for_ms).await;
    lease.expect("nobody else holds it")
}

async fn release(leases: &Arc<dyn Leases>, lease: &Lease) {
    leases.release(lease).await.expect("an answer");
}

fn somebody() -> Uuid {
    Uuid::now_v7()
}

// clause 1
// hazard: H3
async fn of_many_that_race_one_holds_it<F: StoreFixture>(store: F, leases: LeasesOf<F>) {
    let mut last = Fence(0);
    for round in 0..8 {
        let calls = (0..CROWD).map(|_| {
            let leases = leases(&store);
            async move { take(&leases, "work", somebody(), LONG).await }
        });
        let holders: Vec<Lease> = at_once(calls).await.into_iter().flatten().collect();
        let [holder] = &holders[..] else {
            panic!("round {round}: {holders:?}")
        };
        assert!(holder.fence > last, "round {round}: {holder:?}");
        last = holder.fence;
        release(&leases(&store), holder).await;
    }
}

// clause 1
// hazard: H4
async fn a_fence_grows_with_every_new_holder<F: StoreFixture>(store: F, leases: LeasesOf<F>) {
    let leases = leases(&store);
    let owners = [somebody(), somebody(), somebody()];
    let mut dice = Dice::cast();
    let mut last = Fence(0);
    for round in 0..30 {
        let owner = *dice.one(&owners);
        // Half of the holders die with it, half give it back.
        let dies = dice.roll(2) == 0;
        let lease = held(&leases, "work", owner, if dies { 1 } else { LONG }).await;
        assert!(
            lease.fence > last,
            "round {round}: {lease:?} after {last:?}"
        );
        last = lease.fence;
        if dies {
            store.reach(now(&store).await.plus(1)).await;
        } else {
            release(&leases, &lease).await;
        }
    }
}

// clause 2
// hazard: H3
async fn its_holder_extends_it_and_nobody_else_does<F: StoreFixture>(
    store: F,
    leases: LeasesOf<F>,
) {
    let leases = leases(&store);
    let (one, other) = (somebody(), somebody());
    let first = held(&leases, "work", one, 10 * SHORT).await;
    assert_eq!(held(&leases, "work", one, LONG).await, first, "the same");
    assert_eq!(take(&leases, "work", other, LONG).await, None);
    store.reach(now(&store).await.plus(10 * SHORT)).await;
    assert_eq!(take(&leases, "work", other, LONG).await, None, "extended");
    // It ends that long after the last call, also where that is sooner; who was refused above has
    // extended nothing.
    assert_eq!(held(&leases, "work", one, SHORT).await, first);
    store.reach(now(&store).await.plus(SHORT)).await;
    let next = held(&leases, "work", other, LONG).await;
    assert!(next.fence > first.fence);
}

// clauses 1, 2
// hazard: H3, H4
async fn who_was_too_late_with_its_renewal_is_refused<F: StoreFixture>(
    store: F,
    leases: LeasesOf<F>,
) {
    let leases = leases(&store);
    let (slow, quick) = (somebody(), somebody());
    let first = held(&leases, "work", slow, SHORT).await;
    store.reach(now(&store).await.plus(SHORT)).await;
    let second = held(&leases, "work", quick, LONG).await;
    assert!(second.fence > first.fence);
    assert_eq!(take(&leases, "work", slow, LONG).await, None);
    // Nor does it end the lease of its successor.
    release(&leases, &first).await;
    assert_eq!(take(&leases, "work", slow, LONG).await, None);
    assert_eq!(held(&leases, "work", quick, LONG).await, second);
    // Where nobody came between, it is a new lease all the same: somebody might have.
    release(&leases, &second).await;
    let third = held(&leases, "work", slow, SHORT).await;
    store.reach(now(&store).await.plus(SHORT)).await;
    let fourth = held(&leases, "work", slow, LONG).await;
    assert!(fourth.fence > third.fence, "{third:?}, {fourth:?}");
}

// clause 1
// hazard: H3
async fn it_ends_by_the_stores_own_clock<F: StoreFixture>(store: F, leases: LeasesOf<F>) {
    let leases = leases(&store);
    let earliest = now(&store).await.plus(SHORT);
    let first = held(&leases, "work", somebody(), SHORT).await;
    let latest = now(&store).await.plus(SHORT);
    let other = somebody();
    loop {
        let next = take(&leases, "work", other, LONG).await;
        // By the store's clock it was not over yet when it was asked for.
        if now(&store).await >= earliest {
            break;
        }
        assert_eq!(next, None, "it is held as long as was said");
        store.reach(now(&store).await.plus(SHORT / 3)).await;
    }
    store.reach(latest).await;
    let next = held(&leases, "work", other, LONG).await;
    assert!(next.fence > first.fence);
}

// clause 3
async fn a_release_lets_others_in_at_once<F: StoreFixture>(store: F, leases: LeasesOf<F>) {
    let leases = leases(&store);
    let mut last = held(&leases, "work", somebody(), LONG).await;
    for _ in 0..10 {
        let next = somebody();
        assert_eq!(take(&leases, "work", next, LONG).await, None);
        release(&leases, &last).await;
        let lease = held(&leases, "work", next, LONG).await;
        assert!(lease.fence > last.fence);
        last = lease;
    }
}

// clause 3
// hazard: H4
async fn a_release_of_what_is_not_held_frees_nothing<F: StoreFixture>(
    store: F,
    leases: LeasesOf<F>,
) {
    let leases = leases(&store);
    let (one, other) = (somebody(), somebody());
    let first = held(&leases, "work", one, LONG).await;
    release(&leases, &first).await;
    let second = held(&leases, "work", one, LONG).await;
    let strangers = [
        // The same owner's earlier one.
        first.clone(),
        // Somebody else's, by the right number.
        Lease {
            owner: other,
            ..second.clone()
        },
        // Of a name that nobody ever took.
        Lease {
            name: "other work".to_owned(),
            ..second.clone()
        },
        Lease {
            fence: Fence(second.fence.0 + 1),
            ..second.clone()
        },
    ];
    for stranger in strangers {
        release(&leases, &stranger).await;
        let taken = take(&leases, "work", other, LONG).await;
        assert_eq!(taken, None, "{stranger:?}");
    }
    // Twice is as good as once, and what is free stays free.
    release(&leases, &second).await;
    release(&leases, &second).await;
    held(&leases, "work", other, LONG).await;
}

async fn names_do_not_disturb_each_other<F: StoreFixture>(store: F, leases: LeasesOf<F>) {
    let longest = "n".repeat(LEASE_NAME_MAX);
    let names = ["work", "Work", "work ", "work/", "wor", "wörk", &longest];
    let one = leases(&store);
    let mut holders: BTreeMap<&str, Lease> = BTreeMap::new();
    for name in names {
        // One owner may hold many of them.
        holders.insert(name, held(&one, name, Uuid::nil(), LONG).await);
    }
    for name in names {
        assert_eq!(take(&one, name, somebody(), LONG).await, None, "{name:?}");
    }
    release(&one, &holders["work"]).await;
    for name in names {
        let taken = take(&one, name, somebody(), LONG).await;
        assert_eq!(taken.is_some(), name == "work", "{name:?}");
    }
    // A crowd at many names at once: each name has one holder.
    let names = (0..CROWD).map(|number| format!("crowd/{}", number / 4));
    let calls = names.map(|name| {
        let leases = leases(&store);
        async move { (take(&leases, &name, somebody(), LONG).await, name) }
    });
    let mut of_name: BTreeMap<String, usize> = BTreeMap::new();
    for (lease, name) in at_once(calls).await {
        *of_name.entry(name).or_default() += usize::from(lease.is_some());
    }
    assert_eq!(of_name.len(), CROWD / 4);
    assert!(of_name.values().all(|holders| *holders == 1), "{of_name:?}");
}

async fn a_name_that_is_none_is_refused<F: StoreFixture>(store: F, leases: LeasesOf<F>) {
    let leases = leases(&store);
    let too_long = "n".repeat(LEASE_NAME_MAX + 1);
    for name in ["", too_long.as_str()] {
        let refused = leases.take(name, somebody(), LONG).await;
        assert!(refused.is_err(), "{name:?}: {refused:?}");
    }
}

// clause 4
// hazard: G3
async fn fences_and_leases_outlive_a_crash<F: StoreFixture>(store: F, leases: LeasesOf<F>) {
    let owner = somebody();
    let over = held(&leases(&store), "over", owner, LONG).await;
    release(&leases(&store), &over).await;
    let over = held(&leases(&store), "over", owner, LONG).await;
    release(&leases(&store), &over).await;
    let mine = held(&leases(&store), "mine", owner, LONG).await;

    let store = store.reopen().await;
    let leases = leases(&store);
    assert_eq!(take(&leases, "mine", somebody(), LONG).await, None);
    assert_eq!(held(&leases, "mine", owner, LONG).await, mine);
    let again = held(&leases, "over", owner, LONG).await;
    assert!(again.fence > over.fence);
}

// clause 5
async fn what_is_held_is_listed_by_name<F: StoreFixture>(store: F, leases: LeasesOf<F>) {
    let leases = leases(&store);
    let owner = somebody();
    let mut held_now = Vec::new();
    for name in ["b", "a", "c"] {
        held_now.push(held(&leases, name, owner, LONG).await);
    }
    release(&leases, &held_now[2]).await;
    let listed = leases.held(10).await.expect("read");
    let names: Vec<_> = listed.iter().map(|held| held.lease.clone()).collect();
    assert_eq!(names, [held_now[1].clone(), held_now[0].clone()]);
    let time = now(&store).await;
    assert!(listed.iter().all(|held| held.ends_at > time));
    assert_eq!(leases.held(1).await.expect("read"), listed[..1]);
}

/// A signup and a decision about it, and about its contest, under a lease.
async fn decisions<F: StoreFixture>(
    store: &F,
    under: &Lease,
) -> (Signup, SignupCommit, Contest, ContestCommit) {
    let contest = open_contest(store).await;
    let viewer = "ann".parse().expect("a user");
    let state = State::Initialized(FeeTry::Unknown);
    let signup = put(store, &contest, viewer, state).await;
    let refused = State::Initialized(FeeTry::Refused(Refusal::InsufficientBalance));
    let of_signup = SignupCommit {
        under: Some(under.clone()),
        ..decision(&signup, refused)
    };
    let of_contest = ContestCommit {
        under: Some(under.clone()),
        ..decided(&Contest {
            title: "renamed".to_owned(),
            ..contest.clone()
        })
    };
    (signup, of_signup, contest, of_contest)
}

// hazard: H4
async fn what_was_decided_under_a_lease_that_another_took_is_not_written<F: StoreFixture>(
    store: F,
    leases: LeasesOf<F>,
) {
    let leases = leases(&store);
    let slept = held(&leases, "work", somebody(), LONG).await;
    let (signup, of_signup, contest, of_contest) = decisions(&store, &slept).await;
    release(&leases, &slept).await;
    let holder = held(&leases, "work", somebody(), LONG).await;
    assert!(holder.fence > slept.fence);
    let commit = store.signups().commit(of_signup.clone()).await;
    assert_eq!(commit.expect("an answer"), Committed::Fenced);
    assert_eq!(row(&store, &signup).await, signup);
    let commit = store.contests().commit(of_contest.clone()).await;
    assert_eq!(commit.expect("an answer"), Committed::Fenced);
    assert_eq!(stored(&store, &contest).await, contest);
    // Of many at once each is judged by its own lease.
    let calls = (0..8).map(|number| {
        let under = if number == 3 { &holder } else { &slept };
        let commit = SignupCommit {
            under: Some(under.clone()),
            ..of_signup.clone()
        };
        let signups = store.signups();
        async move { signups.commit(commit).await.expect("an answer") }
    });
    let answers = at_once(calls).await;
    let applied = answers.iter().filter(|one| **one == Committed::Applied);
    assert_eq!(applied.count(), 1, "{answers:?}");
    assert_eq!(answers[3], Committed::Applied);
    let commit = ContestCommit {
        under: Some(holder),
        ..of_contest
    };
    let commit = store.contests().commit(commit).await;
    assert_eq!(commit.expect("an answer"), Committed::Applied);
}

async fn who_extends_or_releases_a_lease_still_writes_under_it<F: StoreFixture>(
    store: F,
    leases: LeasesOf<F>,
) {
    let leases = leases(&store);
    let owner = somebody();
    let lease = held(&leases, "work", owner, LONG).await;
    assert_eq!(held(&leases, "work", owner, LONG).await, lease);
    let (_, of_signup, _, of_contest) = decisions(&store, &lease).await;
    let commit = store.signups().commit(of_signup).await;
    assert_eq!(commit.expect("an answer"), Committed::Applied);
    // It is over, and nobody has taken it: what was decided under it is as good as it was.
    release(&leases, &lease).await;
    let commit = store.contests().commit(of_contest).await;
    assert_eq!(commit.expect("an answer"), Committed::Applied);
}
