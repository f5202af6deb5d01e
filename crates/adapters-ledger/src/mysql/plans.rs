//! Every statement is understood by both servers, and none of them reads a whole table.

use super::{schema, sql};
use sql_core::mysql as session;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, Row, SqlSafeStr};

const SERVERS: [&str; 2] = ["GUAFEN_TEST_MYSQL_URL", "GUAFEN_TEST_MARIADB_URL"];

async fn run(connection: &mut MySqlConnection, statement: String) {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .expect("an answer");
}

/// With enough rows that a scan would cost more than an index.
async fn filled(connection: &mut MySqlConnection) {
    let numbers: Vec<String> = (10..4_000)
        .map(|n| format!("({n}, 'user/{n}', 0)"))
        .collect();
    let accounts = format!(
        "INSERT INTO account (account_id, name, balance) VALUES {}",
        numbers.join(", ")
    );
    run(connection, accounts).await;
    let numbers: Vec<String> = (10..4_000)
        .map(|n| format!("({n}, UNHEX('{n:032x}'), 1, {n}, 1, '', 1)"))
        .collect();
    let transfers = format!(
        "INSERT INTO transfer (position, order_id, debit, credit, amount, memo, applied_at) VALUES {}",
        numbers.join(", ")
    );
    run(connection, transfers).await;
    run(connection, "ANALYZE TABLE account, transfer".to_owned()).await;
}

/// A parameter that fits the statement's n-th question mark.
fn literal(statement: &str, place: usize) -> &'static str {
    if statement == sql::orders(2) {
        [
            "UNHEX('0000000000000000000000000000000a')",
            "UNHEX('0000000000000000000000000000000b')",
        ][place]
    } else if statement == sql::accounts(2) {
        ["'user/10'", "'user/4001'"][place]
    } else if statement == sql::LOOKUP {
        r#"'["0000000000000000000000000000000a", "0000000000000000000000000000000b"]'"#
    } else if statement == sql::INSERT_ACCOUNTS {
        r#"'["user/10", "user/4001"]'"#
    } else if statement == sql::BALANCE {
        "'user/10'"
    } else if statement == sql::LIST {
        [
            "'user/10'",
            "0",
            "5",
            "'user/10'",
            "0",
            "5",
            "5",
            "'user/10'",
        ][place]
    } else {
        "1"
    }
}

#[tokio::test]
async fn both_servers_prepare_every_statement_and_scan_no_table() {
    for variable in SERVERS {
        let base = std::env::var(variable).expect("the variable names a server");
        let name = format!("ledger_plans_{}", std::process::id());
        let mut connection = MySqlConnection::connect(&base).await.expect("a server");
        run(&mut connection, format!("CREATE DATABASE {name}")).await;
        let url = format!("{base}/{name}");
        schema::migrate(&url).await.expect("a migrated database");
        let options = session::options(&url).expect("an address");
        let mut connection = session::connect(&options).await.expect("a connection");
        if variable == "GUAFEN_TEST_MYSQL_URL" {
            run(
                &mut connection,
                "SET SESSION explain_format = 'TRADITIONAL'".to_owned(),
            )
            .await;
        }
        filled(&mut connection).await;
        for statement in sql::all() {
            (&mut connection)
                .prepare(AssertSqlSafe(statement.clone()).into_sql_str())
                .await
                .unwrap_or_else(|error| panic!("{variable}: {statement}: {error}"));
            let mut explain = "EXPLAIN ".to_owned();
            for (place, part) in statement.split('?').enumerate() {
                if place > 0 {
                    explain.push_str(literal(&statement, place - 1));
                }
                explain.push_str(part);
            }
            let rows = sqlx::raw_sql(AssertSqlSafe(explain))
                .fetch_all(&mut connection)
                .await
                .unwrap_or_else(|error| panic!("{variable}: {statement}: {error}"));
            for row in rows {
                let table: Option<String> = row.get("table");
                let access: Option<String> = row.get("type");
                let table = table.unwrap_or_default();
                // The target of an insert is listed as if it were read; `asked` is the
                // parameter, `<…>` at most twice the limit of one page, `t` of a list such a page.
                let small =
                    statement == sql::INSERT_ACCOUNTS || table == "asked" || table.starts_with('<');
                let scan = matches!(access.as_deref(), Some("ALL" | "index"));
                assert!(!scan || small, "{variable}: {statement} scans {table}");
            }
        }
        run(&mut connection, format!("DROP DATABASE {name}")).await;
    }
}
