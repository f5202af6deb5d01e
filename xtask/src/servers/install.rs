//! Installs servers on a Debian machine: packages, and where Debian's release has no MySQL, a tree
//! of Debian sid that is run in place.

use super::{Need, answers, tree};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};
use test_support::Engine;

/// Answers every package that wants to start its service: no.
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Installs it; an error says what is missing here, and what to do.
pub(super) fn install(need: Need) -> Result<()> {
    if !answers("apt-get", "--version") {
        bail!("it can be installed here by hand only: this is no Debian");
    }
    let id = Command::new("id").arg("-u").output();
    if !id.is_ok_and(|id| id.stdout.trim_ascii() == b"0") {
        bail!("run this as root once, so that it can be installed");
    }
    match need {
        Need::Redis => packages(&["redis-server"]),
        Need::Database(Engine::Mariadb) => packages(&["mariadb-server"]),
        Need::Database(Engine::Mysql) => sid(),
    }
}

/// Runs; what it says beside errors would bury them.
fn run(command: &mut Command) -> Result<()> {
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command.stdin(Stdio::null()).stdout(Stdio::null());
    crate::shell::run(command)
}

/// A file that forbids packages to start services, while it is there.
struct Quiet(Option<PathBuf>);

impl Quiet {
    /// In the system with this root; a policy that is already there stays.
    fn new(root: &Path) -> Result<Self> {
        let path = root.join("usr/sbin/policy-rc.d");
        if path.exists() {
            return Ok(Self(None));
        }
        fs::write(&path, POLICY).with_context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(Self(Some(path)))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // It is ours and nobody else's.
            let _ = fs::remove_file(path);
        }
    }
}

fn packages(names: &[&str]) -> Result<()> {
    println!("installing {} ...", names.join(", "));
    let _quiet = Quiet::new(Path::new("/"))?;
    run(Command::new("apt-get").arg("update"))?;
    run(Command::new("apt-get")
        .args(["install", "--yes", "--no-install-recommends"])
        .args(names))
}

/// The mirror that apt takes this system's own packages from.
fn mirror(targets: &str) -> Option<&str> {
    targets
        .lines()
        .map(str::trim)
        .find(|line| line.contains("://") && !line.contains("security"))
}

/// A tree of Debian sid with MySQL and Redis, in the cache directory. Half a tree is never left
/// at its place.
fn sid() -> Result<()> {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    if !release.lines().any(|line| line == "ID=debian") {
        bail!("install MySQL's own server (its `mysqld`): only on Debian it is installed by this");
    }
    let tree = tree()?;
    if tree.exists() {
        bail!(
            "{} is there but has no MySQL that starts: remove it, and it is made anew",
            tree.display()
        );
    }
    if !answers("debootstrap", "--version") {
        packages(&["debootstrap"])?;
    }
    let output = Command::new("apt-get")
        .args(["indextargets", "--format", "$(REPO_URI)"])
        .output()
        .context("cannot ask apt-get for its mirror")?;
    let targets = String::from_utf8_lossy(&output.stdout).into_owned();
    let mirror = mirror(&targets).unwrap_or("http://deb.debian.org/debian/");
    println!(
        "installing MySQL from Debian sid ({mirror}) into {} ...",
        tree.display()
    );
    let partial = tree.with_extension("partial");
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    fs::create_dir_all(&partial)?;
    run(Command::new("debootstrap")
        .args(["--variant=minbase", "sid"])
        .arg(&partial)
        .arg(mirror))?;
    run(Command::new("chroot").arg(&partial).args([
        "apt-get",
        "install",
        "--yes",
        "--no-install-recommends",
        "--download-only",
        "mysql-server",
        "redis-server",
    ]))?;
    // Files are all that is needed. What packages do when they are set up wants /proc and more.
    for entry in fs::read_dir(partial.join("var/cache/apt/archives"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            run(Command::new("dpkg-deb").arg("-x").arg(&path).arg(&partial))?;
            fs::remove_file(&path)?;
        }
    }
    fs::rename(&partial, &tree)
        .with_context(|| format!("cannot move the tree to {}", tree.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_not_that_of_security_updates() {
        let targets = "http://a/debian-security/\nhttp://b/debian/\nhttp://c/debian/\n";
        assert_eq!(mirror(targets), Some("http://b/debian/"));
        assert_eq!(mirror(""), None);
    }

    #[test]
    fn services_are_forbidden_only_while_packages_are_installed() {
        let root = crate::shell::fresh_dir("policy").expect("a directory");
        fs::create_dir_all(root.join("usr/sbin")).expect("made");
        let policy = root.join("usr/sbin/policy-rc.d");
        let quiet = Quiet::new(&root).expect("written");
        let said = Command::new(&policy).status().expect("it runs");
        assert_eq!(said.code(), Some(101));
        drop(quiet);
        assert!(!policy.exists());
        fs::write(&policy, "theirs").expect("written");
        drop(Quiet::new(&root).expect("left alone"));
        assert_eq!(fs::read_to_string(&policy).expect("kept"), "theirs");
        fs::remove_dir_all(&root).expect("removed");
    }
}
