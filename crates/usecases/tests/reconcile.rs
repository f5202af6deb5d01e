//! Reconciliation of one contest: every class of difference, alone and together.

#![allow(clippy::expect_used, reason = "these are tests")]

mod world;

use domain::{
    finding::FindingClass,
    ids::ContestId,
    order::{Account, Leg, OrderId},
    signup::StateKind,
};
use ports::findings::{FindingFilter, Findings};
use std::sync::Arc;
use usecases::{mend::Limits, reconcile::Bounds};
use world::{
    World, coins,
    played::{FINISHERS, Game, VIEWERS, later, name, played},
    terms, user,
};

#[tokio::test]
async fn a_contest_that_was_played_differs_in_nothing_and_nothing_is_looked_at_twice() {
    let game = played().await;
    let contest = game.world.contest(game.contest);
    for buckets in [1, 7, 1 << 12] {
        let bounds = Bounds { buckets, ..later() };
        let compared = game
            .process
            .compare(contest.id, bounds)
            .await
            .expect("both");
        assert_eq!(compared.rows, VIEWERS as u64);
        // The guarantee, what of it was not needed, fees and prizes.
        assert_eq!(compared.transfers, 2 + (VIEWERS + FINISHERS) as u64);
        assert_eq!((compared.looked_again, compared.differences.len()), (0, 0));
    }
}

type Plant = fn(&Game) -> (OrderId, &'static str);

/// Each class of difference that stands in the funds system's books, and how it is planted.
const PLANTS: [Plant; 10] = [
    |game| {
        game.forget(game.fee(1));
        (game.fee(1), FindingClass::FeeMissing.name())
    },
    |game| {
        game.forget(game.prize(2));
        (game.prize(2), FindingClass::PrizeMissing.name())
    },
    |game| {
        game.change(game.fee(3), |fee| fee.content.amount = coins(9));
        (game.fee(3), FindingClass::AmountDiffers.name())
    },
    |game| {
        let other = Account::User(user("somebody"));
        game.change(game.prize(4), move |prize| prize.content.to = other.clone());
        (game.prize(4), FindingClass::AmountDiffers.name())
    },
    |game| {
        game.repeat(game.fee(5), OrderId([5; 16]));
        (OrderId([5; 16]), FindingClass::DuplicateTransfer.name())
    },
    |game| {
        game.repeat(game.prize(6), game.prize(6));
        (game.prize(6), FindingClass::DuplicateTransfer.name())
    },
    |game| {
        game.world
            .store
            .delete_signup(game.contest, &user(&name(35)));
        (game.fee(35), FindingClass::OrphanTransfer.name())
    },
    |game| {
        game.repeat(game.fee(7), OrderId([8; 16]));
        let stranger = Account::User(user("stranger"));
        game.change(OrderId([8; 16]), move |one| {
            one.content.from = stranger.clone()
        });
        (OrderId([8; 16]), FindingClass::OrphanTransfer.name())
    },
    |game| {
        game.repeat(game.prize(8), OrderId([9; 16]));
        let holding = Account::Platform(domain::order::Platform::Holding);
        game.change(OrderId([9; 16]), move |one| {
            one.content.to = holding.clone()
        });
        (OrderId([9; 16]), FindingClass::OrphanTransfer.name())
    },
    |game| {
        let order = Leg::Own(domain::order::OwnLeg::Guarantee, game.contest).order_id();
        game.change(order, |guarantee| guarantee.content.amount = coins(1_001));
        (order, FindingClass::AmountDiffers.name())
    },
];

#[tokio::test]
async fn each_difference_alone_is_found_with_its_class_and_none_else_is() {
    for plant in PLANTS {
        let game = played().await;
        let planted = plant(&game);
        assert_eq!(game.classes().await, [planted]);
    }
}

#[tokio::test]
async fn all_differences_together_are_found_in_any_number_of_buckets() {
    let game = played().await;
    let mut planted: Vec<_> = PLANTS.iter().map(|plant| plant(&game)).collect();
    planted.sort_unstable();
    for buckets in [1, 16, 1 << 12] {
        let found = game.found(Bounds { buckets, ..later() }).await;
        let found: Vec<_> = found
            .into_iter()
            .map(|(order, (class, _))| (order, class))
            .collect();
        assert_eq!(found, planted, "{buckets} buckets");
    }
}

#[tokio::test]
async fn a_balance_that_neither_rows_nor_differences_explain_is_told() {
    let game = played().await;
    game.funds.add_to_balances(1);
    let contest = game.world.contest(game.contest);
    let compared = game
        .process
        .compare(contest.id, later())
        .await
        .expect("both");
    assert!(!compared.pool.is_explained(), "{:?}", compared.pool);
    assert_eq!(compared.differences, []);
}

#[tokio::test]
async fn a_log_that_lacks_half_of_everything_is_cut_off_and_told() {
    let game = played().await;
    game.funds
        .change(|log| log.retain(|transfer| transfer.receipt.position.0 % 2 == 0));
    let contest = game.world.contest(game.contest);
    let bounds = Bounds {
        candidates_max: 10,
        ..later()
    };
    let compared = game
        .process
        .compare(contest.id, bounds)
        .await
        .expect("both");
    assert!(compared.is_cut);
    assert!(compared.looked_again <= 12, "{}", compared.looked_again);
}

#[tokio::test]
async fn what_was_just_paid_and_is_not_recorded_yet_is_no_difference_until_it_is_late() {
    let world = World::new();
    let lost = world.process_with(Arc::new(world::meddled::Meddled::new(
        &world,
        world::meddled::Answers::Lost,
    )) as _);
    let process = world.process();
    let contest = world.create(&process, terms()).await;
    world.settle_down(&process).await;
    world.grant("late", 10);
    let _ = lost.sign_up(contest, &user("late"), None).await;
    let contest = world.contest(contest);
    let bounds = Bounds::default();
    let soon = process.compare(contest.id, bounds).await.expect("both");
    assert_eq!((soon.looked_again, soon.differences.len()), (1, 0));
    world.clock.advance(bounds.recorded_within_ms + 1);
    let late = process.compare(contest.id, bounds).await.expect("both");
    let classes: Vec<_> = late.differences.iter().map(|one| one.class).collect();
    assert_eq!(classes, [FindingClass::FeeUnrecorded]);
    // Without limits nothing is repaired; with them it goes through `apply` like everything.
    let dry = process.reconcile(contest.id, bounds, None).await;
    assert_eq!(dry.expect("both").repaired, []);
    assert_eq!(open(&world, contest.id).await, ["FEE_UNRECORDED"]);
    assert_eq!(world.state(contest.id, "late"), StateKind::Initialized);
    let done = process.reconcile(contest.id, bounds, LIMITS).await;
    assert_eq!(done.expect("both").repaired.len(), 1);
    assert_eq!(world.state(contest.id, "late"), StateKind::InProgress);
    assert_eq!(open(&world, contest.id).await, [""; 0]);
    let again = process
        .reconcile(contest.id, bounds, LIMITS)
        .await
        .expect("both");
    assert_eq!(
        (again.compared.differences.len(), again.repaired.len()),
        (0, 0)
    );
}

const LIMITS: Option<Limits> = Some(Limits {
    repairs: 5,
    coins: 100,
});

/// The classes of the open findings.
async fn open(world: &World, contest: ContestId) -> Vec<&'static str> {
    let filter = FindingFilter::open_of(contest);
    let page = world.store.list(filter, None, 1_000).await.expect("a page");
    page.items.iter().map(|one| one.class.name()).collect()
}

#[tokio::test]
async fn what_nobody_may_repair_stays_open_and_is_settled_once_it_is_gone() {
    let game = played().await;
    let planted: Vec<_> = PLANTS.iter().map(|plant| plant(&game)).collect();
    let before = game.world.funds.transfers();
    for _ in 0..2 {
        let done = game.process.reconcile(game.contest, later(), LIMITS).await;
        // The prize that the log does not show is paid again under its order, and so only once.
        assert_eq!(done.expect("both").repaired, [game.prize(2)]);
        assert_eq!(
            open(&game.world, game.contest).await.len(),
            planted.len() - 1
        );
    }
    assert_eq!(game.world.funds.transfers(), before);
    game.funds.heal();
    game.process
        .reconcile(game.contest, later(), LIMITS)
        .await
        .expect("both");
    // Whose row was lost waits for a person.
    assert_eq!(open(&game.world, game.contest).await, ["ORPHAN_TRANSFER"]);
}

#[tokio::test]
async fn over_the_limits_nothing_is_repaired_and_a_person_is_called() {
    let game = played().await;
    let before = game.world.funds.transfers();
    game.funds
        .change(|log| log.retain(|transfer| transfer.receipt.position.0 % 2 == 0));
    for bounds in [
        later(),
        Bounds {
            candidates_max: 5,
            ..later()
        },
    ] {
        let done = game
            .process
            .reconcile(game.contest, bounds, LIMITS)
            .await
            .expect("both");
        assert!(done.is_over_limits && done.repaired.is_empty());
    }
    assert_eq!(game.world.funds.transfers(), before);
    assert!(
        open(&game.world, game.contest)
            .await
            .contains(&"POOL_DIFFERS")
    );
}
