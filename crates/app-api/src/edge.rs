//! What every request passes before its route: admission, limits, deadlines, its id, its line in
//! the log and its numbers.
//!
//! In this order, the cheapest first: [`gate`] sheds what is too much before anything of it is
//! looked at; then the sizes of address and headers; then the rate of the client's address. The
//! rate of a user is judged where the token is checked, and that is before a body is read. Health
//! and metrics pass the gate always: whoever looks after an overloaded server must be answered.

pub(crate) mod body;
mod gate;
mod rates;
pub(crate) mod telemetry;

use crate::{
    config::LimitSettings,
    problem::{Code, Problem},
    routes::service,
    state::App,
};
use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use body::{Cut, RequestBody, ResponseBody};
use gate::Gate;
use hyper::{body::Incoming, service::Service};
use hyper_util::service::TowerToHyperService;
use rates::Rates;
use std::{
    net::IpAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use telemetry::Numbers;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// The longest path and query, in bytes.
const URI_MAX: usize = 8 << 10;
/// The most headers, and their longest names and values in all, in bytes.
pub(crate) const HEADERS_MAX: usize = 100;
const HEADER_BYTES_MAX: usize = 32 << 10;
/// How many bodies may be waited for at least; a quarter of the requests that are worked on, if
/// that is more.
const BODIES_MIN: usize = 16;
/// The longest request id that is taken from a client.
const REQUEST_ID_MAX: usize = 64;
/// By how much a request outlives the patience of the flow in it, which knows better what to say.
const LAST_WORD: Duration = Duration::from_secs(1);
/// The answer to what is shed: written once, sent as it is.
const OVERLOADED: &str = r#"{"type":"about:blank","title":"Service Unavailable","status":503,"code":"overloaded","detail":"more is asked at once than can be answered; nothing was done, repeat the request"}"#;
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What all requests of a server share.
pub(crate) struct Edge {
    /// The limits that are configured.
    pub(crate) limits: LimitSettings,
    /// Who may ask how often.
    pub(crate) rates: Rates,
    /// Cancelled when the server is to stop.
    pub(crate) stopping: CancellationToken,
    /// Whether metrics are answered beside the API.
    pub(crate) metrics_here: bool,
    /// What is counted.
    pub(crate) numbers: Numbers,
    gate: Gate,
    streams: Arc<Semaphore>,
    /// Places for requests whose body has to be waited for.
    bodies: Arc<Semaphore>,
    ids: RequestIds,
}

/// The route that a request was found to be for; written where routes are known, read here.
#[derive(Clone, Default)]
struct Route(Arc<OnceLock<MatchedPath>>);

impl Route {
    /// Its pattern. Never the path that was asked for: what clients can choose must not become
    /// the name of a time series.
    fn name(&self) -> &str {
        self.0.get().map_or("unmatched", MatchedPath::as_str)
    }
}

/// Notes the route of a request. A layer around all routes.
pub(crate) async fn note_route(mut request: Request) -> Request {
    if let Some(matched) = request.extensions_mut().remove::<MatchedPath>() {
        if let Some(Route(route)) = request.extensions().get() {
            let _ = route.set(matched.clone());
        }
        request.extensions_mut().insert(matched);
    }
    request
}

/// What the metrics' own address answers.
pub(crate) fn metrics_router(app: App) -> Router {
    let numbers = |State(app): State<App>| async move { telemetry::render(&app).await };
    Router::new()
        .route("/healthz", get(service::alive))
        .route("/readyz", get(service::ready))
        .route("/metrics", get(numbers))
        .with_state(app)
}

/// Read the numbers
///
/// For Prometheus. They are here unless they have an address of their own.
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "service",
    operation_id = "metrics",
    responses((status = 200, body = String, content_type = "text/plain", description = "The numbers")),
    extensions(("x-problems" = json!([Code::NotFound])))
)]
pub(crate) async fn expose(State(app): State<App>) -> Result<Response, Problem> {
    if app.edge.metrics_here {
        Ok(telemetry::render(&app).await)
    } else {
        Err(Problem::new(Code::NotFound, "there is no such path"))
    }
}

impl Edge {
    /// What these limits ask for.
    pub(crate) fn new(
        limits: LimitSettings,
        metrics_here: bool,
        stopping: CancellationToken,
    ) -> Self {
        Self {
            rates: Rates::new(&limits),
            gate: Gate::new(limits.running_max, limits.in_flight_max),
            streams: Arc::new(Semaphore::new(limits.sse_max)),
            bodies: Arc::new(Semaphore::new((limits.running_max / 4).max(BODIES_MIN))),
            ids: RequestIds::new(),
            numbers: Numbers::new(),
            limits,
            stopping,
            metrics_here,
        }
    }

    /// Event streams that are open.
    pub(crate) fn open_streams(&self) -> usize {
        self.limits
            .sse_max
            .saturating_sub(self.streams.available_permits())
    }

    /// Requests that are worked on, and requests that wait.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        self.gate.in_flight()
    }

    /// Answers a request.
    pub(crate) async fn answer(
        &self,
        router: &TowerToHyperService<Router>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response {
        let arrived = Instant::now();
        let _place = if matches!(request.uri().path(), "/healthz" | "/readyz" | "/metrics") {
            None
        } else {
            match self.gate.enter(arrived).await {
                Some(place) => Some(place),
                None => {
                    self.numbers.shed.increment(1);
                    return overloaded();
                }
            }
        };
        let id = self.ids.of(request.headers());
        let route = Route::default();
        let method = request.method().clone();
        let path =
            tracing::enabled!(tracing::Level::DEBUG).then(|| request.uri().path().to_owned());
        let span = tracing::error_span!("request", id = id.to_str().unwrap_or_default());
        let answered = async {
            let mut response = match self.refusal(&request, peer) {
                Some(problem) => problem.into_response(),
                None => self.ask(router, request, &route, arrived).await,
            };
            response.headers_mut().insert(REQUEST_ID, id.clone());
            let took = arrived.elapsed();
            let status = response.status();
            self.numbers
                .answered(route.name(), method_name(&method), status, took);
            if status.is_server_error() {
                tracing::warn!(
                    http.method = method_name(&method),
                    http.route = route.name(),
                    http.status = status.as_u16(),
                    took_us = took.as_micros(),
                    "a request failed"
                );
            } else if let Some(path) = path {
                tracing::debug!(
                    http.method = method_name(&method),
                    http.route = route.name(),
                    http.path = path,
                    http.status = status.as_u16(),
                    took_us = took.as_micros(),
                    "answered"
                );
            }
            response
        };
        self.streaming(answered.instrument(span).await)
    }

    /// What is refused before it reaches a route.
    fn refusal(&self, request: &Request<Incoming>, peer: IpAddr) -> Option<Problem> {
        // The server below has limits of its own, which are wider; what breaks those is answered
        // by it, with an empty body.
        let uri = request
            .uri()
            .path_and_query()
            .map_or(0, |uri| uri.as_str().len());
        if uri > URI_MAX {
            return Some(Problem::new(
                Code::UriTooLong,
                "path and query must have at most 8192 bytes",
            ));
        }
        let headers = request.headers();
        let bytes: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len())
            .sum();
        if headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
            return Some(Problem::new(
                Code::HeadersTooLarge,
                "there must be at most 100 headers of at most 32768 bytes in all",
            ));
        }
        self.rates.admit_address(peer, headers).err()
    }

    /// Has a route answer, within the deadlines.
    async fn ask(
        &self,
        router: &TowerToHyperService<Router>,
        request: Request<Incoming>,
        route: &Route,
        arrived: Instant,
    ) -> Response {
        let (mut parts, incoming) = request.into_parts();
        parts.extensions.insert(route.clone());
        let cut = Cut::default();
        let within = self.limits.body_timeout();
        let body = RequestBody::wrap(incoming, within, &self.bodies, &self.stopping, &cut);
        let deadline = arrived + self.limits.request_timeout() + LAST_WORD;
        let answer = router.call(Request::from_parts(parts, body));
        let answer = timeout_at(deadline, answer).await;
        match (cut.reason(), answer) {
            (Some(problem), _) => problem.into_response(),
            (None, Ok(Ok(response))) => response,
            (None, Ok(Err(never))) => match never {},
            // Dropping a handler is safe: what moves money runs in a task of its own.
            (None, Err(_)) => Problem::new(
                Code::Unavailable,
                "it takes longer than it may; look at the state before you repeat what is not \
                 safe to repeat",
            )
            .retry_after(2)
            .into_response(),
        }
    }

    /// An event stream takes one of the places for such, and ends when the server stops.
    fn streaming(&self, response: Response) -> Response {
        let kind = response.headers().get(header::CONTENT_TYPE);
        if !kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
            return response;
        }
        match Arc::clone(&self.streams).try_acquire_owned() {
            Ok(place) => response.map(|body| ResponseBody::stream(body, place, &self.stopping)),
            Err(_) => {
                self.numbers.shed.increment(1);
                overloaded()
            }
        }
    }
}

/// Marks an answer to what was shed, for the connection that it came from.
#[derive(Clone, Copy)]
pub(crate) struct Shed;

/// The answer to what is shed.
fn overloaded() -> Response {
    let mut response = Response::new(Body::from(OVERLOADED));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.extensions_mut().insert(Shed);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// The same for a connection that is one too many, as bytes.
pub(crate) fn overloaded_bytes() -> String {
    format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\n\
         retry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{OVERLOADED}",
        OVERLOADED.len()
    )
}

/// A method's name; one for all that nobody knows.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::HEAD => "HEAD",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// Ids by which the lines of one request are found again.
struct RequestIds {
    prefix: String,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Self {
        let random = uuid::Uuid::now_v7().as_u128() as u32;
        Self {
            prefix: format!("{random:08x}"),
            next: AtomicU64::new(1),
        }
    }

    /// The client's own, if it is a short word; else a new one.
    fn of(&self, headers: &HeaderMap) -> HeaderValue {
        let is_sane = |value: &&HeaderValue| {
            let bytes = value.as_bytes();
            let is_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            (1..=REQUEST_ID_MAX).contains(&bytes.len()) && bytes.iter().all(is_word)
        };
        headers
            .get(REQUEST_ID)
            .filter(is_sane)
            .cloned()
            .unwrap_or_else(|| {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                HeaderValue::try_from(format!("{}-{number:x}", self.prefix))
                    .unwrap_or(HeaderValue::from_static("none"))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sane_request_id_is_kept_and_another_replaced() {
        let ids = RequestIds::new();
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_static(text));
            ids.of(&headers)
        };
        assert_eq!(of("abc-1_2.3"), "abc-1_2.3");
        let long = "a".repeat(REQUEST_ID_MAX + 1).leak();
        for odd in ["", "a b", "a\"b", "a/b", long] {
            assert_ne!(of(odd), odd);
        }
        assert_ne!(ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
    }

    #[test]
    fn the_answers_to_what_is_shed_are_sound() {
        let value: serde_json::Value = serde_json::from_str(OVERLOADED).expect("JSON");
        assert_eq!(value["code"], "overloaded");
        assert_eq!(value["status"], 503);
        let bytes = overloaded_bytes();
        let (head, body) = bytes.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("content-length: {}", body.len())));
        assert_eq!(overloaded().headers()[header::RETRY_AFTER], "1");
    }
}
