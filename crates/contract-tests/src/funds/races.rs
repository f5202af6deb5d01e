//! What many callers at once must not be able to break, in any order in which they happen.

use super::{Bank, CROWD, applied, at_once, issuing};
use domain::{
    money::Coins,
    order::Account,
    transfer::{Position, ProofOfAbsence, Refusal, Transfer},
};
use ports::funds::{TransferOutcome, TransferRequest};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

// hazard: A6
pub(super) async fn one_order_sent_many_times_at_once_applies_once(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(100).await, bank.pool().await);
    let request = bank.ask(&ann, &pool, 7);
    let outcomes = bank
        .rush((0..CROWD).map(|_| request.clone()).collect())
        .await;
    let stored = bank
        .find(request.order_id)
        .await
        .expect("an applied transfer");
    for outcome in outcomes {
        assert_eq!(applied(outcome), stored);
    }
    assert_eq!(bank.history(&pool).await, [stored]);
    assert_eq!(
        (bank.balance(&ann).await, bank.balance(&pool).await),
        (93, 7)
    );
}

// hazard: A10
pub(super) async fn one_order_with_many_contents_applies_one_of_them(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(100).await, bank.pool().await);
    let order_id = bank.order();
    let requests: Vec<_> = (0..CROWD)
        .map(|number| TransferRequest {
            order_id,
            ..bank.ask(&ann, &pool, 1 + number % 8)
        })
        .collect();
    let outcomes = bank.rush(requests.clone()).await;
    let stored = bank.find(order_id).await.expect("an applied transfer");
    for (request, outcome) in requests.iter().zip(outcomes) {
        if request.content == stored.content {
            assert_eq!(applied(outcome), stored);
        } else {
            assert_eq!(outcome, TransferOutcome::Conflict);
        }
    }
    assert_eq!(bank.balance(&pool).await, stored.content.amount.as_i64());
}

/// How many applied; the others must have been refused for `reason`.
fn count(outcomes: Vec<TransferOutcome>, reason: Refusal) -> usize {
    let all = outcomes.len();
    let refused = outcomes
        .iter()
        .filter(|one| **one == TransferOutcome::Refused(reason))
        .count();
    let applied = outcomes
        .iter()
        .filter(|one| matches!(one, TransferOutcome::Applied(_)))
        .count();
    assert_eq!(applied + refused, all, "{outcomes:?}");
    applied
}

pub(super) async fn debits_at_once_never_overdraw(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(100).await, bank.pool().await);
    let requests = (0..CROWD).map(|_| bank.ask(&ann, &pool, 3)).collect();
    let applied = count(bank.rush(requests).await, Refusal::InsufficientBalance);
    assert_eq!(applied, 33);
    assert_eq!(
        (bank.balance(&ann).await, bank.balance(&pool).await),
        (1, 99)
    );
    assert_eq!(bank.history(&pool).await.len(), 33);
}

pub(super) async fn credits_at_once_never_exceed_the_largest_amount(bank: &Bank<'_>) {
    let rich = bank.user(Coins::MAX.get() - 10).await;
    let requests = (0..CROWD).map(|_| bank.ask(&issuing(), &rich, 3)).collect();
    assert_eq!(count(bank.rush(requests).await, Refusal::BalanceLimit), 3);
    assert_eq!(bank.balance(&rich).await, Coins::MAX.as_i64() - 1);
}

pub(super) async fn coins_in_a_circle_neither_appear_nor_vanish(bank: &Bank<'_>) {
    let mut circle = Vec::new();
    for _ in 0..5 {
        circle.push(bank.user(4).await);
    }
    let mut requests = Vec::new();
    for round in 0..CROWD as usize {
        let (from, to) = (&circle[round % 5], &circle[(round * 2 + 1) % 5]);
        if from != to {
            requests.push(bank.ask(from, to, 1 + round as u64 % 3));
        }
    }
    count(bank.rush(requests).await, Refusal::InsufficientBalance);
    let mut sum = 0;
    for account in &circle {
        let balance = bank.balance(account).await;
        assert!(balance >= 0);
        assert_eq!(balance, booked(account, &bank.history(account).await));
        sum += balance;
    }
    assert_eq!((sum, bank.balance(&issuing()).await), (20, -20));
}

/// What an account holds after these transfers.
fn booked(account: &Account, transfers: &[Transfer]) -> i64 {
    let signed = |transfer: &Transfer| {
        let amount = transfer.content.amount.as_i64();
        if transfer.content.to == *account {
            amount
        } else {
            -amount
        }
    };
    transfers.iter().map(signed).sum()
}

// hazard: A9
pub(super) async fn credits_that_race_the_close_lie_before_it(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(1_000).await, bank.pool().await);
    let requests: Vec<_> = (0..CROWD).map(|_| bank.ask(&ann, &pool, 1)).collect();
    let orders: Vec<_> = requests.iter().map(|request| request.order_id).collect();
    let closing = async {
        // After some of the credits, not after all; should none arrive, the answers below say so.
        for _ in 0..10_000 {
            if bank.history(&pool).await.len() >= 2 {
                break;
            }
            tokio::task::yield_now().await;
        }
        bank.funds.close_credits(&pool).await.expect("a close")
    };
    let (first, second) = requests.split_at(CROWD as usize / 4);
    let funds = Arc::clone(&bank.funds);
    let stragglers = second.to_vec();
    let one_by_one = tokio::spawn(async move {
        let mut outcomes = Vec::new();
        for request in stragglers {
            outcomes.push(funds.transfer(&request).await);
        }
        outcomes
    });
    let (mut outcomes, closed) = tokio::join!(bank.rush(first.to_vec()), closing);
    outcomes.extend(one_by_one.await.expect("a task that ends"));

    let answer = bank.funds.lookup(&orders).await.expect("an answer");
    assert!(ProofOfAbsence::new(answer.position, closed).is_some());
    for (found, outcome) in answer.found.into_iter().zip(&outcomes) {
        match found {
            Some(transfer) => {
                assert!(transfer.receipt.position <= closed.position);
                assert_eq!(applied(outcome.clone()), transfer);
            }
            None => assert_eq!(*outcome, TransferOutcome::Refused(Refusal::ClosedToCredits)),
        }
    }
    let arrived = count(outcomes, Refusal::ClosedToCredits);
    assert_eq!(
        bank.balance(&pool).await,
        i64::try_from(arrived).expect("a small number")
    );
}

pub(super) async fn closes_at_once_answer_one_position(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(1_000).await, bank.pool().await);
    let closes = (0..CROWD).map(|number| {
        let (funds, pool) = (Arc::clone(&bank.funds), pool.clone());
        let credit = bank.ask(&ann, &pool, 1 + number);
        async move {
            funds.transfer(&credit).await;
            funds.close_credits(&pool).await.expect("a close")
        }
    });
    let answers = at_once(closes).await;
    assert!(
        answers.iter().all(|closed| *closed == answers[0]),
        "{answers:?}"
    );
    for transfer in bank.history(&pool).await {
        assert!(transfer.receipt.position <= answers[0].position);
    }
}

pub(super) async fn accounts_opened_at_once_are_one(bank: &Bank<'_>) {
    let pool = bank.unopened();
    let requests: Vec<_> = (0..CROWD).map(|_| bank.ask(&issuing(), &pool, 1)).collect();
    let opened = at_once(requests.into_iter().map(|credit| {
        let (funds, pool) = (Arc::clone(&bank.funds), pool.clone());
        async move {
            funds.open_account(&pool).await.expect("an open account");
            funds.transfer(&credit).await
        }
    }));
    for outcome in opened.await {
        applied(outcome);
    }
    assert_eq!(bank.balance(&pool).await, 64);
}

// hazard: A3
pub(super) async fn what_a_lookup_did_not_find_applies_later_only_above_it(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(1_000).await, bank.pool().await);
    let requests: Vec<_> = (0..CROWD).map(|_| bank.ask(&ann, &pool, 1)).collect();
    let orders: Vec<_> = requests.iter().map(|request| request.order_id).collect();
    let (funds, sent) = (Arc::clone(&bank.funds), Arc::new(AtomicBool::new(false)));
    let all_sent = Arc::clone(&sent);
    let watching = tokio::spawn(async move {
        // The highest position at which each order was not there, and all that was seen of it.
        let mut absent = vec![Position(0); orders.len()];
        let mut seen: BTreeMap<usize, Transfer> = BTreeMap::new();
        loop {
            let last = all_sent.load(Ordering::SeqCst);
            let answer = funds.lookup(&orders).await.expect("an answer");
            for (place, found) in answer.found.into_iter().enumerate() {
                match found {
                    Some(transfer) => {
                        assert!(transfer.receipt.position <= answer.position);
                        assert!(transfer.receipt.applied_at <= answer.at);
                        let first = seen.entry(place).or_insert_with(|| transfer.clone());
                        assert_eq!(*first, transfer);
                    }
                    None => {
                        assert!(!seen.contains_key(&place), "it was there before");
                        absent[place] = absent[place].max(answer.position);
                    }
                }
            }
            if last {
                assert_eq!(
                    seen.len(),
                    orders.len(),
                    "an answered transfer was not found"
                );
                return absent;
            }
            tokio::task::yield_now().await;
        }
    });
    let (first, second) = requests.split_at(CROWD as usize / 2);
    let mut outcomes = bank.rush(first.to_vec()).await;
    for request in second {
        outcomes.push(bank.send(request).await);
    }
    sent.store(true, Ordering::SeqCst);
    let absent = watching.await.expect("a task that ends");
    for (outcome, absent) in outcomes.into_iter().zip(absent) {
        assert!(applied(outcome).receipt.position > absent);
    }
}

// hazard: A3
pub(super) async fn nothing_appears_at_or_below_a_closed_position(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(1_000).await, bank.pool().await);
    let requests: Vec<_> = (0..CROWD).map(|_| bank.ask(&ann, &pool, 1)).collect();
    let (funds, sent) = (Arc::clone(&bank.funds), Arc::new(AtomicBool::new(false)));
    let (all_sent, watched) = (Arc::clone(&sent), pool.clone());
    let watching = tokio::spawn(async move {
        let mut read: Vec<Transfer> = Vec::new();
        loop {
            let last = all_sent.load(Ordering::SeqCst);
            let after = read.last().map_or(Position(0), |one| one.receipt.position);
            let page = funds.list(&watched, after, 1_000).await.expect("a list");
            read.extend(page.transfers);
            // The page was not full: up to here everything has been read, and the next page may
            // begin here.
            let again = funds
                .list(&watched, Position(0), 1_000)
                .await
                .expect("a list");
            let settled = |one: &&Transfer| one.receipt.position <= page.closed_position;
            let before: Vec<_> = read.iter().filter(settled).collect();
            let after: Vec<_> = again.transfers.iter().filter(settled).collect();
            assert_eq!(
                before, after,
                "something appeared at or below a closed position"
            );
            if last {
                return read;
            }
            tokio::task::yield_now().await;
        }
    });
    let (first, second) = requests.split_at(CROWD as usize / 2);
    bank.rush(first.to_vec()).await;
    for request in second {
        applied(bank.send(request).await);
    }
    sent.store(true, Ordering::SeqCst);
    assert_eq!(
        watching.await.expect("a task that ends"),
        bank.history(&pool).await
    );
}
