//! The same books on MySQL and MariaDB: clean ones are green, and a fault of each invariant turns
//! exactly that one red.

mod fixture;

use checker::{Books, CheckError, Scope, Source, check_books, report::Report};
use fixture::{books, spelled, transfer};
use sqlx::{
    AssertSqlSafe, Column, Connection, MySqlConnection, Row, SqliteConnection, TypeInfo, ValueRef,
    sqlite::{SqliteConnectOptions, SqliteRow},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

const SERVERS: [&str; 2] = ["GUAFEN_TEST_MYSQL_URL", "GUAFEN_TEST_MARIADB_URL"];

const STORE_TABLES: [&str; 6] = [
    "contest",
    "contest_leg",
    "contest_history",
    "signup",
    "signup_history",
    "sheet_line",
];
/// In the order in which they refer to each other.
const LEDGER_TABLES: [&str; 2] = ["account", "transfer"];

/// A store's and a ledger's database on one server.
struct Mirror {
    base: String,
    store: String,
    ledger: String,
}

async fn run(connection: &mut MySqlConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{error}: {statement}"));
}

/// The statements of a schema, one in each file.
fn steps(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "sql"))
        .collect();
    files.sort();
    let read = |path| std::fs::read_to_string(path).expect("a file");
    files.into_iter().map(read).collect()
}

impl Mirror {
    async fn new(variable: &str) -> Self {
        let base = std::env::var(variable).expect("the variable names a server");
        let base = base.trim_end_matches('/').to_owned();
        let name = format!("checker_{}", std::process::id());
        let mirror = Self {
            base,
            store: format!("{name}_store"),
            ledger: format!("{name}_ledger"),
        };
        let mut connection = MySqlConnection::connect(&mirror.base)
            .await
            .expect("a server");
        for (database, folder) in [
            (&mirror.store, "../adapters-mysql/migrations"),
            (&mirror.ledger, "../adapters-ledger/migrations/mysql"),
        ] {
            run(
                &mut connection,
                &format!("DROP DATABASE IF EXISTS {database}"),
            )
            .await;
            run(&mut connection, &format!("CREATE DATABASE {database}")).await;
            run(&mut connection, &format!("USE {database}")).await;
            for step in steps(folder) {
                run(&mut connection, &step).await;
            }
        }
        mirror
    }

    fn books(&self) -> Books {
        let source =
            |database: &str| Source::parse(&format!("{}/{database}", self.base)).expect("a source");
        Books {
            store: source(&self.store),
            ledger: source(&self.ledger),
        }
    }

    /// Replaces all rows by those of the two files.
    async fn copy(&self, store: &Path, ledger: &Path) {
        let store_tables = [&STORE_TABLES[..], &["task_progress"]].concat();
        for (database, path, tables) in [
            (&self.store, store, &store_tables[..]),
            (&self.ledger, ledger, &LEDGER_TABLES[..]),
        ] {
            let url = format!("{}/{database}", self.base);
            let mut to = MySqlConnection::connect(&url).await.expect("a database");
            let options = SqliteConnectOptions::new().filename(path);
            let mut from = SqliteConnection::connect_with(&options)
                .await
                .expect("a file");
            run(&mut to, "BEGIN").await;
            for table in tables.iter().rev() {
                run(&mut to, &format!("DELETE FROM {table}")).await;
            }
            for table in tables {
                let types = types(&mut to, table).await;
                let rows = sqlx::raw_sql(AssertSqlSafe(format!("SELECT * FROM {table}")))
                    .fetch_all(&mut from)
                    .await
                    .expect("rows");
                for row in rows {
                    run(&mut to, &insertion(table, &row, &types)).await;
                }
            }
            run(&mut to, "COMMIT").await;
        }
    }

    async fn remove(self) {
        let mut connection = MySqlConnection::connect(&self.base)
            .await
            .expect("a server");
        for database in [&self.store, &self.ledger] {
            run(&mut connection, &format!("DROP DATABASE {database}")).await;
        }
    }
}

/// The types of a table's columns.
async fn types(connection: &mut MySqlConnection, table: &str) -> BTreeMap<String, String> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT CAST(column_name AS CHAR), CAST(data_type AS CHAR) FROM information_schema.columns
         WHERE table_schema = DATABASE() AND table_name = ?",
    )
    .bind(table)
    .fetch_all(connection)
    .await
    .expect("columns");
    rows.into_iter().collect()
}

/// One row, in the words of the other database: a text in hexadecimal becomes its bytes.
fn insertion(table: &str, row: &SqliteRow, types: &BTreeMap<String, String>) -> String {
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for column in row.columns() {
        let name = column.name();
        let Some(kind) = types.get(name) else {
            panic!("{table} has no column {name}");
        };
        let raw = row.try_get_raw(name).expect("a value");
        let value = if raw.is_null() {
            "NULL".to_owned()
        } else if raw.type_info().name() == "INTEGER" {
            row.get::<i64, _>(name).to_string()
        } else {
            let text: String = row.get(name);
            if kind == "binary" {
                format!("x'{}'", text.replace('-', ""))
            } else {
                format!("'{text}'")
            }
        };
        names.push(name);
        values.push(value);
    }
    if types.contains_key("stage") {
        names.push("stage");
        values.push(format!("'{}'", row.get::<String, _>("state")));
    }
    format!(
        "INSERT INTO {table} ({}) VALUES ({})",
        names.join(", "),
        values.join(", ")
    )
}

/// A fault of store or ledger, or one that comes after the balances were computed, and the
/// invariant that it breaks.
fn faults() -> Vec<(&'static str, &'static str, String, &'static str)> {
    let store = |invariant, fault| (invariant, fault, String::new(), "");
    vec![
        (
            "ONE_CHARGE",
            "UPDATE contest SET close_position = 18 WHERE contest_id = 'c3'",
            transfer(18, "fee/c3/fay/1", "user/fay", "pool/c3", 10, 3_318),
            "",
        ),
        store("PAID_MEANS_PAID", "UPDATE signup SET fee_position = 3 WHERE signup_id = 's6'"),
        store(
            "PAID_MEANS_PAID",
            "UPDATE signup SET fee_order_id = '00000000000000000000000000000001' WHERE signup_id = 's7'",
        ),
        store("PAID_MEANS_PAID", "UPDATE signup SET user_id = 'hal' WHERE signup_id = 's6'"),
        store("PAID_MEANS_PAID", "UPDATE contest SET fee_tiers = '[11,12]' WHERE contest_id = 'c3'"),
        (
            "PAID_MEANS_PAID",
            "",
            "DELETE FROM transfer WHERE position = 17".to_owned(),
            "",
        ),
        store(
            "ONE_PRIZE",
            "UPDATE signup SET claim_order_id = '00000000000000000000000000000001' WHERE signup_id = 's1'",
        ),
        store("ONE_PRIZE", "UPDATE signup SET payout_at = 2 WHERE signup_id = 's5'"),
        store("ONE_PRIZE", "UPDATE signup SET payee = 'holding' WHERE signup_id = 's1'"),
        (
            "NO_OVERPAY",
            "UPDATE signup SET fee_position = 15, paid_at = 3315, payout_position = 14, payout_at = 3314
                WHERE signup_id = 's5'; UPDATE contest SET close_position = 15 WHERE contest_id = 'c2'",
            "UPDATE transfer SET position = 99 WHERE position = 14;
                UPDATE transfer SET position = 14, applied_at = 3314 WHERE position = 15;
                UPDATE transfer SET position = 15, applied_at = 3315 WHERE position = 99"
                .to_owned(),
            "",
        ),
        store("ZERO_SUM", "UPDATE contest_leg SET outcome = 'void' WHERE leg = 'rake'"),
        store("ZERO_SUM", "UPDATE contest SET close_position = 7 WHERE contest_id = 'c1'"),
        (
            "ZERO_SUM",
            "",
            "UPDATE transfer SET applied_at = 1 WHERE position = 13".to_owned(),
            "",
        ),
        (
            "ZERO_SUM",
            "",
            transfer(18, "fee/c9/fay/0", "user/fay", "pool/c9", 1, 3_318),
            "",
        ),
        (
            "ZERO_SUM",
            "",
            String::new(),
            "UPDATE account SET balance = balance + 1 WHERE name = 'user/ann'",
        ),
        store("FROZEN_ONCE", "UPDATE contest SET fees = 31 WHERE contest_id = 'c1'"),
        store("FROZEN_ONCE", "UPDATE sheet_line SET weight_before = '2' WHERE signup_id = 's2'"),
        store("FROZEN_ONCE", "INSERT INTO sheet_line VALUES ('c1', 's3', 'cat', 1, '2', 0)"),
        store("FROZEN_ONCE", "DELETE FROM task_progress WHERE user_id = 'ann'"),
        store(
            "FROZEN_ONCE",
            "UPDATE task_progress SET quantity = 3 WHERE user_id = 'cat' AND occurred_at = 2500",
        ),
        store("FROZEN_ONCE", "UPDATE contest SET draw_secret = 'x' WHERE contest_id = 'c3'"),
        store("FROZEN_ONCE", "UPDATE contest SET sheet_sha256 = 'x' WHERE contest_id = 'c1'"),
        store(
            "FORWARD_ONLY",
            "UPDATE signup_history SET state = 'paid' WHERE signup_id = 's6' AND version = 3",
        ),
        store(
            "FORWARD_ONLY",
            "DELETE FROM contest_history WHERE contest_id = 'c3' AND version = 2",
        ),
        store(
            "NO_LIMBO",
            "UPDATE signup SET state = 'initialized' WHERE signup_id = 's4';
                UPDATE signup_history SET state = 'initialized' WHERE signup_id = 's4' AND version = 2",
        ),
        store("NO_EARLY_PRIZE", "UPDATE contest SET frozen_at = 3312 WHERE contest_id = 'c1'"),
        store(
            "NO_EARLY_PRIZE",
            "UPDATE signup_history SET at = 9000 WHERE signup_id = 's1' AND state = 'claiming'",
        ),
    ]
}

fn red(report: &Report) -> Vec<&'static str> {
    report.red().map(|invariant| invariant.name()).collect()
}

#[tokio::test]
async fn each_invariant_is_checked_on_both_servers() {
    for variable in SERVERS {
        let mirror = Mirror::new(variable).await;
        let there = mirror.books();
        let all = Scope::default();
        let (store, ledger) = books("", "", "").await;
        mirror.copy(&store, &ledger).await;
        let report = check_books(&there, all).await.expect("readable books");
        assert!(report.is_green(), "{variable}: {report}");
        // Nothing is lost on the way: the report is that of the files.
        let of_files = checker::check(&store, &ledger, None)
            .await
            .expect("readable books");
        assert_eq!(report.to_string(), of_files.to_string(), "{variable}");
        assert_eq!(
            serde_json::to_value(&report).expect("a value"),
            serde_json::to_value(&of_files).expect("a value")
        );
        // A file beside a server is as good.
        let mixed = Books {
            store: there.store.clone(),
            ledger: Source::file(&ledger),
        };
        let report = check_books(&mixed, all).await.expect("readable books");
        assert!(report.is_green(), "{variable}: {report}");
        let two = spelled("c2");
        let one = Scope {
            contest: Some(&two),
            at_rest: false,
        };
        let report = check_books(&there, one).await.expect("readable books");
        assert_eq!(report.contests.len(), 1);
        let nine = Scope {
            contest: Some("nine"),
            at_rest: false,
        };
        let none = check_books(&there, nine).await;
        assert!(
            matches!(none, Err(CheckError::NoSuchContest(_))),
            "{none:?}"
        );
        for (invariant, store_fault, ledger_fault, late) in faults() {
            let (store, ledger) = books(store_fault, &ledger_fault, late).await;
            mirror.copy(&store, &ledger).await;
            let report = check_books(&there, all).await.expect("readable books");
            assert_eq!(
                red(&report),
                [invariant],
                "{variable}: {store_fault} {ledger_fault} {late}\n{report}"
            );
            std::fs::remove_dir_all(store.parent().expect("a directory")).expect("removed");
        }
        mirror.remove().await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named_without_its_password() {
    let gone = Source::parse("mysql://ann:secret@127.0.0.1:1/books").expect("a source");
    let gone = Books {
        store: gone.clone(),
        ledger: gone,
    };
    let error = check_books(&gone, Scope::default())
        .await
        .expect_err("nothing there");
    assert!(
        error.to_string().contains("mysql://127.0.0.1:1/books"),
        "{error}"
    );
    assert!(!format!("{error:?}").contains("secret"));
}
