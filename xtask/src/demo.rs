//! `cargo xtask demo`: a whole system in one process, and a contest played on it to look at.

use crate::{
    books, glance,
    play::{
        self,
        plan::{Scenario, Setup},
        rules::Remainder,
        run::{Keys, Stage},
    },
    progress::Progress,
    rng::fresh_seed,
    server::{Server, Spec, Treatment},
    shell,
    token::Signer,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::{net::TcpListener, path::PathBuf, sync::OnceLock};

/// How the demo is shown.
#[derive(Args, Clone, Debug)]
pub(crate) struct DemoArgs {
    /// How many simulated viewers
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    viewers: u32,
    /// The port on 127.0.0.1
    #[arg(long, default_value_t = 8080)]
    port: u16,
    /// The length of each window in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    window: u32,
    /// Where everything is kept (default: a fresh directory under target/)
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Plays the same viewers again; printed at the start
    #[arg(long)]
    seed: Option<u64>,
    /// End after the contest instead of serving on
    #[arg(long)]
    exit: bool,
}

/// Shows it; true if every invariant is green and everybody has the coins they must have.
pub(crate) async fn demo(args: &DemoArgs) -> Result<bool> {
    if TcpListener::bind(("127.0.0.1", args.port)).is_err() {
        bail!(
            "port {} is taken: stop what listens there, or choose another with --port",
            args.port
        );
    }
    let binary = shell::build_api()?;
    let dir = match &args.data_dir {
        Some(dir) => dir.clone(),
        None => shell::fresh_dir("demo")?,
    };
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    let spec = Spec {
        binary,
        dir: dir.clone(),
        port: args.port,
        failpoint: None,
    };
    let server = Server::start(spec, Treatment::Steady, 128).await?;
    let base = server.api.base().to_owned();
    println!("the live board is at {base}/, data in {}", dir.display());
    let keys = Keys::new(Signer::from_data_dir(&dir)?)?;
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let window = i64::from(args.window) * 1_000;
    let setup = Setup {
        scenario: Scenario::Normal,
        viewers: args.viewers,
        times: 0,
        remainder: Remainder::Spread,
        seed,
        run: format!("v{:x}", crate::clock::now_ms()),
        signup_ms: window,
        task_ms: window,
        claim_ms: window,
    };
    println!(
        "a contest with {} viewers, fee 10, windows of {} s, seed {seed}",
        args.viewers, args.window
    );
    let progress = Progress::new();
    let known = OnceLock::new();
    let announce = |contest: &str| {
        println!("watch it at {base}/?contest={contest}");
        let _ = known.set(contest.to_owned());
    };
    let stage = Stage {
        api: &server.api,
        keys: &keys,
        server: Some(&server),
        progress: &progress,
        announce: &announce,
    };
    let users: Vec<_> = setup.audience().into_iter().map(|plan| plan.user).collect();
    let playing = play::on_stage(&stage, &setup);
    let played = glance::during(playing, &server.api, &keys, &users, &known)
        .await?
        .with_context(|| format!("see {}", server.log().display()))?;
    let (store, ledger) = server.files();
    let report = books::check(&store, &ledger, Some(&played.contest), true).await?;
    let mut faults = played.faults.clone();
    faults.extend(server.record().faults);
    let well = books::print(Some(&report), &faults);
    println!(
        "\n{}",
        if well {
            "every invariant holds"
        } else {
            "something is wrong, see above"
        }
    );
    if !args.exit {
        serve_on(&base, &played.contest, &keys.operator).await?;
    }
    server.stop().await;
    Ok(well)
}

/// Leaves it running for whoever wants to look.
async fn serve_on(base: &str, contest: &str, operator: &str) -> Result<()> {
    println!("  board     {base}/?contest={contest}");
    println!("  health    {base}/healthz");
    println!("  contest   {base}/v1/contests/{contest}");
    println!("  report    {base}/v1/admin/contests/{contest}/report");
    println!("  operator  Authorization: Bearer {operator}");
    println!("serving on until Ctrl-C");
    tokio::signal::ctrl_c()
        .await
        .context("cannot wait for Ctrl-C")?;
    Ok(())
}
