//! Switches on two nodes of the production stack: within a second nothing new begins on either, what had
//! begun ends, and the books are exact.

use crate::{Bed, SECRET, server::Server};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Viewers at once, half of them on each node.
const CALLERS: usize = 64;
/// The longest until a change is in force on every node.
const IN_FORCE_MS: i64 = 1_000;
/// The bound of every wait.
const BOUND: Duration = Duration::from_secs(30);

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    i64::try_from(since.expect("after 1970").as_millis()).expect("a time")
}

/// A token, without a process for each.
fn token(user: &str, role: &str) -> String {
    let claims = json!({ "sub": user, "role": role, "exp": now_ms() / 1_000 + 600 });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token")
}

fn switch(node: &Server, name: &str, enabled: bool) {
    let body = json!({ "enabled": enabled, "reason": "a drill" });
    let path = format!("/v1/admin/switches/{name}");
    let answer = node.call("PUT", &path, &token("olga", "operator"), Some(body));
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// A call of a viewer: when it was sent, when it was answered, and how.
#[derive(Debug)]
struct Tried {
    user: String,
    node: usize,
    sent_ms: i64,
    answered_ms: i64,
    status: u16,
}

/// Many viewers at both nodes: each takes the next name and calls, until they are told to stop.
fn crowd(
    nodes: &[Server; 2],
    is_over: &AtomicBool,
    one: impl Fn(&Server, &str) -> u16 + Sync,
) -> Vec<Tried> {
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|caller| {
                let one = &one;
                scope.spawn(move || {
                    let mut tried = Vec::new();
                    for number in 0.. {
                        if is_over.load(Ordering::SeqCst) {
                            break;
                        }
                        let (user, node) = (format!("viewer-{caller}-{number}"), caller % 2);
                        grant(&nodes[node], &user);
                        let sent_ms = now_ms();
                        let status = one(&nodes[node], &user);
                        tried.push(Tried {
                            user,
                            node,
                            sent_ms,
                            answered_ms: now_ms(),
                            status,
                        });
                    }
                    tried
                })
            })
            .collect();
        callers
            .into_iter()
            .flat_map(|caller| caller.join().expect("no panic"))
            .collect()
    })
}

fn at(seconds: i64) -> String {
    let time = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
    time.format(&Rfc3339).expect("a time")
}

fn grant(node: &Server, user: &str) {
    let body = json!({ "amount": 10, "grant_id": format!("for-{user}") });
    let path = format!("/v1/sandbox/accounts/{user}/grant");
    let answer = node.call("POST", &path, &token("olga", "operator"), Some(body));
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// A contest with so many finishers, whose tasks are over.
fn finished(nodes: &[Server; 2], mode: &str, viewers: usize) -> (String, Vec<String>) {
    let body = json!({
        "title": "switched", "room_id": "r", "fee": 10, "task": { "kind": "open_chest", "target": 1 },
        "payout": { "rule": "equal" }, "claim_mode": mode, "signup_opens_at": at(0),
        "signup_closes_at": at(20), "tasks_end_at": at(21), "claim_closes_at": at(900),
    });
    let operator = token("olga", "operator");
    let created = nodes[0].call("POST", "/v1/admin/contests", &operator, Some(body));
    assert_eq!(created.status, 201, "{}", created.text);
    let id = created.json()["contest_id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let path = format!("/v1/contests/{id}");
    let phase = || nodes[0].call("GET", &path, &operator, None).json()["phase"].clone();
    until("it is open", || phase() == "open");
    let names: Vec<_> = (0..viewers)
        .map(|number| format!("{mode}-{number}"))
        .collect();
    std::thread::scope(|scope| {
        for part in names.chunks(viewers.div_ceil(16)) {
            let id = &id;
            scope.spawn(move || {
                for name in part {
                    grant(&nodes[0], name);
                    let path = format!("/v1/contests/{id}/signup");
                    let signed = nodes[1].call("PUT", &path, &token(name, "player"), None);
                    assert_eq!(signed.status, 200, "{}", signed.text);
                }
            });
        }
    });
    let events: Vec<_> = names.iter().map(|name| json!({
        "event_id": format!("e-{name}"), "user_id": name, "room_id": "r", "kind": "open_chest",
        "quantity": 1, "occurred_at": at(0),
    })).collect();
    let sent = nodes[0].call(
        "POST",
        "/v1/task-events",
        &token("game", "service"),
        Some(json!(events)),
    );
    assert_eq!(sent.json()["accepted"], viewers, "{}", sent.text);
    (id, names)
}

fn settle(node: &Server, id: &str) -> u16 {
    let path = format!("/v1/admin/contests/{id}/settle");
    node.call("POST", &path, &token("olga", "operator"), None)
        .status
}

fn report(node: &Server, id: &str) -> Value {
    let path = format!("/v1/admin/contests/{id}/report");
    node.call("GET", &path, &token("olga", "operator"), None)
        .json()
}

/// How many signups are in a state.
fn count(report: &Value, state: &str) -> u64 {
    let counts = report["counts"].as_array().expect("the counts").iter();
    counts
        .filter(|one| one["state"] == state)
        .filter_map(|one| one["signups"].as_u64())
        .sum()
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + BOUND;
    while !is_so() {
        assert!(Instant::now() < end, "not within {BOUND:?}: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_new_signs_up_on_either_node_within_a_second() {
    let bed = Bed::new().await;
    let nodes = [bed.node(), bed.node()];
    let operator = token("olga", "operator");
    let contest = nodes[0].contest(&operator, 600);
    let path = format!("/v1/contests/{contest}/signup");
    let is_over = AtomicBool::new(false);
    let signed =
        |node: &Server, user: &str| node.call("PUT", &path, &token(user, "player"), None).status;
    let ([off_ms, asked_ms, on_ms], tried) = std::thread::scope(|scope| {
        let operating = scope.spawn(|| {
            let paid = || report(&nodes[0], &contest)["funnel"]["paid"].as_u64();
            until("some have signed up", || paid() > Some(50));
            switch(&nodes[0], "signups", false);
            let off_ms = now_ms();
            until("it has been off for a while", || {
                now_ms() > off_ms + 2 * IN_FORCE_MS
            });
            let asked_ms = now_ms();
            switch(&nodes[1], "signups", true);
            let on_ms = now_ms();
            until("it has been on for a while", || {
                now_ms() > on_ms + 2 * IN_FORCE_MS
            });
            is_over.store(true, Ordering::SeqCst);
            [off_ms, asked_ms, on_ms]
        });
        let tried = crowd(&nodes, &is_over, signed);
        (operating.join().expect("no panic"), tried)
    });
    let statuses: std::collections::BTreeSet<_> = tried.iter().map(|one| one.status).collect();
    assert_eq!(statuses, [200, 503].into(), "no other answer");
    for node in 0..2 {
        let of = |from: i64, to: i64, status: u16| {
            let mine = tried
                .iter()
                .filter(|one| one.node == node && one.status == status);
            mine.filter(|one| one.sent_ms >= from && one.answered_ms < to)
                .count()
        };
        let in_force = off_ms + IN_FORCE_MS;
        assert_eq!(of(in_force, asked_ms, 200), 0, "node {node}: none begins");
        assert!(
            of(in_force, asked_ms, 503) > 0,
            "node {node}: they are told"
        );
        assert_eq!(
            of(on_ms + IN_FORCE_MS, i64::MAX, 503),
            0,
            "node {node}: it is on"
        );
        assert!(
            of(on_ms + IN_FORCE_MS, i64::MAX, 200) > 0,
            "node {node}: they sign up"
        );
    }
    // Whoever was told so has no row, everybody else has paid, and the pool has exactly their fees.
    let accepted = tried.iter().filter(|one| one.status == 200).count();
    let report = report(&nodes[1], &contest);
    assert_eq!(count(&report, "in_progress"), accepted as u64);
    assert_eq!(report["signups"], accepted, "nothing is half done");
    assert_eq!(report["money"]["held"], 10 * accepted);
    assert_eq!(report["money"]["fees"], 10 * accepted);
    let refused = tried
        .iter()
        .find(|one| one.status == 503)
        .expect("one was refused");
    let own = nodes[0].call("GET", &path, &token(&refused.user, "player"), None);
    assert_eq!(own.status, 404, "{}", own.text);
    println!(
        "{accepted} signed up, {} were refused",
        tried.len() - accepted
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_stop_on_both_nodes_and_go_on() {
    const VIEWERS: usize = 400;
    let bed = Bed::new().await;
    let nodes = [bed.node(), bed.node()];
    let (contest, names) = finished(&nodes, "manual", VIEWERS);
    until("prizes can be claimed", || {
        settle(&nodes[0], &contest);
        report(&nodes[0], &contest)["contest"]["phase"] == "claimable"
    });
    let path = format!("/v1/contests/{contest}/claim");
    let claim =
        |node: &Server, name: &str| node.call("PUT", &path, &token(name, "player"), None).status;
    let (before, after) = names.split_at(VIEWERS / 2);
    for name in before {
        assert_eq!(claim(&nodes[0], name), 200);
    }
    switch(&nodes[0], "claims", false);
    let off = Instant::now();
    until("it is in force", || {
        off.elapsed().as_millis() > IN_FORCE_MS as u128
    });
    for (number, name) in after.iter().enumerate() {
        assert_eq!(
            claim(&nodes[number % 2], name),
            503,
            "{name} does not begin"
        );
    }
    for (number, name) in before.iter().enumerate() {
        assert_eq!(
            claim(&nodes[number % 2], name),
            200,
            "{name} is answered as ever"
        );
    }
    let now = report(&nodes[1], &contest);
    assert_eq!(count(&now, "shared"), before.len() as u64);
    assert_eq!(
        count(&now, "completed"),
        after.len() as u64,
        "nothing is half done"
    );
    switch(&nodes[1], "claims", true);
    let on = Instant::now();
    until("it is in force", || {
        on.elapsed().as_millis() > IN_FORCE_MS as u128
    });
    for (number, name) in after.iter().enumerate() {
        assert_eq!(claim(&nodes[number % 2], name), 200, "{name}");
    }
    closes(&nodes[0], &contest, VIEWERS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn automatic_payout_stops_in_mid_settlement_and_goes_on() {
    const VIEWERS: usize = 1_000;
    let bed = Bed::new().await;
    let nodes = [bed.node(), bed.node()];
    let (contest, _) = finished(&nodes, "automatic", VIEWERS);
    let is_over = AtomicBool::new(false);
    let shared = |node: &Server| count(&report(node, &contest), "shared");
    std::thread::scope(|scope| {
        for node in &nodes {
            let (is_over, contest) = (&is_over, &contest);
            scope.spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    settle(node, contest);
                    std::thread::park_timeout(Duration::from_millis(20));
                }
            });
        }
        until("some are paid", || shared(&nodes[0]) > 0);
        switch(&nodes[0], "automatic_payout", false);
        let off = Instant::now();
        until("it is in force", || {
            off.elapsed().as_millis() > IN_FORCE_MS as u128
        });
        // What had begun ends.
        until("nothing is under way", || {
            count(&report(&nodes[0], &contest), "claiming") == 0
        });
        let paid = shared(&nodes[0]);
        println!("{paid} of {VIEWERS} were paid when it stopped");
        let later = Instant::now();
        until("both nodes had time to pay more", || {
            later.elapsed() > Duration::from_secs(3)
        });
        assert_eq!(shared(&nodes[1]), paid, "nothing new begins");
        assert!(paid < VIEWERS as u64, "it stopped in the middle");
        assert_eq!(
            count(&report(&nodes[1], &contest), "completed"),
            VIEWERS as u64 - paid
        );
        switch(&nodes[1], "automatic_payout", true);
        until("the rest is paid", || shared(&nodes[0]) == VIEWERS as u64);
        is_over.store(true, Ordering::SeqCst);
    });
    closes(&nodes[1], &contest, VIEWERS);
}

/// The contest ends, every coin of it was paid, and every invariant that is shown holds.
fn closes(node: &Server, contest: &str, viewers: usize) {
    until("it is closed", || {
        settle(node, contest);
        report(node, contest)["contest"]["phase"] == "closed"
    });
    let report = report(node, contest);
    assert_eq!(count(&report, "shared"), viewers as u64);
    assert_eq!(report["money"]["held"], 0);
    assert_eq!(report["money"]["prizes"], 10 * viewers);
    let invariants = report["invariants"].as_array().expect("the invariants");
    assert!(
        invariants.iter().all(|one| one["holds"] != false),
        "{report}"
    );
    assert!(invariants.iter().filter(|one| one["holds"] == true).count() >= 5);
    assert_eq!(report["findings"], json!([]));
}

/// The store of the switches alone is cut off: everything else works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_store_of_switches_cut_off_the_last_values_stay_and_it_is_said() {
    let bed = Bed::new().await;
    let node = bed.node();
    let contest = node.contest(&token("olga", "operator"), 600);
    let path = format!("/v1/contests/{contest}/signup");
    let sign_up = |user: &str| {
        grant(&node, user);
        node.call("PUT", &path, &token(user, "player"), None).status
    };
    switch(&node, "live_pool", false);
    bed.store
        .execute("RENAME TABLE switch_change TO gone")
        .await
        .expect("renamed");
    let age = || {
        let numbers = node.call("GET", "/metrics", "", None).text;
        let line = numbers
            .lines()
            .find_map(|line| line.strip_prefix("guafen_switches_age_seconds "));
        line.expect("the number").parse::<f64>().expect("a number")
    };
    until("the switches are old", || age() > 3.0);
    let ready = node.call("GET", "/readyz", "", None);
    assert_eq!(ready.status, 200, "the flows work");
    assert!(
        ready.text.contains("the last values stay in force"),
        "{}",
        ready.text
    );
    assert_eq!(sign_up("ann"), 200, "on, as it was");
    let pool = format!("/v1/contests/{contest}/pool");
    let pool = node.call("GET", &pool, &token("ann", "player"), None);
    assert_eq!(
        pool.json()["source"],
        "cache",
        "off, as it was: {}",
        pool.text
    );
    let list = node.call(
        "GET",
        "/v1/admin/switches",
        &token("olga", "operator"),
        None,
    );
    assert_eq!(list.status, 503, "nobody is told old values for new ones");
    bed.store
        .execute("RENAME TABLE gone TO switch_change")
        .await
        .expect("renamed");
    until("they are read again", || age() < 1.0);
    assert_eq!(node.call("GET", "/readyz", "", None).text, "ready");
    switch(&node, "signups", false);
    assert_eq!(sign_up("bob"), 503);
}
