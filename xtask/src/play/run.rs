//! One contest from creation to its last coin, played by simulated viewers.

use super::{
    model::{self, Ended, Prediction, Promise, Story},
    plan::{GRACE_MS, Plan, Scenario, Setup, Windows},
    sheet::{self, Watch},
    viewer::{self, Game, is_over},
};
use crate::{api::Api, clock, progress::Progress, server::Server, token::Signer};
use anyhow::{Context, Result, bail};
use hyper::Method;
use serde_json::{Value, json};
use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Duration, interval},
};

/// How long after the claim window the last coin may take.
const END_MAX_MS: i64 = 60_000;

/// Who may do what.
#[derive(Clone)]
pub(crate) struct Keys {
    pub(crate) signer: Signer,
    pub(crate) operator: String,
    pub(crate) service: String,
}

impl Keys {
    /// Tokens by the instance's secret.
    pub(crate) fn new(signer: Signer) -> Result<Self> {
        let operator = signer.token("play-operator", "operator")?;
        let service = signer.token("play-tasks", "service")?;
        Ok(Self {
            signer,
            operator,
            service,
        })
    }
}

/// How a contest was played.
#[derive(Clone, Debug)]
pub(crate) struct Played {
    pub(crate) contest: String,
    pub(crate) phase: String,
    pub(crate) joined: u64,
    pub(crate) finished: u64,
    pub(crate) claimed: u64,
    /// All prizes in coins: how many, their sum, the least and the most.
    pub(crate) prizes: Prizes,
    /// Where answers, coins and predictions disagree.
    pub(crate) faults: Vec<String>,
}

/// Every finisher's prize, in coins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prizes {
    pub(crate) count: u64,
    pub(crate) sum: u64,
    pub(crate) least: u64,
    pub(crate) most: u64,
    /// How many of them by a weight that was taken as found.
    pub(crate) taken: u64,
}

impl Prizes {
    fn of(prediction: &Prediction) -> Self {
        let prizes = || prediction.lines.iter().map(|line| line.prize);
        Self {
            count: prediction.lines.len() as u64,
            sum: prizes().sum(),
            least: prizes().min().unwrap_or(0),
            most: prizes().max().unwrap_or(0),
            taken: prediction.taken,
        }
    }
}

/// Where it is played, and who watches.
pub(crate) struct Stage<'a> {
    pub(crate) api: &'a Api,
    pub(crate) keys: &'a Keys,
    /// Our own server, if it is ours.
    pub(crate) server: Option<&'a Server>,
    pub(crate) progress: &'a Progress,
    /// Is told the contest's id once there is one.
    pub(crate) announce: &'a (dyn Fn(&str) + Sync),
}

/// Plays one contest and compares everybody's coins with the model.
pub(crate) async fn play(stage: &Stage<'_>, setup: &Setup) -> Result<Played> {
    let audience = setup.audience();
    grant(stage, &audience).await?;
    let windows = setup.windows(clock::now_ms());
    let made = create(stage, setup, windows).await?;
    let contest = made
        .get("contest_id")
        .and_then(Value::as_str)
        .context("a contest without an id")?
        .to_owned();
    let mut watch = Watch::new(setup.scenario.rule(), &made);
    let absent = sheet::check_absent(stage, &contest).await;
    (stage.announce)(&contest);
    if let Some(server) = stage.server {
        server.kill_at(critical_moments(windows));
    }
    let (seen, phase) = watch::channel(String::new());
    let game = Arc::new(Game {
        api: stage.api.clone(),
        contest: contest.clone(),
        room: format!("room-{}", setup.run),
        windows,
        terms: setup.terms(windows),
        tiers: setup.tiers(),
        varied: setup.scenario.is_varied(),
        operator: stage.keys.operator.clone(),
        service: stage.keys.service.clone(),
        phase,
        joined: 0.into(),
        finished: 0.into(),
        claimed: 0.into(),
    });
    let mut viewers = JoinSet::new();
    for plan in audience {
        let token = stage.keys.signer.token(&plan.user, "player")?;
        viewers.spawn(viewer::play(game.clone(), plan, token));
    }
    let stories = watch_to_the_end(stage, setup, &game, viewers, &seen, &mut watch).await?;
    let (prizes, mut faults) = judge(stage, setup, &game, &stories, watch).await?;
    faults.extend(absent);
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let phase = seen.borrow().clone();
    let (joined, finished, claimed) = (
        count(&game.joined),
        count(&game.finished),
        count(&game.claimed),
    );
    Ok(Played {
        contest,
        phase,
        joined,
        finished,
        claimed,
        prizes,
        faults,
    })
}

/// Where a crash hurts most: at the close, while judging and listing, when claims open and end.
fn critical_moments(windows: Windows) -> Vec<i64> {
    let Windows {
        closes,
        ends,
        claims_close,
        ..
    } = windows;
    let settles = ends + GRACE_MS;
    vec![
        closes + 20,
        closes + 450,
        settles + 20,
        settles + 300,
        settles + 700,
        settles + 1_300,
        claims_close + 20,
        claims_close + 400,
    ]
}

/// Gives everybody the coins they start with.
async fn grant(stage: &Stage<'_>, audience: &[Plan]) -> Result<()> {
    let mut grants = JoinSet::new();
    for plan in audience.iter().filter(|plan| plan.coins > 0) {
        let (api, operator) = (stage.api.clone(), stage.keys.operator.clone());
        let path = format!("/v1/sandbox/accounts/{}/grant", plan.user);
        let body = json!({ "amount": plan.coins, "grant_id": format!("{}-first", plan.user) });
        grants.spawn(async move {
            api.insist(Method::POST, &path, &operator, Some(&body))
                .await
        });
    }
    let all = grants.len();
    while let Some(done) = grants.join_next().await {
        done?.context("the viewers could not be given their coins")?;
        stage.progress.show(&format!(
            "granting coins: {} of {all} viewers",
            all - grants.len()
        ));
    }
    Ok(())
}

/// Creates the contest. A try without an answer may have created one that nobody plays: it ends
/// by itself, without winners.
async fn create(stage: &Stage<'_>, setup: &Setup, windows: Windows) -> Result<Value> {
    let body = setup.contest(windows)?;
    for _ in 0..100 {
        let answer = stage
            .api
            .send(
                Method::POST,
                "/v1/admin/contests",
                &stage.keys.operator,
                Some(&body),
            )
            .await;
        match answer.status {
            201 => return Ok(answer.body),
            _ if answer.is_open() => clock::pause(50).await,
            status => bail!("creating the contest was answered {status} {}", answer.body),
        }
    }
    bail!("the contest could not be created: no answer; look into the server's log")
}

async fn watch_to_the_end(
    stage: &Stage<'_>,
    setup: &Setup,
    game: &Game,
    mut viewers: JoinSet<Story>,
    seen: &watch::Sender<String>,
    secrets: &mut Watch,
) -> Result<Vec<Story>> {
    let Windows {
        closes,
        ends,
        claims_close,
        ..
    } = game.windows;
    let mut stories = Vec::new();
    let mut ticks = interval(Duration::from_millis(100));
    let mut cancelled = setup.scenario != Scenario::Cancel;
    let path = format!("/v1/contests/{}", game.contest);
    loop {
        tokio::select! {
            Some(story) = viewers.join_next() => stories.push(story.context("a viewer's task ended badly")?),
            _ = ticks.tick() => {
                let now = clock::now_ms();
                if !cancelled && now > closes + (ends - closes) / 2 {
                    cancelled = cancel(stage, &game.contest).await?;
                }
                let answer = stage.api.get(&path, &stage.keys.operator).await;
                if answer.status == 200 {
                    secrets.see(&answer.body);
                    see(stage, game, answer.text("phase"), seen, viewers.len()).await;
                }
                if now > claims_close.max(ends + GRACE_MS) + END_MAX_MS + (claims_close - ends) {
                    bail!("contest {} is still {} long after its end; look into the server's log", game.contest, answer.body);
                }
            }
        }
        if viewers.is_empty() && is_over(&seen.borrow()) {
            return Ok(stories);
        }
    }
}

/// True once the cancel was taken.
async fn cancel(stage: &Stage<'_>, contest: &str) -> Result<bool> {
    let path = format!("/v1/admin/contests/{contest}/cancel");
    let body = json!({});
    let answer = stage
        .api
        .send(Method::POST, &path, &stage.keys.operator, Some(&body))
        .await;
    match answer.status {
        202 => Ok(true),
        // The first try may have been taken without an answer.
        409 => Ok(true),
        _ if answer.is_open() => Ok(false),
        status => bail!("the cancel was answered {status} {}", answer.body),
    }
}

async fn see(
    stage: &Stage<'_>,
    game: &Game,
    phase: &str,
    seen: &watch::Sender<String>,
    playing: usize,
) {
    seen.send_if_modified(|before| {
        let new = before != phase;
        if new {
            phase.clone_into(before);
        }
        new
    });
    if let Some(server) = stage.server {
        server.see_phase(phase);
    }
    let pool = stage
        .api
        .get(
            &format!("/v1/contests/{}/pool", game.contest),
            &stage.keys.operator,
        )
        .await;
    let amount = pool.body.get("amount").and_then(Value::as_u64).unwrap_or(0);
    let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let (joined, finished, claimed) = (
        count(&game.joined),
        count(&game.finished),
        count(&game.claimed),
    );
    let kills = stage
        .server
        .map_or(0, |server| server.record().kill_count());
    let kills = if kills > 0 {
        format!(", {kills} kills")
    } else {
        String::new()
    };
    stage.progress.show(&format!(
        "{phase:<10} joined {joined}, finished {finished}, claimed {claimed}, pool {amount}, {playing} viewers at it{kills}"
    ));
}

/// Reads how everything ended and holds it against the model.
async fn judge(
    stage: &Stage<'_>,
    setup: &Setup,
    game: &Game,
    stories: &[Story],
    mut watch: Watch,
) -> Result<(Prizes, Vec<String>)> {
    stage
        .progress
        .show("comparing every viewer's coins with the model");
    let contest = game.contest.as_str();
    let path = format!("/v1/contests/{contest}");
    let found = stage
        .api
        .insist(Method::GET, &path, &stage.keys.operator, None)
        .await?;
    watch.see(&found);
    let promise = Promise {
        terms: game.terms,
        draw: watch.draw(contest, &found),
        rake_bps: setup.rake_bps(),
        guaranteed_pool: setup.guaranteed_pool(),
        cancelled: setup.scenario == Scenario::Cancel,
    };
    let ended = ended(stage, contest).await?;
    let balances = balances(stage, stories).await?;
    let mut faults = model::compare(&promise, stories, &ended, &balances);
    faults.extend(watch.faults());
    let prediction = model::predict(&promise, stories, &ended);
    let frozen = |field: &str| {
        found
            .pointer(&format!("/settlement/{field}"))
            .and_then(Value::as_u64)
    };
    let phase = found
        .get("phase")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if phase != prediction.phase {
        faults.push(format!(
            "the contest is {phase}, must be {}",
            prediction.phase
        ));
    }
    if phase == "closed" {
        let told = ["pool", "rake", "finishers", "weight_sum"].map(frozen);
        let must = [
            prediction.pool,
            prediction.rake,
            prediction.finishers,
            u64::try_from(prediction.weight_sum)?,
        ];
        if told != must.map(Some) {
            faults.push(format!(
                "pool, rake, finishers and weights are frozen as {told:?}, must be {must:?}"
            ));
        }
        faults.extend(sheet::check(stage, setup, contest, &found, &prediction).await?);
    }
    Ok((Prizes::of(&prediction), faults))
}

/// Every signup of the contest, by user.
pub(crate) async fn ended(stage: &Stage<'_>, contest: &str) -> Result<HashMap<String, Ended>> {
    let mut all = HashMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/admin/contests/{contest}/signups?limit=200{cursor}");
        let page = stage
            .api
            .insist(Method::GET, &path, &stage.keys.operator, None)
            .await?;
        for item in page
            .get("items")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let text = |field: &str| item.get(field).and_then(Value::as_str).map(str::to_owned);
            let end = Ended {
                signup_id: text("signup_id").unwrap_or_default(),
                state: text("state").unwrap_or_default(),
                fee: item.get("fee").and_then(Value::as_u64).unwrap_or(0),
                weight: item.get("weight").and_then(Value::as_u64),
                prize: item.get("prize").and_then(Value::as_u64),
                claim_order_id: text("claim_order_id"),
            };
            all.insert(text("user_id").unwrap_or_default(), end);
        }
        match page.get("next_cursor").and_then(Value::as_str) {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(all),
        }
    }
}

/// Everybody's coins. Who was never granted any has no account, and none.
async fn balances(stage: &Stage<'_>, stories: &[Story]) -> Result<HashMap<String, u64>> {
    let mut reads = JoinSet::new();
    for story in stories {
        let (api, operator, user) = (
            stage.api.clone(),
            stage.keys.operator.clone(),
            story.user.clone(),
        );
        let granted = story.granted;
        reads.spawn(async move {
            let path = format!("/v1/sandbox/accounts/{user}");
            if granted == 0 && api.get(&path, &operator).await.status == 404 {
                return Ok((user, 0));
            }
            let body = api.insist(Method::GET, &path, &operator, None).await?;
            let balance = body
                .get("balance")
                .and_then(Value::as_u64)
                .context("an account without a balance")?;
            Ok::<_, anyhow::Error>((user, balance))
        });
    }
    let mut balances = HashMap::with_capacity(stories.len());
    while let Some(read) = reads.join_next().await {
        let (user, balance) = read??;
        balances.insert(user, balance);
    }
    Ok(balances)
}
