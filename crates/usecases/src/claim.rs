//! Claiming a prize.

use crate::{
    Contests, Failure,
    drive::{Prefetched, Until},
    read::Seen,
};
use domain::{
    contest::PhaseKind,
    ids::{ContestId, UserId},
    signup::{Claimant, State},
    switch::{Switch, SwitchedOff},
};
use futures_util::future::join;

/// What became of a claim.
#[derive(Clone, Debug)]
pub enum Claimed {
    /// The prize is paid.
    Yes(Seen),
    /// The prize is decided and being paid.
    Pending(Seen),
    /// The viewer has not completed the task.
    NotCompleted,
    /// Prizes are not decided yet.
    NotYet,
    /// The claim window has ended, or fees are given back instead.
    Closed,
    /// The viewer has not signed up.
    NotSignedUp,
    /// Nobody can begin to claim now.
    SwitchedOff(SwitchedOff),
    /// There is no such contest.
    NoContest,
}

impl Contests {
    /// Claims a viewer's prize: it is paid once, whoever calls however often.
    ///
    /// # Errors
    /// [`Failure`]; the outcome is then unknown to the caller and is finished by the compensation.
    pub async fn claim(&self, contest_id: ContestId, user: &UserId) -> Result<Claimed, Failure> {
        let claimed = self.claim_once(contest_id, user).await?;
        // The time to claim may have grown since, by what claims were switched off.
        if matches!(claimed, Claimed::Closed) && self.count_claims_off(contest_id).await? {
            return self.claim_once(contest_id, user).await;
        }
        Ok(claimed)
    }

    async fn claim_once(&self, contest_id: ContestId, user: &UserId) -> Result<Claimed, Failure> {
        // Asked together, answered together.
        let (contest, found) = join(
            self.visible(contest_id),
            self.ports.signups.find_to_claim(contest_id, user),
        )
        .await;
        let Some(contest) = contest? else {
            return Ok(Claimed::NoContest);
        };
        let Some((signup, line)) = found? else {
            return Ok(Claimed::NotSignedUp);
        };
        let is_claimable = contest.phase.kind() == PhaseKind::Claimable;
        let mut driven = self
            .drive(&contest, signup, None, Until::Rest, Prefetched::default())
            .await?;
        if is_claimable && matches!(driven.signup.state, State::Completed(..)) {
            if let Err(off) = self.is_on_for(Switch::Claims, &contest) {
                return Ok(Claimed::SwitchedOff(off));
            }
            let asked = self
                .draw_prize(&contest, &driven.signup, Claimant::Viewer, line)
                .await?;
            driven = self
                .drive(
                    &contest,
                    driven.signup,
                    Some(asked),
                    Until::Rest,
                    Prefetched::default(),
                )
                .await?;
        }
        let is_outside_window = driven.is_outside_window;
        let seen = Seen::new(contest, driven);
        Ok(match &seen.signup.state {
            State::Shared(..) => Claimed::Yes(seen),
            State::Claiming(..) => Claimed::Pending(seen),
            State::Completed(..) if is_outside_window => Claimed::Closed,
            State::Completed(..) => Claimed::NotYet,
            State::Forfeited(..) | State::Refunding(..) | State::Refunded(..) => Claimed::Closed,
            State::Initialized(_)
            | State::Paid(_)
            | State::InProgress(_)
            | State::Missed(..)
            | State::Expired => Claimed::NotCompleted,
        })
    }
}
