//! The suite of [`ports::tickets::Tickets`].
#![deny(dead_code, reason = "a case that is not listed is never run")]
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{
    fixture::{StoreFixture, at_once, now},
    samples::{CROWD, HOUR, user},
};
use domain::{ids::UserId, time::UnixMillis};
use ports::tickets::{Given, TICKETS_OF_USER_MAX, TicketHash, Tickets};
use std::sync::Arc;
use uuid::Uuid;

macro_rules! tickets_cases {
    (@ ($d:tt) $($case:ident),+) => {
        /// The cases of this suite. Each opens a store of its own; what is given says where its
        /// tickets are.
        pub mod cases {
            use crate::{fixture::StoreFixture, tickets::TicketsOf};
            $(
                #[doc = concat!("The case `", stringify!($case), "`.")]
                pub async fn $case<F: StoreFixture>(tickets: TicketsOf<F>) {
                    super::$case(F::open(&[]).await, tickets).await;
                }
            )+
        }

        /// Makes every case a test of a [`StoreFixture`], of whose tickets the second argument is a
        /// getter: one line in the adapter's `tests/`. They stand apart from [`store_suite!`], as a
        /// store that is alone needs none.
        ///
        /// [`StoreFixture`]: crate::fixture::StoreFixture
        /// [`store_suite!`]: crate::store_suite
        #[macro_export]
        macro_rules! tickets_suite {
            ($d fixture:ty, $d tickets:expr) => {
                mod tickets {
                    use super::*;
                    $(
                        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                        async fn $case() {
                            $crate::tickets::cases::$case::<$d fixture>($d tickets).await;
                        }
                    )+
                }
            };
        }
    };
    ($($case:ident),+ $(,)?) => { tickets_cases! { @ ($) $($case),+ } };
}

tickets_cases! {
    a_ticket_is_good_once_for_whom_it_was_given_to,
    of_many_who_take_one_is_told,
    it_ends_by_the_stores_own_clock,
    what_is_past_is_nobodys,
    a_user_is_given_so_many_in_a_window_used_ones_too,
    of_many_at_once_no_more_are_given,
    a_window_lasts_as_long_as_its_first_ticket,
    tickets_outlive_a_crash,
}

/// Where the tickets of a store are.
pub type TicketsOf<F> = fn(&F) -> Arc<dyn Tickets>;

/// Longer than any case.
const LONG: i64 = HOUR;
/// So short that a case can wait for its end.
const SHORT: i64 = 300;
/// Long enough for a crowd to be answered, and short enough to wait for.
const MIDDLE: i64 = 5_000;

fn ticket() -> TicketHash {
    let mut hash = [7; 32];
    hash[..16].copy_from_slice(Uuid::now_v7().as_bytes());
    TicketHash(hash)
}

async fn give(tickets: &Arc<dyn Tickets>, ticket: TicketHash, user: &UserId, for_ms: i64) -> Given {
    let given = tickets.give(ticket, user, for_ms).await;
    given.expect("an answer")
}

/// A new ticket, and its end.
async fn given(tickets: &Arc<dyn Tickets>, user: &UserId, for_ms: i64) -> (TicketHash, UnixMillis) {
    let ticket = ticket();
    match give(tickets, ticket, user, for_ms).await {
        Given::Until(end) => (ticket, end),
        other => panic!("{user}: {other:?}"),
    }
}

async fn take(tickets: &Arc<dyn Tickets>, ticket: TicketHash) -> Option<UserId> {
    tickets.take(ticket).await.expect("an answer")
}

/// Asks for so many at once; what became of each.
async fn wishes<F: StoreFixture>(
    store: &F,
    tickets: TicketsOf<F>,
    user: &UserId,
    count: u32,
    for_ms: i64,
) -> Vec<Given> {
    let calls = (0..count).map(|_| {
        let (tickets, user) = (tickets(store), user.clone());
        async move { give(&tickets, ticket(), &user, for_ms).await }
    });
    at_once(calls).await
}

fn count(answers: &[Given]) -> (usize, usize) {
    let refused = answers.iter().filter(|it| **it == Given::OfUserMax).count();
    let given = answers.iter().filter(|it| matches!(it, Given::Until(_)));
    (given.count(), refused)
}

// clauses 1, 2
async fn a_ticket_is_good_once_for_whom_it_was_given_to<F: StoreFixture>(
    store: F,
    tickets: TicketsOf<F>,
) {
    let tickets = tickets(&store);
    let (ann, bob) = (user("ann"), user("bob"));
    let earliest = now(&store).await.plus(LONG);
    let (of_ann, end) = given(&tickets, &ann, LONG).await;
    let (of_bob, _) = given(&tickets, &bob, LONG).await;
    assert!(end >= earliest && end <= now(&store).await.plus(LONG));
    assert_eq!(take(&tickets, of_bob).await, Some(bob));
    assert_eq!(take(&tickets, of_bob).await, None, "used");
    assert_eq!(take(&tickets, ticket()).await, None, "never given");
    assert_eq!(take(&tickets, of_ann).await, Some(ann), "others stay");
}

// clause 2
async fn of_many_who_take_one_is_told<F: StoreFixture>(store: F, tickets: TicketsOf<F>) {
    for round in 0..8 {
        let ann = user("ann");
        let (ticket, _) = given(&tickets(&store), &ann, LONG).await;
        let calls = (0..CROWD).map(|_| {
            let tickets = tickets(&store);
            async move { take(&tickets, ticket).await }
        });
        let told: Vec<UserId> = at_once(calls).await.into_iter().flatten().collect();
        assert_eq!(told, [ann], "round {round}");
    }
}

// clause 1
async fn it_ends_by_the_stores_own_clock<F: StoreFixture>(store: F, tickets: TicketsOf<F>) {
    let tickets = tickets(&store);
    let ann = user("ann");
    // A ticket can be asked after once alone, so each look has one of its own.
    let (mut looks, mut last) = (Vec::new(), now(&store).await);
    for _ in 0..10 {
        let look = given(&tickets, &ann, SHORT).await;
        last = last.max(look.1);
        looks.push(look);
    }
    for (ticket, end) in looks {
        let taken = take(&tickets, ticket).await;
        if now(&store).await < end {
            assert_eq!(taken, Some(ann.clone()), "it is good as long as was said");
        }
        store.reach(now(&store).await.plus(SHORT / 6)).await;
    }
    let (late, end) = given(&tickets, &ann, SHORT).await;
    store.reach(end.max(last)).await;
    assert_eq!(take(&tickets, late).await, None, "past");
}

// clause 1
async fn what_is_past_is_nobodys<F: StoreFixture>(store: F, tickets: TicketsOf<F>) {
    let tickets = tickets(&store);
    let (past, end) = given(&tickets, &user("ann"), 1).await;
    store.reach(end).await;
    // Whether or not others have been given since, and what was past been cleared away.
    let (good, _) = given(&tickets, &user("bob"), LONG).await;
    assert_eq!(take(&tickets, past).await, None);
    assert_eq!(take(&tickets, good).await, Some(user("bob")));
}

// clause 3
async fn a_user_is_given_so_many_in_a_window_used_ones_too<F: StoreFixture>(
    store: F,
    tickets: TicketsOf<F>,
) {
    let ann = user("ann");
    let (first, _) = given(&tickets(&store), &ann, LONG).await;
    let rest = TICKETS_OF_USER_MAX - 1;
    let answers = wishes(&store, tickets, &ann, rest, LONG).await;
    assert_eq!(count(&answers), (rest as usize, 0));
    let tickets = tickets(&store);
    let refused = ticket();
    let answer = give(&tickets, refused, &ann, LONG).await;
    assert_eq!(answer, Given::OfUserMax);
    assert_eq!(take(&tickets, refused).await, None, "nothing is kept of it");
    assert_eq!(take(&tickets, first).await, Some(ann.clone()));
    let answer = give(&tickets, ticket(), &ann, LONG).await;
    assert_eq!(answer, Given::OfUserMax, "used ones count");
    given(&tickets, &user("bob"), LONG).await;
}

// clause 3
async fn of_many_at_once_no_more_are_given<F: StoreFixture>(store: F, tickets: TicketsOf<F>) {
    let users = [user("ann"), user("bob"), user("Ann")];
    let count_of = 2 * TICKETS_OF_USER_MAX;
    let calls = (0..count_of).flat_map(|_| users.clone()).map(|user| {
        let tickets = tickets(&store);
        async move { (give(&tickets, ticket(), &user, LONG).await, user) }
    });
    let answers = at_once(calls).await;
    for user in users {
        let of_user = answers.iter().filter(|(_, of)| *of == user);
        let answers: Vec<Given> = of_user.map(|(given, _)| *given).collect();
        let max = TICKETS_OF_USER_MAX as usize;
        assert_eq!(count(&answers), (max, max), "{user}");
    }
}

// clause 3
async fn a_window_lasts_as_long_as_its_first_ticket<F: StoreFixture>(
    store: F,
    tickets: TicketsOf<F>,
) {
    let ann = user("ann");
    let (_, end) = given(&tickets(&store), &ann, MIDDLE).await;
    // These live longer, and lengthen nothing.
    let answers = wishes(&store, tickets, &ann, TICKETS_OF_USER_MAX, LONG).await;
    assert_eq!(count(&answers).1, 1);
    store.reach(end).await;
    let answers = wishes(&store, tickets, &ann, TICKETS_OF_USER_MAX + 1, LONG).await;
    assert_eq!(count(&answers), (TICKETS_OF_USER_MAX as usize, 1));
}

// clause 4
async fn tickets_outlive_a_crash<F: StoreFixture>(store: F, tickets: TicketsOf<F>) {
    let ann = user("ann");
    let (used, _) = given(&tickets(&store), &ann, LONG).await;
    let (open, _) = given(&tickets(&store), &ann, LONG).await;
    assert_eq!(take(&tickets(&store), used).await, Some(ann.clone()));

    let store = store.reopen().await;
    let tickets = tickets(&store);
    assert_eq!(take(&tickets, used).await, None);
    assert_eq!(take(&tickets, open).await, Some(ann));
}
