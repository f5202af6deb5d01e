//! Variants change terms before there is a contest, stand on what got them, and are recorded once.

#![allow(clippy::expect_used, reason = "these are tests")]

mod world;

use adapters_memory::{faults::Fault, store::FaultyStore};
use domain::{
    contest::PhaseKind,
    experiment::{
        Changes, Definition, Experiment, ExperimentError, ExperimentFact, Metric, Unit, Variant,
    },
    finding::FindingClass,
    ids::{ContestId, ExperimentName},
    order::Account,
    signup::StateKind,
    terms::{BasisPoints, ClaimMode, Terms},
    transfer::Transfer,
};
use ports::{
    contests::{ContestRepository, CreationKey},
    experiments::{Experiments, Harmed, Judge, Outcome},
    findings::Finding,
    reconciliations::Scope as RunScope,
    store::StoreError,
};
use std::{collections::BTreeSet, sync::Arc};
use usecases::{
    Contests, Created,
    experiments::{Changed, Made},
    mend::Reconciling,
    runs::Asked,
};
use world::{
    START, World, coins, nodes::others_go_on, played::later, tampered::Tampered, terms, user,
};

fn share(points: u16) -> BasisPoints {
    BasisPoints::new(points).expect("a share")
}

fn variant(name: &str, changes: Changes, display: Option<&str>) -> Variant {
    Variant {
        name: name.parse().expect("a name"),
        share: share(5_000),
        changes,
        display: display.map(str::to_owned),
    }
}

fn definition(unit: Unit, variants: Vec<Variant>) -> Definition {
    let definition = Definition {
        hypothesis: "it is better".to_owned(),
        unit,
        variants,
        rooms: Vec::new(),
        task_kinds: Vec::new(),
        starts_at: None,
        ends_at: START.plus(3_600_000),
        primary: Metric::Paid,
        guardrails: Vec::new(),
        planned_units: 1_000,
        min_units: 100,
        alpha: share(500),
    };
    definition.check().expect("it keeps every rule")
}

/// Half of the contests cost 5, and are paid by themselves.
fn cheap() -> Definition {
    let changes = Changes {
        fee: Some(coins(5)),
        claim_mode: Some(ClaimMode::Automatic),
        ..Changes::default()
    };
    let control = variant("control", Changes::default(), None);
    definition(
        Unit::Contest,
        vec![
            control,
            variant("cheap", changes, Some("{\"badge\":\"half price\"}")),
        ],
    )
}

/// Half of the viewers see another button.
fn golden() -> Definition {
    let plain = variant("plain", Changes::default(), None);
    let gold = variant("gold", Changes::default(), Some("{\"button\":\"gold\"}"));
    definition(Unit::User, vec![plain, gold])
}

fn name(text: &str) -> ExperimentName {
    text.parse().expect("a name")
}

async fn make(process: &Contests, text: &str, definition: Definition) -> Experiment {
    let made = process
        .make_experiment(name(text), definition, user("olga"))
        .await;
    match made.expect("an answer") {
        Made::Yes(experiment) => experiment,
        Made::NameTaken => panic!("{text} is taken"),
    }
}

async fn ask(process: &Contests, text: &str, fact: ExperimentFact) -> Changed {
    let by = Some(user("olga"));
    let changed = process
        .change_experiment(&name(text), fact, by, "as planned".to_owned())
        .await;
    changed.expect("an answer")
}

async fn start(process: &Contests, text: &str, definition: Definition) {
    make(process, text, definition).await;
    let started = ask(process, text, ExperimentFact::Started(share(10_000))).await;
    assert!(matches!(started, Changed::Yes(_)), "{started:?}");
}

async fn outcomes(world: &World, text: &str) -> Vec<Outcome> {
    let page = world.store.outcomes(&name(text), None, 1_000).await;
    page.expect("read").items
}

/// Contests of both variants, by the name of theirs.
async fn of_both(world: &World, process: &Contests) -> [(ContestId, &'static str); 2] {
    let mut found: [Option<ContestId>; 2] = [None, None];
    for _ in 0..50 {
        let id = world.create(process, terms()).await;
        let got = world
            .contest(id)
            .variants
            .get(&name("fee"))
            .expect("a variant")
            .clone();
        let place = usize::from(got.as_str() == "cheap");
        found[place].get_or_insert(id);
        if let [Some(control), Some(cheap)] = found {
            return [(control, "control"), (cheap, "cheap")];
        }
    }
    panic!("fifty contests of one variant");
}

#[tokio::test]
async fn a_contest_is_what_its_variant_makes_of_it_from_the_first_moment_to_the_last() {
    let world = World::new();
    let process = world.process();
    start(&process, "fee", cheap()).await;
    start(&process, "button", golden()).await;
    let contests = of_both(&world, &process).await;
    world.settle_down(&process).await;
    let names: Vec<_> = (0..12).map(|number| format!("viewer-{number}")).collect();
    let mut colours = BTreeSet::new();
    for (contest, got) in contests {
        let fee = world.contest(contest).terms.fee;
        assert_eq!(fee, coins(if got == "cheap" { 5 } else { 10 }));
        for viewer in &names {
            world.grant(viewer, 20);
            world.sign_up(&process, contest, viewer).await;
            let signup = world.signup(contest, viewer).expect("a signup");
            assert_eq!(signup.fee, fee);
            assert_eq!(
                signup
                    .variants
                    .get(&name("fee"))
                    .expect("a variant")
                    .as_str(),
                got
            );
            let colour = signup.variants.get(&name("button")).expect("a variant");
            // The same viewer sees the same button in every contest.
            colours.insert((viewer.clone(), colour.to_string()));
        }
    }
    assert_eq!(colours.len(), names.len());
    // Who signed up has met it, once, and the contest itself stands there too.
    let met = outcomes(&world, "fee").await;
    for (contest, got) in contests {
        let of = met.iter().filter(|one| one.exposure.contest_id == contest);
        let (viewers, itself): (Vec<_>, Vec<_>) =
            of.partition(|one| one.exposure.user_id.is_some());
        assert_eq!((viewers.len(), itself.len()), (names.len(), 1));
        assert!(
            viewers
                .iter()
                .chain(&itself)
                .all(|one| one.exposure.variant.as_str() == got)
        );
        assert!(
            viewers
                .iter()
                .all(|one| one.exposure.unit == contest.to_string())
        );
        assert!(viewers.iter().all(|one| one.signup.is_some()));
    }
    assert_eq!(outcomes(&world, "button").await.len(), 2 * names.len());
    for viewer in &names {
        world.finish(viewer).await;
    }
    world.to_the_end(&process).await;
    for (contest, _) in contests {
        assert_eq!(world.phase(contest), PhaseKind::Closed);
        assert_eq!(world.state(contest, &names[0]), StateKind::Shared);
    }
    world.check();
}

#[tokio::test]
async fn whoever_looks_meets_it_is_recorded_once_and_gets_its_payload() {
    let world = World::new();
    let process = world.process();
    let before = world.create(&process, terms()).await;
    start(&process, "fee", cheap()).await;
    start(&process, "button", golden()).await;
    let [(_, _), (contest, _)] = of_both(&world, &process).await;
    world.settle_down(&process).await;
    let contest = world.contest(contest);
    for _ in 0..3 {
        let met = process.meet(&contest, &user("ann"));
        assert_eq!(met.len(), 2);
        let fee = met
            .iter()
            .find(|one| one.experiment == name("fee"))
            .expect("it is met");
        assert_eq!(fee.display.as_deref(), Some("{\"badge\":\"half price\"}"));
        others_go_on().await;
    }
    let viewers = async |text: &str| {
        let met = outcomes(&world, text).await;
        met.iter()
            .filter(|one| one.exposure.user_id.is_some())
            .count()
    };
    assert_eq!((viewers("fee").await, viewers("button").await), (1, 1));
    // A contest that was there before has none of its variants; its viewers have theirs.
    let met = process.meet(&world.contest(before), &user("ann"));
    assert_eq!(met.len(), 1);
    assert_eq!(met[0].experiment, name("button"));
    // An arm that is stopped is met by nobody, and what has its variant keeps it.
    let arm = "cheap".parse().expect("a name");
    let stopped = ask(
        &process,
        "fee",
        ExperimentFact::ArmStopped(arm, "enough".to_owned()),
    )
    .await;
    assert!(matches!(stopped, Changed::Yes(_)), "{stopped:?}");
    assert!(
        process
            .meet(&contest, &user("bob"))
            .iter()
            .all(|one| one.experiment != name("fee"))
    );
    others_go_on().await;
    assert_eq!(viewers("fee").await, 1, "it has ended");
    assert!(!world.contest(contest.id).variants.is_empty());
    let later = world.create(&process, terms()).await;
    assert!(world.contest(later).variants.is_empty());
    assert_eq!(world.contest(later).terms.fee, coins(10));
    world.check();
}

/// A repeat names the wish, not what a variant made of it.
#[tokio::test]
async fn a_creation_with_a_key_is_made_once_whatever_its_variant() {
    let world = World::new();
    let process = world.process();
    start(&process, "fee", cheap()).await;
    let create = async |number: usize, terms: Terms| {
        let key = CreationKey {
            operator: user("olga"),
            key: format!("key-{number}").parse().expect("a key"),
        };
        let created = process
            .create("a contest".to_owned(), terms, Some(key))
            .await;
        created.expect("an answer")
    };
    for number in 0..10 {
        let Created::Yes(first) = create(number, terms()).await else {
            panic!("it is new");
        };
        for _ in 0..3 {
            match create(number, terms()).await {
                Created::Yes(again) => {
                    assert_eq!((again.id, &again.terms), (first.id, &first.terms))
                }
                other => panic!("{other:?}"),
            }
        }
        let other = Terms {
            guaranteed_pool: coins(11),
            ..terms()
        };
        let taken = create(number, other).await;
        assert!(
            matches!(taken, Created::KeyTaken(id) if id == first.id),
            "{taken:?}"
        );
    }
    let contests = world
        .store
        .list(&ports::contests::ContestFilter::default(), None, 100)
        .await;
    assert_eq!(contests.expect("read").items.len(), 10);
}

#[tokio::test]
async fn two_that_run_never_change_the_same_term_of_the_same_contests() {
    let world = World::new();
    let process = world.process();
    start(&process, "fee", cheap()).await;
    let elsewhere = |rooms: &[&str]| Definition {
        rooms: rooms
            .iter()
            .map(|room| room.parse().expect("a room"))
            .collect(),
        ..cheap()
    };
    make(&process, "other", elsewhere(&["room"])).await;
    let refused = ask(&process, "other", ExperimentFact::Started(share(1))).await;
    assert!(
        matches!(&refused, Changed::Overlaps(with, _) if *with == name("fee")),
        "{refused:?}"
    );
    // What changes nothing, or another term, is welcome.
    start(&process, "button", golden()).await;
    let target = Changes {
        task_target: Some(3),
        ..Changes::default()
    };
    let control = variant("control", Changes::default(), None);
    let longer = definition(Unit::Room, vec![control, variant("longer", target, None)]);
    start(&process, "target", longer).await;
    let ended = ask(
        &process,
        "fee",
        ExperimentFact::Stopped("enough".to_owned()),
    )
    .await;
    assert!(matches!(ended, Changed::Yes(_)), "{ended:?}");
    let started = ask(&process, "other", ExperimentFact::Started(share(1))).await;
    assert!(matches!(started, Changed::Yes(_)), "{started:?}");
    make(&process, "third", elsewhere(&["other-room"])).await;
    let started = ask(&process, "third", ExperimentFact::Started(share(1))).await;
    assert!(matches!(started, Changed::Yes(_)), "{started:?}");
}

#[tokio::test]
async fn every_change_is_written_down_and_only_what_is_allowed_is_done() {
    let world = World::new();
    let process = world.process();
    make(&process, "one", cheap()).await;
    let taken = process
        .make_experiment(name("one"), golden(), user("olga"))
        .await;
    assert_eq!(taken.expect("an answer"), Made::NameTaken);
    let missing = ask(&process, "nothing", ExperimentFact::Started(share(1))).await;
    assert_eq!(missing, Changed::Missing);
    let facts = [
        ExperimentFact::Redefined(Box::new(golden())),
        ExperimentFact::Started(share(100)),
        ExperimentFact::Ramped(share(5_000)),
        ExperimentFact::Stopped("enough".to_owned()),
    ];
    for fact in facts {
        let changed = ask(&process, "one", fact).await;
        assert!(matches!(changed, Changed::Yes(_)), "{changed:?}");
    }
    let again = ask(&process, "one", ExperimentFact::Ramped(share(6_000))).await;
    assert_eq!(again, Changed::No(ExperimentError::NotRunning));
    let changes = world.store.experiment_changes(&name("one"), None, 10).await;
    let changes = changes.expect("read").items;
    let told: Vec<_> = changes
        .iter()
        .rev()
        .map(|one| (one.version, one.action.name(), one.ramp.get()))
        .collect();
    assert_eq!(
        told,
        [
            (1, "created", 0),
            (2, "redefined", 0),
            (3, "started", 100),
            (4, "ramped", 5_000),
            (5, "stopped", 5_000)
        ]
    );
    assert!(changes.iter().all(|one| one.by == Some(user("olga"))));
}

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
    // What says nothing of coins stops nothing, and what was settled neither.
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
    // An arm of each; the one that is left of two has nothing to be compared with.
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
    assert_eq!(process.judge_experiments().await.expect("a round"), 0);
    assert_eq!(calls(), 0, "nothing runs");
    start(&process, "fee", cheap()).await;
    start(&process, "button", golden()).await;
    process.judge_experiments().await.expect("a round");
    assert_eq!(stopped(&process, "fee").await, ["cheap"]);
    assert_eq!(calls(), 2);
    for _ in 0..3 {
        process.judge_experiments().await.expect("a round");
    }
    assert_eq!(calls(), 2, "not each second");
    world.clock.advance(190_000 - 1);
    process.judge_experiments().await.expect("a round");
    assert_eq!(calls(), 2, "what takes long rests for long");
    world.clock.advance(10_001);
    process.judge_experiments().await.expect("a round");
    assert_eq!(calls(), 3, "the one that still runs");
}

/// Another process sees what runs once it has read it, and assigns the same.
#[tokio::test]
async fn every_process_assigns_the_same() {
    let world = World::new();
    let (one, other) = (world.process(), world.process());
    let contest = world.create(&one, terms()).await;
    world.settle_down(&one).await;
    start(&one, "button", golden()).await;
    let contest = world.contest(contest);
    assert!(
        other.meet(&contest, &user("ann")).is_empty(),
        "it does not know yet"
    );
    assert!(other.read_experiments().await.expect("read"));
    assert!(
        !other.read_experiments().await.expect("read"),
        "nothing has changed"
    );
    for number in 0..50 {
        let viewer = user(&format!("viewer-{number}"));
        assert_eq!(one.meet(&contest, &viewer), other.meet(&contest, &viewer));
    }
}
