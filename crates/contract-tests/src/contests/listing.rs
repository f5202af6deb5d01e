//! Which contests are listed, and which are to be looked at.
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{StoreFixture, all_pages, enter, insert, insert_all, now},
    samples::{Dice, HOUR, all_contests, contest_id, contest_in},
};
use domain::{
    contest::{Contest, PhaseKind},
    ids::ContestId,
    lifecycle,
    time::UnixMillis,
};
use ports::contests::ContestFilter;
use std::collections::BTreeSet;

crate::suite::suite! { contests_listing_suite in contests::listing:
    visible_contests_are_listed_newest_first_each_once,
    contests_that_are_not_visible_are_never_listed,
    a_list_is_narrowed_by_room_phase_and_opening,
    a_list_neither_skips_nor_repeats_while_contests_move,
    contests_wake_when_their_time_has_come_the_longest_waiting_first,
    a_contest_that_moves_on_wakes_as_its_new_phase_says,
}

const HIDDEN: [PhaseKind; 2] = [PhaseKind::Preparing, PhaseKind::Funding];

/// The whole list, page by page.
async fn listed<F: StoreFixture>(store: &F, filter: &ContestFilter, limit: usize) -> Vec<Contest> {
    let page = async |after| {
        store
            .contests()
            .list(filter, after, limit)
            .await
            .expect("read")
    };
    all_pages(limit, page).await
}

fn ids(contests: &[Contest]) -> Vec<ContestId> {
    contests.iter().map(|contest| contest.id).collect()
}

/// Inserts contests in every phase, each made later than the one before; the visible ones, newest
/// first.
async fn populate<F: StoreFixture>(store: &F) -> Vec<Contest> {
    let time = now(store).await;
    let mut contests = all_contests(time);
    for (number, contest) in contests.iter_mut().enumerate() {
        contest.created_at = time.plus(number as i64 - HOUR);
    }
    insert_all(store, &contests).await;
    contests.retain(|contest| !HIDDEN.contains(&contest.phase.kind()));
    contests.reverse();
    contests
}

// clause 9
async fn visible_contests_are_listed_newest_first_each_once<F: StoreFixture>(store: F) {
    let empty = listed(&store, &ContestFilter::default(), 5).await;
    assert_eq!(empty, []);
    let visible = populate(&store).await;
    for limit in [1, 2, 7, visible.len(), visible.len() + 1, usize::MAX] {
        let found = listed(&store, &ContestFilter::default(), limit).await;
        assert_eq!(found, visible, "limit {limit}");
    }
}

// clause 9
async fn contests_that_are_not_visible_are_never_listed<F: StoreFixture>(store: F) {
    let mut contests = Vec::new();
    for phase in HIDDEN {
        let contest = contest_in(phase, now(&store).await);
        insert(&store, &contest).await;
        contests.push(contest);
    }
    assert_eq!(listed(&store, &ContestFilter::default(), 9).await, []);
    // Not even when asked for by name.
    let filter = ContestFilter {
        phases: HIDDEN.to_vec(),
        ..ContestFilter::default()
    };
    assert_eq!(listed(&store, &filter, 9).await, []);
    for contest in &contests {
        enter(&store, contest, PhaseKind::Draft).await;
    }
    assert_eq!(
        listed(&store, &ContestFilter::default(), 9).await.len(),
        contests.len()
    );
}

// clause 9
// hazard: F12
async fn a_list_is_narrowed_by_room_phase_and_opening<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let mut all = Vec::new();
    for room in ["room", "Room", "other.room"] {
        for phase in [PhaseKind::Draft, PhaseKind::Running, PhaseKind::Claimable] {
            for opens_at in [-1, 1] {
                let mut contest = contest_in(phase, time);
                contest.terms.room_id = room.parse().expect("a room id");
                contest.terms.signup_opens_at = time.plus(opens_at * HOUR / 2);
                all.push(contest);
            }
        }
    }
    insert_all(&store, &all).await;
    all.reverse();
    let rooms = [None, Some("room"), Some("Room"), Some("elsewhere")];
    let phases: [&[PhaseKind]; 4] = [
        &[],
        &[PhaseKind::Draft],
        &[PhaseKind::Running, PhaseKind::Claimable],
        &[PhaseKind::Cancelled],
    ];
    for room in rooms {
        for phases in phases {
            for opened in [None, Some(true), Some(false)] {
                let filter = ContestFilter {
                    room_id: room.map(|room| room.parse().expect("a room id")),
                    phases: phases.to_vec(),
                    opened,
                };
                let fits = |contest: &&Contest| {
                    room.is_none_or(|room| contest.terms.room_id.as_str() == room)
                        && (phases.is_empty() || phases.contains(&contest.phase.kind()))
                        && opened.is_none_or(|is| is == (contest.terms.signup_opens_at < time))
                };
                let expected: Vec<Contest> = all.iter().filter(fits).cloned().collect();
                for limit in [1, 100] {
                    let found = listed(&store, &filter, limit).await;
                    assert_eq!(ids(&found), ids(&expected), "{filter:?}");
                }
            }
        }
    }
}

// clause 9
// hazard: F15
async fn a_list_neither_skips_nor_repeats_while_contests_move<F: StoreFixture>(store: F) {
    let mut dice = Dice::cast();
    let time = now(&store).await;
    let contests: Vec<_> = (0..20)
        .map(|_| contest_in(PhaseKind::Draft, time))
        .collect();
    insert_all(&store, &contests).await;
    let filter = ContestFilter::default();
    let page = async |after: Option<ContestId>| {
        if after.is_some() {
            // Some move on, and newer ones appear, between two pages.
            let moving = dice.one(&contests).clone();
            let next = [
                PhaseKind::Running,
                PhaseKind::Claimable,
                PhaseKind::Cancelled,
            ];
            enter(&store, &moving, *dice.one(&next)).await;
            insert(&store, &contest_in(PhaseKind::Draft, time)).await;
        }
        store
            .contests()
            .list(&filter, after, 3)
            .await
            .expect("read")
    };
    let found = ids(&all_pages(3, page).await);
    let expected: Vec<_> = contests.iter().rev().map(|contest| contest.id).collect();
    assert_eq!(found, expected);
}

/// Contests in every phase, with wake times in the past (none twice) and, of drafts, ahead.
async fn sleepers<F: StoreFixture>(store: &F, time: UnixMillis) -> Vec<Contest> {
    let mut dice = Dice::cast();
    let mut contests = all_contests(time);
    for (number, contest) in contests.iter_mut().enumerate() {
        contest.id = contest_id();
        contest.created_at = time.plus(-HOUR - 10 * number as i64);
    }
    for since in [-HOUR / 2, -5, 60_000, HOUR] {
        let mut draft = contest_in(PhaseKind::Draft, time);
        draft.terms.signup_closes_at = time.plus(since);
        contests.push(draft);
    }
    dice.shuffle(&mut contests);
    insert_all(store, &contests).await;
    contests
}

// clause 8
async fn contests_wake_when_their_time_has_come_the_longest_waiting_first<F: StoreFixture>(
    store: F,
) {
    let time = now(&store).await;
    let mut waiting: Vec<_> = sleepers(&store, time)
        .await
        .into_iter()
        .filter_map(|contest| Some((lifecycle::wake_at(&contest)?, contest)))
        .filter(|(at, _)| *at <= time)
        .collect();
    waiting.sort_by_key(|(at, _)| *at);
    let times: BTreeSet<_> = waiting.iter().map(|(at, _)| *at).collect();
    assert_eq!(times.len(), waiting.len(), "no two wait equally long");
    let expected: Vec<_> = waiting.into_iter().map(|(_, contest)| contest).collect();
    for limit in [1, 3, expected.len(), usize::MAX] {
        let awake = store.contests().awake(limit).await.expect("read");
        assert_eq!(
            awake,
            expected[..limit.min(expected.len())],
            "limit {limit}"
        );
    }
}

// clause 8
async fn a_contest_that_moves_on_wakes_as_its_new_phase_says<F: StoreFixture>(store: F) {
    let contest = contest_in(PhaseKind::Funding, now(&store).await);
    insert(&store, &contest).await;
    let route = [
        (PhaseKind::Draft, false),
        (PhaseKind::Running, true),
        (PhaseKind::Judging, true),
        (PhaseKind::Listing, true),
        (PhaseKind::Claimable, true),
        (PhaseKind::Closed, false),
    ];
    assert_eq!(
        ids(&store.contests().awake(9).await.expect("read")),
        [contest.id]
    );
    for (phase, is_awake) in route {
        enter(&store, &contest, phase).await;
        let awake = ids(&store.contests().awake(9).await.expect("read"));
        assert_eq!(awake.contains(&contest.id), is_awake, "{}", phase.name());
    }
}
