//! The suite of [`ports::experiments::Experiments`].
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{StoreFixture, new_signup, now, open_contest},
    samples::{coins, contest_id, contest_in, user},
};
use domain::{
    assignment::Assignments,
    contest::{Contest, PhaseKind},
    experiment::{
        Action, Changes, Definition, Ending, Experiment, ExperimentFact, Guardrail, Metric, Status,
        Unit, Variant,
    },
    payout::Rule,
    terms::{BasisPoints, ClaimMode},
    time::UnixMillis,
};
use ports::{
    experiments::{Change, Exposure, REASON_MAX, Running, VariantCount},
    signups::Enrolled,
    store::Committed,
};

crate::suite::suite! { experiments_suite in experiments:
    an_experiment_reads_back_whole,
    a_name_is_taken_once,
    of_many_commits_of_one_version_one_applies,
    the_history_is_paged_from_the_newest_on,
    experiments_are_listed_by_name,
    those_that_run_are_read_anew_when_something_has_changed,
    an_exposure_is_recorded_once_and_stays_what_it_was,
    a_crowd_is_recorded_once_each,
    outcomes_are_paged_with_the_signups_as_they_are,
    the_variants_of_contests_and_signups_read_back,
    signups_are_counted_by_their_variants,
    experiments_survive_a_crash,
}

fn share(points: u16) -> BasisPoints {
    BasisPoints::new(points).expect("a share")
}

fn variant(name: &str, points: u16, changes: Changes, display: Option<&str>) -> Variant {
    Variant {
        name: name.parse().expect("a name"),
        share: share(points),
        changes,
        display: display.map(str::to_owned),
    }
}

/// With everything that there can be.
fn full() -> Definition {
    let changes = Changes {
        fee: Some(coins(7)),
        task_target: Some(3),
        rule: Some(Rule::ByScore),
        claim_mode: Some(ClaimMode::Automatic),
    };
    Definition {
        hypothesis: "便宜一点更热闹 🎁 \"quoted\" \\ %_".to_owned(),
        unit: Unit::Contest,
        variants: vec![
            variant("control", 1, Changes::default(), None),
            variant("other", 9_999, changes, Some("{\"字\":\"\\n\"}")),
        ],
        rooms: vec!["room-1".parse().expect("a room")],
        task_kinds: vec!["open_chest".parse().expect("a kind")],
        starts_at: Some(UnixMillis(5)),
        ends_at: UnixMillis(i64::MAX),
        primary: Metric::CoinsOut,
        guardrails: vec![Guardrail {
            metric: Metric::ChargeFailed,
            margin: share(10_000),
        }],
        planned_units: 1_000_000_000,
        min_units: 100,
        alpha: share(1),
    }
}

fn small() -> Definition {
    Definition {
        hypothesis: "h".to_owned(),
        unit: Unit::User,
        rooms: Vec::new(),
        task_kinds: Vec::new(),
        starts_at: None,
        guardrails: Vec::new(),
        variants: vec![
            variant("a", 5_000, Changes::default(), None),
            variant("b", 5_000, Changes::default(), Some("{}")),
        ],
        ..full()
    }
}

fn draft(name: &str, definition: Definition, at: UnixMillis) -> Experiment {
    let salt = format!("salt of {name}");
    Experiment::new(name.parse().expect("a name"), salt, definition, at)
}

fn line(experiment: &Experiment, action: Action, reason: &str) -> Change {
    Change {
        version: experiment.version,
        action,
        by: Some(user("olga")),
        reason: reason.to_owned(),
        variant: None,
        ramp: experiment.ramp,
        at: experiment.updated_at,
    }
}

async fn insert<F: StoreFixture>(store: &F, experiment: &Experiment) -> bool {
    let made = line(experiment, Action::Created, "made");
    let inserted = store
        .experiments()
        .insert_experiment(experiment, &made)
        .await;
    inserted.expect("an answer")
}

/// Writes what a fact makes of it; as it is stored then.
async fn apply<F: StoreFixture>(store: &F, before: Experiment, fact: ExperimentFact) -> Experiment {
    let (expected, action) = (before.version, fact.action());
    let after = before.apply(fact, now(store).await).expect("it is allowed");
    let change = line(&after, action, "as asked");
    let committed = store
        .experiments()
        .commit_experiment(expected, &after, &change)
        .await;
    assert_eq!(committed.expect("an answer"), Committed::Applied);
    Experiment {
        version: expected + 1,
        ..after
    }
}

async fn stored<F: StoreFixture>(store: &F, name: &str) -> Option<Experiment> {
    let name = name.parse().expect("a name");
    store.experiments().experiment(&name).await.expect("read")
}

// clauses 1 to 3
async fn an_experiment_reads_back_whole<F: StoreFixture>(store: F) {
    let at = now(&store).await;
    assert_eq!(stored(&store, "full").await, None);
    let one = draft("full", full(), at);
    assert!(insert(&store, &one).await);
    assert_eq!(stored(&store, "full").await, Some(one.clone()));
    let one = apply(&store, one, ExperimentFact::Redefined(Box::new(small()))).await;
    assert_eq!(stored(&store, "full").await, Some(one.clone()));
    let one = apply(&store, one, ExperimentFact::Started(share(1))).await;
    assert_eq!(stored(&store, "full").await, Some(one.clone()));
    let one = apply(&store, one, ExperimentFact::Ramped(share(10_000))).await;
    let reason = "奖".repeat(REASON_MAX);
    let fact = ExperimentFact::ArmStopped("b".parse().expect("a name"), reason.clone());
    let one = apply(&store, one, fact).await;
    // Without another arm it has ended.
    let read = stored(&store, "full").await.expect("it is there");
    assert_eq!(read, one);
    assert!(
        matches!(&read.status, Status::Ended(_, Ending { reason: read, .. }) if *read == reason)
    );
    assert_eq!(read.stopped.len(), 1);
    assert_eq!(read.version, 5);
}

// clause 1
async fn a_name_is_taken_once<F: StoreFixture>(store: F) {
    let at = now(&store).await;
    let (one, other) = (draft("one", full(), at), draft("one", small(), at));
    assert!(insert(&store, &one).await);
    assert!(!insert(&store, &other).await);
    assert_eq!(stored(&store, "one").await, Some(one.clone()));
    let changes = store
        .experiments()
        .experiment_changes(&one.name, None, 10)
        .await;
    assert_eq!(changes.expect("read").items.len(), 1);
}

// clause 2
async fn of_many_commits_of_one_version_one_applies<F: StoreFixture>(store: F) {
    let one = draft("one", small(), now(&store).await);
    let nobody = line(&one, Action::Started, "too early");
    let missing = store
        .experiments()
        .commit_experiment(1, &one, &nobody)
        .await;
    assert_eq!(missing.expect("an answer"), Committed::Missing);
    insert(&store, &one).await;
    let one = apply(&store, one, ExperimentFact::Started(share(1))).await;
    let store = std::sync::Arc::new(store);
    let commits: Vec<_> = (2..12)
        .map(|ramp| {
            let (store, one) = (std::sync::Arc::clone(&store), one.clone());
            tokio::spawn(async move {
                let after = one
                    .clone()
                    .apply(ExperimentFact::Ramped(share(ramp)), one.updated_at);
                let after = after.expect("it goes up");
                let change = line(&after, Action::Ramped, &ramp.to_string());
                let committed = store
                    .experiments()
                    .commit_experiment(one.version, &after, &change)
                    .await;
                (ramp, committed.expect("an answer"))
            })
        })
        .collect();
    let mut applied = Vec::new();
    for commit in commits {
        let (ramp, committed) = commit.await.expect("no panic");
        match committed {
            Committed::Applied => applied.push(ramp),
            other => assert_eq!(other, Committed::GuardFailed),
        }
    }
    assert_eq!(applied.len(), 1);
    let read = stored(&*store, "one").await.expect("it is there");
    assert_eq!((read.ramp, read.version), (share(applied[0]), 3));
    let changes = store
        .experiments()
        .experiment_changes(&read.name, None, 10)
        .await;
    let reasons: Vec<_> = changes
        .expect("read")
        .items
        .into_iter()
        .map(|one| one.reason)
        .collect();
    assert_eq!(
        reasons,
        [
            applied[0].to_string(),
            "as asked".to_owned(),
            "made".to_owned()
        ]
    );
}

// clause 3
async fn the_history_is_paged_from_the_newest_on<F: StoreFixture>(store: F) {
    let mut one = draft("one", small(), now(&store).await);
    insert(&store, &one).await;
    insert(&store, &draft("other", small(), one.created_at)).await;
    one = apply(&store, one, ExperimentFact::Started(share(1))).await;
    for ramp in 2..6 {
        one = apply(&store, one, ExperimentFact::Ramped(share(ramp))).await;
    }
    // A guardrail is nobody, and names an arm.
    let after = Experiment {
        version: 6,
        ..one.clone()
    };
    let change = Change {
        by: None,
        variant: Some("b".parse().expect("a name")),
        ..line(&after, Action::ArmStopped, "finding 7")
    };
    let committed = store
        .experiments()
        .commit_experiment(6, &after, &change)
        .await;
    assert_eq!(committed.expect("an answer"), Committed::Applied);
    let mut read = Vec::new();
    let mut after = None;
    loop {
        let page = store
            .experiments()
            .experiment_changes(&one.name, after, 3)
            .await
            .expect("read");
        assert!(page.items.len() <= 3);
        read.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    let versions: Vec<_> = read.iter().map(|change| change.version).collect();
    assert_eq!(versions, [7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(
        read[0],
        Change {
            version: 7,
            ..change
        }
    );
    let ramps: Vec<_> = read[1..].iter().map(|change| change.ramp.get()).collect();
    assert_eq!(ramps, [5, 4, 3, 2, 1, 0]);
    assert_eq!(
        (read[6].action, &read[6].by),
        (Action::Created, &Some(user("olga")))
    );
}

// clause 3
async fn experiments_are_listed_by_name<F: StoreFixture>(store: F) {
    let at = now(&store).await;
    let names = ["b", "a_1", "c", "a", "0"];
    for name in names {
        insert(&store, &draft(name, small(), at)).await;
    }
    let mut read = Vec::new();
    let mut after = None;
    loop {
        let page = store
            .experiments()
            .experiments(after, 2)
            .await
            .expect("read");
        read.extend(page.items.into_iter().map(|one| one.name.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(read, ["0", "a", "a_1", "b", "c"]);
}

// clause 4
async fn those_that_run_are_read_anew_when_something_has_changed<F: StoreFixture>(store: F) {
    let running = async |known| store.experiments().running(known).await.expect("read");
    assert_eq!(running(None).await, Some(Running::default()));
    assert_eq!(running(Some(0)).await, None);
    let one = draft("one", small(), now(&store).await);
    insert(&store, &one).await;
    insert(&store, &draft("draft", small(), one.created_at)).await;
    let drafts = running(Some(0)).await.expect("another number");
    assert_eq!(drafts.experiments, []);
    let mut one = apply(&store, one, ExperimentFact::Started(share(5))).await;
    for ramp in [6, 7] {
        let read = running(Some(drafts.version)).await.expect("another number");
        assert_eq!(read.experiments, [one.clone()]);
        assert_eq!(running(Some(read.version)).await, None);
        one = apply(&store, one, ExperimentFact::Ramped(share(ramp))).await;
        assert_ne!(running(Some(read.version)).await, None);
    }
    apply(&store, one, ExperimentFact::Stopped("enough".to_owned())).await;
    let read = running(None).await.expect("nothing is known");
    assert_eq!(read.experiments, []);
}

fn exposure(experiment: &str, contest: &Contest, name: Option<&str>, variant: &str) -> Exposure {
    Exposure {
        experiment: experiment.parse().expect("a name"),
        unit: name.unwrap_or("the-room").to_owned(),
        contest_id: contest.id,
        user_id: name.map(user),
        variant: variant.parse().expect("a name"),
    }
}

async fn outcomes<F: StoreFixture>(store: &F, name: &str) -> Vec<ports::experiments::Outcome> {
    let name = name.parse().expect("a name");
    let mut read = Vec::new();
    let mut after = None;
    loop {
        let page = store
            .experiments()
            .outcomes(&name, after, 3)
            .await
            .expect("read");
        assert!(page.items.len() <= 3);
        read.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return read,
        }
    }
}

// clauses 5 and 7
async fn an_exposure_is_recorded_once_and_stays_what_it_was<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let first = [
        exposure("one", &contest, Some("ann"), "a"),
        exposure("one", &contest, Some("Ann"), "b"),
        exposure("one", &contest, None, "a"),
        exposure("other", &contest, Some("ann"), "b"),
    ];
    let before = now(&store).await;
    store.experiments().expose(&[]).await.expect("nothing");
    store.experiments().expose(&first).await.expect("recorded");
    let recorded = outcomes(&store, "one").await;
    assert!(recorded.iter().all(|one| before <= one.met_at));
    store.reach(now(&store).await.plus(5)).await;
    let again = exposure("one", &contest, Some("ann"), "b");
    store
        .experiments()
        .expose(&[again.clone(), again])
        .await
        .expect("an answer");
    assert_eq!(outcomes(&store, "one").await, recorded);
    let units: Vec<_> = recorded.iter().map(|one| one.exposure.clone()).collect();
    assert_eq!(
        units,
        [first[1].clone(), first[0].clone(), first[2].clone()],
        "byte for byte"
    );
    let counts = store.experiments().exposed(contest.id).await.expect("read");
    let counts: Vec<_> = counts
        .iter()
        .map(|(of, variant, count)| (of.as_str(), variant.as_str(), *count))
        .collect();
    assert_eq!(
        counts,
        [("one", "a", 1), ("one", "b", 1), ("other", "b", 1)],
        "viewers alone"
    );
    let nowhere = store.experiments().exposed(contest_id()).await;
    assert_eq!(nowhere.expect("read"), []);
}

// clause 5
async fn a_crowd_is_recorded_once_each<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let store = std::sync::Arc::new(store);
    let recording: Vec<_> = (0..20)
        .map(|number| {
            let (store, contest) = (std::sync::Arc::clone(&store), contest.clone());
            tokio::spawn(async move {
                // The same viewers in another order each time.
                let names = (0..10).map(|place| format!("viewer-{}", (place * 3 + number) % 10));
                let all: Vec<_> = names
                    .map(|name| exposure("one", &contest, Some(&name), "a"))
                    .collect();
                store.experiments().expose(&all).await.expect("recorded");
            })
        })
        .collect();
    for one in recording {
        one.await.expect("no panic");
    }
    assert_eq!(outcomes(&*store, "one").await.len(), 10);
}

// clause 6
async fn outcomes_are_paged_with_the_signups_as_they_are<F: StoreFixture>(store: F) {
    let contests = [open_contest(&store).await, open_contest(&store).await];
    let mut wanted = Vec::new();
    for (number, name) in ["ann", "bob", "cat", "dan"].into_iter().enumerate() {
        for contest in &contests {
            let met = exposure("one", contest, Some(name), "a");
            store
                .experiments()
                .expose(std::slice::from_ref(&met))
                .await
                .expect("recorded");
            let signup = new_signup(contest, user(name), now(&store).await);
            if number % 2 == 0 {
                let enrolled = store
                    .signups()
                    .enroll(&signup, None)
                    .await
                    .expect("an answer");
                assert_eq!(enrolled, Enrolled::Inserted);
            }
            let signup = (number % 2 == 0).then(|| signup.recalled());
            wanted.push((met.unit.clone(), contest.id, met, signup));
        }
    }
    wanted.sort_by(|one, other| (&one.0, one.1).cmp(&(&other.0, other.1)));
    let read = outcomes(&store, "one").await;
    let read: Vec<_> = read
        .into_iter()
        .map(|one| {
            (
                one.exposure.unit.clone(),
                one.exposure.contest_id,
                one.exposure,
                one.signup,
            )
        })
        .collect();
    assert_eq!(read, wanted);
    assert_eq!(outcomes(&store, "other").await, []);
}

async fn the_variants_of_contests_and_signups_read_back<F: StoreFixture>(store: F) {
    let variants: Assignments = "colour:gold,fee:cheap".parse().expect("a form of ours");
    let contest = Contest {
        variants: "fee:cheap".parse().expect("a form of ours"),
        ..contest_in(PhaseKind::Draft, now(&store).await)
    };
    assert!(store.contests().insert(&contest).await.expect("an answer"));
    let read = store
        .contests()
        .get(contest.id)
        .await
        .expect("read")
        .expect("a contest");
    assert_eq!(read.variants, contest.variants);
    for (name, variants) in [("ann", variants), ("bob", Assignments::NONE)] {
        let mut signup = new_signup(&contest, user(name), now(&store).await);
        signup.variants = variants.clone();
        store
            .signups()
            .enroll(&signup, None)
            .await
            .expect("an answer");
        let read = store.signups().find(contest.id, &user(name)).await;
        assert_eq!(read.expect("read").expect("a signup").variants, variants);
    }
}

// clause 7
async fn signups_are_counted_by_their_variants<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let counts = async || {
        let read = store
            .experiments()
            .counts_by_variants(contest.id)
            .await
            .expect("read");
        let of = |one: &VariantCount| {
            (
                one.variants.to_string(),
                one.count.state.name(),
                one.count.signups,
                one.count.fees.get(),
            )
        };
        read.iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(counts().await, []);
    let fee = contest.terms.fee.get();
    for (number, variants) in ["", "a:x", "a:y", "a:x", "a:x,b:z"].into_iter().enumerate() {
        let mut signup = new_signup(
            &contest,
            user(&format!("viewer-{number}")),
            now(&store).await,
        );
        signup.variants = variants.parse().expect("a form of ours");
        store
            .signups()
            .enroll(&signup, None)
            .await
            .expect("an answer");
    }
    let of =
        |variants: &str, number: u64| (variants.to_owned(), "initialized", number, number * fee);
    assert_eq!(
        counts().await,
        [of("a:x", 2), of("a:x,b:z", 1), of("a:y", 1)]
    );
}

async fn experiments_survive_a_crash<F: StoreFixture>(store: F) {
    let contest = open_contest(&store).await;
    let one = draft("one", full(), now(&store).await);
    insert(&store, &one).await;
    let met = exposure("one", &contest, Some("ann"), "control");
    store.experiments().expose(&[met]).await.expect("recorded");
    let before = outcomes(&store, "one").await;
    let store = store.reopen().await;
    assert_eq!(stored(&store, "one").await, Some(one));
    assert_eq!(outcomes(&store, "one").await, before);
}
