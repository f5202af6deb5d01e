//! Small books made by hand: clean ones are green, each planted fault turns exactly its invariant
//! red.

use checker::{Scope, check, check_scope, report::Report, report::Status};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

const STORE: &str = concat!(
    include_str!("../../adapters-sqlite/migrations/0001_contests.sql"),
    include_str!("../../adapters-sqlite/migrations/0002_rules.sql")
);
const LEDGER: &str = include_str!("../../adapters-ledger/migrations/0001_ledger.sql");

fn order(text: &str) -> String {
    Sha256::digest(format!("guafen/1/{text}"))
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// One contest's row; `tail` gives phase, close position, freeze columns and claimable_at.
fn contest(
    id: &str,
    phase: &str,
    history: &[&str],
    close: Option<i64>,
    frozen: Option<[i64; 7]>,
) -> String {
    let close = close.map_or("NULL".to_owned(), |close| close.to_string());
    let frozen = frozen.map_or("NULL, NULL, NULL, NULL, NULL, NULL, NULL".to_owned(), |f| {
        format!(
            "{}, {}, {}, {}, {}, {}, '{}'",
            f[0], f[1], f[2], f[3], f[4], f[5], f[6]
        )
    });
    let claimable = if phase == "closed" { "3200" } else { "NULL" };
    let guaranteed = if id == "c1" { 20 } else { 0 };
    let version = history.len();
    let mut sql = format!(
        "INSERT INTO contest (contest_id, title, room_id, fee, task_kind, task_target, rule, rake_bps,
            guaranteed_pool, series_id, carry, claim_mode, no_winner, remainder, unclaimed, grace_ms,
            signup_opens_at, signup_closes_at, tasks_end_at, claim_closes_at, phase, close_position,
            frozen_at, fees, rake, pool, guarantee_return, finishers, weight_sum, claimable_at,
            version, created_at, updated_at)
         VALUES ('{id}', 't', 'room', 10, 'open_chest', 3, 'equal', 500, {guaranteed}, NULL, 0, 'manual',
            'refund', 'spread', 'platform', 100, 1000, 2000, 3000, 4000, '{phase}', {close},
            {frozen}, {claimable}, {version}, 900, 5000);"
    );
    for (index, phase) in history.iter().enumerate() {
        sql += &format!(
            "INSERT INTO contest_history VALUES ('{id}', {}, '{phase}', 1000);",
            index + 1
        );
    }
    sql
}

struct Row<'a> {
    contest: &'a str,
    id: &'a str,
    user: &'a str,
    /// Its states; the last is where it stands. One version each.
    states: &'a [&'a str],
    fee: Option<(i64, i64)>,
    weight: Option<i64>,
    prize: Option<i64>,
    payout: Option<(&'a str, i64, i64)>,
}

fn signup(row: &Row<'_>) -> String {
    let number = |value: Option<i64>| value.map_or("NULL".to_owned(), |value| value.to_string());
    let Row {
        contest,
        id,
        user,
        states,
        ..
    } = row;
    let state = states.last().expect("a state");
    let claim = match row.payout {
        Some(("prize", ..)) => format!("'{}'", order(&format!("prize/{contest}/{user}/0"))),
        _ => "NULL".to_owned(),
    };
    let payee = if row.payout.is_some() {
        "'viewer'"
    } else {
        "NULL"
    };
    let mut sql = format!(
        "INSERT INTO signup (contest_id, signup_id, user_id, fee, fee_order_id, state, tries, fee_position, paid_at,
            quantity, met_at, weight, prize, claim_order_id, payee, payout_position, payout_at,
            version, created_at, updated_at)
         VALUES ('{contest}', '{id}', '{user}', 10, '{}', '{state}', 0, {}, {}, 3, 2500, {}, {}, {claim}, {payee},
            {}, {}, {}, 1100, 5000);",
        order(&format!("fee/{contest}/{user}/0")),
        number(row.fee.map(|fee| fee.0)),
        number(row.fee.map(|fee| fee.1)),
        number(row.weight),
        number(row.prize),
        number(row.payout.map(|paid| paid.1)),
        number(row.payout.map(|paid| paid.2)),
        states.len(),
    );
    for (index, state) in states.iter().enumerate() {
        let at = if *state == "claiming" { 3_300 } else { 1_100 };
        sql += &format!(
            "INSERT INTO signup_history VALUES ('{id}', {}, 0, '{state}', {at});",
            index + 1
        );
    }
    sql
}

/// A closed contest with two winners, a guarantee and a rake; a cancelled one; a running one.
fn store() -> String {
    let open = ["preparing", "funding", "draft"];
    let closed = [
        &open[..],
        &["running", "judging", "listing", "claimable", "closed"],
    ]
    .concat();
    let cancelled = [&open[..], &["cancelling", "cancelled"]].concat();
    let mut sql = contest(
        "c1",
        "closed",
        &closed,
        Some(8),
        Some([3_100, 30, 1, 29, 20, 2, 2]),
    );
    sql += &contest("c2", "cancelled", &cancelled, Some(14), None);
    sql += &contest(
        "c3",
        "running",
        &[&open[..], &["running"]].concat(),
        Some(17),
        None,
    );
    let paid = ["initialized", "paid", "in_progress"];
    let shared = [&paid[..], &["completed", "claiming", "shared"]].concat();
    let rows = [
        Row {
            contest: "c1",
            id: "s1",
            user: "ann",
            states: &shared,
            fee: Some((6, 1_106)),
            weight: Some(1),
            prize: Some(14),
            payout: Some(("prize", 11, 3_311)),
        },
        Row {
            contest: "c1",
            id: "s2",
            user: "bob",
            states: &shared,
            fee: Some((7, 1_107)),
            weight: Some(1),
            prize: Some(15),
            payout: Some(("prize", 12, 3_312)),
        },
        Row {
            contest: "c1",
            id: "s3",
            user: "cat",
            states: &[&paid[..], &["missed"]].concat(),
            fee: Some((8, 1_108)),
            weight: None,
            prize: None,
            payout: None,
        },
        Row {
            contest: "c1",
            id: "s4",
            user: "dan",
            states: &["initialized", "expired"],
            fee: None,
            weight: None,
            prize: None,
            payout: None,
        },
        Row {
            contest: "c2",
            id: "s5",
            user: "eve",
            states: &[&paid[..], &["refunding", "refunded"]].concat(),
            fee: Some((14, 3_314)),
            weight: None,
            prize: None,
            payout: Some(("refund", 15, 3_315)),
        },
        Row {
            contest: "c3",
            id: "s6",
            user: "fay",
            states: &paid,
            fee: Some((17, 3_317)),
            weight: None,
            prize: None,
            payout: None,
        },
        Row {
            contest: "c3",
            id: "s7",
            user: "gus",
            states: &["initialized"],
            fee: None,
            weight: None,
            prize: None,
            payout: None,
        },
    ];
    sql.extend(rows.iter().map(signup));
    for (leg, amount, position, at) in [
        ("guarantee", 20, 5, 1_105),
        ("rake", 1, 9, 3_109),
        ("guarantee_return", 20, 10, 3_110),
    ] {
        let id = order(&format!("{leg}/c1"));
        sql += &format!(
            "INSERT INTO contest_leg VALUES ('c1', '{leg}', '{id}', {amount}, 'applied', {position}, {at});"
        );
    }
    sql += "INSERT INTO task_progress VALUES ('c1', 'ann', 2500, 'chests', 'e1', 3), ('c1', 'bob', 2000, 'chests', 'e2', 2),
        ('c1', 'bob', 2500, 'chests', 'e3', 1), ('c1', 'cat', 2500, 'chests', 'e4', 2), ('c1', 'cat', 3000, 'chests', 'e5', 9),
        ('c1', 'cat', 1107, 'chests', 'e6', 9);";
    sql += "INSERT INTO sheet_line VALUES ('c1', 's1', 'ann', 1, '0', 14), ('c1', 's2', 'bob', 1, '1', 15);";
    sql
}

fn transfer(position: i64, text: &str, from: &str, to: &str, amount: i64, at: i64) -> String {
    format!(
        "INSERT OR IGNORE INTO account (name, balance) VALUES ('{from}', 0), ('{to}', 0);
         INSERT INTO transfer SELECT {position}, '{}', d.account_id, c.account_id, {amount}, 'guafen/1/{text}', {at}
         FROM account d, account c WHERE d.name = '{from}' AND c.name = '{to}';",
        order(text)
    )
}

fn ledger() -> String {
    let issuing = "platform/issuing";
    let rows = [
        ("grant/ann", issuing, "user/ann", 10, 1_101),
        ("grant/bob", issuing, "user/bob", 10, 1_102),
        ("grant/cat", issuing, "user/cat", 10, 1_103),
        ("grant/dan", issuing, "user/dan", 5, 1_104),
        ("guarantee/c1", issuing, "pool/c1", 20, 1_105),
        ("fee/c1/ann/0", "user/ann", "pool/c1", 10, 1_106),
        ("fee/c1/bob/0", "user/bob", "pool/c1", 10, 1_107),
        ("fee/c1/cat/0", "user/cat", "pool/c1", 10, 1_108),
        ("rake/c1", "pool/c1", "platform/revenue", 1, 3_109),
        ("guarantee_return/c1", "pool/c1", issuing, 20, 3_110),
        ("prize/c1/ann/0", "pool/c1", "user/ann", 14, 3_311),
        ("prize/c1/bob/0", "pool/c1", "user/bob", 15, 3_312),
        ("grant/eve", issuing, "user/eve", 10, 3_313),
        ("fee/c2/eve/0", "user/eve", "pool/c2", 10, 3_314),
        ("refund/c2/eve/0", "pool/c2", "user/eve", 10, 3_315),
        ("grant/fay", issuing, "user/fay", 30, 3_316),
        ("fee/c3/fay/0", "user/fay", "pool/c3", 10, 3_317),
    ];
    let line = |(index, (text, from, to, amount, at)): (usize, _)| {
        transfer(
            i64::try_from(index).expect("small") + 1,
            text,
            from,
            to,
            amount,
            at,
        )
    };
    rows.into_iter().enumerate().map(line).collect()
}

const BALANCES: &str = "UPDATE account SET balance =
    (SELECT COALESCE(SUM(amount), 0) FROM transfer WHERE credit = account_id)
    - (SELECT COALESCE(SUM(amount), 0) FROM transfer WHERE debit = account_id);";

async fn write(path: &Path, steps: &[&str]) {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true);
    let mut db = SqliteConnection::connect_with(&options)
        .await
        .expect("a new file");
    for step in ["BEGIN"].iter().chain(steps).chain(&["COMMIT"]) {
        sqlx::raw_sql(AssertSqlSafe(*step))
            .execute(&mut db)
            .await
            .unwrap_or_else(|error| panic!("{error}: {step}"));
    }
    db.close().await.expect("closed");
}

/// The clean books with a fault in them. `late` comes after the balances were computed.
async fn books(store_fault: &str, ledger_fault: &str, late: &str) -> (PathBuf, PathBuf) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "books-{}-{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).expect("a directory");
    let (store_path, ledger_path) = (dir.join("guafen.db"), dir.join("ledger.db"));
    write(&store_path, &[STORE, &store(), store_fault]).await;
    write(
        &ledger_path,
        &[LEDGER, &ledger(), ledger_fault, BALANCES, late],
    )
    .await;
    (store_path, ledger_path)
}

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
    let report = check(&store, &ledger, Some("c2"))
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
