//! Progress of long work: one live line on a terminal, plain lines otherwise.

use indicatif::{ProgressBar, ProgressStyle};
use std::{
    io::IsTerminal,
    sync::Mutex,
    time::{Duration, Instant},
};

/// One line that changes.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    last: Mutex<(Instant, String)>,
}

/// How often a plain line is written at most, unless its first word changes.
const PLAIN_EVERY: Duration = Duration::from_secs(2);

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}");
            let bar = ProgressBar::new_spinner();
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        let long_ago = Instant::now()
            .checked_sub(PLAIN_EVERY)
            .unwrap_or_else(Instant::now);
        Self {
            bar,
            last: Mutex::new((long_ago, String::new())),
        }
    }

    /// Where nobody looks.
    pub(crate) fn hidden() -> Self {
        Self {
            bar: Some(ProgressBar::hidden()),
            last: Mutex::new((Instant::now(), String::new())),
        }
    }

    /// Shows a line.
    pub(crate) fn show(&self, line: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(line.to_owned());
            return;
        }
        let Ok(mut last) = self.last.lock() else {
            return;
        };
        let first_word = |text: &str| {
            text.split_whitespace()
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        let new = first_word(&last.1) != first_word(line);
        if line != last.1 && (new || last.0.elapsed() >= PLAIN_EVERY) {
            println!("{line}");
            *last = (Instant::now(), line.to_owned());
        }
    }

    /// Ends the line.
    pub(crate) fn done(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
