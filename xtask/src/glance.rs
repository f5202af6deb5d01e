//! Viewers who look at their own signup now and then, as a room's page has them do: what they have
//! finished is seen when they look, not only when the contest is judged.

use crate::{api::Api, clock, play::run::Keys};
use anyhow::Result;
use std::{future::Future, sync::OnceLock};

/// How long it takes until everybody has looked once, in milliseconds.
const ROUND_MS: u64 = 1_500;

/// Runs `play` to its end while everybody looks. The contest's id is there once it is known.
pub(crate) async fn during<T>(
    play: impl Future<Output = T>,
    api: &Api,
    keys: &Keys,
    users: &[String],
    contest: &OnceLock<String>,
) -> Result<T> {
    let mut tokens = Vec::with_capacity(users.len());
    for user in users {
        tokens.push(keys.signer.token(user, "player")?);
    }
    let looking = async {
        let pause = ROUND_MS / u64::try_from(tokens.len().max(1)).unwrap_or(ROUND_MS);
        loop {
            for token in &tokens {
                if let Some(contest) = contest.get() {
                    // Whatever the answer is: they only look.
                    let _ = api
                        .get(&format!("/v1/contests/{contest}/signup"), token)
                        .await;
                }
                clock::pause(pause.max(1)).await;
            }
        }
    };
    tokio::select! {
        played = play => Ok(played),
        () = looking => unreachable!("they look for ever"),
    }
}
