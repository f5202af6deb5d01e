//! What operators call.

use super::{PageQuery, cursor, filter, no_contest, page_size, signup_page};
use crate::{
    auth::{Operator, Role},
    extract::{Body, Id, IdempotencyKey, NoBody, Query},
    openapi::vocabulary,
    problem::{Code, FaultCode, Problem},
    state::App,
    wire::{ContestView, Items, NewContest, ReportView, SignupView, rfc3339},
};
use axum::{Json, extract::State, http::StatusCode};
use domain::{
    contest::Contest,
    ids::{ContestId, SignupId, UserId},
    signup::StateKind,
};
use ports::contests::CreationKey;
use serde::Deserialize;
use usecases::{Cancelled, Created, ParkedOutcome, Settled};
use utoipa::IntoParams;

/// Create a contest
///
/// Its pool account is opened, and filled where a pool is guaranteed, before it can be seen.
#[utoipa::path(
    post,
    path = "/v1/admin/contests",
    tag = "operations",
    operation_id = "create_contest",
    params(("Idempotency-Key" = inline(Option<vocabulary::IdempotencyKey>), Header, description = "A name of your own for this creation: a repeat with the same name and content answers the same contest")),
    request_body = NewContest,
    responses((status = 201, body = ContestView, description = "The contest; on a repeat under the same key too")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::IdempotencyConflict])))
)]
pub(crate) async fn create(
    State(app): State<App>,
    Operator(operator): Operator,
    IdempotencyKey(key): IdempotencyKey,
    Body(body): Body<NewContest>,
) -> Result<(StatusCode, Json<ContestView>), Problem> {
    let (title, terms) = body.parse()?;
    let has_key = key.is_some();
    let key = key.map(|key| CreationKey { operator, key });
    let created = app
        .run(|contests| async move { contests.create(title, terms, key).await })
        .await
        .map_err(|problem| match has_key {
            true => problem,
            false => problem.not_repeatable(
                "it is not known whether the contest was created; look at the list before you \
                 create it again, or send an Idempotency-Key",
            ),
        })?;
    match created {
        Created::Yes(contest) => Ok((StatusCode::CREATED, as_now(&app, &contest))),
        Created::TooLate => Err(Problem::fault(
            "/signup_closes_at",
            FaultCode::OutOfRange,
            "must be in the future",
        )),
        Created::TooLong(days) => Err(Problem::fault(
            "/claim_closes_at",
            FaultCode::OutOfRange,
            format!("must be at most {days} days from now (redis.contest_days_max)"),
        )),
        Created::KeyTaken(id) => Err(Problem::new(
            Code::IdempotencyConflict,
            format!("this Idempotency-Key was used for other content: contest {id}"),
        )),
    }
}

/// Report on a contest
///
/// Signups by state, coins in and out, every invariant, and what the reconciliation found.
#[utoipa::path(
    get,
    path = "/v1/admin/contests/{id}/report",
    tag = "operations",
    operation_id = "report",
    params(("id" = vocabulary::ContestId, Path, description = "The contest")),
    responses((status = 200, body = ReportView, description = "The report")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn report(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<ContestId>,
) -> Result<Json<ReportView>, Problem> {
    let report = app.contests.report(id).await?.ok_or_else(no_contest)?;
    Ok(Json(ReportView::new(
        &report,
        app.contests.ports().clock.now(),
    )))
}

/// Cancel a contest
///
/// Every fee goes back. Possible until the contest is frozen; a repeat changes nothing.
#[utoipa::path(
    post,
    path = "/v1/admin/contests/{id}/cancel",
    tag = "operations",
    operation_id = "cancel_contest",
    params(("id" = vocabulary::ContestId, Path, description = "The contest")),
    request_body(content = Option<vocabulary::NoFields>, description = "Nothing, or `{}`"),
    responses((status = 202, body = ContestView, description = "The contest, cancelling or cancelled")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::NotCancellable])))
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<ContestId>,
    _: NoBody,
) -> Result<(StatusCode, Json<ContestView>), Problem> {
    match app
        .run(|contests| async move { contests.cancel(id).await })
        .await?
    {
        Cancelled::Yes(contest) => Ok((StatusCode::ACCEPTED, as_now(&app, &contest))),
        Cancelled::TooLate(phase) => Err(Problem::new(
            Code::NotCancellable,
            format!("the contest is {}: its prizes are decided", phase.name()),
        )),
        Cancelled::NoContest => Err(no_contest()),
    }
}

/// Settle a contest now
///
/// Does at once what happens by itself within two seconds.
#[utoipa::path(
    post,
    path = "/v1/admin/contests/{id}/settle",
    tag = "operations",
    operation_id = "settle_contest",
    params(("id" = vocabulary::ContestId, Path, description = "The contest")),
    request_body(content = Option<vocabulary::NoFields>, description = "Nothing, or `{}`"),
    responses((status = 202, body = ContestView, description = "The contest as far as it came")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::NotDue])))
)]
pub(crate) async fn settle(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<ContestId>,
    _: NoBody,
) -> Result<(StatusCode, Json<ContestView>), Problem> {
    match app
        .run(|contests| async move { contests.settle(id).await })
        .await?
    {
        Settled::Yes(contest) => Ok((StatusCode::ACCEPTED, as_now(&app, &contest))),
        Settled::NotDue(at) => Err(Problem::new(
            Code::NotDue,
            format!(
                "nothing is due before {}, the end of the tasks and the grace",
                rfc3339(at)
            ),
        )),
        Settled::NoContest => Err(no_contest()),
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignupsQuery {
    /// Only the signup of this viewer.
    #[param(inline, value_type = Option<vocabulary::UserId>)]
    user_id: Option<String>,
    /// Only signups in this state.
    #[param(inline, value_type = Option<vocabulary::SignupState>)]
    state: Option<String>,
    /// How many items, 1 to 1,000.
    #[param(minimum = 1, maximum = 1_000, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(inline, value_type = Option<vocabulary::Cursor>)]
    cursor: Option<String>,
}

/// List the signups of a contest
#[utoipa::path(
    get,
    path = "/v1/admin/contests/{id}/signups",
    tag = "operations",
    operation_id = "list_signups",
    params(("id" = vocabulary::ContestId, Path, description = "The contest"), SignupsQuery),
    responses((status = 200, body = Items<SignupView>, description = "A page; the next one begins at `next_cursor`")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn signups(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<ContestId>,
    Query(query): Query<SignupsQuery>,
) -> Result<Json<Items<SignupView>>, Problem> {
    let user: Option<UserId> = filter("/user_id", query.user_id.as_deref())?;
    let unknown = || Problem::fault("/state", FaultCode::UnknownValue, "is not a state");
    let states = match query.state.as_deref() {
        Some(text) => vec![StateKind::named(text).ok_or_else(unknown)?],
        None => Vec::new(),
    };
    let (limit, after) = (page_size(query.limit)?, cursor(query.cursor.as_deref())?);
    let ports = app.contests.ports();
    let contest = ports.contests.get(id).await?.ok_or_else(no_contest)?;
    let (found, next) = match user {
        Some(user) => {
            let found = ports.signups.find(id, &user).await?;
            let wanted =
                found.filter(|signup| states.is_empty() || states.contains(&signup.state.kind()));
            (wanted.into_iter().collect(), None)
        }
        None => {
            let page = ports.signups.page(id, &states, after, limit).await?;
            (page.items, page.next)
        }
    };
    let seen = app.contests.look(&contest, found).await?;
    Ok(Json(Items {
        items: seen.iter().map(SignupView::new).collect(),
        next_cursor: next.map(|id| id.to_string()),
    }))
}

/// List parked payments
///
/// Signups whose prize or refund the funds system refused because of its receiver.
#[utoipa::path(
    get,
    path = "/v1/admin/parked",
    tag = "operations",
    operation_id = "list_parked",
    params(PageQuery),
    responses((status = 200, body = Items<SignupView>, description = "A page; the next one begins at `next_cursor`")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn parked(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<PageQuery>,
) -> Result<Json<Items<SignupView>>, Problem> {
    let (limit, after) = (page_size(query.limit)?, cursor(query.cursor.as_deref())?);
    let signups = &app.contests.ports().signups;
    let page = signups.parked(after, limit).await?;
    signup_page(&app, page).await
}

/// Try a parked payment again
///
/// Under the same order id, so it is paid at most once.
#[utoipa::path(
    post,
    path = "/v1/admin/parked/{id}/retry",
    tag = "operations",
    operation_id = "retry_parked",
    params(("id" = vocabulary::SignupId, Path, description = "The signup")),
    request_body(content = Option<vocabulary::NoFields>, description = "Nothing, or `{}`"),
    responses((status = 200, body = SignupView, description = "The signup after the try")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::NotParked])))
)]
pub(crate) async fn retry(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<SignupId>,
    _: NoBody,
) -> Result<Json<SignupView>, Problem> {
    unparked(
        app.run(|contests| async move { contests.retry_parked(id).await })
            .await?,
    )
}

/// Redirect a parked payment
///
/// To `platform/holding`, under the same order id, so at most one of the two is paid.
#[utoipa::path(
    post,
    path = "/v1/admin/parked/{id}/redirect",
    tag = "operations",
    operation_id = "redirect_parked",
    params(("id" = vocabulary::SignupId, Path, description = "The signup")),
    request_body(content = Option<vocabulary::NoFields>, description = "Nothing, or `{}`"),
    responses((status = 200, body = SignupView, description = "The signup after the try")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::NotParked])))
)]
pub(crate) async fn redirect(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<SignupId>,
    _: NoBody,
) -> Result<Json<SignupView>, Problem> {
    unparked(
        app.run(|contests| async move { contests.redirect_parked(id).await })
            .await?,
    )
}

fn unparked(outcome: ParkedOutcome) -> Result<Json<SignupView>, Problem> {
    match outcome {
        ParkedOutcome::Tried(seen) => Ok(Json(SignupView::new(&seen))),
        ParkedOutcome::NotParked => Err(Problem::new(
            Code::NotParked,
            "this signup has no parked payment",
        )),
        ParkedOutcome::NoSignup => Err(Problem::new(Code::NotFound, "there is no such signup")),
    }
}

/// A contest as it stands now.
pub(super) fn as_now(app: &App, contest: &Contest) -> Json<ContestView> {
    Json(ContestView::new(contest, app.contests.ports().clock.now()))
}
