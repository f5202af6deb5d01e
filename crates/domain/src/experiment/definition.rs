//! What an experiment is, and which rules that keeps.

use crate::{
    ids::{RoomId, TaskKind, VariantName},
    money::Coins,
    payout::Rule,
    terms::{BasisPoints, BrokenTerm, ClaimMode, FEE_MAX, TARGET_MAX, Terms},
    time::UnixMillis,
};
use std::collections::BTreeSet;

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

const MONEY_BY_USER: &str = "must be contest or room where a variant changes fee, task_target, payout_rule or \
     claim_mode: viewers of one pool share it, so what changes money is assigned by contest or by room, never by user";

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
