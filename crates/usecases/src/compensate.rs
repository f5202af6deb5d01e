//! Compensation: takes up the steps that are due and that nobody else is taking, oldest first.

use crate::{
    Contests, Failure,
    drive::{Prefetched, Until},
};
use domain::{contest::Contest, ids::ContestId, signup::Signup};
use futures_util::{StreamExt, stream};
use std::collections::BTreeMap;

/// The most rows of one pass.
const PASS_MAX: usize = 256;
/// The most rows that are driven at once: a bound on calls of the funds system.
pub(crate) const AT_ONCE: usize = 32;

impl Contests {
    /// One pass over the signups whose wake time has come; how many were driven. A row that fails
    /// does not stop the others.
    ///
    /// # Errors
    /// [`Failure::Store`] when the rows cannot be listed.
    pub async fn compensate(&self) -> Result<usize, Failure> {
        let awake = self.ports.signups.awake(PASS_MAX).await?;
        let mut contests: BTreeMap<ContestId, Contest> = BTreeMap::new();
        for signup in &awake {
            if !contests.contains_key(&signup.contest_id)
                && let Some(contest) = self.ports.contests.get(signup.contest_id).await?
            {
                contests.insert(contest.id, contest);
            }
        }
        let drives = awake.into_iter().filter_map(|signup| {
            let contest = contests.get(&signup.contest_id)?;
            Some(self.compensate_one(contest, signup))
        });
        Ok(stream::iter(drives).buffer_unordered(AT_ONCE).count().await)
    }

    async fn compensate_one(&self, contest: &Contest, signup: Signup) {
        let id = signup.id;
        if let Err(error) = self
            .drive(contest, signup, None, Until::Rest, Prefetched::default())
            .await
        {
            tracing::warn!(
                signup.id = %id, contest.id = %contest.id,
                error = &error as &dyn std::error::Error, "compensation failed; it is tried again"
            );
        }
    }
}
