//! Streams of events, their tickets and the page, on the real binary.

mod server;

use serde_json::json;
use server::{BOUND, Server};
use std::time::{Duration, Instant};

const LOOPBACK: &str = "127.0.0.1:0";

#[test]
fn a_stream_tells_the_whole_at_once_and_then_what_changes() {
    let server = Server::start(LOOPBACK);
    let operator = server.token("boss", "operator");
    let contest = server.contest(&operator, 60);
    let ann = server.token("ann", "player");
    let path = format!("/v1/contests/{contest}/events");
    let asked = Instant::now();
    let mut stream = server.events(&path, &ann);
    assert_eq!(stream.status, 200);
    for header in [
        "content-type: text/event-stream",
        "cache-control: no-store",
        "x-accel-buffering: no",
    ] {
        assert!(stream.head.contains(header), "{header} in {}", stream.head);
    }
    let hint = stream.block().expect("a hint");
    assert!(hint.starts_with("retry: "), "{hint}");
    let first = stream.event().expect("an event");
    assert!(asked.elapsed() < Duration::from_secs(5));
    let data = &first.data;
    assert_eq!(data["contest_id"], contest.as_str());
    assert_eq!(data["phase"], "open");
    assert_eq!(data["pool"]["amount"], 0);
    assert_eq!(data["pool"]["source"], "funds");
    assert_eq!(
        data["tally"],
        json!({ "signups": 0, "finishers": 0, "states": {} })
    );
    assert!(
        data["server_time"]
            .as_str()
            .is_some_and(|time| time.ends_with('Z'))
    );
    assert!(data.get("settlement").is_none());
    server.sign_up(&operator, &contest, "bob");
    let moved = stream.until("a signup", |data| data["pool"]["amount"] == 10);
    assert!(moved.id > first.id);
    let moved = stream.until("a tally", |data| data["tally"]["signups"] == 1);
    assert_eq!(moved.data["tally"]["states"], json!({ "in_progress": 1 }));
    // Nothing changes, and the time is fresh all the same.
    let next = stream.event().expect("an event");
    assert!(next.id > moved.id);
    assert_ne!(next.data["server_time"], moved.data["server_time"]);
    // Operators may watch too.
    let mut other = server.events(&path, &operator);
    assert_eq!(other.event().expect("an event").data["tally"]["signups"], 1);
}

#[test]
fn ids_rise_across_a_crash() {
    let mut server = Server::start(LOOPBACK);
    let operator = server.token("boss", "operator");
    let contest = server.contest(&operator, 60);
    let path = format!("/v1/contests/{contest}/events");
    let mut last = 0;
    for round in 0..3 {
        let mut stream = server.events(&path, &operator);
        let seen = stream.event().expect("an event");
        assert!(seen.id > last, "round {round}: {} after {last}", seen.id);
        server.sign_up(&operator, &contest, &format!("viewer-{round}"));
        let wanted = 10 * (round + 1);
        let moved = stream.until("the fee", |data| data["pool"]["amount"] == wanted);
        assert!(moved.id > seen.id);
        last = moved.id;
        server.crash_and_start();
        assert!(stream.event().is_none(), "a stream of a dead server");
    }
}

#[test]
fn a_contest_that_is_over_says_so_once_more_and_then_is_silent() {
    let server = Server::start(LOOPBACK);
    let operator = server.token("boss", "operator");
    let contest = server.contest(&operator, 60);
    server.sign_up(&operator, &contest, "ann");
    let path = format!("/v1/contests/{contest}/events");
    let mut stream = server.events(&path, &operator);
    let cancel = format!("/v1/admin/contests/{contest}/cancel");
    assert_eq!(server.call("POST", &cancel, &operator, None).status, 202);
    let last = stream.until("the cancel", |data| data["phase"] == "cancelled");
    assert_eq!(last.data["tally"]["states"], json!({ "refunded": 1 }));
    let beat = stream.block().expect("the stream goes on");
    assert!(beat.starts_with(':'), "a comment, not {beat}");
    // Who comes now is told the same.
    let late = server.events(&path, &operator).event().expect("an event");
    assert_eq!((late.id, late.data), (last.id, last.data));
}

#[test]
fn streams_end_at_once_when_the_server_stops() {
    let mut server = Server::start(LOOPBACK);
    let operator = server.token("boss", "operator");
    let contest = server.contest(&operator, 60);
    let path = format!("/v1/contests/{contest}/events");
    let mut streams: Vec<_> = (0..10).map(|_| server.events(&path, &operator)).collect();
    for stream in &mut streams {
        stream.event().expect("an event");
    }
    let took = server.terminate();
    assert!(took < Duration::from_secs(5), "took {took:?}");
    for stream in &mut streams {
        while stream.event().is_some() {}
    }
}

#[test]
fn a_ticket_opens_one_stream() {
    let server = Server::start(LOOPBACK);
    let operator = server.token("boss", "operator");
    let contest = server.contest(&operator, 60);
    let ann = server.token("ann", "player");
    let path = format!("/v1/contests/{contest}/events");
    let ticket = |token: &str| {
        let answer = server.call("POST", "/v1/events-tickets", token, None);
        assert_eq!(answer.status, 201, "{}", answer.text);
        assert!(answer.head.contains("cache-control: no-store"));
        assert!(answer.json()["expires_at"].as_str().is_some());
        answer.json()["ticket"]
            .as_str()
            .expect("a ticket")
            .to_owned()
    };
    let (one, other) = (ticket(&ann), ticket(&operator));
    assert_ne!(one, other);
    let by = |ticket: &str| format!("{path}?ticket={ticket}");
    // A valid header wins: the ticket stays good.
    let mut stream = server.events(&by(&one), &ann);
    assert!(stream.event().is_some());
    let mut stream = server.events(&by(&one), "");
    assert_eq!(stream.status, 200);
    assert!(stream.event().is_some());
    assert!(server.events(&by(&other), "").event().is_some());
    for (used, token) in [
        (one.as_str(), ""),
        ("0".repeat(64).as_str(), ""),
        ("", ""),
        (&other, "x"),
    ] {
        let answer = server.call("GET", &by(used), token, None);
        let code = answer.json()["code"].clone();
        assert_eq!(
            (answer.status, code),
            (401, json!("unauthorized")),
            "{used}"
        );
    }
    // An invalid header wins too, and costs no ticket.
    let third = ticket(&ann);
    assert_eq!(
        server.call("GET", &by(&third), "no-token", None).status,
        401
    );
    assert!(server.events(&by(&third), "").event().is_some());
}

#[test]
fn who_may_not_watch_is_refused() {
    let server = Server::start(LOOPBACK);
    let operator = server.token("boss", "operator");
    let contest = server.contest(&operator, 60);
    let service = server.token("tasks", "service");
    let ann = server.token("ann", "player");
    let path = format!("/v1/contests/{contest}/events");
    let none = "/v1/contests/0193d7a0-0000-7000-8000-000000000000/events";
    let cases = [
        ("GET", path.as_str(), "", 401, "unauthorized"),
        ("GET", &path, &service, 403, "forbidden"),
        ("POST", "/v1/events-tickets", "", 401, "unauthorized"),
        ("POST", "/v1/events-tickets", &service, 403, "forbidden"),
        ("GET", none, &ann, 404, "not_found"),
        ("GET", &format!("{path}?x=1"), &ann, 422, "invalid_request"),
    ];
    for (method, path, token, status, code) in cases {
        let answer = server.call(method, path, token, None);
        let found = answer.json()["code"].as_str().map(str::to_owned);
        assert_eq!(
            (answer.status, found.as_deref()),
            (status, Some(code)),
            "{method} {path}"
        );
    }
}

#[test]
fn one_user_has_a_bounded_number_of_streams() {
    let server = Server::start(LOOPBACK);
    let operator = server.token("boss", "operator");
    let contest = server.contest(&operator, 60);
    let (ann, bob) = (server.token("ann", "player"), server.token("bob", "player"));
    let path = format!("/v1/contests/{contest}/events");
    let mut open: Vec<_> = (0..20).map(|_| server.events(&path, &ann)).collect();
    assert!(open.iter().all(|stream| stream.status == 200));
    let refused = server.call("GET", &path, &ann, None);
    assert_eq!(refused.status, 429);
    assert!(refused.head.contains("retry-after: "));
    assert_eq!(server.events(&path, &bob).status, 200);
    open.clear();
    let until = Instant::now() + BOUND;
    while server.events(&path, &ann).status != 200 {
        assert!(Instant::now() < until, "places never come back");
    }
}

#[test]
fn the_board_is_complete_without_its_script_and_asks_for_no_token() {
    let server = Server::start(LOOPBACK);
    let empty = server.call("GET", "/", "", None);
    assert_eq!(empty.status, 200);
    assert!(empty.text.contains("No contest yet"), "{}", empty.text);
    assert!(empty.text.contains("http://localhost/v1/admin/contests"));
    let operator = server.token("boss", "operator");
    let contest = server.contest(&operator, 60);
    for viewer in ["ann", "bob", "cem"] {
        server.sign_up(&operator, &contest, viewer);
    }
    let page = server.call("GET", "/", "", None);
    let shown = |wanted: &str| assert!(page.text.contains(wanted), "{wanted} in {}", page.text);
    shown("<b id=\"pool\">30</b>");
    shown("<b id=\"signups\">3</b>");
    shown("<b id=\"total-in\">30</b>");
    shown("<b>cem</b> paid and is in");
    shown("data-name=\"PAID_MEANS_PAID\" data-standing=\"holds\"");
    shown("data-name=\"TALLY_TRUE\" data-standing=\"not_kept\"");
    assert!(!page.text.contains("data-standing=\"broken\""));
    // Nothing written into the page runs or styles it, and nothing comes from elsewhere.
    let policy = page
        .head
        .lines()
        .find(|line| line.starts_with("content-security-policy: "));
    let policy = policy.expect("a policy");
    assert!(
        policy.contains("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    for forbidden in [
        "<script>", "<style", " style=", " onload=", "https://", &operator,
    ] {
        assert!(!page.text.contains(forbidden), "{forbidden}");
    }
    let mut size = page.text.len();
    for asset in page
        .text
        .split('"')
        .filter(|text| text.starts_with("/board/"))
    {
        let file = server.call("GET", asset, "", None);
        assert_eq!(file.status, 200, "{asset}");
        assert!(file.head.contains("immutable"), "{}", file.head);
        size += file.text.len();
    }
    assert!(size < 100_000, "{size} bytes");
    let chinese = [("accept-language", "zh-CN,zh;q=0.9,en;q=0.5")];
    let page = server.send("GET", "/", &chinese, None);
    assert!(page.text.contains("奖池") && page.text.contains("lang=\"zh-CN\""));
    let page = server.send("GET", "/?lang=en", &chinese, None);
    assert!(page.text.contains("Prize pool"));
    // What is not there leads home.
    let gone = server.call("GET", "/?contest=nonsense", "", None);
    assert_eq!(gone.status, 303);
    assert!(gone.head.contains("location: /\r\n"), "{}", gone.head);
}

#[test]
fn the_board_moves_by_a_stream_of_its_own() {
    let server = Server::start(LOOPBACK);
    let mut waiting = server.events("/board/events", "");
    let first = waiting.event().expect("an event");
    assert_eq!(first.data["newest"], json!(null));
    let operator = server.token("boss", "operator");
    let contest = server.contest(&operator, 60);
    waiting.until("the first contest", |data| {
        data["newest"] == contest.as_str()
    });
    let mut stream = server.events(&format!("/board/events?contest={contest}"), "");
    assert!(stream.head.contains("content-type: text/event-stream"));
    stream.until("a picture", |data| data["phase"] == "open");
    server.sign_up(&operator, &contest, "ann");
    let seen = stream.until("a fee", |data| data["money"]["fees"] == 10);
    assert_eq!(
        seen.data["funnel"]["in_progress"],
        json!({ "here": 1, "reached": 1 })
    );
    assert_eq!(seen.data["feed"][0]["user"], "ann");
    let checked = stream.until("a check of it", |data| {
        let verdicts = data["checks"]["verdicts"].as_array();
        let paid = verdicts.and_then(|all| all.iter().find(|one| one["name"] == "PAID_MEANS_PAID"));
        paid.is_some_and(|paid| paid["standing"] == "holds")
    });
    assert!(checked.data["checks"]["at_ms"].is_i64());
}

#[test]
fn the_board_is_for_this_machine_alone() {
    let server = Server::start(LOOPBACK);
    let ask = |path: &str, headers: &[(&str, &str)]| server.send("GET", path, headers, None).status;
    for path in ["/", "/board/events?contest=x"] {
        for host in [
            "example.com",
            "localhost.example.com",
            "192.168.0.1:8080",
            "x@localhost:y",
        ] {
            assert_eq!(ask(path, &[("host", host)]), 403, "{path} by {host}");
        }
        let proxied = [("host", "localhost"), ("x-forwarded-for", "9.9.9.9")];
        assert_eq!(ask(path, &proxied), 403);
    }
    for host in ["localhost", "127.0.0.1:1", "[::1]:8080"] {
        assert_eq!(ask("/", &[("host", host)]), 200, "{host}");
    }
    // The API itself has callers of other names.
    assert_eq!(ask("/healthz", &[("host", "example.com")]), 200);
    let open = Server::start("0.0.0.0:0");
    for path in ["/", "/board/events"] {
        let answer = open.call("GET", path, "", None);
        assert_eq!(
            (answer.status, &answer.json()["code"]),
            (404, &json!("not_found"))
        );
    }
}
