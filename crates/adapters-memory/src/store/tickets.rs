//! Tickets, by the store's clock, as a process keeps them that is alone.

use super::MemoryStore;
use async_trait::async_trait;
use domain::ids::UserId;
use ports::{
    store::StoreError,
    tickets::{Given, TicketHash, Tickets},
};

#[async_trait]
impl Tickets for MemoryStore {
    async fn give(
        &self,
        ticket: TicketHash,
        user: &UserId,
        for_ms: i64,
    ) -> Result<Given, StoreError> {
        self.tickets.give(ticket, user, for_ms).await
    }

    async fn take(&self, ticket: TicketHash) -> Result<Option<UserId>, StoreError> {
        self.tickets.take(ticket).await
    }
}
