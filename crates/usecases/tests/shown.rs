//! What is only shown: it saves the store work, and whatever it answers or fails to answer changes
//! no flow and no coin.

mod world;

use domain::{
    contest::PhaseKind,
    ids::ContestId,
    order::{Account, Platform},
    terms::Terms,
};
use ports::{
    leaderboard::{Leaderboard, Place},
    shown::{ABSENT_MS_MAX, Cached, FILL_MS_MAX, PastPools, RecordCache},
    system::Clock,
};
use std::{fmt::Write as _, sync::Arc};
use usecases::{Claimed, Contests, Created, Failure, Own, Pool, Ports, Seen, Shown, SignedUp};
use world::{
    START, World, coins,
    meddled::{Answers, Meddled},
    nodes::{Node, others_go_on, until},
    terms, user,
    watched::Dice,
};

/// The ports of what is only shown.
const PORTS: [&str; 4] = ["RecordCache::", "Tallies::", "Ranking::", "PastPools::"];
const DAY_MS: i64 = 86_400_000;

/// Looks at the store for a viewer's record: the row and the contest are asked for together.
fn looks(node: &Node) -> [u64; 2] {
    ["SignupRepository::find", "ContestRepository::get"].map(|name| node.watch.calls(name))
}

fn more(looks: [u64; 2], by: u64) -> [u64; 2] {
    looks.map(|calls| calls + by)
}

// hazard: E7
#[tokio::test]
async fn ten_thousand_reads_of_who_is_not_signed_up_cost_one_look_at_the_store_a_lifetime() {
    let world = World::new();
    let node = world.node(&world.empty_shown());
    let contest = world.create(&node.process, terms()).await;
    let before = looks(&node);
    let read = async |times: usize| {
        for _ in 0..times {
            let own = node.process.own(contest, &user("ann")).await;
            assert!(matches!(own, Ok(Own::NotSignedUp)), "{own:?}");
        }
    };
    read(10_000).await;
    assert_eq!(looks(&node), more(before, 1));
    world.clock.advance(ABSENT_MS_MAX - 1);
    read(100).await;
    assert_eq!(looks(&node), more(before, 1), "its last moment");
    world.clock.advance(1);
    read(100).await;
    assert_eq!(looks(&node), more(before, 2));
    // Another node finds what this one stored.
    assert_eq!(node.watch.calls("RecordCache::fill"), 2);
}

#[tokio::test]
async fn a_contest_that_is_not_there_is_told_from_one_without_the_viewer() {
    let world = World::new();
    let nobody = ContestId(uuid::Uuid::from_u128(7));
    for process in [
        Arc::new(world.process()),
        world.node(&world.empty_shown()).process,
    ] {
        let contest = world.create(&process, terms()).await;
        for _ in 0..2 {
            let own = process.own(contest, &user("ann")).await;
            assert!(matches!(own, Ok(Own::NotSignedUp)), "{own:?}");
            let own = process.own(nobody, &user("ann")).await;
            assert!(matches!(own, Ok(Own::NoContest)), "{own:?}");
            others_go_on().await;
        }
    }
}

// hazard: E7, E9
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_sixty_four_that_read_at_once_one_looks_at_the_store() {
    let world = World::new();
    let node = world.node(&world.empty_shown());
    let contest = world.create(&node.process, terms()).await;
    let calls = |node: &Node| {
        let read = |_| {
            let process = Arc::clone(&node.process);
            tokio::spawn(async move { process.read(contest, &user("ann")).await })
        };
        (0..64).map(read).collect::<Vec<_>>()
    };
    for round in 1..=3 {
        let before = looks(&node);
        let asked = node.watch.calls("RecordCache::get");
        // The first one is at the store until all have found nothing cached.
        let gate = node.watch.hold_before("SignupRepository::find");
        let reads = calls(&node);
        gate.reached().await;
        until("all ask", || {
            node.watch.calls("RecordCache::get") > asked + 64
        })
        .await;
        gate.open();
        for read in reads {
            let seen = read.await.expect("a task");
            assert!(seen.expect("an answer").is_none());
        }
        assert_eq!(looks(&node), more(before, 1), "round {round}");
        node.watch.heal();
        world.clock.advance(ABSENT_MS_MAX);
    }
}

// hazard: E8
#[tokio::test]
async fn who_signs_up_is_seen_at_once_though_they_were_known_not_to_be() {
    let world = World::new();
    let shown = world.empty_shown();
    let (node, other) = (world.node(&shown), world.node(&shown));
    let contest = world.create(&node.process, terms()).await;
    let seen = async |node: &Node, name: &str| {
        let seen = node.process.read(contest, &user(name)).await;
        seen.expect("an answer").map(|seen| seen.signup)
    };
    for name in ["ann", "poor", "pending"] {
        assert!(seen(&other, name).await.is_none());
        others_go_on().await;
        let cached = RecordCache::get(&*shown, contest, &user(name)).await;
        assert_eq!(cached.expect("an answer"), Some(Cached::Absent));
    }
    world.grant("ann", 100);
    world.sign_up(&node.process, contest, "ann").await;
    assert!(seen(&other, "ann").await.is_some(), "paid");
    let refused = node.process.sign_up(contest, &user("poor"), None).await;
    assert!(matches!(refused, Ok(SignedUp::InsufficientFunds(_))));
    assert!(seen(&other, "poor").await.is_some(), "refused");
    // Nobody knows yet whether it was paid.
    let ports = Ports {
        funds: Arc::new(Meddled::new(&world, Answers::NothingArrives)),
        ..node.process.ports().clone()
    };
    let mute = Contests::new(ports).expect("a safe funds system");
    let pending = mute.sign_up(contest, &user("pending"), None).await;
    assert!(matches!(pending, Ok(SignedUp::Pending(_))), "{pending:?}");
    let pending = seen(&other, "pending").await;
    assert!(pending.is_some(), "pending");
}

// hazard: E1, E3
#[tokio::test]
async fn what_took_too_long_to_read_is_not_stored() {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let contest = world.create(&node.process, terms()).await;
    for (late, is_stored) in [(FILL_MS_MAX - 1, true), (FILL_MS_MAX, false)] {
        shown.flush();
        let gate = node.watch.hold_after("SignupRepository::find");
        let process = Arc::clone(&node.process);
        let read = tokio::spawn(async move { process.read(contest, &user("ann")).await });
        gate.reached().await;
        world.clock.advance(late);
        gate.open();
        assert!(read.await.expect("a task").expect("an answer").is_none());
        others_go_on().await;
        let cached = RecordCache::get(&*shown, contest, &user("ann")).await;
        assert_eq!(cached.expect("an answer").is_some(), is_stored, "{late}");
        node.watch.heal();
    }
}

/// A record as a client sees it.
fn record(seen: &Seen) -> String {
    let Seen {
        contest,
        signup,
        done,
    } = seen;
    let (state, prize) = (signup.state.kind(), signup.state.prize());
    let phase = contest.phase.kind();
    format!(
        "{} {state:?} {done} done, {prize:?}, {phase:?}",
        signup.user_id
    )
}

fn pool(pool: &Pool) -> String {
    let Pool {
        amount,
        finishers,
        estimated_prize,
        as_of,
        // Says only where the answer may be kept.
        is_from_funds: _,
    } = pool;
    format!("{amount} among {finishers}, {estimated_prize} each, as of {as_of:?}")
}

fn place(place: &Place) -> String {
    let Place {
        rank,
        user_id,
        quantity,
        reached_at,
        signup_id: _,
    } = place;
    format!("{rank}. {user_id} {quantity} {reached_at:?}")
}

/// What clients were told.
#[derive(Default)]
struct Told {
    /// By flows, and what everybody holds at the end.
    flows: String,
    /// When they looked.
    views: String,
}

/// Everything that can be looked at.
async fn look_around(process: &Contests, id: ContestId, told: &mut Told) {
    let told = &mut told.views;
    // Twice, so that what is cached is seen too.
    for _ in 0..2 {
        // Numbers follow what was saved, and reading repairs: so that they are the same, all of it
        // has been read and relayed.
        let names = ["ann", "bob", "cai", "poor", "dan"];
        for name in names {
            process.read(id, &user(name)).await.expect("an answer");
        }
        process.relay().await.expect("a pass");
        others_go_on().await;
        for name in names {
            let seen = process.read(id, &user(name)).await.expect("an answer");
            writeln!(told, "{name}: {:?}", seen.as_ref().map(record)).expect("a line");
        }
        let contest = process.visible(id).await.expect("an answer");
        let contest = contest.expect("a contest");
        let top = process.top(&contest, 10).await.expect("an answer");
        writeln!(told, "{:?}", top.iter().map(place).collect::<Vec<_>>()).expect("a line");
        for name in ["ann", "cai", "dan"] {
            let own = process.place_of(&contest, &user(name)).await;
            let own = own.expect("an answer");
            writeln!(told, "{name}: {:?}", own.as_ref().map(place)).expect("a line");
        }
        let of = process.pool_of(id).await.expect("an answer");
        writeln!(told, "{:?}", of.as_ref().map(pool)).expect("a line");
        let live = process.pool(&contest).await.expect("an answer");
        writeln!(told, "{}", pool(&live)).expect("a line");
        let listed = process.ports().signups.page(id, &[], None, 10).await;
        let listed = process.look(&contest, listed.expect("a page").items).await;
        let listed: Vec<_> = listed.expect("an answer").iter().map(record).collect();
        writeln!(told, "{listed:?}").expect("a line");
        let report = process.report(id).await.expect("an answer");
        let report = report.expect("a contest");
        let violations = report.violations.map(|violations| violations.len());
        writeln!(
            told,
            "{:?} {:?} {violations:?} {}",
            report.counts,
            report.balance,
            report.findings.len()
        )
        .expect("a line");
    }
}

/// Two contests from beginning to end, one of them cancelled.
async fn play(world: &World, process: &Contests) -> Told {
    let mut told = Told::default();
    for (name, amount) in [("ann", 100), ("bob", 100), ("cai", 100), ("poor", 3)] {
        world.grant(name, amount);
    }
    let target = Terms {
        rake_bps: domain::terms::BasisPoints::new(1_000).expect("a part"),
        guaranteed_pool: coins(40),
        task: domain::terms::Task {
            target: 2,
            ..terms().task
        },
        ..terms()
    };
    let contests = [
        world.create(process, target).await,
        world.create(process, terms()).await,
    ];
    for contest in contests {
        look_around(process, contest, &mut told).await;
        for name in ["ann", "bob", "cai", "poor", "ann"] {
            let answer = process.sign_up(contest, &user(name), None).await;
            let line = match answer.expect("an answer") {
                SignedUp::Yes(seen) => format!("yes: {}", record(&seen)),
                SignedUp::InsufficientFunds(seen) => format!("too few: {}", record(&seen)),
                other => panic!("{other:?}"),
            };
            writeln!(told.flows, "{line}").expect("a line");
        }
        look_around(process, contest, &mut told).await;
        world.clock.advance(1_000);
    }
    for name in ["ann", "bob", "ann", "cai", "ann", "bob", "dan"] {
        let outcome = world.finish(name).await;
        writeln!(told.flows, "{name}: {outcome:?}").expect("a line");
        world.clock.advance(10);
        look_around(process, contests[0], &mut told).await;
    }
    let cancelled = process.cancel(contests[1]).await.expect("an answer");
    assert!(matches!(cancelled, usecases::Cancelled::Yes(_)));
    world.settle_down(process).await;
    look_around(process, contests[1], &mut told).await;
    world.at(START.plus(121_000));
    let settled = process.settle(contests[0]).await.expect("an answer");
    assert!(matches!(settled, usecases::Settled::Yes(_)));
    world.settle_down(process).await;
    look_around(process, contests[0], &mut told).await;
    for name in ["ann", "ann", "cai", "poor", "dan"] {
        let line = match process.claim(contests[0], &user(name)).await {
            Ok(Claimed::Yes(seen)) => format!("yes: {}", record(&seen)),
            Ok(other) => format!("{other:?}"),
            Err(error) => panic!("{error:?}"),
        };
        writeln!(told.flows, "{name}: {line}").expect("a line");
    }
    look_around(process, contests[0], &mut told).await;
    world.to_the_end(process).await;
    look_around(process, contests[0], &mut told).await;
    look_around(process, contests[1], &mut told).await;
    let phases = contests.map(|contest| world.phase(contest));
    assert_eq!(phases, [PhaseKind::Closed, PhaseKind::Cancelled]);
    for name in ["ann", "bob", "cai", "poor"] {
        writeln!(told.flows, "{name} has {}", world.held(name)).expect("a line");
    }
    for account in Platform::ALL {
        let held = world.balance(&Account::Platform(account));
        writeln!(told.flows, "{account:?} has {held}").expect("a line");
    }
    world.check();
    told
}

/// The first line in which two differ.
fn assert_same(one: &str, other: &str, what: &str) {
    for (number, (line, other)) in one.lines().zip(other.lines()).enumerate() {
        assert_eq!(line, other, "{what}, line {number}");
    }
    assert_eq!(one.lines().count(), other.lines().count(), "{what}");
}

// hazard: D12, D14, E5
#[tokio::test(start_paused = true)]
async fn whatever_fails_to_be_shown_every_flow_answers_and_pays_as_without() {
    let without = {
        let world = World::new();
        play(&world, &world.process()).await
    };
    println!("{} lines", without.views.lines().count());
    let with = async |what: &str, meddle: &dyn Fn(&Node)| {
        let world = World::new();
        let node = world.node(&world.empty_shown());
        meddle(&node);
        let told = play(&world, &node.process).await;
        assert_same(&told.flows, &without.flows, what);
        (node, told.views)
    };
    let views = async |what: &str, meddle: &dyn Fn(&Node)| {
        let (node, views) = with(what, meddle).await;
        assert_same(&views, &without.views, what);
        node
    };
    let node = views("all is well", &|_| {}).await;
    for port in PORTS {
        assert!(node.watch.calls(port) > 0, "{port} is used");
    }
    for port in PORTS {
        views(&format!("{port} fails"), &|node| node.watch.fail(port)).await;
        views(&format!("{port} hangs"), &|node| node.watch.hang(port)).await;
    }
    let all = |node: &Node, meddle: &dyn Fn(&Node, &'static str)| {
        for port in PORTS {
            meddle(node, port);
        }
    };
    views("all fail", &|node| {
        all(node, &|node, port| node.watch.fail(port))
    })
    .await;
    views("all hang", &|node| {
        all(node, &|node, port| node.watch.hang(port))
    })
    .await;
    // Where only some calls fail, what is looked at may be old for a while; flows are not.
    for _ in 0..20 {
        let dice = Dice::cast();
        for sides in [2, 5] {
            let fails = |node: &Node, port| node.watch.fail_sometimes(port, sides, &dice);
            with(&format!("one of {sides} fails"), &|node| all(node, &fails)).await;
        }
    }
}

/// A contest that is frozen, or cancelled, with what its pool is.
async fn past(world: &World, node: &Node, is_cancelled: bool) -> (ContestId, u64) {
    let contest = world.create(&node.process, terms()).await;
    for name in ["ann", "bob"] {
        world.grant(name, 100);
        world.sign_up(&node.process, contest, name).await;
    }
    if is_cancelled {
        node.process.cancel(contest).await.expect("an answer");
        world.settle_down(&node.process).await;
        return (contest, 0);
    }
    world.finish("ann").await;
    world.at(START.plus(121_000));
    world.settle_down(&node.process).await;
    assert_eq!(world.phase(contest), PhaseKind::Claimable);
    (contest, 20)
}

// hazard: E12, E13
#[tokio::test]
async fn a_past_pool_is_answered_without_the_funds_system() {
    for is_cancelled in [false, true] {
        let world = World::new();
        let shown = world.empty_shown();
        let node = world.node(&shown);
        let (contest, amount) = past(&world, &node, is_cancelled).await;
        node.watch.fail("Funds::");
        shown.flush();
        let asked = node.watch.calls("Funds::");
        let pool = async || {
            let pool = node.process.pool_of(contest).await;
            pool.expect("an answer").expect("a pool")
        };
        // From the store, where it is frozen; and kept.
        let first = pool().await;
        assert_eq!((first.amount, first.is_from_funds), (coins(amount), false));
        others_go_on().await;
        let reads = node.watch.calls("ContestRepository::");
        for _ in 0..100 {
            assert_eq!(pool().await, first);
        }
        assert_eq!(node.watch.calls("ContestRepository::"), reads, "it is kept");
        // Also while the store is off.
        node.watch.fail("ContestRepository::");
        assert_eq!(pool().await, first);
        node.watch.heal();
        node.watch.fail("Funds::");
        // Lost, it is made again from the store.
        shown.flush();
        assert_eq!(pool().await, first);
        others_go_on().await;
        let kept = PastPools::get(&*shown, contest).await.expect("an answer");
        assert_eq!(kept.map(Pool::from), Some(first));
        assert_eq!(node.watch.calls("Funds::"), asked, "nobody asked it");
    }
}

#[tokio::test]
async fn an_open_pool_is_never_kept_and_always_the_funds_systems_own() {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let contest = world.create(&node.process, terms()).await;
    let pool = async || node.process.pool_of(contest).await;
    for number in 0..10_u64 {
        let name = format!("viewer-{number}");
        let before = node.watch.calls("Funds::balance");
        let open = pool().await.expect("an answer").expect("a pool");
        assert_eq!(
            (open.amount, open.is_from_funds),
            (coins(number * 10), true)
        );
        assert_eq!(
            node.watch.calls("Funds::balance"),
            before + 1,
            "it was asked"
        );
        world.grant(&name, 100);
        world.sign_up(&node.process, contest, &name).await;
        world.finish(&name).await;
        others_go_on().await;
    }
    // In every phase up to the freeze; and without it there is no answer.
    let is_open = |world: &World| world.contest(contest).phase.frozen().is_none();
    world.at(START.plus(61_000));
    node.watch.fail_about("ContestRepository::census", "");
    world.settle_down_but(&node.process).await;
    assert!(is_open(&world));
    node.watch.fail("Funds::balance");
    let failed = pool().await;
    assert!(matches!(failed, Err(Failure::Funds(_))), "{failed:?}");
    world.at(START.plus(121_000));
    world.settle_down_but(&node.process).await;
    assert_eq!(world.phase(contest), PhaseKind::Judging);
    let failed = pool().await;
    assert!(matches!(failed, Err(Failure::Funds(_))), "{failed:?}");
    others_go_on().await;
    assert_eq!(node.watch.calls("PastPools::put"), 0);
    let kept = PastPools::get(&*shown, contest).await.expect("an answer");
    assert_eq!(kept, None);
}

#[tokio::test]
async fn a_crowd_that_asks_for_a_pool_without_a_tally_costs_one_count() {
    let world = World::new();
    let node = world.node(&world.empty_shown());
    let contest = world.create(&node.process, terms()).await;
    for round in 0..2 {
        node.watch.heal();
        node.watch.fail("Tallies::read");
        let before = node.watch.calls("ContestRepository::counts");
        let gate = node.watch.hold_before("ContestRepository::counts");
        let asked: Vec<_> = (0..64)
            .map(|_| {
                let process = Arc::clone(&node.process);
                tokio::spawn(async move { process.pool_of(contest).await })
            })
            .collect();
        gate.reached().await;
        others_go_on().await;
        gate.open();
        for asked in asked {
            let pool = asked.await.expect("a task").expect("an answer");
            assert_eq!(pool.expect("a pool").finishers, 0);
        }
        let counts = node.watch.calls("ContestRepository::counts") - before;
        assert_eq!(counts, 1, "round {round}");
    }
}

#[tokio::test]
async fn who_asks_for_an_open_pool_sees_every_fee_that_was_paid_before() {
    let world = World::new();
    let node = world.node(&world.empty_shown());
    let contest = world.create(&node.process, terms()).await;
    // The answers of those who asked earlier are still on their way.
    let gate = node.watch.hold_after("Funds::balance");
    let mut asked = Vec::new();
    for number in 0..10_u64 {
        let process = Arc::clone(&node.process);
        asked.push(tokio::spawn(async move { process.pool_of(contest).await }));
        gate.reached().await;
        let name = format!("viewer-{number}");
        world.grant(&name, 100);
        world.sign_up(&node.process, contest, &name).await;
    }
    gate.open();
    for (paid, answer) in (0..).zip(asked) {
        let pool = answer.await.expect("a task").expect("an answer");
        assert_eq!(pool.expect("a pool").amount, coins(paid * 10));
    }
}

// hazard: E11
#[tokio::test]
async fn a_contest_that_is_longer_than_what_is_shown_lives_is_refused_at_creation() {
    let world = World::new();
    let node = world.node(&world.empty_shown());
    let longest = START.plus(366 * DAY_MS);
    // By itself it lasts no longer than any contest may; but it is announced ten days before.
    let opens_at = START.plus(10 * DAY_MS);
    let create = async |process: &Contests, claim_closes_at| {
        let terms = Terms {
            signup_opens_at: opens_at,
            signup_closes_at: opens_at.plus(60_000),
            tasks_end_at: opens_at.plus(120_000),
            claim_closes_at,
            ..terms()
        };
        let terms = terms.check().expect("legal terms");
        let created = process.create("long".to_owned(), terms, None).await;
        created.expect("an answer")
    };
    let refused = create(&node.process, longest.plus(1)).await;
    assert!(matches!(refused, Created::TooLong(366)), "{refused:?}");
    assert_eq!(world.store.all_contests(), [], "nothing is left of it");
    assert_eq!(node.watch.calls("Funds::"), 0);
    let created = create(&node.process, longest).await;
    assert!(matches!(created, Created::Yes(_)), "{created:?}");
    // Where nothing is shown it may last as long as the terms allow.
    let created = create(&world.process(), longest.plus(1)).await;
    assert!(matches!(created, Created::Yes(_)), "{created:?}");
}

// hazard: D13
#[tokio::test]
async fn leaderboard_and_own_rank_are_those_of_the_store_also_after_all_was_lost() {
    let dice = Dice::cast();
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let many = Terms {
        task: domain::terms::Task {
            target: 7,
            ..terms().task
        },
        ..terms()
    };
    let contest = world.create(&node.process, many).await;
    let names: Vec<String> = (0..60).map(|number| format!("viewer-{number}")).collect();
    for name in &names {
        world.grant(name, 100);
        world.sign_up(&node.process, contest, name).await;
    }
    let same = async |what: &str| {
        let contest = world.contest(contest);
        for limit in [1, 10, 100] {
            let own = node.process.top(&contest, limit).await.expect("an answer");
            let stores = Leaderboard::top(&*world.store, &contest, limit).await;
            assert_eq!(own, stores.expect("an answer"), "{what}");
        }
        for name in names.iter().map(String::as_str).chain(["nobody"]) {
            let own = node.process.place_of(&contest, &user(name)).await;
            let stores = Leaderboard::place_of(&*world.store, &contest, &user(name)).await;
            assert_eq!(
                own.expect("an answer"),
                stores.expect("an answer"),
                "{what}"
            );
        }
    };
    for round in 0..6 {
        for _ in 0..100 {
            let name = &names[usize::try_from(dice.roll(60)).expect("a number")];
            let quantity = 1 + dice.roll(3);
            // Some at the same moment, some late.
            let at = world
                .clock
                .now()
                .plus(-i64::try_from(dice.roll(20)).expect("a number"));
            world.chests(name, "room", quantity, at).await;
            world
                .clock
                .advance(i64::try_from(dice.roll(2)).expect("a number"));
        }
        if round % 2 == 1 {
            shown.flush();
            same(&format!("round {round}, lost")).await;
            others_go_on().await;
        }
        node.process.relay().await.expect("a pass");
        others_go_on().await;
        let reads = ["Leaderboard::top", "Leaderboard::place_of"];
        let reads = || reads.map(|name| node.watch.calls(name));
        let before = reads();
        same(&format!("round {round}")).await;
        assert_eq!(reads(), before, "round {round}: the ranking answers");
        others_go_on().await;
        world.clock.advance(2_500);
    }
}

/// Nothing that is read from the cache is another viewer's.
// hazard: E14
#[tokio::test]
async fn everybody_reads_their_own_record() {
    let world = World::new();
    let shown = world.empty_shown();
    let nodes = [world.node(&shown), world.node(&shown)];
    let contest = world.create(&nodes[0].process, terms()).await;
    let other = world.create(&nodes[0].process, terms()).await;
    let names: Vec<String> = (0..10).map(|number| format!("viewer-{number}")).collect();
    for name in names.iter().step_by(2) {
        world.grant(name, 100);
        world.sign_up(&nodes[0].process, contest, name).await;
    }
    world.at(START.plus(121_000));
    world.settle_down(&nodes[0].process).await;
    for _ in 0..3 {
        for node in &nodes {
            for (number, name) in names.iter().enumerate() {
                let seen = node.process.read(contest, &user(name)).await;
                let seen = seen.expect("an answer").map(|seen| seen.signup);
                assert_eq!(seen, world.signup(contest, name));
                assert_eq!(seen.is_some(), number % 2 == 0);
                let seen = node.process.read(other, &user(name)).await;
                assert!(seen.expect("an answer").is_none());
            }
        }
        others_go_on().await;
    }
}

/// One that is away is not asked for records, and the store answers.
#[tokio::test]
async fn while_it_is_away_the_store_answers_and_when_it_is_back_nothing_is_old() {
    let world = World::new();
    let shown = world.empty_shown();
    let node = world.node(&shown);
    let contest = world.create(&node.process, terms()).await;
    world.grant("ann", 100);
    let read = async || {
        let seen = node.process.read(contest, &user("ann")).await;
        seen.expect("an answer").map(|seen| seen.signup)
    };
    assert_eq!(read().await, None);
    others_go_on().await;
    shown.set_away(true);
    world.sign_up(&node.process, contest, "ann").await;
    assert!(read().await.is_some());
    shown.set_away(false);
    // The relay drops what could not be dropped then.
    node.process.relay().await.expect("a pass");
    assert_eq!(read().await, world.signup(contest, "ann"));
    let Shown { outbox, .. } = node.process.ports().shown.clone().expect("it is shown");
    assert_eq!(outbox.take(None, 10).await.expect("the outbox"), []);
}
