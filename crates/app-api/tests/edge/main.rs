//! The edge, end to end: the real program on a port of its own, spoken to over HTTP and over bare
//! TCP.

mod http;
mod limits;
mod operating;
mod server;
mod stopping;
mod tokens;
