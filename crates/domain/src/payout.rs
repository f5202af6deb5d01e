//! Weights and prizes: integers only, from frozen numbers alone.

use crate::{
    draw::Draw,
    ids::{ContestId, UserId},
    money::Coins,
    settlement::{Frozen, Totals},
    terms::{Remainder, Terms},
    time::UnixMillis,
};

crate::terms::choice! {
    /// How the pool is split.
    Rule {
        /// The same for everyone.
        Equal = "equal",
        /// By the fee paid.
        ByFee = "by_fee",
        /// By how much was done, up to ten times the target.
        ByScore = "by_score",
        /// By how early the target was met.
        EarlyBird = "early_bird",
        /// By a draw that nobody can foresee and everybody can check.
        Lucky = "lucky",
    }
}

/// A finisher's part in the split, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(u64);

impl Weight {
    /// The weight of a finisher where all are equal.
    pub const ONE: Self = Self(1);

    /// A weight; none for 0.
    #[must_use]
    pub const fn new(weight: u64) -> Option<Self> {
        if weight == 0 {
            None
        } else {
            Some(Self(weight))
        }
    }

    /// The weight as a number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// How a finisher did, as of some moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Achievement {
    /// Units done.
    pub quantity: u64,
    /// When the target was met, in event time.
    pub met_at: UnixMillis,
}

/// The largest early-bird weight.
pub const EARLY_BIRD_MAX: u64 = 1_000;
/// A score counts up to this many times the target.
pub const SCORE_CAP_TARGETS: u64 = 10;

impl Rule {
    /// True where the weight is known at completion and nothing later can change it.
    #[must_use]
    pub const fn is_fixed_at_completion(self) -> bool {
        match self {
            Self::Equal | Self::ByFee => true,
            Self::ByScore | Self::EarlyBird | Self::Lucky => false,
        }
    }
}

/// The weight of a finisher by the contest's rule.
///
/// `draw` is there once the position of `close_credits` and the secret are known; without it a
/// lucky weight is not, and the answer is `None`.
#[must_use]
pub fn weight(
    terms: &Terms,
    contest: ContestId,
    user: &UserId,
    fee: Coins,
    done: Achievement,
    draw: Option<&Draw>,
) -> Option<Weight> {
    match terms.rule {
        Rule::Equal => Some(Weight::ONE),
        Rule::ByFee => Weight::new(fee.get()),
        Rule::ByScore => Weight::new(
            done.quantity
                .min(terms.task.target.saturating_mul(SCORE_CAP_TARGETS)),
        ),
        Rule::EarlyBird => early_bird(terms, done.met_at),
        Rule::Lucky => draw.and_then(|draw| draw.weight(contest, user)),
    }
}

/// 1 + ⌊999 · (tasks_end_at − met_at) / (tasks_end_at − signup_opens_at)⌋, in milliseconds.
fn early_bird(terms: &Terms, met_at: UnixMillis) -> Option<Weight> {
    let length = u64::try_from(terms.tasks_end_at.since(terms.signup_opens_at))
        .ok()
        .filter(|&ms| ms > 0)?;
    let left = u64::try_from(terms.tasks_end_at.since(met_at))
        .unwrap_or(0)
        .min(length);
    // At most 999 · 366 days of milliseconds, below 2^45.
    Weight::new(1 + (EARLY_BIRD_MAX - 1) * left / length)
}

/// The prize of a finisher with `weight`, `before` being the weights ahead of it on the sheet.
///
/// Spread: ⌊pool·(before + weight)/W⌋ − ⌊pool·before/W⌋, so that the prizes telescope to the pool
/// exactly and each is within one coin of its exact part. Otherwise ⌊pool·weight/W⌋.
/// `None` when the weights do not fit the frozen sum.
#[must_use]
pub fn prize(
    totals: &Frozen<Totals>,
    remainder: Remainder,
    before: u128,
    weight: Weight,
) -> Option<Coins> {
    let Totals {
        pool, weight_sum, ..
    } = *totals.get();
    let weight = u128::from(weight.0);
    match remainder {
        Remainder::Spread => {
            let upto = pool.part(before.checked_add(weight)?, weight_sum)?;
            upto.minus(pool.part(before, weight_sum)?).ok()
        }
        Remainder::Platform | Remainder::Rollover => pool.part(weight, weight_sum),
    }
}
