//! A data directory of an earlier version opens, and everything in it goes on to its end; one of a
//! later version is refused.

use crate::program::{Server, check, program, run, text, token};
use std::{fs, path::Path};
use tempfile::TempDir;

const CLOSED: &str = "01a20602-fc71-739b-92ec-bc39a5f370a4";
const CANCELLED: &str = "01a20602-fc89-73b5-ad93-754140bb758b";
const UNPAID: &str = "01a20602-fc90-7006-8dd0-caf02e9fcaed";
const CLAIMABLE: &str = "01a20602-fc99-706e-b7a3-7cb8cbeb3f06";
const RUNNING: &str = "01a20602-fcb3-749d-8091-c9a24d9a7a94";
const OPEN: &str = "01a20602-fcd2-7395-a9e3-ddc2afdfb6ba";

/// The directory as 0.1.0 left it; tests/fixtures says how it was made.
fn directory() -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data-dir-0.1.0");
    for name in ["guafen.db", "ledger.db"] {
        fs::copy(from.join(name), dir.path().join(name)).expect("copied");
    }
    dir
}

async fn expect(server: &Server, contest: &str, user: &str, state: &str, prize: Option<u64>) {
    let path = format!("/contests/{contest}/signup");
    let signup = server.ok(&token(user, "player"), "GET", &path, None).await;
    assert_eq!(signup["state"], state, "{signup}");
    assert_eq!(signup["prize"].as_u64(), prize, "{signup}");
}

#[tokio::test]
async fn a_directory_of_0_1_0_is_upgraded_and_goes_on() {
    let dir = directory();
    let (code, before) = check(dir.path(), &[]);
    assert_eq!(code, Some(0), "as it was left: {before}");
    let server = Server::start(dir.path());
    assert_eq!(server.phase(CLOSED).await, "closed");
    assert_eq!(server.phase(CANCELLED).await, "cancelled");
    expect(&server, CLOSED, "ann", "shared", Some(14)).await;
    expect(&server, CLOSED, "cat", "missed", None).await;
    expect(&server, CANCELLED, "dan", "refunded", None).await;
    // It ended while nobody served it; the claim window is as long as it was to be all the same.
    server.wait_for(RUNNING, &["claimable"]).await;
    let claim = format!("/contests/{RUNNING}/claim");
    let claimed = server
        .ok(&token("ann", "player"), "PUT", &claim, None)
        .await;
    assert_eq!(
        (claimed["state"].as_str(), claimed["prize"].as_u64()),
        (Some("shared"), Some(24))
    );
    for contest in [UNPAID, CLAIMABLE, OPEN, RUNNING] {
        server.wait_for(contest, &["closed"]).await;
    }
    // Not claimed in time: to the platform in the one, to the winners in the other.
    expect(&server, UNPAID, "ann", "shared", Some(15)).await;
    expect(&server, UNPAID, "bob", "forfeited", None).await;
    expect(&server, RUNNING, "bob", "forfeited", None).await;
    expect(&server, RUNNING, "dan", "missed", None).await;
    for user in ["fay", "gus", "ivy"] {
        expect(&server, CLAIMABLE, user, "shared", Some(9)).await;
    }
    // It was open, paid automatically, and had a signup that never had the coins.
    expect(&server, OPEN, "ann", "shared", Some(20)).await;
    expect(&server, OPEN, "bob", "missed", None).await;
    expect(&server, OPEN, "hal", "expired", None).await;
    // Sheets from before hashes were kept can be verified all the same.
    for contest in [CLOSED, RUNNING] {
        let path = format!("/contests/{contest}/settlement/sheet");
        let (status, sheet) = server
            .text(&crate::program::operator(), "GET", &path, None)
            .await;
        assert_eq!(status, 200, "{sheet}");
        crate::program::run_with(&["verify-sheet", "-"], sheet.as_bytes()).expect(0);
    }
    server.stop();
    let (code, after) = check(dir.path(), &["--at-rest"]);
    assert_eq!(code, Some(0), "{after}");
    assert_eq!(after["contests"].as_array().map(Vec::len), Some(6));
    for contest in after["contests"].as_array().expect("contests") {
        assert_eq!(contest["money"]["left"], 0, "{contest}");
    }
    // It opens again, and there is nothing left to do.
    Server::start(dir.path()).stop();
}

const STORE: [(i64, &str, &str); 2] = [
    (
        1,
        "contests",
        include_str!("../../../adapters-sqlite/migrations/0001_contests.sql"),
    ),
    (
        2,
        "rules",
        include_str!("../../../adapters-sqlite/migrations/0002_rules.sql"),
    ),
];
const LEDGER: (i64, &str, &str) = (
    1,
    "ledger",
    include_str!("../../../adapters-ledger/migrations/0001_ledger.sql"),
);
const FUTURE: (i64, &str, &str) = (99, "future", "CREATE TABLE future (x)");

#[tokio::test]
async fn a_directory_of_a_later_version_is_refused() {
    let later: [(&str, Vec<_>); 2] = [
        ("guafen.db", [&STORE[..], &[FUTURE]].concat()),
        ("ledger.db", vec![LEDGER, FUTURE]),
    ];
    for (name, steps) in later {
        let dir = directory();
        let path = dir.path().join(name);
        drop(
            sql_core::sqlite::open(&path, &steps, 1)
                .await
                .expect("a later schema"),
        );
        let before = fs::read(&path).expect("read");
        let said = crate::program::Said::from(
            program(&[
                "serve",
                "--embedded",
                "--listen",
                "127.0.0.1:0",
                "--data-dir",
                text(dir.path()),
            ])
            .output()
            .expect("the program"),
        )
        .expect(1);
        assert!(
            said.error
                .contains("written by a newer version of this program"),
            "{said:?}"
        );
        assert!(said.error.contains("schema step 99"), "{said:?}");
        assert_eq!(fs::read(&path).expect("read"), before, "it was changed");
        // What only reads it still can.
        run(&["check", "--data-dir", text(dir.path())]).expect(0);
    }
}
