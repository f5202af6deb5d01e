//! Clauses 1, 2, 4, 6 and 10: orders, contents, limits, accounts, and what survives.

use super::{Bank, applied, issuing, user};
use domain::{
    money::Coins,
    order::{Account, Platform},
    time::UnixMillis,
    transfer::{Content, Refusal},
};
use ports::funds::{FundsError, TransferOutcome, TransferRequest};

// hazard: A13
pub(super) async fn an_applied_transfer_is_stored_with_every_field(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(10).await, bank.pool().await);
    let request = TransferRequest {
        not_after: Some(UnixMillis(i64::MAX)),
        ..bank.ask(&ann, &pool, 7)
    };
    let before = bank.funds.balance(&ann).await.expect("a balance");
    let transfer = applied(bank.send(&request).await);
    let after = bank.funds.balance(&ann).await.expect("a balance");
    assert_eq!(
        (transfer.order_id, &transfer.content),
        (request.order_id, &request.content)
    );
    assert!(before.position < transfer.receipt.position);
    assert!(transfer.receipt.position <= after.position);
    assert!(before.at <= transfer.receipt.applied_at && transfer.receipt.applied_at <= after.at);
    assert_eq!(bank.find(request.order_id).await, Some(transfer.clone()));
    assert_eq!(bank.history(&ann).await.last(), Some(&transfer));
    assert_eq!(bank.history(&pool).await, [transfer]);
    assert_eq!(
        (bank.balance(&ann).await, bank.balance(&pool).await),
        (3, 7)
    );
}

// hazard: A6
pub(super) async fn a_repeat_answers_what_is_stored_and_moves_nothing(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(10).await, bank.pool().await);
    let request = bank.ask(&ann, &pool, 4);
    let first = applied(bank.send(&request).await);
    let others = [
        request.clone(),
        TransferRequest {
            memo: "another memo".to_owned(),
            ..request.clone()
        },
        TransferRequest {
            not_after: Some(UnixMillis(0)),
            ..request
        },
    ];
    for repeat in others {
        assert_eq!(applied(bank.send(&repeat).await), first);
    }
    assert_eq!(
        (bank.balance(&ann).await, bank.balance(&pool).await),
        (6, 4)
    );
    assert_eq!(bank.history(&pool).await, [first]);
}

// hazard: A12
pub(super) async fn a_repeat_is_answered_for_ever(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(4).await, bank.pool().await);
    let request = TransferRequest {
        not_after: Some(bank.now().await.plus(600_000)),
        ..bank.ask(&ann, &pool, 4)
    };
    let first = applied(bank.send(&request).await);
    let late = TransferRequest {
        not_after: Some(UnixMillis(0)),
        ..request
    };
    assert_eq!(
        applied(bank.send(&late).await),
        first,
        "payer empty, not_after past"
    );
    bank.funds.close_credits(&pool).await.expect("a close");
    assert_eq!(
        applied(bank.send(&late).await),
        first,
        "receiver closed to credits"
    );
    bank.apply(&pool, &issuing(), 4).await;
    bank.fixture.close_account(&ann).await;
    bank.fixture.close_account(&pool).await;
    assert_eq!(applied(bank.send(&late).await), first, "accounts closed");
    assert_eq!(bank.find(late.order_id).await, Some(first));
    assert_eq!(
        (bank.balance(&ann).await, bank.balance(&pool).await),
        (0, 0)
    );
}

/// The content of a request with each field changed in turn.
fn other_contents(request: &TransferRequest, payer: &Account, receiver: &Account) -> [Content; 4] {
    let Content { from, to, amount } = request.content.clone();
    let more = amount.plus(Coins::new(1).expect("coins")).expect("coins");
    [
        Content {
            from: payer.clone(),
            ..request.content.clone()
        },
        Content {
            to: receiver.clone(),
            ..request.content.clone()
        },
        Content {
            amount: more,
            ..request.content.clone()
        },
        Content {
            from: to,
            to: from,
            amount,
        },
    ]
}

// hazard: A10
pub(super) async fn an_order_with_other_content_is_a_conflict(bank: &Bank<'_>) {
    let (ann, bob) = (bank.user(10).await, bank.user(10).await);
    let (pool, other) = (bank.pool().await, bank.pool().await);
    let request = bank.ask(&ann, &pool, 4);
    let first = applied(bank.send(&request).await);
    for content in other_contents(&request, &bob, &other) {
        let changed = TransferRequest {
            content,
            ..request.clone()
        };
        assert_eq!(
            bank.send(&changed).await,
            TransferOutcome::Conflict,
            "{changed:?}"
        );
    }
    assert_eq!(applied(bank.send(&request).await), first);
    assert_eq!(bank.find(request.order_id).await, Some(first.clone()));
    let mut balances = Vec::new();
    for account in [&ann, &bob, &pool, &other] {
        balances.push(bank.balance(account).await);
    }
    assert_eq!(balances, [6, 10, 4, 0]);
    assert_eq!(bank.history(&pool).await, [first]);
}

// hazard: A10
pub(super) async fn a_conflict_is_answered_before_any_refusal(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(4).await, bank.pool().await);
    let request = bank.ask(&ann, &pool, 4);
    applied(bank.send(&request).await);
    bank.funds.close_credits(&pool).await.expect("a close");
    bank.fixture.close_account(&ann).await;
    let nobody = bank.unopened();
    for content in other_contents(&request, &nobody, &nobody) {
        for not_after in [None, Some(UnixMillis(0))] {
            let changed = TransferRequest {
                content: content.clone(),
                not_after,
                ..request.clone()
            };
            assert_eq!(
                bank.send(&changed).await,
                TransferOutcome::Conflict,
                "{changed:?}"
            );
        }
    }
}

// hazard: A16
pub(super) async fn only_the_issuing_account_goes_below_zero(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(5).await, bank.pool().await);
    assert_eq!(bank.balance(&issuing()).await, -5);
    let series = Account::Series("daily".parse().expect("a series id"));
    bank.open(&series).await;
    bank.apply(&ann, &pool, 5).await;
    bank.apply(&pool, &series, 5).await;
    let [_, revenue, holding] = Platform::ALL.map(Account::Platform);
    bank.apply(&series, &revenue, 5).await;
    bank.apply(&revenue, &holding, 5).await;
    assert_eq!(
        bank.refused(&holding, &ann, 6).await,
        Refusal::InsufficientBalance
    );
    bank.apply(&holding, &issuing(), 5).await;
    for empty in [&ann, &pool, &series, &revenue, &holding] {
        assert_eq!(bank.balance(empty).await, 0, "{empty}");
        assert_eq!(
            bank.refused(empty, &issuing(), 1).await,
            Refusal::InsufficientBalance,
            "{empty}"
        );
    }
    assert_eq!(bank.balance(&issuing()).await, 0);
}

pub(super) async fn nothing_holds_more_than_the_largest_amount(bank: &Bank<'_>) {
    let rich = bank.user(Coins::MAX.get() - 1).await;
    assert_eq!(
        bank.refused(&issuing(), &rich, 2).await,
        Refusal::BalanceLimit
    );
    assert_eq!(
        bank.refused(&issuing(), &rich, Coins::MAX.get()).await,
        Refusal::BalanceLimit
    );
    bank.apply(&issuing(), &rich, 1).await;
    assert_eq!(bank.balance(&rich).await, 9_007_199_254_740_991);
    assert_eq!(
        bank.refused(&issuing(), &rich, 1).await,
        Refusal::BalanceLimit
    );
    let heir = bank.user(0).await;
    let all = bank.apply(&rich, &heir, Coins::MAX.get()).await;
    assert_eq!(bank.find(all.order_id).await, Some(all));
    assert_eq!(
        (bank.balance(&rich).await, bank.balance(&heir).await),
        (0, Coins::MAX.as_i64())
    );
}

pub(super) async fn platform_accounts_always_exist_and_others_once_opened(bank: &Bank<'_>) {
    for platform in Platform::ALL.map(Account::Platform) {
        assert_eq!(bank.balance(&platform).await, 0, "{platform}");
        bank.open(&platform).await;
        assert_eq!(bank.balance(&platform).await, 0, "{platform}");
    }
    let series = Account::Series("daily".parse().expect("a series id"));
    for account in [user("ann"), bank.unopened(), series] {
        let answer = bank.funds.balance(&account).await;
        assert!(matches!(answer, Err(FundsError::UnknownAccount(name)) if name == account));
        assert_eq!(
            bank.refused(&issuing(), &account, 1).await,
            Refusal::UnknownAccount
        );
        bank.open(&account).await;
        assert_eq!(bank.balance(&account).await, 0);
        bank.apply(&issuing(), &account, 1).await;
    }
}

pub(super) async fn opening_again_changes_nothing(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(5).await, bank.pool().await);
    bank.open(&ann).await;
    assert_eq!(bank.balance(&ann).await, 5);
    bank.funds.close_credits(&pool).await.expect("a close");
    bank.open(&pool).await;
    assert_eq!(bank.refused(&ann, &pool, 1).await, Refusal::ClosedToCredits);
    bank.fixture.close_account(&pool).await;
    bank.open(&pool).await;
    assert_eq!(bank.refused(&ann, &pool, 1).await, Refusal::AccountClosed);
}

// hazard: F12
pub(super) async fn accounts_are_compared_byte_for_byte(bank: &Bank<'_>) {
    bank.open(&user("Ann")).await;
    assert_eq!(
        bank.refused(&issuing(), &user("ann"), 1).await,
        Refusal::UnknownAccount
    );
    bank.open(&user("ann")).await;
    bank.apply(&issuing(), &user("Ann"), 1).await;
    bank.apply(&issuing(), &user("ann"), 2).await;
    assert_eq!(
        (
            bank.balance(&user("Ann")).await,
            bank.balance(&user("ann")).await
        ),
        (1, 2)
    );
}

// hazard: A15
pub(super) async fn what_moves_nothing_is_not_sent(bank: &Bank<'_>) {
    let ann = bank.user(5).await;
    for request in [bank.ask(&issuing(), &ann, 0), bank.ask(&ann, &ann, 1)] {
        assert_eq!(bank.send(&request).await, TransferOutcome::NotSent);
        assert_eq!(bank.find(request.order_id).await, None);
    }
    assert_eq!(bank.balance(&ann).await, 5);
    assert_eq!(bank.history(&ann).await.len(), 1);
}

pub(super) async fn a_memo_is_free_text(bank: &Bank<'_>) {
    let ann = bank.user(0).await;
    let long = "瓜".repeat(1_000);
    for memo in [
        "",
        "'; DROP TABLE transfer; --",
        "\"[1,{\\u0000\n\t}]",
        "报名费 🎁",
        &long,
    ] {
        let request = TransferRequest {
            memo: memo.to_owned(),
            ..bank.ask(&issuing(), &ann, 1)
        };
        let first = applied(bank.send(&request).await);
        assert_eq!(applied(bank.send(&request).await), first);
    }
    assert_eq!(bank.balance(&ann).await, 5);
}

// hazard: A8
pub(super) async fn answers_survive_a_restart(bank: &Bank<'_>) {
    let (ann, pool, gone) = (bank.user(10).await, bank.pool().await, bank.user(1).await);
    let request = bank.ask(&ann, &pool, 4);
    let first = applied(bank.send(&request).await);
    let closed = bank.funds.close_credits(&pool).await.expect("a close");
    bank.fixture.close_account(&gone).await;
    let before = bank
        .funds
        .lookup(&[request.order_id])
        .await
        .expect("an answer");
    let history = bank.history(&issuing()).await;

    let funds = bank.fixture.restart().await;
    let after = funds.lookup(&[request.order_id]).await.expect("an answer");
    assert_eq!(
        (&after.found, after.position),
        (&before.found, before.position)
    );
    assert!(after.at >= before.at);
    assert_eq!(applied(funds.transfer(&request).await), first);
    assert_eq!(funds.close_credits(&pool).await.expect("a close"), closed);
    let to = |account: &Account| bank.ask(&issuing(), account, 1);
    let refused = TransferOutcome::Refused;
    assert_eq!(
        funds.transfer(&to(&pool)).await,
        refused(Refusal::ClosedToCredits)
    );
    assert_eq!(
        funds.transfer(&to(&gone)).await,
        refused(Refusal::AccountClosed)
    );
    assert_eq!(funds.balance(&ann).await.expect("a balance").amount, 6);
    let again = funds
        .list(&issuing(), domain::transfer::Position(0), 100)
        .await
        .expect("a list");
    assert_eq!(again.transfers, history);
    let next = applied(funds.transfer(&to(&ann)).await);
    assert!(next.receipt.position > before.position);
    assert!(next.receipt.applied_at >= first.receipt.applied_at);
}
