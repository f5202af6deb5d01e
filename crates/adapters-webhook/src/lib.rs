//! Alarms and events to somebody else's address.
//!
//! As JSON, signed as [Standard Webhooks](https://www.standardwebhooks.com) says, so that any of its
//! libraries can check them; or as a line of text for a chat (Slack, Feishu, DingTalk). A message is
//! taken once the other side answers 2xx; a chat that answers with an error code of its own has not
//! taken it.

mod body;
mod sign;

use async_trait::async_trait;
use ports::notices::{Message, Receiver, TellError};
use reqwest::{Client, StatusCode, Url, header::CONTENT_TYPE, redirect::Policy};
use serde_json::Value;
use sign::Key;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The most of an answer that is looked at, in bytes.
const ANSWER_MAX: usize = 4_096;

/// What is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// JSON, signed where there is a secret.
    #[default]
    Standard,
    /// Text for an incoming webhook of Slack, or what understands the same.
    Slack,
    /// Text for a bot of Feishu (飞书) or Lark.
    Feishu,
    /// Text for a robot of DingTalk (钉钉).
    Dingtalk,
}

/// How the other side is reached.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its address.
    pub url: String,
    /// What messages are signed with, as `whsec_` and base64; none: they are not signed.
    pub secret: Option<String>,
    /// What is sent.
    pub format: Format,
    /// How long one call may take.
    pub deadline: Duration,
    /// What people open to look at a finding, put in front of `/v1/admin/findings/{id}`; none: no link.
    pub link: Option<String>,
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The address is none.
    #[error("the address is none: {0}")]
    Url(String),
    /// The secret is none.
    #[error("the secret must be whsec_ and 24 to 64 bytes in base64")]
    Secret,
    /// No client could be made.
    #[error("no client could be made")]
    Client(#[from] reqwest::Error),
}

/// Somebody else's address.
pub struct Webhook {
    client: Client,
    url: Url,
    key: Option<Key>,
    format: Format,
    link: Option<String>,
}

impl Webhook {
    /// The address of these settings; it is not asked yet.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: Settings) -> Result<Self, SettingsError> {
        let url =
            Url::parse(&settings.url).map_err(|error| SettingsError::Url(error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") || url.host().is_none() {
            return Err(SettingsError::Url(
                "it is not http:// or https://".to_owned(),
            ));
        }
        let secret = settings.secret.as_deref();
        let key = secret
            .map(|secret| Key::parse(secret).ok_or(SettingsError::Secret))
            .transpose()?;
        // Fails where another part of the process has chosen one, which is just as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(settings.deadline)
            // The address was judged when it was configured; where it sends us was not.
            .redirect(Policy::none())
            .no_proxy()
            .build()?;
        Ok(Self {
            client,
            url,
            key,
            format: settings.format,
            link: settings.link,
        })
    }
}

#[async_trait]
impl Receiver for Webhook {
    async fn tell(&self, message: &Message) -> Result<(), TellError> {
        let body = match self.format {
            Format::Standard => body::standard(message),
            Format::Slack => body::slack(message, self.link.as_deref()),
            Format::Feishu => body::feishu(message, self.link.as_deref()),
            Format::Dingtalk => body::dingtalk(message, self.link.as_deref()),
        }
        .to_string();
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json");
        if self.format == Format::Standard {
            let (id, seconds) = (body::id(message), seconds_now());
            request = request
                .header("webhook-id", &id)
                .header("webhook-timestamp", seconds.to_string());
            if let Some(key) = &self.key {
                request = request.header("webhook-signature", key.sign(&id, seconds, &body));
            }
        }
        let unanswered = |error: reqwest::Error| {
            // Without the address, which may hold a token.
            TellError::Unanswered(Box::new(error.without_url()))
        };
        let mut answer = request.body(body).send().await.map_err(unanswered)?;
        let status = answer.status();
        let mut text = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(unanswered)? {
            text.extend_from_slice(&part);
            if text.len() >= ANSWER_MAX {
                break;
            }
        }
        judge(self.format, status, &text)
    }
}

/// Whether the answer says that the message was taken.
fn judge(format: Format, status: StatusCode, text: &[u8]) -> Result<(), TellError> {
    if !status.is_success() {
        return Err(TellError::Refused(format!("the answer was {status}")));
    }
    let code = match format {
        Format::Standard | Format::Slack => return Ok(()),
        Format::Feishu => "code",
        Format::Dingtalk => "errcode",
    };
    // Both answer 200 to what they refuse.
    let answer: Value = serde_json::from_slice(text).unwrap_or_default();
    match answer.get(code).and_then(Value::as_i64) {
        None | Some(0) => Ok(()),
        Some(number) => Err(TellError::Refused(format!("{code} was {number}"))),
    }
}

fn seconds_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
