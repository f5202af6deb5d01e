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
    switch::{Switch, SwitchedOff},
    terms::TierError,
    time::UnixMillis,
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
    /// Nobody new can sign up now.
    SwitchedOff(SwitchedOff),
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
        if let Err(off) = self.is_on_for(Switch::Signups, &contest) {
            return self.finish_begun(contest, user, fee, off).await;
        }
        let id = SignupId(self.ports.ids.next());
        // Where the fee is a choice, a lost row's fee may have been another one. What was paid
        // fixes it, as the row would have.
        let paid = match contest.terms.fee_tiers.is_empty() {
            true => None,
            false => self.paid_before(&contest, user).await?,
        };
        let mut signup = Signup::new(id, contest_id, user.clone(), paid.unwrap_or(fee), now);
        signup.variants = self.assigned_to(&contest, user);
        if is_open(&contest, now) {
            self.expose_signup(&contest, &signup).await;
        }
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
                let asks =
                    existing.state.kind() == StateKind::Initialized && is_open(&contest, now);
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
        Ok(signed_up(Seen::new(contest, driven), now))
    }

    /// What becomes of a call while nobody new can sign up: whoever has begun is gone on with, and whoever has
    /// not, or was refused and asks again, does not begin.
    async fn finish_begun(
        &self,
        contest: Contest,
        user: &UserId,
        fee: Coins,
        off: SwitchedOff,
    ) -> Result<SignedUp, Failure> {
        let Some(begun) = self.ports.signups.find(contest.id, user).await? else {
            return Ok(if is_open(&contest, self.ports.clock.now()) {
                SignedUp::SwitchedOff(off)
            } else {
                SignedUp::Closed
            });
        };
        if begun.fee != fee {
            return Ok(SignedUp::TierFixed(begun.fee));
        }
        let now = self.ports.clock.now();
        let (until, given) = (Until::Rest, Prefetched::default());
        let driven = self.drive(&contest, begun, None, until, given).await?;
        if matches!(driven.signup.state, State::Initialized(FeeTry::Refused(_)))
            && is_open(&contest, now)
        {
            return Ok(SignedUp::SwitchedOff(off));
        }
        Ok(signed_up(Seen::new(contest, driven), now))
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

/// True while a viewer may still ask to be charged.
fn is_open(contest: &Contest, now: UnixMillis) -> bool {
    contest.phase.kind() == PhaseKind::Draft && now < contest.terms.signup_closes_at
}

/// What a signup that was driven means to who asked for it.
fn signed_up(seen: Seen, now: UnixMillis) -> SignedUp {
    let is_over = !is_open(&seen.contest, now);
    match &seen.signup.state {
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
    }
}
