//! The ledger as a whole: double entry adds up, positions and times rise, order ids are unique.

use crate::{
    CheckError,
    report::{Findings, Invariant, LedgerReport},
    rows::Moved,
    tables::Tables,
};
use std::collections::HashMap;

/// Reads every transfer once, in commit order, and compares each account with the sum of its
/// transfers. Memory grows with the number of accounts, not of transfers.
pub(crate) async fn check(
    source: &mut Tables,
    findings: &mut Findings,
) -> Result<LedgerReport, CheckError> {
    let mut sums: HashMap<i64, i128> = HashMap::new();
    let (mut position, mut time, mut transfers) = (i64::MIN, i64::MIN, 0);
    loop {
        let page = source.moved_after(position).await?;
        if page.is_empty() {
            break;
        }
        for Moved {
            position: at,
            debit,
            credit,
            amount,
            applied_at,
        } in page
        {
            findings.expect(
                Invariant::ZeroSum,
                at > position && applied_at >= time,
                || format!("position {at} at {applied_at} follows position {position} at {time}"),
            );
            (position, time, transfers) = (at, applied_at, transfers + 1);
            *sums.entry(debit).or_default() -= i128::from(amount);
            *sums.entry(credit).or_default() += i128::from(amount);
        }
    }
    let twice = source.repeated().await?;
    findings.expect(Invariant::ZeroSum, twice.is_empty(), || {
        format!("order ids used more than once: {twice:?}")
    });
    let accounts = balances(source, &mut sums, findings).await?;
    Ok(LedgerReport {
        accounts,
        transfers,
    })
}

/// A pool that coins moved through belongs to a contest. Only what was decided before the store was
/// read counts: a contest may be newer than that.
async fn lost_contests(
    source: &mut Tables,
    accounts: &[(i64, String, i64)],
    findings: &mut Findings,
) -> Result<(), CheckError> {
    let pool = |(account, name, balance): &(i64, String, i64)| {
        let contest = name.strip_prefix("pool/")?.to_owned();
        Some((contest, (*account, *balance)))
    };
    let mut pools: HashMap<String, (i64, i64)> = accounts.iter().filter_map(pool).collect();
    for contest in source.existing(pools.keys().map(String::as_str)).await? {
        pools.remove(&contest);
        findings.expect(Invariant::ZeroSum, true, String::new);
    }
    for (contest, (account, balance)) in pools {
        let page = source.pool_transfers(account, i64::MIN).await?;
        let decided = source.decided_upto;
        let first = page.first().filter(|first| first.position <= decided);
        findings.expect(Invariant::ZeroSum, first.is_none(), || {
            format!("pool/{contest} holds {balance}, and there is no such contest in the store")
        });
    }
    Ok(())
}

async fn balances(
    source: &mut Tables,
    sums: &mut HashMap<i64, i128>,
    findings: &mut Findings,
) -> Result<u64, CheckError> {
    let (mut after, mut accounts, mut total) = (i64::MIN, 0, 0_i128);
    loop {
        let page = source.accounts_after(after).await?;
        if page.is_empty() {
            break;
        }
        lost_contests(source, &page, findings).await?;
        for (account, name, balance) in page {
            after = account;
            accounts += 1;
            total += i128::from(balance);
            let moved = sums.remove(&account).unwrap_or(0);
            findings.expect(Invariant::ZeroSum, moved == i128::from(balance), || {
                format!("{name} holds {balance}, its transfers add up to {moved}")
            });
            findings.expect(
                Invariant::NoOverpay,
                balance >= 0 || name == "platform/issuing",
                || format!("{name} is at {balance}"),
            );
        }
    }
    findings.expect(Invariant::ZeroSum, total == 0, || {
        format!("all accounts together hold {total}")
    });
    findings.expect(Invariant::ZeroSum, sums.is_empty(), || {
        format!("{} accounts with transfers are missing", sums.len())
    });
    Ok(accounts)
}
