//! The routes. Each handler parses, calls one flow and maps its outcome.

mod admin;
mod player;
mod service;
mod sheet;

use crate::{
    edge, live,
    problem::Problem,
    state::App,
    wire::{Items, SignupView},
};
use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use domain::{ids::SignupId, signup::Signup};
use ports::store::Page;
use serde::Deserialize;
use tower_http::catch_panic::CatchPanicLayer;

/// The largest body.
const BODY_MAX: usize = 1 << 20;
/// Items of a page where the caller does not say.
const PAGE_DEFAULT: usize = 50;
/// The most items of a page that a caller may ask for.
const PAGE_MAX: usize = 1_000;

/// All routes.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/v1/admin/contests", post(admin::create))
        .route("/v1/admin/contests/{id}/report", get(admin::report))
        .route("/v1/admin/contests/{id}/cancel", post(admin::cancel))
        .route("/v1/admin/contests/{id}/settle", post(admin::settle))
        .route("/v1/admin/contests/{id}/signups", get(admin::signups))
        .route("/v1/admin/findings", get(admin::findings))
        .route("/v1/admin/parked", get(admin::parked))
        .route("/v1/admin/parked/{id}/retry", post(admin::retry))
        .route("/v1/admin/parked/{id}/redirect", post(admin::redirect))
        .route("/v1/contests", get(player::contests))
        .route("/v1/contests/{id}", get(player::contest))
        .route("/v1/contests/{id}/pool", get(player::pool))
        .route("/v1/contests/{id}/leaderboard", get(player::leaderboard))
        .route("/v1/contests/{id}/leaderboard/me", get(player::own_place))
        .route("/v1/contests/{id}/settlement", get(player::settlement))
        .route("/v1/contests/{id}/settlement/sheet", get(sheet::download))
        .route("/v1/contests/{id}/events", get(live::events))
        .route("/v1/events-tickets", post(live::ticket))
        .route(
            "/v1/contests/{id}/signup",
            put(player::sign_up).get(player::signup),
        )
        .route("/v1/contests/{id}/claim", put(player::claim))
        .route("/v1/me/signups", get(player::mine))
        .route("/v1/task-events", post(service::record))
        .route("/v1/sandbox/accounts/{user}", get(service::balance))
        .route("/v1/sandbox/accounts/{user}/grant", post(service::grant))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(service::ready))
        .route("/metrics", get(edge::expose))
        .fallback(|| async { Problem::not_found("not_found", "there is no such path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "this path does not take that method",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(CatchPanicLayer::custom(
            |_: Box<dyn std::any::Any + Send>| -> Response {
                tracing::error!("a handler panicked");
                Problem::new(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal_error",
                    "something is wrong on our side; it has been reported",
                )
                .into_response()
            },
        ))
        .layer(axum::middleware::map_request(edge::note_route))
        .with_state(app)
}

/// What the metrics' own address answers.
pub(crate) fn metrics_router(app: App) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(service::ready))
        .route(
            "/metrics",
            get(|State(app): State<App>| async move { edge::telemetry::render(&app).await }),
        )
        .with_state(app)
}

/// A page size that may be asked for.
fn page_size(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(PAGE_DEFAULT) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(Problem::fault(
            "/limit",
            "out_of_range",
            "must be from 1 to 1000",
        )),
    }
}

/// Where a page continues. Cursors are what an earlier page answered; their form is ours.
fn cursor<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>, Problem> {
    text.map(str::parse).transpose().map_err(|_| {
        Problem::fault(
            "/cursor",
            "invalid_cursor",
            "must be the next_cursor of an earlier page",
        )
    })
}

/// A filter of a query that is an id.
fn filter<T: std::str::FromStr<Err = domain::ids::InvalidId>>(
    pointer: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, Problem> {
    text.map(str::parse::<T>)
        .transpose()
        .map_err(|error| Problem::fault(pointer, "invalid_id", error.to_string()))
}

fn no_contest() -> Problem {
    Problem::not_found("not_found", "there is no such contest")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A page of signups of any contests.
async fn signup_page(
    app: &App,
    page: Page<Signup, SignupId>,
) -> Result<Json<Items<SignupView>>, Problem> {
    let mut items = Vec::with_capacity(page.items.len());
    for signup in page.items {
        let contest = app.contests.ports().contests.get(signup.contest_id).await?;
        let contest = contest.ok_or_else(no_contest)?;
        let seen = app.contests.look(&contest, vec![signup]).await?;
        items.extend(seen.iter().map(SignupView::new));
    }
    let next_cursor = page.next.map(|id| id.to_string());
    Ok(Json(Items { items, next_cursor }))
}
