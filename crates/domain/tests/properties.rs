//! Payout and freeze under random numbers, up to the largest that fit.

mod common;

use common::{bps, coins, finisher, series_terms, terms};
use domain::{
    money::Coins,
    order::Account,
    payout::prize,
    settlement::{
        Census, Finisher, Frozen, NotFrozen, SheetCursor, SheetLine, SheetMismatch, Totals, freeze,
        sheet_page,
    },
    terms::{FEE_MAX, Remainder, Terms},
    transfer::{CreditsClosed, Position, ProofOfAbsence},
};
use proptest::prelude::*;

/// The largest weight of any rule: a fee, or ten times the largest target.
const WEIGHT_MAX: u64 = 10_000_000_000;

fn weights() -> impl Strategy<Value = Vec<u64>> {
    let weight = prop_oneof![
        Just(1),
        1..10u64,
        1..1_001u64,
        1..=FEE_MAX,
        Just(WEIGHT_MAX)
    ];
    prop::collection::vec(weight, 1..80)
}

fn pools() -> impl Strategy<Value = u64> {
    let max = Coins::MAX.get();
    prop_oneof![Just(0), 0..100u64, 0..1_000_000u64, 0..=max, Just(max)]
}

fn frozen(pool: u64, weights: &[u64]) -> Frozen<Totals> {
    let sum = weights.iter().map(|weight| u128::from(*weight)).sum();
    common::totals(pool, weights.len() as u64, sum)
}

fn finishers(weights: &[u64]) -> Vec<Finisher> {
    (1..)
        .zip(weights)
        .map(|(number, weight)| finisher(number, *weight))
        .collect()
}

type Sheet = Result<(Vec<SheetLine>, SheetCursor), SheetMismatch>;

/// Writes the sheet in pages of these sizes, over and over.
fn in_pages(
    totals: &Frozen<Totals>,
    remainder: Remainder,
    mut rest: Vec<Finisher>,
    cuts: &[usize],
) -> Sheet {
    let (mut sheet, mut cursor) = (Vec::new(), SheetCursor::START);
    for size in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let later = rest.split_off(rest.len().min(*size));
        let (lines, next) = sheet_page(totals, remainder, &cursor, rest)?;
        sheet.extend(lines);
        (cursor, rest) = (next, later);
    }
    Ok((sheet, cursor))
}

fn one_page(totals: &Frozen<Totals>, remainder: Remainder, page: Vec<Finisher>) -> Sheet {
    sheet_page(totals, remainder, &SheetCursor::START, page)
}

fn sum(sheet: &[SheetLine]) -> u128 {
    sheet.iter().map(|line| u128::from(line.prize.get())).sum()
}

proptest! {
    // hazard: C1, C2, C8
    #[test]
    fn spread_prizes_add_up_to_the_pool_and_are_within_one_coin(
        pool in pools(), weights in weights(),
    ) {
        let totals = frozen(pool, &weights);
        let sheet = one_page(&totals, Remainder::Spread, finishers(&weights));
        let (sheet, cursor) = sheet.expect("finishers that add up");
        prop_assert_eq!(sum(&sheet), u128::from(pool));
        prop_assert_eq!(cursor.prizes, coins(pool));
        prop_assert!(cursor.is_complete(&totals));
        let weight_sum = totals.get().weight_sum;
        for (line, weight) in sheet.iter().zip(&weights) {
            // |prize - pool * weight / sum| < 1, without dividing.
            let exact = u128::from(pool) * u128::from(*weight);
            let paid = u128::from(line.prize.get()) * weight_sum;
            prop_assert!(paid.abs_diff(exact) < weight_sum, "{line:?}");
        }
    }

    // hazard: C1
    #[test]
    fn floored_prizes_leave_fewer_coins_than_finishers(pool in pools(), weights in weights()) {
        let totals = frozen(pool, &weights);
        for remainder in [Remainder::Platform, Remainder::Rollover] {
            let sheet = one_page(&totals, remainder, finishers(&weights));
            let (sheet, cursor) = sheet.expect("finishers that add up");
            prop_assert_eq!(sum(&sheet), u128::from(cursor.prizes.get()));
            let left = u128::from(pool).checked_sub(sum(&sheet)).expect("never above the pool");
            prop_assert!(left < weights.len() as u128, "{left} left");
            for (line, weight) in sheet.iter().zip(&weights) {
                let exact = u128::from(pool) * u128::from(*weight);
                let paid = u128::from(line.prize.get()) * totals.get().weight_sum;
                let within = paid <= exact && exact - paid < totals.get().weight_sum;
                prop_assert!(within, "{line:?}");
            }
        }
    }

    // hazard: C4, C7
    #[test]
    fn pages_of_any_size_make_the_same_sheet(
        pool in pools(), weights in weights(), cuts in prop::collection::vec(1usize..9, 1..6),
    ) {
        let totals = frozen(pool, &weights);
        for remainder in Remainder::ALL {
            let whole = one_page(&totals, *remainder, finishers(&weights));
            let paged = in_pages(&totals, *remainder, finishers(&weights), &cuts);
            prop_assert_eq!(whole, paged);
        }
    }

    /// Who finished when decides nothing: the sheet is in the order of the signups' ids. In any
    /// order the total is the same, and without spreading each prize is, too.
    #[test]
    fn the_order_of_completion_decides_nothing(
        pool in pools(),
        (weights, shuffled) in weights().prop_flat_map(|w| (Just(w.clone()), Just(w).prop_shuffle())),
    ) {
        let prizes = |remainder, weights: &[u64]| {
            let page = one_page(&frozen(pool, weights), remainder, finishers(weights));
            let (sheet, _) = page.expect("finishers that add up");
            sheet.iter().map(|line| (line.finisher.weight.get(), line.prize)).collect::<Vec<_>>()
        };
        let total = |prizes: Vec<(u64, Coins)>| Coins::sum(prizes.into_iter().map(|(_, p)| p));
        let spread = total(prizes(Remainder::Spread, &shuffled));
        prop_assert_eq!(total(prizes(Remainder::Spread, &weights)), spread);
        let sorted = |weights: &[u64]| {
            let mut prizes = prizes(Remainder::Platform, weights);
            prizes.sort_unstable();
            prizes
        };
        prop_assert_eq!(sorted(&weights), sorted(&shuffled));
    }

    // hazard: C6
    #[test]
    fn every_coin_of_the_freeze_goes_somewhere(
        rake in 0..=10_000u16,
        guaranteed in 0..=1_000_000_000_000u64,
        carry in 0..=1_000_000_000_000u64,
        fees in prop_oneof![0..1_000u64, 0..=8_000_000_000_000_000u64],
        finishers in 0..50u64,
    ) {
        let base = series_terms(carry);
        let terms = Terms { rake_bps: bps(rake), guaranteed_pool: coins(guaranteed), ..base };
        let census = census(fees, finishers);
        let held = fees + guaranteed + carry;
        let frozen = freeze(&terms, &census, coins(held), 0).expect("balanced books");
        let Totals { rake, pool, guarantee_return, .. } = *frozen.get();
        let out = rake.get() + pool.get() + guarantee_return.get();
        prop_assert_eq!(out, held);
        prop_assert!(pool.get() >= guaranteed && guarantee_return.get() <= guaranteed);
        prop_assert!(finishers > 0 || rake.is_zero());
        for wrong in [held.checked_sub(1), Some(held + 1)].into_iter().flatten() {
            let differ =
                NotFrozen::BooksDiffer { held: coins(wrong), low: coins(held), high: coins(held) };
            prop_assert_eq!(freeze(&terms, &census, coins(wrong), 0), Err(differ));
        }
    }

    // hazard: A2, A3
    #[test]
    fn absence_is_proven_only_at_or_past_the_close(
        found in prop_oneof![0..20u64, any::<u64>()], closed in prop_oneof![0..20u64, any::<u64>()],
    ) {
        let closed_at = CreditsClosed { position: Position(closed) };
        let proof = ProofOfAbsence::new(Position(found), closed_at);
        prop_assert_eq!(proof.is_some(), found >= closed);
    }

    #[test]
    fn orders_and_accounts_have_one_spelling(id: [u8; 16], text in "\\PC{0,40}") {
        let order = domain::order::OrderId(id);
        prop_assert_eq!(order.to_string().parse(), Ok(order));
        if let Ok(order) = text.parse::<domain::order::OrderId>() {
            prop_assert_eq!(order.to_string(), text.clone());
        }
        if let Ok(account) = text.parse::<Account>() {
            prop_assert_eq!(account.to_string(), text);
        }
    }
}

fn census(fees: u64, finishers: u64) -> Census {
    let (fees, refunding, weight_sum) = (coins(fees), Coins::ZERO, finishers.into());
    Census {
        undecided: 0,
        finishers,
        weight_sum,
        fees,
        refunding,
    }
}

// hazard: C8
#[test]
fn fewer_coins_than_finishers_still_add_up() {
    let ones = [1; 7];
    for (pool, wanted) in [
        (0, [0, 0, 0, 0, 0, 0, 0]),
        (1, [0, 0, 0, 0, 0, 0, 1]),
        (3, [0, 0, 1, 0, 1, 0, 1]),
        (6, [0, 1, 1, 1, 1, 1, 1]),
        (7, [1, 1, 1, 1, 1, 1, 1]),
        (8, [1, 1, 1, 1, 1, 1, 2]),
    ] {
        let sheet = one_page(&frozen(pool, &ones), Remainder::Spread, finishers(&ones));
        let (sheet, _) = sheet.expect("finishers that add up");
        let prizes: Vec<_> = sheet.iter().map(|line| line.prize.get()).collect();
        assert_eq!(prizes, wanted, "{pool}");
    }
}

/// Hundreds of millions of finishers of the largest weight share the largest pool: the first, a
/// middle and the last prize are exact.
// hazard: C2
#[test]
fn the_largest_contest_that_can_be_is_exact() {
    let count = 500_000_000u64;
    let weight_sum = u128::from(count) * u128::from(WEIGHT_MAX);
    let totals = common::totals(Coins::MAX.get(), count, weight_sum);
    let weight = common::weight(WEIGHT_MAX);
    let upto = |n: u64| u128::from(Coins::MAX.get()) * u128::from(n) / u128::from(count);
    for nth in [0, 1, 249_999_999, count - 2, count - 1] {
        let before = u128::from(nth) * u128::from(WEIGHT_MAX);
        let spread = prize(&totals, Remainder::Spread, before, weight).expect("a prize");
        assert_eq!(u128::from(spread.get()), upto(nth + 1) - upto(nth), "{nth}");
        let floored = prize(&totals, Remainder::Platform, before, weight).expect("a prize");
        assert_eq!(u128::from(floored.get()), upto(1), "{nth}");
    }
    assert_eq!(
        prize(&totals, Remainder::Spread, weight_sum, weight),
        None,
        "past the sum"
    );
    assert_eq!(
        prize(&totals, Remainder::Spread, u128::MAX, weight),
        None,
        "no overflow"
    );
    assert_eq!(
        prize(&common::totals(1, 0, 0), Remainder::Platform, 0, weight),
        None
    );
}

// hazard: C9
#[test]
fn a_sheet_that_does_not_fit_the_totals_is_refused() {
    let weights = [3, 4, 5];
    let totals = frozen(100, &weights);
    let page = |weights: &[u64]| finishers(weights);
    let out_of_order = {
        let mut page = page(&weights);
        page.swap(0, 1);
        page
    };
    let twice = vec![finisher(1, 4), finisher(1, 4), finisher(2, 4)];
    for remainder in Remainder::ALL {
        for (what, page) in [
            ("out of order", out_of_order.clone()),
            ("a finisher twice", twice.clone()),
            ("one too many", page(&[3, 4, 5, 1])),
            ("one too many, within the sum", page(&[3, 4, 4, 1])),
            ("too heavy", page(&[3, 4, 6])),
            ("too light", page(&[3, 4, 4])),
            ("none, though there are some", page(&[])),
        ] {
            let found = one_page(&totals, *remainder, page);
            assert_eq!(found, Err(SheetMismatch), "{what}, {remainder:?}");
        }
        let (_, half) = one_page(&totals, *remainder, page(&[3, 4])).expect("a page");
        assert_eq!(
            (half.lines, half.before, half.is_complete(&totals)),
            (2, 7, false)
        );
        for (what, page) in [
            ("a page again", page(&[3, 4])),
            ("the last one again", vec![finisher(2, 5)]),
            ("the sum in too few", vec![finisher(3, 4)]),
            ("nobody, though one is missing", vec![]),
        ] {
            let found = sheet_page(&totals, *remainder, &half, page);
            assert_eq!(found, Err(SheetMismatch), "{what}, {remainder:?}");
        }
        let last = sheet_page(&totals, *remainder, &half, vec![finisher(3, 5)]);
        let (_, whole) = last.expect("the last page");
        assert_eq!(
            sheet_page(&totals, *remainder, &whole, vec![]),
            Ok((vec![], whole))
        );
        let empty = frozen(100, &[]);
        let none = one_page(&empty, *remainder, vec![]);
        assert_eq!(none, Ok((vec![], SheetCursor::START)), "nobody to pay");
    }
}

/// Prizes written by somebody else into the cursor are noticed at the last line.
#[test]
fn a_cursor_that_spent_another_amount_is_refused() {
    let totals = frozen(100, &[1, 1]);
    let (_, half) = one_page(&totals, Remainder::Spread, finishers(&[1])).expect("a page");
    for (prizes, fits) in [(49, false), (50, true), (51, false)] {
        let cursor = SheetCursor {
            prizes: coins(prizes),
            ..half
        };
        let last = sheet_page(&totals, Remainder::Spread, &cursor, vec![finisher(2, 1)]);
        assert_eq!(last.is_ok(), fits, "{prizes}");
    }
}

#[test]
fn terms_are_checked_at_both_ends() {
    for (fee, lawful) in [(0, false), (1, true), (FEE_MAX, true), (FEE_MAX + 1, false)] {
        assert_eq!(
            Terms {
                fee: coins(fee),
                ..terms()
            }
            .check()
            .is_ok(),
            lawful,
            "{fee}"
        );
    }
}
