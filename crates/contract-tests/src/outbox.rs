//! The suite of [`ports::outbox::Outbox`].
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{StoreFixture, apply, at_once, decision, now, open_contest, put, put_all, row},
    samples::{CROWD, signup_id, state, user},
};
use domain::{
    effects::Effect,
    signup::{Signup, StateKind},
    time::Window,
};
use ports::{
    outbox::{DROP_AGAIN_MS, OutboxEntry},
    signups::SignupCommit,
    store::Committed,
};
use std::collections::BTreeSet;

crate::suite::suite! { outbox_suite in outbox:
    an_effect_is_there_with_its_change,
    without_the_change_there_is_no_effect,
    only_effects_that_somebody_takes_are_written,
    an_entry_stays_until_it_is_done,
    the_oldest_entries_come_first,
    a_walk_goes_on_past_entries_that_stay,
    an_entry_that_comes_due_behind_a_walk_is_met_by_the_next,
    a_cached_record_is_dropped_again_only_after_a_while,
    of_many_changes_at_once_every_effect_is_there_once,
    effects_survive_a_crash,
}

/// Effects that are due at once.
const PROMPT: [Effect; 3] = [Effect::DropCached, Effect::CountFinisher, Effect::Announce];

async fn paid<F: StoreFixture>(store: &F, name: &str) -> Signup {
    let contest = open_contest(store).await;
    put(
        store,
        &contest,
        user(name),
        state(StateKind::Paid, contest.created_at),
    )
    .await
}

/// A change of a signup with these effects.
fn change(signup: &Signup, effects: &[Effect]) -> SignupCommit {
    let next = state(StateKind::InProgress, signup.created_at);
    SignupCommit {
        effects: effects.to_vec(),
        ..decision(signup, next)
    }
}

async fn taken<F: StoreFixture>(store: &F) -> Vec<OutboxEntry> {
    store.outbox().take(None, 999).await.expect("read")
}

async fn done<F: StoreFixture>(store: &F, sequences: &[u64]) {
    store.outbox().done(sequences).await.expect("an answer");
}

fn effects(entries: &[OutboxEntry]) -> Vec<Effect> {
    entries.iter().map(|entry| entry.effect).collect()
}

// clause 1
// hazard: A7
async fn an_effect_is_there_with_its_change<F: StoreFixture>(store: F) {
    assert_eq!(taken(&store).await, []);
    let ann = paid(&store, "ann").await;
    let mut expected = Vec::new();
    for effect in PROMPT {
        let before = row(&store, &ann).await;
        let after = apply(&store, change(&before, &[effect])).await;
        expected.push((effect, after.version));
    }
    // A change without effects leaves none.
    apply(&store, change(&row(&store, &ann).await, &[])).await;
    let entries = taken(&store).await;
    assert_eq!(entries.len(), expected.len());
    for (entry, (expected, at_version)) in entries.iter().zip(expected) {
        // Without `..`: a new field has to be compared here too.
        let OutboxEntry {
            sequence: _,
            effect,
            contest_id,
            signup_id,
            user_id,
            version,
        } = entry;
        assert_eq!(*effect, expected);
        assert_eq!(
            (*contest_id, *signup_id, user_id),
            (ann.contest_id, Some(ann.id), &ann.user_id)
        );
        assert_eq!(*version, at_version);
    }
    // Several of one change come in their order.
    apply(&store, change(&row(&store, &ann).await, &PROMPT)).await;
    assert_eq!(effects(&taken(&store).await), [PROMPT, PROMPT].concat());
}

// clause 1
async fn without_the_change_there_is_no_effect<F: StoreFixture>(store: F) {
    let ann = paid(&store, "ann").await;
    let time = now(&store).await;
    let late = SignupCommit {
        window: Window::until(time),
        ..change(&ann, Effect::ALL)
    };
    let stale = SignupCommit {
        expected: 9,
        ..change(&ann, Effect::ALL)
    };
    let mut missing = change(&ann, Effect::ALL);
    missing.signup.id = signup_id();
    for (commit, expected) in [
        (late, Committed::GuardFailed),
        (stale, Committed::GuardFailed),
        (missing, Committed::Missing),
    ] {
        let answer = store.signups().commit(commit).await.expect("an answer");
        assert_eq!(answer, expected);
    }
    assert_eq!(taken(&store).await, []);
    store.reach(time.plus(DROP_AGAIN_MS + 1)).await;
    assert_eq!(taken(&store).await, []);
}

// the introduction of the port
async fn only_effects_that_somebody_takes_are_written<F: StoreFixture>(_: F) {
    for wanted in [
        &[][..],
        &[Effect::Announce],
        &[Effect::CountFinisher, Effect::DropCached],
    ] {
        let store = F::open(wanted).await;
        let ann = paid(&store, "ann").await;
        apply(&store, change(&ann, &PROMPT)).await;
        let found: BTreeSet<_> = effects(&taken(&store).await).into_iter().collect();
        assert_eq!(found, wanted.iter().copied().collect());
        // What is not taken is not in the way of the change.
        assert_eq!(row(&store, &ann).await.version, 2);
    }
}

// clauses 2, 3
async fn an_entry_stays_until_it_is_done<F: StoreFixture>(store: F) {
    let ann = paid(&store, "ann").await;
    apply(&store, change(&ann, &PROMPT)).await;
    let entries = taken(&store).await;
    assert_eq!(entries.len(), 3);
    for _ in 0..3 {
        assert_eq!(taken(&store).await, entries, "taking changes nothing");
    }
    done(&store, &[entries[1].sequence]).await;
    assert_eq!(
        taken(&store).await,
        [entries[0].clone(), entries[2].clone()]
    );
    // Again, with one that never was, and none at all.
    done(&store, &[entries[1].sequence, u64::MAX >> 1]).await;
    done(&store, &[]).await;
    assert_eq!(
        taken(&store).await,
        [entries[0].clone(), entries[2].clone()]
    );
    let all: Vec<_> = entries.iter().map(|entry| entry.sequence).collect();
    done(&store, &all).await;
    assert_eq!(taken(&store).await, []);
    // A place in the outbox is never given away again.
    apply(&store, change(&row(&store, &ann).await, &PROMPT)).await;
    for entry in taken(&store).await {
        assert!(entry.sequence > entries[2].sequence);
    }
}

// clause 2
async fn the_oldest_entries_come_first<F: StoreFixture>(store: F) {
    let mut expected = Vec::new();
    for number in 0..5 {
        let signup = paid(&store, &format!("viewer-{number}")).await;
        for _ in 0..2 {
            apply(&store, change(&row(&store, &signup).await, &PROMPT)).await;
        }
        expected.extend([Some(signup.id); 6]);
    }
    let entries = taken(&store).await;
    assert!(entries.is_sorted_by_key(|entry| entry.sequence));
    assert_eq!(
        entries
            .iter()
            .map(|entry| entry.signup_id)
            .collect::<Vec<_>>(),
        expected
    );
    for limit in [1, 7, 30, usize::MAX] {
        let some = store.outbox().take(None, limit).await.expect("read");
        assert_eq!(some, entries[..limit.min(entries.len())], "limit {limit}");
    }
    // Working through it page by page meets each once.
    let mut carried_out = Vec::new();
    loop {
        let page = store.outbox().take(None, 4).await.expect("read");
        if page.is_empty() {
            break;
        }
        done(
            &store,
            &page.iter().map(|entry| entry.sequence).collect::<Vec<_>>(),
        )
        .await;
        carried_out.extend(page);
    }
    assert_eq!(carried_out, entries);
}

fn sequences(entries: &[OutboxEntry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.sequence).collect()
}

/// A walk over what is due, in pages of so many.
async fn walk<F: StoreFixture>(store: &F, limit: usize) -> Vec<OutboxEntry> {
    let mut walked: Vec<OutboxEntry> = Vec::new();
    loop {
        let after = walked.last().map(|entry| entry.sequence);
        let page = store.outbox().take(after, limit).await.expect("read");
        if page.is_empty() {
            return walked;
        }
        assert!(page.len() <= limit, "{} of {limit}", page.len());
        walked.extend(page);
    }
}

// clause 2
// hazard: H12
async fn a_walk_goes_on_past_entries_that_stay<F: StoreFixture>(store: F) {
    assert_eq!(
        store.outbox().take(Some(0), 9).await.expect("read"),
        [],
        "an empty one has no page"
    );
    for number in 0..4 {
        let signup = paid(&store, &format!("viewer-{number}")).await;
        apply(&store, change(&signup, &PROMPT)).await;
    }
    let entries = taken(&store).await;
    assert_eq!(entries.len(), 12);
    for limit in [1, 4, 5, 12, 99] {
        assert_eq!(walk(&store, limit).await, entries, "pages of {limit}");
    }
    // Where a page begins: behind the one that is named, whether it is still there or not.
    for (number, entry) in entries.iter().enumerate() {
        let rest = &entries[number + 1..];
        let after = Some(entry.sequence);
        let page = store.outbox().take(after, 99).await.expect("read");
        assert_eq!(page, rest);
        let page = store.outbox().take(after, 2).await.expect("read");
        assert_eq!(page, rest[..rest.len().min(2)]);
    }
    let gone = [3, 4, 11].map(|place| entries[place].sequence);
    done(&store, &gone).await;
    let after = Some(gone[1]);
    let page = store.outbox().take(after, 99).await.expect("read");
    assert_eq!(page, entries[5..11]);
    let last = [Some(gone[2]), Some(u64::MAX >> 1), Some(u64::MAX)];
    for after in last {
        assert_eq!(store.outbox().take(after, 99).await.expect("read"), []);
    }
    let left: Vec<_> = [&entries[..3], &entries[5..11]].concat();
    assert_eq!(walk(&store, 2).await, left);
}

// clauses 4, 5
// hazard: F7, H12
async fn an_entry_that_comes_due_behind_a_walk_is_met_by_the_next<F: StoreFixture>(store: F) {
    let ann = paid(&store, "ann").await;
    let bob = paid(&store, "bob").await;
    apply(&store, change(&ann, &[Effect::DropCachedAgain])).await;
    apply(&store, change(&bob, &PROMPT)).await;
    let due = now(&store).await.plus(DROP_AGAIN_MS + 1);
    // Hers may be due already: servers have clocks of their own.
    let walked = walk(&store, 2).await;
    let after = walked.last().map(|entry| entry.sequence);
    store.reach(due).await;
    let later = store.outbox().take(after, 99).await.expect("read");
    assert_eq!(later, [], "the walk was at the end");
    let again = walk(&store, 2).await;
    assert_eq!(
        effects(&again),
        [&[Effect::DropCachedAgain], &PROMPT[..]].concat()
    );
    assert!(sequences(&again).is_sorted());
    done(&store, &sequences(&again)).await;
    assert_eq!(taken(&store).await, []);
}

// clause 4
// hazard: E2
async fn a_cached_record_is_dropped_again_only_after_a_while<F: StoreFixture>(store: F) {
    let ann = paid(&store, "ann").await;
    let both = [Effect::DropCachedAgain, Effect::DropCached];
    let earliest = now(&store).await.plus(DROP_AGAIN_MS);
    apply(&store, change(&ann, &both)).await;
    let latest = now(&store).await.plus(DROP_AGAIN_MS);
    loop {
        let entries = effects(&taken(&store).await);
        // By the store's clock it was not due yet when it was looked for.
        if now(&store).await >= earliest {
            break;
        }
        assert_eq!(entries, [Effect::DropCached]);
        store.reach(now(&store).await.plus(DROP_AGAIN_MS / 4)).await;
    }
    store.reach(latest.plus(1)).await;
    let entries = taken(&store).await;
    let found: BTreeSet<_> = effects(&entries).into_iter().collect();
    assert_eq!(found, both.into_iter().collect());
    // It stays until it is done, like any other.
    assert_eq!(taken(&store).await, entries);
    done(
        &store,
        &entries
            .iter()
            .map(|entry| entry.sequence)
            .collect::<Vec<_>>(),
    )
    .await;
    assert_eq!(taken(&store).await, []);
}

// clause 1
async fn of_many_changes_at_once_every_effect_is_there_once<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let mut calls = Vec::new();
    let mut expected = BTreeSet::new();
    let viewer = |number| user(&format!("viewer-{number}"));
    let paid = || state(StateKind::Paid, contest.created_at);
    let rows = put_all(
        &store,
        (0..CROWD).map(|number| (&contest, viewer(number), paid())),
    );
    for (number, signup) in rows.await.into_iter().enumerate() {
        let mut commit = change(&signup, &PROMPT);
        // Every fourth change fails.
        if number % 4 == 0 {
            commit.expected = 9;
        } else {
            expected.extend(PROMPT.map(|effect| (Some(signup.id), effect)));
        }
        let signups = store.signups();
        calls.push(async move { signups.commit(commit).await.expect("an answer") });
    }
    at_once(calls).await;
    let entries = taken(&store).await;
    let sequences: BTreeSet<_> = entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences.len(), entries.len());
    let found: BTreeSet<_> = entries
        .iter()
        .map(|entry| (entry.signup_id, entry.effect))
        .collect();
    assert_eq!((found.len(), &found), (entries.len(), &expected));
}

// clause 1
// hazard: G3
async fn effects_survive_a_crash<F: StoreFixture>(store: F) {
    let ann = paid(&store, "ann").await;
    apply(&store, change(&ann, &PROMPT)).await;
    let entries = taken(&store).await;
    done(&store, &[entries[0].sequence]).await;

    let store = store.reopen().await;
    assert_eq!(taken(&store).await, entries[1..]);
    apply(
        &store,
        change(&row(&store, &ann).await, &[Effect::Announce]),
    )
    .await;
    let after = taken(&store).await;
    assert_eq!(after.len(), 3);
    assert!(after[2].sequence > entries[2].sequence);
}
