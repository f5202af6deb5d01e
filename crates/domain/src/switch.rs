//! Switches (开关): what operators can stop while it runs. Whatever has begun ends; nothing new begins.

use crate::{
    contest::Contest,
    ids::{ContestId, InvalidId, RoomId, UserId},
    time::UnixMillis,
};
use std::{collections::BTreeMap, fmt};

crate::terms::choice! {
    /// Something that can be stopped.
    Switch {
        /// New signups.
        Signups = "signups",
        /// New claims.
        Claims = "claims",
        /// Prizes that are paid without having been claimed.
        AutomaticPayout = "automatic_payout",
        /// Repairs that nobody asked for.
        AutomaticRepair = "automatic_repair",
        /// The live tally in Redis.
        RedisTally = "redis_tally",
        /// The cache of records in Redis.
        RecordCache = "record_cache",
        /// Dropping a cached record once more, a second after its change.
        DelayedSecondDelete = "delayed_second_delete",
        /// Asking the funds system for the pool of a contest that goes on.
        LivePool = "live_pool",
    }
}

crate::terms::choice! {
    /// How far a setting reaches.
    Reach {
        /// Every contest.
        Everything = "everything",
        /// The contests of one room.
        Room = "room",
        /// One contest.
        Contest = "contest",
    }
}

/// What is declared of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Whether it is on where nobody has said anything.
    pub default: bool,
    /// How far its settings may reach.
    pub reaches: &'static [Reach],
    /// Whom to ask about it.
    pub owner: &'static str,
    /// What stopping it does.
    pub stopping: &'static str,
    /// The same, for those who read Chinese.
    pub stopping_zh: &'static str,
}

const ANYWHERE: &[Reach] = Reach::ALL;
const EVERYTHING: &[Reach] = &[Reach::Everything];

impl Switch {
    /// What it is.
    #[must_use]
    pub const fn declared(self) -> Declared {
        let (reaches, owner, stopping, stopping_zh) = match self {
            Self::Signups => (
                ANYWHERE,
                "contest operations",
                "Nobody new can sign up. A signup that has begun ends: its fee is looked up, and sent if \
                 it was not. Whoever has paid plays on.",
                "不再接受新报名。已经开始的报名会走完：先查费用，未扣则扣；已支付的照常进行。",
            ),
            Self::Claims => (
                ANYWHERE,
                "contest operations",
                "Nobody can begin to claim, and the time to claim grows by as long as it is off. A prize \
                 whose payment has begun is paid.",
                "不再接受新的领奖，领奖期按关闭时长顺延。已经开始的派奖会付完。",
            ),
            Self::AutomaticPayout => (
                ANYWHERE,
                "payments",
                "No prize is paid that was not claimed, neither of a contest that pays by itself nor after \
                 the time to claim. A payment that has begun ends.",
                "不再自动派奖，包括自动发放的赛事和领奖期结束后的发放。已经开始的付款会付完。",
            ),
            Self::AutomaticRepair => (
                ANYWHERE,
                "payments",
                "Differences are found and told, but repaired only where an operator asks for it.",
                "照常对账、照常报警，但不自动修复；只有运营要求时才修复。",
            ),
            Self::RedisTally => (
                EVERYTHING,
                "infrastructure",
                "Nothing is counted in Redis: what the tally would show is counted in the store. It is \
                 built anew when this is on again.",
                "不再在 Redis 计数，改为从数据库统计；重新打开后从数据库重建。",
            ),
            Self::RecordCache => (
                EVERYTHING,
                "infrastructure",
                "Signups are read from the store, and none is cached. Cached ones are still dropped when \
                 they change.",
                "报名记录直接读数据库，不再写入缓存；记录变化时仍会删除旧缓存。",
            ),
            Self::DelayedSecondDelete => (
                EVERYTHING,
                "infrastructure",
                "A cached record is dropped once when it changes, not once more a second later.",
                "记录变化时只删一次缓存，不再延迟双删。",
            ),
            Self::LivePool => (
                ANYWHERE,
                "infrastructure",
                "The pool of a contest that goes on is added up from the fees that we have recorded, \
                 instead of asking the funds system for its balance.",
                "进行中的奖池改为按已记录的报名费合计，不再查询资金系统余额。",
            ),
        };
        Declared {
            default: true,
            reaches,
            owner,
            stopping,
            stopping_zh,
        }
    }
}

impl std::str::FromStr for Switch {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Self::named(text).ok_or(InvalidId {
            kind: "switch",
            rule: "must be the name of a switch",
        })
    }
}

/// What a setting is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Every contest.
    Everything,
    /// The contests of this room.
    Room(RoomId),
    /// This contest.
    Contest(ContestId),
}

impl Scope {
    /// How far it reaches.
    #[must_use]
    pub const fn reach(&self) -> Reach {
        match self {
            Self::Everything => Reach::Everything,
            Self::Room(_) => Reach::Room,
            Self::Contest(_) => Reach::Contest,
        }
    }

    /// The scopes that a contest lies in, the widest first.
    #[must_use]
    pub fn of(contest: &Contest) -> [Self; 3] {
        [
            Self::Everything,
            Self::Room(contest.terms.room_id.clone()),
            Self::Contest(contest.id),
        ]
    }
}

/// `everything`, `room/<id>` or `contest/<id>`.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str(Reach::Everything.name()),
            Self::Room(id) => write!(f, "{}/{id}", Reach::Room.name()),
            Self::Contest(id) => write!(f, "{}/{id}", Reach::Contest.name()),
        }
    }
}

/// A text that names no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be everything, room/<id> or contest/<id>")]
pub struct InvalidScope;

impl std::str::FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, InvalidScope> {
        if text == Reach::Everything.name() {
            return Ok(Self::Everything);
        }
        let (reach, id) = text.split_once('/').ok_or(InvalidScope)?;
        match Reach::named(reach) {
            Some(Reach::Room) => id.parse().map(Self::Room).map_err(|_| InvalidScope),
            Some(Reach::Contest) => id.parse().map(Self::Contest).map_err(|_| InvalidScope),
            _ => Err(InvalidScope),
        }
    }
}

/// What somebody has said of a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Whether it is on.
    pub enabled: bool,
    /// Who said so.
    pub by: UserId,
    /// Why.
    pub reason: String,
    /// When, by the store's clock.
    pub at: UnixMillis,
}

/// One line of a switch's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the history of all switches.
    pub sequence: u64,
    /// Which switch.
    pub switch: Switch,
    /// For what.
    pub scope: Scope,
    /// What was said.
    pub setting: Setting,
}

/// All settings there are, as of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Switches {
    settings: BTreeMap<(Switch, Scope), Setting>,
}

/// Something that is switched off, and by whose word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwitchedOff {
    /// What.
    pub switch: Switch,
    /// For what.
    pub scope: Scope,
    /// Who said so, when and why; none where it is off unless somebody switches it on.
    pub setting: Option<Setting>,
}

impl fmt::Display for SwitchedOff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is switched off for {}",
            self.switch.name(),
            self.scope
        )?;
        match &self.setting {
            Some(setting) => write!(f, ": {}", setting.reason),
            None => Ok(()),
        }
    }
}

impl Switches {
    /// These settings; the last of each switch and scope counts. What is on for a room or a contest says nothing that
    /// would not be so without it, and is left out.
    #[must_use]
    pub fn new(settings: impl IntoIterator<Item = (Switch, Scope, Setting)>) -> Self {
        let settings = settings
            .into_iter()
            .map(|(switch, scope, setting)| ((switch, scope), setting));
        let mut settings: BTreeMap<_, _> = settings.collect();
        settings.retain(|(_, scope), setting| !setting.enabled || *scope == Scope::Everything);
        Self { settings }
    }

    /// The settings, by switch and scope.
    pub fn settings(&self) -> impl Iterator<Item = (Switch, &Scope, &Setting)> {
        let settings = self.settings.iter();
        settings.map(|((switch, scope), setting)| (*switch, scope, setting))
    }

    /// Whether a switch is on for everything.
    ///
    /// # Errors
    /// [`SwitchedOff`] where it is not.
    pub fn check(&self, switch: Switch) -> Result<(), SwitchedOff> {
        self.check_in(switch, &[Scope::Everything])
    }

    /// Whether a switch is on for a contest.
    ///
    /// # Errors
    /// [`SwitchedOff`] where it is off for the contest, for its room or for everything.
    pub fn check_for(&self, switch: Switch, contest: &Contest) -> Result<(), SwitchedOff> {
        self.check_in(switch, &Scope::of(contest))
    }

    /// On only where nothing that reaches so far is off: a setting for a room or a contest stops what is
    /// on for everything, and never starts what is off for everything.
    fn check_in(&self, switch: Switch, scopes: &[Scope]) -> Result<(), SwitchedOff> {
        for scope in scopes {
            let setting = self.settings.get(&(switch, scope.clone()));
            let is_on = match (setting, scope) {
                (Some(setting), _) => setting.enabled,
                (None, Scope::Everything) => switch.declared().default,
                (None, _) => true,
            };
            if !is_on {
                return Err(SwitchedOff {
                    switch,
                    scope: scope.clone(),
                    setting: setting.cloned(),
                });
            }
        }
        Ok(())
    }
}

/// A time during which something was off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// From when on.
    pub from: UnixMillis,
    /// Until when; none while it lasts.
    pub to: Option<UnixMillis>,
}

/// When a switch was off, from its history over all scopes that count, in the order of the changes: every
/// stretch during which at least one of them was off. One that is off by default was off from the beginning.
#[must_use]
pub fn stretches(default: bool, changes: &[Change]) -> Vec<Stretch> {
    let mut off: BTreeMap<&Scope, ()> = BTreeMap::new();
    let mut stretches: Vec<Stretch> = Vec::new();
    let mut since = (!default).then_some(UnixMillis(0));
    if !default {
        off.insert(&Scope::Everything, ());
    }
    for change in changes {
        if change.setting.enabled {
            off.remove(&change.scope);
        } else {
            off.insert(&change.scope, ());
        }
        match (since, off.is_empty()) {
            (None, false) => since = Some(change.setting.at),
            (Some(from), true) => {
                let to = Some(change.setting.at);
                stretches.push(Stretch { from, to });
                since = None;
            }
            _ => {}
        }
    }
    stretches.extend(since.map(|from| Stretch { from, to: None }));
    stretches
}

#[cfg(test)]
#[allow(clippy::expect_used, reason = "these are tests")]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().expect("a scope")
    }

    fn said(enabled: bool, at: i64) -> Setting {
        Setting {
            enabled,
            by: "olga".parse().expect("a user"),
            reason: "a drill".to_owned(),
            at: UnixMillis(at),
        }
    }

    fn contest() -> Contest {
        Contest::new(
            ContestId(uuid::Uuid::from_u128(7)),
            "a contest".to_owned(),
            crate::terms::tests::terms(),
            crate::draw::Secret::new([1; 32]),
            UnixMillis(0),
        )
    }

    #[test]
    fn each_switch_says_what_it_does() {
        for switch in Switch::ALL {
            let declared = switch.declared();
            assert_eq!(Switch::named(switch.name()), Some(*switch));
            assert!(declared.default, "{switch:?}");
            assert!(declared.reaches.contains(&Reach::Everything), "{switch:?}");
            assert!(declared.stopping.ends_with('.') && declared.stopping_zh.ends_with('。'));
            assert!(!declared.owner.is_empty());
        }
    }

    #[test]
    fn scopes_are_what_they_are_written_as() {
        let contest = contest();
        for scope in Scope::of(&contest) {
            assert_eq!(scope.to_string().parse(), Ok(scope));
        }
        for text in [
            "",
            "room",
            "room/",
            "contest/x",
            "everything/1",
            "all",
            "room/a b",
        ] {
            assert_eq!(text.parse::<Scope>(), Err(InvalidScope), "{text}");
        }
    }

    #[test]
    fn whatever_reaches_a_contest_stops_it() {
        let contest = contest();
        let on = Switches::default();
        assert_eq!(on.check_for(Switch::Signups, &contest), Ok(()));
        for place in Scope::of(&contest) {
            let off = Switches::new([(Switch::Signups, place.clone(), said(false, 5))]);
            let told = off
                .check_for(Switch::Signups, &contest)
                .expect_err("it is off");
            assert_eq!(told.scope, place);
            let text = format!("signups is switched off for {place}: a drill");
            assert_eq!(told.to_string(), text);
            assert_eq!(off.check_for(Switch::Claims, &contest), Ok(()));
            assert_eq!(
                off.check(Switch::Signups).is_err(),
                place == Scope::Everything
            );
        }
        let elsewhere = [
            (Switch::Signups, scope("room/other"), said(false, 5)),
            (
                Switch::Signups,
                Scope::Contest(ContestId(uuid::Uuid::from_u128(8))),
                said(false, 5),
            ),
        ];
        assert_eq!(
            Switches::new(elsewhere).check_for(Switch::Signups, &contest),
            Ok(())
        );
    }

    #[test]
    fn what_is_off_for_everything_is_not_started_by_a_room() {
        let contest = contest();
        let [everything, room, one] = Scope::of(&contest);
        let settings = Switches::new([
            (Switch::Claims, everything.clone(), said(false, 1)),
            (Switch::Claims, room, said(true, 2)),
            (Switch::Claims, one, said(true, 3)),
        ]);
        let told = settings
            .check_for(Switch::Claims, &contest)
            .expect_err("it is off");
        assert_eq!(told.scope, everything);
    }

    #[test]
    fn a_stretch_lasts_while_anything_is_off() {
        let changes = |changes: &[(&str, bool, i64)]| -> Vec<Change> {
            let numbered = changes.iter().zip(1..);
            let change = |((place, enabled, at), sequence): (&(&str, bool, i64), u64)| Change {
                sequence,
                switch: Switch::Claims,
                scope: scope(place),
                setting: said(*enabled, *at),
            };
            numbered.map(change).collect()
        };
        let found = |default: bool, list: &[(&str, bool, i64)]| -> Vec<(i64, Option<i64>)> {
            let found = stretches(default, &changes(list));
            found
                .iter()
                .map(|one| (one.from.0, one.to.map(|to| to.0)))
                .collect()
        };
        assert_eq!(found(true, &[]), []);
        assert_eq!(found(true, &[("everything", true, 5)]), []);
        assert_eq!(found(true, &[("everything", false, 5)]), [(5, None)]);
        // Repeats change nothing, and what overlaps is one.
        let list = [
            ("everything", false, 5),
            ("room/a", false, 6),
            ("everything", false, 7),
            ("everything", true, 8),
            ("room/a", true, 10),
            ("room/a", true, 11),
            ("room/a", false, 20),
        ];
        assert_eq!(found(true, &list), [(5, Some(10)), (20, None)]);
        assert_eq!(found(false, &[("everything", true, 9)]), [(0, Some(9))]);
    }
}
