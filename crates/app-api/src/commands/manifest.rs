//! What a backup says of itself, and the few steps with files that backup and restore share.

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

/// Written last: a directory without it is no complete backup.
pub(crate) const MANIFEST: &str = "manifest.json";
/// The form of what this program writes.
pub(crate) const FORMAT: &str = "guafen backup 1";

/// What a backup says of itself.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Manifest {
    /// [`FORMAT`].
    pub(crate) format: String,
    /// The version of the program that made it.
    pub(crate) version: String,
    /// When the store's moment was fixed, RFC 3339.
    pub(crate) store_at: String,
    /// When the ledger's moment was fixed: right after that of the store, never before.
    pub(crate) ledger_at: String,
    /// When everything was on disk.
    pub(crate) finished_at: String,
    /// Every file.
    pub(crate) files: Vec<FileEntry>,
}

/// One file of a backup.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct FileEntry {
    /// Its name.
    pub(crate) name: String,
    /// Its length in bytes.
    pub(crate) bytes: u64,
    /// Its SHA-256 in hexadecimal digits.
    pub(crate) sha256: String,
}

impl Manifest {
    /// Reads the manifest of a backup.
    ///
    /// # Errors
    /// When there is none, or it is of a form that this program does not know.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Self> {
        let path = dir.join(MANIFEST);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                "{} has no {MANIFEST}: it is no backup, or one that did not finish",
                dir.display()
            ),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot read {}", path.display()));
            }
        };
        let manifest: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged", path.display()))?;
        if manifest.format != FORMAT {
            bail!(
                "{} is of the form {:?}, this program knows {FORMAT:?}",
                path.display(),
                manifest.format
            );
        }
        Ok(manifest)
    }

    /// The entry of a file.
    pub(crate) fn entry(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|entry| entry.name == name)
    }

    /// Writes it beside the files, whole or not at all.
    pub(crate) fn write(&self, dir: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        let (fresh, path) = (dir.join(".manifest.json"), dir.join(MANIFEST));
        let mut file = create(&fresh)?;
        file.write_all(text.as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::rename(&fresh, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        sync_dir(dir)
    }
}

/// Makes a directory that its owner alone can read, and refuses one that has something in it.
pub(crate) fn empty_dir(path: &Path) -> anyhow::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    let mut entries =
        fs::read_dir(path).with_context(|| format!("cannot list {}", path.display()))?;
    if entries.next().is_some() {
        bail!("{} is not empty; name another directory", path.display());
    }
    Ok(())
}

/// A new file that its owner alone can read.
pub(crate) fn create(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))
}

/// Makes the names in a directory durable.
pub(crate) fn sync_dir(path: &Path) -> anyhow::Result<()> {
    File::open(path)
        .and_then(|dir| dir.sync_all())
        .with_context(|| format!("cannot sync {}", path.display()))
}

/// Length and SHA-256 of what is read, which goes to `to` as well.
fn digest(mut from: impl Read, mut to: impl Write) -> io::Result<(u64, String)> {
    let mut hash = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        let length = from.read(&mut chunk)?;
        let Some(part) = chunk.get(..length).filter(|part| !part.is_empty()) else {
            let hash = hash.finalize();
            let sha256 = hash.iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok((bytes, sha256));
        };
        hash.update(part);
        to.write_all(part)?;
        bytes += length as u64;
    }
}

/// The entry of a file as it lies there.
pub(crate) fn describe(dir: &Path, name: &str) -> anyhow::Result<FileEntry> {
    let path = dir.join(name);
    let described = File::open(&path).and_then(|file| digest(file, io::sink()));
    let (bytes, sha256) = described.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(FileEntry {
        name: name.to_owned(),
        bytes,
        sha256,
    })
}

/// Copies a file, on disk when this returns; what was copied.
pub(crate) fn copy(from: &Path, to: &Path) -> anyhow::Result<(u64, String)> {
    let source = File::open(from).with_context(|| format!("cannot read {}", from.display()))?;
    let mut target = create(to)?;
    digest(source, &mut target)
        .and_then(|copied| target.sync_all().map(|()| copied))
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}
