//! Reading, with repair on the way: a signup in progress is asked about at the task system.

use crate::{
    Contests, Failure, VariantFunnel,
    counted::Rows,
    drive::{Driven, Prefetched, Until},
    payments::within,
    shown::{Look, log},
};
use domain::{
    contest::{Contest, Phase, PhaseKind, applied_amount},
    due::{Step, due},
    ids::{ContestId, UserId},
    invariant::{self, Books, Invariant, Violation},
    money::Coins,
    order::OwnLeg,
    settlement::{Advisory, estimate},
    signup::{Signup, State, StateKind},
    switch::Switch,
    time::UnixMillis,
    transfer::{Position, Transfer},
};
use futures_util::future::join;
use ports::{
    contests::StateCount,
    findings::{Finding, FindingFilter},
    funds::{self, FundsError},
    shown::PastPool,
    store::PAGE_MAX,
};
use std::sync::Arc;

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

    fn cached((contest, signup): (Contest, Signup)) -> Self {
        Self::of(contest, signup, 0)
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

/// What a viewer is to a contest.
#[derive(Clone, Debug)]
pub enum Own {
    /// They signed up.
    Yes(Seen),
    /// They did not.
    NotSignedUp,
    /// There is no such contest.
    NoContest,
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
    /// As of when: on the funds system's clock if it was asked, on ours if our rows were added up.
    pub as_of: UnixMillis,
    /// False for a pool of the past that is kept where it need not be asked for again, and while asking is
    /// switched off.
    pub is_from_funds: bool,
}

impl From<PastPool> for Pool {
    fn from(past: PastPool) -> Self {
        let PastPool {
            amount,
            finishers,
            prize,
            as_of,
        } = past;
        Self {
            amount,
            finishers,
            estimated_prize: prize,
            as_of,
            is_from_funds: false,
        }
    }
}

/// The pool of a contest that is frozen or cancelled: it never changes again.
fn past_pool(contest: &Contest) -> Option<PastPool> {
    if let Phase::Cancelling(..) | Phase::Cancelled(..) = contest.phase {
        // Every fee goes back: there is nothing to be split.
        return Some(PastPool {
            amount: Coins::ZERO,
            finishers: 0,
            prize: Coins::ZERO,
            as_of: contest.updated_at,
        });
    }
    let (totals, frozen_at) = contest.phase.frozen()?;
    let totals = totals.get();
    // Without finishers nobody gets anything.
    let prize = totals.pool.part(1, totals.finishers.into());
    Some(PastPool {
        amount: totals.pool,
        finishers: totals.finishers,
        prize: prize.unwrap_or(Coins::ZERO),
        as_of: frozen_at,
    })
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
    /// How far those came who met an experiment, by its variants.
    pub variants: Vec<VariantFunnel>,
    /// What the books of a contest that is over violate. None while something is under way, when
    /// two reads apart would show differences that are none, and for a contest of more than
    /// 20,000 signups: the independent checker reads those.
    pub violations: Option<Vec<Violation>>,
}

impl Report {
    /// Who asked to sign up.
    #[must_use]
    pub fn signed_up(&self) -> u64 {
        self.count(|_| true)
    }

    /// Whose fee was paid.
    #[must_use]
    pub fn paid(&self) -> u64 {
        self.count(StateKind::is_paid)
    }

    /// Who completed the task.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.count(|state| {
            matches!(
                state,
                StateKind::Completed
                    | StateKind::Claiming
                    | StateKind::Shared
                    | StateKind::Forfeited
            )
        })
    }

    /// Whose prize was paid.
    #[must_use]
    pub fn claimed(&self) -> u64 {
        self.count(|state| state == StateKind::Shared)
    }

    /// Fees of all who paid, those that went back included.
    #[must_use]
    pub fn fees(&self) -> u64 {
        self.coins(StateKind::is_paid, |count| count.fees)
    }

    /// Prizes paid.
    #[must_use]
    pub fn prizes(&self) -> u64 {
        self.coins(|state| state == StateKind::Shared, |count| count.prizes)
    }

    /// Fees that went back.
    #[must_use]
    pub fn refunds(&self) -> u64 {
        self.coins(|state| state == StateKind::Refunded, |count| count.fees)
    }

    /// Each invariant, whether it holds, and what breaks it. None where it was not checked: something is
    /// under way, or these books do not show it.
    pub fn invariants(&self) -> impl Iterator<Item = (Invariant, Option<bool>, Vec<String>)> {
        let violations = self.violations.as_deref();
        Invariant::ALL.iter().map(move |invariant| {
            // A history and a tally are not among the books of a contest.
            let is_shown = !matches!(invariant, Invariant::ForwardOnly | Invariant::TallyTrue);
            let evidence: Vec<String> = violations
                .unwrap_or_default()
                .iter()
                .filter(|violation| violation.invariant == *invariant)
                .map(|violation| violation.evidence.clone())
                .collect();
            let holds = violations.filter(|_| is_shown).map(|_| evidence.is_empty());
            (*invariant, holds, evidence)
        })
    }

    fn count(&self, is_wanted: impl Fn(StateKind) -> bool) -> u64 {
        let wanted = self.counts.iter().filter(|count| is_wanted(count.state));
        wanted.map(|count| count.signups).sum()
    }

    fn coins(
        &self,
        is_wanted: impl Fn(StateKind) -> bool,
        of: impl Fn(&StateCount) -> Coins,
    ) -> u64 {
        let wanted = self.counts.iter().filter(|count| is_wanted(count.state));
        wanted.map(|count| of(count).get()).sum()
    }
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

    /// A viewer's signup, as [`own`](Self::own) reads it; none if there is none.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn read(
        &self,
        contest_id: ContestId,
        user: &UserId,
    ) -> Result<Option<Seen>, Failure> {
        Ok(match self.own(contest_id, user).await? {
            Own::Yes(seen) => Some(seen),
            Own::NotSignedUp | Own::NoContest => None,
        })
    }

    /// A viewer's signup, repaired on the way. Nothing is charged or paid by reading.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn own(&self, contest_id: ContestId, user: &UserId) -> Result<Own, Failure> {
        let shown = self.ports.shown.as_ref();
        let Some(shown) = shown.filter(|_| self.is_on(Switch::RecordCache)) else {
            return self.own_in_store(contest_id, user).await;
        };
        let flight = match self.look_up_record(shown, contest_id, user).await? {
            // Only of a contest that viewers may see is an absence ever stored.
            Look::Absent => return Ok(Own::NotSignedUp),
            Look::Record(found) if self.is_at_rest(&found) => {
                return Ok(Own::Yes(Seen::cached(*found)));
            }
            Look::Away => return self.own_in_store(contest_id, user).await,
            // What something is due for is read from the store, where it is repaired.
            Look::Record(_) | Look::Miss => self.flights.enter(contest_id, user).await,
        };
        match self.look_up_record(shown, contest_id, user).await? {
            Look::Absent => return Ok(Own::NotSignedUp),
            Look::Record(found) if self.is_at_rest(&found) => {
                return Ok(Own::Yes(Seen::cached(*found)));
            }
            Look::Record(_) | Look::Miss | Look::Away => {}
        }
        let began = self.ports.clock.now();
        let (contest, signup) = self.find(contest_id, user).await?;
        let Some(contest) = contest else {
            return Ok(Own::NoContest);
        };
        let Some(signup) = signup else {
            self.fill_record(shown, &contest, user, None, began, flight);
            return Ok(Own::NotSignedUp);
        };
        let found = (contest.clone(), signup.clone());
        if self.is_at_rest(&found) {
            self.fill_record(shown, &found.0, user, Some(&found.1), began, flight);
        }
        self.repair(contest, signup).await.map(Own::Yes)
    }

    async fn own_in_store(&self, contest: ContestId, user: &UserId) -> Result<Own, Failure> {
        match self.find(contest, user).await? {
            (None, _) => Ok(Own::NoContest),
            (Some(_), None) => Ok(Own::NotSignedUp),
            (Some(contest), Some(signup)) => self.repair(contest, signup).await.map(Own::Yes),
        }
    }

    /// Contest and signup, asked for together and answered together.
    async fn find(
        &self,
        contest: ContestId,
        user: &UserId,
    ) -> Result<(Option<Contest>, Option<Signup>), Failure> {
        let (contest, signup) = join(
            self.visible(contest),
            self.ports.signups.find(contest, user),
        )
        .await;
        Ok((contest?, signup?))
    }

    async fn repair(&self, contest: Contest, signup: Signup) -> Result<Seen, Failure> {
        let driven = self
            .drive(
                &contest,
                signup,
                None,
                Until::MoneyMoves,
                Prefetched::default(),
            )
            .await?;
        Ok(Seen::new(contest, driven))
    }

    /// True for a record that reading would not change.
    fn is_at_rest(&self, (contest, signup): &(Contest, Signup)) -> bool {
        due(signup, contest, self.ports.clock.now()) == Step::Rest
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

    /// The pool of a contest that viewers may see. One of the past is read where it is kept,
    /// without store and funds system.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn pool_of(&self, id: ContestId) -> Result<Option<Pool>, Failure> {
        if let Some(shown) = &self.ports.shown {
            match shown.past_pools.get(id).await {
                Ok(Some(past)) => return Ok(Some(past.into())),
                Ok(None) => {}
                Err(error) => log("the pools of the past did not answer", &error),
            }
        }
        match self.visible(id).await? {
            Some(contest) => self.pool(&contest).await.map(Some),
            None => Ok(None),
        }
    }

    /// The pool: from the funds system's live balance until the freeze, then as it was frozen. While asking
    /// for the balance is switched off, from the fees that our rows say were paid.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn pool(&self, contest: &Contest) -> Result<Pool, Failure> {
        if let Some(past) = past_pool(contest) {
            self.keep_pool(contest, past);
            return Ok(Pool {
                is_from_funds: self.ports.shown.is_none(),
                ..past.into()
            });
        }
        let (fees, as_of, is_from_funds) = if self.is_on_for(Switch::LivePool, contest).is_ok() {
            let held = within(self.ports.funds.balance(&contest.pool_account())).await?;
            let brought = Coins::sum(
                [OwnLeg::Guarantee, OwnLeg::Carry].map(|leg| applied_amount(&contest.legs, leg)),
            );
            let fees = brought
                .ok()
                .and_then(|brought| funds::coins(&held)?.minus(brought).ok());
            (fees.unwrap_or(Coins::ZERO), held.at, true)
        } else {
            let rows = self.count_rows(contest.id).await?;
            (rows.fees, rows.as_of, false)
        };
        let finishers = match self.tally(contest).await {
            Some(Advisory(tally)) => tally.finishers,
            None => self.count_rows(contest.id).await?.finishers,
        };
        let Advisory((amount, estimated_prize)) = estimate(&contest.terms, fees, finishers);
        Ok(Pool {
            amount,
            finishers,
            estimated_prize,
            as_of,
            is_from_funds,
        })
    }

    async fn count_rows(&self, id: ContestId) -> Result<Rows, Failure> {
        let (contests, clock) = (&*self.ports.contests, &*self.ports.clock);
        Ok(self.counted.rows(contests, clock, id).await?)
    }

    /// Keeps a pool of the past, beside the answer. It may be lost without harm: who asks next
    /// keeps it again.
    fn keep_pool(&self, contest: &Contest, past: PastPool) {
        let Some(shown) = &self.ports.shown else {
            return;
        };
        let (pools, contest) = (Arc::clone(&shown.past_pools), contest.clone());
        tokio::spawn(async move {
            if let Err(error) = pools.put(&contest, past).await {
                log("a pool of the past could not be kept", &error);
            }
        });
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
        let variants = self.by_variant(id).await?;
        Ok(Some(Report {
            variants,
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
