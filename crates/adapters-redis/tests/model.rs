//! Ranking and tally on Redis answer what the reference in memory answers, whatever is done to them.

#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use adapters_memory::{shown::MemoryShown, system::ManualClock};
use contract_tests::samples::{Dice, coins, signup_id, user};
use domain::{order::OrderId, time::UnixMillis};
use ports::{
    leaderboard::Place,
    shown::{Count, Counted, Epoch, Ranking, Tallies},
};
use std::sync::Arc;
use test_support::private_redis;

const STEPS: usize = 600;
const VIEWERS: usize = 25;

// hazard: D13
#[tokio::test(flavor = "multi_thread")]
async fn the_ranking_answers_what_the_reference_does() {
    let server = private_redis().await.expect("a Redis");
    let real = common::shown(server.url());
    let model = MemoryShown::new(Arc::new(ManualClock::new(common::now())));
    let contest = common::contest();
    common::answers(&real, &contest).await;
    let ids: Vec<_> = (0..VIEWERS).map(|_| signup_id()).collect();
    let mut dice = Dice::cast();
    // The same attempt on both sides.
    let mut epochs: Vec<(Epoch, Epoch)> = Vec::new();
    for step in 0..STEPS {
        let mut places = Vec::new();
        for _ in 0..dice.roll(6) {
            let viewer = dice.roll(VIEWERS);
            places.push(Place {
                rank: 0,
                user_id: user(&format!("v-{viewer}")),
                signup_id: ids[viewer],
                quantity: 1 + dice.roll(8) as u64,
                reached_at: UnixMillis(dice.roll(5) as i64 - 2),
            });
        }
        let attempt = epochs
            .len()
            .checked_sub(1 + dice.roll(2))
            .map(|at| epochs[at]);
        match (dice.roll(20), attempt) {
            (0, _) => {
                let begun = Ranking::begin(&*real, &contest).await.expect("an answer");
                let reference = Ranking::begin(&model, &contest).await.expect("an answer");
                epochs.push((begun, reference));
            }
            (1..=4, Some((of_real, of_model))) => {
                let built = real.build(&contest, of_real, &places).await;
                let reference = model.build(&contest, of_model, &places).await;
                assert_eq!(built.ok(), reference.ok(), "step {step}");
            }
            (5..=6, Some((of_real, of_model))) => {
                let finished = Ranking::finish(&*real, &contest, of_real).await;
                let reference = Ranking::finish(&model, &contest, of_model).await;
                assert_eq!(finished.ok(), reference.ok(), "step {step}");
            }
            (7, _) if dice.roll(6) == 0 => {
                server.flush().await.expect("flushed");
                model.flush();
            }
            _ => {
                let put = Ranking::put(&*real, &contest, &places).await;
                let reference = Ranking::put(&model, &contest, &places).await;
                assert_eq!(put.ok(), reference.ok(), "step {step}");
            }
        }
        let limit = dice.roll(VIEWERS + 2);
        let top = real.top(&contest, limit).await.expect("an answer");
        let reference = model.top(&contest, limit).await.expect("an answer");
        assert_eq!(top, reference, "step {step}, limit {limit}");
        let viewer = user(&format!("v-{}", dice.roll(VIEWERS)));
        let around = dice.roll(4);
        let found = real.place_of(&contest, &viewer, around).await;
        let reference = model.place_of(&contest, &viewer, around).await;
        assert_eq!(
            found.expect("an answer"),
            reference.expect("an answer"),
            "step {step}"
        );
    }
    assert!(epochs.len() > 5, "several attempts");
}

// hazard: D5
#[tokio::test(flavor = "multi_thread")]
async fn the_tally_answers_what_the_reference_does() {
    let server = private_redis().await.expect("a Redis");
    let real = common::shown(server.url());
    let model = MemoryShown::new(Arc::new(ManualClock::new(common::now())));
    let contest = common::contest();
    common::answers(&real, &contest).await;
    let ids: Vec<_> = (0..VIEWERS).map(|_| signup_id()).collect();
    let mut dice = Dice::cast();
    let mut epochs: Vec<(Epoch, Epoch)> = Vec::new();
    for step in 0..STEPS {
        let mut counts = Vec::new();
        for _ in 0..dice.roll(12) {
            let number = dice.roll(VIEWERS);
            counts.push(if dice.roll(2) == 0 {
                Count::Finisher(ids[number], number as u64)
            } else {
                Count::Prize(OrderId([u8::try_from(number).expect("few"); 16]), coins(7))
            });
        }
        let attempt = epochs
            .len()
            .checked_sub(1 + dice.roll(2))
            .map(|at| epochs[at]);
        match (dice.roll(20), attempt) {
            (0, _) => {
                let begun = Tallies::begin(&*real, &contest).await.expect("an answer");
                let reference = Tallies::begin(&model, &contest).await.expect("an answer");
                epochs.push((begun, reference));
            }
            (1..=4, Some((of_real, of_model))) => {
                let put = Tallies::put(&*real, &contest, of_real, &counts).await;
                let reference = Tallies::put(&model, &contest, of_model, &counts).await;
                assert_eq!(put.ok(), reference.ok(), "step {step}");
            }
            (5..=6, Some((of_real, of_model))) => {
                let finished = Tallies::finish(&*real, &contest, of_real).await;
                let reference = Tallies::finish(&model, &contest, of_model).await;
                assert_eq!(finished.ok(), reference.ok(), "step {step}");
            }
            (7, _) if dice.roll(6) == 0 => {
                server.flush().await.expect("flushed");
                model.flush();
            }
            _ => {
                let counted = real.count(&contest, &counts).await.expect("an answer");
                let reference = model.count(&contest, &counts).await.expect("an answer");
                assert_eq!(counted, reference, "step {step}");
            }
        }
        let read = real.read(&contest).await.expect("an answer");
        let reference = model.read(&contest).await.expect("an answer");
        assert_eq!(read, reference, "step {step}");
    }
    assert!(epochs.len() > 5, "several attempts");
}

/// More than goes into one script.
const MANY: usize = 3_000;

// hazard: D5
#[tokio::test(flavor = "multi_thread")]
async fn without_an_old_one_the_new_one_misses_nothing_of_a_large_call() {
    let server = private_redis().await.expect("a Redis");
    let shown = common::shown(server.url());
    let contest = common::contest();
    common::answers(&shown, &contest).await;
    let epoch = Tallies::begin(&*shown, &contest).await.expect("begun");
    let counts = common::finishers(MANY);
    let counted = shown.count(&contest, &counts).await.expect("an answer");
    assert_eq!(counted, Counted::Rebuild);
    assert!(
        Tallies::finish(&*shown, &contest, epoch)
            .await
            .expect("an answer")
    );
    let read = common::read(&shown, &contest).await.expect("a tally");
    assert_eq!(read.finishers, MANY as u64);

    let epoch = Ranking::begin(&*shown, &contest).await.expect("begun");
    let places: Vec<_> = (0..MANY)
        .map(|n| common::place(&format!("v-{n}"), 1 + n as u64, common::now()))
        .collect();
    let put = Ranking::put(&*shown, &contest, &places).await;
    assert!(!put.expect("an answer"));
    assert!(
        Ranking::finish(&*shown, &contest, epoch)
            .await
            .expect("an answer")
    );
    // The last of them is the first.
    let first = shown
        .top(&contest, 1)
        .await
        .expect("an answer")
        .expect("places");
    assert_eq!(first[0].quantity, MANY as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_put_into_what_is_not_there_is_not_put() {
    let server = private_redis().await.expect("a Redis");
    let shown = common::shown(server.url());
    let contest = common::contest();
    common::answers(&shown, &contest).await;
    assert!(
        !Ranking::put(&*shown, &contest, &[])
            .await
            .expect("an answer")
    );
    let void = Tallies::begin(&*shown, &contest).await.expect("begun");
    Tallies::begin(&*shown, &contest).await.expect("begun");
    assert!(
        !Tallies::put(&*shown, &contest, void, &[])
            .await
            .expect("an answer")
    );
    let void = Ranking::begin(&*shown, &contest).await.expect("begun");
    Ranking::begin(&*shown, &contest).await.expect("begun");
    assert!(!shown.build(&contest, void, &[]).await.expect("an answer"));
}
