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

/// Whether the nodes of two versions share the schema that this migration is of: those of a server.
pub(crate) fn is_shared(path: &str) -> bool {
    path.starts_with("crates/adapters-mysql/") || path.contains("/migrations/mysql/")
}

/// What takes something away from a node of the version before, or holds its statements up.
const TAKES_AWAY: [&str; 6] = ["DROP", "RENAME", "MODIFY", "CHANGE", "TRUNCATE", "DELETE"];

/// What is wrong with a step of a shared schema: steps only add, one statement each, and no number is
/// given out by the server where rows are written at once.
pub(crate) fn check_shared(path: &str, text: &str) -> Vec<String> {
    let code: Vec<&str> = text
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default().trim())
        .filter(|line| !line.is_empty())
        .collect();
    let code = code.join(" ").to_uppercase();
    let mut faults = Vec::new();
    let words = |wanted: &str| {
        code.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == wanted)
    };
    for word in TAKES_AWAY.into_iter().filter(|word| words(word)) {
        faults.push(format!(
            "{path}: {word} takes something away from nodes of the version before; add, and take away a version later \
             (then say so in xtask/src/tidy/migrations.rs)"
        ));
    }
    if code.trim_end_matches(';').contains(';') {
        faults.push(format!(
            "{path}: more than one statement; a server commits each by itself"
        ));
    }
    if words("AUTO_INCREMENT") && !NUMBERED.contains(&path) {
        faults.push(format!(
            "{path}: AUTO_INCREMENT numbers rows before they commit, and an INSERT … SELECT holds the whole table for it; \
             make the key here"
        ));
    }
    faults
}

/// Tables that are numbered all the same: nobody reads on from a number, and one writer at a time
/// opens accounts.
const NUMBERED: [&str; 3] = [
    "crates/adapters-mysql/migrations/0011_outbox.sql",
    "crates/adapters-mysql/migrations/0023_notice.sql",
    "crates/adapters-ledger/migrations/mysql/0001_account.sql",
];

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

    const SHARED: &str = "crates/adapters-mysql/migrations/0099_x.sql";

    // hazard: F13
    #[test]
    fn a_step_of_a_shared_schema_only_adds() {
        let faults = |text: &str| check_shared(SHARED, text).len();
        for good in [
            "-- It may be dropped; then what?\nCREATE TABLE x (a INT NOT NULL, -- change: 1; 2\n b INT);\n",
            "ALTER TABLE x ADD COLUMN changed INT",
            "CREATE INDEX i ON x (a)",
        ] {
            assert_eq!(faults(good), 0, "{good}");
        }
        for bad in [
            "DROP TABLE x",
            "ALTER TABLE x drop column a",
            "ALTER TABLE x MODIFY a BIGINT",
            "ALTER TABLE x CHANGE a b INT",
            "RENAME TABLE x TO y",
            "DELETE FROM x",
            "CREATE TABLE x (a INT);\nCREATE TABLE y (a INT)",
        ] {
            assert_eq!(faults(bad), 1, "{bad}");
        }
        assert!(is_shared(SHARED));
        assert!(is_shared("crates/adapters-ledger/migrations/mysql/1.sql"));
        assert!(!is_shared("crates/adapters-sqlite/migrations/1.sql"));
    }

    // hazard: F7
    #[test]
    fn rows_that_are_written_at_once_get_their_keys_from_us() {
        let text = "CREATE TABLE x (a BIGINT AUTO_INCREMENT PRIMARY KEY)";
        assert_eq!(check_shared(SHARED, text).len(), 1);
        assert_eq!(check_shared(NUMBERED[0], text).len(), 0);
    }
}
