//! The commands of the real program, on a real MySQL and the reference ledger behind gRPC.

#![allow(clippy::expect_used, reason = "these are tests")]

#[path = "../../production/tests/common/mod.rs"]
mod common;

use common::{Bed, HOUR, chests, create, grant, now, sign_up, terms};
use domain::{ids::ContestId, terms::ClaimMode};
use serde_json::Value;
use std::process::{Command, Output};
use tempfile::TempDir;

/// The program with a configuration of its own.
struct Program {
    config: TempDir,
}

impl Program {
    fn new(bed: &Bed) -> Self {
        let config = TempDir::new().expect("a directory");
        let places = bed.places();
        let text = format!(
            "[store]\nurl = \"{}\"\nprofile = \"test\"\n[redis]\nurl = \"{}\"\nbudget_ms = 1000\n\
             [funds]\nurl = \"{}\"\n[reconcile]\nrecorded_within_s = 5\n",
            places.store, places.redis, places.funds
        );
        std::fs::write(config.path().join("guafen.toml"), text).expect("a file");
        Self { config }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let file = self.config.path().join("guafen.toml");
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        // The test's own runtime serves the ledger meanwhile.
        tokio::task::spawn_blocking(move || {
            Command::new(env!("CARGO_BIN_EXE_app-reconciler"))
                .args(arguments)
                .arg("--config")
                .arg(file)
                .output()
                .expect("the program runs")
        })
        .await
        .expect("an output")
    }

    async fn said(&self, code: i32, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let text = String::from_utf8(output.stdout).expect("text");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {text}{error}"
        );
        text
    }
}

/// A contest whose three finishers were paid by `once`.
async fn played() -> (Bed, Program, ContestId) {
    let bed = Bed::new().await;
    let node = bed.node().await;
    let program = Program::new(&bed);
    let from = now(&node).await;
    let mut terms = terms(from, [4_000, 4_100, HOUR]);
    terms.claim_mode = ClaimMode::Automatic;
    let contest = create(&node, terms, None).await;
    for name in ["ann", "bob", "eve", "lea"] {
        grant(&node, name).await;
        sign_up(&node, contest.id, name).await;
        if name != "lea" {
            chests(&node, &contest, name, 1, now(&node).await).await;
        }
    }
    let id = contest.id.to_string();
    common::until("the contest is over", async || {
        let said = program
            .run(&["once", "--contest", &id, "--format", "json"])
            .await;
        assert_eq!(said.status.code(), Some(0), "{said:?}");
        let phase = common::contest(&node, contest.id).await.phase.kind();
        phase.is_terminal().then_some(())
    })
    .await;
    (bed, program, contest.id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn once_settles_and_reconciles_and_the_report_adds_up_in_every_format() {
    let (bed, program, contest) = played().await;
    let id = contest.to_string();
    let report = ["report", "--contest", &id, "--format"];
    let format = |format| [&report[..], &[format]].concat();
    let json: Value = serde_json::from_str(&program.said(0, &format("json")).await).expect("JSON");
    assert_eq!(json["total_in"], 40);
    assert_eq!(json["in"]["fees"], 40);
    assert_eq!(json["out"]["prizes"], 40);
    assert_eq!(json["total_out"], 40);
    assert_eq!((&json["held"], &json["adds_up"]), (&0.into(), &true.into()));
    assert_eq!(json["funnel"]["claimed"], 3);
    let table = program.said(0, &format("table")).await;
    assert!(table.contains("in - out = held: the sums agree"), "{table}");
    let csv = program.said(0, &format("csv")).await;
    assert!(csv.starts_with("section,item,signups,coins\n"), "{csv}");
    assert!(
        csv.contains("\nin,fees,,40\n") && csv.contains("\nout,prizes,,40\n"),
        "{csv}"
    );
    assert!(csv.contains("\nprizes,shared,3,40\n"), "{csv}");
    let html = program.said(0, &format("html")).await;
    assert!(
        html.starts_with("<!doctype html>") && html.contains("<svg"),
        "{html}"
    );
    assert!(
        html.contains("fees 报名费") && !html.contains("<script"),
        "{html}"
    );

    // A row that is lost is found, told by the exit code, and stands in the report.
    let lost = "DELETE FROM signup WHERE user_id = 'lea'";
    assert_eq!(bed.store.change(lost).await.expect("a change"), 1);
    let once = ["once", "--contest", &id, "--format", "json"];
    let said = program.said(3, &once).await;
    let run: Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(run["totals"]["differences"], 1);
    assert_eq!(run["findings"][0]["class"], "ORPHAN_TRANSFER");
    assert_eq!(run["findings"][0]["user_id"], "lea");
    let table = program.said(3, &["once", "--all", "--dry-run"]).await;
    assert!(table.contains("OPEN     ORPHAN_TRANSFER"), "{table}");
    let table = program.said(3, &format("table")).await;
    assert!(
        table.contains("in - out is NOT what the account holds"),
        "{table}"
    );
    assert!(table.contains("open findings: 1"), "{table}");
    let html = program.said(3, &format("html")).await;
    assert!(html.contains("ORPHAN_TRANSFER"), "{html}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tallies_are_rebuilt_leases_listed_and_mistakes_named() {
    let bed = Bed::new().await;
    let node = bed.node().await;
    let program = Program::new(&bed);
    let contest = common::open(&node).await.id.to_string();
    let rebuilt = program
        .said(0, &["rebuild-tally", "--contest", &contest])
        .await;
    assert!(rebuilt.contains("are as the rows say"), "{rebuilt}");
    let none = program.said(0, &["lease", "list"]).await;
    assert!(none.contains("no lease is held"), "{none}");
    let owner = node.ports().ids.next();
    let taken = node.ports().leases.take("contest/x", owner, 60_000).await;
    taken.expect("an answer").expect("a lease");
    let held = program.said(0, &["lease", "list"]).await;
    assert!(held.starts_with("contest/x  holder "), "{held}");
    let nobody = "00000000-0000-7000-8000-000000000000";
    for command in ["once", "report", "rebuild-tally"] {
        let said = program.run(&[command, "--contest", nobody]).await;
        assert_eq!(said.status.code(), Some(1));
        let error = String::from_utf8_lossy(&said.stderr);
        assert!(error.contains("there is no"), "{command}: {error}");
    }
    for wrong in [&["once"][..], &["report", "--contest", "x"], &["lease"]] {
        assert_eq!(program.run(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
}
