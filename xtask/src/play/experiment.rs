//! The scenario `experiment`: several contests of one room under two experiments, one by contest (fee and
//! target) and one by viewer (what is shown). Everybody's steps are counted here, from nothing but what was
//! asked and answered; at the end the counts must be the service's results, to the coin.

use super::{
    plan::{FEE, GRACE_MS, Scenario, Setup, TARGET, Windows},
    run::{Played, Prizes, Stage},
};
use crate::{clock, rng::Rng};
use anyhow::{Context, Result, bail};
use hyper::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinSet;

/// The fewest and the most contests: as many until there are some of both variants.
const CONTESTS: (usize, usize) = (6, 40);
/// Viewers who act at once: fewer than the service records at once beside its answers.
const WORKERS: usize = 24;
/// How long a node may take to hear of an experiment.
const IN_FORCE_MS: u64 = 1_200;
/// How long after the last window everything may take.
const END_MAX_MS: i64 = 60_000;
/// The fee and the target of the second variant.
const CHEAP: (u64, u64) = (5, 1);

/// A funnel, in the words of the results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Funnel {
    exposed: u64,
    signed_up: u64,
    paid: u64,
    finished: u64,
    claimed: u64,
    refunded: u64,
    charge_failed: u64,
    coins_in: u64,
    coins_out: u64,
}

impl Funnel {
    fn add(&mut self, other: &Self) {
        self.exposed += other.exposed;
        self.signed_up += other.signed_up;
        self.paid += other.paid;
        self.finished += other.finished;
        self.claimed += other.claimed;
        self.refunded += other.refunded;
        self.charge_failed += other.charge_failed;
        self.coins_in += other.coins_in;
        self.coins_out += other.coins_out;
    }

    /// As the service tells it.
    fn told(arm: &Value) -> Self {
        let number = |field: &str| arm.get(field).and_then(Value::as_u64).unwrap_or(u64::MAX);
        Self {
            exposed: number("exposed"),
            signed_up: number("signed_up"),
            paid: number("paid"),
            finished: number("finished"),
            claimed: number("claimed"),
            refunded: number("refunded"),
            charge_failed: number("charge_failed"),
            coins_in: number("coins_in"),
            coins_out: number("coins_out"),
        }
    }
}

/// A contest as it was made.
#[derive(Clone, Debug)]
struct Made {
    id: String,
    /// Its variant.
    variant: String,
    fee: u64,
    target: u64,
    is_cancelled: bool,
}

/// What a viewer does in a contest.
#[derive(Clone, Debug)]
struct Act {
    contest: usize,
    user: String,
    signs_up: bool,
    /// How much the viewer does, in whichever contests of the room.
    does: u64,
    claims: bool,
}

/// What became of it.
#[derive(Clone, Debug)]
struct Acted {
    act: Act,
    /// The variant of the viewer's experiment.
    colour: String,
    has_asked: bool,
    has_paid: bool,
    prize: Option<u64>,
}

impl Acted {
    fn finishes(&self, contest: &Made) -> bool {
        self.has_paid && self.act.does >= contest.target
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// Plays it.
pub(crate) async fn play(stage: &Stage<'_>, setup: &Setup) -> Result<Played> {
    let names = [
        format!("fee_{}", setup.run),
        format!("colour_{}", setup.run),
    ];
    start(stage, setup, &names).await?;
    clock::pause(IN_FORCE_MS).await;
    let normal = Setup {
        scenario: Scenario::Normal,
        ..setup.clone()
    };
    let windows = normal.windows(clock::now_ms());
    let contests = create(stage, &normal, windows, &names[0]).await?;
    (stage.announce)(&contests[0].id);
    let mut rng = Rng::new(setup.seed);
    let users: Vec<_> = (0..setup.viewers.max(2))
        .map(|number| {
            let does = [0, CHEAP.1, TARGET, TARGET][usize::try_from(rng.next() % 4).unwrap_or(0)];
            (format!("{}-{number}", setup.run), rng.chance(92), does)
        })
        .collect();
    for (user, has_coins, _) in &users {
        let coins = if *has_coins {
            FEE * contests.len() as u64
        } else {
            1
        };
        let path = format!("/v1/sandbox/accounts/{user}/grant");
        let body = json!({ "amount": coins, "grant_id": format!("{user}-first") });
        let operator = &stage.keys.operator;
        stage
            .api
            .insist(Method::POST, &path, operator, Some(&body))
            .await?;
    }
    let mut acts = Vec::new();
    for contest in 0..contests.len() {
        for (user, _, does) in &users {
            if rng.chance(70) {
                acts.push(Act {
                    contest,
                    user: user.clone(),
                    signs_up: rng.chance(75),
                    does: *does,
                    claims: rng.chance(80),
                });
            }
        }
    }
    clock::until(windows.opens + 20).await;
    let mut acted = act(stage, &contests, acts, &names).await?;
    tell(stage, setup, &users).await?;
    for contest in contests.iter().filter(|one| one.is_cancelled) {
        let path = format!("/v1/admin/contests/{}/cancel", contest.id);
        let operator = &stage.keys.operator;
        stage
            .api
            .insist_keyed(Method::POST, &path, operator, None, None)
            .await?;
    }
    for contest in contests.iter().filter(|one| !one.is_cancelled) {
        let until = windows.ends + GRACE_MS + END_MAX_MS;
        wait_for(
            stage,
            &contest.id,
            &["claimable", "closed", "cancelling", "cancelled"],
            until,
        )
        .await?;
    }
    claim(stage, &contests, &mut acted).await?;
    for contest in &contests {
        let until = windows.claims_close + END_MAX_MS;
        wait_for(stage, &contest.id, &["closed", "cancelled"], until).await?;
    }
    let counted = count(&contests, &acted);
    let mut faults = compare(stage, &names, &counted).await?;
    faults.extend(compare_reports(stage, &contests, &names, &counted).await?);
    let sum = counted.total();
    Ok(Played {
        contest: contests[0].id.clone(),
        phase: "closed".to_owned(),
        joined: sum.paid,
        finished: sum.finished,
        claimed: sum.claimed,
        prizes: Prizes::default(),
        faults,
    })
}

async fn start(stage: &Stage<'_>, setup: &Setup, names: &[String; 2]) -> Result<()> {
    let room = format!("room-{}", setup.run);
    let ends_at = clock::rfc3339(clock::now_ms() + 3_600_000)?;
    let definition = |unit: &str, variants: Value| {
        json!({
            "hypothesis": "a lower fee brings more viewers", "unit": unit, "variants": variants, "rooms": [room],
            "ends_at": ends_at, "primary_metric": "paid", "planned_units": 1_000,
        })
    };
    let (fee, target) = CHEAP;
    let of_contests = json!([
        { "name": "control", "share_bps": 5_000 },
        { "name": "cheap", "share_bps": 5_000, "fee": fee, "task_target": target },
    ]);
    let of_viewers = json!([
        { "name": "plain", "share_bps": 5_000 },
        { "name": "gold", "share_bps": 5_000, "display": { "button": "gold" } },
    ]);
    let operator = &stage.keys.operator;
    let both = [
        definition("contest", of_contests),
        definition("user", of_viewers),
    ];
    for (name, definition) in names.iter().zip(both) {
        let body = json!({ "name": name, "definition": definition });
        stage
            .api
            .insist(Method::POST, "/v1/admin/experiments", operator, Some(&body))
            .await?;
        let path = format!("/v1/admin/experiments/{name}/start");
        let body = json!({ "ramp_bps": 10_000, "reason": "to be played" });
        stage
            .api
            .insist(Method::POST, &path, operator, Some(&body))
            .await?;
    }
    Ok(())
}

async fn create(
    stage: &Stage<'_>,
    setup: &Setup,
    windows: Windows,
    name: &str,
) -> Result<Vec<Made>> {
    let mut body = setup.contest(windows)?;
    // What nobody claims stays unclaimed.
    body["unclaimed"] = json!("platform");
    let mut contests: Vec<Made> = Vec::new();
    let (least, most) = CONTESTS;
    while contests.len() < most {
        let operator = &stage.keys.operator;
        let made = stage
            .api
            .insist(Method::POST, "/v1/admin/contests", operator, Some(&body))
            .await?;
        let variant = text(&made, "variant").strip_prefix(&format!("{name}:"));
        contests.push(Made {
            id: text(&made, "contest_id").to_owned(),
            variant: variant.context("a contest without a variant")?.to_owned(),
            fee: made
                .get("fee")
                .and_then(Value::as_u64)
                .context("a contest without a fee")?,
            target: made
                .pointer("/task/target")
                .and_then(Value::as_u64)
                .context("a contest without a target")?,
            is_cancelled: contests.len() == 1,
        });
        let variants: BTreeSet<_> = contests.iter().map(|one| &one.variant).collect();
        if contests.len() >= least && variants.len() == 2 {
            return Ok(contests);
        }
    }
    bail!("{most} contests, and all of one variant")
}

/// Everybody looks, some sign up, some of them finish.
async fn act(
    stage: &Stage<'_>,
    contests: &[Made],
    acts: Vec<Act>,
    names: &[String; 2],
) -> Result<Vec<Acted>> {
    let mut workers = JoinSet::new();
    for worker in 0..WORKERS {
        let mine: Vec<_> = acts.iter().skip(worker).step_by(WORKERS).cloned().collect();
        let (api, keys) = (stage.api.clone(), stage.keys.clone());
        let (contests, names) = (contests.to_vec(), names.clone());
        workers.spawn(async move {
            let mut acted = Vec::new();
            for act in mine {
                let contest = &contests[act.contest];
                let token = keys.signer.token(&act.user, "player")?;
                let path = format!("/v1/contests/{}", contest.id);
                let seen = api.insist(Method::GET, &path, &token, None).await?;
                let met: BTreeMap<&str, &str> = seen
                    .get("experiments")
                    .and_then(Value::as_array)
                    .into_iter()
                    .flatten()
                    .map(|one| (text(one, "experiment"), text(one, "variant")))
                    .collect();
                if met.get(names[0].as_str()) != Some(&contest.variant.as_str()) {
                    bail!(
                        "{} met {met:?} in a contest that is {}",
                        act.user,
                        contest.variant
                    );
                }
                let colour = met
                    .get(names[1].as_str())
                    .copied()
                    .unwrap_or_default()
                    .to_owned();
                let mut one = Acted {
                    act,
                    colour,
                    has_asked: false,
                    has_paid: false,
                    prize: None,
                };
                if one.act.signs_up {
                    one.has_asked = true;
                    one.has_paid = sign_up(&api, &token, contest).await?;
                }
                acted.push(one);
            }
            Ok::<_, anyhow::Error>(acted)
        });
    }
    let mut acted = Vec::new();
    while let Some(worker) = workers.join_next().await {
        acted.extend(worker??);
    }
    Ok(acted)
}

/// What everybody did, once they have signed up: it counts in all contests of the room.
async fn tell(stage: &Stage<'_>, setup: &Setup, users: &[(String, bool, u64)]) -> Result<()> {
    let occurred_at = clock::rfc3339(clock::now_ms())?;
    let events = users.iter().filter(|(.., does)| *does > 0).map(|(user, _, does)| {
        json!({
            "event_id": format!("{user}-does"), "user_id": user, "room_id": format!("room-{}", setup.run),
            "kind": "open_chest", "quantity": does, "occurred_at": occurred_at,
        })
    });
    let events: Vec<_> = events.collect();
    for batch in events.chunks(500) {
        let (path, service) = ("/v1/task-events", &stage.keys.service);
        stage
            .api
            .insist(Method::POST, path, service, Some(&json!(batch)))
            .await?;
    }
    Ok(())
}

/// True if the fee was paid, false if the viewer has too few coins.
async fn sign_up(api: &crate::api::Api, token: &str, contest: &Made) -> Result<bool> {
    let path = format!("/v1/contests/{}/signup", contest.id);
    for round in 0..60 {
        let answer = api.send(Method::PUT, &path, token, None).await;
        match answer.status {
            200 if answer.body.get("fee").and_then(Value::as_u64) == Some(contest.fee) => {
                return Ok(true);
            }
            402 => return Ok(false),
            _ if answer.is_open() => clock::pause(50 + round * 10).await,
            status => bail!("a signup was answered {status} {}", answer.body),
        }
    }
    bail!("a signup was never answered")
}

/// Finishers who claim do so, in contests whose prizes can be claimed.
async fn claim(stage: &Stage<'_>, contests: &[Made], acted: &mut [Acted]) -> Result<()> {
    for one in acted {
        let contest = &contests[one.act.contest];
        let claims = one.finishes(contest) && one.act.claims && !contest.is_cancelled;
        if !claims {
            continue;
        }
        let token = stage.keys.signer.token(&one.act.user, "player")?;
        let path = format!("/v1/contests/{}/claim", contest.id);
        let claimed = stage.api.insist(Method::PUT, &path, &token, None).await?;
        one.prize = claimed.get("prize").and_then(Value::as_u64);
    }
    Ok(())
}

/// What was counted: by contest, and by the colour that viewers saw.
struct Counted {
    by_contest: BTreeMap<(String, String), Funnel>,
    by_colour: BTreeMap<String, Funnel>,
    /// The units of each arm of both experiments.
    units: [BTreeMap<String, BTreeSet<String>>; 2],
}

impl Counted {
    fn total(&self) -> Funnel {
        let mut sum = Funnel::default();
        self.by_contest.values().for_each(|one| sum.add(one));
        sum
    }

    /// The funnels of the arms of the experiments, by their places in `names`.
    fn arms(&self, place: usize) -> BTreeMap<String, Funnel> {
        if place == 1 {
            return self.by_colour.clone();
        }
        let mut arms: BTreeMap<String, Funnel> = BTreeMap::new();
        for ((_, variant), funnel) in &self.by_contest {
            arms.entry(variant.clone()).or_default().add(funnel);
        }
        arms
    }
}

fn count(contests: &[Made], acted: &[Acted]) -> Counted {
    let mut counted = Counted {
        by_contest: BTreeMap::new(),
        by_colour: BTreeMap::new(),
        units: [BTreeMap::new(), BTreeMap::new()],
    };
    for (place, contest) in contests.iter().enumerate() {
        let here = || acted.iter().filter(move |one| one.act.contest == place);
        // Without anybody who finished every fee goes back.
        let is_back = contest.is_cancelled || !here().any(|one| one.finishes(contest));
        let contest_units = counted.units[0].entry(contest.variant.clone()).or_default();
        contest_units.insert(contest.id.clone());
        let key = (contest.id.clone(), contest.variant.clone());
        counted.by_contest.entry(key.clone()).or_default();
        for one in here() {
            let is_finished = one.finishes(contest) && !is_back;
            let funnel = Funnel {
                exposed: 1,
                signed_up: u64::from(one.has_asked),
                paid: u64::from(one.has_paid),
                finished: u64::from(is_finished),
                claimed: u64::from(is_finished && one.prize.is_some()),
                refunded: u64::from(one.has_paid && is_back),
                charge_failed: u64::from(one.has_asked && !one.has_paid),
                coins_in: if one.has_paid && !is_back {
                    contest.fee
                } else {
                    0
                },
                coins_out: one.prize.unwrap_or(0),
            };
            counted
                .by_contest
                .entry(key.clone())
                .or_default()
                .add(&funnel);
            counted
                .by_colour
                .entry(one.colour.clone())
                .or_default()
                .add(&funnel);
            let viewers = counted.units[1].entry(one.colour.clone()).or_default();
            viewers.insert(one.act.user.clone());
        }
    }
    counted
}

/// Holds the results of both experiments against what was counted.
async fn compare(stage: &Stage<'_>, names: &[String; 2], counted: &Counted) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let path = format!("/v1/admin/experiments/{name}/results");
        let operator = &stage.keys.operator;
        let results = stage.api.insist(Method::GET, &path, operator, None).await?;
        let arms = results
            .get("arms")
            .and_then(Value::as_array)
            .context("results without arms")?;
        let mut wanted = counted.arms(place);
        for arm in arms {
            let variant = text(arm, "variant");
            let (told, own) = (
                Funnel::told(arm),
                wanted.remove(variant).unwrap_or_default(),
            );
            let units = counted.units[place].get(variant).map_or(0, BTreeSet::len);
            println!("{name} {variant}: {units} units, {own:?}");
            if told != own {
                faults.push(format!("{name} {variant}: told {told:?}, counted {own:?}"));
            }
            if arm.get("units").and_then(Value::as_u64) != Some(units as u64) {
                faults.push(format!(
                    "{name} {variant}: {units} units were counted, told {arm}"
                ));
            }
        }
        faults.extend(
            wanted
                .keys()
                .map(|variant| format!("{name} {variant}: is not told")),
        );
        if results.get("crossed_units") != Some(&json!(0)) {
            faults.push(format!(
                "{name}: {} units of several variants",
                results["crossed_units"]
            ));
        }
    }
    Ok(faults)
}

/// Holds the funnel by variant of each contest's report against what was counted.
async fn compare_reports(
    stage: &Stage<'_>,
    contests: &[Made],
    names: &[String; 2],
    counted: &Counted,
) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for contest in contests {
        let path = format!("/v1/admin/contests/{}/report", contest.id);
        let operator = &stage.keys.operator;
        let report = stage.api.insist(Method::GET, &path, operator, None).await?;
        let variants = report
            .get("variants")
            .and_then(Value::as_array)
            .context("a report without variants")?;
        let of = |place: usize| {
            variants
                .iter()
                .filter(move |one| text(one, "experiment") == names[place])
        };
        let key = (contest.id.clone(), contest.variant.clone());
        let own = counted.by_contest.get(&key).copied().unwrap_or_default();
        let told: Vec<_> = of(0)
            .map(|one| (text(one, "variant"), Funnel::told(one)))
            .collect();
        if told != [(contest.variant.as_str(), own)] {
            faults.push(format!(
                "contest {}: told {told:?}, counted {own:?}",
                contest.id
            ));
        }
        let mut sum = Funnel::default();
        of(1).for_each(|one| sum.add(&Funnel::told(one)));
        if sum != own {
            faults.push(format!(
                "contest {}: by viewer {sum:?}, counted {own:?}",
                contest.id
            ));
        }
    }
    Ok(faults)
}

async fn wait_for(stage: &Stage<'_>, contest: &str, phases: &[&str], until: i64) -> Result<()> {
    let path = format!("/v1/contests/{contest}");
    while clock::now_ms() < until {
        let answer = stage.api.get(&path, &stage.keys.operator).await;
        stage
            .progress
            .show(&format!("{} until {}", answer.text("phase"), phases[0]));
        if phases.contains(&answer.text("phase")) {
            return Ok(());
        }
        clock::pause(50).await;
    }
    bail!(
        "contest {contest} did not become {} in time; look into the server's log",
        phases[0]
    )
}
