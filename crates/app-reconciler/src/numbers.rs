//! Numbers, and whether it is well, over HTTP, for machines alone: an address of its own, and nothing
//! that acts.

use axum::{
    Router,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use production::{GrpcFunds, Store};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, time::timeout};
use usecases::Contests;

/// How often what was counted is folded into its classes.
const UPKEEP: Duration = Duration::from_secs(5);
/// How long a probe may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What must answer for the work to go on.
#[derive(Clone)]
pub(crate) struct Needs {
    pub(crate) store: Store,
    pub(crate) funds: Arc<GrpcFunds>,
}

impl Needs {
    async fn check(&self) -> Result<(), &'static str> {
        let (store, funds) = tokio::join!(
            timeout(PATIENCE, self.store.probe()),
            timeout(PATIENCE, self.funds.probe())
        );
        if !matches!(store, Ok(Ok(()))) {
            return Err("the store cannot write");
        }
        if !matches!(funds, Ok(Ok(()))) {
            return Err("the funds system does not answer");
        }
        Ok(())
    }
}

/// Listens; where, if a free port was asked for.
///
/// # Errors
/// The address is taken, or is not of this machine.
pub(crate) async fn listen(
    address: SocketAddr,
    needs: Needs,
    contests: Arc<Contests>,
    stop: watch::Receiver<bool>,
) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let looked_at = Arc::clone(&contests);
    let ready = move || {
        let (needs, contests) = (needs.clone(), Arc::clone(&looked_at));
        async move {
            match needs.check().await {
                Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_owned()),
                Ok(()) => (StatusCode::OK, contests.readiness()),
            }
        }
    };
    let counted = move || {
        let (known, now) = (contests.switches(), contests.ports().clock.now());
        async move {
            runtime::telemetry::switches(&known.switches(), known.age_ms(now));
            numbers()
        }
    };
    let router = Router::new()
        .route("/metrics", get(counted))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready));
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "numbers are served no more"
            );
        }
    });
    tokio::spawn(keep_up(stop));
    Ok(address)
}

fn numbers() -> Response {
    match runtime::telemetry::render() {
        Some(text) => {
            let kind = (header::CONTENT_TYPE, runtime::telemetry::CONTENT_TYPE);
            ([kind], text).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn keep_up(mut stop: watch::Receiver<bool>) {
    while timeout(UPKEEP, stop.changed()).await.is_err() {
        runtime::telemetry::upkeep();
    }
}
