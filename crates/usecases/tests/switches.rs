//! What operators switch off does not begin, what has begun ends, and what waited goes on.

#![allow(clippy::expect_used, reason = "these are tests")]

mod world;

use adapters_memory::{faults::Fault, store::FaultyStore};
use domain::{
    contest::PhaseKind,
    effects::Effect,
    ids::ContestId,
    payout::Rule,
    signup::StateKind,
    switch::{Scope, Switch},
    terms::{ClaimMode, Terms, Unclaimed},
};
use ports::{
    findings::{FindingFilter, Findings},
    reconciliations::Scope as RunScope,
    switches::Said,
    system::Clock,
};
use std::sync::Arc;
use usecases::{
    Claimed, Contests, Ports, SignedUp, mend::Reconciling, runs::Asked, verdict::Repaired,
};
use world::{
    World, coins,
    meddled::{Answers, Meddled},
    nodes::others_go_on,
    played::later,
    terms, user,
};

async fn set(process: &Contests, switch: Switch, scope: &Scope, enabled: bool) {
    let said = Said {
        switch,
        scope: scope.clone(),
        enabled,
        by: user("olga"),
        reason: "a drill".to_owned(),
    };
    process.set_switch(&said).await.expect("set");
}

async fn off(process: &Contests, switch: Switch) {
    set(process, switch, &Scope::Everything, false).await;
}

async fn on(process: &Contests, switch: Switch) {
    set(process, switch, &Scope::Everything, true).await;
}

async fn sign_up(process: &Contests, contest: ContestId, name: &str) -> SignedUp {
    let signed_up = process.sign_up(contest, &user(name), None).await;
    signed_up.expect("an answer")
}

/// A contest of these terms, open.
async fn open(world: &World, process: &Contests, terms: Terms) -> ContestId {
    let contest = world.create(process, terms).await;
    world.settle_down(process).await;
    contest
}

/// A contest of these terms with finishers, at the moment at which it is settled, and not yet settled.
async fn finished(world: &World, process: &Contests, terms: Terms, names: &[String]) -> ContestId {
    let end = terms.tasks_end_at;
    let contest = open(world, process, terms).await;
    for name in names {
        world.grant(name, 10);
        world.sign_up(process, contest, name).await;
        world.finish(name).await;
    }
    world.at(end.plus(1_000));
    contest
}

fn names(number: usize) -> Vec<String> {
    (0..number)
        .map(|number| format!("viewer-{number}"))
        .collect()
}

fn in_state(world: &World, contest: ContestId, kind: StateKind) -> usize {
    let signups = world.signups(contest);
    signups
        .iter()
        .filter(|one| one.state.kind() == kind)
        .count()
}

#[tokio::test]
async fn nobody_new_signs_up_and_whoever_has_begun_is_gone_on_with() {
    let world = World::new();
    let process = world.process();
    let contest = open(&world, &process, terms()).await;
    let other = Terms {
        room_id: "elsewhere".parse().expect("a room"),
        ..terms()
    };
    let other = open(&world, &process, other).await;
    for name in ["ann", "bob", "cat", "dan"] {
        world.grant(name, 30);
    }
    world.sign_up(&process, contest, "ann").await;
    // Bob's fee may have been charged; nobody knows.
    let lost = world.process_with(Arc::new(Meddled::new(&world, Answers::Lost)) as _);
    let pending = sign_up(&lost, contest, "bob").await;
    assert!(matches!(pending, SignedUp::Pending(_)), "{pending:?}");
    // Eve has no coins.
    let refused = sign_up(&process, contest, "eve").await;
    assert!(
        matches!(refused, SignedUp::InsufficientFunds(_)),
        "{refused:?}"
    );
    world.grant("eve", 10);
    for scope in Scope::of(&world.contest(contest)) {
        set(&process, Switch::Signups, &scope, false).await;
        let told = |answer: &SignedUp| match answer {
            SignedUp::SwitchedOff(off) => off.to_string(),
            other => panic!("{other:?}"),
        };
        let moved = world.funds.transfers().len();
        for name in ["dan", "eve"] {
            let text = told(&sign_up(&process, contest, name).await);
            assert_eq!(
                text,
                format!("signups is switched off for {scope}: a drill")
            );
        }
        assert!(
            world.signup(contest, "dan").is_none(),
            "nothing is half done"
        );
        assert_eq!(world.state(contest, "eve"), StateKind::Initialized);
        world.settle_down(&process).await;
        assert_eq!(world.state(contest, "eve"), StateKind::Initialized);
        assert_eq!(world.funds.transfers().len(), moved, "nobody is charged");
        // A repeat is answered as ever.
        for name in ["ann", "bob"] {
            let again = sign_up(&process, contest, name).await;
            assert!(matches!(again, SignedUp::Yes(_)), "{again:?}");
        }
        let elsewhere = sign_up(&process, other, "cat").await;
        match scope {
            Scope::Everything => {
                told(&elsewhere);
            }
            _ => assert!(matches!(elsewhere, SignedUp::Yes(_)), "{elsewhere:?}"),
        }
        set(&process, Switch::Signups, &scope, true).await;
    }
    for name in ["dan", "eve"] {
        let signed_up = sign_up(&process, contest, name).await;
        assert!(matches!(signed_up, SignedUp::Yes(_)), "{signed_up:?}");
    }
    world.to_the_end(&process).await;
    world.check();
}

#[tokio::test]
async fn nobody_begins_to_claim_and_the_time_to_claim_grows() {
    let world = World::new();
    let process = world.process();
    let forfeiting = Terms {
        unclaimed: Unclaimed::Platform,
        ..terms()
    };
    let four = ["ann", "bob", "cat", "dan"].map(str::to_owned);
    let contest = finished(&world, &process, forfeiting, &four).await;
    world.settle_down(&process).await;
    let end = world.contest(contest).claims_end_at().expect("an end");
    let claimed = world.claim(&process, contest, "ann").await;
    assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
    let lost = world.process_with(Arc::new(Meddled::new(&world, Answers::NothingArrives)) as _);
    let claimed = world.claim(&lost, contest, "bob").await;
    assert!(matches!(claimed, Claimed::Pending(_)), "{claimed:?}");
    // Off and on again while nobody looks counts too.
    let before = world.clock.now();
    off(&process, Switch::Claims).await;
    world.clock.advance(5_000);
    on(&process, Switch::Claims).await;
    world.clock.advance(1_000);
    let off_at = world.clock.now();
    off(&process, Switch::Claims).await;
    let refused = world.claim(&process, contest, "cat").await;
    assert!(matches!(refused, Claimed::SwitchedOff(_)), "{refused:?}");
    assert_eq!(world.state(contest, "cat"), StateKind::Completed);
    let again = world.claim(&process, contest, "ann").await;
    assert!(matches!(again, Claimed::Yes(_)), "{again:?}");
    let nobody = world.claim(&process, contest, "eve").await;
    assert!(matches!(nobody, Claimed::NotSignedUp), "{nobody:?}");
    // What has begun ends, and nobody forfeits, long after the time to claim would have been over.
    world.settle_down(&process).await;
    assert_eq!(world.state(contest, "bob"), StateKind::Shared);
    world.at(end.plus(3_600_000));
    world.settle_down(&process).await;
    assert_eq!(world.state(contest, "cat"), StateKind::Completed);
    assert_eq!(world.contest(contest).claims_end_at(), None);
    let on_at = world.clock.now();
    on(&process, Switch::Claims).await;
    // The first who comes back needs nobody to have looked at the contest before.
    let claimed = world.claim(&process, contest, "cat").await;
    assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
    world.clock.advance(5_000);
    world.settle_down(&process).await;
    let longer = world.contest(contest).claims_end_at().expect("an end");
    assert_eq!(longer.since(end), 5_000 + on_at.since(off_at), "{before:?}");
    // And then it is over.
    world.at(longer);
    world.settle_down(&process).await;
    assert_eq!(world.state(contest, "dan"), StateKind::Forfeited);
    world.to_the_end(&process).await;
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    world.check();
}

/// The viewer is the first to come after the end that there would have been, and nobody has counted yet.
#[tokio::test]
async fn a_viewers_own_call_forfeits_nothing() {
    let world = World::new();
    let process = world.process();
    let forfeiting = Terms {
        unclaimed: Unclaimed::Platform,
        ..terms()
    };
    let names = names(2);
    let contest = finished(&world, &process, forfeiting, &names).await;
    world.settle_down(&process).await;
    let end = world.contest(contest).claims_end_at().expect("an end");
    off(&process, Switch::Claims).await;
    world.at(end.plus(1_000));
    let read = process.read(contest, &user(&names[0])).await;
    read.expect("an answer").expect("a signup");
    assert_eq!(world.state(contest, &names[0]), StateKind::Completed);
    on(&process, Switch::Claims).await;
    let claimed = world.claim(&process, contest, &names[0]).await;
    assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
    // What an operator asks for has counted, and forfeits what nobody claims.
    world.at(world.contest(contest).claims_end_at().expect("an end"));
    process.run_contest(contest).await.expect("a pass");
    assert_eq!(world.state(contest, &names[1]), StateKind::Forfeited);
    world.to_the_end(&process).await;
    world.check();
}

#[tokio::test]
async fn automatic_payout_stops_in_the_middle_and_goes_on_where_it_stopped() {
    const VIEWERS: usize = 700;
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let automatic = Terms {
        claim_mode: ClaimMode::Automatic,
        ..terms()
    };
    let contest = finished(&world, &node.process, automatic, &names(VIEWERS)).await;
    // The first payments are under way.
    let gate = node.watch.hold_before("Funds::transfer");
    let paying = Arc::clone(&node.process);
    let paying = tokio::spawn(async move {
        for _ in 0..20 {
            paying.run_contests().await.expect("a round");
            tokio::task::yield_now().await;
        }
    });
    gate.reached().await;
    off(&node.process, Switch::AutomaticPayout).await;
    gate.open();
    paying.await.expect("no panic");
    world.settle_down(&node.process).await;
    let paid = in_state(&world, contest, StateKind::Shared);
    assert!((1..VIEWERS).contains(&paid), "{paid} were paid");
    assert_eq!(
        in_state(&world, contest, StateKind::Claiming),
        0,
        "what had begun ends"
    );
    assert_eq!(
        in_state(&world, contest, StateKind::Completed),
        VIEWERS - paid
    );
    // Who reads their signup begins no payment either, and nobody is called because it waits.
    let waiting = world.signups(contest);
    let waiting = waiting
        .iter()
        .find(|one| one.state.kind() == StateKind::Completed);
    let waiting = waiting.expect("one waits").user_id.clone();
    let read = node
        .process
        .read(contest, &waiting)
        .await
        .expect("an answer");
    assert_eq!(
        read.expect("a signup").signup.state.kind(),
        StateKind::Completed
    );
    for _ in 0..30 {
        world.clock.advance(60_000);
        world.settle_down(&node.process).await;
    }
    assert_eq!(in_state(&world, contest, StateKind::Shared), paid);
    let open = world
        .store
        .list(FindingFilter::open_of(contest), None, 10)
        .await;
    assert_eq!(open.expect("a page").items, []);
    on(&node.process, Switch::AutomaticPayout).await;
    world.to_the_end(&node.process).await;
    assert_eq!(in_state(&world, contest, StateKind::Shared), VIEWERS);
    assert_eq!(world.phase(contest), PhaseKind::Closed);
    world.check();
}

#[tokio::test]
async fn the_house_does_not_pay_what_nobody_claimed_while_it_must_not() {
    let world = World::new();
    let process = world.process();
    let names = names(3);
    let contest = finished(&world, &process, terms(), &names).await;
    world.settle_down(&process).await;
    set(
        &process,
        Switch::AutomaticPayout,
        &Scope::Contest(contest),
        false,
    )
    .await;
    // Claims go on.
    let claimed = world.claim(&process, contest, &names[0]).await;
    assert!(matches!(claimed, Claimed::Yes(_)), "{claimed:?}");
    world.at(world.contest(contest).claims_end_at().expect("an end"));
    world.to_the_end(&process).await;
    assert_eq!(in_state(&world, contest, StateKind::Completed), 2);
    // Another process reads it from the store.
    let other = world.process();
    other.read_switches().await.expect("read");
    world.settle_down(&other).await;
    assert_eq!(in_state(&world, contest, StateKind::Completed), 2);
    set(
        &other,
        Switch::AutomaticPayout,
        &Scope::Contest(contest),
        true,
    )
    .await;
    world.to_the_end(&other).await;
    assert_eq!(in_state(&world, contest, StateKind::Shared), 3);
    world.check();
}

#[tokio::test]
async fn what_differs_is_told_and_repaired_only_where_somebody_asks_for_it() {
    let world = World::new();
    let process = world.process().reconciled(Reconciling {
        bounds: later(),
        ..Reconciling::default()
    });
    let contest = open(&world, &process, terms()).await;
    world.grant("ann", 10);
    let lost = world.process_with(Arc::new(Meddled::new(&world, Answers::Lost)) as _);
    let pending = sign_up(&lost, contest, "ann").await;
    assert!(matches!(pending, SignedUp::Pending(_)), "{pending:?}");
    world.clock.advance(1_000);
    off(&process, Switch::AutomaticRepair).await;
    let reconcile = async || {
        let asked = Asked {
            scope: RunScope::one(contest),
            by: None,
            is_dry: false,
        };
        let run = process.run_here(asked).await.expect("a store");
        run.expect("a run").totals
    };
    let totals = reconcile().await;
    assert_eq!((totals.differences, totals.repaired), (1, 0));
    process.watch().await.expect("a round");
    assert_eq!(world.state(contest, "ann"), StateKind::Initialized);
    let open = world
        .store
        .list(FindingFilter::open_of(contest), None, 10)
        .await;
    let found = open.expect("a page").items;
    assert_eq!(found[0].class.name(), "FEE_UNRECORDED");
    let repaired = process.repair_finding(found[0].id, user("olga")).await;
    let repaired = repaired.expect("both sides");
    assert!(matches!(repaired, Repaired::Yes(_)), "{repaired:?}");
    assert_eq!(world.state(contest, "ann"), StateKind::InProgress);
}

#[tokio::test]
async fn while_the_store_of_switches_is_away_the_last_values_stay() {
    let world = World::new();
    let store = FaultyStore::new(Arc::clone(&world.store), Arc::clone(&world.faults));
    let ports = Ports {
        switches: Arc::new(store),
        ..world.process().ports().clone()
    };
    let process = Contests::new(ports).expect("a safe funds system");
    let contest = open(&world, &process, terms()).await;
    process.read_switches().await.expect("read");
    off(&world.process(), Switch::Signups).await;
    assert!(
        process.read_switches().await.expect("read"),
        "it has changed"
    );
    assert!(!process.read_switches().await.expect("read"), "it has not");
    let stale = || process.switches().stale_ms(world.clock.now());
    assert_eq!((stale(), process.readiness().as_str()), (0, "ready"));
    on(&world.process(), Switch::Signups).await;
    world.clock.advance(7_000);
    world.faults.arm(0, Fault::Before);
    process.read_switches().await.expect_err("it is away");
    world.grant("ann", 10);
    let refused = sign_up(&process, contest, "ann").await;
    assert!(matches!(refused, SignedUp::SwitchedOff(_)), "{refused:?}");
    assert_eq!(stale(), 7_000);
    let told = process.readiness();
    assert!(
        told.starts_with("ready; the switches are as of 7 s ago"),
        "{told}"
    );
    process.read_switches().await.expect("it is back");
    assert_eq!((stale(), process.readiness().as_str()), (0, "ready"));
    let signed_up = sign_up(&process, contest, "ann").await;
    assert!(matches!(signed_up, SignedUp::Yes(_)), "{signed_up:?}");
}

#[tokio::test]
async fn nothing_is_counted_in_redis_and_the_tally_is_right_when_it_is_again() {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let contest = open(&world, &node.process, terms()).await;
    let relay = async || {
        world.clock.advance(1_500);
        node.process.relay().await.expect("a round");
        others_go_on().await;
    };
    node.process
        .pool(&world.contest(contest))
        .await
        .expect("a pool");
    others_go_on().await;
    world.finishers(&node, contest, &names(3)).await;
    relay().await;
    assert_eq!(
        world.tally(&shown, contest).await,
        Some(world.counted(contest))
    );
    off(&node.process, Switch::RedisTally).await;
    let (four, two) = (names(7)[3..].to_vec(), ["x", "y"].map(str::to_owned));
    world.finishers(&node, contest, &four).await;
    relay().await;
    assert_eq!(
        world.tally(&shown, contest).await,
        None,
        "half a tally is none"
    );
    assert_eq!(world.saved().await, [], "nothing waits");
    let reads = node.watch.calls("Tallies::read");
    let pool = node
        .process
        .pool(&world.contest(contest))
        .await
        .expect("a pool");
    assert_eq!((pool.finishers, pool.amount), (7, coins(70)));
    assert_eq!(
        node.watch.calls("Tallies::read"),
        reads,
        "nobody asks Redis"
    );
    others_go_on().await;
    assert_eq!(world.tally(&shown, contest).await, None, "nor builds it");
    on(&node.process, Switch::RedisTally).await;
    world.finishers(&node, contest, &two).await;
    relay().await;
    node.process
        .pool(&world.contest(contest))
        .await
        .expect("a pool");
    others_go_on().await;
    assert_eq!(
        world.tally(&shown, contest).await,
        Some(world.counted(contest))
    );
}

#[tokio::test]
async fn records_are_read_from_the_store_and_old_copies_are_dropped_all_the_same() {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let contest = open(&world, &node.process, terms()).await;
    let refused = sign_up(&node.process, contest, "ann").await;
    assert!(
        matches!(refused, SignedUp::InsufficientFunds(_)),
        "{refused:?}"
    );
    let look = async || {
        let seen = node
            .process
            .read(contest, &user("ann"))
            .await
            .expect("an answer");
        others_go_on().await;
        seen.map(|seen| seen.signup.state.kind())
    };
    for _ in 0..2 {
        assert_eq!(look().await, Some(StateKind::Initialized));
    }
    let (asked, filled) = (
        node.watch.calls("RecordCache::get"),
        node.watch.calls("RecordCache::fill"),
    );
    assert!(filled > 0, "it was cached");
    off(&node.process, Switch::RecordCache).await;
    world.grant("ann", 10);
    world.sign_up(&node.process, contest, "ann").await;
    assert_eq!(look().await, Some(StateKind::InProgress));
    assert_eq!(node.watch.calls("RecordCache::get"), asked);
    assert_eq!(node.watch.calls("RecordCache::fill"), filled);
    // What was cached before is not there when it is on again.
    on(&node.process, Switch::RecordCache).await;
    assert_eq!(look().await, Some(StateKind::InProgress));
    assert!(node.watch.calls("RecordCache::get") > asked);
}

#[tokio::test]
async fn the_second_delete_is_left_out() {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let contest = open(&world, &node.process, terms()).await;
    let left = async || {
        world.clock.advance(1_500);
        node.process.relay().await.expect("a round");
        world.saved().await.len()
    };
    for (name, is_on) in [("ann", true), ("bob", false)] {
        set(
            &node.process,
            Switch::DelayedSecondDelete,
            &Scope::Everything,
            is_on,
        )
        .await;
        world.grant(name, 10);
        world.sign_up(&node.process, contest, name).await;
        // What is due at once comes first.
        node.process.relay().await.expect("a round");
        let drops = node.watch.calls("RecordCache::drop_record");
        assert_eq!(left().await, 0, "{name}: nothing waits");
        let dropped = node.watch.calls("RecordCache::drop_record") - drops;
        assert_eq!(
            dropped > 0,
            is_on,
            "{name}: {}",
            Effect::DropCachedAgain.name()
        );
    }
}

#[tokio::test]
async fn the_pool_is_added_up_from_rows_while_the_funds_system_is_not_asked() {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let guaranteed = Terms {
        guaranteed_pool: coins(15),
        rule: Rule::Equal,
        ..terms()
    };
    let contest = open(&world, &node.process, guaranteed).await;
    let pool = async || {
        let pool = node
            .process
            .pool(&world.contest(contest))
            .await
            .expect("a pool");
        (pool.amount, pool.is_from_funds)
    };
    set(
        &node.process,
        Switch::LivePool,
        &Scope::Contest(contest),
        false,
    )
    .await;
    assert_eq!(pool().await, (coins(15), false));
    for (name, amount) in [("ann", 15), ("bob", 20)] {
        world.grant(name, 10);
        world.sign_up(&node.process, contest, name).await;
        world.clock.advance(2_000);
        let asked = node.watch.calls("Funds::balance");
        assert_eq!(pool().await, (coins(amount), false));
        assert_eq!(node.watch.calls("Funds::balance"), asked, "it is not asked");
    }
    set(
        &node.process,
        Switch::LivePool,
        &Scope::Contest(contest),
        true,
    )
    .await;
    assert_eq!(pool().await, (coins(20), true));
}
