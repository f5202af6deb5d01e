//! No statement of a request, a batch or a sweep reads a whole table, whatever the planner of the
//! SQLite at hand thinks best: the rows it reads are found by a key.
#![allow(clippy::expect_used, reason = "these are tests")]

use crate::{MIGRATIONS, contests, events, signup_sql};
use sql_core::sqlite;
use sqlx::{AssertSqlSafe, Row};
use tempfile::TempDir;

/// Tables that grow.
const TABLES: [&str; 9] = [
    "signup",
    "contest",
    "task_progress",
    "task_event",
    "contest_leg",
    "p",
    "e",
    "c",
    "sheet_line",
];

#[tokio::test]
async fn no_statement_scans_a_table_that_grows() {
    let dir = TempDir::new().expect("a directory");
    let database = sqlite::open(&dir.path().join("plans.db"), MIGRATIONS, 1)
        .await
        .expect("a database");
    let mut connection = database.writer;
    let statements = [
        signup_sql::statements(),
        contests::statements(),
        events::statements(),
    ]
    .concat();
    for (name, statement) in statements {
        let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")))
            .fetch_all(&mut connection)
            .await
            .expect("a plan");
        let plan: Vec<String> = rows
            .iter()
            .map(|row| row.try_get(3).expect("a detail"))
            .collect();
        for step in &plan {
            let scanned = step
                .strip_prefix("SCAN ")
                .and_then(|rest| rest.split(' ').next());
            assert!(
                !scanned.is_some_and(|table| TABLES.contains(&table)),
                "{name}: {plan:#?}"
            );
            assert!(
                !step.contains("AUTOMATIC"),
                "{name} builds an index: {plan:#?}"
            );
        }
    }
}
