//! Whose tokens are taken: every way to forge one, and keys that come, go and cannot be had.

use crate::server::{BOUND, SECRET, Server, Setup, now_s, signed, token, until};
use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::KeySize,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
        RsaKeyPair,
    },
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use serde_json::{Value, json};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};
use tempfile::TempDir;

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn pem(kind: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n",
        STANDARD.encode(der)
    )
}

enum Pair {
    Rsa(RsaKeyPair),
    Ec(EcdsaKeyPair),
}

/// A key pair of an issuer.
struct Key {
    pair: Pair,
    /// The public half as a JWK, without a name.
    public: Value,
    /// The public half as PEM.
    pem: String,
}

impl Key {
    fn rsa() -> Self {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).expect("a key");
        let public = pair.public_key();
        let number = |bytes: &[u8]| base64(bytes);
        let der = AsDer::<PublicKeyX509Der>::as_der(public).expect("a key");
        Self {
            public: json!({
                "kty": "RSA",
                "n": number(public.modulus().big_endian_without_leading_zero()),
                "e": number(public.exponent().big_endian_without_leading_zero()),
            }),
            pem: pem("PUBLIC KEY", der.as_ref()),
            pair: Pair::Rsa(pair),
        }
    }

    fn ec() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
        let point = pair.public_key().as_ref();
        Self {
            public: json!({
                "kty": "EC", "crv": "P-256",
                "x": base64(&point[1..33]), "y": base64(&point[33..65]),
            }),
            pem: pem("PUBLIC KEY", point),
            pair: Pair::Ec(pair),
        }
    }

    fn named(&self, kid: &str) -> Value {
        let mut key = self.public.clone();
        key["kid"] = json!(kid);
        key
    }

    /// A token of any header.
    fn crafted(&self, header: &Value, claims: &Value) -> String {
        let text = unsigned(header, claims);
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ec(pair) => {
                let signature = pair.sign(&random, text.as_bytes()).expect("a signature");
                base64(signature.as_ref())
            }
            Pair::Rsa(pair) => {
                let encoding = match header["alg"].as_str() {
                    Some("RS512") => &RSA_PKCS1_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, text.as_bytes(), &mut signature)
                    .expect("a signature");
                base64(signature)
            }
        };
        format!("{text}.{signature}")
    }

    fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let alg = match &self.pair {
            Pair::Rsa(_) => "RS256",
            Pair::Ec(_) => "ES256",
        };
        let header = match kid {
            Some(kid) => json!({ "alg": alg, "kid": kid }),
            None => json!({ "alg": alg }),
        };
        self.crafted(&header, claims)
    }

    fn token(&self, kid: Option<&str>) -> String {
        self.sign(kid, &claims())
    }
}

fn unsigned(header: &Value, claims: &Value) -> String {
    format!(
        "{}.{}",
        base64(header.to_string()),
        base64(claims.to_string())
    )
}

fn claims() -> Value {
    json!({ "sub": "ann", "role": "player", "exp": now_s() + 600 })
}

fn with(more: Value) -> Value {
    let mut all = claims();
    let more = more.as_object().expect("an object").clone();
    all.as_object_mut().expect("an object").extend(more);
    all
}

fn without(name: &str) -> Value {
    let mut all = claims();
    all.as_object_mut().expect("an object").remove(name);
    all
}

/// A token of any header, signed with the secret of HS256 servers as if it were an HMAC.
fn crafted(header: &Value, claims: &Value, secret: &[u8]) -> String {
    let text = unsigned(header, claims);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let tag = aws_lc_rs::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", base64(tag))
}

async fn status(server: &Server, token: &str) -> u16 {
    let answer = server.get("/v1/contests", token).await;
    if answer.status == 401 {
        assert_eq!(answer.code(401), "unauthorized");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
    }
    answer.status
}

// hazard: J2
#[tokio::test]
async fn a_token_of_the_secret_is_taken_and_every_other_is_not() {
    let server = Setup::new().start();
    let good = [
        token("ann", "player"),
        token("ann", "operator"),
        signed(&with(
            json!({ "nbf": now_s() - 10, "iss": "x", "aud": "y", "more": [1] }),
        )),
        signed(&with(json!({ "aud": ["y", "z"] }))),
        // Within the leeway.
        signed(&with(json!({ "exp": now_s() - 1 }))),
        signed(&with(json!({ "nbf": now_s() + 2 }))),
        crafted(
            &json!({ "alg": "HS256", "kid": "any" }),
            &claims(),
            SECRET.as_bytes(),
        ),
    ];
    for token in &good {
        assert_eq!(status(&server, token).await, 200, "{token}");
    }
    let hs256 = json!({ "alg": "HS256", "typ": "JWT" });
    let craft = |header: Value| crafted(&header, &claims(), SECRET.as_bytes());
    let without_signature = |alg: &str| format!("{}.", unsigned(&json!({ "alg": alg }), &claims()));
    let (head, _) = good[0].rsplit_once('.').expect("a token");
    let rsa = Key::rsa();
    let bad = [
        ("expired", signed(&with(json!({ "exp": now_s() - 60 })))),
        (
            "not yet valid",
            signed(&with(json!({ "nbf": now_s() + 60 }))),
        ),
        ("without exp", signed(&without("exp"))),
        (
            "exp of another type",
            signed(&with(json!({ "exp": "tomorrow" }))),
        ),
        ("without sub", signed(&without("sub"))),
        ("sub of another type", signed(&with(json!({ "sub": 7 })))),
        (
            "sub that is no user id",
            signed(&with(json!({ "sub": "pool/1 2" }))),
        ),
        ("empty sub", signed(&with(json!({ "sub": "" })))),
        ("without role", signed(&without("role"))),
        ("unknown role", signed(&with(json!({ "role": "king" })))),
        (
            "role of another case",
            signed(&with(json!({ "role": "Player" }))),
        ),
        ("alg none", without_signature("none")),
        ("alg NONE", without_signature("NONE")),
        ("no signature", format!("{head}.")),
        (
            "other secret",
            crafted(
                &hs256,
                &claims(),
                b"another-secret-of-forty-characters-12345",
            ),
        ),
        ("empty secret", crafted(&hs256, &claims(), b"")),
        ("alg HS512", craft(json!({ "alg": "HS512" }))),
        ("alg RS256", craft(json!({ "alg": "RS256" }))),
        ("no alg", craft(json!({ "typ": "JWT" }))),
        (
            "crit",
            craft(json!({ "alg": "HS256", "crit": ["b64"], "b64": false })),
        ),
        ("signed by RSA", rsa.token(None)),
        ("no token", String::new()),
        ("two parts", "a.b".to_owned()),
        ("long", "a".repeat(20_000)),
    ];
    for (what, token) in &bad {
        assert_eq!(status(&server, token).await, 401, "{what}: {token}");
    }
    let scheme = crate::server::client()
        .get(server.url("/v1/contests"))
        .header("authorization", format!("Basic {}", good[0]));
    assert_eq!(crate::server::answer(scheme).await.status, 401);
    let twice = crate::server::client()
        .get(server.url("/v1/contests"))
        .bearer_auth(&good[0])
        .bearer_auth(&good[1]);
    assert_eq!(crate::server::answer(twice).await.status, 401);
}

#[tokio::test]
async fn issuer_and_audience_are_asked_for_where_configured() {
    let server = Setup::new()
        .set("AUTH__ISSUER", "https://id.example")
        .set("AUTH__AUDIENCE", "guafen")
        .set("AUTH__LEEWAY_S", "0")
        .start();
    let both = |iss: &str, aud: Value| signed(&with(json!({ "iss": iss, "aud": aud })));
    let issuer = "https://id.example";
    assert_eq!(status(&server, &both(issuer, json!("guafen"))).await, 200);
    let list = json!(["other", "guafen"]);
    assert_eq!(status(&server, &both(issuer, list)).await, 200);
    for (what, token) in [
        (
            "other issuer",
            both("https://evil.example", json!("guafen")),
        ),
        ("other audience", both(issuer, json!("other"))),
        ("other audiences", both(issuer, json!(["a", "b"]))),
        ("no audience in the list", both(issuer, json!([]))),
        ("no issuer", signed(&with(json!({ "aud": "guafen" })))),
        ("no audience", signed(&with(json!({ "iss": issuer })))),
        ("neither", signed(&claims())),
        (
            "expired without leeway",
            signed(&with(
                json!({ "iss": issuer, "aud": "guafen", "exp": now_s() - 2 }),
            )),
        ),
    ] {
        assert_eq!(status(&server, &token).await, 401, "{what}");
    }
}

/// An issuer's key set over HTTP.
struct Issuer {
    address: SocketAddr,
    answer: Arc<Mutex<(u16, String)>>,
    asked: Arc<AtomicUsize>,
}

impl Issuer {
    fn new(keys: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let issuer = Self {
            address: listener.local_addr().expect("an address"),
            answer: Arc::default(),
            asked: Arc::default(),
        };
        issuer.publish(keys);
        let (answer, asked) = (Arc::clone(&issuer.answer), Arc::clone(&issuer.asked));
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut stream = stream;
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
                    head.push(byte[0]);
                }
                asked.fetch_add(1, Ordering::SeqCst);
                let (status, body) = answer.lock().expect("a lock").clone();
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\nlocation: /\r\nconnection: close\r\n\
                     content-length: {}\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        issuer
    }

    fn publish(&self, keys: &[Value]) {
        self.say(200, &json!({ "keys": keys }).to_string());
    }

    fn say(&self, status: u16, body: &str) {
        *self.answer.lock().expect("a lock") = (status, body.to_owned());
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    fn setup(&self, algorithm: &str, refresh_s: u64) -> Setup {
        Setup::default()
            .set("AUTH__ALGORITHM", algorithm)
            .set("AUTH__JWKS_URL", &format!("http://{}/keys", self.address))
            .set("AUTH__JWKS_REFRESH_S", &refresh_s.to_string())
    }
}

// hazard: J2
#[tokio::test]
async fn with_a_key_set_only_its_keys_sign_and_a_public_key_is_no_secret() {
    let (key, other, foreign) = (Key::rsa(), Key::rsa(), Key::rsa());
    let ec = Key::ec();
    let issuer = Issuer::new(&[
        key.named("a"),
        other.named("b"),
        ec.named("e"),
        json!({ "kty": "oct", "kid": "o", "k": base64(SECRET) }),
    ]);
    let server = issuer.setup("RS256", 3_600).start();
    assert_eq!(status(&server, &key.token(Some("a"))).await, 200);
    assert_eq!(status(&server, &other.token(Some("b"))).await, 200);
    let hs256 = |kid: &str| json!({ "alg": "HS256", "kid": kid });
    let as_rs256 = json!({ "alg": "RS256", "kid": "a" });
    let modulus = key.public["n"].as_str().expect("a number");
    let relative = json!({ "alg": "RS512", "kid": "a" });
    let bad = [
        ("key of another name", key.token(Some("b"))),
        ("no name where there are two keys", key.token(None)),
        ("foreign key of a known name", foreign.token(Some("a"))),
        ("foreign key of a foreign name", foreign.token(Some("z"))),
        (
            "HMAC with the public key",
            crafted(&hs256("a"), &claims(), key.pem.as_bytes()),
        ),
        (
            "HMAC with the modulus",
            crafted(&hs256("a"), &claims(), modulus.as_bytes()),
        ),
        (
            "HMAC called RS256",
            crafted(&as_rs256, &claims(), key.pem.as_bytes()),
        ),
        (
            "HMAC with the set's secret",
            crafted(&hs256("o"), &claims(), SECRET.as_bytes()),
        ),
        ("the other algorithm", ec.token(Some("e"))),
        (
            "a relative of the algorithm",
            key.crafted(&relative, &claims()),
        ),
        (
            "expired",
            key.sign(Some("a"), &with(json!({ "exp": now_s() - 60 }))),
        ),
        (
            "not yet valid",
            key.sign(Some("a"), &with(json!({ "nbf": now_s() + 60 }))),
        ),
        (
            "unknown role",
            key.sign(Some("a"), &with(json!({ "role": "king" }))),
        ),
    ];
    for (what, token) in &bad {
        assert_eq!(status(&server, token).await, 401, "{what}");
    }
    // A key that comes along in the token itself.
    let header = json!({ "alg": "RS256", "kid": "a", "jwk": foreign.named("a") });
    let own = foreign.crafted(&header, &claims());
    assert_eq!(status(&server, &own).await, 401);
}

#[tokio::test]
async fn keys_come_and_go_with_the_issuer_and_survive_its_absence() {
    let (old, new) = (Key::ec(), Key::ec());
    let issuer = Issuer::new(&[old.named("old")]);
    let server = issuer.setup("ES256", 1).start();
    assert_eq!(status(&server, &old.token(Some("old"))).await, 200);
    assert_eq!(status(&server, &old.token(None)).await, 200);
    // A new key is known with its first token or soon after.
    assert_eq!(status(&server, &new.token(Some("new"))).await, 401);
    issuer.publish(&[old.named("old"), new.named("new")]);
    until("the new key", || async {
        status(&server, &new.token(Some("new"))).await == 200
    })
    .await;
    assert_eq!(status(&server, &old.token(Some("old"))).await, 200);
    // A removed one is forgotten.
    issuer.publish(&[new.named("new")]);
    until("the old key's end", || async {
        status(&server, &old.token(Some("old"))).await == 401
    })
    .await;
    // An issuer that fails, in any way, changes nothing.
    let large = json!({ "keys": [], "more": "a".repeat(300_000) }).to_string();
    for (status_code, body) in [
        (500, ""),
        (302, ""),
        (200, "<html>"),
        (200, "{}"),
        (200, large.as_str()),
    ] {
        issuer.say(status_code, body);
        let before = issuer.asked();
        until("two more fetches", || async {
            issuer.asked() >= before + 2
        })
        .await;
        assert_eq!(
            status(&server, &new.token(Some("new"))).await,
            200,
            "{body:.20}"
        );
    }
    // An issuer that takes all its keys back is obeyed.
    issuer.publish(&[]);
    until("the new key's end", || async {
        status(&server, &new.token(Some("new"))).await == 401
    })
    .await;
}

#[tokio::test]
async fn made_up_key_names_do_not_make_us_a_nuisance_to_the_issuer() {
    let (key, new) = (Key::ec(), Key::ec());
    let issuer = Issuer::new(&[key.named("a")]);
    let server = issuer.setup("ES256", 3_600).start();
    assert_eq!(issuer.asked(), 1);
    let begun = Instant::now();
    let mut asked = tokio::task::JoinSet::new();
    let client = crate::server::client();
    for number in 0..200 {
        let request = client
            .get(server.url("/v1/contests"))
            .bearer_auth(new.token(Some(&number.to_string())));
        asked.spawn(async move { request.send().await.expect("an answer").status() });
    }
    while let Some(status) = asked.join_next().await {
        assert_eq!(status.expect("a task"), 401);
    }
    assert_eq!(status(&server, &key.token(Some("a"))).await, 200);
    // At most one every five seconds.
    let allowed = 2 + begun.elapsed().as_secs() / 5;
    assert!(issuer.asked() as u64 <= allowed, "{}", issuer.asked());
    // The regular refresh is an hour away: it is the token that has the new key fetched.
    issuer.publish(&[key.named("a"), new.named("new")]);
    until("the new key", || async {
        status(&server, &new.token(Some("new"))).await == 200
    })
    .await;
    assert!(begun.elapsed() < BOUND);
}

#[tokio::test]
async fn a_key_set_in_a_file_is_followed() {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("keys.json");
    let (old, new) = (Key::rsa(), Key::rsa());
    // A key without a name, alone: whatever name a token gives it.
    let write = |key: &Key| {
        let text = json!({ "keys": [key.public] }).to_string();
        std::fs::write(&path, text).expect("a file");
    };
    write(&old);
    let server = Setup::default()
        .set("AUTH__ALGORITHM", "RS256")
        .set("AUTH__JWKS_FILE", path.to_str().expect("a path"))
        .set("AUTH__JWKS_REFRESH_S", "1")
        .start();
    assert_eq!(status(&server, &old.token(None)).await, 200);
    assert_eq!(status(&server, &old.token(Some("any"))).await, 200);
    assert_eq!(status(&server, &new.token(Some("any"))).await, 401);
    write(&new);
    until("the new key", || async {
        status(&server, &new.token(None)).await == 200
    })
    .await;
    assert_eq!(status(&server, &old.token(None)).await, 401);
}

#[test]
fn without_a_usable_key_there_is_no_start() {
    let ec = Key::ec();
    let issuer = Issuer::new(&[ec.named("a")]);
    let said = issuer.setup("RS256", 60).refused();
    assert!(
        said.contains("no key that can check RS256 tokens"),
        "{said}"
    );
    issuer.say(404, "");
    let said = issuer.setup("ES256", 60).refused();
    assert!(said.contains("404") && said.contains("/keys"), "{said}");
    issuer.say(200, "<html>");
    let said = issuer.setup("ES256", 60).refused();
    assert!(said.contains("no key set"), "{said}");
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = nobody.local_addr().expect("an address");
    drop(nobody);
    let said = Setup::default()
        .set("AUTH__ALGORITHM", "ES256")
        .set("AUTH__JWKS_URL", &format!("http://{address}/keys"))
        .refused();
    assert!(said.contains("cannot fetch"), "{said}");
    let said = Setup::default()
        .set("AUTH__ALGORITHM", "ES256")
        .set("AUTH__JWKS_FILE", "/nowhere/keys.json")
        .refused();
    assert!(said.contains("/nowhere/keys.json"), "{said}");
    let said = Setup::default()
        .set("AUTH__ALGORITHM", "ES256")
        .set("AUTH__JWKS_URL", "http://id.example/keys")
        .refused();
    assert!(said.contains("https"), "{said}");
}
