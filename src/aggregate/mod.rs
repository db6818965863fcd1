//! Adds events up to the deltas of a day. The order of events makes no difference. The only IO is in temporary files.
//!
//! Interactions are appended to their cell as (term, n) pairs with interned terms and merged from time to time, so that
//! the hot loop neither allocates nor hashes per term.
//!
//! A day may need any amount of memory. An aggregation that reaches its limit writes everything to a temporary file and
//! goes on with nothing; in the end the files are merged, cell by cell.

mod aggregation;
mod cell_sums;
mod counted;
mod delta;
mod limit;
mod merge;
mod run;
mod spill;
mod tally;
pub(crate) mod terms;

pub use aggregation::{Aggregation, Figures, PostedRow};
pub use cell_sums::Overflow;
pub use counted::{Counted, CountedRows, EntrySums};
pub use delta::{Cell, DayDeltas, DeltaRow, Sums, TermCounts};
pub use spill::AggregationError;

#[cfg(test)]
mod tests;
