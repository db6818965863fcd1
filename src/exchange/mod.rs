//! A ledger as a file: NDJSON, written by `daybook export` and read by `daybook import`.
//!
//! A header, the runs that posted, each entry with its rows and its rejected events in the order of the ledger, and an
//! end with the hash of all bytes before it. Every column is written as it is stored, so the copy is exact, including
//! its hashes. `format` defines the lines and does no IO; `write` exports one snapshot of the ledger; `import` makes an
//! empty ledger a copy.

mod file;
mod format;
mod import;
mod read;
mod sequence;
mod write;

pub use import::{Import, Imported, Incoming};
pub use read::is_export;
pub use write::{Exported, Target, export};
