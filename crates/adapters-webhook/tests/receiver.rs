//! What arrives at a real receiver, and what it makes of the answers.

#![allow(clippy::expect_used, reason = "these are tests")]

use adapters_webhook::{Format, Settings, Webhook};
use domain::{finding::FindingClass, ids::ContestId, notice::NoticeKind, time::UnixMillis};
use ports::{
    findings::Finding,
    notices::{Message, Notice, Receiver, TellError},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinHandle,
};
use uuid::Uuid;

/// Takes one request and answers it like this; what arrived, in lower case up to its body.
async fn receiver(answer: &'static str) -> (String, JoinHandle<(String, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!(
        "http://{}/hook?token=hidden",
        listener.local_addr().expect("an address")
    );
    let task = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a call");
        let mut text = String::new();
        loop {
            let mut bytes = vec![0; 65_536];
            let read = stream.read(&mut bytes).await.expect("a request");
            text.push_str(std::str::from_utf8(&bytes[..read]).expect("text"));
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let head = head.to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .expect("a length");
            if body.len() >= length.parse::<usize>().expect("a number") {
                let answer = format!("HTTP/1.1 {answer}");
                stream.write_all(answer.as_bytes()).await.expect("answered");
                return (head, body.to_owned());
            }
        }
    });
    (url, task)
}

fn settings(url: String, format: Format) -> Settings {
    Settings {
        url,
        secret: Some("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned()),
        format,
        deadline: Duration::from_millis(500),
        link: Some("https://ops.example/".to_owned()),
    }
}

fn message() -> Message {
    let id = Uuid::from_u128(7);
    Message {
        notice: Notice {
            sequence: 3,
            kind: NoticeKind::FindingRaised,
            contest_id: ContestId(Uuid::from_u128(9)),
            finding_id: Some(id),
            created_at: UnixMillis(1_800_000_000_123),
            tries: 0,
        },
        contest: None,
        finding: Some(Finding {
            id,
            class: FindingClass::FeeMissing,
            contest_id: ContestId(Uuid::from_u128(9)),
            subject: "0b".to_owned(),
            user_id: Some("ann".parse().expect("a user")),
            evidence: "here 10, there \"nothing\" 差异".to_owned(),
            found_at: UnixMillis(1_800_000_000_000),
            settled_at: None,
            resolution: None,
        }),
    }
}

async fn told(format: Format, answer: &'static str) -> (Result<(), TellError>, String, String) {
    let (url, arrived) = receiver(answer).await;
    let webhook = Webhook::new(settings(url, format)).expect("settings");
    let told = webhook.tell(&message()).await;
    let (head, body) = arrived.await.expect("a request");
    (told, head, body)
}

const OK: &str = "200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_standard_message_is_signed_over_what_arrives() {
    let (told, head, body) = told(Format::Standard, OK).await;
    told.expect("it was taken");
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(name));
        line.expect("the header")
            .trim_start_matches(": ")
            .to_owned()
    };
    assert!(header("webhook-id").starts_with("finding.raised.00000000-"));
    assert!(header("webhook-id").ends_with(".3"));
    assert!(header("webhook-timestamp").parse::<u64>().is_ok());
    assert!(header("webhook-signature").starts_with("v1,"));
    let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body["type"], "finding.raised");
    assert_eq!(body["timestamp"], "2027-01-15T08:00:00.123Z");
    let finding = &body["data"]["finding"];
    assert_eq!(finding["class"], "FEE_MISSING");
    assert_eq!(finding["user_id"], "ann");
    assert_eq!(finding["evidence"], "here 10, there \"nothing\" 差异");
}

#[tokio::test]
async fn chats_get_a_line_that_says_what_and_where() {
    for (format, pointer) in [
        (Format::Slack, "/text"),
        (Format::Feishu, "/content/text"),
        (Format::Dingtalk, "/text/content"),
    ] {
        let (told, head, body) = told(format, OK).await;
        told.expect("it was taken");
        assert!(!head.contains("webhook-signature"), "{format:?}");
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        let text = body.pointer(pointer).and_then(|text| text.as_str());
        let text = text.expect("a text");
        assert!(text.starts_with("[ALARM] guafen finding.raised"), "{text}");
        assert!(text.contains("FEE_MISSING 0b: here 10"), "{text}");
        let link = "https://ops.example/v1/admin/findings/00000000-0000-0000-0000-000000000007";
        assert!(text.ends_with(link), "{text}");
    }
}

#[tokio::test]
async fn what_is_not_taken_is_an_error_and_shows_no_token() {
    let refused = "500 Internal Server Error\r\ncontent-length: 0\r\n\r\n";
    let (told, ..) = told(Format::Standard, refused).await;
    assert!(matches!(told, Err(TellError::Refused(_))), "{told:?}");
    let elsewhere = "302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (told, ..) = self::told(Format::Standard, elsewhere).await;
    assert!(matches!(told, Err(TellError::Refused(_))), "{told:?}");
    for (format, answer) in [
        (
            Format::Feishu,
            "200 OK\r\ncontent-length: 28\r\n\r\n{\"code\":19001,\"msg\":\"param\"}",
        ),
        (
            Format::Dingtalk,
            "200 OK\r\ncontent-length: 18\r\n\r\n{\"errcode\":310000}",
        ),
    ] {
        let (told, ..) = self::told(format, answer).await;
        assert!(matches!(told, Err(TellError::Refused(_))), "{told:?}");
    }
    let (told, ..) = self::told(
        Format::Dingtalk,
        "200 OK\r\ncontent-length: 13\r\n\r\n{\"errcode\":0}",
    )
    .await;
    told.expect("it was taken");
    // Nobody there, and somebody who never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = silent.local_addr().expect("an address");
    for url in [
        "http://127.0.0.1:1/hook?token=hidden".to_owned(),
        format!("http://{address}/hook?token=hidden"),
    ] {
        let webhook = Webhook::new(settings(url, Format::Standard)).expect("settings");
        let told = webhook.tell(&message()).await;
        let error = told.expect_err("nobody took it");
        assert!(matches!(error, TellError::Unanswered(_)), "{error:?}");
        assert!(!format!("{error:?}").contains("hidden"), "{error:?}");
    }
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    for (url, secret) in [
        ("nowhere", None),
        ("ftp://127.0.0.1/", None),
        ("http://127.0.0.1/", Some("secret")),
    ] {
        let settings = Settings {
            secret: secret.map(str::to_owned),
            ..settings(url.to_owned(), Format::Standard)
        };
        assert!(Webhook::new(settings).is_err(), "{url}");
    }
}
