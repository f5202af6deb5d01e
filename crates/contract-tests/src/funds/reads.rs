//! Clauses 8, 9 and 11: look-ups, balances, lists, and the sum of it all.

use super::{Bank, applied, issuing};
use domain::{
    order::{Account, Platform},
    transfer::{Position, Transfer},
};
use ports::funds::{FundsError, LOOKUP_MAX};

pub(super) async fn a_lookup_answers_in_the_order_asked(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(10).await, bank.pool().await);
    let first = bank.apply(&ann, &pool, 1).await;
    let second = bank.apply(&ann, &pool, 2).await;
    let (missing, refused) = (bank.order(), bank.ask(&pool, &ann, 100));
    bank.send(&refused).await;
    let asked = [
        second.order_id,
        missing,
        first.order_id,
        refused.order_id,
        second.order_id,
        missing,
    ];
    let answer = bank.funds.lookup(&asked).await.expect("an answer");
    let second_again = second.clone();
    assert_eq!(
        answer.found,
        [
            Some(second),
            None,
            Some(first),
            None,
            Some(second_again.clone()),
            None
        ]
    );
    assert!(answer.position >= second_again.receipt.position);
    assert!(answer.at >= second_again.receipt.applied_at);
}

pub(super) async fn a_lookup_of_nothing_tells_position_and_time(bank: &Bank<'_>) {
    let empty = bank.funds.lookup(&[]).await.expect("an answer");
    assert!(empty.found.is_empty());
    let ann = bank.user(0).await;
    let transfer = bank.apply(&issuing(), &ann, 1).await;
    assert!(empty.position < transfer.receipt.position);
    assert!(empty.at <= transfer.receipt.applied_at);
    let answer = bank.funds.lookup(&[]).await.expect("an answer");
    assert!(answer.position >= transfer.receipt.position);
    assert!(answer.at >= transfer.receipt.applied_at);
}

pub(super) async fn a_lookup_takes_the_stated_number_of_orders(bank: &Bank<'_>) {
    let ann = bank.user(0).await;
    let transfer = bank.apply(&issuing(), &ann, 1).await;
    let mut asked: Vec<_> = (1..LOOKUP_MAX).map(|_| bank.order()).collect();
    asked.push(transfer.order_id);
    let found = bank.funds.lookup(&asked).await.expect("an answer").found;
    assert_eq!(found.len(), LOOKUP_MAX);
    assert!(found[..LOOKUP_MAX - 1].iter().all(Option::is_none));
    assert_eq!(found[LOOKUP_MAX - 1], Some(transfer));
}

// hazard: A3
pub(super) async fn reads_see_what_was_answered_before_and_nothing_later(bank: &Bank<'_>) {
    let ann = bank.user(0).await;
    let mut told = Position(0);
    for round in 1..=50 {
        let transfer = bank.apply(&issuing(), &ann, 1).await;
        let position = transfer.receipt.position;
        assert!(position > told, "it was not there at {told:?}");
        let lookup = bank
            .funds
            .lookup(&[transfer.order_id])
            .await
            .expect("an answer");
        assert_eq!(lookup.found, [Some(transfer.clone())]);
        let balance = bank.funds.balance(&ann).await.expect("a balance");
        assert_eq!(balance.amount, round);
        let page = bank
            .funds
            .list(&ann, Position(position.0 - 1), 10)
            .await
            .expect("a list");
        assert_eq!(page.transfers, [transfer]);
        for seen in [lookup.position, balance.position, page.closed_position] {
            assert!(seen >= position);
            told = told.max(seen);
        }
    }
}

pub(super) async fn positions_and_times_rise_with_commit_order(bank: &Bank<'_>) {
    let (ann, bob) = (bank.user(100).await, bank.user(0).await);
    let mut transfers: Vec<Transfer> = Vec::new();
    for _ in 0..30 {
        transfers.push(bank.apply(&ann, &bob, 2).await);
        transfers.push(bank.apply(&bob, &ann, 1).await);
    }
    for pair in transfers.windows(2) {
        assert!(pair[0].receipt.position < pair[1].receipt.position);
        assert!(pair[0].receipt.applied_at <= pair[1].receipt.applied_at);
    }
    for transfer in transfers {
        assert_eq!(bank.find(transfer.order_id).await, Some(transfer));
    }
}

/// Every transfer of an account, read in pages of `limit`.
async fn pages(bank: &Bank<'_>, account: &Account, limit: usize) -> Vec<Transfer> {
    let mut read: Vec<Transfer> = Vec::new();
    loop {
        let after = read
            .last()
            .map_or(Position(0), |last| last.receipt.position);
        let page = bank
            .funds
            .list(account, after, limit)
            .await
            .expect("a list");
        assert!(page.transfers.len() <= limit);
        let onward = |one: &Transfer| one.receipt.position > after;
        assert!(page.transfers.iter().all(onward), "a page that leads back");
        if page.transfers.is_empty() {
            assert!(page.closed_position >= after);
            return read;
        }
        read.extend(page.transfers);
    }
}

pub(super) async fn a_list_pages_both_sides_in_commit_order_exactly_once(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(100).await, bank.pool().await);
    let mut transfers = Vec::new();
    for _ in 0..5 {
        transfers.push(bank.apply(&ann, &pool, 5).await);
        transfers.push(bank.apply(&issuing(), &pool, 1).await);
        transfers.push(bank.apply(&pool, &ann, 2).await);
    }
    for limit in [1, 2, 3, 7, 15, 100] {
        assert_eq!(
            pages(bank, &pool, limit).await,
            transfers,
            "pages of {limit}"
        );
        let ann_alone: Vec<_> = pages(bank, &ann, limit).await.into_iter().skip(1).collect();
        let expected: Vec<_> = transfers
            .iter()
            .filter(|one| one.content.from != issuing())
            .cloned()
            .collect();
        assert_eq!(ann_alone, expected, "pages of {limit}");
    }
    let middle = transfers[7].receipt.position;
    let rest = bank.funds.list(&pool, middle, 100).await.expect("a list");
    assert_eq!(rest.transfers, transfers[8..]);
    let nothing = bank
        .funds
        .list(&pool, Position(0), 0)
        .await
        .expect("a list");
    assert!(nothing.transfers.is_empty());
    let last = transfers[14].receipt.position;
    let end = bank.funds.list(&pool, last, 100).await.expect("a list");
    assert!(end.transfers.is_empty() && end.closed_position >= last);
}

pub(super) async fn a_list_holds_the_accounts_own_transfers_alone(bank: &Bank<'_>) {
    let (ann, bob, pool) = (bank.user(9).await, bank.user(9).await, bank.pool().await);
    let fee = bank.apply(&ann, &pool, 3).await;
    bank.apply(&bob, &issuing(), 3).await;
    assert_eq!(bank.history(&pool).await, std::slice::from_ref(&fee));
    let of_ann = bank.history(&ann).await;
    assert_eq!((of_ann.len(), of_ann.last()), (2, Some(&fee)));
    assert_eq!(bank.history(&issuing()).await.len(), 3);
    let empty = bank.pool().await;
    assert_eq!(bank.history(&empty).await, []);
}

pub(super) async fn unknown_accounts_are_named(bank: &Bank<'_>) {
    let pool = bank.unopened();
    let balance = bank.funds.balance(&pool).await;
    assert!(matches!(balance, Err(FundsError::UnknownAccount(name)) if name == pool));
    let list = bank.funds.list(&pool, Position(0), 10).await;
    assert!(matches!(list, Err(FundsError::UnknownAccount(name)) if name == pool));
}

pub(super) async fn all_accounts_add_up_to_zero(bank: &Bank<'_>) {
    let (ann, bob, pool) = (bank.user(50).await, bank.user(70).await, bank.pool().await);
    bank.apply(&ann, &pool, 50).await;
    bank.apply(&bob, &pool, 20).await;
    bank.apply(&pool, &Account::Platform(Platform::Revenue), 7)
        .await;
    bank.apply(&pool, &Account::Platform(Platform::Holding), 3)
        .await;
    bank.apply(&bob, &issuing(), 1).await;
    let request = bank.ask(&pool, &ann, 30);
    applied(bank.send(&request).await);
    applied(bank.send(&request).await);
    bank.send(&bank.ask(&pool, &ann, 31)).await;
    let mut sum = 0;
    let platform = Platform::ALL.map(Account::Platform);
    for account in platform.iter().chain([&ann, &bob, &pool]) {
        sum += bank.balance(account).await;
    }
    assert_eq!(sum, 0);
    assert_eq!(bank.balance(&issuing()).await, -119);
}
