//! A ledger in a directory of its own that goes away with it.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// A fresh directory, removed when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A directory that nobody else uses.
    pub(crate) fn new() -> Self {
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        let number = DRAWN.fetch_add(1, Ordering::SeqCst);
        let name = format!(
            "ledger-{}-{}-{number}",
            env!("CARGO_CRATE_NAME"),
            std::process::id()
        );
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    /// The ledger's file.
    pub(crate) fn ledger(&self) -> PathBuf {
        self.0.join("ledger.db")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies below the build's own directory.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
