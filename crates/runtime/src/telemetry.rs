//! Numbers for Prometheus: the one recorder of a process, and what every process counts.

use anyhow::Context;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    sync::OnceLock,
    time::{SystemTime, UNIX_EPOCH},
};

/// What [`render`] answers with.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds of the latencies' classes, in seconds.
const LATENCIES_S: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();

/// Starts counting. Once in a process, before anything counts.
///
/// # Errors
/// When another recorder is there already.
pub fn install() -> anyhow::Result<()> {
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), LATENCIES_S)
        .context("the classes of latencies")?
        .build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)
        .map_err(|_| anyhow::anyhow!("numbers are counted elsewhere already"))?;
    // The only other place that sets it is this line.
    let _ = HANDLE.set(handle);
    describe();
    // There from the start: what appears with the first panic cannot be seen to rise.
    counter!(crate::panics::TOTAL).absolute(0);
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    gauge!("process_start_time_seconds").set(since.as_secs_f64());
    gauge!("guafen_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(())
}

fn describe() {
    describe_counter!(
        crate::panics::TOTAL,
        "Panics: bugs; the log has a line of each"
    );
    describe_gauge!("guafen_build_info", "1, with the version");
    describe_gauge!(
        "process_start_time_seconds",
        "When the process started, in seconds since 1970"
    );
    describe_gauge!("process_resident_memory_bytes", "Memory in use");
}

/// Folds what was counted into its classes. What is not read grows without it: call it every few
/// seconds.
pub fn upkeep() {
    if let Some(handle) = HANDLE.get() {
        handle.run_upkeep();
    }
}

/// All numbers, as text; none before [`install`].
#[must_use]
pub fn render() -> Option<String> {
    let handle = HANDLE.get()?;
    if let Some(bytes) = resident_bytes() {
        gauge!("process_resident_memory_bytes").set(bytes as f64);
    }
    Some(handle.render())
}

/// Memory in use, where the system says so.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    kib.checked_mul(1_024)
}
