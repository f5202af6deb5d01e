//! From MySQL rows to records, column by column in the order of their COLUMNS.

use domain::order::OrderId;
use ports::store::StoreError;
use sql_core::{
    contest_record::{ContestRecord, LegRecord},
    signup_record::SignupRecord,
};
use sqlx::{Row, mysql::MySqlRow};
use uuid::Uuid;

/// Reads columns one after the other.
pub(crate) struct Columns<'a> {
    row: &'a MySqlRow,
    next: usize,
}

impl<'a> Columns<'a> {
    pub(crate) const fn from(row: &'a MySqlRow, first: usize) -> Self {
        Self { row, next: first }
    }

    /// The next column.
    pub(crate) fn get<T>(&mut self) -> Result<T, sqlx::Error>
    where
        T: sqlx::Decode<'a, sqlx::MySql> + sqlx::Type<sqlx::MySql>,
    {
        let index = self.next;
        self.next += 1;
        self.row.try_get(index)
    }

    /// The next column, an id of ours.
    pub(crate) fn id(&mut self) -> Result<String, sqlx::Error> {
        self.get::<Uuid>().map(|id| id.hyphenated().to_string())
    }

    /// The next column, an order's id.
    fn order(&mut self) -> Result<Option<String>, sqlx::Error> {
        let Some(bytes) = self.get::<Option<Vec<u8>>>()? else {
            return Ok(None);
        };
        let bytes: [u8; 16] = bytes
            .try_into()
            .map_err(|_| sqlx::Error::Decode("an order id has 16 bytes".into()))?;
        Ok(Some(OrderId(bytes).to_string()))
    }
}

/// Reads [`SignupRecord::COLUMNS`].
pub(crate) fn signup(row: &MySqlRow) -> Result<SignupRecord, sqlx::Error> {
    signup_at(row, 0)
}

/// Reads [`SignupRecord::COLUMNS`] behind so many others.
pub(crate) fn signup_at(row: &MySqlRow, first: usize) -> Result<SignupRecord, sqlx::Error> {
    let mut columns = Columns::from(row, first);
    Ok(SignupRecord {
        contest_id: columns.id()?,
        signup_id: columns.id()?,
        user_id: columns.get()?,
        fee: columns.get()?,
        fee_order_id: columns.order()?.unwrap_or_default(),
        state: columns.get()?,
        last_try: columns.get()?,
        refusal: columns.get()?,
        tries: columns.get()?,
        fee_position: columns.get()?,
        paid_at: columns.get()?,
        quantity: columns.get()?,
        met_at: columns.get()?,
        weight: columns.get()?,
        prize: columns.get()?,
        moved: columns.get()?,
        claim_order_id: columns.order()?,
        payee: columns.get()?,
        payout_position: columns.get()?,
        payout_at: columns.get()?,
        variants: columns.get()?,
        version: columns.get()?,
        created_at: columns.get()?,
        updated_at: columns.get()?,
    })
}

macro_rules! contest_record {
    ($columns:ident { $($column:ident),+ $(,)? }) => {
        ContestRecord { contest_id: $columns.id()?, $($column: $columns.get()?),+ }
    };
}

/// Reads [`ContestRecord::COLUMNS`], and the [`LegRecord::COLUMNS`] behind them, if there are any.
pub(crate) fn contest(row: &MySqlRow) -> Result<(ContestRecord, Option<LegRecord>), sqlx::Error> {
    let mut columns = Columns::from(row, 0);
    let record = contest_record!(columns {
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
    });
    let leg = match columns.get::<Option<Uuid>>()? {
        None => None,
        Some(contest_id) => Some(LegRecord {
            contest_id: contest_id.hyphenated().to_string(),
            leg: columns.get()?,
            order_id: columns.order()?.unwrap_or_default(),
            amount: columns.get()?,
            outcome: columns.get()?,
            position: columns.get()?,
            applied_at: columns.get()?,
        }),
    };
    Ok((record, leg))
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

/// What a page begins after: before every id, if nothing is said.
pub(crate) fn after(id: Option<Uuid>) -> Uuid {
    id.unwrap_or(Uuid::nil())
}
