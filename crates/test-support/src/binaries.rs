//! Where the servers' binaries are, and which engine a binary really is.

use anyhow::{Context, Result, bail};
use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where installed servers lie besides the path: daemons are often outside a user's.
const PLACES: &[&str] = &[
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/libexec",
    "/usr/local/bin",
    "/opt/homebrew/bin",
    "/usr/local/mysql/bin",
];

/// The loaders of trees of another system, by machine.
const LOADERS: &[(&str, &str)] = &[
    ("usr/lib64/ld-linux-x86-64.so.2", "x86_64-linux-gnu"),
    ("usr/lib/ld-linux-aarch64.so.1", "aarch64-linux-gnu"),
];

/// A binary that can be started, with what must stand before its arguments.
#[derive(Clone, Debug)]
pub struct Program {
    prefix: Vec<String>,
    /// The tree that it belongs to; none for one of this system.
    tree: Option<PathBuf>,
    version: String,
}

impl Program {
    /// The binary at `path`. One inside a tree of another system is started by that tree's own
    /// loader, with its libraries: no chroot is needed.
    ///
    /// # Errors
    /// It does not start.
    pub fn at(path: &Path) -> Result<Self> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let tree = path
            .ancestors()
            .filter(|tree| tree.parent().is_some())
            .find_map(|tree| {
                let found = LOADERS
                    .iter()
                    .find(|(loader, _)| tree.join(loader).exists())?;
                Some((tree.to_owned(), *found))
            });
        let mut prefix = Vec::new();
        if let Some((tree, (loader, machine))) = &tree {
            let libraries = [
                tree.join("usr/lib").join(machine),
                tree.join("usr/lib/mysql/private"),
            ];
            let libraries: Vec<String> = libraries.iter().map(|path| text(path)).collect();
            prefix.push(text(&tree.join(loader)));
            prefix.push("--library-path".to_owned());
            prefix.push(libraries.join(":"));
        }
        prefix.push(text(path));
        let mut program = Self {
            prefix,
            tree: tree.map(|(tree, _)| tree),
            version: String::new(),
        };
        let output = Command::new(&program.prefix[0])
            .args(&program.prefix[1..])
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("cannot start {}", path.display()))?;
        if !output.status.success() {
            bail!("{} --version ended with {}", path.display(), output.status);
        }
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .clone_into(&mut program.version);
        Ok(program)
    }

    /// What it says of itself.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether it says that it is MariaDB: such a binary answers to the name `mysqld` too.
    pub fn is_mariadb(&self) -> bool {
        self.version.contains("MariaDB")
    }

    pub(crate) fn tree(&self) -> Option<&Path> {
        self.tree.as_deref()
    }

    /// The whole command line.
    pub fn command(&self, args: impl IntoIterator<Item = String>) -> Vec<String> {
        self.prefix.iter().cloned().chain(args).collect()
    }

    /// From a variable with a path: such a path must be right.
    pub(crate) fn from_variable(name: &str) -> Result<Option<Self>> {
        let Some(path) = variable(name) else {
            return Ok(None);
        };
        Self::at(Path::new(&path))
            .map(Some)
            .with_context(|| format!("{name} is not the path of a server that starts here"))
    }

    /// The first that fits: `in_tree` of the tree of servers, if given, else one with one of these
    /// names on this system.
    pub(crate) fn find(
        names: &[&str],
        in_tree: Option<&str>,
        fits: impl Fn(&Self) -> bool,
    ) -> Option<Self> {
        let tree = servers_dir().zip(in_tree).map(|(dir, path)| dir.join(path));
        let path = env::var_os("PATH").unwrap_or_default();
        let installed = env::split_paths(&path)
            .chain(PLACES.iter().map(PathBuf::from))
            .flat_map(|dir| names.iter().map(move |name| dir.join(name)));
        tree.into_iter()
            .chain(installed)
            .filter(|path| path.is_file())
            .filter_map(|path| Self::at(&path).ok())
            .find(|program| fits(program))
    }
}

/// A variable that is set and not empty.
pub(crate) fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The tree of servers that `cargo xtask test` makes where the system has no MySQL:
/// `GUAFEN_TEST_SERVERS_DIR`, else `$XDG_CACHE_HOME/guafen/sid`, else `~/.cache/guafen/sid`.
pub fn servers_dir() -> Option<PathBuf> {
    if let Some(dir) = variable("GUAFEN_TEST_SERVERS_DIR") {
        return Some(PathBuf::from(dir));
    }
    let cache = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| variable("HOME").map(|home| Path::new(&home).join(".cache")))?;
    Some(cache.join("guafen/sid"))
}
