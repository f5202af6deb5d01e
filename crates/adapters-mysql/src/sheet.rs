//! The settlement sheet in MySQL: a line is written once.

use crate::rows::{failed, json};
use domain::{
    ids::{ContestId, SignupId},
    payout::Weight,
    settlement::{Finisher, SheetLine},
};
use ports::store::StoreError;
use serde::Serialize;
use sql_core::{
    mysql::keys,
    record::{Context, column},
};
use sqlx::{AssertSqlSafe, MySqlConnection, Row, mysql::MySqlRow};
use std::collections::BTreeMap;
use uuid::Uuid;

#[derive(Serialize)]
struct SheetRow {
    contest_id: String,
    signup_id: String,
    user_id: String,
    weight: i64,
    weight_before: String,
    prize: i64,
}

pub(crate) const INSERT: &str = "INSERT INTO sheet_line (contest_id, signup_id, user_id, weight, weight_before, prize) \
     SELECT UNHEX(REPLACE(j.contest_id, '-', '')), UNHEX(REPLACE(j.signup_id, '-', '')), j.user_id, j.weight, \
            j.weight_before, j.prize \
     FROM JSON_TABLE(?, '$[*]' COLUMNS (contest_id CHAR(36) PATH '$.contest_id', \
       signup_id CHAR(36) PATH '$.signup_id', user_id VARCHAR(64) PATH '$.user_id', \
       weight BIGINT PATH '$.weight', weight_before VARCHAR(40) PATH '$.weight_before', \
       prize BIGINT PATH '$.prize')) AS j";

pub(crate) const PAGE: &str = "SELECT signup_id, user_id, weight, weight_before, prize FROM sheet_line FORCE INDEX (PRIMARY) \
     WHERE contest_id = ? AND signup_id > ? ORDER BY signup_id LIMIT ?";

/// Writes lines.
pub(crate) async fn insert(
    connection: &mut MySqlConnection,
    contest: ContestId,
    lines: &[SheetLine],
) -> Result<(), sqlx::Error> {
    let rows: Vec<_> = lines.iter().map(|line| sheet_row(contest, line)).collect();
    sqlx::query(INSERT)
        .bind(json(&rows)?)
        .execute(connection)
        .await
        .map(drop)
}

fn sheet_row(contest: ContestId, line: &SheetLine) -> SheetRow {
    let SheetLine {
        finisher:
            Finisher {
                signup_id,
                user_id,
                weight,
            },
        before,
        prize,
    } = line;
    SheetRow {
        contest_id: contest.to_string(),
        signup_id: signup_id.to_string(),
        user_id: user_id.to_string(),
        weight: column(weight.get()),
        weight_before: before.to_string(),
        prize: prize.as_i64(),
    }
}

/// Signup, user and weight, in this order.
pub(crate) fn parse_finisher(row: &MySqlRow) -> Result<Finisher, StoreError> {
    finisher_at(row, 0)
}

/// The same behind so many other columns.
fn finisher_at(row: &MySqlRow, first: usize) -> Result<Finisher, StoreError> {
    let signup_id: Uuid = row.try_get(first).map_err(failed)?;
    let user_id: String = row.try_get(first + 1).map_err(failed)?;
    let weight: i64 = row.try_get(first + 2).map_err(failed)?;
    let key = signup_id.hyphenated().to_string();
    let context = Context {
        table: "sheet_line",
        key: &key,
    };
    let weight = Weight::new(context.count("weight", weight)?)
        .ok_or_else(|| context.inconsistent("weight is 0"))?;
    Ok(Finisher {
        signup_id: SignupId(signup_id),
        user_id: context.parsed("user_id", &user_id)?,
        weight,
    })
}

/// The same, the weights before it and its prize.
pub(crate) fn parse_line(row: &MySqlRow) -> Result<SheetLine, StoreError> {
    line_at(row, 0)
}

/// The same behind so many other columns; none where they are null.
pub(crate) fn parse_line_at(row: &MySqlRow, first: usize) -> Result<Option<SheetLine>, StoreError> {
    let signup_id: Option<Uuid> = row.try_get(first).map_err(failed)?;
    signup_id.map(|_| line_at(row, first)).transpose()
}

fn line_at(row: &MySqlRow, first: usize) -> Result<SheetLine, StoreError> {
    let finisher = finisher_at(row, first)?;
    let key = finisher.signup_id.to_string();
    let context = Context {
        table: "sheet_line",
        key: &key,
    };
    let before: String = row.try_get(first + 3).map_err(failed)?;
    Ok(SheetLine {
        before: context.parsed("weight_before", &before)?,
        prize: context.coins("prize", row.try_get(first + 4).map_err(failed)?)?,
        finisher,
    })
}

/// Lines by contest and signup.
pub(crate) fn lines(number: usize) -> String {
    let marks = keys::marks(2, number);
    format!(
        "SELECT signup_id, user_id, weight, weight_before, prize, contest_id FROM sheet_line \
         FORCE INDEX (PRIMARY) WHERE (contest_id, signup_id) IN ({marks})"
    )
}

type Lines = BTreeMap<(ContestId, SignupId), Result<SheetLine, StoreError>>;

/// Reads lines by contest and signup.
pub(crate) async fn read_lines(
    connection: &mut MySqlConnection,
    asked: &[(ContestId, SignupId)],
) -> Result<Lines, sqlx::Error> {
    let mut query = sqlx::query(AssertSqlSafe(lines(asked.len())));
    for (contest, signup) in keys::fill(asked) {
        query = query.bind(contest.0).bind(signup.0);
    }
    let found = query.fetch_all(connection).await?;
    found
        .iter()
        .map(|row| {
            let key = (ContestId(row.try_get(5)?), SignupId(row.try_get(0)?));
            Ok((key, parse_line(row)))
        })
        .collect()
}
