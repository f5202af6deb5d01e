//! FROZEN_ONCE: the frozen numbers, weights and prizes, by arithmetic of its own.

use crate::{
    report::{Findings, Invariant},
    rows::{Contest, SheetLine, Signup},
};

/// What the rows of a contest add up to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sums {
    /// Fees of everybody who was judged.
    pub(crate) fees: i128,
    /// How many finished.
    pub(crate) finishers: i128,
    /// Their weights.
    pub(crate) weights: i128,
    /// Prizes of those who received them.
    pub(crate) shared: i128,
    /// Prizes, by the sheet, of those who came too late for them.
    pub(crate) forfeited: i128,
    /// Lines of the sheet that belong to a finisher.
    pub(crate) lines: i64,
}

/// True for the states of those who met the target, whatever became of them.
pub(crate) fn is_finisher(state: &str) -> bool {
    matches!(state, "completed" | "claiming" | "shared" | "forfeited")
}

/// The weight that the rule gives; none where it cannot be known from the rows.
fn weight(contest: &Contest, signup: &Signup) -> Option<i64> {
    match contest.rule.as_str() {
        "equal" => Some(1),
        "by_fee" => Some(signup.fee),
        "by_score" => signup
            .quantity
            .map(|done| done.min(contest.task_target.saturating_mul(10))),
        "early_bird" => {
            let length = contest.tasks_end_at - contest.signup_opens_at;
            let left = (contest.tasks_end_at - signup.met_at?).clamp(0, length);
            (999 * left).checked_div(length).map(|part| 1 + part)
        }
        _ => signup.weight,
    }
}

/// ⌊amount · part / whole⌋.
fn part(amount: i128, part: i128, whole: i128) -> Option<i128> {
    amount.checked_mul(part)?.checked_div(whole)
}

/// The prize of a line: `before` are the weights ahead of it.
fn prize(contest: &Contest, before: i128, weight: i128) -> Option<i128> {
    let pool = i128::from(contest.pool?);
    let sum: i128 = contest.weight_sum.as_deref()?.parse().ok()?;
    if contest.remainder == "spread" {
        Some(part(pool, before + weight, sum)? - part(pool, before, sum)?)
    } else {
        part(pool, weight, sum)
    }
}

impl Sums {
    /// Takes the next signup, in signup-id order, with its line of the sheet.
    pub(crate) fn take(
        &mut self,
        contest: &Contest,
        signup: &Signup,
        line: Option<&SheetLine>,
        findings: &mut Findings,
    ) {
        let id = &signup.signup_id;
        if is_finisher(&signup.state) || signup.state == "missed" {
            self.fees += i128::from(signup.fee);
        }
        if signup.state == "shared" {
            self.shared += i128::from(signup.prize.unwrap_or(0));
        }
        if !is_finisher(&signup.state) {
            if contest.frozen_at.is_some() {
                let state = &signup.state;
                findings.expect(Invariant::FrozenOnce, line.is_none(), || {
                    format!("{id} is {state}, but on the sheet")
                });
            }
            return;
        }
        let before = self.weights;
        self.finishers += 1;
        self.weights += i128::from(signup.weight.unwrap_or(0));
        if contest.frozen_at.is_none() {
            return;
        }
        let expected = weight(contest, signup);
        findings.expect(
            Invariant::FrozenOnce,
            signup.weight.is_some() && signup.weight == expected,
            || {
                format!(
                    "{id} weighs {:?}, the rule gives {expected:?}",
                    signup.weight
                )
            },
        );
        self.take_line(contest, signup, line, before, findings);
    }

    fn take_line(
        &mut self,
        contest: &Contest,
        signup: &Signup,
        line: Option<&SheetLine>,
        before: i128,
        findings: &mut Findings,
    ) {
        let id = &signup.signup_id;
        let listed = matches!(contest.phase.as_str(), "claimable" | "closed");
        let Some(line) = line else {
            findings.expect(Invariant::FrozenOnce, !listed, || {
                format!("{id} has no line on the sheet")
            });
            return;
        };
        self.lines += 1;
        if signup.state == "forfeited" {
            self.forfeited += i128::from(line.prize);
        }
        let weight = signup.weight.unwrap_or(0);
        let expected = prize(contest, before, i128::from(weight));
        let right = line.user_id == signup.user_id
            && line.weight == weight
            && line.weight_before == before.to_string()
            && expected == Some(i128::from(line.prize));
        findings.expect(Invariant::FrozenOnce, right, || {
            format!(
                "{id}: the sheet gives {} to {} for {} after {}, it must be {expected:?} to {} for {weight} after {before}",
                line.prize, line.user_id, line.weight, line.weight_before, signup.user_id
            )
        });
        if let Some(prize) = signup.prize {
            findings.expect(Invariant::OnePrize, prize == line.prize, || {
                format!(
                    "{id} has a prize of {prize}, the sheet gives {}",
                    line.prize
                )
            });
        }
    }

    /// Compares the sums with what was frozen. `lines` is the length of the sheet.
    pub(crate) fn compare(&self, contest: &Contest, lines: i64, findings: &mut Findings) {
        let id = &contest.contest_id;
        let must_be_frozen = matches!(contest.phase.as_str(), "listing" | "claimable" | "closed");
        findings.expect(
            Invariant::FrozenOnce,
            contest.frozen_at.is_some() == must_be_frozen,
            || {
                format!(
                    "contest {id} is {} and was frozen at {:?}",
                    contest.phase, contest.frozen_at
                )
            },
        );
        findings.expect(Invariant::FrozenOnce, lines == self.lines, || {
            format!(
                "contest {id}: {lines} lines on the sheet, {} of them belong to finishers",
                self.lines
            )
        });
        if contest.frozen_at.is_none() {
            return;
        }
        let rake = if self.finishers == 0 {
            0
        } else {
            self.fees * i128::from(contest.rake_bps) / 10_000
        };
        let earned = self.fees + i128::from(contest.carry) - rake;
        let pool = earned.max(i128::from(contest.guaranteed_pool));
        let back = earned + i128::from(contest.guaranteed_pool) - pool;
        let frozen = [
            ("fees", contest.fees.map(i128::from), self.fees),
            ("rake", contest.rake.map(i128::from), rake),
            ("pool", contest.pool.map(i128::from), pool),
            (
                "guarantee_return",
                contest.guarantee_return.map(i128::from),
                back,
            ),
            (
                "finishers",
                contest.finishers.map(i128::from),
                self.finishers,
            ),
            (
                "weight_sum",
                contest
                    .weight_sum
                    .as_deref()
                    .and_then(|sum| sum.parse().ok()),
                self.weights,
            ),
        ];
        for (name, stored, counted) in frozen {
            findings.expect(Invariant::FrozenOnce, stored == Some(counted), || {
                format!("contest {id}: {name} frozen as {stored:?}, the rows give {counted}")
            });
        }
        let pool = i128::from(contest.pool.unwrap_or(0));
        findings.expect(
            Invariant::NoOverpay,
            self.shared + self.forfeited <= pool,
            || {
                format!(
                    "contest {id}: prizes of {} from a pool of {pool}",
                    self.shared + self.forfeited
                )
            },
        );
    }

    /// What must leave an ended contest besides prizes and refunds: (sweep, rollover).
    pub(crate) fn leftover(&self, contest: &Contest) -> (i128, i128) {
        let rest = i128::from(contest.pool.unwrap_or(0)) - self.shared - self.forfeited;
        let rest_rolls = if self.finishers == 0 {
            contest.no_winner == "rollover"
        } else {
            contest.remainder == "rollover"
        };
        let mut leftover = (0, 0);
        for (amount, rolls) in [
            (rest, rest_rolls),
            (self.forfeited, contest.unclaimed == "rollover"),
        ] {
            if rolls {
                leftover.1 += amount;
            } else {
                leftover.0 += amount;
            }
        }
        leftover
    }
}
