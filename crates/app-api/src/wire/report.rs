//! What operators read: reports and findings.

use super::{ContestView, rfc3339};
use domain::{
    invariant::{Invariant, Violation},
    money::Coins,
    signup::StateKind,
    time::UnixMillis,
};
use ports::{contests::StateCount, findings::Finding};
use serde::Serialize;
use usecases::Report;

#[derive(Serialize)]
struct CountView {
    state: &'static str,
    signups: u64,
    fees: u64,
    prizes: u64,
}

#[derive(Serialize)]
struct LegView {
    leg: &'static str,
    amount: u64,
    applied: bool,
}

#[derive(Serialize)]
pub(crate) struct FindingView {
    finding_id: String,
    class: &'static str,
    contest_id: String,
    subject: String,
    evidence: String,
    found_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    settled_at: Option<String>,
}

impl From<&Finding> for FindingView {
    fn from(finding: &Finding) -> Self {
        Self {
            finding_id: finding.id.to_string(),
            class: finding.class.name(),
            contest_id: finding.contest_id.to_string(),
            subject: finding.subject.clone(),
            evidence: finding.evidence.clone(),
            found_at: rfc3339(finding.found_at),
            settled_at: finding.settled_at.map(rfc3339),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ReportView {
    contest: ContestView,
    signups: u64,
    counts: Vec<CountView>,
    funnel: Funnel,
    money: Money,
    invariants: Vec<InvariantView>,
    findings: Vec<FindingView>,
}

#[derive(Serialize)]
struct InvariantView {
    name: &'static str,
    /// Null where it was not checked: something is under way, or these books do not show it.
    holds: Option<bool>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    evidence: Vec<String>,
}

fn invariants(violations: Option<&[Violation]>) -> Vec<InvariantView> {
    let view = |invariant: &Invariant| {
        // A history and a tally are not among the books of a contest.
        let is_shown = !matches!(invariant, Invariant::ForwardOnly | Invariant::TallyTrue);
        let evidence: Vec<String> = violations
            .unwrap_or_default()
            .iter()
            .filter(|violation| violation.invariant == *invariant)
            .map(|violation| violation.evidence.clone())
            .collect();
        let holds = violations.filter(|_| is_shown).map(|_| evidence.is_empty());
        InvariantView {
            name: invariant.name(),
            holds,
            evidence,
        }
    };
    Invariant::ALL.iter().map(view).collect()
}

#[derive(Serialize)]
struct Funnel {
    signed_up: u64,
    paid: u64,
    finished: u64,
    claimed: u64,
}

#[derive(Serialize)]
struct Money {
    /// What the pool account holds now.
    held: Option<u64>,
    fees: u64,
    prizes: u64,
    refunds: u64,
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
            violations,
        } = report;
        let signups = |wanted: &dyn Fn(StateKind) -> bool| {
            counts
                .iter()
                .filter(|count| wanted(count.state))
                .map(|count| count.signups)
                .sum()
        };
        let coins = |wanted: &dyn Fn(StateKind) -> bool, of: fn(&StateCount) -> Coins| {
            counts
                .iter()
                .filter(|count| wanted(count.state))
                .map(|count| of(count).get())
                .sum()
        };
        let finished = |state| {
            matches!(
                state,
                StateKind::Completed
                    | StateKind::Claiming
                    | StateKind::Shared
                    | StateKind::Forfeited
            )
        };
        let legs = contest.legs.iter().map(|(leg, state)| LegView {
            leg: leg.name(),
            amount: state.amount.get(),
            applied: matches!(state.outcome, LegOutcome::Applied(_)),
        });
        Self {
            contest: ContestView::new(contest, now),
            signups: signups(&|_| true),
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
                signed_up: signups(&|_| true),
                paid: signups(&StateKind::is_paid),
                finished: signups(&finished),
                claimed: signups(&|state| state == StateKind::Shared),
            },
            money: Money {
                held: balance.map(Coins::get),
                fees: coins(&StateKind::is_paid, |count| count.fees),
                prizes: coins(&|state| state == StateKind::Shared, |count| count.prizes),
                refunds: coins(&|state| state == StateKind::Refunded, |count| count.fees),
                own_legs: legs.collect(),
            },
            invariants: invariants(violations.as_deref()),
            findings: findings.iter().map(FindingView::from).collect(),
        }
    }
}
