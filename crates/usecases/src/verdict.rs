//! What operators decide about findings: resolved with a note, or repaired by a call.

use crate::{
    Contests, Failure, Rebuilt,
    drive::{Prefetched, Until},
    mend::Behalf,
    reconcile::{Bounds, Candidates, legs},
};
use domain::{
    contest::Contest,
    finding::{FindingClass, RepairOutcome},
    ids::{SignupId, UserId},
    order::OrderId,
    signup::Fact,
};
use ports::findings::{Finding, Resolution, Resolved};
use uuid::Uuid;

/// What became of asking for a repair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repaired {
    /// It was made; the finding as it is now. One that is still open was not mended by it: the step
    /// that is due has to wait for something.
    Yes(Finding),
    /// Only a person can mend this, and not by a call; why.
    No(&'static str),
    /// It had been settled.
    Before(Finding),
    /// There is no such finding.
    Missing,
}

impl Contests {
    /// Settles a finding because a person says so.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn resolve(&self, id: Uuid, resolution: &Resolution) -> Result<Resolved, Failure> {
        let resolved = self.ports.findings.resolve(id, resolution).await?;
        if let Resolved::Yes(finding) = &resolved {
            self.review_stop(finding.contest_id).await?;
        }
        Ok(resolved)
    }

    /// Repairs what a finding tells, by the paths that everything takes.
    ///
    /// # Errors
    /// [`Failure`]; the finding stays open.
    pub async fn repair_finding(&self, id: Uuid, by: UserId) -> Result<Repaired, Failure> {
        let Some(finding) = self.ports.findings.finding(id).await? else {
            return Ok(Repaired::Missing);
        };
        if finding.settled_at.is_some() {
            return Ok(Repaired::Before(finding));
        }
        let Some(contest) = self.ports.contests.get(finding.contest_id).await? else {
            return Err(Failure::Gone(finding.contest_id.to_string()));
        };
        let refused = match finding.class {
            FindingClass::Stuck => self.drive_stuck(&contest, &finding).await?,
            FindingClass::TallyDiffers => self.rebuild_tally(&contest, &finding).await?,
            FindingClass::PoolDiffers => {
                let (bounds, limits) = (self.reconciling.bounds, self.reconciling.limits);
                let behalf = Behalf {
                    run: None,
                    by: Some(by),
                };
                self.reconcile_for(contest.id, bounds, limits, &behalf)
                    .await?;
                None
            }
            FindingClass::FeeUnrecorded
            | FindingClass::FeeMissing
            | FindingClass::AmountDiffers
            | FindingClass::OrphanTransfer
            | FindingClass::DuplicateTransfer
            | FindingClass::PrizeUnrecorded
            | FindingClass::PrizeMissing
            | FindingClass::RefundUnrecorded
            | FindingClass::RefundMissing => self.repair_viewer(&contest, &finding, by).await?,
        };
        if let Some(why) = refused {
            return Ok(Repaired::No(why));
        }
        Ok(match self.ports.findings.finding(id).await? {
            Some(finding) => Repaired::Yes(finding),
            None => Repaired::Missing,
        })
    }

    /// Judges one viewer again and repairs what the finding is about; why not, if it cannot be.
    async fn repair_viewer(
        &self,
        contest: &Contest,
        finding: &Finding,
        by: UserId,
    ) -> Result<Option<&'static str>, Failure> {
        let (Some(user), Ok(order)) = (&finding.user_id, finding.subject.parse::<OrderId>()) else {
            return Ok(Some(
                "it is about no viewer of this contest: only its cause can be mended",
            ));
        };
        let candidates = Candidates {
            viewers: [user.clone()].into(),
            ..Candidates::default()
        };
        // Whoever asks has looked: nothing is waited for any more.
        let bounds = Bounds {
            recorded_within_ms: 0,
            ..self.reconciling.bounds
        };
        let found = self.look_again(contest, candidates, bounds).await?;
        let Some(difference) = found.iter().find(|one| one.order == order) else {
            let mut own = legs(contest.id, user).into_iter();
            if !own.any(|leg| leg.order_id() == order) {
                return Ok(Some(
                    "the coins moved under an order that is nobody's: return them in the funds \
                     system, then resolve the finding",
                ));
            }
            self.withdraw(finding.class, contest.id, &finding.subject)
                .await;
            return Ok(None);
        };
        let Some(repair) = &difference.repair else {
            return Ok(Some(
                "both sides are final and differ: mend it in the funds system, or resolve the \
                 finding with a note",
            ));
        };
        let behalf = Behalf {
            run: None,
            by: Some(by),
        };
        let outcome = self
            .mend_logged(contest, difference, finding.id, repair, &behalf)
            .await?;
        if outcome != RepairOutcome::Failed {
            self.withdraw(finding.class, contest.id, &finding.subject)
                .await;
        }
        Ok(None)
    }

    /// Tries a parked payment, or whatever else is due, once more.
    async fn drive_stuck(
        &self,
        contest: &Contest,
        finding: &Finding,
    ) -> Result<Option<&'static str>, Failure> {
        let Ok(id) = finding.subject.parse::<SignupId>() else {
            self.run_contest(contest.id).await?;
            return Ok(None);
        };
        let Some(signup) = self.ports.signups.get(id).await? else {
            return Ok(Some("its signup is gone"));
        };
        let asked = signup.parked().map(|_| Fact::RetryAsked);
        self.drive(contest, signup, asked, Until::Rest, Prefetched::default())
            .await?;
        Ok(None)
    }

    async fn rebuild_tally(
        &self,
        contest: &Contest,
        finding: &Finding,
    ) -> Result<Option<&'static str>, Failure> {
        if self.rebuild_shown(contest).await == Rebuilt::Yes {
            self.withdraw(finding.class, contest.id, &finding.subject)
                .await;
            return Ok(None);
        }
        Ok(Some("Redis does not answer, or another node is building"))
    }
}
