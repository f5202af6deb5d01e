//! The log of every live pool account, read on from where it was read last, and rows looked up at the
//! funds system page by page. It sees what a full comparison sees, sooner, and not all of it: that is
//! made when a contest ends.

use crate::{
    Contests, Failure,
    crash::caught,
    mend::{Behalf, Limits, Reconciling},
    payments::within,
    reconcile::{Candidates, other_side},
    runs::Asked,
};
use domain::{
    contest::{Contest, LegOutcome},
    order::{Account, OwnLeg, Platform},
    reconcile::booked,
    signup::Signup,
    time::UnixMillis,
    transfer::{Content, Transfer},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use ports::{
    funds::LOOKUP_MAX,
    reconciliations::{Scope, Watch},
};
use std::sync::{MutexGuard, PoisonError};

/// The contests of one round.
const ROUND_MAX: usize = 64;
/// The contests that are looked at at once.
const CONTESTS_AT_ONCE: usize = 4;
/// The transfers, and the rows, of one page.
const PAGE: usize = 1_000;
/// The most pages of one look.
const PAGES_MAX: usize = 16;
/// A day, in milliseconds: how often the tally of a contest that has ended is looked at.
const DAY_MS: i64 = 86_400_000;
/// The rows that are read at once: they arrive at the store together.
const AT_ONCE: usize = 256;

impl Contests {
    /// Looks at every watched contest whose time has come; how many.
    ///
    /// # Errors
    /// [`Failure::Store`] when they cannot be listed. A contest that fails does not stop the others.
    pub async fn watch(&self) -> Result<usize, Failure> {
        let due = self.ports.reconciliations.watched(ROUND_MAX).await?;
        let looks: Vec<_> = due.into_iter().map(|watch| self.watch_one(watch)).collect();
        let looked = stream::iter(looks).buffer_unordered(CONTESTS_AT_ONCE);
        Ok(looked.count().await)
    }

    async fn watch_one(&self, watch: Watch) {
        let id = watch.contest_id;
        if let Err(error) = caught(self.watch_leased(watch)).await {
            tracing::warn!(
                contest.id = %id, error = &error as &dyn std::error::Error,
                "a contest's log could not be read on; it is tried again"
            );
            let later = Watch {
                due_at: self.ports.clock.now().plus(self.reconciling.tail_every_ms),
                ..watch
            };
            // Only puts it off: nothing is passed over.
            let _ = self.ports.reconciliations.save_watch(&later).await;
        }
    }

    async fn watch_leased(&self, watch: Watch) -> Result<(), Failure> {
        let Some(hold) = self.lease(format!("watch/{}", watch.contest_id)).await? else {
            return Ok(());
        };
        self.holding(hold, self.look_on(watch)).await
    }

    async fn look_on(&self, watch: Watch) -> Result<(), Failure> {
        let records = &self.ports.reconciliations;
        let id = watch.contest_id;
        // Another node may have been here since it was listed.
        let (Some(mut watch), Some(contest)) =
            (records.watch(id).await?, self.ports.contests.get(id).await?)
        else {
            return Ok(());
        };
        let now = self.ports.contests.now().await?;
        if watch.due_at > now {
            return Ok(());
        }
        self.read_log_on(&contest, &mut watch).await?;
        self.review_stuck(&contest).await?;
        if contest.phase.kind().is_terminal() {
            let is_compared = self.see_to_final_run(&mut watch).await?;
            if watch.walk_at <= now {
                self.audit_tally(&contest).await?;
                watch.walk_at = now.plus(DAY_MS);
            }
            let since = now.since(contest.updated_at);
            if is_compared && since >= self.reconciling.watched_ms {
                return Ok(records.unwatch(id).await?);
            }
        } else if watch.walk_at <= now && contest.stops.is_stopped() {
            // Whatever stopped it is looked at as a whole, so that it can go on.
            let Reconciling { bounds, limits, .. } = self.reconciling;
            self.reconcile_for(id, bounds, limits, &Behalf::default())
                .await?;
            watch.walk_at = now.plus(self.reconciling.walk_every_ms);
        } else if watch.walk_at <= now {
            self.walk_rows_on(&contest, &mut watch).await?;
            if watch.walked.is_none() {
                self.audit_tally(&contest).await?;
                watch.walk_at = now.plus(self.reconciling.walk_every_ms);
            }
        }
        watch.due_at = now.plus(self.reconciling.tail_every_ms);
        Ok(records.save_watch(&watch).await?)
    }

    /// Asks once that a contest which has ended be compared as a whole: whoever carries runs on does it,
    /// so that a large one holds up nobody's watch. True once it was.
    async fn see_to_final_run(&self, watch: &mut Watch) -> Result<bool, Failure> {
        if let Some(id) = watch.final_run {
            let run = self.ports.reconciliations.run(id).await?;
            let ended = run.filter(|run| run.ended_at.is_some());
            match ended.map(|run| run.totals.failed) {
                None => return Ok(false),
                Some(0) => return Ok(true),
                // One side did not answer: it is asked for again.
                Some(_) => {}
            }
        }
        let asked = Asked {
            scope: Scope::one(watch.contest_id),
            by: None,
            is_dry: false,
        };
        watch.final_run = self.ask_for_run(asked).await?.map(|run| run.id);
        Ok(false)
    }

    /// Reads the log on to where it is closed and old enough that each transfer must be recorded.
    async fn read_log_on(&self, contest: &Contest, watch: &mut Watch) -> Result<(), Failure> {
        let account = contest.pool_account();
        if contest.phase.kind() == domain::contest::PhaseKind::Preparing {
            // Its account may not be there yet.
            return Ok(());
        }
        let at = within(self.ports.funds.balance(&account)).await?.at;
        let recorded_before = at.plus(-self.reconciling.bounds.recorded_within_ms);
        for _ in 0..PAGES_MAX {
            let page = within(self.ports.funds.list(&account, watch.position, PAGE)).await?;
            let is_last = page.transfers.len() < PAGE;
            let closed: Vec<Transfer> = page
                .transfers
                .into_iter()
                .take_while(|transfer| {
                    transfer.receipt.position <= page.closed_position
                        && transfer.receipt.applied_at < recorded_before
                })
                .collect();
            let Some(last) = closed.last() else {
                return Ok(());
            };
            let read_up_to = last.receipt.position;
            self.explain(contest, closed).await?;
            watch.position = read_up_to;
            self.ports.reconciliations.save_watch(watch).await?;
            if is_last {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Looks at those transfers again that neither a row nor the contest explains.
    async fn explain(&self, contest: &Contest, transfers: Vec<Transfer>) -> Result<(), Failure> {
        let asked: Vec<_> = transfers
            .iter()
            .map(|transfer| async move {
                match other_side(transfer) {
                    Some(user) => self.ports.signups.find(contest.id, user).await,
                    None => Ok(None),
                }
            })
            .collect();
        let rows: Vec<Option<Signup>> = stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
        let mut candidates = Candidates::default();
        for (transfer, row) in transfers.into_iter().zip(rows) {
            let of_row = row.as_ref().is_some_and(|row| says(row, &transfer));
            // Whose payment was redirected is not seen from it: the walk and the last run look from the
            // rows.
            let is_redirected = transfer.content.from == contest.pool_account()
                && transfer.content.to == Account::Platform(Platform::Holding);
            if !of_row && !is_redirected && !is_own(contest, &transfer) {
                candidates.viewers.extend(other_side(&transfer).cloned());
                candidates.transfers.push(transfer);
            }
        }
        // Own legs that another node sent a moment ago are read again too.
        candidates.own_legs = own_legs(contest, &candidates.transfers);
        self.tell_candidates(contest, candidates).await
    }

    /// Looks the next page of rows up at the funds system.
    async fn walk_rows_on(&self, contest: &Contest, watch: &mut Watch) -> Result<(), Failure> {
        let signups = &self.ports.signups;
        let page = signups.page(contest.id, &[], watch.walked, PAGE).await?;
        let mut candidates = Candidates::default();
        let wanted: Vec<_> = page
            .items
            .iter()
            .flat_map(|row| booked(row).map(move |said| (row, said)))
            .collect();
        for some in wanted.chunks(LOOKUP_MAX) {
            let orders: Vec<_> = some.iter().map(|(_, said)| said.order).collect();
            let found = self.look_up(&orders).await?.found;
            for ((row, said), found) in some.iter().zip(found) {
                if found.is_none_or(|found| found.content != said.content) {
                    candidates.viewers.insert(row.user_id.clone());
                }
            }
        }
        self.tell_candidates(contest, candidates).await?;
        self.audit_records(contest, &page.items).await;
        watch.walked = page.next;
        Ok(())
    }

    async fn tell_candidates(
        &self,
        contest: &Contest,
        candidates: Candidates,
    ) -> Result<(), Failure> {
        if candidates.is_empty() {
            return Ok(());
        }
        let bounds = self.reconciling.bounds;
        let differences = self.look_again(contest, candidates, bounds).await?;
        let told = self.tell(contest.id, differences).await?;
        self.review_stop(contest.id).await?;
        let limits = self.limits_left();
        let mended = self
            .mend_within(contest.id, &told, limits, &Behalf::default())
            .await?;
        self.spent().add(mended.repaired.len() as u64, mended.coins);
        Ok(())
    }

    /// What the watch may still repair in this hour: however many pages differ, no more is repaired by
    /// itself than in one run.
    fn limits_left(&self) -> Option<Limits> {
        let now = self.ports.clock.now();
        let spent = *self.spent().at(now);
        let limits = self.reconciling.limits?;
        Some(limits.less(spent.repairs, spent.coins))
    }

    fn spent(&self) -> MutexGuard<'_, Spent> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was repaired in an hour.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    since: Option<UnixMillis>,
    repairs: u64,
    coins: u64,
}

impl Spent {
    /// As of now: nothing, where the hour is over.
    fn at(&mut self, now: UnixMillis) -> &Self {
        const HOUR_MS: i64 = 3_600_000;
        if self.since.is_none_or(|since| now.since(since) >= HOUR_MS) {
            *self = Self {
                since: Some(now),
                ..Self::default()
            };
        }
        self
    }

    fn add(&mut self, repairs: u64, coins: u64) {
        self.repairs += repairs;
        self.coins += coins;
    }
}

/// Whether the row says that this transfer was made.
fn says(row: &Signup, transfer: &Transfer) -> bool {
    booked(row).any(|said| (said.order, &said.content) == (transfer.order_id, &transfer.content))
}

/// Whether it is a leg of the contest that is known to have applied.
fn is_own(contest: &Contest, transfer: &Transfer) -> bool {
    let applied = contest
        .legs
        .iter()
        .filter(|(_, own)| matches!(own.outcome, LegOutcome::Applied(_)));
    let said = (transfer.order_id, &transfer.content);
    applied
        .filter_map(|(leg, _)| contest.own_transfer(*leg))
        .any(|(order, content): (_, Content)| (order, &content) == said)
}

/// The own legs that these transfers stand under.
fn own_legs(contest: &Contest, transfers: &[Transfer]) -> std::collections::BTreeSet<OwnLeg> {
    let order = |leg| domain::order::Leg::Own(leg, contest.id).order_id();
    OwnLeg::ALL
        .into_iter()
        .filter(|leg| transfers.iter().any(|one| one.order_id == order(*leg)))
        .collect()
}
