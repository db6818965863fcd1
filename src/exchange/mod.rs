//! A ledger as a file: NDJSON, written by `daybook export` and read by `daybook import`.
//!
//! A header, the runs that posted, then each entry with its rows and its rejected events in the ledger's order, then an end
//! with the digest of all that comes before it. Every column is there as it is stored, so that the copy is exact, its hashes
//! included. `format` is the format and does no IO; `write` makes such a file from one snapshot of the ledger, `import`
//! makes an empty ledger the copy of one.

mod file;
mod format;
mod import;
mod read;
mod sequence;
mod write;

pub use import::{Import, Imported, Incoming};
pub use read::is_export;
pub use write::{Exported, Target, export};
