//! Switches on the wire.

use super::{rfc3339, text::is_note};
use crate::{
    extract::{Faults, parse_id},
    openapi::vocabulary,
    problem::{FaultCode, Problem},
};
use domain::{
    ids::UserId,
    switch::{Change, Reach, Scope, Setting, Switch, Switches},
};
use ports::switches::{REASON_MAX, Said};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a reason must be.
const REASON_RULE: &str =
    "must be 1 to 500 characters, one of them visible, without control characters but line breaks";

/// How a switch is to be set.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewSetting)]
pub(crate) struct NewSetting {
    /// Whether it is to be on.
    enabled: bool,
    /// Why, for whoever looks later. Viewers are told it where something is switched off.
    #[schema(value_type = vocabulary::Reason)]
    reason: String,
    /// For this contest alone, where the switch reaches so far.
    #[schema(value_type = Option<vocabulary::ContestId>)]
    contest_id: Option<String>,
    /// For the contests of this room alone, where the switch reaches so far.
    #[schema(value_type = Option<vocabulary::RoomId>)]
    room_id: Option<String>,
}

impl NewSetting {
    /// What is said, or everything that is wrong with it.
    pub(crate) fn parse(self, switch: Switch, by: UserId) -> Result<Said, Problem> {
        let mut faults = Faults::default();
        if !is_note(&self.reason, REASON_MAX) {
            faults.push("/reason", FaultCode::OutOfRange, REASON_RULE);
        }
        let id = FaultCode::InvalidId;
        let contest = self.contest_id.as_deref().map(parse_id);
        let room = self.room_id.as_deref().map(parse_id);
        let contest = contest.and_then(|contest| faults.check("/contest_id", id, contest));
        let room = room.and_then(|room| faults.check("/room_id", id, room));
        if self.contest_id.is_some() && self.room_id.is_some() {
            let rule = "must not be sent together with contest_id";
            faults.push("/room_id", FaultCode::Conflicting, rule);
        }
        let reaches = switch.declared().reaches;
        for (pointer, reach, is_there) in [
            ("/contest_id", Reach::Contest, self.contest_id.is_some()),
            ("/room_id", Reach::Room, self.room_id.is_some()),
        ] {
            if is_there && !reaches.contains(&reach) {
                let rule = "must be left out: this switch is set for everything only";
                faults.push(pointer, FaultCode::Conflicting, rule);
            }
        }
        faults.finish()?;
        let scope = contest.map(Scope::Contest).or(room.map(Scope::Room));
        Ok(Said {
            switch,
            scope: scope.unwrap_or(Scope::Everything),
            enabled: self.enabled,
            by,
            reason: self.reason,
        })
    }
}

/// What somebody has said of a switch.
#[derive(Serialize, ToSchema)]
#[schema(as = SwitchSetting)]
pub(crate) struct SettingView {
    /// `everything`, `room/<id>` or `contest/<id>`.
    #[schema(value_type = vocabulary::SwitchScope)]
    scope: String,
    /// Whether it is on there, as far as this setting says.
    enabled: bool,
    #[schema(value_type = vocabulary::UserId)]
    changed_by: String,
    #[schema(value_type = vocabulary::Reason)]
    reason: String,
    #[schema(value_type = vocabulary::Time)]
    changed_at: String,
}

impl SettingView {
    fn new(scope: &Scope, setting: &Setting) -> Self {
        Self {
            scope: scope.to_string(),
            enabled: setting.enabled,
            changed_by: setting.by.to_string(),
            reason: setting.reason.clone(),
            changed_at: rfc3339(setting.at),
        }
    }
}

impl From<&Change> for SettingView {
    fn from(change: &Change) -> Self {
        Self::new(&change.scope, &change.setting)
    }
}

/// A switch, and what is in force of it.
#[derive(Serialize, ToSchema)]
#[schema(as = Switch)]
pub(crate) struct SwitchView {
    #[schema(value_type = vocabulary::SwitchName)]
    name: &'static str,
    /// Whether it is on for everything.
    enabled: bool,
    /// Whether it is on where nobody has said anything.
    default: bool,
    /// What it can be set for.
    #[schema(value_type = Vec<vocabulary::SwitchReach>)]
    scopes: Vec<&'static str>,
    /// Whom to ask about it.
    owner: &'static str,
    /// What stopping it does.
    stopping: &'static str,
    /// The same in Chinese.
    stopping_zh: &'static str,
    /// What is in force: off for a contest that any of these reaches and that is not `enabled`. What is off
    /// for everything cannot be switched on for a room.
    settings: Vec<SettingView>,
}

impl SwitchView {
    pub(crate) fn new(switch: Switch, switches: &Switches) -> Self {
        let declared = switch.declared();
        let settings = switches.settings().filter(|(of, ..)| *of == switch);
        Self {
            name: switch.name(),
            enabled: switches.check(switch).is_ok(),
            default: declared.default,
            scopes: declared.reaches.iter().map(|reach| reach.name()).collect(),
            owner: declared.owner,
            stopping: declared.stopping,
            stopping_zh: declared.stopping_zh,
            settings: settings
                .map(|(_, scope, setting)| SettingView::new(scope, setting))
                .collect(),
        }
    }
}
