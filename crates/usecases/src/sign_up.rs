//! Paying to sign up.

use crate::{
    Contests, Failure,
    drive::{Prefetched, Until},
    read::Seen,
};
use domain::{
    contest::{Contest, PhaseKind},
    due::wake_at,
    ids::{ContestId, SignupId, UserId},
    money::Coins,
    order::{Account, Leg},
    signup::{Fact, FeeTry, Signup, State, StateKind},
    terms::TierError,
    transfer::{Refusal, Transfer},
};
use ports::{
    failpoint::{self, Failpoint},
    signups::Enrolled,
};

/// What became of a signup.
#[derive(Clone, Debug)]
pub enum SignedUp {
    /// The fee is paid.
    Yes(Seen),
    /// Nobody knows yet whether the fee was paid; it is being looked after.
    Pending(Seen),
    /// The viewer has too few coins, or no account. They may call again.
    InsufficientFunds(Seen),
    /// The pool account can hold no more.
    PoolFull(Seen),
    /// Signups are not open.
    Closed,
    /// The viewer chose another fee tier the first time.
    TierFixed(Coins),
    /// What was chosen is not among the terms.
    NoTier(TierError),
    /// There is no such contest.
    NoContest,
}

impl Contests {
    /// Signs a viewer up: at most one row and one charge, whoever calls however often. The fee is
    /// fixed by the first call; `tier` is the choice where the terms offer one.
    ///
    /// # Errors
    /// [`Failure`]; the outcome is then unknown to the caller and is finished by the compensation.
    pub async fn sign_up(
        &self,
        contest_id: ContestId,
        user: &UserId,
        tier: Option<Coins>,
    ) -> Result<SignedUp, Failure> {
        let Some(contest) = self.visible(contest_id).await? else {
            return Ok(SignedUp::NoContest);
        };
        let now = self.ports.clock.now();
        let fee = match contest.terms.fee_of(tier) {
            Ok(fee) => fee,
            Err(error) => return Ok(SignedUp::NoTier(error)),
        };
        let id = SignupId(self.ports.ids.next());
        // Where the fee is a choice, a lost row's fee may have been another one. What was paid
        // fixes it, as the row would have.
        let paid = match contest.terms.fee_tiers.is_empty() {
            true => None,
            false => self.paid_before(&contest, user).await?,
        };
        let signup = Signup::new(id, contest_id, user.clone(), paid.unwrap_or(fee), now);
        let wake = wake_at(&signup, now);
        let driven = match self.ports.signups.enroll(&signup, wake).await? {
            Enrolled::Inserted => {
                failpoint::pass(Failpoint::Enrolled);
                self.drive(
                    &contest,
                    signup,
                    None,
                    Until::Enrolled,
                    Prefetched::default(),
                )
                .await?
            }
            Enrolled::Existing(existing) if existing.fee != fee => {
                return Ok(SignedUp::TierFixed(existing.fee));
            }
            Enrolled::Existing(existing) => {
                let asks = existing.state.kind() == StateKind::Initialized
                    && contest.phase.kind() == PhaseKind::Draft
                    && now < contest.terms.signup_closes_at;
                let asked = asks.then_some(Fact::SignUpAsked);
                self.drive(
                    &contest,
                    existing,
                    asked,
                    Until::Rest,
                    Prefetched::default(),
                )
                .await?
            }
            Enrolled::NotOpen => return Ok(SignedUp::Closed),
            Enrolled::NoContest => return Ok(SignedUp::NoContest),
        };
        if let Some(paid) = paid.filter(|paid| *paid != fee) {
            return Ok(SignedUp::TierFixed(paid));
        }
        let is_over =
            contest.phase.kind() != PhaseKind::Draft || now >= contest.terms.signup_closes_at;
        let seen = Seen::new(contest, driven);
        Ok(match &seen.signup.state {
            State::Initialized(FeeTry::Refused(reason)) if !is_over => match reason {
                Refusal::InsufficientBalance | Refusal::UnknownAccount | Refusal::AccountClosed => {
                    SignedUp::InsufficientFunds(seen)
                }
                Refusal::BalanceLimit => SignedUp::PoolFull(seen),
                Refusal::ClosedToCredits | Refusal::PastNotAfter => SignedUp::Closed,
            },
            // Until credits are closed no "not found" is final, and after that the row says how
            // it ended.
            State::Initialized(_) => SignedUp::Pending(seen),
            State::Expired => SignedUp::Closed,
            State::Paid(_)
            | State::InProgress(_)
            | State::Completed(..)
            | State::Claiming(..)
            | State::Shared(..)
            | State::Missed(..)
            | State::Forfeited(..)
            | State::Refunding(..)
            | State::Refunded(..) => SignedUp::Yes(seen),
        })
    }

    /// The fee that a viewer without a row has paid all the same: the row was lost.
    async fn paid_before(
        &self,
        contest: &Contest,
        user: &UserId,
    ) -> Result<Option<Coins>, Failure> {
        if self.ports.signups.find(contest.id, user).await?.is_some() {
            return Ok(None);
        }
        let order = Leg::Fee(contest.id, user.clone()).order_id();
        let found = self.look_up(&[order]).await?.found.pop().flatten();
        let is_fee = |transfer: &Transfer| {
            let content = &transfer.content;
            content.from == Account::User(user.clone()) && content.to == contest.pool_account()
        };
        Ok(found.filter(is_fee).map(|transfer| transfer.content.amount))
    }
}
