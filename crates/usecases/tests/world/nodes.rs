//! Processes that share one store, one funds system and what is only shown, as nodes do.

use super::{World, user, watched::Watch, watched::Watched};
use adapters_memory::{shown::MemoryShown, system::ManualClock};
use domain::{ids::ContestId, settlement::Advisory, signup::StateKind};
use ports::{
    outbox::{Outbox, OutboxEntry},
    shown::{Tallies, Tally},
    signups::SignupRepository,
};
use std::sync::Arc;
use usecases::{Contests, Ports, Shown};

/// One process, and what it calls.
#[derive(Clone)]
pub struct Node {
    pub process: Arc<Contests>,
    pub watch: Arc<Watch>,
}

/// Waits until it is so; fails if it does not become so.
pub async fn until(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..1_000_000 {
        if is_so() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("it does not become so: {what}");
}

/// Lets what runs beside the answers run.
pub async fn others_go_on() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

impl World {
    /// Nothing is kept yet of what is only shown.
    pub fn empty_shown(&self) -> Arc<MemoryShown> {
        Arc::new(MemoryShown::new(Arc::clone(&self.clock) as _))
    }

    /// A node that shows what is in `shown`.
    pub fn node(&self, shown: &Arc<MemoryShown>) -> Node {
        self.node_at(shown, &self.clock)
    }

    /// The same with a clock of its own; the store's is the world's.
    pub fn node_at(&self, shown: &Arc<MemoryShown>, clock: &Arc<ManualClock>) -> Node {
        let watch = Arc::new(Watch::default());
        let store = Watched::new(&self.store, &watch);
        let seen = Watched::new(shown, &watch);
        let ports = Ports {
            contests: Arc::clone(&store) as _,
            signups: Arc::clone(&store) as _,
            tasks: Arc::clone(&store) as _,
            leaderboard: Arc::clone(&store) as _,
            leases: Arc::clone(&store) as _,
            funds: Watched::new(&self.funds, &watch),
            clock: Arc::clone(clock) as _,
            shown: Some(Shown {
                records: Arc::clone(&seen) as _,
                tallies: Arc::clone(&seen) as _,
                ranking: Arc::clone(&seen) as _,
                past_pools: seen,
                lifetimes: Arc::clone(shown) as _,
                outbox: store,
            }),
            ..self.process().ports().clone()
        };
        Node {
            process: Arc::new(Contests::new(ports).expect("a safe funds system")),
            watch,
        }
    }

    /// A contest's tally as it is kept.
    pub async fn tally(&self, shown: &Arc<MemoryShown>, id: ContestId) -> Option<Tally> {
        let read = Tallies::read(&**shown, &self.contest(id)).await;
        read.expect("an answer").map(|Advisory(tally)| tally)
    }

    /// What the tally is to be: counted over the rows. Every weight is 1 in contests of equal
    /// parts.
    pub fn counted(&self, id: ContestId) -> Tally {
        let mut tally = Tally::ZERO;
        for signup in self.signups(id) {
            let kind = signup.state.kind();
            let is_finisher = matches!(
                kind,
                StateKind::Completed
                    | StateKind::Claiming
                    | StateKind::Shared
                    | StateKind::Forfeited
            );
            tally.finishers += u64::from(is_finisher);
            tally.weight += u64::from(is_finisher);
            if kind == StateKind::Shared {
                let prize = signup.state.prize().expect("a prize");
                tally.winners += 1;
                tally.prizes = tally.prizes.plus(prize).expect("a sum");
            }
        }
        tally
    }

    /// What is saved to be done, and due.
    pub async fn saved(&self) -> Vec<OutboxEntry> {
        let mut saved: Vec<OutboxEntry> = Vec::new();
        loop {
            let after = saved.last().map(|entry| entry.sequence);
            let page = Outbox::take(&*self.store, after, 1_000).await;
            let page = page.expect("the outbox");
            if page.is_empty() {
                return saved;
            }
            saved.extend(page);
        }
    }

    /// Signs viewers up who have the coins, and has them finish.
    pub async fn finishers(&self, node: &Node, contest: ContestId, names: &[String]) {
        for name in names {
            self.grant(name, 100);
            self.sign_up(&node.process, contest, name).await;
            self.complete(node, contest, name).await;
        }
    }

    /// A viewer's task is done, and seen to be.
    pub async fn complete(&self, node: &Node, contest: ContestId, name: &str) {
        self.finish(name).await;
        let seen = node.process.read(contest, &user(name)).await;
        seen.expect("an answer").expect("a signup");
        let row = SignupRepository::find(&*self.store, contest, &user(name)).await;
        let row = row.expect("read").expect("a signup");
        assert_eq!(row.state.kind(), StateKind::Completed);
    }
}
