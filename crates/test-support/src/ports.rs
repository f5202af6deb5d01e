//! Free ports on loopback.

use anyhow::{Result, bail};
use std::{
    collections::{BTreeSet, hash_map::RandomState},
    hash::{BuildHasher, Hasher},
    net::{Ipv4Addr, TcpListener},
    sync::{Mutex, PoisonError},
};

/// Below the range that the system takes for outgoing connections: while a server is down, a
/// client's own socket must not take its place.
const LOWEST: u16 = 12_000;
const COUNT: u16 = 18_000;

/// A port on 127.0.0.1 that is free now, and that this process was not given before: a server
/// that is down for a moment still owns its port.
///
/// # Errors
/// None was free in 200 tries.
pub fn free_port() -> Result<u16> {
    static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..200 {
        let port = LOWEST + u16::try_from(chance() % u64::from(COUNT))?;
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return Ok(port);
        }
    }
    bail!("no free port on loopback between 12000 and 30000; stop something that listens there")
}

/// A number that other processes do not draw at the same time.
pub(crate) fn chance() -> u64 {
    // Each state is seeded by the system.
    RandomState::new().build_hasher().finish()
}
