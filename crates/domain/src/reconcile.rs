//! Our rows against the funds system's log: two sides that are too large to be held.
//!
//! First each side is added up in [`Buckets`], in one pass and in any order; where the sums agree,
//! both sides hold the same transfers. What lies in a bucket whose sums differ is then read again,
//! viewer by viewer, and judged from both sides' latest answers by [`viewer`] and [`own_leg`]. So
//! memory grows with the differences, never with the contest, and what was under way during the first
//! pass is looked at a second time before anything is said.
//!
//! It shares no code with the flows that serve viewers but the state machine itself.

use crate::{
    contest::{Contest, LegOutcome},
    finding::FindingClass,
    ids::{ContestId, UserId},
    money::Coins,
    order::{Account, Leg, OrderId, OwnLeg},
    signup::{Fact, Paid, Payee, Signup, State, StateKind},
    time::UnixMillis,
    transfer::{Content, Position, Transfer},
};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Counts and sums of transfers by order, the same whatever order they are added in.
///
/// Two sides that hold the same transfers have the same sums. Two that do not differ in the bucket of
/// each transfer that only one of them has, up to a chance of 2^-128 that differences cancel out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Buckets(Vec<(u64, u128)>);

impl Buckets {
    /// So many empty buckets, at least one.
    #[must_use]
    pub fn new(number: usize) -> Self {
        Self(vec![(0, 0); number.max(1)])
    }

    /// The bucket of an order, among `number`.
    #[must_use]
    pub fn of(order: OrderId, number: usize) -> usize {
        // A digest, so evenly spread; an order of somebody else's making lands where it likes and
        // harms nothing but the size of one bucket.
        let mut first = [0; 8];
        first.copy_from_slice(&order.0[..8]);
        let number = number.max(1) as u64;
        usize::try_from(u64::from_be_bytes(first) % number).unwrap_or(0)
    }

    /// Adds what an order moves.
    pub fn add(&mut self, order: OrderId, content: &Content) {
        let index = Self::of(order, self.0.len());
        if let Some((count, sum)) = self.0.get_mut(index) {
            *count += 1;
            *sum = sum.wrapping_add(digest(order, content));
        }
    }

    /// The buckets in which the other side differs, in order.
    #[must_use]
    pub fn differing(&self, other: &Self) -> Vec<usize> {
        let pairs = self.0.iter().zip(&other.0).enumerate();
        pairs
            .filter(|(_, (one, other))| one != other)
            .map(|(index, _)| index)
            .collect()
    }
}

/// Half of the SHA-256 of everything that makes a transfer the one it is.
fn digest(order: OrderId, content: &Content) -> u128 {
    let Content { from, to, amount } = content;
    // No account contains a line break.
    let text = format!("{order}\n{from}\n{to}\n{amount}");
    let mut half = [0; 16];
    half.copy_from_slice(&Sha256::digest(text)[..16]);
    u128::from_be_bytes(half)
}

/// A transfer that a row says was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booked {
    /// Its order.
    pub order: OrderId,
    /// What it moved.
    pub content: Content,
    /// Its place in the funds system's log.
    pub position: Position,
}

/// What a row says must stand in the funds system: its fee, and the payment that was made.
///
/// A fee or payment that may or may not have been applied is not among them.
pub fn booked(signup: &Signup) -> impl Iterator<Item = Booked> {
    let fee = signup.state.fee_receipt().map(|receipt| Booked {
        order: signup.fee_order(),
        content: signup.fee_content(),
        position: receipt.position,
    });
    let payment = match &signup.state {
        State::Shared(.., Some(paid)) | State::Refunded(.., paid) => {
            signup.payment().map(|(leg, amount)| Booked {
                order: leg.order_id(),
                content: signup.payment_content(paid.payee, amount),
                position: paid.receipt.position,
            })
        }
        _ => None,
    };
    fee.into_iter().chain(payment)
}

/// What a pool account may hold by what the rows say: a transfer that may or may not have applied counts
/// both as done and as not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolRange {
    least: i128,
    most: i128,
    /// True where no payment can be under way: what a row has begun to pay has not left.
    payments_rest: bool,
}

impl PoolRange {
    /// By the contest's own legs alone. `payments_rest` says that payouts have been stopped for so long
    /// that none can be under way: else every claim that is taken meanwhile would explain a little of
    /// what is missing.
    #[must_use]
    pub fn of(contest: &Contest, payments_rest: bool) -> Self {
        let mut range = Self {
            least: 0,
            most: 0,
            payments_rest,
        };
        for (leg, own) in &contest.legs {
            let amount = i128::from(own.amount.as_i64());
            let moved = if leg.is_incoming() { amount } else { -amount };
            match own.outcome {
                LegOutcome::Applied(_) => range.surely(moved),
                LegOutcome::Pending => range.perhaps(moved),
                LegOutcome::Void => {}
            }
        }
        range
    }

    /// And by one row more.
    pub fn add(&mut self, row: &Signup) {
        let fee = i128::from(row.fee_content().amount.as_i64());
        match &row.state {
            State::Initialized(_) => self.perhaps(fee),
            State::Expired => {}
            State::Paid(_)
            | State::InProgress(_)
            | State::Completed(..)
            | State::Missed(..)
            | State::Forfeited(..)
            | State::Shared(.., None) => self.surely(fee),
            State::Claiming(.., prize, _) => {
                self.surely(fee);
                self.paying(i128::from(prize.as_i64()));
            }
            State::Shared(.., prize, Some(_)) => self.surely(fee - i128::from(prize.as_i64())),
            State::Refunding(..) => {
                self.surely(fee);
                self.paying(fee);
            }
            State::Refunded(..) => {}
        }
    }

    /// With so much more in the pool, or less where it is below zero.
    #[must_use]
    pub const fn plus(mut self, surplus: i128) -> Self {
        self.surely(surplus);
        self
    }

    /// How far what the account held lies outside: before the rows were read, after that, or at a
    /// moment in between, because while signups are open a pool only grows, and after that it only
    /// shrinks. Above zero where it holds more than it may, below where it holds less.
    #[must_use]
    pub fn gap(&self, before: i64, after: i64) -> i128 {
        let (before, after) = (i128::from(before), i128::from(after));
        let (lowest, highest) = (before.min(after), before.max(after));
        if highest < self.least {
            highest - self.least
        } else {
            (lowest - self.most).max(0)
        }
    }

    const fn surely(&mut self, moved: i128) {
        self.least += moved;
        self.most += moved;
    }

    const fn paying(&mut self, amount: i128) {
        if !self.payments_rest {
            self.perhaps(-amount);
        }
    }

    const fn perhaps(&mut self, moved: i128) {
        if moved < 0 {
            self.least += moved;
        } else {
            self.most += moved;
        }
    }
}

impl fmt::Display for PoolRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.least, self.most)
    }
}

/// What the funds system has between a contest's pool and one viewer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Under the fee's order.
    pub fee: Option<Transfer>,
    /// Under the prize's order.
    pub prize: Option<Transfer>,
    /// Under the refund's order.
    pub refund: Option<Transfer>,
    /// Between the two under any other order.
    pub strays: Vec<Transfer>,
}

/// A difference, and what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Its class.
    pub class: FindingClass,
    /// The order that it is about.
    pub order: OrderId,
    /// The viewer, where it is about one.
    pub user: Option<UserId>,
    /// What our side knows of it, for people. It does not change while the difference stays the same,
    /// so it names no state that a signup passes through.
    pub known: String,
    /// What our side says has moved under the order, if anything.
    pub ours: Option<Content>,
    /// What the funds system has.
    pub theirs: Option<Transfer>,
    /// What repairs it; none where only a person can.
    pub repair: Option<Repair>,
}

impl Difference {
    /// How much more the pool holds because of it than our side says.
    #[must_use]
    pub fn surplus(&self, pool: &Account) -> i128 {
        let into = |content: &Content| {
            let amount = i128::from(content.amount.as_i64());
            if content.to == *pool { amount } else { -amount }
        };
        let theirs = self.theirs.as_ref().map(|theirs| &theirs.content);
        theirs.map_or(0, into) - self.ours.as_ref().map_or(0, into)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.known)?;
        if let Some(ours) = &self.ours {
            write!(f, ": {ours}")?;
        }
        match &self.theirs {
            None => write!(f, "; the funds system has no such transfer"),
            Some(theirs) => {
                let (content, position) = (&theirs.content, theirs.receipt.position.0);
                write!(f, "; the funds system has {content} at position {position}")
            }
        }
    }
}

/// What repairs a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// The funds system is the authority: this fact is applied to the row, and so many coins go back
    /// because of it.
    Apply(Fact, Coins),
    /// The transfer is asked for again under the order that it always had: it cannot apply twice.
    PayAgain(Leg, Content),
    /// The row was lost, and is written again for this fee, which goes back. Until the contest settles it
    /// waits for the viewer, who may repeat the signup.
    Restore(UserId, Coins),
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apply(..) => f.write_str("the row says what the funds system has"),
            Self::PayAgain(_, content) => write!(f, "{content} is sent again under its order"),
            Self::Restore(user, fee) => {
                write!(
                    f,
                    "the lost row of {user} is written again, its fee of {fee} goes back"
                )
            }
        }
    }
}

impl Repair {
    /// The coins that it may move.
    #[must_use]
    pub fn coins(&self) -> Coins {
        match self {
            Self::Apply(_, coins) => *coins,
            Self::PayAgain(_, content) => content.amount,
            Self::Restore(_, fee) => *fee,
        }
    }

    /// True where nobody need be asked: the funds system is the authority on whether money moved, and
    /// what is paid again under its own order cannot be paid twice.
    #[must_use]
    pub const fn is_automatic(&self) -> bool {
        !matches!(self, Self::Restore(..))
    }
}

/// What a row and the funds system say differently about one viewer; a step that is under way is no
/// difference.
///
/// `row` and `seen` are each side's latest answer, the funds system's read first: what it had then, a
/// row must say by `recorded_before`, on the funds system's clock, unless nobody wrote it down. What
/// applied later may be on its way to the row still, and what a row says of a position above
/// `answered_at` had not applied when the funds system was read.
#[must_use]
pub fn viewer(
    contest: ContestId,
    user: &UserId,
    row: Option<&Signup>,
    seen: &Seen,
    (answered_at, recorded_before): (Position, UnixMillis),
) -> Vec<Difference> {
    // As it stood when the funds system answered.
    let since = |order: OrderId| {
        let mut said = row.into_iter().flat_map(booked);
        said.any(|said| said.order == order && said.position > answered_at)
    };
    let is_late = |transfer: &&Transfer| transfer.receipt.applied_at < recorded_before;
    let mut found = Vec::new();
    found.extend(fee(contest, user, row, seen.fee.as_ref(), is_late));
    for (leg, transfer) in [
        (Leg::Prize(contest, user.clone()), &seen.prize),
        (Leg::Refund(contest, user.clone()), &seen.refund),
    ] {
        found.extend(payment(leg, row, transfer.as_ref(), is_late));
    }
    let is_paid_out = seen.prize.is_some() || seen.refund.is_some();
    found.extend(seen.strays.iter().map(|stray| {
        let is_fee = stray.content.to == Account::Pool(contest);
        let is_second = if is_fee {
            seen.fee.is_some()
        } else {
            is_paid_out
        };
        let class = if is_second {
            FindingClass::DuplicateTransfer
        } else {
            FindingClass::OrphanTransfer
        };
        Difference {
            // Also where its order is one that a row names: that one explains the first transfer.
            ours: None,
            ..difference(class, stray.order_id, row, Some(stray), None)
        }
    }));
    // Paid under another order, by whoever: to pay again would be to pay twice.
    let pool = Account::Pool(contest);
    let was_paid = seen.strays.iter().any(|stray| stray.content.from == pool);
    found.retain(|one| one.theirs.is_some() || !since(one.order));
    for one in &mut found {
        one.user = Some(user.clone());
        if was_paid && matches!(one.repair, Some(Repair::PayAgain(..))) {
            one.repair = None;
        }
    }
    found
}

/// A transfer of a pool under an order that is nobody's, with no viewer on its other side.
#[must_use]
pub fn stray(transfer: &Transfer) -> Difference {
    Difference {
        class: FindingClass::OrphanTransfer,
        order: transfer.order_id,
        user: None,
        known: "no leg of this contest".to_owned(),
        ours: None,
        theirs: Some(transfer.clone()),
        repair: None,
    }
}

/// What a contest and the funds system say differently about one of the contest's own legs. One that is
/// not known to have applied is looked up by whoever drives the contest.
#[must_use]
pub fn own_leg(contest: &Contest, leg: OwnLeg, seen: Option<&Transfer>) -> Option<Difference> {
    let own = contest.legs.get(&leg);
    let outcome = own.map(|own| own.outcome);
    let due = contest.own_transfer(leg).map(|(_, content)| content);
    let class = match (outcome, seen) {
        (None | Some(LegOutcome::Void), Some(_)) => FindingClass::OrphanTransfer,
        (Some(_), Some(seen)) if Some(&seen.content) != due.as_ref() => FindingClass::AmountDiffers,
        (Some(LegOutcome::Applied(_)), None) => FindingClass::PoolDiffers,
        _ => return None,
    };
    let is_applied = matches!(outcome, Some(LegOutcome::Applied(_)));
    Some(Difference {
        class,
        order: Leg::Own(leg, contest.id).order_id(),
        user: None,
        known: own.map_or_else(
            || format!("no {}", leg.name()),
            |own| format!("{} of {} is {:?}", leg.name(), own.amount, own.outcome),
        ),
        ours: due.filter(|_| is_applied),
        theirs: seen.cloned(),
        repair: None,
    })
}

fn fee(
    contest: ContestId,
    user: &UserId,
    row: Option<&Signup>,
    fee: Option<&Transfer>,
    is_late: impl Fn(&&Transfer) -> bool,
) -> Option<Difference> {
    let order = Leg::Fee(contest, user.clone()).order_id();
    let of = |class, repair| Some(difference(class, order, row, fee, repair));
    match (row, fee) {
        (None, None) => None,
        (None, Some(fee)) => {
            let Content { from, to, amount } = &fee.content;
            let is_fee = *from == Account::User(user.clone()) && *to == Account::Pool(contest);
            let restored = is_fee.then(|| Repair::Restore(user.clone(), *amount));
            of(FindingClass::OrphanTransfer, restored)
        }
        (Some(row), None) if row.state.kind().is_paid() => of(FindingClass::FeeMissing, None),
        (Some(_), None) => None,
        (Some(row), Some(fee)) if fee.content != row.fee_content() => {
            of(FindingClass::AmountDiffers, None)
        }
        (Some(row), Some(fee)) => {
            let recorded = |back| Some(Repair::Apply(Fact::FeeApplied(fee.receipt), back));
            match row.state.kind() {
                StateKind::Initialized if is_late(&fee) => {
                    of(FindingClass::FeeUnrecorded, recorded(Coins::ZERO))
                }
                // It was proven that none could arrive: it goes back.
                StateKind::Expired => of(FindingClass::OrphanTransfer, recorded(row.fee)),
                _ => None,
            }
        }
    }
}

fn payment(
    leg: Leg,
    row: Option<&Signup>,
    transfer: Option<&Transfer>,
    is_late: impl Fn(&&Transfer) -> bool,
) -> Option<Difference> {
    let (unrecorded, missing) = match leg {
        Leg::Prize(..) => (FindingClass::PrizeUnrecorded, FindingClass::PrizeMissing),
        _ => (FindingClass::RefundUnrecorded, FindingClass::RefundMissing),
    };
    let of = |class, repair| {
        let order = leg.order_id();
        Some(difference(class, order, row, transfer, repair))
    };
    let asked = row.and_then(|row| Some((row, row.payment().filter(|(due, _)| *due == leg)?.1)));
    let Some((row, amount)) = asked else {
        // Nobody of ours has asked for it.
        transfer?;
        return of(FindingClass::OrphanTransfer, None);
    };
    let content = |payee| row.payment_content(payee, amount);
    match (&row.state, transfer) {
        (State::Shared(.., Some(paid)) | State::Refunded(.., paid), Some(transfer)) => {
            let differs = transfer.content != content(paid.payee);
            differs.then(|| of(FindingClass::AmountDiffers, None))?
        }
        (State::Shared(.., Some(paid)) | State::Refunded(.., paid), None) => {
            let again = Repair::PayAgain(leg.clone(), content(paid.payee));
            of(missing, Some(again))
        }
        (_, None) => None,
        (_, Some(transfer)) => {
            let mut payees = Payee::ALL.iter().copied();
            match payees.find(|payee| transfer.content == content(*payee)) {
                None => of(FindingClass::AmountDiffers, None),
                Some(payee) if is_late(&transfer) => {
                    let receipt = transfer.receipt;
                    let applied = Fact::PaymentApplied(Paid { payee, receipt });
                    of(unrecorded, Some(Repair::Apply(applied, Coins::ZERO)))
                }
                Some(_) => None,
            }
        }
    }
}

fn difference(
    class: FindingClass,
    order: OrderId,
    row: Option<&Signup>,
    transfer: Option<&Transfer>,
    repair: Option<Repair>,
) -> Difference {
    let mut said = row.into_iter().flat_map(booked);
    Difference {
        class,
        order,
        user: None,
        known: row.map_or_else(|| "no signup".to_owned(), known),
        ours: said
            .find(|said| said.order == order)
            .map(|said| said.content),
        theirs: transfer.cloned(),
        repair,
    }
}

/// What is said of a transfer under a signup's order that is not what was asked for: the same whoever sees it,
/// so that what a person has resolved stays resolved.
#[must_use]
pub fn other_content(row: &Signup, theirs: &Transfer) -> String {
    difference(
        FindingClass::AmountDiffers,
        theirs.order_id,
        Some(row),
        Some(theirs),
        None,
    )
    .to_string()
}

fn known(row: &Signup) -> String {
    format!("signup {}, fee {}", row.id, row.fee)
}
