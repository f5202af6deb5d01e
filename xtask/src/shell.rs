//! Commands that are run, and where things lie.

use anyhow::{Context, Result, bail};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// The workspace's root directory.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// Where cargo builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that started this, or the one in the path. What it starts finds the servers that
/// this process has obtained.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    command.envs(crate::servers::environment());
    command
}

/// Runs a command with its output passed on; its failure is an error.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let text = format!("{command:?}").replace('"', "");
    let status = command
        .status()
        .with_context(|| format!("cannot start {text}"))?;
    if !status.success() {
        bail!("{text} ended with {status}; its output above says why");
    }
    Ok(())
}

/// Builds app-api in release and returns its path.
pub(crate) fn build_api() -> Result<PathBuf> {
    println!("building app-api (release; the first time takes some minutes) ...");
    run(cargo().args(["build", "--release", "--locked", "--package", "app-api"]))?;
    Ok(binary("release/app-api"))
}

/// Builds app-api with failpoints and returns the path of a copy: the binary that everybody else
/// starts is put back.
pub(crate) fn build_api_with_failpoints() -> Result<PathBuf> {
    println!("building app-api with failpoints (release) ...");
    run(cargo().args([
        "build",
        "--release",
        "--locked",
        "--package",
        "app-api",
        "--features",
        "failpoints",
    ]))?;
    let copy = binary("xtask/app-api-failpoints");
    std::fs::create_dir_all(target_dir().join("xtask"))?;
    // A running copy cannot be written over, but it can be replaced.
    let _ = std::fs::remove_file(&copy);
    std::fs::copy(binary("release/app-api"), &copy)
        .with_context(|| format!("cannot write {}", copy.display()))?;
    build_api()?;
    Ok(copy)
}

fn binary(name: &str) -> PathBuf {
    target_dir().join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// A new directory of its own for one run's data.
pub(crate) fn fresh_dir(kind: &str) -> Result<PathBuf> {
    let name = format!("{kind}-{}-{}", crate::clock::now_ms(), std::process::id());
    let dir = target_dir().join("xtask").join(name);
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}
