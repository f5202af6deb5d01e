//! What every gRPC client of ours shares: the channel and its TLS, the proof that a request never
//! left, the deadline of a call, retries with a budget, the breaker and the bulkhead. And the TLS
//! of a gRPC server.
//!
//! It knows nothing of what is said: an adapter turns its proto's messages into the words of its
//! port, and takes from here whether a call was answered, provably never left, or neither.

mod breaker;
mod budget;
mod channel;
mod departure;
mod line;
mod pace;
mod settings;
mod tls;

pub use breaker::{Breaker, BreakerState};
pub use budget::Budget;
pub use channel::Wire;
pub use departure::Departure;
pub use line::{CallError, Line, Names, Repeat, Seat};
pub use settings::{Settings, SetupError};
pub use tls::ServerTls;
