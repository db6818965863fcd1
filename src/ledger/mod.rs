//! The ledger: immutable entries in Postgres, one for each posting, with their delta rows.
//!
//! Only [`post`] writes new entries, and only [`copy_in`] writes copies from an export. Both only insert. Posting
//! requires the [`lock`].

mod balances;
pub mod copy_in;
pub mod copy_out;
pub mod current_entry;
pub mod day_read;
pub mod definitions;
mod entry;
mod handle;
mod insert_rows;
pub mod inspection;
mod journal;
mod known_balances;
pub mod lock;
pub mod map;
pub mod migrate;
pub mod migrations;
mod overview;
mod parts;
mod past_runs;
pub mod post;
mod posted_rows;
mod reader;
pub mod rejected_hash;
mod row;
mod row_bytes;
pub mod row_hash;
mod rows;
pub mod server_clock;
pub mod survey;

pub use entry::{Entry, EntryId, EntryKind, EntryTotal, EntryTotals};
pub use handle::Ledger;
pub use journal::EntryFilter;
pub use overview::{Past, RejectedEvent, RunStatus};
pub use past_runs::{EndedRun, PastRuns, ProjectedThrough};
pub use posted_rows::PostedRows;
pub use reader::Reader;
pub use row::{CellTotal, DayTouched, NamedTerm, StoredRow, StoredTerms};
pub use rows::DeltaCell;
