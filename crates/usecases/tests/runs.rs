//! Runs of the reconciliation, the watch over live contests, and what operators decide about findings.

#![allow(clippy::expect_used, reason = "these are tests")]

mod world;

use domain::{
    finding::{FindingClass, RepairOutcome},
    ids::ContestId,
    order::{Account, Leg, OrderId},
    signup::StateKind,
    transfer::Position,
};
use ports::{
    findings::{Finding, FindingFilter, Findings, Resolution, Resolved},
    reconciliations::{Reconciliations, Run, Scope, Totals},
    signups::SignupRepository,
};
use std::sync::Arc;
use usecases::{
    Contests,
    mend::{Limits, Reconciling},
    reconcile::Bounds,
    runs::Asked,
    verdict::Repaired,
};
use uuid::Uuid;
use world::{
    World, coins,
    meddled::{Answers, Meddled},
    played::{Game, VIEWERS, later, name, played},
    tampered::Tampered,
    terms, user,
};

fn settings() -> Reconciling {
    Reconciling {
        bounds: later(),
        ..Reconciling::default()
    }
}

/// A process that reconciles by these settings, on the funds system of a game.
fn process(game: &Game, settings: Reconciling) -> Contests {
    let process = game.world.process_with(Arc::clone(&game.funds) as _);
    process.reconciled(settings)
}

async fn run(process: &Contests, scope: Scope, is_dry: bool) -> Run {
    let asked = Asked {
        scope,
        by: Some(user("olga")),
        is_dry,
    };
    let run = process.ask_for_run(asked).await.expect("a store");
    let id = run.expect("the contest is there").id;
    assert!(process.carry_on(id).await.expect("both sides"));
    let ended = process.ports().reconciliations.run(id).await;
    let ended = ended.expect("a store").expect("the run");
    assert!(ended.ended_at.is_some());
    ended
}

async fn found_by(world: &World, run: Uuid) -> Vec<Finding> {
    let page = world.store.run_findings(run, None, 1_000).await;
    page.expect("a page").items
}

async fn open(world: &World, contest: ContestId) -> Vec<Finding> {
    let filter = FindingFilter::open_of(contest);
    world
        .store
        .list(filter, None, 1_000)
        .await
        .expect("a page")
        .items
}

fn classes(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(|one| one.class.name()).collect()
}

#[tokio::test]
async fn a_run_tells_what_it_found_and_logs_each_repair_with_both_sides() {
    let game = played().await;
    game.forget(game.prize(2));
    game.forget(game.fee(1));
    let process = process(&game, settings());
    let one = run(&process, Scope::one(game.contest), false).await;
    assert_eq!(
        one.totals,
        Totals {
            contests: 1,
            failed: 0,
            signups: VIEWERS as u64,
            // Guarantee, its return, fees and prizes but the two that the log lacks.
            transfers: 2 + 40 + 30 - 2,
            differences: 2,
            repaired: 1,
            coins: one.totals.coins,
            over_limits: 0,
        }
    );
    let found = found_by(&game.world, one.id).await;
    let mut told = classes(&found);
    told.sort_unstable();
    assert_eq!(told, ["FEE_MISSING", "PRIZE_MISSING"]);
    let prize = found
        .iter()
        .find(|one| one.class == FindingClass::PrizeMissing);
    let prize = prize.expect("the prize");
    assert_eq!(prize.user_id, Some(user(&name(2))));
    let logged = game.world.store.repairs(prize.id).await.expect("the log");
    assert_eq!(logged.len(), 1);
    assert_eq!(logged[0].run_id, Some(one.id));
    assert_eq!(logged[0].by, Some(user("olga")));
    assert_eq!(logged[0].order_id, game.prize(2));
    assert_eq!(logged[0].coins.get(), one.totals.coins);
    assert!(logged[0].evidence.contains("the funds system has no such"));
    assert_eq!(
        logged[0].ended.map(|(_, how)| how),
        Some(RepairOutcome::Done)
    );
    // What is mended is settled; the other stays.
    assert_eq!(
        classes(&open(&game.world, game.contest).await),
        ["FEE_MISSING"]
    );
}

#[tokio::test]
async fn a_dry_run_tells_and_repairs_nothing_and_neither_does_one_without_limits() {
    let game = played().await;
    game.forget(game.prize(2));
    let off = Reconciling {
        limits: None,
        ..settings()
    };
    for (settings, is_dry) in [(settings(), true), (off, false)] {
        let process = process(&game, settings);
        let one = run(&process, Scope::one(game.contest), is_dry).await;
        assert_eq!((one.totals.differences, one.totals.repaired), (1, 0));
        let found = found_by(&game.world, one.id).await;
        assert_eq!(classes(&found), ["PRIZE_MISSING"]);
        let logged = game.world.store.repairs(found[0].id).await;
        assert_eq!(logged.expect("the log"), []);
    }
}

/// Two contests of one world, each with a fee that nobody recorded.
async fn two_with_a_lost_answer() -> (World, [ContestId; 2]) {
    let world = World::new();
    let meddled = Meddled::new(&world, Answers::Lost);
    let lost = world.process_with(Arc::new(meddled) as _);
    let process = world.process();
    let mut contests = Vec::new();
    for _ in 0..2 {
        contests.push(world.create(&process, terms()).await);
    }
    world.settle_down(&process).await;
    for contest in &contests {
        let name = format!("late-{}", contests[0] == *contest);
        world.grant(&name, 10);
        let _ = lost.sign_up(*contest, &user(&name), None).await;
    }
    world.clock.advance(61_000);
    (world, [contests[0], contests[1]])
}

#[tokio::test]
async fn a_run_over_all_contests_takes_each_once_and_goes_on_where_it_was_left() {
    let (world, contests) = two_with_a_lost_answer().await;
    let process = world.process();
    let asked = Asked {
        scope: Scope::ALL,
        by: None,
        is_dry: false,
    };
    let begun = process.ask_for_run(asked).await.expect("a store");
    let begun = begun.expect("a run");
    // As if a process had died after the newest contest.
    let left = Run {
        after: Some(contests[1]),
        totals: Totals {
            contests: 1,
            ..Totals::default()
        },
        ..begun.clone()
    };
    world.store.advance_run(&left, &[]).await.expect("a store");
    assert_eq!(process.carry_on_runs().await.expect("both sides"), 1);
    let ended = world.store.run(begun.id).await.expect("a store");
    let totals = ended.expect("the run").totals;
    assert_eq!((totals.contests, totals.repaired), (2, 1));
    assert_eq!(world.state(contests[0], "late-true"), StateKind::InProgress);
    assert_eq!(
        world.state(contests[1], "late-false"),
        StateKind::Initialized
    );
    // Nothing is left to carry on.
    assert_eq!(process.carry_on_runs().await.expect("both sides"), 0);
}

#[tokio::test]
async fn the_limits_are_those_of_the_whole_run() {
    let (world, contests) = two_with_a_lost_answer().await;
    let one_repair = Reconciling {
        limits: Some(Limits {
            repairs: 1,
            coins: 100,
        }),
        ..Reconciling::default()
    };
    let process = world.process().reconciled(one_repair);
    let one = run(&process, Scope::ALL, false).await;
    assert_eq!((one.totals.repaired, one.totals.over_limits), (1, 1));
    let states = [
        world.state(contests[0], "late-true"),
        world.state(contests[1], "late-false"),
    ];
    // From the newest to the oldest.
    assert_eq!(states, [StateKind::Initialized, StateKind::InProgress]);
}

#[tokio::test]
async fn a_contest_that_is_not_there_is_not_reconciled() {
    let world = World::new();
    let asked = Asked {
        scope: Scope::one(ContestId(Uuid::from_u128(7))),
        by: None,
        is_dry: false,
    };
    let asked = world.process().ask_for_run(asked).await;
    assert_eq!(asked.expect("a store"), None);
}

#[tokio::test]
async fn the_watch_finds_and_records_a_fee_that_nobody_recorded_once_it_is_late() {
    let (world, contests) = two_with_a_lost_answer().await;
    let soon = Reconciling {
        bounds: Bounds {
            recorded_within_ms: 100_000,
            ..Bounds::default()
        },
        ..Reconciling::default()
    };
    let patient = world.process().reconciled(soon);
    assert_eq!(patient.watch().await.expect("both sides"), 2);
    let states = || {
        [
            world.state(contests[0], "late-true"),
            world.state(contests[1], "late-false"),
        ]
    };
    assert_eq!(states(), [StateKind::Initialized; 2], "it may be under way");
    assert_eq!(position(&world, contests[0]).await, Position(0));
    let process = world.process();
    // Not before it is due again.
    assert_eq!(process.watch().await.expect("both sides"), 0);
    world.clock.advance(soon.tail_every_ms);
    assert_eq!(process.watch().await.expect("both sides"), 2);
    assert_eq!(states(), [StateKind::InProgress; 2]);
    assert_ne!(position(&world, contests[0]).await, Position(0));
    for contest in contests {
        assert_eq!(open(&world, contest).await, []);
    }
}

async fn position(world: &World, contest: ContestId) -> Position {
    let watch = Reconciliations::watch(&*world.store, contest).await;
    watch.expect("a store").expect("it is watched").position
}

#[tokio::test]
async fn the_watch_walks_over_rows_for_what_the_funds_system_lacks() {
    let world = World::new();
    let funds = Tampered::new(&world);
    let process = world.process_with(Arc::clone(&funds) as _);
    let process = process.reconciled(settings());
    let contest = world.create(&process, terms()).await;
    world.settle_down(&process).await;
    for name in ["ann", "bob"] {
        world.grant(name, 10);
        world.sign_up(&process, contest, name).await;
    }
    process.watch().await.expect("both sides");
    assert_eq!(open(&world, contest).await, []);
    let lost = Leg::Fee(contest, user("bob")).order_id();
    funds.change(move |log| log.retain(|one| one.order_id != lost));
    // All rows were looked up; the next walk comes later than the next look at the log.
    world.clock.advance(settings().tail_every_ms);
    process.watch().await.expect("both sides");
    assert_eq!(open(&world, contest).await, []);
    world.clock.advance(settings().walk_every_ms);
    process.watch().await.expect("both sides");
    let found = open(&world, contest).await;
    assert_eq!(classes(&found), ["FEE_MISSING"]);
    assert_eq!(found[0].user_id, Some(user("bob")));
}

#[tokio::test]
async fn a_contest_is_compared_as_a_whole_at_its_end_once_and_watched_for_some_days_more() {
    let game = played().await;
    let process = process(&game, settings());
    let watched = || async {
        let watch = Reconciliations::watch(&*game.world.store, game.contest).await;
        watch.expect("a store")
    };
    process.watch().await.expect("both sides");
    let first = watched().await.expect("it is watched");
    let run = first.final_run.expect("it was asked for");
    assert_eq!(process.carry_on_runs().await.expect("both sides"), 1);
    let totals = game.world.store.run(run).await.expect("a store");
    assert_eq!(totals.expect("the run").totals.contests, 1);
    // A stray that comes when everything is over is still seen.
    game.world.clock.advance(settings().tail_every_ms);
    game.repeat(game.prize(6), OrderId([6; 16]));
    process.watch().await.expect("both sides");
    assert_eq!(
        classes(&open(&game.world, game.contest).await),
        ["DUPLICATE_TRANSFER"]
    );
    assert_eq!(watched().await.expect("watched").final_run, Some(run));
    game.world.clock.advance(settings().watched_ms);
    process.watch().await.expect("both sides");
    assert_eq!(watched().await, None);
    let runs = game.world.store.runs(None, 10).await.expect("a store");
    assert_eq!(runs.items.len(), 1);
}

/// A finding of each kind of repair, and the process that told them.
async fn told(plant: impl Fn(&Game)) -> (Game, Contests, Finding) {
    let game = played().await;
    plant(&game);
    let dry = process(&game, settings());
    run(&dry, Scope::one(game.contest), true).await;
    let mut found = open(&game.world, game.contest).await;
    assert_eq!(found.len(), 1, "{found:?}");
    let finding = found.remove(0);
    (game, dry, finding)
}

#[tokio::test]
async fn an_operator_has_a_prize_paid_again_and_the_log_says_who() {
    let (game, process, finding) = told(|game| game.forget(game.prize(2))).await;
    let before = game.world.funds.transfers();
    let repaired = process.repair_finding(finding.id, user("olga")).await;
    let Repaired::Yes(after) = repaired.expect("both sides") else {
        panic!("it can be repaired");
    };
    assert!(after.settled_at.is_some() && after.resolution.is_none());
    assert_eq!(game.world.funds.transfers(), before, "under its own order");
    let logged = game.world.store.repairs(finding.id).await;
    let logged = logged.expect("the log");
    assert_eq!(logged[0].by, Some(user("olga")));
    assert_eq!(logged[0].run_id, None);
    let again = process.repair_finding(finding.id, user("olga")).await;
    assert!(matches!(again.expect("both"), Repaired::Before(_)));
}

#[tokio::test]
async fn an_operator_has_a_lost_row_restored_and_its_fee_goes_back() {
    let lose = |game: &Game| {
        let lost = user(&name(35));
        game.world.store.delete_signup(game.contest, &lost);
    };
    let (game, process, finding) = told(lose).await;
    assert_eq!(finding.class, FindingClass::OrphanTransfer);
    let repaired = process.repair_finding(finding.id, user("olga")).await;
    // The contest is over, and its pool empty: the refund has to wait, but the row is there.
    let _ = repaired.expect("both sides");
    let row = game
        .world
        .store
        .find(game.contest, &user(&name(35)))
        .await
        .expect("a store");
    assert_eq!(row.map(|row| row.state.kind()), Some(StateKind::Refunding));
}

#[tokio::test]
async fn what_is_final_on_both_sides_is_not_repaired_but_resolved_with_a_note() {
    let change = |game: &Game| game.change(game.fee(3), |fee| fee.content.amount = coins(9));
    let (game, process, finding) = told(change).await;
    let refused = process.repair_finding(finding.id, user("olga")).await;
    assert!(matches!(refused.expect("both sides"), Repaired::No(_)));
    assert_eq!(open(&game.world, game.contest).await.len(), 1);
    let resolution = Resolution {
        by: user("olga"),
        note: "the bank's own mistake, made good".to_owned(),
    };
    let resolved = process.resolve(finding.id, &resolution).await;
    assert!(matches!(resolved.expect("a store"), Resolved::Yes(_)));
    // The next run sees it, and calls nobody.
    let next = run(&process, Scope::one(game.contest), false).await;
    assert_eq!(next.totals.differences, 1);
    assert_eq!(open(&game.world, game.contest).await, []);
    let found = found_by(&game.world, next.id).await;
    assert_eq!(found[0].id, finding.id);
}

#[tokio::test]
async fn coins_under_an_order_that_is_nobodys_are_for_a_person() {
    let repeat = |game: &Game| game.repeat(game.fee(5), OrderId([5; 16]));
    let (_game, process, finding) = told(repeat).await;
    assert_eq!(finding.class, FindingClass::DuplicateTransfer);
    let refused = process.repair_finding(finding.id, user("olga")).await;
    assert!(matches!(refused.expect("both sides"), Repaired::No(_)));
    let missing = process
        .repair_finding(Uuid::from_u128(9), user("olga"))
        .await;
    assert_eq!(missing.expect("a store"), Repaired::Missing);
}

#[tokio::test]
async fn an_operator_has_a_fee_recorded_that_is_not_late_yet() {
    let (world, contests) = two_with_a_lost_answer().await;
    let process = world.process();
    let order = Leg::Fee(contests[0], user("late-true")).order_id();
    run(&process, Scope::one(contests[0]), true).await;
    let found = open(&world, contests[0]).await;
    assert_eq!(classes(&found), ["FEE_UNRECORDED"]);
    assert_eq!(found[0].subject, order.to_string());
    let repaired = process.repair_finding(found[0].id, user("olga")).await;
    assert!(matches!(repaired.expect("both sides"), Repaired::Yes(_)));
    assert_eq!(world.state(contests[0], "late-true"), StateKind::InProgress);
    assert_eq!(open(&world, contests[0]).await, []);
}

#[tokio::test]
async fn what_a_person_has_resolved_is_not_paid_again() {
    let (game, process, finding) = told(|game| game.forget(game.prize(2))).await;
    let resolution = Resolution {
        by: user("olga"),
        note: "paid by hand".to_owned(),
    };
    process
        .resolve(finding.id, &resolution)
        .await
        .expect("a store");
    let run = run(&process, Scope::one(game.contest), false).await;
    assert_eq!((run.totals.differences, run.totals.repaired), (1, 0));
    let logged = game.world.store.repairs(finding.id).await;
    assert_eq!(logged.expect("the log"), []);
}

#[tokio::test]
async fn the_watch_repairs_no_more_in_an_hour_than_a_run_may() {
    let (world, contests) = two_with_a_lost_answer().await;
    let one_repair = Reconciling {
        limits: Some(Limits {
            repairs: 1,
            coins: 100,
        }),
        ..Reconciling::default()
    };
    let process = world.process().reconciled(one_repair);
    process.watch().await.expect("both sides");
    let recorded = || {
        let states = [
            world.state(contests[0], "late-true"),
            world.state(contests[1], "late-false"),
        ];
        let is_recorded = |state: &&StateKind| **state == StateKind::InProgress;
        states.iter().filter(is_recorded).count()
    };
    assert_eq!(recorded(), 1);
    // The other one stays open, and a run within its own limits mends it.
    let open = open(&world, contests[0]).await.len() + open(&world, contests[1]).await.len();
    assert_eq!(open, 1);
    run(&process, Scope::ALL, false).await;
    assert_eq!(recorded(), 2);
}

#[tokio::test]
async fn a_repair_without_an_answer_is_not_said_to_have_failed_and_its_coins_are_spent() {
    let game = played().await;
    game.forget(game.prize(2));
    game.funds.lose_answers(true);
    let process = process(&game, settings());
    let one = run(&process, Scope::one(game.contest), false).await;
    assert_eq!(one.totals.repaired, 0);
    assert!(one.totals.coins > 0, "they may have moved");
    let found = found_by(&game.world, one.id).await;
    let logged = game.world.store.repairs(found[0].id).await;
    assert_eq!(logged.expect("the log")[0].ended, None);
    assert_eq!(
        classes(&open(&game.world, game.contest).await),
        ["PRIZE_MISSING"]
    );
}

#[tokio::test]
async fn a_redirected_payment_that_nobody_recorded_is_its_rows() {
    let world = World::new();
    let funds = Tampered::new(&world);
    let process = world.process_with(Arc::clone(&funds) as _);
    let process = process.reconciled(settings());
    let contest = world.create(&process, terms()).await;
    world.settle_down(&process).await;
    world.grant("ann", 10);
    world.sign_up(&process, contest, "ann").await;
    world.finish("ann").await;
    world.at(terms().tasks_end_at.plus(1_000));
    world.settle_down(&process).await;
    // Paid to the holding account, and the answer is lost.
    let account = Account::User(user("ann"));
    world.funds.close_account(&account).expect("closed");
    world.claim(&process, contest, "ann").await;
    let row = world
        .store
        .find(contest, &user("ann"))
        .await
        .expect("a store");
    let id = row.expect("the row").id;
    funds.lose_answers(true);
    process.redirect_parked(id).await.expect("an answer");
    assert_eq!(world.state(contest, "ann"), StateKind::Claiming);
    let asked = run(&process, Scope::one(contest), true).await;
    let found = found_by(&world, asked.id).await;
    assert_eq!(classes(&found), ["PRIZE_UNRECORDED"]);
    let done = run(&process, Scope::one(contest), false).await;
    assert_eq!(done.totals.repaired, 1);
    assert_eq!(world.state(contest, "ann"), StateKind::Shared);
}
