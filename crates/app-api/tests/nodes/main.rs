//! Two nodes of the production stack on one real MySQL, with nothing between them: a browser's
//! requests go now to the one and now to the other.

#[path = "../live/server.rs"]
#[allow(dead_code, reason = "the tests of streams use the rest")]
mod server;
mod switches;

use adapters_ledger::Ledger;
use serde_json::json;
use server::Server;
use std::sync::Arc;
use tempfile::TempDir;
use test_support::{Database, Engine, database};
use tokio::{net::TcpListener, task::JoinHandle};

const SECRET: &str = "a secret of two nodes on loopback";

/// A schema, and the reference ledger behind real gRPC.
struct Bed {
    store: Database,
    funds: String,
    serving: JoinHandle<()>,
    _books: TempDir,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Bed {
    async fn new() -> Self {
        let store = database(Engine::Mysql).await.expect("a test server");
        production::migrate(store.url()).await.expect("migrated");
        let books = TempDir::new().expect("a directory");
        let ledger = Ledger::open(&books.path().join("ledger.db")).await;
        let ledger = Arc::new(ledger.expect("a ledger"));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            let served = adapters_funds::serve(ledger, listener, None, std::future::pending());
            served.await.expect("a server");
        });
        Self {
            store,
            funds: format!("http://{address}"),
            serving,
            _books: books,
        }
    }

    fn node(&self) -> Server {
        let (store, funds) = (self.store.url(), &self.funds);
        let config = format!(
            "[store]\nurl = \"{store}\"\nprofile = \"test\"\n[funds]\nurl = \"{funds}\"\n\
             sandbox = true\n[server]\nlisten = \"127.0.0.1:0\"\n[auth]\nhs256_secret = \"{SECRET}\"\n"
        );
        Server::node(&config, SECRET)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_of_one_node_opens_one_stream_on_the_other() {
    let bed = Bed::new().await;
    let (one, other) = (bed.node(), bed.node());
    let operator = one.token("boss", "operator");
    let contest = one.contest(&operator, 60);
    let ann = one.token("ann", "player");
    for [giver, taker] in [[&one, &other], [&other, &one]] {
        let answer = giver.call("POST", "/v1/events-tickets", &ann, None);
        assert_eq!(answer.status, 201, "{}", answer.text);
        let ticket = answer.json()["ticket"].clone();
        let ticket = ticket.as_str().expect("a ticket");
        let path = format!("/v1/contests/{contest}/events?ticket={ticket}");
        let mut stream = taker.events(&path, "");
        assert_eq!(stream.status, 200);
        assert_eq!(
            stream.event().expect("an event").data["contest_id"],
            contest.as_str()
        );
        for node in [taker, giver] {
            let answer = node.call("GET", &path, "", None);
            let code = answer.json()["code"].clone();
            assert_eq!((answer.status, code), (401, json!("unauthorized")));
        }
    }
    // One user's tickets are counted together, whichever node gives them.
    let mut given = 0;
    for number in 0..110 {
        let node = [&one, &other][number % 2];
        let answer = node.call("POST", "/v1/events-tickets", &ann, None);
        given += usize::from(answer.status == 201);
        assert!([201, 429].contains(&answer.status), "{}", answer.text);
    }
    assert_eq!(given, 98, "two were given before");
}

/// A contest on a node whose viewer ann has paid, and whose viewer bob has paid and lost the row.
async fn with_a_lost_row(bed: &Bed, node: &Server, operator: &str) -> String {
    let contest = node.contest(operator, 60);
    for name in ["ann", "bob"] {
        let path = format!("/v1/sandbox/accounts/{name}/grant");
        let coins = json!({ "amount": 30, "grant_id": format!("grant-{name}") });
        let granted = node.call("POST", &path, operator, Some(coins));
        assert_eq!(granted.status, 200, "{}", granted.text);
        let token = node.token(name, "player");
        let path = format!("/v1/contests/{contest}/signup");
        let signed = node.call("PUT", &path, &token, None);
        assert_eq!(signed.status, 200, "{}", signed.text);
    }
    let lost = bed.store.change("DELETE FROM signup WHERE user_id = 'bob'");
    assert_eq!(lost.await.expect("a change"), 1);
    contest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_reconciles_looks_repairs_and_resolves() {
    let bed = Bed::new().await;
    let node = bed.node();
    let operator = node.token("olga", "operator");
    let contest = with_a_lost_row(&bed, &node, &operator).await;
    let post = |path: &str, body| node.call("POST", path, &operator, Some(body));
    let get = |path: &str| node.call("GET", path, &operator, None);
    let begun = post(
        "/v1/admin/reconciliations",
        json!({ "contest_id": contest, "dry_run": true }),
    );
    assert_eq!(begun.status, 202, "{}", begun.text);
    let run = begun.json();
    assert_eq!(
        (&run["status"], &run["dry_run"]),
        (&json!("ended"), &json!(true))
    );
    assert_eq!(run["asked_by"], "olga");
    assert_eq!(run["totals"]["differences"], 1);
    let found = &run["findings"][0];
    assert_eq!(found["class"], "ORPHAN_TRANSFER");
    assert_eq!(found["user_id"], "bob");
    let path = format!(
        "/v1/admin/reconciliations/{}",
        run["run_id"].as_str().expect("an id")
    );
    assert_eq!(get(&path).json(), run);
    let all = get("/v1/admin/reconciliations").json();
    assert_eq!(all["items"][0]["run_id"], run["run_id"]);

    let path = format!(
        "/v1/admin/findings/{}",
        found["finding_id"].as_str().expect("an id")
    );
    let detail = get(&path).json();
    assert_eq!(detail["repairs"], json!([]));
    // The row comes back, and the fee goes back to bob.
    let repaired = post(&format!("{path}/repair"), json!({}));
    assert_eq!(repaired.status, 200, "{}", repaired.text);
    let repaired = repaired.json();
    assert!(repaired["settled_at"].is_string(), "{repaired}");
    assert_eq!(repaired["repairs"][0]["repaired_by"], "olga");
    assert_eq!(repaired["repairs"][0]["outcome"], "done");
    let balance = get("/v1/sandbox/accounts/bob").json();
    assert_eq!(balance["balance"], 30);
    for (path, body) in [
        (format!("{path}/repair"), json!({})),
        (format!("{path}/resolve"), json!({ "note": "late" })),
    ] {
        let late = post(&path, body);
        assert_eq!(late.status, 409, "{}", late.text);
        assert_eq!(late.json()["code"], "already_settled");
    }
    // What only a person can judge: ann's row is said to have paid more than she did.
    let wrong = bed
        .store
        .change("UPDATE signup SET fee = 20, version = version + 1 WHERE user_id = 'ann'");
    assert_eq!(wrong.await.expect("a change"), 1);
    let run = post("/v1/admin/reconciliations", json!({})).json();
    let found = run["findings"].as_array().expect("findings").iter();
    let differs = found
        .clone()
        .find(|found| found["class"] == "AMOUNT_DIFFERS")
        .expect("the amount");
    let path = format!(
        "/v1/admin/findings/{}",
        differs["finding_id"].as_str().expect("an id")
    );
    let refused = post(&format!("{path}/repair"), json!({}));
    assert_eq!(refused.status, 409, "{}", refused.text);
    assert_eq!(refused.json()["code"], "not_repairable");
    for note in [json!(""), json!(" "), json!("n".repeat(1_001)), json!(7)] {
        let refused = post(&format!("{path}/resolve"), json!({ "note": note }));
        assert_eq!(refused.status, 422, "{}", refused.text);
    }
    let note = json!({ "note": "agreed with finance\nticket 4711" });
    for _ in 0..2 {
        let resolved = post(&format!("{path}/resolve"), note.clone());
        assert_eq!(resolved.status, 200, "{}", resolved.text);
        assert_eq!(resolved.json()["resolved_by"], "olga");
    }
    let open = get(&format!(
        "/v1/admin/findings?status=open&contest_id={contest}"
    ))
    .json();
    let classes: Vec<_> = open["items"]
        .as_array()
        .expect("items")
        .iter()
        .map(|one| &one["class"])
        .collect();
    assert!(!classes.contains(&&json!("AMOUNT_DIFFERS")), "{open}");
    let nobody = "00000000-0000-7000-8000-000000000000";
    for (method, path, body, status) in [
        ("GET", format!("/v1/admin/findings/{nobody}"), None, 404),
        (
            "POST",
            format!("/v1/admin/findings/{nobody}/repair"),
            Some(json!({})),
            404,
        ),
        (
            "GET",
            format!("/v1/admin/reconciliations/{nobody}"),
            None,
            404,
        ),
        ("GET", "/v1/admin/reconciliations/x".to_owned(), None, 404),
        (
            "POST",
            "/v1/admin/reconciliations".to_owned(),
            Some(json!({ "contest_id": nobody })),
            404,
        ),
        (
            "POST",
            "/v1/admin/reconciliations".to_owned(),
            Some(json!({ "contest_id": "x" })),
            422,
        ),
        (
            "POST",
            "/v1/admin/reconciliations".to_owned(),
            Some(json!({ "contest": nobody })),
            422,
        ),
    ] {
        let answer = node.call(method, &path, &operator, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_overrides_the_freeze_of_a_contest_whose_books_differ() {
    let bed = Bed::new().await;
    let node = bed.node();
    let operator = node.token("olga", "operator");
    let contest = node.contest(&operator, 3);
    let post = |path: &str, body| node.call("POST", path, &operator, Some(body));
    for name in ["ann", "bob"] {
        node.sign_up(&operator, &contest, name);
    }
    let event = json!([{
        "event_id": "chest-of-bob", "user_id": "bob", "room_id": "r", "kind": "open_chest",
        "quantity": 1,
        "occurred_at": node.call("GET", &format!("/v1/contests/{contest}"), &operator, None).json()["signup_closes_at"],
    }]);
    let service = node.token("game", "service");
    let told = node.call("POST", "/v1/task-events", &service, Some(event));
    assert_eq!(told.json()["accepted"], 1, "{}", told.text);
    // Somebody has changed a row: it says that two coins more came in than did.
    let wrong = "UPDATE signup SET fee = 12, version = version + 1 WHERE user_id = 'ann'";
    bed.store.change(wrong).await.expect("a change");
    let named = format!("/v1/admin/contests/{contest}/override");
    let nobody = "00000000-0000-7000-8000-000000000000";
    let early = post(&named, json!({ "finding_ids": [nobody], "reason": "x" }));
    assert_eq!(
        (early.status, &early.json()["code"]),
        (409, &json!("not_overridable")),
        "{}",
        early.text
    );
    let settle = format!("/v1/admin/contests/{contest}/settle");
    let bound = std::time::Instant::now() + server::BOUND;
    let open = format!("/v1/admin/findings?status=open&contest_id={contest}");
    let finding = loop {
        post(&settle, json!({}));
        let open = node.call("GET", &open, &operator, None).json();
        if let Some(finding) = open["items"].as_array().and_then(|items| items.first()) {
            break finding.clone();
        }
        assert!(std::time::Instant::now() < bound, "the books agree");
    };
    assert_eq!(finding["class"], "POOL_DIFFERS");
    let id = &finding["finding_id"];
    for (body, pointer) in [
        (json!({ "finding_ids": [], "reason": "x" }), "/finding_ids"),
        (
            json!({ "finding_ids": [id, "x"], "reason": "x" }),
            "/finding_ids/1",
        ),
        (
            json!({ "finding_ids": [id, nobody], "reason": "x" }),
            "/finding_ids/1",
        ),
        (json!({ "finding_ids": [id], "reason": " " }), "/reason"),
        (json!({ "finding_ids": [id] }), "/reason"),
    ] {
        let refused = post(&named, body);
        assert_eq!(refused.status, 422, "{}", refused.text);
        assert_eq!(
            refused.json()["errors"][0]["pointer"],
            pointer,
            "{}",
            refused.text
        );
    }
    let other = json!({ "finding_ids": [id], "accepted_gap": 2, "reason": "x" });
    let other = post(&named, other);
    assert_eq!(
        (other.status, &other.json()["code"]),
        (409, &json!("not_overridable"))
    );
    let reason = json!({ "finding_ids": [id], "accepted_gap": -2, "reason": "the row of ann was changed by hand" });
    let said = post(&named, reason.clone());
    assert_eq!(said.status, 200, "{}", said.text);
    assert_eq!(said.json()["accepted_gap"], -2);
    assert_eq!(said.json()["findings"][0]["resolved_by"], "olga");
    let again = post(&named, reason);
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(again.json()["accepted_gap"], -2);
    assert_eq!(post(&settle, json!({})).json()["phase"], "claimable");
    // Of the 22 coins that the rows say are there, 20 are, and are bob's.
    let settlement = format!("/v1/contests/{contest}/settlement");
    let settlement = node.call("GET", &settlement, &operator, None).json();
    assert_eq!(settlement["pool"], 20, "{settlement}");
    let missing = node.call(
        "POST",
        &format!("/v1/admin/contests/{nobody}/override"),
        &operator,
        Some(json!({ "finding_ids": [id], "reason": "x" })),
    );
    assert_eq!(missing.status, 404);
}
