//! Arms are stopped by themselves: because books do not balance, or because they do harm.

#![allow(clippy::expect_used, reason = "these are tests")]

mod lab;
mod world;

use adapters_memory::{faults::Fault, store::FaultyStore};
use domain::{
    experiment::{Changes, Definition, Experiment, Unit, Variant},
    finding::FindingClass,
    ids::ContestId,
    order::Account,
    transfer::Transfer,
};
use lab::{cheap, golden, name, of_both, outcomes, share, start, variant};
use ports::{
    experiments::{Experiments, Harmed, Judge, Outcome},
    findings::Finding,
    reconciliations::Scope as RunScope,
    store::StoreError,
};
use std::sync::Arc;
use usecases::{Contests, mend::Reconciling, runs::Asked};
use world::{World, played::later, tampered::Tampered, terms, user};

async fn raise(process: &Contests, contest: ContestId, viewer: Option<&str>, class: FindingClass) {
    let ports = process.ports();
    let finding = Finding {
        id: ports.ids.next(),
        class,
        contest_id: contest,
        subject: format!("{contest} {viewer:?}"),
        user_id: viewer.map(user),
        evidence: "planted".to_owned(),
        found_at: ports.clock.now(),
        settled_at: None,
        resolution: None,
    };
    ports.findings.raise(&finding).await.expect("raised");
}

async fn stopped(process: &Contests, text: &str) -> Vec<String> {
    let experiment = process.ports().experiments.experiment(&name(text)).await;
    let experiment = experiment.expect("read").expect("it is there");
    experiment.stopped.keys().map(ToString::to_string).collect()
}

#[tokio::test]
async fn an_arm_whose_books_do_not_balance_is_stopped_at_once() {
    let world = World::new();
    let process = world.process();
    start(&process, "fee", cheap()).await;
    start(&process, "button", golden()).await;
    let [(control, _), (cheap, _)] = of_both(&world, &process).await;
    world.settle_down(&process).await;
    assert_eq!(process.guard_experiments().await.expect("a round"), 0);
    // What says nothing of coins stops nothing.
    raise(&process, cheap, None, FindingClass::Stuck).await;
    assert_eq!(process.guard_experiments().await.expect("a round"), 0);
    // A fee that the funds system does not have, in a contest of the cheap ones.
    raise(&process, cheap, None, FindingClass::FeeMissing).await;
    process.guard_experiments().await.expect("a round");
    assert_eq!(stopped(&process, "fee").await, ["cheap"]);
    // It names nobody, and nobody has met the button there.
    assert_eq!(stopped(&process, "button").await, Vec::<String>::new());
    let changes = world.store.experiment_changes(&name("fee"), None, 1).await;
    let change = changes.expect("read").items.remove(0);
    assert_eq!((change.by, change.action.name()), (None, "arm_stopped"));
    assert!(
        change.reason.contains("FEE_MISSING in contest"),
        "{}",
        change.reason
    );
    // Of viewers: the arm of the one it is about.
    world.grant("bob", 20);
    world.sign_up(&process, control, "bob").await;
    let signup = world.signup(control, "bob").expect("a signup");
    let arm = signup
        .variants
        .get(&name("button"))
        .expect("a variant")
        .to_string();
    raise(&process, control, Some("bob"), FindingClass::AmountDiffers).await;
    assert_eq!(process.guard_experiments().await.expect("a round"), 1);
    assert_eq!(stopped(&process, "button").await, [arm]);
    assert_eq!(
        process.guard_experiments().await.expect("a round"),
        0,
        "once"
    );
}

/// From the log of the funds system to the arm, with nothing raised by hand.
#[tokio::test]
async fn transfers_that_are_missing_in_one_arm_stop_that_arm() {
    let world = World::new();
    let funds = Tampered::new(&world);
    let process = world.process_with(std::sync::Arc::clone(&funds) as _);
    let process = process.reconciled(Reconciling {
        bounds: later(),
        ..Reconciling::default()
    });
    start(&process, "fee", cheap()).await;
    let [(control, _), (cheap, _)] = of_both(&world, &process).await;
    world.settle_down(&process).await;
    for contest in [control, cheap] {
        for number in 0..5 {
            let viewer = format!("viewer-{number}");
            world.grant(&viewer, 20);
            world.sign_up(&process, contest, &viewer).await;
        }
    }
    let reconcile = async || {
        let asked = Asked {
            scope: RunScope::ALL,
            by: None,
            is_dry: false,
        };
        let run = process
            .run_here(asked)
            .await
            .expect("a store")
            .expect("a run");
        process.guard_experiments().await.expect("a round");
        run.totals.differences
    };
    assert_eq!(reconcile().await, 0);
    assert_eq!(stopped(&process, "fee").await, Vec::<String>::new());
    funds.change(move |log| {
        let is_fee = |one: &Transfer| one.content.to == Account::Pool(cheap);
        let place = log.iter().position(is_fee).expect("a fee");
        log.remove(place);
    });
    assert!(reconcile().await > 0);
    assert_eq!(stopped(&process, "fee").await, ["cheap"]);
}

#[tokio::test]
async fn a_finding_that_names_nobody_stops_every_arm_that_was_met_there() {
    let world = World::new();
    let process = world.process();
    let contest = world.create(&process, terms()).await;
    world.settle_down(&process).await;
    // It was there before, by far: that is none of the experiment's doing.
    world.clock.advance(-120_001);
    raise(&process, contest, None, FindingClass::PoolDiffers).await;
    world.clock.advance(120_001);
    start(&process, "button", golden()).await;
    for number in 0..10 {
        let viewer = format!("viewer-{number}");
        world.grant(&viewer, 10);
        world.sign_up(&process, contest, &viewer).await;
    }
    assert_eq!(process.guard_experiments().await.expect("a round"), 0);
    raise(
        &process,
        contest,
        Some("nobody"),
        FindingClass::OrphanTransfer,
    )
    .await;
    process.guard_experiments().await.expect("a round");
    let over = process
        .ports()
        .experiments
        .experiment(&name("button"))
        .await;
    let over = over.expect("read").expect("it is there");
    assert!(
        matches!(over.status, domain::experiment::Status::Ended(..)),
        "{:?}",
        over.status
    );
}

#[tokio::test]
async fn books_that_break_for_many_cost_a_read_for_each_and_stop_each_arm_once() {
    const VIEWERS: u64 = 200;
    let world = World::new();
    let process = world.faulty_process();
    let early = world.create(&process, terms()).await;
    world.clock.advance(-120_001);
    for number in 0..VIEWERS {
        let viewer = format!("viewer-{number}");
        raise(&process, early, Some(&viewer), FindingClass::FeeMissing).await;
    }
    world.clock.advance(120_001);
    start(&process, "button", golden()).await;
    let elsewhere = Definition {
        unit: Unit::Room,
        ..cheap()
    };
    start(&process, "fee", elsewhere).await;
    let contest = world.create(&process, terms()).await;
    world.settle_down(&process).await;
    for number in 0..VIEWERS {
        let viewer = format!("viewer-{number}");
        world.grant(&viewer, 10);
        world.sign_up(&process, contest, &viewer).await;
        raise(&process, contest, Some(&viewer), FindingClass::FeeMissing).await;
    }
    let before = world.faults.calls();
    // An arm of each; the one that is left of two has nothing to be compared with. What was found before costs nothing.
    assert_eq!(process.guard_experiments().await.expect("a round"), 2);
    let calls = world.faults.calls() - before;
    assert!(
        (VIEWERS..VIEWERS + 40).contains(&calls),
        "{calls} calls for {VIEWERS} findings"
    );
    let before = world.faults.calls();
    assert_eq!(process.guard_experiments().await.expect("a round"), 0);
    let calls = world.faults.calls() - before;
    assert!(calls < 10, "{calls} calls for findings that were looked at");
}

#[tokio::test]
async fn a_finding_that_could_not_be_looked_at_is_never_passed() {
    let world = World::new();
    let process = world.process();
    start(&process, "button", golden()).await;
    let contest = world.create(&process, terms()).await;
    world.settle_down(&process).await;
    for viewer in ["ann", "bob"] {
        world.grant(viewer, 10);
        world.sign_up(&process, contest, viewer).await;
    }
    let store = FaultyStore::new(Arc::clone(&world.store), Arc::clone(&world.faults));
    let ports = usecases::Ports {
        signups: Arc::new(store),
        ..world.process().ports().clone()
    };
    let guard = Contests::new(ports).expect("a safe funds system");
    raise(&guard, contest, Some("ann"), FindingClass::FeeMissing).await;
    world.faults.arm(0, Fault::Before);
    assert_eq!(guard.guard_experiments().await.expect("a round"), 0);
    world.faults.arm(0, Fault::Before);
    world.clock.advance(600_000);
    assert_eq!(guard.guard_experiments().await.expect("a round"), 0);
    // A later one is looked at, and the first one still.
    raise(&guard, contest, None, FindingClass::TallyDiffers).await;
    assert_eq!(guard.guard_experiments().await.expect("a round"), 1);
    assert_eq!(guard.guard_experiments().await.expect("a round"), 0);
}

#[tokio::test]
async fn a_lost_row_stops_the_arm_of_its_viewer_alone_and_who_comes_later_meets_no_stopped_arm() {
    let world = World::new();
    let process = world.process();
    let third = variant("third", Changes::default(), Some("{\"button\":\"red\"}"));
    let mut three = golden();
    for one in &mut three.variants {
        one.share = share(3_000);
    }
    three.variants.push(Variant {
        share: share(4_000),
        ..third
    });
    start(
        &process,
        "button",
        three.check().expect("it keeps every rule"),
    )
    .await;
    let contest = world.create(&process, terms()).await;
    world.settle_down(&process).await;
    let mut lost = None;
    for number in 0..30 {
        let viewer = format!("viewer-{number}");
        world.grant(&viewer, 10);
        world.sign_up(&process, contest, &viewer).await;
        let signup = world.signup(contest, &viewer).expect("a row");
        if signup.variants.to_string() == "button:gold" {
            lost = Some(viewer);
        }
    }
    let lost = lost.expect("one of thirty");
    world.store.delete_signup(contest, &user(&lost));
    raise(&process, contest, Some(&lost), FindingClass::OrphanTransfer).await;
    assert_eq!(process.guard_experiments().await.expect("a round"), 1);
    assert_eq!(stopped(&process, "button").await, ["gold"]);
    let before = outcomes(&world, "button").await;
    for number in 30..60 {
        let viewer = format!("viewer-{number}");
        world.grant(&viewer, 10);
        world.sign_up(&process, contest, &viewer).await;
    }
    let after = outcomes(&world, "button").await;
    let gold = |all: &[Outcome]| {
        let gold = all
            .iter()
            .filter(|one| one.exposure.variant.as_str() == "gold");
        gold.count()
    };
    assert_eq!(gold(&after), gold(&before));
    assert!(after.len() > before.len());
}

/// How often it was asked, and the clock by which an answer takes ten seconds.
struct Harming(
    std::sync::atomic::AtomicU32,
    std::sync::Arc<adapters_memory::system::ManualClock>,
);

#[async_trait::async_trait]
impl Judge for Harming {
    async fn harmed(&self, _: &Experiment) -> Result<Vec<Harmed>, StoreError> {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        self.1.advance(10_000);
        Ok(vec![Harmed {
            variant: "cheap".parse().expect("a name"),
            reason: "too many fees went back".to_owned(),
        }])
    }
}

#[tokio::test]
async fn an_arm_that_does_harm_is_stopped_and_judged_once_in_a_while() {
    let world = World::new();
    let judge = std::sync::Arc::new(Harming(0.into(), std::sync::Arc::clone(&world.clock)));
    let ports = usecases::Ports {
        judge: Some(std::sync::Arc::clone(&judge) as _),
        ..world.process().ports().clone()
    };
    let process = Contests::new(ports).expect("a safe funds system");
    let calls = || judge.0.load(std::sync::atomic::Ordering::SeqCst);
    assert_eq!(process.judge_experiments().await, 0);
    assert_eq!(calls(), 0, "nothing runs");
    start(&process, "fee", cheap()).await;
    start(&process, "button", golden()).await;
    process.judge_experiments().await;
    assert_eq!(stopped(&process, "fee").await, ["cheap"]);
    assert_eq!(calls(), 2);
    for _ in 0..3 {
        process.judge_experiments().await;
    }
    assert_eq!(calls(), 2, "not each second");
    world.clock.advance(190_000 - 1);
    process.judge_experiments().await;
    assert_eq!(calls(), 2, "what takes long rests for long");
    world.clock.advance(10_001);
    process.judge_experiments().await;
    assert_eq!(calls(), 3, "the one that still runs");
}
