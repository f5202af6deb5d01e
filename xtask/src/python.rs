//! Programs and libraries of Python, each in an environment of its own under the target folder.

use crate::shell;
use anyhow::{Context, Result};
use std::{fs, path::PathBuf, process::Command};

/// The folder of an environment with exactly these packages, made if it is not there yet.
///
/// # Errors
/// What is missing on this machine, and what to do about it.
pub(crate) fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    let home = shell::target_dir().join("xtask").join(name);
    let kept = home.join("requirements.txt");
    if fs::read_to_string(&kept).is_ok_and(|kept| kept == requirements) {
        return Ok(home);
    }
    println!("installing {name} into {} ...", home.display());
    let _ = fs::remove_dir_all(&home);
    shell::run(Command::new("python3").args(["-m", "venv"]).arg(&home)).with_context(|| {
        format!(
            "{name} needs Python 3.10 or later with venv: install it (Debian: apt-get install \
             python3 python3-venv)"
        )
    })?;
    let wanted = home.join("wanted.txt");
    fs::write(&wanted, requirements)?;
    let flags = [
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
    ];
    shell::run(Command::new(home.join("bin/pip")).args(flags).arg(&wanted)).with_context(|| {
        format!(
            "the packages of {name} cannot be installed: allow pip to reach PyPI, or name a mirror \
             in PIP_INDEX_URL"
        )
    })?;
    // Last, so that what broke off is installed again.
    fs::rename(&wanted, &kept)?;
    Ok(home)
}
