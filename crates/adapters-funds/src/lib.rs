//! The funds system over gRPC: a client, and the server side of the same proto for whatever
//! implements the port.
//!
//! The client ([`GrpcFunds`]) turns a server that may be slow, away or wrong into the outcomes of
//! the port. It repeats nothing that may have moved coins; requests that arrive while others are
//! under way, or are ready together, travel together.

mod client;
mod convert;
mod faulty;
mod gather;
mod server;
mod share;

/// The messages and services of `proto/funds/v1/funds.proto`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    reason = "generated; the proto has the words"
)]
pub mod proto {
    tonic::include_proto!("funds.v1");
}

pub use client::GrpcFunds;
pub use faulty::{Dice, FaultPlan, Faulty, InvalidPlan};
pub use grpc_core::{BreakerState, ServerTls, Settings, SetupError};
pub use server::{ServeError, serve};

/// The most orders that one request carries.
pub const TRANSFERS_MAX: usize = 256;
/// The longest `deadline_ms` of a client, in milliseconds: what waits for its turn and is then sent
/// has to be answered before the flows stop waiting (`ports::funds::ANSWER_MS_MAX`).
pub const DEADLINE_MS_MAX: u64 = 4_500;
/// The most transfers in one page of a list.
pub const PAGE_MAX: usize = 1_000;
/// The longest memo, in bytes.
pub const MEMO_BYTES_MAX: usize = 8_192;
