//! The production stack behind the ports: MySQL, Redis, and funds and tasks over gRPC, from one
//! configuration. The API and the reconciler share it; only what they do with it differs.

pub mod settings;
