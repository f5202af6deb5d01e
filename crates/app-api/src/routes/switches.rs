//! What operators call to stop something while it runs.

use super::{PageQuery, cursor, page_size};
use crate::{
    auth::{Operator, Role},
    extract::{Body, Id, Query},
    openapi::vocabulary,
    problem::{Code, FaultCode, Problem},
    state::App,
    wire::{Items, NewSetting, SettingView, SwitchView},
};
use axum::{Json, extract::State};
use domain::switch::{Scope, Switch, SwitchedOff, Switches};

/// How long who meets a switch that is off waits before they ask again, in seconds.
const ASK_AGAIN_S: u16 = 30;

/// List switches
///
/// What can be stopped, and what is stopped.
#[utoipa::path(
    get,
    path = "/v1/admin/switches",
    tag = "operations",
    operation_id = "list_switches",
    responses((status = 200, body = Items<SwitchView>, description = "All switches; there is no next page")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn list(
    State(app): State<App>,
    _: Operator,
) -> Result<Json<Items<SwitchView>>, Problem> {
    let switches = stored(&app).await?;
    let views = Switch::ALL.iter();
    Ok(Json(Items {
        items: views
            .map(|switch| SwitchView::new(*switch, &switches))
            .collect(),
        next_cursor: None,
    }))
}

/// Set a switch
///
/// In force on this node at once, and on every other within a second. What has begun ends; nothing new
/// begins. A repeat is one more line of the history, and changes nothing else.
#[utoipa::path(
    put,
    path = "/v1/admin/switches/{name}",
    tag = "operations",
    operation_id = "set_switch",
    params(("name" = vocabulary::SwitchName, Path, description = "The switch")),
    request_body = NewSetting,
    responses((status = 200, body = SwitchView, description = "The switch, and all that is in force of it")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn set(
    State(app): State<App>,
    Operator(by): Operator,
    Id(switch): Id<Switch>,
    Body(body): Body<NewSetting>,
) -> Result<Json<SwitchView>, Problem> {
    let said = body.parse(switch, by)?;
    // A switch for a contest that is not there would stop nothing, and nobody would know.
    if let Scope::Contest(id) = said.scope
        && app.contests.ports().contests.get(id).await?.is_none()
    {
        return Err(Problem::fault(
            "/contest_id",
            FaultCode::UnknownValue,
            "there is no such contest",
        ));
    }
    app.run(|contests| async move { contests.set_switch(&said).await })
        .await?;
    Ok(Json(SwitchView::new(switch, &stored(&app).await?)))
}

/// List changes of a switch
///
/// Who said what of it, and why; newest first.
#[utoipa::path(
    get,
    path = "/v1/admin/switches/{name}/changes",
    tag = "operations",
    operation_id = "list_switch_changes",
    params(("name" = vocabulary::SwitchName, Path, description = "The switch"), PageQuery),
    responses((status = 200, body = Items<SettingView>, description = "A page; the next one begins at `next_cursor`")),
    extensions(("x-role" = json!([Role::Operator])))
)]
pub(crate) async fn changes(
    State(app): State<App>,
    _: Operator,
    Id(switch): Id<Switch>,
    Query(query): Query<PageQuery>,
) -> Result<Json<Items<SettingView>>, Problem> {
    let (limit, after) = (page_size(query.limit)?, cursor(query.cursor.as_deref())?);
    let switches = &app.contests.ports().switches;
    let page = switches.history(switch, after, limit).await?;
    Ok(Json(Items {
        items: page.items.iter().map(SettingView::from).collect(),
        next_cursor: page.next.map(|sequence| sequence.to_string()),
    }))
}

/// As they are stored: what an operator looks at is never older than what one has said.
async fn stored(app: &App) -> Result<Switches, Problem> {
    let read = app.contests.ports().switches.in_force(None).await?;
    Ok(read.map(|read| read.switches).unwrap_or_default())
}

/// Something is switched off: what, for what, and why.
pub(crate) fn switched_off(off: &SwitchedOff) -> Problem {
    metrics::counter!("guafen_switched_off_total", "switch" => off.switch.name()).increment(1);
    Problem::new(Code::SwitchedOff, off.to_string()).retry_after(ASK_AGAIN_S)
}
