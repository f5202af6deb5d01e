//! Experiments: what is varied, for whom, and how long. Assignment is in [`crate::assignment`]; statistics are
//! in a crate of their own, and nothing here is a float.
//!
//! What changes money inside one pool is assigned by contest or by room, never by viewer: viewers of one pool
//! share it, so what one of them gets changes what the others get.

use crate::{
    assignment::{Assignments, place, takes_part},
    ids::{ContestId, ExperimentName, RoomId, TaskKind, UserId, VariantName},
    money::Coins,
    payout::Rule,
    terms::{BasisPoints, BrokenTerm, ClaimMode, FEE_MAX, TARGET_MAX, Terms},
    time::UnixMillis,
};
use std::collections::{BTreeMap, BTreeSet};

crate::terms::choice! {
    /// What gets a variant, and what is counted.
    Unit {
        /// A viewer, in all contests.
        User = "user",
        /// A contest, with all its viewers.
        Contest = "contest",
        /// A room, with all its contests.
        Room = "room",
    }
}

crate::terms::choice! {
    /// What is measured: a sum over the viewers of a unit who met the experiment, for each of them.
    Metric {
        /// How many signed up.
        SignedUp = "signed_up",
        /// How many paid.
        Paid = "paid",
        /// How many completed the task.
        Finished = "finished",
        /// How many got their prize.
        Claimed = "claimed",
        /// The fees that were paid and not given back.
        CoinsIn = "coins_in",
        /// The prizes that were paid.
        CoinsOut = "coins_out",
        /// How many got their fee back. A guardrail: more is worse.
        Refunded = "refunded",
        /// How many asked to sign up and did not pay. A guardrail: more is worse.
        ChargeFailed = "charge_failed",
    }
}

impl Metric {
    /// True where more is worse: it can only be a guardrail.
    #[must_use]
    pub const fn is_harm(self) -> bool {
        matches!(self, Self::Refunded | Self::ChargeFailed)
    }
}

/// What a variant changes of the terms of a contest that gets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// The fee.
    pub fee: Option<Coins>,
    /// How much has to be done.
    pub task_target: Option<u64>,
    /// How the pool is split.
    pub rule: Option<Rule>,
    /// Who starts the payment of a prize.
    pub claim_mode: Option<ClaimMode>,
}

impl Changes {
    /// True where nothing is changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The names of the terms that are changed.
    pub fn fields(&self) -> impl Iterator<Item = &'static str> {
        [
            ("fee", self.fee.is_some()),
            ("task_target", self.task_target.is_some()),
            ("payout_rule", self.rule.is_some()),
            ("claim_mode", self.claim_mode.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, is_changed)| is_changed.then_some(name))
    }

    /// The terms with the changes; none where they would not keep every rule, or where a fee is one of several
    /// tiers.
    #[must_use]
    pub fn apply(&self, terms: &Terms) -> Option<Terms> {
        if self.fee.is_some() && !terms.fee_tiers.is_empty() {
            return None;
        }
        let mut changed = terms.clone();
        changed.fee = self.fee.unwrap_or(changed.fee);
        changed.task.target = self.task_target.unwrap_or(changed.task.target);
        changed.rule = self.rule.unwrap_or(changed.rule);
        changed.claim_mode = self.claim_mode.unwrap_or(changed.claim_mode);
        changed.check().ok()
    }
}

/// One variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Its name.
    pub name: VariantName,
    /// Its share of the units that take part.
    pub share: BasisPoints,
    /// What it changes of the terms.
    pub changes: Changes,
    /// What a client is given to show it by: a JSON object, which means nothing here.
    pub display: Option<String>,
}

/// A metric that must not become worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guardrail {
    /// Which.
    pub metric: Metric,
    /// How much more of it, for each viewer, is taken: an arm is stopped once it is surely more than that.
    pub margin: BasisPoints,
}

/// What an experiment is. Frozen once it has started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// What is believed, and why it is tried.
    pub hypothesis: String,
    /// What gets a variant.
    pub unit: Unit,
    /// The variants; the first is the control, which is what there is without the experiment.
    pub variants: Vec<Variant>,
    /// The rooms whose contests take part; all of them where it is empty.
    pub rooms: Vec<RoomId>,
    /// The task kinds of the contests that take part; all of them where it is empty.
    pub task_kinds: Vec<TaskKind>,
    /// From when on units meet it; from its start where it is none.
    pub starts_at: Option<UnixMillis>,
    /// From then on no unit meets it any more.
    pub ends_at: UnixMillis,
    /// What decides.
    pub primary: Metric,
    /// What must not become worse.
    pub guardrails: Vec<Guardrail>,
    /// How many units each arm is to have at the end, for which the intervals are made.
    pub planned_units: u64,
    /// How many units each arm has before anything is said.
    pub min_units: u64,
    /// The chance of a verdict where there is no difference.
    pub alpha: BasisPoints,
}

/// The fewest units of each arm before anything is said.
pub const MIN_UNITS: u64 = 100;
/// The most units that can be planned.
pub const PLANNED_UNITS_MAX: u64 = 1_000_000_000;
/// The most variants.
pub const VARIANTS_MAX: usize = 10;
/// The most rooms, and the most task kinds.
pub const ELIGIBLE_MAX: usize = 100;
/// The longest hypothesis, in characters.
pub const HYPOTHESIS_MAX: usize = 1_000;
/// The longest payload of a variant, in bytes.
pub const DISPLAY_MAX: usize = 4_096;
/// The largest alpha, in basis points.
pub const ALPHA_MAX: u16 = 5_000;
/// The longest that an experiment runs: 366 days, in milliseconds.
pub const RUN_MS_MAX: i64 = 366 * 86_400_000;

const MONEY_BY_USER: &str = "must be left out where the unit is user: viewers of one pool share it, so what \
     changes money is assigned by contest or by room";

impl Definition {
    /// This definition, if it keeps every rule; else every rule that it breaks.
    ///
    /// # Errors
    /// All [`BrokenTerm`]s at once.
    pub fn check(self) -> Result<Self, Vec<BrokenTerm>> {
        let in_range = |number: u64, most: u64| (1..=most).contains(&number);
        let variants = &self.variants;
        let names: BTreeSet<_> = variants.iter().map(|variant| &variant.name).collect();
        let whole: u32 = variants.iter().map(|one| u32::from(one.share.get())).sum();
        let changed = || variants.iter().map(|variant| &variant.changes);
        let differs =
            |one: &Variant| !one.changes.is_empty() || one.display != self.control_display();
        let metrics: BTreeSet<_> = self.guardrails.iter().map(|one| one.metric).collect();
        let distinct = |count: usize, of: usize| count == of;
        let rules = [
            (
                !self.hypothesis.trim().is_empty()
                    && self.hypothesis.chars().count() <= HYPOTHESIS_MAX,
                ("hypothesis", "out_of_range", "must be 1 to 1000 characters"),
            ),
            (
                (2..=VARIANTS_MAX).contains(&variants.len()),
                (
                    "variants",
                    "out_of_range",
                    "must be 2 to 10 variants, the control first",
                ),
            ),
            (
                distinct(names.len(), variants.len()),
                (
                    "variants",
                    "duplicate_value",
                    "must have a name of its own each",
                ),
            ),
            (
                variants.iter().all(|one| one.share.get() > 0)
                    && whole == u32::from(BasisPoints::WHOLE),
                (
                    "variants",
                    "shares",
                    "must have shares above 0 that add up to 10000",
                ),
            ),
            (
                variants
                    .first()
                    .is_none_or(|control| control.changes.is_empty()),
                (
                    "variants/0",
                    "control_changes",
                    "is the control, which changes no terms",
                ),
            ),
            (
                variants.len() < 2 || variants[1..].iter().all(differs),
                (
                    "variants",
                    "no_difference",
                    "must each differ from the control",
                ),
            ),
            (
                self.unit != Unit::User || changed().all(Changes::is_empty),
                ("unit", "needs_other_unit", MONEY_BY_USER),
            ),
            (
                changed().all(|one| one.fee.is_none_or(|fee| in_range(fee.get(), FEE_MAX))),
                (
                    "variants",
                    "out_of_range",
                    "must have fees from 1 to 1000000000",
                ),
            ),
            (
                changed().all(|one| {
                    one.task_target
                        .is_none_or(|target| in_range(target, TARGET_MAX))
                }),
                (
                    "variants",
                    "out_of_range",
                    "must have targets from 1 to 1000000000",
                ),
            ),
            (
                variants.iter().all(|one| {
                    one.display
                        .as_ref()
                        .is_none_or(|text| text.len() <= DISPLAY_MAX)
                }),
                (
                    "variants",
                    "out_of_range",
                    "must have payloads of at most 4096 bytes",
                ),
            ),
            (
                self.rooms.len() <= ELIGIBLE_MAX
                    && distinct(
                        self.rooms.iter().collect::<BTreeSet<_>>().len(),
                        self.rooms.len(),
                    ),
                (
                    "rooms",
                    "out_of_range",
                    "must be at most 100 rooms, each once",
                ),
            ),
            (
                self.task_kinds.len() <= ELIGIBLE_MAX
                    && distinct(
                        self.task_kinds.iter().collect::<BTreeSet<_>>().len(),
                        self.task_kinds.len(),
                    ),
                (
                    "task_kinds",
                    "out_of_range",
                    "must be at most 100 kinds, each once",
                ),
            ),
            (
                self.starts_at.is_none_or(|starts| starts < self.ends_at),
                ("ends_at", "out_of_order", "must be after starts_at"),
            ),
            (
                !self.primary.is_harm(),
                (
                    "primary_metric",
                    "unknown_value",
                    "must be a metric of which more is better",
                ),
            ),
            (
                distinct(metrics.len(), self.guardrails.len()),
                (
                    "guardrails",
                    "duplicate_value",
                    "must name each metric once",
                ),
            ),
            (
                metrics.iter().all(|metric| metric.is_harm()),
                (
                    "guardrails",
                    "unknown_value",
                    "must be metrics of which more is worse",
                ),
            ),
            (
                (MIN_UNITS..=PLANNED_UNITS_MAX).contains(&self.min_units),
                (
                    "min_units",
                    "out_of_range",
                    "must be from 100 to 1000000000",
                ),
            ),
            (
                (self.min_units..=PLANNED_UNITS_MAX).contains(&self.planned_units),
                (
                    "planned_units",
                    "out_of_range",
                    "must be from min_units to 1000000000",
                ),
            ),
            (
                (1..=ALPHA_MAX).contains(&self.alpha.get()),
                ("alpha_bps", "out_of_range", "must be from 1 to 5000"),
            ),
        ];
        let broken: Vec<_> = rules
            .into_iter()
            .filter(|(is_kept, _)| !is_kept)
            .map(|(_, (field, code, rule))| BrokenTerm { field, code, rule })
            .collect();
        if broken.is_empty() {
            Ok(self)
        } else {
            Err(broken)
        }
    }

    fn control_display(&self) -> Option<String> {
        self.variants
            .first()
            .and_then(|control| control.display.clone())
    }

    /// The variant of that name.
    #[must_use]
    pub fn variant(&self, name: &VariantName) -> Option<&Variant> {
        self.variants.iter().find(|variant| variant.name == *name)
    }

    /// The terms that any variant changes.
    #[must_use]
    pub fn changed_fields(&self) -> BTreeSet<&'static str> {
        self.variants
            .iter()
            .flat_map(|one| one.changes.fields())
            .collect()
    }

    /// True if a contest of these terms, as they would be without the experiment, can take part: in whichever
    /// variant, so that taking part says nothing about which.
    #[must_use]
    pub fn is_eligible(&self, terms: &Terms) -> bool {
        (self.rooms.is_empty() || self.rooms.contains(&terms.room_id))
            && (self.task_kinds.is_empty() || self.task_kinds.contains(&terms.task.kind))
            && self
                .variants
                .iter()
                .all(|one| one.changes.apply(terms).is_some())
    }
}

/// Why something was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// When, by the store's clock.
    pub at: UnixMillis,
    /// Why.
    pub reason: String,
}

/// Where an experiment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It can still be changed, and nobody meets it.
    Draft,
    /// It runs since then.
    Running(UnixMillis),
    /// It ran since then, and was ended.
    Ended(UnixMillis, Ending),
}

/// An experiment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// Its name.
    pub name: ExperimentName,
    /// What makes its assignment its own. Drawn once; never changes.
    pub salt: String,
    /// What it is.
    pub definition: Definition,
    /// How many of the units take part. Only ever grows.
    pub ramp: BasisPoints,
    /// Where it stands.
    pub status: Status,
    /// Arms that were stopped: their units meet nothing any more.
    pub stopped: BTreeMap<VariantName, Ending>,
    /// Counts the writes.
    pub version: u64,
    /// When it was made, by the store's clock.
    pub created_at: UnixMillis,
    /// When it was last written, by the store's clock.
    pub updated_at: UnixMillis,
}

/// What somebody asks of an experiment, or what a guardrail does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExperimentFact {
    /// It is to be something else.
    Redefined(Box<Definition>),
    /// It begins, with so many of the units.
    Started(BasisPoints),
    /// More units take part.
    Ramped(BasisPoints),
    /// This arm stops. Without a control, or with nothing but the control, all of it ends.
    ArmStopped(VariantName, String),
    /// It ends.
    Stopped(String),
}

crate::terms::choice! {
    /// What was done with an experiment.
    Action {
        /// It was made.
        Created = "created",
        /// A draft became something else.
        Redefined = "redefined",
        /// It began.
        Started = "started",
        /// More units take part.
        Ramped = "ramped",
        /// An arm was stopped.
        ArmStopped = "arm_stopped",
        /// It was ended.
        Stopped = "stopped",
    }
}

/// What an experiment does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExperimentError {
    /// It has started, and what it is does not change any more.
    #[error("it has started: only its ramp can go up, and it can be stopped")]
    Started,
    /// It does not run.
    #[error("it does not run")]
    NotRunning,
    /// A ramp only goes up.
    #[error("a ramp only goes up")]
    RampNotUp,
    /// Nobody would meet it.
    #[error("its end is past")]
    Over,
    /// There is no such arm, or it was stopped before.
    #[error("there is no such arm that runs")]
    NoArm,
}

impl ExperimentFact {
    /// What it is called in the history.
    #[must_use]
    pub const fn action(&self) -> Action {
        match self {
            Self::Redefined(_) => Action::Redefined,
            Self::Started(_) => Action::Started,
            Self::Ramped(_) => Action::Ramped,
            Self::ArmStopped(..) => Action::ArmStopped,
            Self::Stopped(_) => Action::Stopped,
        }
    }
}

impl Experiment {
    /// A draft.
    #[must_use]
    pub fn new(
        name: ExperimentName,
        salt: String,
        definition: Definition,
        now: UnixMillis,
    ) -> Self {
        Self {
            name,
            salt,
            definition,
            ramp: BasisPoints::ZERO,
            status: Status::Draft,
            stopped: BTreeMap::new(),
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// What `fact` makes of it. `now` is database time.
    ///
    /// # Errors
    /// [`ExperimentError`]; the experiment is unchanged.
    pub fn apply(mut self, fact: ExperimentFact, now: UnixMillis) -> Result<Self, ExperimentError> {
        match (fact, self.status.clone()) {
            (ExperimentFact::Redefined(definition), Status::Draft) => self.definition = *definition,
            (ExperimentFact::Redefined(_) | ExperimentFact::Started(_), _)
                if self.status != Status::Draft =>
            {
                return Err(ExperimentError::Started);
            }
            (ExperimentFact::Started(_), _) if now >= self.definition.ends_at => {
                return Err(ExperimentError::Over);
            }
            (ExperimentFact::Started(ramp), _) => {
                self.ramp = ramp;
                self.status = Status::Running(now);
            }
            (_, Status::Draft | Status::Ended(..)) => return Err(ExperimentError::NotRunning),
            (ExperimentFact::Ramped(ramp), _) if ramp <= self.ramp => {
                return Err(ExperimentError::RampNotUp);
            }
            (ExperimentFact::Ramped(ramp), _) => self.ramp = ramp,
            (ExperimentFact::Stopped(reason), Status::Running(since)) => {
                self.status = Status::Ended(since, Ending { at: now, reason });
            }
            (ExperimentFact::ArmStopped(variant, reason), Status::Running(since)) => {
                let is_there = self.definition.variant(&variant).is_some();
                if !is_there || self.stopped.contains_key(&variant) {
                    return Err(ExperimentError::NoArm);
                }
                let ending = Ending { at: now, reason };
                self.stopped.insert(variant, ending.clone());
                if !self.compares() {
                    self.status = Status::Ended(since, ending);
                }
            }
            (ExperimentFact::Redefined(_), _) => return Err(ExperimentError::Started),
        }
        self.updated_at = now;
        Ok(self)
    }

    /// True while there is a control, and something to compare it with.
    fn compares(&self) -> bool {
        let runs = |variant: &Variant| !self.stopped.contains_key(&variant.name);
        let mut variants = self.definition.variants.iter();
        variants.next().is_some_and(runs) && variants.any(runs)
    }

    /// True while units meet it.
    #[must_use]
    pub fn is_met(&self, now: UnixMillis) -> bool {
        let Definition {
            starts_at, ends_at, ..
        } = &self.definition;
        matches!(self.status, Status::Running(_))
            && starts_at.is_none_or(|starts| now >= starts)
            && now < *ends_at
    }

    /// The variant of a unit that meets it in a contest of these terms at `now`: those that the contest would
    /// have without it. None where it does not take part, or where its arm was stopped.
    #[must_use]
    pub fn variant_of(&self, unit: &str, terms: &Terms, now: UnixMillis) -> Option<&Variant> {
        if !self.is_met(now) || !self.definition.is_eligible(terms) {
            return None;
        }
        self.assigned(unit)
            .filter(|variant| !self.stopped.contains_key(&variant.name))
    }

    /// The variant of a unit by hash and ramp alone.
    #[must_use]
    pub fn assigned(&self, unit: &str) -> Option<&Variant> {
        if !takes_part(&self.salt, unit, self.ramp) {
            return None;
        }
        let variants = &self.definition.variants;
        let place = place(&self.salt, unit, variants.iter().map(|one| one.share))?;
        variants.get(place)
    }
}

/// The variants of a new contest, and the terms that they make of its own. `experiments` are those that run, in
/// any order; no two of them change the same term.
#[must_use]
pub fn assign_contest(
    experiments: &[Experiment],
    contest: ContestId,
    terms: &Terms,
    now: UnixMillis,
) -> (Assignments, Terms) {
    let mut assignments = Assignments::default();
    let mut changed = terms.clone();
    let mut by_name: Vec<_> = experiments.iter().collect();
    by_name.sort_by(|one, other| one.name.cmp(&other.name));
    for experiment in by_name {
        let unit = match experiment.definition.unit {
            Unit::User => continue,
            Unit::Contest => contest.to_string(),
            Unit::Room => terms.room_id.to_string(),
        };
        let Some(variant) = experiment.variant_of(&unit, terms, now) else {
            continue;
        };
        // Each alone keeps the rules; where both together would not, the later one is left out.
        let Some(both) = variant.changes.apply(&changed) else {
            continue;
        };
        changed = both;
        assignments.add(experiment.name.clone(), variant.name.clone());
    }
    (assignments, changed)
}

/// The variants of a viewer in a contest: those of the contest, and those of the viewer.
#[must_use]
pub fn assign_viewer(
    experiments: &[Experiment],
    of_contest: &Assignments,
    user: &UserId,
    terms: &Terms,
    now: UnixMillis,
) -> Assignments {
    let mut assignments = of_contest.clone();
    for experiment in experiments {
        if experiment.definition.unit == Unit::User
            && let Some(variant) = experiment.variant_of(user.as_str(), terms, now)
        {
            assignments.add(experiment.name.clone(), variant.name.clone());
        }
    }
    assignments
}
