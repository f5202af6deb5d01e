//! Points in time. They always come from outside; nothing in this crate reads a clock.

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

impl UnixMillis {
    /// This time moved by `millis`, held at the ends of the range.
    #[must_use]
    pub const fn plus(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this time; negative when it lies after.
    #[must_use]
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A stretch of database time in which a write is allowed. It is judged by the store's own clock
/// in the statement that writes, so clocks of nodes cannot disagree about it (hazard B6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The first moment at which the write is allowed.
    pub not_before: Option<UnixMillis>,
    /// The first moment at which it is too late.
    pub before: Option<UnixMillis>,
}

impl Window {
    /// Any time.
    pub const ALWAYS: Self = Self {
        not_before: None,
        before: None,
    };

    /// From `start` on.
    #[must_use]
    pub const fn from(start: UnixMillis) -> Self {
        Self {
            not_before: Some(start),
            before: None,
        }
    }

    /// Up to but not including `end`.
    #[must_use]
    pub const fn until(end: UnixMillis) -> Self {
        Self {
            not_before: None,
            before: Some(end),
        }
    }

    /// True when the window allows a write at `now`.
    #[must_use]
    pub fn allows(self, now: UnixMillis) -> bool {
        self.not_before.is_none_or(|start| now >= start) && self.before.is_none_or(|end| now < end)
    }
}
