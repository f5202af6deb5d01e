//! The funds port, counted: calls by operation and outcome, and how long they took.

use async_trait::async_trait;
use domain::{
    order::{Account, OrderId},
    transfer::{CreditsClosed, Position},
};
use metrics::{counter, histogram};
use ports::funds::{
    Balance, Capabilities, Funds, FundsError, Lookup, TransferOutcome, TransferPage,
    TransferRequest,
};
use std::{sync::Arc, time::Instant};

/// A funds system whose calls are counted.
pub(crate) struct MeteredFunds(pub(crate) Arc<dyn Funds>);

fn count(operation: &'static str, outcome: &'static str, begun: Instant) {
    counter!("guafen_funds_calls_total", "operation" => operation, "outcome" => outcome)
        .increment(1);
    histogram!("guafen_funds_call_duration_seconds", "operation" => operation)
        .record(begun.elapsed());
}

fn counted<T>(
    operation: &'static str,
    begun: Instant,
    answer: Result<T, FundsError>,
) -> Result<T, FundsError> {
    let outcome = match &answer {
        Ok(_) => "ok",
        Err(FundsError::Unavailable(_)) => "unavailable",
        Err(FundsError::UnknownAccount(_)) => "unknown_account",
    };
    count(operation, outcome, begun);
    answer
}

#[async_trait]
impl Funds for MeteredFunds {
    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn open_account(&self, account: &Account) -> Result<(), FundsError> {
        let begun = Instant::now();
        counted("open_account", begun, self.0.open_account(account).await)
    }

    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome {
        let begun = Instant::now();
        let outcome = self.0.transfer(request).await;
        let name = match &outcome {
            TransferOutcome::Applied(_) => "applied",
            TransferOutcome::Refused(reason) => reason.name(),
            TransferOutcome::Conflict => "conflict",
            TransferOutcome::NotSent => "not_sent",
            TransferOutcome::Unknown => "unknown",
        };
        count("transfer", name, begun);
        outcome
    }

    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> {
        let begun = Instant::now();
        counted("lookup", begun, self.0.lookup(orders).await)
    }

    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError> {
        let begun = Instant::now();
        counted("close_credits", begun, self.0.close_credits(account).await)
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        let begun = Instant::now();
        counted("balance", begun, self.0.balance(account).await)
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError> {
        let begun = Instant::now();
        counted("list", begun, self.0.list(account, after, limit).await)
    }
}
