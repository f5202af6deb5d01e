//! Every pair of a signup's state and a fact, with its outcome spelled out.
// hazard: B9, B10

mod common;

use common::signups::{all_samples, fact_label, facts, fee, label, signup, two};
use common::{coins, contest_id, done, weight};
use domain::{
    order::Leg,
    signup::{Fact, FeeTry, PayTry, Payee, Payment, Signup, State, StateKind, TransitionError},
    transfer::Refusal,
};
use std::collections::BTreeSet;

/// The allowed moves: from a state, by a fact, to a state. Whatever is not listed is refused.
const ALLOWED: &[(&str, &[(&str, &str)])] = &[
    ("initialized not_sent", UNREFUSED),
    ("initialized unknown", UNREFUSED),
    (
        "initialized refused",
        &[
            ("sign_up_asked", "initialized unknown"),
            ("fee_applied", "paid"),
            ("fee_refused", "initialized refused"),
            ("fee_not_sent", "initialized not_sent"),
            ("fee_unknown", "initialized unknown"),
            ("fee_not_found", "initialized refused"),
            ("fee_cannot_arrive", "expired"),
            ("fee_overridden moved", "refunding viewer not_sent"),
            ("fee_overridden nothing", "expired"),
        ],
    ),
    (
        "paid",
        &[
            ("task_assigned", "in_progress"),
            ("task_unanswered", "paid"),
            ("fee_returned", "refunding viewer not_sent"),
        ],
    ),
    (
        "in_progress",
        &[
            ("task_met 3 provisional", "completed 3 provisional"),
            ("task_met 3 fixed", "completed 3 fixed"),
            ("task_met 5 provisional", "completed 5 provisional"),
            ("task_met 5 fixed", "completed 5 fixed"),
            ("task_open", "in_progress"),
            ("task_missed", "missed"),
            ("fee_returned", "refunding viewer not_sent"),
        ],
    ),
    (
        "completed 3 provisional",
        &[
            ("task_met 3 provisional", "completed 3 provisional"),
            ("task_met 3 fixed", "completed 3 fixed"),
            ("task_met 5 provisional", "completed 5 provisional"),
            ("task_met 5 fixed", "completed 5 fixed"),
            ("task_open", "completed 3 provisional"),
            ("fee_returned", "refunding viewer not_sent"),
        ],
    ),
    (
        "completed 5 provisional",
        &[
            ("task_met 3 provisional", "completed 3 provisional"),
            ("task_met 3 fixed", "completed 3 fixed"),
            ("task_met 5 provisional", "completed 5 provisional"),
            ("task_met 5 fixed", "completed 5 fixed"),
            ("task_open", "completed 5 provisional"),
            ("fee_returned", "refunding viewer not_sent"),
        ],
    ),
    (
        "completed 3 fixed",
        &[
            (
                "prize_drawn own weight 2 prize 7 Viewer",
                "claiming 7 viewer not_sent",
            ),
            (
                "prize_drawn own weight 2 prize 7 House",
                "claiming 7 viewer not_sent",
            ),
            (
                "prize_drawn own weight 2 prize 0 House",
                "claiming 0 viewer not_sent",
            ),
            ("claims_ended", "forfeited 3"),
            ("fee_returned", "refunding viewer not_sent"),
        ],
    ),
    (
        "completed 5 fixed",
        &[
            ("claims_ended", "forfeited 5"),
            ("fee_returned", "refunding viewer not_sent"),
        ],
    ),
    ("missed", &[("fee_returned", "refunding viewer not_sent")]),
    ("expired", &[("fee_applied", "refunding viewer not_sent")]),
    ("shared 7 viewer", &[]),
    ("shared 7 holding", &[]),
    ("shared 0 none", &[]),
    ("forfeited 3", &[]),
    ("forfeited 5", &[]),
    ("refunded viewer", &[]),
    ("refunded holding", &[]),
];

const UNREFUSED: &[(&str, &str)] = &[
    ("sign_up_asked", "initialized unknown"),
    ("fee_applied", "paid"),
    ("fee_refused", "initialized refused"),
    ("fee_not_sent", "initialized not_sent"),
    ("fee_unknown", "initialized unknown"),
    ("fee_not_found", "initialized not_sent"),
    ("fee_cannot_arrive", "expired"),
    ("fee_overridden moved", "refunding viewer not_sent"),
    ("fee_overridden nothing", "expired"),
];

/// The allowed moves of a payment that is under way, the same for prizes and refunds: payee, last
/// try and fact, to payee and last try.
const PAYING: &[(&str, &[(&str, &str)])] = &[
    ("viewer not_sent", UNDER_WAY_TO_VIEWER),
    ("viewer unknown", UNDER_WAY_TO_VIEWER),
    (
        "viewer parked",
        &[
            ("payment_refused", "viewer parked"),
            ("payment_not_sent", "viewer not_sent"),
            ("payment_unknown", "viewer unknown"),
            ("payment_not_found", "viewer parked"),
            ("retry_asked", "viewer unknown"),
            ("redirect_asked", "holding unknown"),
        ],
    ),
    ("holding not_sent", UNDER_WAY_TO_HOLDING),
    ("holding unknown", UNDER_WAY_TO_HOLDING),
    (
        "holding parked",
        &[
            ("payment_refused", "holding parked"),
            ("payment_not_sent", "holding not_sent"),
            ("payment_unknown", "holding unknown"),
            ("payment_not_found", "holding parked"),
            ("retry_asked", "holding unknown"),
            ("redirect_asked", "holding unknown"),
        ],
    ),
];

const UNDER_WAY_TO_VIEWER: &[(&str, &str)] = &[
    ("payment_refused", "viewer parked"),
    ("payment_not_sent", "viewer not_sent"),
    ("payment_unknown", "viewer unknown"),
    ("payment_not_found", "viewer not_sent"),
];

const UNDER_WAY_TO_HOLDING: &[(&str, &str)] = &[
    ("payment_refused", "holding parked"),
    ("payment_not_sent", "holding not_sent"),
    ("payment_unknown", "holding unknown"),
    ("payment_not_found", "holding not_sent"),
];

/// Whichever payee's transfer applied ends the payment; that is recorded. A prize of 0 has no
/// transfer that could apply.
const PAID_OUT: &[(&str, &str, &str)] = &[
    ("claiming 7", "payment_applied viewer", "shared 7 viewer"),
    ("claiming 7", "payment_applied holding", "shared 7 holding"),
    ("claiming 0", "nothing_to_pay", "shared 0 none"),
    ("refunding", "payment_applied viewer", "refunded viewer"),
    ("refunding", "payment_applied holding", "refunded holding"),
];

/// The state's label after the fact's, by the tables above; none where the move is refused.
fn expected(state: &str, fact: &str) -> Option<String> {
    if let Some((_, moves)) = ALLOWED.iter().find(|(from, _)| *from == state) {
        let allowed = moves.iter().find(|(by, _)| *by == fact);
        return allowed.map(|(_, to)| (*to).to_owned());
    }
    let legs = ["claiming 7", "claiming 0", "refunding"];
    let leg = legs
        .into_iter()
        .find(|leg| state.starts_with(leg))
        .expect("a row of the table");
    if let Some((.., to)) = PAID_OUT
        .iter()
        .find(|(of, by, _)| *of == leg && *by == fact)
    {
        return Some((*to).to_owned());
    }
    let payment = &state[leg.len() + 1..];
    let row = PAYING
        .iter()
        .find(|(from, _)| *from == payment)
        .expect("a row of the table");
    row.1
        .iter()
        .find(|(by, _)| *by == fact)
        .map(|(_, to)| format!("{leg} {to}"))
}

const UNANSWERED: [&str; 5] = [
    "fee_not_sent",
    "fee_unknown",
    "task_unanswered",
    "payment_not_sent",
    "payment_unknown",
];

/// Applies `fact` in `state` and compares the whole signup, not its state alone.
fn check(state: &State, fact: &Fact, moves: &mut BTreeSet<(StateKind, StateKind)>) {
    let (from, by) = (label(state), fact_label(fact));
    let before = Signup {
        tries: 3,
        ..signup(state.clone())
    };
    let outcome = before.clone().apply(fact.clone());
    let Some(wanted) = expected(&from, &by) else {
        let refused = TransitionError {
            state: state.kind(),
            fact: fact.name(),
        };
        assert_eq!(outcome, Err(refused), "{from} + {by}");
        return;
    };
    let next = all_samples()
        .into_iter()
        .find(|sample| label(sample) == wanted);
    let next = next.unwrap_or_else(|| panic!("{from} + {by}: no sample is called {wanted}"));
    moves.insert((state.kind(), next.kind()));
    let unanswered = UNANSWERED.contains(&&*by);
    let tries = match (state.kind() == next.kind(), unanswered) {
        (true, true) => 4,
        (true, false) => 3,
        (false, _) => 0,
    };
    assert_eq!(
        outcome,
        Ok(Signup {
            state: next,
            tries,
            ..before
        }),
        "{from} + {by}"
    );
}

#[test]
fn every_pair_of_state_and_fact_has_its_outcome() {
    let (states, facts) = (all_samples(), facts());
    let labels: BTreeSet<_> = states.iter().map(label).collect();
    assert_eq!(
        labels.len(),
        states.len(),
        "each state has a label of its own"
    );
    let labels: BTreeSet<_> = facts.iter().map(fact_label).collect();
    assert_eq!(
        labels.len(),
        facts.len(),
        "each fact has a label of its own"
    );
    let names: BTreeSet<_> = facts.iter().map(Fact::name).collect();
    assert_eq!(names.len(), 24, "each fact has a sample");
    let mut moves = BTreeSet::new();
    for state in &states {
        for fact in &facts {
            check(state, fact, &mut moves);
        }
    }
    assert_eq!((states.len(), facts.len()), (36, 33));
    assert_forward_only(&moves);
}

/// The column *ends in* of domain.md.
const FOLLOWS: &[(StateKind, &[StateKind])] = &[
    (
        StateKind::Initialized,
        &[StateKind::Paid, StateKind::Expired, StateKind::Refunding],
    ),
    (
        StateKind::Paid,
        &[StateKind::InProgress, StateKind::Refunding],
    ),
    (
        StateKind::InProgress,
        &[
            StateKind::Completed,
            StateKind::Missed,
            StateKind::Refunding,
        ],
    ),
    (
        StateKind::Completed,
        &[
            StateKind::Claiming,
            StateKind::Forfeited,
            StateKind::Refunding,
        ],
    ),
    (StateKind::Claiming, &[StateKind::Shared]),
    (StateKind::Shared, &[]),
    (StateKind::Missed, &[StateKind::Refunding]),
    (StateKind::Forfeited, &[]),
    (StateKind::Expired, &[StateKind::Refunding]),
    (StateKind::Refunding, &[StateKind::Refunded]),
    (StateKind::Refunded, &[]),
];

/// FORWARD_ONLY: `apply` makes exactly the moves of domain.md, and `may_become` names them.
fn assert_forward_only(moves: &BTreeSet<(StateKind, StateKind)>) {
    for from in StateKind::ALL {
        let row = FOLLOWS
            .iter()
            .find(|(kind, _)| kind == from)
            .expect("a row for each state");
        for to in StateKind::ALL {
            let listed = row.1.contains(to);
            assert_eq!(
                from.may_become(*to),
                listed,
                "{from:?} -> {to:?} by may_become"
            );
            let made = from != to && moves.contains(&(*from, *to));
            assert_eq!(made, listed, "{from:?} -> {to:?} by apply");
        }
    }
}

#[test]
fn the_last_refusal_is_the_one_that_stands() {
    let other = Refusal::PastNotAfter;
    let refused = signup(State::Initialized(FeeTry::Refused(
        Refusal::InsufficientBalance,
    )))
    .apply(Fact::FeeRefused(other))
    .expect("an allowed fact");
    assert_eq!(refused.state, State::Initialized(FeeTry::Refused(other)));
    for payee in Payee::ALL {
        let last_try = PayTry::Parked(Refusal::UnknownAccount);
        let payment = Payment {
            payee: *payee,
            last_try,
        };
        let refund = signup(State::Refunding(fee(), coins(10), payment))
            .apply(Fact::PaymentRefused(other))
            .expect("an allowed fact");
        let parked = Payment {
            payee: *payee,
            last_try: PayTry::Parked(other),
        };
        assert_eq!(refund.state, State::Refunding(fee(), coins(10), parked));
    }
}

#[test]
fn what_really_moved_goes_back_and_nothing_else() {
    let moved = Fact::FeeOverridden(Some((fee(), coins(4))));
    let blocked = signup(State::Initialized(FeeTry::Unknown));
    let refunding = blocked.apply(moved).expect("an allowed fact");
    let refund = Leg::Refund(refunding.contest_id, refunding.user_id.clone());
    assert_eq!(refunding.payment(), Some((refund, coins(4))));
    assert_eq!(refunding.fee_content().amount, coins(4));
    assert_eq!(refunding.fee, coins(10), "what was asked for stays");
    let returned = signup(State::Paid(fee()));
    let returned = returned.apply(Fact::FeeReturned).expect("an allowed fact");
    assert_eq!(
        returned.payment().map(|(_, amount)| amount),
        Some(coins(10))
    );
}

// hazard: A2
#[test]
fn what_was_not_sent_when_it_was_written_reads_back_as_unknown() {
    for state in all_samples() {
        let wanted = label(&state).replace("not_sent", "unknown");
        assert_eq!(label(&signup(state).recalled().state), wanted);
    }
}

#[test]
fn what_a_state_knows_is_what_is_in_it() {
    for state in all_samples() {
        let label = label(&state);
        let paid = !label.starts_with("initialized") && label != "expired";
        assert_eq!(state.fee_receipt(), paid.then(fee), "{label}");
        assert_eq!(state.kind().is_paid(), paid, "{label}");
        let has = |kinds: &[&str]| kinds.iter().any(|kind| label.starts_with(kind));
        let finished = has(&["completed", "claiming", "shared", "forfeited"]);
        let quantity = if has(&["completed 5", "forfeited 5"]) {
            5
        } else {
            3
        };
        assert_eq!(
            state.achievement(),
            finished.then(|| done(quantity)),
            "{label}"
        );
        let fixed = finished && !label.ends_with("provisional");
        let weight = if quantity == 5 { weight(5) } else { two() };
        assert_eq!(state.weight(), fixed.then_some(weight), "{label}");
        let drawn = has(&["claiming", "shared"]);
        let prize = if has(&["claiming 7", "shared 7"]) {
            7
        } else {
            0
        };
        assert_eq!(state.prize(), drawn.then(|| coins(prize)), "{label}");
        let payment = if drawn && label != "shared 0 none" {
            Some((memo("prize"), prize))
        } else {
            has(&["refund"]).then(|| (memo("refund"), 10))
        };
        assert_eq!(
            signup(state)
                .payment()
                .map(|(leg, amount)| (leg.memo(), amount.get())),
            payment,
            "{label}"
        );
    }
}

fn memo(leg: &str) -> String {
    format!("guafen/1/{leg}/{}/user-1/0", contest_id())
}

#[test]
fn facts_that_say_wait_are_those_without_an_answer_or_an_end() {
    let waiting = [
        "task_open",
        "task_met 3 provisional",
        "task_met 5 provisional",
    ];
    for fact in facts() {
        let label = fact_label(&fact);
        let is_unanswered = UNANSWERED.contains(&&*label);
        assert_eq!(fact.is_unanswered(), is_unanswered, "{label}");
        assert_eq!(
            fact.says_wait(),
            is_unanswered || waiting.contains(&&*label),
            "{label}"
        );
    }
}

#[test]
fn errors_name_the_state_and_the_fact() {
    let error = signup(State::Expired)
        .apply(Fact::TaskOpen)
        .expect_err("expired is over");
    assert_eq!(
        error.to_string(),
        "task_open is not possible while the signup is expired"
    );
}
