//! What signups cost without Redis: slices with it, with it paused and with it stopped, in turns in
//! one run, so that what the machine does besides meets all of them.

use super::{BenchArgs, Place, create, drive, give_coins, outcome, tokens};
use crate::{clock, wire::Wire};
use anyhow::Result;
use std::{sync::Arc, time::Duration};
use test_support::Redis;

/// How often each is measured.
const ROUNDS: usize = 3;
/// After Redis was taken away or given back: breakers open, connections are made again.
const SETTLE_MS: u64 = 1_500;

/// How Redis is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slice {
    There,
    Paused,
    Stopped,
}

/// Measures and prints; true if every invariant is green. An answer that is not a signup's ends
/// the run.
pub(super) async fn measure(args: &BenchArgs, place: &Place, redis: &Redis) -> Result<bool> {
    println!("giving coins to {} viewers ...", args.viewers);
    let names = give_coins(place, args.connections, args.viewers).await?;
    let tokens = tokens(place, &names)?;
    let start = clock::now_ms() + 300;
    let slices = i64::try_from(ROUNDS * 3)?;
    let length = i64::try_from(args.seconds)? * 1_000 + 4_000;
    let closes = start + slices * length + 60_000;
    let contest = create(&place.api, &place.keys, start, closes, closes + 1_000).await?;
    let path = format!("/v1/contests/{contest}/signup");
    let mut left: Vec<Vec<u8>> = tokens
        .iter()
        .map(|token| Wire::request("PUT", &path, token, ""))
        .collect();
    clock::until(start + 50).await;
    // No slice takes the viewers of another.
    let share = left.len() / (ROUNDS * 3);
    let (unmeasured, measured) = (share / 3, share - share / 3);
    let mut rates: [Vec<u128>; 3] = Default::default();
    for _ in 0..ROUNDS {
        for (slice, rates) in [Slice::There, Slice::Paused, Slice::Stopped]
            .into_iter()
            .zip(&mut rates)
        {
            match slice {
                Slice::There => {}
                Slice::Paused => redis.pause()?,
                Slice::Stopped => redis.stop()?,
            }
            // Signups go on meanwhile, unmeasured: nobody may notice.
            let settle = Duration::from_millis(SETTLE_MS);
            left = signups(args, place, left, settle, unmeasured).await?.1;
            let bound = Duration::from_secs(args.seconds);
            let (rate, rest) = signups(args, place, left, bound, measured).await?;
            left = rest;
            println!("{slice:?}: {rate} signups/s");
            rates.push(rate);
            match slice {
                Slice::There => {}
                Slice::Paused => redis.resume()?,
                Slice::Stopped => redis.start().await?,
            }
        }
    }
    let [with, paused, stopped] = rates.map(median);
    for (name, rate) in [("paused", paused), ("stopped", stopped)] {
        let percent = rate * 100 / with.max(1);
        println!("Redis {name}: {rate} signups/s, {percent} % of {with} with Redis");
    }
    let report = crate::books::check_named(&place.books, None, false).await?;
    if !report.is_green() {
        println!("{report}");
    }
    Ok(report.is_green())
}

/// Signups for so long, or so many; how many a second, and the requests that are left.
async fn signups(
    args: &BenchArgs,
    place: &Place,
    mut left: Vec<Vec<u8>>,
    bound: Duration,
    most: usize,
) -> Result<(u128, Vec<Vec<u8>>)> {
    let mut rest = left.split_off(most.min(left.len()));
    let requests = Arc::new(left);
    let expected = br#""in_progress""#;
    let shared = Arc::clone(&requests);
    let (measured, sent) = drive(
        &place.ports,
        args.connections,
        shared,
        Some(bound),
        expected,
    )
    .await?;
    rest.extend_from_slice(requests.get(sent..).unwrap_or_default());
    Ok((measured.per_second, rest))
}

fn median(mut rates: Vec<u128>) -> u128 {
    rates.sort_unstable();
    outcome::median(&rates).unwrap_or(0)
}
