//! The directory of an embedded instance: what lies in it, and that one process has it.

use anyhow::{Context, bail};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

/// The store's file.
pub(crate) const STORE: &str = "guafen.db";
/// The ledger's file.
pub(crate) const LEDGER: &str = "ledger.db";
/// The secret that signs tokens.
pub(crate) const SECRET: &str = "secret";
/// There while a restore is under way; nothing is served from a directory that has it.
pub(crate) const RESTORING: &str = "restore-incomplete";
/// Held by the process that has the directory.
pub(crate) const LOCK: &str = "lock";

/// True while a process has the directory.
pub(crate) fn is_in_use(path: &Path) -> bool {
    File::open(path.join(LOCK))
        .is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

/// Store and ledger of a directory that is only read.
///
/// # Errors
/// When one of them is not there.
pub(crate) fn books(path: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let (store, ledger) = (path.join(STORE), path.join(LEDGER));
    if !store.is_file() || !ledger.is_file() {
        bail!(
            "{} has no {STORE} and {LEDGER}; is it the right data directory?",
            path.display()
        );
    }
    Ok((store, ledger))
}

/// A data directory that no other process uses.
pub(crate) struct DataDir {
    /// Where it is.
    pub(crate) path: PathBuf,
    _lock: File,
}

impl DataDir {
    /// Takes the directory, and makes it if it is not there.
    ///
    /// # Errors
    /// When it is in use, cannot be written, or was left by a restore that did not finish.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let dir = Self::take(path)?;
        if path.join(RESTORING).exists() {
            bail!(
                "a restore into {} did not finish; remove the directory and restore again",
                path.display()
            )
        }
        Ok(dir)
    }

    /// Takes the directory, whatever is in it.
    ///
    /// # Errors
    /// When it is in use or cannot be written.
    pub(crate) fn take(path: &Path) -> anyhow::Result<Self> {
        // What is in it is nobody else's business.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .with_context(|| format!("cannot create {}", path.display()))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK))
            .with_context(|| format!("cannot write to {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self {
                path: path.to_owned(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "{} is in use by another process; stop it, or name another --data-dir",
                    path.display()
                )
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("cannot lock {}", path.display()))
            }
        }
    }
}
