//! Processor time of what this process started, by program, from /proc. Where there is no /proc
//! nothing is told.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// A tick of `/proc/PID/stat` in microseconds: USER_HZ is 100 on every Linux that is in use.
const TICK_US: u128 = 10_000;
/// The programs of a stack. A server that its dynamic linker started has its name among its
/// arguments.
const PROGRAMS: [&str; 5] = [
    "app-api",
    "app-funds",
    "app-reconciler",
    "mysqld",
    "redis-server",
];

/// A process: its parent and its ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stat {
    parent: u32,
    ticks: u128,
}

/// A line of `/proc/PID/stat`. The program's name is in brackets and may hold anything.
fn parse(line: &str) -> Option<Stat> {
    let (_, rest) = line.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // Fields 4, 14 and 15 of proc(5); the first of `rest` is the third.
    let user: u128 = fields.get(11)?.parse().ok()?;
    let system: u128 = fields.get(12)?.parse().ok()?;
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        ticks: user + system,
    })
}

/// What each program has used so far, in microseconds; several processes of one program together,
/// and this process as `client`.
pub(super) fn by_program() -> BTreeMap<String, u128> {
    let mut stats = BTreeMap::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_string_lossy().parse::<u32>();
        let Ok(pid) = pid else { continue };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(stat) = parse(&stat) {
            stats.insert(pid, stat);
        }
    }
    let own = std::process::id();
    let mut ours = BTreeSet::from([own]);
    // A child may have a smaller id than its parent: until nothing more is found.
    loop {
        let more: Vec<u32> = stats
            .iter()
            .filter(|(pid, stat)| ours.contains(&stat.parent) && !ours.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if more.is_empty() {
            break;
        }
        ours.extend(more);
    }
    let mut used = BTreeMap::new();
    for pid in ours {
        let Some(stat) = stats.get(&pid) else {
            continue;
        };
        let program = if pid == own {
            Some("client")
        } else {
            program(pid)
        };
        if let Some(program) = program {
            *used.entry(program.to_owned()).or_default() += stat.ticks * TICK_US;
        }
    }
    used
}

/// Which program a process is. A guard has the whole command line of what it guards among its
/// arguments, and uses next to nothing.
fn program(pid: u32) -> Option<&'static str> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    named(&String::from_utf8_lossy(&line))
}

/// The program of a command line. Redis writes its address behind its name, in one word.
fn named(line: &str) -> Option<&'static str> {
    let names: Vec<&str> = line
        .split(['\0', ' '])
        .filter_map(|word| word.rsplit('/').next())
        .collect();
    PROGRAMS
        .into_iter()
        .find(|program| names.iter().any(|name| name == program))
}

/// What was used between two moments, for each of so many.
pub(super) fn each(
    before: &BTreeMap<String, u128>,
    after: &BTreeMap<String, u128>,
    count: usize,
) -> BTreeMap<String, u128> {
    let count = count.max(1) as u128;
    after
        .iter()
        .map(|(program, used)| {
            let earlier = before.get(program).copied().unwrap_or(0);
            (program.clone(), used.saturating_sub(earlier) / count)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_brackets_may_hold_anything() {
        let line = "12 (a b) c) S 7 1 1 0 -1 4 1 2 3 4 50 6 0 0 20 0 9 0 1 2 3";
        let expected = Stat {
            parent: 7,
            ticks: 56,
        };
        assert_eq!(parse(line), Some(expected));
        assert_eq!(parse("12 (a)"), None);
    }

    #[test]
    fn a_program_is_found_behind_its_linker_and_before_its_address() {
        assert_eq!(
            named("/x/ld-linux.so\0--argv0\0/x/mysqld\0--port=1\0"),
            Some("mysqld")
        );
        assert_eq!(named("/x/redis-server 127.0.0.1:1\0"), Some("redis-server"));
        assert_eq!(named("/x/redis-check-rdb\0"), None);
    }

    #[test]
    fn we_are_among_the_programs() {
        if fs::metadata("/proc/self/stat").is_ok() {
            assert!(by_program().contains_key("client"));
        }
    }
}
