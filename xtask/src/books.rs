//! The end of every run: the money table and every invariant, by the independent checker.

use anyhow::{Context, Result};
use checker::{Scope, check_scope, report::Report};
use std::path::{Path, PathBuf};

/// The file that a DSN or plain path names.
pub(crate) fn file(dsn: &str) -> PathBuf {
    let path = dsn
        .strip_prefix("sqlite://")
        .or_else(|| dsn.strip_prefix("sqlite:"))
        .unwrap_or(dsn);
    PathBuf::from(path.split('?').next().unwrap_or(path))
}

/// Checks the two files.
pub(crate) async fn check(
    store: &Path,
    ledger: &Path,
    contest: Option<&str>,
    at_rest: bool,
) -> Result<Report> {
    check_scope(store, ledger, Scope { contest, at_rest })
        .await
        .context("the books could not be checked")
}

/// Prints the report and what the model found; true if all is well.
pub(crate) fn print(report: Option<&Report>, faults: &[String]) -> bool {
    if let Some(report) = report {
        print!("\n{report}");
    }
    for fault in faults.iter().take(20) {
        println!("FAULT  {fault}");
    }
    if faults.len() > 20 {
        println!("FAULT  and {} more", faults.len() - 20);
    }
    faults.is_empty() && report.is_none_or(Report::is_green)
}

#[cfg(test)]
mod tests {
    #[test]
    fn dsns_and_paths_name_files() {
        for (dsn, path) in [
            ("sqlite:///var/x.db", "/var/x.db"),
            ("sqlite://x.db?mode=ro", "x.db"),
            ("sqlite:x.db", "x.db"),
            ("/var/x.db", "/var/x.db"),
        ] {
            assert_eq!(super::file(dsn), std::path::Path::new(path));
        }
    }
}
