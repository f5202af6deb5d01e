//! `cargo xtask tidy`: the rules of the house that no compiler knows.

mod compose;
mod edges;
mod files;
mod hazards;
mod migrations;

use crate::shell::{cargo, root};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// What tidy does besides.
#[derive(Args, Clone, Debug)]
pub(crate) struct TidyArgs {
    /// Add new migrations to the list; a line that is there is never changed
    #[arg(long)]
    bless_migrations: bool,
    /// Write docs/hazards.md anew from the marks above the tests and from docs/hazards-reasons.txt
    #[arg(long)]
    bless_hazards: bool,
}

/// Checks, after adding new migrations if asked to; true if nothing is wrong.
pub(crate) fn run(args: &TidyArgs) -> Result<bool> {
    if args.bless_migrations {
        bless()?;
    }
    if args.bless_hazards {
        let (reasons, _) = hazard_reasons();
        let table = hazards::render(&hazard_marks()?, &reasons);
        std::fs::write(root().join(hazards::TABLE), table).context("cannot write the hazards")?;
    }
    tidy()
}

/// Checks every rule; true if nothing is wrong.
pub(crate) fn tidy() -> Result<bool> {
    let metadata = metadata()?;
    let mut faults = edges::check(&metadata);
    faults.extend(manifests(&metadata)?);
    faults.extend(code_map(&metadata));
    let sources = found(&["crates", "xtask"], "rs")?;
    for path in &sources {
        let text = std::fs::read_to_string(root().join(path))
            .with_context(|| format!("cannot read {path}"))?;
        faults.extend(files::check(path, &text));
    }
    let table = std::fs::read_to_string(root().join(hazards::TABLE)).unwrap_or_default();
    let marks = hazard_marks()?;
    let (reasons, unreadable) = hazard_reasons();
    faults.extend(unreadable);
    faults.extend(hazards::check(&marks, &reasons));
    if table != hazards::render(&marks, &reasons) {
        let file = hazards::TABLE;
        faults.push(format!(
            "{file} is out of date: cargo xtask tidy --bless-hazards"
        ));
    }
    let listed = std::fs::read_to_string(root().join(migrations::LIST)).unwrap_or_default();
    faults.extend(migrations::check(&migrations::parse(&listed), &hashes()?));
    for path in found(&["crates"], "sql")? {
        if migrations::is_shared(&path) {
            let text = std::fs::read_to_string(root().join(&path))
                .with_context(|| format!("cannot read {path}"))?;
            faults.extend(migrations::check_shared(&path, &text));
        }
    }
    let stack = std::fs::read_to_string(root().join(compose::FILE))
        .with_context(|| format!("cannot read {}", compose::FILE))?;
    faults.extend(compose::check(&stack));
    for fault in &faults {
        println!("{fault}");
    }
    println!(
        "tidy: {} crates, {} files, {} faults",
        metadata.packages.len(),
        sources.len(),
        faults.len()
    );
    Ok(faults.is_empty())
}

fn hazard_marks() -> Result<hazards::Marks> {
    let mut marks = hazards::Marks::new();
    for path in found(&["crates", "xtask"], "rs")? {
        let text = std::fs::read_to_string(root().join(&path))
            .with_context(|| format!("cannot read {path}"))?;
        hazards::collect(&path, &text, &mut marks);
    }
    Ok(marks)
}

fn hazard_reasons() -> (hazards::Reasons, Vec<String>) {
    let text = std::fs::read_to_string(root().join(hazards::REASONS));
    hazards::reasons(&text.unwrap_or_default())
}

fn metadata() -> Result<edges::Metadata> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps", "--locked"])
        .output()
        .context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    serde_json::from_slice(&output.stdout)
        .context("cargo metadata answered something else than expected")
}

/// Every crate takes part in the workspace's lints and has the name of its folder.
fn manifests(metadata: &edges::Metadata) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for package in &metadata.packages {
        let text = std::fs::read_to_string(&package.manifest_path)
            .with_context(|| format!("cannot read {}", package.manifest_path.display()))?;
        if !opts_into_lints(&text) {
            faults.push(format!(
                "{}: add `[lints]` with `workspace = true` to its Cargo.toml",
                package.name
            ));
        }
        let folder = package
            .manifest_path
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default();
        if folder.to_string_lossy() != package.name {
            faults.push(format!(
                "{}: lies in a folder of another name",
                package.name
            ));
        }
    }
    Ok(faults)
}

fn opts_into_lints(manifest: &str) -> bool {
    let mut lines = manifest
        .lines()
        .map(str::trim)
        .skip_while(|line| *line != "[lints]")
        .skip(1);
    lines
        .by_ref()
        .take_while(|line| !line.starts_with('['))
        .any(|line| line.replace(' ', "") == "workspace=true")
}

/// Every crate is explained in ARCHITECTURE.md.
fn code_map(metadata: &edges::Metadata) -> Vec<String> {
    let Ok(text) = std::fs::read_to_string(root().join("ARCHITECTURE.md")) else {
        return vec![
            "ARCHITECTURE.md is missing: write it, with a code map of every crate".to_owned(),
        ];
    };
    metadata
        .packages
        .iter()
        .filter(|package| !is_mapped(&text, &package.name))
        .map(|package| {
            format!(
                "{} is not in ARCHITECTURE.md's code map: add a line on its job",
                package.name
            )
        })
        .collect()
}

fn is_mapped(text: &str, name: &str) -> bool {
    text.split(|c: char| !(c.is_alphanumeric() || c == '-'))
        .any(|word| word == name)
}

/// Files with an extension below some folders, relative to the root, in order.
pub(crate) fn found(folders: &[&str], extension: &str) -> Result<Vec<String>> {
    let root = root();
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root.join(folder)).collect();
    let mut paths = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(&folder)
            .with_context(|| format!("cannot list {}", folder.display()))?
        {
            let path = entry?.path();
            let is_target = path.file_name().is_some_and(|name| name == "target");
            if path.is_dir() && !is_target {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let relative = path.strip_prefix(&root).unwrap_or(&path);
                paths.push(relative.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    paths.sort();
    Ok(paths)
}

fn hashes() -> Result<BTreeMap<String, String>> {
    let migrations = found(&["crates"], "sql")?
        .into_iter()
        .filter(|path| path.contains("/migrations/"));
    migrations
        .map(|path| {
            let text =
                std::fs::read(root().join(&path)).with_context(|| format!("cannot read {path}"))?;
            Ok((path, migrations::hash(&text)))
        })
        .collect()
}

fn bless() -> Result<()> {
    let list = root().join(migrations::LIST);
    let mut listed = migrations::parse(&std::fs::read_to_string(&list).unwrap_or_default());
    for (path, hash) in hashes()? {
        listed.entry(path).or_insert(hash);
    }
    std::fs::write(&list, migrations::render(&listed))
        .with_context(|| format!("cannot write {}", list.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_must_opt_into_the_lints() {
        assert!(opts_into_lints("[package]\n\n[lints]\nworkspace = true\n"));
        assert!(!opts_into_lints("[package]\nworkspace = true\n"));
        assert!(!opts_into_lints("[lints]\n[other]\nworkspace = true\n"));
    }

    // hazard: G8
    #[test]
    fn the_lints_that_nothing_else_stands_for_are_on_and_an_overflow_is_never_silent() {
        let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
        let has = |line: &str| manifest.lines().any(|found| found == line);
        // A lock of the standard library that is held while something is waited for.
        assert!(has("await_holding_lock = \"warn\""));
        assert!(has("unsafe_code = \"forbid\""));
        assert!(has("float_arithmetic = \"warn\""));
        assert!(has("overflow-checks = true"));
    }

    #[test]
    fn the_code_map_names_whole_crates() {
        assert!(is_mapped("| `sql-core` | shared |", "sql-core"));
        assert!(!is_mapped("| `sql-core-more` | shared |", "sql-core"));
    }
}
