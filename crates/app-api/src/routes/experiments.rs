//! What operators call about experiments.

use super::{PageQuery, cursor, page_size};
use crate::{
    auth::{Operator, Role},
    extract::{Body, Id, Query},
    openapi::vocabulary,
    problem::{Code, FaultCode, Problem},
    state::App,
    wire::{
        ExperimentChangeView, ExperimentView, Items, NewDefinition, NewExperiment, NewRamp,
        NewStop, ResultsView,
    },
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use domain::{
    assignment::Assignments,
    experiment::{ExperimentError, ExperimentFact},
    ids::{ExperimentName, UserId},
};
use serde::Deserialize;
use std::sync::Arc;
use usecases::experiments::{Changed, Made};
use utoipa::IntoParams;

/// Make an experiment
///
/// It is a draft: it can be changed, and nobody meets it before it is started.
#[utoipa::path(
    post,
    path = "/v1/admin/experiments",
    tag = "experiments",
    operation_id = "make_experiment",
    request_body = NewExperiment,
    responses((status = 201, body = ExperimentView, description = "The draft")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::ExperimentExists])))
)]
pub(crate) async fn make(
    State(app): State<App>,
    Operator(by): Operator,
    Body(body): Body<NewExperiment>,
) -> Result<(StatusCode, Json<ExperimentView>), Problem> {
    let (name, definition) = body.parse()?;
    let made = app
        .run(|contests| async move { contests.make_experiment(name, definition, by).await })
        .await
        .map_err(|problem| {
            problem.not_repeatable(
                "it is not known whether the experiment was made; look at the list before you make it again",
            )
        })?;
    match made {
        Made::Yes(experiment) => Ok((StatusCode::CREATED, Json((&experiment).into()))),
        Made::NameTaken => Err(Problem::new(
            Code::ExperimentExists,
            "there is an experiment of this name",
        )),
    }
}

/// List experiments
///
/// By name.
#[utoipa::path(
    get,
    path = "/v1/admin/experiments",
    tag = "experiments",
    operation_id = "list_experiments",
    params(PageQuery),
    responses((status = 200, body = Items<ExperimentView>, description = "A page; the next one begins at `next_cursor`")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
    Query(query): Query<PageQuery>,
) -> Result<Json<Items<ExperimentView>>, Problem> {
    let (limit, after) = (page_size(query.limit)?, cursor(query.cursor.as_deref())?);
    let experiments = &app.contests.ports().experiments;
    let page = experiments.experiments(after, limit).await?;
    Ok(Json(Items {
        items: page.items.iter().map(ExperimentView::from).collect(),
        next_cursor: page.next.map(|name| name.to_string()),
    }))
}

/// Look at an experiment
#[utoipa::path(
    get,
    path = "/v1/admin/experiments/{name}",
    tag = "experiments",
    operation_id = "experiment",
    params(("name" = vocabulary::ExperimentName, Path, description = "The experiment")),
    responses((status = 200, body = ExperimentView, description = "The experiment")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn look(
    State(app): State<App>,
    _: Operator,
    Id(name): Id<ExperimentName>,
) -> Result<Json<ExperimentView>, Problem> {
    let experiment = app.contests.ports().experiments.experiment(&name).await?;
    let experiment = experiment.ok_or_else(no_experiment)?;
    Ok(Json((&experiment).into()))
}

/// Change a draft
///
/// What an experiment is does not change any more once it has started.
#[utoipa::path(
    put,
    path = "/v1/admin/experiments/{name}",
    tag = "experiments",
    operation_id = "redefine_experiment",
    params(("name" = vocabulary::ExperimentName, Path, description = "The experiment")),
    request_body = NewDefinition,
    responses((status = 200, body = ExperimentView, description = "The draft")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::ExperimentStarted])))
)]
pub(crate) async fn redefine(
    State(app): State<App>,
    Operator(by): Operator,
    Id(name): Id<ExperimentName>,
    Body(body): Body<NewDefinition>,
) -> Result<Json<ExperimentView>, Problem> {
    let fact = ExperimentFact::Redefined(Box::new(body.parse()?));
    change(&app, name, fact, by, "redefined".to_owned()).await
}

/// Start an experiment
///
/// From then on so many of the units meet it. Two experiments that run never change the same term of the same
/// contests.
#[utoipa::path(
    post,
    path = "/v1/admin/experiments/{name}/start",
    tag = "experiments",
    operation_id = "start_experiment",
    params(("name" = vocabulary::ExperimentName, Path, description = "The experiment")),
    request_body = NewRamp,
    responses((status = 200, body = ExperimentView, description = "The experiment, running")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::ExperimentStarted, Code::ExperimentOverlaps, Code::ExperimentOver, Code::TooManyExperiments])))
)]
pub(crate) async fn start(
    State(app): State<App>,
    Operator(by): Operator,
    Id(name): Id<ExperimentName>,
    Body(body): Body<NewRamp>,
) -> Result<Json<ExperimentView>, Problem> {
    let (ramp, reason) = body.parse()?;
    change(&app, name, ExperimentFact::Started(ramp), by, reason).await
}

/// Let more units take part
///
/// None of those who take part moves to another variant.
#[utoipa::path(
    post,
    path = "/v1/admin/experiments/{name}/ramp",
    tag = "experiments",
    operation_id = "ramp_experiment",
    params(("name" = vocabulary::ExperimentName, Path, description = "The experiment")),
    request_body = NewRamp,
    responses((status = 200, body = ExperimentView, description = "The experiment")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::ExperimentNotRunning, Code::RampNotUp])))
)]
pub(crate) async fn ramp(
    State(app): State<App>,
    Operator(by): Operator,
    Id(name): Id<ExperimentName>,
    Body(body): Body<NewRamp>,
) -> Result<Json<ExperimentView>, Problem> {
    let (ramp, reason) = body.parse()?;
    change(&app, name, ExperimentFact::Ramped(ramp), by, reason).await
}

/// Stop an experiment, or one arm of it
///
/// Nobody new meets what is stopped; contests and signups that have its variant keep it.
#[utoipa::path(
    post,
    path = "/v1/admin/experiments/{name}/stop",
    tag = "experiments",
    operation_id = "stop_experiment",
    params(("name" = vocabulary::ExperimentName, Path, description = "The experiment")),
    request_body = NewStop,
    responses((status = 200, body = ExperimentView, description = "The experiment")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::ExperimentNotRunning])))
)]
pub(crate) async fn stop(
    State(app): State<App>,
    Operator(by): Operator,
    Id(name): Id<ExperimentName>,
    Body(body): Body<NewStop>,
) -> Result<Json<ExperimentView>, Problem> {
    let (variant, reason) = body.parse()?;
    let fact = match variant {
        Some(variant) => ExperimentFact::ArmStopped(variant, reason.clone()),
        None => ExperimentFact::Stopped(reason.clone()),
    };
    change(&app, name, fact, by, reason).await
}

/// List changes of an experiment
///
/// Who did what, and why; newest first.
#[utoipa::path(
    get,
    path = "/v1/admin/experiments/{name}/changes",
    tag = "experiments",
    operation_id = "list_experiment_changes",
    params(("name" = vocabulary::ExperimentName, Path, description = "The experiment"), PageQuery),
    responses((status = 200, body = Items<ExperimentChangeView>, description = "A page; the next one begins at `next_cursor`")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn changes(
    State(app): State<App>,
    _: Operator,
    Id(name): Id<ExperimentName>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Items<ExperimentChangeView>>, Problem> {
    let (limit, after) = (page_size(query.limit)?, cursor(query.cursor.as_deref())?);
    let experiments = &app.contests.ports().experiments;
    if experiments.experiment(&name).await?.is_none() {
        return Err(no_experiment());
    }
    let page = experiments.experiment_changes(&name, after, limit).await?;
    Ok(Json(Items {
        items: page.items.iter().map(ExperimentChangeView::from).collect(),
        next_cursor: page.next.map(|version| version.to_string()),
    }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResultsQuery {
    /// JSON where it is left out.
    #[param(inline, value_type = Option<vocabulary::ResultsFormat>)]
    format: Option<String>,
}

/// Show the results of an experiment
///
/// Everybody who met it when the count began (`counted_at`), and some who came during it; verdicts hold however often
/// they are looked at. Everybody is read, which takes a minute or so where a million have met it: who asks meanwhile
/// gets 503 with `Retry-After`, and the count goes on. Results are then answered again for ten times as long as that
/// took, but not beyond the experiment's next change.
#[utoipa::path(
    get,
    path = "/v1/admin/experiments/{name}/results",
    tag = "experiments",
    operation_id = "experiment_results",
    params(("name" = vocabulary::ExperimentName, Path, description = "The experiment"), ResultsQuery),
    responses((status = 200, description = "The results", content((ResultsView = "application/json"), (String = "text/csv")))),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn results(
    State(app): State<App>,
    _: Operator,
    Id(name): Id<ExperimentName>,
    Query(query): Query<ResultsQuery>,
) -> Result<Response, Problem> {
    let is_csv = match query.format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(_) => {
            return Err(Problem::fault(
                "/format",
                FaultCode::UnknownValue,
                "must be json or csv",
            ));
        }
    };
    let counted = Arc::clone(&app.results);
    let (results, counted_at) = app
        .run(|contests| async move {
            let stored = &contests.ports().experiments;
            let Some(experiment) = stored.experiment(&name).await? else {
                return Ok(None);
            };
            let asked = (name, experiment.version);
            let count = async || {
                let began = contests.ports().clock.now();
                let results = experiments::results(&**stored, experiment).await?;
                Ok((Arc::new(results), began))
            };
            Ok(Some(counted.answer(asked, count).await?))
        })
        .await?
        .ok_or_else(no_experiment)?;
    if is_csv {
        let kind = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
        return Ok((kind, experiments::report::csv(&results)).into_response());
    }
    Ok(Json(ResultsView::new(&results, counted_at)).into_response())
}

async fn change(
    app: &App,
    name: ExperimentName,
    fact: ExperimentFact,
    by: UserId,
    reason: String,
) -> Result<Json<ExperimentView>, Problem> {
    let changed = app
        .run(|contests| async move {
            contests
                .change_experiment(&name, fact, Some(by), reason)
                .await
        })
        .await?;
    match changed {
        Changed::Yes(experiment) => Ok(Json((&experiment).into())),
        Changed::Missing => Err(no_experiment()),
        Changed::Overlaps(other, field) => Err(Problem::new(
            Code::ExperimentOverlaps,
            format!("{other} runs and changes {field} of the same contests"),
        )),
        Changed::TooMany => Err(Problem::new(
            Code::TooManyExperiments,
            format!(
                "{} experiments run, which is as many as may",
                Assignments::MAX
            ),
        )),
        Changed::No(error) => Err(match error {
            ExperimentError::Started => Problem::new(Code::ExperimentStarted, error.to_string()),
            ExperimentError::NotRunning => {
                Problem::new(Code::ExperimentNotRunning, error.to_string())
            }
            ExperimentError::RampNotUp => Problem::new(Code::RampNotUp, error.to_string()),
            ExperimentError::Over => Problem::new(Code::ExperimentOver, error.to_string()),
            ExperimentError::NoArm => {
                Problem::fault("/variant", FaultCode::UnknownValue, error.to_string())
            }
        }),
    }
}

fn no_experiment() -> Problem {
    Problem::new(Code::NotFound, "there is no such experiment")
}
