//! What viewers call.

use super::{PageQuery, cursor, filter, no_contest, page_size, signup_page};
use crate::{
    auth::{Player, Reader},
    extract::{Id, NoBody, Query},
    problem::Problem,
    state::App,
    wire::{ContestView, Items, PoolView, SignupView},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{
    contest::{PhaseKind, PublicPhase},
    ids::ContestId,
};
use ports::contests::ContestFilter;
use serde::Deserialize;
use usecases::{Claimed, Seen, SignedUp};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    phase: Option<String>,
    room_id: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

fn phases(phase: Option<&str>) -> Result<(Vec<PhaseKind>, Option<bool>), Problem> {
    let Some(text) = phase else {
        return Ok((Vec::new(), None));
    };
    let unknown = || {
        Problem::fault(
            "/phase",
            "unknown_value",
            format!("{text:?} is not a phase"),
        )
    };
    Ok(match PublicPhase::named(text).ok_or_else(unknown)? {
        PublicPhase::Draft => (vec![PhaseKind::Draft], Some(false)),
        PublicPhase::Open => (vec![PhaseKind::Draft], Some(true)),
        PublicPhase::Running => (vec![PhaseKind::Running], None),
        PublicPhase::Settling => (vec![PhaseKind::Judging, PhaseKind::Listing], None),
        PublicPhase::Claimable => (vec![PhaseKind::Claimable], None),
        PublicPhase::Closed => (vec![PhaseKind::Closed], None),
        PublicPhase::Cancelling => (vec![PhaseKind::Cancelling], None),
        PublicPhase::Cancelled => (vec![PhaseKind::Cancelled], None),
    })
}

pub(crate) async fn contests(
    State(app): State<App>,
    _: Reader,
    Query(query): Query<ListQuery>,
) -> Result<Json<Items<ContestView>>, Problem> {
    let (phases, opened) = phases(query.phase.as_deref())?;
    let room_id = filter("/room_id", query.room_id.as_deref())?;
    let (limit, after) = (page_size(query.limit)?, cursor(query.cursor.as_deref())?);
    let ports = app.contests.ports();
    let page = ports
        .contests
        .list(
            &ContestFilter {
                room_id,
                phases,
                opened,
            },
            after,
            limit,
        )
        .await?;
    let now = ports.clock.now();
    Ok(Json(Items {
        items: page
            .items
            .iter()
            .map(|contest| ContestView::new(contest, now))
            .collect(),
        next_cursor: page.next.map(|id| id.to_string()),
    }))
}

pub(crate) async fn contest(
    State(app): State<App>,
    _: Reader,
    Id(id): Id<ContestId>,
) -> Result<Json<ContestView>, Problem> {
    let contest = app.contests.visible(id).await?.ok_or_else(no_contest)?;
    Ok(Json(ContestView::new(
        &contest,
        app.contests.ports().clock.now(),
    )))
}

pub(crate) async fn pool(
    State(app): State<App>,
    _: Reader,
    Id(id): Id<ContestId>,
) -> Result<Json<PoolView>, Problem> {
    let contest = app.contests.visible(id).await?.ok_or_else(no_contest)?;
    Ok(Json(app.contests.pool(&contest).await?.into()))
}

pub(crate) async fn sign_up(
    State(app): State<App>,
    Player(user): Player,
    Id(id): Id<ContestId>,
    NoBody: NoBody,
) -> Result<Response, Problem> {
    match app
        .run(|contests| async move { contests.sign_up(id, &user).await })
        .await?
    {
        SignedUp::Yes(seen) => Ok(Json(SignupView::new(&seen)).into_response()),
        SignedUp::Pending(seen) => Ok(pending(&seen)),
        SignedUp::InsufficientFunds(seen) => Err(Problem::new(
            StatusCode::PAYMENT_REQUIRED,
            "insufficient_funds",
            format!("the fee is {} coins; nothing was charged", seen.signup.fee),
        )),
        SignedUp::PoolFull(_) => Err(Problem::conflict(
            "pool_full",
            "the pool can hold no more coins; nothing was charged",
        )),
        SignedUp::Closed => Err(Problem::conflict("signup_closed", "signups are not open")),
        SignedUp::NoContest => Err(no_contest()),
    }
}

pub(crate) async fn signup(
    State(app): State<App>,
    Reader(user, _): Reader,
    Id(id): Id<ContestId>,
) -> Result<Json<SignupView>, Problem> {
    let seen = app
        .run(|contests| async move { contests.read(id, &user).await })
        .await?;
    match seen {
        Some(seen) => Ok(Json(SignupView::new(&seen))),
        None if app.contests.visible(id).await?.is_none() => Err(no_contest()),
        None => Err(not_signed_up()),
    }
}

pub(crate) async fn claim(
    State(app): State<App>,
    Player(user): Player,
    Id(id): Id<ContestId>,
    NoBody: NoBody,
) -> Result<Response, Problem> {
    match app
        .run(|contests| async move { contests.claim(id, &user).await })
        .await?
    {
        Claimed::Yes(seen) => Ok(Json(SignupView::new(&seen)).into_response()),
        Claimed::Pending(seen) => Ok(pending(&seen)),
        Claimed::NotCompleted => Err(Problem::conflict(
            "not_completed",
            "the task is not completed",
        )),
        Claimed::NotYet => {
            Err(Problem::conflict("not_claimable_yet", "prizes are not decided yet").retry_after(1))
        }
        Claimed::Closed => Err(Problem::conflict(
            "claim_closed",
            "prizes can no longer be claimed",
        )),
        Claimed::NotSignedUp => Err(not_signed_up()),
        Claimed::NoContest => Err(no_contest()),
    }
}

pub(crate) async fn mine(
    State(app): State<App>,
    Reader(user, _): Reader,
    Query(query): Query<PageQuery>,
) -> Result<Json<Items<SignupView>>, Problem> {
    let (limit, after) = (page_size(query.limit)?, cursor(query.cursor.as_deref())?);
    let signups = &app.contests.ports().signups;
    let page = signups.of_user(&user, after, limit).await?;
    signup_page(&app, page).await
}

/// The outcome is not known yet: ask again.
fn pending(seen: &Seen) -> Response {
    let mut response = (StatusCode::ACCEPTED, Json(SignupView::new(seen))).into_response();
    response
        .headers_mut()
        .insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn not_signed_up() -> Problem {
    Problem::not_found(
        "not_signed_up",
        "there is no signup of this viewer in this contest",
    )
}
