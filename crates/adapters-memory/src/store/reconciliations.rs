//! The reconciliation's own records.

use super::{MemoryStore, longest_waiting, page};
use async_trait::async_trait;
use domain::{finding::RepairOutcome, ids::ContestId, transfer::Position};
use ports::{
    findings::Finding,
    reconciliations::{LoggedRepair, Reconciliations, Run, Watch},
    store::{Committed, PAGE_MAX, Page, StoreError},
};
use std::ops::Bound;
use uuid::Uuid;

impl super::Tables {
    /// A contest that was inserted is watched from now on.
    pub(super) fn begin_watch(&mut self, contest_id: ContestId, now: domain::time::UnixMillis) {
        self.watches.entry(contest_id).or_insert(Watch {
            contest_id,
            position: Position(0),
            walked: None,
            walk_at: now,
            due_at: now,
            final_run: None,
        });
    }
}

#[async_trait]
impl Reconciliations for MemoryStore {
    async fn begin_run(&self, run: &Run) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        let is_new = !tables.runs.contains_key(&run.id);
        tables.runs.entry(run.id).or_insert_with(|| run.clone());
        Ok(is_new)
    }

    async fn advance_run(&self, run: &Run, findings: &[Uuid]) -> Result<Committed, StoreError> {
        let mut tables = self.tables();
        let Some(stored) = tables.runs.get_mut(&run.id) else {
            return Ok(Committed::Missing);
        };
        if stored.version != run.version {
            return Ok(Committed::GuardFailed);
        }
        stored.ended_at = run.ended_at;
        stored.after = run.after;
        stored.totals = run.totals;
        stored.version += 1;
        let pairs = findings.iter().map(|finding| (run.id, *finding));
        tables.run_findings.extend(pairs);
        Ok(Committed::Applied)
    }

    async fn run(&self, id: Uuid) -> Result<Option<Run>, StoreError> {
        Ok(self.tables().runs.get(&id).cloned())
    }

    async fn open_runs(&self, limit: usize) -> Result<Vec<Run>, StoreError> {
        let tables = self.tables();
        let open = tables.runs.values().filter(|run| run.ended_at.is_none());
        Ok(open.take(limit.min(PAGE_MAX)).cloned().collect())
    }

    async fn runs(&self, after: Option<Uuid>, limit: usize) -> Result<Page<Run, Uuid>, StoreError> {
        let before = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tables = self.tables();
        let runs = tables.runs.range((Bound::Unbounded, before)).rev();
        Ok(page(runs.map(|(_, run)| run.clone()), limit, |run| run.id))
    }

    async fn run_findings(
        &self,
        run: Uuid,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<Finding, Uuid>, StoreError> {
        let from = after.map_or(Bound::Included((run, Uuid::nil())), |after| {
            Bound::Excluded((run, after))
        });
        let tables = self.tables();
        let found = tables
            .run_findings
            .range((from, Bound::Included((run, Uuid::max()))))
            .filter_map(|(_, finding)| tables.findings.get(finding).cloned());
        Ok(page(found, limit, |finding| finding.id))
    }

    async fn begin_repair(&self, repair: &LoggedRepair) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let repairs = &mut tables.repairs;
        repairs.entry(repair.id).or_insert_with(|| repair.clone());
        Ok(())
    }

    async fn end_repair(&self, id: Uuid, outcome: RepairOutcome) -> Result<(), StoreError> {
        let now = self.time();
        let mut tables = self.tables();
        if let Some(repair) = tables.repairs.get_mut(&id) {
            repair.ended.get_or_insert((now, outcome));
        }
        Ok(())
    }

    async fn repairs(&self, finding: Uuid) -> Result<Vec<LoggedRepair>, StoreError> {
        let tables = self.tables();
        let of_finding = |repair: &&LoggedRepair| repair.finding_id == finding;
        let repairs = tables.repairs.values().filter(of_finding);
        Ok(repairs.take(PAGE_MAX).cloned().collect())
    }

    async fn watched(&self, limit: usize) -> Result<Vec<Watch>, StoreError> {
        let now = self.time();
        let tables = self.tables();
        let rows = tables.watches.values();
        let rows = rows.map(|watch| (watch.due_at, watch.contest_id, *watch));
        Ok(longest_waiting(rows, now, limit.min(PAGE_MAX)))
    }

    async fn watch(&self, contest: ContestId) -> Result<Option<Watch>, StoreError> {
        Ok(self.tables().watches.get(&contest).copied())
    }

    async fn save_watch(&self, watch: &Watch) -> Result<(), StoreError> {
        if let Some(stored) = self.tables().watches.get_mut(&watch.contest_id) {
            *stored = *watch;
        }
        Ok(())
    }

    async fn unwatch(&self, contest: ContestId) -> Result<(), StoreError> {
        self.tables().watches.remove(&contest);
        Ok(())
    }
}
