//! Numbers for Prometheus. Names of time series come from our own lists alone: routes by their
//! pattern, methods and statuses by their names; never from what a client sent.

use crate::state::App;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{contest::PhaseKind, finding::FindingClass, time::UnixMillis};
use metrics::{
    Counter, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use ports::contests::ContestFilter;
use std::time::Duration;
use tokio::{sync::Mutex, time::Instant};

/// Contests are counted no more often.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Contests are counted up to here; who has more looks into the database.
const CONTESTS_MAX: usize = 5_000;
const CONTESTS_PAGE: usize = 1_000;
/// The phases of contests that are not over, and their names in the metrics.
const LIVE_PHASES: &[(PhaseKind, &str)] = &[
    (PhaseKind::Draft, "draft"),
    (PhaseKind::Running, "running"),
    (PhaseKind::Judging, "judging"),
    (PhaseKind::Listing, "listing"),
    (PhaseKind::Claimable, "claimable"),
    (PhaseKind::Cancelling, "cancelling"),
];

/// Starts counting. Once in a process, before anything counts.
///
/// # Errors
/// When another recorder is there already.
pub(crate) fn install() -> anyhow::Result<()> {
    runtime::telemetry::install()?;
    describe();
    Ok(())
}

fn describe() {
    describe_counter!(
        "guafen_http_requests_total",
        "Requests that were answered, without those that were shed"
    );
    describe_histogram!(
        "guafen_http_request_duration_seconds",
        "From a request's head to its answer's head, waiting included"
    );
    describe_counter!(
        "guafen_http_shed_total",
        "Requests answered 503 before anything of them was looked at"
    );
    describe_counter!(
        "guafen_http_rate_limited_total",
        "Requests answered 429, by the limit that they met"
    );
    describe_counter!(
        "guafen_http_connections_refused_total",
        "Connections beyond limits.connections_max"
    );
    describe_gauge!("guafen_http_connections", "Open connections");
    describe_gauge!(
        "guafen_http_requests_running",
        "Requests that are worked on"
    );
    describe_gauge!(
        "guafen_http_requests_waiting",
        "Requests that wait to be worked on"
    );
    describe_gauge!("guafen_http_streams", "Open event streams");
    describe_gauge!(
        "guafen_flows",
        "Flows that were begun and have not ended, their callers there or not"
    );
    describe_counter!(
        "guafen_funds_calls_total",
        "Calls to the funds system by operation and outcome"
    );
    describe_histogram!(
        "guafen_funds_call_duration_seconds",
        "How long calls to the funds system took"
    );
    describe_gauge!(
        "guafen_contests",
        "Contests that are not over, by stored phase"
    );
    describe_gauge!(
        "guafen_contest_due_age_seconds",
        "How long the contest that waits longest for a step that is due has waited for it"
    );
    describe_counter!(
        "guafen_switched_off_total",
        "Requests answered 503 because an operator has switched off what they ask for"
    );
    describe_gauge!("guafen_findings_open", "Findings that are open, by class");
    describe_gauge!(
        "guafen_finding_age_seconds",
        "How long the oldest open finding of a class has been open"
    );
}

/// What requests count.
pub(crate) struct Numbers {
    /// Requests that were shed.
    pub(crate) shed: Counter,
    counted: Mutex<Option<Instant>>,
}

impl Numbers {
    pub(crate) fn new() -> Self {
        Self {
            shed: counter!("guafen_http_shed_total"),
            counted: Mutex::default(),
        }
    }

    /// Counts an answer.
    pub(crate) fn answered(
        &self,
        route: &str,
        method: &'static str,
        status: StatusCode,
        took: Duration,
    ) {
        let route = route.to_owned();
        histogram!("guafen_http_request_duration_seconds", "route" => route.clone(), "method" => method)
            .record(took);
        counter!(
            "guafen_http_requests_total",
            "route" => route, "method" => method, "status" => status.as_str().to_owned()
        )
        .increment(1);
    }
}

/// All numbers, as text.
pub(crate) async fn render(app: &App) -> Response {
    let (running, waiting) = app.edge.in_flight();
    gauge!("guafen_http_requests_running").set(running as f64);
    gauge!("guafen_http_requests_waiting").set(waiting as f64);
    gauge!("guafen_http_streams").set(app.edge.open_streams() as f64);
    gauge!("guafen_flows").set(app.flows.len() as f64);
    let known = app.contests.switches();
    let age = known.age_ms(app.contests.ports().clock.now());
    runtime::telemetry::switches(&known.switches(), age);
    if let Err(error) = count_contests(app).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "contests could not be counted"
        );
    }
    let Some(numbers) = runtime::telemetry::render() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let text = HeaderValue::from_static(runtime::telemetry::CONTENT_TYPE);
    ([(header::CONTENT_TYPE, text)], numbers).into_response()
}

async fn count_contests(app: &App) -> Result<(), ports::store::StoreError> {
    let mut counted = app.edge.numbers.counted.lock().await;
    if counted.is_some_and(|at| at.elapsed() < COUNT_EVERY) {
        return Ok(());
    }
    let contests = &app.contests.ports().contests;
    let filter = ContestFilter {
        phases: LIVE_PHASES.iter().map(|(phase, _)| *phase).collect(),
        ..ContestFilter::default()
    };
    let mut counts = vec![0_u32; LIVE_PHASES.len()];
    let (mut after, mut seen) = (None, 0);
    let mut longest_due: Option<UnixMillis> = None;
    let now = contests.now().await?;
    loop {
        let page = contests.list(&filter, after, CONTESTS_PAGE).await?;
        seen += page.items.len();
        for contest in &page.items {
            let kind = contest.phase.kind();
            if let Some(place) = LIVE_PHASES.iter().position(|(phase, _)| *phase == kind) {
                counts[place] += 1;
            }
            let due = domain::lifecycle::wake_at(contest).filter(|due| *due <= now);
            longest_due = longest_due.into_iter().chain(due).min();
        }
        after = page.next;
        if after.is_none() || seen >= CONTESTS_MAX {
            break;
        }
    }
    for ((_, name), count) in LIVE_PHASES.iter().zip(counts) {
        gauge!("guafen_contests", "phase" => *name).set(f64::from(count));
    }
    let waited = longest_due.map_or(0, |due| now.0.saturating_sub(due.0));
    let waited = Duration::from_millis(u64::try_from(waited).unwrap_or_default());
    gauge!("guafen_contest_due_age_seconds").set(waited.as_secs_f64());
    let open = app.contests.ports().findings.open().await?;
    for class in FindingClass::ALL {
        let of_class = open.iter().find(|open| open.class == *class);
        let age = of_class.map_or(0, |open| now.0.saturating_sub(open.oldest.0));
        let age = Duration::from_millis(u64::try_from(age).unwrap_or_default());
        gauge!("guafen_findings_open", "class" => class.name())
            .set(of_class.map_or(0.0, |open| open.findings as f64));
        gauge!("guafen_finding_age_seconds", "class" => class.name()).set(age.as_secs_f64());
    }
    *counted = Some(Instant::now());
    Ok(())
}
