//! The settlement sheet in SQLite: a line is written once.

use crate::{
    rows::{failed, json},
    writer::Transaction,
};
use domain::{
    ids::ContestId,
    payout::Weight,
    settlement::{Finisher, SheetLine},
};
use ports::store::StoreError;
use serde::Serialize;
use sql_core::record::{Context, column};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use std::collections::BTreeMap;

#[derive(Serialize)]
struct SheetRow {
    contest_id: String,
    signup_id: String,
    user_id: String,
    weight: i64,
    weight_before: String,
    prize: i64,
}

const SHEET: &str = "INSERT INTO sheet_line (contest_id, signup_id, user_id, weight, weight_before, prize) \
     SELECT j.value ->> 'contest_id', j.value ->> 'signup_id', j.value ->> 'user_id', j.value ->> 'weight', \
            j.value ->> 'weight_before', j.value ->> 'prize' \
     FROM json_each(?1) AS j";

/// Writes lines.
pub(crate) async fn insert(
    transaction: &mut Transaction<'_>,
    contest: ContestId,
    lines: &[SheetLine],
) -> Result<(), sqlx::Error> {
    let rows: Vec<_> = lines.iter().map(|line| sheet_row(contest, line)).collect();
    sqlx::query(SHEET)
        .bind(json(&rows)?)
        .execute(&mut *transaction.connection)
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
pub(crate) fn parse_finisher(row: &SqliteRow) -> Result<Finisher, StoreError> {
    let signup_id: String = row.try_get(0).map_err(failed)?;
    let user_id: String = row.try_get(1).map_err(failed)?;
    let weight: i64 = row.try_get(2).map_err(failed)?;
    let context = Context {
        table: "sheet_line",
        key: &signup_id,
    };
    let weight = Weight::new(context.count("weight", weight)?)
        .ok_or_else(|| context.inconsistent("weight is 0"))?;
    Ok(Finisher {
        signup_id: context.parsed("signup_id", &signup_id)?,
        user_id: context.parsed("user_id", &user_id)?,
        weight,
    })
}

/// The same, the weights before it and its prize.
pub(crate) fn parse_line(row: &SqliteRow) -> Result<SheetLine, StoreError> {
    let finisher = parse_finisher(row)?;
    let key = finisher.signup_id.to_string();
    let context = Context {
        table: "sheet_line",
        key: &key,
    };
    let before: String = row.try_get(3).map_err(failed)?;
    Ok(SheetLine {
        before: context.parsed("weight_before", &before)?,
        prize: context.coins("prize", row.try_get(4).map_err(failed)?)?,
        finisher,
    })
}

pub(crate) const LINES: &str = "SELECT signup_id, user_id, weight, weight_before, prize, contest_id FROM sheet_line \
     WHERE (contest_id, signup_id) IN (SELECT value ->> 0, value ->> 1 FROM json_each(?1))";

/// Lines of the sheet by contest and signup.
pub(crate) async fn read_lines(
    connection: &mut SqliteConnection,
    keys: &str,
) -> Result<BTreeMap<(String, String), Result<SheetLine, StoreError>>, sqlx::Error> {
    let found = sqlx::query(LINES)
        .bind(keys)
        .fetch_all(&mut *connection)
        .await?;
    found
        .iter()
        .map(|row| Ok(((row.try_get(5)?, row.try_get(0)?), parse_line(row))))
        .collect()
}
