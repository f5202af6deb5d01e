//! Log lines.

use crate::config::LogFormat;
use std::io::IsTerminal;

/// Sends log lines to standard error, in this form, those of panics too. `RUST_LOG` says which
/// (default: info).
pub fn install(format: LogFormat) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
    crate::panics::watch();
}
