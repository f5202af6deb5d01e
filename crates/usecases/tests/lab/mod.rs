//! Experiments as the tests ask for them.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

use crate::world::{START, World, coins, terms, user};
use domain::{
    experiment::{Changes, Definition, Experiment, ExperimentFact, Metric, Unit, Variant},
    ids::{ContestId, ExperimentName},
    terms::{BasisPoints, ClaimMode},
};
use ports::experiments::{Experiments, Outcome};
use usecases::{
    Contests,
    experiments::{Changed, Made},
};

pub fn share(points: u16) -> BasisPoints {
    BasisPoints::new(points).expect("a share")
}

pub fn variant(name: &str, changes: Changes, display: Option<&str>) -> Variant {
    Variant {
        name: name.parse().expect("a name"),
        share: share(5_000),
        changes,
        display: display.map(str::to_owned),
    }
}

pub fn definition(unit: Unit, variants: Vec<Variant>) -> Definition {
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
pub fn cheap() -> Definition {
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
pub fn golden() -> Definition {
    let plain = variant("plain", Changes::default(), None);
    let gold = variant("gold", Changes::default(), Some("{\"button\":\"gold\"}"));
    definition(Unit::User, vec![plain, gold])
}

pub fn name(text: &str) -> ExperimentName {
    text.parse().expect("a name")
}

pub async fn make(process: &Contests, text: &str, definition: Definition) -> Experiment {
    let made = process
        .make_experiment(name(text), definition, user("olga"))
        .await;
    match made.expect("an answer") {
        Made::Yes(experiment) => experiment,
        Made::NameTaken => panic!("{text} is taken"),
    }
}

pub async fn ask(process: &Contests, text: &str, fact: ExperimentFact) -> Changed {
    let by = Some(user("olga"));
    let changed = process
        .change_experiment(&name(text), fact, by, "as planned".to_owned())
        .await;
    changed.expect("an answer")
}

pub async fn start(process: &Contests, text: &str, definition: Definition) {
    make(process, text, definition).await;
    let started = ask(process, text, ExperimentFact::Started(share(10_000))).await;
    assert!(matches!(started, Changed::Yes(_)), "{started:?}");
}

pub async fn outcomes(world: &World, text: &str) -> Vec<Outcome> {
    let page = world.store.outcomes(&name(text), None, 1_000).await;
    page.expect("read").items
}

/// Contests of both variants, by the name of theirs.
pub async fn of_both(world: &World, process: &Contests) -> [(ContestId, &'static str); 2] {
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
