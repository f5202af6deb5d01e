//! A line of a switch's history, as both databases keep it.

use crate::record::Context;
use domain::{
    switch::{Change, Setting, Switch, Switches},
    time::UnixMillis,
};
use ports::{store::StoreError, switches::Said};
use sqlx::{FromRow, Row};

/// The columns, in their order.
pub const COLUMNS: &str = "sequence, name, scope, enabled, changed_by, reason, changed_at";

/// The last change of each switch and scope, as far as it is in force: what is on for a room or a contest says nothing.
pub const IN_FORCE: &str = "SELECT c.sequence, c.name, c.scope, c.enabled, c.changed_by, c.reason, c.changed_at \
     FROM (SELECT MAX(sequence) AS sequence FROM switch_change GROUP BY name, scope) AS last \
     JOIN switch_change AS c ON c.sequence = last.sequence WHERE c.enabled = 0 OR c.scope = 'everything'";

/// The number of the last change.
pub const VERSION: &str = "SELECT COALESCE(MAX(sequence), 0) FROM switch_change";

/// A line as it is stored: [`COLUMNS`].
pub type SwitchRow = (i64, String, String, bool, String, String, i64);

/// What the lines say, without those about a switch that this program does not have: one of a version before or
/// after it.
///
/// # Errors
/// An impossible row, or one that has other columns.
pub fn parse<'r, R: Row>(rows: &'r [R]) -> Result<Vec<Change>, StoreError>
where
    SwitchRow: FromRow<'r, R>,
{
    let mut changes = Vec::with_capacity(rows.len());
    for row in rows {
        let row = SwitchRow::from_row(row).map_err(StoreError::unavailable)?;
        changes.extend(parse_one(row)?);
    }
    Ok(changes)
}

fn parse_one(row: SwitchRow) -> Result<Option<Change>, StoreError> {
    let (sequence, name, scope, enabled, changed_by, reason, changed_at) = row;
    let key = sequence.to_string();
    let context = Context {
        table: "switch_change",
        key: &key,
    };
    let Some(switch) = Switch::named(&name) else {
        return Ok(None);
    };
    Ok(Some(Change {
        sequence: context.count("sequence", sequence)?,
        switch,
        scope: context.parsed("scope", &scope)?,
        setting: Setting {
            enabled,
            by: context.parsed("changed_by", &changed_by)?,
            reason,
            at: UnixMillis(changed_at),
        },
    }))
}

/// The settings that the last changes are.
#[must_use]
pub fn settings(changes: Vec<Change>) -> Switches {
    let settings = changes.into_iter();
    Switches::new(settings.map(|change| (change.switch, change.scope, change.setting)))
}

/// The change that was written.
#[must_use]
pub fn written(said: &Said, sequence: i64, now: i64) -> Change {
    Change {
        sequence: sequence.cast_unsigned(),
        switch: said.switch,
        scope: said.scope.clone(),
        setting: Setting {
            enabled: said.enabled,
            by: said.by.clone(),
            reason: said.reason.clone(),
            at: UnixMillis(now),
        },
    }
}
