//! `cargo xtask stop`: the server is stopped under load by SIGTERM, and killed by SIGKILL, in turns.
//! Whatever was answered with yes must be in the store and in the ledger; SIGTERM must end it by
//! itself, in time, with no answer cut in half.

mod load;

use crate::{
    books, clock,
    overload::generator::{self, Load, Pace, Requests},
    play::{plan::FEE, run::Keys},
    process::{Process, Signal},
    rng::{Rng, fresh_seed},
    server::{Spec, data_files, free_port},
    shell,
    token::Signer,
    wire::Wire,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use hyper::Method;
use load::{Acknowledged, Calls, Outcome};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

/// How often, and under how much.
#[derive(Args, Clone, Debug)]
pub(crate) struct StopArgs {
    /// How often it is stopped; SIGTERM and SIGKILL in turns
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Connections, half of them signing up and half claiming
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..))]
    connections: u32,
    /// How many viewers there are
    #[arg(long, default_value_t = 4_000, value_parser = clap::value_parser!(u32).range(1..))]
    viewers: u32,
    /// Stops at the same moments again; printed at the start
    #[arg(long)]
    seed: Option<u64>,
    /// A server to stop instead of the one that is built now
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

/// How long SIGTERM may take: the ten seconds of the server's drain, and a little to write it down.
const STOP_MAX: Duration = Duration::from_secs(12);
/// The windows of each contest.
const SIGNUP_MS: i64 = 2_500;
const TASK_MS: i64 = 3_000;
const CLAIM_MS: i64 = 12_000;
/// How many have signed up to the first contest before the first stop.
const FIRST: usize = 1_500;

const SIGNUP: &str = "a signup";
const CLAIM: &str = "a claim";

/// Stops it again and again; true if nothing that was acknowledged was lost.
pub(crate) async fn stop(args: &StopArgs) -> Result<bool> {
    let seed = args.seed.unwrap_or_else(fresh_seed);
    println!(
        "{} stops under {} connections, seed {seed}",
        args.rounds, args.connections
    );
    let binary = match &args.binary {
        Some(binary) => binary.clone(),
        None => shell::build_api()?,
    };
    let dir = shell::fresh_dir("stop")?;
    let spec = Spec {
        binary,
        dir: dir.clone(),
        port: free_port()?,
        failpoint: None,
    };
    let server = Process::start(&spec, &[], 64).await?;
    let keys = Keys::new(Signer::from_data_dir(&dir)?)?;
    let names = (0..args.viewers).map(|number| format!("s{number}"));
    let viewers: Vec<(String, String)> = names
        .map(|user| {
            keys.signer
                .token(&user, "player")
                .map(|token| (user, token))
        })
        .collect::<Result<_>>()?;
    let mut drill = Drill {
        args,
        spec,
        server,
        keys,
        viewers,
        rng: Rng::new(seed),
        contests: Vec::new(),
        faults: Vec::new(),
    };
    drill
        .run()
        .await
        .with_context(|| format!("see {}", dir.join("server.log").display()))?;
    let Drill { server, faults, .. } = drill;
    server.stop().await?;
    let (store, ledger) = data_files(&dir);
    let report = books::check(&store, &ledger, None, true).await?;
    let well = books::print(Some(&report), &faults);
    if well {
        std::fs::remove_dir_all(&dir)?;
    } else {
        println!("data and log are kept in {}", dir.display());
    }
    Ok(well)
}

/// Whether a signup's task is done and its prize not yet claimed.
fn is_completed(row: &Value) -> bool {
    row.get("state").and_then(Value::as_str) == Some("completed")
}

/// A contest of a round.
#[derive(Clone, Debug)]
struct Played {
    contest: String,
    ends: i64,
    closes: i64,
}

struct Drill<'a> {
    args: &'a StopArgs,
    spec: Spec,
    server: Process,
    keys: Keys,
    /// Everybody, with a token.
    viewers: Vec<(String, String)>,
    rng: Rng,
    contests: Vec<String>,
    faults: Vec<String>,
}

impl Drill<'_> {
    async fn run(&mut self) -> Result<()> {
        self.grant().await?;
        let mut claimable = self.first().await?;
        println!(
            "{:<8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}  ended",
            "", "signups", "claims", "in doubt", "503", "halves", "after ms"
        );
        for round in 0..self.args.rounds {
            let signal = if round % 2 == 0 {
                Signal::Term
            } else {
                Signal::Kill
            };
            claimable = self.round(signal, &claimable).await?;
        }
        self.rest(&claimable).await
    }

    /// Coins for every contest there will be.
    async fn grant(&self) -> Result<()> {
        let amount = self.purse();
        let requests = self.viewers.iter().map(|(user, _)| {
            let body = json!({ "amount": amount, "grant_id": format!("g-{user}") }).to_string();
            let path = format!("/v1/sandbox/accounts/{user}/grant");
            Wire::request("POST", &path, &self.keys.operator, &body)
        });
        let done = self.all(Requests::whole(requests.collect())).await?;
        if done != self.viewers.len() {
            bail!(
                "only {done} of {} viewers could be given coins",
                self.viewers.len()
            );
        }
        Ok(())
    }

    /// What everybody is given at the start.
    fn purse(&self) -> u64 {
        FEE * u64::from(self.args.rounds + 1)
    }

    /// Sends all of these; how many were acknowledged.
    async fn all(&self, requests: Requests) -> Result<usize> {
        let load = Load {
            port: self.spec.port,
            pace: Pace::Closed,
            connections: 16,
            length: Duration::from_secs(60),
            requests,
        };
        Ok(generator::send(load).await?.acknowledged.len())
    }

    async fn create(&mut self) -> Result<Played> {
        let at = clock::rfc3339;
        let opens = clock::now_ms() + 200;
        let closes = opens + SIGNUP_MS;
        let ends = closes + TASK_MS;
        let body = json!({
            "title": "stop", "room_id": "stop", "fee": FEE,
            "task": { "kind": "open_chest", "target": 1 }, "payout": { "rule": "equal" },
            "signup_opens_at": at(opens)?, "signup_closes_at": at(closes)?,
            "tasks_end_at": at(ends)?, "claim_closes_at": at(ends + CLAIM_MS)?,
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
        let contest = made
            .get("contest_id")
            .and_then(Value::as_str)
            .context("a contest without an id")?
            .to_owned();
        self.contests.push(contest.clone());
        clock::until(opens + 30).await;
        Ok(Played {
            contest,
            ends,
            closes,
        })
    }

    /// A contest to claim from, before the first stop.
    async fn first(&mut self) -> Result<Played> {
        let played = self.create().await?;
        let some = self.viewers.iter().take(FIRST);
        let tokens: Arc<[String]> = some.map(|(_, token)| token.clone()).collect();
        self.all(Requests::signups(&played.contest, &tokens))
            .await?;
        self.finish_tasks(&played).await?;
        Ok(played)
    }

    /// Everybody who paid does the task; then the contest is waited for until claims are open.
    async fn finish_tasks(&self, played: &Played) -> Result<()> {
        let paid = self.rows(&played.contest).await?;
        let occurred_at = clock::rfc3339(clock::now_ms())?;
        let events: Vec<Value> = paid
            .keys()
            .map(|user| {
                json!({ "event_id": format!("{}-{user}", played.ends), "user_id": user,
                        "room_id": "stop", "kind": "open_chest", "quantity": 1,
                        "occurred_at": occurred_at })
            })
            .collect();
        for batch in events.chunks(1_000) {
            let body = Value::Array(batch.to_vec());
            let api = &self.server.api;
            api.insist(
                Method::POST,
                "/v1/task-events",
                &self.keys.service,
                Some(&body),
            )
            .await?;
        }
        self.wait_for(&played.contest, &["claimable"], played.ends + 20_000)
            .await
    }

    async fn wait_for(&self, contest: &str, phases: &[&str], until: i64) -> Result<()> {
        let path = format!("/v1/contests/{contest}");
        while clock::now_ms() < until {
            let answer = self.server.api.get(&path, &self.keys.operator).await;
            if phases.contains(&answer.text("phase")) {
                return Ok(());
            }
            clock::pause(50).await;
        }
        bail!("contest {contest} did not become {phases:?} in time")
    }

    fn calls(&self, what: &'static str, played: &Played, kind: &str) -> Arc<Calls> {
        let path = format!("/v1/contests/{}/{kind}", played.contest);
        let requests = self
            .viewers
            .iter()
            .map(|(user, token)| (user.clone(), Wire::request("PUT", &path, token, "")));
        Arc::new(Calls::new(what, requests.collect()))
    }

    /// One stop: load, signal, books, restart, and every acknowledged answer looked up. Answers
    /// with the contest that the next round claims from.
    async fn round(&mut self, signal: Signal, claimable: &Played) -> Result<Played> {
        let open = self.create().await?;
        let signed_up = self.rows(&claimable.contest).await?;
        let mut claims = Calls::new(CLAIM, Vec::new());
        let all = self.calls(CLAIM, claimable, "claim");
        let winners = all
            .requests
            .iter()
            .filter(|(user, _)| signed_up.get(user).is_some_and(is_completed));
        claims.requests.extend(winners.cloned());
        let calls = [self.calls(SIGNUP, &open, "signup"), Arc::new(claims)];
        let connections = usize::try_from(self.args.connections)?;
        let port = self.spec.port;
        let load = tokio::spawn(async move { load::run(port, connections, &calls).await });
        clock::pause(self.rng.between(300, 1_500)).await;
        if load.is_finished() {
            bail!("the load ended before the signal: {:?}", load.await?);
        }
        self.server.signal(signal).await?;
        let ended = self.server.ended(STOP_MAX).await?;
        let outcome = load.await.context("the load ended badly")??;
        self.report(signal, &outcome, ended);
        let (store, ledger) = data_files(&self.spec.dir);
        let report = books::check(&store, &ledger, None, false).await?;
        if !report.is_green() {
            self.faults.push(format!(
                "the books right after SIG{}:\n{report}",
                signal.name()
            ));
        }
        self.server = Process::start(&self.spec, &[], 64).await?;
        self.look_up(&outcome, &open, claimable, &signed_up).await?;
        self.finish_tasks(&open).await?;
        Ok(open)
    }

    fn report(
        &mut self,
        signal: Signal,
        outcome: &Outcome,
        ended: Option<(std::process::ExitStatus, Duration)>,
    ) {
        let how = ended.map_or_else(
            || "not by itself".to_owned(),
            |(status, _)| status.to_string(),
        );
        let after = ended.map_or(0, |(_, after)| after.as_millis());
        println!(
            "{:<8}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}  {how}",
            format!("SIG{}", signal.name()),
            outcome.acknowledged_of(SIGNUP),
            outcome.acknowledged_of(CLAIM),
            outcome.in_doubt.values().sum::<u64>(),
            outcome.shed,
            outcome.halves.len(),
            after,
        );
        self.faults.extend(outcome.odd.iter().take(5).cloned());
        for what in [SIGNUP, CLAIM] {
            if outcome.acknowledged_of(what) == 0 {
                self.faults
                    .push(format!("{what} was never acknowledged: nothing was tried"));
            }
        }
        if signal == Signal::Term {
            if !ended.is_some_and(|(status, _)| status.success()) {
                self.faults.push(format!(
                    "SIGTERM: the server ended {how}, must end with code 0 within {STOP_MAX:?}"
                ));
            }
            let halves = outcome.halves.iter().take(3);
            self.faults
                .extend(halves.map(|half| format!("SIGTERM cut an answer in half: {half:?}")));
        }
    }

    /// Every yes, against the rows as they are after the restart.
    async fn look_up(
        &mut self,
        outcome: &Outcome,
        open: &Played,
        claimable: &Played,
        signed_up: &BTreeMap<String, Value>,
    ) -> Result<()> {
        let signups = self.rows(&open.contest).await?;
        let claims = self.rows(&claimable.contest).await?;
        let mut lost = Vec::new();
        for Acknowledged { what, user, body } in &outcome.acknowledged {
            let (rows, fields): (_, &[&str]) = if *what == SIGNUP {
                (&signups, &["signup_id", "fee", "fee_order_id", "state"])
            } else {
                (&claims, &["signup_id", "prize", "claim_order_id", "state"])
            };
            let row = rows.get(user);
            let same = |field: &&str| row.and_then(|row| row.get(*field)) == body.get(*field);
            if body.get("signup_id").is_none() || !fields.iter().all(same) {
                lost.push(format!(
                    "{what} of {user} was acknowledged as {body}, is {row:?}"
                ));
            }
        }
        if !lost.is_empty() {
            self.faults
                .push(format!("{} acknowledged answers are lost", lost.len()));
        }
        self.faults.extend(lost.into_iter().take(5));
        // Nobody pays who neither was told so nor was left in doubt.
        let told = |what: &str| {
            let users = outcome.acknowledged.iter().filter(|done| done.what == what);
            users
                .map(|done| &done.user)
                .collect::<std::collections::BTreeSet<_>>()
                .len() as u64
        };
        let doubt = |what: &str| outcome.in_doubt.get(what).copied().unwrap_or(0);
        let shared = |rows: &BTreeMap<String, Value>| {
            let state = |row: &&Value| row.get("state").and_then(Value::as_str) == Some("shared");
            rows.values().filter(state).count() as u64
        };
        for (what, done) in [
            (SIGNUP, signups.len() as u64),
            (CLAIM, shared(&claims) - shared(signed_up)),
        ] {
            let most = told(what) + doubt(what);
            if done > most {
                self.faults.push(format!(
                    "{done} times {what} was done, but only {most} were told so or left in doubt"
                ));
            }
        }
        Ok(())
    }

    /// Everybody who paid for a contest, with what is said of the signup.
    async fn rows(&self, contest: &str) -> Result<BTreeMap<String, Value>> {
        let mut rows = BTreeMap::new();
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
                    rows.insert(text("user_id").to_owned(), item.clone());
                }
            }
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(rows),
            }
        }
    }

    /// Until every contest is over; then everybody must have what they began with, less their fees,
    /// with their prizes.
    async fn rest(&mut self, last: &Played) -> Result<()> {
        println!("waiting for the last contest to close ...");
        let until = last.ends + CLAIM_MS + 40_000 + (last.ends - last.closes);
        let mut coins: HashMap<String, u64> = self
            .viewers
            .iter()
            .map(|(user, _)| (user.clone(), self.purse()))
            .collect();
        for contest in self.contests.clone() {
            self.wait_for(&contest, &["closed", "cancelled"], until)
                .await?;
            for (user, row) in self.rows(&contest).await? {
                let number = |field: &str| row.get(field).and_then(Value::as_u64).unwrap_or(0);
                let refunded = row.get("state").and_then(Value::as_str) == Some("refunded");
                let held = coins.entry(user).or_default();
                *held += number("prize");
                *held -= if refunded { 0 } else { number("fee") };
            }
        }
        let mut wrong = 0;
        for (user, must) in &coins {
            let path = format!("/v1/sandbox/accounts/{user}");
            let api = &self.server.api;
            let body = api
                .insist(Method::GET, &path, &self.keys.operator, None)
                .await?;
            let held = body.get("balance").and_then(Value::as_u64);
            if held != Some(*must) {
                wrong += 1;
                if wrong <= 5 {
                    self.faults
                        .push(format!("{user} holds {held:?} coins, must hold {must}"));
                }
            }
        }
        println!(
            "{} contests, {} viewers: {wrong} with other coins than they must have",
            self.contests.len(),
            coins.len()
        );
        Ok(())
    }
}
