//! A production stack of a test's own: schemas on a real MySQL, a real Redis, and the reference
//! ledger on MySQL behind real gRPC.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::expect_used,
    reason = "these are tests, and each file uses some of it"
)]

pub mod inbox;
pub mod paused;

use adapters_ledger::{Ledger, MysqlSettings, Profile as LedgerProfile};
use domain::{
    contest::{Contest, PhaseKind},
    ids::{ContestId, GrantId, UserId},
    money::Coins,
    payout::Rule,
    terms::{BasisPoints, ClaimMode, NoWinner, Remainder, Task, Terms, Unclaimed},
    time::UnixMillis,
};
use ports::{
    contests::CreationKey,
    tasks::{EventOutcome, TaskEvent},
};
use production::settings::{
    FundsSettings, Profile, RedisSettings, Settings, StoreSettings, WebhookSettings,
};
use runtime::config::Secret;
use serde::{
    Deserialize,
    de::{IntoDeserializer, value::Error},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};
use test_support::{Database, Engine, Proxy, Redis, database, private_redis};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};
use usecases::{Claimed, Contests, Created, Granted, Ports, SignedUp, background};

/// The longest that a test waits for something that must come.
pub const PATIENCE: Duration = Duration::from_secs(60);
pub const HOUR: i64 = 3_600_000;
pub const DAY: i64 = 24 * HOUR;

/// The servers, and what is told of them to processes.
pub struct Bed {
    pub redis: Redis,
    /// What nodes reach the funds system through.
    pub funds: Proxy,
    serving: JoinHandle<()>,
    pub store: Database,
    pub ledger: Database,
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Where everything is.
#[derive(Clone, Debug)]
pub struct Places {
    pub store: String,
    pub redis: String,
    pub funds: String,
    /// Who is told of findings.
    pub webhook: Option<String>,
}

fn secret(text: &str) -> Secret {
    let text: Result<_, Error> = Secret::deserialize(text.into_deserializer());
    text.expect("a text")
}

impl Places {
    /// The stack as a node opens it.
    pub async fn ports(&self) -> Ports {
        let settings = Settings {
            store: StoreSettings {
                url: secret(&self.store),
                connections_max: 2,
                profile: Profile::Test,
                ..StoreSettings::default()
            },
            redis: RedisSettings {
                url: secret(&self.redis),
                // Two cores and many tests at once: what is tested is not how fast they are.
                budget_ms: 1_000,
                ..RedisSettings::default()
            },
            funds: FundsSettings {
                url: Some(self.funds.clone()),
                sandbox: true,
                ..FundsSettings::default()
            },
            webhook: WebhookSettings {
                url: self.webhook.as_deref().map(secret).unwrap_or_default(),
                ..WebhookSettings::default()
            },
            ..Settings::default()
        };
        settings.check().expect("settings");
        production::open(&settings).await.expect("a stack").ports
    }
}

impl Bed {
    pub async fn new() -> Self {
        let schema = async || database(Engine::Mysql).await.expect("a test server");
        let (store, ledger) = (schema().await, schema().await);
        production::migrate(store.url()).await.expect("migrated");
        adapters_ledger::migrate(ledger.url())
            .await
            .expect("migrated");
        let settings = MysqlSettings {
            url: ledger.url().to_owned(),
            readers_max: 2,
            profile: LedgerProfile::Test,
        };
        let books = Ledger::open_mysql(&settings).await.expect("a ledger");
        let books = Arc::new(books);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let serving = tokio::spawn(async move {
            let served = adapters_funds::serve(books, listener, None, std::future::pending());
            served.await.expect("a server");
        });
        Self {
            redis: private_redis().await.expect("a Redis"),
            funds: Proxy::start(address).await.expect("a proxy"),
            serving,
            store,
            ledger,
        }
    }

    pub fn places(&self) -> Places {
        Places {
            store: self.store.url().to_owned(),
            redis: self.redis.url().to_owned(),
            funds: format!("http://{}", self.funds.addr()),
            webhook: None,
        }
    }

    pub async fn ports(&self) -> Ports {
        self.places().ports().await
    }

    /// A node of its own.
    pub async fn node(&self) -> Arc<Contests> {
        node(self.ports().await)
    }

    /// How many statements nodes have run on the store's schema so far, on the connections that they
    /// have now. Counted by connection: the server's table of digests may be full.
    pub async fn statements(&self) -> i64 {
        let query = format!(
            "SELECT COALESCE(SUM(summary.count_star), 0) \
             FROM performance_schema.threads AS thread \
             JOIN performance_schema.events_statements_summary_by_thread_by_event_name AS summary \
               USING (thread_id) \
             WHERE thread.processlist_db = '{}' AND thread.processlist_id <> CONNECTION_ID() \
               AND summary.event_name IN ('statement/com/Execute', 'statement/sql/select')",
            self.store.name()
        );
        self.store.number(&query).await.expect("a count")
    }

    /// Loses all that Redis holds.
    pub async fn flush(&self) {
        self.redis.flush().await.expect("flushed");
    }

    /// Relays until nothing is saved to be done any more.
    pub async fn relay_all(&self, node: &Contests) {
        until("the outbox is empty", async || {
            node.relay().await.expect("a pass");
            let left = self.store.number("SELECT COUNT(*) FROM outbox").await;
            (left.expect("a count") == 0).then_some(())
        })
        .await;
    }
}

pub fn node(ports: Ports) -> Arc<Contests> {
    Arc::new(Contests::new(ports).expect("a safe funds system"))
}

/// What runs beside requests; ends with the value.
pub struct Loops(watch::Sender<bool>);

impl Loops {
    pub fn of(node: &Arc<Contests>) -> Self {
        let (stop, stopped) = watch::channel(false);
        background::start(node, &stopped);
        Self(stop)
    }
}

impl Drop for Loops {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}

/// Asks until there is an answer that is wanted; fails when it does not come.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let bound = Instant::now() + PATIENCE;
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    loop {
        ticks.tick().await;
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < bound, "it does not come: {what}");
    }
}

pub fn coins(amount: u64) -> Coins {
    Coins::new(amount).expect("an amount")
}

pub fn user(name: &str) -> UserId {
    name.parse().expect("a user id")
}

pub async fn now(node: &Contests) -> UnixMillis {
    node.ports().contests.now().await.expect("the clock")
}

/// Terms with a fee of 10 and windows that end so many milliseconds after `from`.
pub fn terms(from: UnixMillis, [signup, tasks, claims]: [i64; 3]) -> Terms {
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
        grace_ms: 0,
        signup_opens_at: from.plus(-1_000),
        signup_closes_at: from.plus(signup),
        tasks_end_at: from.plus(tasks),
        claim_closes_at: from.plus(claims),
    }
}

/// A contest of these terms; with a key, the same one at every call.
pub async fn create(node: &Contests, terms: Terms, key: Option<&str>) -> Contest {
    let terms = terms.check().expect("legal terms");
    let key = key.map(|key| CreationKey {
        operator: user("boss"),
        key: key.parse().expect("a key"),
    });
    match node.create("a contest".to_owned(), terms, key).await {
        Ok(Created::Yes(contest)) => contest,
        other => panic!("{other:?}"),
    }
}

/// A contest that stays open for an hour.
pub async fn open(node: &Contests) -> Contest {
    let from = now(node).await;
    create(node, terms(from, [HOUR, HOUR, 2 * HOUR]), None).await
}

pub async fn grant(node: &Contests, name: &str) {
    let id: GrantId = format!("grant-{name}").parse().expect("a grant id");
    until("coins are granted", async || {
        let granted = node.grant(&user(name), coins(100), id.clone()).await;
        matches!(granted, Ok(Granted::Yes(_))).then_some(())
    })
    .await;
}

/// Signs somebody up who has the coins.
pub async fn sign_up(node: &Contests, contest: ContestId, name: &str) {
    let signed_up = node.sign_up(contest, &user(name), None).await;
    assert!(matches!(signed_up, Ok(SignedUp::Yes(_))), "{signed_up:?}");
}

/// So many chests opened at a moment.
pub async fn chests(node: &Contests, contest: &Contest, name: &str, count: u64, at: UnixMillis) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, SeqCst);
    let event = TaskEvent {
        event_id: format!("event-{}-{number}", std::process::id())
            .parse()
            .expect("an event id"),
        user_id: user(name),
        room_id: contest.terms.room_id.clone(),
        kind: contest.terms.task.kind.clone(),
        quantity: count,
        occurred_at: at,
    };
    let sender = "game".parse().expect("a sender id");
    let outcomes = node.ports().events.record(&sender, &[event]).await;
    assert_eq!(outcomes.expect("an answer"), [EventOutcome::Accepted]);
}

pub async fn claim(node: &Contests, contest: ContestId, name: &str) -> Claimed {
    let claimed = node.claim(contest, &user(name)).await;
    claimed.expect("an answer")
}

pub async fn contest(node: &Contests, id: ContestId) -> Contest {
    let contest = node.ports().contests.get(id).await.expect("an answer");
    contest.expect("the contest")
}

/// Waits until a contest is in a phase; somebody's loops bring it there.
pub async fn reach(node: &Contests, id: ContestId, phase: PhaseKind) -> Contest {
    until("the phase", async || {
        let contest = contest(node, id).await;
        (contest.phase.kind() == phase).then_some(contest)
    })
    .await
}

/// A contest whose prizes can be claimed for an hour: ann has finished, bob has not.
pub async fn claimable(node: &Arc<Contests>) -> Contest {
    let _loops = Loops::of(node);
    for name in ["ann", "bob"] {
        grant(node, name).await;
    }
    let from = now(node).await;
    let contest = create(node, terms(from, [2_000, 2_500, HOUR]), None).await;
    for name in ["ann", "bob"] {
        sign_up(node, contest.id, name).await;
    }
    chests(node, &contest, "ann", 1, now(node).await).await;
    reach(node, contest.id, PhaseKind::Claimable).await
}
