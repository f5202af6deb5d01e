//! Runs of the reconciliation and repairs on the wire.

use super::{ContestView, FindingView, SignupView, rfc3339, text::is_note};
use crate::{
    extract::parse_id,
    openapi::vocabulary,
    problem::{FaultCode, Problem},
};
use domain::ids::FindingId;
use ports::{
    findings::{Finding, NOTE_MAX},
    reconciliations::{LoggedRepair, Run, Scope, Totals},
    store::Page,
};
use serde::{Deserialize, Serialize};
use usecases::overrides::{Accepted, FINDINGS_MAX};
use utoipa::ToSchema;
use uuid::Uuid;

/// What a note must be.
const NOTE_RULE: &str =
    "must be 1 to 1000 characters, one of them visible, without control characters but line breaks";

/// What is to be reconciled.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewReconciliation)]
pub(crate) struct NewRun {
    /// This contest alone; all of them where it is left out.
    #[schema(value_type = Option<vocabulary::ContestId>)]
    contest_id: Option<String>,
    /// Whether differences are only told, and nothing is repaired.
    #[schema(default = false)]
    dry_run: Option<bool>,
}

impl NewRun {
    /// The contests, and whether nothing is repaired.
    pub(crate) fn parse(&self) -> Result<(Scope, bool), Problem> {
        let contest = self.contest_id.as_deref().map(parse_id).transpose();
        let contest = contest.map_err(|error| {
            Problem::fault("/contest_id", FaultCode::InvalidId, error.to_string())
        })?;
        let scope = contest.map_or(Scope::ALL, Scope::one);
        Ok((scope, self.dry_run.unwrap_or(false)))
    }
}

/// Why a finding is settled.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewResolution)]
pub(crate) struct NewResolution {
    #[schema(value_type = vocabulary::Note)]
    note: String,
}

impl NewResolution {
    /// The note.
    pub(crate) fn parse(self) -> Result<String, Problem> {
        if is_note(&self.note, NOTE_MAX) {
            return Ok(self.note);
        }
        Err(Problem::fault("/note", FaultCode::OutOfRange, NOTE_RULE))
    }
}

/// What is overridden, and why.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewOverride)]
pub(crate) struct NewOverride {
    /// The open findings of the contest that are overridden.
    #[schema(value_type = Vec<vocabulary::FindingId>, min_items = 1, max_items = 1_000)]
    finding_ids: Vec<String>,
    /// What the pool is expected to hold more than the rows allow, below zero less: where it is something
    /// else by then, nothing is overridden. Without it, whatever it is at that moment is accepted.
    #[schema(minimum = -9_007_199_254_740_991_i64, maximum = 9_007_199_254_740_991_i64)]
    accepted_gap: Option<i64>,
    /// Why, for whoever looks later.
    #[schema(value_type = vocabulary::Note)]
    reason: String,
}

impl NewOverride {
    /// The findings, the expected gap and the reason.
    pub(crate) fn parse(self) -> Result<(Vec<Uuid>, Option<i64>, String), Problem> {
        if !(1..=FINDINGS_MAX).contains(&self.finding_ids.len()) {
            return Err(Problem::fault(
                "/finding_ids",
                FaultCode::OutOfRange,
                format!("must be 1 to {FINDINGS_MAX} findings"),
            ));
        }
        let mut ids = Vec::with_capacity(self.finding_ids.len());
        for (index, text) in self.finding_ids.iter().enumerate() {
            let id: FindingId = parse_id(text).map_err(|error| {
                let place = format!("/finding_ids/{index}");
                Problem::fault(place, FaultCode::InvalidId, error.to_string())
            })?;
            ids.push(id.0);
        }
        if !is_note(&self.reason, NOTE_MAX) {
            return Err(Problem::fault("/reason", FaultCode::OutOfRange, NOTE_RULE));
        }
        Ok((ids, self.accepted_gap, self.reason))
    }
}

/// What an override decided.
#[derive(Serialize, ToSchema)]
#[schema(as = Override)]
pub(crate) struct OverrideView {
    contest: ContestView,
    /// How many coins more than the rows allow the pool may hold, below zero less: what is missing is
    /// taken from the pool that is split, what is too much leaves with the sweep. 0 where the books
    /// balance, or where that is not decided yet.
    accepted_gap: i64,
    /// The signups that were blocked and are decided now.
    signups: Vec<SignupView>,
    /// The findings, resolved; one that a freeze or a close raised stays open while fees are on their way
    /// back: repeat the call when they are there.
    findings: Vec<FindingView>,
}

impl OverrideView {
    pub(crate) fn new(accepted: &Accepted, contest: ContestView) -> Self {
        Self {
            contest,
            accepted_gap: accepted.contest.stops.accepted,
            signups: accepted.signups.iter().map(SignupView::new).collect(),
            findings: accepted.findings.iter().map(FindingView::from).collect(),
        }
    }
}

/// A run of the reconciliation.
#[derive(Serialize, ToSchema)]
#[schema(as = Reconciliation)]
pub(crate) struct RunView {
    #[schema(value_type = vocabulary::RunId)]
    run_id: String,
    /// The contest; left out where it is about all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::ContestId, required = false)]
    contest_id: Option<String>,
    /// Who asked for it; left out where the end of a contest did.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::UserId, required = false)]
    asked_by: Option<String>,
    /// True where differences are only told.
    dry_run: bool,
    #[schema(value_type = vocabulary::RunStatus)]
    status: &'static str,
    #[schema(value_type = vocabulary::Time)]
    asked_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Time, required = false)]
    ended_at: Option<String>,
    totals: TotalsView,
}

/// What a run came to so far.
#[derive(Serialize, ToSchema)]
#[schema(as = ReconciliationTotals)]
struct TotalsView {
    /// Contests that were compared.
    contests: u64,
    /// Contests that could not be: one of the two sides did not answer.
    failed: u64,
    /// Signups that were read.
    signups: u64,
    /// Transfers that were read.
    transfers: u64,
    /// What differed.
    differences: u64,
    /// What was repaired.
    repaired: u64,
    /// The coins that repairs may have moved.
    #[schema(value_type = vocabulary::Coins)]
    repaired_coins: u64,
    /// Contests in which nothing was repaired because more was to be repaired than a run may.
    over_limits: u64,
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> Self {
        let Totals {
            contests,
            failed,
            signups,
            transfers,
            differences,
            repaired,
            coins,
            over_limits,
        } = run.totals;
        Self {
            run_id: run.id.to_string(),
            contest_id: run.scope.contest().map(|id| id.to_string()),
            asked_by: run.asked_by.as_ref().map(ToString::to_string),
            dry_run: run.is_dry,
            status: if run.ended_at.is_some() {
                "ended"
            } else {
                "running"
            },
            asked_at: rfc3339(run.asked_at),
            ended_at: run.ended_at.map(rfc3339),
            totals: TotalsView {
                contests,
                failed,
                signups,
                transfers,
                differences,
                repaired,
                repaired_coins: coins,
                over_limits,
            },
        }
    }
}

/// A run and what it found.
#[derive(Serialize, ToSchema)]
#[schema(as = ReconciliationDetail)]
pub(crate) struct RunDetail {
    #[serde(flatten)]
    run: RunView,
    /// What it found, the oldest first.
    findings: Vec<FindingView>,
    /// Where the next page of findings begins; null at the end.
    #[schema(value_type = Option<vocabulary::Cursor>, required = true)]
    next_cursor: Option<String>,
}

impl RunDetail {
    pub(crate) fn new(run: &Run, page: &Page<Finding, Uuid>) -> Self {
        Self {
            run: RunView::from(run),
            findings: page.items.iter().map(FindingView::from).collect(),
            next_cursor: page.next.map(|id| id.to_string()),
        }
    }
}

/// A finding and every repair that was made because of it.
#[derive(Serialize, ToSchema)]
#[schema(as = FindingDetail)]
pub(crate) struct FindingDetail {
    #[serde(flatten)]
    finding: FindingView,
    /// The oldest first.
    repairs: Vec<RepairView>,
}

impl FindingDetail {
    pub(crate) fn new(finding: &Finding, repairs: &[LoggedRepair]) -> Self {
        Self {
            finding: FindingView::from(finding),
            repairs: repairs.iter().map(RepairView::from).collect(),
        }
    }
}

/// A repair.
#[derive(Serialize, ToSchema)]
#[schema(as = Repair)]
struct RepairView {
    #[schema(value_type = vocabulary::RepairId)]
    repair_id: String,
    /// The run in which it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::RunId, required = false)]
    run_id: Option<String>,
    /// The operator on whose call it was made; left out where nobody had to call.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::UserId, required = false)]
    repaired_by: Option<String>,
    #[schema(value_type = vocabulary::OrderId)]
    order_id: String,
    /// What was done.
    what: String,
    /// What both sides said.
    evidence: String,
    /// The coins that it may have moved.
    #[schema(value_type = vocabulary::Coins)]
    coins: u64,
    #[schema(value_type = vocabulary::Time)]
    begun_at: String,
    /// Left out while it is not known how it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::Time, required = false)]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = vocabulary::RepairOutcome, required = false)]
    outcome: Option<&'static str>,
}

impl From<&LoggedRepair> for RepairView {
    fn from(repair: &LoggedRepair) -> Self {
        Self {
            repair_id: repair.id.to_string(),
            run_id: repair.run_id.map(|id| id.to_string()),
            repaired_by: repair.by.as_ref().map(ToString::to_string),
            order_id: repair.order_id.to_string(),
            what: repair.what.clone(),
            evidence: repair.evidence.clone(),
            coins: repair.coins.get(),
            begun_at: rfc3339(repair.begun_at),
            ended_at: repair.ended.map(|(at, _)| rfc3339(at)),
            outcome: repair.ended.map(|(_, outcome)| outcome.name()),
        }
    }
}
