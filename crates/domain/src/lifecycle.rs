//! What is to be done next with a contest: opening, settling, paying out, closing, cancelling.
//! Every step is resumable at any point, by any node.

use crate::{
    contest::{Contest, ContestFact, Phase, applied_amount, pending},
    due::{HousePayout, house_payout},
    order::OwnLeg,
    signup::StateKind,
    time::{UnixMillis, Window},
};

/// In which states a contest has signups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Presence {
    /// One bit for each [`StateKind`], in the order of [`StateKind::ALL`].
    bits: u16,
    /// Completed ones whose weight is not fixed.
    pub provisional: bool,
}

impl Presence {
    /// The presence of signups in `states`.
    #[must_use]
    pub fn of(states: impl IntoIterator<Item = StateKind>, provisional: bool) -> Self {
        let bits = states
            .into_iter()
            .fold(0, |bits, state| bits | 1 << (state as u16));
        Self { bits, provisional }
    }

    /// True if there is a signup in one of `states`.
    #[must_use]
    pub fn any(self, states: &[StateKind]) -> bool {
        states
            .iter()
            .any(|state| self.bits & (1 << (*state as u16)) != 0)
    }
}

/// The step that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContestStep {
    /// Nothing before this time, or before somebody acts.
    Rest(Option<UnixMillis>),
    /// This follows from the contest alone.
    Decide(ContestFact),
    /// Open the pool account.
    OpenAccount,
    /// Look an own leg up; if it is not there, send it.
    SendLeg(OwnLeg),
    /// Look an incoming leg up, credits being closed.
    LookUpLeg(OwnLeg),
    /// Close the pool account to credits.
    CloseCredits,
    /// Drive every signup in one of these states.
    Sweep(&'static [StateKind]),
    /// Compare books and balance, and freeze the numbers.
    Freeze,
    /// Write the next page of the settlement sheet.
    WriteSheet,
    /// Read the complete sheet once more and keep its digest.
    SealSheet,
    /// Compute what is left over from rows and fix the legs that take it away; when they have,
    /// see that the pool account is at 0.
    Close,
}

const UNCHARGED: &[StateKind] = &[StateKind::Initialized, StateKind::Paid];
const UNDECIDED: &[StateKind] = &[
    StateKind::Initialized,
    StateKind::Paid,
    StateKind::InProgress,
    StateKind::Completed,
];
const COMPLETED: &[StateKind] = &[StateKind::Completed];
const REFUNDABLE: &[StateKind] = &[
    StateKind::Initialized,
    StateKind::Paid,
    StateKind::InProgress,
    StateKind::Completed,
    StateKind::Missed,
];

/// The step that is due for `contest` at `now`, database time.
#[must_use]
pub fn due(contest: &Contest, presence: Presence, now: UnixMillis) -> ContestStep {
    let terms = &contest.terms;
    match &contest.phase {
        Phase::Preparing => ContestStep::OpenAccount,
        Phase::Funding => match pending(&contest.legs) {
            Some(leg) => ContestStep::SendLeg(leg),
            None => ContestStep::Decide(ContestFact::Funded),
        },
        Phase::Draft if now >= terms.signup_closes_at => ContestStep::CloseCredits,
        Phase::Draft => ContestStep::Rest(Some(terms.signup_closes_at)),
        Phase::Running(_) if now >= terms.settles_at() => {
            ContestStep::Decide(ContestFact::SettlingDue)
        }
        Phase::Running(_) if presence.any(UNCHARGED) => ContestStep::Sweep(UNCHARGED),
        Phase::Running(_) => ContestStep::Rest(Some(terms.settles_at())),
        Phase::Judging(_) => {
            let undecided = presence.any(&UNDECIDED[..3]) || presence.provisional;
            if undecided {
                ContestStep::Sweep(UNDECIDED)
            } else if contest.stops.is_stopped() {
                ContestStep::Rest(None)
            } else {
                ContestStep::Freeze
            }
        }
        Phase::Listing(_, totals, _, cursor) if cursor.is_complete(totals) => {
            ContestStep::SealSheet
        }
        Phase::Listing(..) => ContestStep::WriteSheet,
        Phase::Claimable(_) => claimable(contest, presence, now),
        Phase::Cancelling(_, None) => ContestStep::CloseCredits,
        Phase::Cancelling(_, Some(_)) => cancelling(contest, presence),
        Phase::Closed(_) | Phase::Cancelled(..) => ContestStep::Rest(None),
    }
}

fn claimable(contest: &Contest, presence: Presence, now: UnixMillis) -> ContestStep {
    // People first, then the house.
    if presence.any(COMPLETED) && house_payout(contest, now) != HousePayout::Wait {
        return ContestStep::Sweep(COMPLETED);
    }
    if contest.stops.is_stopped() {
        return ContestStep::Rest(None);
    }
    if let Some(leg) = pending(&contest.legs) {
        return ContestStep::SendLeg(leg);
    }
    if presence.any(&[
        StateKind::Completed,
        StateKind::Claiming,
        StateKind::Refunding,
    ]) {
        return ContestStep::Rest(contest.claims_end_at().filter(|end| *end > now));
    }
    ContestStep::Close
}

fn cancelling(contest: &Contest, presence: Presence) -> ContestStep {
    match pending(&contest.legs) {
        Some(leg) if leg.is_incoming() => return ContestStep::LookUpLeg(leg),
        _ => {}
    }
    if presence.any(REFUNDABLE) {
        return ContestStep::Sweep(REFUNDABLE);
    }
    if presence.any(&[StateKind::Refunding]) || contest.stops.is_stopped() {
        return ContestStep::Rest(None);
    }
    let to_return = [
        (OwnLeg::Guarantee, OwnLeg::GuaranteeReturn),
        (OwnLeg::Carry, OwnLeg::Rollover),
    ]
    .into_iter()
    .any(|(came, back)| {
        !applied_amount(&contest.legs, came).is_zero() && !contest.legs.contains_key(&back)
    }) || !contest.stops.excess().is_zero()
        && !contest.legs.contains_key(&OwnLeg::Sweep);
    if to_return {
        return ContestStep::Decide(ContestFact::ReturnsFixed);
    }
    pending(&contest.legs).map_or(ContestStep::Close, ContestStep::SendLeg)
}

/// The stretch of database time in which `fact` may be written.
#[must_use]
pub fn window(fact: &ContestFact, contest: &Contest) -> Window {
    match (fact, &contest.phase) {
        (ContestFact::CreditsClosed(_), Phase::Draft) => {
            Window::from(contest.terms.signup_closes_at)
        }
        (ContestFact::SettlingDue, _) => Window::from(contest.terms.settles_at()),
        _ => Window::ALWAYS,
    }
}

/// From when on the contest has to be looked at: its place in the queue. None at the end.
#[must_use]
pub fn wake_at(contest: &Contest) -> Option<UnixMillis> {
    match &contest.phase {
        Phase::Draft => Some(contest.terms.signup_closes_at),
        Phase::Closed(_) | Phase::Cancelled(..) => None,
        Phase::Preparing
        | Phase::Funding
        | Phase::Running(_)
        | Phase::Judging(_)
        | Phase::Listing(..)
        | Phase::Claimable(_)
        | Phase::Cancelling(..) => Some(contest.created_at),
    }
}
