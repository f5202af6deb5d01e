//! What a contest needs from outside: one trait per thing, its errors, and its written contract.
//!
//! The numbered clauses of a trait are its contract. Each is a case of the suite in
//! `contract-tests`, and every adapter passes that suite, the in-memory one first.

pub mod contests;
pub mod experiments;
pub mod failpoint;
pub mod findings;
pub mod funds;
pub mod leaderboard;
pub mod leases;
pub mod notices;
pub mod outbox;
pub mod reconciliations;
pub mod shown;
pub mod signups;
pub mod store;
pub mod switches;
pub mod system;
pub mod tasks;
pub mod tickets;
