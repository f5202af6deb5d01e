//! Variants change terms before there is a contest, stand on what got them, and are recorded once.

#![allow(clippy::expect_used, reason = "these are tests")]

mod lab;
mod world;

use domain::{
    contest::PhaseKind,
    experiment::{Changes, Definition, ExperimentError, ExperimentFact, Unit},
    signup::StateKind,
    terms::Terms,
};
use lab::{ask, cheap, definition, golden, make, name, of_both, outcomes, share, start, variant};
use ports::{
    contests::{ContestRepository, CreationKey},
    experiments::Experiments,
};
use std::collections::BTreeSet;
use usecases::{
    Created,
    experiments::{Changed, Made},
};
use world::{World, coins, nodes::others_go_on, terms, user};

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
