//! Compensation: takes up the steps that are due and that nobody else is taking, oldest first.

use crate::{
    Contests, Failure,
    crash::caught,
    drive::{Prefetched, Until},
    hold::Hold,
    passes::CONTEST,
};
use domain::{
    contest::Contest,
    due::{RETRY_MS_MIN, STUCK_TRIES, Step, due},
    finding::FindingClass,
    ids::{ContestId, SignupId},
    signup::{Signup, StateKind},
    time::Window,
};
use futures_util::{StreamExt, stream};
use ports::{findings::FindingFilter, signups::SignupCommit};
use std::collections::BTreeMap;

/// The most rows of one pass.
const PASS_MAX: usize = 256;
/// How long a signup waits whose contest's payouts are stopped, in milliseconds.
const STOPPED_MS: i64 = 300_000;
/// The rows of one page.
const PAGE: usize = 1_000;
/// The most rows that are driven at once: a bound on calls of the funds system.
pub(crate) const AT_ONCE: usize = 32;

/// The part of a contest's signups that are compensated by one node at a time. Ids end in bits that were
/// drawn: four parts are as good as even, however many signed up in one second.
fn part(signup: &Signup) -> (ContestId, u8) {
    (signup.contest_id, signup.id.0.as_bytes()[15] >> 6)
}

impl Contests {
    /// One pass over the signups whose wake time has come and that no other node is at; how many
    /// were driven. A row that fails does not stop the others. What is written names the lease of its part,
    /// and is guarded by the row's own version besides.
    ///
    /// # Errors
    /// [`Failure::Store`] when the rows cannot be listed.
    pub async fn compensate(&self) -> Result<usize, Failure> {
        let now = self.ports.clock.now();
        let limit = PASS_MAX + self.signup_pace.held(now);
        let mut awake = self.ports.signups.awake(limit).await?;
        awake.retain(|signup| self.signup_pace.is_ready(signup.id, now));
        awake.truncate(PASS_MAX);
        let mut contests: BTreeMap<ContestId, Contest> = BTreeMap::new();
        for signup in &awake {
            if contests.contains_key(&signup.contest_id) {
                continue;
            }
            // A contest that cannot be read holds up its own signups, not those of others.
            match self.ports.contests.get(signup.contest_id).await {
                Ok(Some(contest)) => drop(contests.insert(contest.id, contest)),
                Ok(None) => {}
                Err(error) => tracing::error!(
                    contest.id = %signup.contest_id, error = &error as &dyn std::error::Error,
                    "a contest cannot be read"
                ),
            }
        }
        let mut holds = BTreeMap::new();
        for (id, part) in awake.iter().map(part) {
            if let std::collections::btree_map::Entry::Vacant(hold) = holds.entry((id, part)) {
                hold.insert(self.lease(format!("signups/{id}/{part}")).await?);
            }
        }
        let later = now.plus(RETRY_MS_MIN);
        let (ours, others): (Vec<_>, Vec<_>) = awake
            .into_iter()
            .partition(|signup| matches!(holds.get(&part(signup)), Some(Some(_))));
        for signup in others {
            // Another node is at them. If it dies, its lease ends.
            self.signup_pace.hold(signup.id, later);
        }
        let drives: Vec<_> = ours
            .into_iter()
            .map(|signup| {
                let hold = holds.get(&part(&signup)).and_then(Option::as_ref);
                let given = Prefetched::under(hold.map(Hold::lease));
                let until = hold.map_or(now, Hold::begin_until);
                let contest = contests.get(&signup.contest_id);
                async move {
                    if self.ports.clock.now() >= until {
                        // The next pass takes it up, under a lease that lasts.
                        return None;
                    }
                    self.compensate_one(contest, signup, given).await
                }
            })
            .collect();
        let driven = drives.len();
        let stuck: BTreeMap<ContestId, SignupId> = stream::iter(drives)
            .buffer_unordered(AT_ONCE)
            .filter_map(|stuck| async move { stuck })
            .collect()
            .await;
        for (contest, signup) in stuck {
            let evidence =
                format!("signup {signup}, and perhaps others, has had no answer for long");
            // One of a contest: an outage must not be as many alarms as there are viewers.
            self.raise(FindingClass::Stuck, contest, contest.to_string(), evidence)
                .await;
        }
        for hold in holds.into_values().flatten() {
            self.let_go(hold).await;
        }
        Ok(driven)
    }

    /// Drives one; its contest and itself, if it is stuck.
    async fn compensate_one(
        &self,
        contest: Option<&Contest>,
        signup: Signup,
        given: Prefetched,
    ) -> Option<(ContestId, SignupId)> {
        let (id, contest_id, version) = (signup.id, signup.contest_id, signup.version);
        if let Some(contest) = contest
            && contest.stops.is_stopped()
            && due(&signup, contest, self.ports.clock.now()) == Step::Rest
        {
            self.put_off(signup, given).await;
            return None;
        }
        let mut is_stuck = false;
        let driven = match contest {
            Some(contest) => {
                let drive = self.drive(contest, signup, None, Until::Rest, given);
                let driven = caught(drive).await;
                is_stuck = driven
                    .as_ref()
                    .is_ok_and(|driven| driven.signup.tries >= STUCK_TRIES);
                driven.map(|driven| driven.signup.version != version)
            }
            None => Err(Failure::Gone(contest_id.to_string())),
        };
        if !matches!(driven, Ok(true)) {
            // What was saved has a new wake time; this has not.
            let until = self.ports.clock.now().plus(RETRY_MS_MIN);
            self.signup_pace.hold(id, until);
        }
        if let Err(error) = driven {
            tracing::warn!(
                signup.id = %id, contest.id = %contest_id,
                error = &error as &dyn std::error::Error, "compensation failed; it is tried again"
            );
        }
        is_stuck.then_some((contest_id, id))
    }

    /// Settles the findings that a contest or its signups are stuck, once they are not: they are told by
    /// whichever node sees it, and this reads nothing but rows.
    pub(crate) async fn review_stuck(&self, contest: &Contest) -> Result<(), Failure> {
        let open = FindingFilter::open_of(contest.id);
        let open = self.ports.findings.list(open, None, PAGE).await?.items;
        let signups = contest.id.to_string();
        for finding in open.iter().filter(|one| one.class == FindingClass::Stuck) {
            let is_over = if finding.subject == CONTEST {
                contest.updated_at > finding.found_at
            } else {
                finding.subject == signups && !self.has_stuck_signups(contest.id).await?
            };
            if is_over {
                self.withdraw(FindingClass::Stuck, contest.id, &finding.subject)
                    .await;
            }
        }
        Ok(())
    }

    async fn has_stuck_signups(&self, contest: ContestId) -> Result<bool, Failure> {
        const WAITING: [StateKind; 4] = [
            StateKind::Initialized,
            StateKind::Paid,
            StateKind::Claiming,
            StateKind::Refunding,
        ];
        let mut after = None;
        loop {
            let signups = &self.ports.signups;
            let page = signups.page(contest, &WAITING, after, PAGE).await?;
            if page.items.iter().any(|signup| signup.tries >= STUCK_TRIES) {
                return Ok(true);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(false),
            }
        }
    }

    /// Has a signup wait whose contest's payouts are stopped: thousands of them must not stand before
    /// those of others (hazard H12).
    async fn put_off(&self, signup: Signup, given: Prefetched) {
        let now = self.ports.clock.now();
        let id = signup.id;
        let commit = SignupCommit {
            expected: signup.version,
            window: Window::ALWAYS,
            trail: vec![signup.state.kind()],
            signup,
            wake_at: Some(now.plus(STOPPED_MS)),
            effects: Vec::new(),
            under: given.under,
        };
        if let Err(error) = self.ports.signups.commit(commit).await {
            self.signup_pace.hold(id, now.plus(RETRY_MS_MIN));
            tracing::warn!(
                signup.id = %id, error = &error as &dyn std::error::Error,
                "a signup of a stopped contest could not be put off"
            );
        }
    }
}
