//! A viewer's row against what the funds system has: every state of a row with everything that may
//! stand under its orders.

#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use common::{coins, contest, contest_id, receipt, signup_id, signups::samples, terms, user};
use domain::{
    contest::Phase,
    finding::FindingClass,
    order::{Account, Leg, OrderId, Platform},
    reconcile::{Booked, Buckets, Difference, PoolRange, Repair, Seen, booked, viewer},
    signup::{Payee, Signup, State, StateKind},
    time::UnixMillis,
    transfer::{Content, Position, Transfer},
};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// After everything that a sample applied.
const LATER: UnixMillis = UnixMillis(9_000);
/// Before it.
const EARLIER: UnixMillis = UnixMillis(1_000);

fn row(state: State) -> Signup {
    let signup = Signup::new(
        signup_id(1),
        contest_id(),
        user(1),
        coins(10),
        UnixMillis(0),
    );
    Signup { state, ..signup }
}

fn rows() -> Vec<Signup> {
    let states = StateKind::ALL.iter().flat_map(|kind| samples(*kind));
    states.map(row).collect()
}

fn transfer(leg: &Leg, to: Account, amount: u64) -> Transfer {
    let (viewer, pool) = (Account::User(user(1)), Account::Pool(contest_id()));
    let from = if to == pool { viewer } else { pool };
    Transfer {
        order_id: leg.order_id(),
        content: Content {
            from,
            to,
            amount: coins(amount),
        },
        receipt: receipt(60),
    }
}

fn fee_leg() -> Leg {
    Leg::Fee(contest_id(), user(1))
}

fn prize_leg() -> Leg {
    Leg::Prize(contest_id(), user(1))
}

fn refund_leg() -> Leg {
    Leg::Refund(contest_id(), user(1))
}

fn stray(number: u8, to: Account) -> Transfer {
    Transfer {
        order_id: OrderId([number; 16]),
        ..transfer(&fee_leg(), to, 10)
    }
}

/// Nothing, the viewer's, the holding's, and one of another amount.
fn payouts(leg: &Leg, amount: u64) -> Vec<Option<Transfer>> {
    let to = |account, amount| Some(transfer(leg, account, amount));
    vec![
        None,
        to(Account::User(user(1)), amount),
        to(Account::Platform(Platform::Holding), amount),
        to(Account::User(user(1)), amount + 1),
    ]
}

fn fees() -> Vec<Option<Transfer>> {
    let pool = || Account::Pool(contest_id());
    vec![
        None,
        Some(transfer(&fee_leg(), pool(), 10)),
        Some(transfer(&fee_leg(), pool(), 11)),
    ]
}

fn all_seen() -> Vec<Seen> {
    let mut all = Vec::new();
    for fee in fees() {
        for prize in payouts(&prize_leg(), 7) {
            for refund in payouts(&refund_leg(), 10) {
                all.push(Seen {
                    fee: fee.clone(),
                    prize: prize.clone(),
                    refund,
                    strays: Vec::new(),
                });
            }
        }
    }
    all
}

fn judged(row: Option<&Signup>, seen: &Seen, before: UnixMillis) -> Vec<Difference> {
    viewer(
        contest_id(),
        &user(1),
        row,
        seen,
        (Position(u64::MAX), before),
    )
}

fn classes(found: &[Difference]) -> BTreeSet<&'static str> {
    found.iter().map(|found| found.class.name()).collect()
}

/// What the funds system has when it has exactly what the row says.
fn agreeing(row: &Signup) -> Seen {
    let mut seen = Seen::default();
    for Booked {
        order: order_id,
        content,
        ..
    } in booked(row)
    {
        let transfer = Transfer {
            order_id,
            content,
            receipt: receipt(60),
        };
        let place = if order_id == fee_leg().order_id() {
            &mut seen.fee
        } else if order_id == prize_leg().order_id() {
            &mut seen.prize
        } else {
            assert_eq!(order_id, refund_leg().order_id());
            &mut seen.refund
        };
        *place = Some(transfer);
    }
    seen
}

#[test]
fn where_both_sides_say_the_same_there_is_no_difference() {
    for row in rows() {
        let seen = agreeing(&row);
        assert_eq!(judged(Some(&row), &seen, LATER), [], "{row:?}");
    }
    assert_eq!(judged(None, &Seen::default(), LATER), []);
}

#[test]
fn whatever_is_not_what_the_row_says_is_a_difference() {
    for row in rows() {
        let said: BTreeSet<String> = booked(&row)
            .map(|said| format!("{:?}", (said.order, said.content)))
            .collect();
        for seen in all_seen() {
            let there = [&seen.fee, &seen.prize, &seen.refund];
            let there: BTreeSet<String> = there
                .into_iter()
                .flatten()
                .map(|there| format!("{:?}", (there.order_id, there.content.clone())))
                .collect();
            let found = judged(Some(&row), &seen, LATER);
            assert_eq!(
                found.is_empty(),
                said == there,
                "{row:?} {seen:?} {found:?}"
            );
            // One that is told names an order on which the two differ.
            for one in &found {
                let order = format!("{:?}", one.order);
                let holds = |side: &BTreeSet<String>| -> BTreeSet<String> {
                    side.iter()
                        .filter(|text| text.contains(&order))
                        .cloned()
                        .collect()
                };
                assert_ne!(holds(&said), holds(&there), "{one:?}");
            }
        }
    }
}

#[test]
fn what_may_be_on_its_way_is_no_difference_yet() {
    for row in rows() {
        for seen in all_seen() {
            let waiting = [
                FindingClass::FeeUnrecorded,
                FindingClass::PrizeUnrecorded,
                FindingClass::RefundUnrecorded,
            ];
            let mut late = judged(Some(&row), &seen, LATER);
            late.retain(|found| !waiting.contains(&found.class));
            assert_eq!(judged(Some(&row), &seen, EARLIER), late);
        }
    }
}

#[test]
fn a_repair_goes_through_apply_and_mends_what_it_is_for() {
    let mut applied = BTreeSet::new();
    for row in rows() {
        for seen in all_seen() {
            for found in judged(Some(&row), &seen, LATER) {
                match found.repair.clone() {
                    Some(Repair::Apply(fact, _)) => {
                        let kind = row.state.kind();
                        let mended = row.clone().apply(fact).expect("a fact that it allows");
                        let left = judged(Some(&mended), &seen, LATER);
                        assert!(
                            left.iter().all(|left| left.order != found.order),
                            "{found:?} {left:?}"
                        );
                        applied.insert((found.class.name(), kind.name()));
                    }
                    Some(Repair::PayAgain(leg, content)) => {
                        assert_eq!(leg.order_id(), found.order);
                        assert!(
                            booked(&row).any(|said| (said.order, said.content)
                                == (leg.order_id(), content.clone()))
                        );
                    }
                    Some(Repair::Restore(..)) => panic!("the row is there: {found:?}"),
                    None => {}
                }
            }
        }
    }
    assert_eq!(
        applied,
        BTreeSet::from([
            ("FEE_UNRECORDED", "initialized"),
            ("ORPHAN_TRANSFER", "expired"),
            ("PRIZE_UNRECORDED", "claiming"),
            ("REFUND_UNRECORDED", "refunding"),
        ])
    );
}

#[test]
fn what_nobody_has_paid_for_is_never_repaired_by_itself() {
    for row in rows() {
        for seen in all_seen() {
            for found in judged(Some(&row), &seen, LATER) {
                let by_hand = [
                    FindingClass::FeeMissing,
                    FindingClass::AmountDiffers,
                    FindingClass::DuplicateTransfer,
                ];
                if by_hand.contains(&found.class) {
                    assert_eq!(found.repair, None, "{found:?}");
                }
            }
        }
    }
}

#[test]
fn a_fee_without_a_row_is_an_orphan_that_can_be_restored() {
    let fee = transfer(&fee_leg(), Account::Pool(contest_id()), 10);
    let seen = Seen {
        fee: Some(fee),
        ..Seen::default()
    };
    let found = judged(None, &seen, LATER);
    assert_eq!(classes(&found), BTreeSet::from(["ORPHAN_TRANSFER"]));
    assert_eq!(found[0].repair, Some(Repair::Restore(user(1), coins(10))));
}

#[test]
fn a_second_transfer_for_a_leg_is_a_duplicate_and_the_first_of_none_an_orphan() {
    let shared = rows()
        .into_iter()
        .find(|row| matches!(&row.state, State::Shared(.., Some(paid)) if paid.payee == Payee::Viewer))
        .expect("a sample");
    for to in [Account::Pool(contest_id()), Account::User(user(1))] {
        let mut seen = agreeing(&shared);
        seen.strays.push(stray(7, to.clone()));
        let found = judged(Some(&shared), &seen, LATER);
        assert_eq!(classes(&found), BTreeSet::from(["DUPLICATE_TRANSFER"]));
        assert_eq!(found[0].order, OrderId([7; 16]));
        let alone = Seen {
            strays: vec![stray(7, to)],
            ..Seen::default()
        };
        let found = judged(None, &alone, LATER);
        assert_eq!(classes(&found), BTreeSet::from(["ORPHAN_TRANSFER"]));
        assert_eq!(found[0].repair, None);
    }
}

#[test]
fn a_pool_holds_what_the_rows_allow_whatever_was_under_way() {
    let range = |rows: &[Signup]| {
        let mut range = PoolRange::of(&contest(terms(), Phase::Draft), false);
        rows.iter().for_each(|row| range.add(row));
        range
    };
    for row in rows() {
        for seen in all_seen() {
            // What the account holds when it has these transfers and no other.
            let amounts = [(&seen.fee, 1), (&seen.prize, -1), (&seen.refund, -1)];
            let held: i64 = amounts
                .into_iter()
                .filter_map(|(one, sign)| Some(sign * one.as_ref()?.content.amount.as_i64()))
                .sum();
            let pool = Account::Pool(contest_id());
            let surplus: i128 = judged(Some(&row), &seen, LATER)
                .iter()
                .map(|one| one.surplus(&pool))
                .sum();
            let explained = held - i64::try_from(surplus).expect("a small sum");
            let range = range(std::slice::from_ref(&row));
            assert_eq!(range.gap(explained, explained), 0, "{row:?} {seen:?}");
            assert_eq!(range.gap(held - 1_000, held + 1_000), 0);
            // The nearer of the two moments counts, in either order.
            let above = range.gap(held + 1_000, held + 1_000);
            assert!((900..=1_100).contains(&above), "{above}");
            assert_eq!(range.gap(held + 2_000, held + 1_000), above);
            let below = range.gap(held - 1_000, held - 1_000);
            assert!((-1_100..=-900).contains(&below), "{below}");
            assert_eq!(range.gap(held - 1_000, held - 2_000), below);
        }
    }
}

proptest! {
    #[test]
    fn sums_agree_exactly_where_both_sides_hold_the_same(
        number in 1_usize..40,
        orders in prop::collection::vec((any::<[u8; 16]>(), 1_u64..20), 0..40),
        dropped in prop::collection::btree_set(0_usize..40, 0..5),
        seed in any::<u64>(),
    ) {
        let held: Vec<_> = orders
            .iter()
            .map(|(order, amount)| {
                let content = transfer(&fee_leg(), Account::Pool(contest_id()), *amount).content;
                (OrderId(*order), content)
            })
            .collect();
        let mut here = Buckets::new(number);
        held.iter().for_each(|(order, content)| here.add(*order, content));
        // The other side in another order, and without some.
        let mut other: Vec<_> = held.iter().enumerate().collect();
        other.sort_by_key(|(index, _)| (*index as u64).wrapping_mul(seed | 1));
        let mut there = Buckets::new(number);
        let mut expected = BTreeSet::new();
        for (index, (order, content)) in other {
            if dropped.contains(&index) {
                expected.insert(Buckets::of(*order, number));
            } else {
                there.add(*order, content);
            }
        }
        prop_assert_eq!(here.differing(&there), expected.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn an_amount_or_an_account_that_differs_is_seen(amount in 1_u64..1_000, other in 1_u64..1_000) {
        let content = |amount| transfer(&fee_leg(), Account::Pool(contest_id()), amount).content;
        let sums = |content: &Content| {
            let mut sums = Buckets::new(1);
            sums.add(fee_leg().order_id(), content);
            sums
        };
        prop_assert_eq!(sums(&content(amount)) == sums(&content(other)), amount == other);
        let turned = Content { from: content(amount).to, to: content(amount).from, amount: coins(amount) };
        prop_assert_ne!(sums(&content(amount)), sums(&turned));
    }
}

#[test]
fn what_applied_after_the_funds_system_was_read_is_not_missing() {
    for row in rows() {
        for said in booked(&row) {
            let nothing = Seen::default();
            let judged = |at: u64| {
                viewer(
                    contest_id(),
                    &user(1),
                    Some(&row),
                    &nothing,
                    (Position(at), LATER),
                )
            };
            let is_told = |at: u64| judged(at).iter().any(|one| one.order == said.order);
            assert!(is_told(said.position.0), "{row:?}");
            assert!(!is_told(said.position.0 - 1), "{row:?}");
        }
    }
}

#[test]
fn nothing_is_paid_again_to_whom_something_was_paid_under_another_order() {
    let mut again = 0;
    for row in rows() {
        for seen in all_seen() {
            let found = judged(Some(&row), &seen, LATER);
            let pays = found
                .iter()
                .filter(|one| matches!(one.repair, Some(Repair::PayAgain(..))));
            let pool = Account::Pool(contest_id());
            if seen.strays.iter().any(|stray| stray.content.from == pool) {
                assert_eq!(pays.count(), 0, "{row:?} {seen:?}");
            } else {
                again += pays.count();
            }
        }
    }
    assert!(again > 0);
}

#[test]
fn while_payouts_rest_a_claim_explains_nothing() {
    for row in rows() {
        let of = |rest| {
            let mut range = PoolRange::of(&contest(terms(), Phase::Draft), rest);
            range.add(&row);
            range
        };
        let (moving, rest) = (of(false), of(true));
        let kind = row.state.kind();
        let is_paying = matches!(kind, StateKind::Claiming | StateKind::Refunding)
            && row.state.prize().is_none_or(|prize| !prize.is_zero());
        let fee = row.fee.as_i64();
        if is_paying {
            assert_eq!(rest.gap(fee, fee), 0, "{row:?}");
            assert!(rest.gap(fee - 1, fee - 1) < 0, "{row:?}");
            assert_eq!(moving.gap(fee - 1, fee - 1), 0, "{row:?}");
        } else {
            for held in -50..50 {
                assert_eq!(rest.gap(held, held), moving.gap(held, held), "{row:?}");
            }
        }
    }
}
