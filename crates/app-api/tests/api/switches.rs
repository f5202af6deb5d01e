//! Switches, good and bad input, every answer held to the document.

use crate::{
    contest::{event, grant, open, terms},
    server::{Server, call, text},
};
use serde_json::{Value, json};

const PATH: &str = "/v1/admin/switches";

fn put(name: &str, body: &Value) -> crate::server::Call {
    call("PUT", &format!("{PATH}/{name}")).operator().json(body)
}

#[tokio::test]
async fn a_switch_is_set_for_everything_a_room_or_a_contest_and_says_why() {
    let server = Server::start().await;
    let list = server.send(call("GET", PATH).operator()).await.expect(200);
    let names: Vec<_> = list["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| text(&one["name"]))
        .collect();
    let known = [
        "signups",
        "claims",
        "automatic_payout",
        "automatic_repair",
        "redis_tally",
        "record_cache",
        "delayed_second_delete",
        "live_pool",
    ];
    assert_eq!(names, known);
    for one in list["items"].as_array().expect("a list") {
        assert_eq!(
            (&one["enabled"], &one["default"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(one["settings"], json!([]));
    }
    let contest = open(&server, &terms(500, 600)).await;
    grant(&server, "ann", 100, "g").await.expect(200);
    let sign_up = |user: &str| {
        let path = format!("/v1/contests/{contest}/signup");
        server.send(call("PUT", &path).player(user))
    };
    for (more, scope) in [
        (json!({}), "everything".to_owned()),
        (json!({ "room_id": "room-1" }), "room/room-1".to_owned()),
        (
            json!({ "contest_id": contest }),
            format!("contest/{contest}"),
        ),
    ] {
        let body = |enabled: bool| {
            let mut body = json!({ "enabled": enabled, "reason": "a drill 演习" });
            let fields = more.as_object().expect("fields").clone();
            body.as_object_mut().expect("fields").extend(fields);
            body
        };
        let set = server.send(put("signups", &body(false))).await.expect(200);
        assert_eq!(set["enabled"], json!(scope != "everything"));
        let settings = set["settings"].as_array().expect("a list");
        let setting = settings
            .iter()
            .find(|one| one["scope"] == scope.as_str())
            .expect("it is in force");
        assert_eq!(
            (&setting["enabled"], &setting["changed_by"]),
            (&json!(false), &json!("boss"))
        );
        let refused = sign_up("ann").await;
        refused.problem(503, "switched_off");
        assert_eq!(refused.headers["retry-after"], "30");
        let detail = text(&refused.body["detail"]).to_owned();
        assert_eq!(
            detail,
            format!("signups is switched off for {scope}: a drill 演习")
        );
        server.send(put("signups", &body(true))).await.expect(200);
    }
    let path = format!("/v1/contests/{contest}/signup");
    server
        .send(call("GET", &path).player("ann"))
        .await
        .problem(404, "not_signed_up");
    sign_up("ann").await.expect(200);
    // Who has signed up is answered as ever.
    let off = json!({ "enabled": false, "reason": "again" });
    server.send(put("signups", &off)).await.expect(200);
    sign_up("ann").await.expect(200);
    sign_up("bob").await.problem(503, "switched_off");
    let changes = |query: &str| {
        let path = format!("{PATH}/signups/changes{query}");
        server.send(call("GET", &path).operator())
    };
    let all = changes("").await.expect(200);
    let reasons: Vec<_> = all["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| (text(&one["reason"]), &one["enabled"]))
        .collect();
    assert_eq!(reasons.len(), 7);
    assert_eq!(reasons[0], ("again", &json!(false)));
    assert_eq!(reasons[1], ("a drill 演习", &json!(true)));
    let first = changes("?limit=4").await.expect(200);
    let cursor = text(&first["next_cursor"]);
    let rest = changes(&format!("?limit=4&cursor={cursor}"))
        .await
        .expect(200);
    let both = [&first, &rest].map(|page| page["items"].as_array().expect("a list").clone());
    assert_eq!(json!(both.concat()), all["items"]);
    assert_eq!(rest["next_cursor"], Value::Null);
    let numbers = server.send(call("GET", "/metrics")).await;
    let numbers = String::from_utf8_lossy(&numbers.bytes).into_owned();
    for line in [
        "guafen_switch_enabled{switch=\"signups\"} 0",
        "guafen_switch_enabled{switch=\"claims\"} 1",
        "guafen_switched_off_total{switch=\"signups\"} 4",
    ] {
        assert!(numbers.lines().any(|one| one == line), "{line}");
    }
    assert!(
        numbers.contains("guafen_switches_age_seconds 0"),
        "it is fresh"
    );
}

#[tokio::test]
async fn a_claim_that_has_not_begun_waits_for_its_switch() {
    let server = Server::start().await;
    let contest = open(&server, &terms(2, 3)).await;
    for name in ["ann", "bob"] {
        grant(&server, name, 100, name).await.expect(200);
        let path = format!("/v1/contests/{contest}/signup");
        server
            .send(call("PUT", &path).player(name))
            .await
            .expect(200);
        let done = json!([event(&format!("e-{name}"), name, 2, 0)]);
        server
            .send(call("POST", "/v1/task-events").service().json(&done))
            .await
            .expect(200);
    }
    let look = call("GET", &format!("/v1/contests/{contest}")).player("ann");
    server
        .until(look, |answer| answer.body["phase"] == "claimable")
        .await;
    let claim = |name: &str| {
        let path = format!("/v1/contests/{contest}/claim");
        server.send(call("PUT", &path).player(name))
    };
    claim("ann").await.expect(200);
    let off = json!({ "enabled": false, "reason": "checking the books", "contest_id": contest });
    server.send(put("claims", &off)).await.expect(200);
    claim("ann").await.expect(200);
    claim("eve").await.problem(404, "not_signed_up");
    claim("bob").await.problem(503, "switched_off");
    let on = json!({ "enabled": true, "reason": "they agree", "contest_id": contest });
    server.send(put("claims", &on)).await.expect(200);
    claim("bob").await.expect(200);
}

#[tokio::test]
async fn what_cannot_be_set_is_refused_with_its_field() {
    let server = Server::start().await;
    let contest = open(&server, &terms(500, 600)).await;
    let good = json!({ "enabled": false, "reason": "a drill" });
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    let nobody = "00000000-0000-7000-8000-000000000000";
    for (name, body, pointer, code) in [
        (
            "signups",
            with("reason", json!("")),
            "/reason",
            "out_of_range",
        ),
        (
            "signups",
            with("reason", json!(" ")),
            "/reason",
            "out_of_range",
        ),
        (
            "signups",
            with("reason", json!("x".repeat(501))),
            "/reason",
            "out_of_range",
        ),
        (
            "signups",
            with("reason", json!(7)),
            "/reason",
            "invalid_type",
        ),
        (
            "signups",
            with("enabled", json!("no")),
            "/enabled",
            "invalid_type",
        ),
        (
            "signups",
            json!({ "reason": "a drill" }),
            "/enabled",
            "missing",
        ),
        ("signups", json!({ "enabled": false }), "/reason", "missing"),
        (
            "signups",
            with("scope", json!("everything")),
            "/scope",
            "unknown_field",
        ),
        (
            "signups",
            with("contest_id", json!("x")),
            "/contest_id",
            "invalid_id",
        ),
        (
            "signups",
            with("contest_id", json!(nobody)),
            "/contest_id",
            "unknown_value",
        ),
        (
            "signups",
            with("room_id", json!("a room")),
            "/room_id",
            "invalid_id",
        ),
        (
            "redis_tally",
            with("room_id", json!("room-1")),
            "/room_id",
            "conflicting",
        ),
        (
            "record_cache",
            with("contest_id", json!(contest)),
            "/contest_id",
            "conflicting",
        ),
    ] {
        server.send(put(name, &body)).await.fault(pointer, code);
    }
    let mut both = with("contest_id", json!(contest));
    both["room_id"] = json!("room-1");
    server
        .send(put("claims", &both))
        .await
        .fault("/room_id", "conflicting");
    for name in ["nothing", "Signups", "signups%20"] {
        server
            .send(put(name, &good))
            .await
            .problem(404, "not_found");
        let changes = call("GET", &format!("{PATH}/{name}/changes")).operator();
        server.send(changes).await.problem(404, "not_found");
    }
    let cursor = call("GET", &format!("{PATH}/claims/changes?cursor=x")).operator();
    server.send(cursor).await.fault("/cursor", "invalid_cursor");
    // Nothing of it was done.
    let list = server.send(call("GET", PATH).operator()).await.expect(200);
    for one in list["items"].as_array().expect("a list") {
        assert_eq!(one["settings"], json!([]), "{one}");
    }
}
