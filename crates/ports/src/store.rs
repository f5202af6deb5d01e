//! What the repositories share: errors and the outcome of a guarded write.

/// Why a repository could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It could not be reached, or did not answer in time. A write may or may not have been done:
    /// read again before deciding anything (hazard A8).
    #[error("the store did not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored row is impossible. It pages somebody; nothing is guessed.
    #[error("{table} {key}: {what}")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The row.
        key: String,
        /// What is impossible about it.
        what: String,
    },
}

impl StoreError {
    /// An unanswered call, with its cause.
    pub fn unavailable(source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Unavailable(source.into())
    }
}

/// What became of a guarded write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Committed {
    /// It is durable.
    Applied,
    /// The row has another version, or the store's clock is outside the window. Nothing was
    /// written.
    GuardFailed,
    /// There is no such row. Nothing was written.
    Missing,
    /// The lease under which it was decided has been taken by another since. Nothing was written.
    Fenced,
}

/// One page of a list and the key to continue after, if there is more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<T, K> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page continues; none at the end.
    pub next: Option<K>,
}

impl<T, K> Page<T, K> {
    /// A page cut from `limit + 1` items that were read: the last one only tells that there is
    /// more.
    pub fn cut(mut items: Vec<T>, limit: usize, key: impl FnOnce(&T) -> K) -> Self {
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(key) } else { None };
        Self { items, next }
    }
}

/// The longest page that a repository answers.
pub const PAGE_MAX: usize = 1_000;
