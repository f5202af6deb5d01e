//! What the SQL adapters share: the group commit and how a database file is opened.

pub mod group;
pub mod sqlite;
