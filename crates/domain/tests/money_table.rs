//! What is frozen, who gets what is left over, and which account every leg touches.

mod common;

use common::{CLOSED, bps, coins, contest, receipt, series_terms, terms, totals, user};
use common::{contest_id, signup_id};
use domain::{
    contest::{ContestFact, Phase},
    effects::{Effect, effects},
    money::{Coins, CoinsOutOfRange},
    order::{Leg, OwnLeg},
    settlement::{
        Advisory, Census, Frozen, Leftover, NotFrozen, Totals, estimate, freeze, gap, leftover,
    },
    signup::{FeeTry, Payee, Share, Signup, State},
    terms::{NoWinner, Remainder, Terms, Unclaimed},
    time::UnixMillis,
};

fn census(fees: u64, finishers: u64) -> Census {
    Census {
        undecided: 0,
        finishers,
        weight_sum: finishers.into(),
        fees: coins(fees),
        refunding: Coins::ZERO,
    }
}

fn priced(rake: u16, guaranteed: u64, carry: u64) -> Terms {
    Terms {
        rake_bps: bps(rake),
        guaranteed_pool: coins(guaranteed),
        ..series_terms(carry)
    }
}

// hazard: C6
#[test]
fn rake_pool_and_guarantee_return_by_hand() {
    // rake_bps, guarantee, carry, fees, finishers; rake, pool, guarantee_return
    for (bps, guarantee, carry, fees, finishers, wanted) in [
        (0, 0, 0, 0, 0, (0, 0, 0)),
        (0, 0, 0, 30, 3, (0, 30, 0)),
        (500, 0, 0, 199, 3, (9, 190, 0)),
        (10_000, 0, 0, 199, 3, (199, 0, 0)),
        // Without winners the house takes nothing.
        (500, 0, 0, 199, 0, (0, 199, 0)),
        (500, 1_000, 0, 199, 0, (0, 1_000, 199)),
        // The guarantee is needed in full, in part, and not at all.
        (0, 100, 0, 0, 1, (0, 100, 0)),
        (0, 100, 0, 99, 1, (0, 100, 99)),
        (0, 100, 0, 100, 1, (0, 100, 100)),
        (0, 100, 0, 101, 1, (0, 101, 100)),
        (1_000, 100, 0, 110, 1, (11, 100, 99)),
        (1_000, 100, 5, 110, 1, (11, 104, 100)),
        // The carry counts towards the guarantee and is not raked.
        (10_000, 10, 50, 100, 1, (100, 50, 10)),
        (10_000, 60, 50, 100, 1, (100, 60, 50)),
    ] {
        let held = coins(fees + guarantee + carry);
        let terms = priced(bps, guarantee, carry);
        let frozen = freeze(&terms, &census(fees, finishers), held, 0).expect("balanced books");
        let Totals {
            rake,
            pool,
            guarantee_return,
            ..
        } = *frozen.get();
        let found = (rake.get(), pool.get(), guarantee_return.get());
        assert_eq!(
            found, wanted,
            "{bps} {guarantee} {carry} {fees} {finishers}"
        );
        let numbers = frozen.get();
        assert_eq!((numbers.fees, numbers.finishers), (coins(fees), finishers));
        assert_eq!(numbers.weight_sum, finishers.into());
    }
}

/// What an operator has accepted: the pool is split from the smaller of books and balance.
#[test]
fn an_accepted_gap_by_hand() {
    // rake_bps, guarantee, carry, fees, finishers, accepted; rake, pool, guarantee_return
    for (bps, guarantee, carry, fees, finishers, accepted, wanted) in [
        // What is too much is no part of it.
        (500, 0, 0, 199, 3, 7, (9, 190, 0)),
        // What is missing is not raked, and is taken from the pool ...
        (500, 0, 0, 199, 3, -9, (9, 181, 0)),
        (1_000, 0, 0, 200, 3, -50, (15, 135, 0)),
        (500, 0, 5, 0, 1, -5, (0, 0, 0)),
        // ... but from what is returned of the guarantee before what was promised ...
        (0, 100, 0, 60, 1, -50, (0, 100, 10)),
        (0, 100, 0, 60, 1, -60, (0, 100, 0)),
        // ... and from that last.
        (0, 100, 0, 60, 1, -61, (0, 99, 0)),
        (0, 100, 0, 60, 0, -160, (0, 0, 0)),
    ] {
        let terms = priced(bps, guarantee, carry);
        let census = census(fees, finishers);
        let books = i64::try_from(fees + guarantee + carry).expect("coins");
        let held = coins(u64::try_from(books + accepted).expect("coins"));
        assert_eq!(gap(&terms, &census, held), Ok(Some(accepted)));
        freeze(&terms, &census, held, 0).expect_err("the books differ");
        freeze(&terms, &census, held, accepted + 1).expect_err("they differ otherwise");
        let frozen = freeze(&terms, &census, held, accepted).expect("accepted");
        let numbers = *frozen.get();
        let found = (
            numbers.rake.get(),
            numbers.pool.get(),
            numbers.guarantee_return.get(),
        );
        assert_eq!(found, wanted, "{bps} {guarantee} {carry} {fees} {accepted}");
        let split = found.0 + found.1 + found.2;
        let excess = u64::try_from(accepted.max(0)).expect("coins");
        assert_eq!(split + excess, held.get(), "every coin goes somewhere");
        assert_eq!(numbers.fees, coins(fees), "what was paid stays");
    }
    let undecided = Census {
        undecided: 1,
        ..census(30, 3)
    };
    assert_eq!(gap(&terms(), &undecided, coins(7)), Ok(None));
    let returning = Census {
        refunding: coins(10),
        ..census(30, 3)
    };
    assert_eq!(gap(&terms(), &returning, coins(35)), Ok(None));
    for (held, accepted) in [(35, 5), (30, -5), (37, 2)] {
        freeze(&terms(), &returning, coins(held), accepted).expect_err("10 are on their way");
    }
    let all_there = freeze(&terms(), &returning, coins(45), 5);
    assert!(all_there.is_ok(), "{all_there:?}");
}

#[test]
fn the_freeze_refuses_what_is_undecided_unbalanced_or_too_large() {
    let balanced = census(30, 3);
    for (held, refunding, wanted) in [
        (136, 0, Err(())),
        (137, 0, Ok(())),
        (138, 0, Err(())),
        (136, 10, Err(())),
        (147, 10, Ok(())),
        (148, 10, Err(())),
    ] {
        let census = Census {
            refunding: coins(refunding),
            ..balanced
        };
        let found = freeze(&priced(0, 100, 7), &census, coins(held), 0);
        let high = coins(137 + refunding);
        let differ = NotFrozen::BooksDiffer {
            held: coins(held),
            low: coins(137),
            high,
        };
        assert_eq!(
            found.map(|_| ()),
            wanted.map_err(|()| differ),
            "{held} {refunding}"
        );
    }
    // Ten that have left look like ten that are missing.
    let returning = Census {
        refunding: coins(10),
        ..balanced
    };
    for held in [137, 140, 146] {
        let found = freeze(&priced(0, 100, 7), &returning, coins(held), 0);
        assert_eq!(found, Err(NotFrozen::OnTheWay(coins(10))), "{held}");
    }
    let undecided = Census {
        undecided: 1,
        ..balanced
    };
    assert_eq!(
        freeze(&terms(), &undecided, coins(0), 0),
        Err(NotFrozen::Undecided(1))
    );
    let largest = Census {
        fees: Coins::MAX,
        ..balanced
    };
    assert!(freeze(&terms(), &largest, Coins::MAX, 0).is_ok());
    let range = Err(NotFrozen::Range(CoinsOutOfRange));
    assert_eq!(freeze(&priced(0, 1, 0), &largest, Coins::MAX, 0), range);
    assert_eq!(freeze(&priced(0, 0, 1), &largest, Coins::MAX, 0), range);
}

#[test]
fn the_legs_of_the_freeze_are_its_numbers() {
    for (rake, guarantee, wanted) in [
        (0, 0, vec![]),
        (1_000, 0, vec![(OwnLeg::Rake, 3)]),
        (
            1_000,
            100,
            vec![(OwnLeg::GuaranteeReturn, 27), (OwnLeg::Rake, 3)],
        ),
        (0, 100, vec![(OwnLeg::GuaranteeReturn, 30)]),
    ] {
        let terms = Terms {
            series: None,
            ..priced(rake, guarantee, 0)
        };
        let frozen = freeze(&terms, &census(30, 3), coins(30 + guarantee), 0).expect("balanced");
        let judging = contest(terms, Phase::Judging(CLOSED));
        let listing = judging.apply(ContestFact::Frozen(frozen), UnixMillis(3_200));
        let legs = listing.expect("allowed").legs;
        let out = legs.iter().filter(|(leg, _)| !leg.is_incoming());
        let out: Vec<_> = out.map(|(leg, state)| (*leg, state.amount.get())).collect();
        assert_eq!(out, wanted, "{rake} {guarantee}");
    }
}

#[test]
fn what_is_left_over_goes_where_the_terms_say() {
    use Remainder as R;
    use Unclaimed as U;
    // Of a pool of 100, 60 were shared and 30 forfeited: 10 are the remainder.
    for (remainder, unclaimed, sweep, rollover) in [
        (R::Spread, U::Pay, 40, 0),
        (R::Spread, U::Platform, 40, 0),
        (R::Spread, U::Rollover, 10, 30),
        (R::Platform, U::Pay, 40, 0),
        (R::Platform, U::Platform, 40, 0),
        (R::Platform, U::Rollover, 10, 30),
        (R::Rollover, U::Pay, 30, 10),
        (R::Rollover, U::Platform, 30, 10),
        (R::Rollover, U::Rollover, 0, 40),
    ] {
        for no_winner in NoWinner::ALL {
            let terms = Terms {
                remainder,
                unclaimed,
                no_winner: *no_winner,
                ..series_terms(0)
            };
            let contest = contest(terms, Phase::Draft);
            let found = leftover(&contest, &totals(100, 3, 3), coins(60), coins(30));
            let wanted = Leftover {
                sweep: coins(sweep),
                rollover: coins(rollover),
            };
            assert_eq!(
                found,
                Ok(wanted),
                "{remainder:?} {unclaimed:?} {no_winner:?}"
            );
        }
    }
    // Without finishers the whole pool is left over, and `no_winner` alone decides.
    for (no_winner, sweep, rollover) in [
        (NoWinner::Refund, 100, 0),
        (NoWinner::Platform, 100, 0),
        (NoWinner::Rollover, 0, 100),
    ] {
        for remainder in R::ALL {
            for unclaimed in U::ALL {
                let (remainder, unclaimed) = (*remainder, *unclaimed);
                let terms = Terms {
                    remainder,
                    unclaimed,
                    no_winner,
                    ..series_terms(0)
                };
                let contest = contest(terms, Phase::Draft);
                let found = leftover(&contest, &totals(100, 0, 0), Coins::ZERO, Coins::ZERO);
                let wanted = Leftover {
                    sweep: coins(sweep),
                    rollover: coins(rollover),
                };
                assert_eq!(
                    found,
                    Ok(wanted),
                    "{no_winner:?} {remainder:?} {unclaimed:?}"
                );
            }
        }
    }
}

#[test]
fn more_than_the_pool_is_never_left_over() {
    let contest = contest(terms(), Phase::Draft);
    for (shared, forfeited, fits) in [
        (100, 0, true),
        (0, 100, true),
        (101, 0, false),
        (0, 101, false),
        (51, 50, false),
    ] {
        let found = leftover(
            &contest,
            &totals(100, 3, 3),
            coins(shared),
            coins(forfeited),
        );
        assert_eq!(found.is_ok(), fits, "{shared} {forfeited}");
    }
}

#[test]
fn the_estimate_is_the_pool_as_it_would_be_frozen() {
    // rake, guarantee, carry, fees, finishers; pool, part
    for (rake, guarantee, carry, fees, finishers, wanted) in [
        (0, 0, 0, 30, 3, (30, 10)),
        (0, 0, 0, 31, 3, (31, 10)),
        (1_000, 0, 0, 100, 0, (90, 90)),
        (1_000, 0, 0, 100, 1, (90, 90)),
        (0, 100, 0, 30, 7, (100, 14)),
        (0, 0, 70, 30, 2, (100, 50)),
    ] {
        let found = estimate(&priced(rake, guarantee, carry), coins(fees), finishers);
        let wanted = Advisory((coins(wanted.0), coins(wanted.1)));
        assert_eq!(
            found, wanted,
            "{rake} {guarantee} {carry} {fees} {finishers}"
        );
    }
}

#[test]
fn every_own_leg_moves_between_the_pool_and_its_counterparty() {
    let pool = format!("pool/{}", contest_id());
    for (leg, other, order) in [
        (
            OwnLeg::Guarantee,
            "platform/issuing",
            "36ab63a7ccf61203e93fafcfd4158f7f",
        ),
        (
            OwnLeg::Carry,
            "series/daily",
            "383dba356f20d6a6cf4a33bdd33febf1",
        ),
        (
            OwnLeg::GuaranteeReturn,
            "platform/issuing",
            "c6ee1c9396c7556cc20224822881df9e",
        ),
        (
            OwnLeg::Rake,
            "platform/revenue",
            "f3a9a38548b4821f814fbc30a9d9af8a",
        ),
        (
            OwnLeg::Sweep,
            "platform/revenue",
            "9fdf028f15188f81e9f782ce36e74ab7",
        ),
        (
            OwnLeg::Rollover,
            "series/daily",
            "2184f4d85474b33e95b51900d876a630",
        ),
    ] {
        for (terms, in_series) in [(series_terms(0), true), (terms(), false)] {
            let mut contest = contest(terms, Phase::Draft);
            assert_eq!(contest.own_transfer(leg), None, "{leg:?} has no amount");
            let outcome = domain::contest::LegOutcome::Pending;
            let state = domain::contest::LegState {
                amount: coins(5),
                outcome,
            };
            contest.legs.insert(leg, state);
            let found = contest.own_transfer(leg).map(|(id, content)| {
                let accounts = (content.from.to_string(), content.to.to_string());
                (id.to_string(), accounts, content.amount.get())
            });
            let incoming = matches!(leg, OwnLeg::Guarantee | OwnLeg::Carry);
            let (pool, other) = (pool.clone(), other.to_owned());
            let accounts = if incoming {
                (other, pool)
            } else {
                (pool, other)
            };
            let exists = in_series || !accounts.0.starts_with("series");
            let exists = exists && (in_series || !accounts.1.starts_with("series"));
            let wanted = exists.then(|| (order.to_owned(), accounts, 5));
            assert_eq!(found, wanted, "{leg:?} {in_series}");
        }
    }
}

#[test]
fn the_viewers_legs_move_between_the_pool_and_the_viewer_or_holding() {
    let signup = signup(State::Expired);
    let text = |content: domain::transfer::Content| {
        (
            content.from.to_string(),
            content.to.to_string(),
            content.amount.get(),
        )
    };
    let pool = format!("pool/{}", contest_id());
    assert_eq!(
        text(signup.fee_content()),
        ("user/user-1".to_owned(), pool.clone(), 10)
    );
    for (payee, to) in [
        (Payee::Viewer, "user/user-1"),
        (Payee::Holding, "platform/holding"),
    ] {
        let content = signup.payment_content(payee, coins(7));
        assert_eq!(text(content), (pool.clone(), to.to_owned(), 7));
    }
    assert_eq!(
        signup.fee_order(),
        Leg::Fee(contest_id(), user(1)).order_id()
    );
    assert_eq!(
        Leg::Grant("g-1".parse().expect("an id")).memo(),
        "guafen/1/grant/g-1"
    );
}

fn signup(state: State) -> Signup {
    let new = Signup::new(
        signup_id(1),
        contest_id(),
        user(1),
        coins(10),
        UnixMillis(1_200),
    );
    Signup { state, ..new }
}

#[test]
fn a_change_of_state_is_announced_and_a_finisher_counted_once() {
    let initialized = signup(State::Initialized(FeeTry::NotSent));
    let unknown = signup(State::Initialized(FeeTry::Unknown));
    let paid = signup(State::Paid(receipt(1)));
    let provisional = signup(State::Completed(
        receipt(1),
        common::done(1),
        Share::Provisional,
    ));
    let share = Share::Fixed(common::weight(1));
    let fixed = signup(State::Completed(receipt(1), common::done(1), share));
    let shared = signup(State::Shared(
        receipt(1),
        common::done(1),
        common::weight(1),
        Coins::ZERO,
        None,
    ));
    for (before, after, announced, counted) in [
        (None, &initialized, true, &[][..]),
        (Some(&initialized), &unknown, false, &[]),
        (Some(&unknown), &paid, true, &[Effect::Rank]),
        (Some(&paid), &provisional, true, &[Effect::CountFinisher]),
        (Some(&provisional), &fixed, false, &[]),
        (None, &fixed, true, &[Effect::CountFinisher, Effect::Rank]),
        (Some(&fixed), &shared, true, &[Effect::CountPrize]),
    ] {
        let mut wanted = vec![Effect::DropCached, Effect::DropCachedAgain];
        wanted.extend(counted);
        wanted.extend(announced.then_some(Effect::Announce));
        assert_eq!(effects(before, after), wanted, "{:?}", after.state);
    }
}

#[test]
fn stores_recall_the_totals_that_were_frozen() {
    let frozen = freeze(&terms(), &census(30, 3), coins(30), 0).expect("balanced books");
    assert_eq!(Frozen::recall(*frozen.get()), frozen);
}
