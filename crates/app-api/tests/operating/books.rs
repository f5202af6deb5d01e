//! `check` on a directory that is in use and on one that is none, help and completions.

use crate::program::{Server, check, contest, operator, run, text, token};
use tempfile::TempDir;

#[tokio::test]
async fn a_directory_is_checked_while_it_is_served() {
    let dir = TempDir::new().expect("a directory");
    let server = Server::start(dir.path());
    let terms = contest("room-1", "equal", [60_000, 90_000, 120_000]);
    let created = server
        .ok(&operator(), "POST", "/admin/contests", Some(terms))
        .await;
    let id = created["contest_id"].as_str().expect("an id");
    server.grant("ann", 30).await;
    let path = format!("/contests/{id}/signup");
    server.ok(&token("ann", "player"), "PUT", &path, None).await;
    let (code, report) = check(dir.path(), &["--contest", id]);
    assert_eq!(code, Some(0), "{report}");
    assert_eq!(report["green"], true);
    assert_eq!(report["contests"][0]["money"]["fees"], 10);
    let said = run(&["check", "--data-dir", text(dir.path())]).expect(0);
    assert!(
        said.out.contains(id) && said.out.contains("green: every invariant holds"),
        "{said:?}"
    );
    // It is expected to be over, and is not.
    let said = run(&["check", "--data-dir", text(dir.path()), "--at-rest"]).expect(1);
    assert!(said.out.contains("RED: NO_LIMBO"), "{said:?}");
    let none = run(&["check", "--data-dir", text(dir.path()), "--contest", "nine"]).expect(2);
    assert!(none.error.contains("there is no contest nine"), "{none:?}");
    let nowhere = run(&["check", "--data-dir", "/nowhere"]).expect(2);
    assert!(
        nowhere.error.contains("is it the right data directory?"),
        "{nowhere:?}"
    );
    run(&["check"]).expect(2);
    let (store, ledger) = (dir.path().join("guafen.db"), dir.path().join("ledger.db"));
    let dsn = format!("sqlite:{}", text(&store));
    let said = run(&["check", "--store", &dsn, "--ledger", text(&ledger)]).expect(0);
    assert!(said.out.contains(id), "{said:?}");
    let file = dir.path().join("dsn");
    std::fs::write(&file, dsn + "\n").expect("a file");
    let at = format!("@{}", text(&file));
    run(&["check", "--store", &at, "--ledger", text(&ledger)]).expect(0);
    server.stop();
}

#[test]
fn a_check_of_books_that_are_not_there_never_shows_a_password() {
    let none = "mysql://ann:secret@127.0.0.1:1/books";
    for (store, ledger, said) in [
        (none, none, "cannot open mysql://127.0.0.1:1/books"),
        (
            "mysql://ann:secret@127.0.0.1:1",
            none,
            "--store names no store",
        ),
        (
            none,
            "postgres://ann:secret@db/books",
            "--ledger names no ledger",
        ),
        (
            none,
            "@/nowhere/dsn",
            "--ledger: /nowhere/dsn cannot be read",
        ),
    ] {
        let refused = run(&["check", "--store", store, "--ledger", ledger]).expect(2);
        assert!(refused.error.contains(said), "{refused:?}");
        assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
    }
    for wrong in [
        &["check", "--store", none][..],
        &["check", "--ledger", none],
        &[
            "check",
            "--data-dir",
            "x",
            "--store",
            none,
            "--ledger",
            none,
        ],
    ] {
        let refused = run(wrong).expect(2);
        assert!(!format!("{refused:?}").contains("secret"), "{refused:?}");
    }
}

#[test]
fn every_command_explains_itself() {
    let commands = [
        "serve",
        "token",
        "check",
        "backup",
        "restore",
        "verify-sheet",
        "verify-lucky",
        "completions",
    ];
    let help = run(&["--help"]).expect(0);
    for command in commands {
        assert!(help.out.contains(command), "{command}: {help:?}");
        let help = run(&[command, "--help"]).expect(0);
        assert!(help.out.contains("Exit codes:"), "{help:?}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = run(&["completions", shell]).expect(0);
        assert!(script.out.contains("verify-lucky"), "{script:?}");
    }
    run(&["completions", "cobol"]).expect(2);
}
