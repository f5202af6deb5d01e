//! What the reconciliation writes down about itself, as flat rows.

use crate::record::{Context, column};
use domain::{
    finding::RepairOutcome,
    ids::{ContestId, SignupId},
    order::OrderId,
    time::UnixMillis,
    transfer::Position,
};
use ports::{
    reconciliations::{LoggedRepair, Run, Scope, Totals, Watch},
    store::StoreError,
};
use uuid::Uuid;

/// The columns of a run, in the order of [`RunRecord::COLUMNS`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the migration documents the columns")]
pub struct RunRecord {
    pub run_id: Uuid,
    pub from_contest: Uuid,
    pub to_contest: Uuid,
    pub asked_by: Option<String>,
    pub is_dry: bool,
    pub asked_at: i64,
    pub ended_at: Option<i64>,
    pub after_contest: Option<Uuid>,
    pub contests: i64,
    pub failed: i64,
    pub signups: i64,
    pub transfers: i64,
    pub differences: i64,
    pub repaired: i64,
    pub repaired_coins: i64,
    pub over_limits: i64,
    pub version: i64,
}

impl From<&Run> for RunRecord {
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
            run_id: run.id,
            from_contest: run.scope.from.0,
            to_contest: run.scope.to.0,
            asked_by: run.asked_by.as_ref().map(ToString::to_string),
            is_dry: run.is_dry,
            asked_at: run.asked_at.0,
            ended_at: run.ended_at.map(|at| at.0),
            after_contest: run.after.map(|after| after.0),
            contests: column(contests),
            failed: column(failed),
            signups: column(signups),
            transfers: column(transfers),
            differences: column(differences),
            repaired: column(repaired),
            repaired_coins: column(coins),
            over_limits: column(over_limits),
            version: column(run.version),
        }
    }
}

impl RunRecord {
    /// The columns, for SELECT and INSERT.
    pub const COLUMNS: &'static str = "run_id, from_contest, to_contest, asked_by, is_dry, asked_at, ended_at, \
         after_contest, contests, failed, signups, transfers, differences, repaired, repaired_coins, over_limits, version";

    /// The run.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] for a row that no run has.
    pub fn parse(&self) -> Result<Run, StoreError> {
        let key = self.run_id.hyphenated().to_string();
        let context = Context {
            table: "reconciliation",
            key: &key,
        };
        let count = |column, number| context.count(column, number);
        Ok(Run {
            id: self.run_id,
            scope: Scope {
                from: ContestId(self.from_contest),
                to: ContestId(self.to_contest),
            },
            asked_by: context.maybe_parsed("asked_by", self.asked_by.clone())?,
            is_dry: self.is_dry,
            asked_at: UnixMillis(self.asked_at),
            ended_at: self.ended_at.map(UnixMillis),
            after: self.after_contest.map(ContestId),
            totals: Totals {
                contests: count("contests", self.contests)?,
                failed: count("failed", self.failed)?,
                signups: count("signups", self.signups)?,
                transfers: count("transfers", self.transfers)?,
                differences: count("differences", self.differences)?,
                repaired: count("repaired", self.repaired)?,
                coins: count("repaired_coins", self.repaired_coins)?,
                over_limits: count("over_limits", self.over_limits)?,
            },
            version: count("version", self.version)?,
        })
    }
}

/// The columns of a repair, in the order of [`RepairRecord::COLUMNS`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the migration documents the columns")]
pub struct RepairRecord {
    pub repair_id: Uuid,
    pub finding_id: Uuid,
    pub run_id: Option<Uuid>,
    pub repaired_by: Option<String>,
    pub contest_id: Uuid,
    pub order_id: String,
    pub what: String,
    pub evidence: String,
    pub coins: i64,
    pub begun_at: i64,
    pub ended_at: Option<i64>,
    pub outcome: Option<String>,
}

impl From<&LoggedRepair> for RepairRecord {
    fn from(repair: &LoggedRepair) -> Self {
        Self {
            repair_id: repair.id,
            finding_id: repair.finding_id,
            run_id: repair.run_id,
            repaired_by: repair.by.as_ref().map(ToString::to_string),
            contest_id: repair.contest_id.0,
            order_id: repair.order_id.to_string(),
            what: repair.what.clone(),
            evidence: repair.evidence.clone(),
            coins: repair.coins.as_i64(),
            begun_at: repair.begun_at.0,
            ended_at: repair.ended.map(|(at, _)| at.0),
            outcome: repair.ended.map(|(_, outcome)| outcome.name().to_owned()),
        }
    }
}

impl RepairRecord {
    /// The columns, for SELECT and INSERT.
    pub const COLUMNS: &'static str = "repair_id, finding_id, run_id, repaired_by, contest_id, order_id, what, evidence, \
         coins, begun_at, ended_at, outcome";

    /// The repair.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] for a row that no repair has.
    pub fn parse(self) -> Result<LoggedRepair, StoreError> {
        let key = self.repair_id.hyphenated().to_string();
        let context = Context {
            table: "repair",
            key: &key,
        };
        let ended = match (self.ended_at, &self.outcome) {
            (None, None) => None,
            (Some(at), Some(outcome)) => Some((
                UnixMillis(at),
                context.named("outcome", outcome, RepairOutcome::named)?,
            )),
            _ => return Err(context.inconsistent("ended_at and outcome do not agree")),
        };
        Ok(LoggedRepair {
            id: self.repair_id,
            finding_id: self.finding_id,
            run_id: self.run_id,
            by: context.maybe_parsed("repaired_by", self.repaired_by)?,
            contest_id: ContestId(self.contest_id),
            order_id: context.parsed::<OrderId>("order_id", &self.order_id)?,
            coins: context.coins("coins", self.coins)?,
            begun_at: UnixMillis(self.begun_at),
            ended,
            what: self.what,
            evidence: self.evidence,
        })
    }
}

/// The columns of a watch, in the order of [`WatchRecord::COLUMNS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the migration documents the columns")]
pub struct WatchRecord {
    pub contest_id: Uuid,
    pub position: i64,
    pub walked: Option<Uuid>,
    pub walk_at: i64,
    pub due_at: i64,
    pub final_run: Option<Uuid>,
}

impl From<&Watch> for WatchRecord {
    fn from(watch: &Watch) -> Self {
        Self {
            contest_id: watch.contest_id.0,
            position: column(watch.position.0),
            walked: watch.walked.map(|walked| walked.0),
            walk_at: watch.walk_at.0,
            due_at: watch.due_at.0,
            final_run: watch.final_run,
        }
    }
}

impl WatchRecord {
    /// The columns, for SELECT and INSERT.
    pub const COLUMNS: &'static str = "contest_id, position, walked, walk_at, due_at, final_run";

    /// The watch.
    ///
    /// # Errors
    /// [`StoreError::Inconsistent`] for a row that no watch has.
    pub fn parse(&self) -> Result<Watch, StoreError> {
        let key = self.contest_id.hyphenated().to_string();
        let context = Context {
            table: "watch",
            key: &key,
        };
        Ok(Watch {
            contest_id: ContestId(self.contest_id),
            position: Position(context.count("position", self.position)?),
            walked: self.walked.map(SignupId),
            walk_at: UnixMillis(self.walk_at),
            due_at: UnixMillis(self.due_at),
            final_run: self.final_run,
        })
    }
}
