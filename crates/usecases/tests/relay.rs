//! The relay: what was saved with a change is done at least once and counted once, whatever fails
//! or dies; and the alarm that hangs on what is counted.

mod world;

use adapters_memory::shown::MemoryShown;
use domain::{
    contest::PhaseKind, effects::Effect, finding::FindingClass, ids::ContestId, order::OrderId,
    signup::StateKind,
};
use ports::{
    findings::{Finding, FindingFilter},
    outbox::{DROP_AGAIN_MS, OutboxEntry},
    shown::{Cached, Count, Counted, RecordCache, Tallies},
};
use std::{collections::BTreeSet, sync::Arc};
use tokio::task::JoinHandle;
use usecases::{Claimed, Failure};
use world::{
    START, World, coins,
    nodes::{Node, others_go_on},
    terms, user,
    watched::Gate,
};

/// How long what a dead node held is left alone, in milliseconds.
const LEASE_MS: i64 = 15_000;

/// A pass of the relay beside the test.
fn relaying(node: &Node) -> JoinHandle<Result<usize, Failure>> {
    let process = Arc::clone(&node.process);
    tokio::spawn(async move { process.relay().await })
}

/// Kills a pass of the relay that waits at the gate.
async fn killed_at(gate: &Gate, pass: JoinHandle<Result<usize, Failure>>) {
    gate.reached().await;
    pass.abort();
    assert!(pass.await.expect_err("killed").is_cancelled());
}

/// Relays until everything that is saved is due and done.
async fn relay_all(world: &World, node: &Node) {
    world.clock.advance(DROP_AGAIN_MS);
    for _ in 0..10 {
        node.process.relay().await.expect("a pass");
        if world.saved().await.is_empty() {
            return;
        }
        world.clock.advance(600);
    }
    panic!("not done: {:?}", world.saved().await);
}

/// The effects that are saved and due.
async fn saved(world: &World) -> BTreeSet<&'static str> {
    let entries = world.saved().await;
    entries.iter().map(|entry| entry.effect.name()).collect()
}

/// A contest that is shown, with nothing left to be done.
async fn running(names: &[&str]) -> (World, Arc<MemoryShown>, Node, ContestId) {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let contest = world.create(&node.process, terms()).await;
    for name in names {
        world.grant(name, 100);
        world.sign_up(&node.process, contest, name).await;
    }
    // Somebody looks.
    node.process.pool_of(contest).await.expect("an answer");
    others_go_on().await;
    relay_all(&world, &node).await;
    assert!(world.tally(&shown, contest).await.is_some(), "it is shown");
    (world, shown, node, contest)
}

/// The same, but everybody has finished, and prizes can be claimed.
async fn claimable(names: &[&str]) -> (World, Arc<MemoryShown>, Node, ContestId) {
    let (world, shown, node, contest) = running(names).await;
    for name in names {
        world.complete(&node, contest, name).await;
    }
    world.at(START.plus(121_000));
    world.settle_down(&node.process).await;
    relay_all(&world, &node).await;
    assert_eq!(world.phase(contest), PhaseKind::Claimable);
    (world, shown, node, contest)
}

#[tokio::test]
async fn a_pass_that_fails_gives_its_lease_back() {
    for fails in ["Outbox::take", "Outbox::done"] {
        let (world, shown, node, contest) = running(&["ann"]).await;
        world.complete(&node, contest, "ann").await;
        node.watch.fail(fails);
        node.process.relay().await.expect_err("the outbox fails");
        let other = world.node(&shown);
        let done = other.process.relay().await.expect("a pass");
        assert!(done > 0, "{fails}: another node goes on at once");
    }
}

/// Where a relay dies around its effect.
#[derive(Clone, Copy, Debug)]
enum Death {
    BeforeTheEffect,
    AfterTheEffect,
    BeforeTheAcknowledgement,
    AfterTheAcknowledgement,
}

impl Death {
    const ALL: [Self; 4] = [
        Self::BeforeTheEffect,
        Self::AfterTheEffect,
        Self::BeforeTheAcknowledgement,
        Self::AfterTheAcknowledgement,
    ];

    fn gate(self, node: &Node) -> Arc<Gate> {
        match self {
            Self::BeforeTheEffect => node.watch.hold_before("Tallies::count"),
            Self::AfterTheEffect => node.watch.hold_after("Tallies::count"),
            Self::BeforeTheAcknowledgement => node.watch.hold_before("Outbox::done"),
            Self::AfterTheAcknowledgement => node.watch.hold_after("Outbox::done"),
        }
    }
}

/// Whoever dies when, another node does it again once the lease is over, and it counts once.
async fn dies_and_is_followed(
    death: Death,
    world: &World,
    shown: &Arc<MemoryShown>,
    node: &Node,
    contest: ContestId,
) {
    let before = world.tally(shown, contest).await;
    let expected = world.counted(contest);
    assert_ne!(before, Some(expected), "there is something to be counted");
    killed_at(&death.gate(node), relaying(node)).await;
    let is_counted = !matches!(death, Death::BeforeTheEffect);
    let now = world.tally(shown, contest).await;
    assert_eq!(now == Some(expected), is_counted, "{death:?}: {now:?}");
    let is_left = !matches!(death, Death::AfterTheAcknowledgement);
    assert_eq!(!world.saved().await.is_empty(), is_left, "{death:?}");

    let other = world.node(shown);
    let done = other.process.relay().await.expect("a pass");
    assert_eq!(done, 0, "{death:?}: the dead one's lease lasts on");
    world.clock.advance(LEASE_MS);
    let done = other.process.relay().await.expect("a pass");
    assert!(done > 0, "{death:?}: the second deletes at least");
    let again = other.watch.calls("Tallies::count");
    assert_eq!(again > 0, is_left, "{death:?}: it is repeated");
    assert_eq!(
        world.tally(shown, contest).await,
        Some(expected),
        "{death:?}"
    );
    relay_all(world, &other).await;
    assert_eq!(
        world.tally(shown, contest).await,
        Some(expected),
        "{death:?}"
    );
}

// hazard: D1, G3
#[tokio::test]
async fn a_relay_that_dies_at_a_finisher_is_repeated_and_counts_once() {
    for death in Death::ALL {
        let (world, shown, node, contest) = running(&["ann", "bob"]).await;
        world.complete(&node, contest, "ann").await;
        dies_and_is_followed(death, &world, &shown, &node, contest).await;
        assert_eq!(world.counted(contest).finishers, 1);
    }
}

// hazard: D1, G3
#[tokio::test]
async fn a_relay_that_dies_at_a_prize_is_repeated_and_counts_once() {
    for death in Death::ALL {
        let (world, shown, node, contest) = claimable(&["ann", "bob"]).await;
        let claimed = world.claim(&node.process, contest, "ann").await;
        assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
        dies_and_is_followed(death, &world, &shown, &node, contest).await;
        let counted = world.counted(contest);
        assert_eq!((counted.winners, counted.prizes), (1, coins(10)));
    }
}

/// What fails stays and is tried again; what is beside it is done.
// hazard: E5, H12
#[tokio::test]
async fn an_effect_that_fails_is_tried_again_and_does_not_block_others() {
    let failing = [
        (
            "RecordCache::",
            ["drop_cached", "drop_cached_again"].as_slice(),
        ),
        ("Tallies::", &["count_finisher"]),
        ("Ranking::", &["rank"]),
    ];
    for (port, left) in failing {
        let (world, shown, node, contest) = running(&["ann", "bob"]).await;
        node.watch.fail(port);
        world.complete(&node, contest, "ann").await;
        world.clock.advance(DROP_AGAIN_MS);
        let left: BTreeSet<_> = left.iter().copied().collect();
        assert!(saved(&world).await.is_superset(&left));
        for _ in 0..3 {
            node.process.relay().await.expect("a pass");
            assert_eq!(saved(&world).await, left, "{port}");
            world.clock.advance(600);
        }
        let is_counted = world.tally(&shown, contest).await == Some(world.counted(contest));
        assert_eq!(is_counted, port != "Tallies::");
        node.watch.heal();
        relay_all(&world, &node).await;
        assert_eq!(
            world.tally(&shown, contest).await,
            Some(world.counted(contest))
        );
    }
}

// hazard: H12
#[tokio::test]
async fn a_contest_whose_effects_fail_does_not_block_those_of_others() {
    let (world, shown, node, contest) = running(&["ann", "bob"]).await;
    let other = world.create(&node.process, terms()).await;
    world.sign_up(&node.process, other, "ann").await;
    node.process.pool_of(other).await.expect("an answer");
    others_go_on().await;
    relay_all(&world, &node).await;
    // One event counts for both: they stand in one room.
    world.complete(&node, contest, "ann").await;
    world.complete(&node, other, "ann").await;
    fail_for(&node, contest);
    world.clock.advance(DROP_AGAIN_MS);
    node.process.relay().await.expect("a pass");
    let left = world.saved().await;
    assert!(!left.is_empty());
    assert!(
        left.iter().all(|entry| entry.contest_id == contest),
        "{left:?}"
    );
    assert_eq!(world.tally(&shown, other).await, Some(world.counted(other)));
    assert_ne!(
        world.tally(&shown, contest).await,
        Some(world.counted(contest))
    );
    node.watch.heal();
    relay_all(&world, &node).await;
    assert_eq!(
        world.tally(&shown, contest).await,
        Some(world.counted(contest))
    );
}

/// Everything that is done for a contest fails.
fn fail_for(node: &Node, contest: ContestId) {
    for port in [
        "Tallies::",
        "Ranking::",
        "RecordCache::",
        "ContestRepository::",
    ] {
        node.watch.fail_about(port, &contest.to_string());
    }
}

/// The most passes in which the relay must have come by every entry of these tests.
const ROUND: usize = 5;

// hazard: H12
#[tokio::test]
async fn pages_of_effects_that_fail_do_not_block_those_behind_them() {
    let (world, shown, node, contest) = running(&[]).await;
    let other = world.create(&node.process, terms()).await;
    world.grant("ann", 100);
    world.sign_up(&node.process, other, "ann").await;
    node.process.pool_of(other).await.expect("an answer");
    others_go_on().await;
    relay_all(&world, &node).await;
    let names: Vec<String> = (0..600).map(|number| format!("viewer-{number}")).collect();
    world.finishers(&node, contest, &names).await;
    world.complete(&node, other, "ann").await;
    fail_for(&node, contest);
    world.clock.advance(DROP_AGAIN_MS);
    let failing = world.saved().await;
    let is_counted =
        |it: &&OutboxEntry| it.contest_id == other && it.effect == Effect::CountFinisher;
    let before = failing.iter().take_while(|it| !is_counted(it));
    let before = before.filter(|it| it.contest_id == contest).count();
    assert!(before > 2_000, "more than two pages stand before: {before}");
    for _ in 0..ROUND {
        node.process.relay().await.expect("a pass");
    }
    let left = world.saved().await;
    let others: Vec<_> = left.iter().filter(|it| it.contest_id == other).collect();
    assert!(others.is_empty(), "{others:?}");
    assert_eq!(world.tally(&shown, other).await, Some(world.counted(other)));
    // What failed is still there, and is tried again.
    let kept = failing.iter().filter(|it| it.contest_id == contest);
    assert_eq!(left.len(), kept.count());
    node.watch.heal();
    relay_all(&world, &node).await;
    assert_eq!(
        world.tally(&shown, contest).await,
        Some(world.counted(contest))
    );
}

// hazard: F7, H12
#[tokio::test]
async fn an_effect_that_comes_due_behind_a_walk_over_failing_ones_is_not_passed_over() {
    let (world, _, node, contest) = running(&[]).await;
    let other = world.create(&node.process, terms()).await;
    let names: Vec<String> = (0..600).map(|number| format!("viewer-{number}")).collect();
    world.finishers(&node, contest, &names[..50]).await;
    world.grant("ann", 100);
    world.sign_up(&node.process, other, "ann").await;
    world.finishers(&node, contest, &names[50..]).await;
    fail_for(&node, contest);
    let is_anns = |it: &OutboxEntry| it.contest_id == other && it.user_id == user("ann");
    // The second delete of her record is numbered, but not due when the relay comes by.
    for _ in 0..2 {
        node.process.relay().await.expect("a pass");
    }
    let left = world.saved().await;
    assert!(left.len() > 1_000 && !left.iter().any(is_anns));
    world.clock.advance(DROP_AGAIN_MS);
    let place = world.saved().await.iter().position(is_anns);
    assert!(place.is_some_and(|place| place < 1_000), "{place:?}");
    for _ in 0..ROUND {
        node.process.relay().await.expect("a pass");
    }
    assert!(!world.saved().await.iter().any(is_anns));
}

// hazard: E2, E5, G3
#[tokio::test]
async fn what_a_dead_writer_did_not_drop_is_dropped_by_another_nodes_relay() {
    let (world, shown, node, contest) = running(&[]).await;
    let other = world.node(&shown);
    world.grant("ann", 100);
    let read = async |node: &Node| node.process.read(contest, &user("ann")).await;
    assert!(read(&other).await.expect("an answer").is_none());
    others_go_on().await;
    // Killed between its commit and its delete.
    let gate = node.watch.hold_before("RecordCache::drop_record");
    let process = Arc::clone(&node.process);
    let call = tokio::spawn(async move { process.sign_up(contest, &user("ann"), None).await });
    gate.reached().await;
    call.abort();
    assert!(call.await.expect_err("killed").is_cancelled());
    assert_eq!(world.state(contest, "ann"), StateKind::InProgress);
    let stale = read(&other).await.expect("an answer");
    assert!(stale.is_none(), "what was cached is old");
    other.process.relay().await.expect("a pass");
    assert!(read(&other).await.expect("an answer").is_some());
}

// hazard: E1, E2, E6, G3
#[tokio::test]
async fn the_second_delete_is_done_by_another_node_when_the_first_was_killed_between() {
    let (world, shown, node, contest) = running(&[]).await;
    let (reader, other) = (world.node(&shown), world.node(&shown));
    world.grant("ann", 100);
    // A reader has read that there is no row, and pauses.
    let gate = reader.watch.hold_before("RecordCache::fill");
    let seen = reader.process.read(contest, &user("ann")).await;
    assert!(seen.expect("an answer").is_none());
    gate.reached().await;
    world.sign_up(&node.process, contest, "ann").await;
    node.process.relay().await.expect("the first delete");
    drop(node);
    assert_eq!(
        saved(&world).await,
        BTreeSet::new(),
        "the second is not due"
    );
    // What was remembered of the first delete is lost, and the reader goes on.
    shown.flush();
    gate.open();
    others_go_on().await;
    let cached = RecordCache::get(&*shown, contest, &user("ann")).await;
    assert_eq!(
        cached.expect("an answer"),
        Some(Cached::Absent),
        "it is old"
    );
    world.clock.advance(DROP_AGAIN_MS);
    assert_eq!(
        saved(&world).await,
        BTreeSet::from([Effect::DropCachedAgain.name()])
    );
    assert!(other.process.relay().await.expect("a pass") > 0);
    let cached = RecordCache::get(&*shown, contest, &user("ann")).await;
    assert_eq!(cached.expect("an answer"), None);
    let seen = other.process.read(contest, &user("ann")).await;
    assert!(seen.expect("an answer").is_some());
}

#[tokio::test]
async fn one_node_relays_at_a_time() {
    let (world, shown, node, contest) = running(&["ann"]).await;
    let other = world.node(&shown);
    world.complete(&node, contest, "ann").await;
    let gate = node.watch.hold_before("Tallies::count");
    let pass = relaying(&node);
    gate.reached().await;
    assert_eq!(other.process.relay().await.expect("a pass"), 0);
    assert_eq!(other.watch.calls("Outbox::"), 0);
    gate.open();
    assert!(pass.await.expect("a task").expect("a pass") > 0);
    // It is given back at once.
    world.clock.advance(DROP_AGAIN_MS);
    assert!(other.process.relay().await.expect("a pass") > 0);
}

#[tokio::test]
async fn more_than_one_page_is_relayed_in_one_pass() {
    let (world, shown, node, contest) = running(&[]).await;
    let names: Vec<String> = (0..300).map(|number| format!("viewer-{number}")).collect();
    world.finishers(&node, contest, &names).await;
    world.clock.advance(DROP_AGAIN_MS);
    let done = node.process.relay().await.expect("a pass");
    assert!(done > 1_000, "{done}");
    assert!(world.saved().await.is_empty());
    assert_eq!(
        world.tally(&shown, contest).await,
        Some(world.counted(contest))
    );
    assert_eq!(world.counted(contest).finishers, 300);
}

/// What is open of the budget's alarm.
async fn alarms(node: &Node, contest: ContestId) -> Vec<Finding> {
    let findings = &node.process.ports().findings;
    let open = findings
        .list(FindingFilter::open_of(contest), None, 100)
        .await;
    open.expect("findings").items
}

/// Counts a prize that nobody was paid, as a fault in what is shown would.
async fn miscount(world: &World, shown: &Arc<MemoryShown>, contest: ContestId, prize: u64) {
    let count = [Count::Prize(OrderId([9; 16]), coins(prize))];
    let counted = Tallies::count(&**shown, &world.contest(contest), &count).await;
    assert!(matches!(counted, Ok(Counted::Now(_, 1))), "{counted:?}");
}

// hazard: D14
#[tokio::test]
async fn more_prizes_than_the_pool_are_an_early_alarm_that_stops_and_pays_nothing() {
    let names = ["ann", "bob", "cai"];
    let (world, shown, node, contest) = claimable(&names).await;
    // The pool has 30. As much as that is no alarm; one coin more is.
    miscount(&world, &shown, contest, 20).await;
    world.claim(&node.process, contest, "ann").await;
    relay_all(&world, &node).await;
    assert_eq!(alarms(&node, contest).await, []);
    let transfers = world.funds.transfers().len();
    world.claim(&node.process, contest, "bob").await;
    assert_eq!(
        alarms(&node, contest).await,
        [],
        "a claim looks at no tally"
    );
    relay_all(&world, &node).await;
    let found = alarms(&node, contest).await;
    let [alarm] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(
        (alarm.class, alarm.subject.as_str()),
        (FindingClass::TallyDiffers, "budget")
    );
    assert!(
        alarm.evidence.contains("40") && alarm.evidence.contains("30"),
        "{alarm:?}"
    );
    // It is early: the pool account has not refused anything, and a prize is still to be claimed.
    assert_eq!(world.balance(&world.contest(contest).pool_account()), 10);
    assert_eq!(world.funds.transfers().len(), transfers + 1);
    // Nothing stops, and nothing is paid by itself.
    let claimed = world.claim(&node.process, contest, "cai").await;
    assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
    relay_all(&world, &node).await;
    assert_eq!(alarms(&node, contest).await.len(), 1, "raised once");
    world.to_the_end(&node.process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    assert_eq!(names.map(|name| world.held(name)), [100, 100, 100]);
    world.check();
}

#[tokio::test]
async fn a_contest_that_is_paid_out_to_the_last_coin_raises_no_alarm() {
    let names = ["ann", "bob", "cai"];
    let (world, shown, node, contest) = claimable(&names).await;
    for name in names {
        world.claim(&node.process, contest, name).await;
        relay_all(&world, &node).await;
    }
    assert_eq!(alarms(&node, contest).await, []);
    let tally = world.tally(&shown, contest).await.expect("it is shown");
    assert_eq!((tally.winners, tally.prizes), (3, coins(30)));
}
