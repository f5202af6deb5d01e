//! What the look-up of an order means: what applied is recorded, anything else is a conflict, and
//! "not found" is final only at or past the close of credits.
// hazard: A2, A3

mod common;

use common::{CLOSED, absence, coins, contest, contest_id, done, phases_of, receipt};
use common::{signup_id, terms, user, weight};
use domain::{
    contest::{Phase, PhaseKind},
    judge::{Conflict, fee_lookup, payment_lookup},
    order::{Account, Leg},
    signup::{Fact, Paid, Payee, Payment, Signup, State},
    time::UnixMillis,
    transfer::{Content, Position, Transfer},
};

fn signup(state: State) -> Signup {
    let now = UnixMillis(1_200);
    let new = Signup::new(signup_id(1), contest_id(), user(1), coins(10), now);
    Signup { state, ..new }
}

fn transfer(leg: Leg, content: Content) -> Transfer {
    Transfer {
        order_id: leg.order_id(),
        content,
        receipt: receipt(9),
    }
}

/// The same content with each of its three parts changed.
fn others(content: &Content) -> [Content; 3] {
    let stranger = Account::User(user(9));
    let more = content.amount.plus(coins(1)).expect("an amount");
    [
        Content {
            from: stranger.clone(),
            ..content.clone()
        },
        Content {
            to: stranger,
            ..content.clone()
        },
        Content {
            amount: more,
            ..content.clone()
        },
    ]
}

#[test]
fn a_fee_is_what_was_asked_for_or_a_conflict() {
    let signup = signup(State::Expired);
    let fee = |content| transfer(Leg::Fee(contest_id(), user(1)), content);
    for kind in PhaseKind::ALL {
        for phase in phases_of(*kind) {
            let contest = contest(terms(), phase);
            let asked = fee(signup.fee_content());
            let found = fee_lookup(&contest, &signup, Some(asked), Position(0));
            assert_eq!(found, Ok(Fact::FeeApplied(receipt(9))), "{kind:?}");
            for other in others(&signup.fee_content()).map(fee) {
                let found = fee_lookup(&contest, &signup, Some(other.clone()), Position(99));
                assert_eq!(found, Err(Conflict(Box::new(other))), "{kind:?}");
            }
        }
    }
}

#[test]
fn an_absent_fee_can_be_sent_again_until_credits_were_closed() {
    let (again, never) = (Fact::FeeNotFound, Fact::FeeCannotArrive(absence()));
    for (phase, before, after) in [
        (Phase::Draft, &again, &again),
        (phases_of(PhaseKind::Cancelling).remove(0), &again, &again),
        (phases_of(PhaseKind::Cancelling).remove(1), &again, &never),
        (Phase::Running(CLOSED), &again, &never),
        (Phase::Judging(CLOSED), &again, &never),
    ] {
        let contest = contest(terms(), phase);
        for (position, wanted) in [(0, before), (49, before), (50, after), (51, after)] {
            let signup = signup(State::Expired);
            let found = fee_lookup(&contest, &signup, None, Position(position));
            assert_eq!(
                found.as_ref(),
                Ok(wanted),
                "{:?} at {position}",
                contest.phase
            );
        }
    }
}

#[test]
fn a_payment_is_recorded_as_it_applied_whoever_it_was_meant_for() {
    let prize = Leg::Prize(contest_id(), user(1));
    let refund = Leg::Refund(contest_id(), user(1));
    for meant in Payee::ALL {
        let payment = Payment {
            payee: *meant,
            ..Payment::DUE
        };
        let claiming = State::Claiming(receipt(1), done(1), weight(2), coins(7), payment);
        let refunding = State::Refunding(receipt(1), coins(10), payment);
        for (state, leg, amount) in [(claiming, &prize, 7), (refunding, &refund, 10)] {
            let signup = signup(state);
            assert_eq!(payment_lookup(&signup, None), Ok(Fact::PaymentNotFound));
            for payee in Payee::ALL {
                let content = signup.payment_content(*payee, coins(amount));
                let found = payment_lookup(&signup, Some(transfer(leg.clone(), content.clone())));
                let paid = Paid {
                    payee: *payee,
                    receipt: receipt(9),
                };
                assert_eq!(found, Ok(Fact::PaymentApplied(paid)), "{meant:?} {payee:?}");
                for other in others(&content).map(|other| transfer(leg.clone(), other)) {
                    let found = payment_lookup(&signup, Some(other.clone()));
                    assert_eq!(found, Err(Conflict(Box::new(other))), "{meant:?} {payee:?}");
                }
            }
        }
    }
}

#[test]
fn a_transfer_found_for_one_who_is_owed_nothing_is_a_conflict() {
    let signup = signup(State::Expired);
    let content = signup.payment_content(Payee::Viewer, coins(10));
    let found = transfer(Leg::Refund(contest_id(), user(1)), content);
    let conflict = payment_lookup(&signup, Some(found.clone())).expect_err("nothing is owed");
    assert_eq!(*conflict.0, found);
    let wanted = format!(
        "order {} moved 10 from pool/{} to user/user-1, which is not what was asked for",
        found.order_id,
        contest_id()
    );
    assert_eq!(conflict.to_string(), wanted);
}
