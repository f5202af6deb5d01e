//! The five payout rules: weights, prizes and hash that were computed elsewhere are green, each
//! planted wrong one is red.

use checker::{check, report::Report};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

const STORE: &str = concat!(
    include_str!("../../adapters-sqlite/migrations/0001_contests.sql"),
    include_str!("../../adapters-sqlite/migrations/0002_rules.sql")
);
const LEDGER: &str = include_str!("../../adapters-ledger/migrations/0001_ledger.sql");
const SECRET: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A rule, the weights and prizes of ann, bob and cat, and the sheet's hash: from Python's hmac and
/// hashlib. They paid 10, 30 and 50; did 3, 7 and 31 of 3; met the target at 1500, 2500 and 2999 of
/// 1000 to 3000; the pool was closed at position 9.
const RULES: [(&str, [i64; 3], [i64; 3], &str); 5] = [
    (
        "equal",
        [1, 1, 1],
        [30, 30, 30],
        "eefd064296dec9bf12233ec5ae14de2612393d65f8acec9dc7df3a909ecbdb52",
    ),
    (
        "by_fee",
        [10, 30, 50],
        [10, 30, 50],
        "aea8feab109797dd875e78ff60648ee2bb24b0f961e86371f8baa5e3fc07c723",
    ),
    (
        "by_score",
        [3, 7, 30],
        [6, 16, 68],
        "3f95cd8c10937e3c32660aad239b43a91d0455b51c07bca1277373e57c8d6892",
    ),
    (
        "early_bird",
        [750, 250, 1],
        [67, 22, 1],
        "77f37f5d897c15edd025190f4a55f3a55029577f4653973ef69403439e31fbb2",
    ),
    (
        "lucky",
        [69, 72, 26],
        [37, 38, 15],
        "60fff6062f0d10249ece75909bf3ff92e21fe1a024594f9a1f79522ce17fa6d6",
    ),
];

const VIEWERS: [(&str, &str, i64, i64, i64); 3] = [
    ("s1", "ann", 10, 3, 1_500),
    ("s2", "bob", 30, 7, 2_500),
    ("s3", "cat", 50, 31, 2_999),
];

fn order(text: &str) -> String {
    Sha256::digest(format!("guafen/1/{text}"))
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn store(rule: &str, weights: [i64; 3], prizes: [i64; 3], hash: &str) -> String {
    let secret = if rule == "lucky" {
        format!("'{SECRET}'")
    } else {
        "NULL".to_owned()
    };
    let sum: i64 = weights.iter().sum();
    let mut sql = format!(
        "INSERT INTO contest (contest_id, title, room_id, fee, fee_tiers, task_kind, task_target, rule,
            draw_secret, rake_bps, guaranteed_pool, carry, claim_mode, no_winner, remainder, unclaimed, grace_ms,
            signup_opens_at, signup_closes_at, tasks_end_at, claim_closes_at, phase, close_position, frozen_at,
            fees, rake, pool, guarantee_return, finishers, weight_sum, claimable_at, sheet_sha256, version,
            created_at, updated_at)
         VALUES ('c1', 't', 'room', 10, '[10,30,50]', 'open_chest', 3, '{rule}', {secret}, 0, 0, 0, 'manual',
            'refund', 'spread', 'pay', 100, 1000, 2000, 3000, 4000, 'claimable', 9, 3100, 90, 0, 90, 0, 3, '{sum}',
            3200, '{hash}', 7, 900, 5000);"
    );
    let phases = [
        "preparing",
        "funding",
        "draft",
        "running",
        "judging",
        "listing",
        "claimable",
    ];
    for (version, phase) in (1..).zip(phases) {
        sql += &format!("INSERT INTO contest_history VALUES ('c1', {version}, '{phase}', 1000);");
    }
    let mut before = 0;
    for (n, (id, user, fee, quantity, met_at)) in (0_i32..).zip(VIEWERS) {
        let index = usize::try_from(n).expect("small");
        let (weight, prize, position) = (weights[index], prizes[index], n + 4);
        sql += &format!(
            "INSERT INTO signup (contest_id, signup_id, user_id, fee, fee_order_id, state, tries, fee_position,
                paid_at, quantity, met_at, weight, version, created_at, updated_at)
             VALUES ('c1', '{id}', '{user}', {fee}, '{}', 'completed', 0, {position}, {}, {quantity}, {met_at},
                {weight}, 4, 1100, 5000);
             INSERT INTO task_progress VALUES ('c1', '{user}', {met_at}, 'chests', '{id}', {quantity});
             INSERT INTO sheet_line VALUES ('c1', '{id}', '{user}', {weight}, '{before}', {prize});",
            order(&format!("fee/c1/{user}/0")),
            1_100 + position,
        );
        before += weight;
        for (version, state) in (1..).zip(["initialized", "paid", "in_progress", "completed"]) {
            sql += &format!(
                "INSERT INTO signup_history VALUES ('{id}', {version}, 0, '{state}', 1100);"
            );
        }
    }
    sql
}

fn ledger() -> String {
    let mut sql = "INSERT INTO account (name, balance) VALUES ('pool/c1', 90);
        UPDATE account SET balance = -90 WHERE name = 'platform/issuing';"
        .to_owned();
    let transfer = |position: i32, text: &str, from: &str, to: &str, amount: i64| {
        format!(
            "INSERT INTO transfer SELECT {position}, '{}', d.account_id, c.account_id, {amount}, 'guafen/1/{text}', {}
             FROM account d, account c WHERE d.name = '{from}' AND c.name = '{to}';",
            order(text),
            1_100 + position
        )
    };
    for (_, user, ..) in VIEWERS {
        sql += &format!("INSERT INTO account (name, balance) VALUES ('user/{user}', 0);");
    }
    for (n, (_, user, fee, ..)) in (1..).zip(VIEWERS) {
        let account = format!("user/{user}");
        sql += &transfer(
            n,
            &format!("grant/{user}"),
            "platform/issuing",
            &account,
            fee,
        );
    }
    for (n, (_, user, fee, ..)) in (4..).zip(VIEWERS) {
        let account = format!("user/{user}");
        sql += &transfer(n, &format!("fee/c1/{user}/0"), &account, "pool/c1", fee);
    }
    sql
}

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

async fn report(rule: usize, fault: &str) -> Report {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("rules-{}-{number}", std::process::id()));
    std::fs::create_dir_all(&dir).expect("a directory");
    let (store_path, ledger_path) = (dir.join("guafen.db"), dir.join("ledger.db"));
    let (rule, weights, prizes, hash) = RULES[rule];
    write(
        &store_path,
        &[STORE, &store(rule, weights, prizes, hash), fault],
    )
    .await;
    write(&ledger_path, &[LEDGER, &ledger()]).await;
    let report = check(&store_path, &ledger_path, None)
        .await
        .expect("readable books");
    std::fs::remove_dir_all(&dir).expect("removed");
    report
}

#[tokio::test]
async fn each_rule_is_green() {
    for (rule, (name, weights, ..)) in RULES.iter().enumerate() {
        let report = report(rule, "").await;
        assert!(report.is_green(), "{name} {weights:?}: {report}");
    }
}

#[tokio::test]
async fn a_wrong_weight_is_red_whatever_the_rule() {
    for (rule, (name, weights, ..)) in RULES.iter().enumerate() {
        // Wrong in the signup and on the sheet alike, and with it the sum.
        let wrong = weights[1] + 1;
        let fault = format!(
            "UPDATE signup SET weight = {wrong} WHERE signup_id = 's2';
             UPDATE sheet_line SET weight = {wrong} WHERE signup_id = 's2';
             UPDATE contest SET weight_sum = weight_sum + 1;"
        );
        let report = report(rule, &fault).await;
        let found = report.to_string();
        assert!(
            found.contains("the rule gives"),
            "{}: {found}",
            RULES[rule].0
        );
    }
}

#[tokio::test]
async fn what_a_weight_is_made_from_is_held_against_it() {
    let (by_fee, by_score, early_bird, lucky) = (1, 2, 3, 4);
    let other = SECRET.replace("1f", "2f");
    let cases = [
        (
            by_fee,
            "PAID_MEANS_PAID",
            "UPDATE signup SET fee = 20 WHERE signup_id = 's2'".to_owned(),
        ),
        (
            by_fee,
            "PAID_MEANS_PAID",
            "UPDATE contest SET fee_tiers = '[10,50]'".to_owned(),
        ),
        (
            by_score,
            "FROZEN_ONCE",
            "UPDATE signup SET quantity = 8 WHERE signup_id = 's2'".to_owned(),
        ),
        (
            by_score,
            "FROZEN_ONCE",
            "UPDATE contest SET task_target = 2".to_owned(),
        ),
        (
            by_score,
            "FROZEN_ONCE",
            "INSERT INTO task_progress VALUES ('c1', 'bob', 2600, 'chests', 'more', 1)".to_owned(),
        ),
        (
            early_bird,
            "FROZEN_ONCE",
            "UPDATE signup SET met_at = 2400 WHERE signup_id = 's2'".to_owned(),
        ),
        (
            early_bird,
            "FROZEN_ONCE",
            "UPDATE contest SET signup_opens_at = 900".to_owned(),
        ),
        (
            early_bird,
            "FROZEN_ONCE",
            "UPDATE task_progress SET occurred_at = 2499 WHERE user_id = 'bob'".to_owned(),
        ),
        (
            lucky,
            "FROZEN_ONCE",
            format!("UPDATE contest SET draw_secret = '{other}'"),
        ),
        (
            lucky,
            "FROZEN_ONCE",
            "UPDATE contest SET draw_secret = NULL".to_owned(),
        ),
        (
            lucky,
            "FROZEN_ONCE",
            "UPDATE contest SET close_position = 10".to_owned(),
        ),
    ];
    for (rule, invariant, fault) in cases {
        let report = report(rule, &fault).await;
        let red: Vec<_> = report.red().map(|red| red.name()).collect();
        assert!(red.contains(&invariant), "{fault}: {red:?}\n{report}");
        // Evidence is read by many; a secret in the store may not be out yet.
        assert!(!report.to_string().contains(&other), "{report}");
    }
}

#[tokio::test]
async fn the_published_hash_is_held_against_the_lines() {
    for fault in [
        "UPDATE contest SET sheet_sha256 = replace(sheet_sha256, 'e', 'f')",
        "UPDATE sheet_line SET signup_id = 's4' WHERE signup_id = 's3'",
        "UPDATE contest SET frozen_at = 3101",
        "UPDATE contest SET remainder = 'platform'",
    ] {
        for rule in 0..RULES.len() {
            let report = report(rule, fault).await;
            let found = report.to_string();
            assert!(
                found.contains("the sheet was published with"),
                "{fault}: {found}"
            );
        }
    }
    let before = "UPDATE contest SET sheet_sha256 = NULL";
    assert!(
        report(4, before).await.is_green(),
        "settled before hashes were kept"
    );
}

/// A weight that was fixed before the freeze is held against the rule as well.
#[tokio::test]
async fn weights_are_checked_before_the_freeze() {
    let running = "DELETE FROM sheet_line; DELETE FROM contest_history WHERE version > 4;
        UPDATE contest SET phase = 'running', frozen_at = NULL, fees = NULL, rake = NULL, pool = NULL,
            guarantee_return = NULL, finishers = NULL, weight_sum = NULL, claimable_at = NULL,
            sheet_sha256 = NULL, version = 4;";
    assert!(report(1, running).await.is_green());
    let fault = format!("{running} UPDATE signup SET weight = 31 WHERE signup_id = 's2'");
    let red = report(1, &fault).await;
    assert!(red.to_string().contains("the rule gives"), "{red}");
}
