//! Contests and signups in every phase and state, with every optional part there and absent.
//!
//! Times are relative to the `now` that is passed in, so that a store with a clock of its own can
//! be asked too. Structs are written out in full: a new field has to be decided about here.
#![allow(clippy::expect_used, reason = "these are tests")]

use domain::{
    assignment::Assignments,
    contest::{CancelReason, Contest, LegOutcome, LegState, Legs, Phase, PhaseKind, Settlement},
    digest::Digest,
    draw::Secret,
    ids::{ContestId, SignupId, UserId},
    money::Coins,
    order::OwnLeg,
    payout::{Achievement, Rule, Weight},
    settlement::{Finisher, Frozen, SheetCursor, SheetLine, Totals},
    signup::{FeeTry, Paid, PayTry, Payee, Payment, Share, Signup, State, StateKind},
    stops::Stops,
    terms::{
        BasisPoints, Carried, ClaimMode, FEE_MAX, GRACE_MS_MAX, GUARANTEED_POOL_MAX, NoWinner,
        Remainder, TARGET_MAX, Task, Terms, Unclaimed,
    },
    time::UnixMillis,
    transfer::{CreditsClosed, Position, Receipt, Refusal},
};
use uuid::Uuid;

/// One hour, in milliseconds.
pub const HOUR: i64 = 3_600_000;
/// How many callers a case sends at once.
pub const CROWD: usize = 64;

/// A contest id that is newer than all before.
#[must_use]
pub fn contest_id() -> ContestId {
    ContestId(Uuid::now_v7())
}

/// A signup id that is newer than all before.
#[must_use]
pub fn signup_id() -> SignupId {
    SignupId(Uuid::now_v7())
}

/// The viewer of that name.
#[must_use]
pub fn user(name: &str) -> UserId {
    name.parse().expect("a user id")
}

/// That many coins.
#[must_use]
pub fn coins(amount: u64) -> Coins {
    Coins::new(amount).expect("an amount")
}

/// That weight.
#[must_use]
pub fn weight(weight: u64) -> Weight {
    Weight::new(weight).expect("a weight")
}

/// Terms of a fee of 10 and three chests, whose signups opened an hour ago and close in an hour,
/// whose tasks end in two and whose claims close in three.
#[must_use]
pub fn terms(now: UnixMillis) -> Terms {
    Terms {
        room_id: "room".parse().expect("a room id"),
        fee: coins(10),
        fee_tiers: Vec::new(),
        task: Task {
            kind: "open_chest".parse().expect("a task kind"),
            target: 3,
        },
        rule: Rule::Equal,
        rake_bps: BasisPoints::ZERO,
        guaranteed_pool: Coins::ZERO,
        series: None,
        claim_mode: ClaimMode::Manual,
        no_winner: NoWinner::Refund,
        remainder: Remainder::Spread,
        unclaimed: Unclaimed::Pay,
        grace_ms: 1_000,
        signup_opens_at: now.plus(-HOUR),
        signup_closes_at: now.plus(HOUR),
        tasks_end_at: now.plus(2 * HOUR),
        claim_closes_at: now.plus(3 * HOUR),
    }
}

/// Terms with every choice of every field, the smallest and the largest amounts, with and without
/// a series.
#[must_use]
pub fn all_terms(now: UnixMillis) -> Vec<Terms> {
    let pick = |amounts: [u64; 3], number: usize| amounts[number % 3];
    let variant = |number: usize| {
        let series = match number % 3 {
            0 => None,
            1 => Some(Carried {
                series_id: "daily".parse().expect("a series id"),
                carry: Coins::ZERO,
            }),
            _ => Some(Carried {
                series_id: "A.b_c-9".parse().expect("a series id"),
                carry: coins(12_345 + number as u64),
            }),
        };
        let with_series = |rolls: bool| rolls && series.is_some();
        let no_winner = NoWinner::ALL[number / 2 % 3];
        let remainder = Remainder::ALL[number / 3 % 3];
        let unclaimed = Unclaimed::ALL[number / 5 % 3];
        let wished = Terms {
            rule: Rule::ALL[number % 5],
            rake_bps: BasisPoints::new([0, 1, 500, 10_000][number % 4]).expect("basis points"),
            fee: coins(pick([1, 10, FEE_MAX], number)),
            fee_tiers: [&[][..], &[1, 10, FEE_MAX], &[FEE_MAX, 10, 7, 1]][number / 3 % 3]
                .iter()
                .map(|amount| coins(*amount))
                .collect(),
            task: Task {
                kind: ["open_chest", "watch_minutes"][number % 2]
                    .parse()
                    .expect("a task kind"),
                target: pick([1, 3, TARGET_MAX], number / 2),
            },
            guaranteed_pool: coins(pick([0, 1, GUARANTEED_POOL_MAX], number)),
            claim_mode: ClaimMode::ALL[number % 2],
            no_winner: match no_winner {
                NoWinner::Rollover if !with_series(true) => NoWinner::Platform,
                other => other,
            },
            remainder: match remainder {
                Remainder::Rollover if !with_series(true) => Remainder::Platform,
                other => other,
            },
            unclaimed: match unclaimed {
                Unclaimed::Rollover if !with_series(true) => Unclaimed::Platform,
                other => other,
            },
            grace_ms: [0, 1_000, GRACE_MS_MAX][number % 3],
            series,
            ..terms(now)
        };
        wished.check().expect("terms that keep every rule")
    };
    (0..30).map(variant).collect()
}

/// Proof of a transfer at that position, a second after `at`.
#[must_use]
pub fn receipt(position: u64, at: UnixMillis) -> Receipt {
    Receipt {
        position: Position(position),
        applied_at: at.plus(1_000),
    }
}

/// The contest's own legs: none, all of them in each outcome, and a mixture.
#[must_use]
pub fn all_legs(now: UnixMillis) -> Vec<Legs> {
    let applied = LegOutcome::Applied(receipt(u64::MAX >> 1, now));
    let outcomes = [LegOutcome::Pending, applied, LegOutcome::Void];
    let leg = |amount, outcome| LegState {
        amount: coins(amount),
        outcome,
    };
    let mut sets = vec![Legs::new()];
    for outcome in outcomes {
        let all = OwnLeg::ALL.into_iter().zip(1..);
        sets.push(
            all.map(|(own, amount)| (own, leg(amount, outcome)))
                .collect(),
        );
    }
    let mixed = OwnLeg::ALL.into_iter().zip(outcomes.into_iter().cycle());
    sets.push(
        mixed
            .map(|(own, outcome)| (own, leg(Coins::MAX.get(), outcome)))
            .collect(),
    );
    sets
}

/// Frozen numbers of nobody, of a few, and of weights beyond 64 bits.
#[must_use]
pub fn all_totals() -> [Frozen<Totals>; 3] {
    let nobody = Totals {
        fees: Coins::ZERO,
        rake: Coins::ZERO,
        pool: Coins::ZERO,
        guarantee_return: Coins::ZERO,
        finishers: 0,
        weight_sum: 0,
    };
    let few = Totals {
        fees: coins(40),
        rake: coins(2),
        pool: coins(38),
        guarantee_return: coins(7),
        finishers: 3,
        weight_sum: 3_000,
    };
    let many = Totals {
        fees: Coins::MAX,
        rake: coins(1),
        pool: coins(Coins::MAX.get() - 1),
        guarantee_return: Coins::ZERO,
        finishers: 9_000_000_000,
        weight_sum: (1 << 70) + 3,
    };
    [nobody, few, many].map(Frozen::recall)
}

/// Every phase with every combination of its parts.
#[must_use]
pub fn all_phases(now: UnixMillis) -> Vec<Phase> {
    let closed = CreditsClosed {
        position: Position(7),
    };
    let last = CreditsClosed {
        position: Position(u64::MAX >> 1),
    };
    let mut phases = vec![
        Phase::Preparing,
        Phase::Funding,
        Phase::Draft,
        Phase::Running(closed),
        Phase::Running(last),
        Phase::Judging(closed),
    ];
    for totals in all_totals() {
        let Totals {
            weight_sum,
            finishers,
            pool,
            ..
        } = *totals.get();
        phases.push(Phase::Listing(
            closed,
            totals,
            now.plus(-3),
            SheetCursor::START,
        ));
        let half = SheetCursor {
            after: Some(signup_id()),
            before: weight_sum / 2,
            lines: finishers / 2,
            prizes: pool.part(1, 2).expect("half of it"),
        };
        phases.push(Phase::Listing(closed, totals, now.plus(-3), half));
        let settlement = Settlement {
            closed,
            totals,
            frozen_at: now.plus(-3),
            claimable_at: now.plus(-2),
            prizes: pool,
            sheet: Some(Digest::of(b"a sheet")),
        };
        phases.extend([Phase::Claimable(settlement), Phase::Closed(settlement)]);
        let before_digests = Settlement {
            sheet: None,
            ..settlement
        };
        phases.push(Phase::Closed(before_digests));
    }
    for &reason in CancelReason::ALL {
        phases.extend([
            Phase::Cancelling(reason, None),
            Phase::Cancelling(reason, Some(closed)),
            Phase::Cancelled(reason, last),
        ]);
    }
    phases
}

/// A contest in a phase of that kind, its signups (were it a draft) open now.
#[must_use]
pub fn contest_in(kind: PhaseKind, now: UnixMillis) -> Contest {
    let of_kind = all_phases(now)
        .into_iter()
        .find(|phase| phase.kind() == kind);
    Contest {
        id: contest_id(),
        title: format!("a contest that is {}", kind.name()),
        terms: terms(now),
        variants: Assignments::NONE,
        secret: None,
        phase: of_kind.expect("a sample of every phase"),
        legs: Legs::new(),
        stops: Stops::default(),
        version: 1,
        created_at: now.plus(-2 * HOUR),
        updated_at: now.plus(-2 * HOUR),
    }
}

/// None, one, and as many and as long as there can be.
fn variants(number: usize) -> Assignments {
    let name = |letter: char, number: usize| format!("{letter}{number:031}");
    let many = (0..Assignments::MAX).map(|n| format!("{}:{}", name('e', n), name('v', n)));
    let text = match number % 3 {
        0 => String::new(),
        1 => "fee:cheap".to_owned(),
        _ => many.collect::<Vec<_>>().join(","),
    };
    text.parse().expect("a form of ours")
}

/// A secret where the rule needs one.
fn secret_of(terms: &Terms, number: usize) -> Option<Secret> {
    let byte = u8::try_from(number % 256).expect("below 256");
    (terms.rule == Rule::Lucky).then_some(Secret::new([byte; 32]))
}

/// Contests in every phase; among them every choice of terms and every set of legs.
#[must_use]
pub fn all_contests(now: UnixMillis) -> Vec<Contest> {
    let phases = all_phases(now);
    let (terms, legs) = (all_terms(now), all_legs(now));
    let count = phases.len().max(terms.len());
    let titles = ["", "瓜分赛 🎁", "it's a \"title\"; -- \\ %_\n\t", "plain"];
    let contest = |number: usize| Contest {
        id: contest_id(),
        title: titles[number % titles.len()].to_owned(),
        secret: secret_of(&terms[number % terms.len()], number),
        terms: terms[number % terms.len()].clone(),
        variants: variants(number),
        phase: phases[number % phases.len()].clone(),
        legs: legs[number % legs.len()].clone(),
        stops: Stops {
            since: number.is_multiple_of(3).then(|| now.plus(-5)),
            claims_off_since: number.is_multiple_of(4).then(|| now.plus(-9)),
            total_ms: number as i64,
            counted_until: UnixMillis(number as i64 * 7),
            accepted: [0, 7, -7][number % 3],
        },
        version: 1,
        created_at: now.plus(-2 * HOUR - number as i64),
        updated_at: now.plus(-HOUR - number as i64),
    };
    (0..count).map(contest).collect()
}

/// Every state with every combination of its parts. The fee was paid a second after `now`.
#[must_use]
pub fn all_states(now: UnixMillis) -> Vec<State> {
    let fee = receipt(11, now);
    let done = Achievement {
        quantity: 3,
        met_at: now.plus(5_000),
    };
    let most = Achievement {
        quantity: u64::MAX >> 1,
        met_at: now,
    };
    let (one, large) = (Weight::ONE, weight(10 * TARGET_MAX));
    let mut states = vec![
        State::Initialized(FeeTry::Unknown),
        State::Initialized(FeeTry::NotSent),
        State::Paid(fee),
        State::Paid(receipt(u64::MAX >> 1, now)),
        State::InProgress(fee),
        State::Completed(fee, done, Share::Provisional),
        State::Completed(fee, most, Share::Fixed(one)),
        State::Completed(fee, done, Share::Fixed(large)),
        State::Shared(fee, done, one, Coins::ZERO, None),
        State::Missed(fee, 0),
        State::Missed(fee, 2),
        State::Forfeited(fee, most, large),
        State::Expired,
    ];
    let mut tries = vec![PayTry::NotSent, PayTry::Unknown];
    for &reason in Refusal::ALL {
        states.push(State::Initialized(FeeTry::Refused(reason)));
        tries.push(PayTry::Parked(reason));
    }
    for &payee in Payee::ALL {
        for &last_try in &tries {
            let payment = Payment { payee, last_try };
            states.push(State::Claiming(fee, done, large, Coins::MAX, payment));
            states.push(State::Refunding(fee, coins(10), payment));
            states.push(State::Refunding(fee, coins(3), payment));
        }
        let paid = Paid {
            payee,
            receipt: receipt(99, now),
        };
        states.push(State::Shared(fee, done, one, coins(1), Some(paid)));
        states.push(State::Refunded(fee, coins(10), paid));
        states.push(State::Refunded(fee, coins(3), paid));
    }
    states.push(State::Claiming(fee, done, one, Coins::ZERO, Payment::DUE));
    states
}

/// The first sample of a state.
#[must_use]
pub fn state(kind: StateKind, now: UnixMillis) -> State {
    let of_kind = all_states(now)
        .into_iter()
        .find(|state| state.kind() == kind);
    of_kind.expect("a sample of every state")
}

/// A viewer's signup in a contest, in that state, inserted at `now`.
#[must_use]
pub fn signup_in(state: State, contest: &Contest, user: UserId, now: UnixMillis) -> Signup {
    Signup {
        id: signup_id(),
        contest_id: contest.id,
        user_id: user,
        fee: contest.terms.fee,
        variants: contest.variants.clone(),
        state,
        tries: 0,
        version: 1,
        created_at: now,
        updated_at: now,
    }
}

/// A line of the sheet for a signup.
#[must_use]
pub fn sheet_line(signup: &Signup, before: u128, prize: Coins) -> SheetLine {
    let (signup_id, user_id) = (signup.id, signup.user_id.clone());
    let finisher = Finisher {
        signup_id,
        user_id,
        weight: weight(1_000),
    };
    SheetLine {
        finisher,
        before,
        prize,
    }
}

/// A source of random numbers that tells its seed, so that a failure can be replayed with
/// `GUAFEN_SEED`.
#[derive(Debug)]
pub struct Dice(u64);

impl Dice {
    /// A new seed, or the one that `GUAFEN_SEED` asks for; printed either way.
    #[must_use]
    pub fn cast() -> Self {
        let asked = std::env::var("GUAFEN_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let (high, low) = Uuid::now_v7().as_u64_pair();
        let seed = asked.unwrap_or(high ^ low);
        println!("GUAFEN_SEED={seed}");
        Self(seed)
    }

    /// A number from 0 to below `sides` (SplitMix64).
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    }

    /// One of `items`.
    pub fn one<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.roll(items.len())]
    }

    /// The same items in another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.roll(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn there_is_a_sample_of_everything() {
        let now = UnixMillis(1_700_000_000_000);
        let kinds = |all: Vec<Contest>| all.iter().map(|c| c.phase.kind()).collect::<BTreeSet<_>>();
        assert_eq!(
            kinds(all_contests(now)),
            PhaseKind::ALL.iter().copied().collect()
        );
        let states: BTreeSet<_> = all_states(now).iter().map(State::kind).collect();
        assert_eq!(states, StateKind::ALL.iter().copied().collect());
        let terms = all_terms(now);
        assert!(
            Rule::ALL
                .iter()
                .all(|rule| terms.iter().any(|t| t.rule == *rule))
        );
        assert!(
            ClaimMode::ALL
                .iter()
                .all(|mode| terms.iter().any(|t| t.claim_mode == *mode))
        );
        assert!(
            NoWinner::ALL
                .iter()
                .all(|rule| terms.iter().any(|t| t.no_winner == *rule))
        );
        assert!(
            Remainder::ALL
                .iter()
                .all(|rule| terms.iter().any(|t| t.remainder == *rule))
        );
        assert!(
            Unclaimed::ALL
                .iter()
                .all(|rule| terms.iter().any(|t| t.unclaimed == *rule))
        );
    }
}
