//! Named points between any two writes at which a test build can be made to crash.
//!
//! `GUAFEN_FAILPOINT=name:n` aborts the process the n-th time it passes the point `name`. Without
//! the feature `failpoints` the calls are empty.

macro_rules! failpoints {
    ($($(#[$doc:meta])* $variant:ident = $name:literal),+ $(,)?) => {
        /// A point at which the process can be made to crash.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Failpoint { $($(#[$doc])* $variant),+ }

        impl Failpoint {
            /// Every point.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name for `GUAFEN_FAILPOINT`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }
        }
    };
}

failpoints! {
    /// The signup's row is inserted, its fee not sent.
    Enrolled = "enrolled",
    /// The fee was answered, the answer is not recorded.
    FeeAnswered = "fee_answered",
    /// A signup's decision is recorded, the caller not answered.
    SignupCommitted = "signup_committed",
    /// The sheet line was read, the claim not recorded.
    PrizeDrawn = "prize_drawn",
    /// The fee, prize or refund is recorded as due, and not sent.
    PaymentDue = "payment_due",
    /// The payment was answered, the answer is not recorded.
    PaymentAnswered = "payment_answered",
    /// The contest's row is inserted, its account not open.
    ContestInserted = "contest_inserted",
    /// The pool account is open, which is not recorded.
    AccountOpened = "account_opened",
    /// An own leg was answered, the answer is not recorded.
    LegAnswered = "leg_answered",
    /// Credits are closed, which is not recorded.
    CreditsClosed = "credits_closed",
    /// A contest's decision is recorded.
    ContestCommitted = "contest_committed",
    /// Books and balance agree, the freeze is not recorded.
    BooksBalanced = "books_balanced",
    /// The complete sheet was read, its digest is not recorded.
    SheetRead = "sheet_read",
    /// A page of a sweep is done.
    PageSwept = "page_swept",
    /// The store's transaction is written but not committed.
    StoreBeforeCommit = "store_before_commit",
    /// The store's transaction is committed, nobody was answered.
    StoreCommitted = "store_committed",
    /// The ledger's transaction is written but not committed.
    LedgerBeforeCommit = "ledger_before_commit",
    /// The ledger's transaction is committed, nobody was answered.
    LedgerCommitted = "ledger_committed",
}

/// Crashes here, if this is the point and the pass that `GUAFEN_FAILPOINT` names.
#[cfg(feature = "failpoints")]
pub fn pass(point: Failpoint) {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    };
    static ARMED: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let setting = std::env::var("GUAFEN_FAILPOINT").ok()?;
        let (name, pass) = setting.split_once(':')?;
        Some((name.to_owned(), pass.parse().ok()?))
    });
    static PASSES: AtomicU64 = AtomicU64::new(0);
    if let Some((name, at)) = &*ARMED
        && name == point.name()
        && PASSES.fetch_add(1, Ordering::SeqCst) + 1 == *at
    {
        // As kill −9 would: no destructor runs, nothing is flushed.
        std::process::abort();
    }
}

/// Without the feature, nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn pass(_point: Failpoint) {}
