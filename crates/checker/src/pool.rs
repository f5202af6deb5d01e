//! A pool account in commit order: what came in, what left, and which row explains each coin.

use crate::{
    CheckError,
    orders::{self, OWN_LEGS, own_order, viewer_order},
    report::{Findings, Invariant, Money},
    rows::{Contest, Leg, Transfer},
    tables::Tables,
};
use std::collections::HashMap;

/// What a transfer of the pool account is, by its order id.
enum Kind<'a> {
    Own(&'static str),
    Fee(&'a str),
    Prize(&'a str),
    Refund(&'a str),
    Unknown,
}

/// Walks the pool account and returns its money table.
pub(crate) async fn check(
    source: &mut Tables,
    contest: &Contest,
    legs: &[Leg],
    findings: &mut Findings,
) -> Result<Money, CheckError> {
    let id = &contest.contest_id;
    let mut money = Money::default();
    let Some((account, balance)) = source.account(&orders::pool_account(id)).await? else {
        let needed = !matches!(
            contest.phase.as_str(),
            "preparing" | "cancelling" | "cancelled"
        );
        findings.expect(Invariant::ZeroSum, !needed, || {
            format!("contest {id} is {} without a pool account", contest.phase)
        });
        return Ok(money);
    };
    money.left = balance;
    once_each(source, account, findings, id).await?;
    let own: HashMap<String, &'static str> = OWN_LEGS
        .into_iter()
        .map(|leg| (own_order(leg, id), leg))
        .collect();
    let (mut after, mut held) = (i64::MIN, 0_i128);
    loop {
        let page = source.pool_transfers(account, after).await?;
        let Some(last) = page.last() else { break };
        after = last.position;
        let kinds: Vec<_> = page
            .iter()
            .map(|transfer| kind(contest, transfer, &own))
            .collect();
        for (transfer, kind) in page.iter().zip(&kinds) {
            let inward = transfer.credit == orders::pool_account(id);
            let amount = i128::from(transfer.amount);
            held += if inward { amount } else { -amount };
            findings.expect(Invariant::NoOverpay, held >= 0, || {
                format!(
                    "contest {id}: the pool was at {held} after position {}",
                    transfer.position
                )
            });
            if inward && let Some(closed) = contest.close_position {
                findings.expect(Invariant::ZeroSum, transfer.position <= closed, || {
                    format!(
                        "contest {id}: a credit at position {} after the close at {closed}",
                        transfer.position
                    )
                });
            }
            book(&mut money, kind, inward, transfer.amount);
        }
        if contest.is_terminal() {
            explain(source, contest, legs, &page, &kinds, findings).await?;
        }
    }
    // What no row explains is no more than an operator has accepted.
    let unknown = i128::from(money.unexplained_in) - i128::from(money.unexplained_out);
    let accepted = contest.accepted();
    let is_within = (accepted.min(0)..=accepted.max(0)).contains(&unknown);
    findings.expect(Invariant::ZeroSum, accepted == 0 || is_within, || {
        format!("contest {id}: {unknown} coins came that no row explains, {accepted} are accepted")
    });
    if contest.is_terminal() {
        findings.expect(Invariant::ZeroSum, held == 0 && balance == 0, || {
            format!(
                "contest {id} is {} with {balance} in its pool, {held} by its transfers",
                contest.phase
            )
        });
    }
    Ok(money)
}

/// ONE_CHARGE and ONE_PRIZE by accounts, whatever the order ids say.
async fn once_each(
    source: &mut Tables,
    account: i64,
    findings: &mut Findings,
    id: &str,
) -> Result<(), CheckError> {
    let charged = source.charged_twice(account).await?;
    findings.expect(Invariant::OneCharge, charged.is_empty(), || {
        format!("contest {id}: charged more than once: {charged:?}")
    });
    let paid = source.paid_twice(account).await?;
    findings.expect(Invariant::OnePrize, paid.is_empty(), || {
        format!("contest {id}: paid more than once: {paid:?}")
    });
    Ok(())
}

fn kind<'a>(
    contest: &Contest,
    transfer: &'a Transfer,
    own: &HashMap<String, &'static str>,
) -> Kind<'a> {
    if let Some(leg) = own.get(&transfer.order_id) {
        return Kind::Own(leg);
    }
    let id = &contest.contest_id;
    let is = |leg: &str, user: &str| viewer_order(leg, id, user) == transfer.order_id;
    if let Some(user) = transfer.debit.strip_prefix("user/") {
        return if is("fee", user) {
            Kind::Fee(user)
        } else {
            Kind::Unknown
        };
    }
    let user = match transfer.credit.strip_prefix("user/") {
        Some(user) => Some(user),
        // The memo names the viewer; the order id then proves it.
        None if transfer.credit == "platform/holding" => transfer.memo.split('/').nth(4),
        None => None,
    };
    match user {
        Some(user) if is("prize", user) => Kind::Prize(user),
        Some(user) if is("refund", user) => Kind::Refund(user),
        _ => Kind::Unknown,
    }
}

fn book(money: &mut Money, kind: &Kind<'_>, inward: bool, amount: i64) {
    let line = match (kind, inward) {
        (Kind::Fee(_), true) => &mut money.fees,
        (Kind::Own("guarantee"), true) => &mut money.guarantee,
        (Kind::Own("carry"), true) => &mut money.carry,
        (Kind::Prize(_), false) => &mut money.prizes,
        (Kind::Refund(_), false) => &mut money.refunds,
        (Kind::Own("rake"), false) => &mut money.rake,
        (Kind::Own("sweep"), false) => &mut money.sweep,
        (Kind::Own("rollover"), false) => &mut money.rollover,
        (Kind::Own("guarantee_return"), false) => &mut money.guarantee_return,
        (_, true) => &mut money.unexplained_in,
        (_, false) => &mut money.unexplained_out,
    };
    *line += amount;
}

/// Every coin of an ended contest has a row that says so.
async fn explain(
    source: &mut Tables,
    contest: &Contest,
    legs: &[Leg],
    page: &[Transfer],
    kinds: &[Kind<'_>],
    findings: &mut Findings,
) -> Result<(), CheckError> {
    let user = |kind: &Kind<'_>| match kind {
        Kind::Fee(user) | Kind::Prize(user) | Kind::Refund(user) => Some((*user).to_owned()),
        _ => None,
    };
    let users: Vec<String> = kinds.iter().filter_map(user).collect();
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let rows = source.signups_of(&contest.contest_id, &users).await?;
    for (transfer, kind) in page.iter().zip(kinds) {
        // Whether the row's state and amounts agree is held against each signup on its own.
        let explained = match kind {
            Kind::Own(leg) => legs
                .iter()
                .any(|row| row.leg == *leg && row.outcome == "applied"),
            Kind::Fee(user) | Kind::Prize(user) | Kind::Refund(user) => rows.contains_key(*user),
            // It is among what an operator has accepted, and has left with the sweep.
            Kind::Unknown => contest.accepted() != 0,
        };
        findings.expect(Invariant::ZeroSum, explained, || {
            format!(
                "contest {}: no row explains {} from {} to {} at position {}, order {}",
                contest.contest_id,
                transfer.amount,
                transfer.debit,
                transfer.credit,
                transfer.position,
                transfer.order_id
            )
        });
    }
    Ok(())
}
