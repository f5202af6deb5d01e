//! What a server and a schema must be before the store is opened, and what it says if they are not.
#![allow(clippy::expect_used, reason = "these are tests")]

mod support;

use adapters_mysql::{MysqlError, MysqlStore, Settings, migrate};
use ports::{
    contests::ContestRepository,
    signups::{Enrolled, SignupRepository},
};
use sqlx::{AssertSqlSafe, Connection};
use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use support::{Engine, Nodes, Schema, open_at, open_contest, signup, until};
use test_support::{free_port, mysql_server_with};

/// In what time something must come.
const BOUND: Duration = Duration::from_secs(60);

async fn refused(url: String) -> MysqlError {
    let opened = MysqlStore::open(Settings::new(url, &[])).await;
    opened.err().expect("it is not opened")
}

fn said(error: &MysqlError) -> String {
    format!("{error} {error:?}")
}

async fn weak_is_refused(engine: test_support::Engine, argument: &str, parts: [&str; 2]) {
    let server = mysql_server_with(engine, &[argument])
        .await
        .expect("a server");
    let database = server.database().await.expect("a schema");
    migrate(database.url()).await.expect("migrated");
    let error = refused(database.url().to_owned()).await.to_string();
    for part in parts {
        assert!(error.contains(part), "{argument}: {error}");
    }
    let settings = Settings {
        weak_durability: true,
        ..Settings::new(database.url().to_owned(), &[])
    };
    let store = MysqlStore::open(settings)
        .await
        .expect("taken when it is asked for");
    store.probe().await.expect("it writes");
}

// hazard: F3, F10
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_may_lose_what_it_answered_is_refused() {
    weak_is_refused(
        test_support::Engine::Mysql,
        "--sync-binlog=0",
        ["sync_binlog", "0"],
    )
    .await;
    weak_is_refused(
        test_support::Engine::Mariadb,
        "--innodb-flush-log-at-trx-commit=2",
        ["innodb_flush_log_at_trx_commit", "2"],
    )
    .await;
}

// hazard: F10
async fn each_weak_setting_is_refused_in_production_and_named<E: Engine>() {
    let server = mysql_server_with(E::ENGINE, &[]).await.expect("a server");
    let database = server.database().await.expect("a schema");
    migrate(database.url()).await.expect("migrated");
    let production = || Settings::new(database.url().to_owned(), &[]);
    let weak = [
        ("innodb_flush_log_at_trx_commit", 0),
        ("innodb_flush_log_at_trx_commit", 2),
        ("sync_binlog", 0),
        ("sync_binlog", 1_000),
    ];
    for (setting, value) in weak {
        let set = async |value: i64| {
            let statement = format!("SET GLOBAL {setting} = {value}");
            database.execute(&statement).await.expect("set");
        };
        set(value).await;
        let error = refused(database.url().to_owned()).await;
        let is_named = matches!(
            error,
            MysqlError::Weak { setting: named, found, needed: 1 } if named == setting && found == value
        );
        assert!(is_named, "{setting} = {value}: {error:?}");
        set(1).await;
        MysqlStore::open(production()).await.expect("it is durable");
    }
    weak_is_refused(E::ENGINE, "--skip-log-bin", ["log_bin", "0"]).await;
}

/// A decision is judged by the moment at which its locks were got.
// hazard: F11
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_whose_clock_stands_while_a_statement_waits_is_refused() {
    for engine in [test_support::Engine::Mysql, test_support::Engine::Mariadb] {
        let server = mysql_server_with(engine, &["--sysdate-is-now"])
            .await
            .expect("a server");
        let database = server.database().await.expect("a schema");
        migrate(database.url()).await.expect("migrated");
        let error = refused(database.url().to_owned()).await.to_string();
        assert!(error.contains("sysdate_is_now"), "{error}");
    }
}

/// The connections of a user that there are.
async fn connections(database: &test_support::Database, user: &str) -> BTreeSet<i64> {
    let mut connection = sqlx::MySqlConnection::connect(database.url())
        .await
        .expect("a connection");
    let ids = support::connections(&mut connection, &format!("user = '{user}'")).await;
    ids.into_iter().collect()
}

/// Behind the address there may be another server now, the one that leads.
// hazard: F9
async fn a_connection_to_a_server_that_no_longer_leads_is_dropped<E: Engine>() {
    let server = mysql_server_with(E::ENGINE, &[]).await.expect("a server");
    let database = server.database().await.expect("a schema");
    migrate(database.url()).await.expect("migrated");
    // One whom a server that is read-only refuses.
    for statement in ["CREATE USER app@'%'", "GRANT ALL ON *.* TO app@'%'"] {
        database.execute(statement).await.expect("a user");
    }
    let admin = match E::ENGINE {
        test_support::Engine::Mysql => "SUPER, CONNECTION_ADMIN",
        test_support::Engine::Mariadb => "SUPER, READ_ONLY ADMIN",
    };
    let revoke = format!("REVOKE {admin} ON *.* FROM app@'%'");
    database.execute(&revoke).await.expect("revoked");
    let store = open_at(database.url().replace("root@", "app@"), &[]).await;
    let contest = open_contest(&store).await;
    let row = signup(&contest, "ann");
    let enrolled = store.enroll(&row, None).await.expect("an answer");
    assert_eq!(enrolled, Enrolled::Inserted);
    store.probe().await.expect("it writes");
    let before = connections(&database, "app").await;
    let demote = "SET GLOBAL read_only = 1";
    database.execute(demote).await.expect("set");
    let second = signup(&contest, "ann-2");
    assert!(store.enroll(&second, None).await.is_err());
    assert!(store.probe().await.is_err());
    until(BOUND, "both connections are dropped", async || {
        let now = connections(&database, "app").await;
        (before.difference(&now).count() >= 2).then_some(())
    })
    .await;
    let promote = "SET GLOBAL read_only = 0";
    database.execute(promote).await.expect("set");
    until(BOUND, "it is written to again", async || {
        store.enroll(&second, None).await.ok()
    })
    .await;
}

/// The steps of the schema.
const STEPS: i64 = 33;

async fn an_older_schema_is_refused<E: Engine>() {
    let schema = Schema::create::<E>().await;
    let error = refused(schema.url()).await;
    assert!(
        matches!(error, MysqlError::Older { found: 0, .. }),
        "{error:?}"
    );
    migrate(&schema.url()).await.expect("migrated");
    let mut connection = schema.connect().await;
    let removed = format!("DELETE FROM _sqlx_migrations WHERE version = {STEPS}");
    sqlx::raw_sql(AssertSqlSafe(removed))
        .execute(&mut connection)
        .await
        .expect("an older schema");
    let error = refused(schema.url()).await;
    let MysqlError::Older { found, needed } = error else {
        panic!("{error:?}");
    };
    assert_eq!((found, needed), (STEPS - 1, STEPS));
    assert!(error.to_string().contains("migrate"), "{error}");
}

// hazard: F12
async fn it_is_migrated_twice_and_by_many_at_once<E: Engine>() {
    let schema = Schema::create::<E>().await;
    let url = schema.url();
    let (one, two, three) = tokio::join!(migrate(&url), migrate(&url), migrate(&url));
    for migrated in [one, two, three] {
        migrated.expect("one after the other");
    }
    migrate(&schema.url()).await.expect("nothing to do");
    let mut connection = schema.connect().await;
    let (steps, done): (i64, i64) =
        sqlx::query_as("SELECT COUNT(*), CAST(SUM(success) AS SIGNED) FROM _sqlx_migrations")
            .fetch_one(&mut connection)
            .await
            .expect("the steps");
    assert_eq!((steps, done), (STEPS, STEPS));
    let settings = Settings {
        weak_durability: true,
        ..Settings::new(schema.url(), &[])
    };
    MysqlStore::open(settings).await.expect("an open store");
}

// hazard: F12
async fn ids_that_differ_in_case_are_different<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let contest = nodes.contest().await;
    for (number, name) in ["ann", "Ann", "ANN"].into_iter().enumerate() {
        let new = signup(&contest, name);
        let answer = nodes
            .of(number)
            .enroll(&new, None)
            .await
            .expect("an answer");
        assert_eq!(answer, Enrolled::Inserted, "{name}");
        let row = nodes
            .of(number + 1)
            .find(contest.id, &new.user_id)
            .await
            .expect("read");
        assert_eq!(row.expect("there").user_id.as_str(), name);
        let page = nodes
            .of(0)
            .of_user(&new.user_id, None, 10)
            .await
            .expect("read");
        assert_eq!(page.items.len(), 1, "{name}");
    }
}

// hazard: F11
async fn times_are_utc_whatever_the_session_says<E: Engine>() {
    let nodes = Nodes::open::<E>(&[]).await;
    let ours = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970");
    let theirs = nodes.stores[0].now().await.expect("the clock").0;
    let ours = i64::try_from(ours.as_millis()).expect("milliseconds");
    assert!((theirs - ours).abs() < 60_000, "{theirs} here is {ours}");
}

async fn what_is_wrong_is_said_at_open<E: Engine>() {
    let schema = Schema::create::<E>().await;
    migrate(&schema.url()).await.expect("migrated");
    let wrong = schema.url().replace("root@", "root:wrong@");
    let error = said(&refused(wrong).await);
    assert!(error.contains("Access denied"), "{error}");
    let elsewhere = format!(
        "mysql://root@127.0.0.1:{}/none",
        free_port().expect("a port")
    );
    let error = said(&refused(elsewhere).await);
    assert!(error.contains("refused"), "{error}");
    let unknown = format!("{}_gone", schema.url());
    let error = said(&refused(unknown).await);
    assert!(error.contains("Unknown database"), "{error}");
    let error = refused("postgres://root@127.0.0.1/x".to_owned()).await;
    assert!(matches!(error, MysqlError::Url), "{error:?}");
}

on_both!(
    each_weak_setting_is_refused_in_production_and_named,
    a_connection_to_a_server_that_no_longer_leads_is_dropped,
    an_older_schema_is_refused,
    it_is_migrated_twice_and_by_many_at_once,
    ids_that_differ_in_case_are_different,
    times_are_utc_whatever_the_session_says,
    what_is_wrong_is_said_at_open,
);
