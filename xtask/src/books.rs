//! The end of every run: the money table and every invariant, by the independent checker.

use anyhow::{Context, Result};
use checker::{Books, Scope, Source, check_books, check_scope, report::Report};
use std::path::Path;

/// The books that two DSNs or plain paths name; an error never repeats what it refuses.
pub(crate) fn named(store: &str, ledger: &str) -> Result<Books> {
    Ok(Books {
        store: Source::parse(store).context("--store names no store")?,
        ledger: Source::parse(ledger).context("--ledger names no ledger")?,
    })
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

/// Checks the books, wherever they are.
pub(crate) async fn check_named(
    books: &Books,
    contest: Option<&str>,
    at_rest: bool,
) -> Result<Report> {
    check_books(books, Scope { contest, at_rest })
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
    fn books_are_files_or_databases() {
        let books = super::named("mysql://u:p@h:3306/s", "sqlite:///var/x.db").expect("both");
        assert_eq!(books.store.to_string(), "mysql://h:3306/s");
        assert_eq!(books.ledger.to_string(), "/var/x.db");
        let error = super::named("x.db", "redis://h").expect_err("no books");
        assert!(format!("{error:#}").starts_with("--ledger"), "{error:#}");
    }
}
