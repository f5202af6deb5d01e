//! The table hazard → test, made from the marks `// hazard: A1, A2` above tests; and the reasons
//! why some have none here, which are written by hand.

use std::collections::BTreeMap;

/// Where the table lies, relative to the root.
pub(crate) const TABLE: &str = "docs/hazards.md";
/// Where the reasons lie: `F9: why there is no test`, one a line.
pub(crate) const REASONS: &str = "docs/hazards-reasons.txt";

/// The sections in which every hazard has a test or a reason, and how many hazards each has.
const SECTIONS: [(&str, u32); 6] = [
    ("A", 19),
    ("B", 18),
    ("D", 14),
    ("E", 14),
    ("F", 16),
    ("G", 10),
];

const HEAD: &str = "# Hazards and their tests

Ways in which a prize-pool system loses money or truth, by the ids of the project's hazard catalogue, and the tests that stand against them. Made by `cargo xtask tidy --bless-hazards` from the marks above the tests; `tidy` fails when it is out of date, or when a hazard of A, B, D, E, F or G has neither a test nor a reason.

The letters: A the funds system, B lifecycle and freezing, C settlement arithmetic, D counters and rankings on Redis, E cache, F the database, G the Rust runtime, H reconciler and workers, I traffic and operations, J security.

| hazard | tests |
|---|---|
";

const WITHOUT: &str = "
## Without a test, and why

From `docs/hazards-reasons.txt`.

| hazard | why |
|---|---|
";

/// Letter and number.
pub(crate) type Id = (String, u32);
/// Tests by hazard: `file: test`.
pub(crate) type Marks = BTreeMap<Id, Vec<String>>;
/// Reasons by hazard.
pub(crate) type Reasons = BTreeMap<Id, String>;

/// Adds the marks of one file. One that stands apart is about the whole of it.
pub(crate) fn collect(path: &str, text: &str, marks: &mut Marks) {
    let lines: Vec<&str> = text.lines().collect();
    for (at, line) in lines.iter().enumerate() {
        let Some(ids) = line.trim().strip_prefix("// hazard:") else {
            continue;
        };
        let is_apart = lines.get(at + 1).is_none_or(|next| next.trim().is_empty());
        let test = lines[at..].iter().find_map(|line| function(line));
        let test = test.filter(|_| !is_apart).unwrap_or("all of it");
        for id in ids.split(',').filter_map(parse) {
            let tests = marks.entry(id).or_default();
            tests.push(format!("{path}: {test}"));
        }
    }
}

/// `A10` from ` A10` or ` A10 — a remark`.
fn parse(id: &str) -> Option<Id> {
    let word = id.split_whitespace().next()?;
    let (letter, number) = word.split_at_checked(1)?;
    Some((letter.to_owned(), number.parse().ok()?))
}

fn function(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("fn ")?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

/// The reasons, and what is wrong with their lines.
pub(crate) fn reasons(text: &str) -> (Reasons, Vec<String>) {
    let mut reasons = Reasons::new();
    let mut faults = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let parts = line.split_once(": ").filter(|(_, why)| !why.is_empty());
        match parts.and_then(|(id, why)| Some((parse(id)?, why))) {
            None => faults.push(format!("{REASONS}: no reason is given by {line:?}")),
            Some((id, why)) => {
                if reasons.insert(id, why.to_owned()).is_some() {
                    faults.push(format!("{REASONS}: a second reason is {line:?}"));
                }
            }
        }
    }
    (reasons, faults)
}

/// Every hazard of the sections that has neither a test nor a reason, or both, and every id that is
/// none.
pub(crate) fn check(marks: &Marks, reasons: &Reasons) -> Vec<String> {
    let mut faults = Vec::new();
    for (letter, count) in SECTIONS {
        for number in 1..=count {
            let id = (letter.to_owned(), number);
            match (marks.contains_key(&id), reasons.contains_key(&id)) {
                (false, false) => faults.push(format!(
                    "{letter}{number} has no test: mark one with `// hazard: {letter}{number}`, or give a reason in {REASONS}"
                )),
                (true, true) => faults.push(format!(
                    "{letter}{number} has a test and a reason why it has none: one of them is wrong"
                )),
                _ => {}
            }
        }
    }
    let is_listed = |(letter, number): &Id| {
        let section = SECTIONS.iter().find(|(section, _)| section == letter);
        section.map(|(_, count)| (1..=*count).contains(number))
    };
    let unknown = marks.keys().filter(|id| is_listed(id) == Some(false));
    let unasked = reasons.keys().filter(|id| is_listed(id) != Some(true));
    for (letter, number) in unknown.chain(unasked) {
        faults.push(format!("{letter}{number} is no hazard of the sections"));
    }
    faults
}

/// The table.
pub(crate) fn render(marks: &Marks, reasons: &Reasons) -> String {
    let rows = marks.iter().map(|((letter, number), tests)| {
        let mut tests = tests.clone();
        tests.sort();
        tests.dedup();
        let tests: Vec<String> = tests.iter().map(|test| format!("`{test}`")).collect();
        format!("| {letter}{number} | {} |\n", tests.join("<br>"))
    });
    let without = reasons
        .iter()
        .map(|((letter, number), why)| format!("| {letter}{number} | {why} |\n"));
    let table = HEAD.to_owned() + &rows.collect::<String>();
    if reasons.is_empty() {
        return table;
    }
    table + WITHOUT + &without.collect::<String>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if every hazard had a test, but these.
    fn all_but(missing: &[&str]) -> Marks {
        let mut marks = Marks::new();
        for (letter, count) in SECTIONS {
            for number in 1..=count {
                if !missing.contains(&format!("{letter}{number}").as_str()) {
                    marks.insert((letter.to_owned(), number), vec!["x.rs: holds".to_owned()]);
                }
            }
        }
        marks
    }

    #[test]
    fn marks_name_the_test_below_them() {
        let mut marks = Marks::new();
        let text = "// hazard: A1, B13 — a remark\n#[tokio::test]\nasync fn holds() {}\n";
        collect("crates/x/tests/y.rs", text, &mut marks);
        let keys: Vec<_> = marks.keys().map(|(l, n)| format!("{l}{n}")).collect();
        assert_eq!(keys, ["A1", "B13"]);
        let table = render(&marks, &Reasons::new());
        assert!(table.contains("| A1 | `crates/x/tests/y.rs: holds` |"));
        assert!(table.ends_with("| B13 | `crates/x/tests/y.rs: holds` |\n"));
        assert!(!table.contains(REASONS), "there is no such file");
    }

    #[test]
    fn a_mark_that_stands_apart_is_about_the_whole_file() {
        let mut marks = Marks::new();
        let text = "//! Tables.\n// hazard: A1\n\nfn helper() {}\n// hazard: B2\nmacro!(C);\n";
        collect("x.rs", text, &mut marks);
        for tests in marks.values() {
            assert_eq!(tests, &["x.rs: all of it"]);
        }
        assert_eq!(marks.len(), 2);
    }

    #[test]
    fn a_hazard_has_a_test_or_a_reason() {
        let (none, faults) = reasons("");
        assert_eq!((none.len(), faults.len()), (0, 0));
        assert_eq!(check(&all_but(&[]), &none), [""; 0]);
        let faults = check(&all_but(&["A18", "G10"]), &none);
        assert_eq!(faults.len(), 2);
        assert!(faults[0].starts_with("A18 has no test"), "{faults:?}");

        let (one, faults) = reasons("A18: it cannot be.\n\n");
        assert_eq!(faults, [""; 0]);
        assert_eq!(check(&all_but(&["A18"]), &one), [""; 0]);
        assert_eq!(check(&all_but(&[]), &one).len(), 1, "both");
        assert!(render(&all_but(&[]), &one).ends_with("| A18 | it cannot be. |\n"));
    }

    #[test]
    fn what_is_no_reason_and_no_hazard_is_found() {
        for wrong in ["A18", "A18:", "A18: ", "A: why", "A1: why\nA1: other"] {
            assert_eq!(reasons(wrong).1.len(), 1, "{wrong}");
        }
        for (unknown, faulty) in [("A20: why", 1), ("C1: why", 1)] {
            assert_eq!(check(&all_but(&[]), &reasons(unknown).0).len(), faulty);
        }
        let mut marks = all_but(&[]);
        marks.insert(("F".to_owned(), 17), Vec::new());
        marks.insert(("C".to_owned(), 1), Vec::new());
        assert_eq!(check(&marks, &Reasons::new()).len(), 1);
    }
}
