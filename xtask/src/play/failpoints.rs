//! A crash at every failpoint between any two writes, one after the other, then recovered.

use super::{
    plan::{Scenario, Setup},
    rules::Remainder,
    run::{self, Keys, Stage},
};
use crate::{
    books,
    progress::Progress,
    server::{Server, Spec, Treatment, free_port},
    shell,
    token::Signer,
};
use anyhow::{Context, Result, bail};
use std::{collections::BTreeMap, path::Path, process::Command, sync::Arc};
use tokio::{sync::Semaphore, task::JoinSet};

/// How many servers run at a time. They mostly wait for their windows.
const AT_ONCE: usize = 5;
/// Viewers of each contest.
const VIEWERS: u32 = 12;

/// One crash and its recovery.
struct Crash {
    point: String,
    hit: u32,
    /// Whether the process got there.
    reached: bool,
    faults: Vec<String>,
}

/// Runs every point for every hit number; an error if anything is wrong or never reached.
pub(crate) async fn run(hits: &[u32], seed: u64) -> Result<bool> {
    let binary = shell::build_api_with_failpoints()?;
    let points = names(&binary)?;
    println!("{} failpoints, hits {hits:?}, seed {seed}", points.len());
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut crashes = JoinSet::new();
    for (number, point) in points.iter().enumerate() {
        for hit in hits {
            let (binary, point, hit, slots) = (binary.clone(), point.clone(), *hit, slots.clone());
            let seed = seed + number as u64 * 100 + u64::from(hit);
            crashes.spawn(async move {
                let _slot = slots.acquire_owned().await;
                let result = crash(&binary, &point, hit, seed).await;
                result.unwrap_or_else(|error| Crash {
                    point,
                    hit,
                    reached: false,
                    faults: vec![format!("{error:#}")],
                })
            });
        }
    }
    let progress = Progress::new();
    let all = crashes.len();
    let mut reached: BTreeMap<String, Vec<u32>> = points
        .into_iter()
        .map(|point| (point, Vec::new()))
        .collect();
    let mut faults = Vec::new();
    while let Some(crash) = crashes.join_next().await {
        let Crash {
            point,
            hit,
            reached: got_there,
            faults: found,
        } = crash?;
        faults.extend(
            found
                .into_iter()
                .map(|fault| format!("{point}:{hit}: {fault}")),
        );
        if got_there {
            reached.entry(point).or_default().push(hit);
        }
        progress.show(&format!(
            "failpoints: {} of {all} runs done, {} faults",
            all - crashes.len(),
            faults.len()
        ));
    }
    progress.done();
    for (point, hits) in &mut reached {
        hits.sort_unstable();
        println!("  {point:<24} crashed at pass {hits:?}");
        if hits.is_empty() {
            faults.push(format!(
                "{point} was never reached: no run shows that a crash there does no harm"
            ));
        }
    }
    println!(
        "{all} runs, {} of them crashed and recovered",
        reached.values().map(Vec::len).sum::<usize>()
    );
    Ok(books::print(None, &faults))
}

fn names(binary: &Path) -> Result<Vec<String>> {
    let output = Command::new(binary)
        .arg("failpoints")
        .output()
        .context("cannot start app-api failpoints")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let names: Vec<_> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    if !output.status.success() || names.is_empty() {
        bail!("app-api failpoints named none; was it built with the feature `failpoints`?");
    }
    Ok(names)
}

async fn crash(binary: &Path, point: &str, hit: u32, seed: u64) -> Result<Crash> {
    let dir = shell::fresh_dir(&format!("fail-{point}-{hit}"))?;
    let failpoint = Some(format!("{point}:{hit}"));
    let spec = Spec {
        binary: binary.to_owned(),
        dir: dir.clone(),
        port: free_port()?,
        failpoint,
    };
    let server = Server::start(spec, Treatment::Failpoint, 64).await?;
    let keys = Keys::new(Signer::from_data_dir(&dir)?)?;
    let progress = Progress::hidden();
    let stage = Stage {
        api: &server.api,
        keys: &keys,
        server: None,
        progress: &progress,
        announce: &|_| {},
    };
    let setup = |scenario, name: &str| Setup {
        scenario,
        viewers: VIEWERS,
        times: 0,
        remainder: Remainder::Spread,
        seed,
        run: format!("{name}{seed}"),
        signup_ms: 2_000,
        task_ms: 1_500,
        claim_ms: 1_500,
    };
    let (won, cancelled, lost) = (
        setup(Scenario::Guarantee, "g"),
        setup(Scenario::Cancel, "c"),
        setup(Scenario::NoWinners, "n"),
    );
    let played = tokio::join!(
        run::play(&stage, &won),
        run::play(&stage, &cancelled),
        run::play(&stage, &lost)
    );
    let (store, ledger) = server.files();
    let record = server.stop().await;
    let mut faults = record.faults;
    for played in [played.0, played.1, played.2] {
        match played {
            Ok(played) => faults.extend(played.faults),
            Err(error) => faults.push(format!("{error:#}")),
        }
    }
    let report = books::check(&store, &ledger, None, true).await?;
    if !report.is_green() {
        faults.push(format!("{report}"));
    }
    if faults.is_empty() {
        std::fs::remove_dir_all(&dir)?;
    } else {
        faults.push(format!("its data is kept in {}", dir.display()));
    }
    Ok(Crash {
        point: point.to_owned(),
        hit,
        reached: record.failpoint_hit,
        faults,
    })
}
