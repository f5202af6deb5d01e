//! What goes over the wire. Requests refuse unknown fields; times are RFC 3339 UTC with
//! milliseconds; coins are integers.

use crate::openapi::vocabulary;
use domain::{
    assignment::Assignments,
    contest::Contest,
    money::Coins,
    order::Leg,
    settlement::{Frozen, Totals},
    time::UnixMillis,
};
use serde::{Deserialize, Serialize};
use usecases::{Pool, Seen};
use utoipa::ToSchema;

mod create;
mod events;
mod experiments;
mod report;
mod results;
mod runs;
mod sandbox;
mod settlement;
mod switches;
mod text;

pub(crate) use create::NewContest;
pub(crate) use events::{EventBody, Recorded, parse_events};
pub(crate) use experiments::{
    ChangeView as ExperimentChangeView, ExperimentView, MeetingView, NewDefinition, NewExperiment,
    NewRamp, NewStop,
};
pub(crate) use report::{FindingView, ReportView};
pub(crate) use results::ResultsView;
pub(crate) use runs::{
    FindingDetail, NewOverride, NewResolution, NewRun, OverrideView, RunDetail, RunView,
};
pub(crate) use sandbox::{GrantBody, SandboxAccount};
pub(crate) use settlement::{LeaderboardView, OwnPlaceView, SheetView};
pub(crate) use switches::{NewSetting, SettingView, SwitchView};
pub(crate) use usecases::sheet::rfc3339;

/// A contest.
#[derive(Serialize, ToSchema)]
#[schema(as = Contest)]
pub(crate) struct ContestView {
    #[schema(value_type = vocabulary::ContestId)]
    contest_id: String,
    #[schema(value_type = vocabulary::Title)]
    title: String,
    #[schema(value_type = vocabulary::RoomId)]
    room_id: String,
    /// What a viewer pays to sign up.
    #[schema(value_type = vocabulary::Coins)]
    fee: u64,
    /// What a viewer may choose to pay; only where there is a choice.
    #[schema(value_type = Vec<vocabulary::Coins>, required = false, min_items = 1, max_items = 10)]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fee_tiers: Vec<u64>,
    task: TaskView,
    payout: PayoutView,
    /// The platform's part of the fees, in hundredths of a percent.
    #[schema(minimum = 0, maximum = 10_000)]
    rake_bps: u16,
    /// What the pool holds at least.
    #[schema(value_type = vocabulary::Coins)]
    guaranteed_pool: u64,
    #[schema(value_type = vocabulary::ClaimMode)]
    claim_mode: &'static str,
    #[schema(value_type = vocabulary::NoWinner)]
    no_winner: &'static str,
    #[schema(value_type = vocabulary::Remainder)]
    remainder: &'static str,
    #[schema(value_type = vocabulary::Unclaimed)]
    unclaimed: &'static str,
    /// How long after `tasks_end_at` events may still arrive, in seconds.
    #[schema(minimum = 0, maximum = 3_600)]
    grace_s: i64,
    #[schema(value_type = vocabulary::Time)]
    signup_opens_at: String,
    #[schema(value_type = vocabulary::Time)]
    signup_closes_at: String,
    #[schema(value_type = vocabulary::Time)]
    tasks_end_at: String,
    #[schema(value_type = vocabulary::Time)]
    claim_closes_at: String,
    #[schema(value_type = vocabulary::Phase)]
    pub(crate) phase: &'static str,
    /// Only where it is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::CancelledBecause, required = false)]
    cancel_reason: Option<&'static str>,
    /// Only once it is frozen.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = SettlementView, required = false)]
    pub(crate) settlement: Option<SettlementView>,
    /// When the time to claim ends; only once prizes can be claimed, and while payouts go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Time, required = false)]
    claims_end_at: Option<String>,
    /// Since when nothing is paid out because the books are being checked; only while that is so.
    /// Claims are taken, and paid afterwards; the time to claim is longer by as much.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Time, required = false)]
    payouts_stopped_at: Option<String>,
    #[schema(value_type = vocabulary::Time)]
    created_at: String,
    /// The variants of experiments that it got when it was made, `experiment:variant` with commas between;
    /// what they changed is in its terms. Only where it got any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    variant: Option<String>,
    /// What a viewer who asks meets here of the experiments that run. Only for who asks for one contest, and
    /// where there is any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub(crate) experiments: Vec<MeetingView>,
}

/// The task of a contest.
#[derive(Serialize, ToSchema)]
#[schema(as = Task)]
struct TaskView {
    #[schema(value_type = vocabulary::TaskKind)]
    kind: String,
    /// How much has to be done.
    #[schema(minimum = 1)]
    target: u64,
}

/// How the pool is split.
#[derive(Serialize, ToSchema)]
#[schema(as = Payout)]
struct PayoutView {
    #[schema(value_type = vocabulary::Rule)]
    rule: &'static str,
    /// SHA-256 of the secret of a lucky split; only there.
    #[schema(value_type = vocabulary::Digest, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    commitment: Option<String>,
}

/// What the freeze fixed.
#[derive(Serialize, ToSchema)]
#[schema(as = Settlement)]
pub(crate) struct SettlementView {
    /// What the finishers share.
    #[schema(value_type = vocabulary::Coins)]
    pool: u64,
    /// What the platform keeps of the fees.
    #[schema(value_type = vocabulary::Coins)]
    rake: u64,
    /// How many share it.
    finishers: u64,
    /// The sum of their weights.
    #[schema(value_type = u64)]
    weight_sum: u128,
    #[schema(value_type = vocabulary::Time)]
    frozen_at: String,
    /// Where the funds system closed the pool account to credits.
    #[schema(value_type = u64, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<u64>,
    /// The secret of a lucky split; only there.
    #[schema(value_type = vocabulary::Digest, required = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl ContestView {
    pub(crate) fn new(contest: &Contest, now: UnixMillis) -> Self {
        use domain::contest::Phase;
        let terms = &contest.terms;
        let cancel_reason = match &contest.phase {
            Phase::Cancelling(reason, _) | Phase::Cancelled(reason, _) => Some(reason.name()),
            _ => None,
        };
        Self {
            contest_id: contest.id.to_string(),
            title: contest.title.clone(),
            room_id: terms.room_id.to_string(),
            fee: terms.fee.get(),
            fee_tiers: terms.fee_tiers.iter().map(|tier| tier.get()).collect(),
            task: TaskView {
                kind: terms.task.kind.to_string(),
                target: terms.task.target,
            },
            payout: PayoutView {
                rule: terms.rule.name(),
                commitment: contest.secret.map(|secret| secret.commitment().to_string()),
            },
            rake_bps: terms.rake_bps.get(),
            guaranteed_pool: terms.guaranteed_pool.get(),
            claim_mode: terms.claim_mode.name(),
            no_winner: terms.no_winner.name(),
            remainder: terms.remainder.name(),
            unclaimed: terms.unclaimed.name(),
            grace_s: terms.grace_ms / 1_000,
            signup_opens_at: rfc3339(terms.signup_opens_at),
            signup_closes_at: rfc3339(terms.signup_closes_at),
            tasks_end_at: rfc3339(terms.tasks_end_at),
            claim_closes_at: rfc3339(terms.claim_closes_at),
            phase: contest.public_phase(now).name(),
            cancel_reason,
            settlement: contest
                .phase
                .frozen()
                .map(|(totals, at)| SettlementView::new(contest, totals, at)),
            claims_end_at: contest.claims_end_at().map(rfc3339),
            payouts_stopped_at: contest.stops.since.map(rfc3339),
            created_at: rfc3339(contest.created_at),
            variant: written(&contest.variants),
            experiments: Vec::new(),
        }
    }
}

/// Variants as they are written; nothing for none.
fn written(variants: &Assignments) -> Option<String> {
    (!variants.is_empty()).then(|| variants.to_string())
}

impl SettlementView {
    /// The secret of a lucky split is told here, after the freeze, and nowhere before.
    fn new(contest: &Contest, totals: &Frozen<Totals>, frozen_at: UnixMillis) -> Self {
        let Totals {
            pool,
            rake,
            finishers,
            weight_sum,
            ..
        } = *totals.get();
        Self {
            pool: pool.get(),
            rake: rake.get(),
            finishers,
            weight_sum,
            frozen_at: rfc3339(frozen_at),
            position: contest
                .phase
                .credits_closed()
                .map(|closed| closed.position.0),
            secret: contest.secret.map(|secret| secret.reveal().to_string()),
        }
    }
}

/// The body of a signup: the choice of a fee, where there is one.
#[derive(Deserialize, ToSchema)]
#[schema(as = NewSignup)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignUpBody {
    /// One of the contest's `fee_tiers`; needed where there are any.
    #[schema(minimum = 1, maximum = 1_000_000_000_u64)]
    pub(crate) fee_tier: Option<u64>,
}

/// One viewer's record in one contest.
#[derive(Serialize, ToSchema)]
#[schema(as = Signup)]
pub(crate) struct SignupView {
    #[schema(value_type = vocabulary::SignupId)]
    signup_id: String,
    #[schema(value_type = vocabulary::ContestId)]
    contest_id: String,
    #[schema(value_type = vocabulary::UserId)]
    user_id: String,
    #[schema(value_type = vocabulary::SignupState)]
    state: &'static str,
    /// What was, or is to be, paid.
    #[schema(value_type = vocabulary::Coins)]
    fee: u64,
    #[schema(value_type = vocabulary::OrderId)]
    fee_order_id: String,
    task: ProgressView,
    /// The part in the split; only once it is fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = u64, required = false, minimum = 1)]
    weight: Option<u64>,
    /// Only once it is claimed or being paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Coins, required = false)]
    prize: Option<u64>,
    /// What goes back or went back: the fee, or what had really moved instead of it. Only in states in
    /// which something does.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Coins, required = false)]
    refund: Option<u64>,
    /// The order that pays the prize.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::OrderId, required = false)]
    claim_order_id: Option<String>,
    /// The variants of experiments that it got, `experiment:variant` with commas between; only where it got
    /// any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(required = false)]
    variant: Option<String>,
    /// Rises with every change.
    version: u64,
    #[schema(value_type = vocabulary::Time)]
    created_at: String,
    #[schema(value_type = vocabulary::Time)]
    updated_at: String,
}

/// The task and how far it is.
#[derive(Serialize, ToSchema)]
#[schema(as = Progress)]
struct ProgressView {
    #[schema(value_type = vocabulary::TaskKind)]
    kind: String,
    /// How much has to be done.
    #[schema(minimum = 1)]
    target: u64,
    /// How much of it was counted so far.
    done: u64,
}

impl SignupView {
    pub(crate) fn new(seen: &Seen) -> Self {
        let Seen {
            contest,
            signup,
            done,
        } = seen;
        let prize = signup.state.prize();
        // A draw is told when nobody can stop the contest any more: until the freeze it can be
        // cancelled, and must not be for what was drawn.
        let terms = &contest.terms;
        let is_known = terms.rule.is_fixed_at_completion() || contest.phase.frozen().is_some();
        let weight = signup.state.weight().filter(|_| is_known);
        let claim_order = Leg::Prize(signup.contest_id, signup.user_id.clone()).order_id();
        Self {
            signup_id: signup.id.to_string(),
            contest_id: signup.contest_id.to_string(),
            user_id: signup.user_id.to_string(),
            state: signup.state.kind().name(),
            fee: signup.fee.get(),
            fee_order_id: signup.fee_order().to_string(),
            task: ProgressView {
                kind: contest.terms.task.kind.to_string(),
                target: contest.terms.task.target,
                done: *done,
            },
            weight: weight.map(domain::payout::Weight::get),
            prize: prize.map(Coins::get),
            refund: signup.state.refund().map(Coins::get),
            claim_order_id: prize.map(|_| claim_order.to_string()),
            variant: written(&signup.variants),
            version: signup.version,
            created_at: rfc3339(signup.created_at),
            updated_at: rfc3339(signup.updated_at),
        }
    }
}

/// A page of a list.
#[derive(Serialize, ToSchema)]
#[schema(as = Page)]
pub(crate) struct Items<T> {
    /// What is on this page.
    pub(crate) items: Vec<T>,
    /// Where the next page begins; null on the last one.
    #[schema(value_type = Option<vocabulary::Cursor>, required = true)]
    pub(crate) next_cursor: Option<String>,
}

/// The pool: as it would be frozen now, and from the freeze on as it was.
#[derive(Serialize, ToSchema)]
#[schema(as = Pool)]
pub(crate) struct PoolView {
    /// What the finishers would share.
    #[schema(value_type = vocabulary::Coins)]
    amount: u64,
    #[schema(value_type = vocabulary::PoolSource)]
    source: &'static str,
    #[schema(value_type = vocabulary::Time)]
    as_of: String,
    /// Who finished so far.
    finishers: u64,
    /// A part of it for one of them, and before there are any for the first.
    #[schema(value_type = vocabulary::Coins)]
    estimated_prize: u64,
}

impl From<Pool> for PoolView {
    fn from(
        Pool {
            amount,
            finishers,
            estimated_prize,
            as_of,
            is_from_funds,
        }: Pool,
    ) -> Self {
        Self {
            amount: amount.get(),
            source: if is_from_funds { "funds" } else { "cache" },
            as_of: rfc3339(as_of),
            finishers,
            estimated_prize: estimated_prize.get(),
        }
    }
}
