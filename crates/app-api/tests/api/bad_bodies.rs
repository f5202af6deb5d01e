//! Bodies that no good client sends, each with the code and the pointer of its answer.

use crate::{
    contest::{event, grant, open, terms},
    server::{Answer, Server, at, call, text},
};
use serde_json::{Value, json};

const CREATE: &str = "/v1/admin/contests";

async fn create(server: &Server, body: &Value) -> Answer {
    server
        .send(call("POST", CREATE).operator().json(body))
        .await
}

async fn create_text(server: &Server, body: &str) -> Answer {
    server
        .send(call("POST", CREATE).operator().text(body))
        .await
}

/// Good terms with one field written otherwise, as text: JSON libraries do not write `1e400`.
fn with_text(field: &str, value: &str) -> String {
    let mut terms = terms(500, 600);
    terms[field] = json!("@@");
    terms.to_string().replace("\"@@\"", value)
}

fn with(pointer: &str, value: Value) -> Value {
    let mut terms = terms(500, 600);
    match pointer.rsplit_once('/') {
        Some(("", name)) => terms[name] = value,
        Some((above, name)) => terms.pointer_mut(above).expect("a field")[name] = value,
        None => terms = value,
    }
    terms
}

#[tokio::test]
async fn bodies_that_are_no_json_are_400_and_other_types_415() {
    let server = Server::start().await;
    let deep = "[".repeat(200_000);
    let deep_object = "{\"a\":".repeat(100_000);
    for body in [
        "",
        " ",
        "{",
        "}",
        "{]",
        "nul",
        "'a'",
        "{\"a\":1,}",
        "{a:1}",
        "{\"title\":\"\\ud800\"}",
        "{\"title\":\"a\nb\"}",
        "{} {}",
        "\u{feff}{}",
        "// c\n{}",
        "NaN",
        "{\"fee\":1e400}",
        "{\"fee\":01}",
        "{\"fee\":+1}",
        "{\"fee\":0x10}",
        &deep,
        &deep_object,
    ] {
        let answer = create_text(&server, body).await;
        answer.problem(400, "malformed_json");
    }
    let latin = call("POST", CREATE)
        .operator()
        .header("content-type", "application/json");
    let answer = server
        .send(latin.raw(b"{\"title\":\"\xff\"}".to_vec()))
        .await;
    answer.problem(400, "malformed_json");
    for kind in [
        "text/plain",
        "application/xml",
        "application/jsonx",
        "",
        "application/x-www-form-urlencoded",
        "json",
    ] {
        let sent = call("POST", CREATE).operator().header("content-type", kind);
        let answer = server.send(sent.raw(terms(500, 600).to_string())).await;
        answer.problem(415, "unsupported_media_type");
    }
    let bare = call("POST", CREATE)
        .operator()
        .raw(terms(500, 600).to_string());
    server
        .send(bare)
        .await
        .problem(415, "unsupported_media_type");
    for kind in [
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
    ] {
        let sent = call("POST", CREATE).operator().header("content-type", kind);
        server
            .send(sent.raw(terms(500, 600).to_string()))
            .await
            .expect(201);
    }
}

#[tokio::test]
async fn bodies_of_another_shape_name_the_place() {
    let server = Server::start().await;
    for body in [json!(null), json!(true), json!(1), json!("a")] {
        create(&server, &body).await.fault("", "invalid_type");
    }
    create(&server, &json!([])).await.fault("", "invalid_type");
    create(&server, &json!({})).await.fault("/title", "missing");
    let terms = terms(500, 600);
    let required = terms.as_object().expect("fields");
    for name in required.keys() {
        let mut fewer = terms.clone();
        fewer.as_object_mut().expect("fields").remove(name);
        create(&server, &fewer)
            .await
            .fault(&format!("/{name}"), "missing");
        let wrong = with(&format!("/{name}"), json!([1]));
        create(&server, &wrong)
            .await
            .fault(&format!("/{name}"), "invalid_type");
        let none = with(&format!("/{name}"), json!(null));
        create(&server, &none)
            .await
            .fault(&format!("/{name}"), "invalid_type");
    }
    for (pointer, value, at, code) in [
        ("/prize", json!(1), "/prize", "unknown_field"),
        ("/a~b/c", json!(1), "/a~0b", "invalid_type"),
        ("/user_id", json!("ann"), "/user_id", "unknown_field"),
        ("/Fee", json!(1), "/Fee", "unknown_field"),
        ("/task/bonus", json!(1), "/task/bonus", "unknown_field"),
        ("/task", json!("open_chest"), "/task", "invalid_type"),
        (
            "/task",
            json!({ "kind": "open_chest" }),
            "/task/target",
            "missing",
        ),
        ("/payout", json!({}), "/payout/rule", "missing"),
        (
            "/payout/weights",
            json!("x"),
            "/payout/weights",
            "unknown_field",
        ),
        ("/title", json!(7), "/title", "invalid_type"),
        ("/room_id", json!({}), "/room_id", "invalid_type"),
        (
            "/leave_allowed",
            json!("no"),
            "/leave_allowed",
            "invalid_type",
        ),
        (
            "/signup_opens_at",
            json!(1_700_000_000),
            "/signup_opens_at",
            "invalid_type",
        ),
        ("/rake_bps", json!(65_536), "/rake_bps", "invalid_type"),
    ] {
        if pointer == "/a~b/c" {
            let mut odd = terms.clone();
            odd["a~b"] = json!([]);
            create(&server, &odd).await.fault(at, code);
            continue;
        }
        create(&server, &with(pointer, value)).await.fault(at, code);
    }
    let twice = terms.to_string().replacen("{\"", "{\"fee\":10,\"", 1);
    create_text(&server, &twice)
        .await
        .fault("/fee", "duplicate_field");
}

#[tokio::test]
async fn amounts_are_whole_and_within_their_range() {
    let server = Server::start().await;
    for (value, code) in [
        ("0", "out_of_range"),
        ("1000000001", "out_of_range"),
        ("9007199254740991", "out_of_range"),
        ("9007199254740992", "out_of_range"),
        ("18446744073709551615", "out_of_range"),
        ("18446744073709551616", "invalid_type"),
        ("99999999999999999999999999999999", "invalid_type"),
        ("-1", "invalid_type"),
        ("-0.0", "invalid_type"),
        ("-9223372036854775808", "invalid_type"),
        ("1.5", "invalid_type"),
        ("10.0", "invalid_type"),
        ("1e2", "invalid_type"),
        ("1e-2", "invalid_type"),
        ("1e308", "invalid_type"),
        ("\"10\"", "invalid_type"),
        ("\"\"", "invalid_type"),
        ("true", "invalid_type"),
        ("null", "invalid_type"),
        ("{}", "invalid_type"),
        ("[10]", "invalid_type"),
    ] {
        create_text(&server, &with_text("fee", value))
            .await
            .fault("/fee", code);
    }
    for (pointer, value) in [
        ("/task/target", json!(0)),
        ("/task/target", json!(1_000_000_001_u64)),
        ("/rake_bps", json!(10_001)),
        ("/guaranteed_pool", json!(1_000_000_000_001_u64)),
        ("/guaranteed_pool", json!(u64::MAX)),
        ("/grace_s", json!(3_601)),
        ("/grace_s", json!(u32::MAX)),
    ] {
        create(&server, &with(pointer, value))
            .await
            .fault(pointer, "out_of_range");
    }
    for (pointer, value) in [
        ("/fee", json!(1)),
        ("/fee", json!(1_000_000_000)),
        ("/rake_bps", json!(10_000)),
        ("/guaranteed_pool", json!(1_000_000_000_000_u64)),
        ("/grace_s", json!(3_600)),
        ("/grace_s", json!(null)),
    ] {
        create(&server, &with(pointer, value)).await.expect(201);
    }
    for (amount, code) in [
        ("0", "out_of_range"),
        ("9007199254740992", "out_of_range"),
        ("18446744073709551616", "invalid_type"),
        ("1.5", "invalid_type"),
        ("-1", "invalid_type"),
        ("\"1\"", "invalid_type"),
    ] {
        let body = format!("{{\"amount\":{amount},\"grant_id\":\"g\"}}");
        let sent = call("POST", "/v1/sandbox/accounts/ann/grant")
            .operator()
            .text(body);
        server.send(sent).await.fault("/amount", code);
    }
    let none = call("GET", "/v1/sandbox/accounts/ann").operator();
    server.send(none).await.problem(404, "not_found");
}

#[tokio::test]
async fn terms_that_contradict_themselves_are_all_named() {
    let server = Server::start().await;
    for (pointer, value, named, code) in [
        (
            "/signup_closes_at",
            at(-1),
            "/signup_closes_at",
            "out_of_order",
        ),
        ("/tasks_end_at", at(400), "/tasks_end_at", "out_of_order"),
        (
            "/claim_closes_at",
            at(600),
            "/claim_closes_at",
            "out_of_order",
        ),
        (
            "/claim_closes_at",
            at(367 * 86_400),
            "/claim_closes_at",
            "out_of_range",
        ),
        (
            "/signup_opens_at",
            at(501),
            "/signup_closes_at",
            "out_of_order",
        ),
    ] {
        create(&server, &with(pointer, json!(value)))
            .await
            .fault(named, code);
    }
    let mut past = terms(500, 600);
    past["signup_opens_at"] = json!(at(-100));
    past["signup_closes_at"] = json!(at(-50));
    create(&server, &past)
        .await
        .fault("/signup_closes_at", "out_of_range");
    for time in [
        "",
        "tomorrow",
        "2026-05-04",
        "2026-05-04T12:00:00",
        "2026-13-04T12:00:00Z",
        "2026-05-04T25:00:00Z",
        "10000-01-01T00:00:00Z",
        "9999-12-31T23:59:59-12:00",
        "-0001-01-01T00:00:00Z",
        "２０２６-05-04T12:00:00Z",
    ] {
        let wrong = with("/claim_closes_at", json!(time));
        create(&server, &wrong)
            .await
            .fault("/claim_closes_at", "invalid_time");
    }
    for (pointer, value) in [
        ("/payout/rule", "biggest"),
        ("/payout/rule", "Equal"),
        ("/payout/rule", ""),
        ("/claim_mode", "auto"),
        ("/no_winner", "keep"),
        ("/remainder", "SPREAD"),
        ("/unclaimed", " pay"),
    ] {
        create(&server, &with(pointer, json!(value)))
            .await
            .fault(pointer, "unknown_value");
    }
    for (pointer, value) in [
        ("/min_signups", json!(1)),
        ("/max_signups", json!(1)),
        ("/leave_allowed", json!(true)),
        ("/no_winner", json!("rollover")),
        ("/remainder", json!("rollover")),
        ("/unclaimed", json!("rollover")),
    ] {
        create(&server, &with(pointer, value))
            .await
            .fault(pointer, "not_supported_yet");
    }
    let mut all = terms(500, 600);
    all["fee"] = json!(0);
    all["task"]["target"] = json!(0);
    all["claim_closes_at"] = all["tasks_end_at"].clone();
    let answer = create(&server, &all).await;
    answer.faults(&[
        ("/fee", "out_of_range"),
        ("/task/target", "out_of_range"),
        ("/claim_closes_at", "out_of_order"),
    ]);
}

#[tokio::test]
async fn texts_that_cannot_be_shown_or_addressed_are_refused() {
    let server = Server::start().await;
    let long = "题".repeat(101);
    for title in [
        "",
        " ",
        "\t",
        "\u{3000}\u{a0}",
        "\u{200b}\u{feff}",
        "a\0b",
        "a\nb",
        "\u{7f}",
        "\u{85}",
        "a\u{202e}b",
        "\u{2066}x\u{2069}",
        "\u{200f}",
        "a\u{2028}b",
        &long,
    ] {
        create(&server, &with("/title", json!(title)))
            .await
            .fault("/title", "out_of_range");
    }
    let longest = "题".repeat(100);
    for title in [
        "a",
        "周五 🎁",
        "<script>alert(1)</script>",
        "'; DROP TABLE contest; --",
        &longest,
    ] {
        let contest = create(&server, &with("/title", json!(title)))
            .await
            .expect(201);
        assert_eq!(contest["title"], title);
    }
    for id in [
        "",
        ".",
        "..",
        "a/b",
        "a b",
        "房间",
        "a\0",
        "a\n",
        "%2e",
        &"x".repeat(65),
    ] {
        create(&server, &with("/room_id", json!(id)))
            .await
            .fault("/room_id", "invalid_id");
        let body = json!({ "amount": 1, "grant_id": id });
        let sent = call("POST", "/v1/sandbox/accounts/ann/grant")
            .operator()
            .json(&body);
        server.send(sent).await.fault("/grant_id", "invalid_id");
    }
    for kind in ["", "Open", "a-b", "a.b", "宝", &"x".repeat(65)] {
        create(&server, &with("/task/kind", json!(kind)))
            .await
            .fault("/task/kind", "invalid_id");
    }
}

#[tokio::test]
async fn batches_and_bodies_that_are_too_large_are_refused_as_a_whole() {
    let server = Server::start().await;
    let send = |batch: Value| server.send(call("POST", "/v1/task-events").service().json(&batch));
    let batch = |count: usize| {
        Value::Array(
            (0..count)
                .map(|n| event(&format!("e{n}"), "ann", 1, 0))
                .collect(),
        )
    };
    send(batch(1_001)).await.fault("", "out_of_range");
    send(json!([])).await.fault("", "out_of_range");
    let recorded = send(batch(1_000)).await.expect(200);
    assert_eq!(recorded["accepted"], 1_000);
    let padded = |length: usize| {
        let mut text = batch(1).to_string();
        text.push_str(&" ".repeat(length - text.len()));
        server.send(call("POST", "/v1/task-events").service().text(text))
    };
    padded(1 << 20).await.expect(200);
    padded((1 << 20) + 1).await.problem(413, "body_too_large");
    // Where no body is looked for, none of any size is read into memory either.
    let id = open(&server, &terms(500, 600)).await;
    let path = format!("/v1/contests/{id}/signup");
    let huge = call("PUT", &path)
        .player("ann")
        .text(" ".repeat((1 << 20) + 1));
    server.send(huge).await.problem(413, "body_too_large");
}

#[tokio::test]
async fn events_that_break_rules_name_their_place_in_the_batch() {
    let server = Server::start().await;
    let send = |batch: Value| server.send(call("POST", "/v1/task-events").service().json(&batch));
    let good = event("good", "ann", 1, 0);
    let bad = |field: &str, value: Value| {
        let mut event = good.clone();
        event[field] = value;
        json!([good, event])
    };
    for (field, value, code) in [
        ("event_id", json!(""), "invalid_id"),
        ("event_id", json!(".."), "invalid_id"),
        ("user_id", json!("a/b"), "invalid_id"),
        ("user_id", json!("."), "invalid_id"),
        ("user_id", json!("观众"), "invalid_id"),
        ("room_id", json!("x".repeat(65)), "invalid_id"),
        ("kind", json!("Open"), "invalid_id"),
        ("quantity", json!(0), "out_of_range"),
        ("quantity", json!(1_000_001), "out_of_range"),
        ("quantity", json!(-1), "invalid_type"),
        ("quantity", json!(1.5), "invalid_type"),
        ("quantity", json!("1"), "invalid_type"),
        ("occurred_at", json!("now"), "invalid_time"),
        ("occurred_at", json!(1), "invalid_type"),
        ("weight", json!(1), "unknown_field"),
    ] {
        send(bad(field, value))
            .await
            .fault(&format!("/1/{field}"), code);
    }
    for field in [
        "event_id",
        "user_id",
        "room_id",
        "kind",
        "quantity",
        "occurred_at",
    ] {
        let mut fewer = good.clone();
        fewer.as_object_mut().expect("fields").remove(field);
        send(json!([good, fewer]))
            .await
            .fault(&format!("/1/{field}"), "missing");
    }
    send(json!({ "events": [] }))
        .await
        .fault("/events", "invalid_type");
    send(json!({})).await.fault("", "invalid_type");
    send(json!([1])).await.fault("/0", "invalid_type");
    send(json!([[good]])).await.fault("/0", "invalid_type");
    let mut worse = good.clone();
    worse["quantity"] = json!(0);
    worse["kind"] = json!("");
    let answer = send(json!([worse, good, worse])).await;
    answer.faults(&[
        ("/0/kind", "invalid_id"),
        ("/0/quantity", "out_of_range"),
        ("/2/kind", "invalid_id"),
        ("/2/quantity", "out_of_range"),
    ]);
    // None of all those left the good one behind.
    assert_eq!(send(json!([good])).await.expect(200)["accepted"], 1);
}

#[tokio::test]
async fn events_that_are_refused_do_not_fail_the_others() {
    let server = Server::start().await;
    let send = |batch: Value| server.send(call("POST", "/v1/task-events").service().json(&batch));
    let day = 86_400;
    let batch = json!([
        event("ahead", "ann", 1, 301),
        event("almost-ahead", "ann", 1, 290),
        event("old", "ann", 1, -7 * day - 5),
        event("almost-old", "ann", 1, -7 * day + 60),
        event("fine", "ann", 1, 0),
        event("twice", "ann", 1, -1),
        event("twice", "ann", 2, -1),
    ]);
    let recorded = send(batch).await.expect(200);
    assert_eq!(
        (&recorded["accepted"], &recorded["duplicates"]),
        (&json!(4), &json!(0))
    );
    let rejected = recorded["rejected"].as_array().expect("a list");
    let rejected: Vec<_> = rejected
        .iter()
        .map(|one| (text(&one["event_id"]), text(&one["code"])))
        .collect();
    assert_eq!(
        rejected,
        [
            ("ahead", "too_far_ahead"),
            ("old", "too_old"),
            ("twice", "event_conflict")
        ]
    );
    // The same id with other content; another sender's ids are its own.
    let recorded = send(json!([event("fine", "bob", 1, 0)])).await.expect(200);
    assert_eq!(recorded["rejected"][0]["code"], "event_conflict");
    let other = call("POST", "/v1/task-events").by("other", "service");
    let recorded = server
        .send(other.json(&json!([event("fine", "bob", 1, 0)])))
        .await
        .expect(200);
    assert_eq!(recorded["accepted"], 1);
}

#[tokio::test]
async fn bodies_where_none_is_wanted_may_be_empty_and_nothing_else() {
    let server = Server::start().await;
    let id = open(&server, &terms(500, 600)).await;
    grant(&server, "ann", 1_000, "g").await.expect(200);
    let sign_up = |body: &str| {
        let path = format!("/v1/contests/{id}/signup");
        server.send(call("PUT", &path).player("ann").text(body))
    };
    sign_up("[]").await.fault("", "invalid_type");
    sign_up("null").await.fault("", "invalid_type");
    sign_up("{\"fee\":1}").await.fault("/fee", "unknown_field");
    sign_up("{").await.problem(400, "malformed_json");
    sign_up("x").await.problem(400, "malformed_json");
    sign_up(" { } ").await.expect(200);
    sign_up("").await.expect(200);
    let account = call("GET", "/v1/sandbox/accounts/ann").operator();
    assert_eq!(server.send(account).await.expect(200)["balance"], 990);
}

#[tokio::test]
async fn grants_are_given_once() {
    let server = Server::start().await;
    for _ in 0..3 {
        assert_eq!(
            grant(&server, "ann", 5, "g").await.expect(200)["balance"],
            5
        );
    }
    grant(&server, "ann", 6, "g")
        .await
        .problem(409, "grant_conflict");
    grant(&server, "bob", 5, "g")
        .await
        .problem(409, "grant_conflict");
    let most = (1_u64 << 53) - 1;
    grant(&server, "ann", most, "h")
        .await
        .problem(409, "balance_limit");
    assert_eq!(
        grant(&server, "cat", most, "i").await.expect(200)["balance"],
        most
    );
}
