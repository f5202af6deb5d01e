//! What HTTP itself asks of a server, and what it must bear from clients.

use crate::server::{Setup, answer, client, one_answer, token};
use std::{io::Write, time::Instant};

#[tokio::test]
async fn wrong_methods_and_paths_are_problems_and_head_works() {
    let server = Setup::new().start();
    let client = client();
    let wrong = answer(client.delete(server.url("/v1/contests"))).await;
    assert_eq!(wrong.code(405), "method_not_allowed");
    assert_eq!(wrong.header("allow"), "GET,HEAD");
    let wrong = answer(client.get(server.url("/v1/admin/contests"))).await;
    assert_eq!(wrong.code(405), "method_not_allowed");
    assert_eq!(wrong.header("allow"), "POST");
    let odd = reqwest::Method::from_bytes(b"BREW").expect("a method");
    let wrong = answer(client.request(odd, server.url("/v1/contests"))).await;
    assert_eq!(wrong.code(405), "method_not_allowed");
    let missing = answer(client.get(server.url("/v1/nothing"))).await;
    assert_eq!(missing.code(404), "not_found");
    let get = server.get("/v1/contests", &token("ann", "player")).await;
    assert_eq!(get.status, 200);
    let head = client
        .head(server.url("/v1/contests"))
        .bearer_auth(token("ann", "player"));
    let head = answer(head).await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), get.header("content-length"));
    assert_eq!(
        answer(client.head(server.url("/healthz"))).await.status,
        200
    );
}

#[tokio::test]
async fn what_is_too_large_is_said_by_name() {
    let server = Setup::new().start();
    let client = client();
    let long = format!("/v1/contests?cursor={}", "a".repeat(9_000));
    let refused = answer(client.get(server.url(&long))).await;
    assert_eq!(refused.code(414), "uri_too_long");
    let mut many = client.get(server.url("/v1/contests"));
    for number in 0..120 {
        many = many.header(format!("x-{number}"), "1");
    }
    assert_eq!(answer(many).await.code(431), "headers_too_large");
    let large = client
        .get(server.url("/v1/contests"))
        .header("x-large", "a".repeat(40_000));
    assert_eq!(answer(large).await.code(431), "headers_too_large");
    let body = client
        .post(server.url("/v1/task-events"))
        .bearer_auth(token("chests", "service"))
        .header("content-type", "application/json")
        .body("[".repeat((1 << 20) + 1));
    assert_eq!(answer(body).await.code(413), "body_too_large");
    // What the HTTP library refuses by itself: the status is right, the body empty.
    let head = |line: &str| format!("{line}\r\nhost: a\r\n\r\n");
    let beyond = format!("GET /{} HTTP/1.1", "a".repeat(70_000));
    assert!(server.exchange(&head(&beyond)).starts_with("HTTP/1.1 414 "));
    let beyond = format!("GET / HTTP/1.1\r\nx-large: {}", "a".repeat(200_000));
    assert!(server.exchange(&head(&beyond)).starts_with("HTTP/1.1 431 "));
    for garbage in [
        "\0\0\0\0\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
    ] {
        assert!(server.exchange(garbage).starts_with("HTTP/1.1 400 "));
    }
}

#[tokio::test]
async fn a_request_is_known_by_its_id() {
    let server = Setup::new().start();
    let client = client();
    let with = |id: &str| {
        let request = client.get(server.url("/v1/contests"));
        answer(request.header("x-request-id", id.to_owned()))
    };
    let kept = with("shop-42.a_b").await;
    assert_eq!(kept.status, 401);
    assert_eq!(kept.header("x-request-id"), "shop-42.a_b");
    let odd = with("a b\"c").await;
    assert_ne!(odd.header("x-request-id"), "a b\"c");
    let other = answer(client.get(server.url("/v1/contests"))).await;
    assert_ne!(odd.header("x-request-id"), other.header("x-request-id"));
}

/// The head of a request that gives a user coins, with a body of this length.
pub(crate) fn grant_head(user: &str, length: usize) -> String {
    format!(
        "POST /v1/sandbox/accounts/{user}/grant HTTP/1.1\r\nhost: a\r\n\
         authorization: Bearer {}\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n",
        token("boss", "operator")
    )
}

#[tokio::test]
async fn a_client_that_stalls_is_let_go() {
    let server = Setup::new()
        .set("LIMITS__BODY_TIMEOUT_S", "1")
        .set("LIMITS__HEADER_TIMEOUT_S", "2")
        .start();
    let begun = Instant::now();
    let said = server.exchange(&format!("{}{{\"amount\"", grant_head("ann", 40)));
    assert!(said.starts_with("HTTP/1.1 408 "), "{said}");
    assert!(said.contains("\"code\":\"request_timeout\""), "{said}");
    assert!(begun.elapsed().as_millis() >= 1_000);
    // A body that drips is late as well: the bound is on the whole of it.
    let mut stream = server.connect();
    stream
        .write_all(grant_head("ann", 1_000_000).as_bytes())
        .expect("a write");
    let drip = stream.try_clone().expect("a handle");
    let dripping = std::thread::spawn(move || {
        let mut drip = drip;
        while drip.write_all(b" ").is_ok() {
            std::thread::yield_now();
        }
    });
    assert!(one_answer(&mut stream).starts_with("HTTP/1.1 408 "));
    stream.shutdown(std::net::Shutdown::Both).ok();
    dripping.join().expect("a thread");
    // Half a head, and none at all.
    for half in ["GET /healthz HTTP/1.1\r\nho", ""] {
        let begun = Instant::now();
        server.exchange(half);
        assert!(begun.elapsed().as_millis() >= 1_900, "{half:?}");
    }
    let balance = server
        .get("/v1/sandbox/accounts/ann", &token("boss", "operator"))
        .await;
    assert_eq!(balance.code(404), "not_found");
}

#[tokio::test]
async fn a_refused_caller_is_not_asked_for_its_body() {
    let server = Setup::new().start();
    let head = grant_head("ann", 1_000).replace("Bearer ", "Bearer x");
    let mut stream = server.connect();
    stream.write_all(head.as_bytes()).expect("a write");
    assert!(one_answer(&mut stream).starts_with("HTTP/1.1 401 "));
}
