//! A panic in what runs beside the requests ends neither its loop nor what stands beside it.

mod world;

use adapters_memory::shown::MemoryShown;
use domain::{contest::PhaseKind, ids::ContestId, signup::StateKind};
use ports::outbox::DROP_AGAIN_MS;
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, time::timeout};
use usecases::background;
use world::{
    START, World,
    nodes::{Node, others_go_on},
    terms, user,
};

/// More rounds than anything here needs.
const ROUNDS: usize = 5;
/// How long a test waits, on the runtime's clock, which jumps while everybody waits.
const BOUND: Duration = Duration::from_secs(3_600);

fn opened() -> (World, Arc<MemoryShown>, Node) {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    (world, shown, node)
}

/// Viewers whose fees are still to be charged.
async fn waiting(world: &World, node: &Node, names: &[&str]) -> ContestId {
    let contest = world.create(&node.process, terms()).await;
    node.watch.fail("Funds::");
    for name in names {
        world.grant(name, 100);
        let user = user(name);
        node.process.sign_up(contest, &user, None).await.ok();
    }
    node.watch.heal();
    contest
}

// hazard: G5, H12
#[tokio::test]
async fn a_signup_whose_step_panics_does_not_stop_the_others() {
    let (world, _, node) = opened();
    let contest = waiting(&world, &node, &["ann", "bob", "cai"]).await;
    node.watch.crash_about("Funds::", "\"ann\"");
    node.watch
        .crash_about("SignupRepository::commit", "\"ann\"");
    for _ in 0..ROUNDS {
        world.clock.advance(6_000);
        node.process.compensate().await.expect("a pass");
    }
    let states = ["ann", "bob", "cai"].map(|name| world.state(contest, name));
    let [ann, bob, cai] = states;
    assert_eq!(
        (ann, bob, cai),
        (
            StateKind::Initialized,
            StateKind::InProgress,
            StateKind::InProgress
        )
    );
    node.watch.heal();
    world.settle_down(&node.process).await;
    assert_eq!(world.state(contest, "ann"), StateKind::InProgress);
    world.check();
}

// hazard: G5, H12
#[tokio::test]
async fn a_contest_whose_step_panics_does_not_stop_the_others() {
    let (world, _, node) = opened();
    let mut contests = Vec::new();
    for _ in 0..3 {
        contests.push(world.create(&node.process, terms()).await);
    }
    world.at(START.plus(121_000));
    node.watch
        .crash_about("ContestRepository::commit", &contests[0].to_string());
    let before = world.phase(contests[0]);
    let rounds = async |node: &Node| {
        for _ in 0..3 * ROUNDS {
            node.process.run_contests().await.expect("a round");
            world.clock.advance(1_000);
        }
    };
    rounds(&node).await;
    let phases: Vec<_> = contests.iter().map(|id| world.phase(*id)).collect();
    assert_eq!(phases[0], before);
    assert!(
        phases[1..].iter().all(|phase| *phase != before),
        "{phases:?}"
    );
    node.watch.heal();
    rounds(&node).await;
    assert_eq!(world.phase(contests[0]), phases[1]);
}

// hazard: G5, H12
#[tokio::test]
async fn an_effect_that_panics_does_not_stop_the_others() {
    let (world, shown, node) = opened();
    world.grant("ann", 100);
    let mut contests = Vec::new();
    for _ in 0..2 {
        let contest = world.create(&node.process, terms()).await;
        world.sign_up(&node.process, contest, "ann").await;
        node.process.pool_of(contest).await.expect("an answer");
        others_go_on().await;
        contests.push(contest);
    }
    for contest in &contests {
        world.complete(&node, *contest, "ann").await;
    }
    let [broken, other] = contests[..] else {
        panic!("{contests:?}")
    };
    node.watch
        .crash_about("Tallies::count", &broken.to_string());
    world.clock.advance(DROP_AGAIN_MS);
    assert!(node.process.relay().await.expect("a pass") > 0);
    assert_eq!(world.tally(&shown, other).await, Some(world.counted(other)));
    let left = world.saved().await;
    assert!(
        !left.is_empty() && left.iter().all(|it| it.contest_id == broken),
        "{left:?}"
    );
    node.watch.heal();
    assert!(node.process.relay().await.expect("a pass") > 0);
    let counted = world.counted(broken);
    assert_eq!(world.tally(&shown, broken).await, Some(counted));
}

// hazard: G5
#[tokio::test(start_paused = true)]
async fn every_loop_goes_on_after_a_round_that_panicked() {
    let (world, _, node) = opened();
    let contest = waiting(&world, &node, &["ann"]).await;
    // Where the rounds begin.
    let begins = [
        "ContestRepository::awake",
        "SignupRepository::awake",
        "Leases::take",
    ];
    for name in begins {
        node.watch.crash(name);
    }
    let before = begins.map(|name| node.watch.calls(name));
    let (stop, stopped) = watch::channel(false);
    let loops = background::start(&node.process, &stopped);
    let until = async |what: &str, is_so: &dyn Fn() -> bool| {
        let waiting = async {
            while !is_so() {
                world.clock.advance(50);
                tokio::time::timeout(Duration::from_millis(50), std::future::pending::<()>())
                    .await
                    .ok();
            }
        };
        let waited = timeout(BOUND, waiting).await;
        assert!(waited.is_ok(), "it does not become so: {what}");
    };
    until("every loop comes again and again", &|| {
        let calls = begins.map(|name| node.watch.calls(name));
        calls.iter().zip(before).all(|(now, then)| *now > then + 3)
    })
    .await;
    assert!(loops.iter().all(|task| !task.is_finished()));
    assert_eq!(world.state(contest, "ann"), StateKind::Initialized);
    node.watch.heal();
    until("the fee is charged", &|| {
        world.state(contest, "ann") == StateKind::InProgress
    })
    .await;
    stop.send_replace(true);
    for task in loops {
        let ended = timeout(BOUND, task).await;
        ended.expect("it ends").expect("no loop crashed");
    }
    assert_eq!(world.phase(contest), PhaseKind::Draft);
}
