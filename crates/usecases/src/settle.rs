//! The steps of a contest: opening, settling, paying out, closing, cancelling. Every step is
//! written by compare-and-swap on the contest's version, so any node can take any step at any
//! time and two at once do no harm.

use crate::{Contests, Failure, hold::Hold, payments::within};
use domain::{
    contest::{Contest, ContestFact, Phase},
    finding::FindingClass,
    lifecycle::{ContestStep, window},
    money::Coins,
    notice::notices,
    order::{Account, Leg, OwnLeg},
    settlement::{NotFrozen, SheetLine, freeze, leftover, sheet_page},
    signup::StateKind,
    time::UnixMillis,
    transfer::{Content, ProofOfAbsence, Transfer},
};
use futures_util::{StreamExt, stream};
use ports::{
    contests::ContestCommit,
    failpoint::{self, Failpoint},
    funds::{Lookup, TransferOutcome, coins},
    leases::Lease,
    store::Committed,
};

/// The signups of one page of the close.
const PAGE: usize = 512;
/// What the findings are about that a freeze and a close raise: theirs alone to settle, so that no
/// comparison of rows and log, which may explain what they cannot, settles them.
pub(crate) const BOOKS: &str = "books";
pub(crate) const LEFT: &str = "left";
/// The lines of one page of the sheet.
const SHEET_PAGE: usize = 1_000;

/// A contest as it was read, and by whose right it is changed.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    /// The contest.
    pub(crate) contest: Contest,
    /// The store's time when it was read.
    pub(crate) now: UnixMillis,
    /// The lease under which its next step is taken; none where somebody asked for it.
    pub(crate) under: Option<Lease>,
}

/// What a step came to.
pub(crate) enum Stepped {
    /// The contest changed; go on with the next step.
    On,
    /// It was decided from what is true no longer; look again.
    Overtaken,
    /// Nothing changed that would let the contest go on.
    Stuck,
}

impl Contests {
    /// Takes the step that is due.
    pub(crate) async fn take(
        &self,
        turn: Turn,
        step: ContestStep,
        hold: &mut Option<Hold>,
    ) -> Result<Stepped, Failure> {
        match step {
            ContestStep::Rest(_) => Ok(Stepped::Stuck),
            ContestStep::Decide(fact) => self.save_contest(turn, fact, Vec::new()).await,
            ContestStep::OpenAccount => {
                self.open_account(&turn.contest.pool_account()).await?;
                failpoint::pass(Failpoint::AccountOpened);
                self.save_contest(turn, ContestFact::AccountOpened, Vec::new())
                    .await
            }
            ContestStep::SendLeg(leg) => self.send_leg(turn, leg).await,
            ContestStep::LookUpLeg(leg) => self.look_up_leg(turn, leg).await,
            ContestStep::CloseCredits => {
                let account = turn.contest.pool_account();
                if matches!(turn.contest.phase, Phase::Cancelling(..)) {
                    // Cancelled before the account was known to be open.
                    self.open_account(&account).await?;
                }
                let closed = within(self.ports.funds.close_credits(&account)).await?;
                failpoint::pass(Failpoint::CreditsClosed);
                self.save_contest(turn, ContestFact::CreditsClosed(closed), Vec::new())
                    .await
            }
            ContestStep::Sweep(states) => self.sweep_all(&turn.contest, states, hold).await,
            ContestStep::Freeze => self.freeze(turn).await,
            ContestStep::WriteSheet => self.write_sheet(turn).await,
            ContestStep::SealSheet => {
                let Some(digest) = self.digest(&turn.contest, hold).await? else {
                    return Ok(Stepped::Stuck);
                };
                failpoint::pass(Failpoint::SheetRead);
                let sealed = ContestFact::SheetSealed(digest);
                self.save_contest(turn, sealed, Vec::new()).await
            }
            ContestStep::Close => self.close(turn, hold).await,
        }
    }

    /// Applies a fact to a contest and saves it.
    pub(crate) async fn save_contest(
        &self,
        turn: Turn,
        fact: ContestFact,
        lines: Vec<SheetLine>,
    ) -> Result<Stepped, Failure> {
        let Turn {
            contest,
            now,
            under,
        } = turn;
        let expected = contest.version;
        let window = window(&fact, &contest);
        let before = contest.clone();
        let contest = contest.apply(fact, now)?;
        let notices = notices(&before, &contest);
        match self
            .ports
            .contests
            .commit(ContestCommit {
                expected,
                window,
                contest,
                lines,
                notices,
                under,
            })
            .await?
        {
            Committed::Applied => {
                failpoint::pass(Failpoint::ContestCommitted);
                Ok(Stepped::On)
            }
            Committed::GuardFailed => Ok(Stepped::Overtaken),
            // Another is at it now.
            Committed::Fenced => Ok(Stepped::Stuck),
            Committed::Missing => Err(Failure::Gone("the contest".to_owned())),
        }
    }

    async fn open_account(&self, account: &Account) -> Result<(), Failure> {
        Ok(within(self.ports.funds.open_account(account)).await?)
    }

    /// Sends one of the contest's own legs; its amount was stored before.
    async fn send_leg(&self, turn: Turn, leg: OwnLeg) -> Result<Stepped, Failure> {
        let contest = &turn.contest;
        let Some((order, content)) = contest.own_transfer(leg) else {
            return Ok(Stepped::Stuck);
        };
        for account in [&content.from, &content.to] {
            if matches!(account, Account::Series(_)) {
                self.open_account(account).await?;
            }
        }
        let subject = order.to_string();
        let receipt = match self.look_up(&[order]).await?.found.pop().flatten() {
            Some(found) if found.content == content => found.receipt,
            Some(found) => return Ok(self.leg_differs(contest, leg, &content, &found).await),
            None => match self
                .transfer(Leg::Own(leg, contest.id), content, None)
                .await
            {
                TransferOutcome::Applied(transfer) => transfer.receipt,
                TransferOutcome::Refused(reason) => {
                    let evidence = format!("{} was refused: {}", leg.name(), reason.name());
                    self.raise(FindingClass::Stuck, contest.id, subject, evidence)
                        .await;
                    return Ok(Stepped::Stuck);
                }
                // Looked up again at the next pass.
                TransferOutcome::Conflict | TransferOutcome::NotSent | TransferOutcome::Unknown => {
                    return Ok(Stepped::Stuck);
                }
            },
        };
        failpoint::pass(Failpoint::LegAnswered);
        self.withdraw(FindingClass::Stuck, contest.id, &subject)
            .await;
        self.save_contest(turn, ContestFact::LegApplied(leg, receipt), Vec::new())
            .await
    }

    /// Another transfer stands under the order of an own leg: only a person knows why.
    async fn leg_differs(
        &self,
        contest: &Contest,
        leg: OwnLeg,
        wanted: &Content,
        found: &Transfer,
    ) -> Stepped {
        let evidence = format!("{} moved {} instead of {wanted}", leg.name(), found.content);
        let subject = Leg::Own(leg, contest.id).order_id().to_string();
        self.raise(FindingClass::AmountDiffers, contest.id, subject, evidence)
            .await;
        Stepped::Stuck
    }

    /// Finds out whether an incoming leg of a cancelled contest ever applied.
    async fn look_up_leg(&self, turn: Turn, leg: OwnLeg) -> Result<Stepped, Failure> {
        let contest = &turn.contest;
        let Some((order, content)) = contest.own_transfer(leg) else {
            return Ok(Stepped::Stuck);
        };
        let Lookup {
            mut found,
            position,
            ..
        } = self.look_up(&[order]).await?;
        let closed = contest.phase.credits_closed();
        let fact = match found.pop().flatten() {
            Some(found) if found.content != content => {
                return Ok(self.leg_differs(contest, leg, &content, &found).await);
            }
            Some(transfer) => Some(ContestFact::LegApplied(leg, transfer.receipt)),
            None => closed
                .and_then(|closed| ProofOfAbsence::new(position, closed))
                .map(|proof| ContestFact::LegCannotArrive(leg, proof)),
        };
        match fact {
            Some(fact) => self.save_contest(turn, fact, Vec::new()).await,
            None => Ok(Stepped::Stuck),
        }
    }

    /// Compares books and balance and freezes the numbers.
    async fn freeze(&self, turn: Turn) -> Result<Stepped, Failure> {
        let contest = &turn.contest;
        let account = contest.pool_account();
        let census = self.ports.contests.census(contest.id).await?;
        let balance = within(self.ports.funds.balance(&account)).await?;
        let held =
            coins(&balance).ok_or_else(|| Failure::Books(format!("{account} is below zero")))?;
        match freeze(&contest.terms, &census, held, contest.stops.accepted) {
            Ok(totals) => {
                failpoint::pass(Failpoint::BooksBalanced);
                self.withdraw_orphans(contest.id).await?;
                self.withdraw(FindingClass::PoolDiffers, contest.id, BOOKS)
                    .await;
                self.save_contest(turn, ContestFact::Frozen(totals), Vec::new())
                    .await
            }
            Err(NotFrozen::Undecided(_)) => Ok(Stepped::Overtaken),
            // They are paid by the compensation, or parked, which a person is told.
            Err(NotFrozen::OnTheWay(_)) => Ok(Stepped::Stuck),
            Err(differs @ NotFrozen::BooksDiffer { .. }) => {
                if self.adopt_orphans(contest).await? > 0 {
                    return Ok(Stepped::On);
                }
                self.raise(
                    FindingClass::PoolDiffers,
                    contest.id,
                    BOOKS.to_owned(),
                    differs.to_string(),
                )
                .await;
                Ok(Stepped::Stuck)
            }
            Err(NotFrozen::Range(error)) => Err(Failure::Books(error.to_string())),
        }
    }

    /// Writes the next page of the settlement sheet.
    async fn write_sheet(&self, turn: Turn) -> Result<Stepped, Failure> {
        let contest = &turn.contest;
        let Phase::Listing(_, totals, _, cursor) = &contest.phase else {
            return Ok(Stepped::On);
        };
        let page = self
            .ports
            .contests
            .finishers(contest.id, cursor.after, SHEET_PAGE)
            .await?;
        if page.is_empty() {
            let evidence = format!(
                "{} of {} finishers found",
                cursor.lines,
                totals.get().finishers
            );
            self.raise(
                FindingClass::PoolDiffers,
                contest.id,
                "sheet".to_owned(),
                evidence.clone(),
            )
            .await;
            return Err(Failure::Books(evidence));
        }
        match sheet_page(totals, contest.terms.remainder, cursor, page) {
            Ok((lines, next)) => {
                self.save_contest(turn, ContestFact::SheetAdvanced(next), lines)
                    .await
            }
            Err(mismatch) => {
                self.raise(
                    FindingClass::PoolDiffers,
                    contest.id,
                    "sheet".to_owned(),
                    mismatch.to_string(),
                )
                .await;
                Err(Failure::Books(mismatch.to_string()))
            }
        }
    }

    /// Sends away what is left over; then the pool account must be at 0.
    async fn close(&self, turn: Turn, hold: &mut Option<Hold>) -> Result<Stepped, Failure> {
        let contest = &turn.contest;
        if let Phase::Claimable(settlement) = &contest.phase {
            let counts = self.ports.contests.counts(contest.id).await?;
            let of = |state| {
                counts
                    .iter()
                    .find(|count| count.state == state)
                    .map_or(Coins::ZERO, |count| count.prizes)
            };
            let shared = of(StateKind::Shared);
            let range = |error: domain::money::CoinsOutOfRange| Failure::Books(error.to_string());
            let Some(forfeited) = self.forfeited(contest, hold).await? else {
                return Ok(Stepped::Stuck);
            };
            // What a lost row should have got is not what nobody claimed.
            if shared.plus(forfeited).ok() != Some(settlement.prizes) {
                let evidence = format!(
                    "the sheet has prizes of {}, the rows show {shared} shared and {forfeited} forfeited",
                    settlement.prizes
                );
                let subject = "sheet".to_owned();
                self.raise(FindingClass::PoolDiffers, contest.id, subject, evidence)
                    .await;
                return Ok(Stepped::Stuck);
            }
            self.withdraw(FindingClass::PoolDiffers, contest.id, "sheet")
                .await;
            let rest = leftover(contest, &settlement.totals, shared, forfeited).map_err(range)?;
            let unfixed =
                |leg: OwnLeg, amount: Coins| !amount.is_zero() && !contest.legs.contains_key(&leg);
            if unfixed(OwnLeg::Sweep, rest.sweep) || unfixed(OwnLeg::Rollover, rest.rollover) {
                return self
                    .save_contest(turn, ContestFact::LeftoverFixed(rest), Vec::new())
                    .await;
            }
        }
        let account = contest.pool_account();
        let balance = within(self.ports.funds.balance(&account)).await?;
        if balance.amount == 0 {
            self.withdraw_orphans(contest.id).await?;
            self.withdraw(FindingClass::PoolDiffers, contest.id, LEFT)
                .await;
            return self
                .save_contest(turn, ContestFact::Emptied, Vec::new())
                .await;
        }
        if self.adopt_orphans(contest).await? > 0 {
            return Ok(Stepped::On);
        }
        let evidence = format!("everything is paid, but {} coins are left", balance.amount);
        self.raise(
            FindingClass::PoolDiffers,
            contest.id,
            LEFT.to_owned(),
            evidence,
        )
        .await;
        Ok(Stepped::Stuck)
    }

    /// The prizes on the sheet of those who forfeited them; none if another node is at the contest.
    async fn forfeited(
        &self,
        contest: &Contest,
        hold: &mut Option<Hold>,
    ) -> Result<Option<Coins>, Failure> {
        let states = [StateKind::Forfeited];
        let mut sum = Coins::ZERO;
        let mut after = None;
        loop {
            if !self.keep(hold).await? {
                return Ok(None);
            }
            let page = self
                .ports
                .signups
                .page(contest.id, &states, after, PAGE)
                .await?;
            let ids: Vec<_> = page.items.iter().map(|signup| signup.id).collect();
            let lines: Vec<_> = stream::iter(ids)
                .map(|id| self.ports.contests.sheet_line(contest.id, id))
                .buffer_unordered(PAGE)
                .collect()
                .await;
            for line in lines {
                let prize = line?.map_or(Coins::ZERO, |line| line.prize);
                let range =
                    |error: domain::money::CoinsOutOfRange| Failure::Books(error.to_string());
                sum = sum.plus(prize).map_err(range)?;
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(Some(sum)),
            }
        }
    }
}
