//! What is counted over a contest's signups, and the settlement sheet.
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{
        StoreFixture, all_pages, apply, apply_all, at_once, decided, decision, insert_all,
        open_contest, put, put_all, row, stored,
    },
    samples::{Dice, all_states, coins, contest_id, contest_in, sheet_line, state, user, weight},
};
use domain::{
    contest::{Contest, PhaseKind},
    ids::SignupId,
    lifecycle::Presence,
    money::Coins,
    settlement::{Census, Finisher, SheetLine},
    signup::{Share, Signup, State, StateKind},
};
use ports::{
    contests::{ContestCommit, ContestRepository, StateCount},
    store::{Committed, PAGE_MAX, Page},
};
use std::{collections::BTreeMap, sync::Arc};

crate::suite::suite! { contests_counting_suite in contests::counting:
    presence_census_and_counts_agree_with_a_plain_model,
    nothing_is_counted_where_nobody_signed_up,
    each_count_is_one_snapshot,
    finishers_go_by_signup_id_and_have_fixed_weights,
    a_line_of_the_sheet_is_never_changed,
    the_sheet_goes_by_signup_id,
    sheets_are_kept_apart,
}

/// A state that has any weight and prize within what terms allow, to be summed.
fn weighed(dice: &mut Dice, states: &[State]) -> State {
    let prize = coins(dice.roll(1_000_000) as u64);
    let drawn = weight(1 + dice.roll(10_000_000_000) as u64);
    match dice.one(states).clone() {
        State::Completed(fee, done, Share::Fixed(_)) => {
            State::Completed(fee, done, Share::Fixed(drawn))
        }
        State::Claiming(fee, done, _, _, payment) => {
            State::Claiming(fee, done, drawn, prize, payment)
        }
        State::Shared(fee, done, _, _, Some(paid)) => {
            State::Shared(fee, done, drawn, coins(prize.get() + 1), Some(paid))
        }
        other => other,
    }
}

/// What the census of these signups must be, by the words of its fields.
fn model_census(signups: &[Signup]) -> Census {
    let of = |kinds: &[StateKind]| -> Vec<&Signup> {
        signups
            .iter()
            .filter(|signup| kinds.contains(&signup.state.kind()))
            .collect()
    };
    let moved = |signup: &&Signup| signup.fee_content().amount;
    let fees = |signups: &[&Signup]| Coins::sum(signups.iter().map(moved)).expect("a sum");
    let completed = of(&[StateKind::Completed]);
    let weights: Vec<u128> = completed
        .iter()
        .filter_map(|signup| signup.state.weight())
        .map(|weight| u128::from(weight.get()))
        .collect();
    let unjudged = of(&[
        StateKind::Initialized,
        StateKind::Paid,
        StateKind::InProgress,
    ]);
    Census {
        undecided: (unjudged.len() + completed.len() - weights.len()) as u64,
        finishers: weights.len() as u64,
        weight_sum: weights.iter().sum(),
        fees: fees(&of(&[StateKind::Completed, StateKind::Missed])),
        refunding: fees(&of(&[StateKind::Refunding])),
    }
}

fn model_counts(signups: &[Signup]) -> Vec<StateCount> {
    let mut by_state: BTreeMap<StateKind, StateCount> = BTreeMap::new();
    for signup in signups {
        let state = signup.state.kind();
        let none = StateCount {
            state,
            signups: 0,
            fees: Coins::ZERO,
            prizes: Coins::ZERO,
        };
        let count = by_state.entry(state).or_insert(none);
        count.signups += 1;
        count.fees = count.fees.plus(signup.fee_content().amount).expect("a sum");
        let prize = signup.state.prize().unwrap_or(Coins::ZERO);
        count.prizes = count.prizes.plus(prize).expect("a sum");
    }
    StateKind::ALL
        .iter()
        .filter_map(|state| by_state.get(state).copied())
        .collect()
}

fn model_presence(signups: &[Signup]) -> Presence {
    let provisional = signups
        .iter()
        .any(|signup| matches!(signup.state, State::Completed(_, _, Share::Provisional)));
    Presence::of(
        signups.iter().map(|signup| signup.state.kind()),
        provisional,
    )
}

async fn assert_counted(contests: &dyn ContestRepository, contest: &Contest, rows: &[Signup]) {
    let id = contest.id;
    assert_eq!(
        contests.presence(id).await.expect("read"),
        model_presence(rows)
    );
    assert_eq!(contests.census(id).await.expect("read"), model_census(rows));
    assert_eq!(contests.counts(id).await.expect("read"), model_counts(rows));
}

// clause 10
// hazard: B2
async fn presence_census_and_counts_agree_with_a_plain_model<F: StoreFixture>(store: F) {
    let mut dice = Dice::cast();
    let time = crate::fixture::now(&store).await;
    let states = all_states(time);
    let contests = [open_contest(&store).await, open_contest(&store).await];
    let mut rows = [Vec::new(), Vec::new()];
    for round in 0..8 {
        let which = dice.roll(2);
        let some = (0..15).map(|number| {
            let viewer = user(&format!("viewer-{round}-{number}"));
            (&contests[which], viewer, weighed(&mut dice, &states))
        });
        rows[which].extend(put_all(&store, some.collect::<Vec<_>>()).await);
        assert_counted(&*store.contests(), &contests[which], &rows[which]).await;
    }
    // The same after rows have changed where they are.
    for (contest, rows) in contests.iter().zip(&mut rows) {
        let changes: Vec<_> = rows
            .iter()
            .map(|signup| decision(signup, weighed(&mut dice, &states)))
            .collect();
        *rows = apply_all(&store, changes).await;
        assert_counted(&*store.contests(), contest, rows).await;
    }
    // And with each state alone, so that none can hide behind another.
    let time = crate::fixture::now(&store).await;
    let alone: Vec<_> = states
        .iter()
        .map(|_| contest_in(PhaseKind::Draft, time))
        .collect();
    insert_all(&store, &alone).await;
    let only = alone
        .iter()
        .zip(states)
        .map(|(contest, state)| (contest, user("ann"), state));
    let rows = put_all(&store, only).await;
    for (contest, only) in alone.iter().zip(rows) {
        assert_counted(&*store.contests(), contest, &[only]).await;
    }
}

async fn nothing_is_counted_where_nobody_signed_up<F: StoreFixture>(store: F) {
    let empty = open_contest(&store).await;
    let other = open_contest(&store).await;
    let time = crate::fixture::now(&store).await;
    put(
        &store,
        &other,
        user("ann"),
        state(StateKind::Completed, time),
    )
    .await;
    assert_counted(&*store.contests(), &empty, &[]).await;
    let nowhere = Contest {
        id: contest_id(),
        ..empty
    };
    assert_counted(&*store.contests(), &nowhere, &[]).await;
    assert_eq!(
        store
            .contests()
            .finishers(nowhere.id, None, 9)
            .await
            .expect("read"),
        []
    );
    let sheet = store
        .contests()
        .sheet(nowhere.id, None, 9)
        .await
        .expect("read");
    assert_eq!(
        sheet,
        Page {
            items: Vec::new(),
            next: None
        }
    );
}

/// Rows that move on while they are counted: each is counted once, whatever state it is in.
// clause 10
// hazard: B2
async fn each_count_is_one_snapshot<F: StoreFixture>(store: F) {
    const ROWS: usize = 16;
    let contest = open_contest(&store).await;
    let time = crate::fixture::now(&store).await;
    let viewer = |number| user(&format!("viewer-{number}"));
    let paid = (0..ROWS).map(|number| (&contest, viewer(number), state(StateKind::Paid, time)));
    let rows = put_all(&store, paid).await;
    let store = Arc::new(store);
    let movers = rows.into_iter().map(|mut signup| {
        let store = Arc::clone(&store);
        async move {
            let State::Paid(fee) = signup.state else {
                panic!("paid")
            };
            let State::Completed(_, done, _) = state(StateKind::Completed, time) else {
                panic!("completed")
            };
            let share = Share::Fixed(weight(7));
            for next in [
                State::InProgress(fee),
                State::Completed(fee, done, Share::Provisional),
                State::Completed(fee, done, share),
            ] {
                signup = apply(&*store, decision(&signup, next)).await;
            }
        }
    });
    let moved = tokio::spawn(at_once(movers.collect::<Vec<_>>()));
    let contests = store.contests();
    loop {
        let is_over = moved.is_finished();
        let counts = contests.counts(contest.id).await.expect("read");
        assert_eq!(
            counts.iter().map(|count| count.signups).sum::<u64>(),
            ROWS as u64
        );
        let census = contests.census(contest.id).await.expect("read");
        assert_eq!(census.undecided + census.finishers, ROWS as u64);
        assert_eq!(census.weight_sum, 7 * u128::from(census.finishers));
        if is_over {
            assert_eq!(census.finishers, ROWS as u64);
            break;
        }
    }
    moved.await.expect("every row has moved");
}

// clause 11
async fn finishers_go_by_signup_id_and_have_fixed_weights<F: StoreFixture>(store: F) {
    let mut dice = Dice::cast();
    let contests = [open_contest(&store).await, open_contest(&store).await];
    let time = crate::fixture::now(&store).await;
    let mut states = all_states(time);
    states.retain(|state| !matches!(state.kind(), StateKind::Initialized));
    let mut wanted = Vec::new();
    for number in 1..=48 {
        // Every other one finishes for good, the rest is in any state.
        let state = match (number % 2, state(StateKind::Completed, time)) {
            (0, State::Completed(fee, done, _)) => {
                State::Completed(fee, done, Share::Fixed(weight(number)))
            }
            _ => weighed(&mut dice, &states),
        };
        let viewer = user(&format!("viewer-{number}"));
        wanted.push((&contests[dice.roll(2)], viewer, state));
    }
    let mut expected = Vec::new();
    for signup in put_all(&store, wanted).await {
        let State::Completed(_, _, Share::Fixed(weight)) = signup.state else {
            continue;
        };
        if signup.contest_id == contests[0].id {
            let (signup_id, user_id) = (signup.id, signup.user_id);
            expected.push(Finisher {
                signup_id,
                user_id,
                weight,
            });
        }
    }
    expected.sort_by_key(|finisher| finisher.signup_id);
    let count = expected.len().max(1);
    for limit in [1, 2, count, count + 1, PAGE_MAX, usize::MAX] {
        let mut found: Vec<Finisher> = Vec::new();
        loop {
            let after = found.last().map(|finisher| finisher.signup_id);
            let page = store
                .contests()
                .finishers(contests[0].id, after, limit)
                .await;
            let page = page.expect("read");
            assert!(page.len() <= limit);
            if page.is_empty() {
                break;
            }
            found.extend(page);
            assert!(found.len() <= expected.len(), "pages repeat themselves");
        }
        assert_eq!(found, expected, "limit {limit}");
    }
}

/// Commits lines; what the store says about it.
async fn write_lines<F: StoreFixture>(store: &F, contest: &Contest, lines: Vec<SheetLine>) -> bool {
    let now = stored(store, contest).await;
    let answer = store
        .contests()
        .commit(ContestCommit {
            lines,
            ..decided(&now)
        })
        .await;
    let is_applied = matches!(answer, Ok(Committed::Applied));
    let version = stored(store, contest).await.version;
    assert_eq!(
        version,
        now.version + u64::from(is_applied),
        "all or nothing"
    );
    is_applied
}

async fn line_of<F: StoreFixture>(store: &F, contest: &Contest, id: SignupId) -> Option<SheetLine> {
    store
        .contests()
        .sheet_line(contest.id, id)
        .await
        .expect("read")
}

async fn to_claim<F: StoreFixture>(
    store: &F,
    contest: &Contest,
    name: &str,
) -> Option<(Signup, Option<SheetLine>)> {
    store
        .signups()
        .find_to_claim(contest.id, &user(name))
        .await
        .expect("read")
}

// clause 7
// hazard: C9
// hazard: C7
async fn a_line_of_the_sheet_is_never_changed<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = crate::fixture::now(&store).await;
    let ann = put(
        &store,
        &contest,
        user("ann"),
        state(StateKind::Completed, time),
    )
    .await;
    assert_eq!(line_of(&store, &contest, ann.id).await, None);
    let line = sheet_line(&ann, 1 << 70, Coins::MAX);
    assert!(write_lines(&store, &contest, vec![line.clone()]).await);
    assert_eq!(line_of(&store, &contest, ann.id).await, Some(line.clone()));
    // The same line again, and others in its place: it stays, whether the store takes the rest of
    // the commit or none of it.
    let changed = [
        line.clone(),
        SheetLine {
            prize: coins(1),
            ..line.clone()
        },
        SheetLine {
            before: 0,
            ..line.clone()
        },
        SheetLine {
            finisher: Finisher {
                weight: weight(1),
                ..line.finisher.clone()
            },
            ..line.clone()
        },
    ];
    for other in changed {
        write_lines(&store, &contest, vec![other]).await;
        assert_eq!(line_of(&store, &contest, ann.id).await, Some(line.clone()));
    }
    // Who claims finds it beside the row, and who has none finds the row alone.
    let bob = state(StateKind::Completed, time);
    let bob = put(&store, &contest, user("bob"), bob).await;
    assert_eq!(
        to_claim(&store, &contest, "ann").await,
        Some((ann.clone(), Some(line.clone())))
    );
    assert_eq!(to_claim(&store, &contest, "bob").await, Some((bob, None)));
    assert_eq!(to_claim(&store, &contest, "cid").await, None);
    // What happens to the signup does not touch it either.
    apply(&store, decision(&ann, state(StateKind::Refunding, time))).await;
    assert_eq!(row(&store, &ann).await.state.kind(), StateKind::Refunding);
    assert_eq!(line_of(&store, &contest, ann.id).await, Some(line));
}

// clause 11
async fn the_sheet_goes_by_signup_id<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = crate::fixture::now(&store).await;
    let viewer = |number| user(&format!("viewer-{number}"));
    let completed =
        (0..11).map(|number| (&contest, viewer(number), state(StateKind::Completed, time)));
    let rows = put_all(&store, completed).await;
    let lines: Vec<_> = (0..)
        .zip(&rows)
        .map(|(number, signup)| sheet_line(signup, u128::from(number) << 64, coins(number)))
        .collect();
    // In several pages and not in order: the order is the sheet's, not that of writing.
    let mut shuffled = lines.clone();
    Dice::cast().shuffle(&mut shuffled);
    for page in shuffled.chunks(4) {
        assert!(write_lines(&store, &contest, page.to_vec()).await);
    }
    for limit in [1, 2, 10, 11, 12, usize::MAX] {
        let found = all_pages(limit, async |after| {
            store
                .contests()
                .sheet(contest.id, after, limit)
                .await
                .expect("read")
        });
        let found = found.await;
        assert_eq!(found, lines, "limit {limit}");
    }
    for line in &lines {
        let read = line_of(&store, &contest, line.finisher.signup_id).await;
        assert_eq!(read.as_ref(), Some(line));
    }
}

async fn sheets_are_kept_apart<F: StoreFixture>(store: F) {
    let (one, other) = (open_contest(&store).await, open_contest(&store).await);
    let time = crate::fixture::now(&store).await;
    let ann = put(&store, &one, user("ann"), state(StateKind::Completed, time)).await;
    assert!(write_lines(&store, &one, vec![sheet_line(&ann, 0, coins(1))]).await);
    assert_eq!(line_of(&store, &other, ann.id).await, None);
    let sheet = store
        .contests()
        .sheet(other.id, None, 9)
        .await
        .expect("read");
    assert_eq!(sheet.items, []);
}
