//! What operators read: reports and findings.

use super::{ContestView, rfc3339};
use crate::openapi::vocabulary;
use domain::{money::Coins, time::UnixMillis};
use ports::findings::Finding;
use serde::Serialize;
use usecases::{Report, VariantFunnel};
use utoipa::ToSchema;

/// The signups of one state.
#[derive(Serialize, ToSchema)]
#[schema(as = StateCount)]
struct CountView {
    #[schema(value_type = vocabulary::SignupState)]
    state: &'static str,
    /// How many.
    signups: u64,
    /// The sum of their fees.
    #[schema(value_type = vocabulary::Coins)]
    fees: u64,
    /// The sum of their prizes.
    #[schema(value_type = vocabulary::Coins)]
    prizes: u64,
}

/// What the contest moved, or is about to move, in its own name.
#[derive(Serialize, ToSchema)]
#[schema(as = OwnLeg)]
struct LegView {
    #[schema(value_type = vocabulary::OwnLegName)]
    leg: &'static str,
    #[schema(value_type = vocabulary::Coins)]
    amount: u64,
    /// True once it is known to have moved.
    applied: bool,
}

/// One difference between our rows and the funds system.
#[derive(Serialize, ToSchema)]
#[schema(as = Finding)]
pub(crate) struct FindingView {
    #[schema(value_type = vocabulary::FindingId)]
    finding_id: String,
    #[schema(value_type = vocabulary::FindingKind)]
    class: &'static str,
    #[schema(value_type = vocabulary::ContestId)]
    contest_id: String,
    /// What it is about: a signup id, an order id or an account.
    subject: String,
    /// The viewer, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::UserId, required = false)]
    user_id: Option<String>,
    /// What was seen, on both sides.
    evidence: String,
    #[schema(value_type = vocabulary::Time)]
    found_at: String,
    /// When it was settled; only where it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Time, required = false)]
    settled_at: Option<String>,
    /// Who resolved it; only where a person did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::UserId, required = false)]
    resolved_by: Option<String>,
    /// Why; only where a person did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Note, required = false)]
    note: Option<String>,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        Self {
            finding_id: finding.id.to_string(),
            class: finding.class.name(),
            contest_id: finding.contest_id.to_string(),
            subject: finding.subject.clone(),
            user_id: finding.user_id.as_ref().map(ToString::to_string),
            evidence: finding.evidence.clone(),
            found_at: rfc3339(finding.found_at),
            settled_at: finding.settled_at.map(rfc3339),
            resolved_by: finding.resolution.as_ref().map(|said| said.by.to_string()),
            note: finding.resolution.as_ref().map(|said| said.note.clone()),
        }
    }
}

/// A contest with everything that was counted and checked.
#[derive(Serialize, ToSchema)]
#[schema(as = Report)]
pub(crate) struct ReportView {
    contest: ContestView,
    /// How many signed up.
    signups: u64,
    /// The signups by state.
    counts: Vec<CountView>,
    funnel: Funnel,
    money: Money,
    invariants: Vec<InvariantView>,
    findings: Vec<FindingView>,
    /// How far those came who met an experiment, by its variants; empty where nobody did.
    variants: Vec<VariantFunnelView>,
}

/// How far those came who met a variant.
#[derive(Serialize, ToSchema)]
#[schema(as = VariantFunnel)]
struct VariantFunnelView {
    #[schema(value_type = vocabulary::ExperimentName)]
    experiment: String,
    #[schema(value_type = vocabulary::VariantName)]
    variant: String,
    /// Who met it.
    exposed: u64,
    signed_up: u64,
    paid: u64,
    finished: u64,
    claimed: u64,
    refunded: u64,
    /// Who asked to sign up and did not pay: refused, not known yet, or never paid.
    charge_failed: u64,
    #[schema(value_type = vocabulary::Coins)]
    coins_in: u64,
    #[schema(value_type = vocabulary::Coins)]
    coins_out: u64,
}

impl From<&VariantFunnel> for VariantFunnelView {
    fn from(funnel: &VariantFunnel) -> Self {
        use domain::signup::StateKind;
        let is_back = |kind: StateKind| matches!(kind, StateKind::Refunding | StateKind::Refunded);
        let is_finished = |kind: StateKind| {
            matches!(
                kind,
                StateKind::Completed
                    | StateKind::Claiming
                    | StateKind::Shared
                    | StateKind::Forfeited
            )
        };
        Self {
            experiment: funnel.experiment.to_string(),
            variant: funnel.variant.to_string(),
            exposed: funnel.exposed,
            signed_up: funnel.count(|_| true),
            paid: funnel.count(StateKind::is_paid),
            finished: funnel.count(is_finished),
            claimed: funnel.count(|kind| kind == StateKind::Shared),
            refunded: funnel.count(is_back),
            charge_failed: funnel.count(|kind| !kind.is_paid()),
            coins_in: funnel.coins(|kind| kind.is_paid() && !is_back(kind), |one| one.fees),
            coins_out: funnel.coins(|kind| kind == StateKind::Shared, |one| one.prizes),
        }
    }
}

/// One invariant and whether it holds.
#[derive(Serialize, ToSchema)]
#[schema(as = InvariantCheck)]
struct InvariantView {
    #[schema(value_type = vocabulary::InvariantName)]
    name: &'static str,
    /// Null where it was not checked: something is under way, or these books do not show it.
    #[schema(required = true)]
    holds: Option<bool>,
    /// What breaks it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<String>,
}

/// How far viewers came.
#[derive(Serialize, ToSchema)]
struct Funnel {
    /// Who asked to sign up.
    signed_up: u64,
    /// Whose fee was paid.
    paid: u64,
    /// Who completed the task.
    finished: u64,
    /// Whose prize was paid.
    claimed: u64,
}

/// Coins in and out.
#[derive(Serialize, ToSchema)]
struct Money {
    /// What the pool account holds now.
    #[schema(value_type = Option<vocabulary::Coins>, required = true)]
    held: Option<u64>,
    /// Fees of all who paid.
    #[schema(value_type = vocabulary::Coins)]
    fees: u64,
    /// Prizes paid.
    #[schema(value_type = vocabulary::Coins)]
    prizes: u64,
    /// Fees that went back.
    #[schema(value_type = vocabulary::Coins)]
    refunds: u64,
    /// What the contest moved in its own name.
    own_legs: Vec<LegView>,
}

impl ReportView {
    pub(crate) fn new(report: &Report, now: UnixMillis) -> Self {
        use domain::contest::LegOutcome;
        let Report {
            contest,
            counts,
            balance,
            findings,
            variants,
            violations: _,
        } = report;
        let legs = contest.legs.iter().map(|(leg, state)| LegView {
            leg: leg.name(),
            amount: state.amount.get(),
            applied: matches!(state.outcome, LegOutcome::Applied(_)),
        });
        Self {
            contest: ContestView::new(contest, now),
            signups: report.signed_up(),
            counts: counts
                .iter()
                .map(|count| CountView {
                    state: count.state.name(),
                    signups: count.signups,
                    fees: count.fees.get(),
                    prizes: count.prizes.get(),
                })
                .collect(),
            funnel: Funnel {
                signed_up: report.signed_up(),
                paid: report.paid(),
                finished: report.finished(),
                claimed: report.claimed(),
            },
            money: Money {
                held: balance.map(Coins::get),
                fees: report.fees(),
                prizes: report.prizes(),
                refunds: report.refunds(),
                own_legs: legs.collect(),
            },
            invariants: report
                .invariants()
                .map(|(invariant, holds, evidence)| InvariantView {
                    name: invariant.name(),
                    holds,
                    evidence,
                })
                .collect(),
            findings: findings.iter().map(FindingView::from).collect(),
            variants: variants.iter().map(VariantFunnelView::from).collect(),
        }
    }
}
