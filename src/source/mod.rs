//! Reads the events of a day from the source's tables `stats` and `queries`.
//!
//! Everything is read in one READ ONLY, REPEATABLE READ transaction, so that rows, fingerprint and rejected rows belong
//! to the same state. Rows are streamed: a day is never in memory as a whole.

mod batch;
mod calendar;
mod characters;
mod connection;
mod inspection;
mod kept;
mod row;
mod snapshot;
mod tables;

pub use self::batch::{Batch, Rows};
pub use self::connection::Source;
pub use self::inspection::StatsFacts;
pub use self::kept::kept_json;
pub use self::row::Texts;
pub use self::snapshot::{DaySnapshot, Fingerprint, KeptRow, OUTSIDE_POSTGRES};
