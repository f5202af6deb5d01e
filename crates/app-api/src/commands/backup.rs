//! `app-api backup`: a data directory, copied while it is in use.
//!
//! The store's moment is fixed before the ledger's. So the ledger may know of a payment that no row
//! knows of, which is found by its derived order id; a row never speaks of a payment that the
//! ledger does not know, which nothing could explain.

use super::{
    manifest::{FORMAT, Manifest, copy, describe, empty_dir, sync_dir},
    say,
};
use crate::{
    data_dir::{self, LEDGER, SECRET, STORE},
    wire::rfc3339,
};
use anyhow::{Context, bail};
use domain::time::UnixMillis;
use sql_core::snapshot::{Snapshot, damage};
use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

fn now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Copies `data_dir` into `to`.
///
/// # Errors
/// When something cannot be read or written, or the copy is damaged. What lies in `to` then has no
/// manifest and is no backup.
pub(crate) async fn run(data_dir: &Path, to: &Path) -> anyhow::Result<()> {
    data_dir::books(data_dir)?;
    empty_dir(to)?;
    let fix = |name: &'static str| async move {
        Snapshot::fix(&data_dir.join(name), &to.join(name))
            .await
            .with_context(|| format!("cannot read {name}"))
    };
    let store = fix(STORE).await?;
    let store_at = now();
    let ledger = fix(LEDGER).await?;
    let ledger_at = now();
    for (name, snapshot) in [(STORE, store), (LEDGER, ledger)] {
        let copied = snapshot.copy().await;
        copied.with_context(|| format!("cannot copy {name} to {}", to.display()))?;
        finish(&to.join(name)).await?;
    }
    let mut files = vec![describe(to, STORE)?, describe(to, LEDGER)?];
    if data_dir.join(SECRET).exists() {
        copy(&data_dir.join(SECRET), &to.join(SECRET))?;
        files.push(describe(to, SECRET)?);
    }
    sync_dir(to)?;
    let manifest = Manifest {
        format: FORMAT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        store_at: rfc3339(store_at),
        ledger_at: rfc3339(ledger_at),
        finished_at: rfc3339(now()),
        files,
    };
    manifest.write(to)?;
    if let Some(parent) = to.canonicalize().ok().as_deref().and_then(Path::parent) {
        sync_dir(parent)?;
    }
    let bytes: u64 = manifest.files.iter().map(|file| file.bytes).sum();
    say(&format!(
        "{} is in {}: {bytes} bytes, as of {}\n",
        data_dir.display(),
        to.display(),
        manifest.store_at
    ))
}

/// For its owner alone, on disk, and whole.
async fn finish(path: &Path) -> anyhow::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o600))
        .and_then(|()| File::open(path)?.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    let damage = damage(path)
        .await
        .with_context(|| format!("cannot read {} again", path.display()))?;
    if let Some(first) = damage.first() {
        bail!("the copy {} is damaged: {first}", path.display());
    }
    Ok(())
}
