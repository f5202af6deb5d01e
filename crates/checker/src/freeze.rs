//! FROZEN_ONCE: the frozen numbers, weights and prizes, by arithmetic of its own.

use crate::{
    lucky::{Draw, hex},
    report::{Findings, Invariant},
    rows::{Contest, SheetLine, Signup},
    sheet::{COLUMNS, TITLE, rfc3339},
};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

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
    /// The published text of the sheet, so far.
    text: Sha256,
    /// What a lucky contest is drawn from, as soon as it is known.
    draw: Option<Draw>,
}

/// True for the states of those who met the target, whatever became of them.
pub(crate) fn is_finisher(state: &str) -> bool {
    matches!(state, "completed" | "claiming" | "shared" | "forfeited")
}

/// The weight that the rule gives; none where the rows do not give any.
fn weight(contest: &Contest, draw: Option<&Draw>, signup: &Signup) -> Option<i64> {
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
        "lucky" => i64::try_from(draw?.weight(&contest.contest_id, &signup.user_id)).ok(),
        _ => None,
    }
}

/// The lines of the published sheet above its finishers.
fn header(contest: &Contest, draw: Option<&Draw>) -> String {
    let number = |value: Option<i64>| value.map_or_else(String::new, |value| value.to_string());
    let mut text = format!("{TITLE}\n");
    let values = [
        ("contest_id", contest.contest_id.clone()),
        ("rule", contest.rule.clone()),
        ("remainder", contest.remainder.clone()),
        ("fees", number(contest.fees)),
        ("guarantee", contest.guaranteed_pool.to_string()),
        ("carry", contest.carry.to_string()),
        ("rake_bps", contest.rake_bps.to_string()),
        ("rake", number(contest.rake)),
        ("pool", number(contest.pool)),
        ("guarantee_return", number(contest.guarantee_return)),
        ("finishers", number(contest.finishers)),
        ("weight_sum", contest.weight_sum.clone().unwrap_or_default()),
        (
            "frozen_at",
            contest.frozen_at.and_then(rfc3339).unwrap_or_default(),
        ),
        ("position", number(contest.close_position)),
    ];
    for (key, value) in values {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# {key}: {value}");
    }
    if contest.accepted() != 0 {
        let _ = writeln!(text, "# accepted_gap: {}", contest.accepted());
    }
    if let (Some(draw), Some(secret)) = (draw, &contest.draw_secret) {
        let _ = writeln!(text, "# commitment: {}", draw.commitment());
        let _ = writeln!(text, "# secret: {secret}");
    }
    text + COLUMNS + "\n"
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
    /// Nothing yet. A lucky contest must have a secret, and no other one may.
    pub(crate) fn start(contest: &Contest, findings: &mut Findings) -> Self {
        let position = contest
            .close_position
            .and_then(|position| u64::try_from(position).ok());
        let secret = contest.draw_secret.as_deref();
        let is_secret = secret.is_some_and(|secret| Draw::new(secret, 0).is_some());
        let right = if contest.rule == "lucky" {
            is_secret
        } else {
            secret.is_none()
        };
        // The evidence must not show what is not published yet.
        findings.expect(Invariant::FrozenOnce, right, || {
            format!(
                "contest {} is {} and {} a secret of 64 hexadecimal digits",
                contest.contest_id,
                contest.rule,
                if is_secret { "has" } else { "lacks" }
            )
        });
        let draw = secret
            .zip(position)
            .and_then(|(secret, position)| Draw::new(secret, position));
        let mut text = Sha256::new();
        text.update(header(contest, draw.as_ref()));
        Self {
            draw,
            text,
            ..Self::default()
        }
    }

    /// Takes the next signup, in signup-id order, with its line of the sheet.
    pub(crate) fn take(
        &mut self,
        contest: &Contest,
        signup: &Signup,
        line: Option<&SheetLine>,
        findings: &mut Findings,
    ) {
        let id = &signup.signup_id;
        if let Some(line) = line {
            let SheetLine {
                signup_id,
                user_id,
                weight,
                weight_before,
                prize,
            } = line;
            self.text.update(format!(
                "{signup_id},{user_id},{weight},{weight_before},{prize}\n"
            ));
        }
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
        if contest.frozen_at.is_none() && signup.weight.is_none() {
            return;
        }
        let expected = weight(contest, self.draw.as_ref(), signup);
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
        if contest.frozen_at.is_none() {
            return;
        }
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
        if let Some(sealed) = &contest.sheet_sha256 {
            let computed = hex(&self.text.clone().finalize());
            findings.expect(Invariant::FrozenOnce, *sealed == computed, || {
                format!(
                    "contest {id}: the sheet was published with {sealed}, its lines give {computed}"
                )
            });
        }
        if contest.frozen_at.is_none() {
            return;
        }
        // What an operator has accepted as gone.
        let missing = (-contest.accepted()).max(0);
        let rake = if self.finishers == 0 {
            0
        } else {
            (self.fees - missing).max(0) * i128::from(contest.rake_bps) / 10_000
        };
        let guaranteed = i128::from(contest.guaranteed_pool);
        let there = (self.fees + i128::from(contest.carry) + guaranteed - missing).max(0) - rake;
        let pool = (there - guaranteed).max(guaranteed).min(there);
        let back = there - pool;
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
        let mut leftover = (contest.accepted().max(0), 0);
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
