//! What operators set and see: configuration, secret, log, numbers, readiness.

use crate::server::{SECRET, Setup, answer, client, signed, token, until};
use serde_json::{Value, json};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};
use tempfile::TempDir;

#[test]
fn a_wrong_or_unknown_key_stops_the_start_and_is_named() {
    let dir = TempDir::new().expect("a directory");
    let file = dir.path().join("guafen.toml");
    let with = |text: &str| {
        fs::write(&file, text).expect("a file");
        Setup::new()
            .argument("--config")
            .argument(file.to_str().expect("a path"))
            .refused()
    };
    let said = with("[limits]\nin_flight = 5\n");
    assert!(
        said.contains("guafen.toml") && said.contains("in_flight"),
        "{said}"
    );
    let said = with("[limits]\nin_flight_max = 0\n");
    assert!(
        said.contains("limits.in_flight_max must be from 1"),
        "{said}"
    );
    let said = with(&format!("[auth]\nhs256_secret = \"{SECRET}\nissuer = 1\n"));
    assert!(said.contains("line 2") && !said.contains(SECRET), "{said}");
    let said = Setup::new().set("LIMITS__IN_FLIGHT", "5").refused();
    assert!(said.contains("GUAFEN_LIMITS__IN_FLIGHT"), "{said}");
    let said = Setup::new().set("AUTH__HS256_SECRET", "short").refused();
    assert!(
        said.contains("GUAFEN_AUTH__HS256_SECRET") && !said.contains("short"),
        "{said}"
    );
    let said = Setup::new()
        .argument("--config")
        .argument("/nowhere")
        .refused();
    assert!(said.contains("/nowhere"), "{said}");
}

#[tokio::test]
async fn a_secret_that_others_can_read_stops_the_start() {
    let server = Setup::default().start();
    server.terminate();
    let dir = server.into_dir();
    let secret = dir.path().join("secret");
    let mode = fs::metadata(&secret)
        .expect("a secret")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).expect("a change");
    let said = Setup::default().refused_in(&dir);
    assert!(said.contains("chmod 600"), "{said}");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("a change");
    let server = Setup::default().start_in(dir);
    assert_eq!(
        answer(client().get(server.url("/readyz"))).await.status,
        200
    );
}

// hazard: J8
#[tokio::test]
async fn the_log_is_json_where_asked_and_never_holds_tokens_secrets_or_bodies() {
    let server = Setup::new()
        .argument("--log-format")
        .argument("json")
        .variable("RUST_LOG", "debug")
        .start();
    let client = client();
    let good = token("ann", "player");
    let bad = signed(&json!({ "sub": "ann", "role": "king", "exp": 1 }));
    assert_eq!(server.get("/v1/contests", &good).await.status, 200);
    assert_eq!(server.get("/v1/contests", &bad).await.status, 401);
    let query = format!("/v1/contests?ticket={good}");
    assert_eq!(server.get(&query, &good).await.status, 422);
    let grant = server.grant(&client, "a-word-of-the-path");
    let grant = answer(grant.header("x-request-id", "find-me-again")).await;
    assert_eq!(grant.status, 200);
    server.terminate();
    let mut server = server;
    assert!(server.ended().success());
    let log = server.log();
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
        .collect();
    let line = lines
        .iter()
        .find(|line| line["span"]["id"] == "find-me-again" && line["message"] == "answered")
        .expect("the line of a request");
    assert_eq!(line["http.status"], 200);
    assert_eq!(line["http.route"], "/v1/sandbox/accounts/{user}/grant");
    assert!(log.contains("a-word-of-the-path"), "the path is there");
    for text in [SECRET, &good, &bad, "g-a-word-of-the-path"] {
        assert!(!log.contains(text), "{text} is in the log");
    }
}

#[tokio::test]
async fn numbers_are_told_by_route_and_never_by_what_clients_chose() {
    let server = Setup::new().start();
    let client = client();
    assert_eq!(answer(server.grant(&client, "a-user")).await.status, 200);
    assert_eq!(answer(client.get(server.url("/a-path"))).await.status, 404);
    let odd = reqwest::Method::from_bytes(b"A-METHOD").expect("a method");
    answer(client.request(odd, server.url("/v1/contests"))).await;
    let text = answer(client.get(server.url("/metrics"))).await;
    assert_eq!(
        text.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let text = text.text;
    for line in [
        "guafen_http_requests_total{route=\"/v1/sandbox/accounts/{user}/grant\",method=\"POST\",status=\"200\"} 1",
        "guafen_http_requests_total{route=\"unmatched\",method=\"GET\",status=\"404\"} 1",
        "guafen_http_requests_total{route=\"/v1/contests\",method=\"other\",status=\"405\"} 1",
        "guafen_funds_calls_total{operation=\"transfer\",outcome=\"applied\"} 1",
        "guafen_contests{phase=\"running\"} 0",
        "guafen_http_shed_total 0",
        "guafen_panics_total 0",
        "guafen_build_info{version=",
        "guafen_http_request_duration_seconds_bucket{route=\"unmatched\",method=\"GET\",le=\"10\"} 1",
        "process_start_time_seconds ",
        "guafen_http_connections ",
    ] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    for chosen in ["a-user", "a-path", "A-METHOD"] {
        assert!(!text.contains(chosen), "{chosen} is in {text}");
    }
}

#[tokio::test]
async fn numbers_may_have_an_address_of_their_own() {
    let server = Setup::new()
        .argument("--metrics-listen")
        .argument("127.0.0.1:0")
        .start();
    let client = client();
    let beside = answer(client.get(server.url("/metrics"))).await;
    assert_eq!(beside.code(404), "not_found");
    let own = server.metrics.expect("an address");
    for path in ["/metrics", "/healthz", "/readyz"] {
        let answer = answer(client.get(format!("http://{own}{path}"))).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    let api = answer(client.get(format!("http://{own}/v1/contests"))).await;
    assert_eq!(api.status, 404);
}

#[tokio::test]
async fn a_disk_that_takes_no_more_is_not_ready_but_alive() {
    // A limit on the size of files is a full disk, as far as a database can tell.
    let server = Setup::new().before("trap '' XFSZ; ulimit -f 600").start();
    let client = client();
    assert_eq!(answer(client.get(server.url("/readyz"))).await.status, 200);
    let mut number = 0;
    loop {
        number += 1;
        let grant = answer(server.grant(&client, &format!("u{number}"))).await;
        if grant.status != 200 {
            assert_eq!(grant.code(503), "unavailable");
            break;
        }
        assert!(number < 10_000, "the disk does not become full");
    }
    until("not ready", || async {
        answer(client.get(server.url("/readyz"))).await.status == 503
    })
    .await;
    let ready = answer(client.get(server.url("/readyz"))).await;
    assert_eq!(ready.code(503), "unavailable");
    assert_eq!(answer(client.get(server.url("/healthz"))).await.status, 200);
    // What can be read is still read.
    let operator = token("boss", "operator");
    let balance = server.get("/v1/sandbox/accounts/u1", &operator).await;
    assert_eq!(balance.json()["balance"], 7);
}

#[test]
fn the_token_command_signs_what_a_server_takes_and_says_what_it_cannot_sign() {
    let run = |variables: &[(&str, &str)]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_app-api"));
        command
            .args(["token", "--user", "ann", "--role", "player"])
            .env_remove("GUAFEN_AUTH__HS256_SECRET")
            .envs(variables.iter().copied());
        let output = command.output().expect("the program");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        (
            output.status.success(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let (signed, token, _) = run(&[("GUAFEN_AUTH__HS256_SECRET", SECRET)]);
    assert!(signed && token.matches('.').count() == 2);
    let (signed, _, said) = run(&[
        ("GUAFEN_AUTH__ALGORITHM", "RS256"),
        ("GUAFEN_AUTH__JWKS_FILE", "keys.json"),
    ]);
    assert!(
        !signed && said.contains("RS256") && said.contains("private key"),
        "{said}"
    );
    let (signed, _, said) = run(&[]);
    assert!(!signed && said.contains("--data-dir"), "{said}");
}

#[tokio::test]
async fn the_databases_are_their_owners_alone_whatever_the_directory_was() {
    let dir = TempDir::new().expect("a directory");
    let open_to_all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(dir.path(), open_to_all).expect("a mode");
    let server = Setup::new().start_in(dir);
    let granted = answer(server.grant(&client(), "ann")).await;
    assert_eq!(granted.status, 200);
    server.terminate();
    let mut files = 0;
    let dir = server.into_dir();
    for file in fs::read_dir(dir.path()).expect("the directory") {
        let file = file.expect("a file");
        let name = file.file_name().to_string_lossy().into_owned();
        if name.contains(".db") {
            let mode = file.metadata().expect("its mode").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
            files += 1;
        }
    }
    assert!(files >= 2, "store and ledger");
}

#[tokio::test]
async fn the_board_is_there_unless_it_is_switched_off() {
    let board = async |value: Option<&str>| {
        let setup = Setup::new();
        let server = match value {
            Some(value) => setup.set("SERVER__BOARD", value),
            None => setup,
        }
        .start();
        let page = answer(client().get(server.url("/"))).await.status;
        let stream = answer(client().get(server.url("/board/none"))).await.status;
        (page, stream)
    };
    assert_eq!(board(None).await, (200, 404));
    assert_eq!(board(Some("false")).await, (404, 404));
}
