//! The outbox: entries are written by the commit of their change and stay until they are done.

use super::MemoryStore;
use async_trait::async_trait;
use ports::{
    outbox::{Outbox, OutboxEntry},
    store::{PAGE_MAX, StoreError},
};
use std::ops::Bound;

#[async_trait]
impl Outbox for MemoryStore {
    async fn take(&self, after: Option<u64>, limit: usize) -> Result<Vec<OutboxEntry>, StoreError> {
        let now = self.time();
        let tables = self.tables();
        let first = after.map_or(Bound::Unbounded, Bound::Excluded);
        let due = tables
            .outbox
            .range((first, Bound::Unbounded))
            .filter(|(_, saved)| saved.due_at <= now)
            .map(|(_, saved)| saved.entry.clone());
        Ok(due.take(limit.min(PAGE_MAX)).collect())
    }

    async fn done(&self, sequences: &[u64]) -> Result<(), StoreError> {
        let mut tables = self.tables();
        for sequence in sequences {
            tables.outbox.remove(sequence);
        }
        Ok(())
    }
}
