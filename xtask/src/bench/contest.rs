//! The contest that is measured: from its creation to the moment when prizes can be claimed.

use super::{CLAIMS_MS, drive};
use crate::{
    api::Api,
    clock,
    play::{plan::FEE, run::Keys},
    wire::Wire,
};
use anyhow::{Context, Result, bail};
use serde_json::json;
use std::sync::Arc;

pub(super) async fn create(
    api: &Api,
    keys: &Keys,
    start: i64,
    closes: i64,
    ends: i64,
) -> Result<String> {
    let at = clock::rfc3339;
    let body = json!({
        "title": "bench", "room_id": "bench", "fee": FEE,
        "task": { "kind": "open_chest", "target": 1 }, "payout": { "rule": "equal" },
        "signup_opens_at": at(start)?, "signup_closes_at": at(closes)?,
        "tasks_end_at": at(ends)?, "claim_closes_at": at(ends + CLAIMS_MS)?,
    });
    let made = api
        .insist(
            hyper::Method::POST,
            "/v1/admin/contests",
            &keys.operator,
            Some(&body),
        )
        .await?;
    made.get("contest_id")
        .and_then(serde_json::Value::as_str)
        .map(str::to_owned)
        .context("a contest without an id")
}

/// One event for everybody, a thousand at a time.
pub(super) async fn finish_tasks(ports: &[u16], keys: &Keys, users: &[String]) -> Result<()> {
    let occurred_at = clock::rfc3339(clock::now_ms())?;
    let batch = |users: &[String]| {
        let event = |user: &String| {
            json!({ "event_id": format!("e-{user}"), "user_id": user, "room_id": "bench",
                    "kind": "open_chest", "quantity": 1, "occurred_at": occurred_at })
        };
        let body = serde_json::Value::Array(users.iter().map(event).collect()).to_string();
        Wire::request("POST", "/v1/task-events", &keys.service, &body)
    };
    let batches: Vec<_> = users.chunks(1_000).map(batch).collect();
    drive(ports, 4, Arc::new(batches), None, br#""rejected":[]"#).await?;
    Ok(())
}

pub(super) async fn wait_claimable(
    api: &Api,
    keys: &Keys,
    contest: &str,
    until: i64,
) -> Result<()> {
    let path = format!("/v1/contests/{contest}");
    while clock::now_ms() < until {
        if api.get(&path, &keys.operator).await.text("phase") == "claimable" {
            return Ok(());
        }
        clock::pause(50).await;
    }
    bail!("the contest did not become claimable in time")
}
