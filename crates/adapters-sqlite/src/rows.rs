//! From SQLite rows to records, column by column in the order of their COLUMNS.

use ports::store::StoreError;
use sql_core::{
    contest_record::{ContestRecord, LegRecord},
    signup_record::SignupRecord,
};
use sqlx::{Row, sqlite::SqliteRow};

macro_rules! read_columns {
    ($row:ident, $first:expr, $record:ident { $($column:ident),+ $(,)? }) => {{
        let mut index = $first..;
        $record { $($column: $row.try_get(index.next().unwrap_or_default())?),+ }
    }};
}

/// Reads [`SignupRecord::COLUMNS`].
pub(crate) fn signup(row: &SqliteRow) -> Result<SignupRecord, sqlx::Error> {
    signup_at(row, 0)
}

/// Reads [`SignupRecord::COLUMNS`] behind so many others.
pub(crate) fn signup_at(row: &SqliteRow, first: usize) -> Result<SignupRecord, sqlx::Error> {
    Ok(read_columns!(
        row,
        first,
        SignupRecord {
            contest_id,
            signup_id,
            user_id,
            fee,
            fee_order_id,
            state,
            last_try,
            refusal,
            tries,
            fee_position,
            paid_at,
            quantity,
            met_at,
            weight,
            prize,
            moved,
            claim_order_id,
            payee,
            payout_position,
            payout_at,
            variants,
            version,
            created_at,
            updated_at,
        }
    ))
}

/// Reads [`ContestRecord::COLUMNS`].
pub(crate) fn contest(row: &SqliteRow) -> Result<ContestRecord, sqlx::Error> {
    Ok(read_columns!(
        row,
        0_usize,
        ContestRecord {
            contest_id,
            title,
            room_id,
            fee,
            fee_tiers,
            task_kind,
            task_target,
            rule,
            draw_secret,
            rake_bps,
            guaranteed_pool,
            series_id,
            carry,
            claim_mode,
            no_winner,
            remainder,
            unclaimed,
            grace_ms,
            signup_opens_at,
            signup_closes_at,
            tasks_end_at,
            claim_closes_at,
            phase,
            cancel_reason,
            close_position,
            frozen_at,
            fees,
            rake,
            pool,
            guarantee_return,
            finishers,
            weight_sum,
            sheet_after,
            sheet_before,
            sheet_lines,
            sheet_prizes,
            sheet_sha256,
            claimable_at,
            stopped_since,
            stopped_ms,
            claims_off_since,
            stops_counted_until,
            accepted_gap,
            variants,
            version,
            created_at,
            updated_at,
        }
    ))
}

/// Reads [`LegRecord::COLUMNS`].
pub(crate) fn leg(row: &SqliteRow) -> Result<LegRecord, sqlx::Error> {
    Ok(read_columns!(
        row,
        0_usize,
        LegRecord {
            contest_id,
            leg,
            order_id,
            amount,
            outcome,
            position,
            applied_at
        }
    ))
}

/// A driver error as the port's.
pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    StoreError::unavailable(error)
}

/// What could be read; what could not is reported.
pub(crate) fn or_report<T>(read: Result<T, StoreError>) -> Option<T> {
    read.inspect_err(|error| {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "a row cannot be read"
        );
    })
    .ok()
}

/// A batch as the one JSON parameter of a multi-row statement.
pub(crate) fn json<T: serde::Serialize>(rows: &[T]) -> Result<String, sqlx::Error> {
    serde_json::to_string(rows).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// A page size as a LIMIT.
pub(crate) fn limit(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(i64::MAX)
}

/// What a page of numbered rows begins after: before every one, if nothing is said.
pub(crate) fn after_sequence(sequence: Option<u64>) -> i64 {
    sequence.map_or(0, |sequence| i64::try_from(sequence).unwrap_or(i64::MAX))
}
