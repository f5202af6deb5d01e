//! What the SQL adapters share: the group commit, the flat records of rows, how a database file is
//! opened and copied, and how a server is met.

pub mod contest_record;
pub mod group;
pub mod mysql;
pub mod record;
pub mod signup_record;
pub mod snapshot;
pub mod sqlite;
