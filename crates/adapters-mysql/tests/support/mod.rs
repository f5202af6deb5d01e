//! A store in a schema of its own, on a server that the environment names.
#![allow(clippy::expect_used, reason = "these are tests")]
#![allow(unreachable_pub, reason = "each test file is a crate")]
#![allow(dead_code, reason = "each test file uses a part")]

use adapters_mysql::{MysqlStore, Settings, migrate};
use contract_tests::{fixture::StoreFixture, samples};
use domain::{
    contest::{Contest, PhaseKind},
    effects::Effect,
    signup::{Signup, State},
    time::{UnixMillis, Window},
};
use ports::{
    contests::{ContestCommit, ContestRepository},
    experiments::Experiments,
    findings::Findings,
    leaderboard::Leaderboard,
    notices::Notices,
    outbox::Outbox,
    reconciliations::Reconciliations,
    signups::{SignupCommit, SignupRepository},
    switches::SwitchSettings,
    tasks::{TaskEvent, TaskEvents, Tasks},
};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use std::{future::Future, marker::PhantomData, sync::Arc, time::Duration};

/// Which server.
pub trait Engine: Send + Sync + 'static {
    /// Its name for test-support.
    const ENGINE: test_support::Engine;
}

pub struct Mysql;
pub struct Mariadb;

impl Engine for Mysql {
    const ENGINE: test_support::Engine = test_support::Engine::Mysql;
}

impl Engine for Mariadb {
    const ENGINE: test_support::Engine = test_support::Engine::Mariadb;
}

/// An empty schema; gone when the value is.
pub struct Schema(test_support::Database);

impl Schema {
    pub async fn create<E: Engine>() -> Self {
        let database = test_support::database(E::ENGINE).await;
        Self(database.expect("a test server"))
    }

    pub fn name(&self) -> &str {
        self.0.name()
    }

    pub fn url(&self) -> String {
        self.0.url().to_owned()
    }

    pub async fn connect(&self) -> MySqlConnection {
        MySqlConnection::connect(&self.url())
            .await
            .expect("a connection")
    }
}

/// A store on a schema of its own.
pub struct Fixture<E: Engine> {
    pub schema: Schema,
    pub effects: &'static [Effect],
    pub store: Arc<MysqlStore>,
    engine: PhantomData<E>,
}

pub async fn open_at(url: String, effects: &[Effect]) -> MysqlStore {
    let settings = Settings {
        readers: 2,
        weak_durability: true,
        notices: true,
        ..Settings::new(url, effects)
    };
    MysqlStore::open(settings).await.expect("an open store")
}

impl<E: Engine> StoreFixture for Fixture<E> {
    async fn open(effects: &'static [Effect]) -> Self {
        let schema = Schema::create::<E>().await;
        migrate(&schema.url()).await.expect("migrated");
        Self {
            store: Arc::new(open_at(schema.url(), effects).await),
            schema,
            effects,
            engine: PhantomData,
        }
    }

    async fn reopen(self) -> Self {
        let Self {
            schema,
            effects,
            store,
            engine,
        } = self;
        drop(store);
        Self {
            store: Arc::new(open_at(schema.url(), effects).await),
            schema,
            effects,
            engine,
        }
    }

    fn contests(&self) -> Arc<dyn ContestRepository> {
        Arc::clone(&self.store) as _
    }

    fn signups(&self) -> Arc<dyn SignupRepository> {
        Arc::clone(&self.store) as _
    }

    fn tasks(&self) -> Arc<dyn Tasks> {
        Arc::clone(&self.store) as _
    }

    fn events(&self) -> Arc<dyn TaskEvents> {
        Arc::clone(&self.store) as _
    }

    fn leaderboard(&self) -> Arc<dyn Leaderboard> {
        Arc::clone(&self.store) as _
    }

    fn findings(&self) -> Arc<dyn Findings> {
        Arc::clone(&self.store) as _
    }

    fn reconciliations(&self) -> Arc<dyn Reconciliations> {
        Arc::clone(&self.store) as _
    }

    fn notices(&self) -> Arc<dyn Notices> {
        Arc::clone(&self.store) as _
    }

    fn switches(&self) -> Arc<dyn SwitchSettings> {
        Arc::clone(&self.store) as _
    }

    fn experiments(&self) -> Arc<dyn Experiments> {
        Arc::clone(&self.store) as _
    }

    fn outbox(&self) -> Arc<dyn Outbox> {
        Arc::clone(&self.store) as _
    }
}

/// Makes each of these generic tests one on MySQL and one on MariaDB.
#[macro_export]
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod mysql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name::<$crate::support::Mysql>().await;
            })+
        }
        mod mariadb {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name::<$crate::support::Mariadb>().await;
            })+
        }
    };
}

/// Two stores on one schema, as two nodes have them.
pub struct Nodes {
    pub stores: [MysqlStore; 2],
    // After the stores: dropped last.
    pub schema: Schema,
}

impl Nodes {
    pub async fn open<E: Engine>(effects: &[Effect]) -> Self {
        let schema = Schema::create::<E>().await;
        migrate(&schema.url()).await.expect("migrated");
        let stores = [
            open_at(schema.url(), effects).await,
            open_at(schema.url(), effects).await,
        ];
        Self { stores, schema }
    }

    /// One of the two.
    pub fn of(&self, number: usize) -> MysqlStore {
        self.stores[number % 2].clone()
    }

    /// A contest whose signups are open.
    pub async fn contest(&self) -> Contest {
        open_contest(&self.stores[0]).await
    }

    /// What a query counts, on a connection of its own.
    pub async fn count(&self, query: &str) -> i64 {
        let mut connection = self.schema.connect().await;
        sqlx::query_scalar(AssertSqlSafe(query.to_owned()))
            .fetch_one(&mut connection)
            .await
            .expect("a count")
    }
}

pub async fn open_contest(store: &MysqlStore) -> Contest {
    let now = store.now().await.expect("the store's clock");
    let contest = samples::contest_in(PhaseKind::Draft, now);
    assert!(store.insert(&contest).await.expect("inserted"));
    contest
}

/// A new signup of a viewer.
pub fn signup(contest: &Contest, user: &str) -> Signup {
    let user = user.parse().expect("a user id");
    let fee = contest.terms.fee;
    Signup::new(
        samples::signup_id(),
        contest.id,
        user,
        fee,
        contest.created_at,
    )
}

/// A decision that brings a signup into a state, at any time.
pub fn decision(signup: &Signup, state: State) -> SignupCommit {
    let signup = Signup {
        state,
        ..signup.clone()
    };
    SignupCommit {
        expected: signup.version,
        window: Window::ALWAYS,
        trail: vec![signup.state.kind()],
        signup,
        wake_at: None,
        effects: Vec::new(),
        under: None,
    }
}

/// A decision that brings a contest into a phase, at any time.
pub fn phase(contest: &Contest, kind: PhaseKind) -> ContestCommit {
    let phase = samples::contest_in(kind, contest.created_at).phase;
    ContestCommit {
        expected: contest.version,
        window: Window::ALWAYS,
        contest: Contest {
            phase,
            ..contest.clone()
        },
        lines: Vec::new(),
        notices: Vec::new(),
        under: None,
    }
}

/// What a viewer did now.
pub fn event(contest: &Contest, id: &str, user: &str, at: UnixMillis) -> TaskEvent {
    TaskEvent {
        event_id: id.parse().expect("an event id"),
        user_id: user.parse().expect("a user id"),
        room_id: contest.terms.room_id.clone(),
        kind: contest.terms.task.kind.clone(),
        quantity: 1,
        occurred_at: at,
    }
}

/// Runs all of them at once, each as a task; fails if they take more than two minutes.
pub async fn at_once<T, Fut>(calls: impl IntoIterator<Item = Fut>) -> Vec<T>
where
    T: Send + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    let tasks: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
    let all = async {
        let mut answers = Vec::with_capacity(tasks.len());
        for task in tasks {
            answers.push(task.await.expect("no call panics"));
        }
        answers
    };
    let bound = Duration::from_secs(120);
    tokio::time::timeout(bound, all)
        .await
        .expect("within the bound")
}

/// Asks until the answer is there; fails after `bound`.
pub async fn until<T>(bound: Duration, what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let asking = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    let waited = tokio::time::timeout(bound, asking).await;
    waited.unwrap_or_else(|_| panic!("{what}: not within {bound:?}"))
}

/// The connections of which this is true. The server lists every connection's statement with it, and may fail
/// at one that has bytes in it: another look, soon, finds another statement.
pub async fn connections(connection: &mut MySqlConnection, of: &str) -> Vec<i64> {
    /// "Cannot convert string from utf8mb4 to utf8mb3", of the text of somebody's statement.
    const UNREADABLE: u16 = 3854;
    let select =
        format!("SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE {of}");
    for _ in 0..1_000 {
        let read = sqlx::query_scalar(AssertSqlSafe(select.clone()))
            .fetch_all(&mut *connection)
            .await;
        match read {
            Ok(ids) => return ids,
            Err(sqlx::Error::Database(error))
                if error
                    .try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()
                    .is_some_and(|error| error.number() == UNREADABLE) => {}
            Err(error) => panic!("the connections: {error:?}"),
        }
    }
    panic!("the connections cannot be listed")
}
