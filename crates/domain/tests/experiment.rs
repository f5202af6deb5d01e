//! Definitions and their rules, the life of an experiment, and who gets which variant.
#![allow(clippy::expect_used, reason = "these are tests")]

mod common;

use common::terms;
use domain::{
    assignment::{Assignments, Purpose, bucket, place, takes_part},
    experiment::{
        Changes, Definition, Experiment, ExperimentError, ExperimentFact, Guardrail, Metric,
        Status, Unit, Variant, assign_contest, assign_viewer,
    },
    ids::ContestId,
    payout::Rule,
    terms::{BasisPoints, ClaimMode},
    time::UnixMillis,
};
use uuid::Uuid;

const NOW: UnixMillis = UnixMillis(1_000);

fn share(points: u16) -> BasisPoints {
    BasisPoints::new(points).expect("a share")
}

fn coins(amount: u64) -> domain::money::Coins {
    domain::money::Coins::new(amount).expect("an amount")
}

fn variant(name: &str, points: u16, changes: Changes, display: Option<&str>) -> Variant {
    Variant {
        name: name.parse().expect("a name"),
        share: share(points),
        changes,
        display: display.map(str::to_owned),
    }
}

fn fee(amount: u64) -> Changes {
    Changes {
        fee: Some(coins(amount)),
        ..Changes::default()
    }
}

fn of_contests(variants: Vec<Variant>) -> Definition {
    Definition {
        hypothesis: "a lower fee brings more viewers".to_owned(),
        unit: Unit::Contest,
        variants,
        rooms: Vec::new(),
        task_kinds: Vec::new(),
        starts_at: None,
        ends_at: UnixMillis(1_000_000),
        primary: Metric::Paid,
        guardrails: vec![Guardrail {
            metric: Metric::Refunded,
            margin: share(100),
        }],
        planned_units: 1_000,
        min_units: 100,
        alpha: share(500),
    }
}

fn halves() -> Definition {
    of_contests(vec![
        variant("control", 5_000, Changes::default(), None),
        variant("cheap", 5_000, fee(5), None),
    ])
}

fn of_viewers() -> Definition {
    Definition {
        unit: Unit::User,
        ..of_contests(vec![
            variant("plain", 5_000, Changes::default(), None),
            variant(
                "bright",
                5_000,
                Changes::default(),
                Some("{\"button\":\"gold\"}"),
            ),
        ])
    }
}

fn experiment(name: &str, definition: Definition) -> Experiment {
    Experiment::new(
        name.parse().expect("a name"),
        format!("salt-{name}"),
        definition,
        NOW,
    )
}

fn running(name: &str, definition: Definition, ramp: u16) -> Experiment {
    let started = experiment(name, definition).apply(ExperimentFact::Started(share(ramp)), NOW);
    started.expect("it starts")
}

#[test]
fn every_rule_is_named_by_its_field() {
    halves().check().expect("it keeps every rule");
    of_viewers().check().expect("it keeps every rule");
    type Change = fn(&mut Definition);
    let broken: &[(Change, &[(&str, &str)])] = &[
        (
            |one| one.hypothesis = " ".to_owned(),
            &[("hypothesis", "out_of_range")],
        ),
        (
            |one| one.hypothesis = "x".repeat(1_001),
            &[("hypothesis", "out_of_range")],
        ),
        (
            |one| drop(one.variants.pop()),
            &[("variants", "out_of_range"), ("variants", "shares")],
        ),
        (
            |one| one.variants.clear(),
            &[("variants", "out_of_range"), ("variants", "shares")],
        ),
        (
            |one| one.variants[1].name = one.variants[0].name.clone(),
            &[("variants", "duplicate_value")],
        ),
        (
            |one| one.variants[1].share = share(4_999),
            &[("variants", "shares")],
        ),
        (
            |one| {
                one.variants[0].share = share(10_000);
                one.variants[1].share = share(0);
            },
            &[("variants", "shares")],
        ),
        (
            |one| one.variants[0].changes = fee(7),
            &[("variants/0", "control_changes")],
        ),
        (
            |one| one.variants[1].changes = Changes::default(),
            &[("variants", "no_difference")],
        ),
        (|one| one.unit = Unit::User, &[("unit", "needs_other_unit")]),
        (
            |one| one.variants[1].changes = fee(0),
            &[("variants", "out_of_range")],
        ),
        (
            |one| one.variants[1].changes.task_target = Some(0),
            &[("variants", "out_of_range")],
        ),
        (
            |one| one.variants[1].display = Some("x".repeat(4_097)),
            &[("variants", "out_of_range")],
        ),
        (
            |one| one.rooms = vec!["r".parse().expect("a room"); 2],
            &[("rooms", "out_of_range")],
        ),
        (
            |one| one.task_kinds = vec!["k".parse().expect("a kind"); 2],
            &[("task_kinds", "out_of_range")],
        ),
        (
            |one| one.starts_at = Some(one.ends_at),
            &[("ends_at", "out_of_order")],
        ),
        (
            |one| one.primary = Metric::Refunded,
            &[("primary_metric", "unknown_value")],
        ),
        (
            |one| one.guardrails[0].metric = Metric::Paid,
            &[("guardrails", "unknown_value")],
        ),
        (
            |one| one.guardrails.push(one.guardrails[0]),
            &[("guardrails", "duplicate_value")],
        ),
        (|one| one.min_units = 99, &[("min_units", "out_of_range")]),
        (
            |one| one.planned_units = 99,
            &[("planned_units", "out_of_range")],
        ),
        (|one| one.alpha = share(0), &[("alpha_bps", "out_of_range")]),
        (
            |one| one.alpha = share(5_001),
            &[("alpha_bps", "out_of_range")],
        ),
    ];
    for (change, wanted) in broken {
        let mut definition = halves();
        change(&mut definition);
        let found = definition.check().expect_err("a rule is broken");
        let found: Vec<_> = found.iter().map(|one| (one.field, one.code)).collect();
        assert_eq!(found, *wanted);
    }
}

/// Whatever changes money inside one pool: none of it by viewer.
#[test]
fn nothing_that_moves_money_is_assigned_by_viewer() {
    let changes = [
        fee(5),
        Changes {
            task_target: Some(2),
            ..Changes::default()
        },
        Changes {
            rule: Some(Rule::ByFee),
            ..Changes::default()
        },
        Changes {
            claim_mode: Some(ClaimMode::Automatic),
            ..Changes::default()
        },
    ];
    for one in changes {
        assert_eq!(one.fields().count(), 1);
        for (unit, may) in [
            (Unit::User, false),
            (Unit::Contest, true),
            (Unit::Room, true),
        ] {
            let mut definition = halves();
            definition.variants[1].changes = one;
            definition.unit = unit;
            let checked = definition.check();
            assert_eq!(checked.is_ok(), may, "{one:?} by {unit:?}");
            if let Err(broken) = checked {
                assert!(
                    broken[0].rule.contains("by contest or by room"),
                    "{}",
                    broken[0]
                );
            }
        }
    }
}

#[test]
fn once_it_has_started_only_the_ramp_goes_up_and_it_can_be_stopped() {
    let draft = experiment("one", halves());
    let redefined = |one: &Experiment| {
        let definition = Box::new(of_viewers());
        one.clone()
            .apply(ExperimentFact::Redefined(definition), NOW)
    };
    assert_eq!(redefined(&draft).expect("a draft").definition, of_viewers());
    for fact in [
        ExperimentFact::Ramped(share(1)),
        ExperimentFact::Stopped("no".to_owned()),
        ExperimentFact::ArmStopped("cheap".parse().expect("a name"), "no".to_owned()),
    ] {
        assert_eq!(
            draft.clone().apply(fact, NOW),
            Err(ExperimentError::NotRunning)
        );
    }
    let late = draft
        .clone()
        .apply(ExperimentFact::Started(share(1)), UnixMillis(1_000_000));
    assert_eq!(late, Err(ExperimentError::Over));
    let running = running("one", halves(), 1_000);
    assert_eq!(redefined(&running), Err(ExperimentError::Started));
    let again = running
        .clone()
        .apply(ExperimentFact::Started(share(1)), NOW);
    assert_eq!(again, Err(ExperimentError::Started));
    for ramp in [0, 999, 1_000] {
        let down = running
            .clone()
            .apply(ExperimentFact::Ramped(share(ramp)), NOW);
        assert_eq!(down, Err(ExperimentError::RampNotUp), "{ramp}");
    }
    let up = running
        .clone()
        .apply(ExperimentFact::Ramped(share(1_001)), NOW);
    assert_eq!(up.expect("it goes up").ramp, share(1_001));
    let ended = running
        .apply(ExperimentFact::Stopped("enough".to_owned()), NOW)
        .expect("it ends");
    assert!(
        matches!(&ended.status, Status::Ended(since, ending) if *since == NOW && ending.reason == "enough")
    );
    assert!(!ended.is_met(NOW));
    let more = ended
        .clone()
        .apply(ExperimentFact::Ramped(share(10_000)), NOW);
    assert_eq!(more, Err(ExperimentError::NotRunning));
    assert_eq!(redefined(&ended), Err(ExperimentError::Started));
}

#[test]
fn an_arm_that_is_stopped_meets_nobody_and_without_a_pair_it_is_over() {
    let three = of_contests(vec![
        variant("control", 3_334, Changes::default(), None),
        variant("cheap", 3_333, fee(5), None),
        variant("dear", 3_333, fee(50), None),
    ]);
    let running = running("one", three, 10_000);
    let stop = |one: Experiment, arm: &str| {
        let fact = ExperimentFact::ArmStopped(arm.parse().expect("a name"), "a finding".to_owned());
        one.apply(fact, NOW)
    };
    let stopped = stop(running.clone(), "cheap").expect("it stops");
    assert!(stopped.is_met(NOW));
    assert_eq!(stop(stopped.clone(), "cheap"), Err(ExperimentError::NoArm));
    assert_eq!(stop(stopped.clone(), "other"), Err(ExperimentError::NoArm));
    let (mut before, mut after) = (0, 0);
    for number in 0..300 {
        let unit = format!("contest-{number}");
        let (was, is) = (
            running.variant_of(&unit, &terms(), NOW),
            stopped.variant_of(&unit, &terms(), NOW),
        );
        match was.map(|one| one.name.as_str()) {
            Some("cheap") => {
                before += 1;
                assert_eq!(is, None, "it meets nothing any more");
            }
            _ => {
                after += 1;
                assert_eq!(is, was, "the others stay where they are");
            }
        }
    }
    assert!(before > 50 && after > 150, "{before} {after}");
    for arms in [&["cheap", "dear"][..], &["control"]] {
        let over = arms
            .iter()
            .try_fold(running.clone(), |one, arm| stop(one, arm));
        let over = over.expect("they stop");
        assert!(matches!(over.status, Status::Ended(..)), "{arms:?}");
    }
}

#[test]
fn it_is_met_between_its_start_and_its_end_by_what_is_eligible() {
    let mut definition = halves();
    definition.starts_at = Some(UnixMillis(2_000));
    definition.rooms = vec![terms().room_id];
    definition.task_kinds = vec![terms().task.kind];
    let one = running("one", definition, 10_000);
    for (at, is_met) in [
        (1_999, false),
        (2_000, true),
        (999_999, true),
        (1_000_000, false),
    ] {
        assert_eq!(one.is_met(UnixMillis(at)), is_met, "{at}");
        assert_eq!(
            one.variant_of("u", &terms(), UnixMillis(at)).is_some(),
            is_met,
            "{at}"
        );
    }
    let met = UnixMillis(2_000);
    let mut elsewhere = terms();
    elsewhere.room_id = "elsewhere".parse().expect("a room");
    assert_eq!(one.variant_of("u", &elsewhere, met), None);
    let mut other = terms();
    other.task.kind = "other_kind".parse().expect("a kind");
    assert_eq!(one.variant_of("u", &other, met), None);
    // Where one of the variants could not be made, the contest takes part in none of them.
    let mut tiered = terms();
    tiered.fee_tiers = vec![tiered.fee, coins(99)];
    assert!((0..50).all(|unit| one.variant_of(&unit.to_string(), &tiered, met).is_none()));
}

#[test]
fn a_contest_gets_its_variants_and_a_viewer_those_and_their_own() {
    let target = Definition {
        unit: Unit::Room,
        ..of_contests(vec![
            variant("control", 1, Changes::default(), None),
            variant(
                "long",
                9_999,
                Changes {
                    task_target: Some(9),
                    ..Changes::default()
                },
                None,
            ),
        ])
    };
    let experiments = [
        running("colour", of_viewers(), 10_000),
        running("fee", halves(), 10_000),
        running("target", target, 10_000),
        running("off", halves(), 0),
        experiment("draft", halves()),
    ];
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..40 {
        let id = ContestId(Uuid::from_u128(number));
        let (assigned, changed) = assign_contest(&experiments, id, &terms(), NOW);
        let names: Vec<_> = assigned.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["fee", "target"]);
        let cheap = assigned
            .get(&"fee".parse().expect("a name"))
            .expect("a variant")
            .as_str()
            == "cheap";
        assert_eq!(changed.fee, if cheap { coins(5) } else { terms().fee });
        assert_eq!(changed.task.target, 9, "9,999 of 10,000 rooms");
        let again = assign_contest(&experiments, id, &terms(), NOW);
        assert_eq!(
            again,
            (assigned.clone(), changed.clone()),
            "always the same"
        );
        let user = format!("user-{number}").parse().expect("a user");
        let all = assign_viewer(&experiments, &assigned, &user, &changed, NOW);
        assert_eq!(all.iter().count(), 3);
        let mut with_own = assigned.clone();
        let own = all
            .get(&"colour".parse().expect("a name"))
            .expect("a variant");
        with_own.add("colour".parse().expect("a name"), own.clone());
        assert_eq!(all, with_own, "the contest's are kept");
        seen.insert((cheap, own.as_str().to_owned()));
        // The viewer's is theirs in every contest.
        let elsewhere = assign_viewer(&experiments, &Assignments::default(), &user, &terms(), NOW);
        assert_eq!(elsewhere.get(&"colour".parse().expect("a name")), Some(own));
    }
    assert_eq!(seen.len(), 4, "neither says anything about the other");
}

/// The examples that another language computes: `docs/experiments/check.py`.
#[test]
fn the_examples_of_the_documentation_are_what_is_assigned() {
    let file = include_str!("../../../docs/experiments/assignment.tsv");
    let mut examples = 0;
    for line in file.lines().filter(|line| !line.starts_with('#')) {
        let columns: Vec<_> = line.split('\t').collect();
        let [salt, unit, ramp, number, shares, wanted] = columns[..] else {
            panic!("{line}");
        };
        assert_eq!(
            bucket(salt, Purpose::Ramp, unit).to_string(),
            ramp,
            "{line}"
        );
        assert_eq!(
            bucket(salt, Purpose::Variant, unit).to_string(),
            number,
            "{line}"
        );
        let shares = shares
            .split(',')
            .map(|points| share(points.parse().expect("a number")));
        let place = place(salt, unit, shares).expect("they are the whole");
        assert_eq!(place.to_string(), wanted, "{line}");
        let ramp: u16 = ramp.parse().expect("a number");
        assert!(!takes_part(salt, unit, share(ramp)) && takes_part(salt, unit, share(ramp + 1)));
        examples += 1;
    }
    assert!(examples > 300, "{examples}");
}

/// Nobody who takes part moves when more do.
#[test]
fn a_ramp_that_goes_up_moves_nobody() {
    let ten = running("one", halves(), 1_000);
    let half = ten
        .clone()
        .apply(ExperimentFact::Ramped(share(5_000)), NOW)
        .expect("up");
    let (mut at_ten, mut at_half) = (0, 0);
    for number in 0..20_000 {
        let unit = format!("user-{number}");
        let (before, after) = (ten.assigned(&unit), half.assigned(&unit));
        if before.is_some() {
            assert_eq!(before, after, "{unit}");
        }
        at_ten += i32::from(before.is_some());
        at_half += i32::from(after.is_some());
    }
    // Five standard deviations around 2,000 and 10,000.
    assert!((at_ten - 2_000).abs() < 213, "{at_ten}");
    assert!((at_half - 10_000).abs() < 354, "{at_half}");
}
