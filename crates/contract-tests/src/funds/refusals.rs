//! Clauses 3 and 5: which reason is answered, and that a refusal leaves no trace.

use super::{Bank, applied, issuing};
use domain::{
    money::Coins,
    order::Account,
    time::UnixMillis,
    transfer::{Content, Refusal},
};
use ports::funds::{TransferOutcome, TransferRequest};

/// Accounts with one reason each against crediting or debiting them.
struct Cast {
    poor: Account,
    full: Account,
    unknown: Account,
    closed: Account,
    shut: Account,
    full_and_shut: Account,
}

impl Cast {
    async fn of(bank: &Bank<'_>) -> Self {
        let cast = Self {
            poor: bank.user(0).await,
            full: bank.user(Coins::MAX.get()).await,
            unknown: bank.unopened(),
            closed: bank.user(0).await,
            shut: bank.pool().await,
            full_and_shut: bank.user(Coins::MAX.get()).await,
        };
        bank.fixture.close_account(&cast.closed).await;
        for shut in [&cast.shut, &cast.full_and_shut] {
            bank.funds.close_credits(shut).await.expect("a close");
        }
        cast
    }

    /// Payer, receiver and the reason: for each reason alone, and beside every later one that it
    /// can meet.
    fn table(&self) -> Vec<(Account, Account, Refusal)> {
        use Refusal::{
            AccountClosed, BalanceLimit, ClosedToCredits, InsufficientBalance, UnknownAccount,
        };
        let Self {
            poor,
            full,
            unknown,
            closed,
            shut,
            full_and_shut,
        } = self;
        let issuing = &issuing();
        [
            (unknown, poor, UnknownAccount),
            (issuing, unknown, UnknownAccount),
            (unknown, unknown, UnknownAccount),
            (unknown, closed, UnknownAccount),
            (closed, unknown, UnknownAccount),
            (unknown, shut, UnknownAccount),
            (poor, unknown, UnknownAccount),
            (unknown, full, UnknownAccount),
            (unknown, full_and_shut, UnknownAccount),
            (closed, issuing, AccountClosed),
            (issuing, closed, AccountClosed),
            (closed, shut, AccountClosed),
            (poor, closed, AccountClosed),
            (closed, full, AccountClosed),
            (closed, full_and_shut, AccountClosed),
            (issuing, shut, ClosedToCredits),
            (poor, shut, ClosedToCredits),
            (issuing, full_and_shut, ClosedToCredits),
            (poor, full_and_shut, ClosedToCredits),
            (poor, issuing, InsufficientBalance),
            (poor, full, InsufficientBalance),
            (issuing, full, BalanceLimit),
        ]
        .map(|(from, to, reason)| (from.clone(), to.clone(), reason))
        // An account and itself is no transfer at all.
        .into_iter()
        .filter(|(from, to, _)| from != to)
        .collect()
    }
}

pub(super) async fn reasons_are_considered_in_the_stated_order(bank: &Bank<'_>) {
    for (from, to, reason) in Cast::of(bank).await.table() {
        assert_eq!(bank.refused(&from, &to, 1).await, reason, "{from} to {to}");
        let late = TransferRequest {
            not_after: Some(UnixMillis(0)),
            ..bank.ask(&from, &to, 1)
        };
        assert_eq!(
            bank.send(&late).await,
            TransferOutcome::Refused(Refusal::PastNotAfter),
            "{from} to {to}, late"
        );
    }
    let ann = bank.user(0).await;
    let late = TransferRequest {
        not_after: Some(UnixMillis(0)),
        ..bank.ask(&issuing(), &ann, 1)
    };
    assert_eq!(
        bank.send(&late).await,
        TransferOutcome::Refused(Refusal::PastNotAfter)
    );
}

pub(super) async fn a_refusal_leaves_no_trace(bank: &Bank<'_>) {
    let cast = Cast::of(bank).await;
    let known = [
        &cast.poor,
        &cast.full,
        &cast.closed,
        &cast.shut,
        &cast.full_and_shut,
        &issuing(),
    ];
    let mut before = Vec::new();
    for account in known {
        before.push((bank.balance(account).await, bank.history(account).await));
    }
    let position = bank.funds.lookup(&[]).await.expect("an answer").position;
    for (from, to, reason) in cast.table() {
        let request = bank.ask(&from, &to, 1);
        assert_eq!(bank.send(&request).await, TransferOutcome::Refused(reason));
        assert_eq!(bank.find(request.order_id).await, None, "{from} to {to}");
    }
    let mut after = Vec::new();
    for account in known {
        after.push((bank.balance(account).await, bank.history(account).await));
    }
    assert_eq!(before, after);
    // A position that was given out would be a trace that a proof of absence could lean on.
    let next = bank.apply(&issuing(), &cast.poor, 1).await;
    assert!(next.receipt.position > position);
}

// hazard: A11
pub(super) async fn a_refused_order_applies_once_its_reason_is_gone(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(3).await, bank.unopened());
    let request = bank.ask(&ann, &pool, 5);
    assert_eq!(
        bank.send(&request).await,
        TransferOutcome::Refused(Refusal::UnknownAccount)
    );
    bank.open(&pool).await;
    assert_eq!(
        bank.send(&request).await,
        TransferOutcome::Refused(Refusal::InsufficientBalance)
    );
    bank.apply(&issuing(), &ann, 2).await;
    let late = TransferRequest {
        not_after: Some(UnixMillis(0)),
        ..request.clone()
    };
    assert_eq!(
        bank.send(&late).await,
        TransferOutcome::Refused(Refusal::PastNotAfter)
    );
    let first = applied(bank.send(&request).await);
    assert_eq!(applied(bank.send(&request).await), first);
    assert_eq!(
        (bank.balance(&ann).await, bank.balance(&pool).await),
        (0, 5)
    );

    let rich = bank.user(Coins::MAX.get()).await;
    let prize = bank.ask(&pool, &rich, 5);
    assert_eq!(
        bank.send(&prize).await,
        TransferOutcome::Refused(Refusal::BalanceLimit)
    );
    bank.apply(&rich, &issuing(), 5).await;
    applied(bank.send(&prize).await);
    assert_eq!(bank.balance(&rich).await, Coins::MAX.as_i64());
}

// hazard: A17
pub(super) async fn a_refused_order_applies_with_other_content(bank: &Bank<'_>) {
    let (ann, bob) = (bank.user(9).await, bank.user(0).await);
    let closed = bank.user(0).await;
    bank.fixture.close_account(&closed).await;
    let request = bank.ask(&ann, &closed, 4);
    assert_eq!(
        bank.send(&request).await,
        TransferOutcome::Refused(Refusal::AccountClosed)
    );
    let content = Content {
        to: bob.clone(),
        ..request.content.clone()
    };
    let redirected = TransferRequest {
        content,
        ..request.clone()
    };
    let first = applied(bank.send(&redirected).await);
    assert_eq!(first.content, redirected.content);
    assert_eq!(bank.send(&request).await, TransferOutcome::Conflict);
    assert_eq!((bank.balance(&ann).await, bank.balance(&bob).await), (5, 4));
}

pub(super) async fn not_after_is_the_last_moment_on_the_funds_systems_clock(bank: &Bank<'_>) {
    let ann = bank.user(0).await;
    for millis in -3..20 {
        let last = bank.now().await.plus(millis);
        let request = TransferRequest {
            not_after: Some(last),
            ..bank.ask(&issuing(), &ann, 1)
        };
        match bank.send(&request).await {
            TransferOutcome::Applied(transfer) => assert!(transfer.receipt.applied_at <= last),
            TransferOutcome::Refused(Refusal::PastNotAfter) => {
                assert!(bank.now().await > last, "refused although it was not late");
            }
            outcome => panic!("{outcome:?}"),
        }
        if millis < 0 {
            assert_eq!(
                bank.find(request.order_id).await,
                None,
                "applied although it was late"
            );
        }
    }
    let request = bank.ask(&issuing(), &ann, 1);
    let distant = Some(bank.now().await.plus(600_000));
    applied(
        bank.send(&TransferRequest {
            not_after: distant,
            ..request
        })
        .await,
    );
}

pub(super) async fn a_closed_account_takes_part_in_nothing(bank: &Bank<'_>) {
    let (ann, bob) = (bank.user(5).await, bank.user(5).await);
    let history = bank.history(&ann).await;
    bank.fixture.close_account(&ann).await;
    assert_eq!(bank.refused(&ann, &bob, 1).await, Refusal::AccountClosed);
    assert_eq!(bank.refused(&bob, &ann, 1).await, Refusal::AccountClosed);
    bank.fixture.close_account(&ann).await;
    assert_eq!(bank.balance(&ann).await, 5);
    assert_eq!(bank.history(&ann).await, history);
    let first = bank.funds.close_credits(&ann).await.expect("a close");
    bank.apply(&issuing(), &bob, 1).await;
    assert_eq!(
        bank.funds.close_credits(&ann).await.expect("a close"),
        first
    );
}
