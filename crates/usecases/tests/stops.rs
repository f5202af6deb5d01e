//! Payouts of a contest stop while its books differ, and go on once they agree or a person says so.

#![allow(clippy::expect_used, reason = "these are tests")]

mod world;

use domain::{
    contest::PhaseKind,
    ids::ContestId,
    order::{Account, OrderId},
    signup::StateKind,
    transfer::Transfer,
};
use ports::{
    findings::{FindingFilter, Findings, Resolution},
    reconciliations::Scope,
};
use std::sync::Arc;
use usecases::{Claimed, Contests, mend::Reconciling, runs::Asked};
use world::{
    World,
    meddled::{Answers, Meddled},
    played::later,
    tampered::Tampered,
    terms, user,
};

/// A contest whose prizes can be claimed, on a funds system that can be tampered with.
async fn claimable() -> (World, Arc<Tampered>, Contests, ContestId) {
    let world = World::new();
    let funds = Tampered::new(&world);
    let process = world.process_with(Arc::clone(&funds) as _);
    let process = process.reconciled(Reconciling {
        bounds: later(),
        ..Reconciling::default()
    });
    let contest = world.create(&process, terms()).await;
    world.settle_down(&process).await;
    for name in ["ann", "bob"] {
        world.grant(name, 10);
        world.sign_up(&process, contest, name).await;
        world.finish(name).await;
    }
    world.at(terms().tasks_end_at.plus(1_000));
    world.settle_down(&process).await;
    let phase = world.contest(contest).phase.kind();
    assert_eq!(phase, PhaseKind::Claimable);
    (world, funds, process, contest)
}

async fn reconcile(process: &Contests, contest: ContestId) {
    let asked = Asked {
        scope: Scope::one(contest),
        by: None,
        is_dry: false,
    };
    let run = process.ask_for_run(asked).await.expect("a store");
    let run = run.expect("a run");
    assert!(process.carry_on(run.id).await.expect("both sides"));
}

async fn open(world: &World, contest: ContestId) -> Vec<ports::findings::Finding> {
    let filter = FindingFilter::open_of(contest);
    world
        .store
        .list(filter, None, 10)
        .await
        .expect("a page")
        .items
}

#[tokio::test]
async fn nothing_is_paid_while_the_pool_is_not_explained_and_everything_afterwards() {
    let (world, funds, process, contest) = claimable().await;
    let end = world.contest(contest).claims_end_at().expect("an end");
    funds.add_to_balances(-5);
    reconcile(&process, contest).await;
    let stopped = world.contest(contest);
    assert!(stopped.stops.is_stopped());
    assert_eq!(open(&world, contest).await[0].class.name(), "POOL_DIFFERS");
    // A claim is taken, and waits.
    let claimed = world.claim(&process, contest, "ann").await;
    assert!(matches!(claimed, Claimed::Pending(_)), "{claimed:?}");
    let before = world.funds.transfers();
    world.at(end.plus(60_000));
    world.settle_down(&process).await;
    assert_eq!(world.state(contest, "ann"), StateKind::Claiming);
    // Nobody forfeits, and nothing is paid by the house, although the time to claim would be over.
    assert_eq!(world.state(contest, "bob"), StateKind::Completed);
    assert_eq!(world.funds.transfers(), before);
    // What is claimed meanwhile explains nothing of what is missing.
    reconcile(&process, contest).await;
    assert!(world.contest(contest).stops.is_stopped());
    assert_eq!(open(&world, contest).await.len(), 1);
    // The books agree again: the next comparison lets everything go on.
    funds.add_to_balances(0);
    reconcile(&process, contest).await;
    assert!(!world.contest(contest).stops.is_stopped());
    assert_eq!(open(&world, contest).await, []);
    let longer = world.contest(contest).claims_end_at().expect("an end");
    assert!(longer > world_now(&world), "bob has time left to claim");
    let claimed = world.claim(&process, contest, "bob").await;
    assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
    world.settle_down(&process).await;
    assert_eq!(world.state(contest, "ann"), StateKind::Shared);
    world.check();
}

fn world_now(world: &World) -> domain::time::UnixMillis {
    use ports::system::Clock;
    world.clock.now()
}

#[tokio::test]
async fn a_second_fee_stops_payouts_until_a_person_resolves_it() {
    let (world, funds, process, contest) = claimable().await;
    funds.change(move |log| {
        let is_fee = |one: &&Transfer| one.content.to == Account::Pool(contest);
        let mut second = log.iter().find(is_fee).expect("a fee").clone();
        second.order_id = OrderId([5; 16]);
        second.receipt.position.0 += 1_000_000;
        log.push(second);
    });
    reconcile(&process, contest).await;
    let found = open(&world, contest).await;
    assert_eq!(found[0].class.name(), "DUPLICATE_TRANSFER");
    assert!(world.contest(contest).stops.is_stopped());
    let claimed = world.claim(&process, contest, "ann").await;
    assert!(matches!(claimed, Claimed::Pending(_)), "{claimed:?}");
    let resolution = Resolution {
        by: user("olga"),
        note: "returned by hand".to_owned(),
    };
    process
        .resolve(found[0].id, &resolution)
        .await
        .expect("a store");
    assert!(!world.contest(contest).stops.is_stopped());
    world.settle_down(&process).await;
    assert_eq!(world.state(contest, "ann"), StateKind::Shared);
    // The next run sees it again, and stops nothing that a person has let go on.
    reconcile(&process, contest).await;
    assert!(!world.contest(contest).stops.is_stopped());
}

#[tokio::test]
async fn a_step_without_an_answer_for_long_calls_a_person_once_and_is_over_when_it_is_answered() {
    let world = World::new();
    let silent = Meddled::new(&world, Answers::NothingArrives);
    let lost = world.process_with(Arc::new(silent) as _);
    let process = world.process();
    let mut long = terms();
    for end in [
        &mut long.signup_closes_at,
        &mut long.tasks_end_at,
        &mut long.claim_closes_at,
    ] {
        *end = end.plus(3_600_000);
    }
    let contest = world.create(&process, long).await;
    world.settle_down(&process).await;
    for name in ["ann", "bob"] {
        world.grant(name, 10);
        let _ = lost.sign_up(contest, &user(name), None).await;
    }
    let mut told = Vec::new();
    for _ in 0..30 {
        world.clock.advance(70_000);
        lost.compensate().await.expect("a round");
        told = open(&world, contest).await;
        if !told.is_empty() {
            break;
        }
    }
    // One for both of them.
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].class.name(), "STUCK");
    assert_eq!(told[0].subject, contest.to_string());
    process.watch().await.expect("a round");
    assert_eq!(open(&world, contest).await.len(), 1, "they still wait");
    world.clock.advance(70_000);
    process.compensate().await.expect("a round");
    assert_eq!(world.state(contest, "ann"), StateKind::InProgress);
    world.clock.advance(30_000);
    process.watch().await.expect("a round");
    assert_eq!(open(&world, contest).await, []);
}

#[tokio::test]
async fn a_contest_that_has_rested_for_long_is_not_stuck_at_the_first_thing_it_waits_for() {
    let world = World::new();
    let funds = Tampered::new(&world);
    let process = world.process_with(Arc::clone(&funds) as _);
    let mut long = terms();
    for end in [
        &mut long.signup_closes_at,
        &mut long.tasks_end_at,
        &mut long.claim_closes_at,
    ] {
        *end = end.plus(7_200_000);
    }
    let contest = world.create(&process, long.clone()).await;
    while world.contest(contest).phase.kind() != PhaseKind::Draft
        || world_now(&world) < long.signup_closes_at.plus(-60_000)
    {
        world.clock.advance(60_000);
        process.run_contests().await.expect("a round");
    }
    world.at(long.signup_closes_at);
    funds.keep_open(true);
    let mut waited = 0;
    while open(&world, contest).await.is_empty() {
        process.run_contests().await.expect("a round");
        world.clock.advance(10_000);
        waited += 10_000;
        assert!(waited < 3_600_000, "nobody is called");
    }
    assert!(waited > 600_000, "after {waited} ms");
    assert_eq!(open(&world, contest).await[0].subject, "contest");
    // It goes on, by whichever process, and the finding is over.
    funds.keep_open(false);
    world.process().run_contests().await.expect("a round");
    assert_ne!(world.phase(contest), PhaseKind::Draft);
    process.watch().await.expect("a round");
    assert_eq!(open(&world, contest).await, []);
}
