//! Too much: of one user, from one address, of everything.

use crate::{
    http::grant_head,
    server::{Server, Setup, answer, client, one_answer, rest, token, until},
};
use std::{io::Write, net::TcpStream};

#[tokio::test]
async fn a_user_beyond_the_rate_is_told_when_to_come_back() {
    let server = Setup::new()
        .set("LIMITS__PER_USER_PER_S", "1")
        .set("LIMITS__PER_USER_BURST", "5")
        .start();
    let ann = token("ann", "player");
    let mut answers = Vec::new();
    for _ in 0..8 {
        answers.push(server.get("/v1/contests", &ann).await);
    }
    assert!(answers.iter().take(5).all(|answer| answer.status == 200));
    let refused = answers.iter().find(|answer| answer.status == 429);
    let refused = refused.expect("one beyond the rate");
    assert_eq!(refused.code(429), "rate_limited");
    assert_eq!(refused.header("retry-after"), "1");
    // Whoever cannot prove to be ann does not use up what is hers, and others are not touched.
    assert_eq!(server.get("/v1/contests", "forged").await.status, 401);
    let ben = server.get("/v1/contests", &token("ben", "player")).await;
    assert_eq!(ben.status, 200);
    until("coming back", || async {
        server.get("/v1/contests", &ann).await.status == 200
    })
    .await;
    let metrics = answer(client().get(server.url("/metrics"))).await.text;
    assert!(!metrics.contains("guafen_http_rate_limited_total{by=\"user\"} 0"));
}

#[tokio::test]
async fn an_address_is_what_a_trusted_proxy_says() {
    let server = Setup::new()
        .set("LIMITS__PER_ADDRESS_PER_S", "1")
        .set("LIMITS__PER_ADDRESS_BURST", "3")
        .set("LIMITS__TRUSTED_PROXIES", "127.0.0.0/8")
        .start();
    let client = client();
    let from = |hops: &str| {
        let request = client.get(server.url("/v1/contests"));
        answer(request.header("x-forwarded-for", hops.to_owned()))
    };
    for _ in 0..3 {
        assert_eq!(from("198.51.100.1").await.status, 401);
    }
    // What the client wrote left of the proxy's own word changes nothing.
    assert_eq!(
        from("1.1.1.1, 198.51.100.1").await.code(429),
        "rate_limited"
    );
    assert_eq!(from("198.51.100.2").await.status, 401);
    let without_proxies = Setup::new().set("LIMITS__PER_ADDRESS_PER_S", "1");
    assert!(without_proxies.refused().contains("limits.trusted_proxies"));
}

/// A request that is worked on until its body is sent.
fn hold(server: &Server, user: &str) -> TcpStream {
    let body = grant_body(user);
    let mut stream = server.connect();
    stream
        .write_all(grant_head(user, body.len()).as_bytes())
        .expect("a write");
    stream
}

fn grant_body(user: &str) -> String {
    format!(r#"{{"amount":7,"grant_id":"g-{user}"}}"#)
}

fn number(metrics: &str, name: &str) -> u64 {
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no {name} in {metrics}"))
        .parse()
        .expect("a number")
}

#[tokio::test]
async fn what_is_too_much_is_shed_at_once_and_health_is_answered() {
    let server = Setup::new()
        .set("LIMITS__RUNNING_MAX", "2")
        .set("LIMITS__IN_FLIGHT_MAX", "3")
        .start();
    let client = client();
    let metrics = || async { answer(client.get(server.url("/metrics"))).await.text };
    let mut held = [
        hold(&server, "u0"),
        hold(&server, "u1"),
        hold(&server, "u2"),
    ];
    until("two that run and one that waits", || async {
        let text = metrics().await;
        number(&text, "guafen_http_requests_running") == 2
            && number(&text, "guafen_http_requests_waiting") == 1
    })
    .await;
    for path in ["/v1/contests", "/v1/nothing"] {
        let shed = answer(client.get(server.url(path))).await;
        assert_eq!(shed.code(503), "overloaded");
        assert_eq!(shed.header("retry-after"), "1");
    }
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(answer(client.get(server.url(path))).await.status, 200);
    }
    assert_eq!(number(&metrics().await, "guafen_http_shed_total"), 2);
    for (index, stream) in held.iter_mut().enumerate() {
        let body = grant_body(&format!("u{index}"));
        stream.write_all(body.as_bytes()).expect("a write");
        let said = one_answer(stream);
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
    let after = server.get("/v1/contests", &token("ann", "player")).await;
    assert_eq!(after.status, 200);
}

#[tokio::test]
async fn a_thousand_at_once_from_rest_are_all_served() {
    let server = Setup::new().start();
    let client = client();
    let mut asked = tokio::task::JoinSet::new();
    let grant = |number: i32| {
        let asking = answer(server.grant(&client, &format!("u{number}")));
        async move { (number, asking.await) }
    };
    for number in 0..1_000 {
        asked.spawn(grant(number));
    }
    let mut slow = 0;
    while let Some(told) = asked.join_next().await {
        let (number, answer) = told.expect("a task");
        if answer.status != 200 {
            // A machine that is busy with other things may be late with one, and says so; what is
            // never said is that there are too many.
            assert_eq!(answer.code(503), "unavailable");
            slow += 1;
            assert!(slow < 100, "{answer:?}");
            asked.spawn(grant(number));
        }
    }
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let server = Setup::new()
        .set("LIMITS__CONNECTIONS_MAX", "2")
        .argument("--metrics-listen")
        .argument("127.0.0.1:0")
        .start();
    let mut open = [server.connect(), server.connect()];
    for stream in &mut open {
        stream
            .write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            .expect("a write");
        assert!(one_answer(stream).ends_with("ok"));
    }
    let said = rest(&mut server.connect());
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    assert!(said.contains("\"code\":\"overloaded\""), "{said}");
    let metrics = server.metrics.expect("an address");
    let text = answer(client().get(format!("http://{metrics}/metrics")))
        .await
        .text;
    assert_eq!(number(&text, "guafen_http_connections_refused_total"), 1);
    drop(open);
    until("a place", || async {
        let answer = client().get(server.url("/healthz")).send().await;
        answer.is_ok_and(|answer| answer.status() == 200)
    })
    .await;
}
