//! Fee tiers, repeated creation, settlement, sheet, leaderboard and tickets: good and bad input,
//! every answer held to the document.

use crate::{
    contest::{event, grant, open, terms},
    server::{Answer, Server, call, text},
};
use serde_json::{Value, json};

fn tiered(closes_s: i64, ends_s: i64) -> Value {
    let mut terms = terms(closes_s, ends_s);
    terms["fee_tiers"] = json!([10, 50]);
    terms["payout"]["rule"] = json!("lucky");
    terms
}

#[tokio::test]
async fn fee_tiers_are_chosen_once_and_from_the_list() {
    let server = Server::start().await;
    for (tiers, pointer, code) in [
        (json!([]), "/fee_tiers", "out_of_range"),
        (json!([10, 10]), "/fee_tiers", "duplicate_value"),
        (json!([20, 30]), "/fee", "not_a_tier"),
        (json!([0, 10]), "/fee_tiers", "out_of_range"),
        (json!([10, 1_000_000_001_u64]), "/fee_tiers", "out_of_range"),
        (
            json!([10, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11]),
            "/fee_tiers",
            "out_of_range",
        ),
        (json!(10), "/fee_tiers", "invalid_type"),
        (json!([10, "50"]), "/fee_tiers/1", "invalid_type"),
        (json!([10, 1.5]), "/fee_tiers/1", "invalid_type"),
        (json!([10, -1]), "/fee_tiers/1", "invalid_type"),
    ] {
        let mut terms = terms(500, 600);
        terms["fee_tiers"] = tiers;
        let create = call("POST", "/v1/admin/contests").operator().json(&terms);
        server.send(create).await.fault(pointer, code);
    }
    let (with, without) = (
        open(&server, &tiered(500, 600)).await,
        open(&server, &terms(500, 600)).await,
    );
    grant(&server, "ann", 1_000, "g").await.expect(200);
    let sign_up = |id: &str, body: &str| {
        let path = format!("/v1/contests/{id}/signup");
        server.send(call("PUT", &path).player("ann").text(body))
    };
    sign_up(&with, "").await.fault("/fee_tier", "missing");
    sign_up(&with, "{}").await.fault("/fee_tier", "missing");
    sign_up(&with, "[50]").await.fault("", "invalid_type");
    for (tier, code) in [
        ("11", "unknown_value"),
        ("0", "unknown_value"),
        ("18446744073709551615", "unknown_value"),
        ("18446744073709551616", "invalid_type"),
        ("-1", "invalid_type"),
        ("50.0", "invalid_type"),
        ("\"50\"", "invalid_type"),
    ] {
        let body = format!("{{\"fee_tier\":{tier}}}");
        sign_up(&with, &body).await.fault("/fee_tier", code);
    }
    sign_up(&without, "{\"fee_tier\":10}")
        .await
        .fault("/fee_tier", "unknown_field");
    for _ in 0..2 {
        assert_eq!(
            sign_up(&with, "{\"fee_tier\":50}").await.expect(200)["fee"],
            50
        );
    }
    sign_up(&with, "{\"fee_tier\":10}")
        .await
        .problem(409, "fee_tier_fixed");
    let account = call("GET", "/v1/sandbox/accounts/ann").operator();
    assert_eq!(server.send(account).await.expect(200)["balance"], 950);
}

#[tokio::test]
async fn a_creation_with_a_key_is_made_once() {
    let server = Server::start().await;
    let terms = terms(500, 600);
    let create = |user: &str, key: &[u8], terms: &Value| {
        let sent = call("POST", "/v1/admin/contests")
            .by(user, "operator")
            .json(terms);
        server.send(sent.header("idempotency-key", key))
    };
    let first = create("boss", b"key", &terms).await.expect(201);
    let again = create("boss", b"key", &terms).await.expect(201);
    assert_eq!(first["contest_id"], again["contest_id"]);
    let other = create("chief", b"key", &terms).await.expect(201);
    assert_ne!(first["contest_id"], other["contest_id"]);
    let mut changed = terms.clone();
    changed["fee"] = json!(11);
    create("boss", b"key", &changed)
        .await
        .problem(409, "idempotency_conflict");
    for key in [&b""[..], b"a b", b"\xff", &[b'k'; 129]] {
        create("boss", key, &terms)
            .await
            .fault("/Idempotency-Key", "invalid_id");
    }
    let twice = call("POST", "/v1/admin/contests").operator().json(&terms);
    let twice = twice
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    server
        .send(twice)
        .await
        .fault("/Idempotency-Key", "duplicate_field");
    create("boss", &[b'k'; 128], &terms).await.expect(201);
}

#[tokio::test]
async fn a_lucky_contest_is_settled_in_the_open() {
    let server = Server::start().await;
    let id = open(&server, &tiered(2, 3)).await;
    let path = |end: &str| format!("/v1/contests/{id}{end}");
    let contest = server
        .send(call("GET", &path("")).player("ann"))
        .await
        .expect(200);
    assert_eq!(text(&contest["payout"]["commitment"]).len(), 64);
    for (user, tier) in [("ann", 10), ("bob", 50)] {
        grant(&server, user, 100, user).await.expect(200);
        let signup = call("PUT", &path("/signup"))
            .player(user)
            .json(&json!({ "fee_tier": tier }));
        server.send(signup).await.expect(200);
    }
    for end in ["/settlement", "/settlement/sheet"] {
        let early = server.send(call("GET", &path(end)).operator()).await;
        early.problem(409, "not_frozen_yet");
    }
    let batch = json!([event("e1", "ann", 2, 0), event("e2", "bob", 3, 0)]);
    let events = call("POST", "/v1/task-events").service().json(&batch);
    assert_eq!(server.send(events).await.expect(200)["accepted"], 2);
    let places = call("GET", &path("/leaderboard?limit=1")).player("ann");
    let first = |answer: &Answer| answer.body["items"][0]["user_id"] == "bob";
    server.until(places, first).await;
    for (limit, code) in [
        ("0", "out_of_range"),
        ("101", "out_of_range"),
        ("x", "invalid_type"),
    ] {
        let places = call("GET", &path(&format!("/leaderboard?limit={limit}"))).player("ann");
        server.send(places).await.fault("/limit", code);
    }
    server
        .send(call("GET", &path("/leaderboard/me")).player("ann"))
        .await
        .expect(200);
    let absent = server
        .send(call("GET", &path("/leaderboard/me")).player("eve"))
        .await;
    absent.problem(404, "not_signed_up");

    let look = call("GET", &path("")).player("ann");
    let claimable = |answer: &Answer| answer.body["phase"] == "claimable";
    let contest = server.until(look, claimable).await.body;
    assert_eq!(text(&contest["settlement"]["secret"]).len(), 64);
    let public = server
        .send(call("GET", &path("/settlement")).player("eve"))
        .await
        .expect(200);
    assert_eq!(
        (&public["pool"], &public["lines"]),
        (&json!(60), &Value::Null)
    );
    let paged = call("GET", &path("/settlement?limit=1")).operator();
    let full = server.send(paged).await.expect(200);
    assert_eq!(full["lines"]["items"].as_array().expect("lines").len(), 1);
    let after = text(&full["lines"]["next_cursor"]);
    let rest = call("GET", &path(&format!("/settlement?cursor={after}"))).operator();
    let rest = server.send(rest).await.expect(200);
    let prize = |page: &Value| {
        page["lines"]["items"][0]["prize"]
            .as_u64()
            .expect("a prize")
    };
    assert_eq!(prize(&full) + prize(&rest), 60);
    let odd = call("GET", &path("/settlement?cursor=x")).operator();
    server.send(odd).await.fault("/cursor", "invalid_cursor");
    let sheet = server
        .send(call("GET", &path("/settlement/sheet")).operator())
        .await;
    let shown = String::from_utf8(sheet.bytes.to_vec()).expect("text");
    assert!(shown.contains(text(&public["sheet_sha256"])), "{shown}");
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_it_is_looked_at() {
    let server = Server::start().await;
    let long = call(
        "GET",
        &format!("/v1/contests?room_id={}", "a".repeat(9_000)),
    );
    server
        .send(long.operator())
        .await
        .problem(414, "uri_too_long");
    let mut many = call("GET", "/v1/contests").operator();
    for number in 0..120 {
        many = many.header(&format!("x-filler-{number}"), "x");
    }
    server.send(many).await.problem(431, "headers_too_large");
}
