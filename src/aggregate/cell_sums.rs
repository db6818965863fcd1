//! The sums of a cell while they are being counted.

use super::delta::Cell;
use super::tally::{ItemTally, Tally};

/// A sum exceeds the range of a bigint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the sums of {0} exceed the range of bigint")]
pub struct Overflow(pub Cell);

#[derive(Debug, Default)]
pub(super) struct CellSums {
    pub(super) count: i64,
    pub(super) total: i64,
    pub(super) items: ItemTally,
    pub(super) queries: Tally,
    pub(super) geocodes: Tally,
}
