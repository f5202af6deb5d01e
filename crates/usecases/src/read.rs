//! Reading, with repair on the way: a signup in progress is asked about at the task system.

use crate::{
    Contests, Failure,
    drive::{Driven, Prefetched, Until},
    payments::within,
};
use domain::{
    contest::{Contest, Phase, PhaseKind, applied_amount},
    ids::{ContestId, UserId},
    invariant::{self, Books, Violation},
    money::Coins,
    order::OwnLeg,
    settlement::{Advisory, estimate},
    signup::{Signup, State, StateKind},
    time::UnixMillis,
    transfer::{Position, Transfer},
};
use futures_util::future::join;
use ports::{
    contests::StateCount,
    findings::{Finding, FindingFilter},
    funds::{self, FundsError},
    store::PAGE_MAX,
};

/// A signup with its contest and how far the task is.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The contest.
    pub contest: Contest,
    /// The signup.
    pub signup: Signup,
    /// Units of the task done.
    pub done: u64,
}

impl Seen {
    pub(crate) fn new(contest: Contest, driven: Driven) -> Self {
        let read = driven.progress.map_or(0, |progress| progress.quantity);
        Self::of(contest, driven.signup, read)
    }

    fn of(contest: Contest, signup: Signup, read: u64) -> Self {
        let done = match &signup.state {
            State::Missed(_, quantity) => *quantity,
            state => state.achievement().map_or(read, |done| done.quantity),
        };
        Self {
            contest,
            signup,
            done,
        }
    }
}

/// The pool, for showing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// What is or would be split.
    pub amount: Coins,
    /// Finishers so far, or frozen.
    pub finishers: u64,
    /// What one finisher of average weight gets or would get.
    pub estimated_prize: Coins,
    /// As of when, on the funds system's clock until the freeze.
    pub as_of: UnixMillis,
}

/// What an operator sees of a contest.
#[derive(Clone, Debug)]
pub struct Report {
    /// The contest.
    pub contest: Contest,
    /// Signups and coins per state.
    pub counts: Vec<StateCount>,
    /// What the pool account holds; none if it is not open yet.
    pub balance: Option<Coins>,
    /// Findings that are open, at most a page of them.
    pub findings: Vec<Finding>,
    /// What the books of a contest that is over violate. None while something is under way, when
    /// two reads apart would show differences that are none, and for a contest of more than
    /// 20,000 signups: the independent checker reads those.
    pub violations: Option<Vec<Violation>>,
}

/// The most signups that a report checks.
const CHECKED_MAX: u64 = 20_000;

impl Contests {
    /// A contest that viewers may see.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn visible(&self, id: ContestId) -> Result<Option<Contest>, Failure> {
        let contest = self.ports.contests.get(id).await?;
        Ok(contest.filter(|contest| {
            !matches!(
                contest.phase.kind(),
                PhaseKind::Preparing | PhaseKind::Funding
            )
        }))
    }

    /// A viewer's signup, repaired on the way; none if there is none. Nothing is charged or paid
    /// by reading.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn read(
        &self,
        contest_id: ContestId,
        user: &UserId,
    ) -> Result<Option<Seen>, Failure> {
        // Asked together, answered together.
        let (contest, signup) = join(
            self.visible(contest_id),
            self.ports.signups.find(contest_id, user),
        )
        .await;
        let (Some(contest), Some(signup)) = (contest?, signup?) else {
            return Ok(None);
        };
        let driven = self
            .drive(
                &contest,
                signup,
                None,
                Until::MoneyMoves,
                Prefetched::default(),
            )
            .await?;
        Ok(Some(Seen::new(contest, driven)))
    }

    /// The same for a signup that was listed: nothing is repaired, the progress is only read.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn look(
        &self,
        contest: &Contest,
        signups: Vec<Signup>,
    ) -> Result<Vec<Seen>, Failure> {
        let open: Vec<_> = signups
            .iter()
            .filter(|signup| signup.state.kind() == StateKind::InProgress)
            .cloned()
            .collect();
        let mut read = if open.is_empty() {
            Vec::new()
        } else {
            self.ports.tasks.progress(contest, &open).await?
        }
        .into_iter();
        let seen = signups.into_iter().map(|signup| {
            let in_progress = signup.state.kind() == StateKind::InProgress;
            let quantity = in_progress
                .then(|| read.next())
                .flatten()
                .map_or(0, |progress| progress.quantity);
            Seen::of(contest.clone(), signup, quantity)
        });
        Ok(seen.collect())
    }

    /// The pool: from the funds system's live balance until the freeze, then as it was frozen.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn pool(&self, contest: &Contest) -> Result<Pool, Failure> {
        if let Phase::Cancelling(..) | Phase::Cancelled(..) = contest.phase {
            // Every fee goes back: there is nothing to be split.
            let as_of = contest.updated_at;
            return Ok(Pool {
                amount: Coins::ZERO,
                finishers: 0,
                estimated_prize: Coins::ZERO,
                as_of,
            });
        }
        if let Some((totals, frozen_at)) = contest.phase.frozen() {
            let totals = totals.get();
            let part = |finishers: u64| totals.pool.part(1, finishers.into());
            // Without finishers nobody gets anything.
            let estimated_prize = part(totals.finishers).unwrap_or(Coins::ZERO);
            return Ok(Pool {
                amount: totals.pool,
                finishers: totals.finishers,
                estimated_prize,
                as_of: frozen_at,
            });
        }
        let held = within(self.ports.funds.balance(&contest.pool_account())).await?;
        let counts = self.ports.contests.counts(contest.id).await?;
        let finishers = count(&counts, &[StateKind::Completed]);
        let brought = Coins::sum(
            [OwnLeg::Guarantee, OwnLeg::Carry].map(|leg| applied_amount(&contest.legs, leg)),
        );
        let fees = brought
            .ok()
            .and_then(|brought| funds::coins(&held)?.minus(brought).ok())
            .unwrap_or(Coins::ZERO);
        let Advisory((amount, estimated_prize)) = estimate(&contest.terms, fees, finishers);
        Ok(Pool {
            amount,
            finishers,
            estimated_prize,
            as_of: held.at,
        })
    }

    /// What an operator sees of a contest.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn report(&self, id: ContestId) -> Result<Option<Report>, Failure> {
        let Some(contest) = self.ports.contests.get(id).await? else {
            return Ok(None);
        };
        let counts = self.ports.contests.counts(id).await?;
        let balance = match within(self.ports.funds.balance(&contest.pool_account())).await {
            Ok(balance) => funds::coins(&balance),
            Err(FundsError::UnknownAccount(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let findings = self
            .ports
            .findings
            .list(FindingFilter::open_of(id), None, PAGE_MAX)
            .await?
            .items;
        let signups: u64 = counts.iter().map(|count| count.signups).sum();
        let violations = match balance {
            Some(balance) if contest.phase.kind().is_terminal() && signups <= CHECKED_MAX => {
                Some(self.violations(&contest, balance).await?)
            }
            _ => None,
        };
        Ok(Some(Report {
            violations,
            contest,
            counts,
            balance,
            findings,
        }))
    }

    async fn violations(
        &self,
        contest: &Contest,
        balance: Coins,
    ) -> Result<Vec<Violation>, Failure> {
        let mut signups = Vec::new();
        let mut after = None;
        loop {
            let page = self
                .ports
                .signups
                .page(contest.id, &[], after, PAGE_MAX)
                .await?;
            signups.extend(page.items);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let account = contest.pool_account();
        let mut transfers: Vec<Transfer> = Vec::new();
        loop {
            let after = transfers
                .last()
                .map_or(Position(0), |last| last.receipt.position);
            let page = within(self.ports.funds.list(&account, after, PAGE_MAX)).await?;
            if page.transfers.is_empty() {
                break;
            }
            transfers.extend(page.transfers);
        }
        let books = Books {
            contest,
            signups: &signups,
            transfers: &transfers,
            balance,
        };
        Ok(invariant::check(books, self.ports.clock.now()))
    }
}

/// Signups in some of the states.
#[must_use]
pub fn count(counts: &[StateCount], states: &[StateKind]) -> u64 {
    counts
        .iter()
        .filter(|count| states.contains(&count.state))
        .map(|count| count.signups)
        .sum()
}
