//! Results are what was recorded: every viewer counted once, in the arm of their unit.
#![allow(clippy::expect_used, clippy::float_cmp, reason = "these are tests")]

use adapters_memory::{store::MemoryStore, system::ManualClock};
use contract_tests::samples;
use domain::{
    contest::{Contest, PhaseKind},
    experiment::{
        Changes, Definition, Experiment, ExperimentFact, Guardrail, Metric, Unit, Variant,
    },
    ids::UserId,
    payout::{Achievement, Weight},
    signup::{FeeTry, Paid, PayTry, Payee, Payment, State},
    terms::BasisPoints,
    time::UnixMillis,
    transfer::{Position, Receipt, Refusal},
};
use experiments::{Results, Statistician, Verdict, report, results};
use ports::{
    contests::ContestRepository,
    experiments::{Experiments, Exposure, Judge},
    signups::SignupRepository,
};
use std::sync::Arc;

const NOW: UnixMillis = UnixMillis(1_800_000_000_000);

fn share(points: u16) -> BasisPoints {
    BasisPoints::new(points).expect("a share")
}

fn user(name: &str) -> UserId {
    name.parse().expect("a user")
}

fn receipt() -> Receipt {
    Receipt {
        position: Position(5),
        applied_at: NOW,
    }
}

fn achievement() -> Achievement {
    Achievement {
        quantity: 1,
        met_at: NOW,
    }
}

fn coins(amount: u64) -> domain::money::Coins {
    domain::money::Coins::new(amount).expect("an amount")
}

/// Everything that can become of a signup whose fee is 10.
fn states() -> Vec<(State, &'static [Metric], u64, u64)> {
    use Metric::{ChargeFailed, Claimed, Finished, Paid as IsPaid, Refunded, SignedUp};
    let weight = Weight::new(1).expect("a weight");
    let paid = || Paid {
        payee: Payee::Viewer,
        receipt: receipt(),
    };
    let payment = Payment {
        payee: Payee::Viewer,
        last_try: PayTry::Unknown,
    };
    vec![
        (State::Initialized(FeeTry::Unknown), &[SignedUp], 0, 0),
        (
            State::Initialized(FeeTry::Refused(Refusal::InsufficientBalance)),
            &[SignedUp, ChargeFailed],
            0,
            0,
        ),
        (State::Expired, &[SignedUp, ChargeFailed], 0, 0),
        (State::InProgress(receipt()), &[SignedUp, IsPaid], 10, 0),
        (State::Missed(receipt(), 0), &[SignedUp, IsPaid], 10, 0),
        (
            State::Claiming(receipt(), achievement(), weight, coins(7), payment),
            &[SignedUp, IsPaid, Finished],
            10,
            0,
        ),
        (
            State::Shared(receipt(), achievement(), weight, coins(7), Some(paid())),
            &[SignedUp, IsPaid, Finished, Claimed],
            10,
            7,
        ),
        (
            State::Forfeited(receipt(), achievement(), weight),
            &[SignedUp, IsPaid, Finished],
            10,
            0,
        ),
        (
            State::Refunding(receipt(), coins(10), payment),
            &[SignedUp, IsPaid, Refunded],
            0,
            0,
        ),
        (
            State::Refunded(receipt(), coins(10), paid()),
            &[SignedUp, IsPaid, Refunded],
            0,
            0,
        ),
    ]
}

struct World {
    store: Arc<MemoryStore>,
    experiment: Experiment,
}

impl World {
    async fn new(unit: Unit, guardrails: Vec<Guardrail>) -> Self {
        let store = Arc::new(MemoryStore::new(Arc::new(ManualClock::new(NOW)), &[]));
        let variant = |name: &str, display: &str| Variant {
            name: name.parse().expect("a name"),
            share: share(5_000),
            changes: Changes::default(),
            display: Some(display.to_owned()),
        };
        let definition = Definition {
            hypothesis: "it is better".to_owned(),
            unit,
            variants: vec![variant("control", "{}"), variant("other", "{\"x\":1}")],
            rooms: Vec::new(),
            task_kinds: Vec::new(),
            starts_at: None,
            ends_at: NOW.plus(1_000_000),
            primary: Metric::Paid,
            guardrails,
            planned_units: 1_000,
            min_units: 100,
            alpha: share(500),
        };
        let definition = definition.check().expect("it keeps every rule");
        let name = "one".parse().expect("a name");
        let experiment = Experiment::new(name, "salt".to_owned(), definition, NOW);
        let fact = ExperimentFact::Started(share(10_000));
        let experiment = experiment.apply(fact, NOW).expect("it starts");
        Self { store, experiment }
    }

    async fn contest(&self) -> Contest {
        let contest = samples::contest_in(PhaseKind::Draft, NOW);
        let mut contest = contest;
        contest.terms.fee = coins(10);
        assert!(
            ContestRepository::insert(&*self.store, &contest)
                .await
                .expect("inserted")
        );
        contest
    }

    async fn meet(&self, contest: &Contest, unit: &str, viewer: Option<&str>, variant: &str) {
        let exposure = Exposure {
            experiment: self.experiment.name.clone(),
            unit: unit.to_owned(),
            contest_id: contest.id,
            user_id: viewer.map(user),
            variant: variant.parse().expect("a name"),
        };
        self.store.expose(&[exposure]).await.expect("recorded");
    }

    async fn sign_up(&self, contest: &Contest, viewer: &str, state: State) {
        let mut signup = samples::signup_in(state, contest, user(viewer), NOW);
        let met = self
            .store
            .outcomes(&self.experiment.name, None, 1_000)
            .await
            .expect("read");
        let met = met.items.into_iter().map(|one| one.exposure);
        let met = met.filter(|one| one.user_id.as_ref() == Some(&signup.user_id));
        for exposure in met.filter(|one| one.contest_id == contest.id) {
            signup.variants.add(exposure.experiment, exposure.variant);
        }
        self.store.restore(&signup).await.expect("restored");
    }

    async fn results(&self) -> Results {
        results(&*self.store, self.experiment.clone())
            .await
            .expect("read")
    }
}

#[tokio::test]
async fn every_state_counts_for_what_it_is() {
    let world = World::new(Unit::User, Vec::new()).await;
    let contest = world.contest().await;
    for (number, (state, metrics, coins_in, coins_out)) in states().into_iter().enumerate() {
        let before = world.results().await.arms[0].funnel;
        let viewer = format!("viewer-{number}");
        world
            .meet(&contest, &viewer, Some(&viewer), "control")
            .await;
        let name = state.kind().name();
        world.sign_up(&contest, &viewer, state).await;
        let after = world.results().await.arms[0].funnel;
        assert_eq!(after.exposed - before.exposed, 1);
        for metric in Metric::ALL {
            let more = after.metric(*metric) - before.metric(*metric);
            let wanted = match metric {
                Metric::CoinsIn => coins_in,
                Metric::CoinsOut => coins_out,
                other => u64::from(metrics.contains(other)),
            };
            assert_eq!(more, wanted, "{metric:?} of {name}");
        }
    }
}

#[tokio::test]
async fn a_viewer_is_one_unit_in_however_many_contests() {
    let world = World::new(Unit::User, Vec::new()).await;
    for _ in 0..3 {
        let contest = world.contest().await;
        world.meet(&contest, "ann", Some("ann"), "other").await;
        world
            .sign_up(&contest, "ann", State::InProgress(receipt()))
            .await;
        world.meet(&contest, "bob", Some("bob"), "other").await;
    }
    let results = world.results().await;
    let other = &results.arms[1];
    assert_eq!(
        (other.units, other.funnel.exposed, other.funnel.paid),
        (2, 6, 3)
    );
    assert_eq!(other.rate(Metric::Paid), Some(0.5), "one of two viewers");
    assert_eq!(
        other.rate(Metric::CoinsIn),
        Some(15.0),
        "30 coins of two viewers"
    );
    assert_eq!(results.arms[0].units, 0);
    assert_eq!(
        results.treated[0].verdict,
        Verdict::TooFewUnits { missing: 100 }
    );
    assert_eq!(results.sample_ratio, None, "too early");
}

#[tokio::test]
async fn a_contest_is_one_unit_however_many_viewers_it_has() {
    let world = World::new(Unit::Contest, Vec::new()).await;
    for (variant, viewers) in [("control", 4), ("control", 1), ("other", 0)] {
        let contest = world.contest().await;
        let unit = contest.id.to_string();
        world.meet(&contest, &unit, None, variant).await;
        for number in 0..viewers {
            let viewer = format!("viewer-{number}");
            world.meet(&contest, &unit, Some(&viewer), variant).await;
            if number % 2 == 0 {
                world
                    .sign_up(&contest, &viewer, State::InProgress(receipt()))
                    .await;
            }
        }
    }
    let results = world.results().await;
    let [control, other] = &results.arms[..] else {
        panic!("two arms");
    };
    assert_eq!(
        (control.units, control.funnel.exposed, control.funnel.paid),
        (2, 5, 3)
    );
    assert_eq!(control.rate(Metric::Paid), Some(0.6), "3 of 5 viewers");
    assert_eq!(
        (other.units, other.funnel.exposed),
        (1, 0),
        "nobody looked at it"
    );
}

/// Over pages, with many units, and a difference that is there.
#[tokio::test]
async fn a_difference_is_found_and_a_broken_assignment_is_told() {
    let guardrail = Guardrail {
        metric: Metric::ChargeFailed,
        margin: share(500),
    };
    let world = World::new(Unit::User, vec![guardrail]).await;
    let contest = world.contest().await;
    for number in 0..1_600 {
        let viewer = format!("viewer-{number}");
        let variant = if number % 2 == 0 { "control" } else { "other" };
        world.meet(&contest, &viewer, Some(&viewer), variant).await;
        // 10 % against 40 % pay; of the others of the second arm a third cannot.
        let paying = if number % 2 == 0 {
            number % 20 == 0
        } else {
            number % 10 < 4
        };
        if paying {
            world
                .sign_up(&contest, &viewer, State::InProgress(receipt()))
                .await;
        } else if number % 10 == 7 {
            world.sign_up(&contest, &viewer, State::Expired).await;
        }
    }
    let found = world.results().await;
    assert_eq!((found.arms[0].units, found.arms[1].units), (800, 800));
    assert!(!found.is_uneven(), "{:?}", found.sample_ratio);
    assert_eq!(found.treated[0].verdict, Verdict::Better);
    assert_eq!(found.treated[0].harms, [guardrail]);
    let judged = Statistician::new(Arc::clone(&world.store) as _)
        .harmed(&world.experiment)
        .await;
    let judged = judged.expect("read");
    assert_eq!(judged[0].variant.as_str(), "other");
    assert_eq!(
        judged[0].reason,
        "charge_failed is more than the control's by more than 500 basis points"
    );
    let table = report::table(&found);
    assert!(
        table.contains("other against the control: better"),
        "{table}"
    );
    assert!(table.contains("GUARDRAIL BROKEN: charge_failed"), "{table}");
    let csv = report::csv(&found);
    assert_eq!(csv.lines().count(), 1 + 2 * Metric::ALL.len());
    let columns: std::collections::BTreeSet<_> =
        csv.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(columns.len(), 1, "{csv}");
    // Two hundred more of one arm: 55 to 45.
    for number in 0..400 {
        let viewer = format!("more-{number}");
        world.meet(&contest, &viewer, Some(&viewer), "other").await;
    }
    let uneven = world.results().await;
    assert!(uneven.is_uneven(), "{:?}", uneven.sample_ratio);
    assert!(report::table(&uneven).starts_with("WARNING"), "at the top");
    // A unit of two variants counts for neither.
    world
        .meet(
            &world.contest().await,
            "viewer-0",
            Some("viewer-0"),
            "other",
        )
        .await;
    let crossed = world.results().await;
    assert_eq!((crossed.crossed, crossed.arms[0].units), (1, 799));
}

#[tokio::test]
async fn what_nobody_met_has_no_results_and_no_harm() {
    let guardrail = Guardrail {
        metric: Metric::Refunded,
        margin: share(0),
    };
    let world = World::new(Unit::User, vec![guardrail]).await;
    let empty = world.results().await;
    assert_eq!(empty.arms.iter().map(|arm| arm.units).sum::<u64>(), 0);
    assert_eq!((empty.sample_ratio, empty.crossed), (None, 0));
    assert!(report::table(&empty).contains("too_few_units (100 more needed)"));
    let judged = Statistician::new(Arc::clone(&world.store) as _)
        .harmed(&world.experiment)
        .await;
    assert_eq!(judged.expect("read"), []);
}
