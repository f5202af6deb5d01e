//! Tickets between two nodes: what one gives is good on the other, once.
#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use contract_tests::samples::user;
use ports::tickets::{Given, TICKETS_OF_USER_MAX, TicketHash, Tickets};
use std::time::Duration;
use support::{Engine, Nodes, at_once, until};
use uuid::Uuid;

const LONG: i64 = 60_000;
const BOUND: Duration = Duration::from_secs(20);

fn ticket() -> TicketHash {
    let mut hash = [0; 32];
    hash[16..].copy_from_slice(Uuid::now_v7().as_bytes());
    TicketHash(hash)
}

async fn give(nodes: &Nodes, node: usize, name: &str, for_ms: i64) -> TicketHash {
    let ticket = ticket();
    let given = nodes.of(node).give(ticket, &user(name), for_ms).await;
    assert!(matches!(given, Ok(Given::Until(_))), "{given:?}");
    ticket
}

async fn what_one_node_gives_the_other_takes_once<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    for node in 0..2 {
        let ticket = give(&nodes, node, "ann", LONG).await;
        let take = async |node| nodes.of(node).take(ticket).await.expect("an answer");
        assert_eq!(take(node + 1).await, Some(user("ann")));
        assert_eq!((take(node).await, take(node + 1).await), (None, None));
    }
}

async fn of_many_on_both_nodes_one_is_told<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let mut tickets = Vec::new();
    for number in 0..20 {
        tickets.push(give(&nodes, number, "ann", LONG).await);
    }
    let calls = (0..8).flat_map(|number| {
        let mut tickets = tickets.clone();
        // Each node meets them in an order of its own.
        if number % 2 == 0 {
            tickets.reverse();
        }
        let node = nodes.of(number);
        tickets.into_iter().map(move |ticket| {
            let node = node.clone();
            async move { node.take(ticket).await.expect("an answer") }
        })
    });
    let told: Vec<_> = at_once(calls).await.into_iter().flatten().collect();
    assert_eq!(told, vec![user("ann"); tickets.len()]);
    assert_eq!(nodes.count("SELECT COUNT(*) FROM event_ticket").await, 0);
}

async fn both_nodes_together_give_a_user_no_more_than_one_may_have<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let names = ["ann", "bob", "cid", "dan"];
    let max = TICKETS_OF_USER_MAX as usize;
    let calls = (0..2 * max).flat_map(|number| {
        // Users in another order on each node.
        let mut names = names;
        if number % 2 == 0 {
            names.reverse();
        }
        let node = nodes.of(number);
        names.into_iter().map(move |name| {
            let node = node.clone();
            async move {
                node.give(ticket(), &user(name), LONG)
                    .await
                    .expect("an answer")
            }
        })
    });
    let answers = at_once(calls).await;
    let given = answers.iter().filter(|it| matches!(it, Given::Until(_)));
    assert_eq!(given.count(), names.len() * max);
    for name in names {
        let query = format!("SELECT COUNT(*) FROM event_ticket WHERE user_id = '{name}'");
        assert_eq!(nodes.count(&query).await, i64::from(TICKETS_OF_USER_MAX));
    }
}

async fn what_is_past_is_removed_while_others_are_given<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let calls = (0..300).map(|number| {
        let node = nodes.of(number);
        async move {
            let user = user(&format!("viewer-{number}"));
            node.give(ticket(), &user, 1).await.expect("an answer")
        }
    });
    at_once(calls).await;
    until(BOUND, "nothing of the past is left", async || {
        give(&nodes, 0, "ann", 30_000).await;
        let past = "SELECT (SELECT COUNT(*) FROM event_ticket WHERE user_id <> 'ann') \
             + (SELECT COUNT(*) FROM event_ticket_window WHERE user_id <> 'ann')";
        (nodes.count(past).await == 0).then_some(())
    })
    .await;
    assert!(nodes.count("SELECT COUNT(*) FROM event_ticket").await > 0);
}

on_both!(
    what_one_node_gives_the_other_takes_once,
    of_many_on_both_nodes_one_is_told,
    both_nodes_together_give_a_user_no_more_than_one_may_have,
    what_is_past_is_removed_while_others_are_given,
);
