//! `app-api restore`: a data directory, made from a backup.
//!
//! The backup is verified before anything is written. While files are copied a mark lies in the
//! directory, and no server starts on one that has it: a restore that broke off cannot be mistaken
//! for a whole one.

use super::{
    manifest::{FileEntry, Manifest, copy, create, describe, empty_dir, sync_dir},
    say,
};
use crate::data_dir::{DataDir, LEDGER, RESTORING, SECRET, STORE, is_in_use};
use anyhow::{Context, bail};
use sql_core::snapshot::damage;
use std::{fs, path::Path};

/// Makes `data_dir` from the backup in `from`.
///
/// # Errors
/// When the backup is not complete and whole, or `data_dir` has something in it, is in use or
/// cannot be written.
pub(crate) async fn run(from: &Path, data_dir: &Path) -> anyhow::Result<()> {
    let manifest = verified(from).await?;
    if is_in_use(data_dir) {
        bail!("{} is in use by a running server", data_dir.display());
    }
    empty_dir(data_dir)?;
    let dir = DataDir::take(data_dir)?;
    let mark = data_dir.join(RESTORING);
    create(&mark)?.sync_all()?;
    sync_dir(data_dir)?;
    for FileEntry {
        name,
        bytes,
        sha256,
    } in &manifest.files
    {
        let copied = copy(&from.join(name), &data_dir.join(name))?;
        if copied != (*bytes, sha256.clone()) {
            bail!(
                "{name} changed while it was copied; remove {}",
                data_dir.display()
            );
        }
    }
    sync_dir(data_dir)?;
    fs::remove_file(&mark).with_context(|| format!("cannot remove {}", mark.display()))?;
    sync_dir(data_dir)?;
    drop(dir);
    let shown = data_dir.display();
    let no_secret = match manifest.entry(SECRET) {
        Some(_) => "",
        None => {
            "the backup has no secret: set the one of your configuration, or the server makes a new one\n"
        }
    };
    say(&format!(
        "{shown} is as of {}\n{no_secret}\
         next: app-api check --data-dir {shown}\n\
         then: app-api serve --embedded --data-dir {shown}\n",
        manifest.store_at
    ))
}

/// The manifest of a backup whose files are all there, as they were written.
async fn verified(from: &Path) -> anyhow::Result<Manifest> {
    let manifest = Manifest::read(from)?;
    for entry in &manifest.files {
        let FileEntry {
            name,
            bytes,
            sha256,
        } = entry;
        if ![STORE, LEDGER, SECRET].contains(&name.as_str()) {
            bail!("the backup names a file {name:?}, which is none of a data directory");
        }
        let found = describe(from, name)?;
        if (found.bytes, &found.sha256) != (*bytes, sha256) {
            bail!(
                "{name} in {} is not what was written; use another backup",
                from.display()
            );
        }
    }
    for name in [STORE, LEDGER] {
        if manifest.entry(name).is_none() {
            bail!("the backup in {} has no {name}", from.display());
        }
        let damage = damage(&from.join(name))
            .await
            .with_context(|| format!("cannot read {name} in {}", from.display()))?;
        if let Some(first) = damage.first() {
            bail!("{name} in {} is damaged: {first}", from.display());
        }
    }
    Ok(manifest)
}
