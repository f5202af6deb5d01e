//! The secret that a data directory keeps for HS256.

use crate::config::SECRET_MIN;
use anyhow::{Context, bail};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
};

/// Who may do anything with the file beside its owner.
const OTHERS: u32 = 0o077;

/// What to do where a data directory keeps no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSecret {
    /// Make one: this is the server.
    Make,
    /// Refuse: a new one would sign tokens that no server takes.
    Refuse,
}

/// The secret of a data directory.
///
/// # Errors
/// When it is too short, can be read by others, or cannot be read or written.
pub(crate) fn of_directory(dir: &Path, no_secret: NoSecret) -> anyhow::Result<Vec<u8>> {
    let path = dir.join("secret");
    let text = match File::open(&path) {
        Ok(file) => read(file, &path)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => match no_secret {
            NoSecret::Make => make(dir, &path)?,
            NoSecret::Refuse => bail!(
                "there is no secret in {}; start the server there once, or check the path",
                dir.display()
            ),
        },
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let secret = parse_hex(text.trim()).filter(|secret| secret.len() >= SECRET_MIN);
    secret.with_context(|| {
        format!(
            "{} must hold at least {SECRET_MIN} bytes in hexadecimal digits",
            path.display()
        )
    })
}

/// Reads the secret, if nobody else can: whoever reads it is any user and any operator.
fn read(mut file: File, path: &Path) -> anyhow::Result<String> {
    let mode = file
        .metadata()
        .with_context(|| format!("cannot read {}", path.display()))?
        .permissions()
        .mode();
    if mode & OTHERS != 0 {
        bail!(
            "{path} can be read or written by others (mode {mode:03o}), who could sign tokens with \
             it; `chmod 600 {path}`, and remove it instead if somebody may have read it: a new one \
             is made",
            path = path.display(),
            mode = mode & 0o777
        );
    }
    let mut text = String::new();
    file.read_to_string(&mut text)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

/// Writes a new secret, readable by its owner alone. Of two processes that do so at once, one wins
/// and both use its secret.
fn make(dir: &Path, path: &Path) -> anyhow::Result<String> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let mut bytes = [0; SECRET_MIN];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("no random numbers: {error}"))?;
    let text: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let fresh = dir.join(format!(".secret-{}", std::process::id()));
    let written = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&fresh)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        });
    written.with_context(|| format!("cannot write {}", fresh.display()))?;
    // A link, unlike a rename, fails where another process was faster.
    let linked = fs::hard_link(&fresh, path);
    fs::remove_file(&fresh).with_context(|| format!("cannot remove {}", fresh.display()))?;
    match linked {
        Ok(()) => Ok(text),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
        }
        Err(error) => Err(error).with_context(|| format!("cannot write {}", path.display())),
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).ok());
    pairs
        .map(|pair| pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_made_once_for_its_owner_alone_and_refused_when_others_can_read_it() {
        let dir = tempfile::tempdir().expect("a directory");
        of_directory(dir.path(), NoSecret::Refuse).expect_err("nothing is there yet");
        let made = of_directory(dir.path(), NoSecret::Make).expect("a secret");
        assert_eq!(made.len(), SECRET_MIN);
        assert_eq!(
            of_directory(dir.path(), NoSecret::Refuse).expect("it again"),
            made
        );
        let path = dir.path().join("secret");
        let mode = |path: &Path| fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        for open in [0o640, 0o604, 0o622] {
            fs::set_permissions(&path, fs::Permissions::from_mode(open)).expect("a change");
            let said = of_directory(dir.path(), NoSecret::Make).expect_err("a refusal");
            assert!(format!("{said:#}").contains("chmod 600"), "{said:#}");
        }
    }

    #[test]
    fn a_secret_that_is_too_short_or_no_hexadecimal_is_refused_and_not_shown() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("secret");
        for text in ["abcd", &"xy".repeat(SECRET_MIN), &"a".repeat(65)] {
            fs::write(&path, text).expect("a file");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("a change");
            let said = of_directory(dir.path(), NoSecret::Make).expect_err("a refusal");
            assert!(!format!("{said:#}").contains(text), "{said:#}");
        }
    }
}
