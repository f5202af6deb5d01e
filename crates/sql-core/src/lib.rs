//! What the SQL adapters share: the group commit, the flat records of rows, and how a database
//! file is opened and copied.

pub mod contest_record;
pub mod group;
pub mod record;
pub mod signup_record;
pub mod snapshot;
pub mod sqlite;
