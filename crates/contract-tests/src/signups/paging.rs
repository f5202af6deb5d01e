//! Lists of signups: by id, each row once, whatever happens to the rows meanwhile.
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{
        StoreFixture, all_pages, apply, apply_all, decision, insert_all, now, open_contest, put_all,
    },
    samples::{Dice, all_states, contest_in, state, user},
};
use domain::{
    contest::{Contest, PhaseKind},
    ids::SignupId,
    signup::{PayTry, Payment, Signup, State, StateKind},
};
use ports::{signups::SignupRepository, store::PAGE_MAX};
use std::collections::BTreeSet;

crate::suite::suite! { signups_paging_suite in signups::paging:
    a_page_goes_by_id_and_by_state,
    pages_neither_skip_nor_repeat_while_rows_change_state,
    a_page_has_a_longest_length,
    ranges_end_where_they_ended_before,
    a_viewers_signups_come_newest_first,
    parked_payments_are_listed_until_they_are_not,
}

/// All pages of a contest's signups.
async fn paged(
    signups: &dyn SignupRepository,
    contest: &Contest,
    states: &[StateKind],
    limit: usize,
) -> Vec<Signup> {
    let page = async |after| {
        signups
            .page(contest.id, states, after, limit)
            .await
            .expect("read")
    };
    all_pages(limit, page).await
}

fn ids(signups: &[Signup]) -> Vec<SignupId> {
    signups.iter().map(|signup| signup.id).collect()
}

// clause 10
async fn a_page_goes_by_id_and_by_state<F: StoreFixture>(store: F) {
    let mut dice = Dice::cast();
    let contests = [open_contest(&store).await, open_contest(&store).await];
    let mut states = all_states(now(&store).await);
    // Ids and states in no relation.
    dice.shuffle(&mut states);
    let wanted = states.into_iter().enumerate().flat_map(|(number, state)| {
        let viewer = user(&format!("viewer-{number}"));
        contests
            .iter()
            .map(move |contest| (contest, viewer.clone(), state.clone()))
    });
    let mut rows = put_all(&store, wanted).await;
    rows.retain(|signup| signup.contest_id == contests[0].id);
    rows.sort_by_key(|signup| signup.id);
    let mut wanted: Vec<Vec<StateKind>> = StateKind::ALL.iter().map(|kind| vec![*kind]).collect();
    wanted.push(vec![
        StateKind::Refunding,
        StateKind::Initialized,
        StateKind::Shared,
    ]);
    wanted.push(StateKind::ALL.to_vec());
    wanted.push(Vec::new());
    for states in wanted {
        let fits = |signup: &&Signup| states.is_empty() || states.contains(&signup.state.kind());
        let expected: Vec<Signup> = rows.iter().filter(fits).cloned().collect();
        for limit in [1, 3, expected.len(), expected.len() + 1, usize::MAX] {
            let found = paged(&*store.signups(), &contests[0], &states, limit).await;
            assert_eq!(found, expected, "{states:?} by {limit}");
        }
    }
}

// clause 10
// hazard: F15
async fn pages_neither_skip_nor_repeat_while_rows_change_state<F: StoreFixture>(store: F) {
    let mut dice = Dice::cast();
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let states = all_states(time);
    for wanted in [vec![], vec![StateKind::Paid, StateKind::InProgress]] {
        let viewer = |number| user(&format!("viewer-{}-{number}", wanted.len()));
        let paid = (0..40).map(|number| (&contest, viewer(number), state(StateKind::Paid, time)));
        let rows = put_all(&store, paid).await;
        let mut staying: BTreeSet<_> = rows.iter().map(|signup| signup.id).collect();
        let present = ids(&paged(&*store.signups(), &contest, &wanted, PAGE_MAX).await);
        let page = async |after: Option<SignupId>| {
            // Some move out of the wanted states and into them again between two pages, on both
            // sides of the cursor.
            for _ in 0..if after.is_some() { 5 } else { 0 } {
                let id = *dice.one(&present);
                let signup = store.signups().get(id).await.expect("read").expect("a row");
                staying.remove(&id);
                apply(&store, decision(&signup, dice.one(&states).clone())).await;
            }
            store
                .signups()
                .page(contest.id, &wanted, after, 4)
                .await
                .expect("read")
        };
        let found = ids(&all_pages(4, page).await);
        let once: BTreeSet<_> = found.iter().copied().collect();
        assert_eq!(once.len(), found.len(), "each at most once");
        assert!(found.is_sorted(), "by id");
        assert!(once.is_superset(&staying), "who stayed is never skipped");
        if wanted.is_empty() {
            assert_eq!(found, present, "with all states wanted, nobody is");
        }
    }
}

// clause 11
async fn ranges_end_where_they_ended_before<F: StoreFixture>(store: F) {
    let mut dice = Dice::cast();
    let contests = [open_contest(&store).await, open_contest(&store).await];
    let time = now(&store).await;
    let states = all_states(time);
    let wanted = (0..40).map(|number| {
        let contest = &contests[number % 2];
        (
            contest,
            user(&format!("viewer-{number}")),
            state(StateKind::Paid, time),
        )
    });
    let mut rows = put_all(&store, wanted).await;
    rows.retain(|signup| signup.contest_id == contests[0].id);
    rows.sort_by_key(|signup| signup.id);
    let rows = ids(&rows);
    let ends = async |length: usize| {
        let (mut ends, mut after) = (Vec::new(), None);
        loop {
            let signups = store.signups();
            let end = signups.range_end(contests[0].id, after, length).await;
            match end.expect("read") {
                Some(end) => ends.push(end),
                None => return ends,
            }
            after = ends.last().copied();
        }
    };
    for length in [1, 3, 10, 20, 21] {
        let expected: Vec<SignupId> = rows
            .iter()
            .skip(length - 1)
            .step_by(length)
            .copied()
            .collect();
        assert_eq!(ends(length).await, expected, "by {length}");
        let signup = store.signups().get(*dice.one(&rows)).await;
        let signup = signup.expect("read").expect("a row");
        apply(&store, decision(&signup, dice.one(&states).clone())).await;
        assert_eq!(ends(length).await, expected, "by {length}, states changed");
    }
    let none = store.signups().range_end(contests[0].id, None, 0).await;
    assert_eq!(none.expect("read"), None);
}

// clause 10
async fn a_page_has_a_longest_length<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let viewer = |number| user(&format!("viewer-{number}"));
    let numbers: Vec<_> = (0..=PAGE_MAX).collect();
    for crowd in numbers.chunks(250) {
        let paid = |number: &usize| (&contest, viewer(*number), state(StateKind::Paid, time));
        put_all(&store, crowd.iter().map(paid)).await;
    }
    for limit in [PAGE_MAX, PAGE_MAX + 1, usize::MAX] {
        let page = store
            .signups()
            .page(contest.id, &[], None, limit)
            .await
            .expect("read");
        assert_eq!(page.items.len(), PAGE_MAX);
        let rest = store
            .signups()
            .page(contest.id, &[], page.next, limit)
            .await
            .expect("read");
        assert_eq!((rest.items.len(), rest.next), (1, None));
    }
}

// clause 10
async fn a_viewers_signups_come_newest_first<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let contests: Vec<_> = (0..9).map(|_| contest_in(PhaseKind::Draft, time)).collect();
    insert_all(&store, &contests).await;
    let wanted = contests
        .iter()
        .zip(all_states(time))
        .flat_map(|(contest, state)| {
            ["ann", "Ann"].map(|name| (contest, user(name), state.clone()))
        });
    let mut of_ann = put_all(&store, wanted).await;
    of_ann.retain(|signup| signup.user_id == user("ann"));
    of_ann.reverse();
    for limit in [1, 2, 9, 10, usize::MAX] {
        let page = async |after| {
            store
                .signups()
                .of_user(&user("ann"), after, limit)
                .await
                .expect("read")
        };
        let found = all_pages(limit, page).await;
        assert_eq!(found, of_ann, "limit {limit}");
    }
    let nobody = store
        .signups()
        .of_user(&user("nobody"), None, 9)
        .await
        .expect("read");
    assert_eq!((nobody.items, nobody.next), (Vec::new(), None));
    // A change does not make a signup newer.
    let oldest = of_ann.last().expect("the first one").clone();
    apply(&store, decision(&oldest, state(StateKind::Expired, time))).await;
    let page = store
        .signups()
        .of_user(&user("ann"), None, PAGE_MAX)
        .await
        .expect("read");
    assert_eq!(ids(&page.items), ids(&of_ann));
}

fn is_parked(state: &State) -> bool {
    matches!(
        state,
        State::Claiming(.., payment) | State::Refunding(.., payment)
            if matches!(payment.last_try, PayTry::Parked(_))
    )
}

// clause 10
// hazard: A17
async fn parked_payments_are_listed_until_they_are_not<F: StoreFixture>(store: F) {
    let mut dice = Dice::cast();
    let time = now(&store).await;
    let contests = [open_contest(&store).await, open_contest(&store).await];
    let mut states = all_states(time);
    dice.shuffle(&mut states);
    let viewer = |number| user(&format!("viewer-{number}"));
    let wanted = states.into_iter().enumerate();
    let wanted = wanted.map(|(number, state)| (&contests[number % 2], viewer(number), state));
    let mut parked = put_all(&store, wanted).await;
    parked.retain(|signup| is_parked(&signup.state));
    while !parked.is_empty() {
        for limit in [1, 5, usize::MAX] {
            let page = async |after| store.signups().parked(after, limit).await.expect("read");
            let found = all_pages(limit, page).await;
            assert_eq!(found, parked, "limit {limit}");
        }
        // An operator asks for another try, of all but each fifth.
        let (mut left, mut retried) = (Vec::new(), Vec::new());
        for (number, signup) in parked.into_iter().enumerate() {
            if number % 5 == 4 {
                left.push(signup);
                continue;
            }
            let next = match signup.state.clone() {
                State::Claiming(fee, done, weight, prize, payment) => {
                    let payment = Payment {
                        last_try: PayTry::Unknown,
                        ..payment
                    };
                    State::Claiming(fee, done, weight, prize, payment)
                }
                State::Refunding(fee, amount, payment) => {
                    let payment = Payment {
                        last_try: PayTry::Unknown,
                        ..payment
                    };
                    State::Refunding(fee, amount, payment)
                }
                other => other,
            };
            retried.push(decision(&signup, next));
        }
        apply_all(&store, retried).await;
        parked = left;
    }
    assert_eq!(
        store.signups().parked(None, 9).await.expect("read").items,
        []
    );
}
