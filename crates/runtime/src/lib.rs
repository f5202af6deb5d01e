//! What every binary shares: configuration, log lines, numbers, panics, the system's clock and
//! ids, and stopping. For binaries only.

pub mod config;
pub mod log;
pub mod panics;
pub mod stop;
pub mod system;
pub mod telemetry;
