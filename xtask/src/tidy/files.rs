//! What every source file must keep.

/// The longest file, and the longest of tests.
const LINES_MAX: usize = 600;
const TEST_LINES_MAX: usize = 900;

/// What must not be left in code. Written in two halves, so that this file does not hold them.
const LEFT_OVER: &[&str] = &[
    concat!("to", "do!("),
    concat!("un", "implemented!("),
    concat!("db", "g!("),
    concat!("#[ig", "nore"),
    concat!("#[should", "_panic"),
];

/// Waiting by the clock instead of for the thing.
const SLEEP: &str = concat!("sl", "eep(");

/// What the inside must not meet outside its tests: what differs from run to run. Time, ids and
/// secrets are handed in, and maps keep their order.
const BY_CHANCE: &[&str] = &[
    "HashMap",
    "HashSet",
    "Instant",
    "RandomState",
    "SystemTime",
    "getrandom",
    "now_v7",
    "rand",
];

/// Holds one future while it runs another: if the one has what the other waits for, both wait for
/// ever. The edges of the processes may; nobody who has a connection or a lock may.
const SELECT: &str = concat!("sel", "ect!");

/// Stops a thread that others need.
const BLOCKING: &str = concat!("thread::sl", "eep");

fn crate_of(path: &str) -> &str {
    path.strip_prefix("crates/")
        .and_then(|rest| rest.split('/').next())
        .unwrap_or_default()
}

/// Crates whose code runs the same whenever it is given the same.
fn is_inside(path: &str) -> bool {
    matches!(crate_of(path), "domain" | "ports" | "usecases") && path.contains("/src/")
}

/// Crates whose code holds connections, locks or places in a queue.
fn holds_something(path: &str) -> bool {
    let name = crate_of(path);
    let is_held = matches!(name, "usecases" | "sql-core" | "grpc-core" | "production");
    (is_held || name.starts_with("adapters-")) && path.contains("/src/")
}

/// Crates where no floating point may come near money.
fn is_exact(path: &str) -> bool {
    // Measurements are no money.
    if path.starts_with("crates/adapters-") && path.contains("/examples/") {
        return false;
    }
    let name = crate_of(path);
    matches!(
        name,
        "domain" | "ports" | "usecases" | "sql-core" | "checker"
    ) || name.starts_with("adapters-")
}

fn is_test_file(path: &str) -> bool {
    path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.starts_with("crates/contract-tests/")
}

/// Every fault of one file; `path` is relative to the root.
pub(crate) fn check(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(format!("{path}: must open with a `//!` line on its job"));
    }
    let max = if is_test_file(path) {
        TEST_LINES_MAX
    } else {
        LINES_MAX
    };
    let lines = text.lines().count();
    if lines > max {
        faults.push(format!(
            "{path}: {lines} lines, at most {max}; split it by what its parts are about"
        ));
    }
    let mut in_tests = is_test_file(path);
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        in_tests |= line.starts_with("#[cfg(test)]");
        if line.starts_with("//") {
            continue;
        }
        let at = || format!("{path}:{}", number + 1);
        for left in LEFT_OVER.iter().filter(|left| line.contains(**left)) {
            faults.push(format!("{}: {left} is left over", at()));
        }
        if in_tests && line.contains(SLEEP) && !is_bound(line) {
            faults.push(format!(
                "{}: a test waits for the thing, with a bound, and does not sleep",
                at()
            ));
        }
        if !in_tests {
            if let Some(word) = BY_CHANCE.iter().find(|word| has_word(line, word))
                && is_inside(path)
            {
                faults.push(format!(
                    "{}: {word} differs from run to run; have it handed in",
                    at()
                ));
            }
            if holds_something(path) && line.contains(SELECT) {
                faults.push(format!(
                    "{}: {SELECT} holds one future while it runs another; spawn one of them",
                    at()
                ));
            }
            if path.starts_with("crates/") && line.contains(BLOCKING) {
                faults.push(format!("{}: {BLOCKING} stops everybody's thread", at()));
            }
        }
        if is_exact(path) && has_float(line) {
            faults.push(format!("{}: no floating point near money", at()));
        }
    }
    faults
}

/// A branch of a select that ends the wait for something else: that is the bound.
fn is_bound(line: &str) -> bool {
    line.starts_with("() = ") && line.contains("=>")
}

fn has_word(line: &str, wanted: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_')
        .any(|word| word == wanted)
}

fn has_float(line: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.split(|c| !is_word(c)).any(|word| {
        matches!(word, "f32" | "f64")
            || (word.starts_with(|c: char| c.is_ascii_digit())
                && (word.ends_with("f32") || word.ends_with("f64")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(path: &str, code: &str) -> usize {
        check(path, &format!("//! A file.\n{code}")).len()
    }

    #[test]
    fn a_clean_file_passes_and_a_bare_one_does_not() {
        assert_eq!(faults("crates/domain/src/a.rs", "fn a() {}"), 0);
        assert_eq!(check("crates/domain/src/a.rs", "fn a() {}").len(), 1);
    }

    #[test]
    fn long_files_are_refused_tests_later() {
        let long = "\n".repeat(700);
        assert_eq!(faults("crates/domain/src/a.rs", &long), 1);
        assert_eq!(faults("crates/domain/tests/a.rs", &long), 0);
        assert_eq!(faults("crates/domain/tests/a.rs", &"\n".repeat(950)), 1);
    }

    #[test]
    fn what_is_left_over_is_found() {
        for left in LEFT_OVER {
            assert_eq!(
                faults("xtask/src/a.rs", &format!("    {left})]")),
                1,
                "{left}"
            );
            assert_eq!(
                faults("xtask/src/a.rs", &format!("    // {left})]")),
                0,
                "{left}"
            );
        }
    }

    #[test]
    fn tests_do_not_wait_by_the_clock() {
        let wait = format!("tokio::time::{SLEEP}x)");
        assert_eq!(faults("crates/app-api/src/a.rs", &wait), 0);
        assert_eq!(faults("crates/app-api/tests/a.rs", &wait), 1);
        assert_eq!(faults("crates/contract-tests/src/a.rs", &wait), 1);
        let bound = format!("tokio::select! {{\n    () = {wait} => {{}}\n}}");
        assert_eq!(faults("crates/app-api/tests/a.rs", &bound), 0);
        assert_eq!(
            faults(
                "crates/app-api/src/a.rs",
                &format!("#[cfg(test)]\nmod tests {{\n{wait}")
            ),
            1
        );
    }

    // hazard: G10
    #[test]
    fn the_inside_meets_nothing_that_differs_from_run_to_run() {
        for word in BY_CHANCE {
            let code = format!("use somewhere::{word};");
            assert_eq!(faults("crates/usecases/src/a.rs", &code), 1, "{word}");
            assert_eq!(faults("crates/domain/src/a/b.rs", &code), 1, "{word}");
            assert_eq!(faults("crates/usecases/tests/a.rs", &code), 0, "{word}");
            assert_eq!(faults("crates/runtime/src/a.rs", &code), 0, "{word}");
        }
        assert_eq!(faults("crates/domain/src/a.rs", "let operand = 1;"), 0);
    }

    // hazard: G2
    #[test]
    fn who_holds_something_runs_no_future_while_another_is_held() {
        let select = format!("    tokio::{SELECT} {{");
        for held in ["adapters-mysql", "sql-core", "usecases", "grpc-core"] {
            let at = |part: &str| faults(&format!("crates/{held}/{part}/a.rs"), &select);
            assert_eq!((at("src"), at("tests")), (1, 0), "{held}");
        }
        assert_eq!(faults("crates/app-api/src/a.rs", &select), 0);
        let test = format!("#[cfg(test)]\nmod tests {{\n{select}");
        assert_eq!(faults("crates/usecases/src/a.rs", &test), 0);
    }

    // hazard: G8
    #[test]
    fn nobody_stops_a_thread_that_others_need() {
        let wait = format!("    std::{BLOCKING}(x);");
        assert_eq!(faults("crates/app-api/src/a.rs", &wait), 1);
        assert_eq!(faults("xtask/src/a.rs", &wait), 0);
    }

    #[test]
    fn money_is_never_a_float() {
        assert_eq!(faults("crates/domain/src/a.rs", "let a: f64 = 1;"), 1);
        assert_eq!(
            faults("crates/adapters-sqlite/src/a.rs", "let a = 1f32;"),
            1
        );
        assert_eq!(faults("crates/domain/src/a.rs", "let buf64 = 1;"), 0);
        assert_eq!(faults("xtask/src/a.rs", "let a: f64 = 1;"), 0);
    }
}
