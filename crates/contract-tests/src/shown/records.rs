//! The suite of [`ports::shown::RecordCache`].
#![deny(dead_code, reason = "a case that is not listed is never run")]

use super::{ShownFixture, running};
use crate::samples::{all_states, signup_in, state, user};
use domain::{
    contest::Contest,
    ids::UserId,
    signup::{Signup, StateKind},
};
use ports::shown::{ABSENT_MS_MAX, Cached, FILL_MS_MAX, Filled};

super::shown_cases! {
    what_was_filled_is_found_in_every_state,
    what_was_dropped_is_not_answered,
    an_older_fill_is_stale,
    a_drop_leaves_what_is_newer,
    an_absence_gives_way_to_a_creation,
    an_absence_is_short,
    records_are_apart_and_can_be_lost,
}

async fn get<F: ShownFixture>(shown: &F, contest: &Contest, user: &UserId) -> Option<Cached> {
    let found = shown.records().get(contest.id, user).await;
    found.expect("an answer")
}

async fn fill<F: ShownFixture>(
    shown: &F,
    contest: &Contest,
    user: &UserId,
    signup: Option<&Signup>,
) -> Filled {
    let filled = shown.records().fill(contest, user, signup).await;
    filled.expect("an answer")
}

async fn drop_record<F: ShownFixture>(shown: &F, contest: &Contest, user: &UserId, version: u64) {
    let dropped = shown.records().drop_record(contest, user, version).await;
    dropped.expect("an answer");
}

fn record(signup: &Signup) -> Option<Cached> {
    Some(Cached::Record(Box::new(signup.clone())))
}

/// One record in a row of versions.
fn versions<F: ShownFixture>(shown: &F) -> (Contest, UserId, [Signup; 4]) {
    let contest = running(shown);
    let ann = user("ann");
    let at = shown.now();
    let first = signup_in(state(StateKind::Paid, at), &contest, ann.clone(), at);
    let of = |version| Signup {
        version,
        ..first.clone()
    };
    (contest, ann, [1, 2, 3, 4].map(of))
}

async fn what_was_filled_is_found_in_every_state<F: ShownFixture>(shown: F) {
    let contest = running(&shown);
    for (number, state) in all_states(shown.now()).into_iter().enumerate() {
        let viewer = user(&format!("viewer-{number}"));
        assert_eq!(get(&shown, &contest, &viewer).await, None);
        let signup = signup_in(state, &contest, viewer.clone(), shown.now()).recalled();
        let filled = fill(&shown, &contest, &viewer, Some(&signup)).await;
        assert_eq!(filled, Filled::Stored);
        assert_eq!(get(&shown, &contest, &viewer).await, record(&signup));
    }
}

// clause 1
// hazard: E1
async fn what_was_dropped_is_not_answered<F: ShownFixture>(shown: F) {
    let (contest, ann, [v1, v2, ..]) = versions(&shown);
    fill(&shown, &contest, &ann, Some(&v1)).await;
    drop_record(&shown, &contest, &ann, 2).await;
    assert_eq!(get(&shown, &contest, &ann).await, None);
    // A reader that read the row before it was changed, and stores it after: as late as it may.
    shown.pass(FILL_MS_MAX).await;
    let late = fill(&shown, &contest, &ann, Some(&v1)).await;
    assert_eq!(late, Filled::Stale);
    assert_eq!(get(&shown, &contest, &ann).await, None);
    let filled = fill(&shown, &contest, &ann, Some(&v2)).await;
    assert_eq!(filled, Filled::Stored);
    assert_eq!(get(&shown, &contest, &ann).await, record(&v2));
}

// clause 2
async fn an_older_fill_is_stale<F: ShownFixture>(shown: F) {
    let (contest, ann, [v1, v2, v3, v4]) = versions(&shown);
    fill(&shown, &contest, &ann, Some(&v3)).await;
    for older in [None, Some(&v1), Some(&v2)] {
        assert_eq!(fill(&shown, &contest, &ann, older).await, Filled::Stale);
        assert_eq!(get(&shown, &contest, &ann).await, record(&v3));
    }
    for as_new in [&v3, &v4] {
        let filled = fill(&shown, &contest, &ann, Some(as_new)).await;
        assert_eq!(filled, Filled::Stored);
        assert_eq!(get(&shown, &contest, &ann).await, record(as_new));
    }
}

// clauses 1 and 2
async fn a_drop_leaves_what_is_newer<F: ShownFixture>(shown: F) {
    let (contest, ann, [v1, v2, v3, _]) = versions(&shown);
    drop_record(&shown, &contest, &ann, 3).await;
    // An older drop that comes late forgets nothing.
    drop_record(&shown, &contest, &ann, 1).await;
    for older in [&v1, &v2] {
        let filled = fill(&shown, &contest, &ann, Some(older)).await;
        assert_eq!(filled, Filled::Stale);
    }
    fill(&shown, &contest, &ann, Some(&v3)).await;
    for version in [2, 3] {
        drop_record(&shown, &contest, &ann, version).await;
        assert_eq!(get(&shown, &contest, &ann).await, record(&v3));
    }
}

// clauses 1 and 2
// hazard: E8
async fn an_absence_gives_way_to_a_creation<F: ShownFixture>(shown: F) {
    let (contest, ann, [v1, ..]) = versions(&shown);
    assert_eq!(fill(&shown, &contest, &ann, None).await, Filled::Stored);
    assert_eq!(get(&shown, &contest, &ann).await, Some(Cached::Absent));
    drop_record(&shown, &contest, &ann, 1).await;
    assert_eq!(get(&shown, &contest, &ann).await, None);
    // A reader that saw no row stores it only now.
    assert_eq!(fill(&shown, &contest, &ann, None).await, Filled::Stale);
    assert_eq!(get(&shown, &contest, &ann).await, None);
    fill(&shown, &contest, &ann, Some(&v1)).await;
    assert_eq!(get(&shown, &contest, &ann).await, record(&v1));
}

// clause 3
async fn an_absence_is_short<F: ShownFixture>(shown: F) {
    let (contest, ann, [v1, ..]) = versions(&shown);
    let bob = user("bob");
    fill(&shown, &contest, &ann, None).await;
    fill(&shown, &contest, &bob, None).await;
    fill(&shown, &contest, &bob, Some(&v1)).await;
    shown.pass(ABSENT_MS_MAX + 1).await;
    assert_eq!(get(&shown, &contest, &ann).await, None);
    // A record in an absence's place lives as long as a record.
    assert_eq!(get(&shown, &contest, &bob).await, record(&v1));
}

async fn records_are_apart_and_can_be_lost<F: ShownFixture>(shown: F) {
    let (contest, ann, [v1, ..]) = versions(&shown);
    let other = running(&shown);
    fill(&shown, &contest, &ann, Some(&v1)).await;
    assert_eq!(get(&shown, &contest, &user("Ann")).await, None);
    assert_eq!(get(&shown, &other, &ann).await, None);
    drop_record(&shown, &other, &ann, 9).await;
    assert_eq!(get(&shown, &contest, &ann).await, record(&v1));
    shown.lose().await;
    assert_eq!(get(&shown, &contest, &ann).await, None);
    let filled = fill(&shown, &contest, &ann, Some(&v1)).await;
    assert_eq!(filled, Filled::Stored);
}
