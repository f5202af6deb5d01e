//! A task system that somebody else runs, over gRPC.
