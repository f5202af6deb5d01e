//! `cargo xtask fuzz-api`: schemathesis sends the embedded default what its document allows, and
//! what it does not, with each kind of token; afterwards the books must balance.

use crate::{
    books, clock, python,
    rng::fresh_seed,
    server::{Server, Spec, Treatment, free_port},
    shell,
    steps::Outcome,
    token::Signer,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use hyper::Method;
use serde_json::json;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

const REQUIREMENTS: &str = include_str!("fuzz_api/requirements.txt");
const HOOKS: &str = include_str!("fuzz_api/hooks.py");
/// What an answer must keep. Whether a call takes what its schema allows is not among them: rules
/// that span fields, such as times in order, are not in a schema.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
    response_schema_conformance,response_headers_conformance";
/// Never ends by itself, so that nothing can be said of its body.
const ENDLESS: &str = "/events$";
/// How long the seeded contest may take until its prizes can be claimed.
const SETTLED_MAX: Duration = Duration::from_secs(30);

/// How much is sent.
#[derive(Args, Clone, Debug)]
pub(crate) struct FuzzArgs {
    /// How many requests at least; 20000 takes some minutes
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    requests: u64,
    /// Sends the same again; printed at the start
    #[arg(long)]
    seed: Option<u64>,
}

/// Requests by operation and status.
type Counts = BTreeMap<String, BTreeMap<String, u64>>;

/// The contests and signups that the requests are about.
struct Seeds {
    contests: Vec<String>,
    signups: Vec<String>,
}

/// Sends them all; true if every answer was as documented and the books balance.
pub(crate) async fn fuzz(args: &FuzzArgs) -> Result<Outcome> {
    let schemathesis = match install() {
        Ok(schemathesis) => schemathesis,
        Err(error) => return Ok(Outcome::NotRun(format!("{error:#}"))),
    };
    let binary = shell::build_api()?;
    let dir = shell::fresh_dir("fuzz-api")?;
    let spec = Spec {
        binary,
        dir: dir.clone(),
        port: free_port()?,
        failpoint: None,
    };
    let seed = args.seed.unwrap_or_else(|| fresh_seed() % 1_000_000);
    println!("seed {seed}, data in {}", dir.display());
    let server = Server::start(spec, Treatment::Steady, 8).await?;
    let signer = Signer::from_data_dir(&dir)?;
    let seeds = sow(&server, &signer).await?;
    write_setup(&dir, &seeds)?;
    let mut total = Counts::new();
    let mut is_clean = true;
    for (user, role) in [
        ("ann", "player"),
        ("boss", "operator"),
        ("counter", "service"),
    ] {
        let token = signer.token(user, role)?;
        let mut sent = 0;
        for round in 0.. {
            let left = (args.requests / 3 + 1).saturating_sub(sent);
            if left == 0 || !is_clean {
                break;
            }
            let run = Run {
                schemathesis: &schemathesis,
                dir: &dir,
                base: server.api.base(),
                token: &token,
                // An operation gets a few dozen requests besides those that are drawn.
                examples: (left / 40).clamp(3, 200),
                seed: seed + round,
            };
            let (clean, counts) = run.perform().await?;
            let count: u64 = counts.values().flat_map(BTreeMap::values).sum();
            if count == 0 {
                bail!("schemathesis sent nothing; its output above says why");
            }
            println!("{role}: {count} requests sent in round {}", round + 1);
            sent += count;
            is_clean &= clean;
            for (operation, statuses) in counts {
                let all = total.entry(operation).or_default();
                for (status, count) in statuses {
                    *all.entry(status).or_default() += count;
                }
            }
        }
    }
    let (store, ledger) = server.files();
    let log = server.log();
    let faults = server.stop().await.faults;
    print_counts(&total);
    let logged = fs::read_to_string(&log)?;
    let alarms: Vec<&str> = logged
        .lines()
        .filter(|line| line.contains(" ERROR ") || line.contains("panicked"))
        .collect();
    for line in alarms.iter().take(20) {
        println!("FAULT  in {}: {line}", log.display());
    }
    let report = books::check(&store, &ledger, None, false).await?;
    let balances = books::print(Some(&report), &faults);
    let sent: u64 = total.values().flat_map(BTreeMap::values).sum();
    println!("requests really sent: {sent}, seed {seed}");
    if !is_clean {
        println!("an answer was not as documented, see above");
    }
    Ok(Outcome::from(
        is_clean && balances && alarms.is_empty() && sent >= args.requests,
    ))
}

/// The path of schemathesis.
fn install() -> Result<PathBuf> {
    Ok(python::environment("schemathesis", REQUIREMENTS)?.join("bin/schemathesis"))
}

/// Contests in several phases with signups of one viewer, so that ids are there to be asked for.
async fn sow(server: &Server, signer: &Signer) -> Result<Seeds> {
    let api = &server.api;
    let (boss, ann) = (
        signer.token("boss", "operator")?,
        signer.token("ann", "player")?,
    );
    let grant = json!({ "amount": 1_000_000, "grant_id": "seed" });
    let account = "/v1/sandbox/accounts/ann/grant";
    api.insist(Method::POST, account, &boss, Some(&grant))
        .await?;
    let now = clock::now_ms();
    let mut seeds = Seeds {
        contests: Vec::new(),
        signups: Vec::new(),
    };
    for (opens_s, closes_s, ends_s) in [
        (-1, 2, 3),
        (-1, 3_000, 3_600),
        (-1, 3_000, 3_600),
        (1_800, 3_000, 3_600),
    ] {
        let time = |after_s: i64| clock::rfc3339(now + after_s * 1_000);
        // The first one is to be settled in every way that there is.
        let is_rich = seeds.contests.is_empty();
        let mut terms = json!({
            "title": "Seeded",
            "room_id": "room-1",
            "fee": 10,
            "task": { "kind": "open_chest", "target": 1 },
            "payout": { "rule": "equal" },
            "rake_bps": 500,
            "signup_opens_at": time(opens_s)?,
            "signup_closes_at": time(closes_s)?,
            "tasks_end_at": time(ends_s)?,
            "claim_closes_at": time(7_200)?,
        });
        if is_rich {
            terms["fee_tiers"] = json!([10, 50]);
            terms["payout"]["rule"] = json!("lucky");
        }
        let tier = is_rich.then(|| json!({ "fee_tier": 50 }));
        let contest = api
            .insist(Method::POST, "/v1/admin/contests", &boss, Some(&terms))
            .await?;
        let id = contest["contest_id"]
            .as_str()
            .context("a contest without an id")?
            .to_owned();
        seeds.contests.push(id.clone());
        if opens_s < 0 {
            until(server, &boss, &id, "open").await?;
            let path = format!("/v1/contests/{id}/signup");
            let signup = api.insist(Method::PUT, &path, &ann, tier.as_ref()).await?;
            let id = signup["signup_id"]
                .as_str()
                .context("a signup without an id")?;
            seeds.signups.push(id.to_owned());
        }
    }
    let event = json!([{
        "event_id": "seed",
        "user_id": "ann",
        "room_id": "room-1",
        "kind": "open_chest",
        "quantity": 1,
        "occurred_at": clock::rfc3339(clock::now_ms())?,
    }]);
    let service = signer.token("counter", "service")?;
    api.insist(Method::POST, "/v1/task-events", &service, Some(&event))
        .await?;
    until(server, &boss, &seeds.contests[0], "claimable").await?;
    Ok(seeds)
}

/// Waits until a contest is in that phase.
async fn until(server: &Server, token: &str, id: &str, phase: &str) -> Result<()> {
    let path = format!("/v1/contests/{id}");
    let seen = async {
        while server.api.get(&path, token).await.text("phase") != phase {
            clock::pause(50).await;
        }
    };
    let seen = tokio::time::timeout(SETTLED_MAX, seen).await;
    seen.with_context(|| format!("contest {id} was not {phase} within {SETTLED_MAX:?}"))
}

/// Writes what schemathesis reads: the hooks, and which ids there are.
fn write_setup(dir: &Path, Seeds { contests, signups }: &Seeds) -> Result<()> {
    let (contests, signups) = (json!(contests), json!(signups));
    let bound = |name: &str| format!("{{ dictionary = \"{name}\", probability = 0.7 }}");
    let setup = format!(
        "hooks = \"fuzz_hooks.py\"\n\
         [dictionaries.contests]\nvalues = {contests}\n\
         [dictionaries.signups]\nvalues = {signups}\n\
         [dictionaries.users]\nvalues = [\"ann\", \"bob\"]\n\
         [parameters]\n\"path.id\" = {}\n\"path.user\" = {}\n\"query.contest_id\" = {}\n\
         [[operations]]\ninclude-path-regex = \"/parked/\"\n\
         [operations.parameters]\n\"path.id\" = {}\n",
        bound("contests"),
        bound("users"),
        bound("contests"),
        bound("signups"),
    );
    fs::write(dir.join("schemathesis.toml"), setup)?;
    fs::write(dir.join("fuzz_hooks.py"), HOOKS)?;
    Ok(())
}

/// One run of schemathesis.
struct Run<'a> {
    schemathesis: &'a Path,
    dir: &'a Path,
    base: &'a str,
    token: &'a str,
    examples: u64,
    seed: u64,
}

impl Run<'_> {
    /// Whether it found nothing, and what it sent.
    async fn perform(&self) -> Result<(bool, Counts)> {
        let counts = self.dir.join("counts.json");
        let _ = fs::remove_file(&counts);
        let status = tokio::process::Command::new(self.schemathesis)
            .current_dir(self.dir)
            .args(["--config-file", "schemathesis.toml", "run"])
            .arg(format!("{}/openapi.json", self.base))
            .args(["--header", &format!("Authorization: Bearer {}", self.token)])
            .args(["--checks", CHECKS, "--exclude-path-regex", ENDLESS])
            .args(["--max-examples", &self.examples.to_string()])
            .args(["--seed", &self.seed.to_string()])
            // Ids repeat and roles are refused on purpose.
            .args(["--warnings", "off", "--continue-on-failure"])
            .env("GUAFEN_FUZZ_COUNTS", &counts)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .kill_on_drop(true)
            .status()
            .await
            .with_context(|| format!("cannot start {}", self.schemathesis.display()))?;
        let text = fs::read_to_string(&counts)
            .context("schemathesis did not say what it sent; its output above says why")?;
        Ok((status.success(), serde_json::from_str(&text)?))
    }
}

fn print_counts(counts: &Counts) {
    println!("\nanswers by operation and status");
    for (operation, statuses) in counts {
        let statuses: Vec<String> = statuses
            .iter()
            .map(|(status, count)| format!("{status}: {count}"))
            .collect();
        println!("  {operation:<50} {}", statuses.join("  "));
    }
}
