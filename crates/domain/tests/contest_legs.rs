//! The contest's own legs: fixed once, settled once, and nothing moves on past a pending one.

mod common;

use common::{absence, coins, contest, phases_of, receipt, series_terms, settlement, terms};
use domain::{
    contest::{
        ContestFact, LegOutcome, LegState, Legs, Phase, PhaseKind, applied_amount, own_outgoings,
        pending,
    },
    order::OwnLeg,
    settlement::Leftover,
    terms::Terms,
    time::UnixMillis,
};

const NOW: UnixMillis = UnixMillis(3_200);

fn leg(amount: u64, outcome: LegOutcome) -> LegState {
    LegState {
        amount: coins(amount),
        outcome,
    }
}

fn applied(position: u64) -> LegOutcome {
    LegOutcome::Applied(receipt(position))
}

#[test]
fn a_pending_leg_holds_the_contest_where_it_is() {
    let guaranteed = Terms {
        guaranteed_pool: coins(100),
        ..series_terms(7)
    };
    for (phase, fact) in [
        (Phase::Funding, ContestFact::Funded),
        (Phase::Claimable(settlement()), ContestFact::Emptied),
        (
            phases_of(PhaseKind::Cancelling).remove(1),
            ContestFact::Emptied,
        ),
    ] {
        let mut contest = contest(guaranteed.clone(), phase);
        for incoming in [OwnLeg::Guarantee, OwnLeg::Carry] {
            assert_eq!(pending(&contest.legs), Some(incoming));
            assert!(
                contest.clone().apply(fact, NOW).is_err(),
                "{fact:?} with {incoming:?}"
            );
            let applied = ContestFact::LegApplied(incoming, receipt(3));
            contest = contest.apply(applied, NOW).expect("a pending leg");
        }
        assert_eq!(pending(&contest.legs), None);
        assert!(contest.apply(fact, NOW).is_ok(), "{fact:?}");
    }
}

#[test]
fn a_leg_is_fixed_once_and_its_outcome_never_changes() {
    let guaranteed = Terms {
        guaranteed_pool: coins(100),
        ..terms()
    };
    let cancelling = contest(guaranteed, phases_of(PhaseKind::Cancelling).remove(1));
    let arrived = ContestFact::LegApplied(OwnLeg::Guarantee, receipt(5));
    let elsewhere = ContestFact::LegApplied(OwnLeg::Guarantee, receipt(6));
    let absent = ContestFact::LegCannotArrive(OwnLeg::Guarantee, absence());
    for (first, outcome, again, others) in [
        (arrived, applied(5), arrived, [elsewhere, absent]),
        (absent, LegOutcome::Void, absent, [arrived, elsewhere]),
    ] {
        let known = cancelling.clone().apply(first, NOW).expect("a pending leg");
        assert_eq!(
            known.legs,
            Legs::from([(OwnLeg::Guarantee, leg(100, outcome))])
        );
        assert_eq!(
            known.clone().apply(again, NOW).as_ref(),
            Ok(&known),
            "a repeat"
        );
        for other in others {
            assert!(
                known.clone().apply(other, NOW).is_err(),
                "{outcome:?} then {other:?}"
            );
        }
        let unknown = ContestFact::LegApplied(OwnLeg::Carry, receipt(5));
        assert!(
            known.apply(unknown, NOW).is_err(),
            "a leg without an amount"
        );
    }
    let fixed = |sweep, rollover| {
        ContestFact::LeftoverFixed(Leftover {
            sweep: coins(sweep),
            rollover: coins(rollover),
        })
    };
    let claimable = contest(series_terms(0), Phase::Claimable(settlement()));
    let once = claimable.apply(fixed(1, 2), NOW).expect("allowed");
    let wanted = [(OwnLeg::Sweep, 1), (OwnLeg::Rollover, 2)];
    let wanted: Legs = wanted
        .map(|(own, n)| (own, leg(n, LegOutcome::Pending)))
        .into();
    assert_eq!(once.legs, wanted);
    assert_eq!(
        once.clone().apply(fixed(3, 4), NOW),
        Ok(once),
        "never another amount"
    );
}

// The proof is about credits to the pool; it says nothing about what leaves it.
#[test]
fn a_leg_that_leaves_the_pool_is_never_void() {
    for own in OwnLeg::ALL {
        let mut cancelling = contest(terms(), phases_of(PhaseKind::Cancelling).remove(1));
        cancelling.legs.insert(own, leg(5, LegOutcome::Pending));
        let found = cancelling.apply(ContestFact::LegCannotArrive(own, absence()), NOW);
        assert_eq!(found.is_ok(), own.is_incoming(), "{own:?}");
    }
}

#[test]
fn what_is_returned_on_a_cancel_is_what_came() {
    let guaranteed = Terms {
        guaranteed_pool: coins(100),
        ..series_terms(7)
    };
    for (guarantee, carry, wanted) in [
        (
            true,
            true,
            vec![(OwnLeg::GuaranteeReturn, 100), (OwnLeg::Rollover, 7)],
        ),
        (true, false, vec![(OwnLeg::GuaranteeReturn, 100)]),
        (false, true, vec![(OwnLeg::Rollover, 7)]),
        (false, false, vec![]),
    ] {
        let mut cancelling = contest(
            guaranteed.clone(),
            phases_of(PhaseKind::Cancelling).remove(1),
        );
        for (incoming, came) in [(OwnLeg::Guarantee, guarantee), (OwnLeg::Carry, carry)] {
            let arrived = ContestFact::LegApplied(incoming, receipt(5));
            let absent = ContestFact::LegCannotArrive(incoming, absence());
            let fact = if came { arrived } else { absent };
            cancelling = cancelling.apply(fact, NOW).expect("a pending leg");
        }
        let fixed = cancelling
            .apply(ContestFact::ReturnsFixed, NOW)
            .expect("allowed");
        let back = fixed.legs.iter().filter(|(own, _)| !own.is_incoming());
        let back: Vec<_> = back
            .map(|(own, state)| (*own, state.amount.get()))
            .collect();
        assert_eq!(back, wanted);
        let came = applied_amount(&fixed.legs, OwnLeg::Guarantee);
        assert_eq!(came.get(), if guarantee { 100 } else { 0 });
        assert_eq!(
            own_outgoings(&fixed.legs),
            Ok(coins(0)),
            "nothing has left yet"
        );
        let left = wanted.iter().fold(fixed, |contest, (own, _)| {
            contest
                .apply(ContestFact::LegApplied(*own, receipt(9)), NOW)
                .expect("pending")
        });
        let sum = wanted.iter().map(|(_, amount)| amount).sum();
        assert_eq!(own_outgoings(&left.legs), Ok(coins(sum)));
    }
}
