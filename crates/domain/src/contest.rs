//! One contest: its terms, its phase, and the coins that it moves in its own name.
//!
//! Draft → Open → Running → Settling → Claimable → Closed; up to the freeze also → Cancelling →
//! Cancelled. Open follows from the clock; every other phase is stored, changes only by
//! compare-and-swap and never goes back.

use crate::{
    assignment::Assignments,
    digest::Digest,
    draw::{Draw, Secret},
    ids::ContestId,
    money::{Coins, CoinsOutOfRange},
    order::{Account, Leg, OrderId, OwnLeg},
    payout::Rule,
    settlement::{Frozen, Leftover, SheetCursor, Totals},
    stops::Stops,
    switch::Stretch,
    terms::{NoWinner, Terms},
    time::UnixMillis,
    transfer::{Content, CreditsClosed, ProofOfAbsence, Receipt},
};
use std::collections::BTreeMap;

/// One run of the game.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// Its id.
    pub id: ContestId,
    /// What viewers read; the only thing here that may be edited.
    pub title: String,
    /// What was promised.
    pub terms: Terms,
    /// The variants of experiments that it got; what they change is in the terms already. Never changes.
    pub variants: Assignments,
    /// The secret of a lucky split; none for the other rules. Never changes.
    pub secret: Option<Secret>,
    /// Where it stands.
    pub phase: Phase,
    /// The coins it moves in its own name. An amount stands here before it is first sent.
    pub legs: Legs,
    /// Whether nothing may leave the pool because the books differ, and for how long that was so.
    pub stops: Stops,
    /// Counts the writes; a write names the version that it was decided on.
    pub version: u64,
    /// When it was created, database time.
    pub created_at: UnixMillis,
    /// When it was last written, database time.
    pub updated_at: UnixMillis,
}

/// The stored phase, with exactly the data that exists in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Created; its pool account is not open yet. Not visible to viewers.
    Preparing,
    /// Its guarantee and carry are being credited. Not visible to viewers.
    Funding,
    /// Visible. Open between `signup_opens_at` and `signup_closes_at`, by database time.
    Draft,
    /// Signups are over and no fee can arrive any more; tasks go on.
    Running(CreditsClosed),
    /// Every signup is being judged as of `tasks_end_at`; can still be cancelled.
    Judging(CreditsClosed),
    /// The numbers are frozen and the settlement sheet is being written.
    Listing(CreditsClosed, Frozen<Totals>, UnixMillis, SheetCursor),
    /// Prizes can be claimed or are being paid.
    Claimable(Settlement),
    /// Every coin has left the pool account.
    Closed(Settlement),
    /// Every fee is on its way back.
    Cancelling(CancelReason, Option<CreditsClosed>),
    /// Every coin has left the pool account.
    Cancelled(CancelReason, CreditsClosed),
}

/// How a contest was settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settlement {
    /// Where credits were closed.
    pub closed: CreditsClosed,
    /// The frozen numbers.
    pub totals: Frozen<Totals>,
    /// When they were frozen.
    pub frozen_at: UnixMillis,
    /// When the sheet was complete and claims opened.
    pub claimable_at: UnixMillis,
    /// The prizes on the sheet, in all.
    pub prizes: Coins,
    /// The digest of the sheet; none where it was settled before digests were kept.
    pub sheet: Option<Digest>,
}

crate::terms::choice! {
    /// Why a contest is cancelled.
    CancelReason {
        /// An operator asked for it.
        Operator = "operator",
        /// Nobody finished, and the terms give every fee back.
        NoWinners = "no_winners",
    }
}
crate::terms::choice! {
    /// A phase's name, as stored.
    PhaseKind {
        /// See [`Phase::Preparing`].
        Preparing = "preparing",
        /// See [`Phase::Funding`].
        Funding = "funding",
        /// See [`Phase::Draft`].
        Draft = "draft",
        /// See [`Phase::Running`].
        Running = "running",
        /// See [`Phase::Judging`].
        Judging = "judging",
        /// See [`Phase::Listing`].
        Listing = "listing",
        /// See [`Phase::Claimable`].
        Claimable = "claimable",
        /// See [`Phase::Closed`].
        Closed = "closed",
        /// See [`Phase::Cancelling`].
        Cancelling = "cancelling",
        /// See [`Phase::Cancelled`].
        Cancelled = "cancelled",
    }
}
crate::terms::choice! {
    /// A phase as people see it: without the steps in between, but with Open.
    PublicPhase {
        /// Signups have not opened.
        Draft = "draft",
        /// Signups are open.
        Open = "open",
        /// Signups are over, tasks go on.
        Running = "running",
        /// Finishers are being judged and counted.
        Settling = "settling",
        /// Prizes can be claimed.
        Claimable = "claimable",
        /// Over.
        Closed = "closed",
        /// Fees are on their way back.
        Cancelling = "cancelling",
        /// Over, every fee returned.
        Cancelled = "cancelled",
    }
}

/// The contest's own legs.
pub type Legs = BTreeMap<OwnLeg, LegState>;

/// One of the contest's own legs: an amount above 0, fixed before it is first sent, and what
/// became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LegState {
    /// How much; never changes.
    pub amount: Coins,
    /// What became of it.
    pub outcome: LegOutcome,
}

/// What became of an own leg.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LegOutcome {
    /// Not known to have applied: look it up, then send it.
    Pending,
    /// Applied.
    Applied(Receipt),
    /// It can never apply: not found after credits were closed.
    Void,
}

/// What the outside world answered, or somebody asked, about a contest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContestFact {
    /// The pool account is open.
    AccountOpened,
    /// An own leg applied.
    LegApplied(OwnLeg, Receipt),
    /// An incoming leg can never apply any more.
    LegCannotArrive(OwnLeg, ProofOfAbsence),
    /// Everything that has to be in the pool is there.
    Funded,
    /// The pool account takes no more credits.
    CreditsClosed(CreditsClosed),
    /// `tasks_end_at` and the grace are past.
    SettlingDue,
    /// The numbers are frozen.
    Frozen(Frozen<Totals>),
    /// The sheet has grown.
    SheetAdvanced(SheetCursor),
    /// The sheet is complete, and this is its digest.
    SheetSealed(Digest),
    /// No payment is open any more: what is left over has been computed from rows.
    LeftoverFixed(Leftover),
    /// What goes back to platform and series on a cancel has been computed.
    ReturnsFixed,
    /// The pool account is at 0, every leg has applied and nothing is open.
    Emptied,
    /// An operator cancels.
    CancelAsked,
    /// The books differ: nothing leaves the pool until a person has looked or they agree.
    PayoutsStopped,
    /// Payouts go on.
    PayoutsResumed,
    /// Claims are switched off, or were.
    ClaimsOff(Stretch),
    /// An operator has overridden that the pool holds so many coins more than the rows allow, below zero
    /// less.
    GapAccepted(i64),
}

/// A change that the phase does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fact} is not possible while the contest is {}", phase.name())]
pub struct PhaseError {
    /// The phase it is in.
    pub phase: PhaseKind,
    /// What was tried.
    pub fact: &'static str,
}

impl Phase {
    /// Its name.
    #[must_use]
    pub const fn kind(&self) -> PhaseKind {
        match self {
            Self::Preparing => PhaseKind::Preparing,
            Self::Funding => PhaseKind::Funding,
            Self::Draft => PhaseKind::Draft,
            Self::Running(..) => PhaseKind::Running,
            Self::Judging(..) => PhaseKind::Judging,
            Self::Listing(..) => PhaseKind::Listing,
            Self::Claimable(..) => PhaseKind::Claimable,
            Self::Closed(..) => PhaseKind::Closed,
            Self::Cancelling(..) => PhaseKind::Cancelling,
            Self::Cancelled(..) => PhaseKind::Cancelled,
        }
    }

    /// Where credits were closed, once they were.
    #[must_use]
    pub const fn credits_closed(&self) -> Option<CreditsClosed> {
        match self {
            Self::Preparing | Self::Funding | Self::Draft => None,
            Self::Running(closed) | Self::Judging(closed) | Self::Listing(closed, ..) => {
                Some(*closed)
            }
            Self::Claimable(settlement) | Self::Closed(settlement) => Some(settlement.closed),
            Self::Cancelling(_, closed) => *closed,
            Self::Cancelled(_, closed) => Some(*closed),
        }
    }

    /// The frozen numbers and when they were frozen, once they are.
    #[must_use]
    pub const fn frozen(&self) -> Option<(&Frozen<Totals>, UnixMillis)> {
        match self {
            Self::Listing(_, totals, frozen_at, _) => Some((totals, *frozen_at)),
            Self::Claimable(settlement) | Self::Closed(settlement) => {
                Some((&settlement.totals, settlement.frozen_at))
            }
            Self::Preparing
            | Self::Funding
            | Self::Draft
            | Self::Running(_)
            | Self::Judging(_)
            | Self::Cancelling(..)
            | Self::Cancelled(..) => None,
        }
    }
}

impl PhaseKind {
    /// True for the phases that follow this one directly (FORWARD_ONLY).
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Preparing => matches!(next, Self::Funding | Self::Cancelling),
            Self::Funding => matches!(next, Self::Draft | Self::Cancelling),
            Self::Draft => matches!(next, Self::Running | Self::Cancelling),
            Self::Running => matches!(next, Self::Judging | Self::Cancelling),
            Self::Judging => matches!(next, Self::Listing | Self::Cancelling),
            Self::Listing => matches!(next, Self::Claimable),
            Self::Claimable => matches!(next, Self::Closed),
            Self::Cancelling => matches!(next, Self::Cancelled),
            Self::Closed | Self::Cancelled => false,
        }
    }

    /// True once an event can no longer count: the contest is being judged, or was, or never
    /// will be.
    #[must_use]
    pub const fn is_past_events(self) -> bool {
        match self {
            Self::Preparing | Self::Funding | Self::Draft | Self::Running => false,
            Self::Judging
            | Self::Listing
            | Self::Claimable
            | Self::Closed
            | Self::Cancelling
            | Self::Cancelled => true,
        }
    }

    /// True where nothing is left to do.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Closed | Self::Cancelled)
    }
}

impl ContestFact {
    const fn name(&self) -> &'static str {
        match self {
            Self::AccountOpened => "account_opened",
            Self::LegApplied(..) => "leg_applied",
            Self::LegCannotArrive(..) => "leg_cannot_arrive",
            Self::Funded => "funded",
            Self::CreditsClosed(_) => "credits_closed",
            Self::SettlingDue => "settling_due",
            Self::Frozen(_) => "frozen",
            Self::SheetAdvanced(_) => "sheet_advanced",
            Self::SheetSealed(_) => "sheet_sealed",
            Self::LeftoverFixed(_) => "leftover_fixed",
            Self::ReturnsFixed => "returns_fixed",
            Self::Emptied => "emptied",
            Self::CancelAsked => "cancel_asked",
            Self::PayoutsStopped => "payouts_stopped",
            Self::PayoutsResumed => "payouts_resumed",
            Self::ClaimsOff(_) => "claims_off",
            Self::GapAccepted(_) => "gap_accepted",
        }
    }
}

impl Contest {
    /// A new contest; the legs that fund it are fixed with it. `secret` was drawn for it alone and
    /// is kept where the rule needs one.
    #[must_use]
    pub fn new(
        id: ContestId,
        title: String,
        terms: Terms,
        secret: Secret,
        now: UnixMillis,
    ) -> Self {
        let mut legs = Legs::new();
        fix(&mut legs, OwnLeg::Guarantee, terms.guaranteed_pool);
        fix(&mut legs, OwnLeg::Carry, terms.carry());
        Self {
            id,
            title,
            variants: Assignments::default(),
            secret: (terms.rule == Rule::Lucky).then_some(secret),
            terms,
            phase: Phase::Preparing,
            legs,
            stops: Stops::default(),
            version: 1,
            created_at: now,
            updated_at: now,
        }
    }

    /// The phase as people see it at `now`.
    #[must_use]
    pub fn public_phase(&self, now: UnixMillis) -> PublicPhase {
        match self.phase.kind() {
            PhaseKind::Preparing | PhaseKind::Funding => PublicPhase::Draft,
            PhaseKind::Draft if now >= self.terms.signup_opens_at => PublicPhase::Open,
            PhaseKind::Draft => PublicPhase::Draft,
            PhaseKind::Running => PublicPhase::Running,
            PhaseKind::Judging | PhaseKind::Listing => PublicPhase::Settling,
            PhaseKind::Claimable => PublicPhase::Claimable,
            PhaseKind::Closed => PublicPhase::Closed,
            PhaseKind::Cancelling => PublicPhase::Cancelling,
            PhaseKind::Cancelled => PublicPhase::Cancelled,
        }
    }

    /// What a lucky split is drawn from, once no fee can arrive any more.
    #[must_use]
    pub fn draw(&self) -> Option<Draw> {
        let closed = self.phase.credits_closed()?;
        Some(Draw {
            secret: self.secret?,
            position: closed.position,
        })
    }

    /// The pool account.
    #[must_use]
    pub const fn pool_account(&self) -> Account {
        Account::Pool(self.id)
    }

    /// The order and content of an own leg; none if the leg has no amount, or is a series' leg
    /// without a series.
    #[must_use]
    pub fn own_transfer(&self, leg: OwnLeg) -> Option<(OrderId, Content)> {
        let amount = self.legs.get(&leg)?.amount;
        let other = leg.counterparty(self.terms.series.as_ref().map(|series| &series.series_id))?;
        let pool = self.pool_account();
        let (from, to) = if leg.is_incoming() {
            (other, pool)
        } else {
            (pool, other)
        };
        Some((
            Leg::Own(leg, self.id).order_id(),
            Content { from, to, amount },
        ))
    }

    /// What `fact` makes of the contest. `now` is database time.
    ///
    /// # Errors
    /// [`PhaseError`] for a fact that the phase does not allow; the contest is unchanged.
    pub fn apply(self, fact: ContestFact, now: UnixMillis) -> Result<Self, PhaseError> {
        let impossible = PhaseError {
            phase: self.phase.kind(),
            fact: fact.name(),
        };
        if let ContestFact::PayoutsStopped
        | ContestFact::PayoutsResumed
        | ContestFact::ClaimsOff(_)
        | ContestFact::GapAccepted(_) = fact
        {
            return self.stopped(fact, now).ok_or(impossible);
        }
        let Self {
            mut legs, phase, ..
        } = self;
        let phase = match (phase, fact) {
            (phase, ContestFact::LegApplied(leg, receipt)) => {
                settle(&mut legs, leg, LegOutcome::Applied(receipt)).ok_or(impossible)?;
                phase
            }
            // The proof is about credits to the pool; it says nothing about what leaves it.
            (phase @ Phase::Cancelling(_, Some(_)), ContestFact::LegCannotArrive(leg, _))
                if leg.is_incoming() =>
            {
                settle(&mut legs, leg, LegOutcome::Void).ok_or(impossible)?;
                phase
            }
            (Phase::Preparing, ContestFact::AccountOpened) => Phase::Funding,
            (Phase::Funding, ContestFact::Funded) if pending(&legs).is_none() => Phase::Draft,
            (Phase::Draft, ContestFact::CreditsClosed(closed)) => Phase::Running(closed),
            (Phase::Cancelling(reason, None), ContestFact::CreditsClosed(closed)) => {
                Phase::Cancelling(reason, Some(closed))
            }
            (Phase::Running(closed), ContestFact::SettlingDue) => Phase::Judging(closed),
            (Phase::Judging(closed), ContestFact::Frozen(totals)) => {
                frozen(&self.terms, &mut legs, closed, totals, now)
            }
            (Phase::Listing(closed, totals, frozen_at, _), ContestFact::SheetAdvanced(cursor)) => {
                Phase::Listing(closed, totals, frozen_at, cursor)
            }
            (
                Phase::Listing(closed, totals, frozen_at, cursor),
                ContestFact::SheetSealed(sheet),
            ) if cursor.is_complete(&totals) => Phase::Claimable(Settlement {
                closed,
                totals,
                frozen_at,
                claimable_at: now,
                prizes: cursor.prizes,
                sheet: Some(sheet),
            }),
            (phase @ Phase::Claimable(_), ContestFact::LeftoverFixed(leftover)) => {
                fix(&mut legs, OwnLeg::Sweep, leftover.sweep);
                fix(&mut legs, OwnLeg::Rollover, leftover.rollover);
                phase
            }
            (phase @ Phase::Cancelling(_, Some(_)), ContestFact::ReturnsFixed) => {
                let returned = |leg| applied_amount(&legs, leg);
                let (guarantee, carry) = (returned(OwnLeg::Guarantee), returned(OwnLeg::Carry));
                fix(&mut legs, OwnLeg::GuaranteeReturn, guarantee);
                fix(&mut legs, OwnLeg::Rollover, carry);
                fix(&mut legs, OwnLeg::Sweep, self.stops.excess());
                phase
            }
            (Phase::Claimable(settlement), ContestFact::Emptied) if pending(&legs).is_none() => {
                Phase::Closed(settlement)
            }
            (Phase::Cancelling(reason, Some(closed)), ContestFact::Emptied)
                if pending(&legs).is_none() =>
            {
                Phase::Cancelled(reason, closed)
            }
            (Phase::Preparing | Phase::Funding | Phase::Draft, ContestFact::CancelAsked) => {
                Phase::Cancelling(CancelReason::Operator, None)
            }
            (Phase::Running(closed) | Phase::Judging(closed), ContestFact::CancelAsked) => {
                Phase::Cancelling(CancelReason::Operator, Some(closed))
            }
            _ => return Err(impossible),
        };
        Ok(Self {
            phase,
            legs,
            updated_at: now,
            ..self
        })
    }
}

/// The phase after the freeze. Nobody to pay: fees go back, or the sheet has no line.
fn frozen(
    terms: &Terms,
    legs: &mut Legs,
    closed: CreditsClosed,
    totals: Frozen<Totals>,
    now: UnixMillis,
) -> Phase {
    let numbers = totals.get();
    if numbers.finishers == 0 && terms.no_winner == NoWinner::Refund {
        return Phase::Cancelling(CancelReason::NoWinners, Some(closed));
    }
    fix(legs, OwnLeg::Rake, numbers.rake);
    fix(legs, OwnLeg::GuaranteeReturn, numbers.guarantee_return);
    Phase::Listing(closed, totals, now, SheetCursor::START)
}

/// Fixes the amount of a leg, once; nothing is sent for 0.
fn fix(legs: &mut Legs, leg: OwnLeg, amount: Coins) {
    if !amount.is_zero() {
        legs.entry(leg).or_insert(LegState {
            amount,
            outcome: LegOutcome::Pending,
        });
    }
}

/// Records the outcome of a pending leg; none if there is no such leg or it has another outcome.
fn settle(legs: &mut Legs, leg: OwnLeg, outcome: LegOutcome) -> Option<()> {
    let state = legs.get_mut(&leg)?;
    match state.outcome {
        LegOutcome::Pending => state.outcome = outcome,
        known if known == outcome => {}
        LegOutcome::Applied(_) | LegOutcome::Void => return None,
    }
    Some(())
}

/// The first leg whose outcome is not known.
#[must_use]
pub fn pending(legs: &Legs) -> Option<OwnLeg> {
    legs.iter()
        .find(|(_, state)| state.outcome == LegOutcome::Pending)
        .map(|(leg, _)| *leg)
}

/// What moved on a leg: its amount if it applied, else 0.
#[must_use]
pub fn applied_amount(legs: &Legs, leg: OwnLeg) -> Coins {
    legs.get(&leg)
        .filter(|state| matches!(state.outcome, LegOutcome::Applied(_)))
        .map_or(Coins::ZERO, |state| state.amount)
}

/// What the pool account must hold at the end: nothing. What leaves a pool besides refunds.
///
/// # Errors
/// [`CoinsOutOfRange`] when the amounts do not fit.
pub fn own_outgoings(legs: &Legs) -> Result<Coins, CoinsOutOfRange> {
    Coins::sum(
        OwnLeg::ALL
            .into_iter()
            .filter(|leg| !leg.is_incoming())
            .map(|leg| applied_amount(legs, leg)),
    )
}
