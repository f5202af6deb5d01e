//! An operator overrides that the books of a contest do not balance, or that a signup cannot be decided.

#![allow(clippy::expect_used, reason = "these are tests")]

mod world;

use domain::{
    contest::{PhaseKind, PublicPhase},
    finding::FindingClass,
    ids::ContestId,
    order::{Account, Leg, OrderId, OwnLeg, Platform},
    signup::StateKind,
    transfer::{Content, Transfer},
};
use ports::{
    findings::{Finding, FindingFilter, Findings, Resolution},
    funds::{Funds, TransferOutcome, TransferRequest},
};
use std::sync::Arc;
use usecases::{
    Contests,
    mend::Reconciling,
    overrides::{Accepted, Overridden},
};
use uuid::Uuid;
use world::{World, coins, played::later, tampered::Tampered, terms, user};

struct Game {
    world: World,
    funds: Arc<Tampered>,
    process: Contests,
    contest: ContestId,
}

impl Game {
    /// A contest that bob and cai have signed up for and finished, for 10 coins each.
    async fn new() -> Self {
        let world = World::new();
        let funds = Tampered::new(&world);
        let process = world.process_with(Arc::clone(&funds) as _);
        let process = process.reconciled(Reconciling {
            bounds: later(),
            ..Reconciling::default()
        });
        let contest = world.create(&process, terms()).await;
        world.settle_down(&process).await;
        let game = Self {
            world,
            funds,
            process,
            contest,
        };
        for name in ["bob", "cai"] {
            game.world.grant(name, 10);
            game.world.sign_up(&game.process, contest, name).await;
            game.world.finish(name).await;
        }
        game
    }

    /// Ann signs up, and under her order stands what `change` makes of it.
    async fn blocked(&self, change: impl Fn(&mut Transfer) + Send + Sync + 'static) {
        let order = Leg::Fee(self.contest, user("ann")).order_id();
        self.world.grant("ann", 10);
        self.funds.change(move |log| {
            log.iter_mut()
                .filter(|one| one.order_id == order)
                .for_each(&change);
        });
        self.funds.lose_answers(true);
        let signed_up = self.process.sign_up(self.contest, &user("ann"), None).await;
        signed_up.expect("an answer");
        self.funds.lose_answers(false);
        assert_eq!(self.state("ann"), StateKind::Initialized);
    }

    async fn settle(&self) {
        self.world.at(terms().tasks_end_at.plus(1_000));
        self.world.settle_down(&self.process).await;
    }

    async fn to_the_end(&self) {
        self.world.settle_down(&self.process).await;
        let end = self.world.contest(self.contest).claims_end_at();
        if let Some(end) = end {
            self.world.at(end.plus(60_000));
        }
        self.world.settle_down(&self.process).await;
    }

    /// So many coins come into the pool, or the balance says that so many are gone.
    async fn differs_by(&self, more: i64) {
        let Ok(more) = u64::try_from(more) else {
            return self.funds.add_to_balances(more);
        };
        let request = TransferRequest {
            order_id: OrderId([9; 16]),
            content: Content {
                from: Account::Platform(Platform::Issuing),
                to: Account::Pool(self.contest),
                amount: coins(more),
            },
            not_after: None,
            memo: "nobody knows why".to_owned(),
        };
        let outcome = self.world.funds.transfer(&request).await;
        assert!(
            matches!(outcome, TransferOutcome::Applied(_)),
            "{outcome:?}"
        );
    }

    fn state(&self, name: &str) -> StateKind {
        self.world.state(self.contest, name)
    }

    fn phase(&self) -> PhaseKind {
        self.world.phase(self.contest)
    }

    fn prize(&self, name: &str) -> Option<u64> {
        let signup = self.world.signup(self.contest, name).expect("a signup");
        signup.state.prize().map(domain::money::Coins::get)
    }

    async fn open(&self) -> Vec<Finding> {
        let filter = FindingFilter::open_of(self.contest);
        let page = self.world.store.list(filter, None, 10).await;
        page.expect("a page").items
    }

    async fn only(&self, class: FindingClass) -> Uuid {
        let open = self.open().await;
        assert_eq!(
            open.iter().map(|one| one.class).collect::<Vec<_>>(),
            [class]
        );
        open[0].id
    }

    async fn ask(&self, named: &[Uuid]) -> Overridden {
        let resolution = Resolution {
            by: user("boss"),
            note: "looked at it with the funds team".to_owned(),
        };
        let asked = self
            .process
            .override_freeze(self.contest, named, None, &resolution);
        asked.await.expect("an answer")
    }

    async fn accept(&self, named: &[Uuid]) -> Accepted {
        match self.ask(named).await {
            Overridden::Yes(accepted) => accepted,
            other => panic!("{other:?}"),
        }
    }

    /// What the log says that the pool holds.
    fn held(&self) -> i64 {
        self.funds.pool(&Account::Pool(self.contest))
    }
}

#[tokio::test]
async fn what_really_moved_goes_back_and_the_contest_is_settled() {
    let game = Game::new().await;
    game.blocked(|fee| fee.content.amount = coins(4)).await;
    game.settle().await;
    assert_eq!(game.phase(), PhaseKind::Judging, "nothing can decide ann");
    let finding = game.only(FindingClass::AmountDiffers).await;
    let accepted = game.accept(&[finding]).await;
    assert_eq!(accepted.contest.stops.accepted, 0);
    let decided = &accepted.signups[0].signup;
    assert_eq!(decided.user_id, user("ann"));
    assert_eq!(decided.state.kind(), StateKind::Refunded);
    let resolved = accepted.findings[0].resolution.as_ref().expect("resolved");
    assert_eq!(resolved.by, user("boss"));
    game.to_the_end().await;
    assert_eq!(game.phase(), PhaseKind::Closed);
    assert_eq!((game.prize("bob"), game.prize("cai")), (Some(10), Some(10)));
    assert_eq!(game.held(), 0);
    assert_eq!(game.open().await, []);
    // Four of ten went and came back.
    let order = Leg::Refund(game.contest, user("ann")).order_id();
    let mut refunds = game.world.funds.transfers();
    refunds.retain(|one| one.order_id == order);
    assert_eq!(refunds[0].content.amount, coins(4));
    assert!(matches!(
        game.ask(&[finding]).await,
        Overridden::NotSettling(PublicPhase::Closed)
    ));
}

#[tokio::test]
async fn what_came_from_elsewhere_is_nobodys_and_leaves_with_the_sweep() {
    let game = Game::new().await;
    game.blocked(|fee| fee.content.from = Account::User(user("zed")))
        .await;
    game.settle().await;
    let finding = game.only(FindingClass::AmountDiffers).await;
    let accepted = game.accept(&[finding]).await;
    assert_eq!(game.state("ann"), StateKind::Expired);
    assert_eq!(accepted.contest.stops.accepted, 0, "nobody has said so yet");
    game.world.settle_down(&game.process).await;
    assert_eq!(game.phase(), PhaseKind::Judging, "the books differ");
    let finding = game.only(FindingClass::PoolDiffers).await;
    let accepted = game.accept(&[finding]).await;
    assert_eq!(accepted.contest.stops.accepted, 10);
    game.to_the_end().await;
    assert_eq!(game.phase(), PhaseKind::Closed);
    assert_eq!((game.prize("bob"), game.prize("cai")), (Some(10), Some(10)));
    let swept = game.world.contest(game.contest).legs[&OwnLeg::Sweep].amount;
    assert_eq!((swept, game.held()), (coins(10), 0));
    let reconciled = game.process.reconcile(game.contest, later(), None).await;
    reconciled.expect("both sides");
    // What was resolved stays so; nobody had compared before, so zed is told of, and nothing else.
    game.only(FindingClass::OrphanTransfer).await;
}

/// A fee whose row was lost is its viewer's: it goes back, and is no part of what is accepted.
#[tokio::test]
async fn a_lost_fee_is_not_accepted_away() {
    let game = Game::new().await;
    game.world.grant("ann", 10);
    game.world.sign_up(&game.process, game.contest, "ann").await;
    let lost = game.world.store.delete_signup(game.contest, &user("ann"));
    lost.expect("a row");
    game.funds.add_to_balances(-5);
    let reconciled = game.process.reconcile(game.contest, later(), None).await;
    reconciled.expect("both sides");
    game.settle().await;
    assert!(game.world.contest(game.contest).stops.is_stopped());
    let open = game.open().await;
    let of_pool = open
        .iter()
        .find(|one| one.class == FindingClass::PoolDiffers);
    let of_pool = of_pool.expect("the pool").id;
    let accepted = game.accept(&[of_pool]).await;
    assert_eq!(
        accepted.contest.stops.accepted, 0,
        "not before the fee is back"
    );
    game.world.settle_down(&game.process).await;
    assert_eq!(game.state("ann"), StateKind::Refunded);
    assert_eq!(game.phase(), PhaseKind::Judging);
    let open = game.open().await;
    let books = open
        .iter()
        .find(|one| one.class == FindingClass::PoolDiffers);
    let accepted = game.accept(&[books.expect("the books").id]).await;
    assert_eq!(accepted.contest.stops.accepted, -5);
    game.to_the_end().await;
    assert_eq!(game.phase(), PhaseKind::Closed);
    assert_eq!((game.prize("bob"), game.prize("cai")), (Some(7), Some(8)));
    assert_eq!(game.world.held("ann"), 10);
}

/// A fee that is on its way back hides nothing of what is missing.
#[tokio::test]
async fn what_is_missing_is_accepted_once_nothing_is_under_way() {
    let game = Game::new().await;
    game.blocked(|fee| fee.content.amount = coins(8)).await;
    game.funds.add_to_balances(-5);
    let reconciled = game.process.reconcile(game.contest, later(), None).await;
    reconciled.expect("both sides");
    game.settle().await;
    let open: Vec<_> = game.open().await.iter().map(|one| one.id).collect();
    assert_eq!(open.len(), 2, "ann's fee, and the pool");
    let accepted = game.accept(&open).await;
    assert_eq!(accepted.contest.stops.accepted, 0);
    game.world.settle_down(&game.process).await;
    assert_eq!(game.state("ann"), StateKind::Refunded);
    assert_eq!(game.phase(), PhaseKind::Judging, "five are missing");
    let books = game.only(FindingClass::PoolDiffers).await;
    let accepted = game.accept(&[books]).await;
    assert_eq!(accepted.contest.stops.accepted, -5);
    game.to_the_end().await;
    assert_eq!(game.phase(), PhaseKind::Closed);
    assert_eq!((game.prize("bob"), game.prize("cai")), (Some(7), Some(8)));
}

#[tokio::test]
async fn the_pool_is_split_from_the_smaller_of_books_and_balance() {
    for (more, prizes, swept) in [(-5, (7, 8), 0), (7, (10, 10), 7)] {
        let game = Game::new().await;
        game.differs_by(more).await;
        game.settle().await;
        assert_eq!(game.phase(), PhaseKind::Judging);
        let finding = game.only(FindingClass::PoolDiffers).await;
        let accepted = game.accept(&[finding]).await;
        assert_eq!(accepted.contest.stops.accepted, more);
        game.to_the_end().await;
        assert_eq!(game.phase(), PhaseKind::Closed, "{more}");
        let found = (game.prize("bob"), game.prize("cai"));
        assert_eq!(found, (Some(prizes.0), Some(prizes.1)), "{more}");
        let sweep = game
            .world
            .contest(game.contest)
            .legs
            .get(&OwnLeg::Sweep)
            .copied();
        assert_eq!(sweep.map_or(0, |leg| leg.amount.get()), swept, "{more}");
        assert_eq!(game.held() + more.min(0), 0, "{more}");
    }
}

#[tokio::test]
async fn what_was_accepted_is_what_it_was_then_and_nothing_else() {
    let game = Game::new().await;
    game.funds.add_to_balances(-5);
    game.settle().await;
    let finding = game.only(FindingClass::PoolDiffers).await;
    game.accept(&[finding]).await;
    // Before it is frozen another coin is gone.
    game.funds.add_to_balances(-6);
    game.world.settle_down(&game.process).await;
    assert_eq!(game.phase(), PhaseKind::Judging);
    let another = game.only(FindingClass::PoolDiffers).await;
    assert_ne!(another, finding);
    // What a person has resolved before may be named again.
    game.accept(&[finding, another]).await;
    game.to_the_end().await;
    assert_eq!(game.phase(), PhaseKind::Closed);
    assert_eq!((game.prize("bob"), game.prize("cai")), (Some(7), Some(7)));
}

#[tokio::test]
async fn a_pool_that_the_reconciliation_found_to_differ_can_be_overridden_too() {
    let game = Game::new().await;
    game.funds.add_to_balances(-5);
    let limits = None;
    game.process
        .reconcile(game.contest, later(), limits)
        .await
        .expect("both sides");
    assert!(game.world.contest(game.contest).stops.is_stopped());
    game.settle().await;
    assert_eq!(game.phase(), PhaseKind::Judging);
    let finding = game.only(FindingClass::PoolDiffers).await;
    let accepted = game.accept(&[finding]).await;
    assert_eq!(accepted.contest.stops.accepted, -5);
    assert!(!accepted.contest.stops.is_stopped());
    game.to_the_end().await;
    assert_eq!(game.phase(), PhaseKind::Closed);
    // The next comparison sees what it saw before, and calls nobody again.
    game.process
        .reconcile(game.contest, later(), limits)
        .await
        .expect("both sides");
    assert_eq!(game.open().await, []);
}

#[tokio::test]
async fn what_a_cancelled_contest_cannot_explain_leaves_with_the_sweep() {
    let game = Game::new().await;
    game.differs_by(7).await;
    game.process.cancel(game.contest).await.expect("an answer");
    game.world.settle_down(&game.process).await;
    assert_eq!(game.phase(), PhaseKind::Cancelling, "coins are left");
    let finding = game.only(FindingClass::PoolDiffers).await;
    let accepted = game.accept(&[finding]).await;
    assert_eq!(accepted.contest.stops.accepted, 7);
    game.world.settle_down(&game.process).await;
    assert_eq!(game.phase(), PhaseKind::Cancelled);
    assert_eq!(game.state("bob"), StateKind::Refunded);
    let swept = game.world.contest(game.contest).legs[&OwnLeg::Sweep].amount;
    assert_eq!(swept, coins(7));
}

#[tokio::test]
async fn nothing_else_can_be_overridden() {
    let game = Game::new().await;
    let none = Uuid::from_u128(7);
    assert!(matches!(
        game.ask(&[none]).await,
        Overridden::NotSettling(PublicPhase::Open)
    ));
    let other = game.world.create(&game.process, terms()).await;
    let by = Resolution {
        by: user("boss"),
        note: "because".to_owned(),
    };
    let missing = game
        .process
        .override_freeze(ContestId(none), &[none], None, &by)
        .await;
    assert!(matches!(missing, Ok(Overridden::NoContest)));
    game.funds.add_to_balances(7);
    game.settle().await;
    assert!(matches!(game.ask(&[none]).await, Overridden::NoFinding(id) if id == none));
    // That of another contest is none of this one.
    let filter = FindingFilter::open_of(other);
    let foreign = game
        .world
        .store
        .list(filter, None, 10)
        .await
        .expect("a page");
    let foreign = foreign.items.first().expect("its pool differs too").id;
    assert!(matches!(game.ask(&[foreign]).await, Overridden::NoFinding(id) if id == foreign));
    assert_eq!(game.phase(), PhaseKind::Judging);
    assert_eq!(game.world.contest(game.contest).stops.accepted, 0);
}
