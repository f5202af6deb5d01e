//! Small books made by hand: clean ones are green, each planted fault turns exactly its invariant
//! red.

mod fixture;

use checker::{Scope, check, check_scope, report::Report, report::Status};
use fixture::{books, spelled, transfer};
use std::path::Path;

async fn report(store_fault: &str, ledger_fault: &str, late: &str) -> Report {
    let (store, ledger) = books(store_fault, ledger_fault, late).await;
    let report = check(&store, &ledger, None).await.expect("readable books");
    std::fs::remove_dir_all(store.parent().expect("a directory")).expect("removed");
    report
}

/// The fault in store or ledger breaks exactly this invariant.
async fn breaks(invariant: &str, store_fault: &str, ledger_fault: &str) {
    let report = report(store_fault, ledger_fault, "").await;
    let red: Vec<_> = report.red().map(|invariant| invariant.name()).collect();
    assert_eq!(red, [invariant], "{store_fault} {ledger_fault}\n{report}");
}

#[tokio::test]
async fn clean_books_are_green() {
    let report = report("", "", "").await;
    assert!(report.is_green(), "{report}");
    let money = &report.contests[0].money;
    assert_eq!(
        (money.fees, money.guarantee, money.prizes, money.rake),
        (30, 20, 29, 1)
    );
    assert_eq!(
        (
            money.guarantee_return,
            money.left,
            money.unexplained_in,
            money.unexplained_out
        ),
        (20, 0, 0, 0)
    );
    assert_eq!(report.money().refunds, 10);
    assert_eq!(report.contests[2].money.left, 10);
    for verdict in &report.invariants {
        let not_kept = verdict.status == Status::NotKept;
        assert!(
            verdict.checked > 0 || not_kept,
            "{} was held against nothing",
            verdict.invariant.name()
        );
    }
    let text = report.to_string();
    assert!(
        text.contains("FROZEN_ONCE") && text.contains("not kept in this deployment"),
        "{text}"
    );
}

/// A file from before fee tiers, draws and sheet hashes is checked as well.
#[tokio::test]
async fn an_older_file_can_be_read() {
    let older =
        "ALTER TABLE contest DROP COLUMN fee_tiers; ALTER TABLE contest DROP COLUMN draw_secret;
        ALTER TABLE contest DROP COLUMN sheet_sha256;";
    let report = report(older, "", "").await;
    assert!(report.is_green(), "{report}");
}

#[tokio::test]
async fn one_contest_alone_can_be_asked_for() {
    let (store, ledger) = books("", "", "").await;
    let report = check(&store, &ledger, Some(&spelled("c2")))
        .await
        .expect("readable books");
    assert_eq!(report.contests.len(), 1);
    assert!(check(&store, &ledger, Some("nine")).await.is_err());
    assert!(check(Path::new("/nowhere"), &ledger, None).await.is_err());
    let at_rest = Scope {
        contest: None,
        at_rest: true,
    };
    let report = check_scope(&store, &ledger, at_rest)
        .await
        .expect("readable books");
    assert_eq!(
        report
            .red()
            .map(|invariant| invariant.name())
            .collect::<Vec<_>>(),
        ["NO_LIMBO"]
    );
}

#[tokio::test]
async fn one_charge() {
    let open = "UPDATE contest SET close_position = 18 WHERE contest_id = 'c3'";
    breaks(
        "ONE_CHARGE",
        open,
        &transfer(18, "fee/c3/fay/1", "user/fay", "pool/c3", 10, 3_318),
    )
    .await;
}

#[tokio::test]
async fn paid_means_paid() {
    for fault in [
        "UPDATE signup SET fee = 9 WHERE signup_id = 's6'",
        "UPDATE signup SET fee_position = 3 WHERE signup_id = 's6'",
        "UPDATE signup SET paid_at = 3 WHERE signup_id = 's1'",
        "UPDATE signup SET fee_order_id = 'x' WHERE signup_id = 's7'",
        "UPDATE signup SET user_id = 'hal' WHERE signup_id = 's6'",
        "UPDATE contest SET fee = 11 WHERE contest_id = 'c3'",
        "UPDATE contest SET fee_tiers = '[11,12]' WHERE contest_id = 'c3'",
        "UPDATE contest SET fee_tiers = '10' WHERE contest_id = 'c3'",
    ] {
        breaks("PAID_MEANS_PAID", fault, "").await;
    }
    breaks(
        "PAID_MEANS_PAID",
        "",
        "DELETE FROM transfer WHERE position = 17",
    )
    .await;
}

#[tokio::test]
async fn one_prize() {
    for fault in [
        "UPDATE signup SET claim_order_id = 'x' WHERE signup_id = 's1'",
        "UPDATE signup SET payout_position = 2 WHERE signup_id = 's1'",
        "UPDATE signup SET payout_at = 2 WHERE signup_id = 's5'",
        "UPDATE signup SET payee = 'holding' WHERE signup_id = 's1'",
    ] {
        breaks("ONE_PRIZE", fault, "").await;
    }
}

#[tokio::test]
async fn no_overpay() {
    // The refund left before the fee came.
    let swapped = "UPDATE transfer SET position = 99 WHERE position = 14;
        UPDATE transfer SET position = 14, applied_at = 3314 WHERE position = 15;
        UPDATE transfer SET position = 15, applied_at = 3315 WHERE position = 99;";
    let rows = "UPDATE signup SET fee_position = 15, paid_at = 3315, payout_position = 14, payout_at = 3314
        WHERE signup_id = 's5'; UPDATE contest SET close_position = 15 WHERE contest_id = 'c2';";
    breaks("NO_OVERPAY", rows, swapped).await;
}

#[tokio::test]
async fn zero_sum() {
    breaks(
        "ZERO_SUM",
        "UPDATE contest_leg SET outcome = 'void' WHERE leg = 'rake'",
        "",
    )
    .await;
    breaks(
        "ZERO_SUM",
        "UPDATE contest_leg SET amount = 2 WHERE leg = 'rake'",
        "",
    )
    .await;
    breaks("ZERO_SUM", "DELETE FROM contest_leg WHERE leg = 'rake'", "").await;
    breaks(
        "ZERO_SUM",
        "UPDATE contest SET close_position = 7 WHERE contest_id = 'c1'",
        "",
    )
    .await;
    breaks(
        "ZERO_SUM",
        "",
        "UPDATE transfer SET applied_at = 1 WHERE position = 13",
    )
    .await;
    breaks(
        "ZERO_SUM",
        "",
        &transfer(18, "gift", "user/fay", "platform/revenue", 1, 1),
    )
    .await;
    breaks("ZERO_SUM", "", "DELETE FROM transfer WHERE position = 12").await;
    breaks(
        "ZERO_SUM",
        "",
        &transfer(18, "gift/1", "platform/issuing", "pool/c2", 1, 3_318),
    )
    .await;
    breaks(
        "ZERO_SUM",
        "",
        &transfer(18, "fee/c9/fay/0", "user/fay", "pool/c9", 1, 3_318),
    )
    .await;
    let late = "UPDATE account SET balance = balance + 1 WHERE name = 'user/ann'";
    assert_eq!(
        report("", "", late)
            .await
            .red()
            .map(|red| red.name())
            .collect::<Vec<_>>(),
        ["ZERO_SUM"]
    );
}

#[tokio::test]
async fn frozen_once() {
    for fault in [
        "UPDATE contest SET fees = 31 WHERE contest_id = 'c1'",
        "UPDATE contest SET guarantee_return = 20, finishers = 3 WHERE contest_id = 'c1'",
        "UPDATE contest SET weight_sum = NULL WHERE contest_id = 'c3'; UPDATE contest SET frozen_at = 3 WHERE contest_id = 'c3'",
        "UPDATE sheet_line SET weight_before = '2' WHERE signup_id = 's2'",
        "UPDATE sheet_line SET user_id = 'cat' WHERE signup_id = 's2'",
        "DELETE FROM sheet_line WHERE signup_id = 's2'",
        "INSERT INTO sheet_line VALUES ('c1', 's3', 'cat', 1, '2', 0)",
        "DELETE FROM task_progress WHERE user_id = 'ann'",
        "UPDATE task_progress SET quantity = 3 WHERE user_id = 'cat' AND occurred_at = 2500",
        "UPDATE signup SET quantity = 4 WHERE signup_id = 's1'",
        "UPDATE contest SET draw_secret = 'x' WHERE contest_id = 'c3'",
        "UPDATE contest SET sheet_sha256 = 'x' WHERE contest_id = 'c1'",
    ] {
        breaks("FROZEN_ONCE", fault, "").await;
    }
}

#[tokio::test]
async fn forward_only() {
    for fault in [
        "UPDATE signup_history SET state = 'paid' WHERE signup_id = 's6' AND version = 3",
        "DELETE FROM signup_history WHERE signup_id = 's6' AND version = 1",
        "DELETE FROM signup_history WHERE signup_id = 's7'",
        "UPDATE signup SET version = 9 WHERE signup_id = 's7'",
        "DELETE FROM signup_history WHERE signup_id = 's4' AND version = 1; UPDATE signup SET version = 1
            WHERE signup_id = 's4'; UPDATE signup_history SET version = 1 WHERE signup_id = 's4'",
        "UPDATE signup_history SET state = 'claiming' WHERE signup_id = 's6' AND version = 2",
        "DELETE FROM contest_history WHERE contest_id = 'c3' AND version = 2",
        "UPDATE contest_history SET phase = 'claimable' WHERE contest_id = 'c3' AND version = 3",
    ] {
        breaks("FORWARD_ONLY", fault, "").await;
    }
}

#[tokio::test]
async fn no_limbo() {
    let left = "UPDATE signup SET state = 'initialized' WHERE signup_id = 's4';
        UPDATE signup_history SET state = 'initialized' WHERE signup_id = 's4' AND version = 2;";
    breaks("NO_LIMBO", left, "").await;
}

#[tokio::test]
async fn no_early_prize() {
    let early = "UPDATE contest SET frozen_at = 3312 WHERE contest_id = 'c1'";
    breaks("NO_EARLY_PRIZE", early, "").await;
    let late = "UPDATE signup_history SET at = 9000 WHERE signup_id = 's1' AND state = 'claiming'";
    breaks("NO_EARLY_PRIZE", late, "").await;
}
