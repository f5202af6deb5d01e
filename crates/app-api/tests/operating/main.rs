//! Operating the embedded default for real: upgrade, check, backup and restore, published data
//! verified by anybody, each with the real program.

mod backup;
mod books;
mod program;
mod published;
mod upgrade;
