//! The contest that both READMEs play by hand, run as it stands there, on a port of its own.

use crate::{
    server::free_port,
    shell::{build_api, fresh_dir, root, target_dir},
    steps::Outcome,
};
use anyhow::{Context, Result, bail};
use std::{fs::File, path::Path, process::Stdio, time::Duration};
use tokio::process::Command;

/// The pages with the walk.
const PAGES: [&str; 2] = ["README.md", "README.zh-CN.md"];
/// What the walk's first line builds; it is built here.
const BUILD: &str = "cargo build --release -p app-api\n";
/// Where the pages have the server listen; the walk has a port of its own.
const ADDRESS: &str = "127.0.0.1:8080";
/// The longest that a walk may take.
const BOUND: Duration = Duration::from_secs(180);

/// What its output must hold, in this order: the coins of a single finisher, to the last one.
const WANTED: [&str; 9] = [
    "\"phase\":\"open\"",
    "\"balance\":100",
    "\"state\":\"in_progress\"",
    "\"accepted\":1",
    "\"state\":\"completed\"",
    "\"amount\":10",
    "\"state\":\"shared\"",
    "\"prize\":10",
    "\"sheet_sha256\":\"",
];

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
    for page in PAGES {
        let faults = walk_through(page).await?;
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

async fn walk_through(page: &str) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(root().join(page))?;
    let script = script(&text).with_context(|| format!("{page} has no walk"))?;
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
    if output.contains("\"status\":") {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_pages_play_the_same_walk() {
        let bare = |page: &str| {
            let text = std::fs::read_to_string(root().join(page)).expect("a page");
            let script = script(&text).expect("a walk");
            let titled = script
                .split("\"title\": \"")
                .nth(1)
                .and_then(|rest| rest.split('"').next());
            let script = script.replace(titled.expect("a title"), "a title");
            // Comments are in the page's language.
            let lines = script
                .lines()
                .map(|line| line.split('#').next().unwrap_or("").trim());
            let lines: Vec<_> = lines
                .filter(|line| !line.is_empty())
                .map(str::to_owned)
                .collect();
            lines
        };
        assert_eq!(bare(PAGES[0]), bare(PAGES[1]));
        assert!(bare(PAGES[0]).iter().any(|line| line.contains(ADDRESS)));
    }
}
