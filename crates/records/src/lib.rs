//! Contests and signups as flat records: the form in which they are stored and cached. Reading one
//! back checks every field, so that an impossible combination is an error and never a guess.

pub mod contest_record;
pub mod experiment_record;
pub mod reconciliation_record;
pub mod record;
pub mod signup_record;
