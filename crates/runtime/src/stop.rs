//! The signal to stop.

use anyhow::Context;

/// Comes back at SIGTERM or Ctrl-C.
///
/// # Errors
/// When signals cannot be listened for.
pub async fn signal() -> anyhow::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupt = tokio::signal::ctrl_c() => interrupt.context("cannot listen for SIGINT"),
    }
}
