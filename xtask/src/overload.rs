//! `cargo xtask overload`: signups at five times what the server can carry. What it serves must
//! stay near its capacity, the rest must be shed early, its memory must not grow, and the books
//! must be exact.

pub(crate) mod generator;
mod table;

use crate::{
    books, clock,
    play::{plan::FEE, run::Keys},
    process::{Process, cpu_ms, resident_kib},
    server::{Spec, data_files, free_port},
    shell,
    token::Signer,
    wire::Wire,
};
use anyhow::{Context, Result};
use clap::Args;
use generator::{Load, Pace, Requests, Tally, send};
use hyper::Method;
use serde_json::{Value, json};
use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Duration};

/// How hard, and for how long.
#[derive(Args, Clone, Debug)]
pub(crate) struct OverloadArgs {
    /// Offered load as a multiple of capacity
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=20))]
    factor: u64,
    /// The length of each measurement
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// How often capacity, load 1× and overload are measured, in turns
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Connections of the open loads, each with one request at a time; capacity is measured with 64
    #[arg(long, default_value_t = 5_000)]
    connections: usize,
    /// Goodput at overload must be at least this part of capacity
    #[arg(long, value_name = "PERCENT", default_value_t = 80)]
    at_least: u64,
    /// The most by which resident memory may grow within an overload, and from the first to the
    /// last; the databases' page caches fill meanwhile, a queue without a bound would take several
    /// times as much
    #[arg(long, value_name = "MIB", default_value_t = 128)]
    growth_max: u64,
    /// Check how the rest is shed and that the books are exact; measure nothing
    #[arg(long)]
    short: bool,
    /// A server to measure instead of the one that is built now
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// The limits of a server that sheds whatever machine it runs on: for the short form, where nothing
/// is measured.
const SMALL: &[(&str, &str)] = &[
    ("GUAFEN_LIMITS__RUNNING_MAX", "32"),
    ("GUAFEN_LIMITS__IN_FLIGHT_MAX", "100"),
];
/// Connections that find the capacity.
const CROWD: usize = 64;
/// The shortest load that finds the capacity.
const CAPACITY_S: u64 = 5;
/// How often memory is looked at.
const LOOK_MS: u64 = 200;
/// How long the contests stay open: much longer than a run.
const OPEN_MS: i64 = 3_600_000;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Each of 64 connections as soon as it was answered.
    Capacity,
    /// As much as it can carry.
    Once,
    /// More than it can carry.
    Over,
}

/// One measurement.
#[derive(Debug)]
struct Round {
    kind: Kind,
    tally: Tally,
    /// Resident memory at the end of each look, in KiB.
    resident_kib: Vec<u64>,
    /// CPU time of the server and of everything here, in milliseconds.
    server_ms: u64,
    here_ms: u64,
}

/// Measures; true if all is well.
pub(crate) async fn overload(args: &OverloadArgs) -> Result<bool> {
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => shell::build_api()?,
    };
    let dir = shell::fresh_dir("overload")?;
    let spec = Spec {
        binary,
        dir: dir.clone(),
        port: free_port()?,
        failpoint: None,
    };
    let environment = if args.short { SMALL } else { &[] };
    let server = Process::start(&spec, environment, 64).await?;
    let keys = Keys::new(Signer::from_data_dir(&dir)?)?;
    let mut bench = Bench {
        args,
        server,
        port: spec.port,
        keys,
        tokens: Arc::new([]),
        faults: Vec::new(),
    };
    let rounds = bench
        .measure()
        .await
        .with_context(|| format!("see {}", dir.join("server.log").display()))?;
    let Bench {
        server, mut faults, ..
    } = bench;
    server.stop().await?;
    let (store, ledger) = data_files(&dir);
    let report = books::check(&store, &ledger, None, false).await?;
    faults.extend(judged(args, &rounds));
    table::print(&rounds);
    let well = books::print(Some(&report), &faults);
    if well {
        std::fs::remove_dir_all(&dir)?;
    } else {
        println!("data and log are kept in {}", dir.display());
    }
    Ok(well)
}

/// What the figures of all rounds say against the bounds.
fn judged(args: &OverloadArgs, rounds: &[Round]) -> Vec<String> {
    let mut faults = Vec::new();
    let rudely: u64 = rounds.iter().map(|round| round.tally.shed_rudely).sum();
    if rudely > 0 {
        faults.push(format!("{rudely} answers of 503 without Retry-After"));
    }
    for round in rounds {
        let odd = round
            .tally
            .other
            .iter()
            .filter(|(status, _)| **status != 202);
        faults.extend(
            odd.map(|(status, count)| format!("{:?}: {count} answers of {status}", round.kind)),
        );
    }
    if args.short {
        let shed: u64 = rounds.iter().map(|round| round.tally.shed).sum();
        println!("{shed} shed");
        if shed == 0 {
            faults.push("nothing was shed: nothing was tried".to_owned());
        }
        return faults;
    }
    let percent = |part: u64, whole: u64| part * 100 / whole.max(1);
    // Each overload against what was measured right before it: the machine is never the same twice.
    let mut of_capacity = Vec::new();
    let mut of_once = Vec::new();
    for turn in rounds.chunks(3) {
        let goodput = |kind| {
            let found = turn.iter().find(|round| round.kind == kind);
            found.map_or(0, |round| round.tally.goodput())
        };
        let over = goodput(Kind::Over);
        of_capacity.push(percent(over, goodput(Kind::Capacity)));
        of_once.push(percent(over, goodput(Kind::Once)));
    }
    let middle = table::median(of_capacity.iter().copied());
    println!(
        "\ngoodput at {}×: {middle} % of capacity {of_capacity:?}, {} % of goodput at 1× {of_once:?}",
        args.factor,
        table::median(of_once.iter().copied()),
    );
    if middle < args.at_least {
        faults.push(format!(
            "goodput is {middle} % of capacity, must be at least {} %",
            args.at_least
        ));
    }
    faults.extend(grown(args, rounds));
    faults
}

/// Memory must be bounded: neither within an overload, where a queue would grow, nor from the first
/// overload to the last, where a leak would. What the databases' page caches still take is allowed.
fn grown(args: &OverloadArgs, rounds: &[Round]) -> Vec<String> {
    let most = |looks: &[u64]| looks.iter().copied().max().unwrap_or(0);
    let mut thirds: Vec<(u64, u64)> = Vec::new();
    for round in rounds.iter().filter(|round| round.kind == Kind::Over) {
        let looks = &round.resident_kib;
        let third = looks.len() / 3;
        thirds.push((most(&looks[..third]), most(&looks[looks.len() - third..])));
    }
    println!("resident memory in the first and last third of each overload, KiB: {thirds:?}");
    let first = thirds.first().map_or(0, |(_, end)| *end);
    let pairs = thirds
        .iter()
        .map(|(start, end)| ("within an overload", *start, *end))
        .chain(
            thirds
                .last()
                .map(|(_, last)| ("from the first overload to the last", first, *last)),
        );
    pairs
        .filter(|(_, from, to)| to.saturating_sub(*from) > args.growth_max * 1_024)
        .map(|(when, from, to)| {
            format!(
                "resident memory grew {when} from {from} to {to} KiB, at most {} MiB are allowed",
                args.growth_max
            )
        })
        .collect()
}

struct Bench<'a> {
    args: &'a OverloadArgs,
    server: Process,
    port: u16,
    keys: Keys,
    /// One for each viewer who has coins.
    tokens: Arc<[String]>,
    faults: Vec<String>,
}

impl Bench<'_> {
    async fn measure(&mut self) -> Result<Vec<Round>> {
        let seconds = if self.args.short {
            1
        } else {
            self.args.seconds
        };
        let find = if self.args.short { 1 } else { CAPACITY_S };
        self.grant(usize::try_from(12_000 * find)?).await?;
        let first = self.round(Kind::Capacity, Pace::Closed, find).await?;
        let capacity = first.tally.goodput();
        println!("capacity about {capacity}/s");
        let over = capacity * self.args.factor;
        self.grant(usize::try_from(over * seconds)?).await?;
        let mut rounds = Vec::new();
        for _ in 0..if self.args.short { 1 } else { self.args.rounds } {
            for (kind, pace, seconds) in [
                (Kind::Capacity, Pace::Closed, find),
                (Kind::Once, Pace::Open(capacity), seconds),
                (Kind::Over, Pace::Open(over), seconds),
            ] {
                let round = self.round(kind, pace, seconds).await?;
                println!("{}", table::line(&round));
                rounds.push(round);
            }
        }
        Ok(rounds)
    }

    /// Gives coins and a token to more viewers, until there are so many.
    async fn grant(&mut self, viewers: usize) -> Result<()> {
        let known = self.tokens.len();
        if known >= viewers {
            return Ok(());
        }
        println!("giving coins to {} viewers ...", viewers - known);
        // Enough for every contest of a run.
        let amount = FEE * u64::from(self.args.rounds * 3 + 1);
        let names: Vec<String> = (known..viewers)
            .map(|number| format!("o{number}"))
            .collect();
        let grants = names.iter().map(|user| {
            let body = json!({ "amount": amount, "grant_id": format!("g-{user}") }).to_string();
            let path = format!("/v1/sandbox/accounts/{user}/grant");
            Wire::request("POST", &path, &self.keys.operator, &body)
        });
        let load = Load {
            port: self.port,
            pace: Pace::Closed,
            connections: CROWD,
            length: Duration::from_secs(600),
            requests: Requests::whole(grants.collect()),
        };
        let tally = send(load).await?;
        if tally.acknowledged.len() != names.len() {
            anyhow::bail!(
                "only {} of {} viewers could be given coins: {:?}, {} shed",
                tally.acknowledged.len(),
                names.len(),
                tally.other,
                tally.shed
            );
        }
        let more: Vec<String> = names
            .iter()
            .map(|user| self.keys.signer.token(user, "player"))
            .collect::<Result<_>>()?;
        self.tokens = self.tokens.iter().cloned().chain(more).collect();
        Ok(())
    }

    /// A fresh contest, and signups for it.
    async fn round(&mut self, kind: Kind, pace: Pace, seconds: u64) -> Result<Round> {
        let contest = self.create().await?;
        let pid = self.server.pid();
        let load = Load {
            port: self.port,
            pace,
            connections: if pace == Pace::Closed {
                CROWD
            } else {
                self.args.connections
            },
            length: Duration::from_secs(seconds),
            requests: Requests::signups(&contest, &self.tokens),
        };
        let cpu = || (cpu_ms(pid), cpu_ms(std::process::id()));
        let before = cpu();
        let mut resident = Vec::new();
        let sending = send(load);
        tokio::pin!(sending);
        let tally = loop {
            tokio::select! {
                tally = &mut sending => break tally?,
                () = clock::pause(LOOK_MS) => resident.extend(resident_kib(pid)),
            }
        };
        let after = cpu();
        self.account(&contest, kind, &tally).await?;
        Ok(Round {
            kind,
            tally,
            resident_kib: resident,
            server_ms: after.0 - before.0,
            here_ms: after.1 - before.1,
        })
    }

    async fn create(&self) -> Result<String> {
        let at = clock::rfc3339;
        let opens = clock::now_ms() + 200;
        let body = json!({
            "title": "overload", "room_id": "overload", "fee": FEE,
            "task": { "kind": "open_chest", "target": 1 }, "payout": { "rule": "equal" },
            "signup_opens_at": at(opens)?, "signup_closes_at": at(opens + OPEN_MS)?,
            "tasks_end_at": at(opens + OPEN_MS + 1_000)?, "claim_closes_at": at(opens + OPEN_MS + 2_000)?,
        });
        let made = self
            .server
            .api
            .insist(
                Method::POST,
                "/v1/admin/contests",
                &self.keys.operator,
                Some(&body),
            )
            .await?;
        clock::until(opens + 50).await;
        made.get("contest_id")
            .and_then(Value::as_str)
            .map(str::to_owned)
            .context("a contest without an id")
    }

    /// Everybody who was told yes has paid, and nobody who was shed.
    async fn account(&mut self, contest: &str, kind: Kind, tally: &Tally) -> Result<()> {
        let paid = self.paid(contest).await?;
        let lost = tally
            .acknowledged
            .iter()
            .filter(|index| !paid.contains(*index))
            .count();
        if lost > 0 {
            self.faults.push(format!(
                "{kind:?}: {lost} acknowledged signups are not in the store"
            ));
        }
        let pending = tally.other.get(&202).copied().unwrap_or(0);
        let open = tally.unanswered + pending;
        let more = (paid.len() as u64).saturating_sub(tally.acknowledged.len() as u64);
        if more > open {
            self.faults.push(format!(
                "{kind:?}: {more} viewers paid without having been told, only {open} were left in doubt"
            ));
        }
        let path = format!("/v1/contests/{contest}/pool");
        let pool = self
            .server
            .api
            .insist(Method::GET, &path, &self.keys.operator, None)
            .await?;
        let amount = pool.get("amount").and_then(Value::as_u64);
        if amount != Some(paid.len() as u64 * FEE) {
            self.faults.push(format!(
                "{kind:?}: the pool holds {amount:?} coins, {} viewers paid {FEE}",
                paid.len()
            ));
        }
        Ok(())
    }

    /// The numbers of the viewers who paid.
    async fn paid(&self, contest: &str) -> Result<HashSet<usize>> {
        let mut paid = HashSet::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/v1/admin/contests/{contest}/signups?limit=1000{cursor}");
            let page = self
                .server
                .api
                .insist(Method::GET, &path, &self.keys.operator, None)
                .await?;
            let items = page.get("items").and_then(Value::as_array);
            for item in items.into_iter().flatten() {
                let text =
                    |field: &str| item.get(field).and_then(Value::as_str).unwrap_or_default();
                if !matches!(text("state"), "initialized" | "expired") {
                    paid.extend(
                        text("user_id")
                            .trim_start_matches('o')
                            .parse::<usize>()
                            .ok(),
                    );
                }
            }
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(paid),
            }
        }
    }
}
