//! What is always true, by name. The names are used in tests, alarms and docs.

use crate::{
    contest::{Contest, LegOutcome, Phase},
    due::{Step, due},
    money::Coins,
    order::{Leg, OrderId, OwnLeg},
    settlement::Totals,
    signup::{Payee, Signup, State, StateKind},
    time::UnixMillis,
    transfer::Transfer,
};
use std::collections::{BTreeMap, BTreeSet};

crate::terms::choice! {
    /// One invariant of the system.
    Invariant {
        /// At most one successful fee transfer for a (contest, user).
        OneCharge = "ONE_CHARGE",
        /// A signup at Paid or beyond has exactly one successful fee transfer of its fee.
        PaidMeansPaid = "PAID_MEANS_PAID",
        /// At most one successful prize transfer for a signup, of exactly its prize; never a prize
        /// and a refund.
        OnePrize = "ONE_PRIZE",
        /// prizes + rake + refunds + sweep + rollover + guarantee_return ≤ fees + guarantee + carry.
        NoOverpay = "NO_OVERPAY",
        /// A Closed or Cancelled contest's pool account is at 0 and every coin has a transfer.
        ZeroSum = "ZERO_SUM",
        /// Pool, count and weight sum never change after the freeze, and equal the sums over the
        /// signups that have completed.
        FrozenOnce = "FROZEN_ONCE",
        /// States and phases move only along the tables.
        ForwardOnly = "FORWARD_ONLY",
        /// With all dependencies up, no signup stays in a state whose step is due.
        NoLimbo = "NO_LIMBO",
        /// After a rebuild the tally equals the rows; before it, it never exceeds them.
        TallyTrue = "TALLY_TRUE",
        /// No prize is sent before the freeze, nor, unless the terms pay unclaimed prizes, for a
        /// signup that was not yet Claiming when the claim window ended.
        NoEarlyPrize = "NO_EARLY_PRIZE",
    }
}

/// One invariant that does not hold, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: Invariant,
    /// The evidence.
    pub evidence: String,
}

/// Everything that is known of one contest, read when nothing was under way.
#[derive(Clone, Copy, Debug)]
pub struct Books<'a> {
    /// The contest.
    pub contest: &'a Contest,
    /// All its signups.
    pub signups: &'a [Signup],
    /// All transfers of its pool account.
    pub transfers: &'a [Transfer],
    /// What the pool account holds.
    pub balance: Coins,
}

/// Every violation that the books of a contest show. `now` is used for NO_LIMBO alone.
#[must_use]
pub fn check(books: Books<'_>, now: UnixMillis) -> Vec<Violation> {
    let mut found = Vec::new();
    let by_order: BTreeMap<_, Vec<&Transfer>> =
        books
            .transfers
            .iter()
            .fold(BTreeMap::new(), |mut map, transfer| {
                map.entry(transfer.order_id)
                    .or_insert_with(Vec::new)
                    .push(transfer);
                map
            });
    for signup in books.signups {
        let of = |leg: Leg| by_order.get(&leg.order_id()).map_or(&[][..], Vec::as_slice);
        let (contest, user) = (signup.contest_id, signup.user_id.clone());
        let fees = of(Leg::Fee(contest, user.clone()));
        let prizes = of(Leg::Prize(contest, user.clone()));
        let refunds = of(Leg::Refund(contest, user));
        check_signup(signup, fees, prizes, refunds, &mut found);
        // What stands under its order and came from elsewhere is nobody's to return.
        let asked = signup.fee_content();
        let is_theirs =
            |fee: &&Transfer| (&fee.content.from, &fee.content.to) == (&asked.from, &asked.to);
        if signup.state == State::Expired && fees.iter().any(is_theirs) {
            report(
                &mut found,
                Invariant::ZeroSum,
                format!("{} is expired and paid", signup.id),
            );
        }
        let step = due(signup, books.contest, now);
        let waits = matches!(step, Step::Rest)
            || (step == Step::ReadProgress && !books.contest.phase.kind().is_past_events());
        if !waits {
            report(
                &mut found,
                Invariant::NoLimbo,
                format!("{} has {step:?} due", signup.id),
            );
        }
    }
    check_pool(books, &mut found);
    check_freeze(books, &mut found);
    found
}

fn report(found: &mut Vec<Violation>, invariant: Invariant, evidence: String) {
    found.push(Violation {
        invariant,
        evidence,
    });
}

fn check_signup(
    signup: &Signup,
    fees: &[&Transfer],
    prizes: &[&Transfer],
    refunds: &[&Transfer],
    found: &mut Vec<Violation>,
) {
    let id = signup.id;
    if fees.len() > 1 {
        report(
            found,
            Invariant::OneCharge,
            format!("{id} was charged {} times", fees.len()),
        );
    }
    let is_paid = signup.state.kind().is_paid();
    if is_paid && !matches!(fees, [fee] if fee.content == signup.fee_content()) {
        report(
            found,
            Invariant::PaidMeansPaid,
            format!("{id} is {} without its fee", signup.state.kind().name()),
        );
    }
    if prizes.len() > 1 || refunds.len() > 1 || (!prizes.is_empty() && !refunds.is_empty()) {
        report(
            found,
            Invariant::OnePrize,
            format!("{id}: {} prizes, {} refunds", prizes.len(), refunds.len()),
        );
    }
    let (paid_out, kind) = match signup.state.kind() {
        StateKind::Refunding | StateKind::Refunded => (refunds, "refund"),
        _ => (prizes, "prize"),
    };
    let expected = signup.payment().map_or(Coins::ZERO, |(_, amount)| amount);
    let asked = |transfer: &&Transfer| {
        Payee::ALL
            .iter()
            .any(|payee| transfer.content == signup.payment_content(*payee, expected))
    };
    if !paid_out.iter().all(asked) {
        report(
            found,
            Invariant::OnePrize,
            format!("{id}: its {kind} is not {expected} to its viewer or to holding"),
        );
    }
    let must_be_paid = match &signup.state {
        State::Shared(_, _, _, prize, _) => !prize.is_zero(),
        State::Refunded(..) => true,
        _ => false,
    };
    if must_be_paid && paid_out.is_empty() {
        report(
            found,
            Invariant::ZeroSum,
            format!("{id} is {} without a {kind}", signup.state.kind().name()),
        );
    }
    if !prizes.is_empty() && !matches!(signup.state.kind(), StateKind::Claiming | StateKind::Shared)
    {
        report(
            found,
            Invariant::NoEarlyPrize,
            format!("{id} was paid a prize while {}", signup.state.kind().name()),
        );
    }
}

fn check_pool(books: Books<'_>, found: &mut Vec<Violation>) {
    let pool = books.contest.pool_account();
    let sum = |inwards: bool| {
        let amounts = books.transfers.iter().filter(|transfer| {
            let side = if inwards {
                &transfer.content.to
            } else {
                &transfer.content.from
            };
            *side == pool
        });
        amounts
            .map(|transfer| u128::from(transfer.content.amount.get()))
            .sum::<u128>()
    };
    let (came, left) = (sum(true), sum(false));
    if left > came {
        report(
            found,
            Invariant::NoOverpay,
            format!("{came} came in, {left} left"),
        );
    }
    if came.checked_sub(left) != Some(books.balance.get().into()) {
        report(
            found,
            Invariant::ZeroSum,
            format!("{came} in, {left} out, but {} held", books.balance),
        );
    }
    let ended = books.contest.phase.kind().is_terminal();
    if ended && !books.balance.is_zero() {
        report(
            found,
            Invariant::ZeroSum,
            format!("over, with {} left in the pool", books.balance),
        );
    }
    for leg in OwnLeg::ALL {
        let transfers: Vec<_> = books
            .transfers
            .iter()
            .filter(|transfer| transfer.order_id == Leg::Own(leg, books.contest.id).order_id())
            .collect();
        let expected = books.contest.legs.get(&leg);
        let agrees = match (transfers.as_slice(), expected) {
            ([], None) => true,
            ([], Some(state)) => {
                !matches!(state.outcome, LegOutcome::Applied(_)) && !ended
                    || state.outcome == LegOutcome::Void
            }
            ([one], Some(state)) => {
                let asked = books.contest.own_transfer(leg);
                asked.is_some_and(|(_, content)| content == one.content)
                    && state.outcome != LegOutcome::Void
            }
            _ => false,
        };
        if !agrees {
            report(
                found,
                Invariant::ZeroSum,
                format!("own leg {} is not as recorded", leg.name()),
            );
        }
    }
    check_explained(books, found);
}

/// Every transfer has a row or an own leg that it is the order of; what it moves is compared there.
fn check_explained(books: Books<'_>, found: &mut Vec<Violation>) {
    let mut explained: BTreeSet<OrderId> = OwnLeg::ALL
        .into_iter()
        .map(|leg| Leg::Own(leg, books.contest.id).order_id())
        .collect();
    for signup in books.signups {
        explained.insert(signup.fee_order());
        explained.extend(signup.payment().map(|(leg, _)| leg.order_id()));
    }
    let orphans = books
        .transfers
        .iter()
        .filter(|transfer| !explained.contains(&transfer.order_id));
    // No more than an operator has accepted.
    let pool = books.contest.pool_account();
    let came = orphans.clone().map(|orphan| {
        let amount = i128::from(orphan.content.amount.as_i64());
        if orphan.content.to == pool {
            amount
        } else {
            -amount
        }
    });
    let (came, accepted) = (came.sum::<i128>(), i128::from(books.contest.stops.accepted));
    if accepted != 0 && (accepted.min(0)..=accepted.max(0)).contains(&came) {
        return;
    }
    for orphan in orphans {
        report(
            found,
            Invariant::ZeroSum,
            format!("no row explains order {}", orphan.order_id),
        );
    }
}

fn check_freeze(books: Books<'_>, found: &mut Vec<Violation>) {
    let finishers = || {
        books.signups.iter().filter(|signup| {
            matches!(
                signup.state.kind(),
                StateKind::Completed
                    | StateKind::Claiming
                    | StateKind::Shared
                    | StateKind::Forfeited
            )
        })
    };
    let Some((totals, _)) = books.contest.phase.frozen() else {
        if finishers().any(|signup| signup.state.prize().is_some()) {
            report(
                found,
                Invariant::NoEarlyPrize,
                "a prize before the freeze".to_owned(),
            );
        }
        return;
    };
    let Totals {
        pool,
        finishers: count,
        weight_sum,
        ..
    } = *totals.get();
    let weights: u128 = finishers()
        .filter_map(|signup| signup.state.weight())
        .map(|w| u128::from(w.get()))
        .sum();
    if finishers().count() as u64 != count || weights != weight_sum {
        report(
            found,
            Invariant::FrozenOnce,
            format!(
                "frozen {count} finishers of weight {weight_sum}, rows show {} of {weights}",
                finishers().count()
            ),
        );
    }
    let shared: u128 = finishers()
        .filter_map(|signup| signup.state.prize())
        .map(|p| u128::from(p.get()))
        .sum();
    if shared > u128::from(pool.get()) {
        report(
            found,
            Invariant::NoOverpay,
            format!("prizes of {shared} from a pool of {pool}"),
        );
    }
    if let Phase::Closed(_) = books.contest.phase
        && books.signups.iter().any(|signup| {
            matches!(
                signup.state.kind(),
                StateKind::Completed | StateKind::Claiming | StateKind::Refunding
            )
        })
    {
        report(
            found,
            Invariant::NoLimbo,
            "closed with payments open".to_owned(),
        );
    }
}
