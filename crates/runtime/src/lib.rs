//! What every binary shares: configuration, log lines, the system's clock and ids, background
//! loops, and stopping. For binaries only.

pub mod config;
pub mod log;
pub mod loops;
pub mod stop;
pub mod system;
