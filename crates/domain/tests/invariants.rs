//! `invariant::check` is silent on clean books, and names each planted fault: no check is idle.
//!
//! FORWARD_ONLY and TALLY_TRUE are about changes and about Redis; books do not show them.

mod common;

use common::{bps, coins, done, receipt, series_terms, terms, user, weight, world::World};
use domain::{
    contest::{Contest, LegOutcome, LegState, Phase},
    invariant::{Books, Invariant, check},
    money::Coins,
    order::{Account, Leg, OrderId, OwnLeg, Platform},
    settlement::{Frozen, Totals},
    signup::{FeeTry, Paid, PayTry, Payee, Payment, Signup, State},
    terms::Terms,
    time::UnixMillis,
    transfer::{Content, Refusal, Transfer},
};
use std::collections::BTreeSet;

use Invariant::{
    FrozenOnce, NoEarlyPrize, NoLimbo, NoOverpay, OneCharge, OnePrize, PaidMeansPaid, ZeroSum,
};

/// Books into which a test plants a fault. The balance follows the transfers.
struct Planted {
    contest: Contest,
    signups: Vec<Signup>,
    transfers: Vec<Transfer>,
    now: UnixMillis,
}

impl Planted {
    fn of(world: World) -> Self {
        let World {
            contest,
            signups,
            transfers,
            now,
            ..
        } = world;
        Self {
            contest,
            signups,
            transfers,
            now,
        }
    }

    fn order(
        &self,
        leg: fn(domain::ids::ContestId, domain::ids::UserId) -> Leg,
        n: u64,
    ) -> OrderId {
        leg(self.contest.id, user(n)).order_id()
    }

    fn transfer(&mut self, order: OrderId) -> &mut Transfer {
        let found = self
            .transfers
            .iter_mut()
            .find(|transfer| transfer.order_id == order);
        found.expect("a transfer of that order")
    }

    fn drop(&mut self, order: OrderId) {
        self.transfers.retain(|transfer| transfer.order_id != order);
    }

    fn add(&mut self, order_id: OrderId, content: Content) {
        self.transfers.push(Transfer {
            order_id,
            content,
            receipt: receipt(99),
        });
    }

    fn repeat(&mut self, order: OrderId) {
        let again = self.transfer(order).clone();
        self.transfers.push(again);
    }

    fn own(&self, leg: OwnLeg) -> OrderId {
        Leg::Own(leg, self.contest.id).order_id()
    }

    fn totals(&mut self, change: fn(&mut Totals)) {
        let Phase::Claimable(settlement) = &mut self.contest.phase else {
            unreachable!("planted in a claimable contest")
        };
        let mut totals = *settlement.totals.get();
        change(&mut totals);
        settlement.totals = Frozen::recall(totals);
    }

    /// What came into the pool less what left it, held at 0 from below.
    fn balance(&self) -> Coins {
        let pool = self.contest.pool_account();
        self.transfers.iter().fold(Coins::ZERO, |held, transfer| {
            let amount = transfer.content.amount;
            if transfer.content.to == pool {
                held.plus(amount).expect("few coins")
            } else {
                held.minus(amount).unwrap_or(Coins::ZERO)
            }
        })
    }

    fn violated(&self, balance: Coins) -> BTreeSet<Invariant> {
        let Self {
            contest,
            signups,
            transfers,
            now,
        } = self;
        let found = check(
            Books {
                contest,
                signups,
                transfers,
                balance,
            },
            *now,
        );
        found
            .into_iter()
            .map(|violation| violation.invariant)
            .collect()
    }
}

fn rich() -> Terms {
    let series = series_terms(5).series;
    Terms {
        rake_bps: bps(1_000),
        guaranteed_pool: coins(20),
        series,
        ..terms()
    }
}

/// Three finishers, one who missed.
const PLAYED: &[(u64, Option<i64>)] = &[
    (1, Some(1_500)),
    (4, Some(2_000)),
    (9, Some(2_999)),
    (0, None),
];

fn closed() -> Planted {
    let mut world = World::signed_up(rich(), PLAYED);
    world.drive_all();
    world.run();
    Planted::of(world)
}

/// Claimable: the first has claimed, two prizes still lie in the pool.
fn claimable() -> Planted {
    let mut world = World::signed_up(rich(), PLAYED);
    world.drive_all();
    let rake_sent = |contest: &Contest| {
        let applied = |state: &LegState| matches!(state.outcome, LegOutcome::Applied(_));
        matches!(contest.phase, Phase::Claimable(_)) && contest.legs.values().all(applied)
    };
    world.drive_contest_until(rake_sent);
    world.claim(0);
    Planted::of(world)
}

fn running() -> Planted {
    let mut world = World::signed_up(rich(), PLAYED);
    world.drive_all();
    world.drive_contest_until(|contest| matches!(contest.phase, Phase::Running(_)));
    world.drive_all();
    Planted::of(world)
}

/// Signups are open; the fifth was refused the fee.
fn draft() -> Planted {
    let mut world = World::signed_up(rich(), &[(0, None); 5]);
    world.drive_all();
    world.signups[4].state = State::Initialized(FeeTry::Refused(Refusal::InsufficientBalance));
    let mut planted = Planted::of(world);
    planted.drop(planted.order(Leg::Fee, 5));
    planted
}

fn cancelled() -> Planted {
    let mut world = World::signed_up(rich(), &[(0, None); 3]);
    world.drive_all();
    world.apply(domain::contest::ContestFact::CancelAsked);
    world.run();
    Planted::of(world)
}

#[test]
fn clean_books_show_no_violation() {
    for planted in [closed(), claimable(), running(), draft(), cancelled()] {
        let found = planted.violated(planted.balance());
        assert_eq!(found, BTreeSet::new(), "{:?}", planted.contest.phase);
    }
}

fn plant(base: fn() -> Planted, fault: fn(&mut Planted), wanted: &[Invariant], what: &str) {
    let mut planted = base();
    fault(&mut planted);
    let found = planted.violated(planted.balance());
    assert_eq!(found, wanted.iter().copied().collect(), "{what}");
}

// hazard: B10, B15, C9
#[test]
fn faults_of_fees_are_named() {
    let late = |p: &mut Planted| {
        let content = p.signups[4].fee_content();
        p.add(p.order(Leg::Fee, 5), content);
    };
    plant(
        draft,
        late,
        &[],
        "a fee that is not recorded yet is a finding, not a violation",
    );
    let twice = |p: &mut Planted| {
        let content = p.signups[4].fee_content();
        p.add(p.order(Leg::Fee, 5), content.clone());
        p.add(p.order(Leg::Fee, 5), content);
    };
    plant(
        draft,
        twice,
        &[OneCharge],
        "two fees of one who is not known to have paid",
    );
    let twice = |p: &mut Planted| p.repeat(p.order(Leg::Fee, 1));
    plant(running, twice, &[OneCharge, PaidMeansPaid], "two fees");
    let missing = |p: &mut Planted| p.drop(p.order(Leg::Fee, 4));
    plant(running, missing, &[PaidMeansPaid], "a missing fee");
    let less = |p: &mut Planted| p.transfer(p.order(Leg::Fee, 4)).content.amount = coins(9);
    plant(running, less, &[PaidMeansPaid], "a fee of another amount");
    let other = |p: &mut Planted| {
        p.transfer(p.order(Leg::Fee, 4)).content.from = Account::User(user(9));
    };
    plant(running, other, &[PaidMeansPaid], "a fee of somebody else");
    let orphan = |p: &mut Planted| {
        let content = Content {
            from: Account::User(user(9)),
            ..p.signups[0].fee_content()
        };
        p.add(p.order(Leg::Fee, 9), content);
    };
    plant(running, orphan, &[ZeroSum], "a fee without a row");
    let stray = |p: &mut Planted| {
        let content = p.signups[0].fee_content();
        p.add(OrderId([7; 16]), content);
    };
    plant(
        running,
        stray,
        &[ZeroSum],
        "a fee under an order of its own",
    );
    let expired = |p: &mut Planted| p.signups[3].state = State::Expired;
    plant(claimable, expired, &[ZeroSum], "expired and paid");
}

#[test]
fn faults_of_prizes_are_named() {
    let shifted = |p: &mut Planted| {
        p.transfer(p.order(Leg::Prize, 1)).content.amount = coins(14);
        p.transfer(p.order(Leg::Prize, 2)).content.amount = coins(13);
    };
    let prizes: Vec<_> = closed()
        .signups
        .iter()
        .map(|signup| signup.state.prize())
        .collect();
    let drawn = [Some(coins(13)), Some(coins(14)), Some(coins(14)), None];
    assert_eq!(prizes, drawn, "a pool of 40 - 4 + 5 for three");
    plant(
        closed,
        shifted,
        &[OnePrize],
        "prizes that are not those of the rows",
    );
    let elsewhere = |p: &mut Planted| {
        p.transfer(p.order(Leg::Prize, 1)).content.to = Account::User(user(9));
    };
    plant(
        closed,
        elsewhere,
        &[OnePrize],
        "a prize paid to somebody else",
    );
    let held = |p: &mut Planted| {
        p.transfer(p.order(Leg::Prize, 1)).content.to = Account::Platform(Platform::Holding);
    };
    plant(closed, held, &[], "a prize may be redirected to holding");
    let twice = |p: &mut Planted| p.repeat(p.order(Leg::Prize, 1));
    plant(claimable, twice, &[OnePrize], "two prizes");
    let both = |p: &mut Planted| {
        let content = p.signups[0].payment_content(Payee::Viewer, coins(10));
        p.add(p.order(Leg::Refund, 1), content);
    };
    plant(
        claimable,
        both,
        &[OnePrize, ZeroSum],
        "a prize and a refund that no row explains",
    );
    let unpaid = |p: &mut Planted| p.drop(p.order(Leg::Prize, 1));
    plant(claimable, unpaid, &[ZeroSum], "shared without a prize");
    let early = |p: &mut Planted| {
        let content = p.signups[1].payment_content(Payee::Viewer, coins(14));
        p.add(p.order(Leg::Prize, 2), content);
    };
    let wanted = [OnePrize, NoEarlyPrize, ZeroSum];
    plant(
        claimable,
        early,
        &wanted,
        "a prize of one who did not claim",
    );
    let claiming = |p: &mut Planted| p.signups[0].state = parked(13);
    plant(
        running,
        claiming,
        &[NoEarlyPrize],
        "a prize drawn before the freeze",
    );
}

fn parked(prize: u64) -> State {
    let last_try = PayTry::Parked(Refusal::AccountClosed);
    let payment = Payment {
        payee: Payee::Viewer,
        last_try,
    };
    State::Claiming(receipt(1), done(1), weight(1), coins(prize), payment)
}

#[test]
fn faults_of_refunds_are_named() {
    let unpaid = |p: &mut Planted| p.drop(p.order(Leg::Refund, 1));
    plant(cancelled, unpaid, &[ZeroSum], "refunded without a refund");
    let shifted = |p: &mut Planted| {
        p.transfer(p.order(Leg::Refund, 1)).content.amount = coins(11);
        p.transfer(p.order(Leg::Refund, 2)).content.amount = coins(9);
    };
    plant(
        cancelled,
        shifted,
        &[OnePrize],
        "refunds that are not the fee",
    );
    let twice = |p: &mut Planted| p.repeat(p.order(Leg::Refund, 1));
    plant(
        cancelled,
        twice,
        &[OnePrize, NoOverpay, ZeroSum],
        "two refunds from an empty pool",
    );
    // In a contest that goes on: there the balance gives nothing away.
    let refunded = |p: &mut Planted| {
        let (payee, receipt) = (Payee::Viewer, receipt(9));
        p.signups[3].state = State::Refunded(receipt, coins(10), Paid { payee, receipt });
    };
    plant(
        claimable,
        refunded,
        &[ZeroSum],
        "refunded, and nothing was sent",
    );
    let sent = |p: &mut Planted| {
        let (payee, receipt) = (Payee::Viewer, receipt(9));
        let content = p.signups[3].payment_content(payee, coins(10));
        p.add(p.order(Leg::Refund, 4), content);
        p.signups[3].state = State::Refunded(receipt, coins(10), Paid { payee, receipt });
    };
    plant(claimable, sent, &[], "refunded, and sent");
    let unasked = |p: &mut Planted| {
        let content = p.signups[3].payment_content(Payee::Viewer, coins(10));
        p.add(p.order(Leg::Refund, 4), content);
    };
    plant(claimable, unasked, &[ZeroSum], "a refund of one who missed");
}

#[test]
fn faults_of_the_pool_are_named() {
    let books = closed();
    assert_eq!(
        books.violated(coins(1)),
        [ZeroSum].into(),
        "a balance nobody can explain"
    );
    let left = |p: &mut Planted| {
        p.drop(p.order(Leg::Prize, 1));
        p.signups[0].state = State::Shared(receipt(1), done(1), weight(1), Coins::ZERO, None);
    };
    plant(closed, left, &[ZeroSum], "over with coins left in the pool");
    let stolen = |p: &mut Planted| {
        let content = p.signups[0].payment_content(Payee::Viewer, coins(5));
        p.add(OrderId([7; 16]), content);
    };
    plant(
        claimable,
        stolen,
        &[ZeroSum],
        "a payment that nothing explains",
    );
    let overdrawn = |p: &mut Planted| p.drop(p.own(OwnLeg::Carry));
    plant(
        closed,
        overdrawn,
        &[NoOverpay, ZeroSum],
        "more left than came",
    );
    let too_much = |p: &mut Planted| p.signups[1].state = parked(33);
    plant(
        claimable,
        too_much,
        &[NoOverpay],
        "prizes of more than the pool",
    );
    let limbo = |p: &mut Planted| {
        p.signups[0].state = State::Paid(receipt(1));
    };
    plant(draft, limbo, &[NoLimbo], "paid without a task");
    let open = |p: &mut Planted| p.signups[0].state = parked(13);
    plant(closed, open, &[NoLimbo], "closed with a payment open");
}

#[test]
fn faults_of_the_contests_own_legs_are_named() {
    let wanted = &[ZeroSum];
    let missing = |p: &mut Planted| p.drop(p.own(OwnLeg::Rake));
    plant(
        claimable,
        missing,
        wanted,
        "an applied leg without a transfer",
    );
    let other = |p: &mut Planted| p.transfer(p.own(OwnLeg::Rake)).content.amount = coins(3);
    plant(claimable, other, wanted, "a leg of another amount");
    let elsewhere = |p: &mut Planted| {
        p.transfer(p.own(OwnLeg::Rake)).content.to = Account::User(user(9));
    };
    plant(claimable, elsewhere, wanted, "a leg to another account");
    let twice = |p: &mut Planted| p.repeat(p.own(OwnLeg::Rake));
    plant(claimable, twice, wanted, "a leg twice");
    let unrecorded = |p: &mut Planted| {
        p.contest.legs.remove(&OwnLeg::Rake);
    };
    plant(claimable, unrecorded, wanted, "a leg without a record");
    let set = |p: &mut Planted, leg, amount, outcome| {
        let state = LegState {
            amount: coins(amount),
            outcome,
        };
        p.contest.legs.insert(leg, state);
    };
    let mut void = claimable();
    set(&mut void, OwnLeg::Rake, 4, LegOutcome::Void);
    assert_eq!(
        void.violated(void.balance()),
        [ZeroSum].into(),
        "void, but it applied"
    );
    let mut unknown = claimable();
    set(&mut unknown, OwnLeg::Rake, 4, LegOutcome::Pending);
    assert_eq!(
        unknown.violated(unknown.balance()),
        [].into(),
        "applied, not recorded yet"
    );
    for (outcome, base, wanted) in [
        (LegOutcome::Pending, claimable as fn() -> Planted, vec![]),
        (LegOutcome::Applied(receipt(1)), claimable, vec![ZeroSum]),
        (LegOutcome::Void, claimable, vec![]),
        (LegOutcome::Pending, closed, vec![ZeroSum]),
        (LegOutcome::Applied(receipt(1)), closed, vec![ZeroSum]),
        (LegOutcome::Void, closed, vec![]),
    ] {
        let mut never_sent = base();
        set(&mut never_sent, OwnLeg::Sweep, 1, outcome);
        let found = never_sent.violated(never_sent.balance());
        assert_eq!(
            found,
            wanted.into_iter().collect(),
            "{outcome:?} without a transfer"
        );
    }
}

// hazard: B2, C7, C9
#[test]
fn faults_of_the_freeze_are_named() {
    let wanted = &[FrozenOnce];
    plant(
        claimable,
        |p| p.totals(|t| t.weight_sum += 1),
        wanted,
        "another weight sum",
    );
    plant(
        claimable,
        |p| p.totals(|t| t.finishers -= 1),
        wanted,
        "another count",
    );
    plant(
        claimable,
        |p| p.totals(|t| t.pool = coins(12)),
        &[NoOverpay],
        "a smaller pool",
    );
    let missed = |p: &mut Planted| p.signups[1].state = State::Missed(receipt(1), 0);
    plant(claimable, missed, wanted, "a finisher is gone");
    let more = |p: &mut Planted| {
        let share = domain::signup::Share::Fixed(weight(1));
        p.signups[3].state = State::Completed(receipt(1), done(1), share);
    };
    plant(claimable, more, wanted, "a finisher too many");
    let forfeited = |p: &mut Planted| {
        p.signups[1].state = State::Forfeited(receipt(1), done(1), weight(1));
    };
    plant(
        claimable,
        forfeited,
        &[],
        "the forfeited have completed too",
    );
    let heavier = |p: &mut Planted| {
        p.signups[1].state = State::Forfeited(receipt(1), done(1), weight(2));
    };
    plant(claimable, heavier, wanted, "a weight that changed");
}
