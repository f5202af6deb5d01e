//! What the checker says: each invariant green or red with evidence, and the money table.

use serde::Serialize;
use std::fmt::{self, Write as _};

/// The most lines of evidence that are kept for one invariant.
pub const EVIDENCE_MAX: usize = 10;

/// One invariant of domain.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Invariant {
    /// At most one fee transfer for a contest and user.
    OneCharge,
    /// Paid or beyond means exactly one fee transfer of its fee.
    PaidMeansPaid,
    /// At most one prize, of exactly its amount; never a prize and a refund.
    OnePrize,
    /// Never more out of a pool than came in, at any moment.
    NoOverpay,
    /// An ended contest's pool is at 0, every coin is explained, the ledger adds up.
    ZeroSum,
    /// The frozen numbers are the sums over the rows.
    FrozenOnce,
    /// States and phases move only along the tables.
    ForwardOnly,
    /// Nothing is left undone in an ended contest.
    NoLimbo,
    /// The live tally equals the rows.
    TallyTrue,
    /// No prize before the freeze, nor for anybody who is not to have one.
    NoEarlyPrize,
}

impl Invariant {
    /// Every invariant, in the order of domain.md.
    pub const ALL: [Self; 10] = [
        Self::OneCharge,
        Self::PaidMeansPaid,
        Self::OnePrize,
        Self::NoOverpay,
        Self::ZeroSum,
        Self::FrozenOnce,
        Self::ForwardOnly,
        Self::NoLimbo,
        Self::TallyTrue,
        Self::NoEarlyPrize,
    ];

    /// Its name in domain.md.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OneCharge => "ONE_CHARGE",
            Self::PaidMeansPaid => "PAID_MEANS_PAID",
            Self::OnePrize => "ONE_PRIZE",
            Self::NoOverpay => "NO_OVERPAY",
            Self::ZeroSum => "ZERO_SUM",
            Self::FrozenOnce => "FROZEN_ONCE",
            Self::ForwardOnly => "FORWARD_ONLY",
            Self::NoLimbo => "NO_LIMBO",
            Self::TallyTrue => "TALLY_TRUE",
            Self::NoEarlyPrize => "NO_EARLY_PRIZE",
        }
    }
}

/// How an invariant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It holds.
    Green,
    /// It does not.
    Red,
    /// What it speaks of is not kept in this deployment.
    NotKept,
}

/// What was found about one invariant.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// Which.
    pub invariant: Invariant,
    /// How it stands.
    pub status: Status,
    /// How many things were held against it: a green that looked at nothing proves nothing.
    pub checked: u64,
    /// How many of them break it.
    pub violations: u64,
    /// The first of those, at most [`EVIDENCE_MAX`].
    pub evidence: Vec<String>,
}

/// Where the coins of one contest's pool came from and went, by the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Money {
    /// Fees in.
    pub fees: i64,
    /// Guarantee in.
    pub guarantee: i64,
    /// Carry of the series in.
    pub carry: i64,
    /// Prizes out.
    pub prizes: i64,
    /// Refunds out.
    pub refunds: i64,
    /// Rake out.
    pub rake: i64,
    /// Sweep out.
    pub sweep: i64,
    /// Rollover out.
    pub rollover: i64,
    /// Guarantee that was not needed, out.
    pub guarantee_return: i64,
    /// In, explained by no order.
    pub unexplained_in: i64,
    /// Out, explained by no order.
    pub unexplained_out: i64,
    /// Left in the pool.
    pub left: i64,
}

/// One contest.
#[derive(Clone, Debug, Serialize)]
pub struct ContestReport {
    /// Its id.
    pub contest_id: String,
    /// Its stored phase.
    pub phase: String,
    /// How many signups.
    pub signups: u64,
    /// How many of them paid.
    pub paid: u64,
    /// How many finished.
    pub finishers: u64,
    /// The money table.
    pub money: Money,
}

/// The ledger as a whole.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LedgerReport {
    /// How many accounts.
    pub accounts: u64,
    /// How many transfers.
    pub transfers: u64,
}

/// Everything that was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Every invariant, in the order of domain.md.
    pub invariants: Vec<Verdict>,
    /// Every contest.
    pub contests: Vec<ContestReport>,
    /// The ledger.
    pub ledger: LedgerReport,
}

impl Report {
    /// True if no invariant is red.
    #[must_use]
    pub fn is_green(&self) -> bool {
        self.red().next().is_none()
    }

    /// The invariants that do not hold.
    pub fn red(&self) -> impl Iterator<Item = Invariant> {
        self.invariants
            .iter()
            .filter(|verdict| verdict.status == Status::Red)
            .map(|verdict| verdict.invariant)
    }

    /// The money table over all contests.
    #[must_use]
    pub fn money(&self) -> Money {
        let mut all = Money::default();
        for contest in &self.contests {
            for (sum, (_, amount)) in all.lines_mut().into_iter().zip(contest.money.lines()) {
                *sum += amount;
            }
        }
        all
    }
}

impl Money {
    /// Its lines by name, in the order in which they are shown.
    #[must_use]
    pub const fn lines(&self) -> [(&'static str, i64); 12] {
        [
            ("fees in", self.fees),
            ("guarantee in", self.guarantee),
            ("carry in", self.carry),
            ("prizes out", self.prizes),
            ("refunds out", self.refunds),
            ("rake out", self.rake),
            ("sweep out", self.sweep),
            ("rollover out", self.rollover),
            ("guarantee returned", self.guarantee_return),
            ("unexplained in", self.unexplained_in),
            ("unexplained out", self.unexplained_out),
            ("left in the pool", self.left),
        ]
    }

    const fn lines_mut(&mut self) -> [&mut i64; 12] {
        [
            &mut self.fees,
            &mut self.guarantee,
            &mut self.carry,
            &mut self.prizes,
            &mut self.refunds,
            &mut self.rake,
            &mut self.sweep,
            &mut self.rollover,
            &mut self.guarantee_return,
            &mut self.unexplained_in,
            &mut self.unexplained_out,
            &mut self.left,
        ]
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sum = |count: fn(&ContestReport) -> u64| self.contests.iter().map(count).sum::<u64>();
        writeln!(
            f,
            "{} contests, {} signups, {} paid, {} finishers; {} accounts, {} transfers",
            self.contests.len(),
            sum(|contest| contest.signups),
            sum(|contest| contest.paid),
            sum(|contest| contest.finishers),
            self.ledger.accounts,
            self.ledger.transfers,
        )?;
        for (name, amount) in self.money().lines() {
            if amount != 0 || !name.starts_with("unexplained") {
                writeln!(f, "  {name:<20}{amount:>14}")?;
            }
        }
        for verdict in &self.invariants {
            let mut line = String::new();
            match verdict.status {
                Status::Green => write!(line, "green  {} checked", verdict.checked)?,
                Status::Red => write!(
                    line,
                    "RED    {} of {} checked",
                    verdict.violations, verdict.checked
                )?,
                Status::NotKept => line.push_str("n/a"),
            }
            writeln!(f, "  {:<18}{line}", verdict.invariant.name())?;
            for evidence in &verdict.evidence {
                writeln!(f, "      {evidence}")?;
            }
        }
        Ok(())
    }
}

/// Collects what is found.
pub(crate) struct Findings {
    verdicts: Vec<Verdict>,
}

impl Findings {
    pub(crate) fn new() -> Self {
        let verdict = |invariant| Verdict {
            invariant,
            status: Status::Green,
            checked: 0,
            violations: 0,
            evidence: Vec::new(),
        };
        Self {
            verdicts: Invariant::ALL.map(verdict).into(),
        }
    }

    /// Holds one thing against an invariant.
    pub(crate) fn expect(
        &mut self,
        invariant: Invariant,
        holds: bool,
        evidence: impl FnOnce() -> String,
    ) {
        let Some(verdict) = self
            .verdicts
            .iter_mut()
            .find(|verdict| verdict.invariant == invariant)
        else {
            return;
        };
        verdict.checked += 1;
        if !holds {
            verdict.status = Status::Red;
            verdict.violations += 1;
            if verdict.evidence.len() < EVIDENCE_MAX {
                verdict.evidence.push(evidence());
            }
        }
    }

    pub(crate) fn finish(mut self) -> Vec<Verdict> {
        for verdict in &mut self.verdicts {
            if verdict.invariant == Invariant::TallyTrue {
                verdict.status = Status::NotKept;
                verdict.evidence =
                    vec!["not kept in this deployment: counted from the rows".to_owned()];
            }
        }
        self.verdicts
    }
}
