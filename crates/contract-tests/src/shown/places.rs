//! The suite of [`ports::shown::Ranking`].
#![deny(dead_code, reason = "a case that is not listed is never run")]

use super::{ShownFixture, running};
use crate::samples::{Dice, signup_id, user};
use domain::{contest::Contest, time::UnixMillis};
use ports::{
    leaderboard::{PLACES_MAX, Place},
    shown::Epoch,
};
use std::cmp::Reverse;

super::shown_cases! {
    without_a_finished_rebuild_there_are_no_places,
    places_stand_in_the_order_of_the_leaderboard,
    the_better_place_is_kept,
    neighbours_are_around,
    entries_during_a_rebuild_go_to_both,
    a_later_rebuild_voids_an_earlier_one,
}

fn place(name: &str, quantity: u64, reached_at: i64) -> Place {
    Place {
        rank: 0,
        user_id: user(name),
        signup_id: signup_id(),
        quantity,
        reached_at: UnixMillis(reached_at),
    }
}

/// In the order of the leaderboard, with ranks.
fn ranked(mut places: Vec<Place>) -> Vec<Place> {
    places.sort_by_key(|place| (Reverse(place.quantity), place.reached_at, place.signup_id));
    for (place, rank) in places.iter_mut().zip(1..) {
        place.rank = rank;
    }
    places
}

async fn put<F: ShownFixture>(shown: &F, contest: &Contest, places: &[Place]) -> bool {
    let put = shown.ranking().put(contest, places).await;
    put.expect("an answer")
}

async fn top<F: ShownFixture>(shown: &F, contest: &Contest, limit: usize) -> Option<Vec<Place>> {
    let top = shown.ranking().top(contest, limit).await;
    top.expect("an answer")
}

async fn begin<F: ShownFixture>(shown: &F, contest: &Contest) -> Epoch {
    shown.ranking().begin(contest).await.expect("an answer")
}

async fn build<F: ShownFixture>(
    shown: &F,
    contest: &Contest,
    epoch: Epoch,
    rows: &[Place],
) -> bool {
    let built = shown.ranking().build(contest, epoch, rows).await;
    built.expect("an answer")
}

async fn finish<F: ShownFixture>(shown: &F, contest: &Contest, epoch: Epoch) -> bool {
    let finished = shown.ranking().finish(contest, epoch).await;
    finished.expect("an answer")
}

async fn opened<F: ShownFixture>(shown: &F) -> Contest {
    let contest = running(shown);
    let epoch = begin(shown, &contest).await;
    assert!(finish(shown, &contest, epoch).await);
    contest
}

// clause 2
async fn without_a_finished_rebuild_there_are_no_places<F: ShownFixture>(shown: F) {
    let contest = running(&shown);
    let ann = place("ann", 1, 1);
    for places in [&[][..], &[ann.clone()]] {
        assert!(!put(&shown, &contest, places).await);
    }
    assert_eq!(top(&shown, &contest, 9).await, None);
    let found = shown.ranking().place_of(&contest, &ann.user_id, 1).await;
    assert_eq!(found.expect("an answer"), None);
    let epoch = begin(&shown, &contest).await;
    assert_eq!(top(&shown, &contest, 9).await, None);
    assert!(finish(&shown, &contest, epoch).await);
    assert_eq!(top(&shown, &contest, 9).await, Some(Vec::new()));
    let found = shown.ranking().place_of(&contest, &ann.user_id, 1).await;
    assert_eq!(found.expect("an answer"), Some(None));
    assert!(put(&shown, &contest, std::slice::from_ref(&ann)).await);
    assert_eq!(top(&shown, &contest, 9).await, Some(ranked(vec![ann])));
    shown.lose().await;
    assert_eq!(top(&shown, &contest, 9).await, None);
}

// hazard: D13
async fn places_stand_in_the_order_of_the_leaderboard<F: ShownFixture>(shown: F) {
    let contest = opened(&shown).await;
    let mut dice = Dice::cast();
    // Neighbours that a double could not tell apart, ties, and times on both sides of 1970.
    let quantities = [1, 2, 9, 10, 1 << 53, (1 << 53) + 1, u64::MAX - 1, u64::MAX];
    let times = [i64::MIN, -2, -1, 0, 1, 1_800_000_000_000, i64::MAX];
    let places: Vec<_> = (0..PLACES_MAX + 30)
        .map(|n| place(&format!("v.{n}"), *dice.one(&quantities), *dice.one(&times)))
        .collect();
    for some in places.chunks(9) {
        assert!(put(&shown, &contest, some).await);
    }
    let wanted = ranked(places);
    for limit in [0, 1, 10, PLACES_MAX] {
        let found = top(&shown, &contest, limit).await;
        assert_eq!(found.as_deref(), Some(&wanted[..limit]), "{limit}");
    }
    let found = top(&shown, &contest, usize::MAX).await.expect("places");
    assert_eq!(found.len(), PLACES_MAX);
    for place in &wanted {
        let found = shown.ranking().place_of(&contest, &place.user_id, 0).await;
        let found = found.expect("an answer").flatten().expect("a place");
        assert_eq!(found.place, *place);
        assert_eq!(found.around, std::slice::from_ref(place));
    }
}

// clause 1
async fn the_better_place_is_kept<F: ShownFixture>(shown: F) {
    let contest = opened(&shown).await;
    let old = place("ann", 5, 50);
    let of = |quantity, reached_at| Place {
        quantity,
        reached_at: UnixMillis(reached_at),
        rank: 77,
        ..old.clone()
    };
    let (worse, better) = (of(4, 10), of(6, 60));
    for (entered, stands) in [
        (&old, &old),
        (&worse, &old),
        (&old, &old),
        (&better, &better),
        (&old, &better),
    ] {
        assert!(put(&shown, &contest, std::slice::from_ref(entered)).await);
        let wanted = ranked(vec![stands.clone()]);
        assert_eq!(top(&shown, &contest, 9).await, Some(wanted));
    }
    // All at once, in any order.
    let contest = opened(&shown).await;
    let bob = place("bob", 5, 1);
    assert!(put(&shown, &contest, &[worse, better.clone(), bob.clone(), old]).await);
    let wanted = ranked(vec![better, bob]);
    assert_eq!(top(&shown, &contest, 9).await, Some(wanted));
}

async fn neighbours_are_around<F: ShownFixture>(shown: F) {
    let contest = opened(&shown).await;
    let places: Vec<_> = (0..9)
        .map(|n| place(&format!("v-{n}"), 100 - n, 0))
        .collect();
    put(&shown, &contest, &places).await;
    let wanted = ranked(places);
    for (index, around, from, to) in [
        (0, 0, 0, 1),
        (0, 2, 0, 3),
        (1, 2, 0, 4),
        (4, 1, 3, 6),
        (7, 3, 4, 9),
        (8, 2, 6, 9),
        (4, 50, 0, 9),
    ] {
        let own = &wanted[index];
        let found = shown
            .ranking()
            .place_of(&contest, &own.user_id, around)
            .await;
        let found = found.expect("an answer").flatten().expect("a place");
        assert_eq!(found.place, *own);
        assert_eq!(found.around, wanted[from..to], "{index} {around}");
    }
    let stranger = user("stranger");
    let found = shown.ranking().place_of(&contest, &stranger, 3).await;
    assert_eq!(found.expect("an answer"), Some(None));
}

// clause 3
// hazard: D5
async fn entries_during_a_rebuild_go_to_both<F: ShownFixture>(shown: F) {
    let contest = opened(&shown).await;
    let (ann, bob) = (place("ann", 3, 3), place("bob", 9, 9));
    put(&shown, &contest, std::slice::from_ref(&ann)).await;
    let epoch = begin(&shown, &contest).await;
    assert!(put(&shown, &contest, std::slice::from_ref(&bob)).await);
    let wanted = Some(ranked(vec![ann.clone(), bob.clone()]));
    assert_eq!(top(&shown, &contest, 9).await, wanted);
    // The row of bob is older than what was entered since.
    let older = Place {
        quantity: 1,
        ..bob.clone()
    };
    assert!(build(&shown, &contest, epoch, &[ann, older]).await);
    assert_eq!(top(&shown, &contest, 9).await, wanted);
    assert!(finish(&shown, &contest, epoch).await);
    assert_eq!(top(&shown, &contest, 9).await, wanted);
    shown.lose().await;
    let epoch = begin(&shown, &contest).await;
    assert!(!put(&shown, &contest, std::slice::from_ref(&bob)).await);
    assert!(finish(&shown, &contest, epoch).await);
    assert_eq!(top(&shown, &contest, 9).await, Some(ranked(vec![bob])));
}

// clause 3
async fn a_later_rebuild_voids_an_earlier_one<F: ShownFixture>(shown: F) {
    let contest = opened(&shown).await;
    let (ann, bob) = (place("ann", 3, 3), place("bob", 9, 9));
    let first = begin(&shown, &contest).await;
    assert!(build(&shown, &contest, first, std::slice::from_ref(&ann)).await);
    let second = begin(&shown, &contest).await;
    assert!(second > first);
    for rows in [&[][..], &[ann]] {
        assert!(!build(&shown, &contest, first, rows).await);
    }
    assert!(!finish(&shown, &contest, first).await);
    assert_eq!(top(&shown, &contest, 9).await, Some(Vec::new()));
    assert!(build(&shown, &contest, second, std::slice::from_ref(&bob)).await);
    assert!(finish(&shown, &contest, second).await);
    assert!(!finish(&shown, &contest, second).await);
    assert_eq!(top(&shown, &contest, 9).await, Some(ranked(vec![bob])));
}
