//! What somebody outside is told when it happens.

use crate::contest::{Contest, PhaseKind};

crate::terms::choice! {
    /// What is told.
    NoticeKind {
        /// A difference was found that nobody knew of: an alarm.
        FindingRaised = "finding.raised",
        /// It was settled: it is no longer true, or somebody has resolved it.
        FindingSettled = "finding.settled",
        /// More was to be repaired than one run may: an alarm.
        RepairsStopped = "reconciliation.repairs_stopped",
        /// Nothing leaves the pool of a contest any more: an alarm.
        PayoutsStopped = "contest.payouts_stopped",
        /// Payouts go on.
        PayoutsResumed = "contest.payouts_resumed",
        /// An operator has overridden that the pool holds more than the rows allow, or less.
        GapAccepted = "contest.gap_accepted",
        /// Prizes can be claimed, or are being paid.
        Claimable = "contest.claimable",
        /// Every coin of a contest has left its pool.
        Closed = "contest.closed",
        /// Every fee of a cancelled contest went back.
        Cancelled = "contest.cancelled",
    }
}

impl NoticeKind {
    /// True where a person has to look.
    #[must_use]
    pub const fn is_alarm(self) -> bool {
        matches!(
            self,
            Self::FindingRaised | Self::RepairsStopped | Self::PayoutsStopped
        )
    }
}

/// What is told when a contest changes.
#[must_use]
pub fn notices(before: &Contest, after: &Contest) -> Vec<NoticeKind> {
    let (from, to) = (before.phase.kind(), after.phase.kind());
    let entered = match to {
        PhaseKind::Claimable => Some(NoticeKind::Claimable),
        PhaseKind::Closed => Some(NoticeKind::Closed),
        PhaseKind::Cancelled => Some(NoticeKind::Cancelled),
        _ => None,
    };
    let stopped = match (before.stops.is_stopped(), after.stops.is_stopped()) {
        (false, true) => Some(NoticeKind::PayoutsStopped),
        (true, false) => Some(NoticeKind::PayoutsResumed),
        _ => None,
    };
    let accepted =
        (before.stops.accepted != after.stops.accepted).then_some(NoticeKind::GapAccepted);
    entered
        .filter(|_| from != to)
        .into_iter()
        .chain(stopped)
        .chain(accepted)
        .collect()
}
