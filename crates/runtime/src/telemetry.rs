//! Numbers for Prometheus: the one recorder of a process, and what every process counts.

use anyhow::Context;
use domain::switch::{Reach, Switch, Switches};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::{
    sync::OnceLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
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
    describe_gauge!(
        "guafen_switch_enabled",
        "1 where a switch is on for everything"
    );
    describe_gauge!(
        "guafen_switch_narrower_off",
        "Rooms and contests for which a switch is off by itself"
    );
    describe_gauge!(
        "guafen_switches_age_seconds",
        "How long ago the switches were last known to be in force; more than some seconds: the store of \
         switches does not answer, and the last values stay in force"
    );
}

/// Tells which switches are off, and how old this is, in milliseconds.
pub fn switches(switches: &Switches, age_ms: i64) {
    for switch in Switch::ALL {
        let is_on = switches.check(*switch).is_ok();
        gauge!("guafen_switch_enabled", "switch" => switch.name()).set(f64::from(u8::from(is_on)));
        let narrower = switches.settings().filter(|(of, scope, setting)| {
            of == switch && scope.reach() != Reach::Everything && !setting.enabled
        });
        gauge!("guafen_switch_narrower_off", "switch" => switch.name())
            .set(narrower.count() as f64);
    }
    let age = Duration::from_millis(u64::try_from(age_ms).unwrap_or_default());
    gauge!("guafen_switches_age_seconds").set(age.as_secs_f64());
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
