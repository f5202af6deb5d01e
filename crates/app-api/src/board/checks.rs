//! What the independent checker says of a contest, kept for a moment: at most one check runs at a
//! time, and checking takes a small part of one core whoever watches.

use crate::live::snapshot::pace;
use checker::report::{Invariant, Report, Status};
use domain::{ids::ContestId, time::UnixMillis};
use ports::system::Clock;
use serde::Serialize;
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Mutex, time::Instant};

/// The shortest time between two checks of a contest.
pub(crate) const EVERY: Duration = Duration::from_secs(2);
/// The most signups of a contest that is checked.
pub(crate) const SIGNUPS_MAX: u64 = 20_000;
/// Contests whose last check is kept.
const KEPT_MAX: usize = 32;

/// How an invariant stands, as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    /// It holds for everything that there is.
    Holds,
    /// It does not.
    Broken,
    /// There is nothing yet that could break it: that proves nothing, and is not shown as green.
    Nothing,
    /// What it speaks of is not kept in this deployment.
    NotKept,
    /// It was not checked.
    Unknown,
}

/// One invariant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) name: &'static str,
    pub(crate) standing: Standing,
    pub(crate) checked: u64,
    /// The first thing that breaks it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) evidence: Option<String>,
}

/// Why nothing was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unchecked {
    /// The contest is too large to be checked again and again.
    TooLarge,
    /// The files could not be read.
    Failed,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Checked {
    /// When it ended.
    pub(crate) at_ms: i64,
    pub(crate) verdicts: Vec<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) unchecked: Option<Unchecked>,
}

struct Kept {
    checked: Arc<Checked>,
    good_until: Instant,
}

/// Checks the two files of a data directory.
pub(crate) struct Checks {
    store: PathBuf,
    ledger: PathBuf,
    clock: Arc<dyn Clock>,
    kept: Mutex<HashMap<ContestId, Kept>>,
}

impl Checks {
    pub(crate) fn new(store: PathBuf, ledger: PathBuf, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            ledger,
            clock,
            kept: Mutex::default(),
        }
    }

    /// The last check of a contest, or a new one if that is too old.
    pub(crate) async fn of(&self, id: ContestId, signups: u64) -> Arc<Checked> {
        let mut kept = self.kept.lock().await;
        if let Some(kept) = kept.get(&id)
            && Instant::now() < kept.good_until
        {
            return Arc::clone(&kept.checked);
        }
        let started = Instant::now();
        let result = if signups > SIGNUPS_MAX {
            Err(Unchecked::TooLarge)
        } else {
            self.check(&self.store, &self.ledger, id).await
        };
        let (verdicts, unchecked) = match result {
            Ok(report) => (report.invariants.iter().map(verdict).collect(), None),
            Err(why) => (Invariant::ALL.map(unknown).into(), Some(why)),
        };
        let checked = Arc::new(Checked {
            at_ms: self.clock.now().0,
            verdicts,
            unchecked,
        });
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        let fresh = Kept {
            checked: Arc::clone(&checked),
            good_until: Instant::now() + pace(started.elapsed(), 1, EVERY),
        };
        kept.insert(id, fresh);
        checked
    }

    async fn check(&self, store: &Path, ledger: &Path, id: ContestId) -> Result<Report, Unchecked> {
        let checked = checker::check(store, ledger, Some(&id.to_string())).await;
        checked.map_err(|error| {
            tracing::warn!(
                contest.id = %id,
                error = &error as &dyn std::error::Error,
                "the board's contest could not be checked"
            );
            Unchecked::Failed
        })
    }
}

fn verdict(found: &checker::report::Verdict) -> Verdict {
    let standing = match found.status {
        Status::Red => Standing::Broken,
        Status::Green if found.checked == 0 => Standing::Nothing,
        Status::Green => Standing::Holds,
        Status::NotKept => Standing::NotKept,
    };
    Verdict {
        name: found.invariant.name(),
        standing,
        checked: found.checked,
        evidence: (standing == Standing::Broken)
            .then(|| found.evidence.first().cloned())
            .flatten(),
    }
}

/// An invariant of which nothing is known.
pub(crate) fn unknown(invariant: Invariant) -> Verdict {
    Verdict {
        name: invariant.name(),
        standing: Standing::Unknown,
        checked: 0,
        evidence: None,
    }
}

/// The time of a check for people: hours, minutes and seconds, UTC.
pub(crate) fn clock_time(at: UnixMillis) -> String {
    let second = at.0.div_euclid(1_000).rem_euclid(86_400);
    format!(
        "{:02}:{:02}:{:02}",
        second / 3_600,
        second / 60 % 60,
        second % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(status: Status, checked: u64) -> checker::report::Verdict {
        checker::report::Verdict {
            invariant: Invariant::OneCharge,
            status,
            checked,
            violations: 0,
            evidence: vec!["a reason".to_owned()],
        }
    }

    #[test]
    fn a_green_that_looked_at_nothing_is_not_shown_as_green() {
        let cases = [
            (Status::Green, 0, Standing::Nothing),
            (Status::Green, 1, Standing::Holds),
            (Status::Red, 1, Standing::Broken),
            (Status::NotKept, 0, Standing::NotKept),
        ];
        for (status, checked, standing) in cases {
            let shown = verdict(&found(status, checked));
            assert_eq!(shown.standing, standing);
            assert_eq!(shown.evidence.is_some(), standing == Standing::Broken);
        }
    }

    #[test]
    fn a_time_of_day_is_read_off_the_clock() {
        assert_eq!(
            clock_time(UnixMillis(86_400_000 * 3 + 3_723_999)),
            "01:02:03"
        );
    }
}
