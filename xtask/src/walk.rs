//! The contest that both READMEs play by hand, and what the operating pages go on with, run as it stands there, on a
//! port of its own.

use crate::{
    server::free_port,
    shell::{build_api, fresh_dir, root, target_dir},
    steps::Outcome,
};
use anyhow::{Context, Result, bail};
use std::{fs::File, path::Path, process::Stdio, time::Duration};
use tokio::process::Command;

/// The pages with the walk, and those that go on with it.
const PAGES: [(&str, &str); 2] = [
    ("README.md", "docs/operating.md"),
    ("README.zh-CN.md", "docs/operating.zh-CN.md"),
];
/// How the blocks begin that go on with the walk: with its shell function.
const GOES_ON: &str = "call ";
/// What the walk's first line builds; it is built here.
const BUILD: &str = "cargo build --release -p app-api\n";
/// Where the pages have the server listen; the walk has a port of its own.
const ADDRESS: &str = "127.0.0.1:8080";
/// The longest that a walk may take.
const BOUND: Duration = Duration::from_secs(180);

/// What its output must hold, in this order: the coins of a single finisher, to the last one.
const WANTED: [&str; 16] = [
    "\"phase\":\"open\"",
    "\"balance\":100",
    "\"state\":\"in_progress\"",
    "\"accepted\":1",
    "\"state\":\"completed\"",
    "\"amount\":10",
    "\"state\":\"shared\"",
    "\"prize\":10",
    "\"sheet_sha256\":\"",
    "\"scope\":\"room/room-1\",\"enabled\":false",
    "\"scope\":\"room/room-1\",\"enabled\":true",
    "\"status\":\"draft\"",
    "\"status\":\"running\"",
    "\"verdict\":\"too_few_units\"",
    "lower_fee,cheap,0,0",
    "\"action\":\"stopped\"",
];
/// How a problem tells its status.
const PROBLEM: [&str; 2] = ["\"status\":4", "\"status\":5"];

/// Plays the walk of each page, and sees that it ends as it must.
pub(crate) async fn walk() -> Result<Outcome> {
    for tool in ["bash", "curl"] {
        let mut command = Command::new(tool);
        let there = command.arg("--version").stdout(Stdio::null());
        if there.status().await.is_err() {
            return Ok(Outcome::NotRun(format!("install {tool}")));
        }
    }
    build_api()?;
    let mut well = true;
    for (page, further) in PAGES {
        let faults = walk_through(page, further).await?;
        for fault in &faults {
            println!("{page}: {fault}");
        }
        println!(
            "{page}: {}",
            if faults.is_empty() {
                "as it stands"
            } else {
                "NOT as it stands"
            }
        );
        well &= faults.is_empty();
    }
    Ok(well.into())
}

async fn walk_through(page: &str, further: &str) -> Result<Vec<String>> {
    let read = |page: &str| std::fs::read_to_string(root().join(page));
    let first = script(&read(page)?).with_context(|| format!("{page} has no walk"))?;
    let script = first + &going_on(&read(further)?);
    let dir = fresh_dir("walk")?;
    std::os::unix::fs::symlink(target_dir(), dir.join("target"))?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let output = play(&dir, &script.replace(ADDRESS, &address), &address).await?;
    let mut faults = Vec::new();
    let mut rest = output.as_str();
    for wanted in WANTED {
        match rest.split_once(wanted) {
            Some((_, after)) => rest = after,
            None => faults.push(format!("its output has no {wanted} where it should")),
        }
    }
    if PROBLEM.iter().any(|status| output.contains(status)) {
        faults.push("a call was answered by a problem".to_owned());
    }
    if faults.is_empty() {
        std::fs::remove_dir_all(&dir)?;
    } else {
        println!("{output}");
    }
    Ok(faults)
}

/// Runs the script as a person would, in a process group of its own: the server that it leaves
/// running is ended with it.
async fn play(dir: &Path, script: &str, address: &str) -> Result<String> {
    let (said, complained) = (dir.join("output.log"), dir.join("errors.log"));
    let mut child = Command::new("bash")
        .args(["-c", &format!("set -e\n{script}")])
        .current_dir(dir)
        .env_remove("GUAFEN_AUTH__HS256_SECRET")
        .env("GUAFEN_SERVER__LISTEN", address)
        .stdin(Stdio::null())
        .stdout(File::create(&said)?)
        .stderr(File::create(&complained)?)
        .process_group(0)
        .spawn()
        .context("cannot start bash")?;
    let group = child.id().context("bash has ended at once")?;
    let ended = tokio::time::timeout(BOUND, child.wait()).await;
    let group = format!("-{group}");
    Command::new("kill").args(["--", &group]).status().await?;
    let status = ended.context("the walk does not end")??;
    let text = std::fs::read_to_string(&said)?;
    if !status.success() {
        let errors = std::fs::read_to_string(&complained)?;
        bail!("the walk ended with {status}:\n{text}\n{errors}");
    }
    Ok(text)
}

/// The page's first block of shell that starts with a build, without the build.
fn script(page: &str) -> Option<String> {
    let mut blocks = page.split("```sh\n").skip(1);
    blocks.find_map(|rest| {
        let (block, _) = rest.split_once("```")?;
        Some(block.strip_prefix(BUILD)?.to_owned())
    })
}

/// The page's blocks of shell that go on with the walk.
fn going_on(page: &str) -> String {
    let blocks = page.split("```sh\n").skip(1);
    blocks
        .filter_map(|rest| rest.split_once("```").map(|(block, _)| block))
        .filter(|block| block.starts_with(GOES_ON))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of a page without what is in its language: titles, reasons, beliefs and comments.
    fn bare(script: &str) -> Vec<String> {
        let told = ["\"title\": \"", "\"reason\": \"", "\"hypothesis\": \""];
        let mut lines = Vec::new();
        for line in script.lines() {
            let mut line = line.split('#').next().unwrap_or("").trim().to_owned();
            for before in told {
                let Some((head, rest)) = line.split_once(before) else {
                    continue;
                };
                let (_, tail) = rest.split_once('"').expect("its end");
                line = format!("{head}{before}…\"{tail}");
            }
            lines.push(line);
        }
        lines.retain(|line| !line.is_empty());
        lines
    }

    #[test]
    fn both_languages_play_the_same_walk() {
        let read = |page: &str| std::fs::read_to_string(root().join(page)).expect("a page");
        let [ours, theirs] = PAGES.map(|(page, further)| {
            let script = script(&read(page)).expect("a walk");
            assert!(script.contains(ADDRESS));
            let further = going_on(&read(further));
            assert!(further.lines().count() > 10, "{further}");
            bare(&(script + &further))
        });
        assert_eq!(ours, theirs);
    }
}
