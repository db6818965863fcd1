//! Folds events into the deltas of a day. Pure: no IO, the same events in any order give the same deltas.
//!
//! Interactions are appended to their cell as (term, n) pairs with interned terms and merged now and then, so that the
//! hot loop neither allocates nor hashes per term.
//!
//! What a day needs is not bounded by the day: an aggregation that outgrows its memory lets go of the recordsets at the
//! end of their order and says where it stopped, and the events are read once more for those ([`Part`]).

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
