//! A contest that was played to its end, on a funds system that can be tampered with.

use super::{World, coins, tampered::Tampered, terms, user};
use domain::{
    ids::ContestId,
    order::{Leg, OrderId},
    reconcile::Repair,
    transfer::{Position, Transfer},
};
use std::{collections::BTreeMap, sync::Arc};
use usecases::{Contests, reconcile::Bounds};

pub const VIEWERS: usize = 40;
/// Those before this one finish.
pub const FINISHERS: usize = 30;

pub fn name(number: usize) -> String {
    format!("viewer-{number}")
}

pub struct Game {
    pub world: World,
    pub funds: Arc<Tampered>,
    pub process: Contests,
    pub contest: ContestId,
}

/// A contest that was played to its end, on a funds system that can be tampered with.
pub async fn played() -> Game {
    let world = World::new();
    let funds = Tampered::new(&world);
    let process = world.process_with(Arc::clone(&funds) as _);
    let mut terms = terms();
    terms.guaranteed_pool = coins(1_000);
    let contest = world.create(&process, terms).await;
    world.settle_down(&process).await;
    for number in 0..VIEWERS {
        world.grant(&name(number), 10);
        world.sign_up(&process, contest, &name(number)).await;
        if number < FINISHERS {
            world.finish(&name(number)).await;
        }
    }
    world.to_the_end(&process).await;
    world.check();
    Game {
        world,
        funds,
        process,
        contest,
    }
}

impl Game {
    /// What differs now, by order.
    pub async fn found(&self, bounds: Bounds) -> BTreeMap<OrderId, (&'static str, Option<Repair>)> {
        let contest = self.world.contest(self.contest);
        let compared = self
            .process
            .compare(contest.id, bounds)
            .await
            .expect("both sides");
        assert!(!compared.is_cut);
        let log = self.funds.pool(&contest.pool_account());
        assert_eq!(compared.pool.before, log, "{:?}", compared.pool);
        assert!(compared.pool.is_explained(), "{:?}", compared.pool);
        let by_order =
            |one: domain::reconcile::Difference| (one.order, (one.class.name(), one.repair));
        let number = compared.differences.len();
        let found: BTreeMap<_, _> = compared.differences.into_iter().map(by_order).collect();
        assert_eq!(found.len(), number, "an order is told once");
        found
    }

    pub async fn classes(&self) -> Vec<(OrderId, &'static str)> {
        let found = self.found(later()).await;
        found
            .into_iter()
            .map(|(order, (class, _))| (order, class))
            .collect()
    }

    pub fn fee(&self, number: usize) -> OrderId {
        Leg::Fee(self.contest, user(&name(number))).order_id()
    }

    pub fn prize(&self, number: usize) -> OrderId {
        Leg::Prize(self.contest, user(&name(number))).order_id()
    }

    pub fn forget(&self, order: OrderId) {
        self.funds
            .change(move |log| log.retain(|transfer| transfer.order_id != order));
    }

    pub fn change(&self, order: OrderId, change: impl Fn(&mut Transfer) + Send + Sync + 'static) {
        self.funds.change(move |log| {
            let mut found = log.iter_mut().filter(|one| one.order_id == order);
            found.by_ref().for_each(&change);
        });
    }

    /// The transfer under `order` once more, under `as_order`.
    pub fn repeat(&self, order: OrderId, as_order: OrderId) {
        self.funds.change(move |log| {
            let found = log.iter().find(|one| one.order_id == order).cloned();
            let mut again = found.expect("the transfer");
            again.order_id = as_order;
            again.receipt.position = Position(again.receipt.position.0 + 1_000_000);
            log.push(again);
        });
    }
}

/// Everything that has applied is late.
pub fn later() -> Bounds {
    Bounds {
        recorded_within_ms: -1_000_000,
        ..Bounds::default()
    }
}
