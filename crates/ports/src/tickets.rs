//! Tickets for event streams: for browsers, whose EventSource cannot send a header.

use crate::{store::StoreError, system::Clock};
use async_trait::async_trait;
use domain::{ids::UserId, time::UnixMillis};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
};

/// What a ticket is kept as: whoever reads it cannot use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TicketHash(pub [u8; 32]);

/// The most tickets that one user is given in a window.
pub const TICKETS_OF_USER_MAX: u32 = 100;

/// What became of a wish for a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// It is good until then, by the store's clock.
    Until(UnixMillis),
    /// This user has been given as many as one may have.
    OfUserMax,
    /// There is no room for any more, whoever asks.
    Full,
}

/// The tickets.
///
/// 1. A ticket that was given is good for as long as was said, by the store's clock, and at its end
///    no longer.
/// 2. `take` tells whose a ticket is to one of all who ask, whatever process they are in; the
///    others, and who asks for one that was never given, are told nothing.
/// 3. A user is given at most [`TICKETS_OF_USER_MAX`] in a window, used ones too. A window begins with
///    the first ticket that is given when there is none, and lasts as long as that ticket. Users do
///    not disturb each other.
/// 4. Whoever shares the store takes what another gave, also after a crash of the giver.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Tickets: Send + Sync {
    /// Keeps a new ticket of a user for `for_ms` milliseconds from now.
    async fn give(
        &self,
        ticket: TicketHash,
        user: &UserId,
        for_ms: i64,
    ) -> Result<Given, StoreError>;

    /// Whose ticket it is; from now on it is used. None for one that is unknown, used or past. Where
    /// there is no answer, the ticket may be lost.
    async fn take(&self, ticket: TicketHash) -> Result<Option<UserId>, StoreError>;
}

/// The most tickets that [`OwnTickets`] remembers.
pub const OWN_TICKETS_MAX: usize = 100_000;

/// The tickets of a process that is alone: they are gone when it ends, like the streams that they
/// are for.
#[derive(Debug)]
pub struct OwnTickets<C> {
    clock: Arc<C>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    open: BTreeMap<TicketHash, (UserId, UnixMillis)>,
    windows: BTreeMap<UserId, Window>,
    /// Used ones too, in the order in which they were given: in which they end, as all live as long.
    given: VecDeque<(UnixMillis, TicketHash, UserId)>,
}

#[derive(Debug)]
struct Window {
    given: u32,
    ends_at: UnixMillis,
}

impl<C: Clock> OwnTickets<C> {
    /// No ticket was given yet.
    #[must_use]
    pub fn new(clock: Arc<C>) -> Self {
        Self {
            clock,
            kept: Mutex::default(),
        }
    }
}

#[async_trait]
impl<C: Clock> Tickets for OwnTickets<C> {
    async fn give(
        &self,
        ticket: TicketHash,
        user: &UserId,
        for_ms: i64,
    ) -> Result<Given, StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(kept.give(ticket, user, for_ms, self.clock.now()))
    }

    async fn take(&self, ticket: TicketHash) -> Result<Option<UserId>, StoreError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.open.remove(&ticket);
        let now = self.clock.now();
        Ok(found.and_then(|(user, ends_at)| (now < ends_at).then_some(user)))
    }
}

impl Kept {
    fn give(&mut self, ticket: TicketHash, user: &UserId, for_ms: i64, now: UnixMillis) -> Given {
        self.prune(now);
        if self.given.len() >= OWN_TICKETS_MAX {
            return Given::Full;
        }
        let ends_at = now.plus(for_ms);
        let window = self
            .windows
            .entry(user.clone())
            .or_insert(Window { given: 0, ends_at });
        if window.ends_at <= now {
            *window = Window { given: 0, ends_at };
        }
        if window.given >= TICKETS_OF_USER_MAX {
            return Given::OfUserMax;
        }
        window.given += 1;
        self.open.insert(ticket, (user.clone(), ends_at));
        self.given.push_back((ends_at, ticket, user.clone()));
        Given::Until(ends_at)
    }

    /// Forgets what is past; a window is, at the latest, when the ticket that began it is.
    fn prune(&mut self, now: UnixMillis) {
        while let Some((_, ticket, user)) = self.given.pop_front_if(|given| given.0 <= now) {
            self.open.remove(&ticket);
            if self
                .windows
                .get(&user)
                .is_some_and(|window| window.ends_at <= now)
            {
                self.windows.remove(&user);
            }
        }
    }
}
