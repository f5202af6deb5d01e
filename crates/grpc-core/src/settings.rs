//! How a server is reached.

use std::{error::Error, num::NonZeroU32, path::PathBuf};

/// How a server is reached. Times are in milliseconds.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The section of the configuration, for messages: `funds` or `tasks`.
    pub section: &'static str,
    /// `http://host:port` or `https://host:port`.
    pub url: String,
    /// Who signed the server's certificate, PEM. Needed for https: whoever holds the coins is not
    /// believed because some public authority vouches for a name.
    pub ca_file: Option<PathBuf>,
    /// Our certificate, PEM; with `key_file`.
    pub cert_file: Option<PathBuf>,
    /// The key of our certificate, PEM.
    pub key_file: Option<PathBuf>,
    /// The name that the server's certificate must have, if it is not that of the address.
    pub domain: Option<String>,
    /// How long one call may take, its retries included. Default 3,000.
    pub deadline_ms: u64,
    /// How long making a connection may take. Default 1,000.
    pub connect_ms: u64,
    /// How many operations may be under way or wait at once; more are turned away at once.
    /// Default 1,024.
    pub in_flight_max: usize,
    /// The most calls that leave in any second; more wait for their turn until their deadline. Default:
    /// no bound.
    pub calls_per_s: Option<NonZeroU32>,
    /// How often one call is repeated at most, if the budget allows it. Default 2.
    pub retries_max: u32,
    /// How many failures in a row open the breaker. Default 5.
    pub breaker_failures: u32,
    /// How long the breaker stays open before one call may try again. Default 1,000.
    pub breaker_open_ms: u64,
    /// How long the first contact may take before the start is given up. Default 10,000.
    pub start_ms: u64,
}

impl Settings {
    /// The server at `url`, with defaults.
    #[must_use]
    pub fn new(section: &'static str, url: impl Into<String>) -> Self {
        Self {
            section,
            url: url.into(),
            ca_file: None,
            cert_file: None,
            key_file: None,
            domain: None,
            deadline_ms: 3_000,
            connect_ms: 1_000,
            in_flight_max: 1_024,
            calls_per_s: None,
            retries_max: 2,
            breaker_failures: 5,
            breaker_open_ms: 1_000,
            start_ms: 10_000,
        }
    }

    pub(crate) fn wrong(&self, key: &'static str, rule: &'static str) -> SetupError {
        SetupError::Rule {
            section: self.section,
            key,
            rule,
        }
    }

    pub(crate) fn check(&self) -> Result<(), SetupError> {
        let above_zero = [
            ("deadline_ms", self.deadline_ms),
            ("connect_ms", self.connect_ms),
            ("in_flight_max", self.in_flight_max as u64),
            ("breaker_failures", u64::from(self.breaker_failures)),
            ("breaker_open_ms", self.breaker_open_ms),
            ("start_ms", self.start_ms),
        ];
        for (key, value) in above_zero {
            if value == 0 {
                return Err(self.wrong(key, "must be above 0"));
            }
        }
        Ok(())
    }
}

/// Why a server cannot be reached with these settings, or did not answer at the start.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A key breaks a rule.
    #[error("{section}.{key} {rule}")]
    Rule {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// The rule.
        rule: &'static str,
    },
    /// A file cannot be read.
    #[error("{section}.{key}: cannot read {}", path.display())]
    File {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The certificates or the key are not what they should be.
    #[error("{section}: the certificates or the key cannot be used")]
    Tls {
        /// The section.
        section: &'static str,
        /// What is wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server did not answer at the start.
    #[error("{section}.url: {url} did not answer: {cause}")]
    NoAnswer {
        /// The section.
        section: &'static str,
        /// Where it was looked for.
        url: String,
        /// What the last try ended with.
        cause: String,
    },
}
