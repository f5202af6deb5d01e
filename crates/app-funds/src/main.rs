//! Serves the reference ledger over gRPC.

fn main() {}
