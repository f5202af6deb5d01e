//! What somebody outside is to be told.

use super::{MemoryStore, Tables};
use async_trait::async_trait;
use domain::{ids::ContestId, notice::NoticeKind, time::UnixMillis};
use ports::{
    notices::{Notice, Notices},
    store::{PAGE_MAX, StoreError},
};
use uuid::Uuid;

/// A notice and when it is due.
#[derive(Debug)]
pub(super) struct Kept {
    notice: Notice,
    due_at: UnixMillis,
}

impl Tables {
    /// Keeps a notice, with whatever it is written with.
    pub(super) fn note(
        &mut self,
        kind: NoticeKind,
        contest_id: ContestId,
        finding_id: Option<Uuid>,
        now: UnixMillis,
    ) {
        self.last_notice += 1;
        let notice = Notice {
            sequence: self.last_notice,
            kind,
            contest_id,
            finding_id,
            created_at: now,
            tries: 0,
        };
        let kept = Kept {
            notice,
            due_at: now,
        };
        self.notices.insert(self.last_notice, kept);
    }
}

#[async_trait]
impl Notices for MemoryStore {
    async fn due(&self, limit: usize) -> Result<Vec<Notice>, StoreError> {
        let now = self.time();
        let tables = self.tables();
        let due = tables.notices.values().filter(|kept| kept.due_at <= now);
        let due = due.map(|kept| kept.notice.clone());
        Ok(due.take(limit.min(PAGE_MAX)).collect())
    }

    async fn told(&self, sequence: u64) -> Result<(), StoreError> {
        self.tables().notices.remove(&sequence);
        Ok(())
    }

    async fn put_off(&self, sequence: u64, for_ms: i64) -> Result<(), StoreError> {
        let due_at = self.time().plus(for_ms);
        if let Some(kept) = self.tables().notices.get_mut(&sequence) {
            kept.notice.tries += 1;
            kept.due_at = due_at;
        }
        Ok(())
    }

    async fn add(&self, kind: NoticeKind, contest: ContestId) -> Result<(), StoreError> {
        let now = self.time();
        self.tables().note(kind, contest, None, now);
        Ok(())
    }
}
