//! SIGTERM: what is idle or half sent is closed at once, what runs comes to its end, and nothing
//! that was acknowledged is lost.

use crate::{
    http::grant_head,
    server::{Setup, answer, client, one_answer, rest, token},
};
use std::{
    io::Write,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// A stop with nothing to wait for takes far less than the time that it may wait.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn idle_and_half_sent_connections_do_not_hold_a_stop_up() {
    let mut server = Setup::new().start();
    let begin = |bytes: &str| {
        let mut stream = server.connect();
        stream.write_all(bytes.as_bytes()).expect("a write");
        stream
    };
    let silent = begin("");
    let mut idle = begin("GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n");
    assert!(one_answer(&mut idle).ends_with("ok"));
    let half_head = begin("GET /v1/contests HTTP/1.1\r\nhost");
    let mut half_body = begin(&format!("{}{{", grant_head("ann", 40)));
    // Whatever was sent before this was answered is in the server's hands.
    let seen = answer(client().get(server.url("/healthz"))).await;
    assert_eq!(seen.status, 200);
    let begun = Instant::now();
    server.terminate();
    for mut stream in [silent, idle, half_head] {
        assert_eq!(rest(&mut stream), "");
    }
    let said = rest(&mut half_body);
    assert!(
        said.is_empty() || said.starts_with("HTTP/1.1 503 "),
        "{said}"
    );
    assert!(server.ended().success());
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_request_that_runs_is_answered() {
    let mut server = Setup::new().start();
    let body = r#"{"amount":7,"grant_id":"g-ann"}"#;
    let (first, second) = body.split_at(10);
    let mut stream = server.connect();
    let head = grant_head("ann", body.len());
    stream
        .write_all(format!("{head}{first}").as_bytes())
        .expect("a write");
    let seen = answer(client().get(server.url("/healthz"))).await;
    assert_eq!(seen.status, 200);
    server.terminate();
    // No new connection is taken any more: the stop has begun.
    let begun = Instant::now();
    while std::net::TcpStream::connect(server.address).is_ok() {
        assert!(begun.elapsed() < SOON);
    }
    stream.write_all(second.as_bytes()).expect("a write");
    let said = rest(&mut stream);
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    assert!(said.contains("\"balance\":7"), "{said}");
    assert!(server.ended().success());
}

// hazard: G3
#[tokio::test]
async fn what_was_acknowledged_before_a_stop_under_load_is_there_after_it() {
    let server = Setup::new().start();
    let client = client();
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let mut asked = JoinSet::new();
    for worker in 0..32 {
        let (client, acknowledged) = (client.clone(), Arc::clone(&acknowledged));
        let requests: Vec<_> = (0..500)
            .map(|number| format!("w{worker}-{number}"))
            .map(|user| (server.grant(&client, &user), user))
            .collect();
        asked.spawn(async move {
            let mut done = Vec::new();
            for (request, user) in requests {
                match request.send().await {
                    Ok(response) if response.status() == 200 => {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                        done.push(user);
                    }
                    _ => break,
                }
            }
            done
        });
    }
    while acknowledged.load(Ordering::Relaxed) < 300 {
        tokio::task::yield_now().await;
    }
    server.terminate();
    let mut done = Vec::new();
    while let Some(users) = asked.join_next().await {
        done.extend(users.expect("a task"));
    }
    assert!(done.len() >= 300);
    assert!(
        done.len() < 32 * 500,
        "the stop came too late to show anything"
    );
    let server = Setup::new().start_in(server.into_dir());
    let operator = token("boss", "operator");
    for user in done {
        let path = format!("/v1/sandbox/accounts/{user}");
        let balance = client.get(server.url(&path)).bearer_auth(&operator);
        assert_eq!(answer(balance).await.json()["balance"], 7, "{user}");
    }
}
