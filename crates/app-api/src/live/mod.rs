//! Contests as they happen: a stream of snapshots for everybody who watches.

pub(crate) mod hub;
pub(crate) mod snapshot;
pub(crate) mod stream;
mod tickets;

use crate::{
    auth::{Reader, Role},
    extract::{Id, NoBody, Query},
    openapi::vocabulary,
    problem::{Code, Problem},
    state::App,
    wire::rfc3339,
};
use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::{StatusCode, header, request::Parts},
    response::Response,
};
use domain::ids::{ContestId, UserId};
use hub::{EventIds, Hub};
use ports::tickets::{Given, Tickets};
use serde::{Deserialize, Serialize};
use snapshot::ContestSource;
use std::sync::Arc;
use stream::Places;
use tokio_util::sync::CancellationToken;
use utoipa::{IntoParams, ToSchema};

/// The most streams that one user has open at once.
const STREAMS_OF_USER_MAX: usize = 20;

/// What all streams share.
pub(crate) struct Live {
    hub: Hub<ContestId>,
    ids: Arc<EventIds>,
    places: Places<UserId>,
    tickets: Arc<dyn Tickets>,
}

impl Live {
    /// Streams that end when `stopping` is cancelled, and that any of `tickets` opens.
    pub(crate) fn new(stopping: CancellationToken, tickets: Arc<dyn Tickets>) -> Self {
        Self {
            hub: Hub::new(stopping),
            ids: Arc::default(),
            places: Places::new(STREAMS_OF_USER_MAX),
            tickets,
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventsQuery {
    /// A ticket, for a browser that cannot send the header.
    ticket: Option<String>,
}

/// A viewer or an operator who watches, by header or by ticket. The header wins.
pub(crate) struct Watcher(UserId);

impl FromRequestParts<App> for Watcher {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let by_header = parts.headers.contains_key(header::AUTHORIZATION);
        let query = Query::<EventsQuery>::from_request_parts(parts, app).await;
        let ticket = match &query {
            Ok(Query(query)) if !by_header => query.ticket.as_deref(),
            _ => None,
        };
        let Some(ticket) = ticket else {
            let Reader(user, _) = Reader::from_request_parts(parts, app).await?;
            // Whoever may watch is told what is wrong with the query.
            return query.map(|_| Self(user));
        };
        let taken = match tickets::kept_as(ticket) {
            Some(ticket) => app.live.tickets.take(ticket).await?,
            None => None,
        };
        // Only who may watch was given one.
        taken.map(Self).ok_or_else(|| {
            Problem::unauthorized("the ticket is not known, was used, or is too old")
        })
    }
}

/// Watch a contest
///
/// Server-sent events, each a whole snapshot with a rising id; whoever connects again gets the
/// newest at once.
#[utoipa::path(
    get,
    path = "/v1/contests/{id}/events",
    tag = "contests",
    operation_id = "watch_contest",
    params(("id" = vocabulary::ContestId, Path, description = "The contest"), EventsQuery),
    responses((status = 200, body = String, content_type = "text/event-stream", description = "The stream")),
    extensions(("x-role" = json!([Role::Player, Role::Operator])))
)]
pub(crate) async fn events(
    State(app): State<App>,
    Watcher(user): Watcher,
    Id(id): Id<ContestId>,
) -> Result<Response, Problem> {
    let found = app.contests.visible(id).await?;
    found.ok_or_else(|| Problem::new(Code::NotFound, "there is no such contest"))?;
    let place = app.live.places.take(user).ok_or_else(|| {
        Problem::new(
            Code::RateLimited,
            format!("a user may have {STREAMS_OF_USER_MAX} streams open at once"),
        )
        .retry_after(5)
    })?;
    let (contests, ids) = (&app.contests, &app.live.ids);
    let receiver = app.live.hub.watch(id, || {
        ContestSource::new(Arc::clone(contests), Arc::clone(ids), id)
    });
    Ok(stream::response(receiver, place))
}

/// A ticket for one stream of events.
#[derive(Serialize, ToSchema)]
#[schema(as = Ticket)]
pub(crate) struct TicketView {
    /// For `?ticket=`; good once.
    ticket: String,
    #[schema(value_type = vocabulary::Time)]
    expires_at: String,
}

/// Get a ticket to watch with
///
/// For a browser that cannot send the header: good for one stream, for a minute, on any node.
#[utoipa::path(
    post,
    path = "/v1/events-tickets",
    tag = "contests",
    operation_id = "create_ticket",
    request_body(content = Option<vocabulary::NoFields>, description = "Nothing, or `{}`"),
    responses((status = 201, body = TicketView, description = "The ticket")),
    extensions(("x-role" = json!([Role::Player, Role::Operator])))
)]
pub(crate) async fn ticket(
    State(app): State<App>,
    Reader(user, _): Reader,
    _: NoBody,
) -> Result<
    (
        StatusCode,
        [(header::HeaderName, &'static str); 1],
        Json<TicketView>,
    ),
    Problem,
> {
    let (ticket, kept_as) = tickets::new().map_err(|error| {
        tracing::error!(%error, "there are no random numbers");
        Problem::internal()
    })?;
    let given = app.live.tickets.give(kept_as, &user, tickets::TTL_MS);
    let expires_at = match given.await? {
        Given::Until(end) => end,
        Given::OfUserMax => {
            let refused = Problem::new(
                Code::RateLimited,
                "this user was given many tickets; use them, or wait until they have ended",
            );
            return Err(refused.retry_after(10));
        }
        Given::Full => {
            let refused = Problem::new(
                Code::Overloaded,
                "more is asked at once than can be answered; repeat the request",
            );
            return Err(refused.retry_after(2));
        }
    };
    let view = TicketView {
        ticket,
        expires_at: rfc3339(expires_at),
    };
    Ok((
        StatusCode::CREATED,
        [(header::CACHE_CONTROL, "no-store")],
        Json(view),
    ))
}
