//! A panic that nobody waits for. In a process of its own: hook, counters and log lines are global.
#![allow(clippy::expect_used, reason = "these are tests")]

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// Counts panics alone.
struct Panics(Arc<AtomicU64>);

impl Recorder for Panics {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        assert_eq!(key.name(), runtime::panics::TOTAL);
        Counter::from_arc(Arc::clone(&self.0))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// Log lines that the test reads.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// hazard: G5
#[tokio::test]
async fn a_panic_in_a_task_that_nobody_waits_for_is_counted_and_logged() {
    let total = Arc::new(AtomicU64::new(0));
    metrics::set_global_recorder(Panics(Arc::clone(&total))).expect("the first");
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_writer(move || writer.clone())
        .init();
    runtime::panics::watch();
    assert_eq!(total.load(Ordering::SeqCst), 0);
    for number in 1..=2 {
        let (ends, ended) = tokio::sync::oneshot::channel::<()>();
        drop(tokio::spawn(async move {
            let _ends = ends;
            panic!("bug {number}, for the test")
        }));
        ended.await.expect_err("it ends without a word");
        assert_eq!(total.load(Ordering::SeqCst), number);
    }
    let text = lines.0.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&text);
    let found: Vec<&str> = text.lines().collect();
    assert_eq!(found.len(), 2, "{text}");
    for (line, message) in found
        .iter()
        .zip(["bug 1, for the test", "bug 2, for the test"])
    {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        assert_eq!(line["level"], "ERROR");
        assert_eq!(line["panic.message"], message);
        let place = line["panic.place"].as_str().expect("a place");
        assert!(place.contains("panics.rs:"), "{place}");
    }
}
