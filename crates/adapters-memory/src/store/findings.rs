//! Findings: written once, settled once, never deleted.

use super::{MemoryStore, page};
use async_trait::async_trait;
use domain::{finding::FindingClass, ids::ContestId};
use ports::{
    findings::{Finding, FindingFilter, Findings},
    store::{Page, StoreError},
};
use std::ops::Bound;
use uuid::Uuid;

#[async_trait]
impl Findings for MemoryStore {
    async fn raise(&self, finding: &Finding) -> Result<bool, StoreError> {
        let mut tables = self.tables();
        // A repeat whose first answer was lost finds its own id, perhaps settled since.
        let is_known = tables.findings.contains_key(&finding.id)
            || tables
                .findings
                .values()
                .any(|open| is_open(open, finding.class, finding.contest_id, &finding.subject));
        if is_known {
            return Ok(false);
        }
        tables.findings.insert(finding.id, finding.clone());
        Ok(true)
    }

    async fn settle(
        &self,
        class: FindingClass,
        contest: ContestId,
        subject: &str,
    ) -> Result<(), StoreError> {
        let now = self.time();
        let mut tables = self.tables();
        let open = tables
            .findings
            .values_mut()
            .find(|finding| is_open(finding, class, contest, subject));
        if let Some(finding) = open {
            finding.settled_at = Some(now);
        }
        Ok(())
    }

    async fn list(
        &self,
        filter: FindingFilter,
        after: Option<Uuid>,
        limit: usize,
    ) -> Result<Page<Finding, Uuid>, StoreError> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let tables = self.tables();
        let found = tables
            .findings
            .range((from, Bound::Unbounded))
            .map(|(_, finding)| finding)
            .filter(|finding| filter.contest.is_none_or(|id| finding.contest_id == id))
            .filter(|finding| {
                filter
                    .open
                    .is_none_or(|open| finding.settled_at.is_none() == open)
            })
            .cloned();
        Ok(page(found, limit, |finding| finding.id))
    }
}

fn is_open(finding: &Finding, class: FindingClass, contest: ContestId, subject: &str) -> bool {
    finding.settled_at.is_none()
        && finding.class == class
        && finding.contest_id == contest
        && finding.subject == subject
}
