//! What operators do: create, cancel, settle, and decide about parked payments.

use crate::{
    Contests, Failure, Pass,
    drive::{Prefetched, Until},
    read::Seen,
    settle::Turn,
};
use domain::{
    contest::{Contest, ContestFact, PhaseKind, PublicPhase},
    ids::{ContestId, SignupId},
    signup::{Fact, PayTry, State},
    terms::Terms,
    time::UnixMillis,
};
use ports::{
    contests::{CreationKey, Inserted},
    failpoint::{self, Failpoint},
};

/// The most times that a change is tried again because somebody else was faster.
const TRIES_MAX: usize = 16;

/// What became of a creation.
#[derive(Clone, Debug)]
pub enum Created {
    /// The contest, new or made by an earlier call with the same key. It is visible once its
    /// account is open and its guarantee has been credited; if the funds system does not answer
    /// now, that is done later.
    Yes(Contest),
    /// The key stands for this contest, whose title or terms are others.
    KeyTaken(ContestId),
    /// Its signups would have closed already.
    TooLate,
    /// It would last longer than so many days, the longest that what is shown of one is kept.
    TooLong(u32),
}

/// What became of a cancellation.
#[derive(Clone, Debug)]
pub enum Cancelled {
    /// It is being cancelled, or has been.
    Yes(Contest),
    /// Its numbers are frozen: it is too late.
    TooLate(PublicPhase),
    /// There is no such contest.
    NoContest,
}

/// What became of asking to settle.
#[derive(Clone, Debug)]
pub enum Settled {
    /// What was due has been done, as far as the outside world answers.
    Yes(Contest),
    /// Nothing is due before this time.
    NotDue(UnixMillis),
    /// There is no such contest.
    NoContest,
}

/// What became of a parked payment.
#[derive(Clone, Debug)]
pub enum ParkedOutcome {
    /// It was tried again; the signup says how it ended.
    Tried(Seen),
    /// It is not parked.
    NotParked,
    /// There is no such signup.
    NoSignup,
}

impl Contests {
    /// Creates a contest, opens its pool account and credits its guarantee. With a key, a repeat
    /// answers the contest that the first call made.
    ///
    /// # Errors
    /// [`Failure::Store`] when it could not be stored; without a key there is then no contest, or
    /// one that nobody knows the id of and that harms nobody.
    pub async fn create(
        &self,
        title: String,
        terms: Terms,
        key: Option<CreationKey>,
    ) -> Result<Created, Failure> {
        let now = self.ports.contests.now().await?;
        if let Some(shown) = &self.ports.shown
            && let Err(days) = shown.lifetimes.check(&terms, now)
        {
            return Ok(Created::TooLong(days));
        }
        let (id, secret) = (ContestId(self.ports.ids.next()), self.ports.ids.secret());
        let wished = terms;
        let (variants, terms) = self.assigned(id, wished.clone(), now);
        let mut contest = Contest::new(id, title, terms, secret, now);
        contest.variants = variants;
        match key {
            None if now >= contest.terms.signup_closes_at => return Ok(Created::TooLate),
            None => {
                self.ports.contests.insert(&contest).await?;
            }
            Some(key) => match self.ports.contests.insert_once(&contest, &key).await? {
                Inserted::New => {}
                Inserted::TooLate => return Ok(Created::TooLate),
                Inserted::Known(known) => {
                    let Some(first) = self.ports.contests.get(known).await? else {
                        return Err(Failure::Gone(known.to_string()));
                    };
                    // As the first call wished it: its variants are its own.
                    let then = self.as_assigned(&wished, &first.variants).await?;
                    if first.title != contest.title || then.as_ref() != Some(&first.terms) {
                        return Ok(Created::KeyTaken(known));
                    }
                    contest = first;
                }
            },
        }
        failpoint::pass(Failpoint::ContestInserted);
        self.expose_contest(&contest).await;
        if let Err(error) = self.run_contest(contest.id).await {
            tracing::warn!(
                contest.id = %contest.id, error = &error as &dyn std::error::Error,
                "a new contest could not be opened yet; it is tried again"
            );
        }
        let contest = self
            .ports
            .contests
            .get(contest.id)
            .await?
            .unwrap_or(contest);
        Ok(Created::Yes(contest))
    }

    /// Cancels a contest, if its numbers are not frozen. Every fee goes back.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn cancel(&self, id: ContestId) -> Result<Cancelled, Failure> {
        for _ in 0..TRIES_MAX {
            let Some(contest) = self.ports.contests.get(id).await? else {
                return Ok(Cancelled::NoContest);
            };
            let now = self.ports.contests.now().await?;
            match contest.phase.kind() {
                PhaseKind::Cancelling | PhaseKind::Cancelled => return Ok(Cancelled::Yes(contest)),
                PhaseKind::Listing | PhaseKind::Claimable | PhaseKind::Closed => {
                    return Ok(Cancelled::TooLate(contest.public_phase(now)));
                }
                PhaseKind::Preparing
                | PhaseKind::Funding
                | PhaseKind::Draft
                | PhaseKind::Running
                | PhaseKind::Judging => {}
            }
            let turn = Turn {
                contest,
                now,
                under: None,
            };
            self.save_contest(turn, ContestFact::CancelAsked, Vec::new())
                .await?;
        }
        Err(Failure::Contended(id.to_string()))
    }

    /// Does at once what the loops would do when due.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn settle(&self, id: ContestId) -> Result<Settled, Failure> {
        let Some(contest) = self.ports.contests.get(id).await? else {
            return Ok(Settled::NoContest);
        };
        let now = self.ports.contests.now().await?;
        let is_before = matches!(
            contest.phase.kind(),
            PhaseKind::Preparing | PhaseKind::Funding | PhaseKind::Draft | PhaseKind::Running
        );
        if is_before && now < contest.terms.settles_at() {
            return Ok(Settled::NotDue(contest.terms.settles_at()));
        }
        let _: Pass = self.run_contest(id).await?;
        Ok(self
            .ports
            .contests
            .get(id)
            .await?
            .map_or(Settled::NoContest, Settled::Yes))
    }

    /// Tries a parked payment again.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn retry_parked(&self, id: SignupId) -> Result<ParkedOutcome, Failure> {
        self.unpark(id, Fact::RetryAsked).await
    }

    /// Pays a parked payment to `platform/holding`, under the same order id, so that at most one
    /// of the two applies.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn redirect_parked(&self, id: SignupId) -> Result<ParkedOutcome, Failure> {
        self.unpark(id, Fact::RedirectAsked).await
    }

    async fn unpark(&self, id: SignupId, asked: Fact) -> Result<ParkedOutcome, Failure> {
        let Some(signup) = self.ports.signups.get(id).await? else {
            return Ok(ParkedOutcome::NoSignup);
        };
        let (State::Claiming(.., payment) | State::Refunding(.., payment)) = &signup.state else {
            return Ok(ParkedOutcome::NotParked);
        };
        if !matches!(payment.last_try, PayTry::Parked(_)) {
            return Ok(ParkedOutcome::NotParked);
        }
        let Some(contest) = self.ports.contests.get(signup.contest_id).await? else {
            return Err(Failure::Gone(signup.contest_id.to_string()));
        };
        let driven = self
            .drive(
                &contest,
                signup,
                Some(asked),
                Until::Rest,
                Prefetched::default(),
            )
            .await?;
        Ok(ParkedOutcome::Tried(Seen::new(contest, driven)))
    }
}
