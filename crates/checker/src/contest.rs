//! One contest: its phase, its own legs, its signups page by page, its pool account.

use crate::{
    CheckError,
    freeze::{Sums, is_finisher},
    judged::{is_judged, judged},
    moves,
    orders::{counterparty, is_incoming, own_order, pool_account},
    pool,
    report::{ContestReport, Findings, Invariant},
    rows::{Contest, Leg},
    signup::{Case, Orders, is_paid},
    tables::Tables,
};
use std::collections::HashMap;

/// Checks one contest and returns its part of the report.
pub(crate) async fn check(
    source: &mut Tables,
    contest: &Contest,
    at_rest: bool,
    findings: &mut Findings,
) -> Result<ContestReport, CheckError> {
    let id = &contest.contest_id;
    let history = source.contest_history(id).await?;
    let followed = moves::follow(
        &history,
        "preparing",
        moves::contest_may_become,
        (&contest.phase, contest.version),
    );
    findings.expect(Invariant::ForwardOnly, followed.is_ok(), || {
        followed
            .err()
            .map_or_else(String::new, |broken| format!("contest {id} {broken}"))
    });
    findings.expect(
        Invariant::NoLimbo,
        contest.is_terminal() || !at_rest,
        || format!("contest {id} is {} and does not end", contest.phase),
    );
    let legs = source.legs(id).await?;
    let mut report = ContestReport {
        contest_id: id.clone(),
        phase: contest.phase.clone(),
        signups: 0,
        paid: 0,
        finishers: 0,
        money: pool::check(source, contest, &legs, findings).await?,
    };
    let sums = signups(source, contest, &mut report, findings).await?;
    let lines = source.sheet_lines(id).await?;
    sums.compare(contest, lines, findings);
    check_legs(source, contest, &legs, &sums, findings).await?;
    Ok(report)
}

async fn signups(
    source: &mut Tables,
    contest: &Contest,
    report: &mut ContestReport,
    findings: &mut Findings,
) -> Result<Sums, CheckError> {
    let id = &contest.contest_id;
    let mut sums = Sums::start(contest, findings);
    let mut after = String::new();
    loop {
        let page = source.signups_after(id, &after).await?;
        let Some(last) = page.last() else {
            return Ok(sums);
        };
        after.clone_from(&last.signup_id);
        let orders: Vec<_> = page
            .iter()
            .map(|signup| Orders::of(id, &signup.user_id))
            .collect();
        let wanted = orders
            .iter()
            .flat_map(|orders| [&orders.fee, &orders.prize, &orders.refund]);
        let transfers = source.transfers(wanted.map(String::as_str)).await?;
        let histories = source.histories(&page).await?;
        let sheet = source.sheet(id, &page).await?;
        let done = if is_judged(contest) {
            source.done(contest, &page).await?
        } else {
            HashMap::new()
        };
        for (signup, orders) in page.iter().zip(&orders) {
            report.signups += 1;
            report.paid += u64::from(is_paid(&signup.state));
            report.finishers += u64::from(is_finisher(&signup.state));
            let history = histories
                .get(&signup.signup_id)
                .map_or(&[][..], Vec::as_slice);
            let decided_upto = source.decided_upto;
            Case {
                contest,
                signup,
                orders,
                transfers: &transfers,
                history,
                decided_upto,
            }
            .check(findings);
            if is_judged(contest) {
                judged(contest, signup, done.get(&signup.signup_id), findings);
            }
            sums.take(contest, signup, sheet.get(&signup.signup_id), findings);
        }
    }
}

/// The contest's own legs: as fixed by the terms and the frozen numbers, and as in the ledger.
async fn check_legs(
    source: &mut Tables,
    contest: &Contest,
    legs: &[Leg],
    sums: &Sums,
    findings: &mut Findings,
) -> Result<(), CheckError> {
    let id = &contest.contest_id;
    let derived: Vec<_> = legs.iter().map(|leg| own_order(&leg.leg, id)).collect();
    let transfers = source.transfers(derived.iter().map(String::as_str)).await?;
    for (leg, order) in legs.iter().zip(&derived) {
        let found = transfers.get(order);
        let as_sent = found.is_none_or(|transfer| {
            let pool = pool_account(id);
            let other = counterparty(&leg.leg, contest.series_id.as_deref()).unwrap_or_default();
            let (from, to) = if is_incoming(&leg.leg) {
                (other, pool)
            } else {
                (pool, other)
            };
            transfer.debit == from && transfer.credit == to && transfer.amount == leg.amount
        });
        let as_told = match leg.outcome.as_str() {
            "applied" => found.is_some_and(|transfer| {
                leg.position == Some(transfer.position)
                    && leg.applied_at == Some(transfer.applied_at)
            }),
            "void" => found.is_none(),
            _ => true,
        };
        findings.expect(
            Invariant::ZeroSum,
            leg.order_id == *order && as_sent && as_told,
            || {
                format!(
                    "contest {id}: {} of {} is {}, the ledger has {found:?}",
                    leg.leg, leg.amount, leg.outcome
                )
            },
        );
        findings.expect(
            Invariant::NoLimbo,
            leg.outcome != "pending" || !contest.is_terminal(),
            || {
                format!(
                    "contest {id} is {} with its {} pending",
                    contest.phase, leg.leg
                )
            },
        );
    }
    for (leg, amount) in expected_legs(contest, legs, sums) {
        let stored = legs
            .iter()
            .find(|row| row.leg == leg)
            .map_or(0, |row| i128::from(row.amount));
        findings.expect(Invariant::ZeroSum, stored == amount, || {
            format!("contest {id}: {leg} is {stored}, it must be {amount}")
        });
    }
    Ok(())
}

/// The legs that a contest must have in its phase; those that may still come are left out.
fn expected_legs(contest: &Contest, legs: &[Leg], sums: &Sums) -> Vec<(&'static str, i128)> {
    let applied = |name: &str| {
        let leg = legs
            .iter()
            .find(|leg| leg.leg == name && leg.outcome == "applied");
        leg.map_or(0, |leg| i128::from(leg.amount))
    };
    let mut expected = vec![
        ("guarantee", i128::from(contest.guaranteed_pool)),
        ("carry", i128::from(contest.carry)),
    ];
    match contest.phase.as_str() {
        "listing" | "claimable" | "closed" => {
            expected.push(("rake", i128::from(contest.rake.unwrap_or(0))));
            expected.push((
                "guarantee_return",
                i128::from(contest.guarantee_return.unwrap_or(0)),
            ));
            if contest.phase == "closed" {
                let (sweep, rollover) = sums.leftover(contest);
                expected.extend([("sweep", sweep), ("rollover", rollover)]);
            }
        }
        "cancelled" => expected.extend([
            ("rake", 0),
            ("sweep", contest.accepted().max(0)),
            ("guarantee_return", applied("guarantee")),
            ("rollover", applied("carry")),
        ]),
        _ => {}
    }
    expected
}
