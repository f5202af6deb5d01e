//! The funds system in memory.
