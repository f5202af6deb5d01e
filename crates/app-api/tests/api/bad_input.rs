//! Requests that no good client sends: tokens, paths, queries and headers.

use crate::{
    contest::{event, grant, open, terms},
    server::{SECRET, Server, call, now_s, signed, text, token},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

const NONE: &str = "0198c9f2-0000-7000-8000-0000000000ff";

fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let byte = |at: usize| u32::from(chunk.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..=chunk.len() {
            let index = (bits >> (18 - 6 * place)) & 63;
            text.push(char::from(ALPHABET[index as usize]));
        }
    }
    text
}

/// A token of any head and claims; signed with the secret as HMAC where an algorithm is named.
fn forged(head: &Value, claims: &Value, by: Option<Algorithm>) -> String {
    let signed = format!(
        "{}.{}",
        base64url(head.to_string().as_bytes()),
        base64url(claims.to_string().as_bytes())
    );
    let signature = by.map_or_else(String::new, |algorithm| {
        let key = EncodingKey::from_secret(SECRET.as_bytes());
        jsonwebtoken::crypto::sign(signed.as_bytes(), &key, algorithm).expect("a signature")
    });
    format!("{signed}.{signature}")
}

#[tokio::test]
async fn tokens_that_are_not_good_are_refused() {
    let server = Server::start().await;
    let claims = json!({ "sub": "ann", "role": "operator", "exp": now_s() + 600 });
    let with = |changes: Value| {
        let mut claims = claims.clone();
        for (name, value) in changes.as_object().expect("changes") {
            claims[name] = value.clone();
        }
        signed(&claims)
    };
    let without = |name: &str| {
        let mut claims = claims.clone();
        claims.as_object_mut().expect("claims").remove(name);
        signed(&claims)
    };
    let good = signed(&claims);
    let path = "/v1/admin/parked";
    server
        .send(call("GET", path).bearer(&good))
        .await
        .expect(200);
    let other = EncodingKey::from_secret(b"another-secret-of-forty-characters-here!");
    let wrongly_signed = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &other);
    let (head, rest) = good.split_once('.').expect("a head");
    let (body, signature) = rest.split_once('.').expect("a body");
    let player = token("ann", "player");
    let foreign_body = player.split('.').nth(1).expect("a body");
    let tokens = [
        ("expired", with(json!({ "exp": now_s() - 60 }))),
        ("not yet valid", with(json!({ "nbf": now_s() + 60 }))),
        ("wrongly signed", wrongly_signed.expect("a token")),
        ("alg none", forged(&json!({ "alg": "none" }), &claims, None)),
        (
            "alg None",
            forged(&json!({ "alg": "None", "typ": "JWT" }), &claims, None),
        ),
        (
            "alg none, signed",
            forged(&json!({ "alg": "none" }), &claims, Some(Algorithm::HS256)),
        ),
        (
            "alg HS384",
            forged(&json!({ "alg": "HS384" }), &claims, Some(Algorithm::HS384)),
        ),
        (
            "alg RS256 over HMAC",
            forged(&json!({ "alg": "RS256" }), &claims, Some(Algorithm::HS256)),
        ),
        (
            "alg ES256 over HMAC",
            forged(&json!({ "alg": "ES256" }), &claims, Some(Algorithm::HS256)),
        ),
        (
            "no alg",
            forged(&json!({ "typ": "JWT" }), &claims, Some(Algorithm::HS256)),
        ),
        ("no exp", without("exp")),
        ("no sub", without("sub")),
        ("no role", without("role")),
        ("role is a list", with(json!({ "role": ["operator"] }))),
        ("foreign role", with(json!({ "role": "root" }))),
        ("exp is text", with(json!({ "exp": "never" }))),
        ("exp is negative", with(json!({ "exp": -1 }))),
        (
            "claims are no object",
            forged(
                &json!({ "alg": "HS256" }),
                &json!([1]),
                Some(Algorithm::HS256),
            ),
        ),
        ("no signature", format!("{head}.{body}.")),
        ("two parts", format!("{head}.{body}")),
        ("four parts", format!("{good}.{signature}")),
        ("another body", format!("{head}.{foreign_body}.{signature}")),
        ("garbage", "garbage".to_owned()),
        ("nothing", String::new()),
        ("long", "a.".repeat(2_000)),
    ];
    for (what, token) in tokens {
        println!("{what}");
        let answer = server.send(call("GET", path).bearer(&token)).await;
        answer.problem(401, "unauthorized");
    }
    for value in [
        "",
        "Bearer",
        "Bearer  ",
        "Basic YW5uOmFubg==",
        "bearer",
        &good,
        "Bearer\u{a0}x",
    ] {
        let answer = server
            .send(call("GET", path).header("authorization", value))
            .await;
        answer.problem(401, "unauthorized");
    }
    let odd = call("GET", path).header("authorization", b"Bearer \xff\xfe");
    server.send(odd).await.problem(401, "unauthorized");
    for sub in [
        "",
        ".",
        "..",
        "a/b",
        "pool/x",
        "ä",
        "a b",
        "a\n",
        &"x".repeat(65),
    ] {
        let answer = server.send(call("GET", "/v1/me/signups").player(sub)).await;
        answer.problem(401, "unauthorized");
    }
    // A token that says more than is asked is as good.
    let rich =
        with(json!({ "aud": "someone", "iss": "somewhere", "nbf": now_s() - 60, "jti": "1" }));
    server
        .send(call("GET", path).bearer(&rich))
        .await
        .expect(200);
}

#[tokio::test]
async fn a_player_acts_for_nobody_else() {
    let server = Server::start().await;
    let id = open(&server, &terms(500, 600)).await;
    grant(&server, "ann", 10, "g").await.expect(200);
    let path = format!("/v1/contests/{id}/signup");
    let sign_up = call("PUT", &path).player("ann");
    server.send(sign_up).await.expect(200);
    let as_ann = call("PUT", &path)
        .player("eve")
        .json(&json!({ "user_id": "ann" }));
    server.send(as_ann).await.fault("/user_id", "unknown_field");
    let claim = format!("/v1/contests/{id}/claim");
    let as_ann = call("PUT", &claim)
        .player("eve")
        .json(&json!({ "user_id": "ann" }));
    server.send(as_ann).await.fault("/user_id", "unknown_field");
    let of_ann = call("GET", "/v1/me/signups?user_id=ann").player("eve");
    server.send(of_ann).await.fault("/user_id", "unknown_field");
    let mine = server
        .send(call("GET", "/v1/me/signups").player("eve"))
        .await
        .expect(200);
    assert_eq!(mine["items"], json!([]));
    let events = call("POST", "/v1/task-events")
        .player("eve")
        .json(&json!([event("e", "eve", 1, 0)]));
    server.send(events).await.problem(403, "forbidden");
    for path in [
        "/v1/sandbox/accounts/eve",
        "/v1/admin/parked",
        "/v1/admin/findings",
    ] {
        server
            .send(call("GET", path).player("eve"))
            .await
            .problem(403, "forbidden");
    }
}

#[tokio::test]
async fn ids_in_paths_that_name_nothing_are_404() {
    let server = Server::start().await;
    let long = "a".repeat(5_000);
    let upper = NONE.to_uppercase();
    let bare = NONE.replace('-', "");
    let braced = format!("%7B{NONE}%7D");
    let spaced = format!("{NONE}%20");
    let ids = [
        "x",
        ".",
        "..",
        "...",
        "%2e",
        "%2e%2e",
        "%2E%2e",
        "%2f",
        "%00",
        "%ff",
        "%c3%28",
        "%E4%BD%A0",
        "%zz",
        "%",
        "0",
        "-1",
        "null",
        "%0a",
        "a%2fb",
        "..%2f..%2fetc%2fpasswd",
        "'%20OR%201=1",
        "*",
        NONE,
        &long,
        &upper,
        &bare,
        &braced,
        &spaced,
    ];
    for id in ids {
        for (method, path) in [
            ("GET", format!("/v1/contests/{id}")),
            ("GET", format!("/v1/contests/{id}/pool")),
            ("GET", format!("/v1/contests/{id}/signup")),
            ("PUT", format!("/v1/contests/{id}/signup")),
            ("PUT", format!("/v1/contests/{id}/claim")),
        ] {
            let answer = server.send(call(method, &path).player("ann")).await;
            answer.problem(404, "not_found");
        }
        for (method, path) in [
            ("GET", format!("/v1/admin/contests/{id}/report")),
            ("GET", format!("/v1/admin/contests/{id}/signups")),
            ("POST", format!("/v1/admin/contests/{id}/cancel")),
            ("POST", format!("/v1/admin/contests/{id}/settle")),
            ("POST", format!("/v1/admin/parked/{id}/retry")),
            ("POST", format!("/v1/admin/parked/{id}/redirect")),
        ] {
            let answer = server.send(call(method, &path).operator()).await;
            answer.problem(404, "not_found");
        }
    }
    let grant = json!({ "amount": 1, "grant_id": "g" });
    for user in [
        ".",
        "..",
        "%2e%2e",
        "a%2fb",
        "%ff",
        "%E4%BD%A0",
        "a%20b",
        "%00",
        &"x".repeat(65),
    ] {
        let path = format!("/v1/sandbox/accounts/{user}");
        server
            .send(call("GET", &path).operator())
            .await
            .problem(404, "not_found");
        let give = call("POST", &format!("{path}/grant"))
            .operator()
            .json(&grant);
        server.send(give).await.problem(404, "not_found");
    }
    for path in [
        "/",
        "/v1",
        "/v1/",
        "/v1/contests/",
        "//v1/contests",
        "/v1//contests",
        "/v1/contests/a/b/c",
        "/v2/contests",
        "/V1/contests",
        "/v1/contests/%2e%2e/%2e%2e/healthz",
        "/v1/sandbox/accounts/",
        "/openapi.yaml",
        "/.env",
    ] {
        for method in ["GET", "PUT", "POST", "DELETE"] {
            server.send(call(method, path).operator()).await;
        }
    }
}

#[tokio::test]
async fn methods_that_a_path_does_not_take_are_405() {
    let server = Server::start().await;
    let mut judged = 0;
    for (_, path, _) in server.document.operations() {
        let taken = &server.document.value["paths"][&path];
        let path = path.replace("{id}", NONE).replace("{user}", "ann");
        for method in [
            "GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY",
        ] {
            let known = if method == "HEAD" { "get" } else { method }.to_lowercase();
            if taken.get(&known).is_some() {
                continue;
            }
            // The client checks `Allow` and the code against the document.
            let answer = server.send(call(method, &path).operator()).await;
            assert_eq!(answer.status, 405, "{method} {path}");
            judged += 1;
        }
    }
    assert!(judged > 100, "{judged}");
}

#[tokio::test]
async fn queries_that_break_rules_name_the_parameter() {
    let server = Server::start().await;
    let id = open(&server, &terms(500, 600)).await;
    let lists = [
        "/v1/contests".to_owned(),
        "/v1/me/signups".to_owned(),
        "/v1/admin/parked".to_owned(),
        format!("/v1/admin/contests/{id}/signups"),
        format!("/v1/admin/findings?contest_id={id}"),
    ];
    let cases = [
        ("limit=0", "/limit", "out_of_range"),
        ("limit=1001", "/limit", "out_of_range"),
        ("limit=-1", "/limit", "invalid_type"),
        ("limit=abc", "/limit", "invalid_type"),
        ("limit=", "/limit", "invalid_type"),
        ("limit=1.5", "/limit", "invalid_type"),
        ("limit=1e2", "/limit", "invalid_type"),
        ("limit=99999999999999999999999", "/limit", "invalid_type"),
        ("limit=1&limit=2", "/limit", "duplicate_field"),
        ("limit=1&%6cimit=2", "/limit", "duplicate_field"),
        ("Limit=1", "/Limit", "unknown_field"),
        ("page=1", "/page", "unknown_field"),
        ("a/b~=1", "/a~1b~0", "unknown_field"),
        ("cursor=abc", "/cursor", "invalid_cursor"),
        ("cursor=", "/cursor", "invalid_cursor"),
        ("cursor=%ff", "/cursor", "invalid_cursor"),
        (
            "cursor=0198C9F2-0000-7000-8000-0000000000FF",
            "/cursor",
            "invalid_cursor",
        ),
        ("cursor=a&cursor=b", "/cursor", "duplicate_field"),
    ];
    for path in &lists {
        for (query, pointer, code) in cases {
            let joint = if path.contains('?') { '&' } else { '?' };
            let sent = call("GET", &format!("{path}{joint}{query}")).operator();
            server.send(sent).await.fault(pointer, code);
        }
    }
    let signups = format!("/v1/admin/contests/{id}/signups");
    for (path, pointer, code) in [
        (
            "/v1/contests?phase=Open".to_owned(),
            "/phase",
            "unknown_value",
        ),
        ("/v1/contests?phase=".to_owned(), "/phase", "unknown_value"),
        (
            "/v1/contests?room_id=a/b".to_owned(),
            "/room_id",
            "invalid_id",
        ),
        ("/v1/contests?room_id=".to_owned(), "/room_id", "invalid_id"),
        (
            "/v1/contests?room_id=..".to_owned(),
            "/room_id",
            "invalid_id",
        ),
        (
            "/v1/contests?room_id=a&room_id=b".to_owned(),
            "/room_id",
            "duplicate_field",
        ),
        (
            format!("{signups}?state=paid,missed"),
            "/state",
            "unknown_value",
        ),
        (
            format!("{signups}?user_id=%E4%BD%A0"),
            "/user_id",
            "invalid_id",
        ),
        (
            "/v1/admin/findings?contest_id=x".to_owned(),
            "/contest_id",
            "invalid_id",
        ),
        (
            format!("/v1/admin/findings?contest_id={id}&status=closed"),
            "/status",
            "unknown_value",
        ),
    ] {
        server
            .send(call("GET", &path).operator())
            .await
            .fault(pointer, code);
    }
    for query in ["limit=1", "limit=1000", "", "&", "limit=%31"] {
        let path = format!("/v1/contests?{query}");
        server.send(call("GET", &path).operator()).await.expect(200);
    }
}

#[tokio::test]
async fn what_is_answered_never_shows_what_is_inside() {
    let server = Server::start().await;
    let sent = call("POST", "/v1/admin/contests")
        .operator()
        .text("{\"title\": 1}");
    let answer = server.send(sent).await;
    for inner in [
        "serde",
        "struct",
        "NewContest",
        "src/",
        "panicked",
        "sqlite",
        "u64",
    ] {
        let said = text(&answer.body["detail"]);
        assert!(!said.contains(inner), "{said}");
    }
}
