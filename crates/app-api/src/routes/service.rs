//! What other systems call: events, sandbox coins, readiness.

use crate::{
    auth::{Operator, Role, Sender},
    extract::{Body, Id, parse_id},
    openapi::vocabulary,
    problem::{Code, FaultCode, Problem},
    state::App,
    wire::{EventBody, GrantBody, Recorded, SandboxAccount, parse_events},
};
use axum::{Json, extract::State};
use domain::{
    ids::{GrantId, UserId},
    money::Coins,
    transfer::Refusal,
};
use usecases::{Failure, Granted};

/// Record events
///
/// 1 to 1,000 at once. One that cannot be taken does not fail the others; a repeat is counted as a duplicate.
#[utoipa::path(
    post,
    path = "/v1/task-events",
    tag = "events",
    operation_id = "record_events",
    request_body(content = vocabulary::EventBatch, description = "1 to 1,000 events"),
    responses((status = 200, body = Recorded, description = "What became of each")),
    extensions(("x-role" = json!([Role::Service])))
)]
pub(crate) async fn record(
    State(app): State<App>,
    Sender(sender): Sender,
    Body(batch): Body<Vec<EventBody>>,
) -> Result<Json<Recorded>, Problem> {
    app.takes_events()?;
    let events = parse_events(batch)?;
    let recorded = app
        .run(|contests| async move {
            let outcomes = contests.ports().events.record(&sender, &events).await?;
            Ok::<_, Failure>(Recorded::new(&events, &outcomes))
        })
        .await?;
    Ok(Json(recorded))
}

/// Grant coins to a viewer
///
/// Once for each `grant_id`, however often it is repeated.
#[utoipa::path(
    post,
    path = "/v1/sandbox/accounts/{user}/grant",
    tag = "sandbox",
    operation_id = "grant_coins",
    params(("user" = vocabulary::UserId, Path, description = "The viewer")),
    request_body = GrantBody,
    responses((status = 200, body = SandboxAccount, description = "The account afterwards")),
    extensions(("x-role" = json!([Role::Operator])), ("x-problems" = json!([Code::GrantConflict, Code::BalanceLimit, Code::GrantRefused])))
)]
pub(crate) async fn grant(
    State(app): State<App>,
    _: Operator,
    Id(user): Id<UserId>,
    Body(body): Body<GrantBody>,
) -> Result<Json<SandboxAccount>, Problem> {
    app.in_sandbox()?;
    let grant: GrantId = parse_id(&body.grant_id)
        .map_err(|error| Problem::fault("/grant_id", FaultCode::InvalidId, error.to_string()))?;
    let amount = Coins::new(body.amount)
        .ok()
        .filter(|amount| !amount.is_zero())
        .ok_or_else(|| {
            Problem::fault(
                "/amount",
                FaultCode::OutOfRange,
                "must be from 1 to 9007199254740991",
            )
        })?;
    let user_id = user.to_string();
    match app
        .run(|contests| async move { contests.grant(&user, amount, grant).await })
        .await?
    {
        Granted::Yes(balance) => Ok(Json(SandboxAccount { user_id, balance })),
        Granted::Conflict => Err(Problem::new(
            Code::GrantConflict,
            "this grant id was used for another account or amount",
        )),
        Granted::Refused(Refusal::BalanceLimit) => Err(Problem::new(
            Code::BalanceLimit,
            "the account cannot take that many coins",
        )),
        Granted::Refused(reason) => Err(Problem::new(
            Code::GrantRefused,
            format!("the funds system says {}", reason.name()),
        )),
        Granted::Unknown => Err(Problem::new(
            Code::Unavailable,
            "the outcome is not known; repeat the request with the same grant id",
        )
        .retry_after(1)),
    }
}

/// Show a viewer's account
#[utoipa::path(
    get,
    path = "/v1/sandbox/accounts/{user}",
    tag = "sandbox",
    operation_id = "get_account",
    params(("user" = vocabulary::UserId, Path, description = "The viewer")),
    responses((status = 200, body = SandboxAccount, description = "The account")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn balance(
    State(app): State<App>,
    _: Operator,
    Id(user): Id<UserId>,
) -> Result<Json<SandboxAccount>, Problem> {
    app.in_sandbox()?;
    let balance = app.contests.sandbox_balance(&user).await?;
    let balance =
        balance.ok_or_else(|| Problem::new(Code::NotFound, "there is no such account"))?;
    Ok(Json(SandboxAccount {
        user_id: user.to_string(),
        balance,
    }))
}

/// Is it alive?
///
/// Answers as long as the process serves at all.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "service",
    operation_id = "healthz",
    responses((status = 200, body = String, content_type = "text/plain", description = "Alive")),
)]
pub(crate) async fn alive() -> &'static str {
    "ok"
}

/// Is it ready?
///
/// Ready when the store can write, the funds system answers, and the server is not about to stop. The text says
/// whether the switches are older than they should be.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "service",
    operation_id = "readyz",
    responses((status = 200, body = String, content_type = "text/plain", description = "Ready")),
)]
pub(crate) async fn ready(State(app): State<App>) -> Result<String, Problem> {
    if app.edge.stopping.is_cancelled() {
        return Err(Problem::new(Code::Unavailable, "the server stops").retry_after(1));
    }
    app.readiness.check().await?;
    Ok(app.contests.readiness())
}
