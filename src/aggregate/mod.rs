//! Adds events up to the deltas of a day. No IO; the order of events makes no difference.
//!
//! Interactions are appended to their cell as (term, n) pairs with interned terms and merged from time to time, so that
//! the hot loop neither allocates nor hashes per term.
//!
//! A day may need any amount of memory. An aggregation that exceeds its limit drops the recordsets at the end of their
//! order and reports where it stopped; the events are then read again for those ([`Part`]).

mod aggregation;
mod bounds;
mod delta;
mod part;
mod tally;
pub(crate) mod terms;

pub use aggregation::{Aggregation, Figures, Overflow, PostedRow};
pub use delta::{Cell, DayDeltas, DeltaRow, Sums, TermCounts};
pub use part::{Part, PartSums};

#[cfg(test)]
mod tests;
