//! Takes the fence check away in a copy of the last commit, and shows that what is said of it is not said
//! for nothing: the test of a reconciler that wakes past its lease passes with it, and is red without.

use crate::{
    servers,
    shell::{cargo, root, run, target_dir},
    steps::Outcome,
};
use anyhow::{Context, Result};
use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// What is taken away.
const PATCH: &str = "xtask/patches/without-fence.patch";
/// What the test says where a write came through.
const RED: &str = "nothing is written under a lease that another has";

/// A copy of the last commit beside the build; gone with the value.
struct Copy(PathBuf);

impl Copy {
    fn of_the_last_commit() -> Result<Self> {
        let path = target_dir().join("without-fence");
        forget(&path);
        run(Command::new("git")
            .current_dir(root())
            .args(["worktree", "add", "--detach", "--quiet"])
            .arg(&path)
            .arg("HEAD"))?;
        Ok(Self(path))
    }

    fn test(&self) -> Result<(bool, String)> {
        let mut cargo = cargo();
        let output = cargo
            .current_dir(&self.0)
            .env("CARGO_TARGET_DIR", target_dir().join("without-fence-build"))
            .args([
                "test",
                "--locked",
                "--package",
                "app-reconciler",
                "--test",
                "paused",
            ])
            .output()
            .context("cannot start cargo")?;
        let text = [output.stdout, output.stderr].concat();
        Ok((
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        ))
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        forget(&self.0);
    }
}

fn forget(path: &Path) {
    // It may not be there.
    let _ = Command::new("git")
        .current_dir(root())
        .args(["worktree", "remove", "--force"])
        .arg(path)
        .output();
}

/// Runs the test with the check and without it.
pub(crate) async fn without_fence() -> Result<Outcome> {
    let _servers = match servers::obtain().await? {
        Ok(servers) => servers,
        Err(why) => return Ok(Outcome::NotRun(why)),
    };
    let copy = Copy::of_the_last_commit()?;
    println!("with the fence check (the first build takes some minutes) ...");
    let (passed, said) = copy.test()?;
    if !passed {
        println!("{said}\nthe test is red with the check in place");
        return Ok(Outcome::Failed);
    }
    println!("  green");
    run(Command::new("git")
        .current_dir(&copy.0)
        .arg("apply")
        .arg(root().join(PATCH)))?;
    println!("without it ({PATCH}) ...");
    let (passed, said) = copy.test()?;
    if passed || !said.contains(RED) {
        println!("{said}\nthe test does not see that the check is gone");
        return Ok(Outcome::Failed);
    }
    println!("  red: {RED}");
    Ok(Outcome::Passed)
}
