//! Settles, compensates and carries out what was left to do, beside the API.

fn main() {}
