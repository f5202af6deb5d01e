//! What is only shown, held against the store: the tally, and samples of the cached records. What is
//! wrong is built anew or dropped; nothing that moves money looked at it.

use crate::{
    Contests, Failure, Shown,
    shown::{Rebuilt, log},
};
use domain::{
    contest::{Contest, PhaseKind},
    finding::FindingClass,
    settlement::Advisory,
    signup::{Signup, StateKind},
};
use ports::shown::{Cached, Tally};

/// How long after a contest's end its counts may still be under way, and how long after its change a
/// record may still be dropped, in milliseconds: more than the relay needs, a restart included.
const LATE_MS: i64 = 60_000;
/// The records of one page that are looked at.
const SAMPLES: usize = 16;

impl Contests {
    /// Compares the tally with the rows, and builds it anew where it cannot be right: it counts more
    /// than there is, or less when everything must have been counted.
    pub(crate) async fn audit_tally(&self, contest: &Contest) -> Result<(), Failure> {
        let phase = contest.phase.kind();
        let (Some(shown), false) = (
            &self.ports.shown,
            matches!(phase, PhaseKind::Cancelling | PhaseKind::Cancelled),
        ) else {
            // Who is refunded was counted as a finisher, and is none any more.
            return Ok(());
        };
        let tally = match shown.tallies.read(contest).await {
            Ok(Some(Advisory(tally))) => tally,
            // It is built when somebody looks.
            Ok(None) => return Ok(()),
            Err(error) => {
                log("the tally did not answer", &error);
                return Ok(());
            }
        };
        let counts = self.ports.contests.counts(contest.id).await?;
        let mut rows = Tally::ZERO;
        for count in &counts {
            let is_finisher = matches!(
                count.state,
                StateKind::Completed
                    | StateKind::Claiming
                    | StateKind::Shared
                    | StateKind::Forfeited
            );
            if is_finisher {
                rows.finishers += count.signups;
            }
            if count.state == StateKind::Shared {
                rows.winners += count.signups;
                rows.prizes = count.prizes;
            }
        }
        let now = self.ports.contests.now().await?;
        let is_over = phase.is_terminal() && now.since(contest.updated_at) > LATE_MS;
        // The tally was read first: what was counted since can only make the rows more.
        let is_more = tally.finishers > rows.finishers
            || tally.winners > rows.winners
            || tally.prizes > rows.prizes;
        let is_less = is_over
            && (tally.finishers, tally.winners, tally.prizes)
                != (rows.finishers, rows.winners, rows.prizes);
        let subject = "tally";
        if !is_more && !is_less {
            self.withdraw(FindingClass::TallyDiffers, contest.id, subject)
                .await;
            return Ok(());
        }
        let numbers = |tally: &Tally| {
            let Tally {
                finishers,
                winners,
                prizes,
                ..
            } = tally;
            format!("{finishers} finishers, {winners} winners, prizes of {prizes}")
        };
        let evidence = format!("Redis has {}; the rows {}", numbers(&tally), numbers(&rows));
        self.raise(
            FindingClass::TallyDiffers,
            contest.id,
            subject.to_owned(),
            evidence,
        )
        .await;
        if self.rebuild_shown(contest).await == Rebuilt::Yes {
            self.withdraw(FindingClass::TallyDiffers, contest.id, subject)
                .await;
        }
        Ok(())
    }

    /// Looks at cached records of rows that were read before, and drops those that are older although
    /// their change is long past.
    pub(crate) async fn audit_records(&self, contest: &Contest, rows: &[Signup]) {
        let Some(shown) = &self.ports.shown else {
            return;
        };
        let now = self.ports.clock.now();
        let settled = |row: &&Signup| now.since(row.updated_at) > LATE_MS;
        for row in rows.iter().filter(settled).take(SAMPLES) {
            match shown.records.get(contest.id, &row.user_id).await {
                Ok(Some(cached)) if version_of(&cached) < row.version => {
                    self.drop_stale(shown, contest, row, version_of(&cached))
                        .await;
                }
                Ok(_) => {}
                Err(error) => {
                    log("the cache did not answer", &error);
                    return;
                }
            }
        }
    }

    async fn drop_stale(&self, shown: &Shown, contest: &Contest, row: &Signup, cached: u64) {
        tracing::error!(
            contest.id = %contest.id, signup.id = %row.id, cached, version = row.version,
            "a cached record is older than its row, long after the change"
        );
        let dropped = shown
            .records
            .drop_record(contest, &row.user_id, row.version)
            .await;
        if let Err(error) = dropped {
            log("a stale record could not be dropped", &error);
        }
    }
}

fn version_of(cached: &Cached) -> u64 {
    match cached {
        Cached::Record(signup) => signup.version,
        Cached::Absent => 0,
    }
}
