//! What other systems call: events, sandbox coins, readiness.

use crate::{
    auth::{Operator, Sender},
    extract::{Body, Id},
    problem::Problem,
    state::App,
    wire::{EventBody, GrantBody, Recorded, SandboxAccount, parse_events},
};
use axum::{Json, extract::State, http::StatusCode};
use domain::{
    ids::{GrantId, UserId},
    money::Coins,
};
use usecases::{Failure, Granted};

pub(crate) async fn record(
    State(app): State<App>,
    Sender(sender): Sender,
    Body(batch): Body<Vec<EventBody>>,
) -> Result<Json<Recorded>, Problem> {
    let events = parse_events(batch)?;
    let recorded = app
        .run(|contests| async move {
            let outcomes = contests.ports().events.record(&sender, &events).await?;
            Ok::<_, Failure>(Recorded::new(&events, &outcomes))
        })
        .await?;
    Ok(Json(recorded))
}

pub(crate) async fn grant(
    State(app): State<App>,
    _: Operator,
    Id(user): Id<UserId>,
    Body(body): Body<GrantBody>,
) -> Result<Json<SandboxAccount>, Problem> {
    let grant: GrantId = body
        .grant_id
        .parse()
        .map_err(|error: domain::ids::InvalidId| {
            Problem::fault("/grant_id", "invalid_id", error.to_string())
        })?;
    let amount = Coins::new(body.amount)
        .ok()
        .filter(|amount| !amount.is_zero())
        .ok_or_else(|| {
            Problem::fault(
                "/amount",
                "out_of_range",
                "must be from 1 to 9007199254740991",
            )
        })?;
    let user_id = user.to_string();
    match app
        .run(|contests| async move { contests.grant(&user, amount, grant).await })
        .await?
    {
        Granted::Yes(balance) => Ok(Json(SandboxAccount { user_id, balance })),
        Granted::Conflict => Err(Problem::conflict(
            "grant_conflict",
            "this grant id was used for another account or amount",
        )),
        Granted::Refused(reason) => Err(Problem::conflict(
            reason.name(),
            "the account cannot take that many coins",
        )),
        Granted::Unknown => Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the outcome is not known; repeat the request with the same grant id",
        )
        .retry_after(1)),
    }
}

pub(crate) async fn balance(
    State(app): State<App>,
    _: Operator,
    Id(user): Id<UserId>,
) -> Result<Json<SandboxAccount>, Problem> {
    let balance = app.contests.sandbox_balance(&user).await?;
    let balance =
        balance.ok_or_else(|| Problem::not_found("not_found", "there is no such account"))?;
    Ok(Json(SandboxAccount {
        user_id: user.to_string(),
        balance,
    }))
}

/// Ready when store and ledger can write and the server is not about to stop.
pub(crate) async fn ready(State(app): State<App>) -> Result<&'static str, Problem> {
    if app.edge.stopping.is_cancelled() {
        return Err(Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "unavailable",
            "the server stops",
        )
        .retry_after(1));
    }
    app.readiness.check().await?;
    Ok("ready")
}
