//! The tables, as rows and in pages, read as of one moment each.

use crate::{CheckError, moves::Line};
use sqlx::{
    ConnectOptions, Connection, FromRow, Row, SqliteConnection, sqlite::SqliteConnectOptions,
    sqlite::SqliteRow,
};
use std::{collections::HashMap, path::Path, time::Duration};

/// How many rows are read at a time.
pub(crate) const PAGE: i64 = 1_000;

/// A row; what stands after `later` came with a later schema and is none in an older file.
macro_rules! row {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),+ $(,)? }
     $(later { $($later:ident: $later_type:ty),+ $(,)? })?) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(crate) struct $name {
            $(pub(crate) $field: $type,)+
            $($(pub(crate) $later: Option<$later_type>,)+)?
        }

        impl<'r> FromRow<'r, SqliteRow> for $name {
            fn from_row(row: &'r SqliteRow) -> Result<Self, sqlx::Error> {
                Ok(Self {
                    $($field: row.try_get(stringify!($field))?,)+
                    $($($later: later(row, stringify!($later))?,)+)?
                })
            }
        }
    };
}

fn later<'r, T>(row: &'r SqliteRow, column: &str) -> Result<Option<T>, sqlx::Error>
where
    T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    match row.try_get(column) {
        Err(sqlx::Error::ColumnNotFound(_)) => Ok(None),
        found => found,
    }
}

row! {
    /// `contest`.
    Contest {
        contest_id: String, phase: String, fee: i64, rule: String, rake_bps: i64, guaranteed_pool: i64,
        series_id: Option<String>, carry: i64, claim_mode: String, no_winner: String,
        remainder: String, unclaimed: String, task_target: i64, signup_opens_at: i64,
        tasks_end_at: i64, claim_closes_at: i64, close_position: Option<i64>,
        frozen_at: Option<i64>, fees: Option<i64>, rake: Option<i64>, pool: Option<i64>,
        guarantee_return: Option<i64>, finishers: Option<i64>, weight_sum: Option<String>,
        claimable_at: Option<i64>, version: i64,
    }
    later { fee_tiers: String, draw_secret: String, sheet_sha256: String }
}
row! {
    /// What a viewer did until the end of the tasks, by the events that were stored.
    Done { signup_id: String, quantity: i64, met_at: Option<i64> }
}
row! {
    /// `contest_leg`.
    Leg {
        leg: String, order_id: String, amount: i64, outcome: String, position: Option<i64>,
        applied_at: Option<i64>,
    }
}
row! {
    /// `signup`.
    Signup {
        signup_id: String, user_id: String, fee: i64, fee_order_id: String, state: String,
        last_try: Option<String>, fee_position: Option<i64>, paid_at: Option<i64>,
        quantity: Option<i64>, met_at: Option<i64>, weight: Option<i64>, prize: Option<i64>,
        claim_order_id: Option<String>, payee: Option<String>, payout_position: Option<i64>,
        payout_at: Option<i64>, version: i64,
    }
}
row! {
    /// `sheet_line`.
    SheetLine { signup_id: String, user_id: String, weight: i64, weight_before: String, prize: i64 }
}
row! {
    /// `signup_history`.
    HistoryLine { signup_id: String, version: i64, state: String, at: i64 }
}
row! {
    /// `transfer`, with the names of its accounts.
    Transfer {
        position: i64, order_id: String, debit: String, credit: String, amount: i64,
        memo: String, applied_at: i64,
    }
}

/// Both files, each read as of one moment.
pub(crate) struct Source {
    store: SqliteConnection,
    pub(crate) ledger: SqliteConnection,
    /// The ledger's last position before the store was read: what applied up to it had been
    /// decided in the rows that are read.
    pub(crate) decided_upto: i64,
}

fn reading(what: &'static str) -> impl Fn(sqlx::Error) -> CheckError {
    move |source| CheckError::Read { what, source }
}

/// The ids as one JSON array: a list of any length in one parameter.
fn json<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(ids).to_string()
}

async fn open(path: &Path) -> Result<SqliteConnection, CheckError> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(Duration::from_secs(10))
        .disable_statement_logging();
    let failed = |source| CheckError::Open {
        path: path.to_owned(),
        source,
    };
    SqliteConnection::connect_with(&options)
        .await
        .map_err(failed)
}

async fn last_position(ledger: &mut SqliteConnection) -> Result<i64, CheckError> {
    sqlx::query_scalar("SELECT COALESCE(MAX(position), 0) FROM transfer")
        .fetch_one(ledger)
        .await
        .map_err(reading("transfer"))
}

impl Source {
    pub(crate) async fn open(store: &Path, ledger: &Path) -> Result<Self, CheckError> {
        let mut ledger = open(ledger).await?;
        let mut store = open(store).await?;
        let decided_upto = last_position(&mut ledger).await?;
        // A transaction sees the file as of its first read.
        sqlx::query("BEGIN")
            .execute(&mut store)
            .await
            .map_err(reading("store"))?;
        let _: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM contest")
            .fetch_one(&mut store)
            .await
            .map_err(reading("contest"))?;
        sqlx::query("BEGIN")
            .execute(&mut ledger)
            .await
            .map_err(reading("ledger"))?;
        last_position(&mut ledger).await?;
        Ok(Self {
            store,
            ledger,
            decided_upto,
        })
    }

    /// Ends both reads; what a failed close leaves behind ends with the process.
    pub(crate) async fn close(self) {
        let _ = self.store.close().await;
        let _ = self.ledger.close().await;
    }

    pub(crate) async fn contest_after(
        &mut self,
        after: &str,
        only: Option<&str>,
    ) -> Result<Option<Contest>, CheckError> {
        sqlx::query_as(
            "SELECT * FROM contest WHERE contest_id > ?1 AND (?2 IS NULL OR contest_id = ?2)
             ORDER BY contest_id LIMIT 1",
        )
        .bind(after)
        .bind(only)
        .fetch_optional(&mut self.store)
        .await
        .map_err(reading("contest"))
    }

    /// Those of the contests that are in the store.
    pub(crate) async fn existing(
        &mut self,
        contests: impl IntoIterator<Item = &str>,
    ) -> Result<Vec<String>, CheckError> {
        sqlx::query_scalar(
            "SELECT contest_id FROM json_each(?) AS wanted
             CROSS JOIN contest ON contest_id = wanted.value",
        )
        .bind(json(contests))
        .fetch_all(&mut self.store)
        .await
        .map_err(reading("contest"))
    }

    pub(crate) async fn contest_history(&mut self, contest: &str) -> Result<Vec<Line>, CheckError> {
        let rows: Vec<(i64, String)> = sqlx::query_as(
            "SELECT version, phase FROM contest_history WHERE contest_id = ? ORDER BY version",
        )
        .bind(contest)
        .fetch_all(&mut self.store)
        .await
        .map_err(reading("contest_history"))?;
        Ok(rows
            .into_iter()
            .map(|(version, state)| Line { version, state })
            .collect())
    }

    pub(crate) async fn legs(&mut self, contest: &str) -> Result<Vec<Leg>, CheckError> {
        sqlx::query_as("SELECT * FROM contest_leg WHERE contest_id = ? ORDER BY leg")
            .bind(contest)
            .fetch_all(&mut self.store)
            .await
            .map_err(reading("contest_leg"))
    }

    pub(crate) async fn signups_after(
        &mut self,
        contest: &str,
        after: &str,
    ) -> Result<Vec<Signup>, CheckError> {
        sqlx::query_as("SELECT * FROM signup WHERE contest_id = ? AND signup_id > ? ORDER BY signup_id LIMIT ?")
            .bind(contest)
            .bind(after)
            .bind(PAGE)
            .fetch_all(&mut self.store)
            .await
            .map_err(reading("signup"))
    }

    /// The signups of these users in a contest, by user.
    pub(crate) async fn signups_of(
        &mut self,
        contest: &str,
        users: &[&str],
    ) -> Result<HashMap<String, Signup>, CheckError> {
        let rows: Vec<Signup> = sqlx::query_as(
            "SELECT * FROM signup WHERE contest_id = ? AND user_id IN (SELECT value FROM json_each(?))",
        )
        .bind(contest)
        .bind(json(users.iter().copied()))
        .fetch_all(&mut self.store)
        .await
        .map_err(reading("signup"))?;
        Ok(rows
            .into_iter()
            .map(|row| (row.user_id.clone(), row))
            .collect())
    }

    pub(crate) async fn histories(
        &mut self,
        signups: &[Signup],
    ) -> Result<HashMap<String, Vec<HistoryLine>>, CheckError> {
        let rows: Vec<HistoryLine> = sqlx::query_as(
            "SELECT * FROM signup_history WHERE signup_id IN (SELECT value FROM json_each(?))
             ORDER BY signup_id, version, step",
        )
        .bind(json(signups.iter().map(|signup| signup.signup_id.as_str())))
        .fetch_all(&mut self.store)
        .await
        .map_err(reading("signup_history"))?;
        let mut by_signup: HashMap<String, Vec<HistoryLine>> =
            HashMap::with_capacity(signups.len());
        for row in rows {
            by_signup
                .entry(row.signup_id.clone())
                .or_default()
                .push(row);
        }
        Ok(by_signup)
    }

    /// What each of these signups did that counts, from the events: from the moment at which the
    /// fee was paid to the end of the tasks.
    pub(crate) async fn done(
        &mut self,
        contest: &Contest,
        signups: &[Signup],
    ) -> Result<HashMap<String, Done>, CheckError> {
        let rows: Vec<Done> = sqlx::query_as(
            "WITH counted AS (
                 SELECT s.signup_id, p.occurred_at, p.quantity,
                        SUM(p.quantity) OVER (PARTITION BY s.signup_id
                            ORDER BY p.occurred_at, p.sender_id, p.event_id) AS total
                 FROM json_each(?1) AS wanted
                 CROSS JOIN signup AS s ON s.contest_id = ?2 AND s.signup_id = wanted.value
                 CROSS JOIN task_progress AS p ON p.contest_id = ?2 AND p.user_id = s.user_id
                     AND p.occurred_at >= s.paid_at AND p.occurred_at < ?3)
             SELECT signup_id, SUM(quantity) AS quantity,
                    MIN(CASE WHEN total >= ?4 THEN occurred_at END) AS met_at
             FROM counted GROUP BY signup_id",
        )
        .bind(json(signups.iter().map(|signup| signup.signup_id.as_str())))
        .bind(&contest.contest_id)
        .bind(contest.tasks_end_at)
        .bind(contest.task_target)
        .fetch_all(&mut self.store)
        .await
        .map_err(reading("task_progress"))?;
        Ok(rows
            .into_iter()
            .map(|row| (row.signup_id.clone(), row))
            .collect())
    }

    pub(crate) async fn sheet(
        &mut self,
        contest: &str,
        signups: &[Signup],
    ) -> Result<HashMap<String, SheetLine>, CheckError> {
        let (Some(first), Some(last)) = (signups.first(), signups.last()) else {
            return Ok(HashMap::new());
        };
        let rows: Vec<SheetLine> = sqlx::query_as(
            "SELECT * FROM sheet_line WHERE contest_id = ? AND signup_id BETWEEN ? AND ?",
        )
        .bind(contest)
        .bind(&first.signup_id)
        .bind(&last.signup_id)
        .fetch_all(&mut self.store)
        .await
        .map_err(reading("sheet_line"))?;
        Ok(rows
            .into_iter()
            .map(|row| (row.signup_id.clone(), row))
            .collect())
    }

    pub(crate) async fn sheet_lines(&mut self, contest: &str) -> Result<i64, CheckError> {
        sqlx::query_scalar("SELECT COUNT(*) FROM sheet_line WHERE contest_id = ?")
            .bind(contest)
            .fetch_one(&mut self.store)
            .await
            .map_err(reading("sheet_line"))
    }

    /// The transfers of these orders, by order.
    pub(crate) async fn transfers(
        &mut self,
        orders: impl IntoIterator<Item = &str>,
    ) -> Result<HashMap<String, Transfer>, CheckError> {
        let rows: Vec<Transfer> = sqlx::query_as(
            "SELECT t.position, t.order_id, d.name AS debit, c.name AS credit, t.amount, t.memo, t.applied_at
             FROM json_each(?) AS wanted
             JOIN transfer AS t ON t.order_id = wanted.value
             JOIN account AS d ON d.account_id = t.debit
             JOIN account AS c ON c.account_id = t.credit",
        )
        .bind(json(orders))
        .fetch_all(&mut self.ledger)
        .await
        .map_err(reading("transfer"))?;
        Ok(rows
            .into_iter()
            .map(|row| (row.order_id.clone(), row))
            .collect())
    }

    /// The transfers of an account after a position, in commit order.
    pub(crate) async fn pool_transfers(
        &mut self,
        account: i64,
        after: i64,
    ) -> Result<Vec<Transfer>, CheckError> {
        sqlx::query_as(
            "SELECT t.position, t.order_id, d.name AS debit, c.name AS credit, t.amount, t.memo, t.applied_at
             FROM (
                 SELECT position FROM transfer WHERE debit = ?1 AND position > ?2
                 UNION ALL
                 SELECT position FROM transfer WHERE credit = ?1 AND position > ?2
                 ORDER BY position LIMIT ?3
             ) AS page
             JOIN transfer AS t ON t.position = page.position
             JOIN account AS d ON d.account_id = t.debit
             JOIN account AS c ON c.account_id = t.credit
             ORDER BY t.position",
        )
        .bind(account)
        .bind(after)
        .bind(PAGE)
        .fetch_all(&mut self.ledger)
        .await
        .map_err(reading("transfer"))
    }

    /// An account's number and balance.
    pub(crate) async fn account(&mut self, name: &str) -> Result<Option<(i64, i64)>, CheckError> {
        sqlx::query_as("SELECT account_id, balance FROM account WHERE name = ?")
            .bind(name)
            .fetch_optional(&mut self.ledger)
            .await
            .map_err(reading("account"))
    }

    /// Viewers who paid this pool more than once.
    pub(crate) async fn charged_twice(
        &mut self,
        pool: i64,
    ) -> Result<Vec<(String, i64)>, CheckError> {
        sqlx::query_as(
            "SELECT a.name, COUNT(*) FROM transfer AS t JOIN account AS a ON a.account_id = t.debit
             WHERE t.credit = ? AND a.name LIKE 'user/%' GROUP BY t.debit HAVING COUNT(*) > 1 LIMIT 1000",
        )
        .bind(pool)
        .fetch_all(&mut self.ledger)
        .await
        .map_err(reading("transfer"))
    }

    /// Viewers whom this pool paid more than once: two prizes, two refunds, or one of each.
    pub(crate) async fn paid_twice(&mut self, pool: i64) -> Result<Vec<(String, i64)>, CheckError> {
        sqlx::query_as(
            "SELECT a.name, COUNT(*) FROM transfer AS t JOIN account AS a ON a.account_id = t.credit
             WHERE t.debit = ? AND a.name LIKE 'user/%' GROUP BY t.credit HAVING COUNT(*) > 1 LIMIT 1000",
        )
        .bind(pool)
        .fetch_all(&mut self.ledger)
        .await
        .map_err(reading("transfer"))
    }
}
