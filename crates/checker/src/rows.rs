//! The rows of the tables, as SQLite and as MySQL hold them.

use sqlx::{
    Decode, FromRow, MySql, Row, TypeInfo, ValueRef,
    error::BoxDynError,
    mysql::{MySqlRow, MySqlValueRef},
    sqlite::SqliteRow,
};

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

        impl<'r> FromRow<'r, MySqlRow> for $name {
            fn from_row(row: &'r MySqlRow) -> Result<Self, sqlx::Error> {
                Ok(Self {
                    $($field: cell(row, stringify!($field))?,)+
                    $($($later: cell(row, stringify!($later))?,)+)?
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

/// What a column of a server can hold.
trait Cell: Sized {
    fn read(value: MySqlValueRef<'_>, column: &str) -> Result<Self, BoxDynError>;
}

fn cell<T: Cell>(row: &MySqlRow, column: &str) -> Result<T, sqlx::Error> {
    let value = row.try_get_raw(column)?;
    T::read(value, column).map_err(|source| sqlx::Error::ColumnDecode {
        index: column.to_owned(),
        source,
    })
}

impl Cell for i64 {
    fn read(value: MySqlValueRef<'_>, _: &str) -> Result<Self, BoxDynError> {
        <Self as Decode<'_, MySql>>::decode(value)
    }
}

/// Ids and digests stand in bytes there; here they are the texts that they stand for.
impl Cell for String {
    fn read(value: MySqlValueRef<'_>, column: &str) -> Result<Self, BoxDynError> {
        let bytes = <&[u8] as Decode<'_, MySql>>::decode(value.clone())?;
        let is_binary = value.type_info().name().ends_with("BINARY");
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match column {
            "contest_id" | "signup_id" if is_binary && bytes.len() == 16 => {
                let mut text: Self = hex();
                for at in [20, 16, 12, 8] {
                    text.insert(at, '-');
                }
                Ok(text)
            }
            "order_id" | "fee_order_id" | "claim_order_id" if is_binary => Ok(hex()),
            // Digests may stand there as bytes or as their digits.
            "draw_secret" | "sheet_sha256" if is_binary && bytes.len() == 32 => Ok(hex()),
            _ => Ok(std::str::from_utf8(bytes)?.to_owned()),
        }
    }
}

impl<T: Cell> Cell for Option<T> {
    fn read(value: MySqlValueRef<'_>, column: &str) -> Result<Self, BoxDynError> {
        if value.is_null() {
            return Ok(None);
        }
        T::read(value, column).map(Some)
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
    later { fee_tiers: String, draw_secret: String, sheet_sha256: String, accepted_gap: i64 }
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
    later { moved: i64 }
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
row! {
    /// A transfer without what names it.
    Moved { position: i64, debit: i64, credit: i64, amount: i64, applied_at: i64 }
}
row! {
    /// `account`.
    AccountRow { account_id: i64, name: String, balance: i64 }
}
row! {
    /// `contest_history`.
    PhaseLine { version: i64, phase: String }
}
row! {
    /// Something, and how often it is there.
    Counted { name: String, count: i64 }
}
row! {
    /// An order, and how often it is there.
    Repeated { order_id: String, count: i64 }
}
row! {
    /// A contest's id alone.
    Id { contest_id: String }
}
