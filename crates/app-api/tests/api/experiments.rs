//! Experiments over HTTP, good and bad input, every answer held to the document.

use crate::{
    contest::{grant, open, terms},
    server::{Answer, Server, at, call, text},
};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const PATH: &str = "/v1/admin/experiments";

fn of_contests() -> Value {
    json!({
        "hypothesis": "便宜一点更热闹",
        "unit": "contest",
        "variants": [
            { "name": "control", "share_bps": 5_000 },
            { "name": "cheap", "share_bps": 5_000, "fee": 5, "task_target": 1, "payout_rule": "by_fee",
              "claim_mode": "automatic", "display": { "badge": ["half", "price"], "字": 1.5 } },
        ],
        "rooms": ["room-1"],
        "task_kinds": ["open_chest"],
        "ends_at": at(3_600),
        "primary_metric": "paid",
        "guardrails": [{ "metric": "refunded", "margin_bps": 200 }],
        "planned_units": 1_000,
    })
}

fn of_viewers() -> Value {
    json!({
        "hypothesis": "gold is better",
        "unit": "user",
        "variants": [
            { "name": "plain", "share_bps": 5_000, "display": {} },
            { "name": "gold", "share_bps": 5_000, "display": { "button": "gold" } },
        ],
        "ends_at": at(3_600),
        "primary_metric": "signed_up",
        "planned_units": 100,
    })
}

async fn make(server: &Server, name: &str, definition: &Value) -> Answer {
    let body = json!({ "name": name, "definition": definition });
    server.send(call("POST", PATH).operator().json(&body)).await
}

async fn post(server: &Server, path: &str, body: Value) -> Answer {
    let path = format!("{PATH}/{path}");
    server
        .send(call("POST", &path).operator().json(&body))
        .await
}

fn ramp(points: u64) -> Value {
    json!({ "ramp_bps": points, "reason": "as planned" })
}

#[tokio::test]
async fn an_experiment_is_made_started_met_and_stopped() {
    let server = Server::start().await;
    let made = make(&server, "fee", &of_contests()).await.expect(201);
    assert_eq!(
        (&made["status"], &made["ramp_bps"]),
        (&json!("draft"), &json!(0))
    );
    assert_eq!(
        (&made["min_units"], &made["alpha_bps"]),
        (&json!(100), &json!(500))
    );
    assert_eq!(
        made["variants"][1]["display"],
        of_contests()["variants"][1]["display"]
    );
    make(&server, "fee", &of_contests())
        .await
        .problem(409, "experiment_exists");
    let look = |name: &str| server.send(call("GET", &format!("{PATH}/{name}")).operator());
    assert_eq!(look("fee").await.expect(200), made);
    look("nothing").await.problem(404, "not_found");
    let mut other = of_contests();
    other["variants"][1]["fee"] = json!(6);
    let put = call("PUT", &format!("{PATH}/fee")).operator();
    let put = server.send(put.json(&other)).await.expect(200);
    assert_eq!(put["variants"][1]["fee"], 6);
    let started = post(&server, "fee/start", ramp(10_000)).await.expect(200);
    assert_eq!(started["status"], "running");
    post(&server, "fee/start", ramp(10_000))
        .await
        .problem(409, "experiment_started");
    let put = call("PUT", &format!("{PATH}/fee")).operator();
    server
        .send(put.json(&other))
        .await
        .problem(409, "experiment_started");
    make(&server, "button", &of_viewers()).await.expect(201);
    post(&server, "button/ramp", ramp(1))
        .await
        .problem(409, "experiment_not_running");
    post(&server, "button/start", ramp(5_000)).await.expect(200);
    post(&server, "button/ramp", ramp(5_000))
        .await
        .problem(409, "ramp_not_up");
    post(&server, "button/ramp", ramp(10_000)).await.expect(200);
    // Contests get their variant when they are made.
    let mut seen = BTreeSet::new();
    let mut contest = String::new();
    for _ in 0..50 {
        contest = open(&server, &terms(500, 600)).await;
        let view = server
            .send(call("GET", &format!("/v1/contests/{contest}")).operator())
            .await
            .expect(200);
        let variant = text(&view["variant"]).to_owned();
        let (fee, target) = if variant == "fee:cheap" {
            (6, 1)
        } else {
            (10, 2)
        };
        assert_eq!(
            (&view["fee"], &view["task"]["target"]),
            (&json!(fee), &json!(target)),
            "{variant}"
        );
        assert_eq!(
            view["experiments"],
            Value::Null,
            "an operator meets nothing"
        );
        seen.insert(variant.clone());
        if seen.len() == 2 && variant == "fee:cheap" {
            break;
        }
    }
    assert_eq!(seen, ["fee:cheap", "fee:control"].map(str::to_owned).into());
    // Viewers get theirs when they look, and it stands on their signup.
    let view = call("GET", &format!("/v1/contests/{contest}")).player("ann");
    let view = server.send(view).await.expect(200);
    let met = view["experiments"].as_array().expect("what is met");
    let names: Vec<_> = met.iter().map(|one| text(&one["experiment"])).collect();
    assert_eq!(names, ["button", "fee"]);
    assert_eq!(met[1]["display"], of_contests()["variants"][1]["display"]);
    grant(&server, "ann", 100, "g").await.expect(200);
    let sign_up = call("PUT", &format!("/v1/contests/{contest}/signup")).player("ann");
    let signup = server.send(sign_up).await.expect(200);
    let button = text(&met[0]["variant"]);
    assert_eq!(signup["variant"], format!("button:{button},fee:cheap"));
    assert_eq!(signup["fee"], 6);
    // What was recorded is what is told.
    let path = format!("{PATH}/fee/results");
    let results = server.send(call("GET", &path).operator()).await.expect(200);
    assert_eq!(results["warnings"], json!([]));
    let cheap = &results["arms"][1];
    assert_eq!(
        (&cheap["variant"], &cheap["paid"], &cheap["coins_in"]),
        (&json!("cheap"), &json!(1), &json!(6))
    );
    assert_eq!(results["comparisons"][0]["verdict"], "too_few_units");
    assert!(
        results["comparisons"][0]["units_missing"].as_u64() > Some(50),
        "{results}"
    );
    let csv = server
        .send(call("GET", &format!("{path}?format=csv")).operator())
        .await;
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    assert_eq!(String::from_utf8_lossy(&csv.bytes).lines().count(), 17);
    server
        .send(call("GET", &format!("{path}?format=xml")).operator())
        .await
        .fault("/format", "unknown_value");
    let none = call("GET", &format!("{PATH}/nothing/results")).operator();
    server.send(none).await.problem(404, "not_found");
    // Stopped, by an arm and as a whole.
    post(
        &server,
        "fee/stop",
        json!({ "variant": "other", "reason": "r" }),
    )
    .await
    .fault("/variant", "unknown_value");
    let stopped = post(
        &server,
        "fee/stop",
        json!({ "variant": "cheap", "reason": "too cheap" }),
    )
    .await
    .expect(200);
    assert_eq!(
        (&stopped["status"], &stopped["end_reason"]),
        (&json!("ended"), &json!("too cheap"))
    );
    assert_eq!(stopped["variants"][1]["stop_reason"], "too cheap");
    post(&server, "fee/stop", json!({ "reason": "r" }))
        .await
        .problem(409, "experiment_not_running");
    let view = call("GET", &format!("/v1/contests/{contest}")).player("bob");
    let view = server.send(view).await.expect(200);
    assert_eq!(view["experiments"].as_array().expect("a list").len(), 1);
    assert_eq!(view["variant"], "fee:cheap", "what has a variant keeps it");
    let changes = server
        .send(call("GET", &format!("{PATH}/fee/changes")).operator())
        .await
        .expect(200);
    let actions: Vec<_> = changes["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| text(&one["action"]))
        .collect();
    assert_eq!(actions, ["arm_stopped", "started", "redefined", "created"]);
    assert_eq!(changes["items"][0]["changed_by"], "boss");
    let list = server
        .send(call("GET", &format!("{PATH}?limit=1")).operator())
        .await
        .expect(200);
    assert_eq!(list["items"][0]["name"], "button");
    let next = format!("{PATH}?limit=1&cursor={}", text(&list["next_cursor"]));
    let next = server.send(call("GET", &next).operator()).await.expect(200);
    assert_eq!(
        (&next["items"][0]["name"], &next["next_cursor"]),
        (&json!("fee"), &Value::Null)
    );
}

/// What changes money inside one pool is refused by user, and it is said why.
#[tokio::test]
async fn money_is_never_assigned_by_user() {
    let server = Server::start().await;
    for (field, value) in [
        ("fee", json!(5)),
        ("task_target", json!(3)),
        ("payout_rule", json!("lucky")),
        ("claim_mode", json!("automatic")),
    ] {
        let mut body = of_viewers();
        body["variants"][1][field] = value;
        let refused = make(&server, "money", &body).await;
        refused.fault("/definition/unit", "needs_other_unit");
        let detail = text(&refused.body["errors"][0]["detail"]);
        assert!(detail.contains("viewers of one pool share it"), "{detail}");
    }
    server
        .send(call("GET", &format!("{PATH}/money")).operator())
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn what_breaks_rules_is_refused_with_its_field_and_two_do_not_overlap() {
    let server = Server::start().await;
    let with = |pointer: &str, value: Value| {
        let mut body = json!({ "name": "one", "definition": of_contests() });
        *body.pointer_mut(pointer).expect("a field") = value;
        body
    };
    let long = "x".repeat(5_000);
    for (pointer, value, at, code) in [
        ("/name", json!("One"), "/name", "invalid_id"),
        ("/name", json!("x".repeat(33)), "/name", "invalid_id"),
        (
            "/definition/unit",
            json!("viewer"),
            "/definition/unit",
            "unknown_value",
        ),
        (
            "/definition/primary_metric",
            json!("fun"),
            "/definition/primary_metric",
            "unknown_value",
        ),
        (
            "/definition/primary_metric",
            json!("refunded"),
            "/definition/primary_metric",
            "unknown_value",
        ),
        (
            "/definition/variants/1/share_bps",
            json!(70_000),
            "/definition/variants/1/share_bps",
            "out_of_range",
        ),
        (
            "/definition/guardrails/0/margin_bps",
            json!(99_999),
            "/definition/guardrails/0/margin_bps",
            "out_of_range",
        ),
        (
            "/definition/hypothesis",
            json!(""),
            "/definition/hypothesis",
            "out_of_range",
        ),
        (
            "/definition/ends_at",
            json!("soon"),
            "/definition/ends_at",
            "invalid_time",
        ),
        (
            "/definition/planned_units",
            json!(99),
            "/definition/planned_units",
            "out_of_range",
        ),
        (
            "/definition/planned_units",
            json!(1.5),
            "/definition/planned_units",
            "invalid_type",
        ),
        (
            "/definition/rooms",
            json!(["a room"]),
            "/definition/rooms/0",
            "invalid_id",
        ),
        (
            "/definition/rooms",
            json!("room-1"),
            "/definition/rooms",
            "invalid_type",
        ),
        (
            "/definition/task_kinds",
            json!(["Chest"]),
            "/definition/task_kinds/0",
            "invalid_id",
        ),
        (
            "/definition/guardrails/0/metric",
            json!("paid"),
            "/definition/guardrails",
            "unknown_value",
        ),
        (
            "/definition/guardrails/0/margin_bps",
            json!(10_001),
            "/definition/guardrails/0/margin_bps",
            "out_of_range",
        ),
        (
            "/definition/variants/0/share_bps",
            json!(4_999),
            "/definition/variants",
            "shares",
        ),
        (
            "/definition/variants/0/name",
            json!("cheap"),
            "/definition/variants",
            "duplicate_value",
        ),
        (
            "/definition/variants/0",
            json!({ "name": "c", "share_bps": 5_000, "fee": 1 }),
            "/definition/variants/0",
            "control_changes",
        ),
        (
            "/definition/variants/1",
            json!({ "name": "c", "share_bps": 5_000 }),
            "/definition/variants",
            "no_difference",
        ),
        (
            "/definition/variants/1/fee",
            json!(0),
            "/definition/variants",
            "out_of_range",
        ),
        (
            "/definition/variants/1/fee",
            json!(1_u64 << 60),
            "/definition/variants/1/fee",
            "out_of_range",
        ),
        (
            "/definition/variants/1/payout_rule",
            json!("fair"),
            "/definition/variants/1/payout_rule",
            "unknown_value",
        ),
        (
            "/definition/variants/1/display",
            json!([]),
            "/definition/variants/1/display",
            "invalid_type",
        ),
        (
            "/definition/variants/1/display",
            json!({ "x": long }),
            "/definition/variants",
            "out_of_range",
        ),
        ("/definition", json!([]), "/definition", "invalid_type"),
    ] {
        let sent = call("POST", PATH).operator().json(&with(pointer, value));
        server.send(sent).await.fault(at, code);
    }
    for (body, at, code) in [
        (
            json!({ "ramp_bps": 0, "reason": "r" }),
            "/ramp_bps",
            "out_of_range",
        ),
        (
            json!({ "ramp_bps": 10_001, "reason": "r" }),
            "/ramp_bps",
            "out_of_range",
        ),
        (
            json!({ "ramp_bps": 1, "reason": " " }),
            "/reason",
            "out_of_range",
        ),
        (json!({ "ramp_bps": 1 }), "/reason", "missing"),
        (
            json!({ "ramp_bps": 1, "reason": "r", "x": 1 }),
            "/x",
            "unknown_field",
        ),
    ] {
        post(&server, "one/start", body).await.fault(at, code);
    }
    post(&server, "one/start", ramp(1))
        .await
        .problem(404, "not_found");
    for name in ["one", "two"] {
        make(&server, name, &of_contests()).await.expect(201);
    }
    post(&server, "one/start", ramp(1)).await.expect(200);
    let refused = post(&server, "two/start", ramp(1)).await;
    refused.problem(409, "experiment_overlaps");
    assert!(
        text(&refused.body["detail"]).starts_with("one runs"),
        "{:?}",
        refused.body
    );
    let mut past = of_viewers();
    past["ends_at"] = json!(at(-1));
    make(&server, "past", &past).await.expect(201);
    post(&server, "past/start", ramp(1))
        .await
        .problem(409, "experiment_over");
}
