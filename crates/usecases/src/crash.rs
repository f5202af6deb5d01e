//! Work that panics, beside other work that must not end with it.

use crate::Failure;
use futures_util::FutureExt;
use std::{future::Future, panic::AssertUnwindSafe};

/// Does it; a panic is a failure of this work alone (hazard G5). What it leaves behind is what a
/// process that died there would leave: rows that are guarded by their versions, and leases that end.
pub(crate) async fn caught<T, E: From<Failure>>(
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Failure::Crashed(text.unwrap_or("no message").to_owned()).into())
        })
}
