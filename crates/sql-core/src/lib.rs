//! What the SQL adapters share: the group commit, the flat records of rows, how a database file is
//! opened and copied, and how a server is met.

pub mod experiment_row;
pub mod group;
pub mod mysql;
pub mod snapshot;
pub mod sqlite;
pub mod switch_row;

pub use records::{contest_record, reconciliation_record, record, signup_record};
