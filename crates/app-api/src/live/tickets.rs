//! Tickets for event streams: for browsers, whose EventSource cannot send a header.
//!
//! A ticket stands in an address, which logs and histories keep; so it is good once and briefly.

use crate::auth::Role;
use domain::{ids::UserId, time::UnixMillis};
use sha2::{Digest, Sha256};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
};

/// How long a ticket is good, in milliseconds.
pub(crate) const TTL_MS: i64 = 60_000;
/// The most tickets that are given within [`TTL_MS`], used ones too, and the most of one user.
const TICKETS_MAX: usize = 100_000;
const TICKETS_OF_USER_MAX: usize = 100;
/// Random bytes in a ticket.
const RANDOM: usize = 32;

/// What a ticket is kept as: whoever reads this memory cannot use it.
type Fingerprint = [u8; 32];

struct Held {
    user: UserId,
    role: Role,
    expires_at: UnixMillis,
}

/// A ticket that was given: its end, what it is kept as, and to whom.
struct Given(UnixMillis, Fingerprint, UserId);

#[derive(Default)]
struct Store {
    open: HashMap<Fingerprint, Held>,
    /// In the order in which they were given, which is that in which they expire.
    given: VecDeque<Given>,
    /// Used ones count until they would have expired, so that one user cannot take all places.
    of_user: HashMap<UserId, usize>,
}

/// The tickets that are open.
#[derive(Default)]
pub(crate) struct Tickets(Mutex<Store>);

/// Why no ticket was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// This user has too many open.
    User,
    /// There are too many open.
    Full,
    /// The operating system has no random numbers.
    NoRandom,
}

impl Tickets {
    /// A new ticket and its end.
    pub(crate) fn give(
        &self,
        user: UserId,
        role: Role,
        now: UnixMillis,
    ) -> Result<(String, UnixMillis), Refused> {
        let mut bytes = [0; RANDOM];
        getrandom::fill(&mut bytes).map_err(|_| Refused::NoRandom)?;
        let ticket: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let expires_at = now.plus(TTL_MS);
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        store.prune(now);
        if store.given.len() >= TICKETS_MAX {
            return Err(Refused::Full);
        }
        let given = store.of_user.entry(user.clone()).or_default();
        if *given >= TICKETS_OF_USER_MAX {
            return Err(Refused::User);
        }
        *given += 1;
        let key = fingerprint(&ticket);
        store.given.push_back(Given(expires_at, key, user.clone()));
        let held = Held {
            user,
            role,
            expires_at,
        };
        store.open.insert(key, held);
        Ok((ticket, expires_at))
    }

    /// Whose ticket it is; from now on it is used. None for one that is unknown, used or past.
    pub(crate) fn redeem(&self, ticket: &str, now: UnixMillis) -> Option<(UserId, Role)> {
        let mut store = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = store.open.remove(&fingerprint(ticket))?;
        (now < held.expires_at).then_some((held.user, held.role))
    }
}

impl Store {
    fn prune(&mut self, now: UnixMillis) {
        while let Some(Given(_, key, user)) = self.given.pop_front_if(|given| given.0 <= now) {
            self.open.remove(&key);
            if let Some(given) = self.of_user.get_mut(&user) {
                *given -= 1;
                if *given == 0 {
                    self.of_user.remove(&user);
                }
            }
        }
    }
}

fn fingerprint(ticket: &str) -> Fingerprint {
    Sha256::digest(ticket.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMillis = UnixMillis(1_000_000);

    fn user(name: &str) -> UserId {
        name.parse().expect("a user id")
    }

    #[test]
    fn a_ticket_is_good_once_for_whom_it_was_given_to() {
        let tickets = Tickets::default();
        let (ann, _) = tickets
            .give(user("ann"), Role::Player, NOW)
            .expect("a ticket");
        let (bob, _) = tickets
            .give(user("bob"), Role::Operator, NOW)
            .expect("a ticket");
        assert_ne!(ann, bob);
        assert!(ann.len() >= 2 * 16, "at least 128 random bits");
        assert_eq!(
            tickets.redeem(&bob, NOW),
            Some((user("bob"), Role::Operator))
        );
        assert_eq!(tickets.redeem(&bob, NOW), None);
        assert_eq!(tickets.redeem(&ann, NOW), Some((user("ann"), Role::Player)));
        for other in ["", "x", &bob.to_uppercase()] {
            assert_eq!(tickets.redeem(other, NOW), None);
        }
    }

    #[test]
    fn a_ticket_ends_after_a_minute() {
        let tickets = Tickets::default();
        let give = || tickets.give(user("ann"), Role::Player, NOW).expect("one");
        let ((in_time, end), (late, _)) = (give(), give());
        assert_eq!(end, NOW.plus(TTL_MS));
        assert!(tickets.redeem(&in_time, end.plus(-1)).is_some());
        assert!(tickets.redeem(&late, end).is_none());
    }

    #[test]
    fn what_is_kept_is_bounded_and_goes_with_time() {
        let tickets = Tickets::default();
        for number in 0..TICKETS_MAX {
            let user = user(&format!("u{}", number / TICKETS_OF_USER_MAX));
            assert!(tickets.give(user, Role::Player, NOW).is_ok());
        }
        let refused = |name: &str, at| tickets.give(user(name), Role::Player, at).err();
        assert_eq!(refused("ann", NOW), Some(Refused::Full));
        let later = NOW.plus(TTL_MS);
        assert_eq!(refused("ann", later), None);
        let store = tickets.0.lock().expect("not poisoned");
        assert_eq!(
            (store.open.len(), store.given.len(), store.of_user.len()),
            (1, 1, 1)
        );
    }

    #[test]
    fn one_user_cannot_take_all() {
        let tickets = Tickets::default();
        let give = |name| tickets.give(user(name), Role::Player, NOW);
        let first = give("ann").expect("a ticket").0;
        for _ in 1..TICKETS_OF_USER_MAX {
            assert!(give("ann").is_ok());
        }
        assert_eq!(give("ann").err(), Some(Refused::User));
        assert!(give("bob").is_ok());
        // Used ones count until they would have expired.
        assert!(tickets.redeem(&first, NOW).is_some());
        assert_eq!(give("ann").err(), Some(Refused::User));
        let later = tickets.give(user("ann"), Role::Player, NOW.plus(TTL_MS));
        assert!(later.is_ok());
    }
}
