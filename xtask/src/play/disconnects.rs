//! The scenario `disconnects`: clients break off in the middle of every call that moves money. Two
//! in three then repeat it properly, the others never do; in the end every coin must be accounted
//! for, and nobody charged, paid or granted anything twice.

use super::{
    cut::{Place, cut},
    model::Ended,
    plan::{FEE, Setup, TARGET, Windows},
    run::{Played, Prizes, Stage, ended},
};
use crate::{clock, rng::Rng, wire::Wire};
use anyhow::{Context, Result, bail};
use hyper::Method;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Clients at a time.
const AT_ONCE: usize = 32;
/// What everybody is granted.
const PURSE: u64 = FEE * 3;
/// What the house lays into each contest that is created to be cancelled.
const GUARANTEE: u64 = 50;
/// How far ahead these contests lie: none of them opens before it is cancelled.
const AHEAD_MS: i64 = 3_600_000;
/// The longest that cancelling them may take, and the end of the contest that is played.
const END_MAX_MS: i64 = 120_000;

/// A call that is broken off, and perhaps repeated.
struct Call {
    method: Method,
    path: String,
    token: String,
    body: Option<Value>,
    /// Sent as Idempotency-Key where the path alone does not say which one it is.
    key: Option<String>,
}

/// What became of each call, in their order: the answer to those that were repeated.
type Answers = Vec<Option<Value>>;

/// Plays it; the checker reads the tables afterwards.
pub(crate) async fn play(stage: &Stage<'_>, setup: &Setup) -> Result<Played> {
    let mut rng = Rng::new(setup.seed);
    let times = usize::try_from(setup.times)?;
    // Twice as many: some never get their coins, and some of those never sign up.
    let users: Vec<String> = (0..setup.times * 2)
        .map(|number| format!("{}-{number}", setup.run))
        .collect();
    let mut faults = Vec::new();
    let granted = broken(
        stage,
        &mut rng,
        "grant",
        (grants(stage, &users), users.len()),
    )
    .await?;
    contests(stage, setup, &mut rng, &mut faults).await?;

    let windows = setup.windows(clock::now_ms());
    let body = setup.contest(windows)?;
    let operator = &stage.keys.operator;
    let made = stage
        .api
        .insist(Method::POST, "/v1/admin/contests", operator, Some(&body))
        .await?;
    let contest = text(&made, "contest_id").context("a contest without an id")?;
    (stage.announce)(&contest);
    clock::until(windows.opens + 20).await;
    let able: Vec<&String> = users
        .iter()
        .zip(&granted)
        .filter(|(_, granted)| granted.is_some())
        .map(|(user, _)| user)
        .collect();
    let path = format!("/v1/contests/{contest}/signup");
    let signups = broken(
        stage,
        &mut rng,
        "signup",
        (puts(stage, &able, &path)?, times),
    )
    .await?;
    if clock::now_ms() >= windows.closes {
        bail!("the signups took longer than their window; give it a longer --window");
    }
    finish(stage, setup, &able).await?;
    wait_for(stage, &contest, "claimable", windows).await?;
    let rows = ended(stage, &contest).await?;
    let winners: Vec<&String> = able
        .iter()
        .copied()
        .filter(|user| rows.get(*user).is_some_and(|row| row.state == "completed"))
        .collect();
    let path = format!("/v1/contests/{contest}/claim");
    let claims = broken(
        stage,
        &mut rng,
        "claim",
        (puts(stage, &winners, &path)?, times),
    )
    .await?;
    let claimed = ended(stage, &contest).await?;
    went_through("claim", &winners, &claims, |user| {
        claimed.get(user).is_some_and(|row| row.state == "shared")
    });
    wait_for(stage, &contest, "closed", windows).await?;
    let rows = ended(stage, &contest).await?;
    went_through("signup", &able, &signups, |user| {
        rows.get(user).is_some_and(is_paid)
    });
    faults.extend(same("signup", &able, &signups, &rows));
    faults.extend(same("claim", &winners, &claims, &rows));
    faults.extend(judge(stage, setup, windows, (&users, &granted), &rows).await?);
    let count = |state: fn(&Ended) -> bool| rows.values().filter(|row| state(row)).count() as u64;
    Ok(Played {
        contest,
        phase: "closed".to_owned(),
        joined: count(is_paid),
        finished: winners.len() as u64,
        claimed: claims.iter().flatten().count() as u64,
        prizes: Prizes::default(),
        faults,
    })
}

fn text(value: &Value, field: &str) -> Option<String> {
    value.get(field).and_then(Value::as_str).map(str::to_owned)
}

fn is_paid(row: &Ended) -> bool {
    !matches!(row.state.as_str(), "initialized" | "expired")
}

fn grants(stage: &Stage<'_>, users: &[String]) -> Vec<Call> {
    let call = |user: &String| Call {
        method: Method::POST,
        path: format!("/v1/sandbox/accounts/{user}/grant"),
        token: stage.keys.operator.clone(),
        body: Some(json!({ "amount": PURSE, "grant_id": format!("{user}-cut") })),
        key: None,
    };
    users.iter().map(call).collect()
}

fn puts(stage: &Stage<'_>, users: &[&String], path: &str) -> Result<Vec<Call>> {
    let call = |user: &&String| {
        Ok(Call {
            method: Method::PUT,
            path: path.to_owned(),
            token: stage.keys.signer.token(user, "player")?,
            body: None,
            key: None,
        })
    };
    users.iter().map(call).collect()
}

/// Breaks the first `cut_max` of these off once, a few of them twice; two in three are then repeated
/// until they are answered with success. The others are sent properly from the start.
async fn broken(
    stage: &Stage<'_>,
    rng: &mut Rng,
    what: &str,
    (calls, cut_max): (Vec<Call>, usize),
) -> Result<Answers> {
    let address: Arc<str> = stage.api.base().trim_start_matches("http://").into();
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut sent = JoinSet::new();
    let mut places = [0; 4];
    let all = calls.len();
    for (number, call) in calls.into_iter().enumerate() {
        let body = call.body.as_ref().map(Value::to_string).unwrap_or_default();
        let method = call.method.as_str();
        let request = match &call.key {
            Some(key) => Wire::keyed(method, &call.path, &call.token, &body, key),
            None => Wire::request(method, &call.path, &call.token, &body),
        };
        let times = if number < cut_max {
            1 + usize::from(rng.chance(10))
        } else {
            0
        };
        let cuts: Vec<(Place, bool)> = (0..times)
            .map(|_| (Place::any(rng, request.len()), rng.chance(50)))
            .collect();
        cuts.iter().for_each(|(place, _)| places[place.kind()] += 1);
        let again = cuts.is_empty() || rng.chance(67);
        let (address, slots, api) = (address.clone(), slots.clone(), stage.api.clone());
        sent.spawn(async move {
            // Closed never: it lives as long as the calls.
            let _slot = slots.acquire().await;
            for (place, reset) in cuts {
                cut(&address, &request, place, reset).await?;
            }
            let answer = match again {
                true => Some(
                    api.insist_keyed(
                        call.method,
                        &call.path,
                        &call.token,
                        call.body.as_ref(),
                        call.key.as_deref(),
                    )
                    .await?,
                ),
                false => None,
            };
            Ok::<_, anyhow::Error>((number, answer))
        });
    }
    let mut answers = vec![None; all];
    while let Some(done) = sent.join_next().await {
        let (number, answer) = done?.with_context(|| format!("repeating a {what}"))?;
        answers[number] = answer;
        let left = sent.len();
        let progress = format!("{what}: {} of {all} broken off", all - left);
        stage.progress.show(&progress);
    }
    let cut = all.min(cut_max);
    let repeated = answers.iter().take(cut).flatten().count();
    let places: Vec<String> = Place::NAMES
        .iter()
        .zip(places)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    println!(
        "{cut} × {what} broken off ({}), {repeated} repeated; {} not broken off",
        places.join(", "),
        all - cut
    );
    Ok(answers)
}

/// Says what became of those that were never repeated.
fn went_through(what: &str, users: &[&String], answers: &Answers, is_done: impl Fn(&str) -> bool) {
    let silent: Vec<_> = users
        .iter()
        .zip(answers)
        .filter(|(_, answer)| answer.is_none())
        .collect();
    let done = silent.iter().filter(|(user, _)| is_done(user)).count();
    println!(
        "of {} × {what} that was never repeated {done} went through",
        silent.len()
    );
}

/// What was answered to a repeat is what is there in the end.
fn same(
    what: &str,
    users: &[&String],
    answers: &Answers,
    rows: &HashMap<String, Ended>,
) -> Vec<String> {
    let mut faults = Vec::new();
    for (user, answer) in users.iter().zip(answers) {
        let Some(answer) = answer else { continue };
        let row = rows.get(*user);
        let kept = row.is_some_and(|row| {
            let order = text(answer, "claim_order_id");
            Some(&row.signup_id) == text(answer, "signup_id").as_ref()
                && is_paid(row)
                && (what != "claim" || (order.is_some() && order == row.claim_order_id))
        });
        if !kept {
            faults.push(format!(
                "{user} repeated the {what} and was answered {answer}, it is {row:?}"
            ));
        }
    }
    faults
}

/// Creations and cancels: each contest exists once at most, and all of them end as cancelled.
async fn contests(
    stage: &Stage<'_>,
    setup: &Setup,
    rng: &mut Rng,
    faults: &mut Vec<String>,
) -> Result<()> {
    let operator = stage.keys.operator.clone();
    let room = format!("cut-{}", setup.run);
    let times = usize::try_from(setup.times)?;
    // A few more: not every creation that is cut goes through.
    let all = times + times / 5;
    let windows = setup.windows(clock::now_ms() + AHEAD_MS);
    let mut creations = Vec::new();
    for number in 0..all {
        let mut body = setup.contest(windows)?;
        body["room_id"] = json!(room);
        body["title"] = json!(format!("cut {number}"));
        body["guaranteed_pool"] = json!(GUARANTEE);
        creations.push(Call {
            method: Method::POST,
            path: "/v1/admin/contests".to_owned(),
            token: operator.clone(),
            body: Some(body),
            key: Some(format!("{room}-{number}")),
        });
    }
    let made = broken(stage, rng, "creation", (creations, all)).await?;
    let there = listed(stage, &room).await?;
    let titles: Vec<String> = (0..all).map(|number| format!("cut {number}")).collect();
    let titles: Vec<&String> = titles.iter().collect();
    for (title, made) in titles.iter().zip(&made) {
        let ids = there.get(*title).map_or(&[][..], Vec::as_slice);
        let told = made.as_ref().and_then(|made| text(made, "contest_id"));
        let kept = told.as_ref().is_none_or(|told| ids == [told.clone()]);
        if ids.len() > 1 || !kept {
            faults.push(format!(
                "{title} was answered {told:?} and is there as {ids:?}"
            ));
        }
    }
    went_through("creation", &titles, &made, |title| {
        there.contains_key(title)
    });
    let ids: Vec<String> = there.into_values().flatten().collect();
    let cancel = |id: &String| Call {
        method: Method::POST,
        path: format!("/v1/admin/contests/{id}/cancel"),
        token: operator.clone(),
        body: Some(json!({})),
        key: None,
    };
    let cancelled = broken(
        stage,
        rng,
        "cancel",
        (ids.iter().map(cancel).collect(), times),
    )
    .await?;
    let ids: Vec<&String> = ids.iter().collect();
    let mut ends = HashMap::new();
    for id in &ids {
        let path = format!("/v1/contests/{id}");
        let found = stage
            .api
            .insist(Method::GET, &path, &operator, None)
            .await?;
        ends.insert((*id).clone(), text(&found, "phase").unwrap_or_default());
    }
    let is_ending = |id: &str| {
        let phase = ends.get(id).map(String::as_str);
        matches!(phase, Some("cancelling" | "cancelled"))
    };
    went_through("cancel", &ids, &cancelled, is_ending);
    for id in &ids {
        let call = cancel(id);
        stage
            .api
            .insist_keyed(
                call.method,
                &call.path,
                &call.token,
                call.body.as_ref(),
                None,
            )
            .await?;
    }
    let until = clock::now_ms() + END_MAX_MS;
    for id in ids {
        let path = format!("/v1/contests/{id}");
        loop {
            let answer = stage.api.get(&path, &operator).await;
            if answer.text("phase") == "cancelled" {
                break;
            }
            if clock::now_ms() > until {
                bail!(
                    "contest {id} is still {} long after its cancel",
                    answer.body
                );
            }
            clock::pause(20).await;
        }
    }
    Ok(())
}

/// The contests of a room, by title.
async fn listed(stage: &Stage<'_>, room: &str) -> Result<BTreeMap<String, Vec<String>>> {
    let mut there: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut cursor = String::new();
    loop {
        let path = format!("/v1/contests?room_id={room}&limit=200{cursor}");
        let operator = &stage.keys.operator;
        let page = stage.api.insist(Method::GET, &path, operator, None).await?;
        let items = page.get("items").and_then(Value::as_array);
        for item in items.into_iter().flatten() {
            let title = text(item, "title").unwrap_or_default();
            let id = text(item, "contest_id").unwrap_or_default();
            there.entry(title).or_default().push(id);
        }
        match text(&page, "next_cursor") {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(there),
        }
    }
}

/// Everybody does the task, whoever turns out to have paid.
async fn finish(stage: &Stage<'_>, setup: &Setup, users: &[&String]) -> Result<()> {
    let occurred_at = clock::rfc3339(clock::now_ms())?;
    for batch in users.chunks(1_000) {
        let events: Vec<Value> = batch
            .iter()
            .map(|user| {
                json!({ "event_id": format!("{user}-task"), "user_id": user,
                        "room_id": format!("room-{}", setup.run), "kind": "open_chest",
                        "quantity": TARGET, "occurred_at": occurred_at })
            })
            .collect();
        let (path, service) = ("/v1/task-events", &stage.keys.service);
        let body = Value::Array(events);
        stage
            .api
            .insist(Method::POST, path, service, Some(&body))
            .await?;
    }
    Ok(())
}

async fn wait_for(stage: &Stage<'_>, contest: &str, phase: &str, windows: Windows) -> Result<()> {
    let path = format!("/v1/contests/{contest}");
    while clock::now_ms() < windows.claims_close + END_MAX_MS {
        let answer = stage.api.get(&path, &stage.keys.operator).await;
        let seen = answer.text("phase");
        stage.progress.show(&format!("{seen} until {phase}"));
        if seen == phase {
            return Ok(());
        }
        clock::pause(50).await;
    }
    bail!("contest {contest} did not become {phase} in time; look into the server's log")
}

/// Everybody's coins: what was granted, once or not at all, less the fee, with the prize; and each
/// prize as it must be.
async fn judge(
    stage: &Stage<'_>,
    setup: &Setup,
    windows: Windows,
    (users, granted): (&[String], &Answers),
    rows: &HashMap<String, Ended>,
) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    let mut winners: Vec<(&String, &String)> = rows
        .iter()
        .filter(|(_, row)| row.state == "shared")
        .map(|(user, row)| (&row.signup_id, user))
        .collect();
    winners.sort_unstable();
    let pool = FEE * rows.values().filter(|row| is_paid(row)).count() as u64;
    let parts = setup.terms(windows).prizes(pool, &vec![1; winners.len()]);
    let prizes: HashMap<&String, u64> = winners
        .into_iter()
        .zip(parts)
        .map(|((_, user), (_, prize))| (user, prize))
        .collect();
    for (user, granted) in users.iter().zip(granted) {
        let row = rows.get(user);
        let prize = prizes.get(user).copied();
        if row.and_then(|row| row.prize) != prize {
            faults.push(format!("{user} must have prize {prize:?}, is {row:?}"));
        }
        if row.is_some_and(|row| !matches!(row.state.as_str(), "shared" | "missed" | "expired")) {
            faults.push(format!("{user} is left as {row:?}"));
        }
        let spent = if row.is_some_and(is_paid) { FEE } else { 0 };
        let path = format!("/v1/sandbox/accounts/{user}");
        let answer = stage.api.get(&path, &stage.keys.operator).await;
        let held = answer
            .body
            .get("balance")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        let must = PURSE + prize.unwrap_or(0) - spent;
        let never = granted.is_none() && row.is_none() && held == 0;
        if held != must && !never {
            faults.push(format!(
                "{user} holds {held} coins, must hold {must}: {row:?}"
            ));
        }
    }
    Ok(faults)
}
