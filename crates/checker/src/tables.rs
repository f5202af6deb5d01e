//! The tables of store and ledger, in pages, each side read as of one moment.
//!
//! On MySQL ids are 16 bytes; a parameter is the text that they stand for.

use crate::{
    CheckError,
    moves::Line,
    rows::{
        AccountRow, Contest, Counted, Done, HistoryLine, Id, Leg, Moved, PhaseLine, Repeated,
        SheetLine, Signup, Transfer,
    },
    source::{Arg, Books, Both, Db, both},
};
use std::collections::HashMap;

/// How many rows are read at a time.
pub(crate) const PAGE: i64 = 1_000;

const LAST_POSITION: Both = both("SELECT COALESCE(MAX(position), 0) FROM transfer");
const FIRST_CONTEST: Both = both("SELECT COUNT(*) FROM (SELECT 1 FROM contest LIMIT 1) AS one");

/// Both sides, each read as of one moment.
pub(crate) struct Tables {
    store: Db,
    ledger: Db,
    /// The ledger's last position before the store was read: what applied up to it had been
    /// decided in the rows that are read.
    pub(crate) decided_upto: i64,
}

/// The ids as one JSON array: a list of any length in one parameter.
fn json<'a>(ids: impl IntoIterator<Item = &'a str>) -> String {
    serde_json::Value::from_iter(ids).to_string()
}

impl Tables {
    /// Fixes the moment of the store, and a later one of the ledger: whatever a row claims must
    /// already be in the ledger.
    pub(crate) async fn open(books: &Books) -> Result<Self, CheckError> {
        let mut ledger = books.ledger.connect().await?;
        let mut store = books.store.connect().await?;
        let last: Option<(i64,)> = ledger.first("transfer", LAST_POSITION, &[]).await?;
        store.fix("contest", FIRST_CONTEST).await?;
        ledger.fix("transfer", LAST_POSITION).await?;
        Ok(Self {
            store,
            ledger,
            decided_upto: last.map_or(0, |(position,)| position),
        })
    }

    /// Ends both reads.
    pub(crate) async fn close(self) {
        self.store.close().await;
        self.ledger.close().await;
    }

    pub(crate) async fn contest_after(
        &mut self,
        after: &str,
        only: Option<&str>,
    ) -> Result<Option<Contest>, CheckError> {
        const QUESTION: Both = Both {
            sqlite: "SELECT * FROM contest WHERE contest_id > ? AND (? IS NULL OR contest_id = ?)
                ORDER BY contest_id LIMIT 1",
            mysql: "SELECT * FROM contest WHERE contest_id > UNHEX(REPLACE(?, '-', ''))
                AND (? IS NULL OR contest_id = UNHEX(REPLACE(?, '-', '')))
                ORDER BY contest_id LIMIT 1",
        };
        let args = [Arg::Text(after), Arg::Optional(only), Arg::Optional(only)];
        self.store.first("contest", QUESTION, &args).await
    }

    /// Those of the contests that are in the store.
    pub(crate) async fn existing(
        &mut self,
        contests: impl IntoIterator<Item = &str>,
    ) -> Result<Vec<String>, CheckError> {
        const QUESTION: Both = Both {
            sqlite: "SELECT contest_id FROM json_each(?) AS wanted
                CROSS JOIN contest ON contest_id = wanted.value",
            mysql: "SELECT c.contest_id
                FROM JSON_TABLE(?, '$[*]' COLUMNS (id VARCHAR(80) PATH '$')) AS wanted
                STRAIGHT_JOIN contest AS c ON c.contest_id = UNHEX(REPLACE(wanted.id, '-', ''))",
        };
        let contests = json(contests);
        let rows: Vec<Id> = self
            .store
            .all("contest", QUESTION, &[Arg::Text(&contests)])
            .await?;
        Ok(rows.into_iter().map(|row| row.contest_id).collect())
    }

    pub(crate) async fn contest_history(&mut self, contest: &str) -> Result<Vec<Line>, CheckError> {
        const QUESTION: Both = Both {
            sqlite: "SELECT version, phase FROM contest_history WHERE contest_id = ?
                ORDER BY version",
            mysql: "SELECT version, phase FROM contest_history
                WHERE contest_id = UNHEX(REPLACE(?, '-', '')) ORDER BY version",
        };
        let rows: Vec<PhaseLine> = self
            .store
            .all("contest_history", QUESTION, &[Arg::Text(contest)])
            .await?;
        let line = |PhaseLine { version, phase }| Line {
            version,
            state: phase,
        };
        Ok(rows.into_iter().map(line).collect())
    }

    pub(crate) async fn legs(&mut self, contest: &str) -> Result<Vec<Leg>, CheckError> {
        const QUESTION: Both = Both {
            sqlite: "SELECT * FROM contest_leg WHERE contest_id = ? ORDER BY leg",
            mysql: "SELECT * FROM contest_leg WHERE contest_id = UNHEX(REPLACE(?, '-', ''))
                ORDER BY leg",
        };
        self.store
            .all("contest_leg", QUESTION, &[Arg::Text(contest)])
            .await
    }

    pub(crate) async fn signups_after(
        &mut self,
        contest: &str,
        after: &str,
    ) -> Result<Vec<Signup>, CheckError> {
        const QUESTION: Both = Both {
            sqlite: "SELECT * FROM signup WHERE contest_id = ? AND signup_id > ?
                ORDER BY signup_id LIMIT ?",
            mysql: "SELECT * FROM signup WHERE contest_id = UNHEX(REPLACE(?, '-', ''))
                AND signup_id > UNHEX(REPLACE(?, '-', '')) ORDER BY signup_id LIMIT ?",
        };
        let args = [Arg::Text(contest), Arg::Text(after), Arg::Int(PAGE)];
        self.store.all("signup", QUESTION, &args).await
    }

    /// The signups of these users in a contest, by user.
    pub(crate) async fn signups_of(
        &mut self,
        contest: &str,
        users: &[&str],
    ) -> Result<HashMap<String, Signup>, CheckError> {
        const QUESTION: Both = Both {
            sqlite: "SELECT * FROM signup
                WHERE user_id IN (SELECT value FROM json_each(?)) AND contest_id = ?",
            mysql: "SELECT s.* FROM JSON_TABLE(?, '$[*]' COLUMNS (
                    name VARCHAR(80) CHARACTER SET ascii COLLATE ascii_bin PATH '$')) AS wanted
                STRAIGHT_JOIN signup AS s ON s.user_id = wanted.name
                    AND s.contest_id = UNHEX(REPLACE(?, '-', ''))",
        };
        let users = json(users.iter().copied());
        let args = [Arg::Text(&users), Arg::Text(contest)];
        let rows: Vec<Signup> = self.store.all("signup", QUESTION, &args).await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.user_id.clone(), row))
            .collect())
    }

    pub(crate) async fn histories(
        &mut self,
        signups: &[Signup],
    ) -> Result<HashMap<String, Vec<HistoryLine>>, CheckError> {
        const QUESTION: Both = Both {
            sqlite: "SELECT * FROM signup_history
                WHERE signup_id IN (SELECT value FROM json_each(?))
                ORDER BY signup_id, version, step",
            mysql: "SELECT h.* FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(36) PATH '$')) AS wanted
                STRAIGHT_JOIN signup_history AS h
                    ON h.signup_id = UNHEX(REPLACE(wanted.id, '-', ''))
                ORDER BY h.signup_id, h.version, h.step",
        };
        let signups = json(signups.iter().map(|signup| signup.signup_id.as_str()));
        let rows: Vec<HistoryLine> = self
            .store
            .all("signup_history", QUESTION, &[Arg::Text(&signups)])
            .await?;
        let mut by_signup: HashMap<String, Vec<HistoryLine>> = HashMap::new();
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
        const QUESTION: Both = Both {
            sqlite: "WITH counted AS (
                    SELECT s.signup_id, p.occurred_at, p.quantity,
                           SUM(p.quantity) OVER (PARTITION BY s.signup_id
                               ORDER BY p.occurred_at, p.sender_id, p.event_id) AS total
                    FROM json_each(?) AS wanted
                    CROSS JOIN signup AS s ON s.contest_id = ? AND s.signup_id = wanted.value
                    CROSS JOIN task_progress AS p ON p.contest_id = ? AND p.user_id = s.user_id
                        AND p.occurred_at >= s.paid_at AND p.occurred_at < ?)
                SELECT signup_id, SUM(quantity) AS quantity,
                       MIN(CASE WHEN total >= ? THEN occurred_at END) AS met_at
                FROM counted GROUP BY signup_id",
            mysql: "WITH counted AS (
                    SELECT s.signup_id, p.occurred_at, p.quantity,
                           SUM(p.quantity) OVER (PARTITION BY s.signup_id
                               ORDER BY p.occurred_at, p.sender_id, p.event_id) AS total
                    FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(36) PATH '$')) AS wanted
                    STRAIGHT_JOIN signup AS s ON s.contest_id = UNHEX(REPLACE(?, '-', ''))
                        AND s.signup_id = UNHEX(REPLACE(wanted.id, '-', ''))
                    STRAIGHT_JOIN task_progress AS p ON p.contest_id = UNHEX(REPLACE(?, '-', ''))
                        AND p.user_id = s.user_id
                        AND p.occurred_at >= s.paid_at AND p.occurred_at < ?)
                SELECT signup_id, CAST(SUM(quantity) AS SIGNED) AS quantity,
                       MIN(CASE WHEN total >= ? THEN occurred_at END) AS met_at
                FROM counted GROUP BY signup_id",
        };
        let signups = json(signups.iter().map(|signup| signup.signup_id.as_str()));
        let args = [
            Arg::Text(&signups),
            Arg::Text(&contest.contest_id),
            Arg::Text(&contest.contest_id),
            Arg::Int(contest.tasks_end_at),
            Arg::Int(contest.task_target),
        ];
        let rows: Vec<Done> = self.store.all("task_progress", QUESTION, &args).await?;
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
        const QUESTION: Both = Both {
            sqlite: "SELECT * FROM sheet_line WHERE contest_id = ? AND signup_id BETWEEN ? AND ?",
            mysql: "SELECT * FROM sheet_line WHERE contest_id = UNHEX(REPLACE(?, '-', ''))
                AND signup_id BETWEEN UNHEX(REPLACE(?, '-', '')) AND UNHEX(REPLACE(?, '-', ''))",
        };
        let (Some(first), Some(last)) = (signups.first(), signups.last()) else {
            return Ok(HashMap::new());
        };
        let args = [
            Arg::Text(contest),
            Arg::Text(&first.signup_id),
            Arg::Text(&last.signup_id),
        ];
        let rows: Vec<SheetLine> = self.store.all("sheet_line", QUESTION, &args).await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.signup_id.clone(), row))
            .collect())
    }

    pub(crate) async fn sheet_lines(&mut self, contest: &str) -> Result<i64, CheckError> {
        const QUESTION: Both = Both {
            sqlite: "SELECT COUNT(*) FROM sheet_line WHERE contest_id = ?",
            mysql: "SELECT COUNT(*) FROM sheet_line WHERE contest_id = UNHEX(REPLACE(?, '-', ''))",
        };
        let count: Option<(i64,)> = self
            .store
            .first("sheet_line", QUESTION, &[Arg::Text(contest)])
            .await?;
        Ok(count.map_or(0, |(count,)| count))
    }

    /// The transfers of these orders, by order.
    pub(crate) async fn transfers(
        &mut self,
        orders: impl IntoIterator<Item = &str>,
    ) -> Result<HashMap<String, Transfer>, CheckError> {
        const QUESTION: Both = Both {
            sqlite: "SELECT t.position, t.order_id, d.name AS debit, c.name AS credit, t.amount,
                    t.memo, t.applied_at
                FROM json_each(?) AS wanted
                JOIN transfer AS t ON t.order_id = wanted.value
                JOIN account AS d ON d.account_id = t.debit
                JOIN account AS c ON c.account_id = t.credit",
            mysql: "SELECT t.position, t.order_id, d.name AS debit, c.name AS credit, t.amount,
                    t.memo, t.applied_at
                FROM JSON_TABLE(?, '$[*]' COLUMNS (id CHAR(32) PATH '$')) AS wanted
                STRAIGHT_JOIN transfer AS t ON t.order_id = UNHEX(wanted.id)
                STRAIGHT_JOIN account AS d ON d.account_id = t.debit
                STRAIGHT_JOIN account AS c ON c.account_id = t.credit",
        };
        let orders = json(orders);
        let rows: Vec<Transfer> = self
            .ledger
            .all("transfer", QUESTION, &[Arg::Text(&orders)])
            .await?;
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
        const QUESTION: Both = both(
            "SELECT t.position, t.order_id, d.name AS debit, c.name AS credit, t.amount, t.memo,
                t.applied_at
             FROM (
                 SELECT * FROM (SELECT position FROM transfer WHERE debit = ? AND position > ?
                     ORDER BY position LIMIT ?) AS paid
                 UNION ALL
                 SELECT * FROM (SELECT position FROM transfer WHERE credit = ? AND position > ?
                     ORDER BY position LIMIT ?) AS received
                 ORDER BY position LIMIT ?
             ) AS page
             JOIN transfer AS t ON t.position = page.position
             JOIN account AS d ON d.account_id = t.debit
             JOIN account AS c ON c.account_id = t.credit
             ORDER BY t.position",
        );
        let (account, after, limit) = (Arg::Int(account), Arg::Int(after), Arg::Int(PAGE));
        let args = [account, after, limit, account, after, limit, limit];
        self.ledger.all("transfer", QUESTION, &args).await
    }

    /// An account's number and balance.
    pub(crate) async fn account(&mut self, name: &str) -> Result<Option<(i64, i64)>, CheckError> {
        const QUESTION: Both = both("SELECT account_id, balance FROM account WHERE name = ?");
        self.ledger
            .first("account", QUESTION, &[Arg::Text(name)])
            .await
    }

    /// Viewers who paid this pool more than once.
    pub(crate) async fn charged_twice(
        &mut self,
        pool: i64,
    ) -> Result<Vec<(String, i64)>, CheckError> {
        const QUESTION: Both = both(
            "SELECT a.name AS name, COUNT(*) AS count
             FROM transfer AS t JOIN account AS a ON a.account_id = t.debit
             WHERE t.credit = ? AND a.name LIKE 'user/%' GROUP BY t.debit, a.name
             HAVING COUNT(*) > 1 LIMIT 1000",
        );
        self.counted(QUESTION, pool).await
    }

    /// Viewers whom this pool paid more than once: two prizes, two refunds, or one of each.
    pub(crate) async fn paid_twice(&mut self, pool: i64) -> Result<Vec<(String, i64)>, CheckError> {
        const QUESTION: Both = both(
            "SELECT a.name AS name, COUNT(*) AS count
             FROM transfer AS t JOIN account AS a ON a.account_id = t.credit
             WHERE t.debit = ? AND a.name LIKE 'user/%' GROUP BY t.credit, a.name
             HAVING COUNT(*) > 1 LIMIT 1000",
        );
        self.counted(QUESTION, pool).await
    }

    async fn counted(
        &mut self,
        question: Both,
        pool: i64,
    ) -> Result<Vec<(String, i64)>, CheckError> {
        let rows: Vec<Counted> = self
            .ledger
            .all("transfer", question, &[Arg::Int(pool)])
            .await?;
        Ok(rows.into_iter().map(|row| (row.name, row.count)).collect())
    }

    /// The transfers after a position, in commit order.
    pub(crate) async fn moved_after(&mut self, position: i64) -> Result<Vec<Moved>, CheckError> {
        const QUESTION: Both = both(
            "SELECT position, debit, credit, amount, applied_at FROM transfer
             WHERE position > ? ORDER BY position LIMIT ?",
        );
        let args = [Arg::Int(position), Arg::Int(PAGE)];
        self.ledger.all("transfer", QUESTION, &args).await
    }

    /// Order ids that several transfers have.
    pub(crate) async fn repeated(&mut self) -> Result<Vec<(String, i64)>, CheckError> {
        const QUESTION: Both = both(
            "SELECT order_id, COUNT(*) AS count FROM transfer GROUP BY order_id
             HAVING COUNT(*) > 1 LIMIT 10",
        );
        let rows: Vec<Repeated> = self.ledger.all("transfer", QUESTION, &[]).await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.order_id, row.count))
            .collect())
    }

    /// The accounts after one, by number.
    pub(crate) async fn accounts_after(
        &mut self,
        account: i64,
    ) -> Result<Vec<(i64, String, i64)>, CheckError> {
        const QUESTION: Both = both(
            "SELECT account_id, name, balance FROM account
             WHERE account_id > ? ORDER BY account_id LIMIT ?",
        );
        let args = [Arg::Int(account), Arg::Int(PAGE)];
        let rows: Vec<AccountRow> = self.ledger.all("account", QUESTION, &args).await?;
        let row = |row: AccountRow| (row.account_id, row.name, row.balance);
        Ok(rows.into_iter().map(row).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Source;
    use sqlx::{AssertSqlSafe, Connection, MySqlConnection};

    async fn run(connection: &mut MySqlConnection, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned()))
            .execute(connection)
            .await
            .expect("an answer");
    }

    #[tokio::test]
    async fn a_server_is_read_as_of_one_moment() {
        const CONTEST: &str = "0198c9f2-0000-7000-8000-0000000000c1";
        let line = format!("INSERT INTO sheet_line VALUES (UNHEX(REPLACE('{CONTEST}', '-', '')))");
        for variable in ["GUAFEN_TEST_MYSQL_URL", "GUAFEN_TEST_MARIADB_URL"] {
            let base = std::env::var(variable).expect("the variable names a server");
            let name = format!("checker_moment_{}", std::process::id());
            let mut writer = MySqlConnection::connect(&base).await.expect("a server");
            for statement in [
                &format!("CREATE DATABASE {name}"),
                &format!("USE {name}"),
                "CREATE TABLE contest (contest_id BINARY(16) PRIMARY KEY)",
                "CREATE TABLE sheet_line (contest_id BINARY(16))",
                "CREATE TABLE transfer (position BIGINT PRIMARY KEY, debit BIGINT, credit BIGINT,
                    amount BIGINT, applied_at BIGINT)",
                "INSERT INTO transfer VALUES (1, 1, 2, 5, 7)",
                &line,
            ] {
                run(&mut writer, statement).await;
            }
            let source = Source::parse(&format!("{base}/{name}")).expect("a source");
            let books = Books {
                store: source.clone(),
                ledger: source,
            };
            let mut tables = Tables::open(&books).await.expect("open tables");
            run(&mut writer, &line).await;
            run(&mut writer, "INSERT INTO transfer VALUES (2, 1, 2, 5, 7)").await;
            assert_eq!(tables.sheet_lines(CONTEST).await.expect("a count"), 1);
            assert_eq!(tables.moved_after(0).await.expect("a page").len(), 1);
            assert_eq!(tables.decided_upto, 1);
            tables.close().await;
            let mut later = Tables::open(&books).await.expect("open tables");
            assert_eq!(later.sheet_lines(CONTEST).await.expect("a count"), 2);
            assert_eq!(later.moved_after(0).await.expect("a page").len(), 2);
            later.close().await;
            run(&mut writer, &format!("DROP DATABASE {name}")).await;
        }
    }
}
