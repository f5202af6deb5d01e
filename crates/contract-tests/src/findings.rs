//! The suite of this port.
