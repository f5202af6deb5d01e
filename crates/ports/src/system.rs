//! The process's own clock and source of ids. Decisions about money take database time instead.

use domain::{draw::Secret, time::UnixMillis};
use uuid::Uuid;

/// Time for logs, waits and hints.
pub trait Clock: Send + Sync {
    /// Now, by this node's clock.
    fn now(&self) -> UnixMillis;
}

/// Where new ids and secrets come from.
pub trait IdSource: Send + Sync {
    /// A new UUIDv7.
    fn next(&self) -> Uuid;

    /// A new secret, from a source that nobody can foresee.
    fn secret(&self) -> Secret;
}
