//! The routes. Each handler parses, calls one flow and maps its outcome.

mod admin;
mod experiments;
mod player;
mod reconcile;
pub(crate) mod service;
mod sheet;
mod switches;

use crate::{
    edge,
    extract::parse_id,
    live,
    openapi::{self, vocabulary},
    problem::{Code, FaultCode, Problem},
    state::App,
    wire::{Items, SignupView},
};
use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    response::{IntoResponse, Response},
};
use domain::{ids::SignupId, signup::Signup};
use ports::store::Page;
use serde::Deserialize;
use std::str::FromStr;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

/// The largest body.
const BODY_MAX: usize = 1 << 20;
/// Items of a page where the caller does not say.
const PAGE_DEFAULT: usize = 50;
/// The most items of a page that a caller may ask for.
const PAGE_MAX: usize = 1_000;

/// Every call, with its documentation.
pub(crate) fn api() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(admin::create))
        .routes(routes!(admin::report))
        .routes(routes!(admin::cancel))
        .routes(routes!(admin::settle))
        .routes(routes!(admin::signups))
        .routes(routes!(reconcile::begin, reconcile::runs))
        .routes(routes!(reconcile::run))
        .routes(routes!(reconcile::findings))
        .routes(routes!(reconcile::finding))
        .routes(routes!(reconcile::resolve))
        .routes(routes!(reconcile::repair))
        .routes(routes!(reconcile::override_freeze))
        .routes(routes!(experiments::make, experiments::list))
        .routes(routes!(experiments::look, experiments::redefine))
        .routes(routes!(experiments::start))
        .routes(routes!(experiments::ramp))
        .routes(routes!(experiments::stop))
        .routes(routes!(experiments::changes))
        .routes(routes!(experiments::results))
        .routes(routes!(switches::list))
        .routes(routes!(switches::set))
        .routes(routes!(switches::changes))
        .routes(routes!(admin::parked))
        .routes(routes!(admin::retry))
        .routes(routes!(admin::redirect))
        .routes(routes!(player::contests))
        .routes(routes!(player::contest))
        .routes(routes!(player::pool))
        .routes(routes!(player::leaderboard))
        .routes(routes!(player::own_place))
        .routes(routes!(player::settlement))
        .routes(routes!(sheet::download))
        .routes(routes!(live::events))
        .routes(routes!(live::ticket))
        .routes(routes!(player::sign_up, player::signup))
        .routes(routes!(player::claim))
        .routes(routes!(player::mine))
        .routes(routes!(service::record))
        .routes(routes!(service::balance))
        .routes(routes!(service::grant))
        .routes(routes!(service::alive))
        .routes(routes!(service::ready))
        .routes(routes!(edge::expose))
        .routes(routes!(openapi::pages::document_json))
}

/// All routes.
pub(crate) fn router(app: App) -> Router {
    Router::from(api())
        .merge(openapi::pages())
        .fallback(|| async { Problem::new(Code::NotFound, "there is no such path") })
        .method_not_allowed_fallback(|| async {
            Problem::new(
                Code::MethodNotAllowed,
                "this path does not take that method",
            )
        })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(CatchPanicLayer::custom(
            |_: Box<dyn std::any::Any + Send>| -> Response {
                tracing::error!("a handler panicked");
                Problem::internal().into_response()
            },
        ))
        .layer(axum::middleware::map_request(edge::note_route))
        .with_state(app)
}

/// A page size that may be asked for.
fn page_size(limit: Option<usize>) -> Result<usize, Problem> {
    match limit.unwrap_or(PAGE_DEFAULT) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(Problem::fault(
            "/limit",
            FaultCode::OutOfRange,
            "must be from 1 to 1000",
        )),
    }
}

/// Where a page continues. Cursors are what an earlier page answered; their form is ours.
fn cursor<T: FromStr + ToString>(text: Option<&str>) -> Result<Option<T>, Problem> {
    let parse = |text: &str| {
        let after: Option<T> = text.parse().ok();
        // Only what was sent comes back.
        after.filter(|after| after.to_string() == text).ok_or(())
    };
    text.map(parse).transpose().map_err(|()| {
        Problem::fault(
            "/cursor",
            FaultCode::InvalidCursor,
            "must be the next_cursor of an earlier page",
        )
    })
}

/// A filter of a query that is an id.
fn filter<T: FromStr<Err = domain::ids::InvalidId>>(
    pointer: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, Problem> {
    text.map(parse_id)
        .transpose()
        .map_err(|error| Problem::fault(pointer, FaultCode::InvalidId, error.to_string()))
}

fn no_contest() -> Problem {
    Problem::new(Code::NotFound, "there is no such contest")
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    /// How many items, 1 to 1,000.
    #[param(minimum = 1, maximum = 1_000, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(inline, value_type = Option<vocabulary::Cursor>)]
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
