//! `app-funds` as a process: killed under load, stopped, and with faults.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use common::{Server, ask, connect, until, user};
use domain::transfer::Transfer;
use ports::funds::{Funds, TransferOutcome};
use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::sleep;

const CALLERS: u64 = 16;

// hazard: A1, A8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_kill_is_there_and_repeats_answer_the_same() {
    let directory = TempDir::new().expect("a directory");
    let ledger = directory.path().join("ledger.db").display().to_string();
    let mut server = Server::start(&["--listen", "127.0.0.1:0", "--ledger", &ledger]);
    let address = server.url.strip_prefix("http://").expect("http").to_owned();
    let client = Arc::new(connect(&server.url).await);
    let ann = user("ann");
    client.open_account(&ann).await.expect("an account");
    let mut all: Vec<Transfer> = Vec::new();
    let next = Arc::new(AtomicU64::new(1));
    for round in 0..3 {
        let answered = Arc::new(AtomicU64::new(0));
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                let (client, ann) = (Arc::clone(&client), ann.clone());
                let (next, answered) = (Arc::clone(&next), Arc::clone(&answered));
                tokio::spawn(async move {
                    let mut applied = Vec::new();
                    loop {
                        let request = ask(next.fetch_add(1, Ordering::SeqCst), &ann, 1);
                        match client.transfer(&request).await {
                            TransferOutcome::Applied(transfer) => {
                                applied.push(transfer);
                                answered.fetch_add(1, Ordering::SeqCst);
                            }
                            TransferOutcome::Unknown | TransferOutcome::NotSent => return applied,
                            other => panic!("{other:?}"),
                        }
                    }
                })
            })
            .collect();
        until(async || answered.load(Ordering::SeqCst) >= 300).await;
        server.kill();
        for caller in callers {
            all.extend(caller.await.expect("a caller that ends"));
        }
        server = Server::start(&["--listen", &address, "--ledger", &ledger]);
        // The client that was there before finds the new process by itself.
        until(async || client.lookup(&[]).await.is_ok()).await;
        println!("round {round}: {} acknowledged", all.len());
        for transfers in all.chunks(1_000) {
            let orders: Vec<_> = transfers.iter().map(|transfer| transfer.order_id).collect();
            let found = client.lookup(&orders).await.expect("an answer").found;
            let stored: Vec<_> = found.into_iter().flatten().collect();
            assert_eq!(stored, transfers);
        }
        for transfer in all.iter().rev().take(50) {
            let order = u128::from_be_bytes(transfer.order_id.0);
            let repeat = ask(u64::try_from(order).expect("small"), &ann, 1);
            assert_eq!(
                client.transfer(&repeat).await,
                TransferOutcome::Applied(transfer.clone())
            );
        }
    }
    let balance = client.balance(&ann).await.expect("a balance").amount;
    // Whatever was not acknowledged may have applied, and never more than once.
    let asked = next.load(Ordering::SeqCst) - 1;
    assert!(balance >= i64::try_from(all.len()).expect("small"));
    assert!(balance <= i64::try_from(asked).expect("small"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_to_stop_lets_what_is_under_way_end() {
    let directory = TempDir::new().expect("a directory");
    let ledger = directory.path().join("ledger.db").display().to_string();
    let config = directory.path().join("funds.toml");
    let text = "[ledger]\nprofile = 'test'\n[faults]\nslow_per_mille = 1000\nslow_ms = 700\n";
    std::fs::write(&config, text).expect("a file");
    let config = config.display().to_string();
    let mut server = Server::start(&[
        "--listen",
        "127.0.0.1:0",
        "--ledger",
        &ledger,
        "--config",
        &config,
        "--allow-faults",
    ]);
    let client = Arc::new(connect(&server.url).await);
    let ann = user("ann");
    client.open_account(&ann).await.expect("an account");
    let mut slow = tokio::spawn({
        let (client, request) = (Arc::clone(&client), ask(1, &ann, 5));
        async move { client.transfer(&request).await }
    });
    // It is under way for 700 ms; the signal comes within.
    tokio::select! {
        ended = &mut slow => panic!("it ended before the signal: {ended:?}"),
        () = sleep(Duration::from_millis(300)) => {}
    }
    server.signal("TERM");
    let outcome = slow.await.expect("an end");
    assert!(
        matches!(outcome, TransferOutcome::Applied(_)),
        "{outcome:?}"
    );
    assert!(server.wait(), "it ends well");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_can_be_changed_while_it_runs() {
    let directory = TempDir::new().expect("a directory");
    let ledger = directory.path().join("ledger.db").display().to_string();
    let file = directory.path().join("funds.toml");
    let write = |faults: &str| {
        let text = format!("[ledger]\nprofile = 'test'\n[faults]\nseed = 7\n{faults}");
        std::fs::write(&file, text).expect("a file");
    };
    write("");
    let config = file.display().to_string();
    let mut server = Server::start(&[
        "--listen",
        "127.0.0.1:0",
        "--ledger",
        &ledger,
        "--config",
        &config,
        "--allow-faults",
    ]);
    let client = connect(&server.url).await;
    let ann = user("ann");
    client.open_account(&ann).await.expect("an account");
    write("lost_per_mille = 1000\n");
    server.signal("HUP");
    let said = server.line();
    assert!(
        said.starts_with("app-funds follows") && said.contains("lost_per_mille: 1000"),
        "{said}"
    );
    let request = ask(1, &ann, 5);
    assert_eq!(client.transfer(&request).await, TransferOutcome::Unknown);
    write("lost_per_mille = 1001\n");
    server.signal("HUP");
    let said = server.line();
    assert!(
        said.starts_with("app-funds keeps its faults") && said.contains("faults.lost_per_mille"),
        "{said}"
    );
    write("");
    server.signal("HUP");
    assert!(server.line().starts_with("app-funds follows"));
    let found = client.lookup(&[request.order_id]).await.expect("an answer");
    assert!(
        found.found.iter().all(Option::is_some),
        "it applied, and its answer was lost"
    );
    assert!(matches!(
        client.transfer(&request).await,
        TransferOutcome::Applied(_)
    ));
    assert_eq!(client.balance(&ann).await.expect("a balance").amount, 5);
}

#[test]
fn faults_are_refused_for_real_coins() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("funds.toml");
    let refused = |text: &str, arguments: &[&str]| {
        std::fs::write(&file, text).expect("a file");
        let output = Command::new(env!("CARGO_BIN_EXE_app-funds"))
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--config"])
            .arg(&file)
            .arg("--ledger")
            .arg(directory.path().join("ledger.db"))
            .args(arguments)
            .output()
            .expect("an end");
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).expect("a text")
    };
    let faults = "[faults]\nlost_per_mille = 1\n";
    assert!(refused(faults, &["--allow-faults"]).contains("ledger.profile"));
    assert!(refused(faults, &[]).contains("faults"));
    assert!(
        refused(&format!("{faults}[ledger]\nprofile = 'test'\n"), &[]).contains("--allow-faults")
    );
    assert!(refused("", &["--allow-faults"]).contains("ledger.profile"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_can_ask_a_running_server() {
    let directory = TempDir::new().expect("a directory");
    let ledger = directory.path().join("ledger.db").display().to_string();
    let server = Server::start(&["--listen", "127.0.0.1:0", "--ledger", &ledger]);
    let run = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_app-funds"))
            .args(arguments)
            .args(["--url", &server.url])
            .output()
            .expect("an end");
        let text = String::from_utf8(output.stdout).expect("a text");
        (output.status.success(), text.trim().to_owned())
    };
    let client = connect(&server.url).await;
    let ann = user("ann");
    client.open_account(&ann).await.expect("an account");
    client.transfer(&ask(1, &ann, 5)).await;
    assert_eq!(
        run(&["balance", "user/ann"]),
        (true, "5 at position 1".to_owned())
    );
    assert_eq!(run(&["balance", "user/nobody"]), (false, String::new()));
    assert_eq!(run(&["probe"]), (true, "position 1".to_owned()));
    drop(server);
}
