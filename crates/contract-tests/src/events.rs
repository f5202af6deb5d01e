//! The suite of [`ports::tasks::TaskEvents`]: which events are taken, once, and for what. What they
//! add up to has a file of its own.
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

pub mod progress;

use crate::{
    fixture::{StoreFixture, at_once, enter, insert, now, open_contest, put, stored},
    samples::{CROWD, HOUR, contest_in, receipt, user},
};
use domain::{
    contest::{Contest, PhaseKind},
    effects::Effect,
    ids::SenderId,
    judge::Progress,
    signup::{Signup, State},
    time::UnixMillis,
};
use ports::tasks::{EVENT_AGE_MS_MAX, EVENT_AHEAD_MS_MAX, EventOutcome, QUANTITY_MAX, TaskEvent};

crate::suite::suite! { events_suite in events:
    an_event_is_stored_once_and_a_repeat_is_a_duplicate,
    the_same_id_with_other_content_is_a_conflict,
    ids_are_each_senders_own,
    ids_are_compared_byte_for_byte,
    of_many_pushes_of_one_event_one_is_accepted,
    an_event_counts_for_every_contest_that_it_fits,
    an_event_of_no_contest_is_kept_and_recognised,
    an_event_after_the_judging_began_is_too_late_and_not_kept,
    an_event_of_a_judged_and_a_running_contest_counts_for_one,
    events_of_another_time_are_not_taken,
    one_bad_event_does_not_touch_the_others,
    a_batch_may_repeat_itself,
    what_was_accepted_survives_a_crash,
    whoever_something_was_accepted_for_is_ranked_once,
}

/// The sender of that name.
pub(crate) fn sender(name: &str) -> SenderId {
    name.parse().expect("a sender id")
}

/// An event of Ann's that fits the contest.
pub(crate) fn event(id: &str, contest: &Contest, quantity: u64, at: UnixMillis) -> TaskEvent {
    TaskEvent {
        event_id: id.parse().expect("an event id"),
        user_id: user("ann"),
        room_id: contest.terms.room_id.clone(),
        kind: contest.terms.task.kind.clone(),
        quantity,
        occurred_at: at,
    }
}

/// Pushes events under one sender.
pub(crate) async fn record<F: StoreFixture>(store: &F, events: &[TaskEvent]) -> Vec<EventOutcome> {
    store
        .events()
        .record(&sender("game"), events)
        .await
        .expect("an answer")
}

/// Pushes one event.
pub(crate) async fn record_one<F: StoreFixture>(store: &F, event: &TaskEvent) -> EventOutcome {
    let outcomes = record(store, std::slice::from_ref(event)).await;
    assert_eq!(outcomes.len(), 1);
    outcomes[0]
}

/// Ann's signup, whose fee applied when signups opened.
pub(crate) async fn paid_at_opening<F: StoreFixture>(store: &F, contest: &Contest) -> Signup {
    let mut fee = receipt(5, contest.terms.signup_opens_at);
    fee.applied_at = contest.terms.signup_opens_at;
    put(store, contest, user("ann"), State::InProgress(fee)).await
}

/// The progress of one signup.
pub(crate) async fn progress<F: StoreFixture>(
    store: &F,
    contest: &Contest,
    signup: &Signup,
) -> Progress {
    let contest = stored(store, contest).await;
    let signups = std::slice::from_ref(signup);
    let mut all = store
        .tasks()
        .progress(&contest, signups)
        .await
        .expect("read");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

async fn quantity<F: StoreFixture>(store: &F, contest: &Contest, signup: &Signup) -> u64 {
    progress(store, contest, signup).await.quantity
}

// clause 1
// hazard: I4
async fn an_event_is_stored_once_and_a_repeat_is_a_duplicate<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let ann = paid_at_opening(&store, &contest).await;
    let one = event("one", &contest, QUANTITY_MAX, now(&store).await.plus(-5));
    assert_eq!(record_one(&store, &one).await, EventOutcome::Accepted);
    for _ in 0..3 {
        assert_eq!(record_one(&store, &one).await, EventOutcome::Duplicate);
    }
    assert_eq!(quantity(&store, &contest, &ann).await, QUANTITY_MAX);
    // A repeat stays a repeat when the contest has long been judged.
    enter(&store, &contest, PhaseKind::Judging).await;
    assert_eq!(record_one(&store, &one).await, EventOutcome::Duplicate);
    assert_eq!(quantity(&store, &contest, &ann).await, QUANTITY_MAX);
}

// clause 1
// hazard: A10
async fn the_same_id_with_other_content_is_a_conflict<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let ann = paid_at_opening(&store, &contest).await;
    let time = now(&store).await.plus(-5);
    let one = event("one", &contest, 1, time);
    assert_eq!(record_one(&store, &one).await, EventOutcome::Accepted);
    let others = [
        TaskEvent {
            user_id: user("bob"),
            ..one.clone()
        },
        TaskEvent {
            user_id: user("Ann"),
            ..one.clone()
        },
        TaskEvent {
            room_id: "elsewhere".parse().expect("a room id"),
            ..one.clone()
        },
        TaskEvent {
            kind: "send_gift".parse().expect("a task kind"),
            ..one.clone()
        },
        TaskEvent {
            quantity: 2,
            ..one.clone()
        },
        TaskEvent {
            occurred_at: time.plus(1),
            ..one.clone()
        },
        // Even where the other one would not be taken by itself.
        TaskEvent {
            occurred_at: time.plus(-2 * EVENT_AGE_MS_MAX),
            ..one.clone()
        },
        TaskEvent {
            occurred_at: time.plus(2 * EVENT_AHEAD_MS_MAX),
            ..one.clone()
        },
    ];
    for other in others {
        assert_eq!(
            record_one(&store, &other).await,
            EventOutcome::Conflict,
            "{other:?}"
        );
    }
    assert_eq!(record_one(&store, &one).await, EventOutcome::Duplicate);
    assert_eq!(quantity(&store, &contest, &ann).await, 1);
}

// clause 1
async fn ids_are_each_senders_own<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let ann = paid_at_opening(&store, &contest).await;
    let one = event("one", &contest, 1, now(&store).await.plus(-5));
    for (number, name) in ["game", "Game", "game2", "gam"].into_iter().enumerate() {
        // The same content, at the same moment: still another event.
        let events = [one.clone()];
        let first = store
            .events()
            .record(&sender(name), &events)
            .await
            .expect("an answer");
        assert_eq!(first, [EventOutcome::Accepted], "{name}");
        let again = store
            .events()
            .record(&sender(name), &events)
            .await
            .expect("an answer");
        assert_eq!(again, [EventOutcome::Duplicate], "{name}");
        assert_eq!(quantity(&store, &contest, &ann).await, number as u64 + 1);
    }
}

// clause 1
// hazard: F12
async fn ids_are_compared_byte_for_byte<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let ann = paid_at_opening(&store, &contest).await;
    let time = now(&store).await.plus(-5);
    let ids = ["a", "A", "a.", "a_", "a-", "aa", &"a".repeat(64)];
    let mut events: Vec<_> = ids
        .into_iter()
        .map(|id| event(id, &contest, 1, time))
        .collect();
    let outcomes = record(&store, &events).await;
    assert_eq!(outcomes, vec![EventOutcome::Accepted; events.len()]);
    // What another viewer does, or is done in another room or kind, is not Ann's.
    for (number, event) in events.iter_mut().enumerate() {
        event.event_id = format!("other-{number}").parse().expect("an event id");
        match number % 3 {
            0 => event.user_id = user("Ann"),
            1 => event.room_id = "Room".parse().expect("a room id"),
            _ => event.kind = "open_chest_".parse().expect("a task kind"),
        }
    }
    let outcomes = record(&store, &events).await;
    assert_eq!(outcomes, vec![EventOutcome::Accepted; events.len()]);
    assert_eq!(quantity(&store, &contest, &ann).await, ids.len() as u64);
}

// clause 1
// hazard: I4
async fn of_many_pushes_of_one_event_one_is_accepted<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let ann = paid_at_opening(&store, &contest).await;
    let one = event("one", &contest, 7, now(&store).await.plus(-5));
    let calls = (0..CROWD).map(|_| {
        let (events, one) = (store.events(), [one.clone()]);
        async move {
            events
                .record(&sender("game"), &one)
                .await
                .expect("an answer")
        }
    });
    let outcomes = at_once(calls).await.concat();
    let of = |outcome| outcomes.iter().filter(|other| **other == outcome).count();
    assert_eq!(
        (of(EventOutcome::Accepted), of(EventOutcome::Duplicate)),
        (1, CROWD - 1)
    );
    assert_eq!(quantity(&store, &contest, &ann).await, 7);
}

// clause 2
async fn an_event_counts_for_every_contest_that_it_fits<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let mut contests = Vec::new();
    for phase in [
        PhaseKind::Draft,
        PhaseKind::Running,
        PhaseKind::Funding,
        PhaseKind::Preparing,
    ] {
        let contest = contest_in(phase, time);
        insert(&store, &contest).await;
        contests.push(contest);
    }
    let mut elsewhere = contest_in(PhaseKind::Draft, time);
    elsewhere.terms.room_id = "elsewhere".parse().expect("a room id");
    let mut other_kind = contest_in(PhaseKind::Draft, time);
    other_kind.terms.task.kind = "send_gift".parse().expect("a task kind");
    let mut later = contest_in(PhaseKind::Draft, time);
    later.terms.signup_opens_at = time;
    let mut over = contest_in(PhaseKind::Running, time);
    over.terms.signup_closes_at = time.plus(-10);
    over.terms.tasks_end_at = time.plus(-5);
    let others = [elsewhere, other_kind, later, over];
    for contest in &others {
        insert(&store, contest).await;
    }
    let one = event("one", &contests[0], 2, time.plus(-5));
    assert_eq!(record_one(&store, &one).await, EventOutcome::Accepted);
    for (count, contests) in [(2, &contests[..]), (0, &others[..])] {
        for contest in contests {
            let ann = paid_at_opening(&store, contest).await;
            let fee = receipt(5, time.plus(-2 * HOUR));
            let ann = Signup {
                state: State::InProgress(fee),
                ..ann
            };
            assert_eq!(quantity(&store, contest, &ann).await, count, "{contest:?}");
        }
    }
    // Each judges for itself: the end of one is not the end of the others.
    enter(&store, &contests[1], PhaseKind::Judging).await;
    let two = event("two", &contests[0], 3, time.plus(-4));
    assert_eq!(record_one(&store, &two).await, EventOutcome::Accepted);
    for (contest, count) in contests.iter().zip([5, 2, 5, 5]) {
        let ann = store
            .signups()
            .find(contest.id, &user("ann"))
            .await
            .expect("read");
        let ann = ann.expect("a row");
        assert_eq!(quantity(&store, contest, &ann).await, count);
    }
}

// clauses 1, 2
async fn an_event_of_no_contest_is_kept_and_recognised<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let nowhere = contest_in(PhaseKind::Draft, time);
    let one = event("one", &nowhere, 1, time.plus(-5));
    assert_eq!(record_one(&store, &one).await, EventOutcome::Accepted);
    assert_eq!(record_one(&store, &one).await, EventOutcome::Duplicate);
    let other = TaskEvent { quantity: 2, ..one };
    assert_eq!(record_one(&store, &other).await, EventOutcome::Conflict);
    assert_eq!(record(&store, &[]).await, []);
}

// clauses 2, 3
// hazard: B4
async fn an_event_after_the_judging_began_is_too_late_and_not_kept<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    for &phase in PhaseKind::ALL.iter().filter(|phase| phase.is_past_events()) {
        let mut contest = contest_in(PhaseKind::Running, time);
        contest.terms.signup_closes_at = time.plus(-1);
        contest.terms.tasks_end_at = time;
        contest.terms.room_id = phase.name().parse().expect("a room id");
        insert(&store, &contest).await;
        let ann = paid_at_opening(&store, &contest).await;
        let name = |which: &str| format!("{}.{which}", phase.name());
        let early = event(&name("early"), &contest, 1, time.plus(-5));
        assert_eq!(record_one(&store, &early).await, EventOutcome::Accepted);
        enter(&store, &contest, phase).await;
        let late = event(&name("late"), &contest, 1, time.plus(-5));
        assert_eq!(
            record_one(&store, &late).await,
            EventOutcome::TooLate,
            "{}",
            phase.name()
        );
        // It left no trace: a repeat is no duplicate, other content no conflict.
        assert_eq!(record_one(&store, &late).await, EventOutcome::TooLate);
        let other = TaskEvent {
            quantity: 2,
            ..late.clone()
        };
        assert_eq!(record_one(&store, &other).await, EventOutcome::TooLate);
        assert_eq!(quantity(&store, &contest, &ann).await, 1);
        // Outside the contest's time it would not have counted anyway: it is not too late for it.
        let (opens_at, ends_at) = (contest.terms.signup_opens_at, contest.terms.tasks_end_at);
        for (which, at) in [("before", opens_at.plus(-1)), ("after", ends_at)] {
            let unrelated = event(&name(which), &contest, 1, at);
            assert_eq!(record_one(&store, &unrelated).await, EventOutcome::Accepted);
        }
        for (which, at) in [("first", opens_at), ("last", ends_at.plus(-1))] {
            let late = event(&name(which), &contest, 1, at);
            assert_eq!(record_one(&store, &late).await, EventOutcome::TooLate);
        }
        assert_eq!(quantity(&store, &contest, &ann).await, 1);
    }
}

// clause 2
async fn an_event_of_a_judged_and_a_running_contest_counts_for_one<F: StoreFixture>(store: F) {
    let judged = open_contest(&store).await;
    let running = open_contest(&store).await;
    let in_judged = paid_at_opening(&store, &judged).await;
    let in_running = paid_at_opening(&store, &running).await;
    enter(&store, &judged, PhaseKind::Judging).await;
    let one = event("one", &judged, 1, now(&store).await.plus(-5));
    assert_eq!(record_one(&store, &one).await, EventOutcome::Accepted);
    assert_eq!(record_one(&store, &one).await, EventOutcome::Duplicate);
    assert_eq!(quantity(&store, &running, &in_running).await, 1);
    assert_eq!(quantity(&store, &judged, &in_judged).await, 0);
    enter(&store, &running, PhaseKind::Cancelling).await;
    let two = event("two", &judged, 1, now(&store).await.plus(-5));
    assert_eq!(record_one(&store, &two).await, EventOutcome::TooLate);
}

async fn events_of_another_time_are_not_taken<F: StoreFixture>(store: F) {
    const MARGIN: i64 = 60_000;
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let cases = [
        (-EVENT_AGE_MS_MAX - 1, EventOutcome::TooOld),
        (-400 * 86_400_000, EventOutcome::TooOld),
        (-EVENT_AGE_MS_MAX + MARGIN, EventOutcome::Accepted),
        (0, EventOutcome::Accepted),
        (EVENT_AHEAD_MS_MAX, EventOutcome::Accepted),
        (EVENT_AHEAD_MS_MAX + MARGIN, EventOutcome::TooFarAhead),
        (400 * 86_400_000, EventOutcome::TooFarAhead),
    ];
    for (number, (offset, expected)) in cases.into_iter().enumerate() {
        let one = event(&format!("event-{number}"), &contest, 1, time.plus(offset));
        assert_eq!(
            record_one(&store, &one).await,
            expected,
            "{offset} ms from now"
        );
        let again = match expected {
            EventOutcome::Accepted => EventOutcome::Duplicate,
            // What was not taken left no trace.
            other => other,
        };
        assert_eq!(
            record_one(&store, &one).await,
            again,
            "{offset} ms from now"
        );
    }
}

// clause 4
// hazard: H12
async fn one_bad_event_does_not_touch_the_others<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let ann = paid_at_opening(&store, &contest).await;
    let mut judged = contest_in(PhaseKind::Judging, now(&store).await);
    judged.terms.room_id = "judged".parse().expect("a room id");
    insert(&store, &judged).await;
    let time = now(&store).await.plus(-5);
    let known = event("known", &contest, 1, time);
    assert_eq!(record_one(&store, &known).await, EventOutcome::Accepted);
    let batch = [
        event("one", &contest, 10, time),
        TaskEvent {
            quantity: 2,
            ..known.clone()
        },
        event("two", &contest, 100, time),
        event("old", &contest, 5, time.plus(-EVENT_AGE_MS_MAX)),
        event("late", &judged, 5, time),
        event("ahead", &contest, 5, time.plus(2 * EVENT_AHEAD_MS_MAX)),
        known,
        event("three", &contest, 1_000, time),
    ];
    use EventOutcome::{Accepted, Conflict, Duplicate, TooFarAhead, TooLate, TooOld};
    let expected = [
        Accepted,
        Conflict,
        Accepted,
        TooOld,
        TooLate,
        TooFarAhead,
        Duplicate,
        Accepted,
    ];
    assert_eq!(record(&store, &batch).await, expected);
    assert_eq!(quantity(&store, &contest, &ann).await, 1_111);
}

// clause 4
async fn a_batch_may_repeat_itself<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let ann = paid_at_opening(&store, &contest).await;
    let time = now(&store).await.plus(-5);
    let one = event("one", &contest, 1, time);
    let two = event("two", &contest, 10, time);
    let old = event("old", &contest, 100, time.plus(-EVENT_AGE_MS_MAX));
    let batch = [
        one.clone(),
        one.clone(),
        two.clone(),
        TaskEvent {
            quantity: 2,
            ..one.clone()
        },
        two,
        one,
        // What was not taken leaves its id to what comes after it.
        old.clone(),
        TaskEvent {
            occurred_at: time,
            ..old.clone()
        },
        old,
    ];
    use EventOutcome::{Accepted, Conflict, Duplicate, TooOld};
    let expected = [
        Accepted, Duplicate, Accepted, Conflict, Duplicate, Duplicate, TooOld, Accepted, Conflict,
    ];
    assert_eq!(record(&store, &batch).await, expected);
    assert_eq!(quantity(&store, &contest, &ann).await, 111);
}

// clause 5
async fn what_was_accepted_survives_a_crash<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let ann = paid_at_opening(&store, &contest).await;
    let time = now(&store).await.plus(-500);
    let batch: Vec<_> = (0..50)
        .map(|number| event(&format!("event-{number}"), &contest, 1, time.plus(number)))
        .collect();
    assert_eq!(
        record(&store, &batch).await,
        vec![EventOutcome::Accepted; batch.len()]
    );
    let before = progress(&store, &contest, &ann).await;

    let store = store.reopen().await;
    let after = progress(&store, &contest, &ann).await;
    assert_eq!(
        (after.quantity, after.met_at),
        (before.quantity, before.met_at)
    );
    assert_eq!(
        record(&store, &batch).await,
        vec![EventOutcome::Duplicate; batch.len()]
    );
}

// clause 6
async fn whoever_something_was_accepted_for_is_ranked_once<F: StoreFixture>(store: F) {
    let one = open_contest(&store).await;
    let other = open_contest(&store).await;
    // The second one opens a little later: from then on the events fit both.
    let at = other.terms.signup_opens_at.plus(10);
    let of_bob = TaskEvent {
        user_id: user("bob"),
        ..event("b1", &one, 1, at)
    };
    let batch = [
        event("a1", &one, 1, at),
        event("a2", &one, 1, at.plus(1)),
        of_bob,
        // Of no contest: nobody's place changes.
        TaskEvent {
            room_id: "elsewhere".parse().expect("a room id"),
            ..event("x1", &one, 1, at)
        },
    ];
    record(&store, &batch).await;
    let taken = store.outbox().take(None, 99).await.expect("read");
    let mut ranked: Vec<_> = taken
        .iter()
        .map(|entry| {
            assert_eq!(
                (entry.effect, entry.signup_id, entry.version),
                (Effect::Rank, None, 0)
            );
            (entry.contest_id, entry.user_id.clone())
        })
        .collect();
    ranked.sort();
    assert_eq!(other.terms.room_id, one.terms.room_id);
    let both = [&one, &other].into_iter();
    let mut expected: Vec<_> = both
        .flat_map(|contest| ["ann", "bob"].map(|name| (contest.id, user(name))))
        .collect();
    expected.sort();
    assert_eq!(ranked, expected);
    // A repeat is accepted for nobody.
    record(&store, &batch).await;
    assert_eq!(store.outbox().take(None, 99).await.expect("read"), taken);
}
