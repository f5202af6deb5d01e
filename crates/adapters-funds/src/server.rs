//! The server side: whatever implements the port, served as `funds.v1`.

use crate::{
    PAGE_MAX, TRANSFERS_MAX, convert,
    proto::{self, funds_server},
};
use domain::{order::Account, transfer::Position};
use futures_util::future::join_all;
use grpc_core::{ServerTls, SetupError};
use ports::funds::{Funds, FundsError, LOOKUP_MAX};
use std::{future::Future, sync::Arc};
use tokio::net::TcpListener;
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

/// The most requests that one connection has under way; more wait.
const REQUESTS_MAX: usize = 1_024;

/// Why it cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The TLS files are wrong.
    #[error(transparent)]
    Tls(#[from] SetupError),
    /// The transport failed.
    #[error("the funds system cannot be served")]
    Transport(#[from] tonic::transport::Error),
}

/// Serves `funds` on `listener` until `stop` ends, then answers what is under way.
///
/// # Errors
/// [`ServeError`].
pub async fn serve(
    funds: Arc<dyn Funds>,
    listener: TcpListener,
    tls: Option<&ServerTls>,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let mut server = Server::builder().concurrency_limit_per_connection(REQUESTS_MAX);
    if let Some(tls) = tls {
        server = server.tls_config(tls.config()?)?;
    }
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    server
        .add_service(funds_server::FundsServer::new(Service(funds)))
        .serve_with_incoming_shutdown(incoming, stop)
        .await?;
    Ok(())
}

struct Service(Arc<dyn Funds>);

fn wrong(fault: &convert::Fault) -> Status {
    Status::invalid_argument(fault.to_string())
}

fn account(text: &str) -> Result<Account, Status> {
    convert::account("account", text).map_err(|fault| wrong(&fault))
}

fn away(error: &FundsError) -> Status {
    let mut text = error.to_string();
    if let Some(source) = std::error::Error::source(error) {
        tracing::warn!(error = source, "the funds system did not answer");
        text = "the funds system did not answer".to_owned();
    }
    Status::unavailable(text)
}

/// Runs by itself: when the caller's deadline passes, or its connection is gone, what was begun
/// goes on (hazard G1). Reads too: one that is broken off costs a ledger a connection.
async fn by_itself<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Status> {
    tokio::spawn(work)
        .await
        .map_err(|_| Status::internal("the request broke off"))
}

#[tonic::async_trait]
impl funds_server::Funds for Service {
    async fn capabilities(
        &self,
        _request: Request<proto::CapabilitiesRequest>,
    ) -> Result<Response<proto::CapabilitiesResponse>, Status> {
        let told = self.0.capabilities();
        Ok(Response::new(proto::CapabilitiesResponse {
            close_credits: told.close_credits,
            closed_position: told.closed_position,
            linearizable_lookup: told.linearizable_lookup,
            orders_for_ever: told.orders_for_ever,
        }))
    }

    async fn open_account(
        &self,
        request: Request<proto::OpenAccountRequest>,
    ) -> Result<Response<proto::OpenAccountResponse>, Status> {
        let account = account(&request.into_inner().account)?;
        let funds = Arc::clone(&self.0);
        by_itself(async move { funds.open_account(&account).await })
            .await?
            .map_err(|error| away(&error))?;
        Ok(Response::new(proto::OpenAccountResponse {}))
    }

    async fn transfer(
        &self,
        request: Request<proto::TransferRequest>,
    ) -> Result<Response<proto::TransferResponse>, Status> {
        let orders = request.into_inner().orders;
        if orders.is_empty() || orders.len() > TRANSFERS_MAX {
            let fault = convert::fault("orders", "must be 1 to 256");
            return Err(wrong(&fault));
        }
        let funds = Arc::clone(&self.0);
        let outcomes = by_itself(async move {
            // All at once, so that a ledger that commits in groups has them in one.
            let each = orders.into_iter().map(|order| async {
                match convert::request(order) {
                    Ok(request) => convert::told(&funds.transfer(&request).await),
                    Err(fault) => convert::invalid(&fault),
                }
            });
            join_all(each).await
        })
        .await?;
        Ok(Response::new(proto::TransferResponse { outcomes }))
    }

    async fn lookup(
        &self,
        request: Request<proto::LookupRequest>,
    ) -> Result<Response<proto::LookupResponse>, Status> {
        let asked = request.into_inner().order_ids;
        if asked.len() > LOOKUP_MAX {
            let fault = convert::fault("order_ids", "must be at most 1000");
            return Err(wrong(&fault));
        }
        let orders = asked
            .iter()
            .enumerate()
            .map(|(index, text)| convert::order_id(&format!("order_ids[{index}]"), text))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|fault| wrong(&fault))?;
        let funds = Arc::clone(&self.0);
        let lookup = by_itself(async move { funds.lookup(&orders).await })
            .await?
            .map_err(|error| away(&error))?;
        let found = lookup
            .found
            .iter()
            .map(|found| proto::Found {
                transfer: found.as_ref().map(convert::stored),
            })
            .collect();
        Ok(Response::new(proto::LookupResponse {
            found,
            as_of: Some(proto::AsOf {
                position: lookup.position.0,
                at_unix_ms: lookup.at.0,
            }),
        }))
    }

    async fn close_credits(
        &self,
        request: Request<proto::CloseCreditsRequest>,
    ) -> Result<Response<proto::CloseCreditsResponse>, Status> {
        use proto::close_credits_response::Outcome;
        let account = account(&request.into_inner().account)?;
        let funds = Arc::clone(&self.0);
        let outcome = match by_itself(async move { funds.close_credits(&account).await }).await? {
            Ok(closed) => Outcome::Closed(proto::CreditsClosed {
                position: Some(closed.position.0),
            }),
            Err(FundsError::UnknownAccount(_)) => Outcome::UnknownAccount(proto::UnknownAccount {}),
            Err(error) => return Err(away(&error)),
        };
        Ok(Response::new(proto::CloseCreditsResponse {
            outcome: Some(outcome),
        }))
    }

    async fn balance(
        &self,
        request: Request<proto::BalanceRequest>,
    ) -> Result<Response<proto::BalanceResponse>, Status> {
        use proto::balance_response::Outcome;
        let account = account(&request.into_inner().account)?;
        let funds = Arc::clone(&self.0);
        let outcome = match by_itself(async move { funds.balance(&account).await }).await? {
            Ok(balance) => Outcome::Held(proto::Held {
                amount: balance.amount,
                as_of: Some(proto::AsOf {
                    position: balance.position.0,
                    at_unix_ms: balance.at.0,
                }),
            }),
            Err(FundsError::UnknownAccount(_)) => Outcome::UnknownAccount(proto::UnknownAccount {}),
            Err(error) => return Err(away(&error)),
        };
        Ok(Response::new(proto::BalanceResponse {
            outcome: Some(outcome),
        }))
    }

    async fn list(
        &self,
        request: Request<proto::ListRequest>,
    ) -> Result<Response<proto::ListResponse>, Status> {
        use proto::list_response::Outcome;
        let asked = request.into_inner();
        let account = account(&asked.account)?;
        let limit = usize::try_from(asked.limit)
            .ok()
            .filter(|limit| *limit <= PAGE_MAX)
            .ok_or_else(|| wrong(&convert::fault("limit", "must be at most 1000")))?;
        let funds = Arc::clone(&self.0);
        let after = Position(asked.after);
        let page = by_itself(async move { funds.list(&account, after, limit).await });
        let outcome = match page.await? {
            Ok(page) => Outcome::Page(proto::Page {
                transfers: page.transfers.iter().map(convert::stored).collect(),
                closed_position: Some(page.closed_position.0),
            }),
            Err(FundsError::UnknownAccount(_)) => Outcome::UnknownAccount(proto::UnknownAccount {}),
            Err(error) => return Err(away(&error)),
        };
        Ok(Response::new(proto::ListResponse {
            outcome: Some(outcome),
        }))
    }
}
