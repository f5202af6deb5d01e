//! The table hazard → test, made from the marks `// hazard: A1, A2` above tests.

use std::collections::BTreeMap;

/// Where the table lies, relative to the root.
pub(crate) const TABLE: &str = "docs/hazards.md";

const HEAD: &str = "# Hazards and their tests

Ways in which a prize-pool system loses money or truth, by the ids of the project's hazard catalogue, and the tests that stand against them. Made by `cargo xtask tidy --bless-hazards` from the marks above the tests; `tidy` fails when it is out of date.

The letters: A the funds system, B lifecycle and freezing, C settlement arithmetic, E cache, F the database, G the Rust runtime, H reconciler and workers, I traffic and operations.

| hazard | tests |
|---|---|
";

/// Tests by hazard: letter, number, then `file: test`.
pub(crate) type Marks = BTreeMap<(String, u32), Vec<String>>;

/// Adds the marks of one file.
pub(crate) fn collect(path: &str, text: &str, marks: &mut Marks) {
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(ids) = line.trim().strip_prefix("// hazard:") else {
            continue;
        };
        let test = lines[at..].iter().find_map(|line| function(line));
        for id in ids.split(',').filter_map(parse) {
            marks
                .entry(id)
                .or_default()
                .push(format!("{path}: {}", test.unwrap_or("(in the body)")));
        }
    }
}

/// `A10` from ` A10` or ` A10 — a remark`.
fn parse(id: &str) -> Option<(String, u32)> {
    let word = id.split_whitespace().next()?;
    let (letter, number) = word.split_at_checked(1)?;
    Some((letter.to_owned(), number.parse().ok()?))
}

fn function(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("fn ")?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

/// The table.
pub(crate) fn render(marks: &Marks) -> String {
    let rows = marks.iter().map(|((letter, number), tests)| {
        let mut tests = tests.clone();
        tests.sort();
        tests.dedup();
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        format!("| {letter}{number} | {} |\n", tests.join("<br>"))
    });
    HEAD.to_owned() + &rows.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_name_the_test_below_them() {
        let mut marks = Marks::new();
        let text = "// hazard: A1, B13 — a remark\n#[tokio::test]\nasync fn holds() {}\n";
        collect("crates/x/tests/y.rs", text, &mut marks);
        let keys: Vec<_> = marks.keys().map(|(l, n)| format!("{l}{n}")).collect();
        assert_eq!(keys, ["A1", "B13"]);
        assert!(render(&marks).contains("| A1 | `crates/x/tests/y.rs: holds` |"));
    }
}
