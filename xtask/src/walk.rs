//! The contest that both READMEs play by hand, run as it stands there, on a port of its own.

use crate::{
    server::free_port,
    shell::{build_api, fresh_dir, root, target_dir},
    steps::Outcome,
};
use anyhow::{Context, Result, bail};
use std::{path::Path, process::Stdio, time::Duration};
use tokio::process::Command;

/// The pages with the walk.
const PAGES: [&str; 2] = ["README.md", "README.zh-CN.md"];
/// What the walk's first line builds; it is built here.
const BUILD: &str = "cargo build --release -p app-api\n";
/// The walk's own port.
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
    let script = script.replace(ADDRESS, &format!("127.0.0.1:{}", free_port()?));
    let output = play(&dir, &script).await?;
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

/// Runs the script as a person would; whatever it left running is ended with it.
async fn play(dir: &Path, script: &str) -> Result<String> {
    let script = format!("trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\nset -e\n{script}");
    let child = Command::new("bash")
        .args(["-c", &script])
        .current_dir(dir)
        .env_remove("GUAFEN_AUTH__HS256_SECRET")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("cannot start bash")?;
    let output = tokio::time::timeout(BOUND, child.wait_with_output())
        .await
        .context("the walk does not end")??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!("the walk ended with {}:\n{text}\n{errors}", output.status);
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
