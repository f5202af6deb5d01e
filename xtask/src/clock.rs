//! This machine's clock, in the units of the API.

use anyhow::{Context, Result};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use time::{OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description};

const FORMAT: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// Milliseconds since 1970 UTC.
pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// RFC 3339 UTC with milliseconds.
pub(crate) fn rfc3339(ms: i64) -> Result<String> {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)?;
    moment
        .format(FORMAT)
        .context("a time that cannot be written")
}

/// Waits until a moment; not at all if it is past.
pub(crate) async fn until(ms: i64) {
    if let Ok(wait) = u64::try_from(ms - now_ms()) {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
}

/// Waits a while.
pub(crate) async fn pause(ms: u64) {
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_are_written_with_milliseconds() {
        assert_eq!(
            super::rfc3339(1_700_000_000_007).expect("a time"),
            "2023-11-14T22:13:20.007Z"
        );
    }
}
