//! What operators call.

use super::{PageQuery, cursor, filter, no_contest, page_size, signup_page};
use crate::{
    auth::Operator,
    extract::{Body, Id, IdempotencyKey, NoBody, Query},
    problem::Problem,
    state::App,
    wire::{ContestView, FindingView, Items, NewContest, ReportView, SignupView, rfc3339},
};
use axum::{Json, extract::State, http::StatusCode};
use domain::{
    contest::Contest,
    ids::{ContestId, SignupId, UserId},
    signup::StateKind,
};
use ports::{contests::CreationKey, findings::FindingFilter};
use serde::Deserialize;
use usecases::{Cancelled, Created, ParkedOutcome, Settled};

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
            "out_of_range",
            "must be in the future",
        )),
        Created::KeyTaken(id) => Err(Problem::conflict(
            "idempotency_conflict",
            format!("this Idempotency-Key was used for other content: contest {id}"),
        )),
    }
}

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
        Cancelled::TooLate(phase) => Err(Problem::conflict(
            "not_cancellable",
            format!("the contest is {}: its prizes are decided", phase.name()),
        )),
        Cancelled::NoContest => Err(no_contest()),
    }
}

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
        Settled::NotDue(at) => Err(Problem::conflict(
            "not_due",
            format!(
                "nothing is due before {}, the end of the tasks and the grace",
                rfc3339(at)
            ),
        )),
        Settled::NoContest => Err(no_contest()),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignupsQuery {
    user_id: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(crate) async fn signups(
    State(app): State<App>,
    _: Operator,
    Id(id): Id<ContestId>,
    Query(query): Query<SignupsQuery>,
) -> Result<Json<Items<SignupView>>, Problem> {
    let user: Option<UserId> = filter("/user_id", query.user_id.as_deref())?;
    let unknown = || Problem::fault("/state", "unknown_value", "is not a state");
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindingsQuery {
    contest_id: Option<String>,
    status: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

pub(crate) async fn findings(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<FindingsQuery>,
) -> Result<Json<Items<FindingView>>, Problem> {
    let contest = filter("/contest_id", query.contest_id.as_deref())?;
    let open = match query.status.as_deref() {
        None | Some("all") => None,
        Some("open") => Some(true),
        Some("settled") => Some(false),
        Some(_) => {
            return Err(Problem::fault(
                "/status",
                "unknown_value",
                "must be open, settled or all",
            ));
        }
    };
    let filter = FindingFilter { contest, open };
    let (limit, after) = (page_size(query.limit)?, cursor(query.cursor.as_deref())?);
    let page = app
        .contests
        .ports()
        .findings
        .list(filter, after, limit)
        .await?;
    Ok(Json(Items {
        items: page.items.iter().map(FindingView::from).collect(),
        next_cursor: page.next.map(|id| id.to_string()),
    }))
}

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
        ParkedOutcome::NotParked => Err(Problem::conflict(
            "not_parked",
            "this signup has no parked payment",
        )),
        ParkedOutcome::NoSignup => Err(Problem::not_found("not_found", "there is no such signup")),
    }
}

/// A contest as it stands now.
fn as_now(app: &App, contest: &Contest) -> Json<ContestView> {
    Json(ContestView::new(contest, app.contests.ports().clock.now()))
}
