//! What operators call about the reconciliation: runs, findings, and what is decided about these.

use super::{PageQuery, admin::as_now, cursor, filter, no_contest, page_size};
use crate::{
    auth::{Operator, Role},
    extract::{Body, Id, NoBody, OptionalBody, Query},
    openapi::vocabulary,
    problem::{Code, FaultCode, Problem},
    state::App,
    wire::{
        FindingDetail, FindingView, Items, NewOverride, NewResolution, NewRun, OverrideView,
        RunDetail, RunView,
    },
};
use axum::{Json, extract::State, http::StatusCode};
use domain::ids::{ContestId, FindingId, RunId};
use ports::{
    findings::{Finding, FindingFilter, Resolution, Resolved},
    reconciliations::Run,
};
use serde::Deserialize;
use std::time::Duration;
use usecases::{overrides::Overridden, runs::Asked, verdict::Repaired};
use utoipa::IntoParams;
use uuid::Uuid;

/// How long a call waits for the run that it asked for; what takes longer goes on without it.
const PATIENCE: Duration = Duration::from_secs(3);
/// The findings that a run shows where the caller does not say.
const FINDINGS_DEFAULT: usize = 50;

/// Reconcile
///
/// Compares signups and transfers, of one contest or of all of them, both ways, and repairs what can be
/// repaired within the limits. A run that takes longer than a moment goes on by itself: ask for it
/// again.
#[utoipa::path(
    post,
    path = "/v1/admin/reconciliations",
    tag = "operations",
    operation_id = "reconcile",
    request_body = Option<NewRun>,
    responses((status = 202, body = RunDetail, description = "The run as far as it came, and what it found")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::NotFound])))
)]
pub(crate) async fn begin(
    State(app): State<App>,
    Operator(operator): Operator,
    OptionalBody(body): OptionalBody<NewRun>,
) -> Result<(StatusCode, Json<RunDetail>), Problem> {
    let (scope, is_dry) = body.parse()?;
    let asked = Asked {
        scope,
        by: Some(operator),
        is_dry,
    };
    let run = app
        .run(|contests| async move { contests.ask_for_run(asked).await })
        .await?
        .ok_or_else(no_contest)?;
    let contests = std::sync::Arc::clone(&app.contests);
    let id = run.id;
    // It outlives this call; should this node die, the next one to look carries it on.
    let carried = app.flows.spawn(async move {
        if let Err(error) = contests.carry_on(id).await {
            tracing::warn!(
                run.id = %id, error = &error as &dyn std::error::Error,
                "a reconciliation stopped; it is carried on"
            );
        }
    });
    let _ = tokio::time::timeout(PATIENCE, carried).await;
    let detail = detail(&app, id, FINDINGS_DEFAULT, None).await?;
    Ok((StatusCode::ACCEPTED, Json(detail)))
}

/// List runs of the reconciliation
///
/// Newest first.
#[utoipa::path(
    get,
    path = "/v1/admin/reconciliations",
    tag = "operations",
    operation_id = "list_reconciliations",
    params(PageQuery),
    responses((status = 200, body = Items<RunView>, description = "A page; the next one begins at `next_cursor`")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn runs(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<PageQuery>,
) -> Result<Json<Items<RunView>>, Problem> {
    let (limit, after) = (page_size(query.limit)?, cursor(query.cursor.as_deref())?);
    let records = &app.contests.ports().reconciliations;
    let page = records.runs(after, limit).await?;
    Ok(Json(Items {
        items: page.items.iter().map(RunView::from).collect(),
        next_cursor: page.next.map(|id| id.to_string()),
    }))
}

/// Look at a run of the reconciliation
///
/// How far it came, and what it found.
#[utoipa::path(
    get,
    path = "/v1/admin/reconciliations/{id}",
    tag = "operations",
    operation_id = "reconciliation",
    params(("id" = vocabulary::RunId, Path, description = "The run"), PageQuery),
    responses((status = 200, body = RunDetail, description = "The run, and a page of what it found; the next one begins at `next_cursor`")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn run(
    State(app): State<App>,
    _: Operator,
    Id(RunId(id)): Id<RunId>,
    Query(query): Query<PageQuery>,
) -> Result<Json<RunDetail>, Problem> {
    let (limit, after) = (page_size(query.limit)?, cursor(query.cursor.as_deref())?);
    detail(&app, id, limit, after).await.map(Json)
}

async fn detail(
    app: &App,
    id: Uuid,
    limit: usize,
    after: Option<Uuid>,
) -> Result<RunDetail, Problem> {
    let records = &app.contests.ports().reconciliations;
    let run: Run = records
        .run(id)
        .await?
        .ok_or_else(|| Problem::new(Code::NotFound, "there is no such run"))?;
    let page = records.run_findings(id, after, limit).await?;
    Ok(RunDetail::new(&run, &page))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct FindingsQuery {
    /// Only those of this contest.
    #[param(inline, value_type = Option<vocabulary::ContestId>)]
    contest_id: Option<String>,
    /// Only those that are open or settled; all where it is left out.
    #[param(inline, value_type = Option<vocabulary::FindingStatus>)]
    status: Option<String>,
    /// How many items, 1 to 1,000.
    #[param(minimum = 1, maximum = 1_000, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(inline, value_type = Option<vocabulary::Cursor>)]
    cursor: Option<String>,
}

/// List findings
///
/// Differences between our rows and the funds system.
#[utoipa::path(
    get,
    path = "/v1/admin/findings",
    tag = "operations",
    operation_id = "list_findings",
    params(FindingsQuery),
    responses((status = 200, body = Items<FindingView>, description = "A page; the next one begins at `next_cursor`")),
    extensions(("x-role" = json!([Role::Operator])))
)]
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
                FaultCode::UnknownValue,
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

/// Look at a finding
///
/// What both sides said, and every repair that was made.
#[utoipa::path(
    get,
    path = "/v1/admin/findings/{id}",
    tag = "operations",
    operation_id = "finding",
    params(("id" = vocabulary::FindingId, Path, description = "The finding")),
    responses((status = 200, body = FindingDetail, description = "The finding and its repairs")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn finding(
    State(app): State<App>,
    _: Operator,
    Id(FindingId(id)): Id<FindingId>,
) -> Result<Json<FindingDetail>, Problem> {
    let found = app.contests.ports().findings.finding(id).await?;
    let found = found.ok_or_else(no_finding)?;
    with_repairs(&app, &found).await.map(Json)
}

/// Resolve a finding
///
/// Settles it with a note because a person says so. It is not raised again while it looks the same.
#[utoipa::path(
    post,
    path = "/v1/admin/findings/{id}/resolve",
    tag = "operations",
    operation_id = "resolve_finding",
    params(("id" = vocabulary::FindingId, Path, description = "The finding")),
    request_body = NewResolution,
    responses((status = 200, body = FindingView, description = "The finding, settled")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::AlreadySettled])))
)]
pub(crate) async fn resolve(
    State(app): State<App>,
    Operator(by): Operator,
    Id(FindingId(id)): Id<FindingId>,
    Body(body): Body<NewResolution>,
) -> Result<Json<FindingView>, Problem> {
    let note = body.parse()?;
    let resolution = Resolution { by, note };
    match app
        .run(|contests| async move { contests.resolve(id, &resolution).await })
        .await?
    {
        Resolved::Yes(finding) => Ok(Json(FindingView::from(&finding))),
        Resolved::Before(finding) => Err(settled_before(&finding)),
        Resolved::Missing => Err(no_finding()),
    }
}

/// Override the freeze
///
/// For a contest whose books do not balance, or with signups that nothing can decide: the findings named are
/// resolved with the reason, the signups that they block are decided (what really moved goes back), and,
/// where a finding says that the pool differs, the contest is settled from the smaller of books and
/// balance; what is too much leaves with the sweep. A repeat changes nothing.
#[utoipa::path(
    post,
    path = "/v1/admin/contests/{id}/override",
    tag = "operations",
    operation_id = "override_freeze",
    params(("id" = vocabulary::ContestId, Path, description = "The contest")),
    request_body = NewOverride,
    responses((status = 200, body = OverrideView, description = "What was decided")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::NotOverridable, Code::AlreadySettled])))
)]
pub(crate) async fn override_freeze(
    State(app): State<App>,
    Operator(by): Operator,
    Id(id): Id<ContestId>,
    Body(body): Body<NewOverride>,
) -> Result<Json<OverrideView>, Problem> {
    let (named, expected, note) = body.parse()?;
    let resolution = Resolution { by, note };
    let asked = named.clone();
    match app
        .run(|contests| async move {
            contests
                .override_freeze(id, &named, expected, &resolution)
                .await
        })
        .await?
    {
        Overridden::Yes(accepted) => {
            let Json(contest) = as_now(&app, &accepted.contest);
            Ok(Json(OverrideView::new(&accepted, contest)))
        }
        Overridden::NoContest => Err(no_contest()),
        Overridden::NotSettling(phase) => Err(Problem::new(
            Code::NotOverridable,
            format!("the contest is {}", phase.name()),
        )),
        Overridden::NoFinding(finding) => {
            let index = asked.iter().position(|one| *one == finding);
            Err(Problem::fault(
                format!("/finding_ids/{}", index.unwrap_or_default()),
                FaultCode::UnknownValue,
                "must be a finding of this contest",
            ))
        }
        Overridden::Settled(finding) => Err(settled_before(&finding)),
        Overridden::GapIs(gap) => Err(Problem::new(
            Code::NotOverridable,
            format!("the gap between pool and rows is {gap} coins now"),
        )),
    }
}

/// Repair what a finding tells
///
/// Judges both sides again, and mends through the same steps as everything else, under the orders that
/// there always were: nothing can be paid twice. A finding that stays open afterwards waits for
/// something that the answer's evidence names.
#[utoipa::path(
    post,
    path = "/v1/admin/findings/{id}/repair",
    tag = "operations",
    operation_id = "repair_finding",
    params(("id" = vocabulary::FindingId, Path, description = "The finding")),
    request_body(content = Option<vocabulary::NoFields>, description = "Nothing, or `{}`"),
    responses((status = 200, body = FindingDetail, description = "The finding after the repair, and its repairs")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::AlreadySettled, Code::NotRepairable])))
)]
pub(crate) async fn repair(
    State(app): State<App>,
    Operator(by): Operator,
    Id(FindingId(id)): Id<FindingId>,
    _: NoBody,
) -> Result<Json<FindingDetail>, Problem> {
    match app
        .run(|contests| async move { contests.repair_finding(id, by).await })
        .await?
    {
        Repaired::Yes(finding) => with_repairs(&app, &finding).await.map(Json),
        Repaired::No(why) => Err(Problem::new(Code::NotRepairable, why)),
        Repaired::Before(finding) => Err(settled_before(&finding)),
        Repaired::Missing => Err(no_finding()),
    }
}

async fn with_repairs(app: &App, finding: &Finding) -> Result<FindingDetail, Problem> {
    let records = &app.contests.ports().reconciliations;
    let repairs = records.repairs(finding.id).await?;
    Ok(FindingDetail::new(finding, &repairs))
}

fn no_finding() -> Problem {
    Problem::new(Code::NotFound, "there is no such finding")
}

fn settled_before(finding: &Finding) -> Problem {
    let detail = match &finding.resolution {
        Some(said) => format!("{} has resolved it", said.by),
        None => "it is no longer true".to_owned(),
    };
    Problem::new(Code::AlreadySettled, detail)
}
