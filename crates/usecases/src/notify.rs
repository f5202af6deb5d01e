//! Telling what was saved to be told, until it was taken.

use crate::{Contests, Failure};
use ports::notices::{Message, Notice, Receiver};

/// The notices of one pass.
const PASS_MAX: usize = 64;
/// The wait after the first try that failed, and the longest, in milliseconds.
const WAIT_MS: (i64, i64) = (1_000, 3_600_000);

impl Contests {
    /// Tells what is due, in order; how many were taken. One that is not is told again, ever later, and
    /// does not hold up the others.
    ///
    /// # Errors
    /// [`Failure::Store`].
    pub async fn notify(&self, receiver: &dyn Receiver) -> Result<usize, Failure> {
        let Some(hold) = self.lease("notices".to_owned()).await? else {
            return Ok(0);
        };
        self.holding(hold, self.tell_due(receiver)).await
    }

    async fn tell_due(&self, receiver: &dyn Receiver) -> Result<usize, Failure> {
        let mut taken = 0;
        for notice in self.ports.notices.due(PASS_MAX).await? {
            taken += usize::from(self.tell_one(receiver, notice).await?);
        }
        Ok(taken)
    }

    async fn tell_one(&self, receiver: &dyn Receiver, notice: Notice) -> Result<bool, Failure> {
        let (sequence, tries) = (notice.sequence, notice.tries);
        // One whose rows cannot be read is told without them.
        let contest = self.ports.contests.get(notice.contest_id).await;
        let finding = match notice.finding_id {
            Some(id) => self.ports.findings.finding(id).await.unwrap_or_default(),
            None => None,
        };
        let message = Message {
            notice,
            contest: contest.unwrap_or_default(),
            finding,
        };
        match receiver.tell(&message).await {
            Ok(()) => {
                self.ports.notices.told(sequence).await?;
                Ok(true)
            }
            Err(error) => {
                tracing::warn!(
                    notice.sequence = sequence,
                    notice.tries = tries + 1,
                    error = &error as &dyn std::error::Error,
                    "a notice was not taken; it is told again"
                );
                let (first, most) = WAIT_MS;
                let wait = (first << tries.min(12)).min(most);
                self.ports.notices.put_off(sequence, wait).await?;
                Ok(false)
            }
        }
    }
}
