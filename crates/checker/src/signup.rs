//! One signup held against its transfers and its history.

use crate::{
    moves::{self, Line},
    orders::{pool_account, user_account, viewer_order},
    report::{Findings, Invariant},
    rows::{Contest, HistoryLine, Signup, Transfer},
};
use std::collections::HashMap;

/// A signup's derived orders.
pub(crate) struct Orders {
    pub(crate) fee: String,
    pub(crate) prize: String,
    pub(crate) refund: String,
}

impl Orders {
    pub(crate) fn of(contest: &str, user: &str) -> Self {
        let order = |leg| viewer_order(leg, contest, user);
        Self {
            fee: order("fee"),
            prize: order("prize"),
            refund: order("refund"),
        }
    }
}

/// Everything that is held against each other for one signup.
pub(crate) struct Case<'a> {
    pub(crate) contest: &'a Contest,
    pub(crate) signup: &'a Signup,
    pub(crate) orders: &'a Orders,
    pub(crate) transfers: &'a HashMap<String, Transfer>,
    pub(crate) history: &'a [HistoryLine],
    /// Transfers up to here had been decided in the rows that were read.
    pub(crate) decided_upto: i64,
}

/// True once the fee is known to have been paid.
pub(crate) fn is_paid(state: &str) -> bool {
    !matches!(state, "initialized" | "expired")
}

/// True for the fee of the terms, or for one of the tiers where there are any.
fn is_a_fee(contest: &Contest, fee: i64) -> bool {
    match &contest.fee_tiers {
        None => fee == contest.fee,
        Some(tiers) => serde_json::from_str::<Vec<i64>>(tiers)
            .is_ok_and(|tiers| tiers.contains(&contest.fee) && tiers.contains(&fee)),
    }
}

/// What the fee's order moved: the fee, but where an operator has overridden that it was not the fee, which
/// then goes back.
fn fee_moved(signup: &Signup) -> i64 {
    let is_returned = matches!(signup.state.as_str(), "refunding" | "refunded");
    signup.moved.filter(|_| is_returned).unwrap_or(signup.fee)
}

impl Case<'_> {
    pub(crate) fn check(&self, findings: &mut Findings) {
        self.fee(findings);
        self.payout(findings);
        self.prize_in_time(findings);
        let lines: Vec<_> = self
            .history
            .iter()
            .map(|line| Line {
                version: line.version,
                state: line.state.clone(),
            })
            .collect();
        let row = (self.signup.state.as_str(), self.signup.version);
        // A row that was lost is made again as expired, to give back a fee that the ledger has.
        let was_lost = lines.first().is_some_and(|line| line.state == "expired")
            && self.transfers.contains_key(&self.orders.fee);
        let first = if was_lost { "expired" } else { "initialized" };
        let followed = moves::follow(&lines, first, moves::signup_may_become, row);
        let id = &self.signup.signup_id;
        findings.expect(Invariant::ForwardOnly, followed.is_ok(), || {
            followed
                .err()
                .map_or_else(String::new, |broken| format!("{id} {broken}"))
        });
        if self.contest.is_terminal() {
            let due = matches!(
                self.signup.state.as_str(),
                "initialized" | "paid" | "in_progress" | "completed" | "claiming" | "refunding"
            ) && self.signup.last_try.as_deref() != Some("parked");
            findings.expect(Invariant::NoLimbo, !due, || {
                format!(
                    "{id} is {} in a contest that is {}",
                    self.signup.state, self.contest.phase
                )
            });
        }
    }

    fn fee(&self, findings: &mut Findings) {
        let Self {
            contest,
            signup,
            orders,
            ..
        } = self;
        let id = &signup.signup_id;
        let fee = self.transfers.get(&orders.fee);
        findings.expect(
            Invariant::PaidMeansPaid,
            signup.fee_order_id == orders.fee,
            || {
                format!(
                    "{id} has fee order {}, it must be {}",
                    signup.fee_order_id, orders.fee
                )
            },
        );
        findings.expect(
            Invariant::PaidMeansPaid,
            is_a_fee(contest, signup.fee),
            || {
                format!(
                    "{id} has a fee of {}, the terms say {} of {:?}",
                    signup.fee, contest.fee, contest.fee_tiers
                )
            },
        );
        if signup.state == "expired" {
            // What stands under its order and came from elsewhere is nobody's to return.
            let is_theirs = fee.is_some_and(|fee| {
                fee.debit == user_account(&signup.user_id)
                    && fee.credit == pool_account(&contest.contest_id)
            });
            findings.expect(Invariant::ZeroSum, !is_theirs, || {
                format!("{id} is expired, but its fee was paid")
            });
        }
        if !is_paid(&signup.state) {
            return;
        }
        let right = fee.is_some_and(|fee| {
            fee.debit == user_account(&signup.user_id)
                && fee.credit == pool_account(&contest.contest_id)
                && fee.amount == fee_moved(signup)
                && signup.fee_position == Some(fee.position)
                && signup.paid_at == Some(fee.applied_at)
        });
        findings.expect(Invariant::PaidMeansPaid, right, || {
            let (at, position) = (signup.paid_at, signup.fee_position);
            format!(
                "{id} is {} with a fee of {} at {position:?}, {at:?}; {}",
                signup.state,
                signup.fee,
                shown(fee)
            )
        });
    }

    /// The prize or the refund that was made.
    fn payout(&self, findings: &mut Findings) {
        let Self { signup, orders, .. } = self;
        let id = &signup.signup_id;
        let (prize, refund) = (
            self.transfers.get(&orders.prize),
            self.transfers.get(&orders.refund),
        );
        findings.expect(
            Invariant::OnePrize,
            prize.is_none() || refund.is_none(),
            || format!("{id} received a prize and a refund"),
        );
        if let Some(claim) = &signup.claim_order_id {
            let right = if matches!(signup.state.as_str(), "refunding" | "refunded") {
                &orders.refund
            } else {
                &orders.prize
            };
            findings.expect(Invariant::OnePrize, claim == right, || {
                format!("{id} has claim order {claim}, it must be {right}")
            });
        }
        let owes_prize = signup.state == "shared" && signup.prize.unwrap_or(0) > 0;
        if owes_prize {
            findings.expect(Invariant::ZeroSum, prize.is_some(), || {
                format!("{id} is shared, but no prize was paid")
            });
            findings.expect(Invariant::OnePrize, signup.claim_order_id.is_some(), || {
                format!("{id} is shared without a claim order")
            });
        }
        if signup.state == "refunded" {
            findings.expect(Invariant::ZeroSum, refund.is_some(), || {
                format!("{id} is refunded, but nothing was paid back")
            });
        }
        if let Some(paid) = prize {
            self.paid(paid, signup.prize.unwrap_or(0), "shared", findings);
        }
        if let Some(paid) = refund {
            self.paid(paid, fee_moved(signup), "refunded", findings);
            let state = signup.state.as_str();
            let known =
                paid.position > self.decided_upto || matches!(state, "refunding" | "refunded");
            findings.expect(Invariant::OnePrize, known, || {
                format!("{id} was refunded while {state}")
            });
        }
    }

    /// A payment's content and receipt.
    fn paid(&self, paid: &Transfer, amount: i64, ended: &str, findings: &mut Findings) {
        let Self {
            contest, signup, ..
        } = self;
        let ended = signup.state == ended;
        let user = user_account(&signup.user_id);
        let receiver = match (ended, signup.payee.as_deref()) {
            (true, Some("holding")) => paid.credit == "platform/holding",
            (true, _) => paid.credit == user,
            // Under way it may just have been redirected.
            (false, _) => paid.credit == user || paid.credit == "platform/holding",
        };
        let receipt = signup.payout_position == Some(paid.position)
            && signup.payout_at == Some(paid.applied_at);
        // A row that is still behind the ledger has no amount of another payment to compare.
        let behind = !ended && paid.position > self.decided_upto;
        let right = behind
            || (paid.debit == pool_account(&contest.contest_id)
                && receiver
                && paid.amount == amount
                && (receipt || !ended));
        findings.expect(Invariant::OnePrize, right, || {
            format!(
                "{} is {} with {amount} due at {:?}, {:?} to {:?}; {}",
                signup.signup_id,
                signup.state,
                signup.payout_position,
                signup.payout_at,
                signup.payee,
                shown(Some(paid))
            )
        });
    }

    fn prize_in_time(&self, findings: &mut Findings) {
        let Self {
            contest,
            signup,
            orders,
            ..
        } = self;
        let id = &signup.signup_id;
        if let Some(prize) = self.transfers.get(&orders.prize)
            && (prize.position <= self.decided_upto || contest.is_terminal())
        {
            let frozen = contest
                .frozen_at
                .is_some_and(|frozen_at| prize.applied_at >= frozen_at);
            findings.expect(Invariant::NoEarlyPrize, frozen, || {
                format!(
                    "{id} was paid its prize at {}, frozen at {:?}",
                    prize.applied_at, contest.frozen_at
                )
            });
            let claimed = matches!(signup.state.as_str(), "claiming" | "shared");
            findings.expect(Invariant::NoEarlyPrize, claimed, || {
                format!("{id} was paid a prize while {}", signup.state)
            });
        }
        if contest.claim_mode == "automatic" || contest.unclaimed == "pay" {
            return;
        }
        let Some(claimable_at) = contest.claimable_at else {
            return;
        };
        let late_end = claimable_at + contest.claim_closes_at - contest.tasks_end_at;
        let end = contest.claim_closes_at.max(late_end);
        if let Some(claim) = self.history.iter().find(|line| line.state == "claiming") {
            findings.expect(Invariant::NoEarlyPrize, claim.at < end, || {
                format!(
                    "{id} was claimed at {}, the window ended at {end}",
                    claim.at
                )
            });
        }
    }
}

/// A transfer, for evidence.
fn shown(transfer: Option<&Transfer>) -> String {
    transfer.map_or_else(
        || "the ledger has no such transfer".to_owned(),
        |t| {
            format!(
                "the ledger has {} from {} to {} at {}, {}",
                t.amount, t.debit, t.credit, t.position, t.applied_at
            )
        },
    )
}
