//! Reconciliation of one contest: our rows against the funds system's log, both ways, in memory that
//! does not grow with the contest. What it is and why it is enough: [`domain::reconcile`] and ADR 0010.

use crate::{Contests, Failure, payments::within};
use domain::{
    contest::{Contest, LegOutcome},
    ids::{ContestId, UserId},
    order::{Account, Leg, OrderId, OwnLeg},
    reconcile::{Buckets, Difference, PoolRange, Seen, booked, own_leg, stray, viewer},
    signup::{Signup, StateKind},
    transfer::{Position, Transfer},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use ports::funds::{Balance, LOOKUP_MAX, Lookup, TransferPage};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};
use tokio::sync::mpsc;

/// The rows, and the transfers, of one page.
const PAGE: usize = 1_000;
/// Pages that are read before the one that is looked at is done with.
const AHEAD: usize = 1;
/// The orders that may stand between a viewer and a pool.
const LEGS: usize = 3;
/// The rows that are read at once in the second look.
const AT_ONCE: usize = 16;

/// How far a reconciliation goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Buckets that the sums are kept in, 32 bytes each on either side.
    pub buckets: usize,
    /// The most viewers, and the most transfers, that are looked at a second time. Where more differ, the
    /// log or the database is wrong as a whole.
    pub candidates_max: usize,
    /// What applied longer ago than this, by the funds system's clock, must be recorded, in
    /// milliseconds.
    pub recorded_within_ms: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            buckets: 1 << 18,
            candidates_max: 10_000,
            recorded_within_ms: 60_000,
        }
    }
}

/// What a reconciliation has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// Rows that were read in the first look.
    pub rows: u64,
    /// Transfers of the pool account that were read in the first look.
    pub transfers: u64,
    /// Viewers and own legs that were looked at again.
    pub looked_again: usize,
    /// What differs at the second look.
    pub differences: Vec<Difference>,
    /// True where more differed than is looked at again: `differences` is not all.
    pub is_cut: bool,
    /// What the pool account held.
    pub pool: Pool,
}

/// What a pool account held, against what explains it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Before the rows were read.
    pub before: i64,
    /// After that.
    pub after: i64,
    /// What the rows allow.
    pub range: PoolRange,
    /// What the differences that were found add to it.
    pub surplus: i128,
    /// What an operator has accepted beyond all that.
    pub accepted: i64,
}

impl Pool {
    /// What it holds more than rows and differences explain, below zero for less.
    #[must_use]
    pub fn gap(&self) -> i128 {
        self.range.plus(self.surplus).gap(self.before, self.after)
    }

    /// Whether rows and differences explain what it holds, or an operator has accepted what they do not.
    #[must_use]
    pub fn is_explained(&self) -> bool {
        let gap = self.gap();
        gap == 0 || gap == i128::from(self.accepted)
    }
}

/// What may differ.
#[derive(Default)]
pub(crate) struct Candidates {
    pub(crate) viewers: BTreeSet<UserId>,
    pub(crate) own_legs: BTreeSet<OwnLeg>,
    pub(crate) transfers: Vec<Transfer>,
    pub(crate) is_cut: bool,
}

impl Candidates {
    /// True where nothing is to be looked at again.
    pub(crate) fn is_empty(&self) -> bool {
        self.viewers.is_empty() && self.own_legs.is_empty() && self.transfers.is_empty()
    }

    /// False once there are more than is looked at.
    fn are_few(&mut self, most: usize) -> bool {
        self.is_cut |= self.viewers.len().max(self.transfers.len()) > most;
        !self.is_cut
    }
}

/// Which buckets differ.
struct Differing {
    buckets: usize,
    indexes: BTreeSet<usize>,
}

impl Differing {
    fn has(&self, order: OrderId) -> bool {
        self.indexes.contains(&Buckets::of(order, self.buckets))
    }
}

/// Up to where the log is compared, and in how many buckets.
#[derive(Clone, Copy)]
struct Watermark {
    buckets: usize,
    position: Position,
}

impl Watermark {
    /// Whether it had applied when the comparison began.
    fn has(&self, position: Position) -> bool {
        position <= self.position
    }
}

pub(crate) fn legs(contest: ContestId, user: &UserId) -> [Leg; LEGS] {
    [
        Leg::Fee(contest, user.clone()),
        Leg::Prize(contest, user.clone()),
        Leg::Refund(contest, user.clone()),
    ]
}

/// The viewer on the other side of a pool's transfer, if it is one.
pub(crate) fn other_side(transfer: &Transfer) -> Option<&UserId> {
    match (&transfer.content.from, &transfer.content.to) {
        (Account::User(user), _) | (_, Account::User(user)) => Some(user),
        _ => None,
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            before,
            after,
            range,
            surplus,
            accepted,
        } = self;
        write!(
            f,
            "the pool held {before} and then {after}, the rows allow {range}"
        )?;
        if *surplus != 0 {
            write!(f, ", the differences add {surplus}")?;
        }
        if *accepted != 0 {
            write!(f, ", an operator has accepted {accepted}")?;
        }
        Ok(())
    }
}

impl Contests {
    /// Compares a contest's rows with the funds system's log, and with what its pool account holds.
    /// Nothing is written. A pool that is not explained is looked at twice.
    ///
    /// # Errors
    /// [`Failure`] where either side could not be read to its end.
    pub async fn compare(&self, contest: ContestId, bounds: Bounds) -> Result<Compared, Failure> {
        let compared = self.compare_once(contest, bounds).await?;
        if !compared.is_cut && compared.pool.is_explained() {
            return Ok(compared);
        }
        self.compare_once(contest, bounds).await
    }

    async fn compare_once(&self, id: ContestId, bounds: Bounds) -> Result<Compared, Failure> {
        let account = Account::Pool(id);
        let (mut rows, mut transfers) = (0, 0);
        let Balance {
            amount: before,
            position,
            ..
        } = within(self.ports.funds.balance(&account)).await?;
        // Everything else is read after the balance: what it says had applied may be recorded.
        let Some(contest) = &self.ports.contests.get(id).await? else {
            return Err(Failure::Gone(id.to_string()));
        };
        let now = self.ports.contests.now().await?;
        let stopped = contest.stops.since;
        let rest = stopped.is_some_and(|since| now.since(since) >= bounds.recorded_within_ms);
        let mut range = PoolRange::of(contest, rest);
        // What applies from here on is left for the next run.
        let watermark = Watermark {
            buckets: bounds.buckets,
            position,
        };
        let (ours, theirs) = tokio::try_join!(
            self.sums_of_rows(contest, watermark, |row| {
                rows += 1;
                range.add(row);
            }),
            self.sums_of_log(contest, watermark, &mut transfers),
        )?;
        let after = within(self.ports.funds.balance(&account)).await?.amount;
        let mut compared = Compared {
            rows,
            transfers,
            looked_again: 0,
            differences: Vec::new(),
            is_cut: false,
            pool: Pool {
                before,
                after,
                range,
                surplus: 0,
                accepted: contest.stops.accepted,
            },
        };
        let indexes: BTreeSet<usize> = ours.differing(&theirs).into_iter().collect();
        if indexes.is_empty() {
            return Ok(compared);
        }
        let differing = Differing {
            buckets: bounds.buckets,
            indexes,
        };
        let candidates = self
            .candidates(contest, &differing, watermark, bounds)
            .await?;
        compared.looked_again = candidates.viewers.len() + candidates.own_legs.len();
        compared.is_cut = candidates.is_cut;
        compared.differences = self.look_again(contest, candidates, bounds).await?;
        let surplus = compared.differences.iter().map(|one| one.surplus(&account));
        compared.pool.surplus = surplus.sum();
        Ok(compared)
    }

    async fn sums_of_rows(
        &self,
        contest: &Contest,
        watermark: Watermark,
        mut each: impl FnMut(&Signup),
    ) -> Result<Buckets, Failure> {
        let mut sums = Buckets::new(watermark.buckets);
        for (leg, own) in &contest.legs {
            if let (LegOutcome::Applied(receipt), Some((order, content))) =
                (own.outcome, contest.own_transfer(*leg))
                && watermark.has(receipt.position)
            {
                sums.add(order, &content);
            }
        }
        self.each_row(contest.id, |row| {
            each(row);
            for said in booked(row).filter(|said| watermark.has(said.position)) {
                sums.add(said.order, &said.content);
            }
            true
        })
        .await?;
        Ok(sums)
    }

    async fn sums_of_log(
        &self,
        contest: &Contest,
        watermark: Watermark,
        transfers: &mut u64,
    ) -> Result<Buckets, Failure> {
        let mut sums = Buckets::new(watermark.buckets);
        self.each_transfer(contest, watermark, |transfer| {
            *transfers += 1;
            sums.add(transfer.order_id, &transfer.content);
            true
        })
        .await?;
        Ok(sums)
    }

    /// Every row of a contest, once, until `each` has seen enough.
    async fn each_row(
        &self,
        contest: ContestId,
        mut each: impl FnMut(&Signup) -> bool,
    ) -> Result<(), Failure> {
        let signups = Arc::clone(&self.ports.signups);
        let read = move |after| {
            let signups = Arc::clone(&signups);
            async move {
                let page = signups.page(contest, &[], after, PAGE).await?;
                Ok((page.items, page.next.map(Some)))
            }
        };
        read_ahead(read, None, &mut each).await
    }

    /// Every transfer of a contest's pool account, once, until `each` has seen enough.
    async fn each_transfer(
        &self,
        contest: &Contest,
        watermark: Watermark,
        mut each: impl FnMut(&Transfer) -> bool,
    ) -> Result<(), Failure> {
        let funds = Arc::clone(&self.ports.funds);
        let account = contest.pool_account();
        let read = move |after| {
            let (funds, account) = (Arc::clone(&funds), account.clone());
            async move {
                let TransferPage { transfers, .. } =
                    within(funds.list(&account, after, PAGE)).await?;
                let last = transfers.last().map(|last| last.receipt.position);
                Ok((transfers, last))
            }
        };
        let is_old = |transfer: &Transfer| watermark.has(transfer.receipt.position);
        read_ahead(read, Position(0), |transfer| {
            is_old(transfer) && each(transfer)
        })
        .await
    }

    async fn candidates(
        &self,
        contest: &Contest,
        differing: &Differing,
        watermark: Watermark,
        bounds: Bounds,
    ) -> Result<Candidates, Failure> {
        let mut found = Candidates {
            own_legs: OwnLeg::ALL
                .into_iter()
                .filter(|leg| differing.has(Leg::Own(*leg, contest.id).order_id()))
                .collect(),
            ..Candidates::default()
        };
        self.each_row(contest.id, |row| {
            let said = booked(row).filter(|said| watermark.has(said.position));
            // What the log has and the row does not say brings its viewer in from the log, but where it
            // went to `platform/holding`: then only the row knows whose it is.
            let paying = matches!(row.state.kind(), StateKind::Claiming | StateKind::Refunding);
            let paying = row.payment().filter(|_| paying);
            let mut orders = said
                .map(|said| said.order)
                .chain(paying.map(|(leg, _)| leg.order_id()));
            if orders.any(|order| differing.has(order)) {
                found.viewers.insert(row.user_id.clone());
            }
            found.are_few(bounds.candidates_max)
        })
        .await?;
        self.each_transfer(contest, watermark, |transfer| {
            if differing.has(transfer.order_id) {
                if let Some(user) = other_side(transfer) {
                    found.viewers.insert(user.clone());
                }
                found.transfers.push(transfer.clone());
            }
            found.are_few(bounds.candidates_max)
        })
        .await?;
        Ok(found)
    }

    /// Reads both sides again for what may differ: the funds system first, so that what it has then and
    /// a row does not say was either recorded since or is late.
    pub(crate) async fn look_again(
        &self,
        contest: &Contest,
        candidates: Candidates,
        bounds: Bounds,
    ) -> Result<Vec<Difference>, Failure> {
        let Candidates {
            viewers,
            own_legs,
            transfers,
            ..
        } = candidates;
        let mut strays = Strays::new(contest, &viewers, transfers);
        let mut found = Vec::new();
        let viewers: Vec<UserId> = viewers.into_iter().collect();
        for some in viewers.chunks(LOOKUP_MAX / LEGS) {
            let orders: Vec<OrderId> = some
                .iter()
                .flat_map(|user| legs(contest.id, user))
                .map(|leg| leg.order_id())
                .collect();
            let Lookup {
                found: transfers,
                position,
                at,
            } = self.look_up(&orders).await?;
            let recorded_before = at.plus(-bounds.recorded_within_ms);
            let asked: Vec<_> = some
                .iter()
                .map(|user| self.ports.signups.find(contest.id, user))
                .collect();
            let rows: Vec<Option<Signup>> =
                stream::iter(asked).buffered(AT_ONCE).try_collect().await?;
            let (answers, _) = transfers.as_chunks::<LEGS>();
            for ((user, row), [fee, prize, refund]) in some.iter().zip(&rows).zip(answers) {
                let seen = Seen {
                    fee: fee.clone(),
                    prize: prize.clone(),
                    refund: refund.clone(),
                    strays: strays.of(user),
                };
                found.extend(viewer(
                    contest.id,
                    user,
                    row.as_ref(),
                    &seen,
                    (position, recorded_before),
                ));
            }
        }
        found.extend(strays.rest().iter().map(stray));
        found.extend(self.look_at_own_legs(contest.id, &own_legs).await?);
        Ok(found)
    }

    async fn look_at_own_legs(
        &self,
        contest: ContestId,
        legs: &BTreeSet<OwnLeg>,
    ) -> Result<Vec<Difference>, Failure> {
        if legs.is_empty() {
            return Ok(Vec::new());
        }
        let orders: Vec<OrderId> = legs
            .iter()
            .map(|leg| Leg::Own(*leg, contest).order_id())
            .collect();
        let transfers = self.look_up(&orders).await?.found;
        // Read after the answer, so that what applied before it may be recorded.
        let Some(contest) = self.ports.contests.get(contest).await? else {
            return Err(Failure::Gone(contest.to_string()));
        };
        let pairs = legs.iter().zip(transfers);
        Ok(pairs
            .filter_map(|(leg, transfer)| own_leg(&contest, *leg, transfer.as_ref()))
            .collect())
    }
}

/// Reads page after page in a task of its own, one while the one before is looked at, until there is none
/// after it or `each` has seen enough.
async fn read_ahead<T, C, R>(
    mut read: impl FnMut(C) -> R + Send + 'static,
    from: C,
    mut each: impl FnMut(&T) -> bool,
) -> Result<(), Failure>
where
    T: Send + 'static,
    C: Send + 'static,
    R: Future<Output = Result<(Vec<T>, Option<C>), Failure>> + Send + 'static,
{
    let (send, mut pages) = mpsc::channel(AHEAD);
    let reading = tokio::spawn(async move {
        let mut next = Some(from);
        while let Some(after) = next {
            let (page, after) = read(after).await?;
            next = after;
            if send.send(page).await.is_err() {
                // Enough was seen.
                break;
            }
        }
        Ok(())
    });
    while let Some(page) = pages.recv().await {
        if !page.iter().all(&mut each) {
            return Ok(());
        }
    }
    // Only now is it known that there was no more, and not that it broke off.
    let ended = reading.await;
    ended.map_err(|error| Failure::Crashed(error.to_string()))?
}

/// Transfers that are nobody's, by the viewer on their other side.
struct Strays(BTreeMap<Option<UserId>, Vec<Transfer>>);

impl Strays {
    fn new(contest: &Contest, viewers: &BTreeSet<UserId>, transfers: Vec<Transfer>) -> Self {
        let own = OwnLeg::ALL.map(|leg| Leg::Own(leg, contest.id).order_id());
        let known: BTreeSet<OrderId> = viewers
            .iter()
            .flat_map(|user| legs(contest.id, user))
            .map(|leg| leg.order_id())
            .chain(own)
            .collect();
        let mut strays: BTreeMap<_, Vec<_>> = BTreeMap::new();
        let mut explained = BTreeSet::new();
        for transfer in transfers {
            // An order stands once; a second transfer under it is nobody's.
            let is_explained =
                known.contains(&transfer.order_id) && explained.insert(transfer.order_id);
            if !is_explained {
                let user = other_side(&transfer).cloned();
                strays.entry(user).or_default().push(transfer);
            }
        }
        Self(strays)
    }

    fn of(&mut self, user: &UserId) -> Vec<Transfer> {
        self.0.remove(&Some(user.clone())).unwrap_or_default()
    }

    fn rest(self) -> Vec<Transfer> {
        self.0.into_values().flatten().collect()
    }
}
