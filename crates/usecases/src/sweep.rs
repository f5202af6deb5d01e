//! Sweeps: every signup of a contest in some states, page by page, in flat memory, shared by as many nodes as
//! there are.

use crate::{
    Contests, Failure,
    compensate::AT_ONCE,
    drive::{Prefetched, Until},
    hold::Hold,
    settle::Stepped,
};
use domain::{
    contest::Contest,
    ids::{ContestId, SignupId},
    signup::{Signup, StateKind},
};
use futures_util::{StreamExt, stream};
use ports::{
    failpoint::{self, Failpoint},
    funds::Lookup,
    leases::Lease,
};
use uuid::Uuid;

/// The signups of one page.
const PAGE: usize = 512;
/// The signups of one range: what one node sweeps under one lease, while others are at the others. A range
/// that was swept before costs two statements.
const RANGE: usize = 8 * PAGE;

/// What a sweep over a range of signups came to.
enum Swept {
    /// So many signups moved.
    Moved(usize),
    /// The contest is not what it was.
    Changed,
    /// Another has the lease now; so many moved before.
    Lost(usize),
}

/// The signups after one id, up to another.
#[derive(Clone, Copy, Debug, Default)]
struct Range {
    after: Option<SignupId>,
    end: Option<SignupId>,
}

impl Range {
    fn has(&self, signup: &Signup) -> bool {
        self.end.is_none_or(|end| signup.id <= end)
    }

    /// What a lease of it is called.
    fn lease(&self, contest: ContestId) -> String {
        let after = self.after.map_or(Uuid::nil(), |id| id.0);
        format!("sweep/{contest}/{after}")
    }
}

impl Contests {
    /// Drives every signup in `states`, because somebody asked for it: whoever else is at it.
    pub(crate) async fn sweep_all(
        &self,
        contest: &Contest,
        states: &[StateKind],
        hold: &mut Option<Hold>,
    ) -> Result<Stepped, Failure> {
        let swept = self.sweep(contest, states, Range::default(), hold).await?;
        Ok(match swept {
            Swept::Changed | Swept::Moved(1..) | Swept::Lost(1..) => Stepped::On,
            Swept::Moved(0) | Swept::Lost(0) => Stepped::Stuck,
        })
    }

    /// Drives signups in `states`, a range of ids after the other, each under a lease of its own: as many
    /// nodes as there are share the work, and none waits for another. None where all that is left is
    /// with others.
    pub(crate) async fn sweep_shared(
        &self,
        contest: &Contest,
        states: &[StateKind],
    ) -> Result<Option<Stepped>, Failure> {
        let (mut moved, mut elsewhere) = (0, false);
        let mut range = Range::default();
        let signups = &self.ports.signups;
        // What is left of a large contest is often little: then it is one range.
        let first = signups.page(contest.id, states, None, PAGE).await?;
        let is_little = first.next.is_none();
        loop {
            range.end = if is_little {
                None
            } else {
                signups.range_end(contest.id, range.after, RANGE).await?
            };
            if !is_little {
                let next = signups.page(contest.id, states, range.after, 1).await?;
                match next.items.first() {
                    None => break,
                    Some(next) if !range.has(next) => {
                        range.after = range.end;
                        continue;
                    }
                    Some(_) => {}
                }
            }
            match self.sweep_range(contest, states, range).await? {
                Some(Swept::Changed) => return Ok(Some(Stepped::On)),
                Some(Swept::Moved(more)) => moved += more,
                Some(Swept::Lost(more)) => {
                    moved += more;
                    elsewhere = true;
                }
                None => elsewhere = true,
            }
            if range.end.is_none() {
                break;
            }
            range.after = range.end;
        }
        Ok(match (moved, elsewhere) {
            (1.., _) => Some(Stepped::On),
            (0, true) => None,
            (0, false) => Some(Stepped::Stuck),
        })
    }

    /// Sweeps one range under its lease; none while another node is at it.
    async fn sweep_range(
        &self,
        contest: &Contest,
        states: &[StateKind],
        range: Range,
    ) -> Result<Option<Swept>, Failure> {
        let Some(hold) = self.lease(range.lease(contest.id)).await? else {
            return Ok(None);
        };
        let mut hold = Some(hold);
        let swept = self.sweep(contest, states, range, &mut hold).await;
        if let Some(hold) = hold {
            self.let_go(hold).await;
        }
        swept.map(Some)
    }

    /// Drives every signup in `states` of a range, page by page, many at once, in flat memory.
    async fn sweep(
        &self,
        contest: &Contest,
        states: &[StateKind],
        range: Range,
        hold: &mut Option<Hold>,
    ) -> Result<Swept, Failure> {
        let mut after = range.after;
        let mut moved = 0;
        loop {
            if !self.keep(hold).await? {
                return Ok(Swept::Lost(moved));
            }
            // Payouts may have been stopped, or it may have been cancelled.
            let now = self.ports.contests.get(contest.id).await?;
            if now.is_none_or(|now| now.version != contest.version) {
                return Ok(Swept::Changed);
            }
            if self.is_payout_off(contest, self.ports.clock.now()) {
                return Ok(Swept::Changed);
            }
            let mut page = self
                .ports
                .signups
                .page(contest.id, states, after, PAGE)
                .await?;
            let is_last = page.items.last().is_none_or(|last| !range.has(last));
            page.items.retain(|signup| range.has(signup));
            let until = hold.as_ref().map(Hold::begin_until);
            let under = hold.as_ref().map(Hold::lease);
            let prefetched = self.prefetch(contest, &page.items, under).await?;
            let drives = page.items.into_iter().zip(prefetched).map(
                |(signup, prefetched)| async move {
                    if until.is_some_and(|until| self.ports.clock.now() >= until) {
                        // The next page, or the next sweep, takes it under a lease that lasts.
                        return 0;
                    }
                    let id = signup.id;
                    let before = (signup.state.kind(), signup.state.weight());
                    match self
                        .drive(contest, signup, None, Until::Swept, prefetched)
                        .await
                    {
                        // A try that is written down is no progress: a sweep that makes none
                        // waits before it comes again.
                        Ok(driven) => {
                            let state = &driven.signup.state;
                            usize::from((state.kind(), state.weight()) != before)
                        }
                        Err(error) => {
                            tracing::warn!(
                                signup.id = %id, contest.id = %contest.id,
                                error = &error as &dyn std::error::Error, "a signup could not go on"
                            );
                            0
                        }
                    }
                },
            );
            moved += stream::iter(drives)
                .buffer_unordered(AT_ONCE * 4)
                .fold(0, |sum, one| async move { sum + one })
                .await;
            failpoint::pass(Failpoint::PageSwept);
            match page.next {
                Some(next) if !is_last => after = Some(next),
                _ => return Ok(Swept::Moved(moved)),
            }
        }
    }

    /// Reads for a whole page what each of its signups would read alone.
    async fn prefetch(
        &self,
        contest: &Contest,
        page: &[Signup],
        under: Option<&Lease>,
    ) -> Result<Vec<Prefetched>, Failure> {
        let mut prefetched = vec![Prefetched::under(under); page.len()];
        let is =
            |kind: StateKind| move |(_, signup): &(usize, &Signup)| signup.state.kind() == kind;
        let unpaid: Vec<_> = page
            .iter()
            .enumerate()
            .filter(is(StateKind::Initialized))
            .collect();
        if !unpaid.is_empty() {
            let orders: Vec<_> = unpaid
                .iter()
                .map(|(_, signup)| signup.fee_order())
                .collect();
            // Without an answer each asks for itself.
            if let Ok(Lookup {
                found, position, ..
            }) = self.look_up(&orders).await
            {
                for ((index, _), found) in unpaid.iter().zip(found) {
                    prefetched[*index].fee = Some((found, position));
                }
            }
        }
        let working: Vec<_> = page
            .iter()
            .enumerate()
            .filter(|(_, signup)| {
                matches!(
                    signup.state.kind(),
                    StateKind::InProgress | StateKind::Completed
                )
            })
            .collect();
        if !working.is_empty()
            && !contest.phase.kind().is_terminal()
            && contest.phase.frozen().is_none()
        {
            let signups: Vec<_> = working
                .iter()
                .map(|(_, signup)| (*signup).clone())
                .collect();
            let progress = self.ports.tasks.progress(contest, &signups).await?;
            for ((index, _), progress) in working.iter().zip(progress) {
                prefetched[*index].progress = Some(progress);
            }
        }
        Ok(prefetched)
    }
}
