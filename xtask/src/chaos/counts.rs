//! What store, ledger and Redis counted, each from its own rows: they must agree.

use crate::{clock, stack::Stack};
use anyhow::{Context, Result};
use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};
use test_support::{Redis, Reply};

/// How long what was left to do may take after the contest's end.
const RELAYED_MAX: Duration = Duration::from_secs(60);

/// The store's name of a figure, its query, and the ledger's query for the same.
const TWICE: [(&str, &str, &str); 4] = [
    (
        "fees that were paid",
        "SELECT COUNT(*) FROM signup WHERE fee_position IS NOT NULL",
        "SELECT COUNT(*) FROM transfer t JOIN account d ON d.account_id = t.debit \
         JOIN account c ON c.account_id = t.credit \
         WHERE d.name LIKE 'user/%' AND c.name LIKE 'pool/%'",
    ),
    (
        "coins of fees",
        "SELECT COALESCE(SUM(fee), 0) FROM signup WHERE fee_position IS NOT NULL",
        "SELECT COALESCE(SUM(t.amount), 0) FROM transfer t \
         JOIN account d ON d.account_id = t.debit JOIN account c ON c.account_id = t.credit \
         WHERE d.name LIKE 'user/%' AND c.name LIKE 'pool/%'",
    ),
    (
        "prizes and refunds that viewers got",
        "SELECT COUNT(*) FROM signup WHERE payout_position IS NOT NULL AND payee = 'viewer'",
        "SELECT COUNT(*) FROM transfer t JOIN account d ON d.account_id = t.debit \
         JOIN account c ON c.account_id = t.credit \
         WHERE d.name LIKE 'pool/%' AND c.name LIKE 'user/%'",
    ),
    (
        "coins of prizes and refunds that viewers got",
        "SELECT COALESCE(SUM(IF(state = 'shared', prize, fee)), 0) FROM signup \
         WHERE payout_position IS NOT NULL AND payee = 'viewer'",
        "SELECT COALESCE(SUM(t.amount), 0) FROM transfer t \
         JOIN account d ON d.account_id = t.debit JOIN account c ON c.account_id = t.credit \
         WHERE d.name LIKE 'pool/%' AND c.name LIKE 'user/%'",
    ),
];

/// A figure of a contest's tally, its field in Redis, and how the store's query for the same begins.
const TALLIED: [(&str, &str, &str); 3] = [
    (
        "finishers",
        "f",
        "SELECT COUNT(*) FROM signup WHERE state IN ('completed', 'claiming', 'shared', 'forfeited') AND",
    ),
    (
        "winners",
        "k",
        "SELECT COUNT(*) FROM signup WHERE state = 'shared' AND",
    ),
    (
        "prizes",
        "p",
        "SELECT COALESCE(SUM(prize), 0) FROM signup WHERE state = 'shared' AND",
    ),
];

/// Where they do not agree. The tally of this contest follows within a bound; if `may_be_absent`, Redis may have
/// lost it, and nobody has looked since.
pub(crate) async fn compare(
    stack: &Stack,
    contest: &str,
    may_be_absent: bool,
) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (name, store, ledger) in TWICE {
        let (store, ledger) = (
            stack.count(store).await?,
            stack.count_in_ledger(ledger).await?,
        );
        println!("{name}: {store} in the store, {ledger} in the ledger");
        if store != ledger {
            faults.push(format!(
                "{name}: the store has {store}, the ledger {ledger}"
            ));
        }
    }
    let mut wanted = HashMap::new();
    for (name, _, query) in TALLIED {
        let query = format!("{query} contest_id = UNHEX(REPLACE('{contest}', '-', ''))");
        wanted.insert(name.to_owned(), stack.count(&query).await?);
    }
    let started = Instant::now();
    loop {
        let found = tally(&stack.redis, contest).await?;
        if found.as_ref() == Some(&wanted) {
            println!("the tally in Redis has what the store has: {wanted:?}");
            return Ok(faults);
        }
        if started.elapsed() > RELAYED_MAX || (found.is_none() && may_be_absent) {
            match found {
                None if may_be_absent => println!("Redis has lost the tally since"),
                None => faults.push("Redis has no tally, though it never lost one".to_owned()),
                Some(found) => faults.push(format!(
                    "the tally in Redis is {found:?}, the store has {wanted:?}"
                )),
            }
            return Ok(faults);
        }
        clock::pause(100).await;
    }
}

/// The fields of the tally that are compared; none if there is no tally, or half of one. Its parts
/// are `guafen:tally:PARTS:{CONTEST:PART}:numbers`, each with the epoch that it was built in.
async fn tally(redis: &Redis, contest: &str) -> Result<Option<HashMap<String, i64>>> {
    let mut parts = Vec::new();
    for key in keys(redis, &format!("guafen:tally:*:{{{contest}:*}}:numbers")).await? {
        let count = key.split(':').nth(2).and_then(|count| count.parse().ok());
        let fields = pairs(redis.command(&["HGETALL", &key]).await?);
        parts.push((count.unwrap_or(0), fields));
    }
    Ok(sum(&parts))
}

/// The sum of the parts, if all are there and of one epoch.
fn sum(parts: &[(usize, HashMap<String, String>)]) -> Option<HashMap<String, i64>> {
    let (count, first) = parts.first()?;
    let epoch = first.get("e")?;
    let is_whole = parts.len() == *count
        && parts
            .iter()
            .all(|(parts, fields)| parts == count && fields.get("e") == Some(epoch));
    if !is_whole {
        return None;
    }
    let total = |field: &str| -> Option<i64> {
        let numbers = parts.iter().map(|(_, fields)| match fields.get(field) {
            Some(number) => number.parse::<i64>().ok(),
            None => Some(0),
        });
        numbers.sum()
    };
    TALLIED
        .iter()
        .map(|(name, field, _)| Some(((*name).to_owned(), total(field)?)))
        .collect()
}

async fn keys(redis: &Redis, pattern: &str) -> Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    let mut cursor = "0".to_owned();
    loop {
        let scan = ["SCAN", &cursor, "MATCH", pattern, "COUNT", "1000"];
        let reply = redis.command(&scan).await?;
        let Reply::List(parts) = reply else {
            anyhow::bail!("SCAN was answered {reply:?}");
        };
        if let Some(Reply::List(found)) = parts.get(1) {
            keys.extend(found.iter().filter_map(Reply::text).map(str::to_owned));
        }
        cursor = parts
            .first()
            .and_then(Reply::text)
            .context("SCAN without a cursor")?
            .to_owned();
        if cursor == "0" {
            return Ok(keys);
        }
    }
}

fn pairs(reply: Reply) -> HashMap<String, String> {
    let Reply::List(items) = reply else {
        return HashMap::new();
    };
    items
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            [key, value] => Some((key.text()?.to_owned(), value.text()?.to_owned())),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(count: usize, fields: &[(&str, &str)]) -> (usize, HashMap<String, String>) {
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        (count, fields.iter().map(text).collect())
    }

    #[test]
    fn a_tally_is_the_sum_of_all_its_parts_of_one_epoch() {
        let one = part(2, &[("e", "7"), ("f", "3"), ("k", "2"), ("p", "20")]);
        let other = part(2, &[("e", "7"), ("f", "1")]);
        let all = sum(&[one.clone(), other]).expect("a tally");
        assert_eq!(all.get("finishers"), Some(&4));
        assert_eq!(all.get("winners"), Some(&2));
        assert_eq!(all.get("prizes"), Some(&20));
        assert_eq!(sum(std::slice::from_ref(&one)), None, "half of it");
        assert_eq!(sum(&[one, part(2, &[("e", "8")])]), None, "two epochs");
        assert_eq!(sum(&[]), None);
    }
}
