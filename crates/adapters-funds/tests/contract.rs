//! The funds system in memory passes the suite of its port through real gRPC.

mod common;

use adapters_funds::GrpcFunds;
use adapters_memory::funds::MemoryFunds;
use async_trait::async_trait;
use common::{Served, connect, memory, settings};
use contract_tests::funds::FundsFixture;
use domain::order::Account;
use ports::funds::Funds;
use std::sync::Arc;

struct Fixture {
    memory: Arc<MemoryFunds>,
    client: Arc<GrpcFunds>,
    _served: Served,
}

impl Fixture {
    async fn new() -> Self {
        let memory = memory();
        let served = Served::new(Arc::clone(&memory) as Arc<dyn Funds>).await;
        let client = Arc::new(connect(&settings(&served.url())).await);
        Self {
            memory,
            client,
            _served: served,
        }
    }
}

#[async_trait]
impl FundsFixture for Fixture {
    fn funds(&self) -> Arc<dyn Funds> {
        Arc::clone(&self.client) as Arc<dyn Funds>
    }

    async fn close_account(&self, account: &Account) {
        self.memory.close_account(account).expect("a known account");
    }
}

contract_tests::funds_suite!(Fixture::new().await);
