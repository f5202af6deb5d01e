//! A node of the production stack: any number of them share MySQL, Redis and the funds system.

use crate::{
    auth::Tokens,
    config::Settings,
    edge::telemetry,
    meter::MeteredFunds,
    node::Node,
    ready::{Probe, Readiness},
    state::Offers,
};
use async_trait::async_trait;
use production::GrpcFunds;
use std::{error::Error, sync::Arc};
use tokio_util::sync::CancellationToken;
use usecases::{Contests, Ports};

/// The funds system, asked for what no order can have: a look-up that it must answer from its
/// books. Whether it could write is not asked: there is no transfer that means nothing.
struct FundsProbe(Arc<GrpcFunds>);

#[async_trait]
impl Probe for FundsProbe {
    fn fault(&self) -> &'static str {
        "the funds system does not answer"
    }

    async fn probe(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.probe().await?)
    }
}

struct StoreProbe(production::Store);

#[async_trait]
impl Probe for StoreProbe {
    fn fault(&self) -> &'static str {
        "the store cannot write"
    }

    async fn probe(&self) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(self.0.probe().await?)
    }
}

/// Serves until a signal to stop, then drains. Contests are settled by `app-reconciler`.
///
/// # Errors
/// When the store cannot be opened or is not what this program needs, an address cannot be
/// listened on, or keys for tokens cannot be had.
pub(crate) async fn serve(settings: Settings) -> anyhow::Result<()> {
    let configured = settings.production()?;
    for warning in configured.warnings() {
        tracing::warn!("{warning}");
    }
    telemetry::install()?;
    let stopping = CancellationToken::new();
    let tokens = Tokens::of_server(&settings.auth, None, &stopping).await?;
    let stack = production::open(&configured).await?;
    let tickets = Arc::new(stack.store.clone());
    let readiness = Readiness::new(
        Arc::new(StoreProbe(stack.store)),
        Arc::new(FundsProbe(stack.funds)),
    );
    let contests = Contests::new(Ports {
        funds: Arc::new(MeteredFunds(stack.ports.funds)),
        ..stack.ports
    })?;
    let contests = Arc::new(contests.reconciled(configured.reconcile.reconciling()));
    let node = Node {
        contests,
        tokens,
        tickets,
        readiness,
        stopping,
        files: None,
        offers: Offers {
            sandbox: configured.funds.sandbox,
            events: configured.tasks.url.is_none(),
        },
        kept_in: "on MySQL".to_owned(),
    };
    // What is settled, compensated and relayed is the reconcilers' work.
    node.serve(settings, |_, _| Vec::new()).await
}
