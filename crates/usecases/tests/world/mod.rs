//! A whole system in memory: a store, a funds system, a clock that moves when told, and faults.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses its own part"
)]

pub mod meddled;
pub mod nodes;
pub mod played;
pub mod tampered;
pub mod watched;

use adapters_memory::{
    faults::Faults,
    funds::{FaultyFunds, MemoryFunds},
    store::{FaultyStore, MemoryStore},
    system::{CountingIds, ManualClock},
};
use domain::{
    contest::{Contest, PhaseKind},
    effects::Effect,
    ids::{ContestId, SenderId, UserId},
    invariant::{self, Books},
    money::Coins,
    order::Account,
    payout::Rule,
    signup::{Signup, StateKind},
    terms::{BasisPoints, ClaimMode, NoWinner, Remainder, Task, Terms, Unclaimed},
    time::UnixMillis,
    transfer::Transfer,
};
use ports::{
    funds::TransferOutcome,
    system::{Clock, IdSource},
    tasks::{EventOutcome, TaskEvent, TaskEvents},
};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use usecases::{Claimed, Contests, Created, Ports, SignedUp};

/// When every test begins.
pub const START: UnixMillis = UnixMillis(1_800_000_000_000);

/// A whole system in memory.
pub struct World {
    pub clock: Arc<ManualClock>,
    pub store: Arc<MemoryStore>,
    pub funds: Arc<MemoryFunds>,
    pub faults: Arc<Faults>,
    ids: Arc<dyn IdSource>,
    events: AtomicU64,
}

/// Terms with a fee of 10, one chest to open, and windows of 1, 2, 3 and 4 minutes from `START`.
pub fn terms() -> Terms {
    Terms {
        room_id: "room".parse().expect("a room id"),
        fee: coins(10),
        fee_tiers: Vec::new(),
        task: Task {
            kind: "open_chest".parse().expect("a task kind"),
            target: 1,
        },
        rule: Rule::Equal,
        rake_bps: BasisPoints::ZERO,
        guaranteed_pool: Coins::ZERO,
        series: None,
        claim_mode: ClaimMode::Manual,
        no_winner: NoWinner::Refund,
        remainder: Remainder::Spread,
        unclaimed: Unclaimed::Pay,
        grace_ms: 1_000,
        signup_opens_at: START,
        signup_closes_at: START.plus(60_000),
        tasks_end_at: START.plus(120_000),
        claim_closes_at: START.plus(180_000),
    }
}

pub fn coins(amount: u64) -> Coins {
    Coins::new(amount).expect("an amount")
}

pub fn user(name: &str) -> UserId {
    name.parse().expect("a user id")
}

impl World {
    pub fn new() -> Self {
        let clock = Arc::new(ManualClock::new(START));
        Self {
            store: Arc::new(MemoryStore::new(Arc::clone(&clock), Effect::ALL)),
            funds: Arc::new(MemoryFunds::new(Arc::clone(&clock))),
            faults: Arc::default(),
            ids: Arc::new(CountingIds::default()),
            events: AtomicU64::new(0),
            clock,
        }
    }

    /// A process on this world that meets no faults.
    pub fn process(&self) -> Contests {
        self.process_with(Arc::clone(&self.funds) as _)
    }

    /// A process whose funds system is `funds`.
    pub fn process_with(&self, funds: Arc<dyn ports::funds::Funds>) -> Contests {
        self.wire(
            funds,
            Ports {
                contests: Arc::clone(&self.store) as _,
                signups: Arc::clone(&self.store) as _,
                tasks: Arc::clone(&self.store) as _,
                events: Arc::clone(&self.store) as _,
                findings: Arc::clone(&self.store) as _,
                reconciliations: Arc::clone(&self.store) as _,
                notices: Arc::clone(&self.store) as _,
                switches: Arc::clone(&self.store) as _,
                experiments: Arc::clone(&self.store) as _,
                judge: None,
                receiver: None,
                leaderboard: Arc::clone(&self.store) as _,
                funds: Arc::clone(&self.funds) as _,
                clock: Arc::clone(&self.clock) as _,
                ids: Arc::clone(&self.ids),
                leases: Arc::new(ports::leases::Alone),
                shown: None,
            },
        )
    }

    /// A process all of whose calls go through the world's faults.
    pub fn faulty_process(&self) -> Contests {
        let store = Arc::new(FaultyStore::new(
            Arc::clone(&self.store),
            Arc::clone(&self.faults),
        ));
        let funds = Arc::new(FaultyFunds::new(
            Arc::clone(&self.funds),
            Arc::clone(&self.faults),
        ));
        self.wire(
            funds as _,
            Ports {
                contests: Arc::clone(&store) as _,
                signups: Arc::clone(&store) as _,
                tasks: Arc::clone(&store) as _,
                events: Arc::clone(&store) as _,
                findings: Arc::clone(&store) as _,
                reconciliations: Arc::clone(&store) as _,
                notices: Arc::clone(&store) as _,
                switches: Arc::clone(&store) as _,
                experiments: Arc::clone(&store) as _,
                judge: None,
                receiver: None,
                leaderboard: store as _,
                funds: Arc::clone(&self.funds) as _,
                clock: Arc::clone(&self.clock) as _,
                ids: Arc::clone(&self.ids),
                leases: Arc::new(ports::leases::Alone),
                shown: None,
            },
        )
    }

    fn wire(&self, funds: Arc<dyn ports::funds::Funds>, ports: Ports) -> Contests {
        Contests::new(Ports { funds, ..ports }).expect("a safe funds system")
    }

    /// Viewers with coins.
    pub fn grant(&self, name: &str, amount: u64) {
        let granted = self.funds.grant(&user(name), coins(amount));
        assert!(
            matches!(granted, TransferOutcome::Applied(_)),
            "{granted:?}"
        );
    }

    pub async fn create(&self, process: &Contests, terms: Terms) -> ContestId {
        let created = process
            .create(
                "a contest".to_owned(),
                terms.check().expect("legal terms"),
                None,
            )
            .await;
        match created.expect("a contest") {
            Created::Yes(contest) => contest.id,
            other => panic!("{other:?}"),
        }
    }

    /// Signs a viewer up who has the coins.
    pub async fn sign_up(&self, process: &Contests, contest: ContestId, name: &str) {
        let signed_up = process
            .sign_up(contest, &user(name), None)
            .await
            .expect("an answer");
        assert!(matches!(signed_up, SignedUp::Yes(_)), "{signed_up:?}");
    }

    /// One chest opened now.
    pub async fn finish(&self, name: &str) -> EventOutcome {
        self.event(name, "room", self.clock.now()).await
    }

    pub async fn event(&self, name: &str, room: &str, occurred_at: UnixMillis) -> EventOutcome {
        self.chests(name, room, 1, occurred_at).await
    }

    /// That many chests opened at once.
    pub async fn chests(
        &self,
        name: &str,
        room: &str,
        quantity: u64,
        occurred_at: UnixMillis,
    ) -> EventOutcome {
        let number = self.events.fetch_add(1, Ordering::SeqCst);
        let event = TaskEvent {
            event_id: format!("event-{number}").parse().expect("an event id"),
            user_id: user(name),
            room_id: room.parse().expect("a room id"),
            kind: "open_chest".parse().expect("a task kind"),
            quantity,
            occurred_at,
        };
        let sender: SenderId = "tests".parse().expect("a sender id");
        let outcomes = self
            .store
            .record(&sender, &[event])
            .await
            .expect("an answer");
        outcomes[0]
    }

    pub async fn claim(&self, process: &Contests, contest: ContestId, name: &str) -> Claimed {
        process
            .claim(contest, &user(name))
            .await
            .expect("an answer")
    }

    /// Sets the clock to a moment of the contest's terms.
    pub fn at(&self, time: UnixMillis) {
        assert!(time >= self.clock.now(), "the clock does not go back");
        self.clock.set(time);
    }

    /// Runs the loops until nothing changes for longer than a first compensation waits, the clock
    /// moving on a little each round so that what is paced and backed off comes up.
    pub async fn settle_down(&self, process: &Contests) {
        let mut quiet = 0;
        for _ in 0..200 {
            let before = self.versions();
            self.clock.advance(600);
            process.run_contests().await.expect("a round of contests");
            process.compensate().await.expect("a round of compensation");
            quiet = if self.versions() == before {
                quiet + 1
            } else {
                0
            };
            if quiet == 6 {
                return;
            }
        }
        panic!("the system does not come to rest");
    }

    /// Runs the loops for a while, whatever fails.
    pub async fn settle_down_but(&self, process: &Contests) {
        for _ in 0..10 {
            self.clock.advance(600);
            process.run_contests().await.expect("a round of contests");
            process.compensate().await.expect("a round of compensation");
        }
    }

    /// Runs the loops far past the end of every window.
    pub async fn to_the_end(&self, process: &Contests) {
        for _ in 0..12 {
            self.settle_down(process).await;
            self.clock.advance(60_000);
        }
        self.settle_down(process).await;
    }

    fn versions(&self) -> (Vec<u64>, Vec<u64>) {
        let contests = self
            .store
            .all_contests()
            .iter()
            .map(|contest| contest.version)
            .collect();
        (
            contests,
            self.store
                .all_signups()
                .iter()
                .map(|signup| signup.version)
                .collect(),
        )
    }

    pub fn contest(&self, id: ContestId) -> Contest {
        self.store
            .all_contests()
            .into_iter()
            .find(|contest| contest.id == id)
            .expect("the contest")
    }

    pub fn phase(&self, id: ContestId) -> PhaseKind {
        self.contest(id).phase.kind()
    }

    pub fn signups(&self, id: ContestId) -> Vec<Signup> {
        self.store
            .all_signups()
            .into_iter()
            .filter(|signup| signup.contest_id == id)
            .collect()
    }

    pub fn signup(&self, id: ContestId, name: &str) -> Option<Signup> {
        self.signups(id)
            .into_iter()
            .find(|signup| signup.user_id == user(name))
    }

    pub fn state(&self, id: ContestId, name: &str) -> StateKind {
        self.signup(id, name).expect("a signup").state.kind()
    }

    /// What a viewer holds.
    pub fn held(&self, name: &str) -> i64 {
        self.balance(&Account::User(user(name)))
    }

    pub fn balance(&self, account: &Account) -> i64 {
        self.funds.balances().get(account).copied().unwrap_or(0)
    }

    /// Asserts every invariant of every contest, and that no history went backwards.
    pub fn check(&self) {
        for contest in self.store.all_contests() {
            let pool = contest.pool_account();
            let transfers: Vec<Transfer> = self
                .funds
                .transfers()
                .into_iter()
                .filter(|transfer| transfer.content.from == pool || transfer.content.to == pool)
                .collect();
            let books = Books {
                contest: &contest,
                signups: &self.signups(contest.id),
                transfers: &transfers,
                balance: Coins::try_from(self.balance(&pool)).expect("a pool at or above zero"),
            };
            let violations = invariant::check(books, self.clock.now());
            assert!(
                violations.is_empty(),
                "{violations:#?}\n{contest:#?}\n{:#?}",
                books.signups
            );
        }
        assert_eq!(
            self.funds.balances().values().sum::<i64>(),
            0,
            "the accounts do not add up to zero"
        );
        for signup in self.store.all_signups() {
            let history = self.store.signup_history();
            let states: Vec<_> = history
                .iter()
                .filter(|(id, ..)| *id == signup.id)
                .map(|(.., state)| *state)
                .collect();
            for pair in states.windows(2) {
                assert!(
                    pair[0] == pair[1] || pair[0].may_become(pair[1]),
                    "FORWARD_ONLY: {states:?}"
                );
            }
            assert_eq!(states.last(), Some(&signup.state.kind()));
        }
    }
}
