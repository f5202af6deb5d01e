//! Findings: written once, settled once, never deleted.

use super::{MemoryStore, page};
use async_trait::async_trait;
use domain::{finding::FindingClass, ids::ContestId, notice::NoticeKind};
use ports::{
    findings::{Finding, FindingFilter, Findings, OpenFindings, Raised, Resolution, Resolved},
    store::{Page, StoreError},
};
use std::ops::Bound;
use uuid::Uuid;

#[async_trait]
impl Findings for MemoryStore {
    async fn raise(&self, finding: &Finding) -> Result<Raised, StoreError> {
        let mut tables = self.tables();
        // A repeat whose first answer was lost finds its own id, perhaps settled since.
        let mut known = tables
            .findings
            .contains_key(&finding.id)
            .then_some(finding.id);
        if known.is_none() {
            let last = tables
                .findings
                .values()
                .rfind(|last| is_of_kind(last, finding));
            // Settled by a person, who had seen just this.
            let is_known = |last: &&Finding| {
                last.settled_at.is_none()
                    || (last.resolution.is_some() && last.evidence == finding.evidence)
            };
            known = last.filter(is_known).map(|last| last.id);
        }
        if let Some(id) = known {
            let is_open = tables.findings[&id].settled_at.is_none();
            return Ok(Raised {
                id,
                is_new: false,
                is_open,
            });
        }
        tables.findings.insert(finding.id, finding.clone());
        let (kind, now) = (NoticeKind::FindingRaised, self.time());
        tables.note(kind, finding.contest_id, Some(finding.id), now);
        Ok(Raised {
            id: finding.id,
            is_new: true,
            is_open: true,
        })
    }

    async fn settle(
        &self,
        class: FindingClass,
        contest: ContestId,
        subject: &str,
    ) -> Result<(), StoreError> {
        let now = self.time();
        let mut tables = self.tables();
        let open = tables.findings.values_mut().find(|finding| {
            finding.settled_at.is_none()
                && (finding.class, finding.contest_id) == (class, contest)
                && finding.subject == subject
        });
        if let Some(finding) = open {
            finding.settled_at = Some(now);
            let id = finding.id;
            tables.note(NoticeKind::FindingSettled, contest, Some(id), now);
        }
        Ok(())
    }

    async fn resolve(&self, id: Uuid, resolution: &Resolution) -> Result<Resolved, StoreError> {
        let now = self.time();
        let mut tables = self.tables();
        let Some(finding) = tables.findings.get_mut(&id) else {
            return Ok(Resolved::Missing);
        };
        let was_open = finding.settled_at.is_none();
        if was_open {
            finding.settled_at = Some(now);
            finding.resolution = Some(resolution.clone());
        }
        let finding = finding.clone();
        if was_open {
            tables.note(
                NoticeKind::FindingSettled,
                finding.contest_id,
                Some(id),
                now,
            );
        }
        Ok(if finding.resolution.as_ref() == Some(resolution) {
            Resolved::Yes(finding)
        } else {
            Resolved::Before(finding)
        })
    }

    async fn finding(&self, id: Uuid) -> Result<Option<Finding>, StoreError> {
        Ok(self.tables().findings.get(&id).cloned())
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
    async fn open(&self) -> Result<Vec<OpenFindings>, StoreError> {
        let tables = self.tables();
        let of_class = |class: &FindingClass| {
            let open = tables
                .findings
                .values()
                .filter(|finding| finding.class == *class && finding.settled_at.is_none());
            let oldest = open.clone().map(|finding| finding.found_at).min()?;
            Some(OpenFindings {
                class: *class,
                findings: open.count() as u64,
                oldest,
            })
        };
        Ok(FindingClass::ALL.iter().filter_map(of_class).collect())
    }
}

fn is_of_kind(one: &Finding, other: &Finding) -> bool {
    (one.class, one.contest_id, &one.subject) == (other.class, other.contest_id, &other.subject)
}
