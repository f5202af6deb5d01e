//! Every port in memory: the reference behaviour, and the same with faults.

pub mod faults;
pub mod funds;
pub mod shown;
pub mod store;
pub mod system;
