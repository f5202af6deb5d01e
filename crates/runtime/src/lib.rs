//! What every binary shares: configuration, log lines, the system clock and ids, stopping.
