//! The suite of [`ports::tasks::Tasks`] as this store keeps it: what accepted events add up to.
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use super::{event, paid_at_opening, progress, record, record_one, sender};
use crate::{
    fixture::{
        StoreFixture, apply, decided, decision, enter, insert, new_signup, now, open_contest, put,
        put_all, stored,
    },
    samples::{CROWD, Dice, HOUR, all_states, contest_in, receipt, user},
};
use domain::{
    contest::{Contest, PhaseKind},
    signup::{Signup, State},
    time::UnixMillis,
};
use ports::{
    signups::Enrolled,
    store::Committed,
    tasks::{Assigned, EventOutcome, PROGRESS_MAX, TaskEvent},
};
use std::sync::Arc;

crate::suite::suite! { events_progress_suite in events::progress:
    a_task_can_be_assigned_again,
    what_was_done_before_paying_or_after_the_end_does_not_count,
    the_target_is_met_when_the_sum_reaches_it_in_event_time,
    progress_does_not_depend_on_the_order_of_arrival,
    events_are_kept_before_the_fee_is_known_to_have_been_paid,
    progress_is_answered_in_the_order_of_the_question,
    progress_is_final_once_it_says_so,
    an_event_is_in_every_judgement_or_in_none,
}

// Tasks, clause 1
// hazard: B18
async fn a_task_can_be_assigned_again<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let ann = paid_at_opening(&store, &contest).await;
    let before = progress(&store, &contest, &ann).await;
    for _ in 0..3 {
        assert_eq!(
            store.tasks().assign(&contest, &ann).await,
            Assigned::Assigned
        );
    }
    let after = progress(&store, &contest, &ann).await;
    assert_eq!((before.quantity, before.met_at), (0, None));
    assert_eq!((after.quantity, after.met_at), (0, None));
}

// Tasks, clause 2
// hazard: B5
async fn what_was_done_before_paying_or_after_the_end_does_not_count<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let mut contest = contest_in(PhaseKind::Running, time);
    contest.terms.signup_closes_at = time.plus(-200);
    contest.terms.tasks_end_at = time.plus(-100);
    insert(&store, &contest).await;
    let (opens_at, ends_at) = (contest.terms.signup_opens_at, contest.terms.tasks_end_at);
    let mut fee = receipt(5, time);
    fee.applied_at = opens_at.plus(1_000);
    let ann = put(&store, &contest, user("ann"), State::InProgress(fee)).await;
    // Every second one counts: the first and the last moment of the range, and one within.
    let moments = [
        opens_at.plus(-1),
        opens_at,
        fee.applied_at.plus(-1),
        fee.applied_at,
        fee.applied_at.plus(1),
        ends_at.plus(-1),
        ends_at,
        ends_at.plus(1),
    ];
    for (number, at) in moments.into_iter().enumerate() {
        let one = event(&format!("event-{number}"), &contest, 1 << number, at);
        assert_eq!(record_one(&store, &one).await, EventOutcome::Accepted);
    }
    let answer = progress(&store, &contest, &ann).await;
    assert_eq!(answer.quantity, 0b0011_1000);
    assert_eq!(answer.met_at, Some(fee.applied_at));
    // Before the opening nothing counts, should the fee (by another clock) have applied earlier.
    fee.applied_at = opens_at.plus(-HOUR);
    let early = Signup {
        state: State::InProgress(fee),
        ..ann.clone()
    };
    assert_eq!(
        progress(&store, &contest, &early).await.quantity,
        0b0011_1110
    );
    // A fee that applied at the end leaves no time.
    fee.applied_at = ends_at;
    let late = Signup {
        state: State::InProgress(fee),
        ..ann
    };
    let answer = progress(&store, &contest, &late).await;
    assert_eq!((answer.quantity, answer.met_at), (0, None));
}

// Tasks, clause 3
async fn the_target_is_met_when_the_sum_reaches_it_in_event_time<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    assert_eq!(contest.terms.task.target, 3);
    let ann = paid_at_opening(&store, &contest).await;
    let time = now(&store).await;
    // (id, quantity, when), in the order of arrival, and when the target is met after it.
    let steps = [
        ("a", 2, -100, None),
        ("b", 2, -10, Some(-10)),
        // Something earlier comes late: it was met earlier than it seemed.
        ("c", 1, -50, Some(-50)),
        ("d", 1, -90, Some(-90)),
        // Even earlier, and by itself enough.
        ("e", 3, -200, Some(-200)),
        // What comes after changes nothing.
        ("f", 9, -1, Some(-200)),
    ];
    let mut sum = 0;
    for (id, quantity, since, met) in steps {
        let one = event(id, &contest, quantity, time.plus(since));
        assert_eq!(record_one(&store, &one).await, EventOutcome::Accepted);
        sum += quantity;
        let answer = progress(&store, &contest, &ann).await;
        assert_eq!(answer.quantity, sum);
        assert_eq!(
            answer.met_at,
            met.map(|since| time.plus(since)),
            "after {id}"
        );
    }
}

/// What the events of one viewer add up to, by the words of the clauses.
fn model(target: u64, events: &[TaskEvent]) -> (u64, Option<UnixMillis>) {
    let mut in_time = events.to_vec();
    in_time.sort_by_key(|event| (event.occurred_at, event.event_id.clone()));
    let (mut sum, mut met_at) = (0, None);
    for event in in_time {
        sum += event.quantity;
        if sum >= target && met_at.is_none() {
            met_at = Some(event.occurred_at);
        }
    }
    (sum, met_at)
}

// Tasks, clauses 2, 3
async fn progress_does_not_depend_on_the_order_of_arrival<F: StoreFixture>(store: F) {
    let mut dice = Dice::cast();
    let time = now(&store).await;
    let mut events = Vec::new();
    for round in 0..6 {
        let mut contest = contest_in(PhaseKind::Running, time);
        contest.terms.room_id = format!("room-{round}").parse().expect("a room id");
        contest.terms.task.target = 40;
        insert(&store, &contest).await;
        if round % 3 == 0 {
            // Few different moments, so that many share one.
            let one = |number: usize, dice: &mut Dice| {
                let at = time.plus(-(1 + dice.roll(8) as i64));
                event(
                    &format!("event-{number}"),
                    &contest,
                    1 + dice.roll(6) as u64,
                    at,
                )
            };
            events = (0..24).map(|number| one(number, &mut dice)).collect();
        }
        dice.shuffle(&mut events);
        for (number, event) in events.iter_mut().enumerate() {
            event.room_id.clone_from(&contest.terms.room_id);
            let id = event
                .event_id
                .as_str()
                .split('.')
                .next()
                .expect("a stem")
                .to_owned();
            event.event_id = format!("{id}.{round}").parse().expect("an event id");
            event.user_id = user(if number % 8 == 7 { "bob" } else { "ann" });
        }
        for batch in events.chunks(1 + dice.roll(5)) {
            let outcomes = record(&store, batch).await;
            assert_eq!(outcomes, vec![EventOutcome::Accepted; batch.len()]);
        }
        let ann = paid_at_opening(&store, &contest).await;
        let of_ann: Vec<_> = events
            .iter()
            .filter(|event| event.user_id == ann.user_id)
            .cloned()
            .collect();
        let answer = progress(&store, &contest, &ann).await;
        assert_eq!((answer.quantity, answer.met_at), model(40, &of_ann));
    }
}

// TaskEvents, clause 2
// hazard: B5
async fn events_are_kept_before_the_fee_is_known_to_have_been_paid<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let push = async |id: &str, since: i64| {
        let one = event(id, &contest, 1, time.plus(since));
        assert_eq!(record_one(&store, &one).await, EventOutcome::Accepted);
    };
    // Before there is a row, and while nobody knows whether it is paid.
    push("a", -400).await;
    let made = new_signup(&contest, user("ann"), time);
    let enrolled = store
        .signups()
        .enroll(&made, None)
        .await
        .expect("an answer");
    assert_eq!(enrolled, Enrolled::Inserted);
    push("b", -300).await;
    push("c", -200).await;
    let unpaid = progress(&store, &contest, &made).await;
    assert_eq!((unpaid.quantity, unpaid.met_at), (0, None));
    // The fee turns out to have applied between the first and the second of them.
    let mut fee = receipt(5, time);
    fee.applied_at = time.plus(-350);
    let paid = apply(&store, decision(&made, State::Paid(fee))).await;
    push("d", -100).await;
    let answer = progress(&store, &contest, &paid).await;
    assert_eq!((answer.quantity, answer.met_at), (3, Some(time.plus(-100))));
    // In every paid state the answer is the same.
    for state in all_states(time) {
        let signup = Signup {
            state,
            ..paid.clone()
        };
        if let Some(receipt) = signup.state.fee_receipt() {
            let later = Contest { ..contest.clone() };
            let answer = progress(&store, &later, &signup).await;
            let counts = receipt.applied_at <= time.plus(-350);
            assert_eq!(answer.quantity, if counts { 3 } else { 0 });
        }
    }
}

// the clauses of `progress` itself
async fn progress_is_answered_in_the_order_of_the_question<F: StoreFixture>(store: F) {
    let mut dice = Dice::cast();
    let contest = open_contest(&store).await;
    let time = now(&store).await;
    let fee = receipt(5, contest.terms.signup_opens_at);
    let mut expected = Vec::new();
    let mut events = Vec::new();
    let viewer = |number| user(&format!("viewer-{number}"));
    let working = (0..CROWD).map(|number| (&contest, viewer(number), State::InProgress(fee)));
    for (number, signup) in put_all(&store, working).await.into_iter().enumerate() {
        // Every fourth did nothing.
        let quantity = if number % 4 == 0 { 0 } else { number as u64 };
        if quantity > 0 {
            let one = event(
                &format!("event-{number}"),
                &contest,
                quantity,
                time.plus(-5),
            );
            events.push(TaskEvent {
                user_id: signup.user_id.clone(),
                ..one
            });
        }
        expected.push((signup, quantity));
    }
    assert_eq!(
        record(&store, &events).await,
        vec![EventOutcome::Accepted; events.len()]
    );
    dice.shuffle(&mut expected);
    // The same one may be asked for more than once.
    expected.push(expected[0].clone());
    let (signups, quantities): (Vec<_>, Vec<_>) = expected.into_iter().unzip();
    assert!(signups.len() <= PROGRESS_MAX);
    let answers = store
        .tasks()
        .progress(&contest, &signups)
        .await
        .expect("read");
    let read: Vec<u64> = answers.iter().map(|answer| answer.quantity).collect();
    assert_eq!(read, quantities);
    for (answer, quantity) in answers.iter().zip(&quantities) {
        assert_eq!(
            answer.met_at.is_some(),
            *quantity >= contest.terms.task.target
        );
    }
    assert_eq!(
        store.tasks().progress(&contest, &[]).await.expect("read"),
        []
    );
}

// Tasks, clause 4
// hazard: B4
async fn progress_is_final_once_it_says_so<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    for phase in [
        PhaseKind::Draft,
        PhaseKind::Running,
        PhaseKind::Judging,
        PhaseKind::Claimable,
    ] {
        for ended in [-HOUR, HOUR] {
            let mut contest = contest_in(PhaseKind::Running, time);
            contest.terms.room_id = format!("{}.{ended}", phase.name())
                .parse()
                .expect("a room id");
            contest.terms.signup_opens_at = time.plus(-3 * HOUR);
            contest.terms.signup_closes_at = time.plus(-2 * HOUR);
            contest.terms.tasks_end_at = time.plus(ended);
            insert(&store, &contest).await;
            let ann = paid_at_opening(&store, &contest).await;
            let contest = enter(&store, &contest, phase).await;
            let first = progress(&store, &contest, &ann).await;
            // Whatever comes now, and however late.
            let at = contest.terms.tasks_end_at.min(time).plus(-1);
            let id = format!("{}.{ended}", phase.name());
            let outcome = record_one(&store, &event(&id, &contest, 1, at)).await;
            let second = progress(&store, &contest, &ann).await;
            let counted = second.quantity > first.quantity;
            assert_eq!(counted, outcome == EventOutcome::Accepted, "{id}");
            assert_eq!(counted, !phase.is_past_events(), "{id}");
            let is_final = first.complete_until >= contest.terms.tasks_end_at;
            assert!(
                !(is_final && counted),
                "{id}: final, and then something came"
            );
            // Once judging is stored and the end is past, it has to be final: settling waits for it.
            assert_eq!(is_final, phase.is_past_events() && ended < 0, "{id}");
        }
    }
}

/// Events race the step into judging: each is either in the first answer after it and in all
/// later ones, or is told that it came too late.
// TaskEvents, clause 3; Tasks, clause 4
// hazard: B4
async fn an_event_is_in_every_judgement_or_in_none<F: StoreFixture>(store: F) {
    let time = now(&store).await;
    let mut contest = contest_in(PhaseKind::Running, time);
    contest.terms.signup_closes_at = time.plus(-200);
    contest.terms.tasks_end_at = time.plus(-100);
    insert(&store, &contest).await;
    let ann = paid_at_opening(&store, &contest).await;
    let store = Arc::new(store);
    let phase = contest_in(PhaseKind::Judging, time).phase;
    let judging = decided(&Contest {
        phase,
        ..contest.clone()
    });
    let judge = {
        let (store, contest, ann) = (Arc::clone(&store), contest.clone(), ann.clone());
        async move {
            // Some come before it, some after.
            while progress(&*store, &contest, &ann).await.quantity < 16 {
                tokio::task::yield_now().await;
            }
            let answer = store.contests().commit(judging).await.expect("an answer");
            assert_eq!(answer, Committed::Applied);
            progress(&*store, &contest, &ann).await
        }
    };
    let judged = tokio::spawn(judge);
    let calls = (0..CROWD).map(|number| {
        let events = store.events();
        let one = [event(
            &format!("event-{number}"),
            &contest,
            1,
            time.plus(-150),
        )];
        async move {
            events
                .record(&sender("game"), &one)
                .await
                .expect("an answer")
        }
    });
    let outcomes = crate::fixture::at_once(calls).await.concat();
    let at_judging = judged.await.expect("judged");
    let of = |outcome| outcomes.iter().filter(|other| **other == outcome).count();
    let accepted = of(EventOutcome::Accepted);
    assert_eq!(accepted + of(EventOutcome::TooLate), CROWD);
    assert_eq!(at_judging.quantity, accepted as u64);
    assert!(at_judging.complete_until >= contest.terms.tasks_end_at);
    let later = progress(&*store, &contest, &ann).await;
    assert_eq!(
        (later.quantity, later.met_at),
        (at_judging.quantity, at_judging.met_at)
    );
    assert_eq!(
        stored(&*store, &contest).await.phase.kind(),
        PhaseKind::Judging
    );
}
