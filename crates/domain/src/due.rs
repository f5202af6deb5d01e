//! What is to be done next with a signup. Pure: the same answer for the request, the retry, the
//! settling and the compensation.

use crate::{
    contest::{Contest, PhaseKind},
    signup::{Claimant, Fact, FeeTry, PayTry, Share, Signup, State},
    terms::{ClaimMode, Unclaimed},
    time::{UnixMillis, Window},
};

/// The step that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: wait for the viewer, the clock, the contest or an operator.
    Rest,
    /// This follows from the contest alone; nobody has to be asked.
    Decide(Fact),
    /// Send the fee.
    ChargeFee,
    /// Ask the funds system for the fee's order.
    LookUpFee,
    /// Give the task to the task system.
    AssignTask,
    /// Ask the task system for the progress.
    ReadProgress,
    /// Take the finisher's line of the settlement sheet.
    DrawPrize,
    /// Send the prize or the refund.
    Pay,
    /// Ask the funds system for the order of the prize or the refund.
    LookUpPayment,
}

impl Step {
    /// True for the steps that move money. The row that says so is committed before they begin.
    #[must_use]
    pub const fn moves_money(&self) -> bool {
        matches!(self, Self::ChargeFee | Self::Pay)
    }
}

/// The step that is due for `signup` at `now`.
#[must_use]
pub fn due(signup: &Signup, contest: &Contest, now: UnixMillis) -> Step {
    let phase = contest.phase.kind();
    match &signup.state {
        State::Initialized(last_try) => charge(*last_try, contest, now),
        State::Paid(_) => match phase {
            PhaseKind::Preparing | PhaseKind::Funding => Step::Rest,
            PhaseKind::Draft | PhaseKind::Running | PhaseKind::Judging => Step::AssignTask,
            _ => give_back(contest),
        },
        State::InProgress(_) => match phase {
            PhaseKind::Preparing | PhaseKind::Funding => Step::Rest,
            PhaseKind::Draft | PhaseKind::Running | PhaseKind::Judging => Step::ReadProgress,
            _ => give_back(contest),
        },
        State::Completed(_, _, share) => completed(*share, contest, now),
        State::Claiming(_, _, _, prize, _) if prize.is_zero() => Step::Decide(Fact::NothingToPay),
        State::Claiming(.., payment) | State::Refunding(.., payment) => match payment.last_try {
            PayTry::NotSent if contest.stops.is_stopped() => Step::Rest,
            PayTry::NotSent => Step::Pay,
            PayTry::Unknown => Step::LookUpPayment,
            PayTry::Parked(_) => Step::Rest,
        },
        State::Missed(..) => match phase {
            PhaseKind::Cancelling | PhaseKind::Cancelled => give_back(contest),
            _ => Step::Rest,
        },
        State::Shared(..) | State::Forfeited(..) | State::Expired | State::Refunded(..) => {
            Step::Rest
        }
    }
}

/// A fee goes back only once no other can arrive.
fn give_back(contest: &Contest) -> Step {
    contest
        .phase
        .credits_closed()
        .map_or(Step::Rest, |_| Step::Decide(Fact::FeeReturned))
}

fn charge(last_try: FeeTry, contest: &Contest, now: UnixMillis) -> Step {
    if contest.phase.credits_closed().is_some() {
        // No fee can arrive any more: the funds system knows how this ends.
        return Step::LookUpFee;
    }
    match last_try {
        FeeTry::NotSent
            if contest.phase.kind() == PhaseKind::Draft && now < contest.terms.signup_closes_at =>
        {
            Step::ChargeFee
        }
        FeeTry::Unknown => Step::LookUpFee,
        FeeTry::NotSent | FeeTry::Refused(_) => Step::Rest,
    }
}

fn completed(share: Share, contest: &Contest, now: UnixMillis) -> Step {
    match (contest.phase.kind(), share) {
        (PhaseKind::Cancelling | PhaseKind::Cancelled, _) => give_back(contest),
        (PhaseKind::Judging, Share::Provisional) => Step::ReadProgress,
        (PhaseKind::Claimable, Share::Fixed(_)) => match house_payout(contest, now) {
            HousePayout::Pay => Step::DrawPrize,
            HousePayout::Forfeit => Step::Decide(Fact::ClaimsEnded),
            HousePayout::Wait => Step::Rest,
        },
        _ => Step::Rest,
    }
}

/// What the house does by itself with a prize that was not claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HousePayout {
    /// Pays it.
    Pay,
    /// Takes it back.
    Forfeit,
    /// Waits for the viewer.
    Wait,
}

/// What the house does at `now` with a prize of a claimable contest that was not claimed.
#[must_use]
pub fn house_payout(contest: &Contest, now: UnixMillis) -> HousePayout {
    if contest.stops.is_stopped() {
        return HousePayout::Wait;
    }
    let ended = contest.claims_end_at().is_some_and(|end| now >= end);
    match (contest.terms.claim_mode, contest.terms.unclaimed) {
        (ClaimMode::Automatic, _) => HousePayout::Pay,
        (ClaimMode::Manual, Unclaimed::Pay) if ended => HousePayout::Pay,
        (ClaimMode::Manual, Unclaimed::Platform | Unclaimed::Rollover) if ended => {
            HousePayout::Forfeit
        }
        (ClaimMode::Manual, _) => HousePayout::Wait,
    }
}

/// The stretch of database time in which `fact` may be written.
#[must_use]
pub fn window(fact: &Fact, contest: &Contest) -> Window {
    // While payouts are stopped the window has no end: viewers claim, and are paid later.
    let Some(end) = contest.claims_end_at() else {
        return Window::ALWAYS;
    };
    match fact {
        Fact::PrizeDrawn(_, Claimant::Viewer) => Window::until(end),
        Fact::PrizeDrawn(_, Claimant::House) if contest.terms.claim_mode == ClaimMode::Manual => {
            Window::from(end)
        }
        Fact::ClaimsEnded => Window::from(end),
        _ => Window::ALWAYS,
    }
}

/// The shortest wait before the due step is tried again by itself, in milliseconds.
pub const RETRY_MS_MIN: i64 = 2_000;
/// The longest wait before the due step is tried again by itself, in milliseconds.
pub const RETRY_MS_MAX: i64 = 60_000;

/// A step that so many tries in a row have found no answer for is stuck: the waits between them add up
/// to some five minutes.
pub const STUCK_TRIES: u32 = 10;

/// When the due step is to be taken up by the compensation, should nobody take it before: the
/// row's place in the queue. None where nothing is due without the viewer, the contest or an
/// operator. Waits double with every try without an answer and are spread by the signup's id, so
/// that an outage does not end in a herd (hazard H13).
#[must_use]
pub fn wake_at(signup: &Signup, now: UnixMillis) -> Option<UnixMillis> {
    let due = match &signup.state {
        State::Initialized(FeeTry::NotSent | FeeTry::Unknown) | State::Paid(_) => true,
        State::Claiming(.., payment) | State::Refunding(.., payment) => {
            !matches!(payment.last_try, PayTry::Parked(_))
        }
        State::Initialized(FeeTry::Refused(_))
        | State::InProgress(_)
        | State::Completed(..)
        | State::Shared(..)
        | State::Missed(..)
        | State::Forfeited(..)
        | State::Expired
        | State::Refunded(..) => false,
    };
    let wait = (RETRY_MS_MIN << signup.tries.min(5)).min(RETRY_MS_MAX);
    let spread = i64::from(signup.id.0.as_bytes()[15]) * wait / 1_024;
    due.then(|| now.plus(wait + spread))
}
