//! Samples and a small honest world, shared by the tests of this crate.
// Every test binary compiles this module and takes only its part of it.
#![allow(dead_code)]

pub(crate) mod signups;
pub(crate) mod world;

use domain::{
    contest::{CancelReason, Contest, Phase, PhaseKind, Settlement},
    digest::Digest,
    draw::Secret,
    ids::{ContestId, SignupId, UserId},
    money::Coins,
    payout::{Achievement, Rule, Weight},
    settlement::{Finisher, Frozen, SheetCursor, SheetLine, Totals},
    terms::{BasisPoints, Carried, ClaimMode, NoWinner, Remainder, Task, Terms, Unclaimed},
    time::UnixMillis,
    transfer::{CreditsClosed, Position, ProofOfAbsence, Receipt},
};

/// Where the pool account of every sample was closed to credits.
pub(crate) const CLOSED: CreditsClosed = CreditsClosed {
    position: Position(50),
};

/// When the claim window of a sample settlement ends: it opened 200 ms late.
pub(crate) const CLAIMS_END: UnixMillis = UnixMillis(4_200);

pub(crate) fn coins(amount: u64) -> Coins {
    Coins::new(amount).expect("an amount")
}

pub(crate) fn weight(weight: u64) -> Weight {
    Weight::new(weight).expect("a weight of at least 1")
}

pub(crate) fn contest_id() -> ContestId {
    "0198c9f2-0000-7000-8000-00000000000a"
        .parse()
        .expect("a contest id")
}

pub(crate) fn signup_id(number: u64) -> SignupId {
    format!("0198c9f2-0000-7000-8000-{number:012x}")
        .parse()
        .expect("a signup id")
}

pub(crate) fn user(number: u64) -> UserId {
    format!("user-{number}").parse().expect("a user id")
}

pub(crate) fn receipt(position: u64) -> Receipt {
    Receipt {
        position: Position(position),
        applied_at: UnixMillis(1_500),
    }
}

pub(crate) fn absence() -> ProofOfAbsence {
    ProofOfAbsence::new(CLOSED.position, CLOSED).expect("answered at the close")
}

pub(crate) fn done(quantity: u64) -> Achievement {
    Achievement {
        quantity,
        met_at: UnixMillis(2_500),
    }
}

pub(crate) fn finisher(number: u64, weight_of_it: u64) -> Finisher {
    Finisher {
        signup_id: signup_id(number),
        user_id: user(number),
        weight: weight(weight_of_it),
    }
}

pub(crate) fn line(number: u64, weight_of_it: u64, prize: u64) -> SheetLine {
    SheetLine {
        finisher: finisher(number, weight_of_it),
        before: 0,
        prize: coins(prize),
    }
}

/// A fee of 10, one unit to do, windows at 1,000, 2,000, 3,000 and 4,000, a grace of 100.
pub(crate) fn terms() -> Terms {
    Terms {
        room_id: "room".parse().expect("a room id"),
        fee: coins(10),
        fee_tiers: Vec::new(),
        task: Task {
            kind: "open_chest".parse().expect("a task kind"),
            target: 1,
        },
        rule: Rule::Equal,
        rake_bps: BasisPoints::ZERO,
        guaranteed_pool: Coins::ZERO,
        series: None,
        claim_mode: ClaimMode::Manual,
        no_winner: NoWinner::Refund,
        remainder: Remainder::Spread,
        unclaimed: Unclaimed::Pay,
        grace_ms: 100,
        signup_opens_at: UnixMillis(1_000),
        signup_closes_at: UnixMillis(2_000),
        tasks_end_at: UnixMillis(3_000),
        claim_closes_at: UnixMillis(4_000),
    }
}

/// The same in a series that brings `carry` along.
pub(crate) fn series_terms(carry: u64) -> Terms {
    let series_id = "daily".parse().expect("a series id");
    Terms {
        series: Some(Carried {
            series_id,
            carry: coins(carry),
        }),
        ..terms()
    }
}

pub(crate) fn bps(points: u16) -> BasisPoints {
    BasisPoints::new(points).expect("basis points")
}

/// Frozen numbers with `pool` coins for `finishers` of `weight_sum` together.
pub(crate) fn totals(pool: u64, finishers: u64, weight_sum: u128) -> Frozen<Totals> {
    Frozen::recall(Totals {
        fees: coins(pool),
        rake: Coins::ZERO,
        pool: coins(pool),
        guarantee_return: Coins::ZERO,
        finishers,
        weight_sum,
    })
}

/// A sheet of which `lines` of 3 lines of weight 2 are written.
pub(crate) fn cursor(lines: u64) -> SheetCursor {
    SheetCursor {
        after: (lines > 0).then(|| signup_id(lines)),
        before: u128::from(lines) * 2,
        lines,
        prizes: coins(lines * 10),
    }
}

/// 30 coins for 3 finishers, frozen at 3,100, claimable at 3,200.
pub(crate) fn settlement() -> Settlement {
    Settlement {
        closed: CLOSED,
        totals: totals(30, 3, 6),
        frozen_at: UnixMillis(3_100),
        claimable_at: UnixMillis(3_200),
        prizes: coins(30),
        sheet: Some(SHEET),
    }
}

/// The digest of some sheet.
pub(crate) const SHEET: Digest = Digest::new([9; 32]);

/// Every sample of a phase. Exhaustive on purpose: a new phase must find its way into the tables.
pub(crate) fn phases_of(kind: PhaseKind) -> Vec<Phase> {
    let reasons = [CancelReason::Operator, CancelReason::NoWinners];
    match kind {
        PhaseKind::Preparing => vec![Phase::Preparing],
        PhaseKind::Funding => vec![Phase::Funding],
        PhaseKind::Draft => vec![Phase::Draft],
        PhaseKind::Running => vec![Phase::Running(CLOSED)],
        PhaseKind::Judging => vec![Phase::Judging(CLOSED)],
        PhaseKind::Listing => {
            let frozen_at = UnixMillis(3_100);
            [0, 2, 3]
                .map(|n| Phase::Listing(CLOSED, totals(30, 3, 6), frozen_at, cursor(n)))
                .into()
        }
        PhaseKind::Claimable => vec![Phase::Claimable(settlement())],
        PhaseKind::Closed => vec![Phase::Closed(settlement())],
        PhaseKind::Cancelling => reasons
            .into_iter()
            .flat_map(|reason| [None, Some(CLOSED)].map(|closed| Phase::Cancelling(reason, closed)))
            .collect(),
        PhaseKind::Cancelled => reasons
            .map(|reason| Phase::Cancelled(reason, CLOSED))
            .into(),
    }
}

/// A contest of these terms that stands in `phase`.
pub(crate) fn contest(terms: Terms, phase: Phase) -> Contest {
    let terms = terms.check().expect("lawful terms");
    let (title, secret) = ("a contest".to_owned(), Secret::new([7; 32]));
    let new = Contest::new(contest_id(), title, terms, secret, UnixMillis(500));
    Contest { phase, ..new }
}
