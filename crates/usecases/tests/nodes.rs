//! Several nodes on one store: they divide contests and rebuilds by leases, and whoever dies is
//! followed by another.

mod world;

use adapters_memory::{shown::MemoryShown, system::ManualClock};
use domain::{
    contest::PhaseKind,
    ids::ContestId,
    signup::StateKind,
    terms::{ClaimMode, Terms},
};
use ports::{leaderboard::Leaderboard, shown::Tally, system::Clock};
use std::sync::Arc;
use world::{
    START, World,
    nodes::{Node, others_go_on, until},
    terms, user,
};

/// How long what a dead node held is left alone, in milliseconds.
const LEASE_MS: i64 = 15_000;
/// Contests that one round drives at once.
const AT_ONCE: usize = 4;

fn names(count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("viewer-{number:04}"))
        .collect()
}

/// The phase and version of each contest.
fn stands(world: &World, contests: &[ContestId]) -> Vec<(PhaseKind, u64)> {
    let of = |id: &ContestId| (world.phase(*id), world.contest(*id).version);
    contests.iter().map(of).collect()
}

/// Eight contests whose tasks are over, with one finisher and one who is not.
async fn all_due(world: &World, node: &Node) -> Vec<ContestId> {
    let automatic = Terms {
        claim_mode: ClaimMode::Automatic,
        ..terms()
    };
    let mut contests = Vec::new();
    for name in ["ann", "bob"] {
        world.grant(name, 1_000);
    }
    for _ in 0..2 * AT_ONCE {
        let contest = world.create(&node.process, automatic.clone()).await;
        world.sign_up(&node.process, contest, "ann").await;
        world.sign_up(&node.process, contest, "bob").await;
        contests.push(contest);
    }
    // One room: it counts for all of them.
    world.finish("ann").await;
    world.at(START.plus(121_000));
    contests
}

// hazard: H3
#[tokio::test]
async fn two_reconcilers_divide_the_contests_and_one_takes_up_what_the_other_died_of() {
    let world = World::new();
    let shown = world.empty_shown();
    let (one, other) = (world.node(&shown), world.node(&shown));
    let contests = all_due(&world, &one).await;
    let before = stands(&world, &contests);
    // The first stops in the middle of as many as it drives at once.
    let gate = one.watch.hold_before("ContestRepository::commit");
    let process = Arc::clone(&one.process);
    let round = tokio::spawn(async move { process.run_contests().await });
    for _ in 0..AT_ONCE {
        gate.reached().await;
    }
    // The other does the rest, and nothing of these.
    other.process.run_contests().await.expect("a round");
    let left: Vec<usize> = (0..contests.len())
        .filter(|at| stands(&world, &contests)[*at] == before[*at])
        .collect();
    assert_eq!(left.len(), AT_ONCE, "{:?}", stands(&world, &contests));
    let untouched = |world: &World| {
        let now = stands(world, &contests);
        left.iter().all(|at| now[*at] == before[*at])
    };
    for at in (0..contests.len()).filter(|at| !left.contains(at)) {
        assert!(
            matches!(
                world.phase(contests[at]),
                PhaseKind::Claimable | PhaseKind::Closed
            ),
            "{:?}",
            world.phase(contests[at])
        );
    }
    round.abort();
    assert!(round.await.expect_err("killed").is_cancelled());
    world.clock.advance(LEASE_MS - 1_000);
    other.process.run_contests().await.expect("a round");
    assert!(untouched(&world), "the dead one's leases last on");
    world.clock.advance(1_000);
    other.process.run_contests().await.expect("a round");
    assert!(!untouched(&world), "the leases are over");
    world.to_the_end(&other.process).await;
    for contest in &contests {
        assert_eq!(world.phase(*contest), PhaseKind::Closed);
        assert_eq!(world.state(*contest, "ann"), StateKind::Shared);
    }
    assert_eq!((world.held("ann"), world.held("bob")), (1_080, 920));
    world.check();
}

/// One contest is enough for two: whoever comes second sweeps a range that nobody is at.
// hazard: H3
#[tokio::test]
async fn two_reconcilers_sweep_the_ranges_of_one_contest() {
    /// What one range has, and a few of the next.
    const RANGE: usize = 4_096;
    const MORE: usize = 4;
    let world = World::new();
    let shown = world.empty_shown();
    let (one, other) = (world.node(&shown), world.node(&shown));
    let contest = world.create(&one.process, terms()).await;
    let names = names(RANGE + MORE);
    for name in &names {
        world.grant(name, 10);
        world.sign_up(&one.process, contest, name).await;
    }
    world.finish(&names[0]).await;
    world.at(START.plus(121_000));
    let gate = one.watch.hold_before("Tasks::progress");
    let process = Arc::clone(&one.process);
    let round = tokio::spawn(async move { process.run_contests().await });
    gate.reached().await;
    other.process.run_contests().await.expect("a round");
    let waiting = || {
        let mut signups = world.store.all_signups();
        signups.retain(|signup| signup.state.kind() == StateKind::InProgress);
        signups.len()
    };
    assert_eq!(waiting(), RANGE, "the last are judged, and nobody else");
    // The first is gone; its range is taken over when its lease ends.
    round.abort();
    assert!(round.await.expect_err("killed").is_cancelled());
    world.clock.advance(LEASE_MS);
    other.process.run_contests().await.expect("a round");
    assert_eq!(waiting(), 0);
    world.to_the_end(&other.process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    world.check();
}

/// What is compensated is divided too, a part of a contest's signups at a time.
// hazard: H3
#[tokio::test]
async fn two_compensations_divide_the_signups_by_their_contest() {
    let world = World::new();
    let shown = world.empty_shown();
    let (one, other) = (world.node(&shown), world.node(&shown));
    let contests = [
        world.create(&one.process, terms()).await,
        world.create(&one.process, terms()).await,
    ];
    world.grant("ann", 100);
    // Charged, but nobody was told.
    one.watch.fail("Funds::lookup");
    let gate = one.watch.hold_after("Funds::transfer");
    for contest in contests {
        let process = Arc::clone(&one.process);
        let call = tokio::spawn(async move { process.sign_up(contest, &user("ann"), None).await });
        gate.reached().await;
        call.abort();
    }
    one.watch.heal();
    world.clock.advance(10_000);
    let gate = one.watch.hold_before("Funds::lookup");
    let process = Arc::clone(&one.process);
    let round = tokio::spawn(async move { process.compensate().await });
    gate.reached().await;
    assert_eq!(other.process.compensate().await.expect("a round"), 0);
    gate.open();
    assert_eq!(round.await.expect("a task").expect("a round"), 2);
    for contest in contests {
        assert_eq!(world.state(contest, "ann"), StateKind::InProgress);
    }
    assert_eq!(world.held("ann"), 80);
    world.check();
}

/// Paused before it read, so that it decides on what its successor wrote: only the fence tells.
// hazard: H4
#[tokio::test]
async fn a_paused_holder_that_wakes_after_its_lease_changes_nothing() {
    let world = World::new();
    let shown = world.empty_shown();
    // Its own clock stands still: it believes that its lease goes on.
    let stopped = Arc::new(ManualClock::new(world.clock.now()));
    let (paused, other) = (world.node_at(&shown, &stopped), world.node(&shown));
    world.grant("ann", 100);
    let contest = world.create(&other.process, terms()).await;
    world.sign_up(&other.process, contest, "ann").await;
    world.finish("ann").await;
    world.at(START.plus(121_000));
    stopped.set(world.clock.now());

    let asleep = paused
        .watch
        .hold_after_about("Leases::take", &format!("contest/{contest}"));
    let process = Arc::clone(&paused.process);
    let sleeper = tokio::spawn(async move { process.run_contests().await });
    asleep.reached().await;
    world.clock.advance(LEASE_MS);
    // Its successor is in the middle of it.
    let step = other.watch.hold_after("ContestRepository::commit");
    let process = Arc::clone(&other.process);
    let successor = tokio::spawn(async move { process.run_contests().await });
    step.reached().await;
    let stood = world.contest(contest);

    let tried = paused.watch.hold_after("ContestRepository::commit");
    asleep.open();
    tried.reached().await;
    assert_eq!(world.contest(contest), stood, "it was refused");
    tried.let_one();
    // It was told that another is at it, and leaves it alone.
    sleeper.await.expect("a task").expect("a round");
    assert_eq!(paused.watch.calls("ContestRepository::get"), 1);
    assert_eq!(world.contest(contest), stood);
    stopped.set(world.clock.now());
    step.open();
    successor.await.expect("a task").expect("a round");
    world.to_the_end(&other.process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    assert_eq!(world.held("ann"), 100);
    world.check();
}

/// A contest with finishers of which nothing is shown yet.
async fn unshown(world: &World, node: &Node, finishers: usize) -> (ContestId, Arc<MemoryShown>) {
    let contest = world.create(&node.process, terms()).await;
    world.finishers(node, contest, &names(finishers)).await;
    (contest, world.empty_shown())
}

/// Everybody looks at the pool.
async fn all_look(world: &World, nodes: &[Node], contest: ContestId, finishers: u64) {
    for node in nodes {
        let pool = node.process.pool_of(contest).await;
        let pool = pool.expect("an answer").expect("a pool");
        assert_eq!(pool.finishers, finishers);
        let top = node.process.top(&world.contest(contest), 3).await;
        assert_eq!(top.expect("an answer").len(), 3);
    }
    others_go_on().await;
}

fn begun(nodes: &[Node]) -> u64 {
    let begun = |node: &Node| node.watch.calls("Tallies::begin");
    nodes.iter().map(begun).sum()
}

// hazard: D5, E9
#[tokio::test]
async fn a_long_rebuild_comes_to_its_end_however_many_look_meanwhile() {
    let world = World::new();
    let builder = world.node(&world.empty_shown());
    let (contest, shown) = unshown(&world, &builder, 1_100).await;
    let nodes: Vec<Node> = (0..4).map(|_| world.node(&shown)).collect();
    let gates: Vec<_> = nodes
        .iter()
        .map(|node| node.watch.hold_before("SignupRepository::page"))
        .collect();
    all_look(&world, &nodes, contest, 1_100).await;
    assert_eq!(begun(&nodes), 1, "one of them builds");
    let at = nodes
        .iter()
        .position(|node| node.watch.calls("SignupRepository::page") > 0);
    let at = at.expect("who builds");
    let mut pages = 0;
    while world.tally(&shown, contest).await.is_none() {
        // Longer than a look begins a rebuild again, and with all pages longer than a lease.
        world.clock.advance(6_000);
        all_look(&world, &nodes, contest, 1_100).await;
        // The relay of any node joins in, and does not begin another one either.
        nodes[pages % nodes.len()]
            .process
            .relay()
            .await
            .expect("a pass");
        let calls = nodes[at].watch.calls("SignupRepository::page");
        gates[at].let_one();
        until("the next page, or the end", || {
            nodes[at].watch.calls("SignupRepository::page") > calls
                || nodes[at].watch.calls("Tallies::finish") > 0
        })
        .await;
        others_go_on().await;
        pages += 1;
        assert!(pages < 10, "it does not come to its end");
    }
    assert_eq!((begun(&nodes), pages), (1, 3));
    assert_eq!(
        world.tally(&shown, contest).await,
        Some(world.counted(contest))
    );
}

/// An empty Redis makes every contest miss at once.
// hazard: E9
#[tokio::test]
async fn a_node_builds_two_contests_at_once_and_the_others_when_they_are_looked_at_again() {
    let world = World::new();
    let builder = world.node(&world.empty_shown());
    let mut contests = Vec::new();
    for _ in 0..5 {
        contests.push(world.create(&builder.process, terms()).await);
        world
            .finishers(&builder, contests[contests.len() - 1], &names(3))
            .await;
    }
    let shown = world.empty_shown();
    let nodes = [world.node(&shown)];
    let gate = nodes[0].watch.hold_before("SignupRepository::page");
    let look_at_all = async || {
        for contest in &contests {
            all_look(&world, &nodes, *contest, 3).await;
        }
    };
    look_at_all().await;
    world.clock.advance(6_000);
    look_at_all().await;
    assert_eq!(begun(&nodes), 2, "no more than two");
    gate.open();
    others_go_on().await;
    // Nobody has to wait for those that were turned away: none of them has begun.
    look_at_all().await;
    assert_eq!(begun(&nodes), 5);
    for contest in contests {
        let whole = world.counted(contest);
        assert_eq!(world.tally(&shown, contest).await, Some(whole));
    }
}

// hazard: D5, H3, H4
#[tokio::test]
async fn a_rebuild_whose_node_is_gone_is_taken_up_by_another() {
    let world = World::new();
    let builder = world.node(&world.empty_shown());
    let (contest, shown) = unshown(&world, &builder, 20).await;
    let nodes = [world.node(&shown), world.node(&shown)];
    let gate = nodes[0].watch.hold_before("SignupRepository::page");
    all_look(&world, &nodes[..1], contest, 20).await;
    gate.reached().await;
    world.clock.advance(LEASE_MS - 1);
    all_look(&world, &nodes, contest, 20).await;
    assert_eq!(
        (begun(&nodes), world.tally(&shown, contest).await),
        (1, None)
    );
    world.clock.advance(2_000);
    all_look(&world, &nodes[1..], contest, 20).await;
    assert_eq!(begun(&nodes), 2);
    let whole = world.counted(contest);
    assert_eq!(world.tally(&shown, contest).await, Some(whole));
    // The first one was not dead, only slow: it harms nothing.
    world
        .finishers(&nodes[1], contest, &["late".to_owned()])
        .await;
    nodes[1].process.relay().await.expect("a pass");
    gate.open();
    others_go_on().await;
    let expected = Tally {
        finishers: 21,
        weight: 21,
        ..whole
    };
    assert_eq!(world.tally(&shown, contest).await, Some(expected));
    assert_eq!(expected, world.counted(contest));
}

/// The relay need not wait for the one that builds: what it counts is added to what is built.
// hazard: D5
#[tokio::test]
async fn what_is_counted_during_a_rebuild_is_in_what_was_built() {
    let world = World::new();
    let builder = world.node(&world.empty_shown());
    let contest = world.create(&builder.process, terms()).await;
    // Signed up before all others, so that their row has been passed when they finish.
    world.grant("late", 100);
    world.sign_up(&builder.process, contest, "late").await;
    world.finishers(&builder, contest, &names(600)).await;
    let shown = world.empty_shown();
    let nodes = [world.node(&shown), world.node(&shown)];
    nodes[1].process.relay().await.expect("a pass");
    shown.flush();
    let gate = nodes[0].watch.hold_before("SignupRepository::page");
    all_look(&world, &nodes[..1], contest, 600).await;
    gate.let_one();
    until("the second page", || {
        nodes[0].watch.calls("SignupRepository::page") > 1
    })
    .await;
    world.complete(&nodes[1], contest, "late").await;
    world.clock.advance(1_000);
    assert!(nodes[1].process.relay().await.expect("a pass") > 0);
    assert_eq!(world.saved().await, [], "it is done");
    assert_eq!(world.tally(&shown, contest).await, None);
    gate.open();
    others_go_on().await;
    let tally = world.tally(&shown, contest).await;
    assert_eq!(tally, Some(world.counted(contest)));
    assert_eq!(tally.map(|tally| tally.finishers), Some(601));
    let contest = world.contest(contest);
    let late = nodes[1].process.place_of(&contest, &user("late")).await;
    let stores = Leaderboard::place_of(&*world.store, &contest, &user("late")).await;
    assert_eq!(late.expect("an answer"), stores.expect("an answer"));
}

// hazard: D3, D5
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_rebuild_one_tally_at_once_end_with_a_right_one() {
    let world = Arc::new(World::new());
    let shown = world.empty_shown();
    let nodes: Vec<Node> = (0..6).map(|_| world.node(&shown)).collect();
    let contest = world.create(&nodes[0].process, terms()).await;
    for round in 0..8 {
        // All is lost in the middle of everything, again and again.
        shown.flush();
        let calls: Vec<_> = nodes
            .iter()
            .enumerate()
            .map(|(number, node)| {
                let (world, node) = (Arc::clone(&world), node.clone());
                tokio::spawn(async move {
                    let name = format!("viewer-{round}-{number}");
                    world.finishers(&node, contest, &[name]).await;
                    node.process.pool_of(contest).await.expect("an answer");
                    node.process.relay().await.expect("a pass");
                    node.process.pool_of(contest).await.expect("an answer");
                })
            })
            .collect();
        for call in calls {
            call.await.expect("a task");
        }
        world.clock.advance(2_000);
    }
    let is_there = async || world.tally(&shown, contest).await.is_some();
    for _ in 0..1_000 {
        if is_there().await && world.saved().await.is_empty() {
            break;
        }
        nodes[0].process.pool_of(contest).await.expect("an answer");
        nodes[0].process.relay().await.expect("a pass");
        others_go_on().await;
        world.clock.advance(1_000);
        if world.clock.now() >= START.plus(59_000) {
            break;
        }
    }
    assert_eq!(
        world.tally(&shown, contest).await,
        Some(world.counted(contest))
    );
    assert_eq!(world.counted(contest).finishers, 48);
}

/// A pass that takes longer than a lease keeps it, step by step.
// hazard: H3
#[tokio::test]
async fn a_long_pass_keeps_its_lease() {
    let world = World::new();
    let shown = world.empty_shown();
    let (one, other) = (world.node(&shown), world.node(&shown));
    let contest = all_due(&world, &one).await.swap_remove(0);
    let step = one
        .watch
        .hold_before_about("ContestRepository::commit", &contest.to_string());
    let process = Arc::clone(&one.process);
    let round = tokio::spawn(async move { process.run_contests().await });
    let mut steps = 0;
    while world.phase(contest) != PhaseKind::Claimable {
        step.reached().await;
        world.clock.advance(LEASE_MS / 3);
        let stood = world.contest(contest);
        other.process.run_contests().await.expect("a round");
        assert_eq!(world.contest(contest), stood, "step {steps}");
        step.let_one();
        until("it is written", || {
            world.contest(contest).version > stood.version
        })
        .await;
        steps += 1;
    }
    assert!(steps > 3, "longer than a lease: {steps} steps");
    step.open();
    round.await.expect("a task").expect("a round");
}

/// A sweep of many pages is one step, and keeps its lease all the same.
// hazard: H3
#[tokio::test]
async fn a_long_sweep_keeps_its_lease_page_by_page() {
    let world = World::new();
    let shown = world.empty_shown();
    let (one, other) = (world.node(&shown), world.node(&shown));
    let contest = world.create(&one.process, terms()).await;
    for name in names(1_600) {
        world.grant(&name, 10);
        world.sign_up(&one.process, contest, &name).await;
    }
    world.at(START.plus(121_000));
    let page = one.watch.hold_before("Tasks::progress");
    let process = Arc::clone(&one.process);
    let round = tokio::spawn(async move { process.run_contests().await });
    for _ in 0..4 {
        page.reached().await;
        // Four of these are more than a lease.
        world.clock.advance(6_000);
        other.process.run_contests().await.expect("a round");
        page.let_one();
    }
    assert_eq!(
        other.watch.calls("SignupRepository::commit"),
        0,
        "nobody joins it"
    );
    page.open();
    round.await.expect("a task").expect("a round");
    world.to_the_end(&other.process).await;
    assert_eq!(world.phase(contest), PhaseKind::Cancelled);
    world.check();
}

#[tokio::test]
async fn a_contest_that_waits_costs_no_lease_and_ever_fewer_looks() {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let contest = world.create(&node.process, terms()).await;
    world.grant("ann", 10);
    world.sign_up(&node.process, contest, "ann").await;
    world.finish("ann").await;
    world.at(START.plus(121_000));
    world.settle_down(&node.process).await;
    assert_eq!(world.phase(contest), PhaseKind::Claimable);
    let leases = node.watch.calls("Leases::take");
    let looks = node.watch.calls("ContestRepository::presence");
    for _ in 0..400 {
        world.clock.advance(100);
        node.process.run_contests().await.expect("a round");
    }
    assert_eq!(node.watch.calls("Leases::take"), leases);
    let looks = node.watch.calls("ContestRepository::presence") - looks;
    assert!((5..40).contains(&looks), "{looks} looks in 40 s");
    // It goes on all the same, in time.
    world.to_the_end(&node.process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
}

// hazard: H13
#[tokio::test]
async fn a_sweep_writes_nothing_while_the_task_system_is_away() {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let contest = world.create(&node.process, terms()).await;
    node.watch.fail("Tasks::");
    for name in names(8) {
        world.grant(&name, 10);
        world.sign_up(&node.process, contest, &name).await;
        assert_eq!(world.state(contest, &name), StateKind::Paid);
    }
    world.at(START.plus(61_000));
    let written = node.watch.calls("SignupRepository::commit");
    for _ in 0..100 {
        world.clock.advance(100);
        node.process.run_contests().await.expect("a round");
    }
    assert_eq!(node.watch.calls("SignupRepository::commit"), written);
    node.watch.heal();
    world.to_the_end(&node.process).await;
    assert_eq!(world.phase(contest), PhaseKind::Cancelled);
    world.check();
}

/// Who has paid is told so, whatever else cannot be said.
#[tokio::test]
async fn a_repeat_is_answered_while_the_task_system_is_away() {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let contest = world.create(&node.process, terms()).await;
    world.grant("ann", 10);
    world.sign_up(&node.process, contest, "ann").await;
    assert_eq!(world.state(contest, "ann"), StateKind::InProgress);
    node.watch.fail("Tasks::");
    world.sign_up(&node.process, contest, "ann").await;
    let seen = node.process.read(contest, &user("ann")).await;
    let seen = seen.expect("an answer").expect("a signup");
    assert_eq!(seen.signup.state.kind(), StateKind::InProgress);
    assert_eq!(world.held("ann"), 0, "charged once");
}

// hazard: H4
#[tokio::test]
async fn whose_lease_lapsed_begins_anew_though_nobody_came() {
    let world = World::new();
    let shown = world.empty_shown();
    let (one, other) = (world.node(&shown), world.node(&shown));
    let contest = all_due(&world, &one).await.swap_remove(0);
    let step = one
        .watch
        .hold_after_about("ContestRepository::commit", &contest.to_string());
    let process = Arc::clone(&one.process);
    let round = tokio::spawn(async move { process.run_contests().await });
    step.reached().await;
    world.clock.advance(LEASE_MS);
    let stood = world.contest(contest);
    step.open();
    round.await.expect("a task").expect("a round");
    assert_eq!(world.contest(contest), stood, "what was read may be old");
    // It holds nothing that it does not use.
    other.process.run_contests().await.expect("a round");
    assert!(world.contest(contest).version > stood.version);
}

// hazard: H4
#[tokio::test]
async fn a_paused_payout_that_wakes_after_its_lease_writes_no_row() {
    let world = World::new();
    let shown = world.empty_shown();
    let stopped = Arc::new(ManualClock::new(world.clock.now()));
    let (paused, other) = (world.node_at(&shown, &stopped), world.node(&shown));
    let mut automatic = terms();
    automatic.claim_mode = domain::terms::ClaimMode::Automatic;
    let contest = world.create(&other.process, automatic).await;
    world.finishers(&other, contest, &names(3)).await;
    world.at(START.plus(121_000));
    stopped.set(world.clock.now());
    // The first of its payouts is decided and not written yet, and there it stands still.
    let asleep = paused.watch.hold_before("SignupRepository::commit");
    let process = Arc::clone(&paused.process);
    let sleeper = tokio::spawn(async move { process.run_contests().await });
    asleep.reached().await;
    world.clock.advance(LEASE_MS);
    let name = format!("sweep/{contest}/{}", uuid::Uuid::nil());
    let leases = &other.process.ports().leases;
    let holder = leases.take(&name, uuid::Uuid::from_u128(9), LEASE_MS);
    holder.await.expect("a store").expect("the lease is over");
    let before = world.store.all_signups();
    asleep.open();
    let _ = sleeper.await.expect("a task");
    assert_eq!(world.store.all_signups(), before, "nothing is written");
    world.clock.advance(LEASE_MS);
    stopped.set(world.clock.now());
    world.to_the_end(&other.process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    world.check();
}
