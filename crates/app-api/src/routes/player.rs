//! What viewers call.

use super::{
    PageQuery, cursor, filter, no_contest, page_size, signup_page, switches::switched_off,
};
use crate::{
    auth::{Player, Reader, Role},
    extract::{Id, NoBody, OptionalBody, Query},
    openapi::vocabulary,
    problem::{Code, FaultCode, Problem},
    state::App,
    wire::{
        ContestView, Items, LeaderboardView, MeetingView, OwnPlaceView, PoolView, SheetView,
        SignUpBody, SignupView, rfc3339,
    },
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
    money::Coins,
    terms::TierError,
};
use ports::{contests::ContestFilter, leaderboard::PLACES_MAX};
use serde::Deserialize;
use usecases::{Claimed, Own, Seen, SignedUp};
use utoipa::IntoParams;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListQuery {
    /// Only contests of this phase.
    #[param(inline, value_type = Option<vocabulary::Phase>)]
    phase: Option<String>,
    /// Only contests of this room.
    #[param(inline, value_type = Option<vocabulary::RoomId>)]
    room_id: Option<String>,
    /// How many items, 1 to 1,000.
    #[param(minimum = 1, maximum = 1_000, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(inline, value_type = Option<vocabulary::Cursor>)]
    cursor: Option<String>,
}

fn phases(phase: Option<&str>) -> Result<(Vec<PhaseKind>, Option<bool>), Problem> {
    let Some(text) = phase else {
        return Ok((Vec::new(), None));
    };
    let unknown = || {
        Problem::fault(
            "/phase",
            FaultCode::UnknownValue,
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

/// List contests
#[utoipa::path(
    get,
    path = "/v1/contests",
    tag = "contests",
    operation_id = "list_contests",
    params(ListQuery),
    responses((status = 200, body = Items<ContestView>, description = "A page; the next one begins at `next_cursor`")),
    extensions(("x-role" = json!([Role::Player, Role::Operator])))
)]
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

/// Show a contest
#[utoipa::path(
    get,
    path = "/v1/contests/{id}",
    tag = "contests",
    operation_id = "get_contest",
    params(("id" = vocabulary::ContestId, Path, description = "The contest")),
    responses((status = 200, body = ContestView, description = "The contest")),
    extensions(("x-role" = json!([Role::Player, Role::Operator])))
)]
pub(crate) async fn contest(
    State(app): State<App>,
    Reader(user, role): Reader,
    Id(id): Id<ContestId>,
) -> Result<Json<ContestView>, Problem> {
    let contest = app.contests.visible(id).await?.ok_or_else(no_contest)?;
    let mut view = ContestView::new(&contest, app.contests.ports().clock.now());
    if role == Role::Player {
        let met = app.contests.meet(&contest, &user);
        view.experiments = met.iter().map(MeetingView::from).collect();
    }
    Ok(Json(view))
}

/// Show the pool of a contest
///
/// Until the freeze the pool as it would be frozen now, from then on the frozen pool.
#[utoipa::path(
    get,
    path = "/v1/contests/{id}/pool",
    tag = "contests",
    operation_id = "get_pool",
    params(("id" = vocabulary::ContestId, Path, description = "The contest")),
    responses((status = 200, body = PoolView, description = "The pool")),
    extensions(("x-role" = json!([Role::Player, Role::Operator])))
)]
pub(crate) async fn pool(
    State(app): State<App>,
    _: Reader,
    Id(id): Id<ContestId>,
) -> Result<Json<PoolView>, Problem> {
    let pool = app.contests.pool_of(id).await?.ok_or_else(no_contest)?;
    Ok(Json(pool.into()))
}

/// Sign up
///
/// Charges the fee once, however often it is repeated.
#[utoipa::path(
    put,
    path = "/v1/contests/{id}/signup",
    tag = "contests",
    operation_id = "sign_up",
    params(("id" = vocabulary::ContestId, Path, description = "The contest")),
    request_body(content = Option<SignUpBody>, description = "Nothing, or the choice of a fee where the contest has `fee_tiers`"),
    responses((status = 200, body = SignupView, description = "The signup, with its fee paid; on every repeat too"), (status = 202, body = SignupView, description = "The outcome of the charge is not known yet: repeat the request", headers(("Retry-After" = u32, description = "Seconds to wait before the request is repeated")))),
    extensions(("x-role" = json!([Role::Player])), ("x-problems" = json!([Code::InsufficientFunds, Code::SignupClosed, Code::PoolFull, Code::FeeTierFixed, Code::SwitchedOff])))
)]
pub(crate) async fn sign_up(
    State(app): State<App>,
    Player(user): Player,
    Id(id): Id<ContestId>,
    OptionalBody(body): OptionalBody<SignUpBody>,
) -> Result<Response, Problem> {
    let tier = match body.fee_tier.map(Coins::new).transpose() {
        Ok(tier) => tier,
        // More than there can be is no tier of any contest.
        Err(_) => return Err(no_tier(TierError::Unknown)),
    };
    match app
        .run(|contests| async move { contests.sign_up(id, &user, tier).await })
        .await?
    {
        SignedUp::Yes(seen) => Ok(Json(SignupView::new(&seen)).into_response()),
        SignedUp::Pending(seen) => Ok(pending(&seen)),
        SignedUp::InsufficientFunds(seen) => Err(Problem::new(
            Code::InsufficientFunds,
            format!("the fee is {} coins; nothing was charged", seen.signup.fee),
        )),
        SignedUp::PoolFull(_) => Err(Problem::new(
            Code::PoolFull,
            "the pool can hold no more coins; nothing was charged",
        )),
        SignedUp::TierFixed(fee) => Err(Problem::new(
            Code::FeeTierFixed,
            format!("the first call chose the tier of {fee} coins, which cannot be changed"),
        )),
        SignedUp::NoTier(error) => Err(no_tier(error)),
        SignedUp::SwitchedOff(off) => Err(switched_off(&off)),
        SignedUp::Closed => Err(signup_closed(&app, id).await),
        SignedUp::NoContest => Err(no_contest()),
    }
}

/// Show one's signup
#[utoipa::path(
    get,
    path = "/v1/contests/{id}/signup",
    tag = "contests",
    operation_id = "get_signup",
    params(("id" = vocabulary::ContestId, Path, description = "The contest")),
    responses((status = 200, body = SignupView, description = "The signup of the token's subject")),
    extensions(("x-role" = json!([Role::Player, Role::Operator])), ("x-problems" = json!([Code::NotSignedUp])))
)]
pub(crate) async fn signup(
    State(app): State<App>,
    Reader(user, _): Reader,
    Id(id): Id<ContestId>,
) -> Result<Json<SignupView>, Problem> {
    let own = app
        .run(|contests| async move { contests.own(id, &user).await })
        .await?;
    match own {
        Own::Yes(seen) => Ok(Json(SignupView::new(&seen))),
        Own::NotSignedUp => Err(not_signed_up()),
        Own::NoContest => Err(no_contest()),
    }
}

/// Claim one's prize
///
/// Pays the prize once, however often it is repeated.
#[utoipa::path(
    put,
    path = "/v1/contests/{id}/claim",
    tag = "contests",
    operation_id = "claim",
    params(("id" = vocabulary::ContestId, Path, description = "The contest")),
    request_body(content = Option<vocabulary::NoFields>, description = "Nothing, or `{}`"),
    responses((status = 200, body = SignupView, description = "The signup, `shared`, with its prize; on every repeat too"), (status = 202, body = SignupView, description = "The outcome of the payment is not known yet: repeat the request", headers(("Retry-After" = u32, description = "Seconds to wait before the request is repeated")))),
    extensions(("x-role" = json!([Role::Player])), ("x-problems" = json!([Code::NotSignedUp, Code::NotCompleted, Code::NotClaimableYet, Code::ClaimClosed, Code::SwitchedOff])))
)]
pub(crate) async fn claim(
    State(app): State<App>,
    Player(user): Player,
    Id(id): Id<ContestId>,
    _: NoBody,
) -> Result<Response, Problem> {
    match app
        .run(|contests| async move { contests.claim(id, &user).await })
        .await?
    {
        Claimed::Yes(seen) => Ok(Json(SignupView::new(&seen)).into_response()),
        Claimed::Pending(seen) => Ok(pending(&seen)),
        Claimed::NotCompleted => Err(Problem::new(
            Code::NotCompleted,
            "the task is not completed",
        )),
        Claimed::NotYet => {
            Err(Problem::new(Code::NotClaimableYet, "prizes are not decided yet").retry_after(1))
        }
        Claimed::SwitchedOff(off) => Err(switched_off(&off)),
        Claimed::Closed => Err(Problem::new(
            Code::ClaimClosed,
            "prizes can no longer be claimed",
        )),
        Claimed::NotSignedUp => Err(not_signed_up()),
        Claimed::NoContest => Err(no_contest()),
    }
}

/// List one's signups
#[utoipa::path(
    get,
    path = "/v1/me/signups",
    tag = "contests",
    operation_id = "list_my_signups",
    params(PageQuery),
    responses((status = 200, body = Items<SignupView>, description = "A page; the next one begins at `next_cursor`")),
    extensions(("x-role" = json!([Role::Player, Role::Operator])))
)]
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

/// Says when, so that nobody has to guess whether to come back.
async fn signup_closed(app: &App, id: ContestId) -> Problem {
    let contest = app.contests.visible(id).await.ok().flatten();
    let detail = contest.map(|contest| {
        let terms = &contest.terms;
        match contest.public_phase(app.contests.ports().clock.now()) {
            PublicPhase::Draft => format!("signups open at {}", rfc3339(terms.signup_opens_at)),
            PublicPhase::Cancelling | PublicPhase::Cancelled => {
                "the contest is cancelled; every fee goes back".to_owned()
            }
            _ => format!("signups closed at {}", rfc3339(terms.signup_closes_at)),
        }
    });
    let detail = detail.unwrap_or_else(|| "signups are not open".to_owned());
    Problem::new(Code::SignupClosed, detail)
}

fn no_tier(error: TierError) -> Problem {
    let code = match error {
        TierError::Missing => FaultCode::Missing,
        TierError::NoTiers => FaultCode::UnknownField,
        TierError::Unknown => FaultCode::UnknownValue,
    };
    Problem::fault("/fee_tier", code, error.to_string())
}

/// The most places of a leaderboard where the caller does not say.
const PLACES_DEFAULT: usize = 10;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlacesQuery {
    /// How many places, 1 to 100.
    #[param(minimum = 1, maximum = 100, default = 10)]
    limit: Option<usize>,
}

/// Show who has done most
///
/// By quantity, then by the time it was reached, then by signup id. For showing: nothing is paid
/// by it.
#[utoipa::path(
    get,
    path = "/v1/contests/{id}/leaderboard",
    tag = "contests",
    operation_id = "leaderboard",
    params(("id" = vocabulary::ContestId, Path, description = "The contest"), PlacesQuery),
    responses((status = 200, body = LeaderboardView, description = "The first places")),
    extensions(("x-role" = json!([Role::Player, Role::Operator])))
)]
pub(crate) async fn leaderboard(
    State(app): State<App>,
    _: Reader,
    Id(id): Id<ContestId>,
    Query(query): Query<PlacesQuery>,
) -> Result<Json<LeaderboardView>, Problem> {
    let limit = query.limit.unwrap_or(PLACES_DEFAULT);
    if !(1..=PLACES_MAX).contains(&limit) {
        return Err(Problem::fault(
            "/limit",
            FaultCode::OutOfRange,
            "must be from 1 to 100",
        ));
    }
    let contest = app.contests.visible(id).await?.ok_or_else(no_contest)?;
    let places = app.leaders.top(&*app.contests, &contest).await?;
    Ok(Json(LeaderboardView::from(
        &places[..limit.min(places.len())],
    )))
}

/// Show one's own place
#[utoipa::path(
    get,
    path = "/v1/contests/{id}/leaderboard/me",
    tag = "contests",
    operation_id = "own_place",
    params(("id" = vocabulary::ContestId, Path, description = "The contest")),
    responses((status = 200, body = OwnPlaceView, description = "The place; without a rank before anything was done")),
    extensions(("x-role" = json!([Role::Player, Role::Operator])), ("x-problems" = json!([Code::NotSignedUp])))
)]
pub(crate) async fn own_place(
    State(app): State<App>,
    Reader(user, _): Reader,
    Id(id): Id<ContestId>,
) -> Result<Json<OwnPlaceView>, Problem> {
    let contest = app.contests.visible(id).await?.ok_or_else(no_contest)?;
    let ports = app.contests.ports();
    if ports.signups.find(id, &user).await?.is_none() {
        return Err(not_signed_up());
    }
    let board = &*app.contests;
    let place = app.leaders.place_of(board, &contest, &user).await?;
    Ok(Json(OwnPlaceView::new(&user, place.as_ref())))
}

/// Show how a contest was settled
///
/// The frozen numbers and the SHA-256 of the settlement sheet, for everybody; its lines, page by
/// page, for operators.
#[utoipa::path(
    get,
    path = "/v1/contests/{id}/settlement",
    tag = "contests",
    operation_id = "settlement",
    params(("id" = vocabulary::ContestId, Path, description = "The contest"), PageQuery),
    responses((status = 200, body = SheetView, description = "The settlement; `lines` for operators alone")),
    extensions(("x-role" = json!([Role::Player, Role::Operator])), ("x-problems" = json!([Code::NotFrozenYet])))
)]
pub(crate) async fn settlement(
    State(app): State<App>,
    reader: Reader,
    Id(id): Id<ContestId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<SheetView>, Problem> {
    let (limit, after) = (page_size(query.limit)?, cursor(query.cursor.as_deref())?);
    let contest = app.contests.visible(id).await?.ok_or_else(no_contest)?;
    let Reader(_, role) = reader;
    let lines = match role {
        Role::Operator => {
            let contests = &app.contests.ports().contests;
            Some(contests.sheet(id, after, limit).await?)
        }
        Role::Player | Role::Service => None,
    };
    SheetView::new(&contest, lines)
        .map(Json)
        .ok_or_else(|| not_frozen_yet("the prizes are not decided yet"))
}

pub(crate) fn not_frozen_yet(detail: &str) -> Problem {
    Problem::new(Code::NotFrozenYet, detail)
}

fn not_signed_up() -> Problem {
    Problem::new(
        Code::NotSignedUp,
        "there is no signup of this viewer in this contest",
    )
}
