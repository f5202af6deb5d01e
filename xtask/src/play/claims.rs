//! The scenario `claims`: 1,000 concurrent claims by one viewer, and 200 viewers with five
//! concurrent signups each.

use super::{
    plan::{FEE, GRACE_MS, Scenario, Setup, TARGET},
    run::{Played, Prizes, Stage, ended},
};
use crate::{api::Answer, clock};
use anyhow::{Context, Result, bail};
use hyper::Method;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use tokio::task::JoinSet;

/// How often one viewer claims.
const CLAIMS: usize = 1_000;
/// How often each viewer signs up.
const SIGNUPS: usize = 5;

/// Plays it; the checker counts rows and charges afterwards.
pub(crate) async fn play(stage: &Stage<'_>, setup: &Setup) -> Result<Played> {
    let users: Vec<String> = (0..setup.viewers.max(1))
        .map(|number| format!("{}-{number}", setup.run))
        .collect();
    for user in &users {
        let path = format!("/v1/sandbox/accounts/{user}/grant");
        let body = json!({ "amount": FEE * 2, "grant_id": format!("{user}-first") });
        stage
            .api
            .insist(Method::POST, &path, &stage.keys.operator, Some(&body))
            .await?;
    }
    let normal = Setup {
        scenario: Scenario::Normal,
        ..setup.clone()
    };
    let windows = normal.windows(clock::now_ms());
    let body = normal.contest(windows)?;
    let made = stage
        .api
        .insist(
            Method::POST,
            "/v1/admin/contests",
            &stage.keys.operator,
            Some(&body),
        )
        .await?;
    let contest = made
        .get("contest_id")
        .and_then(Value::as_str)
        .context("a contest without an id")?
        .to_owned();
    (stage.announce)(&contest);
    let mut faults = Vec::new();
    clock::until(windows.opens + 20).await;
    let path = format!("/v1/contests/{contest}/signup");
    let answers = volley(
        stage,
        users
            .iter()
            .flat_map(|user| std::iter::repeat_n((user, path.clone()), SIGNUPS)),
    )
    .await?;
    let mut ids: HashMap<&str, BTreeSet<&str>> = HashMap::new();
    for (user, answer) in &answers {
        match answer.status {
            200 => drop(
                ids.entry(user)
                    .or_default()
                    .insert(answer.text("signup_id")),
            ),
            202 => {}
            status => faults.push(format!(
                "{user}: a signup was answered {status} {}",
                answer.body
            )),
        }
    }
    faults.extend(
        ids.iter()
            .filter(|(_, ids)| ids.len() > 1)
            .map(|(user, ids)| format!("{user} has signups {ids:?}")),
    );
    let winner = &users[0];
    finish(stage, setup, winner).await?;
    wait_for(
        stage,
        &contest,
        "claimable",
        windows.ends + GRACE_MS + 10_000,
    )
    .await?;
    let path = format!("/v1/contests/{contest}/claim");
    let answers = volley(stage, std::iter::repeat_n((winner, path), CLAIMS)).await?;
    let granted: BTreeSet<_> = answers
        .iter()
        .filter(|(_, answer)| answer.status == 200)
        .map(|(_, answer)| shown(answer))
        .collect();
    let yes = answers
        .iter()
        .filter(|(_, answer)| answer.status == 200)
        .count();
    println!(
        "{CLAIMS} concurrent claims: {yes} granted, {} different answers",
        granted.len()
    );
    if granted.len() != 1 {
        faults.push(format!(
            "{CLAIMS} claims had {} different answers: {granted:?}",
            granted.len()
        ));
    }
    faults.extend(
        answers
            .iter()
            .filter(|(_, answer)| !matches!(answer.status, 200 | 202))
            .map(|(_, answer)| format!("a claim was answered {} {}", answer.status, answer.body)),
    );
    wait_for(stage, &contest, "closed", windows.claims_close + 30_000).await?;
    let rows = ended(stage, &contest).await?;
    println!(
        "{} viewers signed up {SIGNUPS} times at once: {} rows",
        users.len(),
        rows.len()
    );
    if rows.len() != users.len() {
        faults.push(format!("{} rows for {} viewers", rows.len(), users.len()));
    }
    let (joined, phase) = (rows.len() as u64, "closed".to_owned());
    Ok(Played {
        contest,
        phase,
        joined,
        finished: 1,
        claimed: 1,
        prizes: Prizes::default(),
        faults,
    })
}

fn shown(answer: &Answer) -> String {
    let field = |name: &str| answer.body.get(name).cloned().unwrap_or_default();
    format!(
        "{} {} {}",
        field("state"),
        field("prize"),
        field("claim_order_id")
    )
}

/// Sends all of these at once.
async fn volley<'a>(
    stage: &Stage<'_>,
    calls: impl Iterator<Item = (&'a String, String)>,
) -> Result<Vec<(String, Answer)>> {
    let mut sent = JoinSet::new();
    for (user, path) in calls {
        let (api, user) = (stage.api.clone(), user.clone());
        let token = stage.keys.signer.token(&user, "player")?;
        sent.spawn(async move { (user, api.send(Method::PUT, &path, &token, None).await) });
    }
    Ok(sent.join_all().await)
}

async fn finish(stage: &Stage<'_>, setup: &Setup, user: &str) -> Result<()> {
    let event = json!([{
        "event_id": format!("{user}-task"), "user_id": user, "room_id": format!("room-{}", setup.run),
        "kind": "open_chest", "quantity": TARGET, "occurred_at": clock::rfc3339(clock::now_ms())?,
    }]);
    stage
        .api
        .insist(
            Method::POST,
            "/v1/task-events",
            &stage.keys.service,
            Some(&event),
        )
        .await?;
    Ok(())
}

async fn wait_for(stage: &Stage<'_>, contest: &str, phase: &str, until: i64) -> Result<()> {
    let path = format!("/v1/contests/{contest}");
    while clock::now_ms() < until {
        let answer = stage.api.get(&path, &stage.keys.operator).await;
        stage
            .progress
            .show(&format!("{} until {phase}", answer.text("phase")));
        if answer.text("phase") == phase {
            return Ok(());
        }
        clock::pause(50).await;
    }
    bail!("contest {contest} did not become {phase} in time; look into the server's log")
}
