//! Backups during play: each can be restored, its books are right, and its contests go on to their
//! end.

use crate::program::{BOUND, Server, after, check, contest, operator, program, run, text, token};
use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tempfile::TempDir;

const VIEWERS: usize = 60;
const BACKUPS: usize = 5;

/// Small numbers from a printed seed (xorshift).
struct Random(u64);

impl Random {
    fn new() -> Self {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("a clock");
        let fresh = since.as_secs() ^ u64::from(since.subsec_nanos());
        let given = std::env::var("GUAFEN_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or(fresh) | 1;
        println!("seed {seed}");
        Self(seed)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

async fn create(server: &Server, room: &str, rule: &str, more: Value) -> String {
    let mut terms = contest(room, rule, [4_000, 6_000, 8_000]);
    for (key, value) in more.as_object().expect("an object") {
        terms[key] = value.clone();
    }
    let created = server
        .ok(&operator(), "POST", "/admin/contests", Some(terms))
        .await;
    created["contest_id"].as_str().expect("an id").to_owned()
}

/// One viewer in both contests: signs up, does something, claims.
async fn viewer(server: Arc<Server>, user: String, number: usize, contests: [String; 2]) {
    let token = token(&user, "player");
    server.grant(&user, 100).await;
    for (contest, room) in contests.iter().zip(["room-a", "room-b"]) {
        // Some are too late by now: that is an answer like any other.
        let path = format!("/contests/{contest}/signup");
        let (status, answer) = server.call(&token, "PUT", &path, None).await;
        assert!(matches!(status, 200 | 202 | 409), "{status} {answer}");
        if status != 409 {
            server.event(&user, room, 1 + number as u64 % 5).await;
        }
    }
    for contest in &contests {
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            let path = format!("/contests/{contest}/claim");
            let (status, answer) = server.call(&token, "PUT", &path, None).await;
            match answer["code"].as_str() {
                Some("not_claimable_yet") if begun.elapsed() < BOUND => {}
                _ if status == 202 && begun.elapsed() < BOUND => {}
                _ => {
                    assert!(matches!(status, 200 | 404 | 409), "{status} {answer}");
                    break;
                }
            }
        }
    }
}

/// Restores a backup, checks it, and serves it until its contests have ended.
async fn goes_on(backup: &Path, to: &Path, contests: &[String; 2]) {
    run(&["restore", "--from", text(backup), "--data-dir", text(to)]).expect(0);
    let (code, report) = check(to, &[]);
    assert_eq!(code, Some(0), "as restored: {report:#}");
    let server = Server::start(to);
    for contest in contests {
        server.wait_for(contest, &["closed", "cancelled"]).await;
    }
    server.stop();
    let (code, report) = check(to, &["--at-rest"]);
    assert_eq!(code, Some(0), "at its end: {report:#}");
    for contest in report["contests"].as_array().expect("contests") {
        let coins = |name: &str| contest["money"][name].as_i64().expect("coins");
        let out = [
            "prizes",
            "refunds",
            "rake",
            "sweep",
            "rollover",
            "guarantee_return",
        ]
        .map(coins);
        assert_eq!(
            coins("fees") + coins("guarantee"),
            out.iter().sum::<i64>(),
            "{contest}"
        );
        assert_eq!(
            (
                coins("left"),
                coins("unexplained_in"),
                coins("unexplained_out")
            ),
            (0, 0, 0)
        );
    }
}

// hazard: I7
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_during_play_are_restored_and_go_on() {
    let mut random = Random::new();
    let (data, copies) = (
        TempDir::new().expect("a directory"),
        TempDir::new().expect("a directory"),
    );
    let server = Arc::new(Server::start(data.path()));
    let contests = [
        create(
            &server,
            "room-a",
            "equal",
            json!({ "rake_bps": 500, "guaranteed_pool": 50 }),
        )
        .await,
        create(
            &server,
            "room-b",
            "lucky",
            json!({ "claim_mode": "automatic" }),
        )
        .await,
    ];
    let begun = Instant::now();
    let mut play = tokio::task::JoinSet::new();
    for number in 0..VIEWERS {
        let (server, contests) = (Arc::clone(&server), contests.clone());
        let wait = Duration::from_millis(random.below(3_000));
        play.spawn(async move {
            after(wait).await;
            viewer(server, format!("viewer-{number}"), number, contests).await;
        });
    }
    // Spread over the signups, the tasks and the payments, and each anywhere in its part.
    let mut backups = Vec::new();
    for number in 0..BACKUPS as u64 {
        let at = Duration::from_millis(number * 1_700 + random.below(1_700));
        after(at.saturating_sub(begun.elapsed())).await;
        let to = copies.path().join(format!("backup-{number}"));
        let arguments = ["backup", "--data-dir", text(data.path()), "--to", text(&to)];
        let said = tokio::process::Command::from(program(&arguments))
            .output()
            .await;
        crate::program::Said::from(said.expect("the program")).expect(0);
        println!(
            "backup {number} begun {} ms after the contests",
            at.as_millis()
        );
        backups.push(to);
    }
    while let Some(done) = play.join_next().await {
        done.expect("a viewer");
    }
    for contest in &contests {
        server.wait_for(contest, &["closed"]).await;
    }
    let (code, report) = check(data.path(), &["--at-rest"]);
    assert_eq!(code, Some(0), "where it was played: {report:#}");
    assert!(
        report["contests"][0]["paid"].as_u64() > Some(10),
        "{report}"
    );
    drop(server);
    let mut restored = tokio::task::JoinSet::new();
    for (number, backup) in backups.into_iter().enumerate() {
        let to = copies.path().join(format!("restored-{number}"));
        let contests = contests.clone();
        restored.spawn(async move { goes_on(&backup, &to, &contests).await });
    }
    while let Some(done) = restored.join_next().await {
        done.expect("a restored directory");
    }
}

/// A served directory with a little in it.
async fn small() -> (TempDir, Server) {
    let dir = TempDir::new().expect("a directory");
    let server = Server::start(dir.path());
    server.grant("ann", 30).await;
    (dir, server)
}

fn back_up(dir: &Path, to: &Path) -> crate::program::Said {
    run(&["backup", "--data-dir", text(dir), "--to", text(to)])
}

fn restore(from: &Path, to: &Path) -> crate::program::Said {
    run(&["restore", "--from", text(from), "--data-dir", text(to)])
}

#[tokio::test]
async fn a_backup_is_private_whole_or_refused() {
    let (dir, server) = small().await;
    fs::write(dir.path().join("secret"), "00".repeat(32)).expect("a secret");
    let scratch = TempDir::new().expect("a directory");
    let path = |name: &str| scratch.path().join(name);
    back_up(dir.path(), &path("one")).expect(0);
    for name in ["guafen.db", "ledger.db", "secret", "manifest.json"] {
        let mode = fs::metadata(path("one").join(name))
            .expect(name)
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    assert_eq!(
        fs::metadata(path("one")).expect("it").permissions().mode() & 0o777,
        0o700
    );
    let again = back_up(dir.path(), &path("one")).expect(1);
    assert!(again.error.contains("is not empty"), "{again:?}");
    back_up(&path("nowhere"), &path("two")).expect(1);
    assert!(!path("two").exists());
    let busy = restore(&path("one"), dir.path()).expect(1);
    assert!(busy.error.contains("is in use"), "{busy:?}");
    server.stop();
    let full = restore(&path("one"), dir.path()).expect(1);
    assert!(full.error.contains("is not empty"), "{full:?}");
    restore(&path("one"), &path("restored")).expect(0);
    let secret = fs::metadata(path("restored").join("secret")).expect("a secret");
    assert_eq!(secret.permissions().mode() & 0o777, 0o600);

    // Each file with one byte changed, cut short, or gone.
    for name in ["guafen.db", "ledger.db", "secret", "manifest.json"] {
        let file = path("one").join(name);
        let bytes = fs::read(&file).expect("read");
        let mut changed = bytes.clone();
        changed[bytes.len() / 2] ^= 1;
        for wrong in [Some(&changed[..]), Some(&bytes[..bytes.len() - 9]), None] {
            match wrong {
                Some(wrong) => fs::write(&file, wrong).expect("written"),
                None => fs::remove_file(&file).expect("removed"),
            }
            let said = restore(&path("one"), &path("never")).expect(1);
            assert!(!path("never").exists(), "{name}: {said:?}");
        }
        fs::write(&file, &bytes).expect("written");
    }
    // A restore that broke off.
    fs::write(path("restored").join("restore-incomplete"), "").expect("a mark");
    let said = run(&[
        "serve",
        "--embedded",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        text(&path("restored")),
    ]);
    assert!(said.expect(1).error.contains("did not finish"));
}

#[tokio::test]
async fn a_backup_that_was_killed_is_recognised() {
    let mut random = Random::new();
    let (dir, server) = small().await;
    let scratch = TempDir::new().expect("a directory");
    let mut broken = 0;
    for number in 0..12 {
        let to = scratch.path().join(format!("backup-{number}"));
        let mut child = program(&["backup", "--data-dir", text(dir.path()), "--to", text(&to)])
            .stdout(Stdio::null())
            .spawn()
            .expect("the program");
        after(Duration::from_millis(random.below(120))).await;
        child.kill().expect("killed");
        child.wait().expect("its end");
        let target = scratch.path().join(format!("restored-{number}"));
        if to.join("manifest.json").exists() {
            restore(&to, &target).expect(0);
            run(&["check", "--data-dir", text(&target)]).expect(0);
        } else {
            broken += 1;
            let said = restore(&to, &target).expect(1);
            assert!(said.error.contains("did not finish"), "{said:?}");
            assert!(!target.exists());
        }
    }
    println!("{broken} of 12 were broken off");
    // The server did not notice.
    server.grant("bob", 5).await;
    server.stop();
}

/// The two moments of a backup, drawn far apart: whatever only the ledger knows is found there by
/// its derived order, and nothing is paid or charged a second time.
// hazard: I7
#[tokio::test]
async fn a_ledger_ahead_of_its_store_is_caught_up_with() {
    let (data, scratch) = (
        TempDir::new().expect("a directory"),
        TempDir::new().expect("a directory"),
    );
    let server = Server::start(data.path());
    let open = contest("room-open", "equal", [9_000, 9_500, 10_000]);
    let decided = contest("room-decided", "equal", [1_500, 1_600, 11_000]);
    let mut ids = Vec::new();
    for terms in [open, decided] {
        let created = server
            .ok(&operator(), "POST", "/admin/contests", Some(terms))
            .await;
        ids.push(created["contest_id"].as_str().expect("an id").to_owned());
    }
    let users = ["ann", "bob", "cat"];
    let tokens = users.map(|user| token(user, "player"));
    let [open, decided] = [&ids[0], &ids[1]].map(|id| format!("/contests/{id}"));
    for (user, token) in users.iter().zip(&tokens) {
        server.grant(user, 100).await;
        server
            .ok(token, "PUT", &format!("{decided}/signup"), None)
            .await;
        server.event(user, "room-decided", 2).await;
    }
    server.wait_for(&ids[1], &["claimable"]).await;
    back_up(data.path(), &scratch.path().join("store")).expect(0);
    // None of this will be in the store: three charges, and two prizes.
    for token in &tokens {
        server
            .ok(token, "PUT", &format!("{open}/signup"), None)
            .await;
    }
    for token in &tokens[..2] {
        server
            .ok(token, "PUT", &format!("{decided}/claim"), None)
            .await;
    }
    back_up(data.path(), &scratch.path().join("ledger")).expect(0);
    drop(server);
    let dir = scratch.path().join("apart");
    fs::create_dir(&dir).expect("a directory");
    for (from, name) in [("store", "guafen.db"), ("ledger", "ledger.db")] {
        fs::copy(scratch.path().join(from).join(name), dir.join(name)).expect("copied");
    }
    let server = Server::start(&dir);
    // Ann repeats both, bob neither: by then it must come out the same.
    let signup = server
        .ok(&tokens[0], "PUT", &format!("{open}/signup"), None)
        .await;
    assert_eq!(signup["state"], "in_progress", "{signup}");
    server.event("ann", "room-open", 2).await;
    let claim = server
        .ok(&tokens[0], "PUT", &format!("{decided}/claim"), None)
        .await;
    assert_eq!(
        (&claim["state"], &claim["prize"]),
        (&json!("shared"), &json!(10))
    );
    for id in &ids {
        server.wait_for(id, &["closed"]).await;
    }
    for user in users {
        let path = format!("/sandbox/accounts/{user}");
        let account = server.ok(&operator(), "GET", &path, None).await;
        assert_eq!(
            account["balance"], 100,
            "fee and prize, or fee and refund: {account}"
        );
    }
    server.stop();
    let (code, report) = check(&dir, &["--at-rest"]);
    assert_eq!(code, Some(0), "{report:#}");
    let refunds = report["contests"].as_array().expect("contests").iter();
    let refunds: i64 = refunds
        .filter_map(|contest| contest["money"]["refunds"].as_i64())
        .sum();
    assert_eq!(refunds, 20, "bob's and cat's fees, whose rows were lost");
}
