//! A whole contest through the API, and the pages that describe it.

use crate::server::{Answer, Server, at, call, text};
use serde_json::{Value, json};

/// A contest that opens at once.
pub(crate) fn terms(closes_s: i64, ends_s: i64) -> Value {
    json!({
        "title": "Friday chests 周五开宝箱",
        "room_id": "room-1",
        "fee": 10,
        "task": { "kind": "open_chest", "target": 2 },
        "payout": { "rule": "equal" },
        "signup_opens_at": at(-1),
        "signup_closes_at": at(closes_s),
        "tasks_end_at": at(ends_s),
        "claim_closes_at": at(ends_s + 600),
    })
}

/// Creates a contest and waits until viewers can sign up.
pub(crate) async fn open(server: &Server, terms: &Value) -> String {
    let create = call("POST", "/v1/admin/contests").operator().json(terms);
    let contest = server.send(create).await.expect(201);
    let id = text(&contest["contest_id"]).to_owned();
    let look = call("GET", &format!("/v1/contests/{id}")).player("ann");
    server
        .until(look, |answer| answer.body["phase"] == "open")
        .await;
    id
}

/// Gives a viewer coins.
pub(crate) async fn grant(server: &Server, user: &str, amount: u64, grant_id: &str) -> Answer {
    let path = format!("/v1/sandbox/accounts/{user}/grant");
    let body = json!({ "amount": amount, "grant_id": grant_id });
    server
        .send(call("POST", &path).operator().json(&body))
        .await
}

pub(crate) fn event(id: &str, user: &str, quantity: u64, after_s: i64) -> Value {
    json!({
        "event_id": id,
        "user_id": user,
        "room_id": "room-1",
        "kind": "open_chest",
        "quantity": quantity,
        "occurred_at": at(after_s),
    })
}

#[tokio::test]
async fn a_whole_contest_is_played_and_every_answer_is_documented() {
    let server = Server::start().await;
    for path in ["/healthz", "/readyz", "/openapi.json"] {
        server.send(call("GET", path)).await.expect(200);
        server.send(call("HEAD", path)).await.expect(200);
    }
    let mut terms = terms(2, 3);
    terms["rake_bps"] = json!(1_000);
    terms["guaranteed_pool"] = json!(100);
    let id = open(&server, &terms).await;
    let path = |end: &str| format!("/v1/contests/{id}{end}");
    let admin = |end: &str| format!("/v1/admin/contests/{id}{end}");
    for user in ["ann", "bob", "cat"] {
        let account = grant(&server, user, 25, &format!("coins-{user}")).await;
        assert_eq!(account.expect(200)["balance"], 25);
        let signup = server
            .send(call("PUT", &path("/signup")).player(user))
            .await;
        assert_eq!(signup.expect(200)["state"], "in_progress");
        let again = call("PUT", &path("/signup")).player(user).json(&json!({}));
        server.send(again).await.expect(200);
    }
    let poor = server
        .send(call("PUT", &path("/signup")).player("dan"))
        .await;
    poor.problem(402, "insufficient_funds");
    let early = server
        .send(call("PUT", &path("/claim")).player("ann"))
        .await;
    early.problem(409, "not_completed");
    let early = server
        .send(call("POST", &admin("/settle")).operator())
        .await;
    early.problem(409, "not_due");

    let batch = json!([
        event("e1", "ann", 2, 0),
        event("e2", "bob", 1, 0),
        event("e3", "bob", 1, 0)
    ]);
    let events = call("POST", "/v1/task-events").service().json(&batch);
    let recorded = server.send(events.clone()).await.expect(200);
    assert_eq!(
        recorded,
        json!({ "accepted": 3, "duplicates": 0, "rejected": [] })
    );
    let recorded = server.send(events).await.expect(200);
    assert_eq!(
        recorded,
        json!({ "accepted": 0, "duplicates": 3, "rejected": [] })
    );
    let mine = call("GET", &path("/signup")).player("ann");
    let done = |answer: &Answer| answer.body["state"] == "completed";
    server.until(mine, done).await;
    let early = server
        .send(call("PUT", &path("/claim")).player("ann"))
        .await;
    early.problem(409, "not_claimable_yet");
    assert_eq!(early.headers["retry-after"], "1");

    let pool = server
        .send(call("GET", &path("/pool")).player("ann"))
        .await
        .expect(200);
    // 30 of fees less 3 of rake is below what is guaranteed.
    assert_eq!(
        (&pool["amount"], &pool["source"]),
        (&json!(100), &json!("funds"))
    );
    let look = call("GET", &path("")).player("ann");
    let claimable = |answer: &Answer| answer.body["phase"] == "claimable";
    let contest = server.until(look, claimable).await.body;
    assert_eq!(contest["settlement"]["pool"], 100);
    assert_eq!(contest["settlement"]["finishers"], 2);

    for user in ["ann", "bob"] {
        for _ in 0..2 {
            let claim = server.send(call("PUT", &path("/claim")).player(user)).await;
            let claim = claim.expect(200);
            assert_eq!(
                (&claim["state"], &claim["prize"]),
                (&json!("shared"), &json!(50))
            );
        }
        let account = call("GET", &format!("/v1/sandbox/accounts/{user}")).operator();
        assert_eq!(server.send(account).await.expect(200)["balance"], 65);
    }
    let missed = server
        .send(call("PUT", &path("/claim")).player("cat"))
        .await;
    missed.problem(409, "not_completed");
    let late = server
        .send(call("PUT", &path("/signup")).player("eve"))
        .await;
    late.problem(409, "signup_closed");
    let late = server
        .send(call("POST", &admin("/cancel")).operator())
        .await;
    late.problem(409, "not_cancellable");
    server
        .send(call("POST", &admin("/settle")).operator())
        .await
        .expect(202);

    let report = server
        .send(call("GET", &admin("/report")).operator())
        .await
        .expect(200);
    // The viewer without coins asked, too.
    let funnel = json!({ "signed_up": 4, "paid": 3, "finished": 2, "claimed": 2 });
    assert_eq!(report["funnel"], funnel);
    assert_eq!(report["money"]["prizes"], 100);
    assert!(
        report["invariants"]
            .as_array()
            .expect("all")
            .iter()
            .all(|one| one["holds"] != false)
    );
    let findings = format!("/v1/admin/findings?contest_id={id}&status=open");
    let findings = server
        .send(call("GET", &findings).operator())
        .await
        .expect(200);
    assert_eq!(findings["items"], json!([]));
}

#[tokio::test]
async fn a_contest_is_cancelled_and_lists_are_paged() {
    let server = Server::start().await;
    let id = open(&server, &terms(500, 600)).await;
    for number in 0..5 {
        let user = format!("user-{number}");
        grant(&server, &user, 10, &user).await.expect(200);
        let path = format!("/v1/contests/{id}/signup");
        server
            .send(call("PUT", &path).player(&user))
            .await
            .expect(200);
    }
    for (path, by_operator, wanted) in [
        (format!("/v1/admin/contests/{id}/signups"), true, 5),
        ("/v1/contests".to_owned(), false, 1),
        ("/v1/me/signups".to_owned(), false, 1),
        ("/v1/admin/parked".to_owned(), true, 0),
    ] {
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let after = cursor.map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let page = call("GET", &format!("{path}?limit=2{after}"));
            let page = match by_operator {
                true => page.operator(),
                false => page.player("user-0"),
            };
            let page = server.send(page).await.expect(200);
            let items = page["items"].as_array().expect("items");
            assert!(items.len() <= 2);
            found.extend(items.iter().cloned());
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found.len(), wanted, "{path}");
    }
    for (query, wanted) in [
        ("user_id=user-3", 1),
        ("user_id=nobody", 0),
        ("state=in_progress", 5),
        ("state=shared", 0),
        ("user_id=user-3&state=shared", 0),
    ] {
        let path = format!("/v1/admin/contests/{id}/signups?{query}");
        let page = server.send(call("GET", &path).operator()).await.expect(200);
        assert_eq!(
            page["items"].as_array().expect("items").len(),
            wanted,
            "{query}"
        );
    }
    let absent = call("GET", &format!("/v1/contests/{id}/signup")).player("nobody");
    server.send(absent).await.problem(404, "not_signed_up");
    for _ in 0..2 {
        let cancel = call("POST", &format!("/v1/admin/contests/{id}/cancel")).operator();
        server.send(cancel).await.expect(202);
    }
    let look = call("GET", &format!("/v1/contests/{id}")).operator();
    let contest = server
        .until(look, |answer| answer.body["phase"] == "cancelled")
        .await
        .body;
    assert_eq!(contest["cancel_reason"], "operator");
    let signup = call("GET", &format!("/v1/contests/{id}/signup")).player("user-1");
    assert_eq!(server.send(signup).await.expect(200)["state"], "refunded");
    let parked = call("GET", &format!("/v1/admin/contests/{id}/signups?limit=1")).operator();
    let page = server.send(parked).await.expect(200);
    let signup = text(&page["items"][0]["signup_id"]);
    for what in ["retry", "redirect"] {
        let path = format!("/v1/admin/parked/{signup}/{what}");
        let none = server.send(call("POST", &path).operator()).await;
        none.problem(409, "not_parked");
    }
}

#[tokio::test]
async fn the_document_and_its_pages_are_served_without_a_token_and_load_nothing_from_elsewhere() {
    let server = Server::start().await;
    let document = &server.document.value;
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(
        document["info"]["license"]["identifier"],
        "MIT OR Apache-2.0"
    );
    let moved = server.send(call("GET", "/docs")).await;
    assert_eq!(moved.headers["location"], "/docs/");
    let page = server.send(call("GET", "/docs/")).await;
    let policy = page.headers["content-security-policy"]
        .to_str()
        .expect("a policy");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let html = String::from_utf8(page.bytes.to_vec()).expect("text");
    let loaded: Vec<&str> = html
        .split(['"', '\''])
        .filter(|text| text.ends_with(".js") || text.ends_with(".css") || text.ends_with(".png"))
        .collect();
    assert!(loaded.len() >= 4, "{html}");
    for file in loaded {
        assert!(!file.contains("//"), "{file}");
        let file = format!("/docs/{}", file.trim_start_matches("./"));
        let answer = server.send(call("GET", &file)).await;
        assert_eq!(answer.status, 200, "{file}");
        assert!(answer.bytes.len() > 100, "{file}");
    }
    let setup = server
        .send(call("GET", "/docs/swagger-initializer.js"))
        .await;
    let setup = String::from_utf8(setup.bytes.to_vec()).expect("text");
    assert!(setup.contains("/openapi.json"), "{setup}");
    assert!(!setup.contains("http"), "{setup}");
    let none = server.send(call("GET", "/docs/none.js")).await;
    none.problem(404, "not_found");
}
