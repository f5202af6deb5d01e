//! Faults at the n-th call of any port.

use std::{
    future::Future,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::sync::Notify;

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and was not carried out.
    Before,
    /// It is carried out, and its answer is lost.
    After,
    /// It is carried out twice; the second answer counts.
    Twice,
    /// It is carried out and never answers.
    Hang,
    /// The process crashes before it.
    CrashBefore,
    /// The process crashes after it.
    CrashAfter,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Before,
        Self::After,
        Self::Twice,
        Self::Hang,
        Self::CrashBefore,
        Self::CrashAfter,
    ];
}

/// Counts the calls of all ports that share it, and lets one of them go wrong.
///
/// A crash never answers: whoever runs the flow waits for [`Faults::crashed`] beside it, drops the
/// flow, and starts a new process on the same state.
#[derive(Debug, Default)]
pub struct Faults {
    calls: AtomicU64,
    plan: Mutex<Option<(u64, Fault)>>,
    crash: Notify,
}

impl Faults {
    /// Lets the `at`-th call from now on (the first is 0) go wrong.
    pub fn arm(&self, at: u64, fault: Fault) {
        *self.plan() = Some((self.calls.load(Ordering::SeqCst) + at, fault));
    }

    /// Nothing goes wrong any more.
    pub fn disarm(&self) {
        *self.plan() = None;
    }

    /// The calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// Resolves when the process is to crash.
    pub async fn crashed(&self) {
        self.crash.notified().await;
    }

    /// Makes a call, unless it is this one's turn to go wrong; `failed` is the answer of a call
    /// that got none.
    pub async fn around<T, F: Future<Output = T>>(
        &self,
        call: impl Fn() -> F,
        failed: impl FnOnce() -> T,
    ) -> T {
        let number = self.calls.fetch_add(1, Ordering::SeqCst);
        let fault = self
            .plan()
            .filter(|(at, _)| *at == number)
            .map(|(_, fault)| fault);
        match fault {
            None => call().await,
            Some(Fault::Before) => failed(),
            Some(Fault::After) => {
                call().await;
                failed()
            }
            Some(Fault::Twice) => {
                call().await;
                call().await
            }
            Some(Fault::Hang) => {
                call().await;
                std::future::pending().await
            }
            Some(Fault::CrashBefore) => self.die().await,
            Some(Fault::CrashAfter) => {
                call().await;
                self.die().await
            }
        }
    }

    async fn die<T>(&self) -> T {
        self.crash.notify_one();
        std::future::pending().await
    }

    fn plan(&self) -> MutexGuard<'_, Option<(u64, Fault)>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
