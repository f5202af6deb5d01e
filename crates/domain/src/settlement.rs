//! The freeze and the settlement sheet.
//!
//! [`Frozen`] numbers are the only ones that prizes are computed from, and only [`freeze`] makes
//! them. [`Advisory`] numbers are shown to people and cannot be turned into money.

use crate::{
    contest::Contest,
    ids::{SignupId, UserId},
    money::{Coins, CoinsOutOfRange},
    payout::{self, Weight},
    terms::{Remainder, Terms},
};

/// A number that was fixed once, from rows, with the books balanced. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frozen<T>(T);

impl<T> Frozen<T> {
    /// The frozen value.
    pub const fn get(&self) -> &T {
        &self.0
    }
}

impl Frozen<Totals> {
    /// The totals as a store wrote them down after the freeze. For stores alone: they return what
    /// they were given.
    #[must_use]
    pub const fn recall(totals: Totals) -> Self {
        Self(totals)
    }
}

/// A number from a cache or a live count. It is shown and never paid from: nothing in this crate
/// takes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advisory<T>(pub T);

/// The numbers that a contest is settled by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Totals {
    /// All fees of paid signups.
    pub fees: Coins,
    /// The platform's part; 0 without winners.
    pub rake: Coins,
    /// What is split: max(fees + carry − rake, guaranteed pool).
    pub pool: Coins,
    /// What of the guarantee is not needed: fees + guarantee + carry − rake − pool.
    pub guarantee_return: Coins,
    /// How many finished.
    pub finishers: u64,
    /// The sum of their weights.
    pub weight_sum: u128,
}

/// What one snapshot of a contest's signups shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Signups that may still become finishers: Initialized, Paid, InProgress, or Completed
    /// without a fixed weight.
    pub undecided: u64,
    /// Completed with a fixed weight.
    pub finishers: u64,
    /// The sum of their weights.
    pub weight_sum: u128,
    /// Fees of all signups whose fee lies in the pool: Completed and Missed.
    pub fees: Coins,
    /// Fees on their way back: Refunding. Each may or may not have left the pool yet.
    pub refunding: Coins,
}

/// Why the numbers cannot be frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFrozen {
    /// Some signups may still become finishers.
    #[error("{0} signups are still undecided")]
    Undecided(u64),
    /// The pool account holds something else than the rows say (POOL_DIFFERS).
    #[error("the pool account holds {held} coins, the rows allow {low} to {high}")]
    BooksDiffer {
        /// What the funds system holds.
        held: Coins,
        /// The least that the rows allow.
        low: Coins,
        /// The most that the rows allow.
        high: Coins,
    },
    /// So many coins are on their way back, and have left or not: until they are there, they could hide what
    /// is missing.
    #[error("{0} coins are on their way back")]
    OnTheWay(Coins),
    /// An amount does not fit.
    #[error(transparent)]
    Range(#[from] CoinsOutOfRange),
}

/// Fixes the numbers, if nothing can change them any more and the pool account holds exactly what
/// the rows say: all fees, the guarantee and the carry; or so many coins more, below zero less, as an
/// operator has `accepted`: the pool is then split from the smaller of the two. Where fees are on their way
/// back, all of them must still be there, which they are where they are parked.
///
/// # Errors
/// [`NotFrozen`], in the order in which it is checked.
pub fn freeze(
    terms: &Terms,
    census: &Census,
    held: Coins,
    accepted: i64,
) -> Result<Frozen<Totals>, NotFrozen> {
    if census.undecided > 0 {
        return Err(NotFrozen::Undecided(census.undecided));
    }
    let (low, high) = books(terms, census)?;
    let explained = i128::from(held.as_i64()) - i128::from(accepted);
    if explained < low.as_i64().into() || explained > high.as_i64().into() {
        return Err(NotFrozen::BooksDiffer { held, low, high });
    }
    if explained != i128::from(high.as_i64()) {
        return Err(NotFrozen::OnTheWay(census.refunding));
    }
    let missing = Coins::try_from(accepted.saturating_neg().max(0))?;
    totals(
        terms,
        census.fees,
        missing,
        census.finishers,
        census.weight_sum,
    )
    .map(Frozen)
    .map_err(NotFrozen::from)
}

/// The least and the most that the rows allow the pool to hold.
fn books(terms: &Terms, census: &Census) -> Result<(Coins, Coins), CoinsOutOfRange> {
    let low = Coins::sum([census.fees, terms.guaranteed_pool, terms.carry()])?;
    Ok((low, low.plus(census.refunding)?))
}

/// How many coins more than the rows allow a pool holds at the freeze, below zero less; none while signups
/// are undecided or fees on their way back.
///
/// # Errors
/// [`CoinsOutOfRange`] when the amounts do not fit.
pub fn gap(terms: &Terms, census: &Census, held: Coins) -> Result<Option<i64>, CoinsOutOfRange> {
    let (low, _) = books(terms, census)?;
    let is_known = census.undecided == 0 && census.refunding.is_zero();
    Ok(is_known.then_some(held.as_i64() - low.as_i64()))
}

/// The numbers, `missing` coins being gone that the rows say are there. They are taken from what is
/// returned of the guarantee first, and from what is promised last.
fn totals(
    terms: &Terms,
    fees: Coins,
    missing: Coins,
    finishers: u64,
    weight_sum: u128,
) -> Result<Totals, CoinsOutOfRange> {
    let less = |amount: Coins, by: Coins| amount.minus(by).unwrap_or(Coins::ZERO);
    let rake = if finishers == 0 {
        Coins::ZERO
    } else {
        terms.rake_bps.of(less(fees, missing))
    };
    let whole = Coins::sum([fees, terms.carry(), terms.guaranteed_pool])?;
    let there = less(whole, missing).minus(rake)?;
    let earned = less(there, terms.guaranteed_pool);
    let pool = earned.max(terms.guaranteed_pool).min(there);
    let guarantee_return = there.minus(pool)?;
    Ok(Totals {
        fees,
        rake,
        pool,
        guarantee_return,
        finishers,
        weight_sum,
    })
}

/// The pool as it would be frozen now, and an even part of it for each finisher so far: for showing.
#[must_use]
pub fn estimate(terms: &Terms, fees: Coins, finishers: u64) -> Advisory<(Coins, Coins)> {
    let part = |pool: Coins| {
        pool.part(1, u128::from(finishers.max(1)))
            .unwrap_or(Coins::ZERO)
    };
    // Without finishers yet, the pool is shown as it would be with one: less the rake.
    let pool = totals(terms, fees, Coins::ZERO, finishers.max(1), 1)
        .map_or(Coins::ZERO, |totals| totals.pool);
    Advisory((pool, part(pool)))
}

/// One finisher, as the sheet takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finisher {
    /// The signup.
    pub signup_id: SignupId,
    /// Whose it is.
    pub user_id: UserId,
    /// Its fixed weight.
    pub weight: Weight,
}

/// One finisher's line of the settlement sheet; never changed once written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SheetLine {
    /// The finisher.
    pub finisher: Finisher,
    /// The weights ahead of it.
    pub before: u128,
    /// Its prize.
    pub prize: Coins,
}

/// How far the sheet has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SheetCursor {
    /// The last signup on it.
    pub after: Option<SignupId>,
    /// The weights on it.
    pub before: u128,
    /// The lines on it.
    pub lines: u64,
    /// The prizes on it.
    pub prizes: Coins,
}

impl SheetCursor {
    /// Before the first line.
    pub const START: Self = Self {
        after: None,
        before: 0,
        lines: 0,
        prizes: Coins::ZERO,
    };

    /// True when every finisher has a line.
    #[must_use]
    pub fn is_complete(&self, totals: &Frozen<Totals>) -> bool {
        self.lines == totals.0.finishers
    }
}

/// Finishers that do not add up to the frozen numbers (FROZEN_ONCE broken): nothing is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the finishers do not add up to the frozen totals")]
pub struct SheetMismatch;

/// The next page of the sheet: the lines of `page`, which continues at `cursor` in signup-id
/// order, and the cursor after it.
///
/// # Errors
/// [`SheetMismatch`] when the page is out of order, or the sheet would exceed the frozen totals or
/// end short of them: an empty page says that there are no more finishers.
pub fn sheet_page(
    totals: &Frozen<Totals>,
    remainder: Remainder,
    cursor: &SheetCursor,
    page: Vec<Finisher>,
) -> Result<(Vec<SheetLine>, SheetCursor), SheetMismatch> {
    if page.is_empty() && !cursor.is_complete(totals) {
        return Err(SheetMismatch);
    }
    let mut next = *cursor;
    let mut lines = Vec::with_capacity(page.len());
    for finisher in page {
        if next.after.is_some_and(|after| after >= finisher.signup_id) {
            return Err(SheetMismatch);
        }
        let prize =
            payout::prize(totals, remainder, next.before, finisher.weight).ok_or(SheetMismatch)?;
        let before = next.before;
        next = SheetCursor {
            after: Some(finisher.signup_id),
            before: next
                .before
                .checked_add(finisher.weight.get().into())
                .ok_or(SheetMismatch)?,
            lines: next.lines.checked_add(1).ok_or(SheetMismatch)?,
            prizes: next.prizes.plus(prize).map_err(|_| SheetMismatch)?,
        };
        lines.push(SheetLine {
            finisher,
            before,
            prize,
        });
    }
    let Totals {
        pool,
        finishers,
        weight_sum,
        ..
    } = totals.0;
    let adds_up = next.lines <= finishers
        && next.before <= weight_sum
        && next.prizes <= pool
        && (next.lines < finishers
            || (next.before == weight_sum
                && (remainder != Remainder::Spread || next.prizes == pool || finishers == 0)));
    if adds_up {
        Ok((lines, next))
    } else {
        Err(SheetMismatch)
    }
}

/// What leaves the pool at the end, when no payment is open any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// To the platform.
    pub sweep: Coins,
    /// To the series.
    pub rollover: Coins,
}

/// Splits what no finisher received between platform and series. `shared` is what prizes took,
/// `forfeited` what was not claimed. What an operator has accepted beyond the rows goes to the platform.
///
/// # Errors
/// [`CoinsOutOfRange`] when more was shared than the pool held.
pub fn leftover(
    contest: &Contest,
    totals: &Frozen<Totals>,
    shared: Coins,
    forfeited: Coins,
) -> Result<Leftover, CoinsOutOfRange> {
    use crate::terms::{NoWinner, Unclaimed};
    let terms = &contest.terms;
    let rest = totals.0.pool.minus(shared)?.minus(forfeited)?;
    let (rest_rolls, forfeited_rolls) = if totals.0.finishers == 0 {
        (terms.no_winner == NoWinner::Rollover, false)
    } else {
        (
            terms.remainder == Remainder::Rollover,
            terms.unclaimed == Unclaimed::Rollover,
        )
    };
    let mut leftover = Leftover {
        sweep: contest.stops.excess(),
        rollover: Coins::ZERO,
    };
    for (amount, rolls) in [(rest, rest_rolls), (forfeited, forfeited_rolls)] {
        let side = if rolls {
            &mut leftover.rollover
        } else {
            &mut leftover.sweep
        };
        *side = side.plus(amount)?;
    }
    Ok(leftover)
}
