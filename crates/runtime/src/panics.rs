//! Panics.

use metrics::counter;
use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic::set_hook,
};

/// The counter of this process's panics.
pub const TOTAL: &str = "guafen_panics_total";

/// From now on every panic is counted and is a line at `ERROR`, whatever becomes of the task that it
/// ends: one that nobody waits for would end in silence (hazard G5).
pub fn watch() {
    set_hook(Box::new(|panic| {
        counter!(TOTAL).increment(1);
        let place = panic.location().map(ToString::to_string);
        let backtrace = Backtrace::capture();
        let is_captured = backtrace.status() == BacktraceStatus::Captured;
        tracing::error!(
            panic.message = panic.payload_as_str().unwrap_or("no message"),
            panic.place = place.as_deref().unwrap_or("unknown"),
            panic.backtrace = is_captured.then(|| backtrace.to_string()),
            "a panic"
        );
    }));
}
