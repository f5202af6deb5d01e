//! The client.

use crate::{
    DEADLINE_MS_MAX, PAGE_MAX, TRANSFERS_MAX, convert,
    gather::{Bounds, Gather, Member, patience},
    proto::{self, funds_client::FundsClient},
    share::Share,
};
use async_trait::async_trait;
use domain::{
    order::{Account, OrderId},
    time::UnixMillis,
    transfer::{CreditsClosed, Position, Transfer},
};
use grpc_core::{BreakerState, CallError, Line, Names, Repeat, Seat, Settings, SetupError, Wire};
use ports::funds::{
    Balance, Capabilities, Funds, FundsError, LOOKUP_MAX, Lookup, TransferOutcome, TransferPage,
    TransferRequest,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, sleep};
use tonic::Request;

const NAMES: Names = Names {
    calls: "guafen_funds_rpc_calls_total",
    repeats: "guafen_funds_rpc_repeats_total",
    breaker: "guafen_funds_breaker_state",
    in_flight: "guafen_funds_in_flight",
    turned_away: "guafen_funds_turned_away_total",
};

/// Batches of transfers under way at once. Few, so that what arrives meanwhile travels together.
const TRANSFER_BATCHES: usize = 4;
/// Batches of look-ups under way at once.
const LOOKUP_BATCHES: usize = 4;
/// Between two tries to reach the server at the start.
const START_PAUSE: Duration = Duration::from_millis(100);
/// Why a question has no answer. It may have many askers.
#[derive(Clone, Debug)]
enum Silence {
    NotAnswered(Arc<str>),
    UnknownAccount,
}

impl Silence {
    fn because(cause: impl Into<Arc<str>>) -> Self {
        Self::NotAnswered(cause.into())
    }

    /// Of a question that names no account.
    fn of_lookup(self) -> FundsError {
        match self {
            Self::NotAnswered(cause) => FundsError::unavailable(cause.as_ref()),
            Self::UnknownAccount => FundsError::unavailable("a look-up has no account"),
        }
    }

    fn of(self, account: &Account) -> FundsError {
        match self {
            Self::NotAnswered(cause) => FundsError::unavailable(cause.as_ref()),
            Self::UnknownAccount => FundsError::UnknownAccount(account.clone()),
        }
    }
}

impl From<CallError> for Silence {
    fn from(error: CallError) -> Self {
        Self::because(error.to_string())
    }
}

/// A funds system that is reached over gRPC.
pub struct GrpcFunds {
    link: Arc<Link>,
    capabilities: Capabilities,
    transfers: Arc<Gather<TransferRequest, TransferOutcome, Seat>>,
    lookups: Arc<Gather<Vec<OrderId>, Result<Lookup, Silence>, Seat>>,
    balances: Arc<Share<Account, Result<Balance, Silence>, Seat>>,
}

/// The line, and what was seen on it.
struct Link {
    line: Line,
    /// The highest position that any answer told. No later read may be from before it.
    seen: AtomicU64,
}

impl GrpcFunds {
    /// Reaches the funds system and asks what it promises. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When a setting is wrong (`deadline_ms` is at most [`DEADLINE_MS_MAX`]), or nothing answered
    /// within `start_ms`.
    pub async fn connect(settings: &Settings) -> Result<Self, SetupError> {
        if settings.deadline_ms > DEADLINE_MS_MAX {
            return Err(SetupError::Rule {
                section: settings.section,
                key: "deadline_ms",
                rule: "must be at most 4500: after 5000 nobody waits for the answer",
            });
        }
        let link = Arc::new(Link {
            line: Line::open(settings, NAMES)?,
            seen: AtomicU64::new(0),
        });
        let capabilities = link.first_contact(settings).await?;
        let patience = patience(link.line.deadline());
        let bounds = |weight_max, batches_max| Bounds {
            weight_max,
            batches_max,
            patience,
        };
        let (sends, finds) = (Arc::clone(&link), Arc::clone(&link));
        Ok(Self {
            link,
            capabilities,
            transfers: Gather::new(
                bounds(TRANSFERS_MAX, TRANSFER_BATCHES),
                |_| TransferOutcome::NotSent,
                move |batch| Box::pin(send(Arc::clone(&sends), batch)),
            ),
            lookups: Gather::new(
                bounds(LOOKUP_MAX, LOOKUP_BATCHES),
                |_| Err(Silence::because("lookup was not sent: it waited too long")),
                move |batch| Box::pin(find(Arc::clone(&finds), batch)),
            ),
            balances: Share::new(),
        })
    }

    /// What the circuit breaker lets through now.
    #[must_use]
    pub fn breaker(&self) -> BreakerState {
        self.link.line.breaker()
    }

    /// Looks up what no order can have: whether the funds system answers from its books. It needs no
    /// place in the bulkhead: that there is much to do does not mean that nothing answers.
    ///
    /// # Errors
    /// [`FundsError::Unavailable`].
    pub async fn probe(&self) -> Result<(), FundsError> {
        let answer = lookup(&self.link, &[OrderId([0; 16])]).await;
        answer.map(drop).map_err(Silence::of_lookup)
    }

    fn seat(&self, operation: &'static str) -> Result<Seat, FundsError> {
        self.link
            .line
            .seat(operation)
            .map_err(FundsError::unavailable)
    }
}

/// A client of one wire, for one request.
fn client(wire: Wire) -> FundsClient<Wire> {
    FundsClient::new(wire)
}

fn within<T>(message: T, left: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(left);
    request
}

impl Link {
    async fn first_contact(&self, settings: &Settings) -> Result<Capabilities, SetupError> {
        let until = Instant::now() + Duration::from_millis(settings.start_ms);
        // The last one that tells something: what the breaker keeps here says only that there were
        // others before it.
        let mut cause = None;
        loop {
            let ask = |wire, left| async move {
                let message = proto::CapabilitiesRequest {};
                client(wire).capabilities(within(message, left)).await
            };
            let error = match self.line.call("capabilities", Repeat::Always, ask).await {
                Ok(told) => {
                    return Ok(Capabilities {
                        close_credits: told.close_credits,
                        closed_position: told.closed_position,
                        linearizable_lookup: told.linearizable_lookup,
                        orders_for_ever: told.orders_for_ever,
                    });
                }
                Err(error) => error,
            };
            if cause.is_none() || !matches!(error, CallError::Kept { .. }) {
                cause = Some(error.to_string());
            }
            if Instant::now() + START_PAUSE >= until {
                return Err(SetupError::NoAnswer {
                    section: settings.section,
                    url: settings.url.clone(),
                    cause: cause.unwrap_or_default(),
                });
            }
            sleep(START_PAUSE).await;
        }
    }

    fn saw(&self, position: Position) {
        self.seen.fetch_max(position.0, Ordering::SeqCst);
    }

    /// The position of an answer, unless it is from before what was seen when it was asked for
    /// (hazard A3).
    fn fresh(&self, floor: u64, position: Option<u64>) -> Result<Position, Silence> {
        let Some(position) = position else {
            tracing::error!("the funds system answered without a position");
            return Err(Silence::because("the answer has no position"));
        };
        if position < floor {
            tracing::error!(
                position,
                seen = floor,
                "the funds system answered with a stale read"
            );
            return Err(Silence::because("the answer is stale"));
        }
        self.saw(Position(position));
        Ok(Position(position))
    }

    fn as_of(
        &self,
        floor: u64,
        as_of: Option<proto::AsOf>,
    ) -> Result<(Position, UnixMillis), Silence> {
        let position = self.fresh(floor, as_of.map(|as_of| as_of.position))?;
        Ok((
            position,
            UnixMillis(as_of.map_or(0, |as_of| as_of.at_unix_ms)),
        ))
    }

    async fn open_account(&self, account: &Account) -> Result<(), Silence> {
        let ask = |wire, left| async move {
            let message = proto::OpenAccountRequest {
                account: account.to_string(),
            };
            client(wire).open_account(within(message, left)).await
        };
        self.line.call("open_account", Repeat::Always, ask).await?;
        Ok(())
    }

    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, Silence> {
        use proto::close_credits_response::Outcome;
        let ask = |wire, left| async move {
            let message = proto::CloseCreditsRequest {
                account: account.to_string(),
            };
            client(wire).close_credits(within(message, left)).await
        };
        let told = self.line.call("close_credits", Repeat::Always, ask).await?;
        match told.outcome {
            // A repeat answers the first position, however old.
            Some(Outcome::Closed(closed)) => Ok(CreditsClosed {
                position: self.fresh(0, closed.position)?,
            }),
            Some(Outcome::UnknownAccount(_)) => Err(Silence::UnknownAccount),
            None => Err(Silence::because("the answer has no outcome")),
        }
    }

    async fn balance(&self, account: &Account) -> Result<Balance, Silence> {
        use proto::balance_response::Outcome;
        let floor = self.seen.load(Ordering::SeqCst);
        let ask = |wire, left| async move {
            let message = proto::BalanceRequest {
                account: account.to_string(),
            };
            client(wire).balance(within(message, left)).await
        };
        let told = self.line.call("balance", Repeat::Always, ask).await?;
        match told.outcome {
            Some(Outcome::Held(held)) => {
                let (position, at) = self.as_of(floor, held.as_of)?;
                Ok(Balance {
                    amount: held.amount,
                    position,
                    at,
                })
            }
            Some(Outcome::UnknownAccount(_)) => Err(Silence::UnknownAccount),
            None => Err(Silence::because("the answer has no outcome")),
        }
    }

    async fn page(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, Silence> {
        use proto::list_response::Outcome;
        let floor = self.seen.load(Ordering::SeqCst);
        let ask = |wire, left| async move {
            let message = proto::ListRequest {
                account: account.to_string(),
                after: after.0,
                limit: u32::try_from(limit).unwrap_or(u32::MAX),
            };
            client(wire).list(within(message, left)).await
        };
        let told = self.line.call("list", Repeat::Always, ask).await?;
        let page = match told.outcome {
            Some(Outcome::Page(page)) => page,
            Some(Outcome::UnknownAccount(_)) => return Err(Silence::UnknownAccount),
            None => return Err(Silence::because("the answer has no outcome")),
        };
        let closed_position = self.fresh(floor, page.closed_position)?;
        let mut last = after;
        let mut transfers = Vec::with_capacity(page.transfers.len());
        for told in &page.transfers {
            let transfer = convert::transfer(told).map_err(|fault| {
                tracing::error!(%fault, "the funds system listed half a transfer");
                Silence::because(format!("a listed transfer's {fault}"))
            })?;
            let content = &transfer.content;
            let is_ours = content.from == *account || content.to == *account;
            if !is_ours || transfer.receipt.position <= last {
                tracing::error!(%account, order = %transfer.order_id, "the funds system listed a transfer that does not belong there");
                return Err(Silence::because("a listed transfer does not belong there"));
            }
            last = transfer.receipt.position;
            transfers.push(transfer);
        }
        if transfers.len() > limit {
            return Err(Silence::because("more was listed than was asked for"));
        }
        Ok(TransferPage {
            transfers,
            closed_position,
        })
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, Silence> {
        let mut whole = self.page(account, after, limit.min(PAGE_MAX)).await?;
        let mut full = whole.transfers.len() == PAGE_MAX;
        while full && whole.transfers.len() < limit {
            let last = whole
                .transfers
                .last()
                .map_or(after, |transfer| transfer.receipt.position);
            let wanted = (limit - whole.transfers.len()).min(PAGE_MAX);
            // The first page's closed position stays: it is the oldest, so it holds for all.
            let page = self.page(account, last, wanted).await?;
            full = page.transfers.len() == PAGE_MAX;
            whole.transfers.extend(page.transfers);
        }
        Ok(whole)
    }
}

/// Sends a batch of transfers and answers each.
async fn send(link: Arc<Link>, batch: Vec<Member<TransferRequest, TransferOutcome, Seat>>) {
    let orders: Vec<_> = batch
        .iter()
        .map(|member| convert::order(&member.question))
        .collect();
    let orders = &orders;
    let ask = |wire, left| async move {
        let message = proto::TransferRequest {
            orders: orders.clone(),
        };
        client(wire).transfer(within(message, left)).await
    };
    match link.line.call("transfer", Repeat::IfNotSent, ask).await {
        Ok(told) if told.outcomes.len() == batch.len() => {
            for (member, told) in batch.into_iter().zip(told.outcomes) {
                let outcome = convert::outcome(&member.question, Some(told));
                if let TransferOutcome::Applied(transfer) = &outcome {
                    link.saw(transfer.receipt.position);
                }
                member.tell(outcome);
            }
        }
        Ok(told) => {
            // Which of them is whose is anybody's guess, so none is believed.
            tracing::error!(
                asked = batch.len(),
                told = told.outcomes.len(),
                "the funds system answered another number of transfers than it was asked for"
            );
            for member in batch {
                member.tell(TransferOutcome::Unknown);
            }
        }
        Err(error) => {
            tracing::warn!(%error, transfers = batch.len(), "no answer to a batch of transfers");
            let outcome = match error {
                CallError::NotSent { .. } | CallError::Kept { .. } => TransferOutcome::NotSent,
                CallError::Unknown { .. } => TransferOutcome::Unknown,
            };
            for member in batch {
                member.tell(outcome.clone());
            }
        }
    }
}

/// Looks a batch of orders up and answers each asker with its part.
async fn find(link: Arc<Link>, batch: Vec<Member<Vec<OrderId>, Result<Lookup, Silence>, Seat>>) {
    let orders: Vec<OrderId> = batch
        .iter()
        .flat_map(|member| member.question.iter().copied())
        .collect();
    match lookup(&link, &orders).await {
        Ok(whole) => {
            let mut found = whole.found.into_iter();
            for member in batch {
                let part = Lookup {
                    found: found.by_ref().take(member.question.len()).collect(),
                    ..whole
                };
                member.tell(Ok(part));
            }
        }
        Err(silence) => {
            for member in batch {
                member.tell(Err(silence.clone()));
            }
        }
    }
}

async fn lookup(link: &Link, orders: &[OrderId]) -> Result<Lookup, Silence> {
    let floor = link.seen.load(Ordering::SeqCst);
    let ask = |wire, left| async move {
        let message = proto::LookupRequest {
            order_ids: orders.iter().map(OrderId::to_string).collect(),
        };
        client(wire).lookup(within(message, left)).await
    };
    let told = link.line.call("lookup", Repeat::Always, ask).await?;
    if told.found.len() != orders.len() {
        tracing::error!(
            asked = orders.len(),
            told = told.found.len(),
            "the funds system looked up another number of orders"
        );
        return Err(Silence::because("another number of orders was looked up"));
    }
    let (position, at) = link.as_of(floor, told.as_of)?;
    let found = orders
        .iter()
        .zip(&told.found)
        .map(|(order, found)| {
            found
                .transfer
                .as_ref()
                .map(|told| known(*order, told))
                .transpose()
        })
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Lookup {
        found,
        position,
        at,
    })
}

/// The record of this order, complete, and of no other.
fn known(order: OrderId, told: &proto::Transfer) -> Result<Transfer, Silence> {
    let transfer = convert::transfer(told).map_err(|fault| {
        tracing::error!(%order, %fault, "the funds system found half a transfer");
        Silence::because(format!("a transfer's {fault}"))
    })?;
    if transfer.order_id != order {
        tracing::error!(%order, told = %transfer.order_id, "the funds system found another order than was asked for");
        return Err(Silence::because("another order was found"));
    }
    Ok(transfer)
}

#[async_trait]
impl Funds for GrpcFunds {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }

    async fn open_account(&self, account: &Account) -> Result<(), FundsError> {
        let seat = self.seat("open_account")?;
        let (link, asked) = (Arc::clone(&self.link), account.clone());
        // By itself: what was sent goes on when the caller is gone (hazard G1).
        let done = tokio::spawn(async move {
            let _seat = seat;
            link.open_account(&asked).await
        });
        done.await
            .map_err(FundsError::unavailable)?
            .map_err(|silence| silence.of(account))
    }

    async fn transfer(&self, request: &TransferRequest) -> TransferOutcome {
        let seat = match self.link.line.seat("transfer") {
            Ok(seat) => seat,
            Err(error) => {
                tracing::warn!(%error, order = %request.order_id, "a transfer was turned away");
                return TransferOutcome::NotSent;
            }
        };
        let outcome = self.transfers.ask(request.clone(), 1, seat).await;
        outcome.unwrap_or(TransferOutcome::Unknown)
    }

    async fn lookup(&self, orders: &[OrderId]) -> Result<Lookup, FundsError> {
        if orders.len() > LOOKUP_MAX {
            return Err(FundsError::unavailable("too many orders in one look-up"));
        }
        let seat = self.seat("lookup")?;
        let answer = self
            .lookups
            .ask(orders.to_vec(), orders.len(), seat)
            .await
            .unwrap_or_else(|| Err(Silence::because("the look-up broke off")));
        answer.map_err(Silence::of_lookup)
    }

    async fn close_credits(&self, account: &Account) -> Result<CreditsClosed, FundsError> {
        let seat = self.seat("close_credits")?;
        let (link, asked) = (Arc::clone(&self.link), account.clone());
        let done = tokio::spawn(async move {
            let _seat = seat;
            link.close_credits(&asked).await
        });
        done.await
            .map_err(FundsError::unavailable)?
            .map_err(|silence| silence.of(account))
    }

    async fn balance(&self, account: &Account) -> Result<Balance, FundsError> {
        let seat = self.seat("balance")?;
        let (link, asked) = (Arc::clone(&self.link), account.clone());
        let call = move || {
            let (link, asked) = (Arc::clone(&link), asked.clone());
            async move { link.balance(&asked).await }
        };
        let answer = self.balances.ask(account.clone(), seat, call).await;
        answer
            .unwrap_or_else(|| Err(Silence::because("the balance broke off")))
            .map_err(|silence| silence.of(account))
    }

    async fn list(
        &self,
        account: &Account,
        after: Position,
        limit: usize,
    ) -> Result<TransferPage, FundsError> {
        let _seat = self.seat("list")?;
        self.link
            .list(account, after, limit)
            .await
            .map_err(|silence| silence.of(account))
    }
}
