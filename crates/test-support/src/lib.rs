//! Servers for tests: from the environment, Docker or local binaries; and a proxy that cuts, stalls and delays.
