//! A server that is killed and comes back, that is not migrated, or that may forget: servers of
//! our own, from the binaries of MariaDB that are installed.

mod common;

use adapters_ledger::{Ledger, MysqlError, MysqlSettings, Profile, migrate};
use common::{Schema, Scratch};
use domain::{
    money::Coins,
    order::{Account, OrderId, Platform},
    transfer::{Content, Position, Transfer},
};
use ports::funds::{Funds, FundsError, TransferOutcome, TransferRequest};
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use std::{
    collections::BTreeMap,
    net::TcpListener,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// No caller waits longer, whatever the server does.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest that a server may take to come up.
const START: Duration = Duration::from_secs(60);

/// A server of our own, in a directory of its own.
struct Server {
    scratch: Scratch,
    port: u16,
    running: Option<Child>,
}

impl Server {
    async fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .expect("a port")
            .local_addr()
            .expect("an address")
            .port();
        let mut server = Self {
            scratch: Scratch::new(),
            port,
            running: None,
        };
        // Two at once may fail for want of the machine's asynchronous reads and writes.
        static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
        let _one = ONE_AT_A_TIME.lock().await;
        let installed = Command::new("mariadb-install-db")
            .args(["--no-defaults", "--auth-root-authentication-method=normal"])
            .arg(format!("--datadir={}", server.data().display()))
            .arg("--user=root")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("MariaDB is installed");
        assert!(installed.success());
        server.run().await;
        server
    }

    fn data(&self) -> PathBuf {
        self.scratch.directory().join("data")
    }

    fn base(&self) -> String {
        format!("mysql://root@127.0.0.1:{}", self.port)
    }

    async fn run(&mut self) {
        let data = self.data();
        let child = Command::new("mariadbd")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            // The path of a socket must be short.
            .arg(format!("--socket=/tmp/ledger-{}.sock", self.port))
            .arg(format!("--pid-file={}/pid", data.display()))
            .arg(format!("--port={}", self.port))
            .args(["--bind-address=127.0.0.1", "--user=root"])
            .args(["--log-bin=binlog", "--sync-binlog=1"])
            .args([
                "--innodb-flush-log-at-trx-commit=1",
                "--innodb-buffer-pool-size=32M",
            ])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("MariaDB is installed");
        self.running = Some(child);
        let begun = Instant::now();
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while MySqlConnection::connect(&self.base()).await.is_err() {
            assert!(begun.elapsed() < START, "the server does not come up");
            ticks.tick().await;
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.running.as_ref().expect("a running server").id();
        let sent = Command::new("kill")
            .args([signal, &pid.to_string()])
            .status()
            .expect("kill is installed");
        assert!(sent.success());
    }

    /// As `kill -9`.
    fn kill(&mut self) {
        if let Some(mut child) = self.running.take() {
            child.kill().expect("a running server");
            child.wait().expect("an ended server");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_file(format!("/tmp/ledger-{}.sock", self.port));
    }
}

async fn run(base: &str, statement: &str) {
    let mut connection = MySqlConnection::connect(base).await.expect("a server");
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(&mut connection)
        .await
        .expect("an answer");
}

fn ann() -> Account {
    Account::User("ann".parse().expect("a user id"))
}

fn grant(number: u64) -> TransferRequest {
    TransferRequest {
        order_id: OrderId(u128::from(number).to_be_bytes()),
        content: Content {
            from: Account::Platform(Platform::Issuing),
            to: ann(),
            amount: Coins::new(2).expect("coins"),
        },
        not_after: None,
        memo: format!("grant {number}"),
    }
}

/// Sends until it is known what became of it, with a bound.
async fn settled(ledger: &Ledger, request: &TransferRequest) -> Transfer {
    let begun = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    loop {
        if let TransferOutcome::Applied(transfer) = ledger.transfer(request).await {
            return transfer;
        }
        assert!(begun.elapsed() < START, "the ledger does not come back");
        ticks.tick().await;
    }
}

// hazard: A1, A8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_in_the_middle_loses_nothing_and_the_ledger_comes_back_by_itself() {
    const CALLERS: u64 = 8;
    let mut server = Server::start().await;
    let schema = Schema::empty(&server.base()).await;
    migrate(&schema.url()).await.expect("a migrated database");
    let ledger = Arc::new(schema.ledger().await);
    ledger.open_account(&ann()).await.expect("an open account");
    let (numbers, stop) = (
        Arc::new(AtomicU64::new(0)),
        Arc::new(AtomicBool::new(false)),
    );
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (ledger, numbers) = (Arc::clone(&ledger), Arc::clone(&numbers));
            let stop = Arc::clone(&stop);
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while !stop.load(Ordering::SeqCst) {
                    let number = numbers.fetch_add(1, Ordering::SeqCst) + 1;
                    let begun = Instant::now();
                    let outcome = ledger.transfer(&grant(number)).await;
                    assert!(begun.elapsed() < PATIENCE, "a caller hangs");
                    answers.push((number, outcome));
                }
                answers
            })
        })
        .collect();
    let mut ticks = tokio::time::interval(Duration::from_millis(1));
    while numbers.load(Ordering::SeqCst) < 200 {
        ticks.tick().await;
    }
    server.kill();
    let begun = Instant::now();
    assert!(matches!(
        ledger.balance(&ann()).await,
        Err(FundsError::Unavailable(_))
    ));
    assert!(matches!(
        ledger.probe().await,
        Err(FundsError::Unavailable(_))
    ));
    assert_eq!(
        ledger.transfer(&grant(1_000_000)).await,
        TransferOutcome::Unknown
    );
    assert!(begun.elapsed() < 3 * PATIENCE, "a caller hangs");
    server.run().await;
    settled(&ledger, &grant(1_000_000)).await;
    stop.store(true, Ordering::SeqCst);
    let mut outcomes = BTreeMap::new();
    for caller in callers {
        outcomes.extend(caller.await.expect("a caller that ends"));
    }
    let mut unknown = 0;
    for (number, outcome) in &outcomes {
        let transfer = settled(&ledger, &grant(*number)).await;
        match outcome {
            TransferOutcome::Applied(told) => assert_eq!(*told, transfer, "order {number}"),
            TransferOutcome::Unknown => unknown += 1,
            other => panic!("order {number}: {other:?}"),
        }
    }
    println!("{} orders, {unknown} of them unknown", outcomes.len());
    assert!(unknown > 0, "the server was killed while nobody called");
    let count = outcomes.len() as u64 + 1;
    let page = ledger
        .list(&ann(), Position(0), 1_000_000)
        .await
        .expect("a list");
    let positions: Vec<_> = page
        .transfers
        .iter()
        .map(|one| one.receipt.position.0)
        .collect();
    assert_eq!(positions, (1..=count).collect::<Vec<_>>());
    let held = ledger.balance(&ann()).await.expect("a balance").amount;
    let issued = ledger
        .balance(&Account::Platform(Platform::Issuing))
        .await
        .expect("a balance")
        .amount;
    assert_eq!(
        (held, held + issued),
        (2 * i64::try_from(count).expect("small"), 0)
    );
}

// hazard: A1
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_says_nothing_makes_nobody_hang() {
    let server = Server::start().await;
    let schema = Schema::empty(&server.base()).await;
    migrate(&schema.url()).await.expect("a migrated database");
    let ledger = schema.ledger().await;
    ledger.open_account(&ann()).await.expect("an open account");
    ledger.balance(&ann()).await.expect("a balance");
    server.signal("-STOP");
    let begun = Instant::now();
    let (request, account) = (grant(1), ann());
    let (outcome, balance) = tokio::join!(ledger.transfer(&request), ledger.balance(&account));
    let waited = begun.elapsed();
    server.signal("-CONT");
    assert!(waited < PATIENCE, "a caller hangs for {waited:?}");
    assert_eq!(outcome, TransferOutcome::Unknown);
    assert!(matches!(balance, Err(FundsError::Unavailable(_))));
    settled(&ledger, &grant(1)).await;
    assert_eq!(ledger.balance(&ann()).await.expect("a balance").amount, 2);
}

// hazard: A8
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_forget_is_refused_in_production() {
    let server = Server::start().await;
    let schema = Schema::empty(&server.base()).await;
    migrate(&schema.url()).await.expect("a migrated database");
    let production = MysqlSettings {
        profile: Profile::Production,
        ..schema.settings()
    };
    Ledger::open_mysql(&production).await.expect("a ledger");
    for (setting, weak) in [("innodb_flush_log_at_trx_commit", 2), ("sync_binlog", 0)] {
        run(&server.base(), &format!("SET GLOBAL {setting} = {weak}")).await;
        let error = Ledger::open_mysql(&production)
            .await
            .err()
            .expect("an error");
        let text = error.to_string();
        assert!(
            text.contains(setting) && text.contains(&weak.to_string()),
            "{text}"
        );
        schema.ledger().await;
        run(&server.base(), &format!("SET GLOBAL {setting} = 1")).await;
    }
    run(&server.base(), "SET GLOBAL read_only = 1").await;
    let error = Ledger::open_mysql(&schema.settings()).await.err();
    assert!(matches!(error, Some(MysqlError::ReadOnly)), "{error:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_becomes_read_only_answers_nothing() {
    let server = Server::start().await;
    let schema = Schema::empty(&server.base()).await;
    migrate(&schema.url()).await.expect("a migrated database");
    let ledger = schema.ledger().await;
    ledger.open_account(&ann()).await.expect("an open account");
    run(&server.base(), "SET GLOBAL read_only = 1").await;
    assert!(matches!(
        ledger.balance(&ann()).await,
        Err(FundsError::Unavailable(_))
    ));
    run(&server.base(), "SET GLOBAL read_only = 0").await;
    assert_eq!(ledger.balance(&ann()).await.expect("a balance").amount, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_not_exactly_this_programs_is_refused() {
    for variable in ["GUAFEN_TEST_MYSQL_URL", "GUAFEN_TEST_MARIADB_URL"] {
        let base = std::env::var(variable).expect("the variable names a server");
        let schema = Schema::empty(&base).await;
        let refusal = async || {
            Ledger::open_mysql(&schema.settings())
                .await
                .err()
                .expect("an error")
        };
        let error = refusal().await;
        assert!(
            matches!(
                error,
                MysqlError::Older {
                    found: 0,
                    needed: 5
                }
            ),
            "{error:?}"
        );
        // Several at once, and again: one does it.
        for migrated in futures_util::future::join_all([
            migrate(&schema.url()),
            migrate(&schema.url()),
            migrate(&schema.url()),
        ])
        .await
        {
            migrated.expect("a migrated database");
        }
        schema.ledger().await;
        let mut connection = schema.connection().await;
        for (fault, expected) in [
            (
                "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (6, 'later', 1, '', 0)",
                "step 6",
            ),
            (
                "UPDATE _sqlx_migrations SET version = 5, success = 0 WHERE version = 6 - 1",
                "step 5",
            ),
            (
                "UPDATE _sqlx_migrations SET success = 1, checksum = 'x' WHERE version = 3",
                "step 3",
            ),
        ] {
            sqlx::raw_sql(fault)
                .execute(&mut connection)
                .await
                .expect("a fault");
            let text = refusal().await.to_string();
            assert!(text.contains(expected), "{variable}: {text}");
            let undone = "DELETE FROM _sqlx_migrations WHERE version = 6";
            sqlx::raw_sql(undone)
                .execute(&mut connection)
                .await
                .expect("no fault");
            let undone = "UPDATE _sqlx_migrations SET success = 1 WHERE version = 5";
            sqlx::raw_sql(undone)
                .execute(&mut connection)
                .await
                .expect("no fault");
        }
    }
}

#[tokio::test]
async fn an_address_is_never_repeated() {
    for url in [
        "mysql://root:secret@127.0.0.1:1",
        "mysql://root:secret@127.0.0.1:nonsense/x",
    ] {
        let settings = MysqlSettings {
            url: url.to_owned(),
            readers_max: 1,
            profile: Profile::Test,
        };
        let error = Ledger::open_mysql(&settings).await.err().expect("an error");
        assert!(matches!(error, MysqlError::Url), "{error:?}");
        assert!(!format!("{error:?} {error} {settings:?}").contains("secret"));
    }
}
