//! The HTTP API as the driver calls it. An answer is data, whatever its status; no answer too.

use anyhow::{Result, bail};
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

/// The longest that one request may take before it counts as unanswered.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// What came back.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The HTTP status; 0 where there was no answer, so that nothing is known.
    pub(crate) status: u16,
    /// The body, as text where it is no JSON; or why there was none.
    pub(crate) body: Value,
    /// The headers; none where there was no answer.
    headers: HeaderMap,
}

impl Answer {
    /// A header as text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The problem's `code`.
    pub(crate) fn code(&self) -> &str {
        self.text("code")
    }

    /// A field of the body as text; empty if it is not there.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.body
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }

    /// True where the same request is to be sent again: no answer, not known yet, or not now.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.status, 0 | 202 | 429 | 502 | 503 | 504)
    }
}

fn unanswered(why: String) -> Answer {
    Answer {
        status: 0,
        body: Value::String(why),
        headers: HeaderMap::new(),
    }
}

/// An instance, and how to reach it; or several nodes of one stack, which are asked in turn.
#[derive(Clone)]
pub(crate) struct Api {
    client: Client<HttpConnector, Full<Bytes>>,
    bases: Arc<[String]>,
    next: Arc<AtomicUsize>,
    in_flight: Arc<Semaphore>,
}

impl Api {
    /// At most `in_flight_max` requests are under way at a time.
    pub(crate) fn new(base: &str, in_flight_max: usize) -> Self {
        Self::of_nodes(&[base.to_owned()], in_flight_max)
    }

    /// The same for several nodes, of which each request takes the next one. There must be one.
    pub(crate) fn of_nodes(bases: &[String], in_flight_max: usize) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(Duration::from_secs(2)));
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(in_flight_max)
            .build(connector);
        let bases = bases
            .iter()
            .map(|base| base.trim_end_matches('/').to_owned())
            .collect();
        Self {
            client,
            bases,
            next: Arc::default(),
            in_flight: Arc::new(Semaphore::new(in_flight_max)),
        }
    }

    /// Where the instance is; of several nodes the first.
    pub(crate) fn base(&self) -> &str {
        self.bases.first().map_or("", String::as_str)
    }

    /// The node whose turn it is.
    fn turn(&self) -> &str {
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.bases.len().max(1);
        self.bases.get(turn).map_or("", String::as_str)
    }

    /// Sends one request.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Answer {
        self.send_keyed(method, path, token, body, None).await
    }

    /// Sends one request, with an Idempotency-Key.
    async fn send_keyed(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Answer {
        // Closed never: the semaphore lives as long as self.
        let _permit = self.in_flight.acquire().await;
        let exchange = self.exchange(method, path, token, body, key);
        match tokio::time::timeout(REQUEST_MAX, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => unanswered(format!("{error:#}")),
            Err(_) => unanswered("no answer in time".to_owned()),
        }
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.turn()));
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let body = match body {
            Some(body) => {
                request = request.header("content-type", "application/json");
                Bytes::from(serde_json::to_vec(body)?)
            }
            None => Bytes::new(),
        };
        let response = self.client.request(request.body(Full::new(body))?).await?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let bytes = response.into_body().collect().await?.to_bytes();
        Ok(Answer {
            status,
            body: serde_json::from_slice(&bytes)
                .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned())),
            headers,
        })
    }

    /// Reads.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        self.send(Method::GET, path, token, None).await
    }

    /// Sends until it is answered with success; another answer is an error at once.
    pub(crate) async fn insist(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        self.insist_with(method, path, token, body, None, |status| {
            (200..300).contains(&status) && status != 202
        })
        .await
    }

    /// The same with an Idempotency-Key. A cancel is done when it was taken: 202.
    pub(crate) async fn insist_keyed(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Result<Value> {
        let is_taken = path.ends_with("/cancel");
        self.insist_with(method, path, token, body, key, |status| {
            (200..300).contains(&status) && (is_taken || status != 202)
        })
        .await
    }

    async fn insist_with(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<&Value>,
        key: Option<&str>,
        is_done: impl Fn(u16) -> bool,
    ) -> Result<Value> {
        let mut last = String::new();
        for round in 0..60 {
            let answer = self
                .send_keyed(method.clone(), path, token, body, key)
                .await;
            if is_done(answer.status) {
                return Ok(answer.body);
            }
            last = format!("{} {}", answer.status, answer.body);
            if !answer.is_open() {
                break;
            }
            crate::clock::pause(50 + round * 10).await;
        }
        bail!("{method} {path} was answered {last}; look into the server's log")
    }

    /// Waits until the instance is ready: as many answers in a row as there are nodes.
    pub(crate) async fn wait_ready(&self, bound: Duration) -> Result<()> {
        let ready = async {
            let mut in_a_row = 0;
            while in_a_row < self.bases.len() {
                if self.get("/readyz", "").await.status == 200 {
                    in_a_row += 1;
                } else {
                    in_a_row = 0;
                    crate::clock::pause(20).await;
                }
            }
        };
        if tokio::time::timeout(bound, ready).await.is_err() {
            bail!(
                "{} was not ready within {bound:?}; look into the server's log",
                self.bases.join(" and ")
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_are_asked_in_turn() {
        let api = Api::of_nodes(&["http://a/".to_owned(), "http://b".to_owned()], 1);
        let again = api.clone();
        assert_eq!(
            [api.turn(), again.turn(), api.turn()],
            ["http://a", "http://b", "http://a"]
        );
        assert_eq!(Api::new("http://a/", 1).turn(), "http://a");
    }
}
