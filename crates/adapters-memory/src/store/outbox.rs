//! The outbox: entries are written by the commit of their change and stay until they are done.

use super::MemoryStore;
use async_trait::async_trait;
use ports::{
    outbox::{Outbox, OutboxEntry},
    store::{PAGE_MAX, StoreError},
};

#[async_trait]
impl Outbox for MemoryStore {
    async fn take(&self, limit: usize) -> Result<Vec<OutboxEntry>, StoreError> {
        let now = self.time();
        let tables = self.tables();
        let due = tables
            .outbox
            .values()
            .filter(|saved| saved.due_at <= now)
            .map(|saved| saved.entry.clone());
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
