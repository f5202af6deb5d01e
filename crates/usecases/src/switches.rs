//! Switches: read from memory, kept up to date from the store. While the store is away the last values stay
//! in force.

use crate::{
    Contests, Failure,
    settle::{Stepped, Turn},
};
use domain::{
    contest::{Contest, Phase},
    due::{HousePayout, house_payout},
    ids::ContestId,
    lifecycle::ContestStep,
    switch::{Change, Scope, Switch, SwitchedOff, Switches, stretches},
    time::UnixMillis,
};
use ports::switches::{InForce, Said};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// How old settings may be until the node says that they are old, in milliseconds.
pub const FRESH_MS: i64 = 2_000;

/// The settings as this node knows them.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The settings, and after which change they are so; none until they were read for the first time.
    pub in_force: Option<Arc<InForce>>,
    /// When they were last known to be in force, by this node's clock.
    pub as_of: UnixMillis,
}

impl Known {
    /// The settings.
    #[must_use]
    pub fn switches(&self) -> Switches {
        let known = self.in_force.as_deref();
        known
            .map(|known| known.switches.clone())
            .unwrap_or_default()
    }

    /// How long ago they were last known to be in force, in milliseconds.
    #[must_use]
    pub const fn age_ms(&self, now: UnixMillis) -> i64 {
        now.since(self.as_of)
    }

    /// For how long they have not been known to be in force at `now`, in milliseconds; 0 where they are fresh.
    #[must_use]
    pub fn stale_ms(&self, now: UnixMillis) -> i64 {
        let age = self.age_ms(now);
        if age <= FRESH_MS { 0 } else { age }
    }
}

/// What the node knows of the switches.
#[derive(Debug, Default)]
pub(crate) struct Panel {
    known: RwLock<Known>,
    /// Reads go one after the other, so that an older answer never takes the place of a newer one.
    reading: tokio::sync::Mutex<()>,
    /// Contests whose claims were looked at, and after which change.
    looked_at: Mutex<std::collections::BTreeMap<ContestId, u64>>,
}

/// The most contests of which is kept after which change they were looked at.
const LOOKED_AT_MAX: usize = 10_000;
/// The most times that it is tried again because a contest changed meanwhile.
const TRIES_MAX: usize = 16;

impl Panel {
    fn known(&self) -> Known {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.clone()
    }

    fn version(&self) -> Option<u64> {
        self.known().in_force.map(|known| known.version)
    }

    fn check(
        &self,
        check: impl FnOnce(&Switches) -> Result<(), SwitchedOff>,
    ) -> Result<(), SwitchedOff> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        match &known.in_force {
            Some(known) => check(&known.switches),
            None => check(&Switches::default()),
        }
    }

    fn was_looked_at(&self, contest: ContestId, version: u64) -> bool {
        let looked_at = self
            .looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        looked_at.get(&contest) == Some(&version)
    }

    /// It may be forgotten without harm: then it is looked at again.
    fn note_looked_at(&self, contest: ContestId, version: u64) {
        let mut looked_at = self
            .looked_at
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if looked_at.len() >= LOOKED_AT_MAX {
            looked_at.clear();
        }
        looked_at.insert(contest, version);
    }
}

impl Contests {
    /// Reads the settings; true if they have changed. On an error the last ones stay.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn read_switches(&self) -> Result<bool, Failure> {
        let _reading = self.panel.reading.lock().await;
        // As of the question, not of the answer.
        let as_of = self.ports.clock.now();
        let read = self.ports.switches.in_force(self.panel.version()).await?;
        let mut known = self
            .panel
            .known
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        known.as_of = as_of;
        let has_changed = read.is_some();
        if let Some(read) = read {
            known.in_force = Some(Arc::new(read));
        }
        Ok(has_changed)
    }

    /// The settings as this node knows them.
    #[must_use]
    pub fn switches(&self) -> Known {
        self.panel.known()
    }

    /// `ready`, and what a person should know of a node that is.
    #[must_use]
    pub fn readiness(&self) -> String {
        match self.switches().stale_ms(self.ports.clock.now()) {
            0 => "ready".to_owned(),
            stale => format!(
                "ready; the switches are as of {} s ago and cannot be read: the last values stay in force",
                stale / 1_000
            ),
        }
    }

    /// Whether a switch is on for a contest.
    pub(crate) fn is_on_for(&self, switch: Switch, contest: &Contest) -> Result<(), SwitchedOff> {
        self.panel
            .check(|switches| switches.check_for(switch, contest))
    }

    /// Whether a switch is on for everything.
    pub(crate) fn is_on(&self, switch: Switch) -> bool {
        self.panel.check(|switches| switches.check(switch)).is_ok()
    }

    /// Sets a switch, in force on this node when it answers, and on the others within a second.
    ///
    /// # Errors
    /// [`Failure::Store`]; whether it was set is then not known, and may be said again.
    pub async fn set_switch(&self, said: &Said) -> Result<Change, Failure> {
        let change = self.ports.switches.set(said).await?;
        tracing::warn!(
            switch = change.switch.name(), switch.scope = %change.scope, switch.enabled = change.setting.enabled,
            by = %change.setting.by, reason = change.setting.reason, "a switch was set"
        );
        if let Err(error) = self.read_switches().await {
            // The loop reads it.
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "switches could not be read"
            );
        }
        Ok(change)
    }

    /// The step, or rest where it would begin what is switched off.
    pub(crate) fn unless_switched_off(
        &self,
        contest: &Contest,
        step: ContestStep,
        now: UnixMillis,
    ) -> ContestStep {
        if matches!(step, ContestStep::Sweep(_)) && self.is_payout_off(contest, now) {
            return ContestStep::Rest(None);
        }
        step
    }

    /// True where prizes of a contest would be paid by themselves now, and that is switched off.
    pub(crate) fn is_payout_off(&self, contest: &Contest, now: UnixMillis) -> bool {
        matches!(contest.phase, Phase::Claimable(_))
            && house_payout(contest, now) == HousePayout::Pay
            && self.is_on_for(Switch::AutomaticPayout, contest).is_err()
    }

    /// Takes account of the times during which claims of a contest were switched off: they make the time to
    /// claim longer. True if the contest changed.
    ///
    /// # Errors
    /// [`Failure`].
    pub(crate) async fn count_claims_off(&self, id: ContestId) -> Result<bool, Failure> {
        let version = self.panel.version();
        let mut has_changed = false;
        for _ in 0..TRIES_MAX {
            let Some(contest) = self.ports.contests.get(id).await? else {
                return Ok(false);
            };
            let is_known = version.is_some_and(|version| self.panel.was_looked_at(id, version));
            if !matches!(contest.phase, Phase::Claimable(_)) || is_known {
                return Ok(has_changed);
            }
            let scopes = Scope::of(&contest);
            let changes = self
                .ports
                .switches
                .changes_in(Switch::Claims, &scopes)
                .await?;
            let off = stretches(Switch::Claims.declared().default, &changes);
            let Some(fact) = contest.claims_off(&off) else {
                if let Some(version) = version {
                    self.panel.note_looked_at(id, version);
                }
                return Ok(has_changed);
            };
            let now = self.ports.contests.now().await?;
            let turn = Turn {
                contest,
                now,
                under: None,
            };
            if let Stepped::On = self.save_contest(turn, fact, Vec::new()).await? {
                has_changed = true;
            }
        }
        Err(Failure::Contended(id.to_string()))
    }
}
