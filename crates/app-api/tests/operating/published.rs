//! A lucky contest, verified by somebody who has nothing but what was published of it.

use crate::program::{Server, contest, operator, run, run_with, text, token};
use serde_json::{Value, json};
use std::{fs, path::Path, process::Command};
use tempfile::TempDir;

/// The page that says how to do it without this program.
const FAIRNESS: &str = include_str!("../../../../docs/fairness.md");

/// Plays a lucky contest to its freeze; its id.
async fn play(server: &Server, users: &[String]) -> String {
    let mut terms = contest("room-lucky", "lucky", [3_000, 3_500, 60_000]);
    terms["rake_bps"] = json!(300);
    terms["fee_tiers"] = json!([10, 25]);
    let created = server
        .ok(&operator(), "POST", "/admin/contests", Some(terms))
        .await;
    let id = created["contest_id"].as_str().expect("an id").to_owned();
    let commitment = &created["payout"]["commitment"];
    assert!(
        commitment.is_string() && created["settlement"].is_null(),
        "{created}"
    );
    for (n, user) in users.iter().enumerate() {
        server.grant(user, 100).await;
        let tier = json!({ "fee_tier": if n % 3 == 0 { 25 } else { 10 } });
        let path = format!("/contests/{id}/signup");
        server
            .ok(&token(user, "player"), "PUT", &path, Some(tier))
            .await;
        server.event(user, "room-lucky", 1 + n as u64 % 4).await;
    }
    server.wait_for(&id, &["claimable", "closed"]).await;
    id
}

/// Writes what was published into files.
async fn publish(server: &Server, id: &str, users: &[String], dir: &Path) -> Vec<String> {
    let save = |name: &str, text: &str| fs::write(dir.join(name), text).expect("written");
    let (_, contest) = server
        .text(&operator(), "GET", &format!("/contests/{id}"), None)
        .await;
    save("contest.json", &contest);
    let sheet = format!("/contests/{id}/settlement/sheet");
    save(
        "sheet.csv",
        &server.text(&operator(), "GET", &sheet, None).await.1,
    );
    let mut finishers = Vec::new();
    for user in users {
        let path = format!("/contests/{id}/signup");
        let (_, signup) = server
            .text(&token(user, "player"), "GET", &path, None)
            .await;
        if signup.contains("\"weight\"") {
            let name = format!("{user}.json");
            save(&name, &signup);
            finishers.push(text(&dir.join(name)).to_owned());
        }
    }
    finishers
}

fn json(said: &crate::program::Said) -> Value {
    serde_json::from_str(&said.out).unwrap_or_else(|_| panic!("no JSON: {said:?}"))
}

#[tokio::test]
async fn a_lucky_contest_is_verified_from_outside() {
    let (data, files) = (
        TempDir::new().expect("a directory"),
        TempDir::new().expect("a directory"),
    );
    let server = Server::start(data.path());
    let users: Vec<_> = (0..12).map(|n| format!("viewer-{n}")).collect();
    let id = play(&server, &users).await;
    let finishers = publish(&server, &id, &users, files.path()).await;
    let settlement = format!("/contests/{id}/settlement");
    let published = server
        .ok(&token("viewer-1", "player"), "GET", &settlement, None)
        .await;
    let sha256 = published["sheet_sha256"].as_str().expect("a hash");
    server.stop();
    // One in four did too little.
    assert_eq!(finishers.len(), 9);
    let file = |name: &str| text(&files.path().join(name)).to_owned();
    let (contest, sheet) = (file("contest.json"), file("sheet.csv"));

    let right = run(&[
        "verify-sheet",
        &sheet,
        "--sha256",
        sha256,
        "--format",
        "json",
    ])
    .expect(0);
    let report = json(&right);
    assert_eq!(
        (&report["right"], &report["finishers"]),
        (&json!(true), &json!(9)),
        "{report}"
    );
    assert_eq!(report["prizes"], published["pool"]);
    assert_eq!(report["sha256"], sha256);
    let lucky = ["verify-lucky", "--contest", &contest];
    let against_sheet =
        run(&[&lucky[..], &["--sheet", &sheet, "--format", "json"]].concat()).expect(0);
    assert_eq!(json(&against_sheet)["weights"], 9);
    let signups: Vec<_> = finishers.iter().map(String::as_str).collect();
    let said = run(&[&lucky[..], &["--signup"], &signups].concat()).expect(0);
    assert!(
        said.out
            .contains("right: the secret is the one committed to"),
        "{said:?}"
    );

    tampered(&contest, &sheet, sha256, &finishers[0]);
    by_hand(files.path());
}

/// What is not right, not there or not asked for properly has an exit code of its own.
fn tampered(contest: &str, sheet: &str, sha256: &str, signup: &str) {
    let original = fs::read_to_string(sheet).expect("a sheet");
    let changed = original.replacen(",viewer-", ",viewer.", 1);
    let said = run_with(
        &["verify-sheet", "-", "--sha256", sha256],
        changed.as_bytes(),
    )
    .expect(1);
    for rule in ["line 19, weight", "sha256", "published_sha256"] {
        assert!(said.out.contains(rule), "{rule}: {said:?}");
    }
    let other = "0".repeat(64);
    run(&["verify-sheet", sheet, "--sha256", &other]).expect(1);
    run(&["verify-sheet", sheet, "--sha256", "short"]).expect(2);
    run(&["verify-sheet", "/nowhere"]).expect(2);
    run(&["verify-sheet", "/"]).expect(2);
    let document: Value =
        serde_json::from_str(&fs::read_to_string(contest).expect("read")).expect("JSON");
    let lucky = |change: &dyn Fn(&mut Value)| {
        let mut document = document.clone();
        change(&mut document);
        let arguments = ["verify-lucky", "--contest", "-", "--signup", signup];
        run_with(&arguments, document.to_string().as_bytes())
    };
    lucky(&|_| ()).expect(0);
    lucky(&|contest| contest["payout"]["commitment"] = json!(other)).expect(1);
    lucky(&|contest| contest["settlement"]["secret"] = json!(other)).expect(1);
    lucky(&|contest| contest["settlement"]["position"] = json!(1)).expect(1);
    let early = lucky(&|contest| contest["settlement"] = Value::Null).expect(2);
    assert!(early.error.contains("not settled yet"), "{early:?}");
    let equal = lucky(&|contest| contest["payout"]["rule"] = json!("equal")).expect(2);
    assert!(equal.error.contains("not lucky"), "{equal:?}");
    run(&["verify-lucky", "--contest", contest]).expect(2);
    run(&["verify-lucky", "--contest", "-", "--sheet", "-"]).expect(2);
    run_with(
        &["verify-lucky", "--contest", "-", "--signup", signup],
        b"no JSON",
    )
    .expect(2);
}

/// The lines of docs/fairness.md, as a viewer would run them.
fn by_hand(dir: &Path) {
    let script = FAIRNESS
        .split("```python\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    fs::copy(dir.join("viewer-1.json"), dir.join("signup.json")).expect("copied");
    let python = |contest: &str| {
        Command::new("python3")
            .current_dir(dir)
            .args(["-c", script.expect("a script"), contest, "signup.json"])
            .output()
    };
    let said = match python("contest.json") {
        Ok(output) => crate::program::Said::from(output).expect(0),
        Err(error) => {
            println!("NOT RUN: the lines of docs/fairness.md need python3: {error}");
            return;
        }
    };
    assert!(said.out.contains("right"), "{said:?}");
    let contest = fs::read_to_string(dir.join("contest.json")).expect("read");
    let mut document: Value = serde_json::from_str(&contest).expect("JSON");
    document["settlement"]["secret"] = json!("0".repeat(64));
    fs::write(dir.join("other.json"), document.to_string()).expect("written");
    let wrong = crate::program::Said::from(python("other.json").expect("python"));
    assert!(
        wrong.code != Some(0) || !wrong.out.contains("right"),
        "{wrong:?}"
    );
}
