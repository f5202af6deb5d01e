//! The suite of [`ports::leaderboard::Leaderboard`].
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    events::{event, record},
    fixture::{StoreFixture, all_pages, insert, now, open_contest, put, put_all},
    samples::{Dice, HOUR, contest_in, receipt, state, user},
};
use domain::{
    contest::{Contest, PhaseKind},
    signup::{Signup, State, StateKind},
    time::UnixMillis,
};
use ports::{
    leaderboard::{PLACES_MAX, Place},
    tasks::TaskEvent,
};
use std::cmp::Reverse;

crate::suite::suite! { leaderboard_suite in leaderboard:
    a_contest_without_events_has_no_places,
    places_go_by_quantity_then_time_then_signup,
    only_what_counts_is_counted,
    every_state_that_has_paid_has_a_place,
    top_and_place_agree_for_a_crowd,
    standings_and_pages_are_what_the_places_are_made_of,
}

async fn top<F: StoreFixture>(store: &F, contest: &Contest, limit: usize) -> Vec<Place> {
    let places = store.leaderboard().top(contest, limit).await;
    places.expect("read")
}

async fn place<F: StoreFixture>(store: &F, contest: &Contest, name: &str) -> Option<Place> {
    let place = store.leaderboard().place_of(contest, &user(name)).await;
    place.expect("read")
}

fn done(contest: &Contest, id: &str, name: &str, quantity: u64, at: UnixMillis) -> TaskEvent {
    TaskEvent {
        user_id: user(name),
        ..event(id, contest, quantity, at)
    }
}

/// A signup whose fee was paid a second after signups opened.
async fn paid<F: StoreFixture>(store: &F, contest: &Contest, name: &str) -> Signup {
    let fee = receipt(5, contest.terms.signup_opens_at);
    put(store, contest, user(name), State::InProgress(fee)).await
}

async fn a_contest_without_events_has_no_places<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    assert_eq!(top(&store, &contest, 10).await, []);
    paid(&store, &contest, "ann").await;
    assert_eq!(top(&store, &contest, 10).await, []);
    assert_eq!(place(&store, &contest, "ann").await, None);
    assert_eq!(place(&store, &contest, "bob").await, None);
}

// clause 2
async fn places_go_by_quantity_then_time_then_signup<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let at = |seconds: i64| contest.terms.signup_opens_at.plus(10_000 + seconds * 1_000);
    for name in ["late", "early", "most", "tied", "least"] {
        paid(&store, &contest, name).await;
    }
    let events = [
        done(&contest, "e1", "late", 2, at(1)),
        done(&contest, "e2", "late", 2, at(9)),
        done(&contest, "e3", "early", 4, at(5)),
        done(&contest, "e4", "most", 5, at(20)),
        // Reached in event time, whatever arrived first.
        done(&contest, "e5", "tied", 1, at(5)),
        done(&contest, "e6", "tied", 3, at(2)),
        done(&contest, "e7", "least", 1, at(0)),
    ];
    record(&store, &events).await;
    let places = top(&store, &contest, 10).await;
    let found: Vec<_> = places
        .iter()
        .map(|place| {
            (
                place.rank,
                place.user_id.as_str(),
                place.quantity,
                place.reached_at,
            )
        })
        .collect();
    let wanted = [
        (1, "most", 5, at(20)),
        (2, "early", 4, at(5)),
        (3, "tied", 4, at(5)),
        (4, "late", 4, at(9)),
        (5, "least", 1, at(0)),
    ];
    assert_eq!(found, wanted);
    assert!(places[1].signup_id < places[2].signup_id);
    assert_eq!(top(&store, &contest, 2).await, places[..2]);
    assert_eq!(top(&store, &contest, 0).await, []);
}

// clause 1
async fn only_what_counts_is_counted<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let mut contest = contest_in(PhaseKind::Running, time);
    contest.terms.signup_closes_at = time.plus(-200);
    contest.terms.tasks_end_at = time.plus(-100);
    insert(&store, &contest).await;
    let ann = paid(&store, &contest, "ann").await;
    let other = open_contest(&store).await;
    paid(&store, &other, "ann").await;
    let paid_at = ann.state.fee_receipt().expect("a fee").applied_at;
    let ends_at = contest.terms.tasks_end_at;
    let moments = [
        paid_at.plus(-1),
        paid_at,
        ends_at.plus(-1),
        ends_at,
        ends_at.plus(1),
    ];
    let events: Vec<_> = moments
        .into_iter()
        .enumerate()
        .map(|(number, at)| done(&contest, &format!("e{number}"), "ann", 1 << number, at))
        .chain([done(&contest, "stranger", "bob", 9, paid_at)])
        .collect();
    record(&store, &events).await;
    let found = place(&store, &contest, "ann").await.expect("a place");
    assert_eq!(
        (found.quantity, found.reached_at),
        (0b110, ends_at.plus(-1))
    );
    assert_eq!(top(&store, &contest, 10).await, [found]);
    assert_eq!(
        place(&store, &contest, "bob").await,
        None,
        "never signed up"
    );
}

// clause 1
async fn every_state_that_has_paid_has_a_place<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = contest.terms.signup_opens_at;
    let mut wanted = Vec::new();
    let mut events = Vec::new();
    for kind in StateKind::ALL {
        let name = kind.name();
        let state = state(*kind, time);
        if state.fee_receipt().is_some() {
            wanted.push(name.to_owned());
        }
        put(&store, &contest, user(name), state).await;
        let at = time.plus(HOUR / 2);
        events.push(done(&contest, &format!("of-{name}"), name, 1, at));
    }
    record(&store, &events).await;
    let places = top(&store, &contest, 100).await;
    let mut found: Vec<_> = places
        .iter()
        .map(|place| place.user_id.to_string())
        .collect();
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
}

// clause 3
async fn top_and_place_agree_for_a_crowd<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let opens_at = contest.terms.signup_opens_at;
    let fee = receipt(5, opens_at);
    let names: Vec<_> = (0..PLACES_MAX + 20)
        .map(|n| format!("viewer-{n}"))
        .collect();
    let rows = names
        .iter()
        .map(|name| (&contest, user(name), State::InProgress(fee)));
    let signups = put_all(&store, rows).await;
    let mut dice = Dice::cast();
    let mut wanted = Vec::new();
    let mut events = Vec::new();
    for (name, signup) in names.iter().zip(&signups) {
        let (mut quantity, mut reached_at) = (0, opens_at);
        for number in 0..=dice.roll(2) {
            let (done_now, at) = (
                1 + dice.roll(3) as u64,
                opens_at.plus(5_000 + dice.roll(4) as i64),
            );
            events.push(done(
                &contest,
                &format!("{name}.{number}"),
                name,
                done_now,
                at,
            ));
            quantity += done_now;
            reached_at = reached_at.max(at);
        }
        wanted.push((Reverse(quantity), reached_at, signup.id));
    }
    for events in events.chunks(100) {
        record(&store, events).await;
    }
    wanted.sort();
    let places = top(&store, &contest, usize::MAX).await;
    assert_eq!(places.len(), PLACES_MAX);
    for (place, (wanted, rank)) in places.iter().zip(wanted.iter().zip(1..)) {
        let found = (Reverse(place.quantity), place.reached_at, place.signup_id);
        assert_eq!((&found, place.rank), (wanted, rank));
    }
    for (wanted, rank) in wanted.iter().zip(1..) {
        let index = signups.iter().position(|signup| signup.id == wanted.2);
        let name = &names[index.expect("one of them")];
        let found = place(&store, &contest, name).await.expect("a place");
        assert_eq!((found.rank, found.signup_id), (rank, wanted.2));
    }
}

// clause 4
async fn standings_and_pages_are_what_the_places_are_made_of<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let at = contest.terms.signup_opens_at.plus(10_000);
    let names = ["ann", "bob", "cat", "dan", "eve"];
    let mut events = Vec::new();
    for (name, number) in names.into_iter().zip(1..) {
        paid(&store, &contest, name).await;
        let id = format!("e{number}");
        events.push(done(&contest, &id, name, number, at.plus(1)));
    }
    events.push(done(&contest, "more", "ann", 9, at.plus(2)));
    events.push(done(&contest, "stranger", "unpaid", 9, at));
    // Eve has paid and done nothing that counts.
    events.retain(|event| event.user_id != user("eve"));
    record(&store, &events).await;
    let unranked = |mut places: Vec<Place>| {
        for place in &mut places {
            place.rank = 0;
        }
        places.sort_by_key(|place| place.signup_id);
        places
    };
    let all = unranked(top(&store, &contest, 99).await);
    assert_eq!(all.len(), 4);
    let board = store.leaderboard();
    for limit in [1, 3, 4, 99] {
        let pages = all_pages(limit, async |after| {
            board.page(&contest, after, limit).await.expect("read")
        });
        assert_eq!(pages.await, all, "by {limit}");
    }
    let asked = ["dan", "ann", "eve", "unpaid", "nobody"].map(user);
    let standings = board.standings(&contest, &asked).await.expect("read");
    let mut expected = all;
    expected.retain(|place| asked.contains(&place.user_id));
    assert_eq!(unranked(standings), expected);
    assert_eq!(board.standings(&contest, &[]).await.expect("read"), []);
}
