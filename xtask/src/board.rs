//! `cargo xtask board`: the live board in a headless Chromium while a contest is played.

pub(crate) mod browser;

use crate::{
    books, clock, glance,
    play::{
        self,
        plan::{Scenario, Setup},
        rules::Remainder,
        run::{Keys, Played, Stage},
    },
    progress::Progress,
    rng::{Rng, fresh_seed},
    server::{Server, Spec, Treatment, free_port},
    shell,
    steps::Outcome,
    token::Signer,
};
use anyhow::{Context, Result, ensure};
use browser::Browser;
use clap::Args;
use serde_json::Value;
use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};
use tokio::process::Command;

/// How the board is tried.
#[derive(Args, Clone, Debug)]
pub(crate) struct BoardArgs {
    /// How many simulated viewers
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..))]
    viewers: u32,
    /// The length of each window in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(6..))]
    window: u32,
    /// Plays the same viewers again; printed at the start
    #[arg(long)]
    seed: Option<u64>,
    /// Writes the README's pictures there
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// An app-api that is built already
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// Counts, for the whole life of the page, what must not be seen on it, and marks it: a page that
/// was loaded anew has no mark.
const WATCH: &str = "
    window.guafen = { reds: [] };
    const look = () => document.querySelectorAll('[data-standing=broken]').forEach((row) =>
        window.guafen.reds.push(row.dataset.name + ': ' + row.querySelector('em').textContent));
    new MutationObserver(look).observe(document.body,
        { subtree: true, attributes: true, attributeFilter: ['data-standing'] });
    look();";

/// A number of the page.
fn figure(id: &str) -> String {
    format!("Number(document.getElementById('{id}').textContent.replaceAll(',', ''))")
}

const PHASE: &str = "document.body.dataset.phase";
const LINK: &str = "document.getElementById('link').dataset.state";
const FEED: &str = "document.getElementById('feed').textContent";
const FUNNEL: &str = "Object.fromEntries([...document.querySelectorAll('#funnel li')].map((row) =>
    [row.dataset.state, Number(row.querySelector('b').textContent.replaceAll(',', ''))]))";
const PROOFS: &str = "Object.fromEntries([...document.querySelectorAll('#proofs li')].map((row) =>
    [row.dataset.name, row.dataset.standing]))";

/// Tries it; true if everything was as it must be.
pub(crate) async fn board(args: &BoardArgs) -> Result<Outcome> {
    if let Some(missing) = browser::missing().await {
        return Ok(Outcome::NotRun(missing));
    }
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => shell::build_api()?,
    };
    let dir = shell::fresh_dir("board")?;
    let browser = Browser::open(&dir).await?;
    let tried = try_all(args, &binary, &dir, &browser).await;
    browser.close().await;
    let well = tried.with_context(|| format!("data and log are kept in {}", dir.display()))?;
    if well {
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(well.into())
}

async fn try_all(args: &BoardArgs, binary: &Path, dir: &Path, browser: &Browser) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(fresh_seed);
    println!("the board, {} viewers, seed {seed}", args.viewers);
    let spec = Spec {
        binary: binary.to_owned(),
        dir: dir.join("data"),
        port: free_port()?,
        failpoint: None,
    };
    std::fs::create_dir_all(&spec.dir)?;
    // Killed when it is asked for, and not otherwise.
    let treatment = Treatment::KillEvery {
        every_ms: 86_400_000,
        kills_max: u32::MAX,
        rng: Rng::new(seed),
    };
    let server = Server::start(spec.clone(), treatment, 256).await?;
    let keys = Keys::new(Signer::from_data_dir(&spec.dir)?)?;
    let length = i64::from(args.window) * 1_000;
    let setup = Setup {
        scenario: Scenario::Normal,
        viewers: args.viewers,
        seed,
        run: "friday-night".to_owned(),
        signup_ms: length,
        task_ms: length,
        claim_ms: length,
        remainder: Remainder::Spread,
        times: 0,
    };
    let contest = OnceLock::new();
    let progress = Progress::new();
    let announce = |id: &str| {
        let _ = contest.set(id.to_owned());
    };
    let stage = Stage {
        api: &server.api,
        keys: &keys,
        // Its moments are chosen here.
        server: None,
        progress: &progress,
        announce: &announce,
    };
    browser.size(1_280, 1_120, 1).await?;
    browser.go(server.api.base()).await?;
    browser
        .until(
            "how to make a contest",
            "!!document.querySelector('.empty')",
            is_true,
        )
        .await?;
    let users: Vec<_> = setup.audience().into_iter().map(|plan| plan.user).collect();
    let playing = glance::during(
        play::on_stage(&stage, &setup),
        &server.api,
        &keys,
        &users,
        &contest,
    );
    let watching = watch(args, browser, &server, &keys);
    let (played, watched) = tokio::join!(playing, watching);
    let played = played??;
    watched?;
    at_the_end(browser, &server, &keys, &played).await?;
    let (store, ledger) = server.files();
    let record = server.stop().await;
    let report = books::check(&store, &ledger, None, true).await?;
    let mut faults = played.faults.clone();
    faults.extend(record.faults);
    let well = books::print(Some(&report), &faults);
    red_is_shown(browser, spec, &played.contest).await?;
    println!("the board showed everything as it was, and a broken rule in red");
    Ok(well)
}

fn is_true(value: &Value) -> bool {
    value == &Value::Bool(true)
}

fn is(wanted: &'static str) -> impl Fn(&Value) -> bool {
    move |value| value.as_str() == Some(wanted)
}

fn above(least: u64) -> impl Fn(&Value) -> bool {
    move |value| value.as_u64().is_some_and(|value| value > least)
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

/// Watches one contest from its first signup to its end, through a crash of the server.
async fn watch(args: &BoardArgs, browser: &Browser, server: &Server, keys: &Keys) -> Result<()> {
    // The empty page fills by itself.
    browser
        .until("the contest", "!!document.body.dataset.contest", is_true)
        .await?;
    browser.run(WATCH).await?;
    browser.until("the phase open", PHASE, is("open")).await?;
    let pool = figure("pool");
    let first = browser.until("a pool", &pool, above(0)).await?;
    let feed = browser.get(FEED).await?;
    let more = browser
        .until("a growing pool", &pool, above(number(&first)))
        .await?;
    browser.until("news", FEED, |now| now != &feed).await?;
    let inside = "document.querySelector('[data-state=in_progress] b').textContent";
    let inside = format!("Number({inside}.replaceAll(',', ''))");
    let joined = browser.until("the funnel", &inside, above(0)).await?;
    println!("the pool counts up ({first}, then {more}), {joined} are in");
    let quiet = browser.console().await?;
    ensure!(quiet.is_empty(), "the console says {quiet:?}");

    browser
        .until("the phase running", PHASE, is("running"))
        .await?;
    same_pool(browser, server, keys).await?;
    let some = browser
        .until("finishers", &figure("finishers"), above(0))
        .await?;
    // In the middle of everything.
    server.kill_at([clock::now_ms()]);
    browser
        .until("that it reconnects", LINK, is("away"))
        .await?;
    browser.until("that it is back", LINK, is("live")).await?;
    let then = browser
        .until("more finishers", &figure("finishers"), above(number(&some)))
        .await?;
    println!("finishers went from {some} to {then} across a kill -9");
    let said = browser.console().await?;
    let other: Vec<_> = said
        .iter()
        .filter(|line| !line.contains("/board/events"))
        .collect();
    ensure!(other.is_empty(), "the console says {other:?}");

    browser
        .until("the phase claimable", PHASE, is("claimable"))
        .await?;
    let shared = "Number(document.querySelector('[data-state=shared] b').textContent)";
    let third = number(&browser.get(&figure("finishers")).await?) / 3;
    browser.until("prizes", shared, above(third)).await?;
    if let Some(dir) = &args.images {
        pictures(browser, server.api.base(), dir).await?;
    }
    browser
        .until("the phase closed", PHASE, is("closed"))
        .await?;
    Ok(())
}

/// The page shows the pool that the API answers, where both are at rest.
async fn same_pool(browser: &Browser, server: &Server, keys: &Keys) -> Result<()> {
    let contest = browser.get("document.body.dataset.contest").await?;
    let path = format!("/v1/contests/{}/pool", contest.as_str().unwrap_or_default());
    let answer = server
        .api
        .insist(hyper::Method::GET, &path, &keys.operator, None)
        .await?;
    let amount = answer.get("amount").cloned().unwrap_or(Value::Null);
    ensure!(number(&amount) > 0, "the pool is {answer}");
    let same = |value: &Value| value.as_u64() == amount.as_u64();
    browser
        .until(&format!("a pool of {amount}"), &figure("pool"), same)
        .await?;
    println!("the page and the API agree on a pool of {amount}");
    Ok(())
}

async fn at_the_end(
    browser: &Browser,
    server: &Server,
    keys: &Keys,
    played: &Played,
) -> Result<()> {
    same_pool(browser, server, keys).await?;
    let path = format!("/v1/admin/contests/{}/report", played.contest);
    let report = server
        .api
        .insist(hyper::Method::GET, &path, &keys.operator, None)
        .await?;
    let counts = report.get("counts").and_then(Value::as_array);
    for count in counts.context("a report without counts")? {
        let state = count
            .get("state")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let signups = count.get("signups").and_then(Value::as_u64);
        let shown = |funnel: &Value| funnel.get(state).and_then(Value::as_u64) == signups;
        browser
            .until(&format!("{signups:?} signups at {state}"), FUNNEL, shown)
            .await?;
    }
    let all_hold = |proofs: &Value| {
        let proofs = proofs.as_object();
        proofs.is_some_and(|proofs| {
            proofs.len() == 10
                && proofs.iter().all(|(name, standing)| {
                    let wanted = if name == "TALLY_TRUE" {
                        "not_kept"
                    } else {
                        "holds"
                    };
                    standing.as_str() == Some(wanted)
                })
        })
    };
    browser
        .until("that every invariant holds", PROOFS, all_hold)
        .await?;
    let to_pay = figure("to-pay");
    browser
        .until("nothing left to pay", &to_pay, |left| {
            left.as_u64() == Some(0)
        })
        .await?;
    let watched = browser.get("window.guafen ?? null").await?;
    ensure!(!watched.is_null(), "the page was loaded anew");
    let reds = watched
        .get("reds")
        .and_then(Value::as_array)
        .map_or(1, Vec::len);
    ensure!(reds == 0, "red in between: {watched}");
    let said = browser.console().await?;
    ensure!(said.is_empty(), "the console says {said:?}");
    Ok(())
}

/// The pictures of the README, of a contest in which prizes are being paid.
async fn pictures(browser: &Browser, base: &str, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let before = browser.tab().await?;
    let shots = [
        ("board-desktop.png", "en", "light", 1_280, 1_080, 1),
        ("board-desktop-zh.png", "zh", "light", 1_280, 1_080, 1),
        ("board-phone.png", "en", "dark", 390, 844, 2),
    ];
    for (name, language, scheme, width, height, scale) in shots {
        browser.size(width, height, scale).await?;
        browser.scheme(scheme).await?;
        browser.go(&format!("{base}/?lang={language}")).await?;
        browser.until("that it is live", LINK, is("live")).await?;
        if width > 600 {
            // As much as there is.
            let tall = browser.get("document.documentElement.scrollHeight").await?;
            browser
                .size(
                    width,
                    tall.as_u64()
                        .and_then(|tall| u32::try_from(tall).ok())
                        .unwrap_or(height),
                    scale,
                )
                .await?;
        }
        browser.picture(&dir.join(name)).await?;
    }
    browser.close_tab(before).await
}

/// A prize in the store that nobody was paid must be shown red, by name, with what is wrong.
async fn red_is_shown(browser: &Browser, spec: Spec, contest: &str) -> Result<()> {
    let store = spec.dir.join("guafen.db");
    let mut meddling = Command::new("sqlite3");
    meddling.arg(&store).arg(
        "UPDATE signup SET prize = prize + 1 WHERE signup_id =
         (SELECT MIN(signup_id) FROM signup WHERE state = 'shared')",
    );
    ensure!(
        meddling.status().await?.success(),
        "sqlite3 could not meddle"
    );
    let server = Server::start(spec, Treatment::Steady, 8).await?;
    browser
        .go(&format!("{}/?contest={contest}", server.api.base()))
        .await?;
    let one_prize =
        |proofs: &Value| proofs.get("ONE_PRIZE").and_then(Value::as_str) == Some("broken");
    browser
        .until("a broken ONE_PRIZE", PROOFS, one_prize)
        .await?;
    let row = "document.querySelector('[data-name=ONE_PRIZE]')";
    let evidence = browser
        .get(&format!("{row}.querySelector('em').textContent"))
        .await?;
    ensure!(
        evidence.as_str().is_some_and(|text| !text.is_empty()),
        "no evidence is shown"
    );
    let colour = format!(
        "getComputedStyle({row}.querySelector('i')).backgroundColor.match(/\\d+/g).map(Number)"
    );
    let colour = browser.get(&colour).await?;
    let part = |at: usize| colour.get(at).map_or(0, number);
    ensure!(part(0) > part(1) + part(2), "red is {colour}");
    let verdict = browser
        .get("document.getElementById('verdict').className")
        .await?;
    ensure!(verdict == "verdict broken", "all of them are {verdict}");
    println!("a row that was changed by hand is red: {evidence}");
    server.stop().await;
    Ok(())
}
