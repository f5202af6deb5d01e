//! One suite per port. Every adapter joins a suite with one macro line and gets every case.

pub mod contests;
pub mod events;
pub mod experiments;
pub mod findings;
pub mod funds;
pub mod leaderboard;
pub mod leases;
pub mod notices;
pub mod outbox;
pub mod reconciliations;
pub mod shown;
pub mod signups;
pub mod switches;
pub mod tickets;

pub mod fixture;
pub mod samples;
pub mod suite;
