//! The suite of [`ports::switches::SwitchSettings`].
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{StoreFixture, now, open_contest},
    samples::contest_id,
};
use domain::switch::{Change, Scope, Switch, Switches};
use ports::switches::{REASON_MAX, Said};

crate::suite::suite! { switches_suite in switches:
    nothing_is_set_at_first,
    the_last_word_is_in_force_and_every_word_is_kept,
    changes_are_numbered_in_the_order_in_which_they_take_force,
    a_version_that_is_known_is_not_read_again,
    the_history_is_paged_from_the_newest_on,
    the_changes_of_some_scopes_are_those_alone,
    settings_survive_a_crash,
}

fn said(switch: Switch, scope: &Scope, enabled: bool, reason: &str) -> Said {
    Said {
        switch,
        scope: scope.clone(),
        enabled,
        by: "olga".parse().expect("a user"),
        reason: reason.to_owned(),
    }
}

async fn set<F: StoreFixture>(store: &F, said: &Said) -> Change {
    store.switches().set(said).await.expect("set")
}

async fn in_force<F: StoreFixture>(store: &F) -> Switches {
    let read = store.switches().in_force(None).await.expect("read");
    read.expect("nothing is known").switches
}

fn room() -> Scope {
    "room/room-1".parse().expect("a scope")
}

// clause 2
async fn nothing_is_set_at_first<F: StoreFixture>(store: F) {
    let read = store.switches().in_force(None).await.expect("read");
    let read = read.expect("nothing is known");
    assert_eq!(read.version, 0);
    assert_eq!(read.switches, Switches::default());
    let history = store.switches().history(Switch::Claims, None, 10).await;
    assert_eq!(history.expect("read").items, []);
}

// clauses 1 and 2
async fn the_last_word_is_in_force_and_every_word_is_kept<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let before = now(&store).await;
    let [everything, _, one] = Scope::of(&contest);
    // As long as may be, and in any script.
    let long = "奖".repeat(REASON_MAX);
    let words = [
        said(Switch::Signups, &everything, false, &long),
        said(Switch::Signups, &one, false, "only this one"),
        said(Switch::Signups, &everything, true, "over"),
        // The same once more is a word too.
        said(Switch::Signups, &everything, true, "over, really"),
        said(Switch::Claims, &room(), false, "🧧"),
    ];
    let mut changes = Vec::new();
    for word in &words {
        changes.push(set(&store, word).await);
    }
    for (word, change) in words.iter().zip(&changes) {
        assert_eq!((change.switch, &change.scope), (word.switch, &word.scope));
        assert_eq!(change.setting.enabled, word.enabled);
        assert_eq!(
            (&change.setting.by, &change.setting.reason),
            (&word.by, &word.reason)
        );
        assert!(before <= change.setting.at && change.setting.at <= now(&store).await);
    }
    let last = [&changes[1], &changes[3], &changes[4]].map(|change| {
        let Change {
            switch,
            scope,
            setting,
            ..
        } = change.clone();
        (switch, scope, setting)
    });
    let switches = in_force(&store).await;
    assert_eq!(switches, Switches::new(last));
    let off = switches
        .check_for(Switch::Signups, &contest)
        .expect_err("off");
    assert_eq!(
        off.setting.map(|setting| setting.reason),
        Some("only this one".to_owned())
    );
    let history = store.switches().history(Switch::Signups, None, 10).await;
    let mut kept = history.expect("read").items;
    kept.reverse();
    assert_eq!(kept, changes[..4]);
}

// clause 1
async fn changes_are_numbered_in_the_order_in_which_they_take_force<F: StoreFixture>(store: F) {
    let store = std::sync::Arc::new(store);
    let setting: Vec<_> = (0..20)
        .map(|number| {
            let store = std::sync::Arc::clone(&store);
            tokio::spawn(async move {
                let switch = Switch::ALL[number % 3];
                let word = said(
                    switch,
                    &Scope::Everything,
                    number % 2 == 0,
                    &number.to_string(),
                );
                set(&*store, &word).await
            })
        })
        .collect();
    let mut changes = Vec::new();
    for one in setting {
        changes.push(one.await.expect("no panic"));
    }
    changes.sort_by_key(|change| change.sequence);
    let numbers: Vec<_> = changes.iter().map(|change| change.sequence).collect();
    assert_eq!(numbers, (1..=20).collect::<Vec<_>>(), "without a gap");
    assert!(changes.is_sorted_by_key(|change| change.setting.at));
    let last = changes.into_iter().map(|c| (c.switch, c.scope, c.setting));
    assert_eq!(in_force(&*store).await, Switches::new(last));
}

// clause 2
async fn a_version_that_is_known_is_not_read_again<F: StoreFixture>(store: F) {
    let switches = store.switches();
    assert_eq!(switches.in_force(Some(0)).await.expect("read"), None);
    let off = said(
        Switch::LivePool,
        &Scope::Everything,
        false,
        "the bank is slow",
    );
    let change = set(&store, &off).await;
    for known in [None, Some(0), Some(7)] {
        let read = switches.in_force(known).await.expect("read");
        let read = read.expect("another version");
        assert_eq!(read.version, change.sequence);
        assert!(read.switches.check(Switch::LivePool).is_err());
    }
    let known = switches.in_force(Some(change.sequence)).await;
    assert_eq!(known.expect("read"), None);
}

// clause 3
async fn the_history_is_paged_from_the_newest_on<F: StoreFixture>(store: F) {
    let mut changes = Vec::new();
    for number in 0..7 {
        let switch = [Switch::Claims, Switch::Signups][number % 2];
        let word = said(switch, &room(), number % 3 == 0, &number.to_string());
        changes.push(set(&store, &word).await);
    }
    changes.retain(|change| change.switch == Switch::Claims);
    changes.reverse();
    let mut read = Vec::new();
    let mut after = None;
    loop {
        let page = store.switches().history(Switch::Claims, after, 3).await;
        let page = page.expect("read");
        assert!(page.items.len() <= 3);
        read.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(read, changes);
    let none = store.switches().history(Switch::RecordCache, None, 3).await;
    assert_eq!(none.expect("read").items, []);
}

// clause 4
async fn the_changes_of_some_scopes_are_those_alone<F: StoreFixture>(store: F) {
    let other = Scope::Contest(contest_id());
    let words = [
        said(Switch::Claims, &room(), false, "1"),
        said(Switch::Claims, &other, false, "2"),
        said(Switch::Signups, &room(), false, "3"),
        said(Switch::Claims, &Scope::Everything, false, "4"),
        said(Switch::Claims, &room(), true, "5"),
    ];
    let mut changes = Vec::new();
    for word in &words {
        changes.push(set(&store, word).await);
    }
    let of = async |scopes: &[Scope]| {
        let read = store.switches().changes_in(Switch::Claims, scopes).await;
        read.expect("read")
    };
    let (first, last) = (changes[0].clone(), changes[4].clone());
    let everything = changes[3].clone();
    assert_eq!(of(&[room()]).await, [first.clone(), last.clone()]);
    let both = [Scope::Everything, room()];
    assert_eq!(of(&both).await, [first, everything, last]);
    assert_eq!(of(&[]).await, []);
}

async fn settings_survive_a_crash<F: StoreFixture>(store: F) {
    set(&store, &said(Switch::Signups, &room(), false, "a drill")).await;
    let before = in_force(&store).await;
    let store = store.reopen().await;
    assert_eq!(in_force(&store).await, before);
}
