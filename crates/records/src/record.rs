//! Parsing flat rows: an impossible combination of columns is an error that names table and row,
//! never a guess.

use domain::{
    money::Coins,
    time::UnixMillis,
    transfer::{Position, Receipt},
};
use ports::{findings::Resolution, store::StoreError};
use std::str::FromStr;

/// Which row is being parsed, for errors.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The table.
    pub table: &'static str,
    /// The row.
    pub key: &'a str,
}

impl Context<'_> {
    /// An inconsistency in this row.
    #[must_use]
    pub fn inconsistent(&self, what: impl Into<String>) -> StoreError {
        StoreError::Inconsistent {
            table: self.table,
            key: self.key.to_owned(),
            what: what.into(),
        }
    }

    /// A column that must be there.
    ///
    /// # Errors
    /// When it is null.
    pub fn present<T>(&self, column: &'static str, value: Option<T>) -> Result<T, StoreError> {
        value.ok_or_else(|| self.inconsistent(format!("{column} is missing")))
    }

    /// A column in a form of ours.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn parsed<T: FromStr>(&self, column: &'static str, text: &str) -> Result<T, StoreError> {
        text.parse()
            .map_err(|_| self.inconsistent(format!("{column} is {text:?}")))
    }

    /// A column in a form of ours that may be null.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn maybe_parsed<T: FromStr>(
        &self,
        column: &'static str,
        text: Option<String>,
    ) -> Result<Option<T>, StoreError> {
        text.map(|text| self.parsed(column, &text)).transpose()
    }

    /// A column that names a choice.
    ///
    /// # Errors
    /// When there is no such choice.
    pub fn named<T>(
        &self,
        column: &'static str,
        text: &str,
        named: fn(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        named(text).ok_or_else(|| self.inconsistent(format!("{column} is {text:?}")))
    }

    /// A column of coins.
    ///
    /// # Errors
    /// When it is out of range.
    pub fn coins(&self, column: &'static str, amount: i64) -> Result<Coins, StoreError> {
        Coins::try_from(amount).map_err(|_| self.inconsistent(format!("{column} is {amount}")))
    }

    /// A column that counts.
    ///
    /// # Errors
    /// When it is below zero.
    pub fn count(&self, column: &'static str, number: i64) -> Result<u64, StoreError> {
        u64::try_from(number).map_err(|_| self.inconsistent(format!("{column} is {number}")))
    }

    /// A person's word on a finding.
    ///
    /// # Errors
    /// When only one half of it is there, or nobody can have said it.
    pub fn resolution(
        &self,
        by: Option<String>,
        note: Option<String>,
    ) -> Result<Option<Resolution>, StoreError> {
        match (by, note) {
            (None, None) => Ok(None),
            (Some(by), Some(note)) => Ok(Some(Resolution {
                by: self.parsed("resolved_by", &by)?,
                note,
            })),
            _ => Err(self.inconsistent("resolved_by and note do not agree")),
        }
    }

    /// Position and time of a transfer.
    ///
    /// # Errors
    /// When one of them is missing or out of range.
    pub fn receipt(
        &self,
        column: &'static str,
        position: Option<i64>,
        applied_at: Option<i64>,
    ) -> Result<Receipt, StoreError> {
        let position = Position(self.count(column, self.present(column, position)?)?);
        Ok(Receipt {
            position,
            applied_at: UnixMillis(self.present(column, applied_at)?),
        })
    }
}

/// A count as a column; counts of ours stay far below 2^63.
#[must_use]
pub const fn column(number: u64) -> i64 {
    number.cast_signed()
}
