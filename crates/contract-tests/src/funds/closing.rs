//! Clause 7: the close to credits, and what it proves.

use super::{Bank, applied, issuing};
use domain::transfer::{ProofOfAbsence, Refusal};
use ports::funds::{FundsError, TransferOutcome};

pub(super) async fn credits_close_once_and_debits_go_on(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(10).await, bank.pool().await);
    let fee = bank.apply(&ann, &pool, 6).await;
    let closed = bank.funds.close_credits(&pool).await.expect("a close");
    assert!(fee.receipt.position <= closed.position);
    assert_eq!(bank.refused(&ann, &pool, 1).await, Refusal::ClosedToCredits);
    assert_eq!(
        bank.refused(&issuing(), &pool, 1).await,
        Refusal::ClosedToCredits
    );
    let prize = bank.apply(&pool, &ann, 2).await;
    assert!(prize.receipt.position > closed.position);
    assert_eq!(
        bank.funds.close_credits(&pool).await.expect("a close"),
        closed
    );
    bank.apply(&pool, &ann, 4).await;
    assert_eq!(
        bank.funds.close_credits(&pool).await.expect("a close"),
        closed
    );
    assert_eq!(
        (bank.balance(&ann).await, bank.balance(&pool).await),
        (10, 0)
    );
}

pub(super) async fn credits_close_for_known_accounts_only(bank: &Bank<'_>) {
    let pool = bank.unopened();
    let answer = bank.funds.close_credits(&pool).await;
    assert!(matches!(answer, Err(FundsError::UnknownAccount(name)) if name == pool));
    bank.open(&pool).await;
    bank.apply(&issuing(), &pool, 1).await;
}

// hazard: A2
pub(super) async fn after_the_close_a_not_found_is_final(bank: &Bank<'_>) {
    let (ann, pool) = (bank.user(10).await, bank.pool().await);
    let late = bank.ask(&ann, &pool, 6);
    let early = bank
        .funds
        .lookup(&[late.order_id])
        .await
        .expect("an answer");
    bank.apply(&ann, &pool, 1).await;
    let closed = bank.funds.close_credits(&pool).await.expect("a close");
    let answer = bank
        .funds
        .lookup(&[late.order_id])
        .await
        .expect("an answer");
    assert_eq!((&early.found, &answer.found), (&vec![None], &vec![None]));
    assert_eq!(ProofOfAbsence::new(early.position, closed), None);
    assert!(ProofOfAbsence::new(answer.position, closed).is_some());
    // A copy that was under way all the time arrives now.
    assert_eq!(
        bank.send(&late).await,
        TransferOutcome::Refused(Refusal::ClosedToCredits)
    );
    assert_eq!(bank.find(late.order_id).await, None);
}

// hazard: A16
pub(super) async fn closing_one_account_leaves_the_others_open(bank: &Bank<'_>) {
    let (ann, pool, other) = (bank.user(10).await, bank.pool().await, bank.pool().await);
    bank.funds.close_credits(&pool).await.expect("a close");
    applied(bank.send(&bank.ask(&ann, &other, 1)).await);
    let closed = bank.funds.close_credits(&other).await.expect("a close");
    assert!(
        closed.position
            > bank
                .funds
                .close_credits(&pool)
                .await
                .expect("a close")
                .position
    );
    bank.apply(&issuing(), &ann, 1).await;
}
