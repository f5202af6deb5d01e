//! Migrations that may have run somewhere never change: each is listed with its SHA-256, in the
//! form that `sha256sum --check` reads.

use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Where they are listed, from the root.
pub(crate) const LIST: &str = "xtask/migrations.sha256";

/// Hash by path, from the text of the list.
pub(crate) fn parse(list: &str) -> BTreeMap<String, String> {
    list.lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(hash, path)| (path.to_owned(), hash.to_owned()))
        .collect()
}

/// The text of the list.
pub(crate) fn render(hashes: &BTreeMap<String, String>) -> String {
    hashes
        .iter()
        .map(|(path, hash)| format!("{hash}  {path}\n"))
        .collect()
}

/// The SHA-256 of a migration, in hexadecimal.
pub(crate) fn hash(text: &[u8]) -> String {
    Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Every difference between the list and the files.
pub(crate) fn check(
    listed: &BTreeMap<String, String>,
    files: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (path, hash) in files {
        match listed.get(path) {
            None => faults.push(format!("{path} is not listed: run `cargo xtask tidy --bless-migrations` and commit {LIST}")),
            Some(known) if known != hash => faults.push(format!(
                "{path} has changed: a migration that may have run stays as it is, write a new one (before its \
                 first release: delete its line from {LIST} and bless it again)"
            )),
            Some(_) => {}
        }
    }
    let gone = listed.keys().filter(|path| !files.contains_key(*path));
    faults.extend(gone.map(|path| format!("{path} is listed in {LIST}, but gone: put it back")));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(rows: &[(&str, &str)]) -> BTreeMap<String, String> {
        rows.iter()
            .map(|(path, text)| ((*path).to_owned(), hash(text.as_bytes())))
            .collect()
    }

    #[test]
    fn a_change_a_new_one_and_a_lost_one_are_found() {
        let listed = files(&[("a.sql", "1"), ("b.sql", "2")]);
        assert_eq!(parse(&render(&listed)), listed);
        assert_eq!(check(&listed, &listed), [""; 0]);
        assert_eq!(
            check(&listed, &files(&[("a.sql", "1"), ("b.sql", "3")])).len(),
            1
        );
        assert_eq!(
            check(
                &listed,
                &files(&[("a.sql", "1"), ("b.sql", "2"), ("c.sql", "3")])
            )
            .len(),
            1
        );
        assert_eq!(check(&listed, &files(&[("a.sql", "1")])).len(), 1);
    }
}
